"""More real tools: what auditkit reads after they were used, and after people did what people do."""

from __future__ import annotations

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
from test_history_tools import git, history, matrix, shown

from auditkit.history.files import load_migrations

pytestmark = pytest.mark.tools


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dedent(content).encode())


def commit(root: Path) -> None:
    if not (root / ".git").exists():
        git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "Migrations")


def notes(root: Path, conninfo: str) -> dict[str, tuple[str, ...]]:
    return {row.version: row.cells["db"].notes for row in matrix(root, conninfo).rows if "db" in row.cells}


# ---- Liquibase -----------------------------------------------------------------------------------------

FORMATTED = """\
    --liquibase formatted sql
    --property name:tbl value:users

    --changeset ann:1
    create table ${tbl} (id int);
    --rollback drop table users;

    --changeset "bob b":two splitStatements:false
    --comment: what this is for
    -- a plain comment, which counts
    create function f() returns int language plpgsql as $$ begin
      return 1; end $$;
    /* liquibase rollback
    drop function f;
    */

    --changeset ann:3 dbms:mysql
    select nonsense;

    --changeset ann:4 runInTransaction:false
    --preconditions onFail:MARK_RAN
    --precondition-sql-check expectedResult:1 select count(*) from users
    create view v as select 1 as x;
"""
MORE = """\
    databaseChangeLog:
    - changeSet:
        id: y1
        author: ann
        changes:
        - sql:
            sql: create table y1 (id int)
        - sql:
            sql: |
              -- two of them
              create table y2 (id int);
    - changeSet:
        id: y2
        author: ann
        changes:
        - createTable:
            tableName: y3
            columns:
            - column: {name: id, type: int}
    - changeSet:
        id: y3
        author: ann
        changes:
        - sqlFile: {path: raw.sql, relativeToChangelogFile: true}
"""
MASTER = """\
    <?xml version="1.0" encoding="UTF-8"?>
    <databaseChangeLog xmlns="http://www.liquibase.org/xml/ns/dbchangelog"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="
        http://www.liquibase.org/xml/ns/dbchangelog
        http://www.liquibase.org/xml/ns/dbchangelog/dbchangelog-latest.xsd">
      <property name="who" value="world"/>
      <include file="b.sql" relativeToChangelogFile="true"/>
      <include file="db/a.yaml"/>
      <changeSet id="x1" author="ann"><sql>create table ${who} (id int);</sql></changeSet>
    </databaseChangeLog>
"""


@pytest.fixture
def liquibase(tmp_path: Path, database: str) -> Iterator[Callable[..., str]]:
    command = tools.liquibase()
    words = psycopg.conninfo.conninfo_to_dict(database)
    with tools.tcp(database) as port:
        target = [
            f"--url=jdbc:postgresql://127.0.0.1:{port}/{words['dbname']}",
            f"--username={words.get('user', 'postgres')}",
            "--password=x",
            "--changelog-file=db/master.xml",
            "--show-banner=false",
        ]
        yield lambda *arguments: tools.run([*command, *target, *arguments], cwd=tmp_path)


def test_liquibase(tmp_path: Path, database: str, liquibase: Callable[..., str]) -> None:
    write(
        tmp_path,
        {
            "db/master.xml": MASTER,
            "db/b.sql": FORMATTED,
            "db/a.yaml": MORE,
            "db/raw.sql": "create table raw1 (id int); -- as it is\n",
        },
    )
    commit(tmp_path)
    liquibase("update")
    migrations = load_migrations(tmp_path)
    assert migrations.tool == "liquibase"
    assert [(m.version, m.path, m.sql is None, m.transactional) for m in migrations] == [
        ("db/b.sql::1::ann", "db/b.sql", False, True),
        ("db/b.sql::two::bob b", "db/b.sql", False, True),
        ("db/b.sql::4::ann", "db/b.sql", False, False),
        ("db/a.yaml::y1::ann", "db/a.yaml", False, True),
        ("db/a.yaml::y2::ann", "db/a.yaml", True, True),
        ("db/a.yaml::y3::ann", "db/a.yaml", False, True),
        ("db/master.xml::x1::ann", "db/master.xml", False, True),
    ]
    assert [(s.line, s.text) for s in migrations[0].statements] == [(5, "create table users (id int)")]
    result = matrix(tmp_path, database)
    states = {row.version: (row.states["db"], row.cells["db"].content) for row in result.rows}
    assert states == {
        "db/b.sql::1::ann": ("applied", "identical"),
        "db/b.sql::two::bob b": ("applied", "identical"),
        "db/b.sql::4::ann": ("applied", "identical"),  # its precondition failed: marked as run
        "db/a.yaml::y1::ann": ("applied", "identical"),
        "db/a.yaml::y2::ann": ("applied", None),
        "db/a.yaml::y3::ann": ("applied", "identical"),
        "db/master.xml::x1::ann": ("applied", "identical"),
    }
    rows = {row["version"]: row for row in history(database).rows}
    assert rows["db/b.sql::4::ann"]["recorded_as"] == "marked"

    # Edited, laid out anew, and one inserted before what was run.
    text = (tmp_path / "db" / "b.sql").read_text()
    text = text.replace("return 1;", "return 2;").replace("(id int);\n", "(\n  id   int\n);\n")
    text = text.replace(
        "--changeset ann:4", "--changeset ann:late\ncreate table late ();\n\n--changeset ann:4"
    )
    (tmp_path / "db" / "b.sql").write_text(text)
    result = matrix(tmp_path, database)
    assert [row.states["db"] for row in result.rows][:4] == ["applied", "edited", "pending", "applied"]
    edited = result.rows[1].cells["db"]
    assert edited.blob and "return 1;" in (edited.blob.migration.sql or "")
    (tmp_path / "db" / "b.sql").write_text(text.replace("return 2;", "return 1;"))
    liquibase("update")
    result = matrix(tmp_path, database)
    assert [row.states["db"] for row in result.rows][:4] == ["applied", "applied", "out_of_order", "applied"]
    liquibase("clear-checksums")
    assert set(notes(tmp_path, database)["db/b.sql::two::bob b"]) == {
        "without a checksum: it was cleared, so an edit cannot be seen"
    }


# ---- Sqitch --------------------------------------------------------------------------------------------


def test_sqitch(tmp_path: Path, database: str) -> None:
    program = tools.sqitch()
    words = psycopg.conninfo.conninfo_to_dict(database)
    target = f"db:pg://{words.get('user', 'postgres')}@/{words['dbname']}"
    environment = {
        **os.environ,
        "PGHOST": str(words.get("host", "localhost")),
        "PGPORT": str(words.get("port", 5432)),
        "SQITCH_FULLNAME": "Ann Example",
        "SQITCH_EMAIL": "ann@example.org",
        "SQITCH_CONFIG": str(tmp_path / "sqitch.conf"),
        "SQITCH_USER_CONFIG": os.devnull,
        "SQITCH_SYSTEM_CONFIG": os.devnull,
    }

    def sqitch(*arguments: str, fails: bool = False) -> None:
        done = subprocess.run(
            [program, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr

    def deploy(name: str, sql: str) -> None:
        (tmp_path / "deploy" / f"{name}.sql").write_text(f"-- Deploy {name}\n\nBEGIN;\n\n{sql}\n\nCOMMIT;\n")

    write(
        tmp_path,
        {
            "sqitch.conf": "[core]\n\tengine = pg\n",
            "sqitch.plan": "%syntax-version=1.0.0\n%project=shop\n\n"
            "users 2024-01-01T10:00:00Z Ann <ann@example.org> # first\n"
            "total [users] 2024-01-02T10:00:00Z Ann <ann@example.org> # second\n"
            "broken 2024-01-03T10:00:00Z Ann <ann@example.org> # third\n",
            "revert/total.sql": "DROP FUNCTION total();\n",
            "verify/total.sql": "SELECT total();\n",
            "deploy/.keep": "",
        },
    )
    deploy("users", "CREATE TABLE users (id int);")
    deploy("total", "CREATE FUNCTION total() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;")
    deploy("broken", "SELECT 1/0;")
    commit(tmp_path)
    sqitch("deploy", target, "--mode", "change", fails=True)
    migrations = load_migrations(tmp_path)
    assert migrations.tool == "sqitch"
    assert [(m.version, m.depends) for m in migrations] == [
        ("users", ()),
        ("total", ("users",)),
        ("broken", ()),
    ]
    result = matrix(tmp_path, database)
    assert [row.states["db"] for row in result.rows] == ["applied", "applied", "failed"]
    assert [row.cells["db"].content for row in result.rows] == ["identical", "identical", None]
    assert {row["applied_by"] for row in history(database).rows} == {"Ann Example <ann@example.org>"}

    deploy("broken", "CREATE TABLE fixed ();")
    sqitch("deploy", target, "--log-only")  # recorded, not run: nothing tells
    sqitch("tag", "v1", "-n", "v1")
    sqitch("rework", "total", "-n", "again")
    deploy("total", "CREATE OR REPLACE FUNCTION total() RETURNS int LANGUAGE sql AS $$ SELECT 2 $$;")
    deploy("users", "CREATE TABLE users (id bigint);")
    result = matrix(tmp_path, database)
    assert [(row.version, row.file, row.states["db"]) for row in result.rows] == [
        ("users", "deploy/users.sql", "edited"),
        ("total", "deploy/total@v1.sql", "applied"),
        ("broken", "deploy/broken.sql", "applied"),
        ("total#2", "deploy/total.sql", "pending"),
    ]
    sqitch("deploy", target)
    assert [row.states["db"] for row in matrix(tmp_path, database).rows][1:] == ["applied"] * 3
    edited = matrix(tmp_path, database).rows[0].cells["db"]
    assert edited.blob and "id int" in (edited.blob.migration.sql or "")


# ---- yoyo ----------------------------------------------------------------------------------------------


def test_yoyo(tmp_path: Path, database: str) -> None:
    words = psycopg.conninfo.conninfo_to_dict(database)
    # It takes more options of the driver's in the query.
    target = f"postgresql+psycopg:///{words['dbname']}?user={words.get('user', 'postgres')}"
    target += f"&host={words.get('host', 'localhost')}&port={words.get('port', 5432)}"
    write(
        tmp_path,
        {
            "yoyo.ini": f"[DEFAULT]\nsources = %(here)s/db/changes\ndatabase = {target}\nbatch_mode = on\n",
            "db/changes/0003.first.sql": "create table users (id int);\n",
            "db/changes/0001.second.sql": "-- depends: 0003.first\ncreate index on users (id);\n",
            "db/changes/0001.second.rollback.sql": "select 1;\n",
            "db/changes/0004.code.py": """\
                from yoyo import step

                __depends__ = {"0001.second"}
                steps = [step("create table code ()")]
            """,
            "db/changes/0005.apart.sql": "-- transactional: false\ncreate index concurrently on users (id);\n",
        },
    )
    yoyo = [sys.executable, "-c", "from yoyo.scripts.main import main; main()"]
    tools.run([*yoyo, "apply", "--revision", "0004.code"], cwd=tmp_path)
    tools.run([*yoyo, "mark", "--revision", "0005.apart"], cwd=tmp_path)
    write(tmp_path, {"db/changes/0006.more.sql": "create table more ();\n"})
    migrations = load_migrations(tmp_path)
    assert (migrations.tool, [(m.version, m.sql is None, m.transactional) for m in migrations]) == (
        "yoyo",
        [
            ("0003.first", False, True),
            ("0001.second", False, True),
            ("0004.code", True, True),
            ("0005.apart", False, False),
            ("0006.more", False, True),
        ],
    )
    assert [row.states["db"] for row in matrix(tmp_path, database).rows] == ["applied"] * 4 + ["pending"]
    rows = {row["version"]: row for row in history(database).rows}
    assert [rows[m.version]["recorded_as"] for m in migrations[:4]] == ["run"] * 3 + ["marked"]
    assert all("@" in row["applied_by"] for row in rows.values())
    tools.run([*yoyo, "rollback", "--revision", "0004.code"], cwd=tmp_path)
    assert matrix(tmp_path, database).rows[2].states["db"] == "pending"


# ---- JavaScript ----------------------------------------------------------------------------------------

PG = {"pg": "8.23.1"}
CONNECTION = "const at = JSON.parse(process.argv[1]);"


def sql_migration(up: str, down: str = "select 1") -> str:
    return f"exports.up = (db) => db.raw({up!r})\nexports.down = (db) => db.raw({down!r})\n"


def test_knex(tmp_path: Path, database: str) -> None:
    program = (
        CONNECTION + "const knex = require('knex')({client: 'pg', connection: at});"
        "knex.migrate[process.argv[2]]({directory: 'migrations', ...JSON.parse(process.argv[3] || '{}')})"
        ".catch(e => console.log(e.message)).finally(() => knex.destroy())"
    )
    packages = {"knex": "3.3.0", **PG}

    def knex(*arguments: str) -> str:
        return tools.node(program, tools.node_options(database), *arguments, packages=packages, cwd=tmp_path)

    write(
        tmp_path,
        {
            "package.json": '{"dependencies": {"knex": "3"}}',
            "migrations/20240101000000_users.js": sql_migration("create table users (id int)"),
            "migrations/20240103000000_posts.js": sql_migration("create table posts (id int)"),
        },
    )
    knex("latest")
    write(
        tmp_path,
        {
            "migrations/20240102000000_late.js": sql_migration("create table late (id int)"),
            "migrations/20240104000000_bad.js": sql_migration("select 1/0"),
        },
    )
    assert "division by zero" in knex("latest")
    assert list(shown(matrix(tmp_path, database)).values()) == ["applied", "pending", "applied", "pending"]
    (tmp_path / "migrations" / "20240104000000_bad.js").unlink()
    assert knex("latest") == ""  # a batch is one transaction, so nothing of the last one was left
    migrations = load_migrations(tmp_path)
    assert (migrations.tool, {m.sql for m in migrations}) == ("knex", {None})
    result = matrix(tmp_path, database)
    assert shown(result) == {
        "20240101000000_users": "applied",
        "20240102000000_late": "out_of_order",
        "20240103000000_posts": "applied",
    }
    assert result.environment("db").not_detectable[0].startswith("edits")
    (tmp_path / "migrations" / "20240103000000_posts.js").unlink()
    assert shown(matrix(tmp_path, database))["20240103000000_posts"] == "unknown"


def test_typeorm(tmp_path: Path, database: str) -> None:
    program = (
        CONNECTION + "const { DataSource } = require('typeorm');"
        "const source = new DataSource({type: 'postgres', host: at.host, port: at.port, username: at.user,"
        " database: at.database, migrations: ['src/migrations/*.js']});"
        "source.initialize().then(s => s.runMigrations(JSON.parse(process.argv[2] || '{}')))"
        ".catch(e => console.log(e.message)).finally(() => source.destroy())"
    )

    def migrate(options: str = "{}") -> str:
        packages = {"typeorm": "1.1.1", "reflect-metadata": "0.2.2", **PG}
        return tools.node(program, tools.node_options(database), options, packages=packages, cwd=tmp_path)

    def migration(name: str, up: str) -> str:
        return (
            f"module.exports.{name} = class {name} {{\n  name = '{name}'\n"
            f"  async up(runner) {{ await runner.query({up!r}) }}\n  async down() {{}}\n}}\n"
        )

    write(
        tmp_path,
        {
            "package.json": '{"dependencies": {"typeorm": "1"}}',
            "src/migrations/1704103200000-add-users.js": migration(
                "AddUsers1704103200000", "create table users (id int)"
            ),
            "src/migrations/1704103400000-Posts.js": migration("Posts1704103400000", "create table posts ()"),
        },
    )
    assert migrate() == ""
    write(
        tmp_path,
        {
            "src/migrations/1704103300000-Late.js": migration("Late1704103300000", "create table late ()"),
            "src/migrations/1704103500000-Bad.js": migration("Bad1704103500000", "select 1/0"),
        },
    )
    assert "division by zero" in migrate('{"transaction": "each"}')
    result = matrix(tmp_path, database)
    assert [(row.version, row.name, row.states["db"]) for row in result.rows] == [
        ("1704103200000", "AddUsers", "applied"),
        ("1704103300000", "Late", "out_of_order"),
        ("1704103400000", "Posts", "applied"),
        ("1704103500000", "Bad", "pending"),
    ]
    assert result.rows[0].cells["db"].notes == ()
    # Recorded without being run: nothing tells.
    assert migrate('{"fake": true}') == ""
    assert matrix(tmp_path, database).rows[3].states["db"] == "applied"


def test_sequelize(tmp_path: Path, database: str) -> None:
    program = (
        CONNECTION + "const { Sequelize } = require('sequelize');"
        "const { Umzug, SequelizeStorage } = require('umzug');"
        "const db = new Sequelize({dialect: 'postgres', host: at.host, port: at.port, username: at.user,"
        " database: at.database, logging: false});"
        "const umzug = new Umzug({migrations: {glob: 'migrations/*.js'}, context: db.getQueryInterface(),"
        " storage: new SequelizeStorage({sequelize: db})});"
        "umzug.up().catch(e => console.log(e.message)).finally(() => db.close())"
    )

    def up() -> str:
        packages = {"sequelize": "6.37.8", "umzug": "3.8.3", **PG}
        return tools.node(program, tools.node_options(database), packages=packages, cwd=tmp_path)

    def migration(sql: str) -> str:
        return f"exports.up = ({{context}}) => context.sequelize.query({sql!r})\n"

    write(
        tmp_path,
        {
            "package.json": '{"dependencies": {"sequelize": "6"}}',
            "migrations/20240101000000-users.js": migration("create table users (id int)"),
            "migrations/20240103000000-posts.js": migration("create table posts (id int)"),
        },
    )
    assert up() == ""
    write(
        tmp_path,
        {
            "migrations/20240102000000-late.js": migration("create table late (id int)"),
            "migrations/20240104000000-bad.js": migration("select 1/0"),
        },
    )
    assert "division by zero" in up()
    result = matrix(tmp_path, database)
    assert load_migrations(tmp_path).tool == result.environment("db").tool == "sequelize"
    # The table holds names only; the age of its rows tells the order.
    assert result.environment("db").ordered_by == "row age"
    assert list(shown(result).values()) == ["applied", "out_of_order", "applied", "pending"]


def test_node_pg_migrate(tmp_path: Path, database: str) -> None:
    program = (
        CONNECTION + "require('node-pg-migrate').runner({databaseUrl: at, dir: 'migrations', direction: 'up',"
        " migrationsTable: 'pgmigrations', log: () => {}, ...JSON.parse(process.argv[2] || '{}')})"
        ".catch(e => console.log(e.message))"
    )

    def up(options: str = "{}") -> str:
        packages = {"node-pg-migrate": "9.0.0", **PG}
        return tools.node(program, tools.node_options(database), options, packages=packages, cwd=tmp_path)

    write(
        tmp_path,
        {
            "package.json": '{"dependencies": {"node-pg-migrate": "9"}}',
            "migrations/1704103200000_users.sql": "-- Up Migration\ncreate table users (id int);\n\n"
            "-- Down Migration\ndrop table users;\n",
            "migrations/1704103400000_posts.js": "exports.up = (pgm) => pgm.sql('create table posts ()')\n",
        },
    )
    assert up() == ""
    migrations = load_migrations(tmp_path)
    assert migrations.tool == "node-pg-migrate"
    assert [[s.text for s in m.statements] for m in migrations] == [["create table users (id int)"], []]
    assert [m.sql is None for m in migrations] == [False, True]
    write(tmp_path, {"migrations/1704103300000_late.sql": "create table late ();\n"})
    assert "Not run migration" in up()  # it checks the order
    assert list(shown(matrix(tmp_path, database)).values()) == ["applied", "pending", "applied"]
    assert up('{"checkOrder": false}') == ""
    assert list(shown(matrix(tmp_path, database)).values()) == ["applied", "out_of_order", "applied"]
    write(tmp_path, {"migrations/1704103500000_new.sql": "create table never_run ();\n"})
    assert up('{"fake": true, "checkOrder": false}') == ""
    assert list(shown(matrix(tmp_path, database)).values())[-1] == "applied"


def test_postgres_migrations(tmp_path: Path, database: str) -> None:
    program = (
        CONNECTION + "const { Client } = require('pg'); const client = new Client(at);"
        "client.connect().then(() => require('postgres-migrations').migrate({client}, 'migrations'))"
        ".catch(e => console.log(e.message)).finally(() => client.end())"
    )

    def up() -> str:
        packages = {"postgres-migrations": "5.3.0", **PG}
        return tools.node(program, tools.node_options(database), packages=packages, cwd=tmp_path)

    write(
        tmp_path,
        {
            "package.json": '{"dependencies": {"postgres-migrations": "5"}}',
            "migrations/1_users.sql": "create table users (id int);\n",
            "migrations/2-posts.sql": "create table posts (id int);\n",
        },
    )
    commit(tmp_path)
    assert up() == ""
    result = matrix(tmp_path, database)
    assert result.environment("db").tool == "postgres-migrations"
    assert [(row.states["db"], row.cells["db"].content) for row in result.rows] == [
        ("applied", "identical")
    ] * 2
    write(
        tmp_path,
        {
            "migrations/1_users.sql": "create table users (id bigint);\n",
            "migrations/3_bad.sql": "select 1/0;\n",
        },
    )
    assert "Hashes don't match" in up()
    result = matrix(tmp_path, database)
    assert [row.states["db"] for row in result.rows] == ["edited", "applied", "pending"]
    blob = result.rows[0].cells["db"].blob
    assert blob and blob.migration.sql == "create table users (id int);\n"


# ---- Rails ---------------------------------------------------------------------------------------------


def test_rails(tmp_path: Path, database: str) -> None:
    def migrate() -> str:
        return tools.rails(tmp_path, database)

    def migration(name: str, sql: str) -> str:
        return f"class {name} < ActiveRecord::Migration[6.0]\n  def up\n    execute {sql!r}\n  end\nend\n"

    write(
        tmp_path,
        {
            "db/migrate/20240101000000_add_users.rb": migration("AddUsers", "create table users (id int)"),
            "db/migrate/20240103000000_add_posts.rb": migration("AddPosts", "create table posts (id int)"),
        },
    )
    assert migrate() == ""
    write(
        tmp_path,
        {
            "db/migrate/20240102000000_add_late.rb": migration("AddLate", "create table late (id int)"),
            "db/migrate/20240104000000_bad.rb": migration("Bad", "select 1/0"),
        },
    )
    assert "division by zero" in migrate()
    result = matrix(tmp_path, database)
    assert load_migrations(tmp_path).tool == result.environment("db").tool == "rails"
    assert shown(result) == {
        "20240101000000_add_users": "applied",
        "20240102000000_add_late": "out_of_order",
        "20240103000000_add_posts": "applied",
        "20240104000000_bad": "pending",
    }
    assert result.environment("db").ordered_by == "row age"


def test_drizzle_1(tmp_path: Path, database: str) -> None:
    """From 1.0 each migration has a folder, there is no journal, and the ledger has names."""
    program = (
        CONNECTION + "const { drizzle } = require('drizzle-orm/node-postgres');"
        "const { migrate } = require('drizzle-orm/node-postgres/migrator');"
        "const { Pool } = require('pg'); const pool = new Pool(at);"
        "migrate(drizzle({client: pool}), {migrationsFolder: 'drizzle'})"
        ".catch(e => console.log(e.cause ? e.cause.message : e.message)).finally(() => pool.end())"
    )

    def up() -> str:
        packages = {"drizzle-orm": "1.0.0-rc.5", **PG}
        return tools.node(program, tools.node_options(database), packages=packages, cwd=tmp_path)

    write(
        tmp_path,
        {
            "drizzle/20240101000000_users/migration.sql": "CREATE TABLE users (id int);\n",
            "drizzle/20240101000000_users/snapshot.json": "{}",
            "drizzle/20240103000000_posts/migration.sql": "CREATE TABLE posts (id int);\n",
            "drizzle/20240103000000_posts/snapshot.json": "{}",
        },
    )
    assert up() == ""
    write(
        tmp_path,
        {
            "drizzle/20240102000000_late/migration.sql": "CREATE TABLE late (id int);\n",
            "drizzle/20240102000000_late/snapshot.json": "{}",
        },
    )
    assert notes(tmp_path, database)["20240102000000_late"] == ("older than the last applied migration",)
    assert up() == ""
    write(tmp_path, {"drizzle/20240103000000_posts/migration.sql": "CREATE TABLE posts (id bigint);\n"})
    result = matrix(tmp_path, database)
    assert load_migrations(tmp_path).tool == result.environment("db").tool == "drizzle"
    assert [(row.version, row.states["db"]) for row in result.rows] == [
        ("20240101000000_users", "applied"),
        ("20240102000000_late", "out_of_order"),
        ("20240103000000_posts", "edited"),
    ]
    assert all(row["applied_at"] for row in history(database).rows)
