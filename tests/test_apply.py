"""`auditkit apply`: the environment ends aligned, or exactly where the journal says, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from project import MIGRATIONS, Answer, Project, environment

from auditkit import audit, config
from auditkit import server as servers
from auditkit.resolve.guards import OWN, key_of
from auditkit.resolve.journal import Broken, Journal
from auditkit.resolve.records import Book
from auditkit.server import Server

FOUR = sorted(MIGRATIONS)[:4]
BY_HAND = (
    "alter table public.notes disable row level security",
    "create index by_email on public.people (email)",
    "drop index public.notes_person",
)
APPLY = ("apply", "plan.toml", "--to", "production", "--yes", "production")


# --- the journal and the locks ------------------------------------------------------------------------------------------


def test_the_journal_is_a_chain(tmp_path: Path) -> None:
    file = tmp_path / "a" / "journal.jsonl"
    journal = Journal(file)
    journal.add("begin", step=1, way="there")
    journal.add("done", step=1, way="there")
    journal.add("begin", step=2, way="there")
    assert (journal.done(), [e["event"] for e in journal.open_step()], journal.over) == (
        [1],
        ["begin"],
        False,
    )
    again = Journal(file)
    assert again.entries == journal.entries
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"n": 4, "ev')  # the power failed while it was written
    assert Journal(file).entries == journal.entries
    assert file.read_bytes() == whole
    file.write_bytes(whole.replace(b'"done"', b'"gone"'))
    with pytest.raises(Broken, match=r"line 3 does not follow"):
        Journal(file)
    lines = whole.splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[2])
    with pytest.raises(Broken, match=r"line 2 does not follow"):
        Journal(file)


def test_what_was_taken_back_is_not_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for event, step, way in (
        ("done", 1, "there"),
        ("done", 2, "there"),
        ("begin", 2, "back"),
        ("done", 2, "back"),
    ):
        journal.add(event, step=step, way=way)
    assert (journal.done(), journal.open_step()) == ([1], [])


def test_locks_of_the_tools() -> None:
    crc = zlib.crc32(b"zone")
    assert key_of("sqlx", "zone", None) == 2_771_974_297_191_923_538  # as sqlx has it
    assert key_of("rails", "zone", None) == 2053462845 * crc
    assert key_of("prisma", "zone", None) == 72707369
    book = Book("golang-migrate", "public", "schema_migrations")
    assert key_of("golang-migrate", "zone", book) in range(2**32)
    assert key_of("supabase", "zone", None) is None
    assert -(2**63) <= OWN < 2**63


# --- a drifted environment --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """Four of five migrations, three changes by hand, and the plan for them: three steps, one of each kind."""
    template, name = (f"{word}_{uuid.uuid4().hex[:8]}" for word in ("template", "production"))
    project = Project.make(tmp_path_factory.mktemp("drifted") / "project")
    project.apply(server.create_database(template), FOUR)
    execute(server.conninfo(template), *BY_HAND)
    production = server.create_database(name, template=template)
    project.settings({"production": production})
    made = project.run("plan", "production", "-o", "plan.toml")
    assert made.code == 0, made.err
    server.drop_database(name)
    yield project.root, template, name
    server.drop_database(template)


@pytest.fixture
def drifted(prepared: tuple[Path, str, str], server: Server, tmp_path: Path) -> Iterator[tuple[Project, str]]:
    """The project and the database of *prepared*, fresh."""
    root, template, name = prepared
    shutil.copytree(root, tmp_path / "project")
    yield Project(tmp_path / "project"), server.create_database(name, template=template)
    server.drop_database(name)


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def explained(project: Project) -> dict[str, Any]:
    return dict(audit.explain("production", settings=config.load(project.root / "auditkit.toml")).document)


def aligned(project: Project) -> bool:
    """Whether nothing differs, neither in the schema nor in the ledger."""
    found = explained(project)
    states = {m["states"]["production"] for m in found["migrations"]}
    return bool(found["verdict"] == "PASS" and found["deltas"] == [] and states == {"applied"})


def schema(project: Project) -> Any:
    """What differs from the migrations, and what is recorded."""
    found = explained(project)
    return found["deltas"], [m for m in found["migrations"] if m["states"]["production"] != "pending"]


def entries(project: Project) -> list[dict[str, Any]]:
    (file,) = (project.root / "reports" / "journal").glob("*.jsonl")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def events(project: Project) -> list[str]:
    return [e["event"] if "step" not in e else f"{e['event']} {e['step']}" for e in entries(project)]


def test_there_and_back(drifted: tuple[Project, str]) -> None:
    here, _ = drifted
    before = schema(here)
    trial = here.run("apply", "plan.toml", "--to", "production", "--dry-run")
    assert trial.code == 0
    assert "ENABLE ROW LEVEL SECURITY" in trial.out
    assert schema(here) == before
    for arguments in (("--to", "staging"), ("--to", "production", "--yes", "prod")):
        refused = here.run("apply", "plan.toml", *arguments)
        assert (refused.code, refused.out) == (2, "")
    assert schema(here) == before
    assert here.run("snapshot", "production", "-o", "before.snapshot").code == 0
    done = here.run(*APPLY)
    assert done.code == 0, done.err
    assert "production: 3 of 3 steps in place" in done.out
    assert events(here) == [
        "run",
        "begin 1", "commit 1", "done 1", "begin 2", "commit 2", "done 2", "wrote 3",
        "begin 3", "commit 3", "done 3", "finished",
    ]  # fmt: skip
    assert aligned(here)
    verified = here.run("verify", "production", "--before", "before.snapshot")
    assert verified.code == 0, verified.out
    assert "2 migrations recorded, exactly what was intended" in verified.out
    assert "as in the plan (production-" in verified.out
    again = here.run(*APPLY)
    assert again.code == 2
    assert "was applied to production already" in again.err
    back = here.run(*APPLY, "--rollback")
    assert back.code == 0, back.err
    assert schema(here) == before
    assert len(list((here.root / "supabase" / "migrations").iterdir())) == len(MIGRATIONS)


def test_a_change_since_the_plan_stops_it(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    execute(production, "create view public.v as select 1 as x")
    stopped = here.run(*APPLY)
    assert stopped.code == 3
    assert "production is not what the plan was made for" in stopped.err
    assert not (here.root / "reports" / "journal").exists()
    execute(production, "drop view public.v")
    here.write("20260105100000_people_name.sql", "alter table public.people add column nick text;\n")
    edited = here.run(*APPLY)
    assert edited.code == 2
    assert "20260105100000_people_name.sql was edited since the plan was made" in edited.err


def test_two_at_once(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    with psycopg.connect(production, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [OWN])
        held = here.run(*APPLY)
        assert (held.code, held.out) == (3, "")
        assert re.fullmatch(
            r"auditkit: production: another auditkit apply is at work there and holds its lock "
            r"\(session \d+ since [-0-9]+ [:0-9]+ UTC\); try again when it is done\n",
            held.err,
        )
    assert here.run(*APPLY).code == 0
    assert aligned(here)


def test_a_lock_that_is_not_given_up_and_then_is(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    short = ("--lock-timeout", "0.1", "--attempts", "2")
    with psycopg.connect(production) as other:
        other.execute("select * from public.people")  # a reader that stays: step 2 wants the table for itself
        stopped = here.run(*APPLY, *short)
        assert stopped.code == 3
        assert (
            "canceling statement due to lock timeout; nothing of this step was kept; steps in place: 1 of 3"
            in (stopped.err)
        )
        assert "retry 2" in events(here)
        unsure = here.run(*APPLY)
        assert unsure.code == 3
        assert "stopped with 1 of 3 steps in place" in unsure.err
    assert here.run(*APPLY, "--resume").code == 0
    assert aligned(here)


def test_a_migration_that_is_running_is_waited_for_and_seen(drifted: tuple[Project, str]) -> None:
    """It holds the ledger's row in its transaction; when it is over, the environment is another."""
    here, production = drifted
    with psycopg.connect(production) as tool:
        tool.execute("create table public.from_elsewhere (id int)")
        tool.execute(
            "insert into supabase_migrations.schema_migrations (version, name) values ('2027', 'elsewhere')"
        )
        waiting = start(here, *APPLY)
        wait_for(here, lambda: "begin 1" in events(here))
        tool.commit()
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 3, (out, err)
    assert "would not be what the rehearsal led to" in err
    assert events(here)[-1] == "rolled back 1"
    with psycopg.connect(production) as connection:
        row = connection.execute(
            "select relrowsecurity from pg_class where oid = 'public.notes'::regclass"
        ).fetchone()
    assert row == (False,)


def test_a_role_that_may_only_read(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    role = f"reader_{os.getpid()}"
    execute(production, f"create role {role} login", f"grant usage on schema supabase_migrations to {role}",
            f"grant select on supabase_migrations.schema_migrations to {role}")  # fmt: skip
    try:
        words = psycopg.conninfo.make_conninfo(production, user=role)
        here.settings({"production": words})
        assert here.run("plan", "production", "-o", "plan.toml").code == 0
        assert 'role = "postgres"' in (here.root / "plan.toml").read_text(), "the reader can make nothing"
        stopped = here.run(*APPLY)
        assert stopped.code == 3
        assert "step 1" in stopped.err
        assert "permission denied" in stopped.err
        assert "nothing of this step was kept; steps in place: 0 of 3" in stopped.err
        here.settings({"production": production})
        assert here.run(*APPLY, "--resume").code == 0
        assert here.run("explain", "production").code == 0
    finally:
        execute(production, f"drop owned by {role}", f"drop role {role}")


# --- crashes ------------------------------------------------------------------------------------------------------------


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "auditkit", *arguments],
        cwd=project.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def wait_for(project: Project, what: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if list((project.root / "reports" / "journal").glob("*.jsonl")) and what():
            return True
        time.sleep(0.002)
    return False


#: Where it is killed as well: all such points with AUDITKIT_TEST_ALL=1, else one.
_POINTS = ("commit 1", "done 1", "begin 2", "done 2", "begin 3", "commit 3")
SAMPLED = _POINTS if os.environ.get("AUDITKIT_TEST_ALL") else random.Random(5).sample(_POINTS, 1)


def resumed(project: Project) -> Answer:
    return project.run(*APPLY, "--resume")


@pytest.mark.parametrize(
    "after",
    [
        "begin 1",
        "commit 2",
        *(pytest.param(event, marks=pytest.mark.slow) for event in SAMPLED),
    ],
)
def test_killed(drifted: tuple[Project, str], after: str) -> None:
    here, _ = drifted
    process = start(here, *APPLY)
    assert wait_for(here, lambda: after in events(here))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if "finished" in events(here):  # it was faster
        assert aligned(here)
        return
    answer = resumed(here)
    assert answer.code == 0, answer.err
    assert aligned(here)
    done = [e["step"] for e in entries(here) if e["event"] == "done"]
    assert done == [1, 2, 3]  # each exactly once


def test_a_session_that_is_ended(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    with psycopg.connect(production) as other:
        other.execute("select * from public.people")
        waiting = start(here, *APPLY)
        assert wait_for(here, lambda: "begin 2" in events(here))
        time.sleep(0.3)
        execute(production, "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'auditkit apply' and datname = current_database()")  # fmt: skip
        _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 3
    assert "the connection was lost" in err
    assert resumed(here).code == 0
    assert aligned(here)


@pytest.mark.slow
def test_a_server_that_crashes(tmp_path: Path) -> None:
    """What the journal calls done is there after crash recovery, even where the server does not wait for its log."""
    with servers.start(label="crash") as server:
        here, production = Project.make(tmp_path / "project"), server.create_database("production")
        here.apply(production, FOUR)
        execute(production, "alter table public.notes disable row level security")
        here.settings({"production": production})
        assert here.run("plan", "production", "-o", "plan.toml").code == 0
        with psycopg.connect(server.conninfo("postgres"), autocommit=True) as other:
            process = start(here, *APPLY)
            assert wait_for(here, lambda: "done 1" in events(here))
            with pytest.raises(psycopg.Error):
                row = other.execute(
                    "select pid from pg_stat_activity where backend_type = 'checkpointer'"
                ).fetchone()
                assert row
                other.execute(f"copy (select 1) to program 'kill -9 {row[0]}'".encode())
                while True:
                    other.execute("select 1")
            process.communicate(timeout=60)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(production).close()
                break
            time.sleep(0.1)
        assert resumed(here).code == 0 or "finished" in events(here)
        assert aligned(here)
        assert [e["step"] for e in entries(here) if e["event"] == "done"] == [1, 2]


# --- push ---------------------------------------------------------------------------------------------------------------


def test_a_push_runs_what_is_pending_and_leaves_the_rest(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    here.write(
        "20260106100000_by_name.sql", "create index concurrently people_by_name on public.people (name);\n"
    )
    here.write("20260107100000_no_person.sql", "alter table public.notes drop column person;\n")
    trial = here.run("push", "production", "--dry-run")
    assert trial.code == 0, trial.err
    assert "BEGIN;\ncreate index concurrently" not in trial.out
    pushed = here.run("push", "production", "--yes", "production")
    assert pushed.code == 0, pushed.err
    with psycopg.connect(production) as connection:
        row = connection.execute(
            "select (select indisvalid from pg_index where indexrelid = 'public.people_by_name'::regclass), "
            "(select relrowsecurity from pg_class where oid = 'public.notes'::regclass), "
            "(select max(version) from supabase_migrations.schema_migrations)"
        ).fetchone()
    assert row == (True, False, "20260107100000")
    again = here.run("push", "production", "--yes", "production")
    assert (again.code, again.err) == (0, "nothing is pending in production\n")
    back = here.run("apply", "reports/push-production.plan.toml", *APPLY[2:], "--rollback")
    assert back.code == 0, back.err  # the column is the last one now, and nothing else differs
