"""Snapshots from literal facts, for tests that need no database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auditkit.catalog.snapshot import Fact, Snapshot, Table


def snapshot_of(facts: Iterable[Fact], **manifest: Any) -> Snapshot:
    """A complete snapshot that holds exactly *facts*; facts of one kind must have the same attributes."""
    tables: dict[str, Table] = {}
    for fact in facts:
        table = tables.setdefault(fact.kind, Table(fact.kind, tuple(fact.attributes)))
        place = len(table)
        table.identities.append(fact.identity)
        table.values.append(tuple(fact.attributes[name] for name in table.attributes))
        table.names.append(fact.name)
        table.schemas.append(fact.schema)
        table.parents.append(fact.parent)
        table.oids.append(fact.oid)
        table.subids.append(fact.subid)
        table.anchors.append(fact.anchor)
        table.xmins.append(fact.xmin or 0)
        for catalog, xid in fact.rows.items():
            table.written.setdefault(catalog, {})[place] = xid
        if fact.extension:
            table.extensions[place] = fact.extension
        if fact.origin:
            table.origins[place] = fact.origin
    words = {"name": "production", "server_version": 180000, "status": "complete", "not_checked": []}
    return Snapshot({**words, **manifest}, tables)
