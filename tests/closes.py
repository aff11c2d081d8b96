"""What closing differences is tested with: two clusters, databases loaded as psql does, and the three judges.

A script is good when it runs as printed, the comparison finds nothing afterwards, ``pg_dump`` (``tests/oracle.py``)
says the same of both sides, and every row that was there still is (``tests/rows.py``), or a hazard says it is not.
"""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import oracle
import psycopg
import rows
from catalog import snap

from auditkit import server as servers
from auditkit.catalog.compare import compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.resolve import closing, script
from auditkit.server import Server

CORPUS = Path(__file__).parent / "corpus"
#: What is never read from a catalog, and so cannot be made alike.
SECRETS = re.compile(r"(?<= CONNECTION )'[^']*'")

#: Logical replication is never set up, but PostgreSQL warns when it could not be.
SETTINGS = {"wal_level": "logical", "max_wal_senders": "0", "max_connections": "20"}


def folder(kind: str) -> str:
    """Where the corpus keeps the cases of a kind."""
    return kind.replace(" ", "_")


def cases() -> list[Path]:
    """Every case of the corpus."""
    return sorted(path.parent for path in CORPUS.glob("*/*/b.sql"))


def since(case: Path) -> int:
    """The first major version that a case is for: ``-- since 15`` in its first line."""
    first = (case / "a.sql").read_text("utf-8").partition("\n")[0]
    return int(first.removeprefix("-- since ")) if first.startswith("-- since ") else 14


def ways(case: Path) -> list[tuple[int, int]]:
    """From which side to which it can be closed: both ways, but for ``-- one way: and why`` in the first line."""
    one_way = (case / "a.sql").read_text("utf-8").startswith("-- one way: ")
    return [(0, 1)] if one_way else [(0, 1), (1, 0)]


def psql(conninfo: str, text: str) -> str:
    """Run a script as people do, stopping at the first error; returns what went wrong."""
    command = [oracle.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not any(w in line for w in ("NOTICE:", "WARNING:"))]
    return "\n".join(said) or f"exit {done.returncode}" if done.returncode else ""


@dataclass(frozen=True)
class State:
    """What a database is like, as our reading, as pg_dump says, and what its tables hold."""

    snapshot: Snapshot
    dump: str
    rows: dict[str, rows.Rows]


def state(conninfo: str) -> State:
    """Read a database."""
    dump = SECRETS.sub("'***'", oracle.normalised_dump(conninfo))
    return State(snap(conninfo), dump, rows.contents(conninfo))


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What the comparison finds, but for what counts as equal all the same, and orders, which no statement changes."""
    return [str(d) for d in compare(before, after) if not d.is_warning and not d.is_order]


def way(before: Snapshot, after: Snapshot) -> tuple[list[closing.Step], str]:
    """The steps from one to the other, and the script that is printed."""
    steps = closing.close(before, after, compare(before, after))
    return steps, script.text(steps)


def problem(conninfo: str, now: State, goal: State) -> str:
    """Turn a database that is *now* into *goal*; what is wrong with the way, and the script; empty if nothing is."""
    steps, text = way(now.snapshot, goal.snapshot)
    if failed := psql(conninfo, text):
        return f"it does not run: {failed}\n\n{text}"
    reached = state(conninfo)
    wrong = differences(reached.snapshot, goal.snapshot)
    if reached.dump != goal.dump:
        wrong += difflib.unified_diff(
            reached.dump.splitlines(), goal.dump.splitlines(), "reached", "wanted", n=0, lineterm=""
        )
    wrong += unsaid(steps, now.rows, reached.rows)
    return "\n".join([*wrong, "", text]) if wrong else ""


def unsaid(
    steps: Sequence[closing.Step], before: dict[str, rows.Rows], after: dict[str, rows.Rows]
) -> Iterator[str]:
    """What was lost although no hazard speaks of it."""
    said = [
        f"{step.sql.text} {hazard.why}"
        for step in steps
        for hazard in step.sql.hazards
        if hazard.code == "DELETES_DATA"
    ]
    for name, what in rows.losses(before, after, kept_only=False):
        family = {other for other in before if before[other].root == before[name].root}
        words = {other.rpartition(".")[2].strip('"') for other in family}
        if not any(word in hazard for word in words for hazard in said):
            yield f"lost and not said: {what}"


class Pair:
    """Two clusters of one version, so that both sides can have roles of their own."""

    def __init__(self, binaries: servers.Binaries | None) -> None:
        self.servers = [
            servers.start(binaries=binaries, label=f"closing-{side}", settings=SETTINGS) for side in "ab"
        ]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def build(self, side: int, text: str) -> str:
        """A database made by a script; its connection string."""
        conninfo = self.servers[side].create_database("pair")
        failed = psql(conninfo, text)
        assert not failed, f"{'ab'[side]}.sql: {failed}"
        return conninfo

    def clean(self) -> None:
        """Leave nothing for the next pair: databases, subscriptions, roles and what is set for all of them."""
        for server in self.servers:
            forget_subscriptions(server)
            server.drop_database("pair")
            with psycopg.connect(server.conninfo(), autocommit=True) as connection:
                connection.execute("ALTER ROLE ALL RESET ALL")
                roles = "SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384"
                for (role,) in connection.execute(roles).fetchall():
                    connection.execute(f"DROP ROLE {role}".encode())


def forget_subscriptions(server: Server) -> None:
    """Subscriptions keep a database from being dropped."""
    query = "SELECT quote_ident(s.subname), d.datname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
    with psycopg.connect(server.conninfo()) as connection:
        found = connection.execute(query).fetchall()
    for name, database in found:
        with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
            for action in ("DISABLE", "SET (slot_name = NONE)"):
                connection.execute(f"ALTER SUBSCRIPTION {name} {action}".encode())
            connection.execute(f"DROP SUBSCRIPTION {name}".encode())
