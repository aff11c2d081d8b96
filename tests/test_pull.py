"""`auditkit pull`: a migration as the project's tool wants it, proven before it is written, and run by the real tool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import tools
from oracle import normalised_dump, program
from project import Project

from auditkit.errors import ConfigError
from auditkit.history.drafts import Part, draft
from auditkit.history.files import load_migrations
from auditkit.history.migration import Migration, Migrations
from auditkit.history.migration import Project as Files

BY_HAND = """
    create type public.mood as enum ('sad');
    create table public.by_hand (id int primary key, mood public.mood);
    create function public.by_hand_count() returns bigint language sql as 'select count(*) from public.by_hand';
    drop index public.notes_person;
    grant select on public.by_hand to public"""
USED_AT_ONCE = """
    alter type public.mood add value 'glad';
    alter table public.by_hand alter mood set default 'glad'"""


def execute(conninfo: str, text: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("set client_min_messages = error")
        for statement in text.split(";"):
            connection.execute(statement.encode())


@pytest.fixture
def project(tmp_path: Path, databases: Callable[..., str]) -> tuple[Project, str]:
    """A project, and its production with changes made by hand."""
    project, production = Project.make(tmp_path / "project"), databases("production")
    project.apply(production)
    execute(production, BY_HAND)
    project.settings({"production": production})
    return project, production


def migrations(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / "supabase" / "migrations").iterdir())


def test_a_pull_is_a_migration_of_the_project(
    project: tuple[Project, str], databases: Callable[..., str]
) -> None:
    here, production = project
    before = migrations(here)
    trial = here.run("pull", "production", "--dry-run")
    assert (trial.code, migrations(here)) == (0, before)
    assert "create" not in trial.err.lower()
    answer = here.run("pull", "production", "--name", "Captured by hand")
    (file,) = set(migrations(here)) - set(before)
    assert answer.out == f"supabase/migrations/{file}\n"
    version = re.fullmatch(r"(\d{14})_captured_by_hand\.sql", file)
    assert version
    text = (here.root / "supabase" / "migrations" / file).read_text("utf-8")
    assert not re.search(r"^(BEGIN|COMMIT)", text, re.MULTILINE)  # the CLI opens the transaction
    repair = f'supabase migration repair {version[1]} --status applied --db-url "$DATABASE_URL"'
    assert answer.err.splitlines() == [
        "proof: with it: proven, nothing is left",
        "proof: the way back: proven, nothing is left",
        f"next, record it as applied in production: {repair}",
    ]
    again = here.run("pull", "production")
    assert (again.code, again.out) == (
        0,
        "nothing to pull: the migrations lead to what production holds\n",
    )
    fresh = databases("fresh")
    here.apply(fresh)
    assert normalised_dump(fresh) == normalised_dump(production)


@pytest.mark.tools
def test_the_supabase_cli_takes_it(project: tuple[Project, str], databases: Callable[..., str]) -> None:
    here, production = project
    fresh = databases("fresh")

    def supabase(conninfo: str, *arguments: str) -> str:
        target = ["--db-url", tools.url_of(conninfo), "--workdir", str(here.root), "--yes"]
        return tools.run([str(tools.supabase_cli()), *arguments, *target], cwd=here.root)

    assert here.run("pull", "production").code == 0
    supabase(fresh, "db", "push")
    assert normalised_dump(fresh) == normalised_dump(production)
    (version,) = [name[:14] for name in migrations(here) if "pull_production" in name]
    supabase(production, "migration", "repair", version, "--status", "applied")
    # A value used as soon as it is there: two files, because it has to be committed first.
    execute(production, USED_AT_ONCE)
    pulled = here.run("pull", "production", "--name", "moods", "--json")
    assert pulled.json["proof"]["proven"], pulled.json["proof"]
    assert [file["name"] for file in pulled.json["files"]] == ["moods_1", "moods_2"]
    supabase(fresh, "db", "push")
    assert normalised_dump(fresh) == normalised_dump(production)
    listed = supabase(fresh, "migration", "list", "--output-format", "json")
    for file in pulled.json["files"]:
        assert listed.count(file["version"]) >= 2  # here and there


def test_what_is_pending_would_be_undone(project: tuple[Project, str]) -> None:
    here, _ = project
    here.write("20260201000000_later.sql", "create table public.later (id int);\n")
    answer = here.run("pull", "production")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "auditkit: production lacks 1 of the migrations, which a pull would undo: "
        "supabase/migrations/20260201000000_later.sql; apply them to production first, or record them there "
        "if what they do is there already\n"
    )


def test_what_cannot_be_proven_is_not_written(
    project: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditkit import audit, config
    from auditkit.audit import pulling

    here, _ = project
    monkeypatch.chdir(here.root)
    close = pulling.closing.close
    monkeypatch.setattr(pulling.closing, "close", lambda *sides: close(*sides)[:-1])
    settings = config.load(None)
    result = audit.pull(settings.source("production"), settings)
    assert (result["written"], result["proof"]["proven"]) == (False, False)
    assert result["proof"]["forward"]["left"] != []
    assert [name for name in migrations(here) if "pull" in name] == []


@pytest.mark.tools
def test_dbmate_goes_there_and_back(tmp_path: Path, databases: Callable[..., str]) -> None:
    folder = tmp_path / "db" / "migrations"
    folder.mkdir(parents=True)
    first = "-- migrate:up\ncreate table a (id int);\n\n-- migrate:down\ndrop table a;\n"
    (folder / "20260101000000_a.sql").write_text(first)
    production, fresh = databases("production"), databases("fresh")
    project = Project(tmp_path)
    project.settings({"production": production})

    def dbmate(conninfo: str, command: str) -> None:
        options = ["--url", tools.url_of(conninfo, "postgres"), "-d", str(folder), "--no-dump-schema"]
        tools.run([str(tools.dbmate()), *options, command], cwd=tmp_path)

    dbmate(production, "up")
    dbmate(fresh, "up")
    before = normalised_dump(fresh)
    execute(production, "create table b (id int primary key); create view v as select id from b")
    answer = project.run("pull", "production")
    assert answer.code == 0, answer.err
    text = (tmp_path / answer.out.strip()).read_text("utf-8")
    up, _, down = text.partition("\n-- migrate:down\n")
    assert up.startswith("-- migrate:up\n")
    assert ("CREATE TABLE public.b" in up, "DROP TABLE public.b" in down) == (True, True)
    dbmate(fresh, "up")
    assert normalised_dump(fresh) == normalised_dump(production)
    dbmate(fresh, "down")
    assert normalised_dump(fresh) == before
    command = re.search(r"record it as applied in production: (.*)", answer.err)
    assert command
    shell = {
        "DATABASE_URL": tools.url_of(production),
        "PATH": f"{Path(program('psql')).parent}:/usr/bin:/bin",
    }
    subprocess.run(["/bin/sh", "-c", command[1]], env=shell, check=True, capture_output=True)
    dbmate(production, "up")  # nothing is left to do


def test_a_database_without_a_ledger_is_taken_as_it_is(tmp_path: Path, databases: Callable[..., str]) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "001_a.sql").write_text("create table a (id int);\n")
    production = databases("production")
    execute(production, "create table a (id int); create table b (id int)")
    project = Project(tmp_path)
    project.settings({"production": production})
    answer = project.run("pull", "production")
    assert (answer.code, answer.out) == (0, "sql/002_pull_production.sql\n"), answer.err
    lines = (tmp_path / "sql" / "002_pull_production.sql").read_text("utf-8").splitlines()
    assert (lines[2], lines[-1]) == ("BEGIN;", "COMMIT;")


JOURNAL = {
    "version": "7",
    "dialect": "postgresql",
    "entries": [{"idx": 0, "version": "7", "when": 1700000000000, "tag": "0000_first", "breakpoints": True}],
}


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"supabase/migrations/20260101000000_a.sql": ""}, r"supabase/migrations/\d{14}_new\.sql"),
        ({"migrations/0001_a.sql": "-- +goose Up\n"}, r"migrations/0002_new\.sql"),
        ({"migrations/000007_a.up.sql": ""}, r"migrations/000008_new\.up\.sql"),
        ({"prisma/migrations/migration_lock.toml": "", "prisma/migrations/20260101000000_a/migration.sql": ""},
         r"prisma/migrations/\d{14}_new/migration\.sql"),
        ({"drizzle/meta/_journal.json": json.dumps(JOURNAL), "drizzle/0000_first.sql": ""}, r"drizzle/0001_new\.sql"),
        ({"sql/V3__a.sql": "", "sql/V12__b.sql": ""}, r"sql/V13__new\.sql"),
        ({"migrations/2026-01-01-000000_a/up.sql": "", "migrations/2026-01-01-000000_a/down.sql": ""},
         r"migrations/\d{4}-\d\d-\d\d-\d{6}_new/up\.sql"),
        ({"supabase/migrations/29990101000000_a.sql": ""}, r"supabase/migrations/29990101000001_new\.sql"),
    ],
)  # fmt: skip
def test_names_follow_the_tool_and_come_last(tmp_path: Path, files: dict[str, str], path: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text or "select 1;\n")
    migrations = load_migrations(tmp_path)
    (made,) = draft(migrations, "new", [Part(["create table t ();"], ["drop table t;"])], title="A title.")
    assert re.fullmatch(path, made.migration.path)
    for place, text in {**made.files, **made.changed}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    read = load_migrations(tmp_path)[-1]
    assert (read.path, read.version, read.sql is not None) == (
        made.migration.path,
        made.migration.version,
        True,
    )


def test_a_rename_is_pulled_as_one(project: tuple[Project, str], databases: Callable[..., str]) -> None:
    here, production = project
    assert here.run("pull", "production").code == 0
    with psycopg.connect(production, autocommit=True) as connection:
        version = next(name for name in migrations(here) if "pull_production" in name)[:14]
        connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name) values (%s, 'pull_production')",
            [version],
        )
        connection.execute("alter table public.notes rename column body to text")
    dropped = here.run("pull", "production", "--no-renames", "--dry-run")
    assert (dropped.code, "-- hazard: DELETES_DATA: all values of public.notes.body" in dropped.out) == (
        0,
        True,
    )
    answer = here.run("pull", "production", "--name", "renamed")
    assert answer.code == 0, answer.err
    text = (here.root / answer.out.strip()).read_text("utf-8")
    assert ("RENAME COLUMN body TO text" in text, "DROP" in text) == (True, False)


def test_a_django_project_without_migrations_of_its_own_is_told_to_begin(tmp_path: Path) -> None:
    package = Migration("auth.0001_initial", "initial", "site-packages/auth/migrations/0001_initial.py", None)
    files = Migrations(Files(tmp_path, "django", ("site",)), (package,))
    with pytest.raises(ConfigError, match="no app of the project has migrations"):
        draft(files, "pull_production", [Part(["create view v as select 1"])], title="Captures v.")
