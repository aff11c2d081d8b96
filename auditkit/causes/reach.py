"""How far a drifted object reaches: what depends on it, by PostgreSQL's own record of dependencies.

A policy or trigger has no dependents of its own: it acts on its table, and on all that reads that. What the text of
a function body mentions is not recorded by PostgreSQL, and not followed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Key, Snapshot

#: What acts on the table that it belongs to.
_ACTS = frozenset({"policy", "trigger", "rule"})


@dataclass(frozen=True)
class Dependent:
    """One object within reach: ``depth`` counts the steps from the drifted one, ``through`` is the one before."""

    key: Key
    depth: int
    through: Key


def reach(keys: Iterable[Key], snapshot: Snapshot) -> list[Dependent]:
    """All that depends on *keys* in *snapshot*, directly or not, the nearest first; their own parts are left out."""
    roots = [key for key in keys if snapshot.get(*key)]
    seen = {part for key in roots for part in _parts(key, snapshot)}
    found: list[Dependent] = []
    queue = deque((part, 0, key) for key in roots for part in _parts(key, snapshot))
    for key in roots:
        for table in _acted_on(key, snapshot):
            if table not in seen:
                seen |= _parts(table, snapshot)
                found.append(Dependent(table, 1, key))
                queue += [(part, 1, table) for part in _parts(table, snapshot)]
    while queue:
        part, depth, whole = queue.popleft()
        for other in sorted(snapshot.dependents(part)):
            fact = snapshot.get(*other)
            if other in seen or fact is None or fact.extension:
                continue
            parts = _parts(other, snapshot)
            seen |= parts
            found.append(Dependent(other, depth + 1, whole))
            queue += [(each, depth + 1, other) for each in parts]
    return sorted(found, key=lambda dependent: (dependent.depth, dependent.key))


def _acted_on(key: Key, snapshot: Snapshot) -> list[Key]:
    fact = snapshot.get(*key)
    if fact is None or fact.kind not in _ACTS or fact.parent is None:
        return []
    return [(kind, fact.parent) for kind in KINDS[fact.kind].parents if snapshot.get(kind, fact.parent)]


def _parts(key: Key, snapshot: Snapshot) -> set[Key]:
    """An object with its columns, constraints, indexes and their parts; partitions are objects of their own."""
    found = {key}
    fact = snapshot.get(*key)
    for kind in KINDS.values() if fact else ():
        if key[0] in kind.parents and kind.name not in ("table", "foreign table"):
            for child in snapshot.children(fact, kind.name) if fact else ():
                found |= _parts(child.key, snapshot) if child.key not in found else set()
    return found
