"""What is not compared is not changed either: owners, grants and comments that are switched off as classes."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from auditkit.catalog.grants import quote
from auditkit.catalog.snapshot import Snapshot, Table, Value


def unheeded(before: Snapshot, after: Snapshot, attributes: Iterable[str]) -> Snapshot:
    """*after* with those attributes as they are in *before*; of what is new, as CREATE leaves them."""
    names = frozenset(attributes)
    if not names:
        return after
    initial: dict[str, Value] = {"owner": quote(str(before.manifest.get("role")))}
    tables = {
        kind: _as_before(before.tables.get(kind), table, names, initial)
        for kind, table in after.tables.items()
    }
    found = Snapshot(after.manifest, tables, after.raw_edges)
    found.ledgers = after.ledgers
    return found


def _as_before(before: Table | None, after: Table, names: frozenset[str], initial: dict[str, Value]) -> Table:
    """The attributes *names* from the facts of the same identity."""
    places = [(place, name) for place, name in enumerate(after.attributes) if name in names]
    found = copy(after)
    found.values = []
    for identity, values in zip(after.identities, after.values, strict=True):
        new = list(values)
        i = before.positions.get(identity) if before is not None else None
        old = dict(zip(before.attributes, before.values[i], strict=True)) if before and i is not None else {}
        for place, name in places:
            new[place] = old[name] if name in old else initial.get(name)
        found.values.append(tuple(new))
    return found
