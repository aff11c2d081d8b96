"""Make a draft real: a git repository, and a database for each environment on a scratch server."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from auditkit import server as servers
from root_causes.drafts import Draft, Step
from root_causes.histories import ROLES
from root_causes.ledgers import Text

__all__ = ["Built", "Unusable", "World", "storm"]

#: What an operator or the platform has in a cluster before the first migration.
CLUSTER = (*ROLES, "dashboard", "intern", "supabase_admin", "supabase_auth_admin")
PLATFORM = """
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
SET ROLE supabase_auth_admin;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.sub', true), '')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.role', true) $$;
RESET ROLE;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
"""


class Unusable(Exception):
    """The case could not be made: the generator's fault, or the server's."""


@dataclass
class Built:
    """``databases`` by environment; ``failed``: migrations that an environment could not run."""

    repository: Path
    databases: dict[str, str]
    failed: dict[str, list[int]] = field(default_factory=dict)


class World:
    """A server (and one of another major version when asked for), and a folder for repositories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.server = self._start(None)
        self._others: dict[int, servers.Server] = {}

    def _start(self, major: int | None) -> servers.Server:
        started = servers.start(major=major, label="bench")
        with psycopg.connect(started.conninfo("postgres"), autocommit=True) as connection:
            for role in CLUSTER:
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        return started

    def other(self, major: int) -> servers.Server:
        if major not in self._others:
            self._others[major] = self._start(major)
        return self._others[major]

    def stop(self) -> None:
        for server in (self.server, *self._others.values()):
            server.stop()

    # --- one case

    def build(self, draft: Draft) -> Built:
        self.count += 1
        root = self.folder / f"case{self.count}"
        repository(root, draft)
        built = Built(root, {})
        for number, name in enumerate(draft.environments):
            injured = name == draft.environment
            server = (
                self.other(int(draft.options["major"]))
                if injured and "major" in draft.options
                else self.server
            )
            database = f"case{self.count}_{name}"
            if injured and "clone" in draft.options and number:
                server.create_database(database, template=f"case{self.count}_{draft.environments[0]}")
            else:
                locale = draft.options.get("locale", "") if injured else ""
                create(server, database, locale)
                self.fill(server, database, draft, name, built)
            built.databases[name] = server.conninfo(database, user="postgres")
            if injured and "restore" in draft.options:
                built.databases[name] = self.restored(server, database, draft.options["restore"])
        self.settings(draft, built)
        return built

    def fill(self, server: servers.Server, database: str, draft: Draft, name: str, built: Built) -> None:
        tool = draft.tool
        with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            if tool.name == "supabase":
                connection.execute(PLATFORM)
            for statement in tool.ledger:
                connection.execute(statement.encode())
            failed = built.failed.setdefault(name, [])
            for batch in batches(draft, name):
                try:
                    with connection.transaction(force_rollback=False) if len(batch) > 1 else nullcontext():
                        for step in batch:
                            take(connection, draft, step)
                except psycopg.Error as error:
                    if "dependants" not in draft.options:
                        raise Unusable(f"{name}: migration {batch[-1].key}: {error}") from error
                    for step in batch:
                        try:
                            take(connection, draft, step)
                        except psycopg.Error:
                            connection.execute("ROLLBACK") if connection.info.transaction_status else None
                            failed.append(step.key)
            self.tamper(connection, draft, name)

    def tamper(self, connection: psycopg.Connection[Any], draft: Draft, name: str) -> None:
        for statement in draft.hands[name]:
            try:
                if "pg_index" in statement:
                    connection.execute("SET allow_system_table_mods = on")
                connection.execute(statement.encode())
            except psycopg.Error as error:
                raise Unusable(f"{name}: by hand: {statement}: {error}") from error
        for option, value in draft.options.items():
            what, *words = option.split()
            if what == "forget" and words[0] == name:
                sql, values = draft.tool.forget(draft.units[int(words[1])])
                assert connection.execute(sql.encode(), values).rowcount == 1
            elif what == "restamp" and words[0] == name:
                old, new = draft.units[int(words[1])], draft.units[int(value)]
                table, column = draft.tool.table, draft.tool.column
                update = f"UPDATE {table} SET {column} = %s WHERE {column} = %s"
                assert (
                    connection.execute(update.encode(), (draft.tool.key(new), draft.tool.key(old))).rowcount
                    == 1
                )
        if draft.options.get("role"):
            role = draft.options["role"]
            for schema in {table.split(".")[0] for table in [draft.tool.table] if "." in table}:
                connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())

    def settings(self, draft: Draft, built: Built, databases: Mapping[str, str] | None = None) -> Path:
        lines = ["[environments]"]
        for name, conninfo in (databases or built.databases).items():
            role = draft.options.get("role", "postgres") if name == draft.environment else "postgres"
            lines.append(f"{name} = {json.dumps(conninfo.replace('user=postgres', f'user={role}'))}")
        lines.append(f'[migrations]\ntool = "{draft.tool.name}"')
        path = built.repository / "auditkit.toml"
        path.write_text("\n".join([*lines, draft.settings, ""]))
        return path

    def restored(self, server: servers.Server, database: str, how: str) -> str:
        """A copy of a database by way of a dump: other transaction ids, other object ids, the same schema."""
        name, bindir = f"{database}_{how}", server.binaries.bindir
        server.create_database(name)
        target, source = server.conninfo(name, user="postgres"), server.conninfo(database, user="postgres")
        dump = [bindir / "pg_dump", *(["-Fc"] if how == "custom" else []), "-d", source]
        load = [
            bindir / "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            *(["-1"] if how == "single" else []),
            "-d",
            target,
        ]
        if how == "custom":
            load = [bindir / "pg_restore", "-e", "-d", target]
        written = subprocess.run(dump, capture_output=True)
        read = subprocess.run(load, input=written.stdout, capture_output=True)
        if written.returncode or read.returncode:
            raise Unusable(f"dump and restore: {(written.stderr + read.stderr).decode()[-300:]}")
        return target

    def drop(self, built: Built) -> None:
        for conninfo in built.databases.values():
            name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
            for server in (self.server, *self._others.values()):
                for ending in ("", "_text", "_single", "_custom"):
                    server.drop_database(f"{name}{ending}")
        shutil.rmtree(built.repository, ignore_errors=True)


def create(server: servers.Server, database: str, locale: str) -> None:
    if not locale:
        server.create_database(database)
        return
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0 LOCALE "{locale}"'.encode())


@contextmanager
def storm(conninfo: str, statement: str) -> Iterator[None]:
    """Run a statement over and over in another session, if there is one."""
    over = threading.Event()

    def rage() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not over.wait(0.05):
                connection.execute(statement.encode())

    thread = threading.Thread(target=rage)
    if statement:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if statement:
            thread.join()


def batches(draft: Draft, name: str) -> Iterable[list[Step]]:
    """Drizzle runs all that is pending in one transaction; everybody else, each migration by itself."""
    steps = draft.steps[name]
    if draft.tool.name != "drizzle":
        yield from ([step] for step in steps)
        return
    rng = random.Random(f"{draft.history.seed}/{name}")
    batch: list[Step] = []
    room = 0
    for step in steps:
        alone = step.how != "run" or any("ADD VALUE" in s for s in step.text.statements)
        if alone or room == 0:
            if batch:
                yield batch
            batch, room = [], rng.randint(1, 6)
        batch.append(step)
        room = 0 if alone else room - 1
    if batch:
        yield batch


def take(connection: psycopg.Connection[Any], draft: Draft, step: Step) -> None:
    if step.how == "sql":
        connection.execute(step.sql.encode())
        return
    unit = draft.units[step.key]
    if step.how == "forget":
        sql, values = draft.tool.forget(unit)
        connection.execute(sql.encode(), values)
    elif step.how == "run":
        draft.tool.run(connection, unit, step.text, step.recorded)
    elif step.how == "mark":
        draft.tool.mark(connection, unit, step.recorded)
    elif step.text.autocommit:
        for statement in step.text.statements:
            connection.execute(statement.encode())
    else:
        connection.execute(step.text.sql.encode())


# --- git


def git(root: Path, *arguments: str, stdin: bytes = b"") -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=root, env=clean, input=stdin, capture_output=True, check=True)


def repository(root: Path, draft: Draft) -> None:
    """The files as several people committed them over the years, their edits included."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--template=")
    git(root, "symbolic-ref", "HEAD", "refs/heads/main")
    stream: list[bytes] = []
    authors = sorted({m.author for m in draft.history.migrations})
    old_place = "former/" if draft.options.get("move") else ""
    first: list[tuple[Any, Text]] = []
    for index in sorted(draft.git):
        text = draft.git[index][0]
        assert text is not None
        first.append((draft.units[index], text))
        files = draft.tool.files(
            first if draft.tool.name == "drizzle" and len(draft.git) < 300 else first[-1:]
        )
        migration = draft.history.migrations[index] if index < len(draft.history.migrations) else None
        author = migration.author if migration else authors[0]
        stream.append(commit("main", author, draft.units[index].moment, f"Add {draft.units[index].name}",
                             {old_place + path: content for path, content in files.items()}))  # fmt: skip
    after = draft.units[max(draft.git)].moment + dt.timedelta(days=3)
    if draft.tool.name == "drizzle" and len(draft.git) >= 300:
        stream.append(commit("main", authors[0], after, "Journal", draft.tool.files(first)))
    if old_place:
        moved = commit("main", authors[-1], after, "Move things", {})
        places = {path.split("/")[0] for path in draft.tool.files(first)}
        stream.append(moved + b"".join(f"R former/{place} {place}\n".encode() for place in sorted(places)))
    edits = [(index, later) for index, texts in draft.git.items() for later in texts[1:]]
    for number, (index, text) in enumerate(edits):
        when = after + dt.timedelta(days=1 + number)
        who = authors[number % len(authors)]
        if text is None:
            gone = draft.tool.path(draft.units[index])
            stream.append(commit("main", who, when, "Remove a migration", {}) + f"D {gone}\n".encode())
        else:
            path = draft.tool.path(draft.units[index])
            stream.append(commit("main", who, when, "Correct a migration", {path: draft.tool.write(text)}))
    if draft.tool.name == "drizzle" and any(texts[-1] is None for texts in draft.git.values()):
        left = [
            (draft.units[i], texts[-1]) for i, texts in sorted(draft.git.items()) if texts[-1] is not None
        ]
        journal = {p: c for p, c in draft.tool.files(left).items() if p.endswith("_journal.json")}
        stream.append(commit("main", authors[0], after + dt.timedelta(days=90), "Journal", journal))
    for old, new in draft.renumbered.items():
        files = {draft.tool.path(draft.units[new]): draft.tool.write(draft.text(old))}
        gone = f"D {draft.tool.path(draft.units[old])}\n".encode()
        stream.append(commit("main", authors[0], after, "Renumber a migration", files) + gone)
    for key, text in draft.branch.items():
        units = (
            [*first, (draft.units[key], text)] if draft.tool.name == "drizzle" else [(draft.units[key], text)]
        )
        files = draft.tool.files(units)
        stream.append(commit("feature", authors[-1], after, "Work on a branch", files, start="main"))
    git(root, "fast-import", "--quiet", stdin=b"".join(stream))
    git(root, "reset", "--hard", "--quiet")


def commit(
    branch: str, author: str, when: dt.datetime, subject: str, files: Mapping[str, str], start: str = ""
) -> bytes:
    name = f"{author} <{author.split(maxsplit=1)[0].lower()}@example.org> {int(when.timestamp())} +0000"
    parts = [f"commit refs/heads/{branch}\nauthor {name}\ncommitter {name}\n".encode(), data(subject)]
    if start:
        parts.append(f"from refs/heads/{start}\n".encode())
    for path, content in files.items():
        parts += [f"M 100644 inline {path}\n".encode(), data(content)]
    return b"".join(parts)


def data(text: str) -> bytes:
    raw = text.encode()
    return b"data %d\n%s\n" % (len(raw), raw)
