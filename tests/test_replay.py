"""The replay itself, on real servers: what it says of every object, and that nothing makes it stumble."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from auditkit import audit, server
from auditkit.catalog.snapshot import Key
from auditkit.config import load
from auditkit.errors import ServerFailed
from auditkit.history import dialect
from auditkit.history.files import load_migrations
from auditkit.history.shadow import Ground, Replay, Step, replay, replaying
from tests.tools import postgres_binaries


def ground(**more: object) -> Ground:
    return replace(Ground(binaries=server.find_binaries()), **more)  # type: ignore[arg-type]


def steps(*texts: str) -> list[Step]:
    return [Step(str(n), f"m{n}", text, f"m/{n}.sql") for n, text in enumerate(texts)]


def run(*texts: str, cache: bool = False) -> Replay:
    return replay(steps(*texts), ground(), cache=cache)


def told(result: Replay, kind: str, identity: str) -> list[tuple[int, int | None, bool]]:
    """The timeline of one object: step, line, whether it is there afterwards."""
    return [(c.step, c.line, c.fact is not None) for c in result.timeline[kind, identity]]


def failed(result: Replay) -> list[tuple[int, int, str]]:
    return [(f.step, f.line, f.message) for f in result.failures]


def facts(result: Replay) -> dict[Key, dict[str, object]]:
    return {fact.key: dict(fact.attributes) for fact in result.final.iter()}


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_cache: Path) -> Path:
    """A cache of replays of this test's own; initdb's results are shared."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "clusters").symlink_to((private_cache / "clusters").resolve())
    monkeypatch.setenv("AUDITKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "replays"


# --- provenance --------------------------------------------------------------------------------------------


def test_every_object_knows_the_line_that_made_it() -> None:
    result = run(
        "-- first\ncreate schema s;\n\ncreate table s.t (\n  a int primary key,\n  b text\n);\n"
        "create index i on s.t (b);\ncomment on column s.t.b is 'x';",
        "alter table s.t add column c int;\n"
        "create function s.f() returns int\nlanguage sql as 'select 1';\n\n"
        "create view s.v as\n  select a from s.t;",
        "do $$ begin\n  begin\n    create table s.d ();\n  exception when others then null;\n  end;\n"
        "  create table s.e ();\nend $$;\ngrant select on s.t to public;",
        "create or replace function s.f() returns int language sql as 'select 2';",
    )
    assert failed(result) == []
    assert {f"{kind} {name}": told(result, kind, name) for kind, name in result.timeline} == {
        "schema s": [(0, 2, True)],
        "table s.t": [(0, 4, True), (2, 8, True)],
        "table column s.t.a": [(0, 4, True)],
        "table column s.t.b": [(0, 9, True)],
        "table constraint t_pkey on s.t": [(0, 4, True)],
        "index s.t_pkey": [(0, 4, True)],
        "index s.i": [(0, 8, True)],
        "table column s.t.c": [(1, 1, True)],
        "function s.f()": [(1, 2, True), (3, 1, True)],
        "view s.v": [(1, 5, True)],
        "view column s.v.a": [(1, 5, True)],
        "table s.d": [(2, 1, True)],
        "table s.e": [(2, 1, True)],
    }


def test_every_row_knows_the_migration_that_wrote_it_last() -> None:
    result = run(
        "create table t (a int);",
        "alter table t add b int;",
        "do $$ begin alter table t alter a set not null; exception when others then raise; end $$;",
        "create index concurrently on t (a);",
    )

    def writer(kind: str, identity: str, catalog: str) -> tuple[int, bool]:
        fact = result.final.get(kind, identity)
        assert fact
        step = result.step_of(fact.rows[catalog])
        return step, fact.rows[catalog] in result.used[step].marks

    assert writer("table", "public.t", "pg_type") == (0, True)
    assert writer("table column", "public.t.b", "pg_attribute") == (1, True)
    assert writer("table column", "public.t.a", "pg_attribute") == (2, False), "written in a subtransaction"
    assert [used.whole for used in result.used.values()] == [True, True, True, False]
    assert result.step_of(0) == -1


def test_renaming_and_dropping_are_told_of_all_that_is_concerned() -> None:
    result = run(
        "create table a (x int, y int);\ncreate view v as select x from a;\ncreate table keep (z int);",
        "alter table a rename to b;\nalter table b rename column x to z;\ndrop table keep;",
        "create table t ();\ndrop table t;\ndrop table b cascade;",
    )
    assert failed(result) == []
    assert {f"{kind} {name}": told(result, kind, name) for kind, name in result.timeline} == {
        "table public.a": [(0, 1, True), (1, 1, False)],
        "table column public.a.x": [(0, 1, True), (1, 2, False)],
        "table column public.a.y": [(0, 1, True), (1, 1, False)],
        "table public.b": [(1, 1, True), (2, 3, False)],
        "table column public.b.y": [(1, 1, True), (2, 3, False)],
        "table column public.b.z": [(1, 2, True), (2, 3, False)],
        # Its text changed, though nobody wrote it.
        "view public.v": [(0, 2, True), (1, None, True), (2, 3, False)],
        "view column public.v.x": [(0, 2, True), (2, 3, False)],
        "table public.keep": [(0, 3, True), (1, 3, False)],
        "table column public.keep.z": [(0, 3, True), (1, 3, False)],
    }
    view = ("view", "public.v")
    assert (before := result.state_before(view, 1)) and "FROM public.a" in str(
        before.attributes["definition"]
    )
    assert result.state_before(view, 0) is None
    assert ("table", "public.keep") in result.footprint(1)


def test_savepoints_of_a_migration_are_its_own() -> None:
    result = run(
        "create table a ();\nsavepoint s;\ncreate table b ();\nrollback to savepoint s;\ncreate table c ();\n"
        "release savepoint s;\ncreate table d ();"
    )
    assert failed(result) == []
    assert {name: told(result, kind, name) for kind, name in result.timeline} == {
        "public.a": [(0, 1, True)],
        "public.c": [(0, 5, True)],
        "public.d": [(0, 7, True)],
    }


# --- transactions ------------------------------------------------------------------------------------------


def test_files_run_in_the_transactions_that_they_need() -> None:
    result = run(
        "create table a (x int);\ncreate type e as enum ('a');",
        "begin;\ncreate table one ();\ncommit;\ncreate index concurrently i on a (x);\ncreate table two ();",
        "create table three ();\ncreate index concurrently j on a (x);",
        "alter type e add value 'b';\ncreate table four (e e default 'b');",
        "create procedure p() language plpgsql as $$ begin create table five (); commit; end $$;\ncall p();",
        "begin;\ncreate table undone ();\nrollback;\nset search_path = pg_temp;\nset role pg_monitor;",
        "create table six (); -- the session is as good as new",
    )
    assert failed(result) == []
    made = {
        name: told(result, "table", f"public.{name}")
        for name in ("one", "two", "three", "four", "five", "six")
    }
    assert made == {
        "one": [(1, 2, True)],
        "two": [(1, 5, True)],
        "three": [(2, 1, True)],
        "four": [(3, 2, True)],
        "five": [(4, 2, True)],
        "six": [(6, 1, True)],
    }
    assert told(result, "index", "public.i") == [(1, 4, True)]
    assert result.final.get("table", "public.undone") is None


# --- failures ----------------------------------------------------------------------------------------------


def test_what_fails_is_told_with_its_line_and_the_replay_goes_on() -> None:
    result = run(
        "create table before ();",
        "create table half ();\n\nselect 1/0;\ncreate table never ();",
        "select *\n  from\n  nowhere;",
        "create table d (;\n",
        "create table r (a int primary key, b int references r deferrable initially deferred);\n"
        "insert into r values (1, 2);\n-- the end",
        "\\! touch /tmp/auditkit-was-here\ncreate table m ();",
        "select '\x00'",
        "",
        "-- only a comment\n",
        "begin;\nselect *\n  from\n  nowhere;\ncommit;",
        "create table after ();",
    )
    assert failed(result) == [
        (1, 3, "division by zero"),
        (2, 3, 'relation "nowhere" does not exist'),
        (3, 1, 'syntax error at or near ";"'),
        (4, 2, 'insert or update on table "r" violates foreign key constraint "r_b_fkey"'),
        (5, 1, "a psql meta-command, which is not run (it could execute shell commands)"),
        (6, 1, "the file holds a NUL byte, which SQL text cannot"),
        (9, 4, 'relation "nowhere" does not exist'),
    ]
    assert sorted(result.timeline) == [("table", "public.after"), ("table", "public.before")]
    assert not Path("/tmp/auditkit-was-here").exists()


def test_a_migration_that_ends_its_own_session_is_told_in_one_line() -> None:
    with pytest.raises(ServerFailed, match="the shadow session was ended"):
        run("create table a ();", "select pg_terminate_backend(pg_backend_pid());", "create table b ();")


def test_what_dumps_contain_is_tolerated() -> None:
    result = run(
        "\\restrict abc\ncreate table t (a int, b text);\n\nCOPY t (a, b) FROM stdin;\n1\tx;'y\n2\t\\N\n\\.\n\n"
        "\\unrestrict abc\ncreate table u ();"
    )
    assert failed(result) == []
    assert told(result, "table", "public.u") == [(0, 10, True)]


@pytest.mark.timeout(60)
def test_a_file_of_megabytes_is_sent_piece_by_piece() -> None:
    """More than the socket takes at once, in one statement and in many: it once waited for ever."""
    body = "-- a line of a long function\n" * 60_000
    many = "".join(f"comment on function f() is '{number} {'x' * 400}';\n" for number in range(2_000))
    result = run(f"create function f() returns int language sql as $${body}select 1$$;", many)
    assert (failed(result), result.statements) == ([], 2_001)


def test_bytes_that_are_no_text_are_a_failure_of_their_file_only(tmp_path: Path) -> None:
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20250101000000_a.sql").write_text("create table a ();")
    (folder / "20250102000000_b.sql").write_bytes(
        "create table b (c text default 'caf\xe9');".encode("latin-1")
    )
    (folder / "20250103000000_c.sql").write_bytes(b"")
    (folder / "20250104000000_d.sql").write_bytes(b"\xef\xbb\xbfcreate table d ();\r\n")
    found = [Step(m.version, m.name, m.sql, m.path) for m in load_migrations(tmp_path) if m.sql is not None]
    result = replay(found, ground(), cache=False)
    assert result.final.get("table", "public.a") and result.final.get("table", "public.d")


# --- the cluster -------------------------------------------------------------------------------------------


def test_roles_and_their_settings_are_the_scratch_clusters_own() -> None:
    result = run(
        "create role app noinherit;\ncreate table t ();\ngrant select on t to app;",
        "alter role app set search_path = other, public;",
        "create role boss superuser; alter role boss nosuperuser;",
        "create table still_runs ();",
    )
    assert failed(result) == []
    assert told(result, "role", "app")[0][0] == 0
    assert told(result, "setting", "search_path for role app") == [(1, 1, True)]
    assert run("create role app; create table t (); grant select on t to app").failures == []


def test_a_named_server_is_left_as_it_was() -> None:
    with server.start(label="named") as named:
        listing = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles ORDER BY 1"

        def shown() -> list[str]:
            with psycopg.connect(named.conninfo(), autocommit=True) as connection:
                return [row[0] for row in connection.execute(listing)]

        before = shown()
        texts = [
            "create role app; create table t (); grant select on t to app;",
            "select 1/0;",
            "create table u ();",
        ]
        result = replay(steps(*texts), Ground(server=named.conninfo()))
        assert failed(result) == [(1, 1, "division by zero")]
        assert result.final.get("table", "public.u") is not None
        assert shown() == before
        with pytest.raises(ServerFailed, match="cannot be used") as told_so:
            replay(steps("select 1"), Ground(server="host=/nowhere dbname=x password=secret"))
        assert "secret" not in str(told_so.value)


# --- the cache ---------------------------------------------------------------------------------------------


def test_only_what_is_new_is_replayed(fresh_cache: Path) -> None:
    texts = ["create table a (x int);", "alter table a add y int;", "create view v as select * from a;"]
    first = replay(steps(*texts), ground())
    assert first.replayed == 3
    again = replay(steps(*texts), ground())
    assert (again.replayed, facts(again), again.timeline) == (0, facts(first), first.timeline)
    longer = replay(steps(*texts, "select 1/0;", "create table b ();"), ground())
    assert (longer.replayed, failed(longer)) == (2, [(3, 1, "division by zero")])
    assert told(longer, "view", "public.v") == [(2, 1, True)]
    edited = [texts[0], "alter table a add z int;", texts[2]]
    assert replay(steps(*edited), ground()).replayed == 3
    assert replay(steps(*texts), ground(), cache=False).replayed == 3
    assert not list(fresh_cache.glob(".new-*"))


def test_a_damaged_cache_is_a_cache_without_it(fresh_cache: Path) -> None:
    texts = ["create table a (x int);"]
    first = replay(steps(*texts), ground())
    (kept,) = fresh_cache.glob("*/replay.json.gz")
    for damage in (b"", b"no gzip", kept.read_bytes()[:-9]):
        kept.write_bytes(damage)
        again = replay(steps(*texts), ground())
        assert (again.replayed, facts(again)) == (1, facts(first))
    shutil.rmtree(kept.parent / "cluster")
    assert replay(steps(*texts), ground()).replayed == 0
    assert replay(steps(*texts, "create table b ();"), ground()).replayed == 2


# --- following is as good as reading all -------------------------------------------------------------------

_MOVES: tuple[str, ...] = (
    "create table {a} (x int primary key, y text default 'd')",
    "drop table if exists {a} cascade",
    "alter table if exists {a} rename to {b}",
    "alter table if exists {a} rename column y to w",
    "alter table if exists {a} add column c{n} {a}_t",
    "alter table if exists {a} alter column x type bigint",
    "create index on {a} (x) where x > {n}",
    "create or replace view v_{a} as select x from {a}",
    "create materialized view m{n} as select * from {b}",
    "create type {a}_t as enum ('p', 'q')",
    "alter type {a}_t rename to {b}_t",
    "drop type if exists {a}_t cascade",
    "comment on table {a} is 'c{n}'",
    "grant select on {a} to r{m}",
    "create policy p{n} on {a} to r{m} using (x > {n})",
    "alter table {a} enable row level security",
    "create or replace function f_{a}(n {a}) returns int language sql return $1.x + {n}",
    "create trigger g{n} before update on {a} for each row execute function suppress_redundant_updates_trigger()",
    "alter table {a} add constraint k{n} foreign key (x) references {b}",
    "create schema if not exists s{m}",
    "alter table if exists {a} set schema s{m}",
    "alter schema s{m} rename to s{n}x",
    "create table part{n} partition of {a}p for values in ({n})",
    "create table {a}p (k int) partition by list (k)",
    "alter default privileges in schema public grant select on tables to r{m}",
    "alter role r{m} set work_mem = '{n}MB'",
    "drop owned by r{m}",
)


@pytest.mark.parametrize("seed", range(4))
def test_following_what_was_touched_leads_to_what_a_full_read_shows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = random.Random(seed)
    texts = ["create role r0; create role r1; grant usage on schema public to r0, r1;"]
    for n in range(40):
        names = {"a": choice.choice("tu"), "b": choice.choice("tu"), "n": n, "m": choice.randrange(2)}
        texts.append(choice.choice(_MOVES).format(**names))

    def timeline(result: Replay) -> dict[Key, list[tuple[int, object]]]:
        return {
            key: [(c.step, c.fact and c.fact.attributes) for c in changes]
            for key, changes in result.timeline.items()
            if key[0] != "role"  # whether one is in use is looked at only when roles change
        }

    strayed: list[bool] = []
    real: Callable[..., Replay] = replaying._run_steps

    def watched(*args: object, always_full: bool) -> Replay:
        strayed.append(always_full)
        return real(*args, always_full=always_full)

    monkeypatch.setattr(replaying, "_run_steps", watched)
    followed = replay(steps(*texts), ground(), cache=False)
    assert strayed == [False]
    monkeypatch.setattr(replaying, "_run_steps", lambda *a, always_full: real(*a, always_full=True))
    full = replay(steps(*texts), ground(), cache=False)
    assert facts(followed) == facts(full)
    assert timeline(followed) == timeline(full)


# --- another major version ---------------------------------------------------------------------------------

_OTHERS = """
create schema s;
create table s.t (id int primary key, "j" json default '{}', kind text not null);
create view s.v as select distinct on (kind) * from s.t order by kind, id;
create materialized view s.m as select kind, count(*) from s.t group by kind with no data;
create function s.f(a json, b jsonb) returns json language sql as 'select a';
create role somebody;
grant all on s.t, s.v to somebody;
grant select on s.m to somebody;
alter default privileges in schema s grant all on tables to somebody;
grant usage on schema public to somebody;
create extension pg_trgm;
"""


def test_a_server_of_another_major_version_has_no_drift_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "1_all.sql").write_text(_OTHERS)
    monkeypatch.setenv("AUDITKIT_PG_BINDIR", str(server.find_binaries().bindir))
    with server.start(binaries=postgres_binaries(14), label="old") as old:
        (tmp_path / "auditkit.toml").write_text(f'[environments]\nproduction = "{old.conninfo()}"\n')
        with psycopg.connect(old.conninfo(), autocommit=True) as connection:
            connection.execute(_OTHERS)
            settings = load(tmp_path / "auditkit.toml")
            document = audit.explain("production", settings=settings).document
            assert document["deltas"] == []
            assert [note["what"] for note in document["not_checked"]] == ["the versions of extensions"]
            assert audit.diff(*settings.sources("migrations,production"), settings)["deltas"] == []
            # A change is still seen, and only that.
            connection.execute("create or replace view s.v as select * from s.t where id > 0")
            connection.execute("revoke delete on s.t from somebody")
        changed = audit.explain("production", settings=settings).document["deltas"]
    assert [(d["kind"], d["identity"], d["attribute"]) for d in changed] == [
        ("table", "s.t", "grants"),
        ("view", "s.v", "definition"),
    ]
    assert dialect._grants(("GRANT SELECT TO b",), ("GRANT SELECT, MAINTAIN TO b",)) == (
        "GRANT SELECT, MAINTAIN TO b",
    )


def test_what_cannot_be_replayed_is_never_shown_as_green(tmp_path: Path, database: str) -> None:
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "1_a.sql").write_text("create table a ();\n")
    (folder / "2_b.sql").write_text("comment on table a is 'x';\nselect 1/0;\n")
    (tmp_path / "auditkit.toml").write_text(f'[environments]\nproduction = "{database}"\n')
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table a ()")
    document = audit.explain("production", settings=load(tmp_path / "auditkit.toml")).document
    assert (document["verdict"] != "PASS", document["deltas"]) == (True, [])
    assert ["line 2" in note["what"] for note in document["not_checked"]] == [True]
