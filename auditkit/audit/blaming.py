"""Which migration made an object what it is, and which version of the migrations a database is at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from auditkit.audit.meant import all_steps, ground_for, listed, meant_for, migrations_of
from auditkit.audit.reading import read_all, scope_of, take, unreachable
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings, Source
from auditkit.errors import AuditError, ToolFailed
from auditkit.history import ledgers
from auditkit.history.blame import Line, find
from auditkit.history.blame import blame as lines_of
from auditkit.history.describe import Description
from auditkit.history.describe import describe as nearest
from auditkit.history.dialect import translated
from auditkit.history.migration import label_of
from auditkit.history.shadow import Replay, replay
from auditkit.history.states import HistoryMatrix, states
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.history.files import Migration, Migrations
    from auditkit.history.git import Commit
    from auditkit.history.platform import Base


@dataclass(frozen=True)
class Known:
    """One source with what its migrations and its ledger make of it."""

    actual: Snapshot
    applied: Replay
    intended: Replay
    migrations: Migrations
    notes: Sequence[Mapping[str, Any]] = ()


def blame(
    source: Source, name: str, settings: Settings, *, removed: bool = False, progress: Tell = silent
) -> dict[str, Any]:
    """The document ``auditkit.blame/1``: the parts of the object *name*, each with what made it what it is in *source*.

    Raises:
        ConfigError: nothing is called so, or several things are; or there are no migrations.
        AuditError: the source cannot be read, or its migrations cannot be replayed.
    """
    known = _known(source, settings, progress)
    replays = [known.applied] if known.applied is known.intended else [known.applied, known.intended]
    key = find(name, known.actual, *replays)
    lines = lines_of(key, known.actual, known.applied, known.intended, removed=removed)
    files = _Files(known.migrations)
    return {
        "format": "auditkit.blame/1",
        "environment": source.name,
        "kind": key[0],
        "identity": key[1],
        "folder": files.folder,
        "lines": [_line(line, known, files) for line in files.prepared(lines, known)],
        "not_checked": [
            {"environment": source.name, **note} for note in known.notes if note.get("blocking", True)
        ],
    }


def _known(source: Source, settings: Settings, progress: Tell) -> Known:
    """The environment, what its ledger records, replayed, and what the files say, replayed."""
    if source.type == "migrations":
        migrations = listed(migrations_of(settings, ref=source.value or None), settings)
        made = _replayed(None, migrations, settings, progress)[0]
        if made is None:
            raise _not_replayed(source.name, migrations)
        return Known(made.final, made, made, migrations, [_failed(made)] if made.failures else [])
    actual = take(source, settings, progress=progress)
    migrations = listed(migrations_of(settings), settings)
    matrix = states(migrations, {source.name: ledgers.choose(actual.ledgers, migrations)})
    meant = meant_for(source.name, actual, matrix, migrations, settings, progress)
    if meant.intended is None or meant.applied is None:
        raise _not_replayed(source.name, migrations, meant.notes)
    actual = translated(actual, meant.intended)
    return Known(actual, meant.applied, meant.intended, migrations, meant.notes)


def _replayed(
    actual: Snapshot | None, migrations: Migrations, settings: Settings, progress: Tell
) -> tuple[Replay | None, Base | None]:
    """The files, replayed on what *actual* stands on; None for code that cannot be run."""
    ground, base = ground_for(settings, actual, migrations)
    try:
        return replay(all_steps(migrations, settings), ground, progress=progress), base
    except ToolFailed:
        return None, None


def _failed(made: Replay) -> dict[str, Any]:
    failure = made.failures[0]
    step = made.steps[failure.step]
    return {
        "what": f"{step.file or step.version}, line {failure.line}",
        "why": f"replaying it failed there: {failure.message}",
        "fix": "correct the migration, or name a server that can run it: [shadow] server",
    }


def _not_replayed(name: str, migrations: Migrations, notes: Iterable[Mapping[str, Any]] = ()) -> AuditError:
    for note in notes:
        return AuditError(
            f"{name}: {note['what']}: {note['why']}; without a replay nothing can be told: {note['fix']}"
        )
    return AuditError(
        f"{name}: the migrations are code ({migrations.tool}), which is not replayed; "
        "without a replay nothing can be told of them"
    )


# --- where a line of a migration is, and who wrote it --------------------------------------------------------


class _Files:
    """The files behind the steps of a replay, and git's word on their lines."""

    def __init__(self, migrations: Migrations) -> None:
        self.migrations = migrations
        self.by_path = {migration.path: migration for migration in migrations}
        # A file may hold several migrations.
        self.by_step: dict[tuple[str | None, str], Migration] = {(m.path, m.version): m for m in migrations}
        folders = {str(PurePosixPath(path).parent) for path in self.by_path}
        self.folder = commonpath(folders) if folders else ""
        self.commits: dict[tuple[str, int], Commit] = {}

    def prepared(self, lines: Sequence[Line], known: Known) -> Sequence[Line]:
        """*lines*, after git was asked about all of them: once for each file."""
        from auditkit.history.git import open_repository

        wanted: dict[str, set[int]] = {}
        for line in lines:
            migration, at = self.place(line, known)
            if migration is not None and at is not None:
                wanted.setdefault(migration.path, set()).add(at)
        repository, _ = open_repository(self.migrations.project.root) if wanted else (None, None)
        ref = self.migrations.ref
        for path, places in wanted.items() if repository else ():
            assert repository
            raw = self.by_path[path].raw
            found = repository.blame(path, raw, places, repository.resolve(ref) if ref else "HEAD")
            self.commits |= {(path, at): commit for at, commit in found.items()}
        return lines

    def place(self, line: Line, known: Known) -> tuple[Migration | None, int | None]:
        """The file of a line's migration, and the line in it where that can be told.

        What was run may differ from what the file says now: then the same line is looked for in the file.
        """
        if line.step is None or line.step < 0:
            return None, None
        step = (known.intended if line.intended else known.applied).steps[line.step]
        migration = self.by_step.get((step.file, step.version))
        if migration is None or line.at is None or migration.sql is None or migration.sql == step.sql:
            return migration, line.at
        ran, says = ([text.strip("; \t\r") for text in sql.split("\n")] for sql in (step.sql, migration.sql))
        wanted = ran[line.at - 1] if line.at <= len(ran) else ""
        same = [n for n, text in enumerate(says, 1) if wanted and text == wanted]
        return migration, same[0] if len(same) == 1 else None


def _line(line: Line, known: Known, files: _Files) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": line.kind,
        "identity": line.identity,
        "part": line.part,
        "text": line.text,
        "status": line.status,
        "says": line.says,
        "migration": None,
    }
    if line.step is None or line.step < 0:
        return found
    step = (known.intended if line.intended else known.applied).steps[line.step]
    migration, at = files.place(line, known)
    git = migration.git if migration else None
    if migration and at is None and line.at is not None and not line.says:
        found["says"] = "as it was run; the file says otherwise now"
    commit = files.commits.get((migration.path, at)) if migration and at else None
    if commit is None and git is not None and not (git.uncommitted and at):
        commit = git.last_commit if migration and migration.sql == step.sql else git.added
    found["migration"] = {
        "version": step.version,
        "name": step.name,
        "file": migration.path if migration else None,
        "line": at,
        "statement": line.statement,
        "commit": commit.id if commit else None,
        "author": commit.author if commit else None,
        "authored_at": commit.authored_at if commit else None,
    }
    return found


# --- which version --------------------------------------------------------------------------------------------


def describe(sources: Sequence[Source], settings: Settings, *, progress: Tell = silent) -> dict[str, Any]:
    """The document ``auditkit.describe/1``: which migration's replayed state each source equals or is nearest to.

    Raises:
        ConfigError: there are no migrations.
        AuditError: the only source cannot be read, or the migrations cannot be replayed.
    """
    migrations = listed(migrations_of(settings), settings)
    found, not_checked, errors = [], [], []
    for name, actual in read_all(sources, settings, progress).items():
        if isinstance(actual, AuditError):
            errors.append(actual)
            not_checked.append(unreachable(name, actual))
            continue
        history = ledgers.choose(actual.ledgers, migrations)
        matrix = states(migrations, {name: history})
        made, base = _replayed(actual, migrations, settings, progress)
        notes: Sequence[Mapping[str, Any]] = ()
        if made is None:
            meant = meant_for(name, actual, matrix, migrations, settings, progress)
            made, base = meant.intended, meant.base
            notes = meant.notes
        if made is None:
            errors.append(_not_replayed(name, migrations, notes))
            not_checked.append(unreachable(name, errors[-1]))
            continue
        if made.failures:
            not_checked.append({"environment": name, **_failed(made)})
        told = nearest(
            translated(actual, made),
            made,
            scope=scope_of(settings, actual),
            recorded=_recorded(name, matrix, made),
            settled=lambda d, base=base: bool(base and base.settles(d.kind, d.identity, d.attribute)),  # type: ignore[misc]
        )
        found.append(_described(name, told, made, matrix, actual))
        not_checked += [{"environment": name, **item} for item in actual.manifest["not_checked"]]
    if errors and not found:
        raise errors[0]
    return {"format": "auditkit.describe/1", "environments": found, "not_checked": not_checked}


def _recorded(name: str, matrix: HistoryMatrix, made: Replay) -> set[int]:
    """The steps whose migrations the ledger records as applied."""
    done = {
        (row.file, row.version)
        for row in matrix.rows
        if name in row.cells and row.cells[name].state not in ("pending", "failed", "unknown")
    }
    return {n for n, step in enumerate(made.steps) if (step.file, step.version) in done}


def _described(
    name: str, told: Description, made: Replay, matrix: HistoryMatrix, actual: Snapshot
) -> dict[str, Any]:
    deltas = [(d, since) for d, since in zip(told.deltas, told.since, strict=True) if not d.is_warning]
    labels = [label_of(s.version, s.name) for s in made.steps]
    parted = sorted({since for _, since in deltas if since is not None})
    step = made.steps[told.step] if told.step >= 0 else None
    label = labels[told.step] if step else "nothing"
    ledger = next((e for e in matrix.environments if e.name == name and e.tool), None)
    return {
        "name": name,
        "describe": label if told.exact else f"{label}+{len(deltas)}",
        "version": step.version if step else None,
        "migration": step.name if step else None,
        "file": step.file if step else None,
        "exact": told.exact,
        "changes": len(deltas),
        "since": labels[parted[0]] if parted else None,
        "by_no_migration": sum(since is None for _, since in deltas),
        "fingerprint": actual.fingerprint,
        "head": ledger.head if ledger else None,
        "later": len(made.steps) - 1 - told.step,
        "deltas": [
            {**d.as_dict(), "since": labels[since] if since is not None else None} for d, since in deltas
        ],
    }
