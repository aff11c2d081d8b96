"""Ledgers that the real tools leave behind, and a splitter that agrees with the real Supabase CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import psycopg
import psycopg.conninfo
import pytest
import tools
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_history_split import CASES, SCRIPTS

from auditkit.connect import connect
from auditkit.history.files import Migrations, load_migrations
from auditkit.history.ledgers import History, read_history
from auditkit.history.split import split
from auditkit.history.states import HistoryMatrix, states

pytestmark = pytest.mark.tools


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Ann Example", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True)


def history(conninfo: str, tool: str | None = None) -> History:
    with connect(conninfo) as connection:
        return read_history(connection, tool)


def matrix(root: Path, conninfo: str) -> HistoryMatrix:
    migrations = load_migrations(root)
    return states(migrations, {"db": history(conninfo, migrations.tool)})


def shown(result: HistoryMatrix) -> dict[str, str]:
    return {f"{row.version}_{row.name}": row.states["db"] for row in result.rows}


class Supabase:
    """A Supabase project on disk, and the CLI pointed at one database."""

    def __init__(self, root: Path, conninfo: str) -> None:
        self.root, self.conninfo = root, conninfo
        self.folder = root / "supabase" / "migrations"
        self.folder.mkdir(parents=True)

    def write(self, name: str, sql: str) -> Path:
        path = self.folder / f"{name}.sql"
        path.write_bytes(sql.encode())
        return path

    def run(self, *arguments: str) -> str:
        target = ["--db-url", tools.url_of(self.conninfo), "--workdir", str(self.root), "--yes"]
        return tools.run([str(tools.supabase_cli()), *arguments, *target], cwd=self.root)


@pytest.fixture
def supabase(tmp_path: Path, database: str) -> Supabase:
    return Supabase(tmp_path, database)


@pytest.fixture
def pushed(supabase: Supabase) -> Supabase:
    """Four migrations, committed and pushed."""
    git(supabase.root, "init", "-q")
    supabase.write("20240101000000_users", "create table users (id int);\n")
    supabase.write(
        "20240102000000_total", "create function total() returns int language sql as $$ select 1 $$;\n"
    )
    supabase.write("20240103000000_index", "-- fast\ncreate index users_id on users (id);\n")
    supabase.write("20240105000000_view", "create view v as select id from users;\n")
    git(supabase.root, "add", ".")
    git(supabase.root, "commit", "-qm", "First migrations")
    supabase.run("db", "push")
    return supabase


def test_supabase_push(pushed: Supabase) -> None:
    result = matrix(pushed.root, pushed.conninfo)
    assert set(shown(result).values()) == {"applied"}
    assert [row.cells["db"].content for row in result.rows] == ["identical"] * 4
    environment = result.environment("db")
    assert (environment.tool, environment.table) == ("supabase", "supabase_migrations.schema_migrations")
    assert (environment.head, environment.applied, environment.pending) == ("20240105000000", 4, 0)
    assert environment.ordered_by == "row age"
    listed = json.loads(pushed.run("migration", "list", "--output-format", "json"))
    assert json.dumps(listed).count("20240103000000") >= 2  # the CLI too sees it here and there


def test_supabase_edited_after_push(pushed: Supabase) -> None:
    pushed.write(
        "20240102000000_total", "create function total() returns int language sql as $$ select 2 $$;\n"
    )
    pushed.write("20240103000000_index", "-- very fast\nCREATE INDEX users_id\r\n  ON users(id);\r\n")
    git(pushed.root, "commit", "-qam", "Edit")
    result = matrix(pushed.root, pushed.conninfo)
    assert list(shown(result).values()) == ["applied", "edited", "applied", "applied"]
    edited, cosmetic = result.rows[1].cells["db"], result.rows[2].cells["db"]
    assert edited.blob and edited.blob.commit.subject == "First migrations"
    assert edited.blob.migration.sql and "select 1" in edited.blob.migration.sql
    assert edited.row and "select 1" in edited.row["statements"][0]
    assert cosmetic.content == "cosmetic"
    assert cosmetic.notes == ("edited after it was applied, in comments or layout only",)


def test_supabase_pending_and_out_of_order(pushed: Supabase) -> None:
    pushed.write("20240104000000_late", "create table late ();")
    result = matrix(pushed.root, pushed.conninfo)
    assert shown(result)["20240104000000_late"] == "pending"
    assert result.rows[3].cells["db"].notes == (
        "older than the last applied migration: `db push` refuses it without --include-all",
    )
    pushed.run("db", "push", "--include-all")
    result = matrix(pushed.root, pushed.conninfo)
    assert list(shown(result).values()) == ["applied"] * 3 + ["out_of_order", "applied"]
    order = [row["version"] for row in result.environment("db").applied_rows]
    assert order == [f"2024010{day}000000" for day in (1, 2, 3, 5, 4)]


def test_supabase_repair(pushed: Supabase) -> None:
    pushed.run("migration", "repair", "--status", "reverted", "20240103000000")
    assert shown(matrix(pushed.root, pushed.conninfo))["20240103000000_index"] == "pending"
    pushed.write("20240106000000_never_run", "create table never_run ();")
    pushed.run("migration", "repair", "--status", "applied", "20240106000000")
    cell = matrix(pushed.root, pushed.conninfo).rows[-1].cells["db"]
    assert (cell.state, cell.content) == ("applied", "identical")  # the ledger cannot tell: repair lies


def test_supabase_unknown_and_restamped(pushed: Supabase) -> None:
    (pushed.folder / "20240105000000_view.sql").unlink()
    (pushed.folder / "20240103000000_index.sql").rename(pushed.folder / "20240107000000_index.sql")
    result = matrix(pushed.root, pushed.conninfo)
    assert shown(result) == {
        "20240101000000_users": "applied",
        "20240102000000_total": "applied",
        "20240105000000_view": "unknown",
        "20240107000000_index": "restamped",
    }
    assert result.rows[3].cells["db"].notes[0] == "the same content is recorded as version 20240103000000"


def test_supabase_no_transaction_directive(supabase: Supabase) -> None:
    supabase.write(
        "1_a", "-- pg-delta: transaction=false\ncreate table a (x int);\ncreate index concurrently on a (x);"
    )
    supabase.write("2_b", "select 1;\n-- pg-delta: transaction=false\n")
    assert [migration.transactional for migration in load_migrations(supabase.root)] == [False, True]
    supabase.run("db", "push")
    assert set(shown(matrix(supabase.root, supabase.conninfo)).values()) == {"applied"}


def stored(supabase: Supabase, scripts: list[str]) -> list[list[str]]:
    """What the CLI makes of each script; `repair` stores without running, so they need not be valid."""
    for number, script in enumerate(scripts, 1):
        supabase.write(f"{number:05}_x", script)
    supabase.run(
        "migration", "repair", "--status", "applied", *(f"{n:05}" for n in range(1, len(scripts) + 1))
    )
    return [row["statements"] for row in sorted(history(supabase.conninfo).rows, key=lambda r: r["version"])]


def test_the_splitter_agrees_with_the_cli(supabase: Supabase) -> None:
    scripts = [script for script, _ in CASES.values()]
    assert stored(supabase, scripts) == [[s.text for s in split(script)] for script in scripts]


@given(st.lists(SCRIPTS, min_size=150, max_size=150))
@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_the_splitter_agrees_with_the_cli_on_anything(supabase: Supabase, scripts: list[str]) -> None:
    assert stored(supabase, scripts) == [[s.text for s in split(script)] for script in scripts]


def test_dbmate(tmp_path: Path, database: str) -> None:
    folder = tmp_path / "db" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20240101000000_users.sql").write_text(
        "-- migrate:up\ncreate table users (id int);\n\n-- migrate:down\ndrop table users;\n"
    )
    (folder / "20240102000000_index.sql").write_text(
        "-- migrate:up transaction:false\ncreate index concurrently on users (id);\n-- migrate:down\n"
    )
    dbmate = [
        str(tools.dbmate()),
        "--url",
        tools.url_of(database, "postgres"),
        "-d",
        str(folder),
        "--no-dump-schema",
    ]
    tools.run([*dbmate, "up"], cwd=tmp_path)
    (folder / "20240103000000_more.sql").write_text("-- migrate:up\ncreate table more ();\n")
    migrations = load_migrations(tmp_path)
    assert (migrations.tool, [m.transactional for m in migrations]) == ("dbmate", [True, False, True])
    assert [(s.line, s.text) for s in migrations[0].statements] == [(2, "create table users (id int)")]
    result = matrix(tmp_path, database)
    assert list(shown(result).values()) == ["applied", "applied", "pending"]
    assert result.environment("db").tool == "dbmate"


ALEMBIC_ENV = """
    from alembic import context
    from sqlalchemy import create_engine
    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


def revision(folder: Path, name: str, down: str, body: str = "pass") -> None:
    version, _, _ = name.partition("_")
    (folder / f"{name}.py").write_text(
        f'"""{name}"""\nfrom alembic import op\n\nrevision: str = "{version}"\ndown_revision = {down}\n\n'
        f"def upgrade():\n    {body}\n\ndef downgrade():\n    pass\n"
    )


def test_alembic(tmp_path: Path, database: str) -> None:
    versions = tmp_path / "db" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "db" / "env.py").write_text(dedent(ALEMBIC_ENV))
    words = psycopg.conninfo.conninfo_to_dict(database)
    target = f"postgresql+psycopg:///{words['dbname']}?user={words['user']}"
    target += f"&host={words.get('host', 'localhost')}&port={words.get('port', 5432)}"
    (tmp_path / "alembic.ini").write_text(
        f"[alembic]\nscript_location = %(here)s/db\nsqlalchemy.url = {target}\n"
    )
    # By name z would come last; by dependency it is the first.
    revision(versions, "zz11_first", "None", "op.execute('create table a ()')")
    revision(versions, "bb22_left", '"zz11"')
    revision(versions, "aa33_right", '"zz11"')
    revision(versions, "cc44_merge", '("bb22", "aa33")')
    alembic = [sys.executable, "-m", "alembic", "-c", str(tmp_path / "alembic.ini"), "upgrade"]
    tools.run([*alembic, "bb22"], cwd=tmp_path)
    tools.run([*alembic, "aa33"], cwd=tmp_path)
    migrations = load_migrations(tmp_path)
    assert migrations.tool == "alembic"
    assert [(m.version, m.name) for m in migrations] == [
        ("zz11", "first"),
        ("aa33", "right"),
        ("bb22", "left"),
        ("cc44", "merge"),
    ]
    result = matrix(tmp_path, database)
    assert list(shown(result).values()) == ["applied", "applied", "applied", "pending"]
    assert result.environment("db").head == "aa33, bb22"
    tools.run([*alembic, "head"], cwd=tmp_path)
    assert matrix(tmp_path, database).environment("db").head == "cc44"
    (versions / "cc44_merge.py").unlink()
    lost = matrix(tmp_path, database)
    assert [row.states for row in lost.rows] == [{}, {}, {}, {"db": "unknown"}]
    assert lost.environment("db").not_checked[0]["what"] == "which migrations are applied to db"


DJANGO = """
    import sys
    from django.conf import settings
    settings.configure(
        INSTALLED_APPS=["shop", "blog"], DEFAULT_AUTO_FIELD="django.db.models.AutoField", USE_TZ=True,
        DATABASES={{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": {dbname!r},
                                 "USER": {user!r}, "HOST": {host!r}, "PORT": {port!r}}}}},
    )
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""


def django_migration(root: Path, app: str, name: str, dependencies: str, body: str = "") -> None:
    folder = root / app / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    for package in (root / app, folder):
        (package / "__init__.py").touch()
    (folder / f"{name}.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = {dependencies}\n"
        f"    operations = [migrations.RunSQL('create table {app}_{name} ()')]\n{body}"
    )


def test_django(tmp_path: Path, database: str) -> None:
    words = psycopg.conninfo.conninfo_to_dict(database)
    parts = {key: str(words.get(key, "")) for key in ("dbname", "user", "host", "port")}
    (tmp_path / "manage.py").write_text(dedent(DJANGO.format(**parts)))
    django_migration(tmp_path, "shop", "0001_initial", "[('blog', '0002_more')]")
    django_migration(tmp_path, "blog", "0001_initial", "[]")
    django_migration(tmp_path, "blog", "0002_more", "[('blog', '0001_initial')]", "    atomic = False\n")
    tools.run([sys.executable, "manage.py", "migrate", "blog"], cwd=tmp_path)
    migrations = load_migrations(tmp_path)
    assert migrations.tool == "django"
    assert [m.version for m in migrations] == ["blog.0001_initial", "blog.0002_more", "shop.0001_initial"]
    assert [m.transactional for m in migrations] == [True, False, True]
    result = matrix(tmp_path, database)
    assert list(shown(result).values()) == ["applied", "applied", "pending"]
    assert result.environment("db").head == "blog.0002_more"
    assert all(row["applied_at"] and row["position"] for row in result.environment("db").applied_rows)


DRIZZLE = """
    const postgres = require('postgres');
    const { drizzle } = require('drizzle-orm/postgres-js');
    const { migrate } = require('drizzle-orm/postgres-js/migrator');
    const sql = postgres(JSON.parse(process.argv[2]));
    migrate(drizzle(sql), { migrationsFolder: process.argv[3] }).then(() => sql.end());
"""


@pytest.fixture
def drizzle(tmp_path: Path, database: str) -> Iterator[Callable[[], None]]:
    script = tmp_path / "migrate.cjs"
    script.write_text(dedent(DRIZZLE))
    packages = [tools.npm_package("drizzle-orm", "0.45.4"), tools.npm_package("postgres", "3.4.7")]
    path = os.pathsep.join(str(package.parent) for package in packages)
    words = psycopg.conninfo.conninfo_to_dict(database)
    options = {"host": words.get("host", "localhost"), "port": int(words.get("port") or 5432)}
    options |= {"database": words["dbname"], "user": words["user"], "onnotice": None}
    if str(options["host"]).startswith("/"):
        options["path"] = f"{options['host']}/.s.PGSQL.{options['port']}"

    def run() -> None:
        command = [*tools._node(), str(script), json.dumps(options), str(tmp_path / "drizzle")]
        done = subprocess.run(command, env={**os.environ, "NODE_PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    yield run


def test_drizzle(tmp_path: Path, database: str, drizzle: Callable[[], None]) -> None:
    folder = tmp_path / "drizzle"
    (folder / "meta").mkdir(parents=True)

    def journal(*entries: tuple[int, str]) -> None:
        listed = [
            {"idx": i, "version": "7", "when": when, "tag": tag, "breakpoints": True}
            for i, (when, tag) in enumerate(entries)
        ]
        (folder / "meta" / "_journal.json").write_text(
            json.dumps({"version": "7", "dialect": "postgresql", "entries": listed})
        )

    (folder / "0000_users.sql").write_text(
        "CREATE TABLE users (id int);--> statement-breakpoint\nCREATE TABLE b ();\n"
    )
    (folder / "0002_posts.sql").write_text("CREATE TABLE posts (id int);\n")
    journal((1704103200000, "0000_users"), (1704103400000, "0002_posts"))
    drizzle()
    # Merged late with an older time: drizzle skips it without a word, now and ever after.
    (folder / "0001_late.sql").write_text("CREATE TABLE late (id int);\n")
    journal((1704103200000, "0000_users"), (1704103300000, "0001_late"), (1704103400000, "0002_posts"))
    drizzle()
    result = matrix(tmp_path, database)
    assert result.environment("db").tool == "drizzle"
    assert [(row.name, row.states["db"]) for row in result.rows] == [
        ("0000_users", "applied"),
        ("0001_late", "pending"),
        ("0002_posts", "applied"),
    ]
    assert "drizzle will skip it silently" in result.rows[1].cells["db"].notes[0]
    (folder / "0002_posts.sql").write_text("CREATE TABLE posts (id bigint);\n")
    cell = matrix(tmp_path, database).rows[2].cells["db"]
    assert (cell.state, cell.content) == ("edited", "different")


# Prisma without its native engines: the WebAssembly one over a driver adapter, which does not know the type
# `name` (oid 19) that the engine asks for.
PRISMA = """
    import { createRequire } from 'node:module'
    const require = createRequire(process.env.ADAPTER)
    const pg = require('pg')
    const { PrismaPg } = require('@prisma/adapter-pg')
    const addFields = pg.Result.prototype.addFields
    pg.Result.prototype.addFields = function (fields) {
      for (const field of fields) if (field.dataTypeID === 19) field.dataTypeID = 25
      return addFields.call(this, fields)
    }
    export default {
      engine: 'js', experimental: { adapter: true }, schema: 'prisma/schema.prisma',
      adapter: async () => new PrismaPg(JSON.parse(process.env.OPTIONS)),
    }
"""


class Prisma:
    def __init__(self, root: Path, conninfo: str) -> None:
        self.root, self.folder = root, root / "prisma" / "migrations"
        self.folder.mkdir(parents=True)
        (self.folder / "migration_lock.toml").write_text('provider = "postgresql"\n')
        (root / "prisma" / "schema.prisma").write_text(
            'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'
        )
        (root / "prisma.config.mjs").write_text(dedent(PRISMA))
        words = psycopg.conninfo.conninfo_to_dict(conninfo)
        options = {"host": words.get("host", "localhost"), "port": int(words.get("port") or 5432)}
        options |= {"database": words["dbname"], "user": words["user"]}
        self.program = tools.npm_package("prisma", "6.19.3") / "build" / "index.js"
        self.environment = {
            **os.environ,
            "ADAPTER": str(tools.npm_package("@prisma/adapter-pg", "6.19.3") / "package.json"),
            "OPTIONS": json.dumps(options),
            "DATABASE_URL": "postgresql://unused",
            # Named so that nothing is downloaded; neither is started.
            "PRISMA_QUERY_ENGINE_LIBRARY": sys.executable,
            "PRISMA_SCHEMA_ENGINE_BINARY": sys.executable,
            "CHECKPOINT_DISABLE": "1",
        }

    def write(self, name: str, sql: str) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "migration.sql").write_bytes(sql.encode())

    def deploy(self) -> subprocess.CompletedProcess[str]:
        command = [*tools._node(), str(self.program), "migrate", "deploy", "--config", "prisma.config.mjs"]
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)


def test_prisma(tmp_path: Path, database: str) -> None:
    prisma = Prisma(tmp_path, database)
    prisma.write("20240101000000_init", "create table a (id int);\n")
    prisma.write("20240102000000_two", "create table b (id int);\n")
    prisma.write("20240103000000_bad", "select 1/0;\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "First")
    done = prisma.deploy()
    assert done.returncode == 1 and "division by zero" in done.stderr, done.stderr
    result = matrix(tmp_path, database)
    assert list(shown(result).items()) == [
        ("20240101000000_init", "applied"),
        ("20240102000000_two", "applied"),
        ("20240103000000_bad", "failed"),
    ]
    assert [row.cells["db"].content for row in result.rows] == ["identical"] * 3
    assert "division by zero" in result.rows[2].cells["db"].notes[0]

    prisma.write("20240101000000_init", "create table a (id int);\r\n")  # Prisma accepts either line end
    prisma.write("20240102000000_two", "create table b (id bigint);\n")
    result = matrix(tmp_path, database)
    assert list(shown(result).values()) == ["applied", "edited", "failed"]
    edited = result.rows[1].cells["db"]
    assert edited.blob and edited.blob.migration.sql == "create table b (id int);\n"
    prisma.write("20240102000000_two", "-- more\ncreate table b (\n  id int\n);\n")
    cell = matrix(tmp_path, database).rows[1].cells["db"]
    assert (cell.state, cell.content) == ("applied", "cosmetic")


def test_a_project_without_a_ledger(tmp_path: Path, database: str) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1_a.sql").write_text("select 1")
    migrations: Migrations = load_migrations(tmp_path)
    result = states(migrations, {"db": history(database)})
    assert shown(result) == {"1_a": "pending"}
    assert result.environment("db").notes == ("no migration history table was found",)
