"""From environments to an audit: read, replay, compare, find causes, tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from auditkit import config
from auditkit.audit.document import assemble
from auditkit.audit.earlier import try_earlier_texts
from auditkit.audit.explained import Explained
from auditkit.audit.guarding import section
from auditkit.audit.meant import Meant, entries_of, listed, meant_for, migrations_of
from auditkit.audit.reading import read_all, scope_of, take, unreachable
from auditkit.audit.unrecorded import try_unrecorded
from auditkit.catalog.compare import Comparison, compare, unfold
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.calibration import calibrate
from auditkit.causes.case import Case
from auditkit.causes.cloning import Clone, clones_of
from auditkit.causes.explain import explain as find_causes
from auditkit.causes.laboratory import Laboratory
from auditkit.config import Settings
from auditkit.errors import AuditError, ConfigError
from auditkit.history import ledgers, witnesses
from auditkit.history.dialect import translated
from auditkit.history.files import Migrations
from auditkit.history.states import HistoryMatrix, states
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.report.document import Audit


def explain(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    schemas: str | Sequence[str] = (),
    notebook: str | None = None,
    command: str = "",
    taken: Mapping[str, Snapshot] | None = None,
    logs: Sequence[str] = (),
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """What differs in the environments from what was meant, why, and what to do: an :class:`Audit`.

    Args:
        environments: names, sources, ``all``, or a comma-separated text of them.
        baseline: what was meant: ``migrations``, ``migrations@GITREF`` or another source.
        settings: the settings; read from *config_file* or found upward when not given.
        fail_on: the least severity with which the verdict is FAIL.
        schemas: compare these schemas only.
        taken: snapshots that were taken already, by environment.
        logs: files of the server's log, instead of those that the settings name; for one environment only.
        at: when the audit was made (ISO 8601), instead of now.

    Raises:
        ConfigError: an argument or a setting is wrong, or there are no migrations.
        ConnectionFailed: the only environment asked for cannot be reached.
    """
    settings = settings or config.load(config_file or None)
    wanted = [s.strip() for s in schemas.split(",")] if isinstance(schemas, str) else list(schemas)
    if any(wanted):
        settings = replace(settings, schemas=tuple(w for w in wanted if w))
    fail_on = config.check_severity(fail_on or settings.fail_on)
    sources = settings.sources(environments)
    if logs:
        if len(sources) != 1:
            raise ConfigError(
                '--log belongs to one environment; name only that, or write logs = ["…"] for each in auditkit.toml'
            )
        sources = [replace(sources[0], logs=tuple(logs))]
    against = settings.source(baseline)
    migrations = (
        migrations_of(settings, ref=against.value or None)
        if against.type == "migrations"
        else _optional(settings)
    )
    if migrations is not None:
        migrations = listed(migrations, settings)
    read = dict(taken) if taken else read_all(sources, settings, progress)
    problems = [unreachable(name, error) for name, error in read.items() if isinstance(error, AuditError)]
    snapshots = {name: found for name, found in read.items() if isinstance(found, Snapshot)}
    if not snapshots:
        raise next(error for error in read.values() if isinstance(error, AuditError))
    meant = None if against.type == "migrations" else take(against, settings, progress=progress)
    chosen = {name: ledgers.choose(s.ledgers, migrations) for name, s in snapshots.items()}
    matrix = states(migrations if migrations is not None else [], chosen)
    cases = [
        explain_one(
            name, snapshot, meant, matrix, migrations, settings, progress, clones=clones_of(name, snapshots)
        )
        for name, snapshot in snapshots.items()
    ]
    return assemble(
        cases,
        matrix,
        problems=problems,
        settings=settings,
        baseline=baseline,
        fail_on=fail_on,
        notebook=notebook,
        command=command or f"auditkit explain {' '.join(s.name for s in sources)}",
        at=at,
        unreached=[s.name for s in sources if s.name not in snapshots],
        extra={"policy": section(snapshots, settings, at)} if notebook == "scheduled_audit" else None,
    )


def _optional(settings: Settings) -> Migrations | None:
    try:
        return migrations_of(settings)
    except ConfigError:
        return None


def explain_one(
    name: str,
    snapshot: Snapshot,
    meant: Snapshot | None,
    matrix: HistoryMatrix,
    migrations: Migrations | None,
    settings: Settings,
    progress: Tell,
    *,
    clones: Sequence[Clone] = (),
) -> Explained:
    history = ledgers.choose(snapshot.ledgers, migrations)
    notes = [
        {"environment": name, **item}
        for item in (
            *history.not_checked,
            *snapshot.manifest["not_checked"],
            *witnesses.not_checked(snapshot),
        )
    ]
    if meant is None:
        assert migrations is not None
        replayed = meant_for(name, snapshot, matrix, migrations, settings, progress)
    else:
        replayed = Meant(entries_of(name, matrix, {}, {}), None, None)
    replayed.notes = notes + replayed.notes
    left = meant or (replayed.intended.final if replayed.intended else None)
    if replayed.intended:
        snapshot = translated(snapshot, replayed.intended)
    # A program's tool keeps its ledger in the shadow, too; the environment may have none yet.
    scope = scope_of(settings, snapshot, *([replayed.intended.final] if replayed.intended else []))
    base = replayed.base

    def held_against(state: Snapshot) -> Comparison:
        found = compare(state, snapshot, scope=scope)
        if base:
            found.deltas = [d for d in found.deltas if not base.settles(d.kind, d.identity, d.attribute)]
        return found

    ground = replayed.applied.ground if replayed.applied else None
    laboratory = Laboratory(ground, lambda state: held_against(state).deltas, progress) if ground else None
    if laboratory:
        try_unrecorded(replayed, laboratory, progress)
    compared = held_against(left) if left else Comparison(deltas=[])
    if replayed.applied and replayed.applied is not replayed.intended and compared.deltas:
        state = replayed.applied.final
        compared.deltas = unfold(compared.deltas, held_against(state).deltas, state)
    if migrations is not None and laboratory and compared.deltas:
        try_earlier_texts(name, replayed, laboratory, matrix.rows, migrations, progress)
    last = max(
        (
            n
            for n, row in enumerate(matrix.rows)
            if name in row.cells and row.cells[name].state not in ("pending", "failed")
        ),
        default=-1,
    )
    case = Case(
        environment=name,
        actual=snapshot,
        deltas=compared.deltas,
        entries=replayed.entries,
        intended=replayed.intended,
        applied=replayed.applied,
        ignored=scope.ignored_attributes,
        ledger_readable=history.readable,
        ledger_tool=history.tool or (migrations.tool if migrations else None),
        later_applied={row.version: n < last for n, row in enumerate(matrix.rows)},
        needs=replayed.needs,
        ordered=matrix.environment(name).ordered_by is not None,
        heard=witnesses.heard(snapshot),
        scope=scope,
        clones=clones,
        laboratory=laboratory,
    )
    calibration = calibrate(case)
    findings = find_causes(case, calibration)
    return Explained(case, compared, findings, calibration, replayed, history)
