"""What an environment's own records can tell: whether changes to the schema are captured, by whom, since when."""

from __future__ import annotations

from typing import Any

from auditkit.audit.reading import take
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings, Source
from auditkit.history.witnesses import WITNESSES, ddl_log
from auditkit.progress import Tell, silent


def policy(source: Source, settings: Settings, *, progress: Tell = silent) -> dict[str, Any]:
    """The document ``auditkit.policy/1``: ``captured`` is whether every further change to the schema leaves a name.

    ``witnesses`` lists all that auditkit knows of: ``name``, ``heard`` (whether it is there and may be heard),
    ``captures`` (whether it names the author of every change it sees), ``since``, ``says``.

    Raises:
        ConnectionFailed, Unreadable, SnapshotCorrupt, ConfigError: in one line each.
    """
    snapshot = take(source, settings, logs=True, progress=progress)
    records = {record["witness"]: record for record in snapshot.manifest.get("witnesses", ())}
    found = [_witness(name, records.get(name), snapshot) for name in WITNESSES if name != "ledger"]
    return {
        "format": "auditkit.policy/1",
        "environment": source.name,
        "captured": any(item["captures"] for item in found),
        "witnesses": found,
    }


def _witness(name: str, record: dict[str, Any] | None, snapshot: Snapshot) -> dict[str, Any]:
    captures, says = {"ddl_log": _log, "server_log": _server}.get(name, _other)(record, snapshot)
    since = record.get("since") if record else None
    if record and record.get("denied"):
        denied = record["denied"]
        says = f"{says}; not all of it may be heard: {denied['why']}: {denied['fix']}"
    heard = bool(record and (record.get("rows") or record.get("commits") or not record.get("denied")))
    return {"name": name, "heard": heard, "captures": captures, "since": since, "says": says}


def _log(record: dict[str, Any] | None, snapshot: Snapshot) -> tuple[bool, str]:
    if record is None:
        return (
            False,
            "not installed, or its event triggers are gone; `auditkit policy ENV --ddl-log-sql` prints the SQL for it",
        )
    states = [
        str(fact.attributes.get("enabled"))
        for key in ddl_log.triggers(snapshot)
        if (fact := snapshot.get(*key)) is not None
    ]
    on = len(states) == 2 and not {"disabled", "replica"} & set(states)
    if not on:
        return False, f"{record['source']} is there, but its event triggers are not both switched on"
    count = f", {record['count']} statements" if "count" in record else ""
    return True, f"{record['source']}{count}; its event triggers are on ({', '.join(sorted(set(states)))})"


def _server(record: dict[str, Any] | None, snapshot: Snapshot) -> tuple[bool, str]:
    about = snapshot.manifest.get("environment", {})
    audited = str(about.get("pgaudit.log") or "none")
    parts = [f"log_statement = {about.get('log_statement') or 'not known'}"]
    parts += [f"pgaudit.log = {audited}"] if about.get("pgaudit.log") is not None else []
    parts.append(
        f"files given: {record['source']}, {record['count']} statements" if record else "no files were given"
    )
    return about.get("log_statement") in ("ddl", "mod", "all") or audited not in ("none", ""), ", ".join(
        parts
    )


def _other(record: dict[str, Any] | None, snapshot: Snapshot) -> tuple[bool, str]:
    if record is None:
        return False, "not there"
    return False, f"{record['count']} entries" if "count" in record else "there"
