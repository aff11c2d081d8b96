"""A whole schema from nothing: what turns an empty database into a snapshot."""

from __future__ import annotations

from auditkit import server
from auditkit.catalog.capture import capture
from auditkit.catalog.compare import compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.resolve import script
from auditkit.resolve.closing import close


def whole(snapshot: Snapshot) -> str:
    """SQL that makes all that *snapshot* holds in an empty database, for ``psql -v ON_ERROR_STOP=1``.

    Owners are always named, because nobody knows who will run it; rows are no part of it.

    Raises:
        ServerFailed: no server could be started to ask what an empty database holds.
    """
    version = int(snapshot.manifest["server_version"])
    with server.start(major=version // 10000) as scratch:
        empty = capture(scratch.conninfo(), name="empty")
    empty.manifest["role"] = ""
    empty.manifest["server_version"] = version
    notes = []
    if scratch.binaries.major != version // 10000:
        notes.append(f"note: what an empty database holds was asked of PostgreSQL {scratch.binaries.major}")
    steps = close(empty, snapshot, compare(empty, snapshot))
    title = (
        f"The schema of {snapshot.manifest['name']}, {snapshot.manifest['server']}, for an empty database."
    )
    return script.text(steps, title=title, notes=notes)
