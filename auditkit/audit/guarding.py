"""The policy that only migrations change the schema: who else can, who did, whether it is seen, what is stale."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auditkit import config
from auditkit.audit.reading import read_all, take, unreachable
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings, Source
from auditkit.errors import AuditError
from auditkit.history import ledgers
from auditkit.history.witnesses import WITNESSES, ddl_log
from auditkit.policy.doors import Judged, doors, verdict
from auditkit.policy.lately import lately, moment, newest, stale
from auditkit.policy.plan import plan, script
from auditkit.policy.reader import reader_sql
from auditkit.progress import Tell, silent

FORMAT = "auditkit.policy/1"


def policy(
    sources: Sequence[Source],
    settings: Settings,
    *,
    fail_on: str | None = None,
    now: dt.datetime | None = None,
    progress: Tell = silent,
) -> dict[str, Any]:
    """The document ``auditkit.policy/1``: ``verdict``, ``headline``, ``environments``, ``not_checked``.

    Of each environment: ``doors`` (worst first; ``judged`` tells which should be closed), ``plan`` and ``sql`` that
    closes those, ``captured`` (whether every further change to the schema leaves a name) and ``witnesses``,
    ``lately``, ``newest``, ``stale``.

    Raises:
        ConnectionFailed, Unreadable, SnapshotCorrupt, ConfigError: in one line each; of several environments one
            that cannot be read is named under ``not_checked``.
    """
    fail_on = config.check_severity(fail_on or settings.fail_on)
    read = read_all(sources, settings, progress)
    snapshots = {name: found for name, found in read.items() if isinstance(found, Snapshot)}
    if not snapshots:
        raise next(error for error in read.values() if isinstance(error, AuditError))
    not_checked = [unreachable(name, error) for name, error in read.items() if isinstance(error, AuditError)]
    judged = {name: doors(snapshot, settings.migration_roles) for name, snapshot in snapshots.items()}
    for name, found in judged.items():
        history = ledgers.choose(snapshots[name].ledgers)
        not_checked += [{"environment": name, **item} for item in (*found.not_checked, *history.not_checked)]
    ages = _ages(snapshots, settings, now)
    return {
        "format": FORMAT,
        "verdict": verdict([d for j in judged.values() for d in j.doors], fail_on, not_checked),
        "headline": headline(judged),
        "fail_on": fail_on,
        "environments": [
            {**_environment(name, found), "stale": ages[name], "sql": script(found, name)}
            for name, found in judged.items()
        ],
        "not_checked": not_checked,
    }


def section(snapshots: Mapping[str, Snapshot], settings: Settings, at: str = "") -> dict[str, Any]:
    """The same for a report: without the objects of each door one by one, and without the whole script."""
    judged = {name: doors(snapshot, settings.migration_roles) for name, snapshot in snapshots.items()}
    ages = _ages(snapshots, settings, moment(at) if at else None, audited={})  # they are being audited
    found = []
    for name, each in judged.items():
        environment = _environment(name, each)
        environment["doors"] = [
            {k: v for k, v in d.items() if k != "objects"}
            for d in environment["doors"]
            if d["judged"] == "door"
        ]
        del environment["plan"], environment["newest"]
        found.append({**environment, "stale": ages[name]})
    return {"headline": headline(judged), "environments": found}


def policy_reader(
    source: Source, settings: Settings, name: str = "auditkit", *, progress: Tell = silent
) -> str:
    """SQL that makes the role for audits of *source*; see ``reader_sql``."""
    return reader_sql(take(source, settings, progress=progress), name)


def headline(judged: Mapping[str, Judged]) -> str:
    """The result as one sentence."""
    parts = []
    for name, found in judged.items():
        roles = {d.role for d in found.open if d.severity != "info"}
        if roles:
            others = "role" if len(roles) == 1 else "roles"
            parts.append(f"{len(roles)} {others} in {name}")
    if not parts:
        return "Only the roles that should can change the schema."
    return f"Besides those that should, the schema can be changed by {', '.join(parts)}."


def _environment(name: str, judged: Judged) -> dict[str, Any]:
    snapshot = judged.view.snapshot
    records = {record["witness"]: record for record in snapshot.manifest.get("witnesses", ())}
    found = [
        _witness(witness, records.get(witness), snapshot) for witness in WITNESSES if witness != "ledger"
    ]
    capturing = [item for item in found if item["captures"]]
    return {
        "name": name,
        "database": snapshot.manifest.get("database"),
        "server_version": snapshot.manifest.get("server_version"),
        "captured_at": snapshot.manifest.get("captured_at"),
        "migration_roles": list(judged.migration_roles),
        "doors": [door.as_dict() for door in judged.doors],
        "plan": [step.as_dict() for step in plan(judged)],
        "captured": bool(capturing),
        "captured_since": min((item["since"] for item in capturing if item["since"]), default=None),
        "witnesses": found,
        "lately": lately(judged),
        "newest": newest(judged),
    }


def _ages(
    snapshots: Mapping[str, Snapshot],
    settings: Settings,
    now: dt.datetime | None,
    audited: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    histories = {name: ledgers.choose(snapshot.ledgers) for name, snapshot in snapshots.items()}
    applied = {name: history.rows for name, history in histories.items() if history.tool and history.readable}
    now = now or dt.datetime.now(dt.UTC)
    audited = _audited(settings.out_dir) if audited is None else audited
    return stale(snapshots, applied, settings.stale_after, now, audited)


def _audited(reports: Path) -> dict[str, str]:
    """When each environment was in a report last."""
    from auditkit.report.document import past_runs

    found: dict[str, str] = {}
    for run in past_runs(reports) if reports.is_dir() else ():
        for name in run.get("environments") or ():
            found.setdefault(str(name), str(run["at"]))
    return found


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
