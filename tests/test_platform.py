"""What a replay stands on: a healthy database must equal its replay, whatever its platform looks like."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit import server as servers
from auditkit.catalog.capture import capture
from auditkit.catalog.compare import compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.history import platform, standins
from auditkit.history.platform import MANAGED_SCHEMAS, Base, base, is_supabase, migration_role
from auditkit.history.split import split

BOOTSTRAP = (Path(platform.__file__).parent / "platform_sql" / "supabase.sql").read_text(encoding="utf-8")

# What a Supabase project's migrations do where they touch the platform.
MIGRATIONS = """
create extension if not exists pg_trgm with schema extensions;
create extension if not exists "uuid-ossp" with schema extensions;
create extension if not exists pg_cron;
create extension if not exists pg_net with schema extensions;
create schema app;
create role app_reader nologin;
create table public.profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    name text,
    token uuid default extensions.uuid_generate_v4(),
    digest bytea default extensions.gen_random_bytes(8));
alter table public.profiles enable row level security;
create policy own on public.profiles for select to authenticated using (auth.uid() = id);
create function public.handle_new_user() returns trigger language plpgsql security definer
    set search_path = '' as $$
begin
  insert into public.profiles (id) values (new.id);
  perform net.http_post('https://example.org', '{}');
  return new;
end $$;
create trigger on_auth_user_created after insert on auth.users
    for each row execute function public.handle_new_user();
create policy "avatars are public" on storage.objects for select to public using (bucket_id = 'avatars');
create policy "rooms" on realtime.messages for select to authenticated using (realtime.topic() = 'lobby');
insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);
alter publication supabase_realtime add table public.profiles;
create index on public.profiles using gin (name gin_trgm_ops);
create table app.t (a int);
grant usage on schema app to authenticated, app_reader;
grant select on app.t to anon, app_reader;
select cron.schedule('nightly', '0 3 * * *', 'select 1');
select vault.create_secret('s3cret', 'api_key');
create trigger hook after insert on public.profiles for each row
    execute function supabase_functions.http_request('https://example.org', 'POST', '{}', '{}', '1000');
create view public.v with (security_invoker = true) as select * from public.profiles;
create event trigger mine on ddl_command_end execute function extensions.pgrst_ddl_watch();
create index users_by_phone on auth.users (phone);
insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.org');
"""

# They change what the platform made: the base must then hold what was there before.
CHANGES = """
create table public.early (a int);
alter default privileges in schema public revoke all on tables from anon;
alter default privileges in schema public revoke execute on functions from anon, authenticated;
create table public.late (a int);
create function public.late() returns int language sql as 'select 1';
grant usage on schema public to app_reader;
"""

# A platform of another release, and what a service does every day.
ANOTHER_RELEASE = """
create role app_ops;
grant app_ops to postgres;
alter table auth.users add column another text;
comment on column auth.users.another is 'it''s "new"';
create table auth.another (a int generated always as identity, b auth.aal_level);
alter table auth.another owner to supabase_auth_admin;
create function storage.another(a text) returns text language sql set search_path = '' as 'select a';
alter function storage.another(text) owner to supabase_storage_admin;
create view storage.numbers as select count(*) as n from storage.objects;
alter table storage.objects add column level int default 1 check (level > 0);
alter default privileges for role postgres in schema public revoke all on tables from anon;
create table realtime.messages_2026_11_20 partition of realtime.messages
    for values from ('2026-11-20') to ('2026-11-21');
alter role authenticator set pgrst.db_schemas to 'public, app';
alter role authenticated set statement_timeout to '20s';
comment on schema public is 'ours';
"""


def run(conninfo: str, sql: Iterable[str]) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in sql:
            connection.execute(statement.encode())


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split(sql)]


def extension_files(
    snapshot: Snapshot | None, wanted: Iterable[str], tmp_path: Path, binaries: servers.Binaries
) -> dict[str, str]:
    missing = [name for name in wanted if name not in binaries.extensions]
    standins.write(snapshot, missing, tmp_path, available=binaries.extensions)
    return {file.name: file.read_text("utf-8") for file in (tmp_path / "extension").iterdir()}


def supabase_project(tmp_path: Path, extra: str, migrations: str, *, hosted: bool) -> Snapshot:
    """A database as the platform and *migrations* leave it.

    *hosted*: as at Supabase, the bootstrap role is ``supabase_admin`` and ``postgres`` is no superuser.
    """
    binaries = servers.find_binaries()
    superuser = "supabase_admin" if hosted else "postgres"
    files = extension_files(None, sorted(standins.BUNDLED), tmp_path / "audited", binaries)
    with servers.start(binaries=binaries, superuser=superuser, extension_files=files) as server:
        if hosted:
            run(
                server.conninfo(user=superuser),
                [
                    "create role postgres superuser login createdb createrole replication bypassrls",
                    "alter database postgres owner to postgres",
                ],
            )
        run(server.conninfo(user=superuser), texts(BOOTSTRAP + extra))
        run(server.conninfo(user="postgres"), texts(migrations))
        if hosted:
            run(server.conninfo(user=superuser), ["alter role postgres nosuperuser"])
        return capture(server.conninfo(user=superuser), name="production")


def replayed(tmp_path: Path, ground: Base, snapshot: Snapshot | None, migrations: str) -> Snapshot:
    """What *migrations* make on *ground*; every statement has to run."""
    binaries = servers.find_binaries()
    wanted = standins.wanted([*ground.statements, migrations])
    files = extension_files(snapshot, wanted, tmp_path / "replay", binaries)
    with servers.start(binaries=binaries, superuser=ground.superuser, extension_files=files) as server:
        conninfo = server.conninfo(user=ground.superuser)
        assert lay(conninfo, ground.statements) == []
        run(server.conninfo(user=ground.role), texts(migrations))
        return capture(conninfo, name="migrations")


def lay(conninfo: str, statements: list[str]) -> list[tuple[str, str]]:
    """Run the statements of a base as its documentation says; return those that never ran, with the reason."""
    with closing(psycopg.connect(conninfo, autocommit=True)) as connection:
        while True:
            failed = []
            for statement in statements:
                try:
                    connection.execute(statement.encode())
                except psycopg.Error as error:
                    failed.append((statement, str(error)))
            if not failed or len(failed) == len(statements):
                return failed
            statements = [statement for statement, _ in failed]


def drift(tmp_path: Path, snapshot: Snapshot, migrations: str) -> list[tuple[str, str, str]]:
    """What differs between an audited database and its replay: (kind, identity, change or attribute).

    Compared without a scope: the platform's schemas, too, have to come out equal. Partitions that a service
    makes every day are not rebuilt.
    """
    ground = base(snapshot, [migrations], supabase=True)
    assert (ground.origin, ground.notes) == ("audited database", [])
    return [
        (delta.kind, delta.identity, delta.attribute or delta.change)
        for delta in compare(replayed(tmp_path, ground, snapshot, migrations), snapshot)
        if not ground.settles(delta.kind, delta.identity, delta.attribute)
        and "messages_2026_11_20" not in delta.identity
    ]


@pytest.mark.parametrize("hosted", [True, False], ids=["hosted", "postgres is superuser"])
@pytest.mark.parametrize("changes", ["", CHANGES], ids=["", "changed defaults"])
def test_replay_of_a_healthy_project_equals_it(tmp_path: Path, hosted: bool, changes: str) -> None:
    snapshot = supabase_project(tmp_path, "", MIGRATIONS + changes, hosted=hosted)
    ground = base(snapshot, [MIGRATIONS, changes])
    assert (ground.role, ground.superuser) == ("postgres", "supabase_admin" if hosted else "postgres")
    assert drift(tmp_path, snapshot, MIGRATIONS + changes) == []


def test_platform_of_another_release(tmp_path: Path) -> None:
    snapshot = supabase_project(tmp_path, ANOTHER_RELEASE, MIGRATIONS, hosted=True)
    assert drift(tmp_path, snapshot, MIGRATIONS) == []


def test_what_a_person_did_by_hand_is_not_taken_for_the_platform(tmp_path: Path) -> None:
    by_hand = """
        create policy "by hand" on storage.objects for delete to anon using (true);
        create trigger by_hand after insert on auth.users
            for each row execute function public.handle_new_user();
        create table public.by_hand (a int);
        grant insert on app.t to anon;
        alter publication supabase_realtime add table app.t;
        create extension hstore with schema extensions;
    """
    snapshot = supabase_project(tmp_path, "", MIGRATIONS + by_hand, hosted=True)
    assert drift(tmp_path, snapshot, MIGRATIONS) == [
        ("extension", "hstore", "unexpected"),
        ("policy", '"by hand" on storage.objects', "unexpected"),
        ("publication relation", "app.t in publication supabase_realtime", "unexpected"),
        ("table", "app.t", "grants"),
        ("table", "public.by_hand", "unexpected"),
        ("trigger", "by_hand on auth.users", "unexpected"),
    ]


def test_settings_that_migrations_make_are_not_the_operators(tmp_path: Path) -> None:
    made = """
        alter role authenticator set pgrst.db_schemas to 'public, app';
        alter role anon set statement_timeout to '9s';
    """
    undone = (
        "alter role anon set statement_timeout to '1min'; alter role authenticator reset pgrst.db_schemas;"
    )
    snapshot = supabase_project(tmp_path, "", MIGRATIONS + made + undone, hosted=True)
    assert drift(tmp_path, snapshot, MIGRATIONS + made) == [
        ("setting", "pgrst.db_schemas for role authenticator", "missing"),
        ("setting", "statement_timeout for role anon", "value"),
    ]


PLAIN = """
create schema sales;
create table sales.schema_migrations (version text);
create table sales.orders (id bigserial primary key, at timestamptz default now());
grant usage on schema sales to reporting;
grant select on all tables in schema sales to reporting;
alter default privileges in schema sales grant select on tables to reporting;
do $$ begin execute 'create role batch login'; end $$;
grant batch to ci;
grant insert on sales.orders to batch;
create extension citext;
revoke create on schema public from public;
create table sales.lines (id int, code citext);
alter table sales.lines owner to ci;
create role early;
grant select on sales.lines to early;
alter role early rename to late;
"""
OPERATOR = """
create role app login superuser;
create role reporting;
create role ci login createdb connection limit 3;
grant reporting to app with admin option;
alter database postgres owner to app;
alter role app set search_path to app, public;
alter role app set statement_timeout to '5s';
alter role ci set search_path to '';
alter role app in database postgres set work_mem to '8MB';
alter role all set lock_timeout to '10s';
alter database postgres set timezone to 'UTC';
revoke connect on database postgres from public;
grant connect on database postgres to app;
alter schema public owner to app;
"""


def plain_database(extra: str = "") -> Snapshot:
    with servers.start() as server:
        run(server.conninfo(), texts(OPERATOR))
        run(server.conninfo(user="app"), texts(PLAIN + extra))
        run(server.conninfo(), ["alter role app nosuperuser createrole"])
        snapshot = capture(server.conninfo(), name="production")
    snapshot.ledgers = [{"tool": "dbmate", "schema": "sales", "table": "schema_migrations", "platform": None}]
    return snapshot


def test_plain_database_with_roles_of_its_operator(tmp_path: Path) -> None:
    snapshot = plain_database()
    ground = base(snapshot, [PLAIN])
    assert (ground.role, ground.superuser) == ("app", "postgres")
    assert drift(tmp_path, snapshot, PLAIN) == []


def test_grants_by_hand_on_a_plain_database_stay_drift(tmp_path: Path) -> None:
    by_hand = """
        grant delete on sales.orders to reporting;
        alter default privileges in schema sales grant insert on tables to reporting;
        grant create on schema sales to reporting;
    """
    assert drift(tmp_path, plain_database(by_hand), PLAIN) == [
        ("default acl", "for role app in schema sales on tables", "grants"),
        ("schema", "sales", "grants"),
        ("table", "sales.orders", "grants"),
    ]


@pytest.mark.parametrize("project", [True, False])
def test_without_an_audited_database(tmp_path: Path, project: bool) -> None:
    ground = base(None, ["create role mine; grant mine to theirs; create table t ();"], supabase=project)
    assert ground.origin == ("bundled bootstrap" if project else "none")
    if not project:
        assert ground.statements == ["CREATE ROLE theirs NOLOGIN"]


def test_bootstrap_is_enough_for_migrations_before_there_is_a_project(tmp_path: Path) -> None:
    ground = base(None, [MIGRATIONS + CHANGES], supabase=True)
    found = replayed(tmp_path, ground, None, MIGRATIONS + CHANGES)
    early, late = (found.get("table", f"public.{name}") for name in ("early", "late"))
    assert early and "TO anon" in str(early.attributes["grants"])
    assert late and "TO anon" not in str(late.attributes["grants"])


def test_empty_plain_database_of_a_supabase_project(database: str) -> None:
    snapshot = capture(database, name="staging")
    assert not is_supabase(snapshot)
    assert base(snapshot, ["create table t (a int);"], supabase=True).origin == "audited database"
    needs = base(snapshot, ["create table t (u uuid references auth.users);"], supabase=True)
    assert needs.origin == "bundled bootstrap"
    assert needs.notes == ["the audited database lacks the platform these migrations need"]


def test_bootstrap_runs_twice_in_one_cluster(databases: Any) -> None:
    """As the demo does it: roles are there already when the second database is made."""
    for name in ("one", "two"):
        conninfo = databases(name)
        run(conninfo, [BOOTSTRAP])
        snapshot = capture(conninfo, name=name)
        assert is_supabase(snapshot)
        assert {fact.name for fact in snapshot.iter("schema")} <= MANAGED_SCHEMAS | {"public"}
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            'set local request.jwt.claims to \'{"sub": "00000000-0000-0000-0000-000000000001"}\''
        )
        connection.execute("set local role authenticated")
        row = connection.execute("select auth.uid()::text, storage.foldername('a/b/c.png')").fetchone()
    assert row == ("00000000-0000-0000-0000-000000000001", ["a", "b"])


def test_role_that_runs_the_migrations() -> None:
    snapshot = plain_database()
    assert migration_role(snapshot) == "app"
    snapshot.ledgers = []
    assert migration_role(snapshot) == "app"  # owns most tables
    assert migration_role(Snapshot({}, {})) == "postgres"


def test_roles_in_the_text_of_migrations() -> None:
    text = """
        create role one; CREATE USER "Two"; create group three;
        do $$ begin if not exists (select) then create role four login; end if; end $$;
        -- create role not_this;  /* create role nor_this */
        create user mapping for current_user server s;
    """
    clean = platform._without_comments(text)
    assert platform._created_roles(clean) == {"one", "Two", "three", "four"}
    mentioned = """
        grant select on t to a, "B" with grant option; revoke all on t from c;
        create policy p on t for select to d, e using (true); alter table t owner to f;
        alter default privileges for role g in schema s grant select on tables to h;
        create schema i authorization j; set role k; alter role l set search_path to x;
        alter table t rename to not_this; grant all on t to public, current_user, pg_monitor;
    """
    assert platform._mentioned_roles([mentioned]) == {*"aBcdefghjkl"}
