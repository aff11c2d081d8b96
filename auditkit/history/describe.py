"""Which migration's replayed state a database equals or comes nearest to: ``git describe`` for a schema.

The replay keeps, for every object, what each migration made of it. How far a database is from the state
after each migration is therefore one pass over those changes: a step moves only the objects it touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from auditkit.catalog.compare import Delta, Scope, compare
from auditkit.catalog.snapshot import Fact, Snapshot, Table
from auditkit.history.shadow.replayed import Replay

__all__ = ["Description", "describe", "state_after"]


@dataclass(frozen=True)
class Description:
    """The name of a schema's version.

    Attributes:
        step: place in ``replay.steps`` of the migration whose state is nearest; -1: that before the first one.
        deltas: how the database differs from that state.
        since: for each delta the step since which the migrations and the database part; None: they never agreed.
    """

    step: int
    deltas: list[Delta]
    since: list[int | None]

    @property
    def exact(self) -> bool:
        """Whether it equals the state after the migration (the order of columns does not count)."""
        return all(delta.is_warning for delta in self.deltas)


def describe(
    actual: Snapshot,
    replay: Replay,
    *,
    scope: Scope | None = None,
    recorded: Collection[int] = (),
    settled: Callable[[Delta], bool] = lambda delta: False,
) -> Description:
    """The step whose state is nearest to *actual*: of equally near ones the last recorded one, else the last.

    Args:
        scope: what is compared.
        recorded: the steps that the ledger says were run.
        settled: tells differences that do not count, as those which the shadow's server makes.
    """
    scope = scope or Scope()
    away = distances(actual, replay, scope)
    least = min(away)
    nearest = [n - 1 for n, distance in enumerate(away) if distance == least]
    step = max(nearest, key=lambda n: (n in recorded, n))
    compared = compare(state_after(replay, step), actual, scope=scope)
    deltas = [delta for delta in compared if not settled(delta)]
    return Description(step, deltas, [_parted(delta, actual, replay, step, scope) for delta in deltas])


def distances(actual: Snapshot, replay: Replay, scope: Scope) -> list[int]:
    """How many attributes and objects differ before the first step and after each: ``len(replay.steps) + 1`` numbers.

    Objects that no step touches differ always or never, and are left out.
    """
    moved = [0] * (len(replay.steps) + 1)
    for key, changes in replay.timeline.items():
        there = actual.get(*key)
        if all(fact is None or _outside(fact, actual, scope) for fact in (there, *(c.fact for c in changes))):
            continue
        before = _apart(changes[0].fact if changes[0].step < 0 else None, there, scope)
        moved[0] += before
        for change in changes:
            now = _apart(change.fact, there, scope)
            moved[change.step + 1] += now - before if change.step >= 0 else 0
            before = now
    total, found = 0, []
    for each in moved:
        total += each
        found.append(total)
    return found


def _outside(fact: Fact, snapshot: Snapshot, scope: Scope) -> bool:
    """Whether a fact is not compared: what a platform manages, ledgers, what the settings leave out."""
    return (
        fact.extension is not None
        or (fact.schema in scope.managed and fact.kind not in scope.still_compared)
        or bool(scope.schemas and fact.schema not in scope.schemas)
        or f"{fact.schema}.{fact.name}" in scope.ledgers
        or fact.parent in scope.ledgers
        or scope.rule_for(fact, snapshot) is not None
    )


def _apart(left: Fact | None, right: Fact | None, scope: Scope) -> int:
    if left is None or right is None:
        return int(left is not right)
    if left.attributes == right.attributes:
        return 0
    both = (left.attributes.keys() & right.attributes.keys()) - scope.ignored_attributes
    return sum(left.attributes[name] != right.attributes[name] for name in both)


def _parted(delta: Delta, actual: Snapshot, replay: Replay, last: int, scope: Scope) -> int | None:
    """The step that made of an object something else than what the database has, after they had agreed."""
    there = actual.get(*delta.key)

    def agrees(fact: Fact | None) -> bool:
        if there is None or fact is None or delta.attribute is None:
            return (there is None) == (fact is None)
        return fact.attributes.get(delta.attribute) == there.attributes.get(delta.attribute)

    changes = [change for change in replay.timeline.get(delta.key, ()) if change.step <= last]
    if not changes:
        return None
    since, before = None, changes[0].fact if changes[0].step < 0 else None
    for change in changes:
        if change.step >= 0 and agrees(before) and not agrees(change.fact):
            since = change.step
        before = change.fact
    return since


def state_after(replay: Replay, step: int) -> Snapshot:
    """What the migrations had made of the database after *step* (-1: before the first one)."""
    if step >= len(replay.steps) - 1:
        return replay.final
    return _snapshot(_facts_after(replay, step), replay.final)


def _facts_after(replay: Replay, step: int) -> Iterator[Fact]:
    for fact in replay.final.iter():
        if fact.key not in replay.timeline:
            yield fact
    for changes in replay.timeline.values():
        done = [change for change in changes if change.step <= step]
        if done and done[-1].fact is not None:
            yield done[-1].fact


def _snapshot(facts: Iterable[Fact], like: Snapshot) -> Snapshot:
    """Facts as a snapshot that can be compared; of the kinds and attributes that *like* has."""
    tables: dict[str, Table] = {}
    for fact in facts:
        shape = like.tables.get(fact.kind)
        table = tables.setdefault(
            fact.kind, Table(fact.kind, shape.attributes if shape else tuple(fact.attributes))
        )
        if fact.origin:
            table.origins[len(table)] = fact.origin
        if fact.extension:
            table.extensions[len(table)] = fact.extension
        table.identities.append(fact.identity)
        table.values.append(tuple(fact.attributes.get(name) for name in table.attributes))
        table.names.append(fact.name)
        table.schemas.append(fact.schema)
        table.parents.append(fact.parent)
        table.oids.append(fact.oid)
        table.subids.append(fact.subid)
        table.anchors.append(fact.anchor)
        table.xmins.append(fact.xmin or 0)
    return Snapshot(like.manifest, tables)
