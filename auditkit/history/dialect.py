"""Definitions from a server of another major version, as the shadow's server would print them.

Servers print the same view differently: 16 stopped to write ``t.a`` where one table leaves no doubt, and each
release finds shorter spellings. Text from another server is therefore not compared as it is: the shadow,
where all that it mentions exists, is told to make the view again and to print it itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from auditkit.catalog.snapshot import Snapshot
from auditkit.history.shadow import reprint

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Key, Table, Value
    from auditkit.history.shadow import Replay

__all__ = ["translated"]

#: Kinds whose attribute ``definition`` is a query.
_QUERIES = ("view", "materialized view")

#: The privilege to VACUUM, ANALYZE … came with 17, where ALL includes it.
_MAINTAIN = re.compile(r", MAINTAIN\b(?=[^\"]* (?:TO|FROM) )")


def translated(snapshot: Snapshot, meant: Replay) -> Snapshot:
    """*snapshot* in the words of the server on which *meant* was replayed, if that is another major version.

    Queries are reprinted; what the shadow cannot print (the query uses what is not there) stays as it was.
    Grants that differ only in a privilege which one of the servers does not have are taken for equal.
    The fingerprint is that of *snapshot*.
    """
    major = int(snapshot.manifest["server_version"]) // 10000
    if major == meant.major:
        return snapshot
    new: dict[str, dict[str, dict[str, Value]]] = {}  # kind → attribute → identity → value
    queries: dict[Key, str] = {}
    for kind, table in snapshot.tables.items():
        for attribute in {"grants", "definition"} & set(table.attributes):
            place = table.attributes.index(attribute)
            for identity, values in zip(table.identities, table.values, strict=True):
                fact = meant.final.get(kind, identity)
                if fact is None or fact.attributes[attribute] == (here := values[place]):
                    continue
                if attribute == "grants" and (major < 17) != (meant.major < 17):
                    new.setdefault(kind, {}).setdefault(attribute, {})[identity] = _grants(
                        here, fact.attributes[attribute]
                    )
                elif attribute == "definition" and kind in _QUERIES:
                    queries[kind, identity] = str(here)
    for (kind, identity), text in (reprint(meant, queries) if queries else {}).items():
        new.setdefault(kind, {}).setdefault("definition", {})[identity] = text
    tables = dict(snapshot.tables)
    for kind, attributes in new.items():
        tables[kind] = _changed(tables[kind], attributes)
    result = Snapshot(snapshot.manifest, tables, snapshot.raw_edges)
    result.ledgers, result.physical = snapshot.ledgers, snapshot.physical
    result.fingerprint = snapshot.fingerprint
    return result


def _changed(table: Table, attributes: Mapping[str, Mapping[str, Value]]) -> Table:
    values = list(table.values)
    for attribute, by_identity in attributes.items():
        place = table.attributes.index(attribute)
        for i, identity in enumerate(table.identities):
            if identity in by_identity:
                values[i] = (*values[i][:place], by_identity[identity], *values[i][place + 1 :])
    return replace(table, values=values)


def _grants(here: Value, there: Value) -> Value:
    """*here*, each line as *there* has it where only MAINTAIN makes a difference."""
    if not isinstance(here, tuple) or not isinstance(there, tuple):
        return here
    lines = {_MAINTAIN.sub("", str(line)): line for line in there}
    return tuple(sorted(lines.get(_MAINTAIN.sub("", str(line)), line) for line in here))
