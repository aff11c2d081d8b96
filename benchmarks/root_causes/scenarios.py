"""Injuries and harmless events, each with its truth: all of facts/root_causes.md §5, and more.

An entry of :data:`SCENARIOS` is a function that does one thing to a :class:`Draft`; its name is the case's class. Those
with a number are the facts' own. ``negative`` ones must lead to no finding at all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from root_causes.drafts import MAY, MUST, OPEN, Draft, Step
from root_causes.histories import Migration, Thing, month
from root_causes.ledgers import Text, Unit

__all__ = ["SCENARIOS", "Scenario"]

MANUAL, MISSING, UNKNOWN_MIGRATION = "manual_change", "missing_migration", "unknown_migration"
LATE, EDITED, UNRECORDED = "out_of_order", "edited_after_apply", "applied_not_recorded"
NEVER_RAN, INSTALLATION, UNKNOWN = "recorded_not_applied", "environment_difference", "unknown"
PARTIAL, CAPTURED, REVERTED = "partial_apply", "captured_hotfix", "reverted_hotfix"
RESTAMPED, REBASELINED = "restamped", "rebaselined"


@dataclass(frozen=True)
class Scenario:
    """``mixes``: can be one of several injuries in a case; ``negative``: nothing may be found."""

    name: str
    inflict: Callable[[Draft], object]
    group: str
    negative: bool = False
    mixes: bool = True


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, group: str, *, negative: bool = False, mixes: bool = True
) -> Callable[[Callable[[Draft], object]], Callable[[Draft], object]]:
    def register(inflict: Callable[[Draft], object]) -> Callable[[Draft], None]:
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, inflict, group, negative, mixes)
        return inflict

    return register


# --- a hand --------------------------------------------------------------------------------------------------

NEW, LAST, EITHER, ANY = "new", "last", "either", "any"


def by_hand(
    name: str,
    kinds: str | Sequence[str],
    sql: Callable[[Thing, Draft], str | Sequence[str]],
    culprits: str,
    objects: Callable[[Thing], Sequence[str]] = lambda t: (t.label,),
    fits: Callable[[Thing], object] = lambda t: True,
    drops: bool = False,
) -> None:
    """Register a change by hand to an object drawn at random.

    *culprits*: none for what is new; the last migration that wrote the object; that or the one that made it (a part of
    a table is changed, something is dropped: either is said of it); or any of these (a grant: nobody wrote what was added).
    """

    def inflict(d: Draft) -> None:
        thing = d.pick(*([kinds] if isinstance(kinds, str) else kinds), fits=fits)
        said = sql(thing, d)
        d.hand(*([said] if isinstance(said, str) else said))
        named = {
            NEW: (None,),
            LAST: (thing.last,),
            EITHER: (thing.last, thing.made),
            ANY: (thing.last, thing.made, None),
        }
        live, less = MUST, MUST
        if drops and lone(d, thing):
            # All that the migration did is gone: whether it was ever there, only the server's traces tell.
            live, less = (MUST if d.tool.link == "exact" and thing.last < len(d.git) - 1 else OPEN), OPEN
        d.tell(
            MANUAL,
            named[EITHER] if drops else named[culprits],
            objects(thing),
            live=live,
            bare=less,
        )

    scenario(name, "manual")(inflict)


def lone(d: Draft, thing: Thing) -> bool:
    """Whether what is left of the migration that last wrote the object is that object alone."""
    return all(t is thing or t.info.get("table") is thing for t in d.did(thing.last))


def plain_table(t: Thing) -> bool:
    return not t.info.get("partition") and not t.info.get("partitioned") and not t.info.get("tenant")


def ordinary(t: Thing) -> bool:
    """A column on which nothing stands."""
    table = t.info["table"]
    return not t.info.get("key") and plain_table(table) and not t.users[1:] and t.info["name"] != "id"


def simple_function(t: Thing) -> bool:
    return "texts" in t.info


def hotfix(t: Thing, d: Draft) -> str:
    text: str = t.info["texts"][max(t.info["texts"])]
    return text.replace("BEGIN\n", f"BEGIN\n    n := n + {d.rng.randint(11, 99)};\n").replace(
        "SELECT count(*) +", f"SELECT {d.rng.randint(2, 9)} * count(*) +"
    )


def column_table(t: Thing) -> str:
    return str(t.info["table"].identity)


def made_in(t: Thing, name: str) -> str:
    return f"{t.info['schema']}.{name}"


TABLE = "table"
by_hand(
    "01 column added",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} ADD COLUMN oops text",
    NEW,
    lambda t: [f"table column {t.identity}.oops"],
    plain_table,
)
by_hand(
    "02 index made",
    "table column",
    lambda t, d: f"CREATE INDEX oops_idx ON {column_table(t)} ({t.info['name']})",
    NEW,
    lambda t: [f"index {t.info['table'].info['schema']}.oops_idx"],
    lambda t: plain_table(t.info["table"]) and t.info["type"] in ("text", "integer", "bigint", "uuid"),
)
by_hand("03 function hotfixed", "function", hotfix, LAST, fits=simple_function)
by_hand(
    "04 index dropped",
    "index",
    lambda t, d: f"DROP INDEX {t.identity}",
    LAST,
    drops=True,
    fits=lambda t: not t.info.get("tenant"),
)
by_hand(
    "27 constraint validated",
    "table constraint",
    lambda t, d: f"ALTER TABLE {column_table(t)} VALIDATE CONSTRAINT {t.info['name']}",
    LAST,
    fits=lambda t: t.info.get("valid") is False,
)
by_hand(
    "28 enum value before",
    "type",
    lambda t, d: f"ALTER TYPE {t.identity} ADD VALUE 'odd' BEFORE '{t.info['values'][0]}'",
    EITHER,
    fits=lambda t: t.info.get("enum"),
)
by_hand(
    "31 default in other words",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} SET DEFAULT CURRENT_TIMESTAMP",
    LAST,
    fits=lambda t: t.info.get("default") == "now()",
)
by_hand(
    "32 sequence let go",
    "sequence",
    lambda t, d: f"ALTER SEQUENCE {t.identity} OWNED BY NONE",
    EITHER,
    fits=lambda t: t.info.get("owned"),
)
by_hand(
    "34 table renamed",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} RENAME TO moved_away",
    EITHER,
    lambda t: [t.label, f"table {made_in(t, 'moved_away')}"],
    plain_table,
)
by_hand(
    "36 column renamed",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} RENAME {t.info['name']} TO anew",
    EITHER,
    lambda t: [t.label, f"table column {column_table(t)}.anew"],
    ordinary,
)
by_hand(
    "37 trigger disabled",
    "trigger",
    lambda t, d: f"ALTER TABLE {column_table(t)} DISABLE TRIGGER {t.info['name']}",
    LAST,
)
by_hand(
    "38 row security off",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} DISABLE ROW LEVEL SECURITY",
    EITHER,
    fits=lambda t: t.info.get("rls"),
)
by_hand(
    "39 policy widened",
    "policy",
    lambda t, d: f"ALTER POLICY {t.info['name']} ON {column_table(t)} USING (true)",
    LAST,
)
by_hand("40 granted to all", TABLE, lambda t, d: f"GRANT SELECT ON {t.identity} TO PUBLIC", ANY)
by_hand(
    "42 owner of one table",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} OWNER TO dashboard",
    EITHER,
    fits=plain_table,
)
by_hand(
    "46 partition made",
    TABLE,
    lambda t, d: (
        f"CREATE TABLE {made_in(t, 'by_cron')} PARTITION OF {t.identity} FOR VALUES FROM ('{month(3000)}') "
        f"TO ('{month(3001)}')"
    ),
    NEW,
    lambda t: [f"table {made_in(t, 'by_cron')}"],
    lambda t: t.info.get("partitioned"),
)
by_hand(
    "47 partition detached",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.info['parent'].identity} DETACH PARTITION {t.identity}",
    EITHER,
    fits=lambda t: t.info.get("partition"),
)
by_hand(
    "51 check of one partition",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} ADD CONSTRAINT only_here CHECK (at > '2000-01-01')",
    NEW,
    lambda t: [f"table constraint only_here on {t.identity}"],
    lambda t: t.info.get("partition"),
)

by_hand(
    "column dropped",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} DROP COLUMN {t.info['name']}",
    EITHER,
    fits=ordinary,
    drops=True,
)
by_hand(
    "column dropped, cascade",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} DROP COLUMN {t.info['name']} CASCADE",
    EITHER,
    fits=lambda t: (
        t.info.get("key")
        and t.info["type"] == "text"
        and plain_table(t.info["table"])
        and t.last < t.users[-1]
    ),
)
by_hand(
    "column's type changed",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} TYPE varchar(80)",
    EITHER,
    fits=lambda t: ordinary(t) and t.info["type"] == "text",
)
by_hand(
    "column's default changed",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} SET DEFAULT 'by hand'",
    EITHER,
    fits=lambda t: ordinary(t) and t.info["type"] == "text",
)
by_hand(
    "column's default dropped",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} DROP DEFAULT",
    EITHER,
    fits=lambda t: t.info.get("default") and t.last == t.made,
)
by_hand(
    "not null set",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} SET NOT NULL",
    EITHER,
    fits=lambda t: ordinary(t) and t.info.get("not_null") is False,
)
by_hand(
    "not null dropped",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ALTER {t.info['name']} DROP NOT NULL",
    EITHER,
    fits=lambda t: t.info.get("not_null") and plain_table(t.info["table"]) and t.last == t.made,
)
by_hand(
    "identity by default",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} ALTER id SET GENERATED BY DEFAULT",
    EITHER,
    lambda t: [f"table column {t.identity}.id"],
    lambda t: t.info.get("key") == "identity",
)
by_hand(
    "column's comment",
    "table column",
    lambda t, d: f"COMMENT ON COLUMN {t.identity} IS 'do not use'",
    ANY,
    fits=ordinary,
)
by_hand(
    "check added",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ADD CONSTRAINT sane CHECK ({t.info['name']} > 0)",
    NEW,
    lambda t: [f"table constraint sane on {column_table(t)}"],
    lambda t: t.info["type"] == "integer" and plain_table(t.info["table"]),
)
by_hand(
    "constraint dropped",
    "table constraint",
    lambda t, d: f"ALTER TABLE {column_table(t)} DROP CONSTRAINT {t.info['name']}",
    LAST,
    drops=True,
)
by_hand(
    "check rewritten",
    "table constraint",
    lambda t, d: [
        f"ALTER TABLE {column_table(t)} DROP CONSTRAINT {t.info['name']}",
        f"ALTER TABLE {column_table(t)} ADD CONSTRAINT {t.info['name']} CHECK ({t.info['condition']} OR true)",
    ],
    LAST,
    fits=lambda t: t.info["type"] == "check" and t.info.get("valid", True),
)
by_hand(
    "foreign key's action",
    "table constraint",
    lambda t, d: [
        f"ALTER TABLE {column_table(t)} DROP CONSTRAINT {t.info['name']}",
        f"ALTER TABLE {column_table(t)} ADD CONSTRAINT {t.info['name']} FOREIGN KEY ({t.info['column'].info['name']})"
        f" REFERENCES {t.info['parent'].identity} (id) ON DELETE RESTRICT",
    ],
    LAST,
    fits=lambda t: t.info["type"] == "foreign key",
)
by_hand(
    "unique added",
    "table column",
    lambda t, d: f"ALTER TABLE {column_table(t)} ADD CONSTRAINT only_one UNIQUE ({t.info['name']})",
    NEW,
    lambda t: [f"table constraint only_one on {column_table(t)}"],
    lambda t: t.info["type"] in ("text", "uuid") and plain_table(t.info["table"]),
)
by_hand(
    "index made again, other columns",
    "index",
    lambda t, d: [f"DROP INDEX {t.identity}", f"CREATE INDEX {t.info['name']} ON {column_table(t)} (id)"],
    LAST,
    fits=lambda t: plain_table(t.info["table"]) and t.info["table"].info.get("key") != "none",
)
by_hand(
    "index made unique",
    "index",
    lambda t, d: [f"DROP INDEX {t.identity}", f"CREATE UNIQUE INDEX {t.info['name']} {t.info['definition']}"],
    LAST,
    fits=lambda t: plain_table(t.info["table"]) and t.info["column"].info["type"] == "uuid",
)
by_hand(
    "index renamed",
    "index",
    lambda t, d: f"ALTER INDEX {t.identity} RENAME TO other_idx",
    LAST,
    lambda t: [t.label, f"index {t.identity.split('.')[0]}.other_idx"],
    lambda t: not t.info.get("tenant"),
)
by_hand(
    "index's fillfactor",
    "index",
    lambda t, d: f"ALTER INDEX {t.identity} SET (fillfactor = 70)",
    LAST,
    fits=lambda t: not t.info.get("partitioned") and not t.info.get("tenant"),
)
by_hand(
    "partition's own index",
    TABLE,
    lambda t, d: f"CREATE INDEX just_here ON {t.identity} (at)",
    NEW,
    lambda t: [f"index {made_in(t, 'just_here')}"],
    lambda t: t.info.get("partition"),
)
by_hand(
    "partition dropped",
    TABLE,
    lambda t, d: f"DROP TABLE {t.identity}",
    EITHER,
    fits=lambda t: t.info.get("partition"),
    drops=True,
)
by_hand(
    "table made",
    TABLE,
    lambda t, d: [
        f"CREATE TABLE {made_in(t, 'scratch_pad')} (id int PRIMARY KEY, t text)",
        f"CREATE INDEX ON {made_in(t, 'scratch_pad')} (t)",
    ],
    NEW,
    lambda t: [f"table {made_in(t, 'scratch_pad')}"],
    plain_table,
)
by_hand(
    "table copied",
    TABLE,
    lambda t, d: f"CREATE TABLE {made_in(t, 'backup_2025')} AS TABLE {t.identity}",
    NEW,
    lambda t: [f"table {made_in(t, 'backup_2025')}"],
    plain_table,
)
by_hand(
    "table dropped, cascade",
    TABLE,
    lambda t, d: f"DROP TABLE {t.identity} CASCADE",
    EITHER,
    fits=lambda t: plain_table(t) and t.last < max(t.users, default=0),
)
by_hand(
    "table unlogged",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} SET UNLOGGED",
    EITHER,
    fits=lambda t: plain_table(t) and not t.users and t.info["key"] == "uuid",
)
by_hand(
    "table's fillfactor",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} SET (fillfactor = 80)",
    ANY,
    fits=plain_table,
)
by_hand("table's comment", TABLE, lambda t, d: f"COMMENT ON TABLE {t.identity} IS 'ask Bob first'", ANY)
by_hand(
    "replica identity",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} REPLICA IDENTITY FULL",
    ANY,
    fits=plain_table,
)
by_hand(
    "row security forced",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} FORCE ROW LEVEL SECURITY",
    ANY,
    fits=lambda t: t.info.get("rls"),
)
by_hand(
    "row security on",
    TABLE,
    lambda t, d: f"ALTER TABLE {t.identity} ENABLE ROW LEVEL SECURITY",
    ANY,
    fits=lambda t: plain_table(t) and not t.info.get("rls"),
)
by_hand("granted to a role", TABLE, lambda t, d: f"GRANT DELETE, TRUNCATE ON {t.identity} TO intern", ANY)
by_hand(
    "grant on a column",
    "table column",
    lambda t, d: f"GRANT SELECT ({t.info['name']}) ON {column_table(t)} TO intern",
    ANY,
    lambda t: [t.label, t.info["table"].label],
    ordinary,
)
by_hand(
    "grant taken away",
    TABLE,
    lambda t, d: f"REVOKE ALL ON {t.identity} FROM {', '.join({g[1] for g in t.info['grants']})}",
    ANY,
    fits=lambda t: t.info.get("grants"),
)
by_hand(
    "function dropped",
    "function",
    lambda t, d: f"DROP FUNCTION {t.identity}",
    LAST,
    fits=simple_function,
    drops=True,
)
by_hand(
    "function overloaded",
    "function",
    lambda t, d: (
        f"CREATE FUNCTION {t.identity.split('(')[0]}(n bigint, extra text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
    ),
    NEW,
    lambda t: [f"function {t.identity.split('(')[0]}(bigint,text)"],
    simple_function,
)
by_hand(
    "function immutable",
    "function",
    lambda t, d: f"ALTER FUNCTION {t.identity} IMMUTABLE",
    LAST,
    fits=simple_function,
)
by_hand(
    "function's rights",
    "function",
    lambda t, d: f"ALTER FUNCTION {t.identity} SECURITY DEFINER",
    LAST,
    fits=lambda t: simple_function(t) and not t.info["definer"],
)
by_hand(
    "function's search_path",
    "function",
    lambda t, d: f"ALTER FUNCTION {t.identity} SET search_path = pg_catalog",
    LAST,
    fits=lambda t: simple_function(t) and not t.info["definer"],
)
by_hand(
    "function's owner",
    "function",
    lambda t, d: f"ALTER FUNCTION {t.identity} OWNER TO dashboard",
    EITHER,
    fits=simple_function,
)
by_hand(
    "function renamed",
    "function",
    lambda t, d: f"ALTER FUNCTION {t.identity} RENAME TO renamed_fn",
    LAST,
    lambda t: [t.label, f"function {t.identity.split('.')[0]}.renamed_fn(bigint)"],
    simple_function,
)
by_hand(
    "function closed to all",
    "function",
    lambda t, d: f"REVOKE ALL ON FUNCTION {t.identity} FROM PUBLIC",
    ANY,
    fits=lambda t: simple_function(t) and not t.info["definer"],
)
by_hand(
    "trigger dropped",
    "trigger",
    lambda t, d: f"DROP TRIGGER {t.info['name']} ON {column_table(t)}",
    LAST,
    drops=True,
)
by_hand(
    "trigger made",
    "trigger",
    lambda t, d: (
        f"CREATE TRIGGER extra_one BEFORE DELETE ON {column_table(t)} FOR EACH ROW EXECUTE FUNCTION "
        f"{t.info['function'].identity}"
    ),
    NEW,
    lambda t: [f"trigger extra_one on {column_table(t)}"],
)
by_hand(
    "trigger's timing",
    "trigger",
    lambda t, d: (
        f"CREATE OR REPLACE TRIGGER {t.info['name']} BEFORE DELETE ON {column_table(t)} FOR EACH ROW EXECUTE "
        f"FUNCTION {t.info['function'].identity}"
    ),
    LAST,
)
by_hand(
    "trigger function hotfixed",
    "function",
    lambda t, d: (
        f"CREATE OR REPLACE FUNCTION {t.identity} RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    ),
    LAST,
    fits=lambda t: t.info.get("trigger"),
)
by_hand(
    "policy dropped",
    "policy",
    lambda t, d: f"DROP POLICY {t.info['name']} ON {column_table(t)}",
    LAST,
    drops=True,
)
by_hand(
    "policy made",
    TABLE,
    lambda t, d: f"CREATE POLICY let_me_in ON {t.identity} USING (true)",
    NEW,
    lambda t: [f"policy let_me_in on {t.identity}"],
    lambda t: t.info.get("rls"),
)
by_hand(
    "policy's roles",
    "policy",
    lambda t, d: f"ALTER POLICY {t.info['name']} ON {column_table(t)} TO PUBLIC",
    LAST,
)
by_hand("view dropped", "view", lambda t, d: f"DROP VIEW {t.identity}", LAST, drops=True)
by_hand(
    "view hotfixed",
    "view",
    lambda t, d: (
        f"CREATE OR REPLACE VIEW {t.identity} AS SELECT {', '.join(t.info['columns'])} FROM {column_table(t)} LIMIT 10"
    ),
    LAST,
)
by_hand(
    "view widened",
    "view",
    lambda t, d: (
        f"CREATE OR REPLACE VIEW {t.identity} AS SELECT {', '.join(t.info['columns'])}, 1 AS more FROM "
        f"{column_table(t)}{t.info['condition']}"
    ),
    ANY,
    lambda t: [t.label, f"view column {t.identity}.more"],
)
by_hand(
    "view's security", "view", lambda t, d: f"ALTER VIEW {t.identity} SET (security_invoker = true)", LAST
)
by_hand(
    "view made",
    TABLE,
    lambda t, d: f"CREATE VIEW {made_in(t, 'peek')} AS SELECT * FROM {t.identity}",
    NEW,
    lambda t: [f"view {made_in(t, 'peek')}"],
    plain_table,
)
by_hand(
    "materialized view rewritten",
    "materialized view",
    lambda t, d: [
        f"DROP MATERIALIZED VIEW {t.identity}",
        f"CREATE MATERIALIZED VIEW {t.identity} AS SELECT 0::bigint AS n",
    ],
    LAST,
)
by_hand(
    "enum value appended",
    "type",
    lambda t, d: f"ALTER TYPE {t.identity} ADD VALUE 'appended'",
    EITHER,
    fits=lambda t: t.info.get("enum"),
)
by_hand(
    "enum value renamed",
    "type",
    lambda t, d: f"ALTER TYPE {t.identity} RENAME VALUE '{t.info['values'][0]}' TO 'first'",
    EITHER,
    fits=lambda t: t.info.get("enum"),
)
by_hand(
    "type renamed",
    "type",
    lambda t, d: f"ALTER TYPE {t.identity} RENAME TO other_type",
    EITHER,
    lambda t: [t.label, f"type {t.identity.split('.')[0]}.other_type"],
    lambda t: t.info.get("enum") and not t.info.get("used"),
)
by_hand(
    "domain's check",
    "type",
    lambda t, d: f"ALTER DOMAIN {t.identity} ADD CONSTRAINT strict CHECK (VALUE <> 'x')",
    ANY,
    lambda t: [t.label, f"domain constraint strict on {t.identity}"],
    lambda t: t.info.get("domain"),
)
by_hand(
    "sequence's step",
    "sequence",
    lambda t, d: f"ALTER SEQUENCE {t.identity} INCREMENT 10",
    LAST,
    fits=lambda t: not t.info.get("owned"),
)
by_hand(
    "sequence dropped",
    "sequence",
    lambda t, d: f"DROP SEQUENCE {t.identity}",
    LAST,
    fits=lambda t: not t.info.get("owned"),
    drops=True,
)
by_hand(
    "schema made",
    TABLE,
    lambda t, d: ["CREATE SCHEMA attic", "CREATE TABLE attic.box (id int)"],
    NEW,
    lambda t: ["schema attic", "table attic.box"],
)
by_hand(
    "statistics dropped", "statistics object", lambda t, d: f"DROP STATISTICS {t.identity}", LAST, drops=True
)
by_hand(
    "publication made",
    TABLE,
    lambda t, d: f"CREATE PUBLICATION feed FOR TABLE {t.identity}",
    NEW,
    lambda t: ["publication feed", f"publication relation {t.identity} in publication feed", t.label],
    plain_table,
)
by_hand(
    "rule made",
    TABLE,
    lambda t, d: f"CREATE RULE quiet AS ON DELETE TO {t.identity} DO INSTEAD NOTHING",
    NEW,
    lambda t: [f"rule quiet on {t.identity}"],
    plain_table,
)
by_hand(
    "extension made",
    TABLE,
    lambda t, d: f"CREATE EXTENSION seg SCHEMA {t.info['schema']}",
    NEW,
    lambda t: ["extension seg"],
)


@scenario("36 column dropped and another added", "manual")
def column_swapped(d: Draft) -> None:
    column = d.pick("table column", fits=ordinary)
    table = column_table(column)
    d.hand(f"ALTER TABLE {table} DROP {column.info['name']}", f"ALTER TABLE {table} ADD instead bytea")
    live, less = (MUST, MUST) if not lone(d, column) else (OPEN, OPEN)
    d.tell(MANUAL, (column.last, column.made), [column.label], live=live, bare=less)
    d.tell(MANUAL, (None, column.last, column.made), [f"table column {table}.instead"])


@scenario("table moved", "manual")
def moved(d: Draft) -> None:
    table = d.pick(TABLE, fits=plain_table)
    d.hand("CREATE SCHEMA archive", f"ALTER TABLE {table.identity} SET SCHEMA archive")
    d.tell(MANUAL, (table.last, table.made), [table.label, f"table archive.{table.identity.split('.')[1]}"])
    d.tell(MANUAL, (None, table.last, table.made), ["schema archive"])


@scenario("41 default privileges, then a table", "manual")
def default_privileges(d: Draft) -> None:
    table = d.pick(TABLE, fits=lambda t: plain_table(t) and t.made > 1)
    schema = table.info["schema"]
    d.put(
        d.at(table.made),
        Step("sql", sql=f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO intern"),
    )
    acl = f"default acl for role postgres in schema {schema} on tables"
    d.tell(MANUAL, (None, table.made), [acl, table.label])
    d.allowed.append((MANUAL, "table "))
    d.allowed.append((MANUAL, "view "))
    d.allowed.append((MANUAL, "materialized view "))


@scenario("48 some tenants lack an index", "manual")
def tenants(d: Draft) -> None:
    index = d.pick("index", fits=lambda t: t.info.get("tenant"))
    chosen = d.rng.sample([t for t in d.did(index.made) if t.kind == "index"], 3)
    d.take(*chosen)
    d.hand(*(f"DROP INDEX {t.identity}" for t in chosen))
    d.tell(MANUAL, index.made, [t.label for t in chosen])


@scenario("hand of another role", "manual")
def another_role(d: Draft) -> None:
    d.hand(
        "CREATE SCHEMA lab AUTHORIZATION intern",
        "SET ROLE intern",
        "CREATE TABLE lab.trial (id int PRIMARY KEY)",
        "RESET ROLE",
    )
    d.tell(MANUAL, None, ["schema lab", "table lab.trial"])


@scenario("all policies of a table dropped", "manual")
def all_policies(d: Draft) -> None:
    table = d.pick(TABLE, fits=lambda t: len(d.history.of(t, "policy")) > 1)
    for policy in d.history.of(table, "policy"):
        d.hand(f"DROP POLICY {policy.info['name']} ON {table.identity}")
        d.tell(MANUAL, (policy.last, policy.made), [policy.label], live=OPEN, bare=OPEN)


@scenario("six hands", "manual", mixes=False)
def six_hands(d: Draft) -> None:
    simple = [s for s in SCENARIOS.values() if s.group == "manual" and s.mixes and "hands" not in s.name]
    for chosen in d.rng.sample(simple, 6):
        chosen.inflict(d)


@scenario("two hands", "manual")
def two_hands(d: Draft) -> None:
    for _ in range(2):
        d.rng.choice(
            [s for s in list(SCENARIOS.values()) if s.group == "manual" and "hands" not in s.name]
        ).inflict(d)


# --- migrations that were not run ----------------------------------------------------------------------------


def tracked(d: Draft) -> None:
    """The ledger has a row for each migration."""
    d.need(d.tool.link != "one", why="one row says nothing of the others")


def skipped(d: Draft, fits: Callable[[Migration], object], *, bare_mode: str = MUST, live: str = MUST) -> int:
    tracked(d)
    index = d.migration(lambda i: d.leaf(i) and fits(d.history.migrations[i]))
    d.skip(index)
    d.tell(MISSING, index, d.labels(index), live=live, bare=bare_mode)
    return index


def only(kind: str, op: str = "make") -> Callable[[Migration], bool]:
    return lambda m: all(o == op and t.kind == kind for o, t in m.did)


@scenario("05 skipped", "missing")
def skip_leaf(d: Draft) -> None:
    skipped(d, lambda m: True)


for what, chosen in {
    "an index": only("index"), "columns": only("table column"), "a function": only("function"),
    "a function's rewrite": only("function", "change"), "a view's rewrite": only("view", "change"),
    "a policy": only("policy"), "a policy's rewrite": only("policy", "change"), "a grant": only("table", "change"),
    "an enum value": only("type", "change"), "a column's change": only("table column", "change"),
    "a drop": lambda m: all(o == "drop" for o, _ in m.did), "a constraint": only("table constraint"),
    "a rename": lambda m: m.name.startswith("rename"), "a trigger": lambda m: m.name.startswith("trigger"),
    "an extension": only("extension"), "a partition": only("table"),
    "a feature": lambda m: m.name.startswith(("several", "table")),
}.items():  # fmt: skip
    scenario(f"skipped: {what}", "missing")(functools.partial(skipped, fits=chosen))


@scenario("06 skipped, others need it", "missing", mixes=False)
def skip_root(d: Draft) -> None:
    tracked(d)
    index = d.migration(
        lambda i: (
            any(
                op == "make" and t.kind == TABLE and t.users and max(t.users) > i
                for op, t in d.history.migrations[i].did
            )
            and sum(1 for _, t in d.history.migrations[i].did for u in t.users if u > i) < 12
            and i > 1
        )
    )
    d.skip(index)
    d.options["dependants"] = "may fail"
    d.tell(MISSING, index, [t.label for t in d.did(index, "make")])


@scenario("skipped, overwritten since", "missing")
def skip_overwritten(d: Draft) -> None:
    tracked(d)
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 2)
    middle = [i for i in sorted(function.info["texts"])[1:-1] if len(d.history.migrations[i].did) == 1]
    d.need(middle)
    index = d.rng.choice(middle)
    d.used.add(f"migration {index}")
    d.skip(index)
    d.tell(MISSING, index, live=OPEN, bare=OPEN, accept=(UNRECORDED,))


@scenario("skipped, partly overwritten", "missing")
def skip_partly(d: Draft) -> None:
    """Some of what it did was written anew later, some was not; nothing later needs it."""
    tracked(d)

    def partly(index: int) -> bool:
        things = d.did(index)
        kept = [t for t in things if t.last == index and not any(u > index for u in t.users)]
        rest = [t for t in things if t not in kept]
        return bool(kept and rest) and all("texts" in t.info and t.dropped is None for t in rest)

    index = d.migration(partly)
    d.skip(index)
    d.tell(MISSING, index, d.labels(index))


@scenario("skipped: only data", "missing")
def skip_data(d: Draft) -> None:
    tracked(d)
    index = d.migration(lambda i: not d.history.migrations[i].did)
    d.skip(index)
    d.tell(MISSING, index, accept=(UNRECORDED,), live=OPEN, bare=OPEN)


@scenario("not yet deployed", "missing", mixes=False)
def pending(d: Draft) -> None:
    """The last ones; a migration whose whole effect a later one of them undoes leaves only its name."""
    count = d.rng.randint(1, 4)
    last = [m.index for m in d.history.migrations[-count:]]
    d.skip(*last)
    for index in last:
        d.tell(MISSING, index, d.labels(index))


@scenario("skipped: three", "missing")
def skip_three(d: Draft) -> None:
    for _ in range(3):
        skipped(d, lambda m: True)


@scenario("56 drizzle skips what came late", "missing")
def drizzle_late(d: Draft) -> None:
    d.need(d.tool.name == "drizzle")
    skipped(d, lambda m: m.index < len(d.git) - 1)


@scenario("skipped in two environments", "missing")
def skip_two(d: Draft) -> None:
    d.need(len(d.environments) > 1)
    index = skipped(d, lambda m: True)
    other = next(e for e in d.environments if e != d.environment)
    d.skip(index, environment=other)
    d.tell(MISSING, index, d.labels(index), environment=other)


# --- recorded, but not run; run, but not recorded ---------------------------------------------------------------


def roots(d: Draft, index: int) -> list[Thing]:
    """What the migration did, less what goes with something else of it when that is dropped, cascade."""
    things = d.did(index)
    whole = {t.identity for t in things}

    def follows(t: Thing) -> bool:
        above = (t.info.get("table"), t.info.get("function"), t.info.get("column"), t.info.get("parent"))
        return any(x is not t and x in things for x in above) or t.info.get("type") in whole

    return [t for t in things if not follows(t)]


def never_ran(d: Draft, fits: Callable[[Migration], object], *, at_end: bool = False) -> None:
    tracked(d)
    index = d.migration(lambda i: d.leaf(i) and fits(d.history.migrations[i]))
    text = d.text(index)
    if at_end:
        d.skip(index)
        d.steps[d.environment].append(Step("mark", index, text, text))
    else:
        d.set(index, how="mark")
    things = {t.label for t in roots(d, index)}
    changes = any(op != "make" for op, _ in d.history.migrations[index].did)
    said = d.tool.name == "prisma"  # the row itself: no steps
    several = len({t.label for t in d.did(index)}) > 1 and len(things) > 1
    ordered = d.tool.order or not changes
    live = MUST if said or d.tool.link == "exact" or several or changes else OPEN
    if index == len(d.git) - 1 and not said and not several and not changes:
        live = OPEN
    less = MUST if said or (several and ordered) or (changes and d.tool.order) else OPEN
    d.tell(NEVER_RAN, index, d.labels(index), live=live, bare=less)


@scenario("13 recorded only", "recorded")
def recorded_only(d: Draft) -> None:
    never_ran(d, lambda m: True)


@scenario("13 recorded only, at the end", "recorded")
def recorded_only_late(d: Draft) -> None:
    never_ran(d, lambda m: True, at_end=True)


@scenario("recorded only: a function's rewrite", "recorded")
def recorded_only_function(d: Draft) -> None:
    never_ran(d, only("function", "change"))


@scenario("recorded only: a feature", "recorded")
def recorded_only_feature(d: Draft) -> None:
    never_ran(d, lambda m: len({t.kind for _, t in m.did}) > 2)


@scenario("recorded only: a drop", "recorded")
def recorded_only_drop(d: Draft) -> None:
    never_ran(d, lambda m: all(o == "drop" for o, _ in m.did))


def unrecorded(d: Draft, fits: Callable[[Migration], object] = lambda m: True) -> int:
    tracked(d)
    index = d.migration(lambda i: shows(d, i) and fits(d.history.migrations[i]))
    d.options[f"forget {d.environment} {index}"] = ""
    d.tell(UNRECORDED, index, d.labels(index))
    return index


def shows(d: Draft, index: int) -> bool:
    """Whether the schema tells that a migration was run. On the platform the roles have what a grant gives anyhow."""
    given = d.history.style.name == "supabase" and d.history.migrations[index].name.startswith("grant")
    return bool(d.labels(index)) and not given


@scenario("15 row deleted", "unrecorded")
def row_deleted(d: Draft) -> None:
    unrecorded(d)


@scenario("15 row deleted, a function's rewrite", "unrecorded")
def row_deleted_function(d: Draft) -> None:
    unrecorded(d, lambda m: m.name.startswith("again"))


@scenario("run by hand, not recorded", "unrecorded")
def only_run(d: Draft) -> None:
    tracked(d)
    index = d.migration(lambda i: d.leaf(i) and shows(d, i))
    d.set(index, how="only")
    d.tell(UNRECORDED, index, d.labels(index))


@scenario("two rows deleted", "unrecorded")
def two_rows(d: Draft) -> None:
    unrecorded(d)
    unrecorded(d)


@scenario("16 restamped", "restamped")
def restamped(d: Draft) -> None:
    tracked(d)
    d.need(d.tool.name not in ("node-pg-migrate",))
    index = d.migration(lambda i: bool(d.labels(i)))
    unit = d.units[index]
    other = Unit(len(d.git) + 40, unit.name, unit.day)
    d.options[f"restamp {d.environment} {index}"] = str(len(d.git) + 40)
    d.units[len(d.git) + 40] = other
    d.allowed.append((UNKNOWN_MIGRATION, ""))
    # Where the row says nothing of the text, it is a row too many and one too few, as the facts have it.
    accept = () if d.tool.texts else (UNRECORDED,)
    d.tell(RESTAMPED, (index, d.tool.version(other)), accept=accept)


@scenario("renumbered in git", "restamped")
def renumbered(d: Draft) -> None:
    """The file got a new timestamp after it was run, as happens in a rebase; its place stays the same."""
    tracked(d)
    d.need(d.tool.name not in ("goose", "flyway", "drizzle"))
    index = d.migration(lambda i: bool(d.labels(i)))
    key = len(d.git) + 80
    d.units[key] = Unit(index, d.units[index].name, d.units[index].day, shift=3)
    d.renumbered[index] = key
    accept = () if d.tool.texts else (UNRECORDED,)
    for name in d.environments:
        d.tell(RESTAMPED, (index, d.tool.version(d.units[key])), accept=accept, environment=name)
    d.allowed.append((UNKNOWN_MIGRATION, ""))


# --- order --------------------------------------------------------------------------------------------------


def swapped(d: Draft, earlier: int, later: int, objects: Sequence[str], last: int | None = None) -> None:
    """*earlier* was run after *later*."""
    step = d.steps[d.environment].pop(d.at(earlier))
    d.put(d.at(later) + 1, step)
    told = d.tool.order
    live = MUST if told or d.tool.link == "exact" else OPEN
    d.tell(
        LATE,
        earlier if last is None else last,
        objects,
        live=live,
        bare=MUST if told else OPEN,
    )


@scenario("07 wrong order, a function", "order")
def wrong_order(d: Draft) -> None:
    tracked(d)
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 1 and not t.info["definer"])
    earlier, later = sorted(function.info["texts"])[-2:]
    d.need(all(len(d.did(i)) == 1 for i in (earlier, later)))
    d.used |= {f"migration {earlier}", f"migration {later}"}
    swapped(d, earlier, later, [function.label])


@scenario("wrong order, a view", "order")
def wrong_order_view(d: Draft) -> None:
    tracked(d)
    view = d.pick("view", fits=lambda t: len(t.info.get("texts", ())) > 1)
    earlier, later = sorted(view.info["texts"])[-2:]
    d.need(all(len(d.did(i)) == 1 for i in (earlier, later)))
    d.used |= {f"migration {earlier}", f"migration {later}"}
    swapped(d, earlier, later, [view.label])


@scenario("30 order of columns", "order")
def order_of_columns(d: Draft) -> None:
    tracked(d)
    table = d.pick(TABLE, fits=plain_table)
    added = [t for t in d.history.of(table, "table column") if t.made > table.made and d.leaf(t.made)]
    made = sorted({t.made for t in added if len(d.did(t.made)) == 1})
    d.need(len(made) > 1)
    earlier, later = made[-2:]
    d.need(all(d.history.migrations[i].name.startswith("columns") for i in (earlier, later)))
    d.used |= {f"migration {earlier}", f"migration {later}"}
    swapped(d, earlier, later, [t.label for t in added if t.made in (earlier, later)])


@scenario("29 order of enum values", "order")
def order_of_values(d: Draft) -> None:
    tracked(d)
    enum = d.pick("type", fits=lambda t: t.info.get("enum") and len(t.touched) > 2)
    earlier, later = enum.touched[-2:]
    d.need(not any("BEFORE" in s for i in (earlier, later) for s in d.text(i).statements))
    d.used |= {f"migration {earlier}", f"migration {later}"}
    swapped(d, earlier, later, [enum.label])


@scenario("08 wrong order, no matter", "negative", negative=True)
def commuting(d: Draft) -> None:
    tracked(d)
    places = [i for i in range(2, len(d.git) - 1) if independent(d, i, i + 1)]
    d.need(places)
    index = d.rng.choice(places)
    step = d.steps[d.environment].pop(d.at(index))
    d.put(d.at(index + 1) + 1, step)


def independent(d: Draft, one: int, two: int) -> bool:
    """Whether two migrations concern different tables altogether, and neither adds to what the other made."""

    def near(index: int) -> set[str]:
        things = d.did(index)
        users = [t for t in d.history.things if index in t.users]
        return {
            x.label
            for t in (*things, *users)
            for x in (t, t.info.get("table"), t.info.get("parent"))
            if isinstance(x, Thing)
        }

    return (
        bool(d.did(one))
        and bool(d.did(two))
        and not near(one) & near(two)
        and not d.history.migrations[two].name.startswith("default")
    )


# --- edits -------------------------------------------------------------------------------------------------


def with_statement(text: Text, old: str, new: str) -> Text:
    assert old in text.statements
    return Text(tuple(new if s == old else s for s in text.statements), text.comment, text.autocommit)


def edited_function(d: Draft) -> tuple[Thing, int, Text]:
    function = d.pick("function", fits=simple_function)
    index = max(function.info["texts"])
    text = d.text(index)
    now = function.info["texts"][index]
    return function, index, with_statement(text, now, hotfix(function, d))


@scenario("09 edited, a function", "edited")
def edited(d: Draft) -> None:
    function, index, before = edited_function(d)
    d.used.add(f"migration {index}")
    d.edit(index, before, d.environments)
    for name in d.environments:
        d.tell(EDITED, index, [function.label], environment=name)


@scenario("12 edited between two deployments", "edited")
def edited_between(d: Draft) -> None:
    d.need(len(d.environments) > 1)
    function, index, before = edited_function(d)
    d.used.add(f"migration {index}")
    d.edit(index, before)
    d.tell(EDITED, index, [function.label])


@scenario("edited, and the ledger repaired", "edited")
def edited_repaired(d: Draft) -> None:
    tracked(d)
    function, index, before = edited_function(d)
    d.used.add(f"migration {index}")
    d.edit(index, before)
    d.set(index, recorded=d.text(index))
    d.tell(EDITED, index, [function.label])


@scenario("edited before it was committed", "edited")
def edited_uncommitted(d: Draft) -> None:
    function, index, before = edited_function(d)
    d.used.add(f"migration {index}")
    d.edit(index, before, committed=False)
    live = MUST if d.tool.texts or d.tool.link == "exact" else OPEN
    d.tell(EDITED, index, [function.label], live=live, bare=MUST if d.tool.texts else OPEN)


@scenario("edited twice", "edited")
def edited_twice(d: Draft) -> None:
    function, index, before = edited_function(d)
    d.used.add(f"migration {index}")
    first = with_statement(d.text(index), function.info["texts"][index], hotfix(function, d) + " -- first")
    d.edit(index, before)
    d.git[index].insert(0, first)
    d.tell(EDITED, index, [function.label])


def edit_column(
    d: Draft, change: Callable[[str, str], str], fits: Callable[[Thing], object]
) -> tuple[Thing, int]:
    """A column of a CREATE TABLE said something else when it was run."""
    column = d.pick(
        "table column",
        fits=lambda t: ordinary(t) and t.made == t.info["table"].made and t.last == t.made and fits(t),
    )
    index = column.made
    text = d.text(index)
    statement = next(
        s for s in text.statements if s.startswith("CREATE TABLE") and f"{column_table(column)} (" in s
    )
    line = next(x for x in statement.split("\n") if x.strip().startswith(f"{column.info['name']} "))
    before = with_statement(text, statement, statement.replace(line, change(line, column.info["type"])))
    d.used.add(f"migration {index}")
    d.edit(index, before)
    return column, index


@scenario("edited, a column's type", "edited")
def edited_type(d: Draft) -> None:
    column, index = edit_column(
        d, lambda line, type_: line.replace(" text", " varchar(40)"), lambda t: t.info["type"] == "text"
    )
    d.tell(EDITED, index, [column.label])


@scenario("edited, a column taken out", "edited")
def edited_away(d: Draft) -> None:
    """The file made one more column when it was run."""
    column, index = edit_column(d, lambda line, type_: f"    once_here text,\n{line}", lambda t: True)
    d.tell(EDITED, index, [f"table column {column_table(column)}.once_here"])


@scenario("33 edited, was serial", "edited")
def edited_serial(d: Draft) -> None:
    table = d.pick(TABLE, fits=lambda t: t.info.get("key") == "identity" and plain_table(t))
    index = table.made
    text = d.text(index)
    statement = next(
        s for s in text.statements if s.startswith("CREATE TABLE") and f"{table.identity} (" in s
    )
    before = statement.replace("id bigint GENERATED ALWAYS AS IDENTITY", "id bigserial")
    d.used.add(f"migration {index}")
    d.edit(index, with_statement(text, statement, before))
    d.tell(EDITED, index, [f"table column {table.identity}.id"])


@scenario("edited, an index", "edited")
def edited_index(d: Draft) -> None:
    index = d.pick(
        "index", fits=lambda t: not t.info.get("block") and t.info["bare"] and not t.info.get("tenant")
    )
    text = d.text(index.made)
    statement = next(s for s in text.statements if f"{index.info['name']} ON" in s)
    d.used.add(f"migration {index.made}")
    d.edit(index.made, with_statement(text, statement, statement[:-1] + " DESC)"))
    d.tell(EDITED, index.made, [index.label])


@scenario("edited, a policy", "edited")
def edited_policy(d: Draft) -> None:
    policy = d.pick("policy", fits=lambda t: t.last == t.made)
    text = d.text(policy.made)
    statement = next(s for s in text.statements if s.startswith(f"CREATE POLICY {policy.info['name']} "))
    d.used.add(f"migration {policy.made}")
    d.edit(policy.made, with_statement(text, statement, statement.split(" USING")[0] + " USING (true)"))
    d.tell(EDITED, policy.made, [policy.label])


@scenario("edited, a statement added", "edited")
def edited_more(d: Draft) -> None:
    """The file makes an index since, which nobody has."""
    column = d.pick("table column", fits=lambda t: ordinary(t) and t.info["type"] in ("text", "integer"))
    index = column.made
    text = d.text(index)
    now = Text(
        (*text.statements, f"CREATE INDEX afterthought ON {column_table(column)} ({column.info['name']})"),
        text.comment,
    )
    d.used.add(f"migration {index}")
    d.git[index].append(now)
    for name in d.environments:
        d.tell(EDITED, index, [f"index {column.info['table'].info['schema']}.afterthought"], environment=name)


@scenario("10 comment edited", "negative", negative=True)
def comment_edited(d: Draft) -> None:
    index = d.migration(lambda i: True)
    text = d.text(index)
    d.git[index].append(Text(text.statements, "reworded since"))


@scenario("10 spaces edited", "negative", negative=True)
def spaces_edited(d: Draft) -> None:
    index = d.migration(lambda i: True)
    text = d.text(index)
    d.git[index].append(Text(text.statements, text.comment, tail="\n\n-- end of file\n\n"))


@scenario("11 edited and back", "negative", negative=True)
def edited_back(d: Draft) -> None:
    _, index, other = edited_function(d)
    d.git[index] += [other, d.text(index)]


# --- half applied ------------------------------------------------------------------------------------------


def halves(d: Draft) -> int:
    """A late migration of several independent statements, without a transaction."""
    d.need(d.tool.autocommit, why="no directive against transactions")
    index = d.migration(
        lambda i: (
            d.leaf(i)
            and len(d.text(i).statements) > 2
            and len({t.label for t in d.did(i)}) > 2
            and not d.history.migrations[i].name.startswith("trigger")
        )
    )
    text = d.text(index)
    whole = Text(text.statements, text.comment, True)
    d.git[index] = [whole]
    for name in d.environments:
        d.set(index, name, text=whole, recorded=whole)
    return index


def beginning(d: Draft, index: int) -> Text:
    """The file up to some statement; what is done and what is left can both be seen."""
    text = d.text(index)
    seen = [s.startswith(("CREATE", "ALTER TABLE")) for s in text.statements]
    places = [k for k in range(1, len(seen)) if any(seen[:k]) and any(seen[k:])]
    d.need(places)
    return Text(text.statements[: d.rng.choice(places)], text.comment, True)


@scenario("19 stopped half-way", "partial")
def half(d: Draft) -> None:
    index = halves(d)
    d.set(index, how="only", text=beginning(d, index))
    d.tell(PARTIAL, index)


@scenario("stopped half-way, then marked", "partial")
def half_marked(d: Draft) -> None:
    tracked(d)
    index = halves(d)
    part = beginning(d, index)
    d.set(index, text=part)
    # One thing that lacks may as well have been dropped; who drops all that comes after some statement?
    left = [
        t for t in d.text(index).statements[len(part.statements) :] if t.startswith(("CREATE", "ALTER TABLE"))
    ]
    mode = MUST if len(left) > 1 else OPEN
    d.tell(PARTIAL, index, live=mode, bare=mode)


@scenario("17 invalid index", "partial")
def invalid_index(d: Draft) -> None:
    """CREATE INDEX CONCURRENTLY met duplicates; what it leaves is not valid."""
    d.need(d.tool.autocommit)
    column = d.pick(
        "table column",
        fits=lambda t: (
            ordinary(t)
            and t.info["type"] == "text"
            and t.info["table"].info.get("key") in ("identity", "serial")
            and t.info["table"].made < len(d.git) - 1
        ),
    )
    table = column_table(column)
    index = len(d.git)
    d.need(index not in d.units and f"migration {index}" not in d.used)
    d.units[index] = Unit(index, "unique_concurrently", d.history.migrations[-1].day + 1)
    text = Text((f"CREATE UNIQUE INDEX CONCURRENTLY made_late ON {table} ({column.info['name']})",), "", True)
    d.git[index] = [text]
    for name in d.environments:
        if name != d.environment:
            d.steps[name].append(Step("run", index, text, text))
    schema = column.info["table"].info["schema"]
    invalid = (
        "UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = "
        f"'{schema}.made_late'::regclass"
    )
    d.hand(text.statements[0], invalid)
    # A dump leaves invalid indexes out: what is restored lacks it, and then it is simply missing.
    d.allowed.append((MISSING, f"index {schema}.made_late"))
    d.tell(PARTIAL, index, [f"index {schema}.made_late"], live=MUST, bare=MAY)


@scenario("18 left by REINDEX", "manual")
def left_by_reindex(d: Draft) -> None:
    index = d.pick("index", fits=lambda t: t.info["bare"] and plain_table(t.info["table"]))
    name = f"{index.info['name']}_ccnew"
    d.hand(
        f"CREATE INDEX {name} {index.info['definition']}",
        f"UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = '{index.identity}_ccnew'::regclass",
    )
    d.tell(MANUAL, (None, index.made), [f"{index.label}_ccnew"], accept=(PARTIAL,), bare=MAY)


@scenario("20 a COMMIT inside", "partial")
def inner_commit(d: Draft) -> None:
    """The file commits by itself and fails after that."""
    d.need(d.tool.name in ("golang-migrate", "prisma", "flyway"))
    index = len(d.git)
    d.need(index not in d.units)
    table = d.pick(TABLE, fits=plain_table)
    d.units[index] = Unit(index, "with_commit", d.history.migrations[-1].day + 1)
    statements = (
        "BEGIN",
        f"ALTER TABLE {table.identity} ADD COLUMN early text",
        "COMMIT",
        f"ALTER TABLE {table.identity} ADD COLUMN late text",
    )
    text = Text(statements, "", True)
    d.git[index] = [Text(statements)]
    for name in d.environments:
        if name != d.environment:
            d.steps[name].append(Step("run", index, text, Text(statements)))
    part = Text((*statements[:3], "SELECT 1/0"), "", True)
    d.steps[d.environment].append(Step("run", index, part, Text(statements)))
    d.options["dependants"] = "may fail"
    d.tell(PARTIAL, index, [f"table column {table.identity}.late"])


@scenario("21 dirty", "partial")
def dirty(d: Draft) -> None:
    d.need(d.tool.name == "golang-migrate")
    index = len(d.git) - 1
    text = d.text(index)
    d.need(f"migration {index}" not in d.used and d.labels(index))
    d.used.add(f"migration {index}")
    d.set(index, text=Text(("SELECT 1/0", *text.statements)), recorded=text)
    d.options["dependants"] = "may fail"
    # Rolled back as a whole: nothing of it is there, and the row says that it failed.
    d.tell(PARTIAL, index, d.labels(index), accept=(MISSING,), live=OPEN, bare=OPEN)


@scenario("prisma failed, rolled back", "partial")
def prisma_failed(d: Draft) -> None:
    d.need(d.tool.name == "prisma")
    index = len(d.git) - 1
    text = d.text(index)
    d.need(f"migration {index}" not in d.used and d.labels(index))
    d.used.add(f"migration {index}")
    d.take(*d.did(index))
    d.set(index, text=Text((*text.statements, "SELECT 1/0")), recorded=text)
    d.options["dependants"] = "may fail"
    d.tell(PARTIAL, index, d.labels(index), accept=(MISSING,), live=OPEN, bare=OPEN)


# --- hotfixes that left no difference ---------------------------------------------------------------------------


@scenario("22 hotfix captured", "hotfix")
def captured(d: Draft) -> None:
    column = d.pick(
        "table column",
        fits=lambda t: (
            ordinary(t)
            and t.made > t.info["table"].made
            and len(d.did(t.made)) == 1
            and t.last == t.made
            and d.history.migrations[t.made].name.startswith("columns")
        ),
    )
    index, table = column.made, column_table(column)
    statement = d.text(index).statements[0]
    d.need(len(d.text(index).statements) == 1)
    asked = (
        statement
        if "IF NOT EXISTS" in statement
        else statement.replace("ADD COLUMN", "ADD COLUMN IF NOT EXISTS")
    )
    d.git[index] = [Text((asked,), d.text(index).comment)]
    for name in d.environments:
        d.set(index, name, text=d.text(index), recorded=d.text(index))
    d.used.add(f"migration {index}")
    # Right before the migration: earlier, columns in between would come in another order.
    d.put(d.at(index), Step("sql", sql=statement.replace("IF NOT EXISTS ", "")))
    live = {"exact": MUST, "apart": MAY, "one": MAY}[d.tool.link]
    d.tell(CAPTURED, (index, None), [column.label, f"table {table}"], live=live, bare=MAY)


@scenario("22 hotfix captured, a function", "hotfix")
def captured_function(d: Draft) -> None:
    """Hotfixed by hand, and the migration writes the very same text."""
    function = d.pick(
        "function", fits=lambda t: simple_function(t) and len(t.info["texts"]) > 1 and not t.info["definer"]
    )
    index = max(function.info["texts"])
    d.put(d.at(index), Step("sql", sql=function.info["texts"][index]))
    d.tell(CAPTURED, (index, None), [function.label], live=MAY, bare=MAY)


@scenario("23 hotfix captured, of another type", "hotfix")
def captured_otherwise(d: Draft) -> None:
    column = d.pick(
        "table column",
        fits=lambda t: (
            ordinary(t)
            and t.made > t.info["table"].made
            and len(d.did(t.made)) == 1
            and t.last == t.made
            and t.info["type"] == "text"
            and not t.info.get("default")
            and d.history.migrations[t.made].name.startswith("columns")
        ),
    )
    index = column.made
    d.need(len(d.text(index).statements) == 1)
    statement = d.text(index).statements[0].replace("IF NOT EXISTS ", "")
    d.git[index] = [
        Text((statement.replace("ADD COLUMN", "ADD COLUMN IF NOT EXISTS"),), d.text(index).comment)
    ]
    for name in d.environments:
        d.set(index, name, text=d.text(index), recorded=d.text(index))
    d.used.add(f"migration {index}")
    d.put(d.at(index), Step("sql", sql=statement.replace(" text", " varchar(20)")))
    d.tell(MANUAL, (index, None), [column.label])


@scenario("24 hotfix taken back", "hotfix")
def taken_back(d: Draft) -> None:
    function = d.pick("function", fits=simple_function)
    d.hand(hotfix(function, d), function.info["texts"][function.last])
    d.tell(
        REVERTED,
        (function.last, None),
        [function.label],
        live={"exact": MUST, "apart": MAY, "one": MAY}[d.tool.link],
        bare=MAY,
    )


@scenario("hotfix taken back, a policy", "hotfix")
def taken_back_policy(d: Draft) -> None:
    policy = d.pick("policy")
    name, table = policy.info["name"], column_table(policy)
    d.hand(
        f"ALTER POLICY {name} ON {table} USING (true)",
        f"ALTER POLICY {name} ON {table} USING ({policy.info['using']})",
    )
    d.tell(
        REVERTED,
        (policy.last, None),
        [policy.label],
        live={"exact": MUST, "apart": MAY, "one": MAY}[d.tool.link],
        bare=MAY,
    )


@scenario("index dropped and made again", "hotfix")
def index_again(d: Draft) -> None:
    index = d.pick("index", fits=lambda t: not t.info.get("tenant") and not t.info.get("partitioned"))
    d.hand(f"DROP INDEX {index.identity}", f"CREATE INDEX {index.info['name']} {index.info['definition']}")
    # REINDEX CONCURRENTLY leaves the same traces.
    d.tell(REVERTED, (index.last, None), [index.label], live=MAY, bare=MAY)


@scenario("each environment its own", "mixed", mixes=False)
def each_its_own(d: Draft) -> None:
    d.need(len(d.environments) > 1)
    for name, group in zip(d.environments, ("manual", "missing", "manual"), strict=False):
        d.environment = name
        simple = [s for s in SCENARIOS.values() if s.group == group and s.mixes]
        d.rng.choice(simple).inflict(d)


@scenario("35 table made again", "hotfix", mixes=False)
def made_again(d: Draft) -> None:
    table = d.pick(
        TABLE,
        fits=lambda t: (
            plain_table(t)
            and t.info["key"] == "uuid"
            and not t.info.get("rls")
            and not t.info.get("grants")
            and t.last == t.made
            and not t.users
            and all(x.made == t.made for x in d.history.things if x.info.get("table") is t)
            and not any(x.kind != "table column" for x in d.history.things if x.info.get("table") is t)
        ),
    )
    statement = next(
        s
        for s in d.text(table.made).statements
        if s.startswith("CREATE TABLE") and f"{table.identity} (" in s
    )
    d.hand(f"DROP TABLE {table.identity}", statement)
    d.tell(REVERTED, (table.made, None), [table.label], accept=(MANUAL,), live=MAY, bare=MAY)
    d.allowed.append((REVERTED, "table"))


# --- mixtures that have a name ------------------------------------------------------------------------------


@scenario("25 skipped, and a hand on the same function", "mixed", mixes=False)
def skipped_and_hand(d: Draft) -> None:
    tracked(d)
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 1 and not t.info["definer"])
    index = max(function.info["texts"])
    d.need(len(d.did(index)) == 1)
    d.skip(index)
    d.hand(hotfix(function, d))
    d.tell(
        MISSING,
        index,
        (),
    )
    d.tell(MANUAL, (index, sorted(function.info["texts"])[-2]), [function.label])


@scenario("26 skipped, and an index by hand", "mixed", mixes=False)
def skipped_and_index(d: Draft) -> None:
    tracked(d)
    index = d.pick(
        "index",
        fits=lambda t: (
            plain_table(t.info["table"]) and d.leaf(t.made) and only("index")(d.history.migrations[t.made])
        ),
    )
    d.skip(index.made)
    d.tell(MISSING, index.made, [index.label])
    table = index.info["table"]
    d.hand(f"CREATE INDEX beside_it ON {table.identity} (id)")
    d.tell(MANUAL, None, [f"index {table.info['schema']}.beside_it"])


@scenario("edited, and a grant on the same function", "mixed", mixes=False)
def edited_and_hand(d: Draft) -> None:
    function, index, before = edited_function(d)
    d.edit(index, before)
    d.tell(EDITED, index, [function.label])
    d.hand(f"GRANT EXECUTE ON FUNCTION {function.identity} TO intern")
    d.tell(MANUAL, (index, function.made, None), [function.label])


@scenario("two migrations skipped on one function", "mixed", mixes=False)
def skipped_twice(d: Draft) -> None:
    tracked(d)
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 2 and not t.info["definer"])
    earlier, later = sorted(function.info["texts"])[-2:]
    d.need(all(len(d.did(i)) == 1 for i in (earlier, later)))
    d.skip(earlier, later)
    d.tell(MISSING, earlier)
    d.tell(MISSING, later, [function.label])


# --- migrations from elsewhere; histories rewritten ----------------------------------------------------------------


def from_a_branch(d: Draft, in_git: bool) -> None:
    tracked(d)
    key = len(d.git) + 60
    table = d.pick(TABLE, fits=plain_table)
    d.units[key] = Unit(key, "from_a_branch", d.history.migrations[-1].day)
    schema = table.info["schema"]
    text = Text((f"CREATE VIEW {schema}.branch_work AS SELECT 1 AS one FROM {table.identity}",))
    d.steps[d.environment].append(Step("run", key, text, text))
    if in_git:
        d.branch[key] = text
    if not in_git and d.tool.name != "supabase":
        # The row says that something unknown was run, not what it made.
        d.allowed.append((MANUAL, f"view {schema}.branch_work"))
    d.tell(UNKNOWN_MIGRATION, d.tool.version(d.units[key]), ())


@scenario("59 from a branch", "unknown")
def branch(d: Draft) -> None:
    from_a_branch(d, True)


@scenario("from nowhere", "unknown")
def nowhere(d: Draft) -> None:
    from_a_branch(d, False)


@scenario("file deleted since", "unknown")
def file_deleted(d: Draft) -> None:
    tracked(d)
    index = d.migration(lambda i: d.leaf(i) and d.labels(i) and i > 3)
    d.git[index].append(None)
    d.need(d.tool.name != "flyway")
    for name in d.environments:
        d.tell(UNKNOWN_MIGRATION, (index, d.tool.version(d.units[index])), (), environment=name)


def squash(d: Draft, lose: bool) -> None:
    d.need(d.tool.name in ("supabase", "dbmate", "goose", "diesel", "sqlx"))
    d.need(len(d.git) <= 60)
    upto = len(d.git) * 2 // 3
    lost = ""
    if lose:
        grants = [(t, g) for t in d.history.alive(TABLE) for g in t.info.get("grants", ()) if g[2] < upto]
        d.need(grants)
        table, (right, role, _) = d.rng.choice(grants)
        d.need(len([g for g in table.info["grants"] if g[1] == role]) == 1)
        d.need(not d.history.style.rls, why="the platform grants everything anyway")
        d.allowed.append((UNKNOWN_MIGRATION, ""))  # the row of what was lost is nobody's now
        lost = f"GRANT {right} ON {table.identity} TO {role}"
        for name in d.environments:
            d.tell(REBASELINED, (upto - 1, None), [table.label], live=OPEN, bare=OPEN, environment=name)
    statements = tuple(s for i in range(upto) for s in d.text(i).statements if s != lost)
    for index in range(upto - 1):
        d.git[index].append(None)
    d.git[upto - 1].append(Text(statements, "squashed"))
    for name in d.environments:
        d.tell(REBASELINED, (*range(upto), None), (), environment=name)
    d.allowed.append((REBASELINED, ""))


@scenario("57 squashed", "squashed", mixes=False)
def squashed(d: Draft) -> None:
    squash(d, False)


@scenario("58 squashed, a grant lost", "squashed", mixes=False)
def squashed_lost(d: Draft) -> None:
    squash(d, True)


# --- the installation --------------------------------------------------------------------------------------------


@scenario("42 owner of all", "installation", mixes=False)
def owner_of_all(d: Draft) -> None:
    kinds = {
        "table": "TABLE",
        "view": "VIEW",
        "function": "FUNCTION",
        "type": "TYPE",
        "materialized view": "MATERIALIZED VIEW",
        "schema": "SCHEMA",
        "sequence": "SEQUENCE",
        "statistics object": "STATISTICS",
    }
    named = []
    for thing in d.history.alive(*kinds):
        if thing.info.get("owned"):
            continue
        word = "DOMAIN" if thing.info.get("domain") else kinds[thing.kind]
        d.hand(f"ALTER {word} {thing.identity} OWNER TO dashboard")
        named.append(thing.label)
    d.tell(INSTALLATION, None, named)


@scenario("43 extension's version", "installation", mixes=False)
def extension_version(d: Draft) -> None:
    extension = d.pick(
        "extension", fits=lambda t: t.identity in ("hstore", "pg_trgm", "btree_gist", "citext", "ltree")
    )
    old = {"hstore": "1.4", "pg_trgm": "1.3", "btree_gist": "1.2", "citext": "1.4", "ltree": "1.1"}[
        extension.identity
    ]
    text = d.text(extension.made)
    statement = next(s for s in text.statements if f" {extension.identity} " in s)
    d.set(extension.made, text=with_statement(text, statement, f"{statement} VERSION '{old}'"))
    d.tell(INSTALLATION, (None, extension.made), [extension.label], bare=MAY)
    d.options["extensions"] = "versions are not kept by a dump"


@scenario("44 extension's schema", "installation", mixes=False)
def extension_schema(d: Draft) -> None:
    extension = d.pick("extension", fits=lambda t: t.identity not in ("btree_gist",))
    d.hand(
        "CREATE SCHEMA IF NOT EXISTS extensions",
        f"ALTER EXTENSION {extension.identity} SET SCHEMA extensions",
    )
    d.allowed.append((MANUAL, "schema extensions"))
    d.tell(INSTALLATION, (None, extension.made), [extension.label])


@scenario("62 ledger unreadable", "installation", mixes=False)
def unreadable(d: Draft) -> None:
    function = d.pick("function", fits=simple_function)
    d.hand(hotfix(function, d))
    d.options["role"] = "intern"
    d.tell(UNKNOWN, (None, function.last), [function.label])


# --- harmless ----------------------------------------------------------------------------------------------------


def harmless(
    name: str, *, mixes: bool = True
) -> Callable[[Callable[[Draft], object]], Callable[[Draft], object]]:
    return scenario(name, "negative", negative=True, mixes=mixes)


@harmless("nothing")
def nothing(d: Draft) -> None:
    pass


@harmless("14 rows written anew")
def rows_anew(d: Draft) -> None:
    table, column = d.tool.table, d.tool.column
    d.hand(f"CREATE TABLE public.keep_rows AS TABLE {table}", f"DELETE FROM {table}")
    d.options["reinsert"] = f"{table} {column}"
    d.hand(
        f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM public.keep_rows",
        "DROP TABLE public.keep_rows",
    )
    d.allowed += [(REBASELINED, ""), (RESTAMPED, "")]


@harmless("31 default with its cast")
def with_cast(d: Draft) -> None:
    column = d.pick(
        "table column",
        fits=lambda t: t.info["type"] == "text" and t.info.get("default") and plain_table(t.info["table"]),
    )
    d.put(len(d.steps[d.environment]), Step("sql", sql="SELECT 1"))
    text = d.text(column.last)
    old = next(
        (
            s
            for s in text.statements
            if f"{column.info['name']} text" in s or f"{column.info['name']} SET DEFAULT" in s
        ),
        None,
    )
    d.need(old)
    assert old is not None
    default = column.info["default"]
    new = (
        old.replace(
            f"{column.info['name']} text NOT NULL DEFAULT {default}",
            f"{column.info['name']} text NOT NULL DEFAULT {default}::text",
        )
        .replace(
            f"{column.info['name']} text DEFAULT {default}",
            f"{column.info['name']} text DEFAULT {default}::text",
        )
        .replace(
            f"{column.info['name']} SET DEFAULT {default}",
            f"{column.info['name']} SET DEFAULT {default}::text",
        )
    )
    d.need(new != old)
    d.used.add(f"migration {column.last}")
    d.git[column.last].append(with_statement(text, old, new))


@harmless("54 made in a block that catches errors")
def in_a_block(d: Draft) -> None:
    table = d.pick(TABLE, fits=plain_table)
    index = len(d.git)
    d.need(index not in d.units)
    d.units[index] = Unit(index, "block_that_catches", d.history.migrations[-1].day + 1)
    text = Text(
        (
            f"DO $$ BEGIN\n    ALTER TABLE {table.identity} ADD COLUMN in_block text;\n"
            f"    CREATE INDEX in_block_idx ON {table.identity} (in_block);\nEXCEPTION WHEN others THEN RAISE;\nEND $$",
        )
    )
    d.git[index] = [text]
    for name in d.environments:
        d.steps[name].append(Step("run", index, text, text))


@harmless("savepoints")
def savepoints(d: Draft) -> None:
    """The tool, or a statement of the migration, uses savepoints."""
    d.need(d.tool.link != "one" and d.tool.name not in ("prisma", "flyway"))
    table = d.pick(TABLE, fits=plain_table)
    index = len(d.git)
    d.need(index not in d.units)
    d.units[index] = Unit(index, "with_savepoint", d.history.migrations[-1].day + 1)
    text = Text(
        (
            "SAVEPOINT a",
            f"ALTER TABLE {table.identity} ADD COLUMN in_savepoint text",
            "RELEASE SAVEPOINT a",
            f"COMMENT ON COLUMN {table.identity}.in_savepoint IS 'x'",
        )
    )
    d.git[index] = [text]
    for name in d.environments:
        d.steps[name].append(Step("run", index, text, text))


def maintained(
    name: str,
    sql: Callable[[Draft, Thing], Sequence[str]],
    kind: str = TABLE,
    fits: Callable[[Thing], object] = plain_table,
) -> None:
    def inflict(d: Draft) -> None:
        thing = d.pick(kind, fits=fits)
        d.hand(*sql(d, thing))

    harmless(name)(inflict)


maintained("55 truncated", lambda d, t: [f"TRUNCATE {t.identity} CASCADE"])
maintained("55 vacuumed in full", lambda d, t: [f"VACUUM FULL {t.identity}"])
maintained("55 vacuumed in full, all", lambda d, t: ["VACUUM FULL"])
maintained("vacuumed and frozen", lambda d, t: ["VACUUM FREEZE"])
maintained("analyzed", lambda d, t: ["ANALYZE"])
maintained("reindexed", lambda d, t: [f"REINDEX TABLE {t.identity}"])
maintained(
    "reindexed concurrently",
    lambda d, t: [f"REINDEX INDEX CONCURRENTLY {t.identity}"],
    "index",
    lambda t: not t.info.get("partitioned"),
)
maintained(
    "clustered",
    lambda d, t: [
        f"REINDEX TABLE {t.info['table'].identity}",
        f"TRUNCATE {t.info['table'].identity} CASCADE",
    ],
    "index",
    lambda t: plain_table(t.info["table"]),
)
maintained("rows written", lambda d, t: [f"DELETE FROM {t.identity}"])
maintained(
    "sequence used",
    lambda d, t: [f"SELECT nextval('{t.identity}') FROM generate_series(1, 50)"],
    "sequence",
    lambda t: True,
)
maintained("sequence set", lambda d, t: [f"SELECT setval('{t.identity}', 4711)"], "sequence", lambda t: True)
maintained(
    "materialized view refreshed",
    lambda d, t: [f"REFRESH MATERIALIZED VIEW {t.identity}"],
    "materialized view",
    lambda t: True,
)
maintained(
    "constraint validated again",
    lambda d, t: [f"ALTER TABLE {t.info['table'].identity} VALIDATE CONSTRAINT {t.info['name']}"],
    "table constraint",
    lambda t: t.info["type"] == "check" and t.info.get("valid", True) and plain_table(t.info["table"]),
)
maintained(
    "foreign key tried and taken back",
    lambda d, t: [
        "CREATE TABLE public.try_fk (a bigint)",
        f"ALTER TABLE public.try_fk ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES {t.identity} (id)",
        "DROP TABLE public.try_fk",
    ],
    TABLE,
    lambda t: plain_table(t) and t.info["key"] in ("identity", "serial"),
)
maintained("temporary tables", lambda d, t: [f"CREATE TEMP TABLE tt AS TABLE {t.identity}"])
maintained(
    "failed statement",
    lambda d, t: [
        f"DO $$ BEGIN ALTER TABLE {t.identity} ADD COLUMN no_way text; PERFORM 1/0; "
        "EXCEPTION WHEN division_by_zero THEN NULL; END $$"
    ],
)


@harmless("failed, then run again", mixes=False)
def retried(d: Draft) -> None:
    index = d.migration(lambda i: d.labels(i) and i > 2)
    text = d.text(index)
    d.need(d.tool.name not in ("prisma", "golang-migrate", "drizzle"))
    d.put(d.at(index), Step("run", index, Text((*text.statements, "SELECT 1/0")), text))
    d.options["dependants"] = "may fail"


@harmless("46 partition made by a job, by rule")
def by_rule(d: Draft) -> None:
    table = d.pick(TABLE, fits=lambda t: t.info.get("partitioned"))
    d.hand(
        f"CREATE TABLE {made_in(table, 'by_job')} PARTITION OF {table.identity} "
        f"FOR VALUES FROM ('{month(3000)}') TO ('{month(3001)}')"
    )
    d.settings += f'\n[[ignore]]\npartitions_of = "{table.identity}"\nreason = "a job makes them"\n'


@harmless("edited, overwritten since")
def edited_overwritten(d: Draft) -> None:
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 1)
    index = min(function.info["texts"])
    text = d.text(index)
    old = function.info["texts"][index]
    d.used.add(f"migration {index}")
    d.edit(
        index,
        with_statement(text, old, old.replace("found", "counted").replace("count(*) +", "count(*) + 1 +")),
    )


@harmless("hotfix, overwritten since")
def hotfix_overwritten(d: Draft) -> None:
    function = d.pick("function", fits=lambda t: len(t.info.get("texts", ())) > 1)
    d.put(d.at(max(function.info["texts"])), Step("sql", sql=hotfix(function, d)))


@harmless("line ends edited")
def line_ends(d: Draft) -> None:
    index = d.migration(lambda i: not any("$" in s for s in d.text(i).statements))
    text = d.text(index)
    d.git[index].append(Text(text.statements, text.comment, crlf=True))


@harmless("rolled back and run again")
def run_again(d: Draft) -> None:
    tracked(d)
    d.need(d.tool.name not in ("drizzle", "prisma"))
    alone = only("index")
    index = d.pick(
        "index",
        fits=lambda t: d.leaf(t.made) and alone(d.history.migrations[t.made]) and not t.info.get("tenant"),
    )
    text = d.text(index.made)
    place = d.at(index.made) + 1
    d.put(place, Step("run", index.made, text, text))
    d.put(place, Step("forget", index.made))
    d.put(place, Step("sql", sql=f"DROP INDEX {index.identity}"))


@harmless("cloned", mixes=False)
def cloned(d: Draft) -> None:
    d.options["clone"] = "yes"


@harmless("restored", mixes=False)
def restored(d: Draft) -> None:
    d.options["restore"] = "text"


@harmless("restored in one transaction", mixes=False)
def restored_at_once(d: Draft) -> None:
    d.options["restore"] = "single"


@harmless("restored by pg_restore", mixes=False)
def restored_custom(d: Draft) -> None:
    d.options["restore"] = "custom"


@harmless("49 another major version", mixes=False)
def other_major(d: Draft) -> None:
    d.options["major"] = "15"


@harmless("50 a shadow of a later version", mixes=False)
def later_shadow(d: Draft) -> None:
    """The audited server's own version is not at hand: NOT NULL has rows from 18 on, and views are written otherwise."""
    d.options |= {"major": "15", "shadow": "own"}


@scenario("52 restored, and a hand", "manual", mixes=False)
def restored_and_hand(d: Draft) -> None:
    d.options["restore"] = d.rng.choice(("text", "custom", "single"))
    function = d.pick("function", fits=simple_function)
    d.hand(hotfix(function, d))
    d.tell(MANUAL, function.last, [function.label])


@harmless("45 another locale", mixes=False)
def other_locale(d: Draft) -> None:
    """Neither a hand nor a migration chose it; it may be told as a difference of the installation."""
    d.options["locale"] = "C"
    d.allowed.append((INSTALLATION, ""))


@harmless("61 statements during the audit")
def storm(d: Draft) -> None:
    """Somebody runs CREATE OR REPLACE with the same text again and again: no state in between differs."""
    function = d.pick("function", fits=simple_function)
    d.options["storm"] = function.info["texts"][max(function.info["texts"])]
    d.allowed.append((REVERTED, function.label))


@harmless("file renamed in git", mixes=True)
def renamed_file(d: Draft) -> None:
    d.options["move"] = "folder"


@harmless("deployed in one go", mixes=True)
def one_go(d: Draft) -> None:
    d.options["batch"] = "all"


@harmless("busy cluster")
def busy(d: Draft) -> None:
    for place in sorted(d.rng.sample(range(len(d.steps[d.environment])), min(5, len(d.git))), reverse=True):
        d.put(
            place, Step("sql", sql="CREATE TEMP TABLE noise (a serial PRIMARY KEY, b text); DROP TABLE noise")
        )


@harmless("60 the platform changed", mixes=False)
def platform_changed(d: Draft) -> None:
    d.need(d.tool.name == "supabase" and d.history.style.rls)
    d.hand(
        "SET ROLE supabase_auth_admin",
        "CREATE TABLE auth.mfa_factors (id uuid PRIMARY KEY)",
        "CREATE INDEX mfa_idx ON auth.mfa_factors (id)",
        "RESET ROLE",
    )
    d.allowed.append((INSTALLATION, ""))
