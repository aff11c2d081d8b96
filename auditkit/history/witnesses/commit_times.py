"""When the transactions that wrote the catalog's rows committed, where the server keeps that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Snapshot

if TYPE_CHECKING:
    import psycopg

#: NULL for what was frozen and truncated away, or came through pg_upgrade.
_READ = """
    SELECT xid::text::int8, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    FROM (SELECT xid, pg_xact_commit_timestamp(xid) AS at FROM unnest(%s::text::xid[]) AS x(xid)) AS t
    WHERE at IS NOT NULL ORDER BY t.at DESC LIMIT %s"""


def read(connection: psycopg.Connection[Any], snapshot: Snapshot, limit: int) -> dict[str, Any] | None:
    """The record of commit times, for the transactions that the catalog's rows and the ledgers name."""
    if snapshot.manifest["environment"].get("track_commit_timestamp") != "on":
        return None
    xids = catalog_xids(snapshot)
    rows = connection.execute(_READ, ("{" + ",".join(map(str, sorted(xids))) + "}", limit)).fetchall()
    return {
        "source": "track_commit_timestamp",
        "since": rows[-1][1][:19] + "Z" if rows else None,
        "count": len(rows),
        "cut": f"the latest {limit} transactions were read" if len(rows) == limit else None,
        "commits": {str(xid): at for xid, at in rows},
        "rows": [],
    }


def catalog_xids(snapshot: Snapshot) -> set[int]:
    """The transactions that wrote rows of the facts, or of the ledgers."""
    xids: set[int] = set()
    for table in snapshot.tables.values():
        xids.update(table.xmins)
        for written in table.written.values():
            xids.update(written.values())
    xids.update(row["xmin"] for ledger in snapshot.ledgers for row in ledger["rows"] if row.get("xmin"))
    return {xid for xid in xids if xid > 2}  # 0: not known; 1 and 2: made by initdb
