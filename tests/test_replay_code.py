"""Code migrations replayed through the tools themselves: real projects of Alembic, Django and Knex."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest
import tools
from project import Answer

from auditkit import config
from auditkit.audit import explain
from auditkit.audit.meant import all_steps, ground_for, migrations_of
from auditkit.errors import NotTheShadow
from auditkit.history.shadow import replay
from auditkit.history.shadow.code import code_of
from auditkit.history.shadow.session import Session
from auditkit.server import Server

pytestmark = pytest.mark.tools

ALEMBIC = {
    "alembic.ini": "[alembic]\nscript_location = %(here)s/db\n",
    "db/env.py": """\
        import os
        from alembic import context
        from sqlalchemy import create_engine
        engine = create_engine(os.environ["APP_DATABASE"])
        with engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "db/versions/a1_people.py": """\
        from alembic import op
        import sqlalchemy as sa

        revision = "a1"
        down_revision = None


        def upgrade():
            op.create_table(
                "people",
                sa.Column("id", sa.BigInteger, primary_key=True),
                sa.Column("email", sa.Text, nullable=False),
            )
            op.execute("create table notes (id bigint primary key, person bigint references people)")
        """,
    "db/versions/b2_index.py": """\
        from alembic import op

        revision = "b2"
        down_revision = "a1"


        def upgrade():
            op.add_column("notes", __import__("sqlalchemy").Column("body", __import__("sqlalchemy").Text))

            op.create_index("notes_person", "notes", ["person"])
        """,
    "db/versions/c3_count.py": '''\
        from alembic import op

        revision = "c3"
        down_revision = "b2"
        COUNT = """
            create function count_notes(p bigint) returns bigint language sql stable
            as $$ select count(*) from notes where person = p $$
        """


        def upgrade():
            op.execute(COUNT)
            with op.get_context().autocommit_block():
                op.execute("create index concurrently notes_body on notes (body)")
            op.execute("alter table people add constraint at check (email like '%@%')")
        ''',
}

DJANGO = {
    "manage.py": """\
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
        """,
    "site_/__init__.py": "",
    "site_/settings.py": """\
        import os
        SECRET_KEY = "x"
        INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop"]
        DATABASES = {"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": os.environ.get("DB_NAME", "production"),
            "HOST": os.environ.get("DB_HOST", "production.example.com"), "USER": os.environ.get("DB_USER", "app"),
        }}
        """,
    "shop/__init__.py": "",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """\
        from django.conf import settings
        from django.db import migrations, models


        class Migration(migrations.Migration):
            dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
            operations = [
                migrations.CreateModel(
                    "Customer",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("email", models.TextField(db_index=True)),
                        ("user", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)),
                    ],
                ),
                migrations.RunSQL(
                    "create view emails as select email from shop_customer",
                    "drop view emails",
                ),
            ]
        """,
    "shop/migrations/0002_name.py": """\
        from django.db import migrations, models


        def functions(apps, schema_editor):
            assert apps.get_model("shop", "Customer").objects.count() == 0
            schema_editor.execute(
                "create function greeting() returns text language sql as $$ select 'hi' $$"
            )


        class Migration(migrations.Migration):
            dependencies = [("shop", "0001_initial")]
            operations = [
                migrations.AddField("Customer", "name", models.TextField(default="")),
                migrations.AddIndex("Customer", models.Index(fields=["name"], name="by_name")),
                migrations.RunPython(functions),
            ]
        """,
    "shop/migrations/0003_order.py": """\
        from django.db import migrations, models


        class Migration(migrations.Migration):
            atomic = False
            dependencies = [("shop", "0002_name")]
            operations = [
                migrations.CreateModel("Order", [("id", models.BigAutoField(primary_key=True))]),
                migrations.AddField(
                    "Order", "customer", models.ForeignKey("shop.Customer", models.CASCADE)
                ),
                migrations.RunSQL("create function total() returns int language sql as 'select 0'", "drop function total()"),
            ]
        """,
}


class Project:
    """A project on disk, its tool pointed at one database, and auditkit run on both."""

    def __init__(self, root: Path, files: Mapping[str, str], conninfo: str) -> None:
        self.root, self.conninfo = root, conninfo
        for name, text in files.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def copy(self, root: Path, conninfo: str) -> Project:
        """The same project, with a database of its own."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        copy = Project(root, {}, conninfo)
        copy.settings(**self.variables)
        return copy

    def settings(self, **variables: str) -> None:
        self.variables = variables
        environment = ", ".join(f"{name} = {value!r}" for name, value in variables.items())
        self.write(
            "auditkit.toml",
            f"[environments]\nprod = {self.conninfo!r}\n[migrations]\npython = {sys.executable!r}\n"
            f"environment = {{ {environment} }}\n",
        )

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement)

    def tool(self, *command: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=self.root, capture_output=True, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *command: str) -> None:
        words = psycopg.conninfo.conninfo_to_dict(self.conninfo)
        variables = {"DB_HOST": words["host"], "DB_NAME": words["dbname"], "DB_USER": words["user"]}
        self.tool("manage.py", *command, **{name: str(value) for name, value in variables.items()})

    def value(self, query: str) -> Any:
        with psycopg.connect(self.conninfo) as connection:
            row = connection.execute(query).fetchone()
        assert row
        return row[0]

    def schema(self) -> Any:
        """All that is there, and whether anything at all was written since."""
        return self.value("select array_agg((oid, xmin, relname)::text order by oid) from pg_class")

    def auditkit(self, *command: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "auditkit", *command], cwd=self.root, capture_output=True, text=True
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def audit(self, baseline: str = "migrations") -> Any:
        """The document of an audit, made in this process: it starts sooner."""
        return explain("prod", baseline=baseline, config_file=str(self.root / "auditkit.toml")).document

    def findings(self) -> list[tuple[Any, ...]]:
        """Cause, objects, file and line of each finding."""
        document = self.audit()
        assert document["verdict"] != "INCOMPLETE", document["not_checked"]
        return [
            (
                finding["cause"],
                [item["identity"] for item in finding["objects"]],
                (finding["migration"] or {}).get("file"),
                (finding["migration"] or {}).get("line"),
            )
            for finding in document["findings"]
        ]


@pytest.fixture(scope="module")
def built_alembic(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("alembic"), ALEMBIC, server.create_database("built_alembic"))
    project.settings(APP_DATABASE="postgresql+psycopg://{user}@{host}:{port}/{database}")
    project.tool("-m", "alembic", "upgrade", "head", APP_DATABASE=url(project.conninfo))
    yield project
    server.drop_database("built_alembic")


@pytest.fixture
def alembic(built_alembic: Project, tmp_path: Path, databases: Callable[..., str]) -> Project:
    """Three revisions, all applied."""
    return built_alembic.copy(tmp_path, databases(template="built_alembic"))


def url(conninfo: str) -> str:
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    return (
        f"postgresql+psycopg://{words['user']}@/{words['dbname']}?host={words['host']}&port={words['port']}"
    )


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Ann Example", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True)


def test_alembic_without_drift(alembic: Project) -> None:
    answer = alembic.auditkit("explain", "prod", "--json")
    assert (answer.code, answer.json["verdict"], answer.json["deltas"]) == (0, "PASS", [])
    blamed = alembic.auditkit("blame", "prod", "notes_person")
    assert "b2_index.py:10" in blamed.out, blamed


def test_alembic_drift_has_the_line_of_each_operation(alembic: Project) -> None:
    alembic.sql("drop index notes_person")
    alembic.sql("drop index notes_body")
    alembic.sql("alter table people alter email drop not null, drop constraint at")
    alembic.sql("create or replace function count_notes(p bigint) returns bigint language sql as 'select p'")
    assert sorted(alembic.findings(), key=lambda found: (found[2], found[3])) == [
        ("manual_change", ["public.people.email"], "db/versions/a1_people.py", 9),
        ("manual_change", ["public.notes_person"], "db/versions/b2_index.py", 10),
        ("manual_change", ["public.count_notes(bigint)"], "db/versions/c3_count.py", 12),
        ("manual_change", ["public.notes_body"], "db/versions/c3_count.py", 14),
        ("manual_change", ["at on public.people"], "db/versions/c3_count.py", 15),
    ]


def test_alembic_stamped_and_pending(alembic: Project) -> None:
    alembic.tool("-m", "alembic", "stamp", "b2", APP_DATABASE=url(alembic.conninfo))
    assert {(cause, file) for cause, _, file, _ in alembic.findings()} == {
        ("applied_not_recorded", "db/versions/c3_count.py")
    }
    alembic.sql("drop function count_notes; drop index notes_body; alter table people drop constraint at")
    (found,) = alembic.findings()
    assert (found[0], found[2], found[3]) == ("missing_migration", "db/versions/c3_count.py", 12)
    alembic.tool("-m", "alembic", "stamp", "c3", APP_DATABASE=url(alembic.conninfo))
    (found,) = alembic.findings()
    assert (found[0], found[2], found[3]) == ("recorded_not_applied", "db/versions/c3_count.py", 12)


def test_alembic_edited_after_it_was_applied(alembic: Project) -> None:
    git(alembic.root, "init", "-q")
    git(alembic.root, "add", ".")
    git(alembic.root, "commit", "-qm", "First revisions")
    edited = (alembic.root / "db/versions/b2_index.py").read_text().replace('["person"]', '["person", "id"]')
    (alembic.root / "db/versions/b2_index.py").write_text(edited)
    git(alembic.root, "commit", "-qam", "A wider index")
    assert alembic.findings() == [
        ("edited_after_apply", ["public.notes_person"], "db/versions/b2_index.py", 10)
    ]
    document = alembic.audit("migrations@HEAD~1")
    assert (document["verdict"], document["deltas"]) == ("PASS", [])


WRONG = {
    "a URL of its own": """\
        from sqlalchemy import create_engine
        connection = create_engine({url!r}).connect()
        """,
    "a driver": """\
        import psycopg
        connection = psycopg.connect({conninfo!r})
        """,
    "a program": """\
        import subprocess
        subprocess.run(["psql", {conninfo!r}, "-c", "create table x ()"])
        """,
    "a socket": """\
        import socket
        connection = socket.socket(socket.AF_UNIX)
        connection.connect({path!r})
        """,
}


def _led_elsewhere(project: Project, env: str) -> None:
    words = psycopg.conninfo.conninfo_to_dict(project.conninfo)
    path = f"{words['host']}/.s.PGSQL.{words['port']}"
    text = WRONG[env].format(url=url(project.conninfo), conninfo=project.conninfo, path=path)
    project.write("db/env.py", text)


def test_a_project_that_leads_elsewhere_is_stopped(alembic: Project) -> None:
    _led_elsewhere(alembic, "a URL of its own")
    alembic.sql("drop table alembic_version, notes, people cascade")
    before = alembic.schema()
    answer = alembic.auditkit("explain", "prod")
    assert (answer.code, answer.out) == (3, "")
    (said,) = answer.err.strip().splitlines()[-1:]
    assert said.startswith("auditkit: alembic was about to connect to database ")
    assert "Traceback" not in answer.err
    assert alembic.schema() == before


@pytest.mark.parametrize("env", WRONG)
def test_every_way_elsewhere_is_closed(alembic: Project, env: str) -> None:
    """Asked of the tool's process itself: the shadow need not even be there."""
    _led_elsewhere(alembic, env)
    settings = config.load(str(alembic.root / "auditkit.toml"))
    by_tool = code_of(migrations_of(settings), settings)
    assert by_tool
    shadow = {"host": "/nonexistent", "port": "5432", "dbname": "postgres", "user": "postgres"}
    first = alembic.root / "db/versions/a1_people.py"
    request = {"do": "apply", "step": 0, "version": "a1", "path": str(first), "text": first.read_text()}
    before = alembic.schema()
    with (
        Session(by_tool, alembic.root, shadow) as session,
        pytest.raises(NotTheShadow, match="alembic was about to connect to "),
    ):
        session.ask(request)
    assert alembic.schema() == before


def test_a_history_that_grew_runs_only_what_is_new(alembic: Project) -> None:
    settings = config.load(str(alembic.root / "auditkit.toml"))
    migrations = migrations_of(settings)
    ground, _ = ground_for(settings, None, migrations)
    assert replay(all_steps(migrations, settings), ground).final.get("index", "public.notes_person")
    alembic.write(
        "db/versions/d4_more.py",
        """\
        from alembic import op

        revision = "d4"
        down_revision = "c3"


        def upgrade():
            op.execute("create table more ()")
            op.execute("create table nonsense (")
        """,
    )
    grown = replay(all_steps(migrations_of(settings), settings), ground)
    (failure,) = grown.failures
    assert (grown.replayed, failure.step, failure.line, failure.sqlstate) == (1, 3, 9, "42601")
    assert failure.message == "syntax error at end of input"
    assert grown.final.get("table", "public.more") is None


def test_code_is_not_run_where_that_is_forbidden(alembic: Project) -> None:
    alembic.write("db/env.py", "raise SystemExit('it was run')\n")
    with (alembic.root / "auditkit.toml").open("a") as file:
        file.write("run_code = false\n")
    document = alembic.audit()
    assert document["verdict"] == "INCOMPLETE"
    assert "run_code = false" in document["not_checked"][-1]["why"]


@pytest.fixture(scope="module")
def built_django(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("django"), DJANGO, server.create_database("built_django"))
    project.settings(DB_HOST="{host}", DB_NAME="{database}")
    project.manage("migrate")
    yield project
    server.drop_database("built_django")


@pytest.fixture
def django(built_django: Project, tmp_path: Path, databases: Callable[..., str]) -> Project:
    """A Django project that is applied, two packages of Django's own included."""
    return built_django.copy(tmp_path, databases(template="built_django"))


def test_django_without_drift(django: Project) -> None:
    document = django.audit()
    assert (document["verdict"], document["deltas"], document["findings"]) == ("PASS", [], [])


def test_django_drift_has_the_line_of_each_operation(django: Project) -> None:
    django.sql("drop index by_name")
    django.sql("drop function greeting()")
    django.sql("drop view emails")
    django.sql("alter table auth_user alter email drop not null")
    for query in (
        "select 'alter table shop_order drop constraint ' || conname from pg_constraint "
        "where contype = 'f' and conrelid = 'shop_order'::regclass",
        "select 'drop index ' || relname from pg_class where relname ~ 'customer_email_.*_like'",
    ):
        django.sql(django.value(query))
    package = (
        "site-packages/django/contrib/auth/migrations/0001_initial.py"  # a later one changed the type only
    )
    assert [(cause, file, line) for cause, _, file, line in sorted(django.findings(), key=str)] == [
        ("manual_change", package, 81),
        ("manual_change", "shop/migrations/0002_name.py", 15),
        ("manual_change", "shop/migrations/0001_initial.py", 16),
        ("manual_change", "shop/migrations/0002_name.py", 6),
        ("manual_change", "shop/migrations/0001_initial.py", 8),
        ("manual_change", "shop/migrations/0003_order.py", 9),
    ]


def test_django_where_code_is_not_run(django: Project) -> None:
    with (django.root / "auditkit.toml").open("a") as file:
        file.write("run_code = false\n")
    document = django.audit()
    assert (document["verdict"], document["findings"]) == ("INCOMPLETE", [])


def test_django_faked(django: Project) -> None:
    django.manage("migrate", "shop", "0002")
    django.manage("migrate", "shop", "0003", "--fake")
    (found,) = django.findings()
    assert (found[0], found[2]) == ("recorded_not_applied", "shop/migrations/0003_order.py")
    assert found[1] == ["public.total()", "public.shop_order"]


def test_django_another_order(django: Project) -> None:
    """Two apps that know nothing of each other replace the same function; a third one was forgotten."""
    django.write(
        "site_/settings.py", DJANGO["site_/settings.py"].replace('"shop"]', '"shop", "one", "two", "three"]')
    )
    for app in ("one", "two", "three"):
        django.write(f"{app}/__init__.py", "")
        django.write(f"{app}/migrations/__init__.py", "")
        django.write(
            f"{app}/migrations/0001_f.py",
            f"""\
            from django.db import migrations


            class Migration(migrations.Migration):
                operations = [
                    migrations.RunSQL("create table only_{app} ()"),
                    migrations.RunSQL(
                        "create or replace function {"g" if app == "three" else "f"}() returns text "
                        "language sql as $$ select '{app}' $$"
                    ),
                ]
            """,
        )
    django.manage("migrate", "two")
    django.manage("migrate", "one")
    assert sorted((cause, file, line) for cause, _, file, line in django.findings()) == [
        ("missing_migration", "three/migrations/0001_f.py", 6),
        ("out_of_order", "one/migrations/0001_f.py", 7),
    ]


KNEX = {
    "package.json": '{"private": true, "dependencies": {"knex": "3", "pg": "8"}}',
    "knexfile.js": """\
        module.exports = { development: { client: "pg", connection: process.env.APP_DATABASE } };
        """,
    "migrations/20240101000000_people.js": """\
        exports.up = async function (knex) {
          await knex.schema.createTable("people", (table) => {
            table.bigIncrements("id");
            table.text("email").notNullable();
          });
          await knex.schema
            .createTable("notes", (table) => {
              table.bigInteger("person").references("people.id");
            });
        };
        exports.down = async () => {};
        """,
    "migrations/20240102000000_index.js": """\
        exports.config = { transaction: false };
        exports.up = async (knex) => {
          await knex.raw("create index concurrently notes_person on notes (person)");
          await knex.raw(`
            create function count_notes(p bigint) returns bigint language sql stable
            as $$ select count(*) from notes where person = p $$`);
        };
        exports.down = async () => {};
        """,
}


def test_knex(tmp_path: Path, database: str) -> None:
    project = Project(tmp_path, KNEX, database)
    project.settings()
    (tmp_path / "node_modules").symlink_to(tools.npm_package("knex", "3.1.0", "pg@8.13.1").parent)
    words = psycopg.conninfo.conninfo_to_dict(database)
    target = (
        f"postgresql://{words['user']}@localhost/{words['dbname']}?host={words['host']}&port={words['port']}"
    )
    command = [str(tmp_path / "node_modules/.bin/knex"), "migrate:latest"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "APP_DATABASE": target}, check=True)
    document = project.audit()
    assert (document["verdict"], document["deltas"]) == ("PASS", [])
    project.sql("drop index notes_person")
    project.sql("alter table people drop column email")
    project.sql("create or replace function count_notes(p bigint) returns bigint language sql as 'select p'")
    assert sorted((file, line) for _, _, file, line in project.findings()) == [
        ("migrations/20240101000000_people.js", 2),
        ("migrations/20240102000000_index.js", 3),
        ("migrations/20240102000000_index.js", 4),
    ]
    project.write(
        "migrations/20240103000000_elsewhere.js",
        f"""\
        const {{ Client }} = require("pg");
        exports.up = async () => {{
          const client = new Client({target!r});
          await client.connect();
          await client.query("create table never ()");
        }};
        exports.down = async () => {{}};
        """,
    )
    with pytest.raises(NotTheShadow, match="knex was about to connect to "):
        project.audit()
    assert project.value("select to_regclass('never')") is None
