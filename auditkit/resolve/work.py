"""What has to be done to which objects: the differences, and what they force upon others.

An object that cannot be altered, and whatever cannot stay while that is made anew, is *remade*: dropped and created again
with all that belongs to it. What depends on it lets go first and takes hold again, if PostgreSQL can do that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import COMMON, Fact, Key, Snapshot
from auditkit.catalog.sql import Change, quote, tuple_of

#: What all kinds can have; set after everything else that makes the object.
BELONGINGS = ("owner", "grants", *COMMON)
#: What PostgreSQL looks after by itself when a column they use changes its type.
_STAYS = frozenset({"index", "statistics object", "sequence", "table"})
#: What a column's values are made of; the attributes that name it are called the same.
BELOW_COLUMNS = frozenset({"type", "collation"})


@dataclass
class Work:
    """What has to be done to which objects, in order to turn *before* into *after*.

    Attributes:
        dropped, created: objects that only one side has.
        changed: objects that both have → attributes that differ, or have to be set again.
        remade: objects that both have and that are dropped and created all the same.
    """

    before: Snapshot
    after: Snapshot
    dropped: set[Key] = field(default_factory=set)
    created: set[Key] = field(default_factory=set)
    changed: dict[Key, set[str]] = field(default_factory=dict)
    remade: set[Key] = field(default_factory=set)
    released: set[Key] = field(default_factory=set)  # columns whose default steps aside
    bare: set[Key] = field(default_factory=set)  # tables created without defaults, to break a cycle
    named: set[Key] = field(default_factory=set)  # parts dropped by name before their whole, likewise

    def bare_columns(self) -> set[Key]:
        """Columns of tables created without defaults that have one to be set later."""
        return {
            column.key
            for table in self.bare
            for column in self.after.children(fact_of(self.after, table), f"{table[0]} column")
            if column.attributes["default"] is not None and not column.attributes["generated"]
        }

    @cached_property
    def version(self) -> int:
        return int(
            self.before.manifest.get("server_version") or self.after.manifest.get("server_version") or 0
        )

    def change(self, key: Key) -> Change | None:
        """What to alter of an object that stays, but for its belongings."""
        old, new = self.before.get(*key), self.after.get(*key)
        attributes = frozenset(self.changed.get(key, ())) - set(BELONGINGS)
        if old is None or new is None or not attributes:
            return None
        origin = self.after.get(new.kind, new.origin) if new.origin else None
        if origin is not None and (
            self.comes(("table", str(origin.parent))) or self.lets_go(("table", str(new.parent)))
        ):
            new = replace(
                new, origin=None
            )  # nothing reaches it from a parent that is made anew, or let go meanwhile
        return Change(old, new, attributes, self.before, self.after, self.version, key in self.released)

    def lets_go(self, table: Key) -> bool:
        """Whether a table is no longer its parent's partition, or child, until all is as it shall be."""
        old, new = self.before.get(*table), self.after.get(*table)
        changed = self.changed.get(table, set())
        if old is None or new is None or self.goes(table):
            return False
        detached = "partition_bound" in changed and bool(old.attributes["partition_bound"])
        return detached or (
            "inherits" in changed and old.attributes["inherits"] == new.attributes["inherits"]
        )

    def goes(self, key: Key) -> bool:
        """Whether it is dropped, for good or to come again."""
        return key in self.dropped or key in self.remade

    def comes(self, key: Key) -> bool:
        """Whether it is created, for the first time or again."""
        return key in self.created or key in self.remade


def spread(work: Work) -> None:
    """From what is dropped, remade or disturbed to all that cannot stay meanwhile."""
    todo: list[Key] = []

    def remake(key: Key) -> None:
        for one in {key, _replaceable(work, key)}:
            if not work.goes(one):
                work.remade.add(one)
                todo.append(one)
                for heir in _followers(work, one):
                    remake(heir)

    for key in list(work.changed):
        change = work.change(key)
        alter = KINDS[key[0]].alter
        if change is not None and (alter is None or alter(change) is None):
            remake(key)
    for key in [*work.created, *work.changed]:
        if (domain := _stricter(work, key)) and _contained(work.before, domain):
            remake(domain)  # PostgreSQL does not look for the values inside of arrays and composites
    for key in [*work.created, *work.dropped]:  # a member of a class that stays cannot come or go alone
        snapshot = work.after if key in work.created else work.before
        if key[0].endswith("of access method"):
            for whole in snapshot.wholes(key):
                if whole[0] == "operator class" and whole not in work.created | work.dropped:
                    remake(whole)
    for parent in _detached_indexes(work):
        remake(parent)
    for composite in _reordered_composites(work):
        remake(composite)
    todo += work.dropped
    disturbed = set(work.changed) - work.remade
    while todo or disturbed:
        if todo:
            _undermined(work, todo.pop(), remake, disturbed)
            continue
        key = disturbed.pop()
        if work.changed[key] & KINDS[key[0]].disturbs and not work.goes(key):
            if _is_partition_key(work, key):
                remake(("table", str(fact_of(work.before, key).parent)))
                continue
            for dependent in work.before.dependents(key):
                if _steps_aside(work, dependent, key):
                    remake(dependent)


def _replaceable(work: Work, key: Key) -> Key:
    """A part that cannot be replaced alone stands for its whole."""
    if key[0] == "composite type column":
        return "type", str(fact_of(work.before, key).parent)
    if key[0] == "index":
        constraint = ("table constraint", str(fact_of(work.before, key).parent))
        return key if work.before.get(*constraint) is None else constraint
    if key[0].endswith("of access method"):
        for whole in work.before.wholes(key) | work.after.wholes(key):
            if whole[0] == "operator class":
                return whole
    return key


def _stricter(work: Work, key: Key) -> Key | None:
    """The domain whose values have to be checked, as it gets a constraint or may no longer be null."""
    if key[0] == "domain constraint":
        fact = fact_of(work.after, key)
        return (
            None if str(fact.attributes["definition"]).endswith("NOT VALID") else ("type", str(fact.parent))
        )
    if key[0] == "type" and "not_null" in work.changed.get(key, ()):
        return key if fact_of(work.after, key).attributes["not_null"] else None
    return None


def _contained(snapshot: Snapshot, type: Key) -> bool:
    """Whether columns hold values of a type inside of others: arrays, composites."""
    for dependent in snapshot.dependents(type):
        fact = fact_of(snapshot, dependent)
        if dependent[0] == "composite type column":
            whole = ("type", str(fact.parent))
            if any(kind.endswith("table column") for kind, _ in snapshot.dependents(whole)):
                return True
        elif dependent[0].endswith("table column") and str(fact.attributes["type"]).endswith("[]"):
            return True
    return False


def _is_partition_key(work: Work, column: Key) -> bool:
    """Whether rows are in partitions by a column: then its type cannot be altered."""
    fact = fact_of(work.before, column)
    table = work.before.get("table", fact.parent or "")
    key = str(table.attributes["partition_key"] or "") if table is not None else ""
    return re.search(rf"(?<![\w\"]){re.escape(quote(fact.name))}(?![\w\"])", key) is not None


def _reordered_composites(work: Work) -> Iterator[Key]:
    """Composite types whose attributes would not be in order, where no column with values stands in the way."""
    parts = [key for key in (*work.created, *work.changed) if key[0] == "composite type column"]
    for key in {("type", str(fact_of(work.after, part).parent)) for part in parts}:
        old, new = work.before.get(*key), work.after.get(*key)
        if old is None or new is None or _contained(work.before, key):
            continue
        if any(kind.endswith("table column") for kind, _ in work.before.dependents(key)):
            continue
        was, now = (
            [c.name for c in sorted(side.children(fact, "composite type column"), key=_position)]
            for side, fact in ((work.before, old), (work.after, new))
        )
        kept = [name for name in was if name in now]
        if kept + [name for name in now if name not in was] != now:
            yield key


def _position(column: Fact) -> int:
    return int(str(column.attributes["position"]))


def _detached_indexes(work: Work) -> Iterator[Key]:
    """Partitioned indexes that lose the index of a partition: that is attached for good, so they are made anew."""
    for parent, family in work.before.heirs.items():
        if parent[0] == "index" and work.after.get(*parent) is not None:
            now = [
                heir for key in family if (heir := work.after.get(*key)) is not None and heir.origin is None
            ]
            tables = (("table", (heir.parent or "").rpartition(" on ")[2]) for heir in now)
            if any("partition_bound" not in work.changed.get(table, ()) for table in tables):
                yield parent  # a partition that is itself detached takes its indexes with it


def _followers(work: Work, column: Key) -> Iterator[Key]:
    """The columns of children that go and come with their parent's, if that is made anew in a table that stays."""
    fact = work.before.get(*column)
    if column[0] != "table column" or fact is None or work.goes(("table", str(fact.parent))):
        return
    for heir in work.before.heirs.get(column, ()):
        if (now := work.after.get(*heir)) is not None and now.origin is not None:
            yield heir


def _undermined(work: Work, key: Key, remake: Callable[[Key], None], disturbed: set[Key]) -> None:
    """What depends on an object that goes: it is remade, too, or lets go of it and takes hold again."""
    for dependent in work.before.dependents(key) | _parts(work, key):
        if work.goes(dependent) or work.after.get(*dependent) is None:
            continue
        old, new = fact_of(work.before, dependent), fact_of(work.after, dependent)
        if old.extension or dependent[0] == "extension":
            continue
        if dependent[0] in ("table column", "foreign table column"):
            if dependent[0] == f"{key[0]} column" and key[1] == old.parent:
                remake(dependent)
            elif key[0] in BELOW_COLUMNS and key in work.remade:
                work.changed.setdefault(dependent, set()).add(key[0])
                if key[0] == "type" and fact_of(work.before, key).attributes["variant"] == "range":
                    work.released.add(dependent)
                    for user in work.before.dependents(dependent):  # meanwhile its values are text
                        if user[0] in ("index", "table constraint") and work.after.get(*user) is not None:
                            remake(user)
                disturbed.add(dependent)
                if old.attributes["generated"]:
                    remake(dependent)
            elif old.attributes["generated"] and new.attributes["generated"]:
                remake(dependent)
            elif (
                old.attributes["default"] is not None
                and key[0] != "table column"
                and (key in work.remade or "default" not in work.changed.get(dependent, ()))
            ):
                work.changed.setdefault(dependent, set()).add("default")
                work.released.add(dependent)
        elif dependent[0] == "table":
            if key in work.remade and key[0] == "table":  # it lets go of its parent, and keeps its rows
                both = (tuple_of(fact.attributes["inherits"]) for fact in (old, new))
                if all(key[1] in parents for parents in both):
                    bound = old.attributes["partition_bound"] and new.attributes["partition_bound"]
                    work.changed.setdefault(dependent, set()).add("partition_bound" if bound else "inherits")
            elif key in work.remade and old.attributes["of_type"] == new.attributes["of_type"] == key[1]:
                work.changed.setdefault(dependent, set()).add("of_type")
        elif dependent[0] == "sequence":
            if new.attributes["of_identity"] or key in work.remade:
                remake(dependent)
        elif dependent[0] == "schema" or (key in work.dropped and _lets_go(work, dependent, key)):
            continue
        else:
            remake(dependent)


def _parts(work: Work, key: Key) -> set[Key]:
    """What belongs to an object by its name only, without a row in pg_depend."""
    fact = work.before.get(*key)
    if fact is None:
        return set()
    return {
        child.key
        for kind in KINDS.values()
        if key[0] in kind.parents and kind.name in work.before.tables
        for child in work.before.children(fact, kind.name)
    }


def _lets_go(work: Work, dependent: Key, key: Key) -> bool:
    """Whether altering *dependent* in place frees it from *key*, which does not come again."""
    change = work.change(dependent)
    alter = KINDS[dependent[0]].alter
    if change is None or alter is None or alter(change) is None:
        return False
    if dependent[0] == "table constraint" or key in work.before.wholes(dependent):
        return dependent[0] == "view"  # it would go with its whole
    return True


def _steps_aside(work: Work, dependent: Key, column: Key) -> bool:
    """Whether *dependent* must not be there while the type of *column* changes."""
    if work.after.get(*dependent) is None or dependent[0] in _STAYS or work.goes(dependent):
        return False
    fact = fact_of(work.before, dependent)
    if fact.extension:
        return False
    match dependent[0]:
        case "table constraint":
            return str(fact.attributes["definition"]).startswith(("FOREIGN KEY", "EXCLUDE"))
        case "table column" | "foreign table column":
            return bool(fact.attributes["generated"])
        case "composite type column" | "domain constraint" | "type":
            return False
    return True


def fact_of(snapshot: Snapshot, key: Key) -> Fact:
    fact = snapshot.get(*key)
    assert fact is not None, key
    return fact
