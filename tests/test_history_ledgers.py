"""Ledgers: recognised by their columns, read in one SELECT, and never mistaken for absent."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from auditkit.connect import connect
from auditkit.history.checksums import siphash13
from auditkit.history.ledgers import (
    LEDGERS,
    choose,
    find_ledgers,
    not_detectable,
    own_tables,
    read_history,
    read_ledgers,
)
from auditkit.history.migration import Migration, Migrations, Project

HISTORIES = Path(__file__).parent / "histories"

#: version, name, state, position, applied_at of every row that the tables in tests/histories hold.
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "flyway": [
        ("1", "<< Flyway Baseline >>", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("1.1", "add column", "applied", 2, "2024-01-02T10:00:00.000000Z"),
        ("", "views", "applied", 3, "2024-01-02T10:00:01.000000Z"),
        ("1.2", "broken", "failed", 4, "2024-01-03T10:00:00.000000Z"),
    ],
    "liquibase": [
        ("db/a.sql::1::ann", "", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("db/a.sql::2::ann", "", "applied", 2, "2024-01-01T10:00:01.000000Z"),
    ],
    "golang-migrate": [("3", "", "failed", None, None)],
    "ecto": [
        ("20240101000000", "", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("20240102000000", "", "applied", 2, "2024-01-02T10:00:00.000000Z"),
    ],
    "rails": [
        ("20240101000000", "", "applied", None, None),
        ("20240102000000", "", "applied", None, None),
    ],
    "goose": [
        ("1", "", "applied", 2, "2024-01-01T10:00:00.000000Z"),
        ("2", "", "applied", 3, "2024-01-02T10:00:00.000000Z"),
        ("2", "", "rolled_back", 4, "2024-01-03T10:00:00.000000Z"),
    ],
    "sqlx": [
        ("1", "add_users", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("2", "broken", "failed", 2, "2024-01-02T10:00:00.000000Z"),
    ],
    "prisma": [
        ("20240101000000", "init", "applied", 1, "2024-01-01T10:00:01.000000Z"),
        ("20240102000000", "two", "rolled_back", 2, None),
        ("20240102000000", "two", "failed", 3, None),
    ],
    "refinery": [
        ("1", "initial", "applied", 2, "2024-01-01T10:00:00.500000Z"),
        ("2", "more", "applied", 1, "2024-01-01T10:00:00.000000Z"),
    ],
    "atlas": [
        ("20240101000000", "baseline", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("20240102000000", "two", "failed", 2, "2024-01-02T10:00:00.000000Z"),
    ],
    "knex": [
        ("20240101000000", "users", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("20240102000000", "posts", "applied", 2, "2024-01-02T10:00:00.000000Z"),
    ],
    "typeorm": [("1704103200000", "AddUsers", "applied", 1, None)],
    "sequelize": [("20240101000000", "users", "applied", None, None)],
    "node-pg-migrate": [("1704103200000", "users", "applied", 1, "2024-01-01T10:00:00.000000Z")],
    "diesel": [
        ("00000000000000", "", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("20240102000000", "", "applied", 2, "2024-01-02T10:00:00.000000Z"),
    ],
    "efcore": [("20240101000000", "Init", "applied", None, None)],
    "yoyo": [("20240101_01_users", "", "applied", 1, "2024-01-01T10:00:00.000000Z")],
    "sqitch": [
        ("users", "", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("users#2", "", "applied", 2, "2024-01-02T10:00:00.000000Z"),
        ("broken", "", "failed", 3, "2024-01-03T11:00:00.000000Z"),
    ],
    "postgres-migrations": [("1", "users", "applied", 1, "2024-01-01T10:00:01.000000Z")],
    "hasura": [
        ("1704103200000", "", "applied", None, None),
        ("1704103300000", "", "failed", None, None),
        ("1704103200001", "", "applied", None, None),
    ],
    "pgroll": [
        ("01_users", "", "applied", 1, "2024-01-01T10:00:00.000000Z"),
        ("01_users_20240102100000000000", "", "applied", 2, "2024-01-02T10:00:00.000000Z"),
        ("02_more", "", "failed", 3, "2024-01-03T10:00:00.000000Z"),
    ],
}
#: Only in test_history_tools.py, with the real tools.
REAL = {"supabase", "django", "alembic", "dbmate", "drizzle"}


@pytest.fixture
def auditor() -> Iterator[Callable[[str], str]]:
    """Turns a conninfo into that of a role with no rights but LOGIN."""
    role = f"auditor_{uuid.uuid4().hex[:8]}"
    used: list[str] = []

    def switch(conninfo: str) -> str:
        used.append(conninfo)
        execute(conninfo, f"CREATE ROLE {role} LOGIN")
        return psycopg.conninfo.make_conninfo(conninfo, user=role)

    yield switch
    for conninfo in used:
        execute(conninfo, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def load(conninfo: str, name: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute((HISTORIES / f"{name}.sql").read_text())


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_every_ledger_has_a_test() -> None:
    assert set(LEDGERS) == set(EXPECTED) | REAL


@pytest.mark.parametrize("tool", sorted(EXPECTED))
def test_a_ledger_is_recognised_by_its_columns_and_read(database: str, tool: str) -> None:
    load(database, tool)
    with connect(database) as connection:
        (found,) = find_ledgers(connection)
        history = read_history(connection)
    assert found.tool == history.tool == tool
    rows = sorted(history.rows, key=lambda row: (row["version"] == "", row["version"], row["position"] or 0))
    fields = ("version", "name", "state", "position", "applied_at")
    key = lambda row: (row[0] == "", row[0], row[3] or 0)  # noqa: E731
    assert [tuple(row[name] for name in fields) for row in rows] == sorted(EXPECTED[tool], key=key)
    if tool != "hasura":  # one row for all migrations: when it was written tells nothing about one of them
        assert all(row["xmin"] > 0 and row["age"] >= 1 for row in rows)
    assert list(rows[0]) == [
        "tool",
        "table",
        "version",
        "name",
        "state",
        "position",
        "applied_at",
        "checksum",
        "statements",
        "applied_by",
        "note",
        "recorded_as",
        "done",
        "total",
        "xmin",
        "age",
    ]


def test_all_ledgers_at_once_do_not_get_mixed_up(database: str) -> None:
    for tool in EXPECTED:
        execute(database, f'CREATE SCHEMA "x_{tool}"')
        sql = (HISTORIES / f"{tool}.sql").read_text().replace("public.", f'"x_{tool}".')
        execute(database, sql)
    with connect(database) as connection:
        found = find_ledgers(connection)
    assert sorted(table.tool for table in found) == sorted(EXPECTED)


def test_rails_and_dbmate_are_told_apart(database: str) -> None:
    execute(database, "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
    with connect(database) as connection:
        assert read_history(connection).tool == "dbmate"
        assert read_history(connection, "rails").tool == "rails"
        execute(database, "CREATE TABLE ar_internal_metadata (key varchar PRIMARY KEY)")
        assert read_history(connection).tool == "rails"
        assert read_history(connection, "dbmate").tool == "dbmate"


def test_tables_that_only_look_like_ledgers_are_not(database: str) -> None:
    execute(
        database,
        "CREATE TABLE releases (version varchar PRIMARY KEY)",
        "CREATE TABLE schema_migrations (version varchar, author text)",
        "CREATE TABLE tags (name varchar PRIMARY KEY)",
        "CREATE TABLE flyway_schema_history (id int)",
        "CREATE VIEW databasechangelog AS SELECT 1 AS id",
    )
    with connect(database) as connection:
        history = read_history(connection)
    assert (history.tool, history.rows, history.readable) == (None, (), True)
    assert history.notes == ("no migration history table was found",)


def test_a_ledger_under_another_name_is_found(database: str) -> None:
    load(database, "flyway")
    execute(database, 'ALTER TABLE flyway_schema_history RENAME TO "My; history"')
    with connect(database) as connection:
        history = read_history(connection)
    assert (history.tool, history.table, len(history.rows)) == ("flyway", "public.My; history", 4)


def test_the_ledgers_of_the_supabase_platform_are_not_the_projects(database: str) -> None:
    load(database, "supabase-hosted")
    with psycopg.connect(database, autocommit=True) as connection:
        for role, schema in (("supabase_auth_admin", "auth"), ("supabase_storage_admin", "storage")):
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(f"CREATE ROLE {role}")
            table = "schema_migrations" if schema == "auth" else "migrations"
            connection.execute(f"ALTER TABLE {schema}.{table} OWNER TO {role}")
    with connect(database) as connection:
        records = read_ledgers(connection)
    assert {record["schema"]: (record["platform"], len(record["rows"])) for record in records} == {
        "auth": ("Supabase Auth", 0),
        "realtime": (None, 0),  # here its owner is no role of the platform's
        "storage": ("Supabase Storage", 0),
        "supabase_migrations": (None, 2),
    }
    history = choose(records, "supabase")
    assert [(row["version"], row["name"], row["applied_by"]) for row in history.rows] == [
        ("20240101000000", "users", "ann@example.org"),
        ("20240102000000", "", None),
    ]
    assert history.others == ("realtime.schema_migrations (ecto)",)


def test_a_ledger_that_may_not_be_read_is_not_an_empty_one(
    database: str, auditor: Callable[[str], str]
) -> None:
    load(database, "supabase-hosted")
    conninfo = auditor(database)
    with connect(conninfo) as connection:
        history = read_history(connection, "supabase")
        role = connection.info.user
    assert (history.tool, history.readable, history.rows) == ("supabase", False, ())
    assert history.not_checked == (
        {
            "what": "migration history (supabase, supabase_migrations.schema_migrations)",
            "why": f"role {role} lacks USAGE on the schema",
            "fix": f"GRANT USAGE ON SCHEMA supabase_migrations TO {role}; "
            f"GRANT SELECT ON supabase_migrations.schema_migrations TO {role};",
        },
    )
    execute(database, history.not_checked[0]["fix"])
    with connect(conninfo) as connection:
        assert len(read_history(connection, "supabase").rows) == 2


def test_row_level_security_can_hide_rows_and_that_is_said(
    database: str, auditor: Callable[[str], str]
) -> None:
    load(database, "ecto")
    conninfo = auditor(database)
    with connect(conninfo) as connection:
        role = connection.info.user
        execute(database, f"GRANT SELECT ON schema_migrations TO {role}")
        assert len(read_history(connection).rows) == 2
        execute(database, "ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY")
        history = read_history(connection)
    assert not history.readable
    assert history.not_checked[0]["why"] == f"row-level security can hide its rows from role {role}"


def test_several_ledgers_the_projects_is_taken_and_the_others_are_named(database: str) -> None:
    load(database, "knex")
    load(database, "sequelize")
    with connect(database) as connection:
        records = read_ledgers(connection)
    assert choose(records, "sequelize").tool == "sequelize"
    history = choose(records)
    assert history.tool == "knex"
    assert history.notes == (
        "history read from public.knex_migrations (knex); there is also public.SequelizeMeta (sequelize)",
    )
    assert choose(records, "supabase").notes[-1] == (
        "the files are supabase's, but the database has the ledger of knex (public.knex_migrations)"
    )


def test_checksums_are_those_of_the_tools() -> None:
    def sums(tool: str, raw: bytes, name: str = "a", version: str = "1") -> frozenset[str]:
        computed = LEDGERS[tool].checksums
        assert computed
        return (
            computed(Migration(version, name, f"m/V{version}__{name}.sql", raw.decode(), raw)) or frozenset()
        )

    # The vector is from flyway/flyway issue 2474.
    script = b"alter table location_history add column valid_until timestamp with time zone;"
    assert sums("flyway", script) == sums("flyway", b"\xef\xbb\xbf" + script + b"\r\n") == {"-1039259818"}
    assert hashlib.sha256(b"a\r\nb").hexdigest() in sums("prisma", b"a\nb")
    assert hashlib.sha256(b"a\nb").hexdigest() in sums("prisma", b"a\r\nb")
    assert sums("sqlx", b"x") == {hashlib.sha384(b"x").hexdigest()}
    # Liquibase's own, white space left out of account.
    assert sums("liquibase", b"--changeset ann:1\nselect 1") == {"9:3b78b9910981c62ca27148640fad7bc2"}
    assert sums("liquibase", b"--changeset ann:1\n--rollback x\n\tselect\r\n1\n") == sums(
        "liquibase", b"--changeset ann:1\nselect 1"
    )


def test_siphash_is_that_of_its_authors() -> None:
    # Of the reference implementation, with key zero (Rust's default hasher).
    assert siphash13(b"") == 0xD1FBA762150C532C


def test_what_a_ledger_cannot_show_is_listed() -> None:
    assert not_detectable(None) == ()
    assert any("edits" in item for item in not_detectable("dbmate"))
    assert any("skipped" in item for item in not_detectable("golang-migrate"))


def test_of_two_ledgers_of_one_tool_the_one_with_the_files_versions_is_taken(database: str) -> None:
    for schema, version in (("aaa", 1), ("old", 1), ("shop", 20240101000000)):
        execute(
            database,
            f"CREATE SCHEMA {schema}",
            f"CREATE TABLE {schema}.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp)",
            f"INSERT INTO {schema}.schema_migrations SELECT n, now() FROM generate_series({version}, {version + 1}) n",
        )
    execute(database, "INSERT INTO aaa.schema_migrations VALUES (7)")
    file = Migration("20240101000000", "init", "m/20240101000000_init.exs", None)
    with connect(database) as connection:
        records = read_ledgers(connection)
    assert choose(records, "ecto").table == "aaa.schema_migrations"
    assert (
        choose(records, Migrations(Project(Path(), "ecto", ("m",)), (file,))).table
        == "shop.schema_migrations"
    )


def test_who_and_how_far_are_read_where_a_tool_records_them(database: str) -> None:
    load(database, "yoyo")
    load(database, "atlas")
    load(database, "sqitch")
    load(database, "pgroll")
    with connect(database) as connection:
        records = {record["tool"]: record["rows"] for record in read_ledgers(connection)}
    assert [(r["applied_by"], r["recorded_as"]) for r in records["yoyo"]] == [("ann@build-7", "run")]
    assert [(r["recorded_as"], r["done"], r["total"]) for r in records["atlas"]] == [
        ("baseline", 0, 0),
        ("run", 1, 3),
    ]
    assert records["atlas"][1]["note"] == "1 of 3 statements applied, then: boom"
    assert {r["version"]: r["applied_by"] for r in records["sqitch"]} == {
        "users": "Ann <ann@example.org>",
        "users#2": "Ann <ann@example.org>",
        "broken": "Bob <bob@example.org>",
    }
    assert [(r["recorded_as"], r["statements"]) for r in records["pgroll"]] == [
        ("run", None),
        ("captured", ["create index by_hand on users (id)"]),
        ("run", ["create table more ()"]),
    ]
    execute(database, "REVOKE ALL ON _yoyo_log FROM PUBLIC", "DROP TABLE _yoyo_log")
    with connect(database) as connection:
        (row,) = next(r["rows"] for r in read_ledgers(connection) if r["tool"] == "yoyo")
    assert (row["applied_by"], row["state"]) == (None, "applied")


def test_what_a_tool_keeps_beside_its_ledger_is_no_part_of_the_schema(database: str) -> None:
    for tool in ("liquibase", "yoyo", "sqitch"):
        load(database, tool)
    with connect(database) as connection:
        kept = {table for record in read_ledgers(connection) for table in own_tables(record)}
    assert {"public.databasechangelog", "public.databasechangeloglock", "public._yoyo_log"} <= kept
    assert {"sqitch.changes", "sqitch.events"} <= kept


@pytest.mark.parametrize("itself", [True, False], ids=["recorded itself", "known by what it replaces"])
def test_a_squashed_migration_is_known_by_the_rows_of_those_that_it_replaces(itself: bool) -> None:
    """Django writes a row for each of them, and one for the squashed one at the end of its run."""

    def row(version: str, position: int) -> dict[str, Any]:
        return {
            "version": version,
            "name": version.partition(".")[2],
            "position": position,
            "state": "applied",
        }

    versions = ["shop.0001_initial", "shop.0002_name", "shop.0003_order"]
    rows = [row(version, n) for n, version in enumerate(versions)]
    if itself:
        rows.append(row("shop.0001_squashed_0002", 9))
    keys = {"tool": "django", "schema": "public", "table": "django_migrations"}
    record = {**keys, "platform": None, "denied": None, "grant": None, "rows": rows}
    squashed = Migration("shop.0001_squashed_0002", "", "shop/1.py", None, replaces=tuple(versions[:2]))
    order = Migration("shop.0003_order", "", "shop/3.py", None)
    found = choose([record], Migrations(Project(Path(), "django", ("shop",)), (squashed, order)))
    assert sorted((r["position"], r["version"]) for r in found.rows) == [
        (1, "shop.0001_squashed_0002"),
        (2, "shop.0003_order"),
    ]
    old = Migration("shop.0002_name", "", "shop/2.py", None)
    found = choose([record], Migrations(Project(Path(), "django", ("shop",)), (squashed, old, order)))
    assert ("shop.0002_name" in {r["version"] for r in found.rows}) is True, "its file is still there"
