"""The migration files of a project: which tool they belong to, their order, what they say, who wrote them.

The tool is recognised from the files themselves, or named in the configuration. Nothing of the project is
executed: Python migrations are read with :mod:`ast`, and a commit's files come from git's objects without
a checkout. Whatever is odd about the files (a bad name, a duplicate version, an empty or unreadable file)
becomes a note; it never stops the audit.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heapify, heappop, heappush
from pathlib import Path, PurePosixPath
from typing import overload

from auditkit.errors import ConfigError
from auditkit.history.git import Commit, GitInfo, Repository, open_repository
from auditkit.history.layouts import LAYOUTS, SCRIPT, Layout, identify, is_down, numbers
from auditkit.history.split import Statement, split
from auditkit.history.trees import Disk, Objects, Tree

__all__ = [
    "Blob",
    "Migration",
    "Migrations",
    "Project",
    "blobs",
    "find_project",
    "load_migrations",
]


@dataclass(frozen=True)
class Project:
    """Where the migrations are. ``directories`` are relative to ``root``, with forward slashes."""

    root: Path
    tool: str
    directories: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Migration:
    """One migration file.

    ``version`` and ``name`` are as the tool's ledger records them; ``path`` is relative to the project's
    root. ``sql`` is the part that is applied (after ``-- migrate:up``, say), with blank lines for what was
    left out before it, so that line numbers stay the file's; None if the migration is code. ``raw`` is the
    file as it is on disk. ``transactional``: whether the tool runs it in one transaction. ``depends`` are
    versions that come before it, for tools that order by dependency.
    """

    version: str
    name: str
    path: str
    sql: str | None
    raw: bytes = b""
    transactional: bool = True
    depends: tuple[str, ...] = ()
    git: GitInfo | None = None

    @cached_property
    def statements(self) -> list[Statement]:
        """The statements of ``sql``; empty if the migration is code."""
        return split(self.sql) if self.sql is not None else []

    @property
    def added(self) -> Commit | None:
        """The commit that added the file, if git knows it."""
        return self.git.added if self.git else None


@dataclass(frozen=True)
class Migrations(Sequence[Migration]):
    """The migrations of a project in the order the tool applies them, and what was odd about them.

    ``ref`` is the git reference they were read from, None for the files on disk.
    """

    project: Project
    items: tuple[Migration, ...]
    notes: tuple[str, ...] = ()
    ref: str | None = None

    @property
    def tool(self) -> str:
        return self.project.tool

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Migration: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Migration, ...]: ...
    def __getitem__(self, index: int | slice) -> Migration | tuple[Migration, ...]:
        return self.items[index]


@dataclass(frozen=True)
class Blob:
    """What a migration file said as of a commit: the file read as it would have been then."""

    commit: Commit
    migration: Migration


def find_project(
    root: Path | str = ".", *, path: str | None = None, tool: str | None = None, ref: str | None = None
) -> Project | None:
    """Find the migrations below *root* and the tool they belong to; None if there are none.

    Args:
        root: the project's folder.
        path: the migrations' folder relative to *root*, if it is known (``[migrations] path``).
        tool: the tool's name, if it is known (``[migrations] tool``): a key of ``LAYOUTS``.
        ref: look at the files as of this commit.

    Raises:
        ConfigError: *tool* is unknown, *path* is not a folder, or *ref* is not a commit.
    """
    root, path = _rooted(Path(root), path)
    return _find(root, _tree(root, path, ref)[0], path, tool)


def load_migrations(
    root: Path | str = ".", tool: str | None = None, ref: str | None = None, path: str | None = None
) -> Migrations:
    """Read the migrations below *root*, in the order the tool applies them. Arguments as ``find_project``.

    Raises:
        ConfigError: as ``find_project``, or there are no migrations.
    """
    root, path = _rooted(Path(root), path)
    tree, repository, commit, notes = _tree(root, path, ref)
    project = _find(root, tree, path, tool)
    if not project:
        where = f"{root / path if path else root}" + (f" as of {ref}" if ref else "")
        raise ConfigError(
            f"no migrations found in {where}; name their folder and tool in auditkit.toml, "
            '[migrations] path = "…" and tool = "…"'
        )
    reader = {"alembic": _alembic, "django": _django, "drizzle": _drizzle}.get(project.tool, _by_name)
    found, odd = reader(project, tree)
    if repository:
        log = repository.log(project.directories, commit)
        found = [replace(migration, git=log.get(migration.path, GitInfo())) for migration in found]
        notes = [*notes, *repository.notes]
    notes = [*project.notes, *tree.notes, *odd, *_duplicates(found, project.tool), *notes]
    return Migrations(project, tuple(found), tuple(notes), ref)


def blobs(migrations: Migrations, migration: Migration) -> list[Blob]:
    """What *migration* said in each earlier commit that changed it, newest first, each content once.

    Empty without git. The current content is not among them.
    """
    repository, _ = open_repository(migrations.project.root)
    if not repository or not migration.git:
        return []
    contents = repository.read(version.blob for version in migration.git.versions)
    earlier: list[Blob] = []
    seen = {migration.raw}
    for version in reversed(migration.git.versions):
        raw = contents.get(version.blob)
        if raw is None or raw in seen:
            continue
        seen.add(raw)
        layout = LAYOUTS[migrations.tool]
        earlier.append(Blob(version.commit, _migration(layout, migration, raw)))
    return earlier


def lost(migrations: Migrations) -> dict[str, Blob]:
    """Migrations that are not among the files but were once, or are in another branch, by version.

    Each as last seen: the commit is the one that gave it its last content. Empty without git. A version is
    known by the file's name only, so Drizzle's and Django's are not found.
    """
    repository, _ = open_repository(migrations.project.root)
    layout = LAYOUTS[migrations.tool]
    if not repository or migrations.tool in ("drizzle", "django"):
        return {}
    here = {migration.path for migration in migrations}
    found: list[tuple[Migration, GitInfo]] = []
    folders = migrations.project.directories
    for path, info in repository.log_everywhere(folders).items():
        local = next(
            (path.removeprefix(f"{folder}/") for folder in folders if path.startswith(f"{folder}/")), path
        )
        identity = identify(layout, local)
        if path not in here and identity and info.versions:
            found.append((Migration(*identity, path, None, git=info), info))
    contents = repository.read(info.versions[-1].blob for _, info in found)
    return {
        migration.version: Blob(info.versions[-1].commit, _migration(layout, migration, contents[blob]))
        for migration, info in found
        if (blob := info.versions[-1].blob) in contents
    }


def _rooted(root: Path, path: str | None) -> tuple[Path, str]:
    """Make *path* relative to *root* with forward slashes; a folder elsewhere becomes the root itself."""
    where = root / (path or "")
    try:
        inside = where.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        root, inside = where, "."
    if where.is_file():
        raise ConfigError(f"{where} is a file; give the folder that holds the migrations")
    return root, inside if path else ""


def _tree(root: Path, path: str, ref: str | None) -> tuple[Tree, Repository | None, str | None, list[str]]:
    if not root.is_dir() or not (ref or (root / path).is_dir()):
        raise ConfigError(f"{root / path} is not a folder; check [migrations] path in auditkit.toml")
    repository, why = open_repository(root)
    if ref is None:
        return Disk(root, path), repository, None, [why] if why else []
    if not repository:
        raise ConfigError(f"migrations@{ref} needs git: {why}")
    commit = repository.resolve(ref)
    return Objects(repository, commit, path), repository, commit, []


# ---- which tool ----------------------------------------------------------------------------------------


def _find(root: Path, tree: Tree, path: str, tool: str | None) -> Project | None:
    if tool is not None and tool not in LAYOUTS:
        raise ConfigError(f"migrations tool {tool!r} is not known; use one of {', '.join(sorted(LAYOUTS))}")
    found = _recognise(tree)
    wanted = {name: folders for name, folders in found.items() if tool in (None, name)}
    if not wanted:
        if path or tool:
            return Project(root, tool or "plain", (path or ".",)) if tree.files else None
        return None
    name, folders = next(iter(wanted.items()))
    notes = []
    if name not in _SEVERAL_FOLDERS and len(folders) > 1:
        notes.append(
            f"migrations are in {', '.join(folders)}; only {folders[0]} is read: set [migrations] path "
            "to choose another"
        )
        folders = folders[:1]
    if tool is None and len(wanted) > 1:
        others = "; ".join(
            f"{other} in {', '.join(where)}" for other, where in wanted.items() if other != name
        )
        notes.append(f"read as {name}; also found {others}: set [migrations] tool to choose another")
    return Project(root, name, tuple(folders), tuple(notes))


_SEVERAL_FOLDERS = frozenset({"django", "alembic"})
_PACKAGES = {  # what package.json has when a folder of scripts is theirs
    "knex": "knex",
    "sequelize": "sequelize",
    "typeorm": "typeorm",
    "node-pg-migrate": "node-pg-migrate",
}
_MARKS = {
    "dbmate": re.compile(rb"^--\s*migrate:up", re.M),
    "goose": re.compile(rb"^--\s*\+goose up", re.M | re.I),
}
_PLAIN_FOLDERS = frozenset({"migrations", "migration", "migrate", "sql", "schema", "versions"})


def _recognise(tree: Tree) -> dict[str, list[str]]:
    """The tools whose files are in *tree*, each with its folders; what is nearest to the top comes first."""
    folders: dict[str, list[str]] = {}  # folder -> names in it
    for file in sorted(tree.files):
        parent, _, name = file.rpartition("/")
        folders.setdefault(parent or ".", []).append(name)
    names = {folder: set(files) for folder, files in folders.items()}
    found: dict[str, list[str]] = {}

    def add(tool: str, folder: str) -> None:
        if folder not in found.setdefault(tool, []):
            found[tool].append(folder)

    for folder, files in folders.items():
        parent = folder.rpartition("/")[0] or "."
        last = PurePosixPath(folder).name
        if folder.endswith("supabase/migrations") or folder == "supabase/migrations":
            add("supabase", folder)
        elif last == "supabase" and "config.toml" in names[folder]:
            add("supabase", f"{folder}/migrations")
        if "migration_lock.toml" in names[folder]:
            add("prisma", folder)
        elif last == "meta" and "_journal.json" in names[folder]:
            add("drizzle", parent)
        elif "migration.sql" in names[folder]:
            drizzle = "snapshot.json" in names[folder]
            add("drizzle" if drizzle else "prisma", parent)
        elif "up.sql" in names[folder]:
            add("diesel", parent)
        if any(re.match(r"V[0-9][0-9._]*__.*\.sql$", name) for name in files):
            rust = "refinery" in _text(tree, "Cargo.toml")
            add("refinery" if rust else "flyway", folder)
        if any(name.endswith(".up.sql") for name in files):
            add("sqlx" if "sqlx" in _text(tree, "Cargo.toml") else "golang-migrate", folder)
        if folder.endswith("db/migrate") and any(name.endswith(".rb") for name in files):
            add("rails", folder)
        if last == "migrations" and any(re.match(r"[0-9]+_.*\.exs$", name) for name in files):
            add("ecto", folder)
    for folder in _alembic_folders(tree):
        add("alembic", folder)
    for folder in _django_folders(tree):
        add("django", folder)
    taken = {folder for where in found.values() for folder in where}
    _recognise_loose(tree, {name: files for name, files in folders.items() if name not in taken}, add)
    # Copies for tests and examples lie deeper than the real thing.
    ranks = list(LAYOUTS)
    ordered = {
        tool: sorted(where, key=lambda folder: (folder.count("/"), folder)) for tool, where in found.items()
    }
    return dict(sorted(ordered.items(), key=lambda item: (item[1][0].count("/"), ranks.index(item[0]))))


def _recognise_loose(tree: Tree, folders: Mapping[str, list[str]], add: Callable[[str, str], None]) -> None:
    """Folders of SQL files and scripts whose layout does not say whose they are: look inside."""
    packages = _text(tree, "package.json")
    for folder, files in folders.items():
        last = PurePosixPath(folder).name
        sql = [name for name in files if name.endswith(".sql")]
        scripts = [name for name in files if re.match(rf"[0-9]+.*{SCRIPT}$", name)]
        if sql:
            sample = tree.read(_join(folder, name) for name in sql[:3]).values()
            text = b"\n".join(content for content in sample if isinstance(content, bytes))
            tool = next((name for name, mark in _MARKS.items() if mark.search(text)), None)
            if tool:
                add(tool, folder)
            elif last in _PLAIN_FOLDERS:
                add("sqlx" if "sqlx" in _text(tree, "Cargo.toml") else "plain", folder)
        elif scripts and last in _PLAIN_FOLDERS:
            for package, tool in _PACKAGES.items():
                if f'"{package}"' in packages:
                    add(tool, folder)
                    break


def _text(tree: Tree, path: str) -> str:
    content = tree.read([path] if path in tree.files else []).get(path, "")
    return content.decode(errors="replace") if isinstance(content, bytes) else ""


def _join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def _inside(tree: Tree, folder: str) -> dict[str, str]:
    """The files below *folder*, as path inside it -> path in the tree."""
    start = "" if folder == "." else f"{folder}/"
    return {file.removeprefix(start): file for file in sorted(tree.files) if file.startswith(start)}


# ---- reading -------------------------------------------------------------------------------------------


def _by_name(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Read a folder whose file names say version, name and order."""
    layout = LAYOUTS[project.tool]
    inside = _inside(tree, project.directories[0])
    chosen: list[Migration] = []
    notes = _named_folders(project, tree)
    for local, file in inside.items():
        identity = identify(layout, local)
        if identity and not _skipped_init(project.tool, local, chosen):
            chosen.append(Migration(*identity, file, None))
        elif local.endswith((".sql", ".SQL")) and not is_down(local):
            notes.append(f"{file}: skipped by {project.tool}, whose files are named {layout.said}")
    contents = tree.read(migration.path for migration in chosen)
    migrations = [_read(layout, migration, contents[migration.path], notes) for migration in chosen]
    if project.tool == "plain" and all(re.fullmatch(r"[0-9.]+", item.version) for item in migrations):
        layout = replace(layout, order=numbers)  # 10_b.sql is meant to follow 9_a.sql
    # Flyway's repeatable migrations have no version and run last.
    migrations.sort(
        key=lambda item: (
            project.tool == "flyway" and not item.version,
            layout.order(item.version),
            item.path,
        )
    )
    return migrations, notes


def _skipped_init(tool: str, local: str, chosen: list[Migration]) -> bool:
    """The Supabase CLI ignores a first file named …_init.sql from before December 2021."""
    match = re.match(r"([0-9]{14})_init\.sql", local)
    return bool(tool == "supabase" and not chosen and match and match[1] < "20211209000000")


def _named_folders(project: Project, tree: Tree) -> list[str]:
    return [
        f"{folder}: a folder named like a migration file; its contents are not applied"
        for folder in tree.folders
        if folder.endswith(".sql") and folder.startswith(project.directories[0])
    ]


def _read(layout: Layout, migration: Migration, content: bytes | str, notes: list[str]) -> Migration:
    if isinstance(content, str):
        notes.append(f"{migration.path}: not readable ({content}); it cannot be compared or replayed")
        return migration
    if not content.strip():
        notes.append(f"{migration.path}: the file is empty")
    else:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            notes.append(
                f"{migration.path}: not UTF-8 (byte {error.start + 1}); unreadable characters are replaced"
            )
    read = _migration(layout, migration, content)
    if read.sql is None and not layout.code and migration.path.endswith(".sql"):
        notes.append(f"{migration.path}: the mark that begins the part to apply is missing")
    return read


def _migration(layout: Layout, migration: Migration, content: bytes) -> Migration:
    """*migration* with what *content* says."""
    text = content.decode(errors="replace")
    code = layout.code or not migration.path.lower().endswith(".sql")
    if layout.tool == "django":
        transactional = not re.search(r"^\s*atomic\s*=\s*False", text, re.MULTILINE)
    else:
        # re.match for directives that must be the first line, which have no MULTILINE flag.
        directive = layout.autocommit
        look = directive and (directive.search if directive.flags & re.MULTILINE else directive.match)
        transactional = not (look and look(text))
    return replace(migration, sql=None if code else layout.up(text), raw=content, transactional=transactional)


def _duplicates(migrations: Iterable[Migration], tool: str) -> list[str]:
    by_version: dict[str, list[str]] = {}
    for migration in migrations:
        if migration.version or tool != "flyway":
            by_version.setdefault(migration.version, []).append(migration.path)
    return [
        f"version {version} is used by {' and '.join(paths)}: {tool} can record only one of them"
        for version, paths in by_version.items()
        if len(paths) > 1
    ]


def _drizzle(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Drizzle applies what ``meta/_journal.json`` lists; its version is the entry's time in ms."""
    folder = project.directories[0]
    inside = _inside(tree, folder)
    layout = LAYOUTS["drizzle"]
    notes: list[str] = []
    entries: list[tuple[str, str, str]] = []  # version, name, file
    journal = inside.get("meta/_journal.json")
    if journal:
        try:
            listed = json.loads(_text(tree, journal))["entries"]
            entries = [(str(entry["when"]), str(entry["tag"]), f"{entry['tag']}.sql") for entry in listed]
        except (ValueError, KeyError, TypeError) as error:
            notes.append(f"{journal}: not a drizzle journal ({type(error).__name__}); nothing can be applied")
        notes += [
            f"{file}: not listed in {journal}, so drizzle does not apply it"
            for local, file in inside.items()
            if local.endswith(".sql") and local not in {name for _, _, name in entries}
        ]
    else:
        names = [local.removesuffix("/migration.sql") for local in inside if local.endswith("/migration.sql")]
        entries = [(name, name, f"{name}/migration.sql") for name in sorted(names)]
    contents = tree.read(inside[file] for _, _, file in entries if file in inside)
    migrations = []
    for version, name, file in entries:
        path = inside.get(file, _join(folder, file))
        content = contents.get(path, "it is listed in the journal but does not exist")
        migrations.append(_read(layout, Migration(version, name, path, None), content, notes))
    return migrations, notes


# ---- Python migrations, read without running them -------------------------------------------------------


def _alembic_folders(tree: Tree) -> list[str]:
    """The ``versions`` folders that each alembic.ini names; else those beside an alembic env.py."""
    folders: list[str] = []
    files = set(tree.files)
    for ini in sorted(file for file in files if PurePosixPath(file).name == "alembic.ini"):
        here = PurePosixPath(ini).parent
        parser = configparser.ConfigParser({"here": here.as_posix()}, strict=False)
        try:
            parser.read_string(_text(tree, ini))
            script = parser.get("alembic", "script_location", fallback="alembic")
            more = parser.get("alembic", "version_locations", fallback="")
        except configparser.Error:
            continue
        separators = r"[\s;]+" if ":" not in more else r"[\s;:]+"
        for place in re.split(separators, more) if more else [f"{script}/versions"]:
            relative = PurePosixPath(place)
            # `%(here)s` has been replaced already; other relative paths are meant from the ini file.
            folder = relative if place.startswith(here.as_posix()) else here / relative
            folders.append(os.path.normpath(folder.as_posix()).replace("\\", "/"))
    if not folders:
        folders = [
            _join(str(PurePosixPath(file).parent), "versions")
            for file in sorted(files)
            if PurePosixPath(file).name == "script.py.mako"
        ]
    return [folder for folder in folders if any(file.startswith(f"{folder}/") for file in files)]


def _django_folders(tree: Tree) -> list[str]:
    candidates: dict[str, str] = {}
    for file in sorted(tree.files):
        folder, _, name = file.rpartition("/")
        if re.match(r"[0-9]{4}_\w+\.py$", name) and PurePosixPath(folder).name == "migrations":
            candidates.setdefault(folder, file)
    contents = tree.read(candidates.values())
    return [
        folder
        for folder, file in candidates.items()
        if isinstance(content := contents[file], bytes)
        and re.search(rb"class Migration\(.*Migration\)", content)
    ]


def _python_files(project: Project, tree: Tree, notes: list[str]) -> Iterable[tuple[str, bytes, ast.Module]]:
    files = [
        file
        for folder in project.directories
        for local, file in _inside(tree, folder).items()
        if local.endswith(".py") and not local.startswith("__") and "/" not in local
    ]
    contents = tree.read(files)
    for file in files:
        content = contents[file]
        if isinstance(content, str):
            notes.append(f"{file}: not readable ({content})")
            continue
        try:
            yield file, content, ast.parse(content, filename=file)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            notes.append(f"{file}: not valid Python (line {getattr(error, 'lineno', None) or 1})")


def _assigned(body: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    values: dict[str, ast.expr] = {}
    for statement in body:
        if isinstance(statement, ast.Assign):
            values |= {
                target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)
            }
        elif (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.value
        ):
            values[statement.target.id] = statement.value
    return values


def _strings(value: ast.expr | None) -> tuple[str, ...]:
    """The strings in a literal: ``"a"``, ``("a", "b")``, None."""
    if value is None:
        return ()
    nodes = value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]
    return tuple(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _alembic(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Alembic's order is the graph of ``down_revision`` and ``depends_on``."""
    notes: list[str] = []
    migrations = []
    for file, content, module in _python_files(project, tree, notes):
        values = _assigned(module.body)
        revision = _strings(values.get("revision"))
        if not revision:
            notes.append(f"{file}: skipped by alembic, it sets no revision")
            continue
        version = revision[0]
        name = PurePosixPath(file).stem.removeprefix(version).strip("_-")
        depends = (*_strings(values.get("down_revision")), *_strings(values.get("depends_on")))
        migration = Migration(version, name, file, None, depends=depends)
        migrations.append(_migration(LAYOUTS["alembic"], migration, content))
    return _by_dependency(migrations, notes), notes


def _django(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Django's order is the graph of ``dependencies`` and ``run_before``; versions are ``app.name``."""
    notes: list[str] = []
    migrations: list[Migration] = []
    before: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for file, content, module in _python_files(project, tree, notes):
        body = next(
            (
                node.body
                for node in module.body
                if isinstance(node, ast.ClassDef) and node.name == "Migration"
            ),
            None,
        )
        if body is None:
            notes.append(f"{file}: skipped by django, it has no class Migration")
            continue
        folder = PurePosixPath(file).parent.parent.as_posix()
        if folder not in labels:
            labels[folder] = _app_label(tree, folder, project.root)
        values = _assigned(body)
        name = PurePosixPath(file).stem
        version = f"{labels[folder]}.{name}"
        for later in _pairs(values.get("run_before")):
            before.setdefault(later, []).append(version)
        depends = _pairs(values.get("dependencies"))
        migration = Migration(version, name, file, None, depends=depends)
        migrations.append(_migration(LAYOUTS["django"], migration, content))
    first = {item.version.partition(".")[0]: item.version for item in reversed(migrations)}
    last = {item.version.partition(".")[0]: item.version for item in migrations}

    def resolve(target: str) -> str:
        app, _, name = target.partition(".")
        return {"__first__": first.get(app, target), "__latest__": last.get(app, target)}.get(name, target)

    migrations = [
        replace(item, depends=tuple(map(resolve, (*item.depends, *before.get(item.version, ())))))
        for item in migrations
    ]
    return _by_dependency(migrations, notes), notes


def _pairs(value: ast.expr | None) -> tuple[str, ...]:
    """``[("app", "0001_initial"), …]`` as ``app.0001_initial``; swappable dependencies are left out."""
    nodes = value.elts if isinstance(value, ast.List | ast.Tuple) else []
    pairs = [_strings(node) for node in nodes if isinstance(node, ast.Tuple)]
    return tuple(".".join(pair) for pair in pairs if len(pair) == 2)


def _app_label(tree: Tree, folder: str, root: Path) -> str:
    """An app's label: what its AppConfig says, else the folder's name."""
    config = re.search(
        r"^\s+label\s*=\s*['\"](\w+)['\"]", _text(tree, _join(folder, "apps.py")), re.MULTILINE
    )
    return config[1] if config else PurePosixPath(folder).name or root.resolve().name


def _by_dependency(migrations: list[Migration], notes: list[str]) -> list[Migration]:
    """Order by dependency, ties by path. What is on a cycle comes last, with a note."""
    by_version = {
        migration.version: migration for migration in sorted(migrations, key=lambda item: item.path)
    }
    waiting = {
        version: {name for name in migration.depends if name in by_version and name != version}
        for version, migration in by_version.items()
    }
    followers: dict[str, list[str]] = {}
    for version, needed in waiting.items():
        for name in needed:
            followers.setdefault(name, []).append(version)
    ready = [(by_version[version].path, version) for version, needed in waiting.items() if not needed]
    heapify(ready)
    ordered: list[Migration] = []
    while ready:
        _, version = heappop(ready)
        ordered.append(by_version[version])
        for follower in followers.get(version, ()):
            waiting[follower].discard(version)
            if not waiting[follower]:
                heappush(ready, (by_version[follower].path, follower))
    placed = {migration.version for migration in ordered}
    circular = [migration for version, migration in by_version.items() if version not in placed]
    if circular:
        notes.append(f"{', '.join(item.path for item in circular)}: depend on each other in a circle")
    shadowed = [migration for migration in migrations if migration not in by_version.values()]
    return ordered + circular + shadowed
