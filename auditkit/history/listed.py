"""Projects in which the order of migrations is written down: a journal, a plan, comments that name others."""

from __future__ import annotations

import ast
import json
import os
import re
from dataclasses import replace
from heapq import heapify, heappop, heappush
from pathlib import PurePosixPath

from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migration, Project, read
from auditkit.history.trees import Tree, files_in, join, text_of

__all__ = ["by_dependency", "drizzle", "sqitch", "yoyo"]


def drizzle(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Drizzle applies what ``meta/_journal.json`` lists; its version is the entry's time in ms."""
    folder = project.directories[0]
    inside = files_in(tree, folder)
    layout = LAYOUTS["drizzle"]
    notes: list[str] = []
    entries: list[tuple[str, str, str]] = []  # version, name, file
    journal = inside.get("meta/_journal.json")
    if journal:
        try:
            listed = json.loads(text_of(tree, journal))["entries"]
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
        path = inside.get(file, join(folder, file))
        content = contents.get(path, "it is listed in the journal but does not exist")
        migrations.append(read(layout, Migration(version, name, path, None), content, notes))
    return migrations, notes


# A change, a tag or what is neither; names of changes have no white space.
_CHANGE = re.compile(r"\+?\s*([^\s@#%\[\]+-][^\s@\[]*)\s*(?:\[(.*?)\])?\s+\S+T\S+Z\s")
_TAG = re.compile(r"\s*(@\S+)\s")


def sqitch(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Sqitch deploys what ``sqitch.plan`` lists. A change that was reworked is in it twice: NAME, NAME#2 …

    The script of its earlier form is NAME@TAG.sql, with a tag from between the two.
    """
    folder = project.directories[0]
    settings = _sqitch_settings(tree, folder)
    plan = settings["plan_file"]
    notes: list[str] = []
    entries: list[tuple[str, int, str]] = []  # name, its how-manieth entry, what it requires
    tags: list[tuple[int, str]] = []  # number of changes before it, tag
    for line in text_of(tree, plan).splitlines():
        if tag := _TAG.match(line):
            tags.append((len(entries), tag[1]))
        elif change := _CHANGE.match(line):
            count = sum(name == change[1] for name, _, _ in entries)
            entries.append((change[1], count + 1, change[2] or ""))
    migrations = []
    for number, (name, count, requires) in enumerate(entries):
        again = next((n for n in range(number + 1, len(entries)) if entries[n][0] == name), None)
        between = [tag for place, tag in tags if again is not None and number < place <= again]
        paths = [f"{settings['deploy_dir']}/{name}{tag}.sql" for tag in (*between, "")]
        path = next((path for path in paths if path in tree.files), paths[-1])
        version = name if count == 1 else f"{name}#{count}"
        depends = tuple(word.partition("@")[0] for word in requires.split() if word[0] not in "!@")
        content = tree.read([path]).get(path, f"it is listed in {plan} but does not exist")
        made = read(LAYOUTS["sqitch"], Migration(version, "", path, None, depends=depends), content, notes)
        # psql runs the script, which says itself where a transaction begins and ends.
        migrations.append(replace(made, transactional=False))
    return migrations, notes


def _sqitch_settings(tree: Tree, folder: str) -> dict[str, str]:
    """Where the plan and the deploy scripts are, as sqitch.conf says."""
    settings = {"top_dir": "."}
    section = ""
    for line in text_of(tree, join(folder, "sqitch.conf")).splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[core]" and "=" in line and not line.lstrip().startswith(("#", ";")):
            key, _, value = line.partition("=")
            settings[key.strip()] = value.strip()
    top = _normal(join(folder, settings["top_dir"]))
    plan, deploy = settings.get("plan_file"), settings.get("deploy_dir")
    return {
        "plan_file": _normal(join(folder, plan)) if plan else join(top, "sqitch.plan"),
        "deploy_dir": _normal(join(folder, deploy)) if deploy else join(top, "deploy"),
    }


def _normal(path: str) -> str:
    return PurePosixPath(os.path.normpath(path)).as_posix()


def yoyo(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """Yoyo's order is that of ids, but for what they say to depend on."""
    layout = LAYOUTS["yoyo"]
    notes: list[str] = []
    migrations = []
    for folder in project.directories:
        for local, file in files_in(tree, folder).items():
            match = layout.file.fullmatch(local)
            if not match or local.startswith(("post-apply", "__")):
                continue
            content = tree.read([file])[file]
            made = read(layout, Migration(match["version"], "", file, None), content, notes)
            migrations.append(replace(made, depends=_yoyo_depends(made)))
    return by_dependency(migrations, notes), notes


def _yoyo_depends(migration: Migration) -> tuple[str, ...]:
    text = migration.raw.decode(errors="replace")
    if migration.sql is not None:
        comment = re.match(r"(?:\s*(?:--.*)?(?:\r?\n|\Z))*?\s*--\s*depends\s*:(.*)", text)
        return tuple(comment[1].split()) if comment else ()
    found = re.search(r"^__depends__\s*=\s*([{\[(][^}\])]*[}\])])", text, re.MULTILINE)
    try:
        names = ast.literal_eval(found[1]) if found else ()
    except (ValueError, SyntaxError):
        return ()
    return tuple(sorted(str(name) for name in names))


def by_dependency(migrations: list[Migration], notes: list[str]) -> list[Migration]:
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
