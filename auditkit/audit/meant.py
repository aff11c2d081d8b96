"""What an environment was meant to be: its files replayed, and what its ledger says was run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from auditkit import server
from auditkit.catalog.grants import quote
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Entry
from auditkit.config import Settings
from auditkit.errors import ToolFailed
from auditkit.history import platform, standins
from auditkit.history.files import Migration, Migrations, load_migrations
from auditkit.history.ledgers import LEDGERS
from auditkit.history.migration import label_of
from auditkit.history.shadow import Ground, Replay, Step, attempt, code, replay
from auditkit.history.shadow.code import Code, step_of, text_of
from auditkit.history.split import join
from auditkit.history.states import Cell, HistoryMatrix
from auditkit.progress import Tell

#: How many failures of one replay are told one by one; the rest mostly follows from them.
_TOLD = 3


def migrations_of(settings: Settings, ref: str | None = None) -> Migrations:
    return load_migrations(settings.root, tool=settings.tool, path=settings.migrations_path, ref=ref)


def steps_of(migrations: Iterable[Migration], by_tool: Code | None = None) -> list[Step]:
    """The steps that replay *migrations*; those that are code are left out if nothing is given that runs it."""
    return [step_of(m, by_tool) for m in migrations if m.sql is not None or by_tool]


def all_steps(migrations: Migrations, settings: Settings) -> list[Step]:
    """The steps that replay *migrations*, with those that are code, and those that installed packages bring.

    Raises:
        ToolFailed: code cannot be run here, or may not be.
    """
    return steps_of(code.listed(migrations, settings), code.code_of(migrations, settings))


def named_in(migrations: Migrations, migration: Migration) -> str:
    """What tells a migration from all others: its path, or its version where a file holds several (Liquibase)."""
    alone = sum(each.path == migration.path for each in migrations) == 1
    return migration.path if alone else migration.version


def listed(migrations: Migrations, settings: Settings) -> Migrations:
    """*migrations* as their tool has them, with those of installed packages; as they are if it cannot be asked."""
    try:
        return code.listed(migrations, settings)
    except ToolFailed:  # whoever replays them will say so
        return migrations


def ground_for(
    settings: Settings, snapshot: Snapshot | None, migrations: Migrations
) -> tuple[Ground, platform.Base]:
    """What the migrations of an environment are replayed on: a server like its own, its platform and roles."""
    texts = [text_of(m) for m in migrations]
    base = platform.base(snapshot, texts, supabase=migrations.tool == "supabase")
    ground = Ground(
        database=_database(snapshot, texts),
        role=settings.shadow_role or base.role,
        superuser=base.superuser,
        base=tuple(base.statements),
        platform=base.origin,
        notes=tuple(base.notes),
    )
    return _equipped(settings, ground, base, [snapshot], texts)


def ground_like(
    settings: Settings, snapshot: Snapshot, other: Snapshot, role: str = ""
) -> tuple[Ground, platform.Base]:
    """What *snapshot* is rebuilt on, so that SQL which turns it into *other* can be tried; no migration is run.

    *role*, by default the one that SQL will be run as there, runs it, as a superuser: what it makes then belongs to
    whom it should.
    """
    base = platform.base(snapshot, ())
    role = role or settings.shadow_role or platform.acting_role(snapshot)
    spaces = sorted(
        {
            str(fact.attributes["tablespace"])
            for side in (snapshot, other)
            for kind in ("table", "index", "materialized view")
            for fact in side.iter(kind)
            if fact.attributes.get("tablespace")
        }
    )
    more = [f"ALTER ROLE {quote(role)} SUPERUSER LOGIN"]
    if spaces and not settings.shadow_server:  # on a server of the user's they would stay
        more.append("SET allow_in_place_tablespaces = on")
        more += [f"CREATE TABLESPACE {quote(space)} LOCATION ''" for space in spaces]
    ground = Ground(
        role=role,
        superuser=base.superuser,
        base=(*base.statements, *more),
        platform=base.origin,
        notes=tuple(base.notes),
    )
    extensions = [f for side in (snapshot, other) for f in side.iter("extension")]
    texts = [
        f"CREATE EXTENSION {f.identity} VERSION {quote(str(f.attributes['version']))}" for f in extensions
    ]
    return _equipped(settings, ground, base, [snapshot, other], texts)


def _equipped(
    settings: Settings,
    ground: Ground,
    base: platform.Base,
    snapshots: Sequence[Snapshot | None],
    texts: Sequence[str],
) -> tuple[Ground, platform.Base]:
    """*ground* with a server of the first snapshot's major version, and stand-ins for extensions it lacks."""
    if settings.shadow_server:
        return replace(ground, server=settings.shadow_server), base
    wanted = standins.wanted([*base.statements, *texts])
    first = snapshots[0]
    major = int(first.manifest["server_version"]) // 10000 if first else _own_major()
    binaries = server.find_binaries(major, wanted)
    base = replace(base, other_release=binaries.major != major)
    missing = [name for name in wanted if name not in binaries.extensions]
    files: dict[str, str] = {}
    written: list[standins.StandIn] = []
    for source in snapshots:
        left = [name for name in missing if name not in {stand_in.extension for stand_in in written}]
        if source is not snapshots[-1] and source is not None:
            left = [name for name in left if source.get("extension", quote(name))]
        if left:
            with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
                written += standins.write(
                    source, left, Path(folder), available=binaries.extensions, versions=wanted
                )
                files |= {f.name: f.read_text("utf-8") for f in sorted(Path(folder, "extension").iterdir())}
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
class Meant:
    """What one environment was meant to be, and what its ledger says was done to it."""

    entries: list[Entry]
    intended: Replay | None
    applied: Replay | None
    notes: list[dict[str, Any]] = field(default_factory=list)
    base: platform.Base | None = None
    needs: dict[str, set[str]] = field(default_factory=dict)


def meant_for(
    name: str,
    snapshot: Snapshot,
    matrix: HistoryMatrix,
    migrations: Migrations,
    settings: Settings,
    progress: Tell,
) -> Meant:
    """Replay the files and the ledger of one environment."""
    notes: list[dict[str, Any]] = []
    ground, base = ground_for(settings, snapshot, migrations)
    try:
        by_tool = code.code_of(migrations, settings)
        files = steps_of(migrations, by_tool)
        intended = replay(files, ground, progress=progress)
    except ToolFailed as error:
        programs = sum(m.sql is None for m in migrations)
        why, _, fix = str(error).rpartition("; ")
        what = f"{programs} of {len(migrations)} migrations"
        notes.append({"environment": name, "what": what, "why": why or fix, "fix": fix})
        entries = [e for e in entries_of(name, matrix, {}, {}) if not _of_a_package(e, migrations)]
        return Meant(entries, None, None, notes)
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
    done, place, lost = _done(name, matrix, migrations, by_tool)
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
    entries = entries_of(name, matrix, {(m.path, m.version): n for n, m in enumerate(migrations)}, place)
    needs = _needs(entries, intended, ground, progress)
    replays = {"the migrations": intended} | (
        {} if applied is intended else {"what the ledger records": applied}
    )
    for which, result in replays.items():
        more = len(result.failures) - _TOLD
        for number, failure in enumerate(result.failures[:_TOLD], 1):
            step = result.steps[failure.step]
            after = f" ({more} more failed after it)" if more > 0 and number == _TOLD else ""
            notes.append(
                {
                    "environment": name,
                    "what": f"{step.file or step.version}, line {failure.line}",
                    "why": f"replaying {which} failed there: {failure.message}{after}",
                    "fix": "correct the migration, or name a server that can run it: [shadow] server",
                    # What the ledger's order or text cannot do in the shadow is a clue, not a hole.
                    "blocking": result is intended,
                }
            )
    return Meant(entries, intended, applied, notes, base, needs)


def _of_a_package(entry: Entry, migrations: Migrations) -> bool:
    """Whether a ledger's row without a file is of a Django app that is not the project's, as far as that is known."""
    apps = {m.version.partition(".")[0] for m in migrations}
    return (
        migrations.tool == "django"
        and entry.state == "unknown"
        and entry.version.partition(".")[0] not in apps
    )


def _needs(entries: Sequence[Entry], intended: Replay, ground: Ground, progress: Tell) -> dict[str, set[str]]:
    """Which pending migrations cannot run without one that was skipped, but could with it: asked of a replay without it.

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
        rest = [step for n, step in enumerate(intended.steps) if n != root.intended]
        without = attempt(rest, ground, progress=progress)
        failed = {failure.step + (failure.step >= root.intended) for failure in without.failures}
        failed -= {failure.step for failure in intended.failures}
        found[root.label] = {later[n] for n in failed if n in later}
    return {root: labels for root, labels in found.items() if labels}


def _done(
    name: str, matrix: HistoryMatrix, migrations: Migrations, by_tool: Code | None
) -> tuple[list[Step], dict[int, int], list[str]]:
    """The steps that the ledger of an environment records, in its order.

    Returns the steps; for each matrix row (by index) its place among them; and what is recorded but has no text.
    """
    cells = {n: row.cells[name] for n, row in enumerate(matrix.rows) if name in row.cells}
    if not cells:  # an unreadable ledger: nothing better is known than that the files were applied
        files = steps_of(migrations, by_tool)
        paths = {(step.file, step.version): i for i, step in enumerate(files)}
        return (
            files,
            {n: paths[r.file, r.version] for n, r in enumerate(matrix.rows) if (r.file, r.version) in paths},
            [],
        )
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
            lost.append(label_of(row.version, row.name))
            continue
        place[n] = len(steps)
        migration = row.migration or (cell.blob.migration if cell.blob else None)
        program = by_tool if migration and migration.sql is None else None
        transactional = row.migration.transactional if row.migration else True
        path = migration.path if migration and program else row.file
        steps.append(Step(row.version, row.name, sql, path, transactional, program))
    return steps, place, lost


def _text(migration: Migration | None, cell: Cell) -> str | None:
    """The text that was run: the ledger's where it differs from the file, else the file's."""
    if migration is not None and cell.content != "different":
        return text_of(migration)
    if cell.row and cell.row["statements"]:
        return join(cell.row["statements"])
    if cell.blob:
        return text_of(cell.blob.migration)
    return text_of(migration) if migration else None


def _unseen(cell: Cell | None) -> bool:
    """Whether the ledger tells that another text was run, and neither it nor git has that text."""
    return bool(
        cell and cell.content == "different" and not (cell.row and cell.row["statements"]) and not cell.blob
    )


def entries_of(
    name: str, matrix: HistoryMatrix, intended: Mapping[tuple[str, str], int], applied: Mapping[int, int]
) -> list[Entry]:
    entries = []
    ledger = LEDGERS.get(matrix.environment(name).tool or "")
    tells = ledger is not None and "'marked'" in ledger.recorded_as
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
                intended=intended.get((row.file or "", row.version)),
                applied=applied.get(n),
                content=cell.content if cell else None,
                xmin=cell.row["xmin"] if cell and cell.row else None,
                commit=commit.id if commit else None,
                author=commit.author if commit else None,
                edits=len(edits),
                unseen=_unseen(cell),
                marked=bool(cell and cell.row and cell.row.get("recorded_as") == "marked"),
                executed=tells and bool(cell and cell.row and cell.row.get("recorded_as") == "run"),
                recorded_as=cell.row["version"] if cell and cell.row and cell.state == "restamped" else None,
            )
        )
    return entries
