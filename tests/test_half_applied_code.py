"""Programs that stopped half-way: the statement at which they did is named, and the replay that stops there is the proof."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import tools
from test_replay_code import ALEMBIC, DJANGO, KNEX, Project, url
from test_replay_scripts import KITS, RAILS, migrate, project

pytestmark = pytest.mark.tools


def stopped(made: Project) -> tuple[Any, ...]:
    """The one finding: its cause, what lacks, file and line, its title, and what its proof left of how much."""
    document = made.audit()
    (found,) = document["findings"]
    culprit, proof = found["migration"], found["proof"]
    return (
        found["cause"],
        found["confidence"],
        [item["identity"] for item in found["objects"]],
        (culprit["file"], culprit["line"]),
        found["title"],
        proof["residual_after"],
    )


def block(made: Project, statement: str) -> None:
    """From now on a statement fails in which this text is, as if a lock could not be had."""
    made.sql(
        "create function block() returns event_trigger language plpgsql as $$ begin "
        f"if current_query() like '%{statement}%' then raise 'not now'; end if; end $$"
    )
    made.sql("create event trigger block on ddl_command_start execute function block()")


def unblock(made: Project) -> None:
    made.sql("drop event trigger block")
    made.sql("drop function block()")


def test_alembic(tmp_path: Path, database: str) -> None:
    """What was committed before an autocommit block stays when the statement after the block fails."""
    made = Project(tmp_path, ALEMBIC, database)
    made.settings(APP_DATABASE="postgresql+psycopg://{user}@{host}:{port}/{database}")
    made.tool("-m", "alembic", "upgrade", "b2", APP_DATABASE=url(database))
    made.sql("insert into people values (1, 'no address')")
    with pytest.raises(AssertionError, match="is violated by some row"):
        made.tool("-m", "alembic", "upgrade", "head", APP_DATABASE=url(database))
    assert stopped(made) == (
        "partial_apply",
        "consistent",
        ["at on public.people"],
        ("db/versions/c3_count.py", 15),
        "c3_count stopped in prod at line 15 (alter table people add constraint at check (email like '%@%…)",
        0,
    )


def test_django_without_atomic(tmp_path: Path, database: str) -> None:
    made = Project(tmp_path, DJANGO, database)
    made.settings(DB_HOST="{host}", DB_NAME="{database}")
    block(made, "customer_id")
    with pytest.raises(AssertionError, match="not now"):
        made.manage("migrate")
    unblock(made)
    assert stopped(made) == (
        "partial_apply",
        "consistent",
        ["public.total()", "public.shop_order.customer_id"],
        ("shop/migrations/0003_order.py", 9),
        'shop.0003_order stopped in prod at line 9 (ALTER TABLE "shop_order" ADD COLUMN "customer_id" bigint NO…)',
        0,
    )


def test_knex_without_a_transaction(tmp_path: Path, database: str) -> None:
    made = Project(tmp_path, KNEX, database)
    made.settings()
    home = tools.npm_package("knex", "3.1.0", "pg@8.13.1").parent
    (tmp_path / "node_modules").symlink_to(home)
    words = psycopg.conninfo.conninfo_to_dict(database)
    target = (
        f"postgresql://{words['user']}@localhost/{words['dbname']}?host={words['host']}&port={words['port']}"
    )
    block(made, "count_notes")
    done = subprocess.run(
        [str(home / ".bin/knex"), "migrate:latest", "--connection", target, "--client", "pg"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "not now" in done.stdout + done.stderr
    unblock(made)
    assert stopped(made) == (
        "partial_apply",
        "consistent",
        ["public.count_notes(bigint)"],
        ("migrations/20240102000000_index.js", 4),
        "20240102000000_index stopped in prod at line 4 (create function count_notes(p bigint) returns bigint langua…)",
        0,
    )


@pytest.mark.parametrize("name", KITS)
def test_scripts(name: str, tmp_path: Path, database: str) -> None:
    kit = KITS[name]
    made = project(kit, name, tmp_path, database)
    block(made, "body")
    assert "not now" in migrate(kit, made)
    unblock(made)
    second = list(kit.files)[1]
    cause, confidence, objects, place, title, left = stopped(made)
    assert (cause, confidence, objects) == ("partial_apply", "consistent", ["public.notes.body"])
    assert (place, left) == ((second, kit.lines[3]), 0)
    assert f" stopped in prod at line {kit.lines[3]} (ALTER TABLE " in title.replace(
        "alter table", "ALTER TABLE"
    )


def test_rails_without_a_transaction(tmp_path: Path, database: str) -> None:
    tools.ruby_with_activerecord()
    made = Project(tmp_path, RAILS, database)
    made.settings()
    block(made, "tags")
    assert "not now" in tools.rails(tmp_path, database)
    unblock(made)
    assert stopped(made) == (
        "partial_apply",
        "consistent",
        ["public.notes.tags"],
        ("db/migrate/20240102000000_more.rb", 6),
        '20240102000000_more stopped in prod at line 6 (ALTER TABLE "notes" ADD "tags" text[])',
        0,
    )
