"""One audit from beginning to end: read the environments, replay what was meant, explain, tell.

These functions are what the command line and the notebooks call; everything they use lives in the rooms of
the house (catalog → history → causes → resolve → report) and is joined only here.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import auditkit
from auditkit import config, server
from auditkit.catalog.capture import capture
from auditkit.catalog.compare import Comparison, Delta, Scope, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Case, Entry, Finding
from auditkit.causes.evidence import Calibration, calibrate
from auditkit.causes.explain import explain as find_causes
from auditkit.config import Settings, Source
from auditkit.connect import connect
from auditkit.errors import AuditError, ConfigError
from auditkit.history import ledgers, platform, standins
from auditkit.history.dialect import translated
from auditkit.history.files import Migration, Migrations, blobs, load_migrations
from auditkit.history.ledgers import History
from auditkit.history.shadow import Ground, Replay, Step, replay
from auditkit.history.split import join
from auditkit.history.states import Cell, HistoryMatrix, states
from auditkit.progress import silent
from auditkit.resolve.remedy import remedy

if TYPE_CHECKING:
    from auditkit.report.document import Audit
    from auditkit.report.rendering import RunDir

Progress = Callable[[int, int, str], None]


# --- reading ---------------------------------------------------------------------------------------


def take(source: Source, settings: Settings, *, progress: Progress = silent) -> Snapshot:
    """A snapshot of *source*: captured, loaded, or the end state of a replay of the migrations.

    Raises:
        ConnectionFailed, Unreadable, SnapshotCorrupt, ConfigError, ServerFailed: in one line each.
    """
    if source.type == "snapshot":
        if not Path(source.value).is_file():
            raise ConfigError(
                f"{source.name}: no such snapshot file: {source.value}; make one with "
                f"`auditkit snapshot ENV -o {source.value}`"
            )
        loaded = Snapshot.load(source.value)
        loaded.manifest["name"] = source.name
        return loaded
    if source.type == "live":
        progress(0, 1, f"Reading {source.name}")
        return _capture(source)
    return _end_state(source, settings, None, progress)[0].final


def _end_state(
    source: Source, settings: Settings, like: Snapshot | None, progress: Progress
) -> tuple[Replay, platform.Base]:
    """What the migrations lead to when they are replayed on a ground like that of the database *like*."""
    migrations = _migrations(settings, ref=source.value or None)
    ground, base = _ground(settings, like, migrations)
    result = replay(_steps(migrations), ground, progress=progress)
    if result.failures:
        failure = result.failures[0]
        step = result.steps[failure.step]
        raise AuditError(
            f"{source.name}: {step.file or step.version}:{failure.line}: cannot be replayed: {failure.message}; "
            "correct the migration, or compare with an environment instead"
        )
    result.final.manifest["name"] = source.name
    return result, base


def _capture(source: Source) -> Snapshot:
    """Catalog and ledgers of a live environment, over short read-only sessions."""
    with connect(source.conninfo, name=source.name) as connection:
        snapshot = capture(source.conninfo, name=source.name)
        snapshot.ledgers = ledgers.read_ledgers(connection)
    return snapshot


def _read_all(
    sources: Sequence[Source], settings: Settings, progress: Progress
) -> dict[str, Snapshot | AuditError]:
    """All environments at once; one that cannot be read does not stop the others."""

    def one(source: Source) -> Snapshot | AuditError:
        try:
            return take(source, settings)
        except ConfigError:
            raise
        except AuditError as error:
            return error

    found: dict[str, Snapshot | AuditError] = {}
    with ThreadPoolExecutor(max_workers=min(4, len(sources) or 1)) as pool:
        for number, (source, result) in enumerate(zip(sources, pool.map(one, sources), strict=True)):
            progress(number, len(sources), f"Reading {source.name}")
            found[source.name] = result
    return found


def diff(left: Source, right: Source, settings: Settings, *, progress: Progress = silent) -> dict[str, Any]:
    """The document ``auditkit.diff/1``: how *right* differs from *left*.

    Migrations beside a database are replayed on a ground like that database's: its platform and its operator's
    roles are no differences. ``equal`` is only true if everything could be read.
    """
    sources = (left, right)
    databases = [source for source in sources if source.type != "migrations"]
    with ThreadPoolExecutor(max_workers=2) as pool:
        taken = list(pool.map(lambda source: take(source, settings, progress=progress), databases))
    base = None
    if len(taken) == 1:
        result, base = _end_state(left if left.type == "migrations" else right, settings, taken[0], progress)
        there = translated(taken[0], result)
        sides = [result.final if source.type == "migrations" else there for source in sources]
    else:
        sides = taken or [take(source, settings, progress=progress) for source in sources]
    compared = compare(sides[0], sides[1], scope=scope_of(settings, *sides))
    if base:
        compared.deltas = [d for d in compared.deltas if not base.settles(d.kind, d.identity, d.attribute)]
    not_checked = [{"environment": s.manifest["name"], **n} for s in sides for n in s.manifest["not_checked"]]
    return {
        "format": "auditkit.diff/1",
        "left": left.name,
        "right": right.name,
        "equal": not compared.deltas and not any(item.get("blocking", True) for item in not_checked),
        "deltas": [_delta(delta) for delta in compared.deltas],
        "unmodelled": [{"environment": s.manifest["name"], **u} for s in sides for u in s.unmodelled],
        "not_checked": not_checked,
    }


def history(
    sources: Sequence[Source], settings: Settings, *, progress: Progress = silent
) -> tuple[HistoryMatrix, list[dict[str, Any]]]:
    """The matrix of migrations and environments, and what could not be read."""
    migrations = _migrations(settings)
    histories: dict[str, History] = {}
    problems: list[dict[str, Any]] = []
    unreached: list[AuditError] = []
    for number, source in enumerate(sources):
        progress(number, len(sources), f"Reading the ledger of {source.name}")
        try:
            if source.type == "live":
                with connect(source.conninfo, name=source.name) as connection:
                    found = ledgers.read_history(connection, migrations.tool)
            else:
                found = ledgers.choose(take(source, settings).ledgers, migrations.tool)
        except ConfigError:
            raise
        except AuditError as error:
            unreached.append(error)
            problems.append(_unreached(source.name, error))
            continue
        histories[source.name] = found
        problems += [{"environment": source.name, **item} for item in found.not_checked]
    if unreached and not histories:
        raise unreached[0]
    return states(migrations, histories), problems


def _unreached(name: str, error: AuditError) -> dict[str, Any]:
    # Messages say what happened, then what to do; the name has a place of its own here.
    why, _, fix = str(error).removeprefix(f"{name}: ").rpartition("; ")
    return {"environment": name, "what": "the environment", "why": why or fix, "fix": fix}


def _migrations(settings: Settings, ref: str | None = None) -> Migrations:
    return load_migrations(settings.root, tool=settings.tool, path=settings.migrations_path, ref=ref)


def scope_of(settings: Settings, *snapshots: Snapshot) -> Scope:
    """What is compared: all but the platform's own schemas, the ledger, and what the settings exclude."""
    managed: frozenset[str] = frozenset()
    if any(platform.is_supabase(snapshot) for snapshot in snapshots):
        managed = frozenset(platform.MANAGED_SCHEMAS)
    tables = {f"{r['schema']}.{r['table']}" for s in snapshots for r in s.ledgers}
    return Scope(
        managed=managed,
        still_compared=platform.USERS_KINDS,
        ledgers=frozenset(tables),
        schemas=frozenset(settings.schemas),
        rules=tuple(rule for rule in settings.ignore if rule.active()),
        owners=settings.owners,
        grants=settings.grants,
        comments=settings.comments,
    )


# --- what was meant --------------------------------------------------------------------------------


def _steps(migrations: Iterable[Migration]) -> list[Step]:
    return [Step(m.version, m.name, m.sql, m.path, m.transactional) for m in migrations if m.sql is not None]


def _ground(
    settings: Settings, snapshot: Snapshot | None, migrations: Migrations
) -> tuple[Ground, platform.Base]:
    """What the migrations of an environment are replayed on: a server like its own, its platform and roles."""
    texts = [m.sql for m in migrations if m.sql is not None]
    base = platform.base(snapshot, texts, supabase=migrations.tool == "supabase")
    ground = Ground(
        database=_database(snapshot, texts),
        role=settings.shadow_role or base.role,
        superuser=base.superuser,
        base=tuple(base.statements),
        platform=base.origin,
        notes=tuple(base.notes),
    )
    if settings.shadow_server:
        return replace(ground, server=settings.shadow_server), base
    wanted = standins.wanted([*base.statements, *texts])
    major = int(snapshot.manifest["server_version"]) // 10000 if snapshot else _own_major()
    binaries = server.find_binaries(major, wanted)
    base = replace(base, other_release=binaries.major != major)
    missing = [name for name in wanted if name not in binaries.extensions]
    files: dict[str, str] = {}
    written: list[standins.StandIn] = []
    if missing:
        with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
            written = standins.write(
                snapshot, missing, Path(folder), available=binaries.extensions, versions=wanted
            )
            files = {f.name: f.read_text("utf-8") for f in sorted(Path(folder, "extension").iterdir())}
    return replace(
        ground,
        binaries=binaries,
        extension_files=files,
        stand_ins=tuple({"extension": s.extension, "says": s.says} for s in written),
    ), base


def _database(snapshot: Snapshot | None, texts: Sequence[str]) -> str:
    """The audited database's name if a migration mentions it, else one name for all: replays are then shared."""
    name = str(snapshot.manifest["database"]) if snapshot else "postgres"
    return name if any(name in text for text in texts) else "postgres"


def _own_major() -> int:
    """Without a database to be like, the embedded server decides, not what extensions a system server has."""
    return server.find_binaries().major


@dataclass
class _Meant:
    """What one environment was meant to be, and what its ledger says was done to it."""

    entries: list[Entry]
    intended: Replay | None
    applied: Replay | None
    notes: list[dict[str, Any]] = field(default_factory=list)
    base: platform.Base | None = None
    needs: dict[str, set[str]] = field(default_factory=dict)


def _meant(
    name: str,
    snapshot: Snapshot,
    matrix: HistoryMatrix,
    migrations: Migrations,
    settings: Settings,
    progress: Progress,
) -> _Meant:
    """Replay the files and the ledger of one environment."""
    notes: list[dict[str, Any]] = []
    code = [m for m in migrations if m.sql is None]
    if code:
        notes.append(
            {
                "environment": name,
                "what": f"{len(code)} of {len(migrations)} migrations",
                "why": f"they are code ({migrations.tool}), which is not replayed yet",
                "fix": "compare with another environment: --baseline NAME",
            }
        )
        return _Meant(_entries(name, matrix, {}, {}), None, None, notes)
    ground, base = _ground(settings, snapshot, migrations)
    files = _steps(migrations)
    intended = replay(files, ground, progress=progress)
    if base.other_release:
        notes.append(
            {
                "environment": name,
                "what": "the versions of extensions",
                "why": f"{name} is {snapshot.manifest['server']} and the shadow {intended.server}, "
                "and each comes with its own",
                "fix": "have AUDITKIT_PG_BINDIR name the programs of the same major version",
                "blocking": False,
            }
        )
    done, place, lost = _done(name, matrix, migrations)
    for label in lost:
        notes.append(
            {
                "environment": name,
                "what": f"the effect of {label}",
                "why": "it is recorded, but its text is neither in the ledger nor in a file",
                "fix": "bring the branch that has it",
            }
        )
    applied = (
        intended
        if [s.sql for s in done] == [s.sql for s in files]
        else replay(done, ground, progress=progress, continued=False)
    )
    entries = _entries(name, matrix, {m.path: n for n, m in enumerate(migrations)}, place)
    needs = _needs(entries, files, ground, progress)
    replays = {"the migrations": intended} | (
        {} if applied is intended else {"what the ledger records": applied}
    )
    for which, result in replays.items():
        for failure in result.failures:
            step = result.steps[failure.step]
            notes.append(
                {
                    "environment": name,
                    "what": f"{step.file or step.version}, line {failure.line}",
                    "why": f"replaying {which} failed there: {failure.message}",
                    "fix": "correct the migration, or name a server that can run it: [shadow] server",
                    # What the ledger's order or text cannot do in the shadow is a clue, not a hole.
                    "blocking": result is intended,
                }
            )
    return _Meant(entries, intended, applied, notes, base, needs)


def _needs(
    entries: Sequence[Entry], files: Sequence[Step], ground: Ground, progress: Progress
) -> dict[str, set[str]]:
    """Which pending migrations cannot run without one that was skipped: asked of a replay without it.

    Only where an environment went on without a migration, and only for the first three such.
    """
    pending = [e for e in entries if e.intended is not None and e.applied is None]
    last = max((e.intended for e in entries if e.intended is not None and e.applied is not None), default=-1)
    found: dict[str, set[str]] = {}
    for root in pending:
        explained = {label for labels in found.values() for label in labels}
        if root.intended is None or root.intended > last or root.label in explained or len(found) == 3:
            continue
        later = {
            e.intended: e.label for e in pending if e.intended is not None and e.intended > root.intended
        }
        if not later:
            break
        rest = [step for n, step in enumerate(files) if n != root.intended]
        without = replay(rest, ground, progress=progress, continued=False)
        failed = {failure.step + (failure.step >= root.intended) for failure in without.failures}
        found[root.label] = {later[n] for n in failed if n in later}
    return {root: labels for root, labels in found.items() if labels}


def _earlier_texts(
    name: str,
    meant: _Meant,
    snapshot: Snapshot,
    deltas: Sequence[Delta],
    matrix: HistoryMatrix,
    migrations: Migrations,
    progress: Progress,
) -> None:
    """Where a ledger does not tell what was run, and git has another text that explains a delta: take that.

    Of every file that was edited after it was added and has to do with a delta that neither replay explains,
    the text of its time (or the first one) is replayed, all in one go.
    """
    applied = meant.applied
    if applied is None or applied.ground is None:
        return
    open_keys = {d.key for d in deltas if not _agrees(applied, snapshot, d.key)}
    rows = {row.file: row for row in matrix.rows if row.migration}
    steps, suspects = list(applied.steps), {}
    for number, entry in enumerate(meant.entries):
        if entry.applied is None or entry.content == "different" or not entry.edits or not open_keys:
            continue
        row = rows[entry.file]
        assert row.migration
        earlier = blobs(migrations, row.migration)
        at = (cell.row or {}).get("applied_at") if (cell := row.cells.get(name)) else None
        text = next(
            (b for b in earlier if at and b.commit.committed_at <= at), earlier[-1] if earlier else None
        )
        if text is None or text.migration.sql is None:
            continue
        footprint = set(applied.footprint(entry.applied))
        if open_keys & footprint or any(_last_name(key) in text.migration.sql for key in open_keys):
            steps[entry.applied] = replace(steps[entry.applied], sql=text.migration.sql)
            suspects[number] = entry
    if not suspects:
        return
    tried = replay(steps, applied.ground, progress=progress, continued=False)
    gained = {key for key in open_keys if _agrees(tried, snapshot, key)}
    for number, entry in suspects.items():
        assert entry.applied is not None
        if gained & {*tried.footprint(entry.applied), *applied.footprint(entry.applied)}:
            meant.applied = tried
            migration = rows[entry.file].migration
            edit = migration.git.edited_later[-1] if migration and migration.git else None
            meant.entries[number] = replace(
                entry,
                content="different",
                from_git=True,
                commit=edit.id if edit else entry.commit,
                author=edit.author if edit else entry.author,
            )


def _agrees(result: Replay, snapshot: Snapshot, key: tuple[str, str]) -> bool:
    left, right = result.final.get(*key), snapshot.get(*key)
    return left is right if left is None or right is None else left.attributes == right.attributes


def _last_name(key: tuple[str, str]) -> str:
    return key[1].split(" on ")[0].split("(")[0].rsplit(".", 1)[-1].strip('"')


def _done(
    name: str, matrix: HistoryMatrix, migrations: Migrations
) -> tuple[list[Step], dict[int, int], list[str]]:
    """The steps that the ledger of an environment records, in its order.

    Returns the steps; for each matrix row (by index) its place among them; and what is recorded but has no text.
    """
    cells = {n: row.cells[name] for n, row in enumerate(matrix.rows) if name in row.cells}
    if not cells:  # an unreadable ledger: nothing better is known than that the files were applied
        files = _steps(migrations)
        paths = {step.file: i for i, step in enumerate(files)}
        return files, {n: paths[r.file] for n, r in enumerate(matrix.rows) if r.file in paths}, []
    order = {id(row): n for n, row in enumerate(matrix.environment(name).applied_rows)}
    ran = [n for n, cell in cells.items() if cell.state not in ("pending", "failed")]
    if order:
        ran.sort(key=lambda n: (order.get(id(cells[n].row), -1), n))
    steps: list[Step] = []
    place: dict[int, int] = {}
    lost: list[str] = []
    for n in ran:
        row, cell = matrix.rows[n], cells[n]
        sql = _text(row.migration, cell)
        if sql is None:
            lost.append(f"{row.version}_{row.name}".rstrip("_"))
            continue
        place[n] = len(steps)
        migration = row.migration
        steps.append(
            Step(row.version, row.name, sql, row.file, migration.transactional if migration else True)
        )
    return steps, place, lost


def _text(migration: Migration | None, cell: Cell) -> str | None:
    """The text that was run: the ledger's where it differs from the file, else the file's."""
    if migration is not None and cell.content != "different":
        return migration.sql
    if cell.row and cell.row["statements"]:
        return join(cell.row["statements"])
    if cell.blob:
        return cell.blob.migration.sql
    return migration.sql if migration else None


def _entries(
    name: str, matrix: HistoryMatrix, intended: Mapping[str, int], applied: Mapping[int, int]
) -> list[Entry]:
    entries = []
    for n, row in enumerate(matrix.rows):
        cell = row.cells.get(name)
        if cell is None and row.file is None:
            continue
        added = row.migration.added if row.migration else None
        edits = row.migration.git.edited_later if row.migration and row.migration.git else ()
        # An edit is blamed on who edited, everything else on who wrote it.
        commit = edits[-1] if cell and cell.state == "edited" and edits else added
        entries.append(
            Entry(
                version=row.version,
                name=row.name,
                file=row.file,
                state=cell.state if cell else "applied",
                intended=intended.get(row.file or ""),
                applied=applied.get(n),
                content=cell.content if cell else None,
                xmin=cell.row["xmin"] if cell and cell.row else None,
                age=cell.row["age"] if cell and cell.row else None,
                commit=commit.id if commit else None,
                author=commit.author if commit else None,
                edits=len(edits),
            )
        )
    return entries


# --- explain ---------------------------------------------------------------------------------------


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
    at: str = "",
    progress: Progress = silent,
) -> Audit:
    """What differs in the environments from what was meant, why, and what to do: an :class:`Audit`.

    Args:
        environments: names, sources, ``all``, or a comma-separated text of them.
        baseline: what was meant: ``migrations``, ``migrations@GITREF`` or another source.
        settings: the settings; read from *config_file* or found upward when not given.
        fail_on: the least severity with which the verdict is FAIL.
        schemas: compare these schemas only.
        taken: snapshots that were taken already, by environment.
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
    against = settings.source(baseline)
    migrations = (
        _migrations(settings, ref=against.value or None)
        if against.type == "migrations"
        else _optional(settings)
    )
    read = dict(taken) if taken else _read_all(sources, settings, progress)
    problems = [_unreached(name, error) for name, error in read.items() if isinstance(error, AuditError)]
    snapshots = {name: found for name, found in read.items() if isinstance(found, Snapshot)}
    if not snapshots:
        raise next(error for error in read.values() if isinstance(error, AuditError))
    meant = None if against.type == "migrations" else take(against, settings, progress=progress)
    chosen = {
        name: ledgers.choose(s.ledgers, migrations.tool if migrations else None)
        for name, s in snapshots.items()
    }
    matrix = states(migrations if migrations is not None else [], chosen)
    cases = [
        _case(name, snapshot, meant, matrix, migrations, settings, progress)
        for name, snapshot in snapshots.items()
    ]
    return _document(
        cases,
        matrix,
        snapshots=snapshots,
        problems=problems,
        settings=settings,
        baseline=baseline,
        fail_on=fail_on,
        notebook=notebook,
        command=command or f"auditkit explain {' '.join(s.name for s in sources)}",
        at=at,
        unreached=[s.name for s in sources if s.name not in snapshots],
    )


def _optional(settings: Settings) -> Migrations | None:
    try:
        return _migrations(settings)
    except ConfigError:
        return None


@dataclass
class _Explained:
    """One environment, explained."""

    case: Case
    compared: Comparison
    findings: list[Finding]
    calibration: Calibration
    meant: _Meant
    history: History

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What could not be checked."""
        return self.meant.notes


def _case(
    name: str,
    snapshot: Snapshot,
    meant: Snapshot | None,
    matrix: HistoryMatrix,
    migrations: Migrations | None,
    settings: Settings,
    progress: Progress,
) -> _Explained:
    history = ledgers.choose(snapshot.ledgers, migrations.tool if migrations else None)
    notes = [
        {"environment": name, **item} for item in (*history.not_checked, *snapshot.manifest["not_checked"])
    ]
    if meant is None:
        assert migrations is not None
        replayed = _meant(name, snapshot, matrix, migrations, settings, progress)
    else:
        replayed = _Meant(_entries(name, matrix, {}, {}), None, None)
    replayed.notes = notes + replayed.notes
    left = meant or (replayed.intended.final if replayed.intended else None)
    if replayed.intended:
        snapshot = translated(snapshot, replayed.intended)
    scope = scope_of(settings, snapshot)
    compared = compare(left, snapshot, scope=scope) if left else Comparison(deltas=[])
    if base := replayed.base:
        compared.deltas = [d for d in compared.deltas if not base.settles(d.kind, d.identity, d.attribute)]
    if migrations is not None:
        _earlier_texts(name, replayed, snapshot, compared.deltas, matrix, migrations, progress)
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
    )
    calibration = calibrate(case)
    findings = find_causes(case, calibration)
    return _Explained(case, compared, findings, calibration, replayed, history)


# --- the audit document ----------------------------------------------------------------------------


def _document(
    cases: Sequence[_Explained],
    matrix: HistoryMatrix,
    *,
    snapshots: Mapping[str, Snapshot],
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

    findings = worst_first({**_finding(f), "remedy": remedy(f, e.case)} for e in cases for f in e.findings)
    by_delta = {id(d): f.id for e in cases for f in e.findings for d in f.deltas}
    deltas = [
        {"environment": e.case.environment, **_delta(d), "finding": by_delta.get(id(d))}
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


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "kind": delta.kind,
        "identity": delta.identity,
        "change": delta.change,
        "attribute": delta.attribute,
        "left": _plain(delta.left),
        "right": _plain(delta.right),
    }


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


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
    }


def _environment(explained: _Explained, matrix: HistoryMatrix) -> dict[str, Any]:
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


def _timeline(cases: Sequence[_Explained], matrix: HistoryMatrix) -> list[dict[str, Any]]:
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


def _coverage(cases: Sequence[_Explained], settings: Settings) -> dict[str, Any]:
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
            {
                "rule": " ".join(
                    f"{k}={v}" for k, v in (("kind", r.kind), ("schema", r.schema), ("name", r.name)) if v
                ),
                "reason": r.reason,
                "until": r.until.isoformat() if r.until else None,
                "count": sum(e.compared.suppressed.get(r, 0) for e in cases),
                "active": r.active(),
            }
            for r in settings.ignore
        ],
    }


def _replay(cases: Sequence[_Explained], settings: Settings) -> dict[str, Any] | None:
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


# --- scheduled audits ------------------------------------------------------------------------------


def scheduled(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    history_dir: str = "",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    at: str = "",
    progress: Progress = silent,
) -> Audit:
    """:func:`explain`, plus what is new, resolved or persisting since the last run in *history_dir*."""
    from auditkit.report.document import Audit, compare_runs, past_runs, previous_audit

    settings = settings or config.load(config_file or None)
    runs = Path(history_dir) if history_dir else settings.out_dir
    audit = explain(
        environments,
        baseline=baseline,
        settings=settings,
        fail_on=fail_on,
        notebook="scheduled_audit",
        at=at,
        progress=progress,
    )
    document = dict(audit.document)
    document["command"] = "auditkit report scheduled_audit"
    document["since_last_run"] = compare_runs(previous_audit(runs, "scheduled_audit", baseline), document)
    document["runs"] = [r for r in past_runs(runs) if r["notebook"] == "scheduled_audit"]
    return Audit(document)


# --- after a deployment ----------------------------------------------------------------------------


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
    progress: Progress = silent,
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
    migrations = _migrations(settings)
    expected = [m.version for m in migrations]
    if expected_version:
        if expected_version not in expected:
            raise ConfigError(
                f"no migration has version {expected_version}; the newest is {expected[-1] if expected else 'none'}"
            )
        expected = expected[: expected.index(expected_version) + 1]
    new, old = take(source, settings, progress=progress), take(old_source, settings, progress=progress)
    chosen = {
        source.name: ledgers.choose(new.ledgers, migrations.tool),
        "before": ledgers.choose(old.ledgers, migrations.tool),
    }
    matrix = states(migrations, chosen)
    explained = _case(source.name, new, None, matrix, migrations, settings, progress)
    was = _meant("before", old, matrix, migrations, settings, progress)
    deploy = _deploy(explained, old, was, matrix, expected, settings)
    deploy["deployed_at"] = deployed_at or None
    explained.findings = _of_this_deploy(explained, deploy)
    audit = _document(
        [explained],
        HistoryMatrix(
            tuple(replace(r, cells={n: c for n, c in r.cells.items() if n != "before"}) for r in matrix.rows),
            tuple(e for e in matrix.environments if e.name != "before"),
            matrix.notes,
        ),
        snapshots={source.name: new},
        problems=[],
        settings=settings,
        baseline="migrations",
        fail_on=fail_on,
        notebook="post_deploy_review",
        command=f"auditkit verify {source.name} --before {Path(before).name}",
        at=at,
        extra={"deploy": deploy},
    )
    document = audit.document
    if document["verdict"] == "PASS":
        count = len(deploy["deployed"])
        document["headline"] = (
            f"The deployment did what was intended: {count} {'migration' if count == 1 else 'migrations'}, "
            f"{len(deploy['actual'])} changes to {source.name}, nothing else."
        )
    return audit


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
    explained: _Explained,
    old: Snapshot,
    was: _Meant,
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
        "intended": [_delta(d) for d in intended],
        "actual": [_delta(d) for d in actual],
        "unintended": [_delta(d) for d in unintended],
        "absent": [_delta(d) for d in absent],
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


def _drift(meant: _Meant, snapshot: Snapshot, scope: Scope) -> list[Delta]:
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


def _of_this_deploy(explained: _Explained, deploy: dict[str, Any]) -> list[Finding]:
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


# --- reports ---------------------------------------------------------------------------------------


def report(
    name: str,
    parameters: Mapping[str, str],
    *,
    settings: Settings | None = None,
    out_dir: str | None = None,
    fail_on: str | None = None,
    at: str = "",
    progress: Progress = silent,
) -> RunDir:
    """Run notebook *name* and write its HTML report, its ``audit.json`` and the index of all runs.

    Raises:
        ConfigError: there is no such notebook or parameter.
        NotebookFailed: a cell failed; the message names it.
    """
    from auditkit.report.parameters import validate
    from auditkit.report.rendering import render

    given = validate(name, dict(parameters))
    settings = settings or config.load(str(given.get("config") or "") or None)
    target = Path(out_dir) if out_dir else settings.out_dir
    try:  # said before the audit, which may take minutes
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written: {error.strerror}; choose another folder with --out-dir"
        ) from None
    value = {"baseline": "migrations", "history_dir": str(target), **{k: str(v) for k, v in given.items()}}
    if name == "scheduled_audit":
        made = scheduled(
            value.get("environments", "all"),
            baseline=value["baseline"],
            history_dir=value["history_dir"],
            settings=settings,
            fail_on=fail_on or value.get("fail_on"),
            at=at,
            progress=progress,
        )
    elif name == "post_deploy_review":
        made = verify(
            value.get("environment", "production"),
            before=value.get("before", ""),
            expected_version=value.get("expected_version", ""),
            deployed_at=value.get("deployed_at", ""),
            settings=settings,
            fail_on=fail_on,
            at=at,
            progress=progress,
        )
    else:
        made = explain(
            value.get("environment", "production"),
            baseline=value["baseline"],
            settings=settings,
            schemas=value.get("schemas", ""),
            fail_on=fail_on,
            notebook=name,
            command=f"auditkit report {name}",
            at=at,
            progress=progress,
        )
    progress(0, 1, f"Rendering {name}")
    return render(name, given, made, target)
