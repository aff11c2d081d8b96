"""Witnesses: records of who changed what and when, each as one entry; a snapshot keeps what they say.

Reading costs nothing where there is no witness: the catalog has already told whether a log or an extension is
there, and which settings are on. A witness that may not be heard is named as not checked, and is never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Snapshot
from auditkit.history.witnesses import commit_times, ddl_log, server_log, statements
from auditkit.history.witnesses.testimony import Heard, Testimony

if TYPE_CHECKING:
    import psycopg

__all__ = ["LIMIT", "WITNESSES", "Heard", "Testimony", "Witness", "heard", "not_checked", "read", "read_logs"]

#: So much of each witness is kept in a snapshot: what matters most, then the latest.
LIMIT = 1000

#: What a witness says, as a snapshot keeps it: ``witness``, ``source``, ``since`` and ``count`` where known, ``cut``
#: (what was left out, in words), ``denied`` ({what, why, fix} where it may not be heard), ``rows`` (testimonies as
#: dictionaries) and, of commit times, ``commits`` (transaction id → time).
Record = dict[str, Any]
Reader = Callable[["psycopg.Connection[Any]", Snapshot, int], Record | None]


@dataclass(frozen=True)
class Witness:
    """One record of who changed what and when.

    ``signal`` is what its evidence is called. ``tells`` says what it knows, and what it cannot. ``read`` asks the
    database, and returns None where the witness is not there; without it the witness is heard some other way.
    """

    name: str
    signal: str
    tells: str
    read: Reader | None = None


WITNESSES: dict[str, Witness] = {
    witness.name: witness
    for witness in (
        Witness(
            "ddl_log",
            "ddl log",
            "who, when, from where, which statement, which objects, in which transaction; since it was installed",
            ddl_log.read,
        ),
        Witness(
            "server_log",
            "server log",
            "who, when, from where, which statement; with pgaudit also the objects and the transaction",
        ),
        Witness(
            "commit_times",
            "commit time",
            "when the transaction of a catalog row committed, not who it was; until the row is frozen, not over pg_upgrade",
            commit_times.read,
        ),
        Witness(
            "statements",
            "pg_stat_statements",
            "which role ran a text, not when; until it is evicted or reset",
            statements.read,
        ),
        Witness(
            "ledger",
            "ledger row",
            "who recorded a migration and when, where its tool notes that",
        ),
    )
}


def read(connection: psycopg.Connection[Any], snapshot: Snapshot) -> list[Record]:
    """What the witnesses in a database say, as plain data for ``snapshot.manifest["witnesses"]``.

    *connection* is an audit session; *snapshot* was captured with it and has its ledgers.
    """
    import psycopg

    records = []
    for witness in WITNESSES.values():
        if witness.read is None:
            continue
        try:
            record = witness.read(connection, snapshot, LIMIT)
        except psycopg.Error as error:
            if connection.closed:
                raise
            why = error.diag.message_primary or type(error).__name__
            fix = "run the audit again; if it persists, do without this witness"
            record = {"source": witness.name, "denied": {"what": witness.signal, "why": why, "fix": fix}}
        if record is not None:
            records.append(plain(witness.name, record))
    return records


def read_logs(
    patterns: Sequence[str], snapshot: Snapshot, root: Path, prefix: str | None = None
) -> list[Record]:
    """What the server's log files say, in the same form; see ``server_log.read``.

    Raises:
        ConfigError: a file is not there, cannot be read, or is no log in a form that is known.
    """
    if not patterns:
        return []
    return [plain("server_log", server_log.read(patterns, snapshot, LIMIT, root=root, prefix=prefix))]


def plain(name: str, record: Mapping[str, Any]) -> Record:
    """A record with its testimonies as dictionaries."""
    rows = [row.as_dict() if isinstance(row, Testimony) else row for row in record.get("rows", ())]
    return {"witness": name, **record, "rows": rows}


def heard(snapshot: Snapshot) -> Heard:
    """What the witnesses that a snapshot keeps say, to be looked up."""
    records: Sequence[Record] = snapshot.manifest.get("witnesses", ())
    testimonies = [Testimony.from_dict(row) for record in records for row in record.get("rows", ())]
    commits = {int(xid): at for record in records for xid, at in record.get("commits", {}).items()}
    moment = int(snapshot.manifest.get("environment", {}).get("next_xid") or 0)
    return Heard(testimonies, commits, wrapped=moment >= 1 << 32)


def not_checked(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The witnesses that may not be heard. That does not make an audit incomplete: no difference is missed."""
    records: Sequence[Record] = snapshot.manifest.get("witnesses", ())
    return [{**record["denied"], "blocking": False} for record in records if record.get("denied")]
