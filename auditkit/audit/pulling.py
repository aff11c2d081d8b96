"""Bringing the migrations up to what an environment holds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from auditkit.audit.meant import all_steps, listed, migrations_of, steps_of
from auditkit.audit.reading import Sides, compared_sides, scope_of
from auditkit.catalog.compare import Delta, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings, Source
from auditkit.errors import ConfigError
from auditkit.history import drafts, ledgers
from auditkit.history.dialect import translated
from auditkit.history.files import Migration, Migrations
from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import with_content
from auditkit.history.shadow import Ground, Replay, Step, replay
from auditkit.history.shadow.code import Code, code_of
from auditkit.history.states import states
from auditkit.progress import Tell, silent
from auditkit.resolve import closing, remedy, script
from auditkit.resolve.records import Book


def pull(
    environment: Source,
    settings: Settings,
    *,
    name: str = "",
    dry_run: bool = False,
    guess_renames: bool = True,
    progress: Tell = silent,
) -> dict[str, Any]:
    """The document ``auditkit.pull/1``: a migration that makes of the migrations what *environment* holds.

    It is proven by a replay of the migrations with it, which must equal the environment, and of its way back.
    Only then it is written, unless *dry_run*; nothing is written to the environment.

    Raises:
        ConfigError: the environment lacks migrations, which this one would undo; or the tool's are programs.
    """
    migrations = listed(migrations_of(settings), settings)
    sides = compared_sides(Source("migrations", "migrations", ""), environment, settings, progress)
    wanted = [*filter(script.changeable, sides.compared)]
    document: dict[str, Any] = {
        "format": "auditkit.pull/1",
        "environment": environment.name,
        "tool": migrations.tool,
        "deltas": [delta.as_dict() for delta in sides.compared],
        "notes": script.notes(sides.compared),
        "not_checked": sides.right.manifest["not_checked"],
        "files": [],
        "written": False,
        "record": [],
        "proof": None,
    }
    if not wanted:
        return document
    _refuse_pending(environment.name, sides.right, migrations)
    _refuse_empty(environment.name, sides.right, migrations, wanted)
    assert sides.replay
    ground = sides.replay.ground
    assert ground
    steps = sides.steps(guess=guess_renames)
    groups = list(script.transactions(steps))
    title = f"Brings the migrations up to what {environment.name} holds."
    slug = _slug(name) or f"pull_{_slug(environment.name)}"
    first = drafted(migrations, slug, groups, [], title)
    files, program = all_steps(migrations, settings), code_of(migrations, settings)
    there = replay([*files, *steps_of_drafts(first, program)], ground, progress=progress, continued=False)
    forward = _outcome(there, len(files), _left(there, sides, settings))
    back = _back(there.final, sides.left, settings, ground, guess_renames)
    made = drafted(migrations, slug, groups, back, title)
    document["files"] = [
        {"path": path, "version": each.migration.version, "name": each.migration.name, "text": text}
        for each in made
        for path, text in each.files.items()
    ]
    returned = _returned(
        files, steps_of_drafts(made, program), made[-1], ground, sides.left, settings, progress
    )
    document["proof"] = {
        "proven": forward["proven"] and returned["proven"],
        "forward": forward,
        "back": returned,
    }
    document["record"] = _records(made, sides.right, migrations)
    if document["proof"]["proven"] and not dry_run:
        drafts.write(migrations.project.root, made)
        document["written"] = True
    return document


def _records(made: Sequence[drafts.Draft], snapshot: Snapshot, migrations: Migrations) -> list[str]:
    """The commands that record the new files where they came from: the tool's, else the row that it would write."""
    known = (remedy.record(migrations.tool, m.migration.version, m.migration.name) for m in made)
    if found := [command for command in known if command]:
        return found
    table = ledgers.choose(snapshot.ledgers, migrations).table
    record = next((r for r in snapshot.ledgers if f"{r['schema']}.{r['table']}" == table), None)
    if record is None or not (book := Book.of(record, migrations.tool)).writable:
        return []
    rows = ";\n".join(book.record(_with_text(each, migrations.tool)) for each in made)
    return [f'psql "$DATABASE_URL" -c {shlex.quote(rows)}']


def _with_text(draft: drafts.Draft, tool: str) -> Migration:
    """The migration as it will be read."""
    text = draft.files[draft.migration.path]
    return with_content(LAYOUTS[tool], draft.migration, text.encode())


def _refuse_pending(name: str, snapshot: Snapshot, migrations: Migrations) -> None:
    """Where the environment lacks a migration, that would be taken for a change to capture, and undone."""
    history = ledgers.choose(snapshot.ledgers, migrations)
    if history.tool is None or not history.readable:
        return
    matrix = states(migrations, {name: history})
    pending = [
        row.file or row.version
        for row in matrix.rows
        if row.cells.get(name) and row.states[name] == "pending"
    ]
    if pending:
        raise ConfigError(
            f"{name} lacks {len(pending)} of the migrations, which a pull would undo: {', '.join(pending)}; "
            f"apply them to {name} first, or record them there if what they do is there already"
        )


def _refuse_empty(name: str, snapshot: Snapshot, migrations: Migrations, wanted: Sequence[Delta]) -> None:
    """A database in which no migration was ever run has nothing to pull: the file would drop all that the others make."""
    history = ledgers.choose(snapshot.ledgers, migrations)
    if history.tool is None and all(delta.change == "missing" for delta in wanted):
        raise ConfigError(
            f"{name} has no history of migrations, and only lacks what they make; a pull would drop all of it everywhere "
            f"else: run the migrations on {name} first"
        )


def drafted(
    migrations: Migrations,
    name: str,
    groups: Sequence[tuple[bool, list[closing.Step]]],
    back: Sequence[closing.Step],
    title: str,
) -> list[drafts.Draft]:
    """One file for each transaction; the last one holds the way back of all."""
    parts = []
    for number, (alone, group) in enumerate(groups, 1):
        down = back if number == len(groups) else ()
        loose = tuple(script.SETTING if script.loose(steps) else "" for steps in (group, down))
        parts.append(drafts.Part(_texts(group), _texts(down), alone, (loose[0], loose[1])))
    return drafts.draft(migrations, name, parts, title=title)


def _texts(steps: Iterable[closing.Step]) -> list[str]:
    return ["\n".join(script.statement(step)) for step in steps]


def steps_of_drafts(made: Iterable[drafts.Draft], program: Code | None) -> list[Step]:
    return steps_of((each.migration for each in made), program)


def _left(there: Replay, sides: Sides, settings: Settings) -> list[Delta]:
    """What the environment still has otherwise."""
    wanted = translated(sides.right, there)
    found = compare(there.final, wanted, scope=scope_of(settings, there.final, wanted))
    base = sides.base
    return [
        delta
        for delta in found
        if script.changeable(delta)
        and not (base and base.settles(delta.kind, delta.identity, delta.attribute))
    ]


def _back(
    there: Snapshot, before: Snapshot, settings: Settings, ground: Ground, guess_renames: bool
) -> list[closing.Step]:
    there.manifest["role"] = ground.role
    scope = scope_of(settings, there, before)
    return Sides(there, before, compare(there, before, scope=scope), scope).steps(guess=guess_renames)


def _returned(
    files: Sequence[Step],
    made: Sequence[Step],
    last: drafts.Draft,
    ground: Ground,
    before: Snapshot,
    settings: Settings,
    progress: Tell,
) -> dict[str, Any]:
    """What came of the way back: it must lead to what the migrations were without the new one."""
    down = Step(f"{last.migration.version}.down", "the way back", last.down)
    result = replay([*files, *made, down], ground, progress=progress, continued=False)
    found = compare(result.final, before, scope=scope_of(settings, result.final, before))
    outcome = _outcome(result, len(files) + len(made), [*filter(script.changeable, found)])
    return {**outcome, "sql": last.down}


def _outcome(result: Replay, known: int, left: Sequence[Delta]) -> dict[str, Any]:
    failures = [f for f in result.failures if f.step >= known]
    error = f"{failures[0].statement}: {failures[0].message}" if failures else None
    return {
        "proven": not left and error is None,
        "left": [delta.as_dict() for delta in left],
        "error": error,
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
