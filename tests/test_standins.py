"""Stand-ins: a schema built on them reads exactly like one built on the real extensions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditkit import server as servers
from auditkit.catalog.capture import capture
from auditkit.catalog.kinds import literal
from auditkit.catalog.snapshot import Snapshot
from auditkit.history import standins
from auditkit.history.split import split

# Real ones that the embedded server has; the stand-ins shadow them by coming first in the search path.
REAL = [
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "pg_stat_statements",
    "pg_trgm",
    "postgres_fdw",
    "seg",
    "tablefunc",
    "unaccent",
    "vector",
]

SCHEMA = """
create table t (
    id int primary key,
    email extensions.citext not null unique check (email <> ''),
    nick citext collate "C",
    tags hstore default ''::hstore,
    path ltree,
    cubes cube,
    isbn isbn13,
    emails citext[],
    embedding vector(3),
    half halfvec(7),
    slug text generated always as (lower(email::text)) stored,
    score real generated always as (similarity(email::text, 'a')) stored,
    changed timestamptz);
create index t_gin on t using gin ((email::text) gin_trgm_ops, slug extensions.gin_trgm_ops);
create index t_gist on t using gist (slug gist_trgm_ops (siglen = 32));
create index t_path on t using gist (path);
create index t_tags on t using gin (tags) where tags ? 'a';
create index t_cube on t using gist (cubes);
create index t_mixed on t using btree (lower(email), nick);
create table booked (room int, during tstzrange, exclude using gist (room with =, during with &&));
create domain address as citext check (value ~ '@') default 'a@b';
create type pair as (one citext, two vector(2));
create view v as
    select email, email = 'x' as same, tags -> 'a' as a, path @> 'b'::ltree as below, slug % 'y' as like_y,
           similarity(slug, 'x') as score, embedding <-> '[1,2,3]' as distance, unaccent(slug) as plain,
           min(email) over () as first, cube_dim(cubes), levenshtein(slug, 'z'), isbn is not null as known
    from t where email like 'x%' and nick ~ 'a' order by email;
create materialized view m as select email, count(*) from t group by email;
create function f(a citext, b hstore default '', c vector default '[1]') returns setof citext language sql as
    'select a';
create function g(a citext) returns boolean language sql immutable begin atomic select a = 'x'::citext; end;
create trigger t_changed before update on t for each row execute function moddatetime(changed);
create server remote foreign data wrapper postgres_fdw options (host 'db', dbname 'x');
create foreign table far (a int, b citext) server remote options (table_name 'x');
create server files foreign data wrapper file_fdw;
create statistics s on email, nick from t;
create operator === (function = citext_eq, leftarg = citext, rightarg = citext);
alter extension pg_trgm update;
alter extension fuzzystrmatch set schema moved;
"""

VECTOR_INDEXES = """
create index t_ivf on t using ivfflat (embedding vector_l2_ops);
create index t_hnsw on t using hnsw (embedding vector_cosine_ops);
"""


def build(conninfo: str, extensions: Iterable[str], schema: str) -> Snapshot:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create schema extensions")
        connection.execute("create schema moved")
        connection.execute('alter database postgres set search_path to "$user", public, extensions')
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for name in extensions:
            connection.execute(f'create extension "{name}" with schema extensions'.encode())
        for statement in split(schema):
            connection.execute(statement.text.encode())
    return capture(conninfo, name="built")


def files(
    snapshot: Snapshot | None, names: Iterable[str], directory: Path, **options: Any
) -> tuple[dict[str, str], list[standins.StandIn]]:
    written = standins.write(snapshot, names, directory, **options)
    return {file.name: file.read_text("utf-8") for file in (directory / "extension").iterdir()}, written


def own(snapshot: Snapshot) -> dict[tuple[str, str], dict[str, Any]]:
    """All facts but members of extensions."""
    return {fact.key: fact.attributes for fact in snapshot.iter() if fact.extension is None}


def members(snapshot: Snapshot) -> set[tuple[str, str, str]]:
    """All members but support functions, of which an index method's stand-in has more."""
    return {
        (fact.extension, *fact.key)
        for fact in snapshot.iter()
        if fact.extension and fact.kind != "function of access method"
    }


def c_functions(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "select count(*) from pg_proc where probin is not null and oid > 16384"
        ).fetchone()
    assert row
    return int(row[0])


def test_schema_on_stand_ins_reads_as_on_the_real_extensions(tmp_path: Path) -> None:
    with servers.start() as server:
        real = build(server.conninfo(), REAL, SCHEMA + VECTOR_INDEXES)
        assert c_functions(server.conninfo()) > 500
    texts, written = files(real, REAL, tmp_path)
    assert {(s.extension, s.origin) for s in written} == {(name, "audited database") for name in REAL}
    assert "pg_trgm 1.6: stand-in written from the audited database's catalog" in str(written)
    with servers.start(extension_files=texts) as server:
        built = build(server.conninfo(), REAL, SCHEMA + VECTOR_INDEXES)
        assert c_functions(server.conninfo()) == 0
    assert own(built) == own(real)
    assert members(built) == members(real)


@pytest.mark.tools
@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin/postgres").exists(), reason="no PostgreSQL 15")
@pytest.mark.allow_skip(
    "needs Debian's PostgreSQL 15, which has all contrib modules and no extension_control_path"
)
def test_every_contrib_extension_before_there_was_a_control_path(tmp_path: Path) -> None:
    binaries = servers.find_binaries(15)
    names = sorted(binaries.extensions - {"plpgsql", "adminpack"})
    with servers.start(binaries=binaries) as server:
        real = build(server.conninfo(), names, "")
    texts, written = files(real, names, tmp_path)
    assert [s.extension for s in written] == names
    with servers.start(binaries=binaries, extension_files=texts) as server:
        built = build(server.conninfo(), names, "")
        assert c_functions(server.conninfo()) == 0
    assert (own(built), members(built)) == (own(real), members(real))


def test_uuid_and_crypto_as_the_platform_has_them(tmp_path: Path) -> None:
    """The wheel has neither; an audited database that lacks them, too, gets the bundled ones."""
    names = ["uuid-ossp", "pgcrypto"]
    texts, written = files(None, names, tmp_path)
    assert [s.origin for s in written] == ["bundled", "bundled"]
    schema = """
        create table t (id uuid primary key default uuid_generate_v4(), u uuid default extensions.gen_random_uuid(),
                        token text default encode(gen_random_bytes(32), 'hex'),
                        password text default crypt('x', gen_salt('bf', 8)));
        insert into t values (default), (uuid_generate_v5(uuid_ns_url(), 'x'));
        do $$ begin assert (select bool_and(length(token) = 64 and u is not null) from t); end $$;
        do $$ begin assert digest('abc', 'sha256') = sha256('abc'); end $$;
    """
    with servers.start(extension_files=texts) as server:
        bundled = build(server.conninfo(), names, schema)
    # A stand-in of the stand-in: as if the first one were the audited database.
    texts, written = files(bundled, names, tmp_path / "again")
    assert [s.origin for s in written] == ["audited database"] * 2
    with servers.start(extension_files=texts) as server:
        assert own(build(server.conninfo(), names, schema)) == own(bundled)


def test_bundled_stand_ins_can_all_be_created(tmp_path: Path) -> None:
    names = sorted(standins.BUNDLED)
    texts, written = files(None, names, tmp_path)
    assert [s.extension for s in written] == names
    with (
        servers.start(extension_files=texts) as server,
        psycopg.connect(server.conninfo(), autocommit=True) as c,
    ):
        c.execute("create schema extensions")
        for name in names:
            c.execute(f'create extension if not exists "{name}" cascade'.encode())
        c.execute("create table t (e vector(3), s sparsevec(5))")
        c.execute("create index on t using hnsw (e vector_cosine_ops)")
        c.execute("create index on t using ivfflat (e)")
        (definition,) = c.execute(
            "select pg_get_indexdef(indexrelid) from pg_index where indexrelid > 16384 "
            "and indrelid = 't'::regclass order by 1"
        ).fetchone() or ("",)
        assert definition == "CREATE INDEX t_e_idx ON public.t USING hnsw (e vector_cosine_ops)"
        (typed,) = c.execute(
            "select string_agg(format_type(atttypid, atttypmod), ' ') from pg_attribute "
            "where attrelid = 't'::regclass and attnum > 0"
        ).fetchone() or ("",)
        assert typed == "vector(3) sparsevec(5)"
        assert c.execute("select cron.schedule('a', '* * * * *', 'select 1')").fetchone() == (1,)
        assert c.execute("select cron.unschedule('a')").fetchone() == (True,)
        assert c.execute("select net.http_post('https://example.org', '{}')").fetchone() == (1,)
        assert (
            c.execute("select secret from vault.secrets where id = vault.create_secret('s', 'n')").fetchall()
            == []
        )
        with pytest.raises(psycopg.errors.RaiseException, match=r"stand-in for extension http: http_get\(\)"):
            c.execute("select http_get('https://example.org')")


def test_extension_with_a_schema_of_its_own(tmp_path: Path) -> None:
    """pg_net: the extension says `extensions`, its objects are in `net`."""
    texts, _ = files(None, ["pg_net", "pg_cron"], tmp_path)
    create = """
        create extension pg_net with schema extensions;
        create extension pg_cron;
        create view jobs as select jobid, schedule from cron.job;
    """
    with servers.start(extension_files=texts) as server:
        audited = build(server.conninfo(), [], create)
    texts, _ = files(audited, ["pg_net", "pg_cron"], tmp_path / "again")
    with servers.start(extension_files=texts) as server:
        again = build(server.conninfo(), [], create)
    assert (own(again), members(again)) == (own(audited), members(audited))
    cron = again.get("extension", "pg_cron")
    assert cron is not None and cron.attributes["extension_schema"] == "pg_catalog"


def test_versions_named_by_migrations(tmp_path: Path) -> None:
    wanted = standins.wanted(["create extension pgcrypto version '1.1'; alter extension pgcrypto update;"])
    texts, written = files(None, wanted, tmp_path, versions=wanted)
    assert [s.version for s in written] == ["1.3"]
    with servers.start(extension_files=texts) as server, psycopg.connect(server.conninfo()) as c:
        version = "select extversion from pg_extension where extname = 'pgcrypto'"
        c.execute("create extension pgcrypto version '1.1'")
        assert c.execute(version).fetchone() == ("1.1",)
        c.execute("alter extension pgcrypto update")
        assert c.execute(version).fetchone() == ("1.3",)


def test_what_is_required_is_written_too(tmp_path: Path) -> None:
    _, written = files(None, ["index_advisor"], tmp_path)
    assert [s.extension for s in written] == ["index_advisor", "hypopg"]
    _, written = files(None, ["index_advisor"], tmp_path, available=["hypopg"])
    assert [s.extension for s in written] == ["index_advisor"]


def test_nobody_knows_it(tmp_path: Path) -> None:
    assert files(None, ["nobody_knows_it"], tmp_path) == ({}, [])


def test_wanted() -> None:
    texts = [
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA extensions;',
        "create extension Citext version '1.5' cascade; create extension hstore\n  with schema s;",
        """do $$ begin execute 'create extension "a ""b"" c" cascade'; end $$""",
        "drop extension pg_trgm; comment on extension ltree is 'x'; create extension citext",
    ]
    assert standins.wanted(texts) == {
        "uuid-ossp": frozenset(),
        "citext": frozenset({"1.5"}),
        "hstore": frozenset(),
        'a "b" c': frozenset(),
    }


TEXT = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]) | st.sampled_from("$do0\\';")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(TEXT)
def test_fixpoint_keeps_any_text_whole(database: str, text: str) -> None:
    with psycopg.connect(database) as connection:
        command = f"comment on schema public is {literal(text)}"
        connection.execute(standins.fixpoint([command, "create type $do0$"]).encode())
        (comment,) = connection.execute("select obj_description('public'::regnamespace)").fetchone() or ("",)
    assert (comment or "") == text


def test_fixpoint_finds_the_order(database: str) -> None:
    heard: list[str] = []
    statements = [
        "create view v as select * from t",
        "comment on view v is 'it''s $s0$'",
        "nonsense",
        "create table t ()",
    ]
    with psycopg.connect(database) as connection:
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        connection.execute(standins.fixpoint(statements).encode())
        assert connection.execute("select obj_description('v'::regclass)").fetchone() == ("it's $s0$",)
    assert heard == ['auditkit: syntax error at or near "nonsense" (nonsense)']
