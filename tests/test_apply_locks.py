"""Each tool's own lock: `apply` is refused while the tool is at work, and the tool waits while `apply` is, or is refused."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest
import tools
from test_apply_ledgers import PG, at, by_node, run_liquibase, run_yoyo
from test_pull_programs import ruby

from auditkit.history.ledgers import find_ledgers
from auditkit.resolve.guards import Guard, Held, key_of
from auditkit.resolve.records import Book


@dataclass(frozen=True)
class Kit:
    """How one tool runs SQL as the migration of a number; ``refuses``: it does not wait."""

    file: Callable[[int, str], Mapping[str, str]]
    run: Callable[[Path, str], object]
    refuses: bool = False


def run_knex(root: Path, conninfo: str) -> str:
    if not (root / "node_modules").exists():
        (root / "node_modules").symlink_to(tools.npm_package("knex", "3.1.0", "pg@8.13.1").parent)
    (root / "knexfile.js").write_text(f"module.exports = {{ client: 'pg', connection: {at(conninfo)} }};\n")
    return tools.run([str(root / "node_modules/.bin/knex"), "migrate:latest"], cwd=root)


def run_sqitch(root: Path, conninfo: str) -> None:
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    with tools.tcp(conninfo) as port:
        target = f"db:pg://{words['user']}@127.0.0.1:{port}/{words['dbname']}"
        variables = {"SQITCH_FULLNAME": "Ann", "SQITCH_EMAIL": "ann@example.org", "HOME": str(root)}
        command = [tools.sqitch(), "deploy", target, "--mode", "change"]
        done = subprocess.run(
            command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def sqitch(number: int, sql: str) -> Mapping[str, str]:
    lines = [f"m{n} 2024-01-0{n}T10:00:00Z Ann <ann@example.org> # {n}\n" for n in range(1, number + 1)]
    return {
        "sqitch.conf": "[core]\n\tengine = pg\n",
        "sqitch.plan": "%syntax-version=1.0.0\n%project=shop\n\n" + "".join(lines),
        f"deploy/m{number}.sql": f"BEGIN;\n{sql};\nCOMMIT;\n",
    }


KITS = {
    "node-pg-migrate": Kit(
        lambda n, sql: {f"migrations/170410{n}200000_m{n}.sql": f"-- Up Migration\n{sql};\n"},
        by_node(
            "require('node-pg-migrate').runner({databaseUrl: at, dir: 'migrations', direction: 'up',"
            " migrationsTable: 'pgmigrations', log: () => {}}).catch(failed)",
            {"node-pg-migrate": "9.0.0", **PG},
        ),
        refuses=True,
    ),
    "postgres-migrations": Kit(
        lambda n, sql: {f"migrations/{n}_m{n}.sql": f"{sql};\n"},
        by_node(
            "const { Client } = require('pg'); const client = new Client(at);"
            "client.connect().then(() => require('postgres-migrations').migrate({client}, 'migrations'))"
            ".catch(failed).finally(() => client.end())",
            {"postgres-migrations": "5.3.0", **PG},
        ),
    ),
    "knex": Kit(
        lambda n, sql: {
            f"migrations/2024010{n}000000_m{n}.js": f"exports.up = (knex) => knex.raw({sql!r});\n"
            "exports.down = async () => {};\n"
        },
        run_knex,
    ),
    "yoyo": Kit(lambda n, sql: {f"db/changes/000{n}.m{n}.sql": f"{sql};\n"}, run_yoyo),
    "rails": Kit(
        lambda n, sql: {
            f"db/migrate/2024010{n}000000_m{n}.rb": f"class M{n} < ActiveRecord::Migration[6.1]\n"
            f'  def up\n    execute "{sql}"\n  end\nend\n'
        },
        ruby("migrate"),
        refuses=True,
    ),
    "sqitch": Kit(sqitch, run_sqitch),
    "liquibase": Kit(
        lambda n, sql: {"db/changelog.sql": f"--liquibase formatted sql\n\n--changeset ann:m{n}\n{sql};\n"},
        run_liquibase,
    ),
}  # fmt: skip
ALL = os.environ.get("AUDITKIT_TEST_ALL") == "1"
SAMPLE = random.Random(int(os.environ.get("AUDITKIT_TEST_SEED", "0"))).sample(sorted(KITS), 1)


def test_keys_as_the_tools_have_them() -> None:
    def flyway(schema: str, name: str) -> int | None:
        return key_of("flyway", "db", Book("flyway", schema, name))

    # as Java's hashCode has it, characters outside of the first plane among them
    assert flyway("public", "flyway_schema_history") == 77433833903597
    assert flyway("app", "histoire_\N{GRINNING FACE}") == 77430081018815
    assert key_of("atlas", "db", None) == 2686470616
    assert key_of("dbmate", "db", None) is None


@contextmanager
def running(kit: Kit, root: Path, conninfo: str) -> Iterator[list[BaseException]]:
    """The tool at work in the background; what it failed with."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            kit.run(root, conninfo)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield failed
    thread.join()


def until(connection: psycopg.Connection[object], query: str) -> None:
    """Wait until a query is true."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        row = connection.execute(query.encode()).fetchone()
        if row and row[0]:  # type: ignore[index]
            return
        time.sleep(0.05)
    raise AssertionError(f"never true: {query}")


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("name", list(KITS) if ALL else SAMPLE)
def test_either_waits_for_the_other(name: str, tmp_path: Path, database: str) -> None:
    kit = KITS[name]

    def write(number: int, sql: str) -> None:
        for path, text in kit.file(number, sql).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)

    def guard() -> psycopg.Connection[object]:
        connection = psycopg.connect(database, autocommit=True)
        try:
            found = next(each for each in find_ledgers(connection) if each.tool == name)
            Guard(connection, "production", name, Book(name, found.schema, found.table))
        except BaseException:
            connection.close()
            raise
        return connection

    write(1, "create table one (id int)")
    kit.run(tmp_path, database)
    write(2, "select pg_sleep(2)")
    with psycopg.connect(database, autocommit=True) as watch:
        with running(kit, tmp_path, database) as failed:
            until(
                watch,
                "select count(*) from pg_stat_activity where query ~ 'sleep[(]2' and pid <> pg_backend_pid()",
            )
            with pytest.raises(Held, match=f"production: {name} is at work there") as held:
                guard()
        assert not failed, failed
        assert any(word in str(held.value) for word in ("(session ", " by ", "locked; ")), held.value
        held_now = guard()  # it is over
        write(3, "create table three (id int)")
        with running(kit, tmp_path, database) as failed:
            if kit.refuses:
                end = time.monotonic() + 60
                while not failed and time.monotonic() < end:
                    time.sleep(0.05)
            else:
                until(watch, "select count(*) > 2 from pg_stat_activity where datname = current_database()")
                time.sleep(1)
            row = watch.execute("select to_regclass('three')").fetchone()
            held_now.close()
        assert row == (None,)
        assert bool(failed) == kit.refuses, failed
        if kit.refuses:
            kit.run(tmp_path, database)
        assert watch.execute("select to_regclass('three') is not null").fetchone() == (True,)
