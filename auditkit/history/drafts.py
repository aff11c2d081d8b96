"""New migration files: how each tool names them and what it wants around the statements, one entry per tool."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditkit.errors import ConfigError
from auditkit.history.files import Migration, Migrations
from auditkit.history.layouts import LAYOUTS
from auditkit.history.written import PROGRAMS, Asked

__all__ = ["Draft", "Part", "draft", "write", "writes"]


@dataclass(frozen=True)
class Part:
    """What one file is to do.

    Attributes:
        up: its statements, each with the comments above it.
        down: the way back, likewise.
        alone: it cannot share a transaction with others.
        setting: a SET to run first, up and down; empty if there is none.
    """

    up: Sequence[str]
    down: Sequence[str] = ()
    alone: bool = False
    setting: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Draft:
    """A migration that is not on disk yet.

    Attributes:
        migration: as it will be read, ``path`` relative to the project's root.
        files: path → text, of new files.
        down: the way back as SQL, whether or not the tool keeps one.
        changed: path → text, of files of the tool's own that list the migrations.
    """

    migration: Migration
    files: dict[str, str]
    down: str
    changed: dict[str, str]


@dataclass(frozen=True)
class _Convention:
    """How one tool wants a new file.

    Attributes:
        file: its path in the migrations' folder.
        wraps: the tool runs a file in a transaction of its own, so the file has no BEGIN.
        begins: the file says BEGIN and COMMIT itself.
        head: what stands above the statements; ``{alone}`` is replaced by ``alone`` or nothing.
        alone: what keeps the tool from opening a transaction.
        foot: what stands between the statements and the way back.
        down: the path of a file for the way back.
        each: what a statement is wrapped into, if it holds a semicolon.
        between: what stands between two statements.
        beside: a further file for a migration that cannot run in a transaction: name → text.
        stamp: how the tool writes the time.
    """

    file: str = "{version}_{name}.sql"
    wraps: bool = True
    begins: bool = False
    head: str = ""
    alone: str = ""
    foot: str = ""
    down: str = ""
    each: Callable[[str], str] = lambda statement: statement
    between: str = ""
    beside: tuple[str, str] = ("", "")
    stamp: Callable[[dt.datetime], str] = lambda now: now.strftime("%Y%m%d%H%M%S")


def _goose(statement: str) -> str:
    if statement.count(";") > 1:
        return f"-- +goose StatementBegin\n{statement}\n-- +goose StatementEnd"
    return statement


_CONVENTIONS = {
    "supabase": _Convention(head="{alone}", alone="-- pg-delta: transaction=false\n"),
    "dbmate": _Convention(
        head="-- migrate:up{alone}\n", alone=" transaction:false", foot="\n-- migrate:down{alone}\n"
    ),
    "goose": _Convention(
        head="{alone}-- +goose Up\n",
        alone="-- +goose NO TRANSACTION\n",
        foot="\n-- +goose Down\n",
        each=_goose,
    ),
    "prisma": _Convention(file="{version}_{name}/migration.sql", wraps=False),
    "drizzle": _Convention(between="--> statement-breakpoint\n"),
    "golang-migrate": _Convention(
        file="{version}_{name}.up.sql", wraps=False, begins=True, down="{version}_{name}.down.sql"
    ),
    "sqlx": _Convention(head="{alone}", alone="-- no-transaction\n"),
    "diesel": _Convention(
        file="{version}_{name}/up.sql",
        down="{version}_{name}/down.sql",
        beside=("{version}_{name}/metadata.toml", "run_in_transaction = false\n"),
        stamp=lambda now: now.strftime("%Y-%m-%d-%H%M%S"),
    ),
    "refinery": _Convention(file="V{version}__{name}.sql"),
    "flyway": _Convention(
        file="V{version}__{name}.sql", beside=("V{version}__{name}.sql.conf", "executeInTransaction=false\n")
    ),
    "node-pg-migrate": _Convention(
        head="-- Up Migration\n",
        foot="\n-- Down Migration\n",
        stamp=lambda now: str(int(now.timestamp() * 1000)),
    ),
    "plain": _Convention(wraps=False, begins=True),
}


def writes(tool: str) -> bool:
    """Whether a new file of that tool can be written."""
    return tool in _CONVENTIONS or tool in PROGRAMS


def draft(migrations: Migrations, name: str, parts: Sequence[Part], *, title: str) -> list[Draft]:
    """The files that do what *parts* say, named to run after all that are there.

    Raises:
        ConfigError: the tool's migrations are programs, or listed elsewhere.
    """
    if migrations.tool in PROGRAMS:
        return _programs(migrations, name, parts, title)
    convention = _CONVENTIONS.get(migrations.tool)
    if convention is None:
        raise ConfigError(
            f"auditkit does not write migrations of {migrations.tool}"
            f"{' (they are programs)' if LAYOUTS[migrations.tool].code else ''}; take the statements of "
            "`auditkit diff migrations ENV --sql` into one"
        )
    drafts: list[Draft] = []
    items = list(migrations)
    for number, part in enumerate(parts, 1):
        called = name if len(parts) == 1 else f"{name}_{number}"
        version = _version(migrations.tool, convention, items)
        made = _draft(migrations, convention, version, called, part, title, drafts[-1] if drafts else None)
        items.append(made.migration)
        drafts.append(made)
    return drafts


def _programs(migrations: Migrations, name: str, parts: Sequence[Part], title: str) -> list[Draft]:
    drafts = []
    for number, part in enumerate(parts, 1):
        called = name if len(parts) == 1 else f"{name}_{number}"
        up, down = (
            [*([f"SET {'' if part.alone else 'LOCAL '}{setting}"] if setting else []), *statements]
            for setting, statements in zip(part.setting, (part.up, part.down), strict=True)
        )
        made, text = PROGRAMS[migrations.tool](Asked(migrations, called, title, up, down, part.alone))
        back = _body(_Convention(wraps=False, begins=True), part.down, part.setting[1], alone=part.alone)
        drafts.append(Draft(made, {made.path: text}, back, {}))
        migrations = replace(migrations, items=(*migrations.items, made))
    return drafts


def _draft(
    migrations: Migrations,
    convention: _Convention,
    version: str,
    name: str,
    part: Part,
    title: str,
    last: Draft | None,
) -> Draft:
    folder = migrations.project.directories[0]
    words = {"version": version, "name": name}

    def path(template: str) -> str:
        local = template.format(**words)
        return local if folder == "." else f"{folder}/{local}"

    note = "-- It has a file of its own: what it adds can be used only once it is committed.\n"
    above = f"-- {title}\n" + note * part.alone
    up = _body(convention, part.up, part.setting[0], alone=part.alone)
    down = _body(convention, part.down, part.setting[1], alone=part.alone)
    head = convention.head.format(alone=convention.alone * part.alone)
    text = f"{head}{above}\n{up}"
    if convention.foot:
        text += convention.foot.format(alone=convention.alone * part.alone) + down
    migration = Migration(
        version.replace("-", ""), name, path(convention.file), up, transactional=not (part.alone and head)
    )
    files = {migration.path: text}
    if convention.down:
        files[path(convention.down)] = down
    if part.alone and convention.beside[0]:
        files[path(convention.beside[0])] = convention.beside[1]
    changed: dict[str, str] = {}
    if migrations.tool == "drizzle":
        migration, files, changed = _drizzle(migrations, migration, text, last)
    return Draft(migration, files, down, changed)


def _body(convention: _Convention, statements: Sequence[str], setting: str, *, alone: bool) -> str:
    if not statements:
        return "-- nothing to take back\n"
    lines = [convention.each(statement) + "\n" for statement in statements]
    if setting:
        lines.insert(0, ("SET LOCAL " if convention.wraps and not alone else "SET ") + f"{setting};\n")
    if convention.begins and not alone:
        lines = ["BEGIN;\n", *lines, "COMMIT;\n"]
    return convention.between.join(lines)


def _version(tool: str, convention: _Convention, items: Sequence[Migration]) -> str:
    """The version after all of *items*: counted on where they are counted, else the time."""
    taken = [item.version for item in items if re.fullmatch(r"[0-9][0-9.]*", item.version)]
    last = max(taken, key=lambda version: tuple(map(int, version.strip(".").split("."))), default="")
    number = last.partition(".")[0]
    counted = tool != "supabase" and 0 < len(number) <= 8
    if counted or (tool in ("refinery", "flyway") and not last):
        return str(int(number or 0) + 1).zfill(len(number))
    now = dt.datetime.now(dt.UTC)
    version = convention.stamp(now)
    if number and int(number) >= int(version.replace("-", "")):  # somebody's clock, or the second part
        later = str(int(number) + 1)
        return later if "-" not in version else f"{later[:4]}-{later[4:6]}-{later[6:8]}-{later[8:]}"
    return version


def _drizzle(
    migrations: Migrations, migration: Migration, text: str, last: Draft | None
) -> tuple[Migration, dict[str, str], dict[str, str]]:
    """Drizzle applies what its journal lists; newer projects have a folder for each migration and no journal."""
    project = migrations.project
    folder = project.directories[0]
    journal = f"{folder}/meta/_journal.json".removeprefix("./")
    if not (project.root / journal).is_file():
        place = f"{folder}/{migration.version}_{migration.name}/migration.sql".removeprefix("./")
        return replace(migration, path=place), {place: text}, {}
    listed = json.loads(last.changed[journal] if last else (project.root / journal).read_text("utf-8"))
    entries = listed["entries"]
    number = 1 + max((int(entry["idx"]) for entry in entries), default=-1)
    when = max(
        int(dt.datetime.now(dt.UTC).timestamp() * 1000), 1 + max((e["when"] for e in entries), default=0)
    )
    tag = f"{number:04}_{migration.name}"
    entries.append(
        {"idx": number, "version": listed.get("version", "7"), "when": when, "tag": tag, "breakpoints": True}
    )
    place = f"{folder}/{tag}.sql".removeprefix("./")
    made = replace(migration, version=str(when), name=tag, path=place)
    return made, {place: text}, {journal: json.dumps(listed, indent=2) + "\n"}


def write(root: Path, drafts: Sequence[Draft]) -> list[str]:
    """Write the files; return their paths, relative to *root*.

    Raises:
        ConfigError: one of them exists already, or cannot be written; then none is written.
    """
    files = {path: text for each in drafts for path, text in each.files.items()}
    changed = {path: text for each in drafts for path, text in each.changed.items()}
    for path in files:
        if (root / path).exists():
            raise ConfigError(f"{path} exists already and is not overwritten; choose another --name")
    try:
        for path, text in {**files, **changed}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    return [*files, *changed]
