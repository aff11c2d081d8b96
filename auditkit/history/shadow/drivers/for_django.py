"""Django, one migration at a time, the migrations of installed packages included.

The graph is left aside: which migrations run, and in which order, is auditkit's question. A model state that
lacks what was skipped would be another program than Django runs, so skipped ones do change the state.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState

_PLACES = (Migration.apply.__code__, BaseDatabaseSchemaEditor.__exit__.__code__)


class Tool:
    def __init__(self, work: dict[str, Any], recorder: Any, line_in: Callable[[str], int | None]) -> None:
        self.recorder, self.line_in = recorder, line_in
        shadow = work["shadow"] or {"dbname": "none", "user": "none", "host": work["alias"], "port": 5432}
        default = settings.DATABASES.setdefault("default", {})
        if "postg" not in default.get("ENGINE", ""):
            default["ENGINE"] = "django.db.backends.postgresql"
        left_out = ("service", "passfile", "pool", "sslmode", "sslcert", "sslkey", "sslrootcert")
        options = {k: v for k, v in default.get("OPTIONS", {}).items() if k not in left_out}
        default.update(
            NAME=shadow["dbname"], USER=shadow["user"], PASSWORD=shadow.get("password", ""), OPTIONS=options
        )
        default.update(HOST=shadow["host"], PORT=str(shadow["port"]), CONN_MAX_AGE=0)
        django.setup()
        self.loader = MigrationLoader(None)
        self.unsquashed: Any = None
        self.executor: Any = None
        self.state: ProjectState | None = None
        self.known: set[tuple[str, str]] = set()
        self.lines: dict[int, int] = {}
        _remember_who_defers(self.lines, self._line_of_operation)

    def list(self) -> dict[str, Any]:
        """All migrations in the order in which Django runs them on an empty database, with their files."""
        seen: set[tuple[str, str]] = set()
        found = []
        for leaf in self.loader.graph.leaf_nodes():
            for key in self.loader.graph.forwards_plan(leaf):
                if key not in seen:
                    seen.add(key)
                    found.append([".".join(key), _file(self.loader.disk_migrations[key])])
        squashed = set(self.loader.disk_migrations) - seen
        rest = [[".".join(key), _file(self.loader.disk_migrations[key])] for key in sorted(squashed)]
        replaces = {
            ".".join(key): [".".join(other) for other in migration.replaces]
            for key, migration in self.loader.disk_migrations.items()
            if migration.replaces
        }
        return {"version": django.get_version(), "migrations": found, "replaced": rest, "replaces": replaces}

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        app, _, name = request["version"].partition(".")
        key = (app, name)
        migration = self.loader.disk_migrations[key]
        path = _file(migration)
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
        if text != request["text"]:
            raise LookupError("the tool loads another text of this migration: " + path)
        self.lines.clear()
        first = _lines_of_operations(text, migration, self.lines)

        def line() -> int:
            return self.line_in(path) or self._line_of_operation() or first

        self.recorder.begin(request["step"], line, request.get("stop"))
        connection = connections["default"]
        connection.connect()  # forgets a transaction in which the last one failed
        if self.executor is None:
            self.executor = MigrationExecutor(connection)
        if self._is_done(key, migration):
            connections.close_all()
            return {"nothing": True}
        state = self._state_before(key)
        try:
            with connection.execute_wrapper(self._around):
                self.executor.apply_migration(state, migration)
        except BaseException:
            self.state = None  # half changed
            raise
        finally:
            connections.close_all()  # auditkit may want to copy the database
        self.known.add(key)
        return {}

    def _is_done(self, key: tuple[str, str], migration: Migration) -> bool:
        """Whether a squashed migration, or those that it replaces, have done this one's work, as Django sees it."""
        applied = self.executor.recorder.applied_migrations()
        replaced = [other for other in migration.replaces if other in applied]
        if key not in applied and not replaced:
            return False
        if replaced and self.state is not None and key not in self.known:
            self.state = migration.mutate_state(self.state, preserve=False)
            self.known.add(key)
        return True

    def _state_before(self, key: tuple[str, str]) -> ProjectState:
        """The models before a migration: carried along, as Django does, while that is possible."""
        loader = self.loader
        if key not in loader.graph.nodes:  # a squashed one has taken its place
            self.unsquashed = self.unsquashed or MigrationLoader(None, replace_migrations=False)
            return self.unsquashed.project_state(key, at_end=False)
        if key in self.known:
            return loader.project_state(key, at_end=False)
        if self.state is None:
            self.state, self.known = ProjectState(real_apps=loader.unmigrated_apps), set()
        for before in loader.graph.forwards_plan(key)[:-1]:
            if before not in self.known:
                self.state = loader.disk_migrations[before].mutate_state(self.state, preserve=False)
                self.known.add(before)
        self.state.apps  # noqa: B018  (rendered once, it is kept up to date)
        return self.state

    def _around(self, execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection = context["connection"]
        text = sql if isinstance(sql, str) else sql.as_string(connection.connection)
        own = connection.connection.cursor()
        number = self.recorder.before(text, own, not connection.in_atomic_block)
        result = execute(sql, params, many, context)
        self.recorder.after(number, own)
        own.close()
        return result

    def _line_of_operation(self) -> int | None:
        """The line of the operation that is at work: no line of the file itself is being executed then."""
        frame: Any = sys._getframe()
        while frame is not None:
            for name in ("database_operation", "operation", "sql"):
                thing = frame.f_locals.get(name) if name != "sql" or frame.f_code in _PLACES else None
                if thing is not None and id(thing) in self.lines:
                    return self.lines[id(thing)]
            frame = frame.f_back
        return None


def _file(migration: Migration) -> str:
    return os.path.abspath(inspect.getfile(type(migration)))  # noqa: PTH100


def _lines_of_operations(text: str, migration: Migration, lines: dict[int, int]) -> int:
    """Note the line of each operation, by its id; return that of the class."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == "Migration":
            for part in node.body:
                value = getattr(part, "value", None)
                targets = getattr(part, "targets", [getattr(part, "target", None)])
                if any(getattr(target, "id", "") == "operations" for target in targets):
                    _pair(migration.operations, value, lines)
            return node.lineno
    return 1


def _pair(operations: list[Any], value: ast.expr | None, lines: dict[int, int]) -> None:
    nodes = value.elts if isinstance(value, (ast.List, ast.Tuple)) else []
    if len(nodes) != len(operations):
        return
    for operation, node in zip(operations, nodes):  # noqa: B905  (Python 3.8)
        lines[id(operation)] = node.lineno
        inner = getattr(operation, "database_operations", None)
        if inner and isinstance(node, ast.Call):
            named = {word.arg: word.value for word in node.keywords}
            _pair(inner, named.get("database_operations", node.args[0] if node.args else None), lines)


def _remember_who_defers(lines: dict[int, int], line: Callable[[], int | None]) -> None:
    """Constraints and indexes are made at the end of a migration: remember which operation asked for each."""

    class Deferred(list):  # type: ignore[type-arg]
        def append(self, item: Any) -> None:
            if place := line():
                lines[id(item)] = place
            super().append(item)

        def extend(self, items: Any) -> None:
            for item in items:
                self.append(item)

    plain = BaseDatabaseSchemaEditor.__enter__

    def enter(self: Any) -> Any:
        editor = plain(self)
        editor.deferred_sql = Deferred(editor.deferred_sql)
        return editor

    BaseDatabaseSchemaEditor.__enter__ = enter
