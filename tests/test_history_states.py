"""States: migration files held against ledgers, on literal rows."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.history import checksums
from auditkit.history.files import Blob, Migration, Migrations, Project, load_migrations
from auditkit.history.git import Commit
from auditkit.history.ledgers import History, choose
from auditkit.history.split import join, split
from auditkit.history.states import HistoryMatrix, states


def file(version: str, name: str, sql: str | None = "", depends: tuple[str, ...] = ()) -> Migration:
    raw = (sql or "").encode()
    return Migration(version, name, f"m/{version}_{name}.sql", sql, raw, depends=depends)


def row(version: str, name: str = "", sql: str | None = None, **more: Any) -> dict[str, Any]:
    statements = None if sql is None else [statement.text for statement in split(sql)]
    return {
        "tool": "supabase",
        "table": "t",
        "version": version,
        "name": name,
        "state": "applied",
        "position": None,
        "applied_at": None,
        "checksum": None,
        "statements": statements,
        "applied_by": None,
        "note": None,
        "recorded_as": "run",
        "done": None,
        "total": None,
        "xmin": 1000 - int(more.get("age", 0)),
        "age": 0,
        **more,
    }


def hold(
    files: list[Migration], rows: list[dict[str, Any]], tool: str = "supabase", **more: Any
) -> HistoryMatrix:
    project = Migrations(Project(Path(), tool, ("m",)), tuple(files))
    return states(project, {"p": History(tool, "t", tuple(rows))}, **{"earlier": lambda _: (), **more})


def shown(result: HistoryMatrix) -> list[str]:
    return [f"{row.version} {row.name} {row.states.get('p')}".replace("  ", " ") for row in result.rows]


A, B, C = (file(v, n, f"create table {n} ();") for v, n in (("1", "a"), ("2", "b"), ("3", "c")))


def test_applied_and_pending() -> None:
    result = hold([A, B, C], [row("1", "a", A.sql), row("3", "c", C.sql)])
    assert shown(result) == ["1 a applied", "2 b pending", "3 c applied"]
    environment = result.environment("p")
    assert (environment.head, environment.applied, environment.pending) == ("3", 2, 1)
    assert "--include-all" in result.rows[1].cells["p"].notes[0]


def test_the_document_is_as_other_programs_expect_it() -> None:
    result = hold([A], [row("1", "a", A.sql)])
    document = result.to_json()
    assert document["format"] == "auditkit.history/1"
    assert document["migrations"] == [
        {"version": "1", "name": "a", "file": "m/1_a.sql", "states": {"p": "applied"}}
    ]
    assert document["environments"][0]["name"] == "p"
    assert json.loads(json.dumps(document)) == document
    frame = result.frame()
    assert list(frame.columns) == ["version", "name", "file", "p"]
    assert frame.to_dict("records") == [{"version": "1", "name": "a", "file": "m/1_a.sql", "p": "applied"}]
    assert list(hold([], []).frame().columns) == ["version", "name", "file", "p"]


@pytest.mark.parametrize(
    ("stored", "state", "content"),
    [
        ("create table a ();", "applied", "identical"),
        ("-- x\nCREATE TABLE a ( )", "applied", "cosmetic"),
        ("create table a (x int);", "edited", "different"),
        (None, "applied", None),
    ],
)
def test_edited_is_what_has_another_effect(stored: str | None, state: str, content: str | None) -> None:
    cell = hold([A], [row("1", "a", stored)]).rows[0].cells["p"]
    assert (cell.state, cell.content) == (state, content)


def test_a_writer_that_stores_whole_files_makes_no_edit() -> None:
    sql = "create table a ();\r\n-- more\r\ncreate table b ();\r\n"
    result = hold([file("1", "a", sql.replace("\r", ""))], [{**row("1", "a"), "statements": [sql]}])
    assert (result.rows[0].states["p"], result.rows[0].cells["p"].content) == ("applied", "cosmetic")


def test_the_same_content_under_another_version_is_restamped() -> None:
    result = hold([A, B], [row("20", "a", "CREATE TABLE a();"), row("2", "b", B.sql)])
    assert shown(result) == ["1 a restamped", "2 b applied"]
    assert result.rows[0].cells["p"].notes[0] == "the same content is recorded as version 20"


def test_the_same_name_is_enough_where_content_is_unknown_but_not_against_it() -> None:
    assert shown(hold([A], [row("20", "a")])) == ["1 a restamped"]
    result = hold([A], [row("20", "a", "create table other ();")])
    assert shown(result) == ["1 a pending", "20 a unknown"]
    assert result.environment("p").notes == (
        "m/1_a.sql is pending, and version 20 with the same name but other content is recorded: "
        "they are taken for two migrations",
    )


def test_renumbered_files_follow_their_content_not_their_number() -> None:
    # 1_a became 2_a, and a new 1_z took its number.
    files = [file("1", "z", "create table z ();"), file("2", "a", A.sql)]
    result = hold(files, [row("1", "a", A.sql)])
    assert shown(result) == ["1 z pending", "2 a restamped"]


def test_a_version_with_another_name_and_content_is_that_file_edited() -> None:
    cell = hold([A], [row("1", "was", "create table was ();")]).rows[0].cells["p"]
    assert (cell.state, cell.notes) == ("edited", ("recorded as 'was'",))


def test_two_files_of_one_version_the_row_goes_to_the_right_one() -> None:
    other = file("1", "other", "create table other ();")
    assert shown(hold([A, other], [row("1", "other", other.sql)])) == ["1 a pending", "1 other applied"]


def test_two_migrations_of_one_time_stamp_are_two() -> None:
    other = file("1", "other", "create table other ();")
    rows = [row("1", "a", None), row("1", "other", None)]
    assert shown(hold([A, other], rows, tool="prisma")) == ["1 a applied", "1 other applied"]


def test_a_row_without_a_file_is_unknown_and_stands_in_its_place() -> None:
    histories = {
        "p": History("supabase", "t", (row("2", "x", "select 1"),)),
        "s": History("supabase", "t", (row("2", "x", "select 1"), row("1", "a", A.sql))),
    }
    result = states(Migrations(Project(Path(), "supabase", ("m",)), (A, C)), histories)
    assert [(r.version, r.file, r.states) for r in result.rows] == [
        ("1", A.path, {"p": "pending", "s": "applied"}),
        ("2", None, {"p": "unknown", "s": "unknown"}),
        ("3", C.path, {"p": "pending", "s": "pending"}),
    ]


@pytest.mark.parametrize(
    ("ages", "expected", "by"),
    [
        ((30, 20, 10), ["applied", "applied", "applied"], "row age"),
        ((30, 5, 10), ["applied", "out_of_order", "applied"], "row age"),
        ((5, 20, 10), ["out_of_order", "applied", "applied"], "row age"),
        ((10, 20, 30), ["out_of_order", "out_of_order", "applied"], "row age"),
        ((10, 10, 20), ["out_of_order", "out_of_order", "applied"], "row age"),
        ((10, 10, 10), ["applied", "applied", "applied"], None),  # restored: one transaction wrote all
        ((-5, 20, 10), ["applied", "applied", "applied"], None),  # older than 2^31 transactions
    ],
)
def test_out_of_order_by_the_age_of_rows(ages: tuple[int, ...], expected: list[str], by: str | None) -> None:
    rows = [row(m.version, m.name, m.sql, age=age) for m, age in zip((A, B, C), ages, strict=True)]
    result = hold([A, B, C], rows)
    assert [r.states["p"] for r in result.rows] == expected
    environment = result.environment("p")
    assert environment.ordered_by == by
    assert any("order" in item for item in environment.not_detectable) == (by is None)


def test_out_of_order_by_the_ledgers_own_numbers_and_applied_rows_in_that_order() -> None:
    rows = [row("1", "a", position=3), row("2", "b", position=1), row("3", "c", position=2)]
    result = hold([A, B, C], rows, "knex")
    assert [r.states["p"] for r in result.rows] == ["out_of_order", "applied", "applied"]
    assert [r["version"] for r in result.environment("p").applied_rows] == ["2", "3", "1"]
    assert result.environment("p").ordered_by == "ledger"


def test_an_edit_is_shown_before_disorder_but_disorder_is_kept() -> None:
    result = hold([A, B], [row("1", "a", "select 1", age=1), row("2", "b", B.sql, age=2)])
    cell = result.rows[0].cells["p"]
    assert (cell.state, cell.out_of_order) == ("edited", True)


def test_failed_and_rolled_back_attempts_the_last_row_counts() -> None:
    rows = [
        row("1", "a", position=1, state="failed", note="boom"),
        row("1", "a", position=2),
        row("2", "b", position=3),
        row("2", "b", position=4, state="rolled_back"),
        row("3", "c", position=5, state="failed", note="boom"),
        row("4", "gone", position=6, state="rolled_back"),
    ]
    result = hold([A, B, C], rows, "prisma")
    assert shown(result) == ["1 a applied", "2 b pending", "3 c failed"]
    assert result.rows[2].cells["p"].notes == ("boom",)
    assert (result.environment("p").applied, result.environment("p").pending) == (1, 1)


def test_a_checksum_finds_the_commit_that_was_applied() -> None:
    old, layout = b"create table a (x int);", b"CREATE TABLE a();"
    commit = Commit("c" * 40, "Ann", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "Add a")

    def earlier(migration: Migration) -> list[Blob]:
        return [Blob(commit, file("1", "a", text.decode())) for text in (old, layout)]

    def cell(raw: bytes) -> Any:
        rows = [row("1", "a", checksum=hashlib.sha256(raw).hexdigest(), position=1)]
        return hold([A], rows, "prisma", earlier=earlier).rows[0].cells["p"]

    assert (cell(A.raw).state, cell(A.raw).content) == ("applied", "identical")
    assert (cell(A.raw + b"").state, cell(layout).content) == ("applied", "cosmetic")
    edited = cell(old)
    assert (edited.state, edited.content, edited.blob.commit) == ("edited", "different", commit)
    assert edited.notes == ("what was applied is the file as of cccccccccccc (Ann)",)
    assert (cell(b"never seen").state, cell(b"never seen").blob) == ("edited", None)


def test_versions_are_compared_as_the_tool_does() -> None:
    files = [file("0001", "a"), file("0010", "b")]
    assert shown(hold(files, [row("1"), row("10")], "goose")) == ["0001 a applied", "0010 b applied"]
    assert shown(hold([file("1.0", "a b")], [row("1", "a b")], "flyway")) == ["1.0 a b applied"]
    assert shown(hold([file("", "views")], [row("", "views")], "flyway")) == [" views applied"]


def test_one_row_for_all_up_to_it() -> None:
    files = [file("9", "a"), file("10", "b"), file("11", "c")]
    assert shown(hold(files, [row("10")], "golang-migrate")) == [
        "9 a applied",
        "10 b applied",
        "11 c pending",
    ]
    assert shown(hold(files, [row("10", state="failed")], "golang-migrate"))[1] == "10 b failed"
    assert shown(hold(files, [row("12")], "golang-migrate")) == [
        "9 a applied",
        "10 b applied",
        "11 c applied",
        "12 unknown",
    ]
    assert shown(hold(files, [], "golang-migrate")) == ["9 a pending", "10 b pending", "11 c pending"]


def test_heads_stand_for_their_ancestors() -> None:
    files = [
        file("r", "root", None),
        file("x", "left", None, ("r",)),
        file("y", "right", None, ("r",)),
        file("z", "merge", None, ("x", "y")),
    ]
    assert shown(hold(files, [row("y")], "alembic")) == [
        "r root applied",
        "x left pending",
        "y right applied",
        "z merge pending",
    ]
    lost = hold(files, [row("y"), row("q")], "alembic")
    # What descends from the lost head is not known; what leads to the known one is.
    assert shown(lost) == ["r root applied", "x left None", "y right applied", "z merge None", "q unknown"]
    assert lost.environment("p").not_checked[0]["why"].startswith("its revision q is in no file")


def test_a_ledger_that_may_not_be_read_leaves_the_cells_empty() -> None:
    record = {"tool": "supabase", "schema": "s", "table": "t", "platform": None, "rows": []}
    history = choose(
        [{**record, "denied": "role r lacks USAGE on the schema", "grant": "GRANT …"}], "supabase"
    )
    result = states(Migrations(Project(Path(), "supabase", ("m",)), (A,)), {"p": history})
    assert result.rows[0].states == {}
    environment = result.environment("p")
    assert (environment.applied, environment.pending, environment.head) == (0, 0, None)
    assert environment.not_checked[0]["fix"] == "GRANT …"


def test_an_unknown_row_is_looked_for_in_other_branches(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    git("init", "-q", "-b", "main")
    (folder / "1_a.sql").write_text("create table a ();")
    (folder / "3_deleted.sql").write_text("create table deleted ();")
    git("add", ".")
    git("commit", "-qm", "A")
    git("rm", "-q", "supabase/migrations/3_deleted.sql")
    git("commit", "-qm", "Delete")
    git("checkout", "-qb", "feature")
    (folder / "2_b.sql").write_text("create table b ();")
    git("add", ".")
    git("commit", "-qm", "B")
    git("checkout", "-q", "main")
    history = History("supabase", "t", (row("1", "a"), row("2", "b"), row("3", "deleted"), row("4", "x")))
    result = states(load_migrations(tmp_path), {"p": history})
    found = {r.version: r.cells["p"].blob for r in result.rows if r.states["p"] == "unknown"}
    assert {v: (b.migration.sql, b.commit.subject) if b else None for v, b in found.items()} == {
        "2": ("create table b ();", "B"),
        "3": ("create table deleted ();", "A"),
        "4": None,
    }


def test_a_deleted_file_is_found_by_the_number_that_its_tool_counts(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    folder = tmp_path / "migrations"
    folder.mkdir()
    git("init", "-q")
    for number, table in (("00001", "a"), ("00017", "b")):
        (folder / f"{number}_step.sql").write_text(
            f"-- +goose Up\ncreate table {table} ();\n-- +goose Down\n"
        )
    git("add", ".")
    git("commit", "-qm", "Both")
    git("rm", "-q", "migrations/00017_step.sql")
    git("commit", "-qm", "Delete")
    history = History("goose", "goose_db_version", (row("1"), row("17")))
    (unknown,) = (r for r in states(load_migrations(tmp_path), {"p": history}).rows if r.version == "17")
    blob = unknown.cells["p"].blob
    assert blob and "create table b" in blob.migration.sql


@settings(deadline=None)  # how quick it is depends on what else the machine does
@given(st.permutations(range(4)), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_every_row_and_every_file_is_accounted_for_once(
    order: list[int], without_file: set[int], without_row: set[int]
) -> None:
    every = [file(str(n), f"m{n}", f"create table t{n} ();") for n in range(4)]
    files = [m for n, m in enumerate(every) if n not in without_file]
    rows = [row(str(n), f"m{n}", every[n].sql, age=n + 1) for n in order if n not in without_row]
    result = hold(files, rows)
    assert {r.version for r in result.rows} == {m.version for m in files} | {r["version"] for r in rows}
    recorded = [cell.row["version"] for r in result.rows for cell in r.cells.values() if cell.row]
    assert sorted(recorded) == sorted(r["version"] for r in rows)
    assert sum(r.states["p"] == "pending" for r in result.rows) == len(
        {m.version for m in files} - {r["version"] for r in rows}
    )


def test_statements_joined_can_be_split_again() -> None:
    texts = ["select 1 -- no end", "/* c */ select 2", "select '\n;'"]
    assert [statement.text for statement in split(join(texts))] == texts


def atlas_rows(*files: tuple[str, str], **more: Any) -> list[dict[str, Any]]:
    """The rows that Atlas writes when these files (version_name, text) are applied in this order."""
    rows = []
    for number in range(len(files)):
        name, _ = files[number]
        version, _, described = name.partition("_")
        before = sorted(f"{n}.sql" for n, _ in files[: number + 1] if n <= name)
        texts = {f"{n}.sql": text.encode() for n, text in files}
        hashed = checksums.atlas([(n, texts[n]) for n in before])
        rows.append(row(version, described, checksum=hashed, position=number, **more))
    return rows


def test_atlas_hashes_cover_all_earlier_files() -> None:
    # printf 1_a.sqlx | sha256sum | xxd -r -p | base64
    assert checksums.atlas([("1_a.sql", b"x")]) == "Hvvl8rkzMSW09daWNwro0paiq4nK2pNEOvw2htglVbE="
    rows = atlas_rows(
        ("1_a", "create table a ();"), ("2_b", "create table b ();"), ("3_c", "create table c ();")
    )
    assert shown(hold([A, B, C], rows, "atlas")) == ["1 a applied", "2 b applied", "3 c applied"]
    # The first edit is seen, and after it nothing can be told …
    other = file("2", "b", "create table b (x int);")
    result = hold([A, other, C], rows, "atlas")
    assert shown(result) == ["1 a applied", "2 b edited", "3 c applied"]
    assert result.rows[2].cells["p"].content is None
    # … unless git knows what the file said.
    blob = Blob(Commit("c" * 40, "Ann", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "Add"), B)
    result = hold([A, other, C], rows, "atlas", earlier=lambda m: [blob] if m.version == "2" else ())
    assert shown(result) == ["1 a applied", "2 b edited", "3 c applied"]
    assert (result.rows[1].cells["p"].blob, result.rows[2].cells["p"].content) == (blob, "identical")


def test_atlas_a_file_added_before_applied_ones_is_no_edit_of_them() -> None:
    rows = atlas_rows(("1_a", "create table a ();"), ("3_c", "create table c ();"))
    assert shown(hold([A, B, C], rows, "atlas")) == ["1 a applied", "2 b pending", "3 c applied"]
    rows = atlas_rows(
        ("1_a", "create table a ();"), ("3_c", "create table c ();"), ("2_b", "create table b ();")
    )
    assert shown(hold([A, B, C], rows, "atlas")) == ["1 a applied", "2 b out_of_order", "3 c applied"]


def test_what_a_baseline_covers_is_not_pending() -> None:
    rows = [
        row("2", "<< Flyway Baseline >>", recorded_as="baseline", note="baseline", position=1),
        row("3", "c", position=2),
    ]
    result = hold([A, C, file("4", "d", "")], rows, "flyway")
    assert shown(result) == ["1 a applied", "3 c applied", "4 d pending"]
    assert result.rows[0].cells["p"].notes == ("covered by the baseline 2: recorded as applied, not run",)
    assert result.environment("p").notes == (
        "migrations up to version 2 are recorded as a baseline, not run",
    )
