"""The audit document, assembled from what was explained."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import auditkit
from auditkit.audit.explained import Explained
from auditkit.audit.investigating import Investigator
from auditkit.causes.case import Finding
from auditkit.config import Settings
from auditkit.history.states import HistoryMatrix
from auditkit.resolve.objections import Objection
from auditkit.resolve.remedy import remedy

if TYPE_CHECKING:
    from auditkit.report.document import Audit


def assemble(
    cases: Sequence[Explained],
    matrix: HistoryMatrix,
    *,
    problems: list[dict[str, Any]],
    settings: Settings,
    baseline: str,
    fail_on: str,
    notebook: str | None,
    command: str,
    at: str = "",
    unreached: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> Audit:
    from auditkit.report.document import Audit, headline_of, verdict_of, worst_first

    followed = [(Investigator(e, matrix), e) for e in cases]
    findings = worst_first(
        {**_finding(f), **investigator.about(f), "remedy": remedy(f, e.case)}
        for investigator, e in followed
        for f in e.findings
    )
    by_delta = {id(d): f.id for e in cases for f in e.findings for d in f.deltas}
    deltas = [
        {"environment": e.case.environment, **d.as_dict(), "finding": by_delta.get(id(d))}
        for e in cases
        for d in e.compared.deltas
    ]
    not_checked = [*problems, *(note for e in cases for note in e.notes)]
    document: dict[str, Any] = {
        "format": "auditkit.audit/1",
        "tool": {"name": "auditkit", "version": auditkit.__version__},
        "created_at": at or _now(),
        "notebook": notebook,
        "command": command,
        "verdict": verdict_of(findings, not_checked, fail_on),
        "headline": "",
        "fail_on": fail_on,
        "baseline": baseline,
        "environments": [*(_environment(e, matrix) for e in cases), *(_absent(name) for name in unreached)],
        "deltas": deltas,
        "findings": findings,
        "migrations": [_migration(row) for row in matrix.rows],
        "timeline": _timeline(cases, matrix),
        "residual": sum(d["finding"] is None for d in deltas),
        "unmodelled": [
            {"environment": e.case.environment, **item} for e in cases for item in e.case.actual.unmodelled
        ],
        "not_checked": not_checked,
        "coverage": _coverage(cases, settings),
        "replay": _replay(cases, settings),
        **(extra or {}),
    }
    document["headline"] = headline_of(document)
    return Audit(document)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "cause": finding.cause,
        "confidence": finding.confidence,
        "severity": finding.severity,
        "environment": finding.environment,
        "title": finding.title,
        "objects": [{"kind": kind, "identity": identity} for kind, identity in finding.objects],
        "migration": finding.culprit.as_dict() if finding.culprit else None,
        "evidence": [{"signal": e.signal, "says": e.says} for e in finding.evidence],
        "alternatives": [{"cause": cause, "says": says} for cause, says in finding.alternatives],
        **({"gate": finding.kind.gate} if isinstance(finding, Objection) else {}),
        "who": [who.as_dict() for who in finding.who],
        "proof": finding.proof.as_dict() if finding.proof else None,
    }


def _environment(explained: Explained, matrix: HistoryMatrix) -> dict[str, Any]:
    manifest, snapshot = explained.case.actual.manifest, explained.case.actual
    name = explained.case.environment
    summary = next((e for e in matrix.environments if e.name == name), None)
    ledger = None
    if summary and summary.tool:
        ledger = {
            "tool": summary.tool,
            "table": summary.table,
            "head": summary.head,
            "applied": summary.applied,
            "pending": summary.pending,
            "not_detectable": list(summary.not_detectable),
            "notes": list(summary.notes),
        }
    return {
        "name": name,
        "server_version": manifest["server_version"],
        "server": manifest["server"],
        "database": manifest["database"],
        "role": manifest["role"],
        "captured_at": manifest["captured_at"],
        "fingerprint": snapshot.fingerprint,
        "status": manifest["status"],
        "facts": len(snapshot),
        "findings": len(explained.findings),
        "ledger": ledger,
        "calibration": explained.calibration.as_dict(),
    }


def _absent(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "server_version": None,
        "server": None,
        "database": None,
        "role": None,
        "captured_at": None,
        "fingerprint": None,
        "status": "incomplete",
        "facts": 0,
        "findings": 0,
        "ledger": None,
        "calibration": {"link": "none", "hit_rate": None, "says": "The environment could not be read."},
    }


def _migration(row: Any) -> dict[str, Any]:
    git = row.migration.git if row.migration else None
    added = row.migration.added if row.migration else None
    return {
        "version": row.version,
        "name": row.name,
        "file": row.file,
        "states": dict(row.states),
        "commit": added.id if added else None,
        "author": added.author if added else None,
        "committed_at": added.committed_at if added else None,
        "edited_later": len(git.edited_later) if git else 0,
        "uncommitted": bool(git and git.uncommitted),
    }


def _timeline(cases: Sequence[Explained], matrix: HistoryMatrix) -> list[dict[str, Any]]:
    """What happened when, as far as anything tells: commits, edits, applied times, captures."""
    events: list[dict[str, Any]] = []

    def event(environment: str | None, at: str | None, kind: str, label: str) -> None:
        if at:
            events.append({"environment": environment, "at": at, "kind": kind, "label": label, "until": None})

    for row in matrix.rows:
        git = row.migration.git if row.migration else None
        if git and git.added:
            event(None, git.added.committed_at, "commit", f"{row.version} {row.name}")
            for commit in git.edited_later:
                event(None, commit.committed_at, "edited", f"{row.version} {row.name}: {commit.subject}")
        for name, cell in row.cells.items():
            if cell.row:
                event(name, cell.row["applied_at"], "applied", f"{row.version} {row.name}")
    for explained in cases:
        manifest = explained.case.actual.manifest
        event(explained.case.environment, manifest["captured_at"], "captured", "read for this audit")
    return sorted(events, key=lambda e: (e["at"], e["kind"], e["label"]))


def _coverage(cases: Sequence[Explained], settings: Settings) -> dict[str, Any]:
    snapshots = [e.case.actual for e in cases]
    return {
        "facts": sum(len(s) for s in snapshots),
        "kinds": len({kind for s in snapshots for kind in s.kinds}),
        "managed": [
            {"environment": e.case.environment, "schema": schema, "facts": count}
            for e in cases
            for schema, count in sorted(e.compared.managed.items())
        ],
        "extension_members": sum(e.compared.extension_members for e in cases),
        "suppressed": [
            rule.as_dict(sum(e.compared.suppressed.get(rule, 0) for e in cases)) for rule in settings.ignore
        ],
    }


def _replay(cases: Sequence[Explained], settings: Settings) -> dict[str, Any] | None:
    replays = [(e, e.case.intended) for e in cases if e.case.intended]
    if not replays:
        return None
    first = replays[0][1]
    assert first
    failures = []
    for _, result in replays:
        for failure in result.failures if result else ():
            step = first.steps[failure.step]
            item = {
                "version": step.version,
                "file": step.file,
                "line": failure.line,
                "message": failure.message,
            }
            if item not in failures:
                failures.append(item)
    majors = {int(e.case.actual.manifest["server_version"]) // 10000 for e, _ in replays}
    return {
        "server": first.server,
        "same_major": majors == {first.major},
        "migrations": len(first.steps),
        "statements": first.statements,
        "platform": first.ground.platform if first.ground else "none",
        "stand_ins": list(first.ground.stand_ins) if first.ground else [],
        "notes": [*(first.ground.notes if first.ground else ()), *first.notes],
        "failures": failures,
    }
