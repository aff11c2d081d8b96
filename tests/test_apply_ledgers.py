"""Plans for the ledgers of many tools: what is applied is recorded as the tool records it, and it goes on from there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import psycopg.conninfo
import pytest
import tools

from auditkit import audit, config
from auditkit.history.split import split
from auditkit.resolve.observed import Unrepeatable, as_sql
from auditkit.resolve.plan import Plan

PG = {"pg": "8.23.1"}
CONNECTION = "const at = JSON.parse(process.argv[1]);"

#: What of a row is another one each time.
CHANGING = {"run_on", "applied_at", "applied_at_utc", "executed_at", "dateexecuted", "deployment_id"}

PEOPLE = "create table people (id bigint primary key, email text)"
INDEX = "create index by_email on people (email)"
NOTES = "create table notes (id bigint primary key)"
AGE = "alter table people add age int"
ROW = "insert into notes values (7)"
VIEW = "create view ages as select age from people"


@dataclass(frozen=True)
class Kit:
    """A tool's project: what four migrations add to the files, and what runs all that are pending.

    ``commands``: what the plan has the tool do for the third; nothing where auditkit does it. ``but``: what of a row is left
    to the tool.
    """

    files: tuple[Mapping[str, str], ...]
    run: Callable[[Path, str], str]
    ledger: str
    beside: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    but: frozenset[str] = frozenset()


def at(conninfo: str) -> str:
    """*conninfo* as the options of node-postgres."""
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    options = {"host": words.get("host", "localhost"), "port": int(words.get("port") or 5432)}
    return json.dumps({**options, "database": words["dbname"], "user": words.get("user", "postgres")})


def by_node(program: str, packages: Mapping[str, str] | None = None) -> Callable[[Path, str], str]:
    """A script that calls the tool; *packages* if the project has not its own."""
    program = (
        f"{CONNECTION}const failed = (e) => {{ console.log(e.message); process.exitCode = 1; }};{program}"
    )

    def run(root: Path, conninfo: str) -> str:
        if packages:
            return tools.node(program, at(conninfo), packages=dict(packages), cwd=root)
        command = [*tools._node(), "-e", program, at(conninfo)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def run_yoyo(root: Path, conninfo: str) -> str:
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    target = f"postgresql+psycopg:///{words['dbname']}?user={words['user']}&host={words['host']}&port={words['port']}"
    command = [
        sys.executable,
        "-m",
        "yoyo",
        "apply",
        "--batch",
        "--no-config-file",
        "-d",
        target,
        "db/changes",
    ]
    return tools.run(command, cwd=root)


def run_liquibase(root: Path, conninfo: str) -> str:
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    with tools.tcp(conninfo) as port:
        target = [
            f"--url=jdbc:postgresql://127.0.0.1:{port}/{words['dbname']}",
            f"--username={words['user']}",
        ]
        more = ["--password=x", "--changelog-file=db/changelog.sql", "--show-banner=false"]
        return tools.run([*tools.liquibase(), *target, *more, "update"], cwd=root)


def typeorm(number: int, up: str) -> Mapping[str, str]:
    name = f"M{number}170410{number}200000"
    text = f"exports.{name} = class {name} {{\n  async up(runner) {{\n{up}\n  }}\n  async down() {{}}\n}}\n"
    return {f"src/migrations/170410{number}200000-M{number}.js": text}


def sequelize(number: int, up: str) -> Mapping[str, str]:
    text = (
        f"exports.up = async (q) => {{\n  q = q.context || q;\n{up}\n}};\nexports.down = async () => {{}};\n"
    )
    return {f"migrations/2024010{number}000000-m{number}.js": text}


def yoyo(number: int, *steps: str) -> Mapping[str, str]:
    before = f'{{"000{number - 1}.m{number - 1}"}}' if number > 1 else "set()"
    body = "".join(f"step({text!r})\n" for text in steps)
    return {
        f"db/changes/000{number}.m{number}.py": f"from yoyo import step\n\n__depends__ = {before}\n{body}"
    }


def drizzle(number: int, *statements: str) -> Mapping[str, str]:
    entries = [
        {"idx": n, "version": "7", "when": 1704103200000 + n, "tag": f"000{n}_m{n}", "breakpoints": True}
        for n in range(1, number + 1)
    ]
    return {
        f"drizzle/000{number}_m{number}.sql": ";\n--> statement-breakpoint\n".join(statements) + ";\n",
        "drizzle/meta/_journal.json": json.dumps(
            {"version": "7", "dialect": "postgresql", "entries": entries}
        ),
    }


def changelog(number: int) -> Mapping[str, str]:
    texts = (PEOPLE, INDEX, f"{NOTES};\n{AGE};\n{ROW}", VIEW)
    sets = "".join(f"\n--changeset ann:m{n}\n{text};\n" for n, text in enumerate(texts[:number], 1))
    return {"db/changelog.sql": "--liquibase formatted sql\n" + sets}


DRIZZLE = """
    const { drizzle } = require('drizzle-orm/node-postgres');
    const { migrate } = require('drizzle-orm/node-postgres/migrator');
    const { Pool } = require('pg'); const pool = new Pool(at);
    migrate(drizzle({client: pool}), {migrationsFolder: 'drizzle'}).catch(failed).finally(() => pool.end());
"""
SEQUELIZE = tuple(
    sequelize(number, f"  await q.{call};")
    for number, call in enumerate(
        (
            f"sequelize.query('{PEOPLE}')",
            "addIndex('people', ['email'], { name: 'by_email' })",
            "createTable('notes', { id: { type: require('sequelize').DataTypes.BIGINT, primaryKey: true } });\n"
            f"  await q.addColumn('people', 'age', 'INTEGER');\n  await q.sequelize.query('{ROW}')",
            f"sequelize.query('{VIEW}')",
        ),
        1,
    )
)
KITS = {
    "typeorm": Kit(
        (
            typeorm(1, f"    await runner.query('{PEOPLE}');"),
            typeorm(2, f"    await runner.query('{INDEX}');"),
            typeorm(
                3,
                f"""\
    const {{ Table, TableColumn }} = require("typeorm");
    await runner.createTable(new Table({{ name: "notes", columns: [{{ name: "id", type: "bigint", isPrimary: true }}] }}));
    await runner.addColumn("people", new TableColumn({{ name: "age", type: "int", isNullable: true }}));
    await runner.query("{ROW}");""",
            ),
            typeorm(4, f"    await runner.query('{VIEW}');"),
        ),
        by_node(
            """
            const { DataSource } = require('typeorm');
            const source = new DataSource({type: 'postgres', host: at.host, port: at.port, username: at.user,
              database: at.database, migrations: ['src/migrations/*.js']});
            source.initialize().then(s => s.runMigrations({transaction: 'each'})).catch(failed)
              .finally(() => source.destroy());
            """
        ),
        "migrations",
        packages=("typeorm@1.1.1", "pg@8.23.1", "typescript@5.6.3"),
    ),
    "sequelize": Kit(
        SEQUELIZE,
        by_node(
            """
            const { Sequelize } = require('sequelize'), { Umzug, SequelizeStorage } = require('umzug');
            const sequelize = new Sequelize({dialect: 'postgres', host: at.host, port: at.port, username: at.user,
              database: at.database, logging: false});
            new Umzug({migrations: {glob: 'migrations/*.js'}, context: sequelize.getQueryInterface(),
              storage: new SequelizeStorage({sequelize})}).up().catch(failed).finally(() => sequelize.close());
            """
        ),
        '"SequelizeMeta"',
        packages=("sequelize@6.37.8", "pg@8.23.1", "umzug@3.8.3"),
    ),
    "node-pg-migrate": Kit(
        (
            {"migrations/1704101200000_m1.js": f"exports.up = (pgm) => pgm.sql('{PEOPLE}');\n"},
            {
                "migrations/1704102200000_m2.js": "exports.up = (pgm) =>\n"
                "  pgm.createIndex('people', 'email', {name: 'by_email'});\n"
            },
            {
                "migrations/1704103200000_m3.js": "exports.up = (pgm) => {\n"
                "  pgm.createTable('notes', {id: {type: 'bigint', primaryKey: true}});\n"
                f"  pgm.addColumns('people', {{age: {{type: 'int'}}}});\n  pgm.sql('{ROW}');\n}};\n"
            },
            {"migrations/1704104200000_m4.sql": f"-- Up Migration\n{VIEW};\n"},
        ),
        by_node(
            """
            import('node-pg-migrate').then(({ runner }) => runner({databaseUrl: at, dir: 'migrations',
              migrationsTable: 'pgmigrations', direction: 'up', log() {}})).catch(failed);
            """
        ),
        "pgmigrations",
        packages=("node-pg-migrate@9.0.0", "pg@8.23.1"),
        commands=("npx node-pg-migrate up 1704103200000_m3 -m migrations",),
    ),
    "yoyo": Kit(
        (
            yoyo(1, PEOPLE),
            yoyo(2, INDEX),
            yoyo(3, NOTES, AGE, ROW),
            {"db/changes/0004.m4.sql": f"-- depends: 0003.m3\n{VIEW};\n"},
        ),
        run_yoyo,
        "_yoyo_migration",
        {"yoyo.ini": "[DEFAULT]\nsources = %(here)s/db/changes\n"},
        commands=(
            "yoyo apply --batch --no-config-file --match '^0003\\.m3$' "
            '--database "postgresql+psycopg$AUDITKIT_ADDRESS" db/changes',
        ),
    ),
    "drizzle": Kit(
        (drizzle(1, PEOPLE), drizzle(2, INDEX), drizzle(3, NOTES, AGE, ROW), drizzle(4, VIEW)),
        by_node(DRIZZLE, {"drizzle-orm": "0.45.4", **PG}),
        "drizzle.__drizzle_migrations",
    ),
    "drizzle 1": Kit(
        tuple(
            {
                f"drizzle/2024010{n}000000_m{n}/migration.sql": text + ";\n",
                f"drizzle/2024010{n}000000_m{n}/snapshot.json": "{}",
            }
            for n, text in enumerate((PEOPLE, INDEX, f"{NOTES};--> statement-breakpoint\n{AGE}", VIEW), 1)
        ),
        by_node(DRIZZLE, {"drizzle-orm": "1.0.0-rc.5", **PG}),
        "drizzle.__drizzle_migrations",
    ),
    "postgres-migrations": Kit(
        tuple(
            {f"migrations/{n}_m{n}.sql": text + ";\n"}
            for n, text in enumerate((PEOPLE, INDEX, f"{NOTES};\n{AGE};\n{ROW}", VIEW), 1)
        ),
        by_node(
            "const { Client } = require('pg'); const client = new Client(at);"
            "client.connect().then(() => require('postgres-migrations').migrate({client}, 'migrations'))"
            ".catch(failed).finally(() => client.end())",
            {"postgres-migrations": "5.3.0", **PG},
        ),
        "migrations",
        {"package.json": '{"dependencies": {"postgres-migrations": "5"}}'},
    ),
    "liquibase": Kit(
        tuple(changelog(number) for number in (1, 2, 3, 4)),
        run_liquibase,
        "databasechangelog",
        but=frozenset({"comments", "description", "liquibase"}),
    ),
}
KITS["typeorm cli"] = replace(
    KITS["typeorm"],
    beside={
        "data-source.js": """\
        const { DataSource } = require("typeorm");
        module.exports.source = new DataSource({ type: "postgres", url: process.env.DATABASE_URL,
          migrations: ["src/migrations/*.js"] });
        """
    },
    commands=("npx typeorm migration:run -d data-source.js --transaction each",),
)
KITS["sequelize cli"] = replace(
    KITS["sequelize"],
    run=lambda root, conninfo: tools.run(
        [*tools._node(), "node_modules/.bin/sequelize-cli", "db:migrate", f"--url={tools.url_of(conninfo)}"],
        cwd=root,
    ),
    packages=("sequelize@6.37.8", "pg@8.23.1", "sequelize-cli@6.6.5"),
    commands=(
        'npx sequelize-cli db:migrate --url "$AUDITKIT_URL" --migrations-path migrations '
        "--name 20240103000000-m3.js",
    ),
)
ALL = os.environ.get("AUDITKIT_TEST_ALL") == "1"
SEED = random.Random(int(os.environ.get("AUDITKIT_TEST_SEED", "0")))
PUSHED = list(KITS) if ALL else SEED.sample(sorted(KITS), 1)
REPAIRED = list(KITS) if ALL else SEED.sample(sorted(KITS), 1)

WAYS = ("revert", "pull")
NO_FILE = [(name, how) for name in ("yoyo", "typeorm", "node-pg-migrate", "sequelize") for how in WAYS]
UNKNOWN = NO_FILE if ALL else SEED.sample(NO_FILE, 1)


@dataclass
class Scene:
    """A project of a kit, its production, and a second database to which only the tool is let."""

    kit: Kit
    root: Path
    production: str
    other: str

    def write(self, number: int) -> None:
        for name, text in self.kit.files[number - 1].items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def run(self, conninfo: str = "") -> str:
        return self.kit.run(self.root, conninfo or self.production)

    def rows(self, conninfo: str = "") -> list[dict[str, Any]]:
        with psycopg.connect(conninfo or self.production) as connection:
            rows = connection.execute(
                f"select to_jsonb(t) from {self.kit.ledger} t order by t::text".encode()
            )
            return [{k: v for k, v in row.items() if k not in CHANGING | self.kit.but} for (row,) in rows]

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.production, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    @property
    def settings(self) -> config.Settings:
        return config.load(self.root / "auditkit.toml")

    def plan(self, **how: Any) -> Plan:
        made = audit.plan("production", settings=self.settings, **how)
        assert made.offered, made.not_offered
        return made

    def apply(self, made: Plan, **how: Any) -> None:
        audit.apply(made, to="production", confirmed="production", settings=self.settings, **how)

    def verdict(self) -> str:
        return str(audit.explain("production", settings=self.settings).document["verdict"])


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    production: str,
    databases: Callable[..., str],
) -> Scene:
    """The first two migrations are run, by the tool."""
    kit = KITS[request.param]
    other = psycopg.conninfo.conninfo_to_dict(databases())["dbname"]
    made = Scene(kit, tmp_path, production, psycopg.conninfo.make_conninfo(production, dbname=other))
    for name, text in kit.beside.items():
        (tmp_path / name).write_text(dedent(text))
    if kit.packages:
        (tmp_path / "package.json").write_text(
            json.dumps({"dependencies": {request.param.split()[0]: "*", "pg": "8"}})
        )
        package, version = kit.packages[0].rsplit("@", 1)
        home = tools.npm_package(package, version, *kit.packages[1:])
        (tmp_path / "node_modules").symlink_to(next(p for p in home.parents if p.name == "node_modules"))
    (tmp_path / "auditkit.toml").write_text(
        f"[environments]\nproduction = {production!r}\n[migrations]\npython = {sys.executable!r}\n"
    )
    for number in (1, 2):
        made.write(number)
        for conninfo in (made.production, made.other):
            made.run(conninfo)
    return made


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("scene", PUSHED, indirect=True)
def test_what_is_pushed_is_as_if_the_tool_had_done_it(scene: Scene) -> None:
    scene.write(3)
    made = scene.plan()
    assert tuple(step.command for step in made.steps if step.kind == "command") == scene.kit.commands
    scene.apply(made)
    scene.run(scene.other)
    assert scene.rows() == scene.rows(scene.other)
    assert scene.verdict() == "PASS"
    before = scene.rows()
    scene.run()
    assert scene.rows() == before  # nothing is left to do
    scene.apply(made, rollback=True)
    assert len(scene.rows()) == len(before) - 1
    scene.write(4)
    scene.run()  # now the tool does it itself, and goes on
    assert len(scene.rows()) == len(before) + 1
    assert scene.verdict() == "PASS"


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("scene", REPAIRED, indirect=True)
def test_a_ledger_that_is_wrong_is_put_right(scene: Scene) -> None:
    scene.write(3)
    scene.run()
    rows, ledger = scene.rows(), scene.kit.ledger
    # the youngest row: no tool updates one
    scene.execute(f"delete from {ledger} where ctid = (select max(ctid) from {ledger})")
    made = scene.plan()
    assert [(f.cause, f.resolution) for f in made.findings] == [("applied_not_recorded", "repair")]
    scene.apply(made)
    assert _without_numbers(scene.rows()) == _without_numbers(rows)
    scene.run()
    assert _without_numbers(scene.rows()) == _without_numbers(rows)
    # and the other way round: it is recorded, and what it does is not there
    scene.execute("drop table notes; alter table people drop column age")
    made = scene.plan()
    if scene.kit.ledger != "databasechangelog":  # which says of every row that it was run
        assert [(f.cause, f.resolution) for f in made.findings] == [("recorded_not_applied", "push")]
    scene.apply(made)
    assert scene.verdict() == "PASS"
    assert _without_numbers(scene.rows()) == _without_numbers(rows)


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize(("scene", "how"), UNKNOWN, indirect=["scene"])
def test_what_has_no_file_is_taken_back_or_written_anew(scene: Scene, how: str) -> None:
    scene.write(3)
    scene.run()
    for name in scene.kit.files[2].keys() - scene.kit.files[1].keys():
        (scene.root / name).unlink()
    found = audit.explain("production", settings=scene.settings).document["findings"]
    assert "unknown_migration" in {finding["cause"] for finding in found}
    made = scene.plan(resolve={finding["id"]: how for finding in found})
    scene.apply(made)
    assert scene.verdict() == "PASS"
    if how == "pull":
        rows = scene.rows()
        scene.run()  # the new file is known
        assert scene.rows() == rows
    scene.apply(made, rollback=True)
    scene.write(3)
    assert scene.verdict() == "PASS"


def _without_numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sequences leave gaps, as the tools' own do."""
    return [
        {k: v for k, v in row.items() if k not in ("id", "orderexecuted") or isinstance(v, str)}
        for row in rows
    ]


# --- what a program sent, as SQL ------------------------------------------------------------------------------------------


def repeated(text: str, bound: tuple[int, ...] = ()) -> str:
    return as_sql(split(text), bound, {"migrations"})


def test_a_programs_statements_without_what_frames_them() -> None:
    assert (
        repeated(
            "set client_min_messages to warning; begin; select * from information_schema.tables; select version();"
            'create table a (); insert into "migrations" values (1); set search_path = x; select f(); commit'
        )
        == "create table a ()\n;\nset search_path = x\n;\nselect f();\n"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("select id from people", "reads"),
        ("select * from pg_class c join people p on true", "reads"),
        ("create table a (); rollback", "ROLLBACK"),
    ],
)
def test_what_depends_on_rows_is_left_to_the_tool(text: str, why: str) -> None:
    with pytest.raises(Unrepeatable, match=why):
        repeated(text)
    with pytest.raises(Unrepeatable, match="fills in values"):
        repeated("insert into a values ($1)", (0,))
