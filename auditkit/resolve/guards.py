"""Locks that keep others out while a plan is applied: our own, and that of the project's migration tool.

The keys are those of the tools' sources: Rails (``Migrator::MIGRATOR_SALT``), Prisma (``schema-engine``), sqlx
(``generate_lock_id``), golang-migrate (``GenerateAdvisoryLockId``). Supabase, dbmate, Alembic, Django and Diesel take none,
Ecto and goose a lock on their table or none: each step also locks the ledger against writers, so that a tool which
records its migration in the same transaction waits for the step, or the step for it.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from auditkit.errors import AuditError
from auditkit.resolve.records import Book

if TYPE_CHECKING:
    import psycopg

#: Of our own lock; such locks belong to one database.
OWN = int.from_bytes(hashlib.sha256(b"auditkit apply").digest()[:8], "big", signed=True)


class Held(AuditError):
    """Somebody else is at work on the environment."""


def key_of(tool: str, database: str, book: Book | None) -> int | None:
    """The advisory lock that *tool* takes while it migrates *database*; None if it takes none."""
    crc = zlib.crc32(database.encode())
    match tool:
        case "rails":
            return 2053462845 * crc
        case "prisma":
            return 72707369
        case "sqlx":
            return 0x3D32AD9E * crc
        case "golang-migrate" if book:
            text = "\0".join((book.schema, book.name, database))
            return zlib.crc32(text.encode()) * 1486364155 % 2**32
    return None


class Guard:
    """A session that holds the locks as long as it lives."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, tool: str, book: Book | None) -> None:
        self.connection, self.name = connection, name
        self.keys: list[int] = []
        database = str(connection.info.dbname)
        for key, who in ((OWN, "another auditkit apply"), (key_of(tool, database, book), tool)):
            if key is None:
                continue
            row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [key]).fetchone()
            if not row or not row[0]:
                raise Held(f"{name}: {who} is at work there and holds its lock; try again when it is done")
            self.keys.append(key)

    def holds(self) -> bool:
        """Whether all locks are still ours: not if the session was lost, or a pooler gave us another one."""
        import psycopg

        try:
            row = self.connection.execute(
                "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted "
                "AND pid = pg_catalog.pg_backend_pid() AND objsubid = 1 "
                "AND (classid::bigint << 32) | objid::bigint = ANY (%s)",
                [self.keys],
            ).fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0] == len(self.keys))
