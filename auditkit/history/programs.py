"""Migrations that are Python programs (Alembic, Django), read without running them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from auditkit.history.layouts import LAYOUTS
from auditkit.history.listed import by_dependency
from auditkit.history.migration import Migration, Project, with_content
from auditkit.history.trees import Tree, files_in, join, text_of

__all__ = ["alembic", "django"]


def _python_files(project: Project, tree: Tree, notes: list[str]) -> Iterable[tuple[str, bytes, ast.Module]]:
    files = [
        file
        for folder in project.directories
        for local, file in files_in(tree, folder).items()
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


def alembic(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
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
        migrations.append(with_content(LAYOUTS["alembic"], migration, content))
    return by_dependency(migrations, notes), notes


def django(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
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
        depends, replaces = (_pairs(values.get(named)) for named in ("dependencies", "replaces"))
        migration = Migration(version, name, file, None, depends=depends, replaces=replaces)
        migrations.append(with_content(LAYOUTS["django"], migration, content))
    first = {item.version.partition(".")[0]: item.version for item in reversed(migrations)}
    last = {item.version.partition(".")[0]: item.version for item in migrations}

    def resolve(target: str) -> str:
        app, _, name = target.partition(".")
        return {"__first__": first.get(app, target), "__latest__": last.get(app, target)}.get(name, target)

    migrations = [
        replace(item, depends=tuple(map(resolve, (*item.depends, *before.get(item.version, ())))))
        for item in migrations
    ]
    return by_dependency(migrations, notes), notes


def _pairs(value: ast.expr | None) -> tuple[str, ...]:
    """``[("app", "0001_initial"), …]`` as ``app.0001_initial``; swappable dependencies are left out."""
    nodes = value.elts if isinstance(value, ast.List | ast.Tuple) else []
    pairs = [_strings(node) for node in nodes if isinstance(node, ast.Tuple)]
    return tuple(".".join(pair) for pair in pairs if len(pair) == 2)


def _app_label(tree: Tree, folder: str, root: Path) -> str:
    """An app's label: what its AppConfig says, else the folder's name."""
    config = re.search(
        r"^\s+label\s*=\s*['\"](\w+)['\"]", text_of(tree, join(folder, "apps.py")), re.MULTILINE
    )
    return config[1] if config else PurePosixPath(folder).name or root.resolve().name
