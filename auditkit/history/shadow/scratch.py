"""The cluster, or the database on a named server, that exists for one replay."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import server as servers
from auditkit.catalog import capture
from auditkit.catalog.kinds import quote
from auditkit.catalog.snapshot import Snapshot
from auditkit.connect import connect, reason
from auditkit.errors import ServerFailed
from auditkit.history.shadow.replayed import Ground
from auditkit.history.shadow.running import Error, excerpt, execute, finish, send

if TYPE_CHECKING:
    import psycopg


_CLEAR = "DISCARD ALL"
#: Statements sent at a time where each may fail for itself. More would hold more locks than some servers allow.
_TOGETHER = 100
#: An audit's role may be set to write nothing and to wait for nobody; its name is rebuilt on the shadow with that.
#: What a client asks for when it connects goes before, and is what DISCARD returns to.
_FREE = " ".join(
    f"-c {setting}"
    for setting in (
        "default_transaction_read_only=off",
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_in_transaction_session_timeout=0",
    )
)


class Scratch:
    """A cluster (or, on a server named by the user, a database) that exists for one replay."""

    def __init__(self, ground: Ground, cluster: Path | None) -> None:
        self.ground = ground
        self.server: servers.Server | None = None
        self.database = ground.database
        self._roles: set[str] = set()
        if ground.server:
            self.database = f"auditkit_shadow_{secrets.token_hex(4)}"
            self._named(ground.server)
        else:
            self._embedded(ground, cluster)

    def _embedded(self, ground: Ground, cluster: Path | None) -> None:
        self.server = servers.start(
            binaries=ground.binaries,
            cluster=cluster,
            superuser=ground.superuser,
            extension_files=ground.extension_files,
            label="shadow",
        )

    def _named(self, conninfo: str) -> None:
        import psycopg

        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                self._roles = roles_in(connection)
                connection.execute(f'CREATE DATABASE "{self.database}" TEMPLATE template0')
        except psycopg.Error as error:
            raise ServerFailed(
                f"the shadow server cannot be used: {reason(error)}; [shadow] server must name a scratch server "
                "whose role may create databases and roles"
            ) from None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.server:
            self.server.stop()
        elif self.ground.server:
            self._drop_named(self.ground.server)

    def _drop_named(self, conninfo: str) -> None:
        import psycopg

        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
            for role in sorted(roles_in(connection) - self._roles):
                execute(connection, f"DROP ROLE IF EXISTS {quote(role)}")

    def conninfo(self, user: str | None = None) -> str:
        if self.server:
            return self.server.conninfo(self.database, user=user)
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self.ground.server or "", dbname=self.database)

    def runner(self, user: str | None = None) -> psycopg.Connection[Any]:
        """A session with libpq's plain defaults, as most tools have; the role's own settings apply, but for those
        that would stop a migration."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        conninfo = self.conninfo(user)
        options = f"{conninfo_to_dict(conninfo).get('options') or ''} {_FREE}"
        try:
            connection = psycopg.connect(conninfo, options=options, autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as error:
            raise ServerFailed(
                f"the shadow database cannot run migrations as {user}: {reason(error)}; "
                "name another role with [shadow] role in auditkit.toml"
            ) from None
        connection.add_notice_handler(lambda notice: None)
        return connection

    def reader(self) -> psycopg.Connection[Any]:
        connection = connect(self.conninfo(), name="the shadow database")
        # Our own scratch database: nobody to be polite to.
        connection.execute(
            "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"
        )
        return connection

    def reset(self, runner: psycopg.Connection[Any]) -> None:
        """Make the session as good as new."""
        self.clear(runner)
        self.cleared(runner)

    def clear(self, runner: psycopg.Connection[Any]) -> None:
        """Begin with ``reset``; ``cleared`` waits for the end."""
        from psycopg.pq import TransactionStatus

        if runner.pgconn.transaction_status != TransactionStatus.IDLE:
            execute(runner, "ROLLBACK")
        send(runner, _CLEAR)

    def cleared(self, runner: psycopg.Connection[Any]) -> None:
        error = finish(runner, _CLEAR)
        if error is None and self.ground.server:
            error = execute(runner, f"SET SESSION AUTHORIZATION {quote(self.ground.role)}")
        if error is not None:
            raise ServerFailed(
                f"the shadow database cannot run migrations as {self.ground.role}: {error.message}"
            )

    def lay(self, ground: Ground) -> list[str]:
        """Create the database and what must exist before the first migration; return what did not work.

        Statements that fail are tried again after the others, until a round brings nothing new: facts read
        from a catalog come in no particular order.
        """
        if self.server and self.database not in ("postgres", "template1"):
            self.server.create_database(self.database)
        connection = self.runner()
        waiting = list(ground.base)
        if not any(role == ground.role for role in roles_in(connection)):
            waiting.insert(0, f"CREATE ROLE {quote(ground.role)} SUPERUSER")
        errors: dict[str, Error] = {}
        while waiting:
            again = []
            execute(connection, "SET check_function_bodies = off")  # bodies may mention what comes later
            for statement in waiting:
                error = execute(connection, statement)
                if error:
                    errors[statement] = error
                    again.append(statement)
                    execute(connection, "ROLLBACK")
            if len(again) == len(waiting):
                break
            waiting = again
        connection.close()
        return [
            f"not rebuilt: {excerpt(statement, 80)}: {errors[statement].message}" for statement in waiting
        ]

    def snapshot(self) -> Snapshot:
        return capture.capture(self.conninfo(), name="migrations")


def execute_all(
    connection: psycopg.Connection[Any], statements: Sequence[str], *, together: bool = True
) -> list[tuple[str, Error]]:
    """Run each of *statements*, whatever becomes of the others; return those that failed, and why.

    Where they may be run *together*, a hundred are sent at a time, which the server runs in one transaction. If one of
    them fails nothing of it is kept, and they are run one by one.
    """
    failed = []
    for first in range(0, len(statements), _TOGETHER):
        group = statements[first : first + _TOGETHER]
        if together and len(group) > 1 and execute(connection, "\n;".join(group)) is None:
            continue
        for statement in group:
            if error := execute(connection, statement):
                failed.append((statement, error))
    return failed


def roles_in(connection: psycopg.Connection[Any]) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
    }
