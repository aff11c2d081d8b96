"""A migration tool that is started while a plan is applied: each migration is run once, whoever was first."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest
import tools
from test_apply_ledgers import KITS as LEDGERS
from test_apply_tools import write
from test_replay_code import ALEMBIC, DJANGO, KNEX

from auditkit import audit, config
from auditkit.errors import AuditError
from auditkit.resolve.applying import Stopped

#: What the three pending migrations do; one of them twice would be seen.
STEPS = (
    "create table items (id int primary key); insert into items values (1)",
    "create table log (at timestamptz default now()); insert into log select from generate_series(1, 3)",
    "create function total() returns bigint language sql as 'select count(*) from items'",
)


@dataclass(frozen=True)
class Kit:
    """A project: its own files, the migration of each number, and the command that runs all that are pending."""

    beside: Mapping[str, str]
    file: Callable[[int, str], Mapping[str, str]]
    command: Callable[[Path, str], list[str]]
    variables: str = ""


def alembic(number: int, sql: str) -> Mapping[str, str]:
    before = f'"r{number - 1}"' if number else "None"
    return {
        f"db/versions/r{number}_m.py": f'from alembic import op\n\nrevision = "r{number}"\ndown_revision = {before}\n\n\n'
        f"def upgrade():\n    op.execute({sql!r})\n"
    }


def django(number: int, sql: str) -> Mapping[str, str]:
    before = f'[("shop", "000{number}_m")]' if number else "[]"
    return {
        f"shop/migrations/000{number + 1}_m.py": "from django.db import migrations as m\n\n\nclass Migration(m.Migration):\n"
        f"    dependencies = {before}\n    operations = [m.RunSQL({sql!r})]\n"
    }


def knex(number: int, sql: str) -> Mapping[str, str]:
    text = f"exports.up = (knex) => knex.raw({sql!r});\nexports.down = async () => {{}};\n"
    return {f"migrations/2024010{number + 1}000000_m.js": text}


SITE = DJANGO["site_/settings.py"].replace('"USER"', '"PORT": os.environ.get("DB_PORT", ""), "USER"')
KITS = {
    "alembic": Kit(
        {name: ALEMBIC[name] for name in ("alembic.ini", "db/env.py")},
        alembic,
        lambda root, conninfo: [sys.executable, "-m", "alembic", "upgrade", "head"],
        'APP_DATABASE = "postgresql+psycopg://{user}@{host}:{port}/{database}"',
    ),
    "django": Kit(
        {
            **{name: DJANGO[name] for name in ("manage.py", "site_/__init__.py", "shop/__init__.py")},
            "shop/migrations/__init__.py": "",
            "site_/settings.py": SITE.replace('"django.contrib.auth", "django.contrib.contenttypes", ', ""),
        },
        django,
        lambda root, conninfo: [sys.executable, "manage.py", "migrate"],
        'DB_NAME = "{database}", DB_HOST = "{host}", DB_USER = "{user}", DB_PORT = "{port}"',
    ),
    "dbmate": Kit(
        {},
        lambda n, sql: {f"db/migrations/2026010{n + 1}000000_m.sql": f"-- migrate:up\n{sql};\n-- migrate:down\n"},
        lambda root, conninfo: [str(tools.dbmate()), "--no-dump-schema", "--url", tools.url_of(conninfo, "postgres"), "up"],
    ),
    "knex": Kit(
        {name: KNEX[name] for name in ("package.json", "knexfile.js")},
        knex,
        lambda root, conninfo: [str(root / "node_modules/.bin/knex"), "migrate:latest"],
        'APP_DATABASE = "{shadow}"',
    ),
    "yoyo": Kit(
        dict(LEDGERS["yoyo"].beside),
        lambda n, sql: {f"db/changes/000{n}.m.sql": f"{sql};\n"},
        lambda root, conninfo: [sys.executable, "-m", "yoyo", *yoyo(conninfo)],
    ),
}  # fmt: skip


def yoyo(conninfo: str) -> list[str]:
    target = tools.url_of(conninfo, "postgresql+psycopg").partition("?")[0]
    return ["apply", "--batch", "--no-config-file", "-d", target, "db/changes"]


ALL = os.environ.get("AUDITKIT_TEST_ALL") == "1"
SEED = int(os.environ.get("AUDITKIT_TEST_SEED", "0"))
SAMPLE = random.Random(SEED).sample(sorted(KITS), 1)


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("name", list(KITS) if ALL else SAMPLE)
def test_the_tool_at_the_same_time(name: str, tmp_path: Path, production: str) -> None:
    kit = KITS[name]
    write(tmp_path, {**kit.beside, **kit.file(0, "create table first (id int)")})
    if name == "knex":
        (tmp_path / "node_modules").symlink_to(tools.npm_package("knex", "3.1.0", "pg@8.13.1").parent)
    (tmp_path / "auditkit.toml").write_text(
        f"[environments]\nproduction = {production!r}\n[migrations]\npython = {sys.executable!r}\n"
        f"environment = {{ {kit.variables} }}\n"
    )
    words = psycopg.conninfo.conninfo_to_dict(production)
    variables = {
        "APP_DATABASE": tools.url_of(production, "postgresql+psycopg" if name == "alembic" else "postgresql"),
        "DB_NAME": str(words["dbname"]), "DB_HOST": str(words["host"]), "DB_USER": str(words["user"]),
        "DB_PORT": str(words["port"]),
    }  # fmt: skip

    def tool(check: bool = False) -> subprocess.CompletedProcess[str]:
        command = kit.command(tmp_path, production)
        environment = {**os.environ, **variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    tool(check=True)
    for number, sql in enumerate(STEPS, 1):
        write(tmp_path, kit.file(number, sql))
    settings = config.load(tmp_path / "auditkit.toml")
    made = audit.plan("production", only_push=True, settings=settings)
    assert made.offered, made.not_offered
    beside = threading.Thread(target=tool)
    wait = random.Random(f"{SEED} {name}").uniform(0, 1.5)
    beside.start()
    time.sleep(wait)
    try:
        audit.apply(made, to="production", confirmed="production", settings=settings)
    except (Stopped, AuditError) as error:
        assert "\n" not in str(error)
    beside.join()
    after = audit.explain("production", settings=settings).document
    states = {m["states"]["production"] for m in after["migrations"]}
    assert states <= {"applied", "pending"}, after["findings"]
    if "pending" in states:
        left = audit.plan("production", only_push=True, settings=settings)
        assert left.offered, left.not_offered
        audit.apply(left, to="production", confirmed="production", settings=settings)
    assert audit.explain("production", settings=settings).document["verdict"] == "PASS"
    with psycopg.connect(production) as connection:
        counts = connection.execute(
            "select (select count(*) from items), (select count(*) from log), total()"
        ).fetchone()
    assert counts == (1, 3, 1)
    tool(check=True)  # and for the tool nothing is left to do
