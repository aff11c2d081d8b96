"""Locks that keep others out while a plan is applied: our own, and that of the project's migration tool.

The keys are those of the tools' sources: Rails (``Migrator::MIGRATOR_SALT``), Prisma (``schema-engine``), sqlx
(``generate_lock_id``), golang-migrate (``GenerateAdvisoryLockId``), Flyway (``PostgreSQLAdvisoryLockTemplate``),
node-pg-migrate (``PG_MIGRATE_LOCK_ID``), postgres-migrations (``with-lock``), Atlas (``applyLockValue``), goose
(``lock.DefaultLockID``, of programs that ask for it), Sqitch (``Engine::pg``). Liquibase, Knex and yoyo lock with a row of a
table. Supabase, dbmate, Alembic, Django, Drizzle, TypeORM, Sequelize and Diesel take none, Ecto and EF Core a lock on their
ledger: each step also locks the ledger against writers, so that a tool which records its migration in the same transaction
waits for the step, or the step for it.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditkit.errors import AuditError
from auditkit.resolve.records import Book

if TYPE_CHECKING:
    import psycopg

#: The transaction that holds a tool's row may last as long as the work.
_PATIENT = ("SET LOCAL lock_timeout = '1s'", "SET LOCAL idle_in_transaction_session_timeout = 0")
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
        case "flyway" if book:
            named = ".".join('"' + name.replace('"', '""') + '"' for name in (book.schema, book.name))
            return int.from_bytes(b"Flyway") + _java_hash(named)
        case "atlas":
            return _fnv(b"atlas_migrate_execute")
    return _KEYS.get(tool)


#: Tools that take the same key everywhere.
_KEYS = {
    "node-pg-migrate": 7241865325823964,
    "postgres-migrations": -8525285245963000605,
    "goose": 5887940537704921958,
    "sqitch": 75474063,
}


def _java_hash(text: str) -> int:
    """``String.hashCode``, over UTF-16."""
    found = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for unit in (int.from_bytes(units[n : n + 2]) for n in range(0, len(units), 2)):
        found = (31 * found + unit) % 2**32
    return found - 2**32 if found >= 2**31 else found


def _fnv(text: bytes) -> int:
    """FNV-1 of 32 bits, as Go's ``fnv.New32``."""
    found = 0x811C9DC5
    for byte in text:
        found = found * 0x01000193 % 2**32 ^ byte
    return found


@dataclass(frozen=True)
class _Row:
    """How a tool locks with a row of a table beside its ledger.

    Attributes:
        table: its name; ``{name}`` is the ledger's.
        held: the query that says who is at work.
        take: what has the tool wait as long as our transaction is open. Nothing of it is ever committed: if we end, however
            that may be, the lock is gone.
        free: how people take away a lock that a run has left.
    """

    table: str
    held: str
    take: str
    free: str


_ROWS = {
    "liquibase": _Row(
        "{name}lock",
        "SELECT coalesce(lockedby, '') FROM {table} WHERE locked",
        "SELECT FROM {table} FOR UPDATE NOWAIT",
        "liquibase release-locks",
    ),
    "knex": _Row(
        "{name}_lock",
        "SELECT '' FROM {table} WHERE is_locked = 1",
        "SELECT FROM {table} FOR UPDATE NOWAIT",
        "npx knex migrate:unlock",
    ),
    "yoyo": _Row(
        "yoyo_lock",
        "SELECT 'process ' || pid FROM {table} WHERE locked = 1",
        "INSERT INTO {table} (locked, ctime, pid) VALUES (1, now() AT TIME ZONE 'UTC', pg_backend_pid())",
        "yoyo break-lock",
    ),
}


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
        if tool in _ROWS and book is not None:
            self._take_row(
                tool, _ROWS[tool], Book(tool, book.schema, _ROWS[tool].table.format(name=book.name)).table
            )
        if leave:
            connection.execute("ROLLBACK")

    def _take_row(self, tool: str, row: _Row, table: str) -> None:
        """Hold the row that a tool locks with, in a transaction that stays open.

        Raises:
            Held: somebody has it.
        """
        import psycopg

        there = self.connection.execute("SELECT pg_catalog.to_regclass(%s)", [table]).fetchone()
        if not there or there[0] is None:
            return
        held = self.connection.execute(row.held.format(table=table).encode()).fetchone()
        if held is None:
            begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
            try:
                for text in (begin, *_PATIENT, row.take.format(table=table)):
                    self.connection.execute(text.encode())
            except psycopg.errors.InsufficientPrivilege:  # who may not write there cannot lock it either
                self.connection.execute("ROLLBACK")
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.UniqueViolation):
                self.connection.execute("ROLLBACK")
                raise Held(
                    f"{self.name}: {tool} is at work there and holds {table}{self._writer(table)}; try again when it is done"
                ) from None
            return
        by = f" by {held[0]}" if held[0] else ""
        raise Held(
            f"{self.name}: {tool} is at work there: {table} is locked{by}; try again when it is done, or have {tool} "
            f"release the lock if that run died: {row.free}"
        )

    def _writer(self, table: str) -> str:
        """Which session has written to a table, and has not committed it."""
        return self._session_of(
            "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND granted AND mode = 'RowExclusiveLock' "
            "AND relation = %s::regclass AND pid <> pg_catalog.pg_backend_pid()",
            table,
        )

    def _holder(self, key: int) -> str:
        """Which session has a lock, as far as it may be known."""
        return self._session_of(
            "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND (classid::bigint << 32) | objid::bigint = %s "
            "AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
            key,
        )

    def _session_of(self, pids: str, value: object) -> str:
        row = self.connection.execute(
            "SELECT a.pid, host(a.client_addr), to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') "
            f"FROM pg_catalog.pg_stat_activity AS a WHERE pid IN ({pids})".encode(),
            [value],
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
