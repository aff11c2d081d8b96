"""Alembic, one revision at a time: its environment script runs as ever, and is given that revision only.

The graph is left aside: which revisions run, and in which order, is auditkit's question.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Callable
from typing import Any

from alembic import __version__
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine


class Tool:
    def __init__(self, work: dict[str, Any], recorder: Any, line_in: Callable[[str], int | None]) -> None:
        self.recorder, self.line_in = recorder, line_in
        self.config = Config(work["ini"], **({"toml_file": work["toml"]} if work.get("toml") else {}))
        self.config.cmd_opts = argparse.Namespace(x=None, sql=False, tag=None, name=None, raiseerr=False)
        if not self.config.get_main_option("script_location"):
            self.config.set_main_option("script_location", work["scripts"].replace("%", "%%"))
        named = re.match(r"postgres(?:ql)?(\+\w+)?:", self.config.get_main_option("sqlalchemy.url") or "")
        driver = named[1] if named and named[1] else _driver()
        self.config.set_main_option(
            "sqlalchemy.url", ("postgresql" + driver + work["url"]).replace("%", "%%")
        )
        self.scripts = ScriptDirectory.from_config(self.config)
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        self.pending: list[Any] = []
        self.engines: set[Any] = set()

    def list(self) -> dict[str, Any]:
        return {"version": __version__, "migrations": None}

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        script = self.scripts.get_revision(request["version"])
        assert script
        path = script.module.__file__
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            if file.read() != request["text"]:
                raise LookupError("the tool loads another text of this migration: " + path)
        upgrade = script.module.upgrade.__code__.co_firstlineno
        self.recorder.begin(request["step"], lambda: self.line_in(path) or upgrade, request.get("stop"))

        def only(heads: Any, context: Any) -> list[RevisionStep]:
            return [RevisionStep(self.scripts.revision_map, script, True)]

        self.pending = []
        try:
            with EnvironmentContext(self.config, self.scripts, fn=only, destination_rev=request["version"]):
                self.scripts.run_env()
        finally:
            for engine in self.engines:  # auditkit may want to copy the database
                if not engine.dialect.is_async:
                    engine.dispose()
            self.engines.clear()
        return {}

    def _before(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        self.engines.add(connection.engine)
        raw = connection.connection
        auto = bool(getattr(raw.dbapi_connection, "autocommit", False))
        own = raw.cursor()
        if connection.dialect.paramstyle in ("format", "pyformat"):
            statement = statement.replace("%%", "%")
        self.pending.append(self.recorder.before(statement, own, auto))
        own.close()

    def _after(self, connection: Any, *rest: Any) -> None:
        own = connection.connection.cursor()
        self.recorder.after(self.pending.pop() if self.pending else None, own)
        own.close()


def _driver() -> str:
    for name in ("psycopg2", "psycopg", "asyncpg"):
        if importlib.util.find_spec(name):
            return "+" + name
    return ""
