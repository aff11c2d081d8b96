"""How two snapshots differ. This module knows no kind: it compares every attribute of every fact.

An object that is missing or unexpected is one delta; what belongs to it (columns, policies, comments) is listed
in ``Delta.children`` and not repeated. What a partition or child table inherits is listed with its origin in
the same way, if it differs in the same way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Literal, Protocol

from auditkit.catalog.kinds import KINDS, Kind, Severity
from auditkit.catalog.snapshot import Fact, Key, Snapshot, Table, Value

Change = Literal["missing", "unexpected", "changed"]


class Rule(Protocol):
    """What ``auditkit.config.IgnoreRule`` offers; patterns are shell-style, empty ones match all."""

    @property
    def kind(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def until(self) -> date | None: ...
    @property
    def partitions_of(self) -> str: ...


@dataclass(frozen=True)
class Delta:
    """One difference.

    Attributes:
        kind, identity: the object.
        change: ``missing`` (only left has it), ``unexpected`` (only right has it) or ``changed``.
        attribute: which attribute changed; None if the object is missing or unexpected.
        left, right: both values; of a missing or unexpected object its definition on the side that has it.
        schema: the object's schema, if it has one.
        children: what belongs to the object and is missing, unexpected or changed together with it.
    """

    kind: str
    identity: str
    change: Change
    attribute: str | None = None
    left: Value = None
    right: Value = None
    schema: str | None = None
    children: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        """(kind, identity)."""
        return self.kind, self.identity

    def as_dict(self) -> dict[str, object]:
        """As the JSON documents have it: kind, identity, change, attribute, left, right."""
        left, right = (list(v) if isinstance(v, tuple) else v for v in (self.left, self.right))
        return {
            "kind": self.kind,
            "identity": self.identity,
            "change": self.change,
            "attribute": self.attribute,
            "left": left,
            "right": right,
        }

    @property
    def is_order(self) -> bool:
        """Whether only an order among siblings differs, which no statement changes."""
        return self.attribute is not None and self.attribute == KINDS[self.kind].ordinal

    @property
    def is_warning(self) -> bool:
        """Whether both sides count as equal all the same: what the kind says so of, and the order of columns.

        Queries name columns; a composite type's values do not, so their order counts.
        """
        return (self.is_order and self.severity == "low") or self.attribute in KINDS[self.kind].lenient

    @property
    def severity(self) -> Severity:
        """How bad, by what the kind declares."""
        return KINDS[self.kind].severity_of(self.attribute)


#: Attributes of these names are lenient in every kind that has them (``tests/test_house.py``).
_LENIENT = frozenset().union(*(kind.lenient for kind in KINDS.values()))


@dataclass(frozen=True)
class Scope:
    """What is compared.

    Attributes:
        managed: schemas that a platform looks after; counted, not compared.
        still_compared: kinds that are compared in managed schemas, too.
        ledgers: ``schema.table`` of migration ledgers, which are no part of the schema they record.
        apart: single objects that are no part of it either.
        schemas: if not empty, only objects in these schemas are compared.
        rules: deltas to leave out; expired rules must not be passed.
        owners, grants, comments: whether these are compared.
        lenient: whether attributes are compared in which both sides count as equal all the same.
        system: whether privileges on PostgreSQL's own objects are compared: those that a hosting service gave are in
            no migration.
    """

    managed: frozenset[str] = frozenset()
    still_compared: frozenset[str] = frozenset()
    ledgers: frozenset[str] = frozenset()
    apart: frozenset[Key] = frozenset()
    schemas: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()
    owners: bool = True
    grants: bool = True
    comments: bool = True
    lenient: bool = True
    system: bool = True

    @property
    def ignored_kinds(self) -> frozenset[str]:
        """Kinds that are not compared."""
        privileges = {"default acl", "initial privileges"}
        return frozenset(privileges if not self.grants else {"initial privileges"} if not self.system else ())

    @property
    def ignored_attributes(self) -> frozenset[str]:
        """Attributes that are not compared."""
        switches = {
            **{"owner": self.owners, "grants": self.grants},
            **dict.fromkeys(("comment", "not_null_comment"), self.comments),
            **dict.fromkeys(_LENIENT, self.lenient),
        }
        return frozenset(attribute for attribute, compared in switches.items() if not compared)

    def rule_for(self, fact: Fact, snapshot: Snapshot) -> Rule | None:
        """The first rule that leaves out a difference in an object: it names that, or what that belongs to."""
        if not self.rules:
            return None
        lineage = [fact]
        while (whole := _whole(lineage[-1], snapshot)) is not None:
            lineage.append(whole)
        return next((rule for rule in self.rules if any(_names(rule, each) for each in lineage)), None)


def _whole(fact: Fact, snapshot: Snapshot) -> Fact | None:
    wholes = (snapshot.get(kind, fact.parent) for kind in KINDS[fact.kind].parents if fact.parent)
    return next((whole for whole in wholes if whole is not None and whole.key != fact.key), None)


def _names(rule: Rule, fact: Fact) -> bool:
    partition = fact.parent or "" if fact.kind in ("table", "foreign table") else ""
    return (
        (not rule.kind or fnmatchcase(fact.kind, rule.kind))
        and (not rule.schema or fnmatchcase(fact.schema or "", rule.schema))
        and (not rule.name or fnmatchcase(fact.name, rule.name) or fnmatchcase(fact.identity, rule.name))
        and (not rule.partitions_of or fnmatchcase(partition, rule.partitions_of))
    )


@dataclass
class Comparison:
    """The deltas, sorted, and what was left out.

    ``managed`` counts the facts per schema that a platform manages, ``extension_members`` those that belong to
    extensions, ``suppressed`` the deltas per rule.
    """

    deltas: list[Delta]
    managed: dict[str, int] = field(default_factory=dict)
    extension_members: int = 0
    suppressed: dict[Rule, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Delta]:
        return iter(self.deltas)

    def __len__(self) -> int:
        return len(self.deltas)


def compare(left: Snapshot, right: Snapshot, *, scope: Scope | None = None) -> Comparison:
    """How *right* differs from *left*; equal snapshots give no delta.

    What both sides cannot know is not compared: attributes that only one of them has (snapshots of different
    versions of auditkit), members of extensions, and what *scope* leaves out.
    """
    scope = scope or Scope()
    outside = _Outside(scope, left, right)
    gone: dict[Key, tuple[Change, Fact, Snapshot]] = {}
    changed: list[tuple[Delta, Fact]] = []
    for kind in KINDS.values():
        ours, theirs = left.tables.get(kind.name), right.tables.get(kind.name)
        if (ours is None and theirs is None) or kind.name in scope.ignored_kinds:
            continue
        ours, theirs = ours or Table(kind.name, ()), theirs or Table(kind.name, ())
        missing, unexpected, differing = _match(ours, theirs, kind)
        for position in missing:
            if not outside(ours, position, kind):
                gone[kind.name, ours.identities[position]] = ("missing", ours.fact(position), left)
        for position in unexpected:
            if not outside(theirs, position, kind):
                gone[kind.name, theirs.identities[position]] = ("unexpected", theirs.fact(position), right)
        for delta, position in _attributes(kind, ours, theirs, differing, scope.ignored_attributes):
            if not outside(theirs, position, kind, delta.attribute):
                changed.append((delta, theirs.fact(position)))
    rules = {key: r for key, (_, fact, side) in gone.items() if (r := scope.rule_for(fact, side))}
    rules |= {fact.key: rule for _, fact in changed if (rule := scope.rule_for(fact, right))}
    hidden = _fold(
        *({k: v for k, v in gone.items() if k in rules}, [c for c in changed if c[1].key in rules])
    )
    kept = _fold(
        {k: v for k, v in gone.items() if k not in rules}, [c for c in changed if c[1].key not in rules]
    )
    suppressed = Counter(rules[delta.key] for delta in hidden)
    return Comparison(
        deltas=sorted(kept, key=lambda d: (d.kind, d.identity, d.attribute or "")),
        managed=outside.managed_counts(right),
        extension_members=sum(len(table.extensions) for table in right.tables.values()),
        suppressed=dict(suppressed),
    )


def compared_facts(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[Key, dict[str, Value]]]:
    """Everything that *scope* compares, with the attributes that are."""
    outside = _Outside(scope, snapshot, snapshot)
    for kind in KINDS.values():
        table = snapshot.tables.get(kind.name)
        if table is None or kind.name in scope.ignored_kinds:
            continue
        kept = [(n, a) for n, a in enumerate(table.attributes) if a not in scope.ignored_attributes]
        for i, identity in enumerate(table.identities):
            if not outside(table, i, kind) and not (scope.rules and scope.rule_for(table.fact(i), snapshot)):
                yield (kind.name, identity), {a: table.values[i][n] for n, a in kept}


def unfold(deltas: Sequence[Delta], closer: Sequence[Delta], state: Snapshot) -> list[Delta]:
    """*deltas*, and what they hide: a table under a name that the migrations do not give it is one delta, whatever
    was done to its parts.

    Args:
        deltas: against what was meant.
        closer: against *state*, which knows the environment's names.
    """
    wholes = {key: d for d in deltas if d.change == "unexpected" for key in (d.key, *d.children)}
    own = {d.key for d in deltas}
    found = [
        delta
        for delta in closer
        if delta.key not in own and (delta.key in wholes or wholes.keys() & state.holders(delta.key))
    ]
    shown = {key for delta in found for key in (delta.key, *delta.children)}
    return found + [
        replace(d, children=tuple(key for key in d.children if key not in shown)) if d.children else d
        for d in deltas
    ]


class _Outside:
    """Which facts are not compared; asked only about those that differ."""

    def __init__(self, scope: Scope, left: Snapshot, right: Snapshot) -> None:
        self.scope = scope
        self.ledger_schemas = {name.partition(".")[0] for name in scope.ledgers} - {"public"}
        self.ledgers: set[str] = set()
        entries = [entry for side in (left, right) for entry in side.manifest.get("unreadable", [])]
        self.unreadable = {tuple(entry) for entry in entries}
        if scope.ledgers:
            # A ledger's columns, keys and sequences go with it.
            for kind in KINDS.values():
                for table in filter(None, (left.tables.get(kind.name), right.tables.get(kind.name))):
                    for i, identity in enumerate(table.identities):
                        own = not kind.parents or kind.name == "table"
                        if table.parents[i] in self.ledgers or (
                            own
                            and table.subids[i] == 0
                            and f"{table.schemas[i]}.{table.names[i]}" in scope.ledgers
                        ):
                            self.ledgers.add(identity)

    def __call__(self, table: Table, i: int, kind: Kind, attribute: str | None = None) -> bool:
        schema, identity = table.schemas[i], table.identities[i]
        return (
            i in table.extensions
            or (bool(self.unreadable) and self._unknown(kind.name, identity, table.parents[i], attribute))
            or (schema in self.scope.managed and kind.name not in self.scope.still_compared)
            or (bool(self.scope.apart) and (kind.name, identity) in self.scope.apart)
            or identity in self.ledgers
            or (kind.name == "schema" and schema in self.ledger_schemas)
            or bool(self.scope.schemas and schema not in self.scope.schemas)
        )

    def _unknown(self, kind: str, identity: str, parent: str | None, attribute: str | None) -> bool:
        table = parent.rpartition(" on ")[2] if parent else None  # of an index that backs a constraint
        names = (identity, parent, table, None)
        return any((kind, name, which) in self.unreadable for name in names for which in (attribute, None))

    def managed_counts(self, snapshot: Snapshot) -> dict[str, int]:
        if not self.scope.managed:
            return {}
        counts: Counter[str] = Counter()
        for table in snapshot.tables.values():
            counts.update(schema for schema in table.schemas if schema in self.scope.managed)
        return dict(counts)


def _match(left: Table, right: Table, kind: Kind) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Positions only left has, only right has, and pairs that differ."""
    rest = dict(left.positions)
    values = left.values
    same_shape = left.attributes == right.attributes
    unexpected, differing = [], []
    for i, (identity, theirs) in enumerate(zip(right.identities, right.values, strict=True)):
        j = rest.pop(identity, None)
        if j is None:
            unexpected.append(i)
        elif not same_shape or values[j] != theirs:
            differing.append((j, i))
    return list(rest.values()), unexpected, differing


def _attributes(
    kind: Kind, left: Table, right: Table, pairs: list[tuple[int, int]], ignored: frozenset[str]
) -> Iterator[tuple[Delta, int]]:
    """The deltas between facts that both sides have, each with its position on the right."""
    common = [
        (name, left.attributes.index(name), right.attributes.index(name))
        for name in left.attributes
        if name in right.attributes and name not in ignored
    ]
    reordered = set()
    for j, i in pairs:
        ours, theirs = left.values[j], right.values[i]
        for name, a, b in common:
            if ours[a] == theirs[b]:
                continue
            if name == kind.ordinal:
                reordered.add(right.parents[i])
            else:
                yield _delta(right, i, name, ours[a], theirs[b]), i
    if reordered:
        yield from _order(kind.ordinal, left, right, reordered)


def _order(
    attribute: str, left: Table, right: Table, parents: set[str | None]
) -> Iterator[tuple[Delta, int]]:
    """Siblings that moved, counting only those both sides have: one more column does not move the others."""
    a, b = left.attributes.index(attribute), right.attributes.index(attribute)
    siblings: dict[str | None, list[tuple[int, int, int]]] = defaultdict(list)
    for i, identity in enumerate(right.identities):
        if right.parents[i] in parents and (j := left.positions.get(identity)) is not None:
            siblings[right.parents[i]].append((_int(left.values[j][a]), _int(right.values[i][b]), i))
    for family in siblings.values():
        place = {i: n for n, (_, _, i) in enumerate(sorted(family, key=lambda s: s[1]), 1)}
        family.sort()
        stays = _longest_rising([place[i] for _, _, i in family])
        for n, (_, _, i) in enumerate(family, 1):
            if place[i] not in stays:
                yield _delta(right, i, attribute, n, place[i]), i


def _longest_rising(numbers: list[int]) -> set[int]:
    """The members of a longest increasing subsequence: the most siblings that can be said to have stayed."""
    tails: list[int] = []
    previous: dict[int, int | None] = {}
    for number in numbers:
        place = bisect_left(tails, number)
        previous[number] = tails[place - 1] if place else None
        tails[place:] = [number, *tails[place + 1 :]]
    stays: set[int] = set()
    last: int | None = tails[-1] if tails else None
    while last is not None:
        stays.add(last)
        last = previous[last]
    return stays


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _delta(table: Table, i: int, attribute: str, left: Value, right: Value) -> Delta:
    return Delta(table.kind, table.identities[i], "changed", attribute, left, right, table.schemas[i])


def _fold(gone: dict[Key, tuple[Change, Fact, Snapshot]], changed: list[tuple[Delta, Fact]]) -> list[Delta]:
    """One delta per object that came or went with all that belongs to it, one per attribute otherwise."""

    def above(fact: Fact) -> Iterator[Key]:
        if fact.origin is not None:
            yield fact.kind, fact.origin
        if fact.parent is not None:
            for parent in KINDS[fact.kind].parents:
                yield parent, fact.parent

    def root(key: Key, follow: Callable[[Fact], Iterator[Key]]) -> Key:
        change, fact, _ = gone[key]
        for holder in follow(fact):
            if holder in gone and gone[holder][0] == change and holder != key:
                return root(holder, follow)
        return key

    children: dict[Key, list[Key]] = defaultdict(list)
    roots = {key: root(key, above) for key in gone}
    for key, top in roots.items():
        if key != top:
            children[top].append(key)
    deltas = []
    for key, (change, fact, snapshot) in gone.items():
        if roots[key] == key:
            text = fact.describe(snapshot)
            before, after = (text, None) if change == "missing" else (None, text)
            below = tuple(sorted(children[key]))
            deltas.append(Delta(fact.kind, fact.identity, change, None, before, after, fact.schema, below))
    seen = {(d.kind, d.identity, d.attribute, d.left, d.right) for d, _ in changed}
    inherited: dict[tuple[str, str, str | None], list[Key]] = defaultdict(list)
    own = []
    for delta, fact in changed:
        if (delta.kind, fact.origin, delta.attribute, delta.left, delta.right) in seen and fact.origin:
            inherited[delta.kind, fact.origin, delta.attribute].append(delta.key)
        else:
            own.append(delta)
    for delta in own:
        found = [*inherited[delta.kind, delta.identity, delta.attribute]]
        for kind, identity in found:  # grows: partitions have partitions
            found += inherited[kind, identity, delta.attribute]
        deltas.append(replace(delta, children=tuple(sorted(found))) if found else delta)
    return deltas
