"""yoyo, one migration at a time: those in Python, since auditkit runs those in SQL itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from yoyo import read_migrations
from yoyo.backends.core import postgresql
from yoyo.connections import parse_uri
from yoyo.migrations import MigrationStep, StepCollector


class Tool:
    def __init__(self, work: dict[str, Any], recorder: Any, line_in: Callable[[str], int | None]) -> None:
        self.recorder, self.line_in = recorder, line_in
        backend: Any = postgresql.PostgresqlBackend
        if find_spec("psycopg2") is None:
            backend = postgresql.PostgresqlPsycopgBackend
        self.connect: Callable[[], Any] = lambda: backend(
            parse_uri("postgresql" + work["url"]), "_yoyo_migration"
        )
        self.path, self.at = "", 0
        self._watch(postgresql.PostgresqlBackend)

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        self.path = path = request["path"]
        migrations = read_migrations(os.path.dirname(path))  # noqa: PTH120
        migration = next(one for one in migrations if one.id == request["version"])
        migration.load()
        if migration.source != request["text"]:
            raise LookupError("the tool loads another text of this migration: " + path)
        with self.connect() as backend:
            backend.init_database()
            self.at = 0
            self.recorder.begin(
                request["step"], lambda: self.line_in(path) or self.at or 1, request.get("stop")
            )
            backend.apply_one(migration)
        return {}

    def _watch(self, backend: Any) -> None:
        """Note each step's line when the migration makes it, and each statement when it is sent."""
        tool, lines = self, dict[int, int]()
        add, made, init = StepCollector.add_step, MigrationStep.apply, backend.init_connection

        def add_step(collector: Any, *rest: Any, **named: Any) -> Any:
            build, line = add(collector, *rest, **named), tool.line_in(collector.migration.path) or 0

            def noted(transactions: bool) -> Any:
                wrapper = build(transactions)
                lines[id(wrapper.step)] = line
                return wrapper

            collector.steps[noted] = collector.steps.pop(build)
            return noted

        def apply(step: Any, *rest: Any, **named: Any) -> Any:
            tool.at = lines.get(id(step), 0)
            return made(step, *rest, **named)

        def init_connection(self: Any, connection: Any) -> None:
            init(self, connection)
            plain = connection.cursor_factory or type(connection.cursor())
            if plain.__name__ != "Noting":
                connection.cursor_factory = _noting(plain, tool.recorder)

        StepCollector.add_step, MigrationStep.apply = add_step, apply
        backend.init_connection = init_connection


def _noting(plain: Any, recorder: Any) -> Any:
    """A kind of cursor that tells *recorder* what it executes."""

    class Noting(plain):  # type: ignore[misc]
        def execute(self, query: Any, *rest: Any, **named: Any) -> Any:
            own = plain(self.connection)
            outside = self.connection.info.transaction_status == 0
            text = query if isinstance(query, str) else query.as_string(self.connection)
            number = recorder.before(text, own, outside)
            result = super().execute(query, *rest, **named)
            recorder.after(number, own)
            own.close()
            return result

    return Noting
