"""Code migrations replayed through the tools themselves: real Alembic and Django projects, from PyPI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from project import Answer

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

    def settings(self, **variables: str) -> None:
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

    def auditkit(self, *command: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "auditkit", *command], cwd=self.root, capture_output=True, text=True
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def findings(self) -> list[tuple[Any, ...]]:
        """Cause, objects, file and line of each finding."""
        document = self.auditkit("explain", "prod", "--json").json
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


@pytest.fixture
def alembic(tmp_path: Path, database: str) -> Project:
    """Three revisions, all applied."""
    project = Project(tmp_path, ALEMBIC, database)
    project.settings(APP_DATABASE="postgresql+psycopg://{user}@{host}:{port}/{database}")
    project.tool("-m", "alembic", "upgrade", "head", APP_DATABASE=url(database))
    return project


def url(conninfo: str) -> str:
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    return (
        f"postgresql+psycopg://{words['user']}@/{words['dbname']}?host={words['host']}&port={words['port']}"
    )


def test_alembic_without_drift(alembic: Project) -> None:
    answer = alembic.auditkit("explain", "prod", "--json")
    assert (answer.code, answer.json["verdict"], answer.json["deltas"]) == (0, "PASS", [])
