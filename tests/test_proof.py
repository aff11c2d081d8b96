"""SQL that was run before it is handed out: on a rebuilt side and back, from any source to any other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import closes
import psycopg
import pytest
import tools
from oracle import normalised_dump
from project import Project
from test_history_tools import git
from test_platform import MIGRATIONS, supabase_project

from auditkit import audit, config
from auditkit import server as servers
from auditkit.catalog.capture import capture
from auditkit.catalog.compare import compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.catalog.sql import HAZARDS
from auditkit.history.shadow.scratch import execute_all
from auditkit.resolve import proof

SCHEMAS = Path(__file__).parent / "schemas"

BEFORE = """
    create type public.mood as enum ('sad', 'glad');
    create table public.people (id bigint generated always as identity primary key, name text, age int, mood mood);
    create table public.orders (id int primary key, person bigint not null references public.people, total int
        check (total > 100));
    create table public.calm (id int primary key);
    create view public.names as select id, name from public.people;
    create function public.old(a int) returns int language sql as 'select a'"""
AFTER = """
    create type public.mood as enum ('sad', 'meh', 'glad');
    create table public.people (id bigint generated always as identity primary key, name text, age bigint, mood mood
        default 'meh');
    create table public.orders (id int primary key, person bigint not null references public.people, total int
        check (total > 50));
    create table public.calm (id int primary key);
    create index orders_person on public.orders (person);
    create view public.names as select id, name, age from public.people"""


def load(conninfo: str, text: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("set client_min_messages = error")
        connection.execute(text.encode())
    return conninfo


@pytest.fixture
def sides(databases: Callable[..., str]) -> tuple[str, str]:
    return load(databases("before"), BEFORE), load(databases("after"), AFTER)


def proven(left: str, right: str, tmp_path: Path) -> dict[str, Any]:
    settings = config.Settings(tmp_path)
    return audit.diff(settings.source(left), settings.source(right), settings, prove=True)


def test_what_was_seen_is_said(sides: tuple[str, str], tmp_path: Path) -> None:
    document = proven(*sides, tmp_path)
    found = document["proof"]
    assert (found["proven"], found["unlike"], found["notes"]) == (True, [], [])
    forward, back = found["forward"], found["back"]
    for way in (forward, back):
        assert (way["proven"], way["left"], way["lost"], way["error"], way["on_rows"]) == (
            True,
            [],
            [],
            None,
            None,
        )
        assert way["rewritten"] == [
            "public.people"
        ]  # its column of another width; the type anew on the way back
    held = {lock["relation"]: lock["mode"] for lock in forward["locks"]}
    assert held == {
        "public.names": "AccessExclusiveLock",
        "public.orders": "AccessExclusiveLock",
        "public.people": "AccessExclusiveLock",
    }
    # Both scripts do the same to the real thing.
    left, right = sides
    before = normalised_dump(left)
    assert closes.psql(left, document["sql"]) == ""
    assert normalised_dump(left) == normalised_dump(right)
    assert closes.psql(left, back["sql"]) == ""
    assert normalised_dump(left) == before


def test_a_script_that_rows_stop_says_so(databases: Callable[..., str], tmp_path: Path) -> None:
    left = load(databases("before"), "create table public.t (a int)")
    right = load(databases("after"), "create table public.t (a int, b int not null)")
    found = proven(left, right, tmp_path)["proof"]
    assert found["proven"]
    assert found["forward"]["on_rows"] == (
        'ALTER TABLE public.t ADD COLUMN b integer NOT NULL: column "b" of relation "t" contains null values'
    )
    assert found["back"]["on_rows"] is None


def test_rows_that_go_without_a_hazard_disprove(sides: tuple[str, str], tmp_path: Path) -> None:
    """What our own hazards forget, the rows remember."""
    settings = config.Settings(tmp_path)
    left, right = map(settings.source, sides)
    steps = audit.diff(left, right, settings, sql=True)["steps"]
    assert all(hazard["code"] in HAZARDS for step in steps for hazard in step["hazards"])
    was = {"public.t": {"": 2, "a": 2, "b": 1}, "public.gone": {"": 1}}
    now = {"public.t": {"": 2, "a": 0}}
    assert proof.rows.lost(was, now) == ["public.t.a"]


def test_rows_are_found_for_what_is_picky(database: str) -> None:
    load(
        database,
        """create type mood as enum ('a', 'b');
        create domain positive as int check (value > 0);
        create table parts (day date not null, kind text) partition by list (kind);
        create table parts_x partition of parts for values in ('x');
        create table picky (id uuid primary key, state text check (state in ('open', 'shut')), at timestamptz not null,
            moods mood[], j jsonb, p positive, size int check (size > 700), g int generated always as (1) stored,
            n int generated always as identity);""",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        found = proof.rows.fill(connection)
    assert (found["public.picky"][""], found["public.parts_x"][""]) == (2, 2)


def test_the_command(sides: tuple[str, str], tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.settings({"left": sides[0], "right": sides[1]})
    answer = project.run("diff", "left", "right", "--sql", "--prove")
    assert answer.code == 1
    assert closes.psql(sides[0], answer.out) == ""  # nothing but SQL
    assert re.sub(r"\d+\.\d+|\(\d+", "n", answer.err).splitlines() == [
        "proof: left rebuilt on PostgreSQL n: equal",
        "proof: the way there n statements): proven: nothing is left",
        "proof:   locks: public.names ACCESS EXCLUSIVE, public.orders ACCESS EXCLUSIVE, "
        "public.people ACCESS EXCLUSIVE",
        "proof:   rewritten: public.people",
        "proof: the way back n statements): proven: nothing is left",
        "proof:   locks: public.names ACCESS EXCLUSIVE, public.orders ACCESS EXCLUSIVE, "
        "public.people ACCESS EXCLUSIVE",
        "proof:   rewritten: public.people",
    ]
    equal = project.run("diff", "left", "right", "--sql", "--prove")
    assert (equal.code, equal.out, equal.err) == (0, "", "")


def test_safe_refuses_what_deletes_data(databases: Callable[..., str], tmp_path: Path) -> None:
    left = load(databases("left"), "create table public.t (a int, b int); create table public.kept (a int)")
    right = load(databases("right"), "create table public.t (a int); create table public.kept (a int, b int)")
    project = Project(tmp_path)
    project.settings({"left": left, "right": right})
    answer = project.run("diff", "left", "right", "--sql", "--safe")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "auditkit: refused by --safe: 1 statement deletes data: ALTER TABLE public.t DROP COLUMN b "
        "(DELETES_DATA: all values of public.t.b); move the data first, or leave out --safe\n"
    )
    load(right, "alter table public.t add b int")
    allowed = project.run("diff", "left", "right", "--sql", "--safe")
    assert (allowed.code, "ADD COLUMN b" in allowed.out) == (1, True)


@pytest.mark.tools
def test_what_cannot_be_rebuilt_is_not_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow of another major version prints views otherwise: that is said, and nothing is green."""
    with servers.start(binaries=tools.postgres_binaries(15)) as server:
        server.create_database("left")
        server.create_database("right")
        load(
            server.conninfo("left"),
            "create table public.t (a int); create view public.v as select t.a from public.t",
        )
        monkeypatch.setenv("AUDITKIT_PG_BINDIR", str(servers.find_binaries(18).bindir))
        project = Project(tmp_path)
        project.settings({"left": server.conninfo("left"), "right": server.conninfo("right")})
        answer = project.run("diff", "left", "right", "--prove")
    assert answer.code == 3
    assert "DROP TABLE" in answer.out
    assert "NOT equal" in answer.err
    assert "proof:   changed: view public.v · definition" in answer.err.splitlines()
    assert ("the way there (2 statements): NOT proven" in answer.err, "proven: nothing" in answer.err) == (
        True,
        False,
    )


@pytest.mark.parametrize("hosted", [True, False], ids=["hosted", "postgres is superuser"])
def test_a_platform_is_rebuilt_below_what_is_proven(tmp_path: Path, hosted: bool) -> None:
    changed = """
        create policy "by hand" on storage.objects for delete to anon using (true);
        alter table public.profiles add column level int not null default 1;
        drop policy own on public.profiles;
        create table public.by_hand (id uuid primary key references auth.users);
        create extension if not exists hstore with schema extensions;
        """
    before = supabase_project(tmp_path / "a", "", MIGRATIONS, hosted=hosted).save(
        tmp_path / "before.snapshot"
    )
    after = supabase_project(tmp_path / "b", "", MIGRATIONS + changed, hosted=hosted).save(
        tmp_path / "after.snapshot"
    )
    document = proven(str(before), str(after), tmp_path)
    assert document["proof"]["says"][0].endswith(": equal"), document["proof"]["says"]
    assert (document["proof"]["proven"], document["proof"]["unlike"]) == (True, [])
    assert "storage.objects" in {lock["relation"] for lock in document["proof"]["forward"]["locks"]}
    assert proven(str(after), str(before), tmp_path)["proof"]["proven"]


# --- any source beside any other -----------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, databases: Callable[..., str]) -> tuple[Project, str]:
    project, production = Project.make(tmp_path / "project"), databases("production")
    project.apply(production)
    load(
        production,
        "create table public.by_hand (id int primary key); drop function public.count_notes(bigint)",
    )
    project.settings({"production": production})
    return project, production


def test_a_file_beside_a_database(sides: tuple[str, str], tmp_path: Path) -> None:
    file = capture(sides[0], name="before").save(tmp_path / "before.snapshot")
    document = proven(str(file), sides[1], tmp_path)
    assert document["proof"]["proven"]
    assert closes.psql(sides[0], document["sql"]) == ""
    assert normalised_dump(sides[0]) == normalised_dump(sides[1])


def test_migrations_beside_production(project: tuple[Project, str], databases: Callable[..., str]) -> None:
    here, production = project
    document = here.run("diff", "migrations", "production", "--prove", "--json")
    assert document.json["proof"]["proven"], document.json["proof"]
    fresh = here.apply(databases("fresh"))
    assert closes.psql(fresh, document.json["sql"]) == ""
    assert normalised_dump(fresh) == normalised_dump(production)
    undo = here.run("diff", "production", "migrations", "--sql")
    assert closes.psql(production, undo.out) == ""
    assert here.run("diff", "production", "migrations").code == 0


def test_what_a_branch_changes(project: tuple[Project, str], databases: Callable[..., str]) -> None:
    here, _ = project
    git(here.root, "init", "-q", "-b", "main")
    git(here.root, "add", ".")
    git(here.root, "commit", "-qm", "main")
    main = here.apply(databases("main"))
    here.write("20260301000000_branch.sql", "alter table public.people add column born date;\n")
    branch = here.apply(databases("branch"))
    document = here.run("diff", "migrations@main", "migrations", "--prove", "--json")
    assert document.json["proof"]["proven"], document.json["proof"]
    assert [step["sql"] for step in document.json["steps"]] == [
        "ALTER TABLE public.people ADD COLUMN born date"
    ]
    assert closes.psql(main, document.json["sql"]) == ""
    assert normalised_dump(main) == normalised_dump(branch)


# --- a whole schema from nothing -----------------------------------------------------------------------------------

#: What a script cannot hold, and what has no order: secrets, and the roles of a policy.
_UNKNOWN = re.compile(r"(?<=CONNECTION )'[^']*'|'hunter2'|'\*\*\*'")
_NAMED_NOT_NULL = re.compile(r"CONSTRAINT \S+ NOT NULL")


def _judged(dump: str) -> str:
    lines = _UNKNOWN.sub("'?'", dump).splitlines()
    roles = re.compile(r"(?<= TO )(.*?)(?= USING| WITH CHECK|;)")
    lines = [
        roles.sub(lambda m: ", ".join(sorted(m[1].split(", "))), line)
        if line.startswith("CREATE POLICY")
        else line
        for line in lines
    ]
    lines = [re.sub(r"(?<= PUBLICATION )other, another", "another, other", line) for line in lines]
    return "\n".join(_NAMED_NOT_NULL.sub("NOT NULL", line) for line in lines)


@pytest.mark.tools
@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_a_schema_from_nothing(major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binaries = servers.find_binaries(18) if major == 18 else tools.postgres_binaries(major)
    monkeypatch.setenv("AUDITKIT_PG_BINDIR", str(binaries.bindir))
    files = ["every_kind.sql", *(f"every_kind_{since}.sql" for since in (15, 18) if major >= since)]
    with servers.start(binaries=binaries, settings=closes.SETTINGS) as server:
        for file in files:
            assert closes.psql(server.conninfo(), (SCHEMAS / file).read_text("utf-8")) == ""
        original = capture(server.conninfo(), name="original")
        dumped = normalised_dump(server.conninfo())
    text = Snapshot.load(original.save(tmp_path / "original.snapshot")).to_sql()
    with servers.start(binaries=binaries, settings=closes.SETTINGS) as server:
        assert closes.psql(server.conninfo(), text) == ""
        assert [d.as_dict() for d in compare(capture(server.conninfo(), name="copy"), original)] == []
        assert _judged(normalised_dump(server.conninfo())) == _judged(dumped)


def test_the_command_prints_a_schema(
    sides: tuple[str, str], databases: Callable[..., str], tmp_path: Path
) -> None:
    project = Project(tmp_path)
    project.settings({"left": sides[0]})
    answer = project.run("snapshot", "left", "--sql")
    copy = databases("copy")
    assert (answer.code, closes.psql(copy, answer.out)) == (0, "")
    assert normalised_dump(copy) == normalised_dump(sides[0])
    assert [path.suffix for path in tmp_path.iterdir()] == [".toml"]  # no snapshot was saved
    assert project.run("snapshot", "left", "--sql", "-o", "schema.sql").code == 0
    assert (tmp_path / "schema.sql").read_text("utf-8") == answer.out


def test_statements_sent_together_fail_one_by_one(database: str) -> None:
    """What fails is named with its reason; what is beside it is run, also after a lone line's comment."""
    statements = [f"create table t{n} (id int) -- {n}" for n in range(250)]
    statements[120:120] = ["create index on nowhere (id)", "alter type none_such add value 'x'"]
    statements.append("vacuum t7")  # cannot run in a transaction
    with psycopg.connect(database, autocommit=True) as connection:
        failed = execute_all(connection, statements)
        assert [(text, error.sqlstate) for text, error in failed] == [
            ("create index on nowhere (id)", "42P01"),
            ("alter type none_such add value 'x'", "42704"),
        ]
        assert failed[0][1].message == 'relation "nowhere" does not exist'
        made = connection.execute("select count(*) from pg_class where relname ~ '^t[0-9]+$'").fetchone()
        assert made == (250,)
