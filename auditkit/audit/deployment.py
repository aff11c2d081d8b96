"""After a deployment: its effect compared with the replayed one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.document import assemble
from auditkit.audit.explained import Explained
from auditkit.audit.explaining import explain_one
from auditkit.audit.meant import Meant, listed, meant_for, migrations_of
from auditkit.audit.reading import scope_of, take
from auditkit.catalog.compare import Delta, Scope, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Finding
from auditkit.config import Settings
from auditkit.errors import ConfigError
from auditkit.history import ledgers
from auditkit.history.dialect import translated
from auditkit.history.states import HistoryMatrix, states
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.report.document import Audit


def verify(
    environment: str,
    *,
    before: str,
    expected_version: str = "",
    deployed_at: str = "",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """Did a deployment do exactly what was intended? Its effect is compared with the replayed one.

    Args:
        environment: what was deployed to.
        before: a snapshot file (or any source) of it from before the deployment.
        expected_version: the head that the ledger should have now; by default all files.
        deployed_at: when (ISO 8601), for the report.

    Raises:
        ConfigError: no *before*, unknown names, or no migrations; and what :func:`explain` raises.
    """
    settings = settings or config.load(config_file or None)
    if not before:
        raise ConfigError(
            "a review needs a snapshot from before the deployment: take one with "
            f"`auditkit snapshot {environment} -o before.snapshot`, deploy, then name it as `before`"
        )
    fail_on = config.check_severity(fail_on or settings.fail_on)
    source, old_source = settings.source(environment), settings.source(before)
    migrations = listed(migrations_of(settings), settings)
    expected = [m.version for m in migrations]
    if expected_version:
        if expected_version not in expected:
            raise ConfigError(
                f"no migration has version {expected_version}; the newest is {expected[-1] if expected else 'none'}"
            )
        expected = expected[: expected.index(expected_version) + 1]
    new, old = take(source, settings, progress=progress), take(old_source, settings, progress=progress)
    chosen = {
        source.name: ledgers.choose(new.ledgers, migrations),
        "before": ledgers.choose(old.ledgers, migrations),
    }
    matrix = states(migrations, chosen)
    explained = explain_one(source.name, new, None, matrix, migrations, settings, progress)
    was = meant_for("before", old, matrix, migrations, settings, progress)
    deploy = _deploy(explained, old, was, matrix, expected, settings)
    deploy["deployed_at"] = deployed_at or None
    explained.findings = _of_this_deploy(explained, deploy)
    audit = assemble(
        [explained],
        HistoryMatrix(
            tuple(replace(r, cells={n: c for n, c in r.cells.items() if n != "before"}) for r in matrix.rows),
            tuple(e for e in matrix.environments if e.name != "before"),
            matrix.notes,
        ),
        problems=[],
        settings=settings,
        baseline="migrations",
        fail_on=fail_on,
        notebook="post_deploy_review",
        command=f"auditkit verify {source.name} --before {Path(before).name}",
        at=at,
        extra={"deploy": deploy},
    )
    audit.document["headline"] = _headline(source.name, deploy) or audit.document["headline"]
    return audit


def _headline(name: str, deploy: Mapping[str, Any]) -> str | None:
    """What became of the deployment in one sentence; None if it is something else that went wrong."""
    from auditkit.report.document import counted

    count = counted(len(deploy["deployed"]), "migration")
    late = sum(item["expected"] and not item["recorded"] for item in deploy["ledger"])
    wrong = [
        *(
            [f"{counted(len(deploy['unintended']), 'change')} nobody intended"]
            if deploy["unintended"]
            else []
        ),
        *([f"{counted(len(deploy['absent']), 'intended change')} not made"] if deploy["absent"] else []),
        *([f"{counted(late, 'expected migration')} not recorded"] if late else []),
    ]
    if wrong:
        return f"The deployment to {name} is not what was intended: {count} applied, but {', '.join(wrong)}."
    if deploy["deployed"]:
        changes = counted(len(deploy["actual"]), "change")
        return f"The deployment to {name} did what was intended: {count}, {changes}, nothing else."
    return None


_Change = tuple[str, str, str, str | None, Any]


def _change(delta: Delta) -> _Change:
    """A delta by what it leads to; for new objects the fact that they are there."""
    return (
        delta.kind,
        delta.identity,
        delta.change,
        delta.attribute,
        delta.right if delta.attribute else None,
    )


def _deploy(
    explained: Explained,
    old: Snapshot,
    was: Meant,
    matrix: HistoryMatrix,
    expected: Sequence[str],
    settings: Settings,
) -> dict[str, Any]:
    """What the deployment was to do and what it did, as deltas from before to after."""
    name, new = explained.case.environment, explained.case.actual
    scope = scope_of(settings, old, new)
    actual = compare(old, new, scope=scope).deltas
    done = explained.case.applied
    intended = compare(was.applied.final, done.final, scope=scope).deltas if was.applied and done else []
    meant, did = {_change(d): d for d in intended}, {_change(d): d for d in actual}
    unintended = [d for key, d in did.items() if key not in meant]
    absent = [d for key, d in meant.items() if key not in did]
    # A new table counts as made, whatever its columns; what is odd inside it is drift that was not there before.
    covered = {d.key for d in (*unintended, *absent)}
    known = {_change(d) for d in _drift(was, old, scope)}
    fresh = (d for d in _drift(explained.meant, new, scope) if _change(d) not in known)
    unintended += [d for d in fresh if d.key not in covered]

    def applied(row: Any, side: str) -> bool:
        cell = row.cells.get(side)
        return cell is not None and cell.state not in ("pending", "failed")

    deployed = [r for r in matrix.rows if applied(r, name) and not applied(r, "before")]
    due = [r for r in matrix.rows if not applied(r, "before") and (r.version in expected or r in deployed)]
    return {
        "before": _moment(old, matrix, "before"),
        "after": _moment(new, matrix, name),
        "deployed": [{"version": r.version, "name": r.name} for r in deployed],
        "intended": [d.as_dict() for d in intended],
        "actual": [d.as_dict() for d in actual],
        "unintended": [d.as_dict() for d in unintended],
        "absent": [d.as_dict() for d in absent],
        "ledger": [
            {
                "version": r.version,
                "name": r.name,
                "expected": r.version in expected,
                "recorded": applied(r, name),
            }
            for r in due
        ],
        "rollback": _rollback(intended),
        "preexisting": 0,
    }


def _drift(meant: Meant, snapshot: Snapshot, scope: Scope) -> list[Delta]:
    """How an environment differs from what its own ledger says was run."""
    if meant.applied is None:
        return []
    deltas = compare(meant.applied.final, translated(snapshot, meant.applied), scope=scope).deltas
    base = meant.base
    return [d for d in deltas if not (base and base.settles(d.kind, d.identity, d.attribute))]


def _moment(snapshot: Snapshot, matrix: HistoryMatrix, name: str) -> dict[str, Any]:
    return {
        "captured_at": snapshot.manifest["captured_at"],
        "fingerprint": snapshot.fingerprint,
        "head": matrix.environment(name).head,
    }


def _rollback(intended: Iterable[Delta]) -> list[str]:
    """What taking the deployment back would mean, object by object, in plain words."""
    from auditkit.catalog.kinds import KINDS

    notes = []
    for delta in intended:
        name = f"{delta.kind} {delta.identity}"
        if delta.change == "unexpected":
            loses = " (and the data in it)" if delta.kind in ("table", "table column") else ""
            notes.append(f"{KINDS[delta.kind].drop(delta.identity)}; removes the new {name}{loses}")
        elif delta.change == "missing":
            notes.append(f"make {name} again from the snapshot taken before; its data is gone")
        else:
            notes.append(f"set {delta.attribute} of {name} back to what the snapshot taken before says")
    return list(dict.fromkeys(notes))


def _of_this_deploy(explained: Explained, deploy: dict[str, Any]) -> list[Finding]:
    """The findings that concern this deployment; what was wrong before it is only counted.

    A change that slipped in and happens to agree with the migrations leaves no drift, so it gets a finding here.
    """
    from auditkit.causes.case import Evidence

    slipped = {(d["kind"], d["identity"]) for d in deploy["unintended"]}
    touched = slipped | {(d["kind"], d["identity"]) for d in deploy["absent"]}
    due = {item["version"] for item in deploy["ledger"] if item["expected"]}
    mine: list[Finding] = []
    covered: set[tuple[str, str]] = set()
    for finding in explained.findings:
        keys = {*finding.objects, *((d.kind, d.identity) for d in finding.deltas)}
        entry = finding.entry
        is_due = entry is not None and entry.version in due
        if keys & touched or is_due:
            if finding.cause == "missing_migration" and not is_due:
                continue  # not part of what was to be deployed
            if is_due and finding.severity == "low":
                finding.severity = "medium"
            mine.append(finding)
            covered |= keys
    for key in sorted(slipped - covered):
        deltas = [d for d in deploy["unintended"] if (d["kind"], d["identity"]) == key]
        mine.append(
            Finding(
                cause="manual_change",
                confidence="consistent",
                environment=explained.case.environment,
                title=f"{key[0]} {key[1]} changed during the deployment, and no deployed migration does that",
                objects=[key],
                severity="medium",
                evidence=[
                    Evidence(
                        "before and after",
                        f"{d['attribute'] or d['change']}: the replay of the deployment leaves it alone",
                    )
                    for d in deltas
                ],
            )
        )
    deploy["preexisting"] = len(explained.findings) - sum(f in mine for f in explained.findings)
    return mine
