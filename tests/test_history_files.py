"""Migration files: whose they are, in what order, what is odd about them, and what git knows."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import ConfigError
from auditkit.history.files import Migrations, blobs, find_project, load_migrations
from auditkit.history.layouts import LAYOUTS
from auditkit.history.ledgers import LEDGERS
from auditkit.history.migration import Migration


def make(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def git(root: Path, *arguments: str, at: str = "2024-05-01T12:00:00+02:00", author: str = "Ann É") -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "-c", f"user.name={author}", "-c", "user.email=ann@example.org", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at},
    )
    return done.stdout


def commit(root: Path, subject: str, **options: str) -> None:
    git(root, "add", "-A", **options)
    git(root, "commit", "-q", "--allow-empty", "-m", subject, **options)


def named(migrations: Migrations) -> list[tuple[str, str]]:
    return [(migration.version, migration.name) for migration in migrations]


def own_notes(migrations: Migrations) -> list[str]:
    """The notes, without the one that says there is no git."""
    return [note for note in migrations.notes if "git" not in note]


JOURNAL = '{"entries": [{"idx": 0, "when": 20, "tag": "0000_b"}, {"idx": 1, "when": 10, "tag": "0001_a"}]}'
DJANGO = "class Migration(m.Migration):\n    dependencies = [{}]\n"
LAYOUT_CASES: dict[str, tuple[dict[str, str | bytes], list[tuple[str, str]]]] = {
    "supabase": (
        {
            "apps/web/supabase/migrations/2_b.sql": "",
            "apps/web/supabase/migrations/1_a_c.sql": "",
            "x/1.sql": "",
        },
        [("1", "a_c"), ("2", "b")],
    ),
    "prisma": (
        {
            "prisma/migrations/migration_lock.toml": "",
            "prisma/migrations/20240102_b/migration.sql": "",
            "prisma/migrations/20240101_a/migration.sql": "",
            "prisma/migrations/baseline/migration.sql": "",
        },
        [("20240101", "a"), ("20240102", "b"), ("baseline", "")],
    ),
    "drizzle": (
        {"d/meta/_journal.json": JOURNAL, "d/0000_b.sql": "", "d/0001_a.sql": ""},
        [("20", "0000_b"), ("10", "0001_a")],
    ),
    "dbmate": (
        {"db/migrations/20240102_b.sql": "-- migrate:up\n", "db/migrations/20240101.sql": "-- migrate:up\n"},
        [("20240101", ""), ("20240102", "b")],
    ),
    "goose": (
        {
            "m/10_b.sql": "-- +goose Up\nx;\n-- +goose Down\ny;",
            "m/9_a.sql": "-- +goose Up\n",
            "m/11_c.go": "",
        },
        [("9", "a"), ("10", "b"), ("11", "c")],
    ),
    "golang-migrate": (
        {"m/10_b.up.sql": "", "m/10_b.down.sql": "", "m/9_a.up.sql": "", "m/9_a.down.sql": ""},
        [("9", "a"), ("10", "b")],
    ),
    "sqlx": (
        {
            "Cargo.toml": "sqlx = 1",
            "migrations/2_b.sql": "",
            "migrations/1_a.up.sql": "",
            "migrations/1_a.down.sql": "",
        },
        [("1", "a"), ("2", "b")],
    ),
    "diesel": (
        {
            "migrations/2024-01-02-000000_b/up.sql": "",
            "migrations/20230101000000_a/up.sql": "",
            "migrations/x_y/down.sql": "",
        },
        [("20230101000000", "a"), ("20240102000000", "b")],
    ),
    "flyway": (
        {"sql/V1_10__b.sql": "", "sql/V1.9__a_b.sql": "", "sql/R__views.sql": "", "sql/U1_10__b.sql": ""},
        [("1.9", "a b"), ("1.10", "b"), ("", "views")],
    ),
    "refinery": (
        {"Cargo.toml": "refinery = 1", "migrations/V2__b.sql": "", "migrations/V1__a.sql": ""},
        [("1", "a"), ("2", "b")],
    ),
    "rails": ({"db/migrate/20240101000000_add_users.rb": ""}, [("20240101000000", "add_users")]),
    "ecto": ({"priv/repo/migrations/20240101000000_add_users.exs": ""}, [("20240101000000", "add_users")]),
    "knex": ({"package.json": '{"x": {"knex": "3"}}', "migrations/20240101_a.js": ""}, [("20240101", "a")]),
    "sequelize": (
        {"package.json": '{"x": {"sequelize": "6"}}', "migrations/20240101-a.js": ""},
        [("20240101", "a")],
    ),
    "typeorm": (
        {"package.json": '{"x": {"typeorm": "1"}}', "migrations/1704103200000-A.ts": ""},
        [("1704103200000", "A")],
    ),
    "node-pg-migrate": (
        {"package.json": '{"x": {"node-pg-migrate": "9"}}', "migrations/1704103200000_a.js": ""},
        [("1704103200000", "a")],
    ),
    "atlas": (
        {"migrations/atlas.sum": "h1:x\n", "migrations/2_b.sql": "", "migrations/10.sql": ""},
        [("10", ""), ("2", "b")],  # in the order of text
    ),
    "hasura": (
        {
            "hasura/migrations/default/1704103200000_a/up.sql": "",
            "hasura/migrations/default/1704103200000_a/down.sql": "",
            "hasura/migrations/default/1704103300000_b/up.sql": "",
        },
        [("1704103200000", "a"), ("1704103300000", "b")],
    ),
    "pgroll": (
        {
            "migrations/01_a.json": '{"name": "01_a", "operations": [{"sql": {"up": "select 1"}}]}',
            "migrations/02_b.yaml": "operations:\n  - create_table:\n      name: b\n",
        },
        [("01_a", ""), ("02_b", "")],
    ),
    "postgres-migrations": (
        {
            "package.json": '{"x": {"postgres-migrations": "5"}}',
            "migrations/10_b.sql": "",
            "migrations/9-a.sql": "",
        },
        [("9", "a"), ("10", "b")],
    ),
    "efcore": (
        {
            "Data/Migrations/20240101000000_Init.cs": "",
            "Data/Migrations/20240101000000_Init.Designer.cs": "",
            "Data/Migrations/ShopContextModelSnapshot.cs": "",
        },
        [("20240101000000", "Init")],
    ),
    "sqitch": (
        {
            "sqitch.conf": "[core]\n\tengine = pg\n\ttop_dir = db\n",
            "db/sqitch.plan": "%project=x\n\nb 2024-01-01T10:00:00Z Ann <a@b.c> # x\n@v1 2024-01-02T10:00:00Z Ann <a@b.c>\n"
            "a/x [b !c] 2024-01-01T10:00:00Z Ann <a@b.c> # x\n",
            "db/deploy/b.sql": "",
            "db/deploy/a/x.sql": "",
        },
        [("b", ""), ("a/x", "")],
    ),
    "yoyo": (
        {
            "migrations/0002.b.py": "from yoyo import step\n__depends__ = {'0003.a'}\n",
            "migrations/0003.a.sql": "select 1;",
            "migrations/0003.a.rollback.sql": "",
        },
        [("0003.a", ""), ("0002.b", "")],
    ),
    "liquibase": (
        {
            "db/changelog.sql": "--liquibase formatted sql\n--changeset ann:1\nx;\n--changeset bob:2\ny;\n",
            "db/other.sql": "z;",
        },
        [("db/changelog.sql::1::ann", ""), ("db/changelog.sql::2::bob", "")],
    ),
    "plain": ({"sql/10_b.sql": "", "sql/9_a.sql": ""}, [("9", "a"), ("10", "b")]),
    "alembic": (
        {
            "alembic.ini": "[alembic]\nscript_location = db\n",
            "db/versions/a1_second.py": "revision = 'a1'\ndown_revision = 'z9'\n",
            "db/versions/z9_first.py": "revision: str = 'z9'\ndown_revision: str | None = None\n",
            "db/versions/__init__.py": "",
        },
        [("z9", "first"), ("a1", "second")],
    ),
    "django": (
        {
            "manage.py": "",
            "shop/apps.py": "class C(AppConfig):\n    label = 'store'\n",
            "shop/migrations/0001_initial.py": DJANGO.format("('users', '__latest__')"),
            "users/migrations/0001_initial.py": DJANGO.format(""),
            "users/migrations/0002_a.py": DJANGO.format("('users', '0001_initial')"),
        },
        [
            ("users.0001_initial", "0001_initial"),
            ("users.0002_a", "0002_a"),
            ("store.0001_initial", "0001_initial"),
        ],
    ),
}


@pytest.mark.parametrize("tool", LAYOUT_CASES)
def test_a_project_is_recognised_and_read_in_the_tools_order(tmp_path: Path, tool: str) -> None:
    files, expected = LAYOUT_CASES[tool]
    make(tmp_path, files)
    migrations = load_migrations(tmp_path)
    assert (migrations.tool, named(migrations)) == (tool, expected)


def test_only_the_part_that_is_applied_with_its_lines(tmp_path: Path) -> None:
    sql = "-- about\n-- migrate:up transaction:false\ncreate table a ();\n\n-- migrate:down\ndrop table a;\n"
    make(tmp_path, {"db/migrations/1_a.sql": sql})
    (migration,) = load_migrations(tmp_path)
    assert [(s.line, s.text) for s in migration.statements] == [(3, "create table a ()")]
    assert not migration.transactional


def test_oddities_become_notes(tmp_path: Path) -> None:
    folder = "supabase/migrations"
    make(
        tmp_path,
        {
            f"{folder}/20210101000000_init.sql": "-- the CLI ignores such a first file",
            f"{folder}/1_a.sql": "select 1",
            f"{folder}/1_b.sql": "select 2",
            f"{folder}/2_empty.sql": " \n",
            f"{folder}/3_latin.sql": b"select '\xe9'",
            f"{folder}/bad-name.sql": "select 3",
            f"{folder}/4_folder.sql/x.sql": "",
            f"{folder}/notes.md": "",
        },
    )
    (tmp_path / folder / "5_dangling.sql").symlink_to("nowhere")
    migrations = load_migrations(tmp_path)
    assert [migration.version for migration in migrations][:2] == ["1", "1"]
    assert own_notes(migrations) == [
        f"{folder}/4_folder.sql: a folder named like a migration file; its contents are not applied",
        f"{folder}/4_folder.sql/x.sql: skipped by supabase, whose files are named <timestamp>_name.sql",
        f"{folder}/bad-name.sql: skipped by supabase, whose files are named <timestamp>_name.sql",
        f"{folder}/2_empty.sql: the file is empty",
        f"{folder}/3_latin.sql: not UTF-8 (byte 9); unreadable characters are replaced",
        f"{folder}/5_dangling.sql: not readable (No such file or directory); "
        "it cannot be compared or replayed",
        f"version 1 is used by {folder}/1_a.sql and {folder}/1_b.sql: supabase can record only one of them",
    ]


def test_the_first_init_file_of_old_projects_is_ignored_as_the_cli_does(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "supabase/migrations/20210101000000_init.sql": "",
            "supabase/migrations/20220101000000_init.sql": "",
        },
    )
    migrations = load_migrations(tmp_path)
    assert named(migrations) == [("20220101000000", "init")]


def test_python_migrations_that_do_not_parse_or_depend_in_a_circle(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "alembic.ini": "[alembic]\nscript_location = %(here)s/db\n",
            "db/versions/a.py": "revision = 'a'\ndown_revision = 'b'\n",
            "db/versions/b.py": "revision = 'b'\ndown_revision = ('a',)\n",
            "db/versions/broken.py": "revision = \n",
            "db/versions/c.py": "revision = 'c'\nimport os\nos.abort()\n",
            "db/versions/helper.py": "x = 1\n",
        },
    )
    migrations = load_migrations(tmp_path)
    assert [m.version for m in migrations] == ["c", "a", "b"]
    assert own_notes(migrations) == [
        "db/versions/broken.py: not valid Python (line 1)",
        "db/versions/helper.py: skipped by alembic, it sets no revision",
        "db/versions/a.py, db/versions/b.py: depend on each other in a circle",
    ]


def test_a_drizzle_journal_that_is_broken_or_incomplete(tmp_path: Path) -> None:
    make(tmp_path, {"d/meta/_journal.json": JOURNAL, "d/0000_b.sql": "x", "d/0009_extra.sql": ""})
    assert own_notes(load_migrations(tmp_path)) == [
        "d/0009_extra.sql: not listed in d/meta/_journal.json, so drizzle does not apply it",
        "d/0001_a.sql: not readable (it is listed in the journal but does not exist); "
        "it cannot be compared or replayed",
    ]
    make(tmp_path, {"d/meta/_journal.json": "{"})
    assert own_notes(load_migrations(tmp_path))[0] == (
        "d/meta/_journal.json: not a drizzle journal (JSONDecodeError); nothing can be applied"
    )


def test_the_folder_and_the_tool_can_be_named(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"changes/1_a.sql": "", "changes/2_b.sql": "", "node_modules/x/supabase/migrations/9_x.sql": ""},
    )
    assert find_project(tmp_path) is None
    assert named(load_migrations(tmp_path, path="changes")) == [("1", "a"), ("2", "b")]
    assert load_migrations(tmp_path, path="changes").tool == "plain"
    assert load_migrations(tmp_path, path=str(tmp_path / "changes"), tool="goose").tool == "goose"
    elsewhere = load_migrations(tmp_path / "node_modules", path="../changes")
    assert [migration.path for migration in elsewhere] == ["1_a.sql", "2_b.sql"]


def test_two_tools_the_other_one_is_mentioned(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"supabase/migrations/1_a.sql": "", "db/migrate/1_a.rb": "", "other/supabase/migrations/1_b.sql": ""},
    )
    project = find_project(tmp_path)
    assert project and (project.tool, project.directories) == ("supabase", ("supabase/migrations",))
    assert project.notes == (
        "migrations are in supabase/migrations, other/supabase/migrations; only supabase/migrations is read: "
        "set [migrations] path to choose another",
        "read as supabase; also found rails in db/migrate: set [migrations] tool to choose another",
    )
    project = find_project(tmp_path, tool="rails")
    assert project and (project.tool, project.notes) == ("rails", ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no migrations found in"),
        ({"path": "nowhere"}, "is not a folder; check [migrations] path"),
        ({"path": "file.sql"}, "is a file; give the folder"),
        ({"tool": "flywya"}, "migrations tool 'flywya' is not known; use one of alembic, atlas, dbmate"),
        ({"ref": "main"}, "migrations@main needs git: "),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    tmp_path: Path, arguments: dict[str, str], message: str
) -> None:
    make(tmp_path, {"file.sql": ""})
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as caught:
        load_migrations(tmp_path, **arguments)
    assert message in str(caught.value)


ODD_FILES = (
    "supabase/migrations/1_a.sql",
    "db/migrations/1_a.sql",
    "alembic.ini",
    "alembic/versions/a.py",
    "shop/apps.py",
    "shop/migrations/0001_a.py",
    "d/meta/_journal.json",
    "package.json",
)
TEXTS = st.sampled_from(
    [
        b"[alembic]\nscript_location = %(here)s/alembic\nversion_locations = %(x)s",
        b"revision = ['a', None]\ndown_revision = 1 + 2",
        b"class Migration(m.Migration):\n    dependencies = x + [('a',), ('b', '__first__', 1), *y]",
        b'{"entries": [{"when": null, "tag": "../../etc/passwd"}, 5]}',
        b'{"entries": {"a": 1}}',
        b"-- migrate:up\n\xff",
        b"(" * 3000,
        b"\x00",
    ]
)


@given(st.dictionaries(st.sampled_from(ODD_FILES), st.one_of(TEXTS, st.binary(max_size=40)), min_size=1))
@settings(deadline=None)
def test_no_content_of_any_file_stops_the_audit(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), dict(files))
        for tool in (None, "supabase", "drizzle", "alembic", "django", "dbmate", "prisma"):
            with contextlib.suppress(ConfigError):
                migrations = load_migrations(folder, tool=tool)
                assert all("\n" not in note for note in migrations.notes)


# ---- git -----------------------------------------------------------------------------------------------

FOLDER = "supabase/migrations"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits: added, edited, renamed; then changes on disk."""
    git(tmp_path, "init", "-q", "-b", "main")
    make(
        tmp_path,
        {f"{FOLDER}/1_a.sql": "select 1;\n", f"{FOLDER}/2_b.sql": "select 22, 'some longer text';\n"},
    )
    commit(tmp_path, "Add a and b")
    make(tmp_path, {f"{FOLDER}/1_a.sql": "select 1, 2;\n"})
    commit(tmp_path, "Edit a", at="2024-05-02T12:00:00+02:00", author="Bob")
    git(tmp_path, "mv", f"{FOLDER}/2_b.sql", f"{FOLDER}/3_b.sql")
    commit(tmp_path, "Renumber b", at="2024-05-03T12:00:00+02:00")
    return tmp_path


def test_who_added_and_who_edited(repository: Path) -> None:
    a, b = load_migrations(repository)
    assert a.added and a.git
    assert (a.added.author, a.added.authored_at, a.added.subject) == (
        "Ann É",
        "2024-05-01T10:00:00Z",
        "Add a and b",
    )
    assert [(c.author, c.subject) for c in a.git.edited_later] == [("Bob", "Edit a")]
    assert a.git.last_commit and a.git.last_commit.subject == "Edit a"
    assert b.git and b.added and b.added.subject == "Add a and b"
    assert (b.git.edited_later, b.git.renamed_from) == ((), f"{FOLDER}/2_b.sql")
    assert not a.git.uncommitted and not b.git.uncommitted


def test_what_is_not_committed(repository: Path) -> None:
    make(
        repository,
        {f"{FOLDER}/1_a.sql": "select 3;\n", f"{FOLDER}/4_new.sql": "", f"{FOLDER}/5_staged.sql": ""},
    )
    make(repository, {f"{FOLDER}/6_ignored.sql": "", ".gitignore": "6_*"})
    git(repository, "add", f"{FOLDER}/5_staged.sql")
    states = {m.version: (m.git.uncommitted, m.git.untracked) for m in load_migrations(repository) if m.git}
    assert states == {
        "1": (True, False),
        "3": (False, False),
        "4": (True, True),
        "5": (True, False),
        "6": (True, True),
    }


def test_the_files_as_of_a_commit(repository: Path) -> None:
    make(repository, {f"{FOLDER}/9_new.sql": "select 9"})
    migrations = load_migrations(repository, ref="HEAD~2")
    assert [(m.path, m.sql) for m in migrations] == [
        (f"{FOLDER}/1_a.sql", "select 1;\n"),
        (f"{FOLDER}/2_b.sql", "select 22, 'some longer text';\n"),
    ]
    assert migrations[0].git and migrations[0].git.edited_later == ()
    assert not migrations[0].git.uncommitted
    with pytest.raises(ConfigError, match="migrations@--help: git knows no such commit"):
        load_migrations(repository, ref="--help")


def test_a_project_below_the_top_of_the_repository(repository: Path) -> None:
    git(repository, "mv", "supabase", "sub")
    (repository / "app").mkdir()
    git(repository, "mv", "sub", "app/supabase")
    commit(repository, "Move")
    migrations = load_migrations(repository / "app")
    assert [m.path for m in migrations] == [f"{FOLDER}/1_a.sql", f"{FOLDER}/3_b.sql"]
    assert [m.added.subject if m.added else None for m in migrations] == ["Move", "Move"]
    assert [m.path for m in load_migrations(repository / "app", ref="HEAD")] == [m.path for m in migrations]


def test_what_a_file_said_before(repository: Path) -> None:
    make(repository, {f"{FOLDER}/1_a.sql": "select 1, 2, 3;\n"})
    migrations = load_migrations(repository)
    earlier = blobs(migrations, migrations[0])
    assert [(blob.commit.subject, blob.migration.sql) for blob in earlier] == [
        ("Edit a", "select 1, 2;\n"),
        ("Add a and b", "select 1;\n"),
    ]
    assert blobs(migrations, migrations[1]) == []


def test_a_file_deleted_and_written_again_is_a_new_one(repository: Path) -> None:
    (repository / FOLDER / "1_a.sql").unlink()
    commit(repository, "Delete")
    make(repository, {f"{FOLDER}/1_a.sql": "something else"})
    commit(repository, "Again")
    a = load_migrations(repository)[0]
    assert a.added and a.added.subject == "Again"


def test_a_shallow_clone_says_what_it_cannot_know(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clone = tmp_path_factory.mktemp("clone") / "c"
    git(repository, "clone", "-q", "--depth", "1", repository.as_uri(), str(clone))
    migrations = load_migrations(clone)
    assert migrations.notes == (
        "this is a shallow git clone: authors and earlier versions of older files are not known; "
        "run `git fetch --unshallow`",
    )


def test_without_git(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make(tmp_path_factory.mktemp("plain"), {f"{FOLDER}/1_a.sql": "select 1"})
    migrations = load_migrations(plain)
    assert migrations[0].git is None
    assert migrations.notes == (
        f"{plain} is not in a git repository: who wrote each migration and what it said before are not known",
    )
    monkeypatch.setenv("PATH", "/nowhere")
    migrations = load_migrations(repository)
    assert (migrations[0].added, blobs(migrations, migrations[0])) == (None, [])
    assert migrations.notes == (
        "git is not installed: who wrote each migration and what it said before are not known",
    )


def test_an_empty_repository_and_no_programs_started_by_its_settings(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/started; false")
    git(tmp_path, "config", "log.showRoot", "false")
    make(tmp_path, {f"{FOLDER}/1_a.sql": "select 1"})
    migrations = load_migrations(tmp_path)
    assert migrations[0].git and migrations[0].git.untracked
    assert not (tmp_path / "started").exists()


def test_every_layout_has_a_case() -> None:
    assert set(LAYOUT_CASES) == set(LAYOUTS)


def test_a_changelog_is_read_as_liquibase_reads_it(tmp_path: Path) -> None:
    text = (
        "--liquibase formatted sql logicalFilePath:shop.sql\n"  # line 1
        "--property name:t value:users\n"
        '--changeset "Ann B":one endDelimiter:/ runInTransaction:false\n'  # line 3
        "create table ${t} (a int, b ${unknown});\n/\n"
        "--rollback drop table users;\n"
        "--ignoreLines:1\nnonsense\n"
        "--ignoreLines:start\n--changeset x:y\n--ignoreLines:end\n"
        "/* liquibase rollback\n drop this;\n*/\n"
        "--preconditions onFail:HALT\n"
        "-- stays\nselect 1\n/\n"  # lines 16 to 18
        "--changeset ann:2 dbms:mysql,h2\nselect 2;\n"
        "--changeset ann:3 dbms:!mysql\n--validCheckSum: 9:ab\nselect 3;\n"
    )
    make(tmp_path, {"db/a.sql": text})
    migrations = load_migrations(tmp_path)
    assert [m.version for m in migrations] == ["shop.sql::one::Ann B", "shop.sql::3::ann"]
    assert [m.transactional for m in migrations] == [False, True]
    assert [(s.line, s.text) for s in migrations[0].statements] == [
        (4, "create table users (a int, b ${unknown})"),
        (17, "-- stays\nselect 1"),
    ]
    computed = LEDGERS["liquibase"].checksums
    assert computed and "9:ab" in (computed(migrations[1]) or ())


def test_an_edit_of_one_changeset_is_not_one_of_its_neighbours(tmp_path: Path) -> None:
    head = "--liquibase formatted sql\n"
    first, second = "--changeset ann:1\nselect 1;\n", "--changeset ann:2\nselect 2;\n"
    make(tmp_path, {"db/a.sql": head + first})
    git(tmp_path, "init", "-q")
    commit(tmp_path, "One")
    make(tmp_path, {"db/a.sql": head + first + second})
    commit(tmp_path, "Two")
    make(tmp_path, {"db/a.sql": head + first.replace("select 1", "select 10") + second})
    commit(tmp_path, "Edit")
    one, two = load_migrations(tmp_path)
    assert one.git and two.git and one.added and two.added
    assert (one.added.subject, [c.subject for c in one.git.edited_later]) == ("One", ["Edit"])
    assert (two.added.subject, two.git.edited_later) == ("Two", ())
    (blob,) = blobs(load_migrations(tmp_path), one)
    assert (blob.commit.subject, [s.text for s in blob.migration.statements]) == ("One", ["select 1"])
    assert blobs(load_migrations(tmp_path), two) == []


@pytest.mark.parametrize(
    "settings",
    [
        {
            "flyway.conf": "flyway.locations=filesystem:sql\nflyway.sqlMigrationPrefix=M\n"
            "flyway.sqlMigrationSeparator=-\nflyway.placeholders.Schema=shop\n# flyway.sqlMigrationPrefix=X\n"
        },
        {
            "flyway.toml": '[flyway]\nlocations = ["filesystem:sql"]\nsqlMigrationPrefix = "M"\n'
            'sqlMigrationSeparator = "-"\n[flyway.placeholders]\nSchema = "shop"\n'
        },
    ],
)
def test_flyways_settings_name_its_files_and_fill_them(tmp_path: Path, settings: dict[str, str]) -> None:
    files = {
        "sql/M1-a.sql": "create table ${schema}.a (); select '${other}'",
        "sql/M1.10-c.sql": "",
        "sql/M1_9-b.sql": "",
        "sql/B1.10-all.sql": "",
        "sql/U1-a.sql": "",
        "sql/R-v.sql": "create view ${schema}.v as select 1",
        "sql/V2__other.sql": "",
    }
    migrations = load_migrations(make(tmp_path, {**files, **settings}))
    assert migrations.tool == "flyway"
    assert named(migrations) == [("1", "a"), ("1.9", "b"), ("1.10", "c"), ("", "v")]
    assert migrations[0].sql == "create table shop.a (); select '${other}'"
    assert [note for note in own_notes(migrations) if "skipped" in note] == [
        "sql/V2__other.sql: skipped by flyway, whose files are named V<version>__name.sql"
    ]
    # Versioned files are summed up as they are, repeatable ones as they are run.
    computed = LEDGERS["flyway"].checksums
    assert computed
    plain = Migration("1", "a", "x.sql", "", b"create view shop.v as select 1")
    assert computed(migrations[3]) == computed(plain) != computed(replace(migrations[3], version="1"))
