"""Helpers of the catalog tests: the schema with every kind, and databases made from it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from auditkit.catalog.capture import capture
from auditkit.catalog.snapshot import Snapshot
from auditkit.server import Server

SCHEMAS = Path(__file__).parent / "schemas"


def every_kind(major: int) -> list[Path]:
    """The files of the schema with every kind that a major version understands, in order."""
    newer = (15, 18)
    return [SCHEMAS / "every_kind.sql", *(SCHEMAS / f"every_kind_{n}.sql" for n in newer if major >= n)]


def load(server: Server, database: str, files: list[Path]) -> None:
    """Run SQL files as psql does, each statement committing for itself."""
    from auditkit.history.split import split

    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        for path in files:
            for statement in split(path.read_text("utf-8")):
                connection.execute(statement.text.encode())


def execute(conninfo: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def copy(server: Server, database: str, target: Server) -> None:
    """Copy roles and a database to another server with pg_dumpall, pg_dump and psql (the newest ones there are)."""
    from auditkit.server import find_binaries

    bin = find_binaries().bindir
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=error"}

    def run(program: str, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            [str(bin / program), *arguments],
            input=text,
            capture_output=True,
            encoding="utf-8",
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    roles = run("pg_dumpall", "-d", server.conninfo("postgres"), "--roles-only")
    roles = "\n".join(line for line in roles.splitlines() if not line.startswith("CREATE ROLE postgres"))
    run("psql", "-X", "-q", "-d", target.conninfo("postgres"), text=roles)
    dump = run("pg_dump", "--create", "-d", server.conninfo(database))
    # What the newest pg_dump says even to servers that do not know it.
    dump = dump.replace("SET transaction_timeout = 0;", "")
    if target.version < 150000:
        dump = re.sub(r" LOCALE_PROVIDER = \w+", "", dump)
    if target.version < 160000:
        dump = re.sub(r", (run_as_owner|password_required|origin|failover) = [\w']+", "", dump)
    run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target.conninfo("postgres"), text=dump)


def facts(snapshot: Snapshot) -> dict[tuple[str, str], dict[str, Any]]:
    """Key → attributes."""
    return {fact.key: fact.attributes for fact in snapshot.iter()}


def snap(source: Any, **options: Any) -> Snapshot:
    """A snapshot that must be complete."""
    snapshot = capture(source, **options)
    assert snapshot.manifest["status"] == "complete", snapshot.manifest["not_checked"]
    return snapshot
