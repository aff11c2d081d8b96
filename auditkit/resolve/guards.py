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


#: Tools that lock with a row of a table: the table beside the ledger, and the query that says who is at work.
_ROWS = {
    "liquibase": ("{name}lock", "SELECT coalesce(lockedby, '') FROM {table} WHERE locked"),
    "knex": ("{name}_lock", "SELECT '' FROM {table} WHERE is_locked = 1"),
}


def _stuck(connection: psycopg.Connection[Any], tool: str, book: Book | None) -> str | None:
    """What a tool's lock table says, if somebody has it."""
    if tool not in _ROWS or book is None:
        return None
    name, query = _ROWS[tool]
    table = Book(tool, book.schema, name.format(name=book.name)).table
    there = connection.execute("SELECT pg_catalog.to_regclass(%s)", [table]).fetchone()
    row = connection.execute(query.format(table=table).encode()).fetchone() if there and there[0] else None
    if row is None:
        return None
    by = f" by {row[0]}" if row[0] else ""
    return (
        f"{tool} is at work there: {table} is locked{by}; try again when it is done, or have {tool} release the lock "
        "if that run died"
    )


class Guard:
    """A session that holds the locks as long as it lives."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        name: str,
        tool: str,
        book: Book | None,
        *,
        leave: bool = False,
    ) -> None:
        """Take the locks; *leave* that of the tool alone, which takes it itself.

        Raises:
            Held: somebody else has one of them.
        """
        self.connection, self.name = connection, name
        self.keys: list[int] = []
        database = str(connection.info.dbname)
        for key, who in ((OWN, "another auditkit apply"), (key_of(tool, database, book), tool)):
            if key is None:
                continue
            row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [key]).fetchone()
            if not row or not row[0]:
                raise Held(
                    f"{name}: {who} is at work there and holds its lock{self._holder(key)}; try again when it is done"
                )
            if leave and key != OWN:
                connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [key])
                continue
            self.keys.append(key)
        if said := _stuck(connection, tool, book):
            raise Held(f"{name}: {said}")

    def _holder(self, key: int) -> str:
        """Which session has a lock, as far as it may be known."""
        row = self.connection.execute(
            "SELECT a.pid, host(a.client_addr), to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') "
            "FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
            "AND (l.classid::bigint << 32) | l.objid::bigint = %s "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
            [key],
        ).fetchone()
        if row is None:
            return ""
        where = f" from {row[1]}" if row[1] else ""
        since = f" since {row[2]} UTC" if row[2] else ""
        return f" (session {row[0]}{where}{since})"

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
