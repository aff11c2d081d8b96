"""SQL that turns one snapshot into another: what to do with each object, and in which order.

What differs is dropped, created or altered; an object that cannot be altered, and whatever cannot stay while that is
made anew, is *remade*: dropped and created again with all that belongs to it. Each such action is a node of a graph
whose edges come from pg_depend of both sides: nothing is dropped before what depends on it, nothing created before what
it depends on. The per-kind knowledge is in the kinds' entries (``create``, ``alter``, ``dropped``, ``later``).
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from auditkit.catalog import belongings, create
from auditkit.catalog.alter import attach_index, go_on, rename_sequence
from auditkit.catalog.compare import Comparison
from auditkit.catalog.grants import OWNER
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import COMMON, Fact, Key, Snapshot, Value
from auditkit.catalog.sql import Change, Hazard, Sql, quote, tuple_of

Phase = Literal["early", "drop", "create", "alter", "purge"]
Node = tuple[Phase, Key]

#: What all kinds can have; set after everything else that makes the object.
BELONGINGS = ("owner", "grants", *COMMON)
#: Set when more than the object itself is there: an owned sequence's column, a partition's indexes.
_LAST = frozenset({"owned_by", "partition_bound", "inherits"})
#: What PostgreSQL looks after by itself when a column they use changes its type.
_STAYS = frozenset({"index", "statistics object", "sequence", "table"})
#: What a table must have before it becomes the partition or child of one that has it.
_BEFORE_ATTACHING = frozenset({"index", "table constraint", "table column", "foreign table column"})
#: What a column's values are made of; the attributes that name it are called the same.
_BELOW_COLUMNS = frozenset({"type", "collation"})
#: The order in which what is ready is done; what comes later may use what came before without saying so.
_RANK = {
    name: rank
    for rank, name in enumerate(
        (
            "role", "role membership", "database", "schema", "extension", "access method", "language", "collation",
            "type", "composite type column", "domain constraint", "foreign-data wrapper", "server", "user mapping",
            "sequence", "table", "foreign table", "function", "procedure", "aggregate", "operator", "operator family",
            "operator class", "operator of access method", "function of access method", "cast", "conversion",
            "transform", "text search parser", "text search template", "text search dictionary",
            "text search configuration", "table column", "foreign table column", "index", "table constraint", "view",
            "view column", "materialized view", "materialized view column", "statistics object", "rule", "trigger",
            "policy", "publication", "publication relation", "publication namespace", "subscription", "default acl",
            "setting", "event trigger",
        )
    )
}  # fmt: skip


#: Parts that can be dropped by name before their whole.
_SEPARABLE = frozenset({"table constraint", "policy", "rule", "trigger", "domain constraint", "index"})
#: What default privileges are given on → the kinds that get them.
_GIVEN = {
    "tables": ("table", "view", "materialized view", "foreign table"),
    "sequences": ("sequence",),
    "functions": ("function", "procedure", "aggregate"),
    "types": ("type",),
    "schemas": ("schema",),
}


@dataclass(frozen=True)
class Step:
    """One statement of a script.

    Attributes:
        sql: the statement with its hazards.
        key: the object it is about.
        action: ``drop``, ``create``, ``alter`` or ``rename``.
        evidence: why a rename is taken for one.
    """

    sql: Sql
    key: Key
    action: str
    evidence: str = ""

    def as_dict(self) -> dict[str, object]:
        """As the JSON documents have it."""
        return {
            "sql": self.sql.text,
            "action": self.action,
            "kind": self.key[0],
            "identity": self.key[1],
            "transaction": not self.sql.alone,
            "hazards": [{"code": hazard.code, "why": hazard.why} for hazard in self.sql.hazards],
            **({"evidence": self.evidence} if self.evidence else {}),
        }


@dataclass
class _Work:
    """What has to be done to which objects."""

    before: Snapshot
    after: Snapshot
    dropped: set[Key] = field(default_factory=set)
    created: set[Key] = field(default_factory=set)
    changed: dict[Key, set[str]] = field(default_factory=dict)
    remade: set[Key] = field(default_factory=set)
    released: set[Key] = field(default_factory=set)  # columns whose default steps aside
    bare: set[Key] = field(default_factory=set)  # tables created without defaults, to break a cycle
    named: set[Key] = field(
        default_factory=set
    )  # parts that are dropped by name before their whole, likewise

    @property
    def bare_columns(self) -> set[Key]:
        """Columns of tables created without defaults that have one to be set later."""
        return {
            column.key
            for table in self.bare
            for column in self.after.children(_fact(self.after, table), f"{table[0]} column")
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
        if origin is not None and self.comes(("table", str(origin.parent))):
            new = replace(new, origin=None)  # nothing reaches it from a parent that is made anew
        return Change(old, new, attributes, self.before, self.after, self.version, key in self.released)

    def goes(self, key: Key) -> bool:
        return key in self.dropped or key in self.remade

    def comes(self, key: Key) -> bool:
        return key in self.created or key in self.remade


def close(before: Snapshot, after: Snapshot, differences: Comparison) -> list[Step]:
    """The statements that turn *before* into *after*, in an order that runs.

    Args:
        before, after: snapshots with their edges.
        differences: ``compare(before, after)``; what it leaves out is not touched, unless it has to be remade.
    """
    work = _Work(before, after)
    for delta in differences:
        for key in (delta.key, *delta.children):
            if delta.change == "missing":
                work.dropped.add(key)
            elif delta.change == "unexpected":
                work.created.add(key)
            elif delta.attribute is not None:
                work.changed.setdefault(key, set()).add(delta.attribute)
    _spread(work)
    while True:
        script = _Script(work)
        steps = script.steps()
        tables, parts = script.circular_tables(), script.circular_parts()
        if not tables and not parts:
            return steps
        work.bare |= tables
        work.named |= parts


# --- what has to be remade ---------------------------------------------------------------------------------------


def _spread(work: _Work) -> None:
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
                remake(("table", str(_fact(work.before, key).parent)))
                continue
            for dependent in work.before.dependents(key):
                if _steps_aside(work, dependent, key):
                    remake(dependent)


def _followers(work: _Work, column: Key) -> Iterator[Key]:
    """The columns of children that go and come with their parent's, if that is made anew in a table that stays."""
    fact = work.before.get(*column)
    if column[0] != "table column" or fact is None or work.goes(("table", str(fact.parent))):
        return
    for heir in work.before.heirs.get(column, ()):
        if (now := work.after.get(*heir)) is not None and now.origin is not None:
            yield heir


def _replaceable(work: _Work, key: Key) -> Key:
    """A part that cannot be replaced alone stands for its whole."""
    if key[0] == "composite type column":
        return "type", str(_fact(work.before, key).parent)
    if key[0].endswith("of access method"):
        for whole in work.before.wholes(key) | work.after.wholes(key):
            if whole[0] == "operator class":
                return whole
    return key


def _stricter(work: _Work, key: Key) -> Key | None:
    """The domain whose values have to be checked, as it gets a constraint or may no longer be null."""
    if key[0] == "domain constraint":
        fact = _fact(work.after, key)
        return (
            None if str(fact.attributes["definition"]).endswith("NOT VALID") else ("type", str(fact.parent))
        )
    if key[0] == "type" and "not_null" in work.changed.get(key, ()):
        return key if _fact(work.after, key).attributes["not_null"] else None
    return None


def _contained(snapshot: Snapshot, type: Key) -> bool:
    """Whether columns hold values of a type inside of others: arrays, composites."""
    for dependent in snapshot.dependents(type):
        fact = _fact(snapshot, dependent)
        if dependent[0] == "composite type column":
            whole = ("type", str(fact.parent))
            if any(kind.endswith("table column") for kind, _ in snapshot.dependents(whole)):
                return True
        elif dependent[0].endswith("table column") and str(fact.attributes["type"]).endswith("[]"):
            return True
    return False


def _is_partition_key(work: _Work, column: Key) -> bool:
    """Whether rows are in partitions by a column: then its type cannot be altered."""
    fact = _fact(work.before, column)
    table = work.before.get("table", fact.parent or "")
    key = str(table.attributes["partition_key"] or "") if table is not None else ""
    return re.search(rf"(?<![\w\"]){re.escape(quote(fact.name))}(?![\w\"])", key) is not None


def _reordered_composites(work: _Work) -> Iterator[Key]:
    """Composite types whose attributes would not be in order, where no column with values stands in the way."""
    parts = [key for key in (*work.created, *work.changed) if key[0] == "composite type column"]
    for key in {("type", str(_fact(work.after, part).parent)) for part in parts}:
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


def _detached_indexes(work: _Work) -> Iterator[Key]:
    """Partitioned indexes that lose the index of a partition: that is attached for good, so they are made anew."""
    for parent, family in work.before.heirs.items():
        if parent[0] == "index" and work.after.get(*parent) is not None:
            now = [
                heir for key in family if (heir := work.after.get(*key)) is not None and heir.origin is None
            ]
            tables = (("table", (heir.parent or "").rpartition(" on ")[2]) for heir in now)
            if any("partition_bound" not in work.changed.get(table, ()) for table in tables):
                yield parent  # a partition that is itself detached takes its indexes with it


def _undermined(work: _Work, key: Key, remake: object, disturbed: set[Key]) -> None:
    """What depends on an object that goes: it is remade, too, or lets go of it and takes hold again."""
    assert callable(remake)
    for dependent in work.before.dependents(key) | _parts(work, key):
        if work.goes(dependent) or work.after.get(*dependent) is None:
            continue
        old, new = _fact(work.before, dependent), _fact(work.after, dependent)
        if old.extension or dependent[0] == "extension":
            continue
        if dependent[0] in ("table column", "foreign table column"):
            if dependent[0] == f"{key[0]} column" and key[1] == old.parent:
                remake(dependent)
            elif key[0] in _BELOW_COLUMNS and key in work.remade:
                work.changed.setdefault(dependent, set()).add(key[0])
                if key[0] == "type" and _fact(work.before, key).attributes["variant"] == "range":
                    work.released.add(dependent)
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


def _parts(work: _Work, key: Key) -> set[Key]:
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


def _lets_go(work: _Work, dependent: Key, key: Key) -> bool:
    """Whether altering *dependent* in place frees it from *key*, which does not come again."""
    change = work.change(dependent)
    alter = KINDS[dependent[0]].alter
    if change is None or alter is None or alter(change) is None:
        return False
    if dependent[0] == "table constraint" or key in work.before.wholes(dependent):
        return dependent[0] == "view"  # it would go with its whole
    return True


def _steps_aside(work: _Work, dependent: Key, column: Key) -> bool:
    """Whether *dependent* must not be there while the type of *column* changes."""
    if work.after.get(*dependent) is None or dependent[0] in _STAYS or work.goes(dependent):
        return False
    fact = _fact(work.before, dependent)
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


def _fact(snapshot: Snapshot, key: Key) -> Fact:
    fact = snapshot.get(*key)
    assert fact is not None, key
    return fact


# --- the order ---------------------------------------------------------------------------------------------------


class _Script:
    """The graph of actions, and its statements in order."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        self.before, self.after = work.before, work.after
        self.statements: dict[Node, list[Step]] = {}
        self.edges: dict[Node, set[Node]] = defaultdict(set)  # node → nodes that come after it
        self._takers: dict[Key, Key] = {}
        self._makers: dict[Key, Key] = {}
        self.circles: list[set[Node]] = []  # what was left each time nothing was ready
        self.kept = {key for key in work.remade if key[0] in _BELOW_COLUMNS and self._used_by_columns(key)}

    def steps(self) -> list[Step]:
        self._drops()
        self._alters()
        self._creates()
        self._dresses()
        for node in self.statements:
            self.edges.setdefault(node, set())
        self._by_dependencies()
        self._by_names()
        return [step for node in self._sorted() for step in self.statements.get(node, ())]

    def _used_by_columns(self, key: Key) -> bool:
        """Whether columns with rows are made of it: then it makes way under another name until they have moved.

        A range cannot: its multirange and its constructors would still be in the way.
        """
        if _fact(self.before, key).attributes.get("variant") == "range":
            return False
        for dependent in self.before.dependents(key):
            match dependent[0]:
                case "table column" | "foreign table column":
                    if self.after.get(*dependent) is not None and not self.work.goes(dependent):
                        return True
                case "composite type column":
                    if self._used_by_columns(("type", str(_fact(self.before, dependent).parent))):
                        return True
                case "type":
                    if self._used_by_columns(dependent):
                        return True
        return False

    # -- nodes

    def _add(self, node: Node, statements: Iterable[Sql], action: str = "") -> None:
        found = self.statements.setdefault(node, [])
        found += [Step(sql, node[1], action or node[0]) for sql in statements]

    def _drops(self) -> None:
        for key in self.work.dropped | self.work.remade:
            if self.gone_with(key) != key:
                continue
            fact = _fact(self.before, key)
            if key[0] == "trigger" and self._detached(fact):
                continue  # of its parent's triggers a table keeps nothing
            if key in self.kept:
                old = f"{fact.name[:57]}__old"
                self._add(
                    ("drop", key), [Sql(f"ALTER {key[0].upper()} {key[1]} RENAME TO {quote(old)}")], "alter"
                )
                name = f"{quote(fact.schema or '')}.{quote(old)}"
                self._add(("purge", key), [Sql(f"DROP {key[0].upper()} {name}")], "drop")
            else:
                statements = _drop(fact, self.work)
                if self._kept_by_children(key):  # with the values that are in them
                    only = f"ALTER TABLE ONLY {fact.parent}"
                    statements = [
                        replace(s, text=s.text.replace(f"ALTER TABLE {fact.parent}", only, 1))
                        for s in statements
                    ]
                self._add(("drop", key), statements)

    def _kept_by_children(self, key: Key) -> bool:
        """Whether a column stays in a table that inherits it."""
        if key[0] != "table column":
            return False
        heirs = self.before.heirs.get(key, ())
        return any(self.after.get(*heir) is not None and not self.work.goes(heir) for heir in heirs)

    def gone_with(self, key: Key) -> Key:
        """The object whose DROP takes *key* along; itself, if it has to be dropped by name."""
        if key not in self._takers:
            self._takers[key] = self._taken_by(key)
        return self._takers[key]

    def _taken_by(self, key: Key) -> Key:
        fact = _fact(self.before, key)
        if key in self.work.named:
            return key
        origin = (fact.kind, fact.origin or "")
        cloned = fact.kind in ("table constraint", "trigger")  # from the parent's, and dropped with that only
        detached = self._detached(fact)
        if cloned and fact.origin is not None and self.work.goes(origin) and not detached:
            return self.gone_with(origin)
        attribute = _typed(self.before, fact)
        if attribute is not None and attribute in self.work.dropped:
            return self.gone_with(attribute)
        for whole in sorted(self.before.wholes(key) - ({origin} if detached else set())):
            if self.work.goes(whole) and whole not in self.kept and not self.before.stands_alone(key, whole):
                return self.gone_with(whole)
        inherited = fact.origin is not None and not detached
        if inherited and self.work.goes(origin) and not self._kept_by_children(origin):
            return self.gone_with(origin)
        for held in self.before.holders(key) if key[0] == "function" else ():
            if held[0] == "type" and self.work.goes(held) and key in self.before.holders(held):
                return held  # a base type and its functions need each other
        if key[0] == "composite type column" and ("type", str(fact.parent)) in self.kept:
            return "type", str(fact.parent)
        if key[0] == "domain constraint" and ("type", str(fact.parent)) in self.kept:
            return "type", str(fact.parent)
        return key

    def _detached(self, fact: Fact) -> bool:
        """Whether the table of *fact* lets go of the parent that *fact* is from, and so keeps it as its own."""
        table = ("table", (fact.parent or "").rpartition(" on ")[2])
        old, new = self.before.get(*table), self.after.get(*table)
        origin = self.before.get(fact.kind, fact.origin or "")
        if origin is None or old is None or new is None or self.work.goes(table):
            return False
        if not self.work.changed.get(table, set()) & {"partition_bound", "inherits"}:
            return False
        was, now = tuple_of(old.attributes["inherits"]), tuple_of(new.attributes["inherits"])
        parent = (origin.parent or "").rpartition(" on ")[2]
        return bool(old.attributes["partition_bound"]) or was == now or parent not in now

    def _alters(self) -> None:
        for key in list(self.work.changed):
            if self.work.goes(key) or self.work.comes(key):
                continue
            change = self.work.change(key)
            alter = KINDS[key[0]].alter
            if change is not None and alter is not None:
                statements = alter(change) or []
                if any(sql.early for sql in statements):
                    self._add(("early", key), [sql for sql in statements if sql.early], "alter")
                self._add(("alter", key), [sql for sql in statements if not sql.early])
            fact, old = _fact(self.after, key), _fact(self.before, key)
            self._add(("alter", key), self._belongings(fact, old, self.work.changed[key]))

        for old, new in self._renamed_identities():
            self._add(("alter", ("table column", str(new.parent))), rename_sequence(old, new), "alter")
        for index in self._attached_now():
            self._add(("alter", index.key), [attach_index(index)])
            self.work.changed.setdefault(index.key, set())

    def _renamed_identities(self) -> Iterator[tuple[Fact, Fact]]:
        """Sequences of identity columns that stay, under another name: an identity has just one."""
        for key in self.work.created:
            new = _fact(self.after, key)
            if key[0] == "sequence" and new.attributes["of_identity"]:
                column = self.before.get("table column", new.parent or "")
                if column is not None and not self.work.goes(column.key):
                    for old in self.before.children(column, "sequence"):
                        if old.attributes["of_identity"] and old.key in self.work.dropped:
                            yield old, new

    def _attached_now(self) -> Iterator[Fact]:
        """Indexes of partitions that stay, and become part of another index."""
        for key in [heir for family in self.after.heirs.values() for heir in family if heir[0] == "index"]:
            new = _fact(self.after, key)
            old = self.before.get(*new.key)
            remade = self.work.comes(("index", str(new.origin)))
            stays = old is not None and not self.work.goes(key) and not self._attached_later(new)
            if old is not None and stays and (old.origin != new.origin or remade):
                yield new

    def _creates(self) -> None:
        for key in self.work.created | self.work.remade:
            fact = _fact(self.after, key)
            if self.brought_by(key) == key:
                statements = [
                    replace(sql, hazards=sql.hazards + _creation_hazards(fact, self.work)) if not n else sql
                    for n, sql in enumerate(self._creation(fact))
                ]
                if fact.kind == "type" and len(statements) > 1:  # a shell: its functions come before the rest
                    self._add(("alter", key), statements[1:], "create")
                    del statements[1:]
                self._add(("create", key), statements)
                indexes = [fact] if key[0] == "index" else self.after.children(fact, "index")
                if key[0] in ("index", "table constraint") and not self._attached_later(fact):
                    self._add(("create", key), [attach_index(index) for index in indexes if index.origin])
            self._later(fact)

    def _creation(self, fact: Fact) -> list[Sql]:
        make = KINDS[fact.kind].create
        if make is None:
            return []
        if fact.kind == "role":
            text = make(fact, self.after)[0]
            return [Sql(f"DO $$ BEGIN {text}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")]
        if fact.key in self.work.bare:
            maker = create.table if fact.kind == "table" else create.foreign_table
            return [Sql(text) for text in maker(fact, self.after, defaults=False)]
        if fact.kind in ("function", "procedure"):
            return [Sql(text.replace("CREATE OR REPLACE", "CREATE", 1)) for text in make(fact, self.after)]
        table = self.after.get("table", fact.parent or "") if fact.kind == "policy" else None
        if table is not None and table.extension and self.work.comes(("extension", quote(table.extension))):
            # Its extension's script may have made it: a policy is never recorded as a member.
            drop = Sql(f"DROP POLICY IF EXISTS {quote(fact.name)} ON {fact.parent}")
            return [drop, *(Sql(text) for text in make(fact, self.after))]
        return [Sql(text) for text in make(fact, self.after)]

    def brought_by(self, key: Key) -> Key:
        """The object whose CREATE brings *key* along; itself, if it has to be created by name."""
        if key not in self._makers:
            self._makers[key] = self._made_by(key)
        return self._makers[key]

    def _made_by(self, key: Key) -> Key:
        fact, work = _fact(self.after, key), self.work
        parents = [(kind, fact.parent or "") for kind in KINDS[fact.kind].parents]
        parent = next((p for p in parents if self.after.get(*p) is not None), None)
        origin = (fact.kind, fact.origin) if fact.origin else None
        match fact.kind:
            case "view column" | "materialized view column":
                return parent or key
            case "table column" | "foreign table column" | "composite type column":
                if parent is not None and work.comes(parent):
                    return parent
                attribute = _typed(self.after, fact)
                if attribute is not None and attribute in work.created:
                    return attribute
                if origin is not None and work.comes(origin):
                    return self.brought_by(origin)
            case "index":
                if fact.attributes["definition"] is None and parent is not None:
                    return self.brought_by(parent)
            case "sequence":
                if fact.attributes["of_identity"] and parent is not None:
                    return self.brought_by(parent) if work.comes(parent) else parent
            case "table constraint":
                if origin is not None and self.after.get(*origin) is not None:
                    definition = str(fact.attributes["definition"])
                    check = definition.startswith("CHECK")
                    if definition.startswith("FOREIGN KEY"):
                        return self._inherited(fact, origin)
                    joins = self._attached_later(fact) and (self._is_partition(fact) or self._adopted(fact))
                    if check and not joins:
                        return self._inherited(fact, origin)
            case "trigger":
                if origin is not None and self.after.get(*origin) is not None:
                    return self._inherited(fact, origin)
            case _:
                for maker in self.after.makers(key):
                    return self.brought_by(maker) if work.comes(maker) else maker
        return key

    def _inherited(self, fact: Fact, origin: Key) -> Key:
        """What a child table gets from its parent: with the parent's own, or when it becomes a child."""
        table = ("table", str(fact.parent))
        if self._attached_later(fact):
            return table
        return self.brought_by(origin) if self.work.comes(origin) else table

    def _attached_later(self, fact: Fact) -> bool:
        """Whether the table of *fact* becomes a partition or child in this script."""
        table = (fact.parent or "").rpartition(" on ")[2]
        for kind in ("table", "foreign table"):
            key = (kind, table)
            if self.work.comes(key):
                return bool(_fact(self.after, key).attributes["inherits"])
            if self.work.changed.get(key, set()) & {"partition_bound", "inherits"}:
                return True
        return False

    def _adopted(self, fact: Fact) -> bool:
        """Whether a table that is there becomes a child of the one that *fact* is from."""
        table, origin = (
            self.before.get("table", fact.parent or ""),
            self.after.get(fact.kind, fact.origin or ""),
        )
        if table is None or origin is None or self.work.comes(table.key):
            return False
        return origin.parent not in tuple_of(table.attributes["inherits"])

    def _is_partition(self, fact: Fact) -> bool:
        table = self.after.get("table", fact.parent or "") or self.after.get(
            "foreign table", fact.parent or ""
        )
        return table is not None and bool(table.attributes["partition_bound"])

    def _later(self, fact: Fact) -> None:
        """What CREATE leaves to ALTER, and the belongings."""
        kind, key = KINDS[fact.kind], fact.key
        old = replace(fact, attributes=fact.attributes | self._initial(fact))
        differing = {a for a, value in fact.attributes.items() if value != old.attributes[a]} - set(
            BELONGINGS
        )
        if key in self.work.bare_columns:
            differing.add("default")
            old = replace(old, attributes=old.attributes | {"default": None})
        if differing and kind.alter is not None:
            for names in (differing - _LAST, differing & _LAST):
                if names:
                    change = Change(old, fact, frozenset(names), self.after, self.after, self.work.version)
                    own = (
                        self.brought_by(key) == key
                        and not names & _LAST
                        and key not in self.work.bare_columns
                    )
                    self._add(("create" if own else "alter", key), kind.alter(change) or [], "alter")
        column = self.before.get("table column", fact.parent or "") if fact.kind == "sequence" else None
        if column is not None and not self.work.goes(column.key) and not fact.attributes["of_identity"]:
            self._add(("alter", key), [go_on(fact, self.after.get(*column.key) or column)], "alter")

    def _dresses(self) -> None:
        for key in self.work.created | self.work.remade:
            fact = _fact(self.after, key)
            old = replace(fact, attributes=fact.attributes | self._undressed(fact))
            names = {name for name in BELONGINGS if fact.attributes.get(name) != old.attributes.get(name)}
            own = self.brought_by(key) == key and not (key[0] == "type" and ("alter", key) in self.statements)
            statements = self._belongings(fact, old, names)
            self._add(("create" if own else "alter", key), statements, "alter")

    def _initial(self, fact: Fact) -> dict[str, Value]:
        """The attributes of *fact* right after its CREATE that are not what they shall be."""
        found = KINDS[fact.kind].initial(fact)
        if fact.kind.endswith("table column"):
            parent = self.after.get("table", fact.parent or "")
            origin = self.after.get(fact.kind, fact.origin or "")
            partition = parent is not None and parent.attributes["partition_bound"]
            if origin is not None and not partition and self.brought_by(fact.key) != fact.key:
                kept = set(BELONGINGS) | {"position"}
                return {a: v for a, v in origin.attributes.items() if a not in kept}
        if fact.kind == "table constraint" and self.brought_by(fact.key) != fact.key:
            origin = self.after.get(fact.kind, fact.origin or "")
            definition = origin.attributes["definition"] if origin else None
            if definition == f"{fact.attributes['definition']} NOT VALID":
                found["definition"] = definition  # as its parent's, until it is validated
        return found

    def _undressed(self, fact: Fact) -> dict[str, Value]:
        """The belongings of an object that was just created."""
        found: dict[str, str | int | bool | tuple[str, ...] | None] = {
            "grants": self._given(fact),
            **dict.fromkeys(COMMON),
        }
        owner = fact.attributes.get("owner")
        if "owner" in fact.attributes:
            found["owner"] = (
                quote(str(self.before.manifest.get("role"))) if not self._follows_owner(fact) else owner
            )
        return found

    def _follows_owner(self, fact: Fact) -> bool:
        """Whether the owner comes from elsewhere: an owned sequence has that of its table."""
        if fact.kind != "sequence" or not fact.attributes["owned_by"]:
            return False
        return bool(fact.attributes["of_identity"]) or not self.work.comes(fact.key)

    def _belongings(self, fact: Fact, old: Fact, names: set[str]) -> list[Sql]:
        statements: list[Sql] = []
        if "owner" in names and not self._follows_owner(fact):
            statements += belongings.owner(fact)
        held = old.attributes.get("grants")
        if "grants" in names or (held and "owner" in names):
            owner = self._owner(fact, self.after)
            given_away = owner != self._owner(old, self.before)
            statements += belongings.grants(fact, held, owner=owner, given_away=given_away)
        if "comment" in names:
            statements += belongings.comment(fact)
        if "security_labels" in names:
            statements += belongings.security_labels(fact, old.attributes.get("security_labels"))
        return statements

    def _owner(self, fact: Fact, snapshot: Snapshot) -> str:
        """The role that $owner stands for."""
        if fact.kind.endswith(" column"):
            for kind in KINDS[fact.kind].parents:
                if (whole := snapshot.get(kind, fact.parent or "")) is not None:
                    return str(whole.attributes["owner"])
        if fact.kind == "default acl":
            return _default_owner(fact)
        return str(fact.attributes.get("owner"))

    def _given(self, fact: Fact) -> tuple[str, ...] | None:
        """What default privileges of this database give to a new object; those that are dropped are gone by then."""
        role, found = str(self.before.manifest.get("role")), list[str]()
        for rule in self.before.iter("default acl"):
            what = rule.identity.rpartition(" on ")[2]
            if (
                fact.kind in _GIVEN.get(what, ())
                and "grants" in fact.attributes
                and rule.schema in (None, fact.schema)
                and _default_owner(rule) == quote(role)
                and not self.work.goes(rule.key)
            ):
                found += tuple_of(rule.attributes["grants"])
        # An owner holds everything anyway, and facts do not say so.
        return tuple(g for g in found if not (g.startswith("GRANT") and g.endswith(f" TO {OWNER}"))) or None

    # -- edges

    def _nodes(self, key: Key) -> dict[str, Node]:
        """The nodes that stand for what happens to *key*: its own, or that of what takes or brings it along."""
        found: dict[str, Node] = {}
        if self.work.goes(key):
            found["drop"] = ("drop", self.gone_with(key))
        if self.work.comes(key):
            found["create"] = self._brought(key)
        for phase in ("early", "alter", "purge"):
            if (phase, key) in self.statements:
                found[phase] = (phase, key)
        return found

    def _brought(self, key: Key) -> Node:
        """The node in which *key* comes into being."""
        maker = self.brought_by(key)
        altered: Node = ("alter", maker)
        attached = key[0] in ("table constraint", "trigger") and maker[0] == "table"
        if altered in self.statements and (attached or (key[0] == "sequence" and not self.work.comes(maker))):
            return altered
        return "create", maker

    def _after(self, first: Node | None, then: Node | None) -> None:
        if first is not None and then is not None and first != then:
            self.edges[first].add(then)
            self.edges.setdefault(then, set())

    def _by_dependencies(self) -> None:
        involved = self.work.dropped | self.work.created | self.work.remade | set(self.work.changed)
        nodes = {key: self._nodes(key) for key in involved}
        for key, own in nodes.items():
            self._after(own.get("early"), own.get("drop") or own.get("alter"))
            self._after(own.get("drop"), own.get("create"))
            self._after(own.get("create"), own.get("alter"))
            self._after(own.get("create"), own.get("purge"))
            if key[0].endswith("table column"):
                self._with_ancestors(key, own, nodes)
            if key in self.work.changed or self.work.goes(key):
                for held in _holders(self.before, key):
                    if held in nodes:
                        self._release(key, own, held, nodes[held])
            if key in self.work.changed or self.work.comes(key):
                for held in _holders(self.after, key):
                    if held in nodes:
                        self._rest(key, own, held, nodes[held])
            if self.work.comes(key):
                self._before_attaching(key, own, nodes)
            if key[0] in ("table", "foreign table"):
                self._before_inheriting(key, own, nodes)

    def _with_ancestors(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A column is altered along with its parents': its default goes before, and comes after."""
        fact = self.after.get(*key)
        while fact is not None and fact.origin is not None:
            ancestor = nodes.get((key[0], fact.origin), {}).get("alter")
            self._after(own.get("early"), ancestor)
            self._after(ancestor, own.get("alter"))
            fact = self.after.get(key[0], fact.origin)

    def _release(self, key: Key, own: dict[str, Node], held: Key, on: dict[str, Node]) -> None:
        """*key* depends on *held* as things are: it lets go first."""
        if "drop" in own:
            gone: Node = ("purge", own["drop"][1]) if own["drop"][1] in self.kept else own["drop"]
            self._after(gone, on.get("drop") if held not in self.kept else on.get("purge"))
            if (
                key[0] != "sequence" or key in self.work.remade
            ):  # one that a default takes numbers from goes after that
                self._after(own["drop"], on.get("alter"))
            if held[0].endswith(" column") and key not in self.before.holders(held):
                self._after(own["drop"], on.get("early"))
            if held[0] == "table" and _fact(self.before, key).origin is not None:
                self._after(on.get("early"), own["drop"])  # no longer its parent's, it can be dropped
        elif held in self.kept:
            self._after(own.get("alter"), on.get("purge"))
        elif "early" in own:
            self._after(own["early"], on.get("drop"))
        elif held not in self.work.remade:
            self._after(own.get("alter"), on.get("drop"))

    def _rest(self, key: Key, own: dict[str, Node], held: Key, on: dict[str, Node]) -> None:
        """*key* shall depend on *held*: that comes first."""
        first = on.get("create") or (None if "drop" in on else on.get("alter"))
        if key[0] in _BEFORE_ATTACHING and held[0].endswith("table") and "create" not in on:
            self._after(on.get("early"), own.get("create"))
            first = None  # the table is there; it may become a partition or child, and then has to have them
        if key[0] == "sequence" and held[0] == "table column":
            self._after(
                first, own.get("alter")
            )  # owned by a column, which may take its default from the sequence
            return
        if key[0] == "type" and held[0] in ("function", "procedure") and key in self.after.holders(held):
            self._after(first, own.get("alter"))  # of a base type; the functions take its shell
            return
        if "create" in own:
            if held[0] == "type" and key in self.after.holders(held):
                self._after(first, own["create"])
                return
            if own["create"][1] in self.work.bare and key != own["create"][1] and held[0] != "type":
                self._after(first, own.get("alter"))
            else:
                self._after(first, own["create"])
                ready = on.get("alter") if "create" not in on or held[0] == "type" else None
                self._after(ready if held[0] in ("table column", "type") else None, own["create"])
        if not (key[0].endswith("table column") and held[0].endswith("table") and "create" not in on):
            self._after(first, own.get("alter"))

    def _before_attaching(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A partition is attached when its indexes and constraints are there: then they are found and used.

        An index that partitions lack comes when they are attached: they would be given one.
        """
        if key[0] == "index" and _fact(self.after, key).attributes["valid"] is False:
            whole = self.after.get("table", str(_fact(self.after, key).parent))
            for partition in self.after.children(whole, "table") if whole else ():
                self._after(nodes.get(partition.key, {}).get("alter"), own["create"])
        if key[0] in ("index", "table constraint"):
            table = ("table", (_fact(self.after, key).parent or "").rpartition(" on ")[2])
            if table in nodes and own["create"][1] == key and self._attached_later(_fact(self.after, key)):
                self._after(own["create"], nodes[table].get("alter"))
            origin = _fact(self.after, key).origin
            if origin and (key[0], origin) in nodes:
                self._after(nodes[key[0], origin].get("create"), own["create"])

    def _before_inheriting(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A table becomes the child of another, or of a type, when it has the columns and constraints it shall have."""
        table = self.after.get(*key)
        if table is None or not (
            self.work.comes(key)
            or self.work.changed.get(key, set()) & {"inherits", "partition_bound", "of_type"}
        ):
            return
        created = self.work.comes(key) and not table.attributes["partition_bound"]
        node = own.get("create" if created else "alter")
        parents = [self.after.get("table", name) for name in tuple_of(table.attributes["inherits"])]
        for family in filter(None, [*parents, None if created else table]):
            for kind in ("table column", "foreign table column", "table constraint"):
                for part in self.after.children(family, kind):
                    for phase in ("alter",) if not self.work.comes(part.key) else ("create",):
                        if nodes.get(part.key, {}).get(phase, ("", ("", "")))[1] == part.key:
                            self._after(nodes[part.key].get(phase), node)

    def _by_names(self) -> None:
        """A name must be free before it is used again: relations share one space of names, routines another."""
        gone: dict[tuple[str, str | None, str], list[Node]] = defaultdict(list)
        for key in self.work.dropped | self.work.remade:
            for name in _names(_fact(self.before, key)):
                gone[name].append(("drop", self.gone_with(key)))
        for key in self.work.created | self.work.remade:
            for name in _names(_fact(self.after, key)):
                for node in gone.get(name, ()):
                    self._after(node, ("create", self.brought_by(key)))

    # -- sorting

    def _sorted(self) -> list[Node]:
        waiting = dict.fromkeys(self.edges, 0)
        for targets in self.edges.values():
            for target in targets:
                waiting[target] += 1
        ready = [(self._priority(node), node) for node, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        done: list[Node] = []
        while waiting:
            if not ready:  # a cycle: give way where least waits
                self.circles.append(self._circle(set(waiting)))
                node = min(waiting, key=lambda n: (waiting[n], self._priority(n)))
                heapq.heappush(ready, (self._priority(node), node))
            _, node = heapq.heappop(ready)
            if waiting.pop(node, None) is None:
                continue
            done.append(node)
            for target in self.edges[node]:
                if target in waiting:
                    waiting[target] -= 1
                    if waiting[target] == 0:
                        heapq.heappush(ready, (self._priority(target), target))
        return done

    def _circle(self, nodes: set[Node]) -> set[Node]:
        """Those of *nodes* that lie on a cycle or between two, without what only comes after."""
        while last := {node for node in nodes if not self.edges[node] & nodes}:
            nodes -= last
        return nodes

    def circular_tables(self) -> set[Key]:
        """Tables in a cycle that can be created without their defaults, which are set when all is there."""
        return {
            node[1]
            for node in set().union(*self.circles[:1])
            if node[0] == "create"
            and node[1][0] in ("table", "foreign table")
            and node[1] not in self.work.bare
        }

    def circular_parts(self) -> set[Key]:
        """Parts that would go with their whole, but depend on something else in the same cycle: foreign keys, policies."""
        circle = set().union(*self.circles[:1])
        found = set()
        for key in self.work.dropped | self.work.remade:
            whole = self.gone_with(key)
            if whole == key or ("drop", whole) not in circle or key[0] not in _SEPARABLE:
                continue
            if (origin := _fact(self.before, key).origin) and self.work.goes((key[0], origin)):
                continue  # it goes with that
            for held in _holders(self.before, key):
                if (
                    self.work.goes(held)
                    and self.gone_with(held) != whole
                    and ("drop", self.gone_with(held)) in circle
                ):
                    found.add(key)
        return found

    def _priority(self, node: Node) -> tuple[int, int, str]:
        phase, (kind, identity) = node
        alone = any(step.sql.alone for step in self.statements.get(node, ()))
        rank = _RANK.get(kind, 99)
        if kind == "event trigger" and phase == "drop":
            return -2, 0, identity
        if alone:
            return -1, rank, identity
        order = {"early": -1, "drop": 0, "create": 1, "alter": 1, "purge": 0}[phase]
        return order, -rank if phase == "drop" else rank, identity


def _holders(snapshot: Snapshot, key: Key) -> Iterator[Key]:
    """What *key* depends on; for a member of an extension, that."""
    for held in sorted(snapshot.holders(key)):
        fact = snapshot.get(*held)
        if fact is not None and fact.extension and held[0] != "extension":
            yield "extension", quote(fact.extension)
        else:
            yield held


def _typed(snapshot: Snapshot, column: Fact) -> Key | None:
    """The attribute of a composite type that a typed table's column is."""
    table = snapshot.get("table", column.parent or "") if column.kind == "table column" else None
    if table is None or not table.attributes["of_type"]:
        return None
    return "composite type column", f"{table.attributes['of_type']}.{quote(column.name)}"


def _names(fact: Fact) -> Iterator[tuple[str, str | None, str]]:
    if fact.kind in ("table", "foreign table", "view", "materialized view", "index", "sequence"):
        yield "relation", fact.schema, fact.name
    if fact.kind in ("table", "foreign table", "view", "materialized view", "type"):
        yield "type", fact.schema, fact.name
    if fact.kind in ("function", "procedure", "aggregate"):
        yield "routine", None, fact.identity
    if fact.kind == "table constraint":
        yield "constraint", None, fact.identity


def _drop(fact: Fact, work: _Work) -> list[Sql]:
    kind = KINDS[fact.kind]
    hazards: tuple[Hazard, ...] = ()
    match fact.kind:
        case "table":
            partitions = [f for f in work.before.children(fact, "table") if work.goes(f.key)]
            if partitions or not fact.attributes["partition_key"]:  # a partitioned table has none of its own
                hazards = (Hazard("DELETES_DATA", f"all rows of {fact.identity}"),)
        case "table column" if not fact.attributes["generated"]:
            hazards = (Hazard("DELETES_DATA", f"all values of {fact.identity}"),)
        case "composite type column":
            hazards = (Hazard("DELETES_DATA", f"that part of every value of {fact.parent}"),)
            return [Sql(kind.drop(fact.identity) + create.cascading(fact, work.before), hazards)]
        case "sequence":
            hazards = (Hazard("DELETES_DATA", f"the position of {fact.identity}"),)
            if fact.attributes["of_identity"]:
                return []
        case "extension":
            hazards = (Hazard("DELETES_DATA", "whatever the extension keeps"),)
        case "policy" if not fact.attributes["permissive"]:
            hazards = (Hazard("OPENS_ACCESS", "what it restricted"),)
        case "role" | "view column" | "materialized view column":
            return []  # a role may be in use elsewhere in the cluster
        case "default acl":
            empty = replace(fact, attributes=fact.attributes | {"grants": None})
            return belongings.grants(empty, fact.attributes["grants"], owner=_default_owner(fact))
        case "subscription":
            what = f"ALTER SUBSCRIPTION {fact.identity}"
            return [
                Sql(f"{what} DISABLE"),
                Sql(f"{what} SET (slot_name = NONE)"),
                Sql(kind.drop(fact.identity)),
            ]
        case "type" if fact.attributes["variant"] == "base" or fact.attributes["canonical"]:
            return [Sql(f"{kind.drop(fact.identity)} CASCADE", hazards)]  # with its functions
    return [Sql(kind.drop(fact.identity), hazards)]


def _default_owner(fact: Fact) -> str:
    return fact.identity.removeprefix("for role ").rpartition(" on ")[0].partition(" in schema ")[0]


def _creation_hazards(fact: Fact, work: _Work) -> tuple[Hazard, ...]:
    """What creating something on a table that is in use can do."""
    found: list[Hazard] = []
    if any(value.endswith("=***") for v in fact.attributes.values() if isinstance(v, tuple) for value in v):
        found.append(Hazard("NEEDS_SECRET", f"an option of {fact.identity}"))
    if fact.kind == "subscription":
        found.append(Hazard("NEEDS_SECRET", "the connection string"))
    table = (fact.parent or "").rpartition(" on ")[2]
    if work.before.get("table", table) is None or work.comes(("table", table)):
        return tuple(found)
    value = fact.attributes
    if fact.kind == "index" and value["definition"]:
        found.append(Hazard("BLOCKS_WRITES"))
        if str(value["definition"]).startswith("CREATE UNIQUE"):
            found.append(Hazard("MAY_FAIL_ON_DATA", "rows with equal keys"))
    elif fact.kind == "table constraint" and not str(value["definition"]).endswith(" NOT VALID"):
        found += [Hazard("MAY_FAIL_ON_DATA", "rows that break it"), Hazard("SCANS_TABLE")]
    elif fact.kind == "table column":
        if value["generated"] == "stored" or value["identity_generation"]:
            found.append(Hazard("REWRITES_TABLE"))
        elif value["not_null"] and value["default"] is None:
            found.append(Hazard("MAY_FAIL_ON_DATA", "any row: it would have no value"))
    return tuple(found)
