"""Every command on real databases, and every mistake: one line, the right exit code, no secret."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import psycopg
import pytest
from project import MIGRATIONS, Answer, Project, environment
from sample_audit import shop

from auditkit import cli
from auditkit.catalog.snapshot import Snapshot
from auditkit.demo.files import git
from auditkit.server import Server

SECRET = "c4nary-pw"
SCHEMA = json.loads((Path(cli.__file__).parent / "report" / "audit.schema.json").read_text("utf-8"))
NEWEST = "20260105100000_people_name.sql"
Run = Callable[..., Answer]


@dataclass
class World:
    """A project with three databases: as meant, drifted (a migration is missing, a view was made by hand), empty."""

    project: Project
    good: str
    drifted: str
    empty: str
    create: Callable[[], str]


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    project = Project.make(tmp_path_factory.mktemp("cli") / "project")
    names: list[str] = []

    def create() -> str:
        names.append(f"cli_{uuid.uuid4().hex[:8]}")
        return server.create_database(names[-1])

    good, drifted, empty = create(), create(), create()
    project.apply(good)
    project.apply(drifted, [name for name in MIGRATIONS if "index" not in name])
    with psycopg.connect(drifted, autocommit=True) as connection:
        connection.execute("create view public.by_hand as select 1 as one")
    project.settings(
        {"production": drifted, "staging": good, "fresh": empty, "gone": server.conninfo("nosuchdb")}
    )
    yield World(project, good, drifted, empty, create)
    for name in names:
        server.drop_database(name)


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: ``run("diff", "a", "b")``, in the world's project or in *project*."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)

    def call(*arguments: str, project: Project | None = None) -> Answer:
        monkeypatch.chdir((project or world.project).root)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return Answer(int(stop.value.code or 0), out, err)

    return call


def line(answer: Answer, code: int, says: str) -> str:
    """The answer is one line on standard error, and nothing else."""
    assert (answer.code, answer.out) == (code, ""), answer
    assert answer.err.startswith("auditkit: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert "internal error" not in answer.err
    assert says in answer.err
    return answer.err


def valid(answer: Answer) -> dict[str, Any]:
    """The audit document that was printed."""
    document: dict[str, Any] = answer.json
    jsonschema.validate(document, SCHEMA)
    return document


def causes(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(f["cause"], f["environment"], o["identity"]) for f in document["findings"] for o in f["objects"]}


BY_HAND = ("manual_change", "production", "public.by_hand")
MISSING = ("missing_migration", "production", "public.notes_person")


# --- doctor, snapshot, history -----------------------------------------------------------------------------


def test_doctor(world: World, run: Run) -> None:
    answer = run("doctor")
    assert (answer.code, answer.err) == (3, "")
    rows = [row for row in answer.out.splitlines() if row[0] != " "]
    assert [row[0] for row in rows if "ledger" in row] == ["✓", "✓", "·"]
    assert [row[:6] for row in rows if row.startswith("✗")] == ["✗ gone"]
    document = run("doctor", "--json").json
    assert document["format"] == "auditkit.doctor/1"
    assert [set(check) for check in document["checks"]] == [{"what", "state", "says", "fix"}] * len(rows)
    sound = Project(world.project.root / "sound")
    sound.settings({"staging": world.good}, '[migrations]\npath = "../supabase/migrations"')
    assert run("doctor", project=sound).code == 0


def test_snapshot(world: World, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.snapshot"
    answer = run("snapshot", "staging", "-o", str(file))
    saved = Snapshot.load(file)
    database = saved.manifest["database"]
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{file}: {len(saved)} facts of {database}, fingerprint {saved.fingerprint[:12]}\n"
    document = run("snapshot", "staging", "-o", str(file), "--json").json
    assert {k: document[k] for k in ("format", "name", "file", "fingerprint", "facts", "status", "not_checked")} == {
        "format": "auditkit.snapshot/1", "name": "staging", "file": str(file), "fingerprint": saved.fingerprint,
        "facts": len(saved), "status": "complete", "not_checked": [],
    }  # fmt: skip
    named = run("snapshot", "staging").out.partition(":")[0]
    assert re.fullmatch(r"staging-\d{4}-\d\d-\d\d\.snapshot", named)
    (world.project.root / named).unlink()


def test_a_snapshot_of_the_migrations(run: Run, tmp_path: Path) -> None:
    assert run("snapshot", "migrations", "-o", str(tmp_path / "meant.snapshot")).code == 0
    meant = Snapshot.load(tmp_path / "meant.snapshot")
    assert sorted(i for i in meant.table("table").identity if i.startswith("public.")) == [
        "public.notes",
        "public.people",
    ]


def test_history(run: Run) -> None:
    answer = run("history", "production", "staging")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "migration                   production  staging\n"
        "20260103100000 notes_index  ○ pending   ✓\n"
        "4 migrations are applied everywhere.\n"
    )
    assert run("history", "production", "staging", "--all").out.count("\n") == 6
    document = run("history", "production", "staging", "--json").json
    assert document["format"] == "auditkit.history/1"
    assert [e["name"] for e in document["environments"]] == ["production", "staging"]
    assert document["migrations"] == [
        {
            "version": name[:14],
            "name": name[15:-4],
            "file": f"supabase/migrations/{name}",
            "states": {"production": "pending" if "index" in name else "applied", "staging": "applied"},
        }
        for name in MIGRATIONS
    ]


def test_history_of_all_names_what_it_could_not_reach(run: Run) -> None:
    answer = run("history", "--json")
    assert answer.code == 3
    assert [e["name"] for e in answer.json["environments"]] == ["production", "staging", "fresh"]
    assert answer.err.startswith("not checked: gone: the environment: cannot connect to nosuchdb on ")
    assert answer.err.endswith("does not exist; check the database and role names\n")
    line(run("history", "gone"), 3, "gone: cannot connect to nosuchdb")


# --- diff --------------------------------------------------------------------------------------------------


def test_diff(run: Run) -> None:
    answer = run("diff", "staging", "production")
    assert answer == Answer(1, "- index public.notes_person\n+ view public.by_hand\n", "")
    assert run("diff", "staging", "production", "--json").json == {
        "format": "auditkit.diff/1",
        "left": "staging",
        "right": "production",
        "equal": False,
        "deltas": [
            {
                "kind": "index",
                "identity": "public.notes_person",
                "change": "missing",
                "attribute": None,
                "left": "CREATE INDEX notes_person ON public.notes USING btree (person)",
                "right": None,
            },
            {
                "kind": "view",
                "identity": "public.by_hand",
                "change": "unexpected",
                "attribute": None,
                "left": None,
                "right": "CREATE VIEW public.by_hand AS\n SELECT 1 AS one",
            },
        ],
        "managed": {},
        "extension_members": 0,
        "suppressed": [],
        "unmodelled": [],
        "not_checked": [],
    }


def test_a_change_is_shown_with_both_sides(world: World, run: Run) -> None:
    other = world.project.apply(world.create())
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute("alter table public.people alter column name set default 'nobody'")
    answer = run("diff", "staging", other)
    assert (answer.code, answer.err) == (1, "")
    assert answer.out == ("~ table column public.people.name · default\n    - (none)\n    + 'nobody'::text\n")


#: What the other side has more, of all that can be left out.
NOISE = """
    create table public.events (id int, at date) partition by range (at);
    create table public.events_p1 partition of public.events for values from ('2026-01-01') to ('2026-02-01');
    create index on public.events_p1 (id); create table public.extra (id int); create index tmp_1 on public.people (id);
    create schema auth; create table auth.users (id int);
    grant select on public.people to anon, authenticated, service_role;
    comment on table public.people is 'noisy'; alter table public.people owner to anon"""
API_ROLES = ("anon", "authenticated", "service_role")
RULES = """
[[ignore]]
partitions_of = "public.events"
reason = "made by a job"
until = 2099-12-31
[[ignore]]
kind = "index"
name = "tmp_*"
reason = "made by the DBA"
[[ignore]]
name = "extra"
reason = "for the release"
until = 2026-01-31
"""


@pytest.fixture
def noisy(world: World, server: Server, tmp_path: Path) -> Iterator[tuple[Project, str]]:
    """A project with rules, and a database with noise on what looks like a platform of the user's own."""
    project = Project.make(tmp_path / "noisy")
    other = world.project.apply(world.create())
    with psycopg.connect(other, autocommit=True) as connection:
        have = {row[0] for row in connection.execute("select rolname from pg_roles")}
        made = [role for role in API_ROLES if role not in have]
        for statement in (*(f"create role {role}" for role in made), *NOISE.split(";")):
            connection.execute(statement.encode())
    project.settings({"staging": world.good})
    with (project.root / "auditkit.toml").open("a") as settings:
        settings.write(RULES)
    yield project, other
    with psycopg.connect(other, autocommit=True) as connection:
        for role in made:
            connection.execute(f"drop owned by {role} cascade; drop role {role}".encode())


EXPIRED = "ignore rule expired on 2026-01-31, hides nothing any more: name=extra: for the release\n"
CLASSES = ("--no-owners", "--no-grants", "--no-comments")
LEFT_OUT = (
    "managed, not compared: auth (3 objects), supabase_migrations (7 objects)\n"
    "ignored: 1 difference by partitions_of=public.events: made by a job, until 2099-12-31\n"
    "ignored: 1 difference by kind=index name=tmp_*: made by the DBA\n"
)


def test_what_is_left_out_is_said(run: Run, noisy: tuple[Project, str]) -> None:
    project, other = noisy
    found = (
        "".join(f"+ role {role}\n" for role in API_ROLES) + "+ table public.events\n+ table public.extra\n"
    )
    assert run("diff", "staging", other, *CLASSES, project=project) == Answer(1, found, EXPIRED + LEFT_OUT)
    answer = run("diff", "staging", other, *CLASSES, "--json", project=project)
    document = answer.json
    assert (answer.err, document["managed"]) == (EXPIRED, {"auth": 3, "supabase_migrations": 7})
    assert document["suppressed"] == [
        {
            "rule": "partitions_of=public.events",
            "reason": "made by a job",
            "until": "2099-12-31",
            "count": 1,
            "active": True,
        },
        {
            "rule": "kind=index name=tmp_*",
            "reason": "made by the DBA",
            "until": None,
            "count": 1,
            "active": True,
        },
        {
            "rule": "name=extra",
            "reason": "for the release",
            "until": "2026-01-31",
            "count": 0,
            "active": False,
        },
    ]


def test_what_is_left_out_is_not_changed(run: Run, noisy: tuple[Project, str]) -> None:
    project, other = noisy
    text = run("diff", "staging", other, "--sql", *CLASSES, project=project).out
    assert "CREATE TABLE public.events (id integer, at date) PARTITION BY RANGE (at);\n" in text
    assert "CREATE TABLE public.extra (id integer);\n" in text
    for word in ("events_p1", "tmp_1", "auth", "OWNER", "GRANT", "COMMENT"):
        assert word not in text.replace("authenticated", "")
    whole = run("diff", "staging", other, "--sql", project=project).out
    for word in ("OWNER TO anon", "GRANT SELECT", "COMMENT ON TABLE public.people"):
        assert word in whole


def test_sql_is_written_as_it_is_wished(world: World, run: Run) -> None:
    other = world.project.apply(world.create())
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute(
            "alter table public.notes rename body to words; create index by_words on public.notes (words)"
        )
    renamed = run("diff", "staging", other, "--sql")
    assert (renamed.code, renamed.err) == (1, "")
    why = "same place, type and properties; --no-renames to drop and create"
    statement = "ALTER TABLE public.notes RENAME COLUMN body TO words"
    assert f"-- renamed, not dropped and created: {why}\n{statement};\n" in renamed.out
    told = run(
        "diff", "staging", other, "--no-renames", "--rename", "column:public.notes.body=words", "--json"
    ).json
    assert [step["evidence"] for step in told["steps"] if step["action"] == "rename"] == ["told by --rename"]
    plain = run("diff", "staging", other, "--sql", "--no-renames", "--online").out
    assert "ALTER TABLE public.notes DROP COLUMN body;\n" in plain
    assert "COMMIT;\n\n-- hazard: NOT_TRANSACTIONAL" in plain
    assert "CREATE INDEX CONCURRENTLY by_words ON public.notes USING btree (words);\n" in plain


def test_the_order_of_columns_is_a_warning(world: World, run: Run) -> None:
    sides = [world.create(), world.create()]
    for conninfo, columns in zip(sides, ("a int, b int", "b int, a int"), strict=True):
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(f"create table public.t ({columns})".encode())
    moved = "~ table column public.t.a · position\n    - 1\n    + 2\n"
    note = "only the order of columns differs, which no statement changes\n"
    assert run("diff", *sides) == Answer(0, f"{moved}equal\n", note)
    document = run("diff", *sides, "--json").json
    assert (document["equal"], len(document["deltas"])) == (True, 1)
    assert run("diff", *sides, "--sql").code == 0


def test_equal_sides(run: Run, tmp_path: Path) -> None:
    run("snapshot", "staging", "-o", str(tmp_path / "s.snapshot"))
    assert run("diff", "staging", str(tmp_path / "s.snapshot")) == Answer(0, "equal\n", "")
    assert run("diff", "staging", "staging", "--json").json["equal"] is True


@pytest.mark.parametrize("sides", [("migrations", "staging"), ("staging", "migrations")])
def test_migrations_beside_a_healthy_database_are_equal(run: Run, sides: tuple[str, str]) -> None:
    """The platform that the Supabase tool would bring, and that this database lacks, is no difference."""
    assert run("diff", *sides) == Answer(0, "equal\n", "")


def test_migrations_beside_a_drifted_and_an_empty_database(run: Run) -> None:
    assert (
        run("diff", "migrations", "production").out == "- index public.notes_person\n+ view public.by_hand\n"
    )
    assert run("diff", "migrations", "fresh").out == (
        "- function public.count_notes(bigint)\n- table public.notes\n- table public.people\n"
    )
    answer = run("diff", "migrations", "migrations")
    assert (answer.code, answer.out) == (0, "equal\n")
    assert answer.err.startswith("managed, not compared: auth (")  # of the platform both are replayed on


def test_migrations_as_of_a_commit(world: World, run: Run, tmp_path: Path) -> None:
    project = Project.make(tmp_path, {k: v for k, v in MIGRATIONS.items() if k != NEWEST})
    project.settings({"staging": world.good})
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "supabase")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    project.write(NEWEST, MIGRATIONS[NEWEST])
    assert run("diff", "migrations", "staging", project=project).code == 0
    answer = run("diff", "migrations@HEAD", "staging", project=project)
    assert (answer.code, answer.out) == (1, "+ table column public.people.name\n")
    line(
        run("diff", "staging", "migrations@NOSUCHREF", project=project),
        2,
        "migrations@NOSUCHREF: git knows no such commit in",
    )


# --- check, explain ----------------------------------------------------------------------------------------


def test_explain(run: Run) -> None:
    answer = run("explain", "production", "--json")
    document = valid(answer)
    assert (answer.code, answer.err) == (1, "")
    assert (document["format"], document["verdict"], document["residual"]) == ("auditkit.audit/1", "FAIL", 0)
    assert causes(document) == {BY_HAND, MISSING}
    assert [e["name"] for e in document["environments"]] == ["production"]
    assert {(d["environment"], d["kind"], d["identity"], d["change"]) for d in document["deltas"]} == {
        ("production", "index", "public.notes_person", "missing"),
        ("production", "view", "public.by_hand", "unexpected"),
    }
    missing = next(f for f in document["findings"] if f["cause"] == "missing_migration")
    assert missing["confidence"] == "proven"
    assert missing["migration"] == {
        "version": "20260103100000",
        "name": "notes_index",
        "file": "supabase/migrations/20260103100000_notes_index.sql",
        "line": 1,
        "commit": None,
        "author": None,
    }
    assert all({"signal", "says"} == set(e) for f in document["findings"] for e in f["evidence"])
    assert (document["unmodelled"], document["not_checked"]) == ([], [])


def test_explain_in_words(run: Run) -> None:
    answer = run("explain", "production")
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("✗ FAIL  production differs from migrations in 2 objects.")
    assert "HIGH  view public.by_hand was made by hand in production" in answer.out
    assert "migration supabase/migrations/20260103100000_notes_index.sql:1\n" in answer.out
    assert "\x1b" not in answer.out


def test_check(run: Run) -> None:
    assert run("check", "staging").out == (
        "✓ PASS  staging matches migrations: 28 facts compared, no drift.\n"
        "  staging: 0 findings, 5 applied, 0 pending\n"
    )
    answer = run("check", "production", "staging")
    assert answer.code == 1
    environments, findings = answer.out.splitlines()[1:3], answer.out.splitlines()[3:]
    assert environments == [
        "  production: 2 findings, 4 applied, 1 pending",
        "  staging: 0 findings, 5 applied, 0 pending",
    ]
    assert [text.partition("  ")[0] for text in findings] == [
        "HIGH",
        "MEDIUM",
        "next: auditkit explain production",
    ]
    assert causes(valid(run("check", "production", "staging", "--json"))) == {BY_HAND, MISSING}


def test_the_gate(run: Run) -> None:
    assert run("check", "production").code == 1
    assert run("check", "production", "--fail-on", "high").code == 1
    assert run("check", "production", "--warn-only").code == 0
    lenient = run("check", "production", "--fail-on", "critical")
    assert (lenient.code, lenient.out[:6]) == (0, "! WARN")
    assert run("check", "staging", "--fail-on", "info").code == 0


def test_an_unreachable_environment_is_incomplete_and_does_not_stop_the_others(run: Run) -> None:
    answer = run("check", "staging", "gone", "--json")
    document = valid(answer)
    assert (answer.code, document["verdict"]) == (3, "INCOMPLETE")
    assert [(n["environment"], n["what"]) for n in document["not_checked"]] == [("gone", "the environment")]
    assert [(e["name"], e["status"]) for e in document["environments"]] == [
        ("staging", "complete"),
        ("gone", "incomplete"),
    ]
    assert run("check", "staging", "gone", "--warn-only").code == 3
    assert run("check", "production", "gone").code == 1
    line(run("check", "gone"), 3, "gone: cannot connect to nosuchdb")


def test_an_empty_database_has_everything_pending(run: Run) -> None:
    document = valid(run("explain", "fresh", "--json"))
    assert {f["cause"] for f in document["findings"]} == {"missing_migration"}
    assert {m["states"]["fresh"] for m in document["migrations"]} == {"pending"}
    assert document["residual"] == 0


def test_another_environment_as_the_baseline(run: Run) -> None:
    document = valid(run("explain", "production", "--baseline", "staging", "--json"))
    assert document["baseline"] == "staging"
    assert {(d["kind"], d["identity"]) for d in document["deltas"]} == {
        ("index", "public.notes_person"),
        ("view", "public.by_hand"),
    }


# --- verify, report ----------------------------------------------------------------------------------------


def test_verify(world: World, run: Run, tmp_path: Path) -> None:
    target = world.project.apply(world.create(), [name for name in MIGRATIONS if name != NEWEST])
    before = str(tmp_path / "before.snapshot")
    assert run("snapshot", target, "-o", before).code == 0
    world.project.apply(target, [NEWEST])
    answer = run("verify", target, "--before", before, "--json")
    document = valid(answer)
    assert (answer.code, document["verdict"]) == (0, "PASS")
    assert document["deploy"]["deployed"] == [{"version": "20260105100000", "name": "people_name"}]
    assert document["deploy"]["actual"] == document["deploy"]["intended"] != []
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("drop index public.notes_person")
    answer = run("verify", target, "--before", before, "--expected-version", "20260105100000")
    assert (answer.code, answer.out[:6]) == (1, "✗ FAIL")
    assert run("verify", target, "--before", before, "--warn-only").code == 0
    unknown = run("verify", target, "--before", before, "--expected-version", "12")
    line(unknown, 2, "no migration has version 12; the newest is 20260105100000")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--before", "no.snapshot"], "no such snapshot file: no.snapshot; make one with `auditkit snapshot"),
        ([], "Missing option '--before' (see `auditkit verify --help`)"),
        (["--before", ""], "a review needs a snapshot from before the deployment: take one with"),
    ],
)
def test_verify_needs_a_snapshot_from_before(run: Run, arguments: list[str], says: str) -> None:
    line(run("verify", "staging", *arguments), 2, says)


def test_report(run: Run, tmp_path: Path) -> None:
    answer = run("report", "root_cause", "-e", "production", "-o", str(tmp_path))
    assert (answer.code, answer.err) == (1, "")
    banner, page = answer.out.splitlines()
    assert banner.startswith("✗ FAIL  production differs from migrations in 2 objects.")
    assert "public.by_hand" in Path(page).read_text("utf-8")
    jsonschema.validate(json.loads(Path(page).with_name("audit.json").read_text("utf-8")), SCHEMA)
    answer = run("report", "scheduled_audit", "-e", "staging", "-o", str(tmp_path), "--json")
    assert answer.code == 0
    assert set(answer.json) == {"format", "html", "verdict"}
    assert (answer.json["format"], answer.json["verdict"]) == ("auditkit.report/1", "PASS")
    assert Path(answer.json["html"]).is_file()


# --- streams -----------------------------------------------------------------------------------------------


def terminal(world: World, *arguments: str, **variables: str) -> tuple[str, str]:
    """Run with standard output and standard error on two terminals; what each of them showed."""
    shown: list[str] = []
    pairs = [pty.openpty() for _ in range(2)]
    for _, slave in pairs:
        termios.tcsetwinsize(slave, (25, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "auditkit", *arguments],
        cwd=world.project.root,
        env=environment({"TERM": "xterm", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=pairs[0][1],
        stderr=pairs[1][1],
    )
    process.wait(60)
    for master, slave in pairs:
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 65536):
                text += chunk
        except OSError:  # Linux says end of file in this way
            pass
        os.close(master)
        shown.append(text.decode())
    return shown[0], shown[1]


def test_progress_is_for_people_and_colours_too(world: World) -> None:
    out, err = terminal(world, "history", "staging", "production")
    assert "Reading the ledger of production" in err
    assert "Reading the ledger" not in out
    assert terminal(world, "--quiet", "history", "staging", "production")[1] == ""
    out, _ = terminal(world, "diff", "staging", "production")
    assert "\x1b[31m- index public.notes_person" in out
    out, err = terminal(world, "diff", "staging", "production", NO_COLOR="1")
    assert "- index public.notes_person\r\n" in out
    assert re.findall(r"\x1b\[\d+m", out + err) == []


def test_in_a_pipe_there_are_neither(world: World) -> None:
    answer = world.project.run("check", "production", process=True)
    assert (answer.code, answer.err) == (1, "")
    assert "\x1b" not in answer.out


def test_a_reader_that_has_seen_enough(world: World) -> None:
    """`auditkit … | head`: quiet, and not an exit code that stands for a verdict."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "auditkit", "history", "--all", "staging"],
        cwd=world.project.root,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_ascii_terminals_do_not_stop_the_output(world: World) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    answer = world.project.run("check", "staging", env=ascii_only, process=True)
    assert (answer.code, answer.out[:6]) == (0, "✓ PASS")


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["doctr", "x"], 2, "No such command 'doctr'. Did you mean 'doctor'? (see `auditkit --help`)"),
        (["explain", "staging", "--fail-onn", "x"], 2, "No such option '--fail-onn'. Did you mean '--fail-on'?"),
        (["explain", "staging", "--fail-on", "hgh"], 2, "'hgh' is not one of 'info', 'low', 'medium', 'high', 'critical'"),
        (["explain"], 2, "Missing argument 'ENVIRONMENTS...' (see `auditkit explain --help`)"),
        (["diff", "staging"], 2, "Missing argument 'RIGHT' (see `auditkit diff --help`)"),
        (["--config", "nope.toml", "check"], 2, "no such settings file: nope.toml; check --config"),
        (["snapshot", "prodction"], 2, "unknown environment 'prodction', did you mean 'production'?; defined in"),
        (["check", "prodction"], 2, "did you mean 'production'?"),
        (["explain", "staging", "--baseline", "nope"], 2, "unknown environment 'nope', and no snapshot file of that name"),
        (["explain", "staging", "--baseline", "migrations@"], 2, "migrations@ needs a git reference after it"),
        (["snapshot", "gone"], 3, 'database "nosuchdb" does not exist; check the database and role names'),
        (["snapshot", "host=127.0.0.1 port=1 dbname=app"], 3, "Connection refused; check host, port and network access"),
        (["snapshot", "host=no-such-host.invalid"], 3, "failed to resolve host 'no-such-host.invalid'"),
        (["snapshot", "service=nosuch"], 3, 'definition of service "nosuch" not found; check the service file'),
        (["snapshot", f"postgresql://u:{SECRET}%zz@h/db"], 2, "the connection string cannot be parsed"),
        (["snapshot", f"postgresql://u:{SECRET}@x@127.0.0.1:1/db"], 2, "in a password @ is %40"),
        (["diff", "staging", f"postgresql://u:{SECRET}@127.0.0.1:1/db"], 3, "to db on 127.0.0.1:1 as u: Connection"),
        (["explain", f"host=127.0.0.1 port=1 password='{SECRET} x'"], 3, "Connection refused"),
        (["diff", "staging", "production", "--rename", "a=b"], 2, "--rename a=b: must be KIND:OLD=NEW"),
        (
            ["diff", "staging", "fresh", "--rename", "table:public.x=y"],
            2,
            "there is no table public.x on the left",
        ),
        (["snapshot", "staging", "-o", "nowhere/x.snapshot"], 2, "cannot write nowhere/x.snapshot: no such folder; choose"),
        (["snapshot", "staging", "-o", "supabase"], 2, "cannot write supabase: Is a directory; choose another"),
        (["diff", "staging", "no.snapshot"], 2, "no such snapshot file: no.snapshot"),
        (["diff", "staging", "./supabase"], 2, "./supabase is a folder, not a snapshot file"),
        (["report", "rootcause"], 2, "there is no notebook 'rootcause'; did you mean 'root_cause'?; there are"),
        (["report", "-p", "enviroment", "x", "root_cause"], 2, "no parameter 'enviroment'; did you mean 'environment'?"),
        (["report", "root_cause", "-e", "prodction"], 2, "did you mean 'production'?"),
        (["report", "root_cause", "-e", f"postgresql://u:{SECRET}@h/db"], 2, "environment holds connection details"),
        (["report", "root_cause", "-p", "baseline", f"host=h password={SECRET}"], 2, "baseline holds connection details"),
        (["report", "root_cause", "-e", "staging", "-o", "auditkit.toml/x"], 2, "choose another folder with --out-dir"),
        (["demo", "--dir", "auditkit.toml"], 3, "cannot be written"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(run: Run, arguments: list[str], code: int, says: str) -> None:
    line(run(*arguments), code, says)


def test_nothing_at_all_is_answered_with_the_help(run: Run) -> None:
    answer = run()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: auditkit [OPTIONS] COMMAND [ARGS]...\n")
    assert run("--help").code == 0
    assert run("--version").out == "auditkit, version 0.1.0\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "x.snapshot: not a snapshot; make one with `auditkit snapshot`"),
        (b"", "x.snapshot: not a snapshot"),
        (b"PK\x03\x04" + b"\0" * 50, "x.snapshot: "),
        (None, "x.snapshot: cut short or damaged; capture it again with `auditkit snapshot`"),
    ],
)
def test_damaged_snapshots(world: World, run: Run, content: bytes | None, says: str) -> None:
    file = world.project.root / "x.snapshot"
    if content is None:
        run("snapshot", "staging", "-o", str(file))
        content = file.read_bytes()[:-2000]
    file.write_bytes(content)
    line(run("diff", "staging", "x.snapshot"), 3, says)
    line(run("explain", "x.snapshot"), 3, says)


def test_settings_in_the_way(run: Run, tmp_path: Path) -> None:
    project = Project(tmp_path)
    for text, says in {
        "[environments\n": "not valid TOML",
        "[environment]\n": "did you mean 'environments'?",
        f"[environments]\nproduction = 'postgresql://u:{SECRET}@h/db'\n": "environment production: holds a password",
        f"[environments]\nproduction = 'host=h password={SECRET}'\n": "put it in ~/.pgpass, a service file, or a",
        "[environments]\nproduction = { url_env = 'NO_SUCH_URL' }\n": "variable NO_SUCH_URL is not set; set it",
    }.items():
        (tmp_path / "auditkit.toml").write_text(text)
        for command in (["snapshot", "production"], ["diff", "production", "production"]):
            line(run(*command, project=project), 2, says)
    (tmp_path / "auditkit.toml").unlink()
    line(
        run("check", project=project),
        2,
        "no auditkit.toml was found here or above; create auditkit.toml with",
    )


def test_a_variable_that_is_not_set_does_not_stop_the_others(world: World, run: Run) -> None:
    project = Project(world.project.root / "variable")
    project.settings({"staging": world.good}, '[environments.production]\nurl_env = "NO_SUCH_URL"\n'
                     '[migrations]\npath = "../supabase/migrations"')  # fmt: skip
    answer = run("check", "--json", project=project)
    document = valid(answer)
    assert (answer.code, document["verdict"]) == (3, "INCOMPLETE")
    assert [n["why"] for n in document["not_checked"]] == ["the environment variable NO_SUCH_URL is not set"]


def test_without_migrations(world: World, run: Run, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.settings({"staging": world.good, "production": world.drifted})
    for create in (False, True):  # no folder, an empty folder
        if create:
            (tmp_path / "supabase" / "migrations").mkdir(parents=True)
        for command in (["explain", "staging"], ["check"], ["history"], ["diff", "migrations", "staging"]):
            line(
                run(*command, project=project),
                2,
                f"no migrations found in {tmp_path}; name their folder and tool",
            )
        assert run("diff", "staging", "production", project=project).code == 1
        assert run("explain", "production", "--baseline", "staging", project=project).code == 1


def test_a_migration_that_fails_in_replay(world: World, run: Run, tmp_path: Path) -> None:
    project = Project.make(tmp_path)
    broken = "20260106100000_broken.sql"
    project.write(
        broken, "-- first\n\ncreate table public.ok (id int);\ncreate tabel public.oops (id int);\n"
    )
    project.settings({"staging": world.good})
    file = f"supabase/migrations/{broken}"
    answer = run("explain", "staging", "--json", project=project)
    document = valid(answer)
    assert (answer.code, document["verdict"]) == (3, "INCOMPLETE")
    message = 'syntax error at or near "tabel"'
    assert document["replay"]["failures"] == [
        {"version": "20260106100000", "file": file, "line": 4, "message": message}
    ]
    assert [(n["what"], n["why"]) for n in document["not_checked"]] == [
        (f"{file}, line 4", f"replaying the migrations failed there: {message}")
    ]
    answer = run("check", "staging", project=project)
    assert (answer.code, answer.out[:12]) == (3, "? INCOMPLETE")
    assert answer.err.startswith(
        f"not checked: staging: {file}, line 4: replaying the migrations failed there: "
    )
    line(
        run("diff", "migrations", "staging", project=project),
        3,
        f"migrations: {file}:4: cannot be replayed: {message};",
    )


def test_a_ledger_the_role_may_not_read(world: World, run: Run, server: Server, tmp_path: Path) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(world.good, autocommit=True) as connection:
        connection.execute(f"create role {role} login".encode())
    try:
        project = Project(tmp_path)
        shutil.copytree(world.project.root / "supabase", tmp_path / "supabase")
        project.settings({"staging": f"{world.good} user={role}"})
        what = "migration history (supabase, supabase_migrations.schema_migrations)"
        why = f"{what}: role {role} lacks USAGE on the schema; GRANT USAGE ON SCHEMA supabase_migrations TO {role};"
        answer = run("explain", "staging", project=project)
        assert (answer.code, answer.out[:12]) == (3, "? INCOMPLETE")
        assert answer.err.startswith(f"not checked: staging: {why}")
        answer = run("history", project=project)
        assert answer.code == 3
        assert answer.out.splitlines()[1] == "20260101100000 people       not readable"
        assert answer.err.startswith(f"not checked: staging: {why}")
        answer = run("snapshot", "staging", "-o", str(tmp_path / "s.snapshot"), project=project)
        assert answer.code == 3
        assert answer.err.startswith(f"not checked: {why}")
        assert run("doctor", project=project).code == 3
    finally:
        with psycopg.connect(world.good, autocommit=True) as connection:
            connection.execute(f"drop role {role}".encode())


def test_a_misspelt_parameter_stops_papermill_itself(world: World, tmp_path: Path) -> None:
    """papermill only warns of a name it does not know, and would audit the default."""
    from auditkit.report import notebook_path

    command = ["-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", "--engine", "auditkit-warm"]
    done = subprocess.run(
        [
            sys.executable,
            *command,
            "-p",
            "enviroment",
            "staging",
            str(notebook_path("root_cause")),
            str(tmp_path / "out.ipynb"),
        ],
        cwd=world.project.root,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode != 0
    assert "root_cause has no parameter 'enviroment'; did you mean 'environment'?" in done.stderr


# --- Ctrl-C ------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    project = Project.make(tmp_path)
    project.write("20260106100000_slow.sql", "select pg_sleep(600);\n")
    project.settings({"staging": world.good})
    process = subprocess.Popen(
        [sys.executable, "-m", "auditkit", "explain", "staging"],
        cwd=tmp_path,
        env=environment({"AUDITKIT_CACHE_DIR": str(tmp_path / "cache")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    sleeping: list[psutil.Process] = []
    family: list[psutil.Process] = []
    while not sleeping and time.monotonic() < deadline and process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        busy = {p for p in family if "SELECT" in _title(p)}
        time.sleep(0.7)  # what reads the catalog is done by then; the migration is not
        sleeping = [p for p in busy if "SELECT" in _title(p)]
    assert sleeping, "the migration never ran"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "\nauditkit: stopped; nothing was changed\n")
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    roots = {m[1] for p in [_title(x) for x in sleeping] if (m := re.search(r"(/\S*auditkit-\S+?)/", p))}
    assert [root for root in roots if Path(root).exists()] == []
    assert list((tmp_path / "cache").glob("replays/.new-*")) == []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_hostile_names_stay_in_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    finding = shop()["findings"][0]
    name = 'public."a\n::error::b\x1b[2J\u202ec"'
    finding |= {"title": f"table {name} was made by hand", "objects": [{"kind": "table", "identity": name}]}
    finding["evidence"] = [{"signal": "replay", "says": f"No migration creates {name}."}]
    finding["remedy"]["steps"] = [
        {"title": "drop it", "command": None, "sql": f"DROP TABLE {name};\n\tSELECT 1"}
    ]
    cli._print_finding(finding)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert not set(printed) & {"\x1b", "\u202e", "\t"}
    assert [text for text in lines if text.startswith("::")] == []
    assert sum("\\n::error::b\\u{001B}[2J" in text for text in lines) == 3  # title, object, evidence
    assert lines[-1] == "          SELECT 1"
