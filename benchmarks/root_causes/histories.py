"""Histories of migrations as projects have them, made from a seed: what each migration says, makes and touches.

A history is valid PostgreSQL from its first statement to its last. Every object in it is a :class:`Thing` that knows
which migrations made, changed or built on it; injuries are drawn from these, and their truth is read off them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["STYLES", "History", "Migration", "Style", "Thing", "generate"]


@dataclass(frozen=True)
class Style:
    """How a project writes its migrations.

    ``schema``: where its tables are; ``weights``: how often each topic of :data:`TOPICS` comes; ``rls``: row-level
    security and policies with each table; ``careful``: IF NOT EXISTS everywhere; ``upper``: keywords in capitals;
    ``camel``: quoted names; ``roles``: those that it grants to.
    """

    name: str
    schema: str
    weights: dict[str, int]
    roles: tuple[str, ...] = ("app_read", "app_write")
    rls: bool = False
    careful: bool = False
    camel: bool = False


_COMMON = {
    "table": 22, "columns": 14, "index": 12, "default": 4, "not_null": 3, "check": 5, "unique": 3, "foreign_key": 3,
    "function": 8, "again": 10, "trigger": 5, "view": 6, "view_again": 3, "enum": 3, "enum_value": 3, "grant": 4,
    "data": 5, "comment": 3, "drop_column": 2, "drop_index": 2, "drop_view": 1, "rename_column": 2, "type": 2,
    "log": 2, "partition": 3, "matview": 1, "domain": 1, "sequence": 1, "block": 2, "several": 6, "statistics": 1,
}  # fmt: skip

STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style(
            "supabase",
            "public",
            {**_COMMON, "policy": 12, "policy_again": 5, "definer": 4, "extension": 1, "default_acl": 1},
            ("anon", "authenticated", "service_role"),
            rls=True,
        ),
        Style("plain", "app", {**_COMMON, "extension": 1}),
        Style("careful", "shop", {**_COMMON, "extension": 2, "block": 6}, careful=True),
        Style("functions", "api", {**_COMMON, "function": 20, "again": 45, "trigger": 8, "table": 12}),
        Style("camel", "public", {**_COMMON, "function": 2, "again": 2, "enum": 8, "unique": 8}, camel=True),
        Style("logs", "ops", {**_COMMON, "log": 10, "partition": 25, "matview": 3}),
        Style("tenants", "core", {**_COMMON, "tenant": 6, "tenants_change": 12}),
    )
}

NOUNS = [
    "account",
    "address",
    "alert",
    "answer",
    "api_key",
    "article",
    "asset",
    "attempt",
    "audit",
    "author",
    "badge",
    "batch",
    "billing",
    "booking",
    "bounce",
    "branch",
    "budget",
    "campaign",
    "cart",
    "category",
    "channel",
    "charge",
    "claim",
    "comment",
    "company",
    "contact",
    "contract",
    "coupon",
    "course",
    "credit",
    "customer",
    "dataset",
    "deal",
    "delivery",
    "deployment",
    "device",
    "discount",
    "dispute",
    "document",
    "domain",
    "draft",
    "email",
    "employee",
    "endpoint",
    "event",
    "expense",
    "export",
    "feature",
    "feed",
    "file",
    "folder",
    "form",
    "gift",
    "group",
    "holiday",
    "image",
    "import",
    "incident",
    "inventory",
    "invite",
    "invoice",
    "item",
    "job",
    "key",
    "label",
    "ledger",
    "lesson",
    "license",
    "like",
    "link",
    "list",
    "location",
    "login",
    "machine",
    "mailbox",
    "manager",
    "member",
    "membership",
    "message",
    "metric",
    "milestone",
    "model",
    "node",
    "note",
    "notification",
    "offer",
    "order",
    "organisation",
    "page",
    "parcel",
    "partner",
    "password",
    "patient",
    "payment",
    "payout",
    "permission",
    "phone",
    "photo",
    "plan",
    "player",
    "policy_doc",
    "portfolio",
    "post",
    "price",
    "product",
    "profile",
    "project",
    "promotion",
    "property",
    "provider",
    "purchase",
    "question",
    "queue",
    "quiz",
    "quote",
    "rating",
    "receipt",
    "refund",
    "region",
    "release",
    "report",
    "request",
    "reservation",
    "resource",
    "review",
    "reward",
    "role_map",
    "room",
    "route",
    "rule",
    "salary",
    "sample",
    "schedule",
    "score",
    "seat",
    "section",
    "segment",
    "sensor",
    "server",
    "session",
    "setting",
    "share",
    "shift",
    "shipment",
    "shop",
    "signup",
    "site",
    "skill",
    "slot",
    "snapshot",
    "source",
    "space",
    "sprint",
    "stage",
    "statement",
    "station",
    "stock",
    "store",
    "story",
    "student",
    "subscription",
    "supplier",
    "survey",
    "tag",
    "target",
    "task",
    "tax",
    "team",
    "template",
    "tenant_map",
    "term",
    "test",
    "thread",
    "ticket",
    "tier",
    "token",
    "topic",
    "track",
    "transfer",
    "trip",
    "unit",
    "upload",
    "user",
    "vendor",
    "venue",
    "version",
    "visit",
    "voucher",
    "wallet",
    "warehouse",
    "webhook",
]
COLUMNS = (
    ("status", "text"), ("notes", "text"), ("amount", "numeric(12,2)"), ("quantity", "integer"), ("due_on", "date"),
    ("metadata", "jsonb"), ("external_id", "text"), ("score", "double precision"), ("is_active", "boolean"),
    ("archived_at", "timestamp with time zone"), ("locale", "text"), ("currency", "text"), ("weight", "numeric"),
    ("starts_at", "timestamp with time zone"), ("ends_at", "timestamp with time zone"), ("phone", "text"),
    ("tags", "text[]"), ("ip", "inet"), ("ref", "uuid"), ("rank", "smallint"), ("color", "text"), ("title", "text"),
    ("slug", "text"), ("retries", "integer"), ("payload", "jsonb"), ("vat", "numeric(5,2)"), ("city", "text"),
    ("zip", "text"), ("country", "text"), ("checksum", "bytea"), ("duration", "interval"), ("level", "integer"),
)  # fmt: skip
DEFAULTS = {
    "text": ("''", "'new'", "'n/a'"), "integer": ("0", "1", "10"), "boolean": ("false", "true"),
    "numeric(12,2)": ("0", "1.5"), "jsonb": ("'{}'", "'[]'"), "timestamp with time zone": ("now()",),
    "date": ("CURRENT_DATE",), "double precision": ("0", "0.5"), "smallint": ("1", "0"),
}  # fmt: skip
AUTHORS = ("Ada Ng", "Boris Klein", "Chen Wei", "Dolores Haze", "Émile Roux", "Fatima Noor")


@dataclass
class Thing:
    """An object: ``made`` and ``touched`` are indices of migrations, ``users`` those that would fail without it."""

    kind: str
    identity: str
    made: int
    info: dict[str, Any] = field(default_factory=dict)
    touched: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    dropped: int | None = None

    @property
    def label(self) -> str:
        return f"{self.kind} {self.identity}"

    @property
    def last(self) -> int:
        return self.touched[-1] if self.touched else self.made

    def __hash__(self) -> int:
        return id(self)


@dataclass
class Migration:
    """``did`` lists what it did to what: ``make``, ``change``, ``drop``, in the order of its statements."""

    index: int
    name: str
    statements: list[str] = field(default_factory=list)
    did: list[tuple[str, Thing]] = field(default_factory=list)
    comment: str = ""
    autocommit: bool = False
    author: str = ""
    day: int = 0

    @property
    def sql(self) -> str:
        return (
            f"-- {self.comment}\n" * bool(self.comment) + "\n".join(f"{s};" for s in self.statements) + "\n"
        )


@dataclass
class History:
    """What :func:`generate` returns: the migrations, and everything that was ever made by them."""

    style: Style
    seed: int
    migrations: list[Migration]
    things: list[Thing]

    def alive(self, *kinds: str) -> list[Thing]:
        return [t for t in self.things if t.dropped is None and t.kind in kinds]

    def of(self, table: Thing, *kinds: str) -> list[Thing]:
        return [t for t in self.alive(*kinds) if t.info.get("table") is table]


class Writer:
    """The history so far, and the migration that is being written."""

    def __init__(self, style: Style, seed: int) -> None:
        self.style, self.rng = style, random.Random(f"{style.name}/{seed}")
        self.history = History(style, seed, [], [])
        self.names: set[str] = set()
        self.now = Migration(0, "")

    # --- words

    def name(self, *candidates: str) -> str:
        """The first of these that is still free, else the last with a number."""
        for candidate in candidates:
            if candidate not in self.names:
                self.names.add(candidate)
                return candidate
        number = 2
        while f"{candidates[-1]}_{number}" in self.names:
            number += 1
        self.names.add(f"{candidates[-1]}_{number}")
        return f"{candidates[-1]}_{number}"

    def spell(self, name: str) -> str:
        if not self.style.camel:
            return name
        words = name.split("_")
        return (
            '"' + words[0] + "".join(word.capitalize() for word in words[1:]) + '"'
            if len(words) > 1
            else name
        )

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    @property
    def if_not_exists(self) -> str:
        return "IF NOT EXISTS " if self.style.careful else ""

    # --- deeds

    def say(self, sql: str) -> None:
        self.now.statements.append(sql)

    def make(self, kind: str, identity: str, **info: Any) -> Thing:
        thing = Thing(kind, identity, self.now.index, info, [self.now.index])
        schema = identity.rsplit(" on ", maxsplit=1)[-1].split(".", maxsplit=1)[0]
        self.use(*(t for t in self.history.alive("schema") if t.identity == schema))
        self.history.things.append(thing)
        self.now.did.append(("make", thing))
        return thing

    def change(self, thing: Thing) -> None:
        if thing.last != self.now.index:
            thing.touched.append(self.now.index)
        self.now.did.append(("change", thing))

    def drop(self, thing: Thing) -> None:
        thing.dropped = self.now.index
        thing.touched.append(self.now.index)
        self.now.did.append(("drop", thing))

    def use(self, *things: Thing) -> None:
        for thing in things:
            thing.users.append(self.now.index)

    # --- choosing

    def any(self, *kinds: str, fits: Callable[[Thing], bool] = lambda t: True) -> Thing | None:
        found = [t for t in self.history.alive(*kinds) if fits(t)]
        # What is young is worked on more than what is old.
        return self.rng.choice(found[-12:] if found and self.chance(0.5) else found) if found else None

    def table(self, fits: Callable[[Thing], bool] = lambda t: True) -> Thing | None:
        return self.any(
            "table", fits=lambda t: not t.info.get("partition") and not t.info.get("tenant") and fits(t)
        )

    def columns(self, table: Thing) -> list[Thing]:
        return self.history.of(table, "table column")

    def plain_column(self, table: Thing, fits: Callable[[Thing], bool] = lambda t: True) -> Thing | None:
        """A column that nothing else stands on."""
        found = [c for c in self.columns(table) if not c.info.get("key") and fits(c)]
        return self.rng.choice(found) if found else None


def bare(name: str) -> str:
    return name.strip('"')


def _column(w: Writer, table: Thing, name: str, type_: str, **info: Any) -> Thing:
    spelled = w.spell(name)
    return w.make(
        "table column", f"{table.identity}.{spelled}", table=table, name=spelled, type=type_, **info
    )


def _new_columns(w: Writer, table: Thing, count: int) -> list[tuple[str, str]]:
    have = {bare(c.info["name"]) for c in w.columns(table)} | table.info.setdefault("was", set())
    free = [(n, t) for n, t in COLUMNS if bare(w.spell(n)) not in have]
    chosen = w.rng.sample(free, min(count, len(free)))
    table.info["was"] |= {bare(w.spell(n)) for n, _ in chosen}
    return chosen


# --- topics: each writes statements of one migration; False when there is nothing to do it to


def topic_table(w: Writer) -> bool:
    noun = w.rng.choice(NOUNS)
    name = w.name(f"{noun}s", f"{w.rng.choice(NOUNS)}_{noun}s")
    schema = w.style.schema
    table = w.make("table", f"{schema}.{w.spell(name)}", name=name, schema=schema)
    spec = []
    key = w.rng.choice(("identity", "identity", "serial", "uuid"))
    keys = {
        "identity": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "serial": "bigserial PRIMARY KEY",
        "uuid": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
    }
    table.info["key"] = key
    _column(w, table, "id", "uuid" if key == "uuid" else "bigint", key=True, how=key)
    spec.append(f"id {keys[key]}")
    if key == "serial":
        w.make("sequence", f"{schema}.{_quoted(bare(w.spell(name)) + '_id_seq')}", table=table, owned=True)
    parent = w.table(lambda t: t.info.get("key") in ("identity", "serial", "uuid") and t is not table)
    if parent and w.chance(0.6):
        type_ = "uuid" if parent.info["key"] == "uuid" else "bigint"
        column = _column(w, table, f"{bare(parent.info['name']).rstrip('s')}_id", type_, key=True)
        spec.append(f"{column.info['name']} {type_} NOT NULL REFERENCES {parent.identity} (id)")
        w.use(parent)
    for column_name, type_ in _new_columns(w, table, w.rng.randint(2, 5)):
        default = w.rng.choice(DEFAULTS[type_]) if type_ in DEFAULTS and w.chance(0.4) else None
        not_null = w.chance(0.3)
        column = _column(w, table, column_name, type_, default=default, not_null=not_null)
        spec.append(
            f"{column.info['name']} {type_}"
            + " NOT NULL" * not_null
            + (f" DEFAULT {default}" if default else "")
        )
    column = _column(w, table, "created_at", "timestamp with time zone", default="now()", not_null=True)
    spec.append(f"{column.info['name']} timestamp with time zone NOT NULL DEFAULT now()")
    numbers = [c for c in w.columns(table) if c.info["type"] in ("integer", "numeric(12,2)")]
    if numbers and w.chance(0.4):
        column = numbers[0]
        constraint = w.name(f"{name}_{bare(column.info['name'])}_positive")
        spec.append(f"CONSTRAINT {constraint} CHECK ({column.info['name']} >= 0)")
        column.info["key"] = True
        _constraint(w, table, constraint, "check", column=column, condition=f"{column.info['name']} >= 0")
    body = ",\n    ".join(spec)
    w.say(f"CREATE TABLE {w.if_not_exists}{table.identity} (\n    {body}\n)")
    if w.style.rls:
        w.say(f"ALTER TABLE {table.identity} ENABLE ROW LEVEL SECURITY")
        table.info["rls"] = True
        _policy(w, table)
    if w.chance(0.3):
        _grant(w, table)
    return True


def _quoted(name: str) -> str:
    return name if name == name.lower() else f'"{name}"'


def _constraint(w: Writer, table: Thing, name: str, type_: str, **info: Any) -> Thing:
    return w.make(
        "table constraint", f"{name} on {table.identity}", table=table, name=name, type=type_, **info
    )


def topic_columns(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    if not table:
        return False
    for name, type_ in _new_columns(w, table, w.rng.choice((1, 1, 1, 2))):
        default = w.rng.choice(DEFAULTS[type_]) if type_ in DEFAULTS and w.chance(0.3) else None
        column = _column(w, table, name, type_, default=default, not_null=False)
        extra = f" DEFAULT {default}" if default else ""
        w.say(
            f"ALTER TABLE {table.identity} ADD COLUMN {w.if_not_exists}{column.info['name']} {type_}{extra}"
        )
    w.use(table)
    return bool(w.now.statements)


def topic_index(w: Writer) -> bool:
    table = w.table()
    column = table and w.plain_column(table, lambda c: c.info["type"] not in ("jsonb", "inet", "text[]"))
    if not table or not column:
        return False
    name = w.name(f"{bare(table.info['name'])}_{bare(column.info['name'])}_idx".lower())
    what = column.info["name"]
    if column.info["type"] == "text" and w.chance(0.3):
        what = f"lower({what})"
    where = (
        f" WHERE {column.info['name']} IS NOT NULL"
        if w.chance(0.25) and not table.info.get("partitioned")
        else ""
    )
    column.info["key"] = True
    w.use(table, column)
    definition = f"ON {table.identity} ({what}){where}"
    w.make(
        "index",
        f"{table.info['schema']}.{name}",
        table=table,
        name=name,
        column=column,
        definition=definition,
        bare=not where and what == column.info["name"],
    )
    w.say(f"CREATE INDEX {w.if_not_exists}{name} {definition}")
    return True


def topic_default(w: Writer) -> bool:
    table = w.table()
    column = table and w.plain_column(table, lambda c: c.info["type"] in DEFAULTS)
    if not table or not column:
        return False
    choices = [d for d in DEFAULTS[column.info["type"]] if d != column.info.get("default")]
    if not choices:
        return False
    column.info["default"] = w.rng.choice(choices)
    w.say(
        f"ALTER TABLE {table.identity} ALTER COLUMN {column.info['name']} SET DEFAULT {column.info['default']}"
    )
    w.use(column)
    w.change(column)
    return True


def topic_not_null(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(table, lambda c: not c.info.get("not_null"))
    if not table or not column:
        return False
    value = {
        "text": "''", "integer": "0", "boolean": "false", "numeric(12,2)": "0", "jsonb": "'{}'",
    }.get(column.info["type"])  # fmt: skip
    name = column.info["name"]
    if not value:
        return False
    w.say(f"UPDATE {table.identity} SET {name} = {value} WHERE {name} IS NULL")
    w.say(f"ALTER TABLE {table.identity} ALTER COLUMN {name} SET NOT NULL")
    column.info["not_null"] = True
    w.use(column)
    w.change(column)
    return True


def topic_check(w: Writer) -> bool:
    table = w.table()
    kinds = {
        "text": "{} <> ''",
        "integer": "{} < 1000000",
        "numeric(12,2)": "{} < 1000000",
        "smallint": "{} < 100",
    }
    column = table and w.plain_column(table, lambda c: c.info["type"] in kinds)
    if not table or not column:
        return False
    condition = kinds[column.info["type"]].format(column.info["name"])
    name = w.name(f"{bare(table.info['name'])}_{bare(column.info['name'])}_check".lower())
    column.info["key"] = True
    valid = w.chance(0.7) or bool(table.info.get("partitioned"))
    w.say(
        f"ALTER TABLE {table.identity} ADD CONSTRAINT {name} CHECK ({condition})"
        + ("" if valid else " NOT VALID")
    )
    w.use(table, column)
    _constraint(w, table, name, "check", column=column, condition=condition, valid=valid)
    return True


def topic_unique(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(table, lambda c: c.info["type"] in ("text", "uuid"))
    if not table or not column:
        return False
    name = w.name(f"{bare(table.info['name'])}_{bare(column.info['name'])}_key".lower())
    column.info["key"] = True
    w.say(f"ALTER TABLE {table.identity} ADD CONSTRAINT {name} UNIQUE ({column.info['name']})")
    w.use(table, column)
    _constraint(w, table, name, "unique", column=column)
    return True


def topic_foreign_key(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    parent = w.table(lambda t: t.info.get("key") in ("identity", "serial", "uuid") and t is not table)
    if not table or not parent:
        return False
    type_ = "uuid" if parent.info["key"] == "uuid" else "bigint"
    name = f"{bare(parent.info['name']).rstrip('s')}_ref"
    if bare(w.spell(name)) in {bare(c.info["name"]) for c in w.columns(table)}:
        return False
    column = _column(w, table, name, type_, key=True)
    w.say(f"ALTER TABLE {table.identity} ADD COLUMN {w.if_not_exists}{column.info['name']} {type_}")
    fkey = w.name(f"{bare(table.info['name'])}_{name}_fkey".lower())
    delete = w.rng.choice(("", " ON DELETE CASCADE", " ON DELETE SET NULL"))
    w.say(
        f"ALTER TABLE {table.identity} ADD CONSTRAINT {fkey} FOREIGN KEY ({column.info['name']}) "
        f"REFERENCES {parent.identity} (id){delete}"
    )
    w.use(table, parent)
    _constraint(w, table, fkey, "foreign key", column=column, parent=parent, delete=delete)
    return True


def _body(w: Writer, function: Thing) -> str:
    """A body like no earlier one of this function."""
    number = function.info["number"] = function.info.get("number", 0) + 1
    name, table = function.info["name"], function.info["table"]
    words = w.rng.choice(("checked", "rounded", "cached", "raised", "fixed", "guarded"))
    if function.info["language"] == "sql":
        return (
            f"CREATE OR REPLACE FUNCTION {function.info['signature']} RETURNS bigint LANGUAGE sql STABLE"
            + " SECURITY DEFINER SET search_path = ''" * bool(function.info.get("definer"))
            + f" AS $$\n    SELECT count(*) + {number * 7 + w.rng.randint(0, 6)} FROM {table.identity} WHERE n > 0\n$$"
        )
    return (
        f"CREATE OR REPLACE FUNCTION {function.info['signature']} RETURNS bigint LANGUAGE plpgsql"
        + " SECURITY DEFINER SET search_path = ''" * bool(function.info.get("definer"))
        + f" AS $fn$\nDECLARE\n    found bigint := {number};\nBEGIN\n"
        f"    -- {name}, {words}\n    SELECT count(*) INTO found FROM {table.identity};\n"
        f"    IF found > {w.rng.randint(1, 900)} THEN RAISE NOTICE '{words} %', found; END IF;\n"
        f"    RETURN found * n + {number};\nEND;\n$fn$"
    )


def topic_function(w: Writer, definer: bool = False) -> bool:
    table = w.table()
    if not table:
        return False
    verb = w.rng.choice(("count", "score", "sync", "price", "close", "merge", "rank", "load", "touch"))
    name = w.name(f"{verb}_{bare(table.info['name'])}".lower(), f"{verb}_{w.rng.choice(NOUNS)}".lower())
    schema = w.style.schema
    function = Thing("function", f"{schema}.{name}(bigint)", w.now.index)
    function.info = {
        "name": name, "table": table, "signature": f"{schema}.{name}(n bigint)", "definer": definer,
        "language": w.rng.choice(("sql", "plpgsql", "plpgsql")), "texts": {},
    }  # fmt: skip
    sql = _body(w, function)
    w.say(sql)
    if function.info["language"] == "sql":
        w.use(table)
    made = w.make("function", function.identity, **function.info)
    made.info["texts"][w.now.index] = sql
    if definer and w.chance(0.7):
        w.say(f"REVOKE ALL ON FUNCTION {made.identity} FROM PUBLIC")
        w.say(f"GRANT EXECUTE ON FUNCTION {made.identity} TO {w.rng.choice(w.style.roles)}")
    return True


def topic_definer(w: Writer) -> bool:
    return topic_function(w, definer=True)


def topic_again(w: Writer) -> bool:
    """A function is written anew; favourites again and again."""
    functions = [t for t in w.history.alive("function") if "texts" in t.info]
    if not functions:
        return False
    function = w.rng.choice(functions[:3] if w.chance(0.4) else functions)
    sql = _body(w, function)
    function.info["texts"][w.now.index] = sql
    w.say(sql)
    w.change(function)
    if function.info["language"] == "sql":
        w.use(function.info["table"])
    return True


def topic_trigger(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    if not table:
        return False
    name = w.name(f"tg_{bare(table.info['name'])}".lower())
    schema = w.style.schema
    text = (
        f"CREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        f"BEGIN\n    -- {w.rng.randint(100, 999)}\n    RETURN NEW;\nEND $$"
    )
    w.say(text)
    function = w.make("function", f"{schema}.{name}()", name=name, trigger=True, table=table)
    when = w.rng.choice(("BEFORE UPDATE", "BEFORE INSERT", "AFTER INSERT OR UPDATE"))
    w.say(f"CREATE TRIGGER {name} {when} ON {table.identity} FOR EACH ROW EXECUTE FUNCTION {schema}.{name}()")
    w.use(table, function)
    w.make("trigger", f"{name} on {table.identity}", table=table, name=name, when=when, function=function)
    return True


def _view_text(w: Writer, view: Thing, extra: str = "") -> str:
    columns = ", ".join(view.info["columns"])
    return f"CREATE OR REPLACE VIEW {view.identity} AS SELECT {columns} FROM {view.info['table'].identity}{extra}"


def topic_view(w: Writer) -> bool:
    table = w.table()
    columns = w.columns(table)[:4] if table else []
    if not table or len(columns) < 3:
        return False
    name = w.name(f"{w.rng.choice(('open', 'recent', 'all', 'my'))}_{bare(table.info['name'])}")
    identity = f"{w.style.schema}.{w.spell(name)}"
    view = Thing("view", identity, w.now.index)
    view.info = {"name": name, "table": table, "columns": [c.info["name"] for c in columns[:3]]}
    for column in columns:
        column.info["key"] = True
    condition = f" WHERE {columns[0].info['name']} IS NOT NULL"
    sql = _view_text(w, view, condition)
    w.say(sql)
    w.use(table, *columns)
    made = w.make("view", identity, **view.info, condition=condition)
    made.info["texts"] = {w.now.index: sql}
    if w.chance(0.3):
        w.say(f"GRANT SELECT ON {identity} TO {w.rng.choice(w.style.roles)}")
    return True


def topic_view_again(w: Writer) -> bool:
    view = w.any("view", fits=lambda t: "texts" in t.info)
    if not view:
        return False
    view.info["condition"] = f" WHERE {view.info['columns'][0]} IS NOT NULL AND {len(view.touched) + 1} > 0"
    sql = _view_text(w, view, view.info["condition"])
    view.info["texts"][w.now.index] = sql
    w.say(sql)
    w.use(view.info["table"])
    w.change(view)
    return True


def topic_matview(w: Writer) -> bool:
    table = w.table()
    column = table and w.plain_column(table)
    if not table or not column:
        return False
    name = w.name(f"mv_{bare(table.info['name'])}".lower())
    identity = f"{w.style.schema}.{name}"
    column.info["key"] = True
    w.say(
        f"CREATE MATERIALIZED VIEW {w.if_not_exists}{identity} AS SELECT count({column.info['name']}) AS n "
        f"FROM {table.identity}"
    )
    w.use(table, column)
    w.make("materialized view", identity, table=table, name=name, column=column)
    return True


def topic_enum(w: Writer) -> bool:
    noun = w.rng.choice(NOUNS)
    name = w.name(f"{noun}_state", f"{noun}_kind")
    identity = f"{w.style.schema}.{w.spell(name)}"
    values = w.rng.sample(("draft", "open", "paid", "done", "late", "void"), 3)
    create = f"CREATE TYPE {identity} AS ENUM ({', '.join(map(repr, values))})"
    if w.style.careful:
        create = f"DO $$ BEGIN\n    {create};\nEXCEPTION WHEN duplicate_object THEN NULL;\nEND $$"
    w.say(create)
    enum = w.make("type", identity, values=values, enum=True)
    table = w.table(lambda t: not t.info.get("partitioned"))
    if table and w.chance(0.5) and w.spell(name) not in {c.info["name"] for c in w.columns(table)}:
        w.say(f"ALTER TABLE {table.identity} ADD COLUMN {w.if_not_exists}{w.spell(name)} {identity}")
        _column(w, table, name, identity, key=True)
        w.use(table, enum)
        enum.info["used"] = True
    return True


def topic_enum_value(w: Writer) -> bool:
    enum = w.any("type", fits=lambda t: bool(t.info.get("enum")))
    if not enum:
        return False
    value = f"v{len(enum.info['values'])}"
    place = w.chance(0.3)
    w.say(
        f"ALTER TYPE {enum.identity} ADD VALUE {w.if_not_exists}'{value}'"
        + f" BEFORE '{enum.info['values'][-1]}'" * place
    )
    enum.info["values"].insert(-1 if place else len(enum.info["values"]), value)
    w.use(enum)
    w.change(enum)
    return True


def topic_domain(w: Writer) -> bool:
    identity = f"{w.style.schema}.{w.name(w.rng.choice(NOUNS) + '_code')}"
    w.say(f"CREATE DOMAIN {identity} AS text CHECK (length(VALUE) < {w.rng.randint(5, 90)})")
    w.make("type", identity, domain=True)
    return True


def topic_sequence(w: Writer) -> bool:
    identity = f"{w.style.schema}.{w.name(w.rng.choice(NOUNS) + '_numbers')}"
    w.say(f"CREATE SEQUENCE {w.if_not_exists}{identity} START {w.rng.randint(1, 9) * 1000}")
    w.make("sequence", identity)
    return True


def topic_statistics(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    columns = [c for c in w.columns(table) if c.info["type"] in ("text", "integer")] if table else []
    if not table or len(columns) < 2:
        return False
    name = w.name(f"{bare(table.info['name'])}_stats".lower())
    for column in columns[:2]:
        column.info["key"] = True
    w.say(
        f"CREATE STATISTICS {w.style.schema}.{name} (dependencies) ON {columns[0].info['name']}, "
        f"{columns[1].info['name']} FROM {table.identity}"
    )
    w.use(table, *columns[:2])
    w.make("statistics object", f"{w.style.schema}.{name}", table=table)
    return True


def _grant(w: Writer, table: Thing) -> None:
    role = w.rng.choice(w.style.roles)
    right = w.rng.choice(("SELECT", "SELECT, INSERT", "SELECT, INSERT, UPDATE, DELETE"))
    w.say(f"GRANT {right} ON {table.identity} TO {role}")
    table.info.setdefault("grants", []).append((right, role, w.now.index))


def topic_grant(w: Writer) -> bool:
    table = w.table()
    if not table:
        return False
    _grant(w, table)
    w.use(table)
    w.change(table)
    return True


def topic_default_acl(w: Writer) -> bool:
    if any(t.kind == "default acl" for t in w.history.things):
        return False
    schema, role = w.style.schema, w.style.roles[-1]
    w.say(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON SEQUENCES TO {role}")
    w.make("default acl", f"for role postgres in schema {schema} on sequences")
    return True


def _policy(w: Writer, table: Thing) -> Thing:
    name = w.name(f"{bare(table.info['name'])}_{w.rng.choice(('read', 'own', 'staff', 'write'))}".lower())
    role = w.rng.choice(w.style.roles[:2])
    command = w.rng.choice(("SELECT", "ALL", "ALL"))
    using = w.rng.choice(
        ("auth.uid() IS NOT NULL", "(SELECT auth.role()) = 'authenticated'", "id IS NOT NULL")
    )
    w.say(f"CREATE POLICY {name} ON {table.identity} FOR {command} TO {role} USING ({using})")
    return w.make(
        "policy",
        f"{name} on {table.identity}",
        table=table,
        name=name,
        using=using,
        command=command,
        role=role,
    )


def topic_policy(w: Writer) -> bool:
    table = w.table(lambda t: bool(t.info.get("rls")))
    if not table:
        return False
    w.use(table)
    _policy(w, table)
    return True


def topic_policy_again(w: Writer) -> bool:
    policy = w.any("policy")
    if not policy:
        return False
    table = policy.info["table"]
    policy.info["using"] = f"auth.uid() IS NOT NULL AND {w.rng.randint(2, 99)} > 1"
    if w.chance(0.5):
        w.say(f"ALTER POLICY {policy.info['name']} ON {table.identity} USING ({policy.info['using']})")
    else:
        w.say(f"DROP POLICY {policy.info['name']} ON {table.identity}")
        w.say(
            f"CREATE POLICY {policy.info['name']} ON {table.identity} FOR {policy.info['command']} "
            f"TO {policy.info['role']} USING ({policy.info['using']})"
        )
    w.use(policy)
    w.change(policy)
    return True


def topic_extension(w: Writer) -> bool:
    left = [
        e
        for e in ("citext", "pg_trgm", "btree_gist", "hstore", "ltree", "unaccent")
        if not any(t.identity == e for t in w.history.alive("extension"))
    ]
    if not left:
        return False
    name = w.rng.choice(left)
    w.say(f"CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {w.style.schema}")
    w.make("extension", name)
    return True


def topic_data(w: Writer) -> bool:
    table = w.table(lambda t: t.info.get("key") in ("identity", "serial", "uuid"))
    column = table and w.plain_column(table, lambda c: c.info["type"] == "text")
    if not table or not column:
        return False
    name = column.info["name"]
    w.say(f"UPDATE {table.identity} SET {name} = upper({name}) WHERE {name} IS NOT NULL")
    w.use(column)
    return True


def topic_comment(w: Writer) -> bool:
    table = w.table()
    if not table:
        return False
    w.say(
        f"COMMENT ON TABLE {table.identity} IS 'What we know of {w.rng.choice(NOUNS)}s; {w.rng.randint(1, 99)}'"
    )
    w.use(table)
    w.change(table)
    return True


def topic_drop_column(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(table)
    if not table or not column or len(w.columns(table)) < 5:
        return False
    exists = "IF EXISTS " * w.style.careful
    w.say(f"ALTER TABLE {table.identity} DROP COLUMN {exists}{column.info['name']}")
    w.use(table, column)
    w.drop(column)
    return True


def topic_drop_index(w: Writer) -> bool:
    index = w.any("index", fits=lambda t: t.made != w.now.index)
    if not index:
        return False
    w.say(f"DROP INDEX {'IF EXISTS ' * w.style.careful}{index.identity}")
    w.use(index)
    w.drop(index)
    return True


def topic_drop_view(w: Writer) -> bool:
    view = w.any("view", fits=lambda t: t.made != w.now.index)
    if not view:
        return False
    w.say(f"DROP VIEW {'IF EXISTS ' * w.style.careful}{view.identity}")
    w.use(view)
    w.drop(view)
    return True


def topic_rename_column(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(table, lambda c: c.made != w.now.index)
    if not table or not column or bare(column.info["name"]).endswith("_old"):
        return False
    name = w.spell(f"{bare(column.info['name']).lower()}_old")
    w.say(f"ALTER TABLE {table.identity} RENAME COLUMN {column.info['name']} TO {name}")
    w.use(column)
    w.drop(column)
    made = w.make("table column", f"{table.identity}.{name}", **{**column.info, "name": name})
    made.made = w.now.index
    return True


def topic_type(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(
        table, lambda c: c.info["type"] in ("integer", "smallint", "numeric(12,2)")
    )
    if not table or not column:
        return False
    wider = {"integer": "bigint", "smallint": "integer", "numeric(12,2)": "numeric"}
    column.info["type"] = wider[column.info["type"]]
    w.say(f"ALTER TABLE {table.identity} ALTER COLUMN {column.info['name']} TYPE {column.info['type']}")
    w.use(column)
    w.change(column)
    return True


def topic_log(w: Writer) -> bool:
    name = w.name(f"{w.rng.choice(NOUNS)}_log")
    identity = f"{w.style.schema}.{name}"
    table = w.make(
        "table", identity, name=name, schema=w.style.schema, partitioned=True, key="none", next=2024 * 12
    )
    spec = ["at timestamp with time zone NOT NULL"]
    _column(w, table, "at", "timestamp with time zone", key=True)
    for column, type_ in _new_columns(w, table, 3):
        spec.append(f"{_column(w, table, column, type_).info['name']} {type_}")
    w.say(f"CREATE TABLE {w.if_not_exists}{identity} ({', '.join(spec)}) PARTITION BY RANGE (at)")
    _partition(w, table)
    if w.chance(0.5):
        index = w.name(f"{name}_at_idx")
        w.say(f"CREATE INDEX {w.if_not_exists}{index} ON {identity} (at)")
        w.make(
            "index", f"{w.style.schema}.{index}", table=table, name=index, column=w.columns(table)[0],
            definition=f"ON {identity} (at)", bare=True, partitioned=True,
        )  # fmt: skip
    return True


def month(number: int) -> str:
    return f"{number // 12}-{number % 12 + 1:02}-01"


def _partition(w: Writer, table: Thing) -> None:
    start = table.info["next"]
    table.info["next"] = start + 1
    name = f"{table.info['name']}_{start // 12}_{start % 12 + 1:02}"
    w.say(
        f"CREATE TABLE {w.if_not_exists}{w.style.schema}.{name} PARTITION OF {table.identity} "
        f"FOR VALUES FROM ('{month(start)}') TO ('{month(start + 1)}')"
    )
    w.make(
        "table", f"{w.style.schema}.{name}", name=name, schema=w.style.schema, partition=True, parent=table
    )


def topic_partition(w: Writer) -> bool:
    table = w.any("table", fits=lambda t: bool(t.info.get("partitioned")))
    if not table:
        return False
    for _ in range(w.rng.choice((1, 1, 2))):
        _partition(w, table)
    w.use(table)
    return True


def topic_block(w: Writer) -> bool:
    table = w.table(lambda t: not t.info.get("partitioned"))
    column = table and w.plain_column(table, lambda c: c.info["type"] not in ("jsonb", "inet", "text[]"))
    if not table or not column:
        return False
    name = w.name(f"ix_{bare(table.info['name'])}_{bare(column.info['name'])}".lower())
    column.info["key"] = True
    definition = f"ON {table.identity} ({column.info['name']})"
    w.say(
        f"DO $do$\nBEGIN\n    EXECUTE 'CREATE INDEX {name} {definition}';\n"
        "EXCEPTION WHEN duplicate_table THEN\n    RAISE NOTICE 'there already';\nEND\n$do$"
    )
    w.use(table, column)
    w.make(
        "index", f"{table.info['schema']}.{name}", table=table, name=name, column=column, definition=definition,
        bare=True, block=True,
    )  # fmt: skip
    return True


TENANTS = ("north", "south", "east", "west", "coast")


def topic_tenant(w: Writer) -> bool:
    known = [t for t in w.history.alive("schema") if t.info.get("tenant")]
    if known:
        return topic_tenants_change(w)
    for tenant in TENANTS:
        schema = w.make("schema", f"t_{tenant}", tenant=True)
        w.make(
            "table", f"{schema.identity}.bills", name="bills", schema=schema.identity, tenant=True, key="none"
        )
    names = ", ".join(f"'t_{t}'" for t in TENANTS)
    w.say(
        f"DO $$ DECLARE s text; BEGIN\nFOREACH s IN ARRAY ARRAY[{names}] LOOP\n"
        "    EXECUTE format('CREATE SCHEMA %I', s);\n"
        "    EXECUTE format('CREATE TABLE %I.bills (id bigint PRIMARY KEY, total numeric)', s);\n"
        "END LOOP; END $$"
    )
    return True


def topic_tenants_change(w: Writer) -> bool:
    tables = [t for t in w.history.alive("table") if t.info.get("tenant")]
    if not tables:
        return False
    names = ", ".join(f"'t_{t}'" for t in TENANTS)
    word = w.name(f"c_{w.rng.choice(NOUNS)}")
    w.say(
        f"DO $$ DECLARE s text; BEGIN\nFOREACH s IN ARRAY ARRAY[{names}] LOOP\n"
        f"    EXECUTE format('ALTER TABLE %I.bills ADD COLUMN {word} text', s);\n"
        f"    EXECUTE format('CREATE INDEX bills_{word} ON %I.bills ({word})', s);\n"
        "END LOOP; END $$"
    )
    for table in tables:
        w.use(table)
        column = _column(w, table, word, "text", key=True)
        w.make(
            "index", f"{table.info['schema']}.bills_{word}", table=table, name=f"bills_{word}", column=column,
            definition=f"ON {table.identity} ({word})", bare=True, tenant=True,
        )  # fmt: skip
    return True


def topic_several(w: Writer) -> bool:
    """A feature: several things in one file."""
    done = topic_table(w)
    for topic in w.rng.sample((topic_index, topic_columns, topic_function, topic_grant, topic_view), 2):
        done = topic(w) or done
    return done


TOPICS: dict[str, Callable[[Writer], bool]] = {
    name.removeprefix("topic_"): made
    for name, made in list(globals().items())
    if name.startswith("topic_") and callable(made)
}

#: Names of roles that histories grant to, which exist in every cluster.
ROLES = ("app_read", "app_write", "anon", "authenticated", "service_role")


def generate(style: str, size: int, seed: int) -> History:
    """A history of *size* migrations; the same for the same arguments."""
    w = Writer(STYLES[style], seed)
    openings: Sequence[Callable[[Writer], bool]] = (
        _schema,
        topic_table,
        topic_table,
        topic_function,
        topic_index,
    )
    day = 0
    while len(w.history.migrations) < size:
        index = len(w.history.migrations)
        w.now = Migration(index, "", author=w.rng.choice(AUTHORS), day=day)
        topic = openings[index] if index < len(openings) else None
        while not w.now.statements:
            names = list(w.style.weights)
            name = w.rng.choices(names, [w.style.weights[n] for n in names])[0]
            chosen = topic or TOPICS[name]
            if not chosen(w):
                topic = None
                assert not w.now.did and not w.now.statements, name
                continue
            w.now.name = f"{chosen.__name__.strip('_').removeprefix('topic_')}_{index + 1}"
        if w.chance(0.4):
            w.now.comment = (
                f"{w.rng.choice(('TICKET', 'OPS', 'fix', 'feat'))}-{w.rng.randint(10, 9999)}: {w.now.name}"
            )
        day += w.rng.choice((0, 0, 1, 1, 2, 5))
        w.history.migrations.append(w.now)
    return w.history


def _schema(w: Writer) -> bool:
    if w.style.schema == "public":
        return topic_table(w)
    w.say(f"CREATE SCHEMA {w.if_not_exists}{w.style.schema}")
    w.make("schema", w.style.schema)
    return True
