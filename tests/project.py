"""A small project in the manner of Supabase: five migrations, its databases, and the command line run on it.

The ledger is written as the CLI writes it: one transaction per file, its row included.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit import cli
from auditkit.demo.build import LEDGER, RECORD
from auditkit.history.split import split

MIGRATIONS = {
    "20260101100000_people.sql": """\
create table public.people (
  id bigint generated always as identity primary key,
  email text not null
);
""",
    "20260102100000_notes.sql": """\
create table public.notes (
  id bigint generated always as identity primary key,
  person bigint not null references public.people,
  body text
);
alter table public.notes enable row level security;
create policy own_notes on public.notes for select using (true);
""",
    "20260103100000_notes_index.sql": "create index notes_person on public.notes (person);\n",
    "20260104100000_count_notes.sql": """\
create function public.count_notes(p bigint) returns bigint language sql stable
  as $$ select count(*) from public.notes where person = p $$;
""",
    "20260105100000_people_name.sql": "alter table public.people add column name text;\n",
}


@dataclass
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Project:
    """A folder with migrations and an auditkit.toml."""

    root: Path

    @classmethod
    def make(cls, root: Path, files: Mapping[str, str] = MIGRATIONS) -> Project:
        project = cls(root)
        for name, text in files.items():
            project.write(name, text)
        return project

    def write(self, name: str, text: str) -> Path:
        """Add or replace a migration."""
        path = self.root / "supabase" / "migrations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def settings(self, environments: Mapping[str, str], more: str = "") -> None:
        """Write auditkit.toml."""
        self.root.mkdir(parents=True, exist_ok=True)
        lines = ["[environments]", *(f"{name} = {json.dumps(value)}" for name, value in environments.items())]
        (self.root / "auditkit.toml").write_text("\n".join([*lines, "", more, ""]), "utf-8")

    def apply(self, conninfo: str, names: Iterable[str] | None = None) -> str:
        """Apply migrations (all by default) to a database and record them; returns *conninfo*."""
        folder = self.root / "supabase" / "migrations"
        chosen = sorted(path.name for path in folder.iterdir()) if names is None else list(names)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("set client_min_messages = error")
            for statement in LEDGER:
                connection.execute(statement.encode())
            for name in chosen:
                version, _, rest = name.removesuffix(".sql").partition("_")
                statements = [s.text for s in split((folder / name).read_text("utf-8"))]
                with connection.transaction():
                    for text in statements:
                        connection.execute(text.encode())
                    connection.execute(RECORD, (version, rest, statements))
        return conninfo

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        process: bool = False,
        timeout: float = 120,
    ) -> Answer:
        """Run the command line in this folder: here, which is a second faster, or in a *process* of its own."""
        if not process:
            return self._here(arguments, environment(env))
        done = subprocess.run(
            [sys.executable, "-m", "auditkit", *arguments],
            cwd=self.root,
            env=environment(env),
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def _here(self, arguments: Sequence[str], variables: Mapping[str, str]) -> Answer:
        before = dict(os.environ)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in "oe")
        with (
            contextlib.chdir(self.root),
            Path(os.devnull).open() as nothing,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(SystemExit) as stop,
        ):
            patch.setattr(sys, "stdin", nothing)
            try:
                os.environ.clear()
                os.environ.update(variables)
                cli.main(arguments)
            finally:
                os.environ.clear()
                os.environ.update(before)
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Answer(int(stop.value.code or 0), *said)


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment without connection variables, and with *changes* (None removes)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "AUDITKIT_")) and k != "NO_COLOR"}
    for name in ("AUDITKIT_CACHE_DIR", "AUDITKIT_PG_BINDIR"):
        if name in os.environ:
            kept[name] = os.environ[name]
    for name, value in (changes or {}).items():
        kept.pop(name, None)
        if value is not None:
            kept[name] = value
    return kept
