"""The same script for tables that are in use: nothing that reads or sorts all rows keeps writers waiting meanwhile.

Indexes are built and dropped ``CONCURRENTLY``; constraints are added ``NOT VALID``, which checks new rows only, and
validated apart. All this comes when the rest is committed, so the script is no longer one transaction: what was done
stays if a later statement fails. Tables that the script makes, partitioned tables and exclusion constraints are treated
as ever, because PostgreSQL offers nothing better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from auditkit.catalog.snapshot import Key, Snapshot
from auditkit.catalog.sql import Hazard, Sql, quote
from auditkit.resolve.closing import Step

_FAILS = Hazard(
    "NOT_TRANSACTIONAL", "if it fails, an index that is not valid stays: drop it and begin again here"
)
_STAYS = Hazard(
    "NOT_TRANSACTIONAL", "if it fails, what was done before stays: correct the rows and begin again here"
)
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (?!.* ON ONLY )")
_NOT_NULL = re.compile(r"ALTER TABLE (?P<table>\S.*) ALTER COLUMN (?P<column>\S.*) SET NOT NULL")
_NAMED = re.compile(
    r"ALTER TABLE (?P<table>\S.*?) ADD CONSTRAINT (?P<name>\"(?:[^\"]|\"\")*\"|\w+) NOT NULL "
    r"(?P<column>\"(?:[^\"]|\"\")*\"|\w+)"
)
_ADD = re.compile(
    r"ALTER TABLE (?P<table>\S.*?) ADD CONSTRAINT (?P<name>\"(?:[^\"]|\"\")*\"|\w+) (?P<rest>.*)", re.DOTALL
)
_KEY = re.compile(
    r"(?P<what>PRIMARY KEY|UNIQUE)(?P<nulls> NULLS NOT DISTINCT)? (?P<columns>\((?!.* WITHOUT OVERLAPS)[^()]*\))"
    r"(?P<include> INCLUDE \([^()]*\))?(?P<deferrable>(?: DEFERRABLE)?(?: INITIALLY DEFERRED)?)"
)
_UNIQUE = ("CREATE UNIQUE", "PRIMARY KEY", "UNIQUE")
#: Kinds that share one space of names.
_RELATIONS = ("index", "table", "foreign table", "view", "materialized view", "sequence")


@dataclass
class _Script:
    """What is done in transactions, and what comes after them."""

    before: Snapshot
    after: Snapshot
    steps: Sequence[Step]
    main: list[Step] = field(default_factory=list)
    later: list[Step] = field(default_factory=list)
    last: list[Step] = field(default_factory=list)
    moved: set[Key] = field(default_factory=set)

    @property
    def version(self) -> int:
        return int(self.before.manifest.get("server_version") or 0)


def online(steps: Sequence[Step], before: Snapshot, after: Snapshot) -> list[Step]:
    """*steps*, which turn *before* into *after*, without long locks against writers."""
    script = _Script(before, after, steps)
    for step in steps:
        waits = step.action != "drop" and (
            step.key in script.moved or bool(after.holders(step.key) & script.moved)
        )
        if waits:
            script.moved.add(step.key)
        _place(script, step, script.later if waits else script.main)
    return script.main + script.later + script.last


def _place(script: _Script, step: Step, rest: list[Step]) -> None:
    """Put a step where it belongs, in pieces if need be; *rest* is where it stays whole."""
    if step.key[0] == "index" and step.action == "drop" and _can_go_last(script, step):
        text = step.sql.text.replace("DROP INDEX ", "DROP INDEX CONCURRENTLY ", 1)
        script.last.append(_alone(step, text, _FAILS))
    elif not _in_use(script, step.key):
        rest.append(step)
    elif step.key[0] == "index" and step.action == "create" and _INDEX.match(step.sql.text):
        script.moved.add(step.key)
        hazards = [hazard for hazard in step.sql.hazards if hazard.code != "BLOCKS_WRITES"]
        text = _INDEX.sub(lambda m: f"CREATE {m[1] or ''}INDEX CONCURRENTLY ", step.sql.text, count=1)
        script.later.append(_alone(step, text, *hazards, _FAILS))
    elif step.key[0] == "table column" and (
        match := _NOT_NULL.fullmatch(step.sql.text) or _NAMED.fullmatch(step.sql.text)
    ):
        _not_null(script, step, match, rest)
    elif step.key[0] == "table constraint" and (match := _ADD.fullmatch(step.sql.text)):
        _constraint(script, step, match, rest)
    else:
        rest.append(step)


def _alone(step: Step, text: str, *hazards: Hazard) -> Step:
    return replace(step, sql=Sql(text, hazards, alone=True))


def _with(step: Step, text: str, *hazards: Hazard) -> Step:
    return replace(step, sql=Sql(text, hazards))


# --- what can be done so -----------------------------------------------------------------------------------------


def _table(snapshot: Snapshot, key: Key) -> Key | None:
    """The table that an index, column or constraint is on."""
    fact = snapshot.get(*key)
    name = (fact.parent or "").rpartition(" on ")[2] if fact else ""
    return next((k for kind in ("table", "materialized view") if snapshot.get(*(k := (kind, name)))), None)


def _in_use(script: _Script, key: Key) -> bool:
    """Whether it is on a table that is there before, with rows of its own, and stays what it is."""
    table = _table(script.after, key)
    fact = script.before.get(*table) if table else None
    if fact is None or fact.attributes.get("partition_key"):
        return False
    made = any(step.key == table and step.action == "create" for step in script.steps)
    attached = any(f"ATTACH PARTITION {fact.identity} " in step.sql.text for step in script.steps)
    own = script.after.get(*key)
    unique = own is not None and str(own.attributes.get("definition")).startswith(_UNIQUE)
    shared = (
        own is not None and own.origin is not None and unique
    )  # what refers to the whole needs it at once
    return (
        not made and not attached and not shared
    )  # a partition is attached with its indexes and constraints


def _can_go_last(script: _Script, step: Step) -> bool:
    """Whether an index can stay until all else is done: it is not made again, and nothing it is on changes."""
    table = _table(script.before, step.key)
    fact = script.before.get(*table) if table else None
    old = script.before.get(*step.key)
    if fact is None or old is None or old.origin or fact.attributes.get("partition_key"):
        return False
    others = [other for other in script.steps if other is not step]
    taken = {other.key[1] for other in others if other.key[0] in _RELATIONS}
    goes = {other.key for other in others if other.action == "drop" or " TYPE " in other.sql.text}
    near = (script.before.holders(step.key) | script.before.dependents(step.key)) - {fact.key}
    return not goes & near and step.key[1] not in taken


# --- recipes -----------------------------------------------------------------------------------------------------


def _not_null(script: _Script, step: Step, match: re.Match[str], rest: list[Step]) -> None:
    """A check that holds for all rows proves NOT NULL without a scan; since 18 NOT NULL can be NOT VALID itself."""
    old, fact = script.before.get(*step.key), script.after.get(*step.key)
    assert fact is not None
    if old is None or old.attributes["not_null"] or _needed_at_once(script, step.key):
        rest.append(step)  # one that is NOT NULL NOT VALID is only validated
        return
    table, column = match["table"], match["column"]
    relation = script.after.get("table", fact.parent or "")
    usual = f"{relation.name if relation else ''}_{fact.name}_not_null"
    named = match.groupdict().get("name")
    if named or (script.version >= 180000 and len(usual.encode()) < 64):
        name = named or quote(usual)
        rest.append(_with(step, f"ALTER TABLE {table} ADD CONSTRAINT {name} NOT NULL {column} NOT VALID"))
        script.later.append(_validate(step, table, name))
        return
    name = f"auditkit_not_null_{fact.subid}"
    rest.append(
        _with(step, f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID")
    )
    script.later += [
        _validate(step, table, name),
        _with(step, step.sql.text),
        _with(step, f"ALTER TABLE {table} DROP CONSTRAINT {name}"),
    ]


def _needed_at_once(script: _Script, column: Key) -> bool:
    """Whether something in the same transaction asks for NOT NULL: an identity, a key that is made as ever."""
    users = script.after.dependents(column)
    for step in script.steps:
        text = step.sql.text
        if step.key == column and " ADD GENERATED " in text:
            return True
        if step.key in users and step.key not in script.moved and " REPLICA IDENTITY USING " in text:
            return True
        match = _ADD.fullmatch(text) if step.key in users else None
        if match and match["rest"].startswith("PRIMARY KEY") and not _KEY.fullmatch(match["rest"]):
            return True
    return False


def _constraint(script: _Script, step: Step, match: re.Match[str], rest: list[Step]) -> None:
    """Foreign keys and checks are validated apart; keys get an index that was built before."""
    table, name, definition = match["table"], match["name"], match["rest"]
    apart = definition.startswith("CHECK") or (
        definition.startswith("FOREIGN KEY") and not _refers_to_partitions(script, step.key)
    )
    if apart and not definition.endswith((" NOT VALID", " NOT ENFORCED")):
        rest.append(_with(step, f"{step.sql.text} NOT VALID"))
        script.later.append(_validate(step, table, name))
    elif key := _KEY.fullmatch(definition):
        fact = script.after.get(*step.key)
        script.moved |= {
            step.key,
            *(index.key for index in (script.after.children(fact, "index") if fact else ())),
        }
        columns = f"{key['columns']}{key['include'] or ''}{key['nulls'] or ''}"
        hazards = [hazard for hazard in step.sql.hazards if hazard.code == "MAY_FAIL_ON_DATA"]
        build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} {columns}"
        use = f"ALTER TABLE {table} ADD CONSTRAINT {name} {key['what']} USING INDEX {name}{key['deferrable']}"
        script.later += [_alone(step, build, *hazards, _FAILS), _with(step, use)]
    else:
        rest.append(step)


def _refers_to_partitions(script: _Script, key: Key) -> bool:
    """Whether a foreign key refers to a partitioned table: it is then one for each partition, of which one is validated."""
    held = (script.after.get(*other) for other in script.after.holders(key))
    wholes = (
        fact if fact.kind == "table" else script.after.get("table", fact.parent or "")
        for fact in held
        if fact
    )
    return any(whole is not None and whole.attributes.get("partition_key") for whole in wholes)


def _validate(step: Step, table: str, name: str) -> Step:
    hazards: Iterable[Hazard] = (h for h in step.sql.hazards if h.code == "MAY_FAIL_ON_DATA")
    return _alone(step, f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}", *hazards, _STAYS)
