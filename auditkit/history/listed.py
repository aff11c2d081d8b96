"""Projects in which the order of migrations is written down: a journal, a plan, comments that name others."""

from __future__ import annotations

import json
from heapq import heapify, heappop, heappush

from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migration, Project, read
from auditkit.history.trees import Tree, files_in, join, text_of

__all__ = ["by_dependency", "drizzle"]


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
