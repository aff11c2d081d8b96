"""Whether the files are ready to be deployed: what git, the files' versions and the other environments say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditkit.causes.case import Culprit
from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migrations
from auditkit.history.states import HistoryMatrix, MatrixRow
from auditkit.resolve.objections import Objection, object_to

__all__ = ["culprit_of", "pending_in", "ready"]

#: Their migrations have no numbers, but say which comes before which.
_GRAPHS = ("alembic", "django")


def culprit_of(row: MatrixRow) -> Culprit:
    """The migration of a row, as findings name it."""
    added = row.migration.added if row.migration else None
    return Culprit(
        row.version, row.name, row.file, None, added.id if added else None, added.author if added else None
    )


def pending_in(matrix: HistoryMatrix, name: str) -> list[MatrixRow]:
    """The files that an environment has not applied, in their order."""
    return [
        row
        for row in matrix.rows
        if row.migration is not None and name in row.cells and row.cells[name].state == "pending"
    ]


def ready(
    matrix: HistoryMatrix, migrations: Migrations, name: str, earlier: Sequence[str]
) -> list[Objection]:
    """What speaks against deploying the pending files to *name*.

    Args:
        matrix: of all environments that could be read.
        earlier: the environments that come before it.
    """
    pending = pending_in(matrix, name)
    return [
        *_failed(matrix, name),
        *_committed(pending, name),
        *_edited(matrix, name, pending),
        *_twice(matrix, migrations, name, pending),
        *_late(matrix, migrations, name, pending),
        *_heads(migrations, name),
        *_promoted(pending, name, earlier),
    ]


def _failed(matrix: HistoryMatrix, name: str) -> Iterator[Objection]:
    for row in matrix.rows:
        cell = row.cells.get(name)
        if cell and cell.state == "failed":
            title = f"{_label(row)} is recorded as failed in {name}"
            notes = {"ledger": "; ".join(cell.notes)}
            yield object_to("failed_state", name, "high", title, culprit=culprit_of(row), evidence=notes)


def _committed(pending: Sequence[MatrixRow], name: str) -> Iterator[Objection]:
    for row in pending:
        git = row.migration.git if row.migration else None
        if git and (git.untracked or git.uncommitted):
            how = "is in no commit" if git.untracked else "is not as it was committed"
            yield object_to("uncommitted", name, "medium", f"{row.file} {how}", culprit=culprit_of(row))


def _edited(matrix: HistoryMatrix, name: str, pending: Sequence[MatrixRow]) -> Iterator[Objection]:
    """What was applied elsewhere and reads otherwise now: it was not this text that was tried there."""
    for row in matrix.rows:
        where = [other for other, cell in row.cells.items() if cell.state == "edited" and other != name]
        if where:
            here = row in pending
            title = f"{row.file} was edited after {_and(where)} had applied it"
            says = "It is pending here: what will be run is not what was tried there." if here else ""
            yield object_to(
                "edited_elsewhere",
                name,
                "high" if here else "low",
                title,
                culprit=culprit_of(row),
                evidence={"ledger": f"What {_and(where)} recorded differs from the file.", "pending": says},
            )


def _twice(
    matrix: HistoryMatrix, migrations: Migrations, name: str, pending: Sequence[MatrixRow]
) -> Iterator[Objection]:
    by_version: dict[str, list[MatrixRow]] = {}
    for row in matrix.rows:
        if row.migration and (row.version or migrations.tool != "flyway"):
            by_version.setdefault(row.version, []).append(row)
    for version, rows in by_version.items():
        if len(rows) > 1:
            files = [row.file or "" for row in rows]
            severity = "high" if any(row in pending for row in rows) else "low"
            title = f"version {version} is used by {_and(files)}"
            yield object_to("duplicate_version", name, severity, title, culprit=culprit_of(rows[-1]))


def _late(
    matrix: HistoryMatrix, migrations: Migrations, name: str, pending: Sequence[MatrixRow]
) -> Iterator[Objection]:
    layout = LAYOUTS.get(migrations.tool)
    if migrations.tool in _GRAPHS or layout is None or layout.listed:
        return
    places = {id(row): n for n, row in enumerate(matrix.rows)}
    done = [
        row for row in matrix.rows
        if row.migration and name in row.cells and row.cells[name].state not in ("pending", "failed")
    ]  # fmt: skip
    if not done:
        return
    last = done[-1]
    for row in pending:
        if row.version and places[id(row)] < places[id(last)] and row.version != last.version:
            yield object_to(
                "late_version",
                name,
                "medium",
                f"{row.file} comes before {last.version}, which {name} has applied already",
                culprit=culprit_of(row),
                evidence={"ledger": f"The last applied migration of {name} is {_label(last)}."},
            )


def _heads(migrations: Migrations, name: str) -> Iterator[Objection]:
    if migrations.tool != "alembic":
        return
    before = {version for migration in migrations for version in migration.depends}
    heads = [m for m in migrations if m.version not in before]
    if len(heads) > 1:
        title = f"the migrations have {len(heads)} heads: {_and([m.version for m in heads])}"
        yield object_to("several_heads", name, "high", title)


def _promoted(pending: Sequence[MatrixRow], name: str, earlier: Sequence[str]) -> Iterator[Objection]:
    """One objection for all that lack in the same environments."""
    lacking: dict[tuple[str, ...], list[MatrixRow]] = {}
    for row in pending:
        lacks = (o for o in earlier if o in row.cells and row.cells[o].state in ("pending", "failed"))
        lacking.setdefault(tuple(lacks), []).append(row)
    for without, rows in lacking.items():
        if without:
            labels = [_label(row) for row in rows]
            what = f"{labels[0]} is" if len(rows) == 1 else f"{len(rows)} pending migrations are"
            verb = "comes" if len(without) == 1 else "come"
            yield object_to(
                "not_promoted",
                name,
                "medium",
                f"{what} not on {_and(without)} yet, which {verb} before {name}",
                culprit=culprit_of(rows[0]) if len(rows) == 1 else None,
                evidence={"ledger": f"{_and(without)} lacks {_and(labels)}." if len(rows) > 1 else ""},
                subject="|".join(labels),
            )


def _label(row: MatrixRow) -> str:
    return "_".join(filter(None, (row.version, row.name)))


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
