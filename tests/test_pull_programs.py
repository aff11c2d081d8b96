"""`auditkit pull` where migrations are programs: the file is one of the project's tool, which runs it and takes it back."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import psycopg
import psycopg.conninfo
import pytest
import tools
from oracle import normalised_dump, program
from test_apply_ledgers import CONNECTION, KITS, PEOPLE, at
from test_replay_code import ALEMBIC, DJANGO, KNEX

from auditkit import audit, config
from auditkit.history.drafts import Part, draft
from auditkit.history.files import load_migrations

#: What tools take for something of their own: parameters, escapes, the end of a text.
BY_HAND = (
    'create table by_hand (id int primary key, note text default \'a:b %s """ ${x} `c`\')',
    r"""create function by_hand_count(a int[]) returns bigint language plpgsql as $f$
begin
  -- a :colon, a % and a \ backslash; two of them
  perform a[1:2], 'x\n', E'\\d', 'SQL', jsonb '{}' ? 'key', format('%s', 1);
  return (select count(*) from by_hand);
end $f$""",
    "comment on table by_hand is 'ends with a quote \"'",
    "alter table people drop column email",
)


@dataclass(frozen=True)
class Kit:
    """A project, what runs all that is pending, and what takes the last one back."""

    files: Mapping[str, str]
    up: Callable[[Path, str], object]
    down: Callable[[Path, str], object]
    packages: tuple[str, ...] = ()
    variables: str = ""


def call(*command: str, **variables: str) -> Callable[[Path, str], object]:
    """A command with its variables, in which the words of the connection are filled in."""

    def run(root: Path, conninfo: str) -> None:
        words = {k: str(v) for k, v in psycopg.conninfo.conninfo_to_dict(conninfo).items()}
        words |= {"url": tools.url_of(conninfo), "alchemy": tools.url_of(conninfo, "postgresql+psycopg")}
        there = {name: value.format(**words) for name, value in variables.items()}
        line = [word.format(**words) for word in command]
        done = subprocess.run(
            line, cwd=root, env={**os.environ, **there}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def node(script: str) -> Callable[[Path, str], object]:
    def run(root: Path, conninfo: str) -> None:
        failed = "const failed = (e) => { console.error(e); process.exitCode = 1; };"
        tools.run([*tools._node(), "-e", CONNECTION + failed + script, at(conninfo)], cwd=root)

    return run


TYPEORM = """
    require('typescript');
    require.extensions['.ts'] = (module, file) => module._compile(require('typescript').transpileModule(
      require('fs').readFileSync(file, 'utf8'), {compilerOptions: {module: 1, target: 7}}).outputText, file);
    const { DataSource } = require('typeorm');
    const source = new DataSource({type: 'postgres', host: at.host, port: at.port, username: at.user,
      database: at.database, migrations: ['src/migrations/*.ts', 'src/migrations/*.js']});
    source.initialize().then(s => s.%s({transaction: 'each'})).catch(failed).finally(() => source.destroy());
"""
UMZUG = """
    const { Sequelize } = require('sequelize'), { Umzug, SequelizeStorage } = require('umzug');
    const sequelize = new Sequelize({dialect: 'postgres', host: at.host, port: at.port, username: at.user,
      database: at.database, logging: false});
    new Umzug({migrations: {glob: 'migrations/*.js'}, context: sequelize.getQueryInterface(),
      storage: new SequelizeStorage({sequelize})}).%s().catch(failed).finally(() => sequelize.close());
"""
PGM = """
    import('node-pg-migrate').then(({ runner }) => runner({databaseUrl: at, dir: 'migrations',
      migrationsTable: 'pgmigrations', direction: '%s', log() {}})).catch(failed);
"""


def ruby(what: str) -> Callable[[Path, str], object]:
    def run(root: Path, conninfo: str) -> None:
        assert tools.rails(root, conninfo, what) == ""

    return run


def python(*command: str, **variables: str) -> Callable[[Path, str], object]:
    return call(sys.executable, *command, **variables)


YOYO = (
    "--batch",
    "--no-config-file",
    "-d",
    "postgresql+psycopg://{user}@{host}:{port}/{dbname}",
    "db/changes",
)
AT = {"DB_NAME": "{dbname}", "DB_HOST": "{host}", "DB_USER": "{user}", "DB_PORT": "{port}"}
SITE = DJANGO["site_/settings.py"].replace('"USER"', '"PORT": os.environ.get("DB_PORT", ""), "USER"')
PROGRAMS = {
    "alembic": Kit(
        {**ALEMBIC, "db/versions/c3_count.py": 'revision = "c3"\ndown_revision = "b2"\n\n\ndef upgrade():\n    pass\n'},
        python("-m", "alembic", "upgrade", "head", APP_DATABASE="{alchemy}"),
        python("-m", "alembic", "downgrade", "-1", APP_DATABASE="{alchemy}"),
        variables='APP_DATABASE = "postgresql+psycopg://{user}@{host}:{port}/{database}"',
    ),
    "django": Kit(
        {
            "manage.py": DJANGO["manage.py"],
            "site_/__init__.py": "",
            "site_/settings.py": SITE.replace('"django.contrib.auth", "django.contrib.contenttypes", ', ""),
            "shop/__init__.py": "",
            "shop/migrations/__init__.py": "",
            "shop/migrations/0001_initial.py": f"""\
                from django.db import migrations


                class Migration(migrations.Migration):
                    operations = [migrations.RunSQL("{PEOPLE}")]
                """,
        },
        python("manage.py", "migrate", **AT),
        python("manage.py", "migrate", "shop", "0001", **AT),
        variables='DB_NAME = "{database}", DB_HOST = "{host}", DB_USER = "{user}", DB_PORT = "{port}"',
    ),
    "knex": Kit(
        {name: text for name, text in KNEX.items() if "0102" not in name},
        call("node_modules/.bin/knex", "migrate:latest", APP_DATABASE="{url}"),
        call("node_modules/.bin/knex", "migrate:down", APP_DATABASE="{url}"),
        ("knex@3.1.0", "pg@8.13.1"),
        'APP_DATABASE = "{shadow}"',
    ),
    "typeorm": Kit(
        {
            "src/migrations/1704103200000-People.ts": f"""\
                import {{ MigrationInterface, QueryRunner }} from "typeorm";

                export class People1704103200000 implements MigrationInterface {{
                  public async up(runner: QueryRunner): Promise<void> {{ await runner.query(`{PEOPLE}`); }}
                  public async down(runner: QueryRunner): Promise<void> {{}}
                }}
                """
        },
        node(TYPEORM % "runMigrations"),
        node(TYPEORM % "undoLastMigration"),
        ("typeorm@1.1.1", "pg@8.23.1", "typescript@5.6.3"),
    ),
    "sequelize": Kit(
        KITS["sequelize"].files[0],
        node(UMZUG % "up"),
        node(UMZUG % "down"),
        ("sequelize@6.37.8", "pg@8.23.1", "umzug@3.8.3"),
    ),
    "sequelize cli": Kit(
        {
            "migrations/20240101000000-people.js": f"""\
                module.exports = {{
                  async up(queryInterface) {{ await queryInterface.sequelize.query("{PEOPLE}"); }},
                  async down() {{}},
                }};
                """
        },
        call("node_modules/.bin/sequelize-cli", "db:migrate", "--url={url}"),
        call("node_modules/.bin/sequelize-cli", "db:migrate:undo", "--url={url}"),
        ("sequelize@6.37.8", "pg@8.23.1", "sequelize-cli@6.6.5"),
    ),
    "node-pg-migrate": Kit(
        KITS["node-pg-migrate"].files[0],
        node(PGM % "up"),
        node(PGM % "down"),
        ("node-pg-migrate@9.0.0", "pg@8.23.1"),
    ),
    "yoyo": Kit(
        {**KITS["yoyo"].beside, **KITS["yoyo"].files[0]},
        python("-m", "yoyo", "apply", *YOYO),
        python("-m", "yoyo", "rollback", *YOYO),
    ),
    "rails": Kit(
        {
            "db/migrate/20240101000000_people.rb": "class People < ActiveRecord::Migration[6.1]\n"
            f"  def up\n    execute '{PEOPLE}'\n  end\nend\n"
        },
        ruby("migrate"),
        ruby("rollback"),
    ),
}  # fmt: skip
ALL = os.environ.get("AUDITKIT_TEST_ALL") == "1"
SAMPLE = random.Random(int(os.environ.get("AUDITKIT_TEST_SEED", "0"))).sample(sorted(PROGRAMS), 1)


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), "utf-8")


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("name", list(PROGRAMS) if ALL else SAMPLE)
def test_the_real_tool_takes_the_file(
    name: str,
    tmp_path: Path,
    production: str,
    databases: Callable[..., str],
) -> None:
    kit = PROGRAMS[name]
    write(tmp_path, kit.files)
    if kit.packages:
        if "package.json" not in kit.files:
            write(tmp_path, {"package.json": json.dumps({"dependencies": {name.split()[0]: "*", "pg": "8"}})})
        package, version = kit.packages[0].rsplit("@", 1)
        (tmp_path / "node_modules").symlink_to(tools.npm_package(package, version, *kit.packages[1:]).parent)
    other = str(psycopg.conninfo.conninfo_to_dict(databases())["dbname"])
    fresh = psycopg.conninfo.make_conninfo(production, dbname=other)
    kit.up(tmp_path, production)
    kit.up(tmp_path, fresh)
    before = normalised_dump(fresh)
    execute(production, *BY_HAND)
    (tmp_path / "auditkit.toml").write_text(
        f"[environments]\nproduction = {production!r}\n[migrations]\npython = {sys.executable!r}\n"
        f"environment = {{ {kit.variables} }}\n"
    )
    settings = config.load(tmp_path / "auditkit.toml")
    pulled = audit.pull(settings.source("production"), settings)
    assert pulled["proof"]["proven"], pulled["proof"]
    assert pulled["written"]
    (file,) = pulled["files"]
    kit.up(tmp_path, fresh)
    assert normalised_dump(fresh) == normalised_dump(production)
    if command := pulled["record"]:
        if command[0].startswith("psql"):
            shell = {
                "DATABASE_URL": tools.url_of(production),
                "PATH": f"{Path(program('psql')).parent}:/usr/bin:/bin",
            }
            subprocess.run(["/bin/sh", "-c", command[0]], env=shell, check=True, capture_output=True)
        else:
            words = command[0].removeprefix("python ").split()
            module = ["-m"] if words[0] == "alembic" else []
            python(*module, *words, APP_DATABASE="{alchemy}", **AT)(tmp_path, production)
    kit.up(tmp_path, production)  # nothing is left to do, and nothing is done twice
    assert audit.explain("production", settings=settings).document["verdict"] == "PASS"
    kit.down(tmp_path, fresh)
    assert _columns(normalised_dump(fresh)) == _columns(before)
    assert file["path"] in {m.path for m in load_migrations(tmp_path)}


def _columns(dump: str) -> list[str]:
    """A dump in which the order of columns does not count: what was dropped comes back as the last one."""
    return sorted(line.rstrip(",") for line in dump.splitlines())


@pytest.mark.parametrize(
    ("files", "path", "says"),
    [
        ({"alembic.ini": "[alembic]\nscript_location = db\nfile_template = %%(year)d-%%(slug)s-%%(rev)s\n",
          "db/env.py": "", "db/versions/a1_a.py": 'from alembic import op\nrevision = "a1"\ndown_revision = None\n',
          "db/versions/b1_b.py": 'from alembic import op\nrevision = "b1"\ndown_revision = None\n'},
         "db/versions/20", "down_revision = ('a1', 'b1')"),
        ({"manage.py": "", "shop/__init__.py": "", "shop/migrations/__init__.py": "",
          "shop/migrations/0041_a.py": "from django.db import migrations as m\nclass Migration(m.Migration):\n    pass\n"},
         "shop/migrations/0042_new.py", 'dependencies = [\n        ("shop", "0041_a"),'),
        ({"yoyo.ini": "[DEFAULT]\nsources = db\n", "db/20200101_01_x1-a.py": "from yoyo import step\n__depends__ = set()\n"},
         "db/2", '__depends__ = {"20200101_01_x1-a"}'),
        ({"package.json": '{"dependencies": {"knex": "3"}}', "knexfile.ts": "", "migrations/29990101000000_a.ts": "export"},
         "migrations/29990101000001_new.ts", "export async function up(knex: Knex): Promise<void> {"),
        ({"package.json": '{"dependencies": {"sequelize": "6"}}',
          "migrations/20200101000000-a.js": "exports.up = async ({ context }) => {};"},
         "migrations/20", "exports.up = async function ({ context: queryInterface }) {"),
        ({"db/migrate/20200101000000_a.rb": "class A < ActiveRecord::Migration[7.2]\nend\n"},
         "db/migrate/20", "class New < ActiveRecord::Migration[7.2]"),
    ],
)  # fmt: skip
def test_it_is_written_as_the_others_are(tmp_path: Path, files: dict[str, str], path: str, says: str) -> None:
    write(tmp_path, files)
    migrations = load_migrations(tmp_path)
    (made,) = draft(
        migrations, "new", [Part(["create table t ();"], ["drop table t;"])], title='A """title\\.'
    )
    (place,) = made.files
    assert place.startswith(path)
    assert says in made.files[place], made.files[place]
    write(tmp_path, made.files)
    read = load_migrations(tmp_path)
    assert made.migration.version in {m.version for m in read}
    assert not [note for note in read.notes if "git" not in note]
