"""The statements that alter an object in place.

Each function takes a ``Change`` and returns the statements, in order, or None when only dropping the object and
creating it again will do. What a kind's entry names as ``alter`` is here. They are also given objects that were just
created, to set what CREATE does not (an entry's ``later``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from auditkit.catalog import create
from auditkit.catalog.create import (
    identity_sequence,
    not_null_name,
    publication_options,
    role_options,
    sequence_options,
    subscription_options,
)
from auditkit.catalog.sql import Change, Hazard, Sql, called, execute, literal, pairs, quote, tuple_of

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Key, Snapshot

Altered = list[Sql] | None

_REWRITES = Hazard("REWRITES_TABLE")
_SCANS = Hazard("SCANS_TABLE")


def nothing(change: Change) -> Altered:
    """For what cannot be altered: it is dropped and created again."""
    return None


def with_its_whole(change: Change) -> Altered:
    """For what follows from the object it is a part of."""
    return []


def again(
    make: Callable[[Fact, Snapshot], list[str]], *kept: str, head: str = ""
) -> Callable[[Change], Altered]:
    """The alteration that creates the object again in its place, unless one of the attributes *kept* differs."""

    def alter(change: Change) -> Altered:
        if change.attributes & set(kept):
            return None
        texts = make(change.new, change.after)
        return [Sql(text.replace("CREATE ", "CREATE OR REPLACE ", 1) if head else text) for text in texts]

    return alter


def _options(change: Change, attribute: str, prefix: str = "") -> list[str]:
    """SET (…) and RESET (…) of what differs between two lists of key=value."""
    was, now = dict(pairs(tuple_of(change.was(attribute)))), dict(pairs(tuple_of(change.value(attribute))))
    gone = [f"{prefix}{key}" for key in was if key not in now]
    new = [f"{prefix}{key}={literal(value)}" for key, value in now.items() if was.get(key) != value]
    return [f"RESET ({', '.join(gone)})"] * bool(gone) + [f"SET ({', '.join(new)})"] * bool(new)


def _foreign_options(change: Change, attribute: str = "options") -> str:
    was, now = dict(pairs(tuple_of(change.was(attribute)))), dict(pairs(tuple_of(change.value(attribute))))
    parts = [f"DROP {quote(key)}" for key in was if key not in now]
    for key, value in now.items():
        if was.get(key) != value:
            parts.append(f"{'SET' if key in was else 'ADD'} {quote(key)} {literal(value)}")
    return f"OPTIONS ({', '.join(parts)})"


# --- tables ------------------------------------------------------------------------------------------------------


def table(change: Change) -> Altered:
    """Everything but the partition key can be altered while the rows stay."""
    what = f"ALTER {change.new.kind.upper()} {change.new.identity}"
    steps: list[Sql] = []
    for attribute in sorted(change.attributes, key=_TABLE.index):
        value = change.value(attribute)
        match attribute:
            case "persistence":
                steps.append(
                    Sql(f"{what} SET {'UNLOGGED' if value == 'unlogged' else 'LOGGED'}", (_REWRITES,))
                )
            case "row_security":
                opens = () if value else (Hazard("OPENS_ACCESS", "policies no longer restrict anybody"),)
                steps.append(Sql(f"{what} {'ENABLE' if value else 'DISABLE'} ROW LEVEL SECURITY", opens))
            case "force_row_security":
                opens = () if value else (Hazard("OPENS_ACCESS", "policies no longer restrict the owner"),)
                steps.append(Sql(f"{what} {'FORCE' if value else 'NO FORCE'} ROW LEVEL SECURITY", opens))
            case "options":
                if change.new.kind == "foreign table":
                    steps.append(Sql(f"{what} {_foreign_options(change)}"))
                else:
                    steps += [Sql(f"{what} {words}") for words in _options(change, "options")]
            case "toast_options":
                steps += [Sql(f"{what} {words}") for words in _options(change, attribute, "toast.")]
            case "replica_identity":
                if value != "index":  # that index says so itself
                    steps.append(Sql(f"{what} REPLICA IDENTITY {str(value).upper()}"))
            case "access_method":
                if change.version < 150000:
                    return None
                steps.append(Sql(f"{what} SET ACCESS METHOD {quote(str(value))}", (_REWRITES,)))
            case "tablespace":
                steps.append(Sql(f"{what} SET TABLESPACE {quote(str(value or 'pg_default'))}", (_REWRITES,)))
            case "of_type":
                steps += [Sql(f"{what} NOT OF", early=True)] * bool(change.was("of_type"))
                steps += [Sql(f"{what} OF {value}")] * bool(value)
            case "partition_bound" | "inherits":
                if attribute == "inherits" and "partition_bound" in change.attributes:
                    continue
                steps += _parents(change, what)
            case _:  # partition_key, server: another thing altogether
                return None
    return steps


_TABLE = [
    "partition_bound", "inherits", "of_type", "persistence", "access_method", "tablespace", "options", "toast_options",
    "replica_identity", "row_security", "force_row_security", "partition_key", "server",
]  # fmt: skip


def _parents(change: Change, what: str) -> list[Sql]:
    name = change.new.identity
    was, now = tuple_of(change.was("inherits")), tuple_of(change.value("inherits"))
    steps = []
    if change.was("partition_bound"):
        steps.append(Sql(f"ALTER TABLE {was[0]} DETACH PARTITION {name}", early=True))
    elif gone := [p for p in was if p not in now or was == now or change.value("partition_bound")]:
        steps += [Sql(f"{what} NO INHERIT {parent}", early=True) for parent in gone]
    if bound := change.value("partition_bound"):
        steps.append(Sql(f"ALTER TABLE {now[0]} ATTACH PARTITION {name} {bound}"))
    elif new := [p for p in now if p not in was or was == now or change.was("partition_bound")]:
        steps += [Sql(f"{what} INHERIT {parent}") for parent in new]
    return steps


# --- columns -----------------------------------------------------------------------------------------------------

_NUMBERS = {"smallint", "integer", "bigint", "numeric", "real", "double precision", "money"}
_TEXTS = {"text", "character varying", "character", "name", '"char"'}
_TIMES = {"date", "timestamp without time zone", "timestamp with time zone"}
#: Types with casts between them (pg_cast); between others a value goes through its text.
_FAMILIES = (_NUMBERS, _TIMES, {"integer", "boolean"}, {"json", "jsonb"}, {"bit", "bit varying"})
#: What SET STORAGE DEFAULT means, before 16 knew it.
_STORAGE = {"numeric": "MAIN", "inet": "MAIN", "cidr": "MAIN"}


def _bare(type: object) -> str:
    """A type without its modifiers: ``numeric(10,2)`` and ``timestamp(3) without time zone`` say more."""
    return re.sub(r"\([\d, -]*\)", "", str(type)).removesuffix("[]").strip()


def conversion(name: str, old: object, new: object) -> str:
    """USING for a column that changes its type; nothing where PostgreSQL converts by itself."""
    if old == new:  # the type of that name was made anew, or only the collation differs
        return f" USING {name}::text::{new}"
    before, after = _bare(old), _bare(new)
    arrays = [str(type).endswith("[]") for type in (old, new)]
    if before == after and arrays[0] == arrays[1]:
        return ""
    together = any(before in family and after in family for family in _FAMILIES)
    if arrays[0] != arrays[1]:  # only a text can become an array, and the other way round
        together, before, after = False, "" if arrays[0] else before, "" if arrays[1] else after
    if together or before in _TEXTS or after in _TEXTS:
        return f" USING {name}::{new}"
    return f" USING {name}::text::{new}"


def column(change: Change) -> Altered:
    """Default, identity, type, NOT NULL and storage of a column, in the order in which PostgreSQL allows it."""
    relation = change.new.kind.removesuffix(" column")
    name = quote(change.new.name)
    if relation == "materialized view":
        alter = f"ALTER MATERIALIZED VIEW {change.new.parent} ALTER COLUMN {name}"
        return _properties(change, set(change.attributes), alter)
    if relation == "view":
        return _view_column(change, name)
    attributes = set(change.attributes) - _inherited(change)
    if "generated" in attributes and (change.value("generated") or change.was("generated") == "virtual"):
        return None
    computed = change.value("generated")
    if computed and (
        attributes & {"type", "collation"} or ("default" in attributes and change.version < 170000)
    ):
        return None  # it can be computed again
    table = change.new.parent or ""
    what = f"ALTER {relation.upper()}"
    every = f"{what} {table} ALTER COLUMN {name}"
    alone = every if not _has_children(change) else f"{what} ONLY {table} ALTER COLUMN {name}"
    steps: list[Sql] = []
    retyped = bool(attributes & {"type", "collation"})
    carried = "type" in change.attributes and not retyped  # the parent's column takes this one along
    default = change.value("default")
    if "generated" in attributes:
        steps.append(Sql(f"{every} DROP EXPRESSION"))
    elif computed and "default" in attributes:
        steps.append(Sql(f"{every} SET EXPRESSION AS ({default})", (_REWRITES,)))
    was_default = change.was("default") is not None and not change.was("generated")
    if "identity_generation" in attributes and change.value("identity_generation") is None:
        sequences = [s.identity for s in change.before.children(change.old, "sequence")]
        steps.append(
            Sql(
                f"{every} DROP IDENTITY",
                (Hazard("DELETES_DATA", f"the position of its sequence {', '.join(sequences)}"),),
                early=True,
            )
        )
    elif "identity_generation" in attributes and change.was("identity_generation") is None and was_default:
        steps.append(Sql(f"{every} DROP DEFAULT", early=True))
        was_default = False
    elif was_default and not computed and (retyped or carried or change.released):
        steps.append(Sql(f"{alone} DROP DEFAULT", early=carried or change.released))
        was_default = False
    if retyped and change.released and change.was("type") == change.value("type"):
        steps.append(Sql(f"{every} TYPE text USING {name}::text", (_REWRITES,), early=True))
    if retyped:
        steps += _retype(change, every, name)
    if "not_null" in attributes:
        steps += _not_null(change, every, table, name)
    steps += _renamed_not_null(change, table)
    if "identity_generation" in attributes and change.value("identity_generation"):
        steps += _identity(change, every, table, name)
    if not computed and default != (change.was("default") if was_default else None):
        steps.append(Sql(f"{alone} DROP DEFAULT" if default is None else f"{alone} SET DEFAULT {default}"))
    if {"not_null", "not_null_comment"} & attributes:
        steps += _not_null_comment(change, table)
    return steps + _properties(change, attributes, alone)


def _inherited(change: Change) -> set[str]:
    """What reaches a child table by itself, because its parent's column is altered in the same way."""
    if change.new.origin is None or change.old.origin != change.new.origin:
        return set()
    before = change.before.get("table column", change.new.origin)
    after = change.after.get("table column", change.new.origin)
    if before is None or after is None:
        return set()
    carried = {"type", "collation", "not_null", "generated", "identity_generation"}
    if change.value("generated"):
        carried.add("default")
    return {
        name
        for name in carried & change.attributes
        if before.attributes[name] != after.attributes[name] == change.value(name)
    }


def _has_children(change: Change) -> bool:
    return (change.new.parent or "") in change.after.parents_of_tables


def _view_column(change: Change, name: str) -> list[Sql]:
    """Of a view only the default is its own; the rest follows from its query."""
    if "default" not in change.attributes:
        return []
    default = change.value("default")
    words = "DROP DEFAULT" if default is None else f"SET DEFAULT {default}"
    return [Sql(f"ALTER VIEW {change.new.parent} ALTER COLUMN {name} {words}")]


def _retype(change: Change, every: str, name: str) -> list[Sql]:
    new = str(change.value("type"))
    collate = f" COLLATE {change.value('collation')}" if change.value("collation") else ""
    if change.new.kind == "foreign table column":
        return [Sql(f"{every} TYPE {new}{collate}")]  # the rows are elsewhere, and of what type they like
    using = "" if change.only("collation") else conversion(name, change.was("type"), new)
    if change.only("type") and _wider(str(change.was("type")), new):
        return [Sql(f"{every} TYPE {new}{collate}{using}")]
    hazards = [_REWRITES]
    if not _holds_all(str(change.was("type")), new):
        hazards.append(Hazard("MAY_FAIL_ON_DATA", f"values that are no {new}"))
    if using and _loses(_bare(change.was("type")), _bare(new)):
        hazards.append(Hazard("DELETES_DATA", f"what {new} cannot hold"))
    elif _narrower(str(change.was("type")), new):
        hazards.append(Hazard("DELETES_DATA", f"digits beyond {new} are rounded away"))
    return [Sql(f"{every} TYPE {new}{collate}{using}", tuple(hazards))]


#: Numbers, each of which the next one holds as well.
_EXACT = ("smallint", "integer", "bigint", "numeric")


def _holds_all(before: str, after: str) -> bool:
    """Whether every value of a type is one of another type, too; *after* with its modifier, which may be too small."""
    if before in _EXACT and after in _EXACT:
        return _EXACT.index(before) <= _EXACT.index(after)
    return after == "text"


def _loses(before: str, after: str) -> bool:
    """Whether a conversion can drop a part of the value without failing."""
    if before in _EXACT and after in _EXACT:
        return False  # too large a value fails; numeric has its own word below
    lossy = (
        (_NUMBERS - {"smallint", "integer", "bigint"}, {"smallint", "integer", "bigint", "boolean", "real"}),
        (_NUMBERS, {"boolean"}),
        (_TIMES, {"date", "time without time zone"}),
        ({"json"}, {"jsonb"}),
    )
    return any(before in these and after in those for these, those in lossy)


def _wider(before: str, after: str) -> bool:
    """Whether all values fit as they are stored: PostgreSQL then neither reads nor writes rows."""
    old, new = (re.search(r"\((\d+)(?:,(-?\d+))?\)", text) for text in (before, after))
    grows = new is None or (old is not None and old[2] == new[2] and int(old[1]) <= int(new[1]))
    if _bare(before) == "character varying" and _bare(after) in ("character varying", "text"):
        return before.endswith("[]") == after.endswith("[]") and grows
    if _bare(before) == "numeric" == _bare(after):
        return grows
    return before == "text" and after == "character varying"


def _narrower(before: str, after: str) -> bool:
    scales = [re.search(r"\((\d+)(?:,(-?\d+))?\)", text) for text in (before, after)]
    old, new = (int(m[2] or 0) if m else None for m in scales)
    if _bare(before) == "numeric" and _bare(after) in ("smallint", "integer", "bigint"):
        return True
    return _bare(after) == "numeric" == _bare(before) and new is not None and (old is None or new < old)


def _not_null(change: Change, every: str, table: str, name: str) -> list[Sql]:
    """NOT NULL; since 18 it may be NOT VALID or NO INHERIT, and then is a constraint with words of its own."""
    was, value = change.was("not_null"), change.value("not_null")
    hazards = (Hazard("MAY_FAIL_ON_DATA", f"rows where {name} is null"), _SCANS)
    if value is None:
        return [Sql(f"{every} DROP NOT NULL")]
    called = change.value("not_null_name") if change.version >= 180000 else None
    heirs = _descendants(change.new.key, change.after) if change.version >= 180000 else ()
    if any(
        not_null_name(h) == not_null_name(change.new) and change.before.get(*h.key) is None for h in heirs
    ):
        called = not_null_name(
            change.new
        )  # else it would find its usual name taken by a partition that came before
    if value == "NOT NULL" and was == "NOT NULL NOT VALID" and (constraint := not_null_name(change.old)):
        return [Sql(f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(constraint)}", hazards)]
    if value == "NOT NULL" and was is None and not called:
        return [Sql(f"{every} SET NOT NULL", hazards)]
    steps = [Sql(f"{every} DROP NOT NULL")] if was is not None else []
    words = f"CONSTRAINT {quote(str(called))} NOT NULL" if called else "NOT NULL"
    constraint = f"ALTER TABLE {table} ADD {words} {name}{str(value).removeprefix('NOT NULL')}"
    return [*steps, Sql(constraint, () if value == "NOT NULL NOT VALID" else hazards)]


def _renamed_not_null(change: Change, table: str) -> list[Sql]:
    """The constraint that NOT NULL is since 18: its name, and whether a child declares what it inherits, too.

    What is inherited has its parent's name or, attached with another, one that cannot be changed any more; then a
    parent's cannot be changed either.
    """
    was, now = not_null_name(change.old), not_null_name(change.new)
    if change.version < 180000 or was is None or now is None:
        return []
    name, steps = quote(change.new.name), list[Sql]()
    if was != now and "not_null_name" in change.attributes and not _has_it_from_parent(change):
        heirs = _descendants(change.old.key, change.before)
        stays = change.was("not_null") in (change.value("not_null"), "NOT NULL NOT VALID")
        if stays and all(not_null_name(heir) in (None, was) for heir in heirs):
            steps.append(Sql(f"ALTER TABLE {table} RENAME CONSTRAINT {quote(was)} TO {quote(now)}"))
    more = "not null" in str(change.value("declared")) and "not null" not in str(change.was("declared"))
    if more and "declared" in change.attributes:
        steps.append(Sql(f"ALTER TABLE {table} ADD NOT NULL {name}"))
    return steps


def _has_it_from_parent(change: Change) -> bool:
    """Whether NOT NULL is inherited when this column is altered."""
    origin = change.new.origin
    if origin is None or change.old.origin != origin:
        return False
    parent = change.before.get(change.new.kind, origin) or change.before.get("table column", origin)
    return parent is not None and parent.attributes["not_null"] in ("NOT NULL", "NOT NULL NOT VALID")


def _descendants(column: Key, snapshot: Snapshot) -> Iterator[Fact]:
    for key in snapshot.heirs.get(column, ()):
        if (fact := snapshot.get(*key)) is not None:
            yield fact
            yield from _descendants(key, snapshot)


def _not_null_comment(change: Change, table: str) -> list[Sql]:
    name, text = not_null_name(change.new), change.value("not_null_comment")
    kept = change.was("not_null_comment") if "not_null" not in change.attributes else None
    if change.version < 180000 or name is None or text == kept:
        return []
    said = "NULL" if text is None else literal(str(text))
    return [Sql(f"COMMENT ON CONSTRAINT {quote(name)} ON {table} IS {said}")]


def _identity(change: Change, every: str, table: str, name: str) -> list[Sql]:
    words = str(change.value("identity_generation")).upper()
    if change.was("identity_generation") is not None:
        return [Sql(f"{every} SET GENERATED {words}")]
    sequence = identity_sequence(change.new, change.after)
    steps = [Sql(f"{every} ADD GENERATED {words} AS IDENTITY{sequence}")]
    for fact in change.after.children(change.new, "sequence"):
        if fact.attributes["of_identity"]:  # go on after the highest number in use
            steps.append(go_on(fact, change.new))
    return steps


def go_on(sequence: Fact, column: Fact) -> Sql:
    """Let a new sequence go on after the highest number that its column holds already."""
    return Sql(
        f"SELECT pg_catalog.setval({literal(sequence.identity)}, highest) FROM (SELECT max({quote(column.name)})::bigint"
        f" AS highest FROM {column.parent}) AS used WHERE highest >= {sequence.attributes['start']}"
    )


def _properties(change: Change, attributes: set[str], alter: str) -> list[Sql]:
    steps = []
    if "storage" in attributes:
        usual = (
            "DEFAULT" if change.version >= 160000 else _STORAGE.get(_bare(change.value("type")), "EXTENDED")
        )
        steps.append(Sql(f"{alter} SET STORAGE {str(change.value('storage') or usual).upper()}"))
    if "compression" in attributes:
        steps.append(Sql(f"{alter} SET COMPRESSION {change.value('compression') or 'DEFAULT'}"))
    if "statistics_target" in attributes:
        target = change.value("statistics_target")
        steps.append(Sql(f"{alter} SET STATISTICS {-1 if target is None else target}"))
    if "options" in attributes:
        steps += [Sql(f"{alter} {words}") for words in _options(change, "options")]
    if "foreign_options" in attributes:
        steps.append(Sql(f"{alter} {_foreign_options(change, 'foreign_options')}"))
    return steps


# --- constraints and indexes -------------------------------------------------------------------------------------

_DEFERRING = re.compile(r"( DEFERRABLE)?( INITIALLY DEFERRED)?( NOT VALID)?$")


def constraint(change: Change) -> Altered:
    """Validate it, or defer a foreign key; other changes make it anew."""
    on = "DOMAIN" if change.new.kind == "domain constraint" else "TABLE"
    what, name = f"ALTER {on} {change.new.parent}", quote(change.new.name)
    steps: list[Sql] = []
    if "definition" in change.attributes:
        was, now = str(change.was("definition")), str(change.value("definition"))
        if was == f"{now} NOT VALID":
            hazard = Hazard("MAY_FAIL_ON_DATA", "rows that break it")
            steps.append(Sql(f"{what} VALIDATE CONSTRAINT {name}", (hazard, Hazard("SCANS_TABLE"))))
        elif now.startswith("FOREIGN KEY") and _DEFERRING.sub("", was) == _DEFERRING.sub("", now):
            match = _DEFERRING.search(now)
            assert match is not None
            if was.endswith(" NOT VALID") != now.endswith(" NOT VALID"):
                return None
            words = f"{'' if match[1] else ' NOT'} DEFERRABLE{match[2] or ''}"
            steps.append(Sql(f"{what} ALTER CONSTRAINT {name}{words}"))
        else:
            return None
    if "disabled_triggers" in change.attributes:
        steps.append(_constraint_triggers(change))
    return steps


def _constraint_triggers(change: Change) -> Sql:
    """Triggers that enforce a foreign key have names made of oids, so they are looked up where they are."""
    wanted = int(str(change.value("disabled_triggers") or 0))
    find = (
        "SELECT t.tgrelid::regclass AS relation, t.tgname AS name, row_number() OVER "
        "(ORDER BY t.tgrelid <> k.conrelid, t.oid) AS n FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint "
        f"WHERE k.conrelid = {literal(change.new.parent or '')}::regclass AND k.conname = {literal(change.new.name)}"
    )
    body = (
        f"DECLARE r record; BEGIN FOR r IN {find} LOOP EXECUTE format('ALTER TABLE %s %s TRIGGER %I', r.relation, "
        f"CASE WHEN r.n <= {wanted} THEN 'DISABLE' ELSE 'ENABLE' END, r.name); END LOOP; END"
    )
    return Sql(f"DO $auditkit${body}$auditkit$")


def index(change: Change) -> Altered:
    name, table = change.new.identity, change.new.parent or ""
    table = table.rpartition(" on ")[2]
    steps: list[Sql] = []
    if "definition" in change.attributes:
        return None
    partitioned = (change.after.get("table", table) or change.new).attributes.get("partition_key")
    if (
        "valid" in change.attributes and change.value("valid") and not partitioned
    ):  # there, attaching the rest helps
        steps.append(Sql(f"REINDEX INDEX {name}", (Hazard("BLOCKS_WRITES"),)))
    if "options" in change.attributes:
        steps += [Sql(f"ALTER INDEX {name} {words}") for words in _options(change, "options")]
    if "tablespace" in change.attributes:
        space = quote(str(change.value("tablespace") or "pg_default"))
        steps.append(Sql(f"ALTER INDEX {name} SET TABLESPACE {space}", (Hazard("BLOCKS_WRITES"),)))
    if "statistics_targets" in change.attributes:
        was = dict(pairs(tuple_of(change.was("statistics_targets"))))
        now = dict(pairs(tuple_of(change.value("statistics_targets"))))
        for number in sorted(was.keys() | now.keys(), key=int):
            if was.get(number) != now.get(number):
                steps.append(
                    Sql(f"ALTER INDEX {name} ALTER COLUMN {number} SET STATISTICS {now.get(number, -1)}")
                )
    if "clustered" in change.attributes:
        relation = "MATERIALIZED VIEW" if change.after.get("materialized view", table) else "TABLE"
        others = (i for i in change.after.iter("index") if (i.parent or "").rpartition(" on ")[2] == table)
        if change.value("clustered"):
            steps.append(Sql(f"ALTER {relation} {table} CLUSTER ON {quote(change.new.name)}"))
        elif not any(other.attributes["clustered"] for other in others):
            steps.append(Sql(f"ALTER {relation} {table} SET WITHOUT CLUSTER"))
    if "replica_identity" in change.attributes and change.value("replica_identity"):
        steps.append(Sql(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {quote(change.new.name)}"))
    return steps


def attach_index(fact: Fact) -> Sql:
    """Make an index that of a partition."""
    return Sql(f"ALTER INDEX {fact.origin} ATTACH PARTITION {fact.identity}")


def sequence(change: Change) -> Altered:
    if "of_identity" in change.attributes:
        return None
    name, steps = f"ALTER SEQUENCE {change.new.identity}", list[Sql]()
    if change.attributes & {"type", "start", "increment", "minimum", "maximum", "cache", "cycle"}:
        kind = f"AS {change.value('type')} " if "type" in change.attributes else ""
        hazard = Hazard("MAY_FAIL_ON_DATA", "a position outside of the new bounds")
        bounded = change.attributes & {"type", "minimum", "maximum"}
        if apart := _apart(change):
            kind, hazard = f"RESTART {kind}", Hazard("DELETES_DATA", f"the position of {change.new.identity}")
        else:
            steps += _within(change)
        steps.append(
            Sql(f"{name} {kind}{sequence_options(change.new)}", (hazard,) if bounded or apart else ())
        )
    if "persistence" in change.attributes:
        if change.version < 150000:
            return None
        steps.append(
            Sql(f"{name} SET {'UNLOGGED' if change.value('persistence') == 'unlogged' else 'LOGGED'}")
        )
    if "owned_by" in change.attributes and not change.value("of_identity"):
        if change.was("owned_by") and change.after.get("table column", str(change.was("owned_by"))) is None:
            steps.append(Sql(f"{name} OWNED BY NONE", early=True))  # it would go with that column
        if change.value("owned_by") or not (steps and steps[-1].early):
            steps.append(Sql(f"{name} OWNED BY {change.value('owned_by') or 'NONE'}"))
    return steps


def rename_sequence(old: Fact, new: Fact) -> list[Sql]:
    """Give an identity column's sequence the name that it shall have."""
    steps, name = [], old.identity
    if old.schema != new.schema:
        steps.append(Sql(f"ALTER SEQUENCE {name} SET SCHEMA {quote(new.schema or '')}"))
        name = f"{quote(new.schema or '')}.{quote(old.name)}"
    if old.name != new.name:
        steps.append(Sql(f"ALTER SEQUENCE {name} RENAME TO {quote(new.name)}"))
    options = {"start", "increment", "minimum", "maximum", "cache", "cycle"}
    if any(old.attributes[option] != new.attributes[option] for option in options):
        steps.append(Sql(f"ALTER SEQUENCE {new.identity} {sequence_options(new)}"))
    return steps


def _apart(change: Change) -> bool:
    """Whether no position of before is within the new bounds, as when numbers shall go down, not up."""
    old_low, old_high = int(str(change.was("minimum"))), int(str(change.was("maximum")))
    low, high = int(str(change.value("minimum"))), int(str(change.value("maximum")))
    return high < old_low or old_high < low


def _within(change: Change) -> list[Sql]:
    """Move the position to the bounds that it would be out of: up, so that no number comes twice; or down to the end."""
    name, steps = change.new.identity, list[Sql]()
    old_low, old_high = int(str(change.was("minimum"))), int(str(change.was("maximum")))
    low, high = int(str(change.value("minimum"))), int(str(change.value("maximum")))
    move = f"SELECT pg_catalog.setval({literal(name)}, {{}}) FROM {name} WHERE last_value {{}}"
    if old_low < low <= old_high:
        steps.append(Sql(move.format(f"{low}, false", f"< {low}")))
    if old_low <= high < old_high:
        hazard = Hazard("DELETES_DATA", f"the position of {name}, if it is beyond {high}")
        steps.append(Sql(move.format(f"{high}, is_called", f"> {high}"), (hazard,)))
    return steps


# --- views and what hangs on relations ---------------------------------------------------------------------------


def view(change: Change) -> Altered:
    """CREATE OR REPLACE where the columns stay and new ones come last."""
    if "definition" in change.attributes:
        shapes = []
        for fact, snapshot in ((change.old, change.before), (change.new, change.after)):
            columns = snapshot.children(fact, "view column")
            columns.sort(key=lambda c: int(str(c.attributes["position"])))
            shapes.append([(c.name, c.attributes["type"], c.attributes["collation"]) for c in columns])
        if shapes[1][: len(shapes[0])] != shapes[0]:
            return None
        text = create.view(change.new, change.after)[0]
        return [Sql(text.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))]
    return [Sql(f"ALTER VIEW {change.new.identity} {words}") for words in _options(change, "options")]


def materialized_view(change: Change) -> Altered:
    what, steps = f"ALTER MATERIALIZED VIEW {change.new.identity}", list[Sql]()
    if "definition" in change.attributes:
        return None
    if "access_method" in change.attributes:
        if change.version < 150000:
            return None
        steps.append(
            Sql(f"{what} SET ACCESS METHOD {quote(str(change.value('access_method')))}", (_REWRITES,))
        )
    if "tablespace" in change.attributes:
        space = quote(str(change.value("tablespace") or "pg_default"))
        steps.append(Sql(f"{what} SET TABLESPACE {space}", (_REWRITES,)))
    steps += [Sql(f"{what} {words}") for words in _options(change, "options")]
    if "populated" in change.attributes:
        words = "" if change.value("populated") else " WITH NO DATA"
        steps.append(Sql(f"REFRESH MATERIALIZED VIEW {change.new.identity}{words}", (_REWRITES,)))
    return steps


_FIRING = {"enabled": "ENABLE", "disabled": "DISABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS"}


def fires(change: Change) -> Altered:
    """Whether a trigger or rule fires; another definition makes it anew."""
    if not change.only("enabled"):
        return None
    words = _FIRING[str(change.value("enabled"))]
    # A view's trigger is enabled through ALTER TABLE, too. A partition's has a state of its own.
    only = "ONLY " if change.new.kind == "trigger" and _has_children(change) else ""
    return [
        Sql(
            f"ALTER TABLE {only}{change.new.parent} {words} {change.new.kind.upper()} {quote(change.new.name)}"
        )
    ]


def policy(change: Change) -> Altered:
    """Roles and expressions can be altered, but an expression cannot be taken away."""
    removed = any(change.was(name) is not None and change.value(name) is None for name in ("using", "check"))
    if removed or not change.only("roles", "using", "check"):
        return None
    text = f"ALTER POLICY {quote(change.new.name)} ON {change.new.parent}"
    if "roles" in change.attributes:
        text += f" TO {', '.join(tuple_of(change.value('roles')))}"
    for attribute, word in (("using", "USING"), ("check", "WITH CHECK")):
        if attribute in change.attributes:
            text += f" {word} ({change.value(attribute)})"
    return [Sql(text)]


def statistics(change: Change) -> Altered:
    if not change.only("target"):
        return None
    target = change.value("target")
    return [Sql(f"ALTER STATISTICS {change.new.identity} SET STATISTICS {-1 if target is None else target}")]


# --- types and routines ------------------------------------------------------------------------------------------


def type(change: Change) -> Altered:
    """New labels of an enum; default and NOT NULL of a domain."""
    name, steps = change.new.identity, list[Sql]()
    for attribute in sorted(change.attributes):
        value = change.value(attribute)
        match str(change.value("variant")), attribute:
            case "enum", "labels":
                added = _labels(name, tuple_of(change.was("labels")), tuple_of(value))
                if added is None:
                    return None
                steps += added
            case "domain", "default":
                words = "DROP DEFAULT" if value is None else f"SET DEFAULT {value}"
                steps.append(Sql(f"ALTER DOMAIN {name} {words}"))
            case "domain", "not_null" | "not_null_name" | "not_null_comment":
                continue
            case _:
                return None
    return steps + _domain_not_null(change)


def _domain_not_null(change: Change) -> list[Sql]:
    """NOT NULL of a domain and, since 18, what its constraint is called and said to be."""
    what, value, steps = f"ALTER DOMAIN {change.new.identity}", change.value("not_null"), list[Sql]()
    was, now = not_null_name(change.old), not_null_name(change.new)
    if change.version < 180000:
        was = now = None
    if "not_null" in change.attributes:
        hazards = (
            (Hazard("MAY_FAIL_ON_DATA", "columns of the domain that hold null"), _SCANS) if value else ()
        )
        words = f"{'SET' if value else 'DROP'} NOT NULL"
        if now and change.value("not_null_name"):
            words = f"ADD CONSTRAINT {quote(now)} NOT NULL"
        steps.append(Sql(f"{what} {words}", hazards))
    elif was and now and was != now:
        steps.append(Sql(f"{what} RENAME CONSTRAINT {quote(was)} TO {quote(now)}"))
    return steps + _not_null_comment(change, f"DOMAIN {change.new.identity}")


def _labels(name: str, was: tuple[str, ...], now: tuple[str, ...]) -> list[Sql] | None:
    """ADD VALUE for each label that is new; None if one went away or moved."""
    if [label for label in now if label in was] != [*was]:
        return None
    steps, known = [], [*was]
    hazard = (Hazard("NOT_TRANSACTIONAL", "a label cannot be taken back, and is usable only once committed"),)
    for place, label in enumerate(now):
        if label in was:
            continue
        where = (
            f"AFTER {literal(now[place - 1])}" if place else f"BEFORE {literal(known[0])}" if known else ""
        )
        where = "" if place and known and known[-1] == now[place - 1] else where
        steps.append(
            Sql(f"ALTER TYPE {name} ADD VALUE {literal(label)} {where}".rstrip(), hazard, alone=True)
        )
        known.insert(place, label)
    return steps


def attribute(change: Change) -> Altered:
    """A composite type's column; a column of a table with that type forbids it."""
    before = change.before
    holder = ("type", change.new.parent or "")
    if any(
        kind.endswith(" column") and kind != "composite type column" for kind, _ in before.dependents(holder)
    ):
        return None if change.attributes & {"type", "collation"} else []
    if not change.attributes & {"type", "collation"}:
        return []
    collate = f" COLLATE {change.value('collation')}" if change.value("collation") else ""
    text = (
        f"ALTER TYPE {change.new.parent} ALTER ATTRIBUTE {quote(change.new.name)} TYPE {change.value('type')}"
    )
    return [Sql(f"{text}{collate} CASCADE")]


_TOKENS = re.compile(r"""("(?:[^"]|"")*"|E?'(?:[^'\\]|''|\\.)*'|[(\[]|[)\]]|,)""", re.DOTALL)


def parameters(text: object) -> list[tuple[str, bool]]:
    """(parameter without its default, whether it has one) of each in ``pg_get_function_arguments``' text."""
    found, depth, current = [], 0, ""
    for part in [*_TOKENS.split(str(text)), ","]:
        if part in ("(", "["):
            depth += 1
        elif part in (")", "]"):
            depth -= 1
        if part == "," and depth == 0:
            plain, default, _ = current.partition(" DEFAULT ")
            if plain.strip():
                found.append((plain.strip(), bool(default)))
            current = ""
        else:
            current += part
    return found


def routine(change: Change) -> Altered:
    """CREATE OR REPLACE, where names and types of parameters and result stay and no default goes away."""
    if change.attributes & {"returns", "window", "variant"}:
        return None
    if "arguments" in change.attributes:
        was, now = parameters(change.was("arguments")), parameters(change.value("arguments"))
        if [name for name, _ in was] != [name for name, _ in now]:
            return None
        if any(had and not has for (_, had), (_, has) in zip(was, now, strict=True)):
            return None
    if change.new.kind == "aggregate":
        text = create.aggregate(change.new, change.after)[0]
        return [Sql(text.replace("CREATE AGGREGATE", "CREATE OR REPLACE AGGREGATE", 1))]
    return [Sql(text) for text in create.function(change.new, change.after)]


def operator(change: Change) -> Altered:
    if not change.only("restrict_estimator", "join_estimator"):
        return None
    words = {"restrict_estimator": "RESTRICT", "join_estimator": "JOIN"}
    parts = [
        f"{word} = {called(change.value(key)) if change.value(key) else 'NONE'}"
        for key, word in words.items()
        if key in change.attributes
    ]
    return [Sql(f"ALTER OPERATOR {change.new.identity} SET ({', '.join(parts)})")]


# --- the rest ----------------------------------------------------------------------------------------------------


def database(change: Change) -> Altered:
    return [Sql(execute(f"ALTER DATABASE %I CONNECTION LIMIT {change.value('connection_limit')}"))]


def extension(change: Change) -> Altered:
    steps = []
    if "version" in change.attributes:
        steps.append(
            Sql(f"ALTER EXTENSION {change.new.identity} UPDATE TO {literal(str(change.value('version')))}")
        )
    if "extension_schema" in change.attributes:
        schema = quote(str(change.value("extension_schema")))
        steps.append(Sql(f"ALTER EXTENSION {change.new.identity} SET SCHEMA {schema}"))
    return steps


def role(change: Change) -> Altered:
    return [Sql(f"ALTER ROLE {change.new.identity} {role_options(change.new, change.attributes)}")]


def membership(change: Change) -> Altered:
    steps = []
    if change.version < 160000 and change.was("admin") and not change.value("admin"):
        member, group = create.membership(change.new.identity)
        return [Sql(f"REVOKE ADMIN OPTION FOR {group} FROM {member}")]
    steps += [Sql(text) for text in create.role_membership(change.new, change.after)]
    return steps


def event_trigger(change: Change) -> Altered:
    if not change.only("enabled"):
        return None
    return [Sql(f"ALTER EVENT TRIGGER {change.new.identity} {_FIRING[str(change.value('enabled'))]}")]


def publication(change: Change) -> Altered:
    if "all_tables" in change.attributes:
        return None
    return [
        Sql(
            f"ALTER PUBLICATION {change.new.identity} SET ({publication_options(change.new, change.version)})"
        )
    ]


def subscription(change: Change) -> Altered:
    what = f"ALTER SUBSCRIPTION {change.new.identity}"
    if change.attributes & {"two_phase", "failover"}:
        return None
    steps = []
    if "publications" in change.attributes:
        names = ", ".join(map(quote, tuple_of(change.value("publications"))))
        steps.append(Sql(f"{what} SET PUBLICATION {names} WITH (refresh = false)"))
    if change.attributes - {"publications", "enabled"}:
        options = subscription_options(change.new)
        was = {option.partition(" = ")[0]: option for option in subscription_options(change.old)}
        now = {option.partition(" = ")[0]: option for option in options}
        usual = {
            "binary": "false", "streaming": "off", "synchronous_commit": "'off'", "disable_on_error": "false",
            "password_required": "true", "run_as_owner": "false", "origin": "any", "slot_name": "NONE",
        }  # fmt: skip
        changed = [option for key, option in now.items() if was.get(key) != option]
        changed += [f"{key} = {usual[key]}" for key in was if key not in now]
        steps.append(Sql(f"{what} SET ({', '.join(changed)})"))
    if "enabled" in change.attributes:
        steps.append(Sql(f"{what} {'ENABLE' if change.value('enabled') else 'DISABLE'}"))
    return steps


def foreign_data_wrapper(change: Change) -> Altered:
    text = f"ALTER FOREIGN DATA WRAPPER {change.new.identity}"
    for attribute in ("handler", "validator"):
        if attribute in change.attributes:
            value = change.value(attribute)
            text += f" {attribute.upper()} {called(value)}" if value else f" NO {attribute.upper()}"
    return [Sql(text + (f" {_foreign_options(change)}" if "options" in change.attributes else ""))]


def server(change: Change) -> Altered:
    if not change.only("version", "options") or (
        "version" in change.attributes and change.value("version") is None
    ):
        return None
    text = f"ALTER SERVER {change.new.identity}"
    if "version" in change.attributes:
        text += f" VERSION {literal(str(change.value('version')))}"
    return [Sql(text + (f" {_foreign_options(change)}" if "options" in change.attributes else ""))]


def user_mapping(change: Change) -> Altered:
    return [Sql(f"ALTER USER MAPPING {create.mapped(change.new.identity)} {_foreign_options(change)}")]


_DICTIONARY = re.compile(r"""("(?:[^"]|"")*"|\w+)\s*=\s*(E?'(?:[^'\\]|''|\\.)*'|[^,\s]+)""")


def text_search_dictionary(change: Change) -> Altered:
    if not change.only("options"):
        return None
    was = dict(_DICTIONARY.findall(str(change.was("options") or "")))
    now = dict(_DICTIONARY.findall(str(change.value("options") or "")))
    parts = [key for key in was if key not in now]
    parts += [f"{key} = {value}" for key, value in now.items() if was.get(key) != value]
    return [Sql(f"ALTER TEXT SEARCH DICTIONARY {change.new.identity} ({', '.join(parts)})")]


def text_search_configuration(change: Change) -> Altered:
    if not change.only("mappings"):
        return None
    was, now = (
        dict(mapping.split(": ", 1) for mapping in tuple_of(value))
        for value in (change.was("mappings"), change.value("mappings"))
    )
    what = f"ALTER TEXT SEARCH CONFIGURATION {change.new.identity}"
    steps = [Sql(f"{what} DROP MAPPING FOR {quote(token)}") for token in was if token not in now]
    for token, dictionaries in now.items():
        if was.get(token) != dictionaries:
            verb = "ALTER" if token in was else "ADD"
            steps.append(Sql(f"{what} {verb} MAPPING FOR {quote(token)} WITH {dictionaries}"))
    return steps
