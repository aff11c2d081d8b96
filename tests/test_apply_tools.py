"""Plans whose steps are commands of the real migration tools: made, applied, verified and taken back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import psycopg.conninfo
import pytest
import tools
from project import MIGRATIONS, Project
from test_replay_code import ALEMBIC, DJANGO, KNEX

from auditkit import audit, config
from auditkit.history.migration import Migration
from auditkit.history.migration import Project as Files
from auditkit.resolve.applying import Stopped
from auditkit.resolve.commands import TOOLS, Ended, arguments, commands_of, surroundings
from auditkit.resolve.plan import Plan

FILE = Migration("20260101", "it's", "db/migrations/20260101_it's.sql", None, depends=("20250101",))


# --- as text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_commands_hold_no_secret_and_survive_any_name(tool: str) -> None:
    made = commands_of(Files(Path("/nowhere"), tool, ("db/migrations",)))
    assert made
    hostile = Migration("1; rm -rf ~", "$(id)", "db/migrations/`id`.sql", None)
    for text in (made.push([hostile], late=True), made.record(hostile), made.forget("1; rm", hostile)):
        for line in text.splitlines():
            words = (
                arguments(line, {"AUDITKIT_URL": "URL"}, Path("/"), ".", "/bin/true")[1:]
                if _known(line)
                else []
            )
            assert not [word for word in words if word in (";", "rm", "-rf")]
        assert "password" not in text.lower()


def _known(line: str) -> bool:
    return line.split()[0] in ("python", "alembic")


def test_commands_as_the_tools_want_them() -> None:
    def of(tool: str, **more: Any) -> Any:
        return commands_of(Files(Path("/nowhere"), tool, ("db/migrations",)), **more)

    assert (
        of("alembic", folder="db", ini="other.ini").push([FILE], late=False)
        == "alembic -c other.ini upgrade 20260101"
    )
    assert of("alembic").forget("20260101", FILE) == "alembic stamp 20250101"
    assert (
        of("dbmate").push([FILE], late=False) == "dbmate --migrations-dir db/migrations --no-dump-schema up"
    )
    assert of("django").record(Migration("shop.0002_x", "0002_x", "", None)) == (
        "python manage.py migrate shop 0002_x --fake --no-input"
    )
    assert (
        of("prisma").record(Migration("2026", "x", "", None)) == "npx prisma migrate resolve --applied 2026_x"
    )
    assert of("plain") is None


def test_what_a_command_is_told_of_the_database() -> None:
    class Info:
        host, port, user, dbname, password = "db.example.org", 6432, "us er", "shop", "p@ss"

        def get_parameters(self) -> dict[str, str]:
            return {"sslmode": "require", "connect_timeout": "10"}

    base = {"PGHOST": "elsewhere", "APP_DB": "postgresql+psycopg://x:y@dev/z", "HOME": "/h", "PGSERVICE": "s"}
    found = surroundings(Info(), {"DSN": "{host}:{port}/{database}?u={user}"}, base)  # type: ignore[arg-type]
    where = "@db.example.org:6432/shop?sslmode=require"
    assert found["AUDITKIT_URL"] == f"postgresql://us%20er{where}"
    assert found["DATABASE_URL"] == f"postgresql://us%20er:p%40ss{where}"
    assert found["APP_DB"] == f"postgresql+psycopg://us%20er:p%40ss{where}"
    assert (found["PGPASSWORD"], found["PGHOST"], found["PGSSLMODE"]) == ("p@ss", "db.example.org", "require")
    assert (found["DSN"], found["HOME"], "PGSERVICE" in found) == (
        "db.example.org:6432/shop?u=us er",
        "/h",
        False,
    )
    assert Ended(1, "a\n  b \n\n").last_line == "b"
    link = "(Background on this error at: https://sqlalche.me/e/20/e3q8)"
    assert Ended(1, f"OperationalError: no route\n{link}\n").last_line == "OperationalError: no route"


# --- cycles ---------------------------------------------------------------------------------------------------------------


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), "utf-8")


def call(root: Path, *command: str, **variables: str) -> None:
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def supabase(root: Path, production: str) -> str:
    project = Project.make(root)
    project.apply(production, sorted(MIGRATIONS)[:3])
    execute(
        production,
        "alter table public.notes disable row level security",
        "delete from supabase_migrations.schema_migrations where version = '20260103100000'",
    )
    (root / "node_modules/.bin").mkdir(parents=True)
    (root / "node_modules/.bin/supabase").symlink_to(tools.supabase_cli())
    return ""


def dbmate(root: Path, production: str) -> str:
    files = {f"db/migrations/2026010{n}000000_{n}.sql": f"-- migrate:up\ncreate table t{n} (id int);\n-- migrate:down\n"
             for n in (1, 2, 3)}  # fmt: skip
    write(root, files)
    (root / "node_modules/.bin").mkdir(parents=True)
    (root / "node_modules/.bin/dbmate").symlink_to(tools.dbmate())
    last = root / "db/migrations/20260103000000_3.sql"
    text = last.read_text()
    last.unlink()
    call(root, str(tools.dbmate()), "--no-dump-schema", "--url", tools.url_of(production, "postgres"), "up")
    last.write_text(text)
    execute(production, "create index by_hand on t1 (id)")
    return ""


def alembic(root: Path, production: str) -> str:
    write(root, ALEMBIC)
    target = tools.url_of(production, "postgresql+psycopg")
    call(root, sys.executable, "-m", "alembic", "upgrade", "b2", APP_DATABASE=target)
    execute(production, "drop index notes_person", "alter table people alter email drop not null")
    return 'APP_DATABASE = "postgresql+psycopg://{user}@{host}:{port}/{database}"'


def django(root: Path, production: str) -> str:
    write(root, DJANGO)
    words = psycopg.conninfo.conninfo_to_dict(production)
    (root / "site_/settings.py").write_text(
        (root / "site_/settings.py")
        .read_text()
        .replace('"USER"', '"PORT": os.environ.get("DB_PORT", ""), "USER"')
    )
    there = {
        "DB_NAME": words["dbname"],
        "DB_HOST": words["host"],
        "DB_USER": words["user"],
        "DB_PORT": words["port"],
    }
    call(
        root, sys.executable, "manage.py", "migrate", "shop", "0002", **{k: str(v) for k, v in there.items()}
    )
    call(root, sys.executable, "manage.py", "migrate", "auth", **{k: str(v) for k, v in there.items()})
    execute(production, "drop index by_name")
    return 'DB_NAME = "{database}", DB_HOST = "{host}", DB_USER = "{user}", DB_PORT = "{port}"'


def knex(root: Path, production: str) -> str:
    write(root, KNEX)
    (root / "node_modules").symlink_to(tools.npm_package("knex", "3.1.0", "pg@8.13.1").parent)
    last = root / "migrations/20240102000000_index.js"
    text = last.read_text()
    last.unlink()
    call(root, str(root / "node_modules/.bin/knex"), "migrate:latest", APP_DATABASE=tools.url_of(production))
    last.write_text(text)
    execute(production, "alter table people drop column email")
    return 'APP_DATABASE = "{shadow}"'


#: Each: what prepares a project with drift, and the commands that the plan has.
CYCLES = [
    pytest.param(
        supabase,
        ('supabase migration repair --status applied 20260103100000 --remote="$AUDITKIT_URL" --yes',
         'supabase db push --remote="$AUDITKIT_URL" --yes'),
        id="supabase",
    ),
    pytest.param(alembic, ("alembic upgrade c3",), id="alembic"),
    pytest.param(
        dbmate,
        ("dbmate --migrations-dir db/migrations --no-dump-schema up",),
        id="dbmate",
        marks=pytest.mark.slow,
    ),
    pytest.param(django, ("python manage.py migrate shop 0003_order --no-input",), id="django", marks=pytest.mark.slow),
    pytest.param(knex, ("npx knex migrate:up 20240102000000_index.js",), id="knex", marks=pytest.mark.slow),
]  # fmt: skip


def planned(settings: config.Settings) -> Plan:
    """The plan with the tool's commands; what was made by hand is undone where files cannot be written."""
    made = audit.plan("production", tool_commands=True, settings=settings)
    pulled = {f.id: "revert" for f in made.findings if f.resolution == "pull"}
    if pulled and made.tool != "supabase":
        made = audit.plan("production", resolve=pulled, tool_commands=True, settings=settings)
    return made


@pytest.mark.tools
@pytest.mark.parametrize(("prepare", "commands"), CYCLES)
def test_a_cycle(
    tmp_path: Path, production: str, prepare: Callable[[Path, str], str], commands: tuple[str, ...]
) -> None:
    variables = prepare(tmp_path, production)
    (tmp_path / "auditkit.toml").write_text(
        f"[environments]\nproduction = {production!r}\n[migrations]\npython = {sys.executable!r}\n"
        f"environment = {{ {variables} }}\n"
    )
    settings = config.load(tmp_path / "auditkit.toml")
    before = audit.explain("production", settings=settings).document
    assert before["verdict"] == "FAIL"
    made = planned(settings)
    assert made.offered, made.not_offered
    assert tuple(s.command for s in made.steps if s.kind == "command") == commands
    said: list[str] = []
    audit.apply(made, to="production", confirmed="production", settings=settings, tell=said.append)
    after = audit.explain("production", settings=settings).document
    assert (after["verdict"], after["deltas"]) == ("PASS", []), after["headline"]
    assert {m["states"]["production"] for m in after["migrations"]} == {"applied"}
    audit.apply(made, to="production", confirmed="production", rollback=True, settings=settings)
    again = audit.explain("production", settings=settings).document
    assert {f["id"] for f in before["findings"]} <= {f["id"] for f in again["findings"]}
    assert sorted(map(_plain, again["deltas"])) == sorted(map(_plain, before["deltas"]))


def _plain(delta: Mapping[str, Any]) -> str:
    return str([delta[key] for key in ("kind", "identity", "change", "attribute")])


@pytest.mark.tools
@pytest.mark.slow
def test_a_command_that_fails_or_works_elsewhere(
    tmp_path: Path, production: str, databases: Callable[..., str]
) -> None:
    """Nothing of it is there: so nothing is left to do but to try again."""
    variables = alembic(tmp_path, production)
    (tmp_path / "auditkit.toml").write_text(
        f"[environments]\nproduction = {production!r}\n[migrations]\npython = {sys.executable!r}\n"
        f"environment = {{ {variables} }}\n"
    )
    settings = config.load(tmp_path / "auditkit.toml")
    made = planned(settings)
    script = tmp_path / "db/env.py"
    text, elsewhere = script.read_text(), databases()

    def attempt(target: str, **how: Any) -> str:
        """What stops it, where the project's code connects to *target*."""
        script.write_text(text.replace('os.environ["APP_DATABASE"]', repr(target)) if target else text)
        try:
            audit.apply(made, to="production", confirmed="production", settings=settings, **how)
        except Stopped as error:
            return str(error)
        return ""

    with tools.tcp(elsewhere) as port:
        there = psycopg.conninfo.make_conninfo(elsewhere, host="127.0.0.1", port=port)
        call(
            tmp_path,
            sys.executable,
            "-m",
            "alembic",
            "upgrade",
            "b2",
            APP_DATABASE=tools.url_of(there, "postgresql+psycopg"),
        )
        said = attempt(tools.url_of(there, "postgresql+psycopg"))
    assert "it ended well, and nothing changed in production: does it work on another database?" in said
    assert "nothing of this step was kept; steps in place: 1 of 2" in said
    said = attempt("postgresql+psycopg://nobody@127.0.0.1:1/none", resume=True)
    assert "it ended with exit code 1: " in said
    assert "nothing of this step was kept" in said
    assert attempt("", resume=True) == ""
    assert audit.explain("production", settings=settings).document["verdict"] == "PASS"


@pytest.mark.tools
@pytest.mark.slow
def test_the_tool_itself_at_the_same_time(tmp_path: Path, production: str) -> None:
    """`supabase db push` beside `auditkit push`: each migration is there once, whoever was first."""
    project = Project.make(tmp_path)
    project.apply(production, sorted(MIGRATIONS)[:2])
    project.settings({"production": production})
    settings = config.load(tmp_path / "auditkit.toml")
    made = audit.plan("production", only_push=True, settings=settings)
    assert len(made.steps) == 3
    tool = threading.Thread(
        target=subprocess.run,
        args=([str(tools.supabase_cli()), "db", "push", f"--remote={tools.url_of(production)}", "--yes"],),
        kwargs={"cwd": tmp_path, "capture_output": True},
    )
    tool.start()
    time.sleep(1.5)
    try:
        audit.apply(made, to="production", confirmed="production", settings=settings)
    except Stopped as error:
        # The tool was quicker by a part, or by all there is.
        assert "changed meanwhile" in str(error) or "is as after step 3" in str(error)
    tool.join()
    after = audit.explain("production", settings=settings).document
    states = [m["states"]["production"] for m in after["migrations"]]
    assert after["deltas"] == [] or "pending" in states
    shutil.rmtree(tmp_path / "reports", ignore_errors=True)
    if "pending" in states:
        left = audit.plan("production", only_push=True, settings=settings)
        audit.apply(left, to="production", confirmed="production", settings=settings)
    assert audit.explain("production", settings=settings).document["verdict"] == "PASS"
