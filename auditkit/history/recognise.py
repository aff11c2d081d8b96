"""Whose migrations these are: the tools whose files lie in a tree, and in which folders."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from auditkit.history import flyway
from auditkit.history.changelog import is_changelog
from auditkit.history.layouts import LAYOUTS, SCRIPT
from auditkit.history.trees import Tree, join, text_of

__all__ = ["recognise"]

_PACKAGES = {  # what package.json has when a folder of scripts is theirs
    "knex": "knex",
    "sequelize": "sequelize",
    "typeorm": "typeorm",
    "node-pg-migrate": "node-pg-migrate",
}
_MARKS = {
    "yoyo": re.compile(rb"\A(?:\s*--.*\n)*?\s*--\s*(?:depends|transactional)\s*:", re.I),
    "node-pg-migrate": re.compile(rb"^\s*--[\s-]*up migration", re.M | re.I),
    "dbmate": re.compile(rb"^--\s*migrate:up", re.M),
    "goose": re.compile(rb"^--\s*\+goose up", re.M | re.I),
}
_PLAIN_FOLDERS = frozenset({"migrations", "migration", "migrate", "sql", "schema", "versions"})


def recognise(tree: Tree) -> dict[str, list[str]]:
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
            # Hasura counts milliseconds, Diesel dates its folders.
            add("hasura" if re.match(r"[0-9]{13}_", last) else "diesel", parent)
        if "atlas.sum" in names[folder]:
            add("atlas", folder)
        if "sqitch.plan" in names[folder] or "sqitch.conf" in names[folder]:
            add("sqitch", folder)
        if any(name.endswith("ModelSnapshot.cs") for name in files):
            add("efcore", folder)
        if any(re.match(r"V[0-9][0-9._]*__.*\.sql$", name) for name in files):
            rust = "refinery" in text_of(tree, "Cargo.toml")
            add("refinery" if rust else "flyway", folder)
        if any(name.endswith(".up.sql") for name in files):
            add("sqlx" if "sqlx" in text_of(tree, "Cargo.toml") else "golang-migrate", folder)
        if folder.endswith("db/migrate") and any(name.endswith(".rb") for name in files):
            add("rails", folder)
        if last == "migrations" and any(re.match(r"[0-9]+_.*\.exs$", name) for name in files):
            add("ecto", folder)
    for tool, where in (
        ("alembic", _alembic_folders),
        ("flyway", flyway.locations),
        ("liquibase", _changelogs),
        ("yoyo", _yoyo_folders),
    ):
        for folder in where(tree):
            add(tool, folder)
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
    packages = text_of(tree, "package.json")
    for folder, files in folders.items():
        last = PurePosixPath(folder).name
        sql = [name for name in files if name.endswith(".sql")]
        scripts = [name for name in files if re.match(rf"[0-9]+.*{SCRIPT}$", name)]
        if sql:
            sample = tree.read(join(folder, name) for name in sql[:3]).values()
            text = b"\n".join(content for content in sample if isinstance(content, bytes))
            tool = next((name for name, mark in _MARKS.items() if mark.search(text)), None)
            if tool is None and any(_is_yoyo(tree, join(folder, name)) for name in files):
                tool = "yoyo"
            if tool:
                add(tool, folder)
            elif '"postgres-migrations"' in packages and last in _PLAIN_FOLDERS:
                add("postgres-migrations", folder)
            elif last in _PLAIN_FOLDERS:
                add("sqlx" if "sqlx" in text_of(tree, "Cargo.toml") else "plain", folder)
        elif any(_is_pgroll(tree, join(folder, name)) for name in files[:3]):
            add("pgroll", folder)
        elif last in _PLAIN_FOLDERS and any(_is_yoyo(tree, join(folder, name)) for name in files[:3]):
            add("yoyo", folder)
        elif scripts and last in _PLAIN_FOLDERS:
            for package, tool in _PACKAGES.items():
                if f'"{package}"' in packages:
                    add(tool, folder)
                    break


def _alembic_folders(tree: Tree) -> list[str]:
    """The ``versions`` folders that each alembic.ini names; else those beside an alembic env.py."""
    folders: list[str] = []
    files = set(tree.files)
    for ini in sorted(file for file in files if PurePosixPath(file).name == "alembic.ini"):
        here = PurePosixPath(ini).parent
        parser = configparser.ConfigParser({"here": here.as_posix()}, strict=False)
        try:
            parser.read_string(text_of(tree, ini))
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
            join(str(PurePosixPath(file).parent), "versions")
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


def _yoyo_folders(tree: Tree) -> list[str]:
    """The folders that yoyo.ini names."""
    folders: list[str] = []
    for ini in sorted(file for file in tree.files if PurePosixPath(file).name == "yoyo.ini"):
        for line in text_of(tree, ini).splitlines():
            key, separator, value = line.partition("=")
            if separator and key.strip() == "sources":
                here = PurePosixPath(ini).parent.as_posix()
                places = re.sub(r"%\(here\)s/?", "", value).split()
                folders += [os.path.normpath(join(here, place)).replace("\\", "/") for place in places]
    return [folder for folder in folders if any(file.startswith(f"{folder}/") for file in tree.files)]


def _is_yoyo(tree: Tree, path: str) -> bool:
    return path.endswith(".py") and bool(re.search(r"^(?:from|import) yoyo\b", text_of(tree, path), re.M))


def _is_pgroll(tree: Tree, path: str) -> bool:
    """A list of operations, in JSON or YAML."""
    if not path.endswith((".json", ".yaml", ".yml")):
        return False
    return bool(re.match(r"""(?:\{\s*"[^{\[]*)?"?operations"?\s*:\s*(?:\[|\n\s*-)""", text_of(tree, path)))


def _changelogs(tree: Tree) -> list[str]:
    """The topmost folders with Liquibase changelogs."""
    # Other formats are looked into only where the name says what they are: there may be many such files.
    named = re.compile(r"(?:.*/)?(?:[^/]*changelog[^/]*|.*changelog.*/[^/]*)\.(?:xml|ya?ml|json)", re.I)
    likely = [file for file in tree.files if file.endswith(".sql") or named.fullmatch(file)]
    contents = tree.read(likely)
    holding = {
        file.rpartition("/")[0] or "."
        for file in likely
        if isinstance(content := contents.get(file), bytes)
        and is_changelog(file, content[:2000].decode(errors="replace"))
    }
    return sorted(
        folder
        for folder in holding
        if not any(other != folder and (other == "." or folder.startswith(f"{other}/")) for other in holding)
    )
