"""The migration files of a project: which tool they belong to, their order, what they say, who wrote them.

The tool is recognised from the files themselves, or named in the configuration. Nothing of the project is
executed: Python migrations are read with :mod:`ast`, and a commit's files come from git's objects without
a checkout. Whatever is odd about the files (a bad name, a duplicate version, an empty or unreadable file)
becomes a note; it never stops the audit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from auditkit.errors import ConfigError
from auditkit.history import flyway
from auditkit.history.changelog import liquibase
from auditkit.history.git import GitInfo, Repository, Version, open_repository
from auditkit.history.layouts import LAYOUTS, identify, is_down, numbers
from auditkit.history.listed import drizzle, sqitch, yoyo
from auditkit.history.migration import Blob, Migration, Migrations, Project, read, with_content
from auditkit.history.programs import alembic, django
from auditkit.history.recognise import recognise
from auditkit.history.trees import Disk, Objects, Tree, files_in

__all__ = [
    "Blob",
    "Migration",
    "Migrations",
    "Project",
    "blobs",
    "find_project",
    "load_migrations",
]


#: Tools whose file names do not say everything.
_READERS: dict[str, Callable[[Project, Tree], tuple[list[Migration], list[str]]]] = {
    "alembic": alembic,
    "django": django,
    "drizzle": drizzle,
    "liquibase": liquibase,
    "sqitch": sqitch,
    "yoyo": yoyo,
}


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
    reader = _READERS.get(project.tool, _by_name)
    found, odd = reader(project, tree)
    if repository:
        # A changelog, a plan may name files elsewhere.
        elsewhere = {
            m.path for m in found if not m.path.startswith(tuple(f"{d}/" for d in project.directories))
        }
        everywhere = "." in project.directories
        log = repository.log([*project.directories, *([] if everywhere else sorted(elsewhere))], commit)
        found = [_with_log(repository, migration, log, project.tool) for migration in found]
        notes = [*notes, *repository.notes]
    notes = [*project.notes, *tree.notes, *odd, *_duplicates(found, project.tool), *notes]
    return Migrations(project, tuple(found), tuple(notes), ref)


def _with_log(
    repository: Repository, migration: Migration, log: Mapping[str, GitInfo], tool: str
) -> Migration:
    """*migration* with its file's history; of a file that holds several, what changed this one."""
    info = log.get(migration.path, GitInfo())
    part = LAYOUTS[tool].part
    if part is None or not migration.path.endswith(".sql") or not info.versions:
        return replace(migration, git=info)
    contents = repository.read(version.blob for version in info.versions)
    kept: list[Version] = []
    last: str | None = None
    for version in info.versions:
        now = part(contents.get(version.blob, b"").decode(errors="replace"), migration.version)
        if now is not None and now.strip() != last:
            kept.append(version)
        last = now.strip() if now is not None else None
    uncommitted = info.uncommitted and last != migration.raw.decode(errors="replace").strip()
    return replace(migration, git=replace(info, versions=tuple(kept), uncommitted=uncommitted))


def blobs(migrations: Migrations, migration: Migration) -> list[Blob]:
    """What *migration* said in each earlier commit that changed it, newest first, each content once.

    Empty without git. The current content is not among them.
    """
    repository, _ = open_repository(migrations.project.root)
    if not repository or not migration.git:
        return []
    contents = repository.read(version.blob for version in migration.git.versions)
    layout = LAYOUTS[migrations.tool]
    if layout.part and not migration.path.endswith(".sql"):
        return []
    earlier: list[Blob] = []
    seen = {migration.raw.lstrip(b"\n") if layout.part else migration.raw}
    for version in reversed(migration.git.versions):
        raw = contents.get(version.blob)
        if raw is None:
            continue
        then = with_content(layout, migration, raw)
        own = then.raw.lstrip(b"\n") if layout.part else raw
        if own not in seen:
            seen.add(own)
            earlier.append(Blob(version.commit, then))
    return earlier


def lost(migrations: Migrations) -> dict[str, Blob]:
    """Migrations that are not among the files but were once, or are in another branch, by version.

    Each as last seen: the commit is the one that gave it its last content. Empty without git. A version is
    known by the file's name only, so those of tools that list their migrations elsewhere are not found; of
    drizzle, whose ledger keeps checksums, the file's name stands for the version.
    """
    repository, _ = open_repository(migrations.project.root)
    layout = LAYOUTS[migrations.tool]
    if not repository or layout.listed or migrations.tool == "django":
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
        migration.version: Blob(info.versions[-1].commit, with_content(layout, migration, contents[blob]))
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


# Tools whose migrations lie in several folders at once.
_SEVERAL_FOLDERS = frozenset({"django", "alembic"})


def _find(root: Path, tree: Tree, path: str, tool: str | None) -> Project | None:
    if tool is not None and tool not in LAYOUTS:
        raise ConfigError(f"migrations tool {tool!r} is not known; use one of {', '.join(sorted(LAYOUTS))}")
    found = recognise(tree)
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


# ---- reading -------------------------------------------------------------------------------------------


def _by_name(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Read a folder whose file names say version, name and order."""
    layout = flyway.layout_of(tree) if project.tool == "flyway" else LAYOUTS[project.tool]
    inside = files_in(tree, project.directories[0])
    chosen: list[Migration] = []
    notes = _named_folders(project, tree)
    for local, file in inside.items():
        identity = identify(layout, local)
        if identity and not _skipped_init(project.tool, local, chosen):
            chosen.append(Migration(*identity, file, None))
        elif layout.others and layout.others.fullmatch(local):
            continue
        elif local.endswith((".sql", ".SQL")) and not is_down(local):
            notes.append(f"{file}: skipped by {project.tool}, whose files are named {layout.said}")
    contents = tree.read(migration.path for migration in chosen)
    migrations = [read(layout, migration, contents[migration.path], notes) for migration in chosen]
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
