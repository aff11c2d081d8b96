"""Migrations in JavaScript, TypeScript and Ruby, and yoyo's in Python, replayed through the tools that run them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import tools
from test_history_real import CONNECTION
from test_replay_code import Project

from auditkit.errors import NotTheShadow

pytestmark = pytest.mark.tools


@dataclass(frozen=True)
class Kit:
    """A tool: the packages it needs, the program that applies a folder, and the same four statements as its migrations.

    ``lines``: where the files have the table, its index, the function and the column; the last two
    are in a migration without a transaction. ``stops``: where to write a statement that fails.
    """

    packages: tuple[str, ...]
    program: str
    files: dict[str, str]
    lines: tuple[int, int, int, int]


KITS = {
    "typeorm": Kit(
        ("typeorm@1.1.1", "pg@8.23.1", "typescript@5.6.3"),
        """
        require('typescript');
        require.extensions['.ts'] = (module, file) => module._compile(require('typescript').transpileModule(
          require('fs').readFileSync(file, 'utf8'), {compilerOptions: {module: 1, target: 7}}).outputText, file);
        const { DataSource } = require('typeorm');
        const source = new DataSource({type: 'postgres', host: at.host, port: at.port, username: at.user,
          database: at.database, migrations: ['src/migrations/*.ts']});
        source.initialize().then(s => s.runMigrations({transaction: 'each'})).catch(e => console.log(e.message))
          .finally(() => source.destroy());
        """,
        {
            "src/migrations/1704103200000-Notes.ts": """\
                import { MigrationInterface, QueryRunner, Table } from "typeorm";

                export class Notes1704103200000 implements MigrationInterface {
                  name = "Notes1704103200000";

                  public async up(runner: QueryRunner): Promise<void> {
                    const columns = [{ name: "id", type: "bigint", isPrimary: true }];
                    await runner.createTable(new Table({ name: "notes", columns }));
                    await runner.query(`create index by_id on notes (id)`);
                  }

                  public async down(runner: QueryRunner): Promise<void> {}
                }
                """,
            "src/migrations/1704103300000-More.ts": """\
                import { MigrationInterface, QueryRunner } from "typeorm";

                export class More1704103300000 implements MigrationInterface {
                  transaction = false;

                  public async up(runner: QueryRunner): Promise<void> {
                    await runner.query("create function f() returns int language sql as 'select 1'");
                    await runner.query("alter table notes add body text");
                  }

                  public async down(runner: QueryRunner): Promise<void> {}
                }
                """,
        },
        (8, 9, 7, 8),
    ),
    "sequelize": Kit(
        ("sequelize@6.37.8", "pg@8.23.1", "umzug@3.8.3"),
        """
        const { Sequelize } = require('sequelize'), { Umzug, SequelizeStorage } = require('umzug');
        const sequelize = new Sequelize({dialect: 'postgres', host: at.host, port: at.port, username: at.user,
          database: at.database, logging: false});
        new Umzug({migrations: {glob: 'migrations/*.js'}, context: sequelize.getQueryInterface(),
          storage: new SequelizeStorage({sequelize})}).up().catch(e => console.log(e.message))
          .finally(() => sequelize.close());
        """,
        {
            "migrations/20240101000000-notes.js": """\
                const { DataTypes } = require("sequelize");

                exports.up = async ({ context: queryInterface }) => {
                  await queryInterface.createTable("notes", { id: { type: DataTypes.BIGINT, primaryKey: true } });
                  await queryInterface.addIndex("notes", ["id"], { name: "by_id" });
                };
                """,
            "migrations/20240102000000-more.js": """\
                exports.up = async ({ context }) => {
                  await context.sequelize.query("create function f() returns int language sql as 'select 1'");
                  await context.addColumn("notes", "body", "text");
                };
                """,
        },
        (4, 5, 2, 3),
    ),
    "node-pg-migrate": Kit(
        ("node-pg-migrate@9.0.0", "pg@8.23.1"),
        """
        import('node-pg-migrate').then(({ runner }) => runner({databaseUrl: at, dir: 'migrations',
          migrationsTable: 'pgmigrations', direction: 'up', singleTransaction: false, log() {}}))
          .catch(e => console.log(e.message));
        """,
        {
            "migrations/1704103200000_notes.js": """\
                exports.up = (pgm) => {
                  pgm.createTable("notes", { id: { type: "bigint", primaryKey: true } });
                  pgm.createIndex("notes", "id", { name: "by_id" });
                };
                """,
            "migrations/1704103300000_more.js": """\
                exports.up = (pgm) => {
                  pgm.noTransaction();
                  pgm.sql("create function f() returns int language sql as 'select 1'");
                  pgm.addColumn("notes", { body: "text" });
                };
                """,
        },
        (2, 3, 3, 4),
    ),
}


def project(kit: Kit, name: str, root: Path, database: str) -> Project:
    made = Project(root, kit.files, database)
    made.write("package.json", json.dumps({"dependencies": {name: "*", "pg": "8"}}))
    package, version = kit.packages[0].rsplit("@", 1)
    home = tools.npm_package(package, version, *kit.packages[1:])
    (root / "node_modules").symlink_to(next(p for p in home.parents if p.name == "node_modules"))
    made.settings()
    return made


def migrate(kit: Kit, made: Project) -> str:
    done = subprocess.run(
        ["node", "-e", CONNECTION + kit.program, tools.node_options(made.conninfo)],
        cwd=made.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", KITS)
def test_drift_has_the_line_of_each_call(name: str, tmp_path: Path, database: str) -> None:
    kit = KITS[name]
    made = project(kit, name, tmp_path, database)
    assert migrate(kit, made) == ""
    document = made.audit()
    assert (document["verdict"], document["deltas"], document["findings"]) == ("PASS", [], [])
    made.sql("drop index by_id")
    made.sql("create or replace function f() returns int language sql as 'select 2'")
    made.sql("alter table notes alter body type varchar")
    first, second = kit.files
    _, index, function, column = kit.lines
    assert sorted((file, line) for _, _, file, line in made.findings()) == [
        (first, index),
        (second, function),
        (second, column),
    ]


YOYO = {
    "yoyo.ini": "[DEFAULT]\nsources = %(here)s/db/changes\n",
    "db/changes/0001.notes.sql": "create table notes (id bigint primary key);\n",
    "db/changes/0002.index.py": """\
        from yoyo import group, step

        __depends__ = {"0001.notes"}


        def make(connection):
            with connection.cursor() as cursor:
                cursor.execute("create function f() returns int language sql as 'select 1'")


        steps = [
            step("create index by_id on notes (id)", "drop index by_id"),
            group([step(make)]),
        ]
        """,
    "db/changes/0003.more.py": """\
        from yoyo import step

        __depends__ = {"0002.index"}
        __transactional__ = False

        step("alter table notes add body text")
        step("alter table notes add tags text[]")
        step("create index concurrently by_tag on notes using gin (tags)")
        """,
}


def test_yoyo(tmp_path: Path, database: str) -> None:
    made = Project(tmp_path, YOYO, database)
    made.settings()
    words = psycopg.conninfo.conninfo_to_dict(database)
    target = f"postgresql+psycopg:///{words['dbname']}?user={words['user']}&host={words['host']}&port={words['port']}"
    yoyo = (
        "-c",
        "from yoyo.scripts.main import main; main()",
        "apply",
        "--batch",
        "--no-config-file",
        "-d",
        target,
    )
    made.tool(*yoyo, "db/changes")
    document = made.audit()
    assert (document["verdict"], document["deltas"], document["findings"]) == ("PASS", [], [])
    made.sql("drop index by_id")
    made.sql("alter table notes alter body type varchar")
    made.sql("create or replace function f() returns int language sql as 'select 2'")
    assert sorted((file, line) for _, _, file, line in made.findings()) == [
        ("db/changes/0002.index.py", 8),
        ("db/changes/0002.index.py", 12),
        ("db/changes/0003.more.py", 6),
    ]


RAILS = {
    "db/migrate/20240101000000_create_notes.rb": """\
        class CreateNotes < ActiveRecord::Migration[6.1]
          def change
            create_table :notes do |t|
              t.text :body, index: { name: "by_body" }
            end
            add_index :notes, :id, name: "by_id"
          end
        end
        """,
    "db/migrate/20240102000000_more.rb": """\
        class More < ActiveRecord::Migration[6.1]
          disable_ddl_transaction!

          def up
            execute "create function f() returns int language sql as 'select 1'"
            add_column :notes, :tags, :text, array: true
            add_index :notes, :tags, using: :gin, name: "by_tag", algorithm: :concurrently
          end
        end
        """,
}


def test_rails(tmp_path: Path, database: str) -> None:
    tools.ruby_with_activerecord()
    made = Project(tmp_path, RAILS, database)
    made.settings()
    # What the tool keeps for itself is in the shadow before it is in an empty database.
    assert [(cause, names) for cause, names, _, _ in made.findings()] == [
        ("missing_migration", ["public.notes"]),
        ("missing_migration", ["public.f()"]),
    ]
    assert tools.rails(tmp_path, database) == ""
    document = made.audit()
    assert (document["verdict"], document["deltas"], document["findings"]) == ("PASS", [], [])
    made.sql("drop index by_id")
    made.sql("drop index by_tag")
    made.sql("create or replace function f() returns int language sql as 'select 2'")
    made.sql("alter table notes alter body set not null")
    first, second = RAILS
    assert sorted((file, line) for _, _, file, line in made.findings()) == [
        (first, 3),
        (first, 6),
        (second, 5),
        (second, 7),
    ]
    made.write(
        "db/migrate/20240103000000_elsewhere.rb",
        f"""\
        class Elsewhere < ActiveRecord::Migration[6.1]
          def up
            PG.connect({database!r}).exec("create table never ()")
          end
        end
        """,
    )
    with pytest.raises(NotTheShadow, match="rails was about to connect to "):
        made.audit()
    assert made.value("select to_regclass('never')") is None
