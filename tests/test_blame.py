"""`auditkit blame` and `auditkit describe`: literal replays first, then a real history in git on a real server."""

from __future__ import annotations

import resource
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jsonschema
import psycopg
import pytest
from literal import snapshot_of
from project import MIGRATIONS, Answer, Project

import auditkit
from auditkit import frames
from auditkit.catalog.compare import Scope
from auditkit.catalog.snapshot import Edges, Fact, Key, Value
from auditkit.causes.reach import reach
from auditkit.cli import main
from auditkit.demo.files import git
from auditkit.errors import ConfigError
from auditkit.history.blame import Line, blame, find
from auditkit.history.describe import describe, distances
from auditkit.history.git import open_repository
from auditkit.history.shadow import Replay, Step
from auditkit.history.shadow.replayed import Change
from auditkit.report.blamed import blamed, cut
from auditkit.report.document import schema
from auditkit.server import Server
from auditkit.visible import visible

# --- literal replays -----------------------------------------------------------------------------------------

BODY = "\n  select net\n  from app.orders\n"
TAXED = "\n  select net + tax\n  from app.orders\n"
HOTFIX = "\n  select net + tax\n  from app.orders -- where?\n"
TOTAL: Key = ("function", "app.total()")


def total(body: str, **more: Value) -> Fact:
    attributes: dict[str, Value] = {
        "owner": "dev",
        "grants": None,
        "body": body,
        "cost": "100",
        "comment": None,
    }
    return Fact("function", "app.total()", attributes | more, 1255, 50, schema="app", name="total")


def column(name: str, subid: int = 1, **more: Value) -> Fact:
    attributes: dict[str, Value] = {"grants": None, "type": "text", "not_null": None, "default": None}
    attributes |= {"position": subid, "comment": None}
    table = "app.orders"
    return Fact("table column", f"{table}.{name}", attributes | more, 1259, 60, subid, 60, "app", name, table)


def table(**more: Value) -> Fact:
    attributes: dict[str, Value] = {"owner": "dev", "grants": None, "row_security": False, "comment": None}
    return Fact("table", "app.orders", attributes | more, 1259, 60, schema="app", name="orders")


def replayed(texts: list[str], timeline: Mapping[Key, list[Change]], *others: Fact) -> Replay:
    """A replay that ends with what the timeline ends with, and *others*."""
    steps = [Step(f"{n:02}", f"m{n}", text, f"m/{n:02}.sql") for n, text in enumerate(texts)]
    final = [changes[-1].fact for changes in timeline.values()]
    return Replay(steps, snapshot_of([*(fact for fact in final if fact), *others]), dict(timeline), [])


def told(lines: list[Line], part: str) -> list[tuple[str, str, int | None, int | None]]:
    return [(line.text, line.status, line.step, line.at) for line in lines if line.part == part]


FUNCTION = f"-- what it costs\ncreate function app.total() returns numeric language sql as $${BODY}$$;\n"
AGAIN = f"select 1;\ncreate or replace function app.total() returns numeric language sql as $${TAXED}$$;\n"


def functions() -> Replay:
    return replayed(
        [FUNCTION, AGAIN, "select 2;"],
        {TOTAL: [Change(0, 2, "create", total(BODY)), Change(1, 2, "create or", total(TAXED))]},
    )


def test_each_line_of_a_function_is_blamed_on_the_migration_that_brought_it() -> None:
    made = functions()
    lines = blame(TOTAL, made.final, made)
    assert told(lines, "body") == [
        ("  select net + tax", "migration", 1, 3),
        ("  from app.orders", "migration", 0, 4),
    ]
    assert told(lines, "owner") == [("dev", "migration", 0, 2)]
    assert not any(line.drift for line in lines)


def test_a_line_that_no_migration_wrote_is_said_to_be_so() -> None:
    made = functions()
    lines = blame(TOTAL, snapshot_of([total(HOTFIX, cost="7")]), made)
    assert told(lines, "body")[1] == ("  from app.orders -- where?", "by_hand", None, None)
    assert told(lines, "cost") == [("7", "by_hand", None, None)]
    earlier = blame(TOTAL, snapshot_of([total(BODY)]), made)
    assert told(earlier, "body")[1] == ("  from app.orders", "migration", 0, 4)


def test_what_a_pending_file_has_already_made_is_no_manual_change() -> None:
    both = functions()
    first = replayed([FUNCTION], {TOTAL: both.timeline[TOTAL][:1]})
    (line, *_) = [x for x in blame(TOTAL, both.final, first, both) if x.part == "body"]
    assert (line.status, line.step, line.at, line.intended) == ("unrecorded", 1, 3, True)
    assert "01_m1" in line.says


SECURED = """\
create table app.orders (
  id bigint,
  net text -- in cents
);
alter table app.orders enable row level security;
alter table app.orders owner to boss;
grant select, insert on app.orders to web;
"""
RIGHTS = ("GRANT SELECT, INSERT TO web",)


def orders() -> Replay:
    rows = {"pg_type": 1, "pg_class": 7}
    made = table(owner="boss", row_security=True, grants=RIGHTS)
    less = table(owner="boss", row_security=True, grants=("GRANT SELECT TO web",))
    named = column("net", 2, not_null="NOT NULL")
    return replayed(
        [SECURED, "revoke insert on app.orders from web;\n", "alter table app.orders\n  alter net set not null;\n"],
        {
            ("table", "app.orders"): [
                Change(0, 7, "grant", made, rows),
                Change(1, 1, "revoke insert on app.orders from web", less),
            ],
            ("table column", "app.orders.id"): [Change(0, 1, "create", column("id"))],
            ("table column", "app.orders.net"): [
                Change(0, 1, "create", column("net", 2)),
                Change(2, 1, "alter", named),
            ],
            ("table column", "app.orders.old"): [
                Change(0, 1, "create", column("old", 3)),
                Change(2, 1, "alter", None),
            ],
        },
    )  # fmt: skip


def test_statements_of_one_migration_are_told_apart_by_their_rows_and_words() -> None:
    made = orders()
    lines = blame(("table", "app.orders"), made.final, made)
    assert told(lines, "row_security") == [("yes", "migration", 0, 5)]
    assert told(lines, "owner") == [("boss", "migration", 0, 6)]
    assert told(lines, "grants") == [("GRANT SELECT TO web", "migration", 0, 7)]
    assert told(lines, "not_null") == [("NOT NULL", "migration", 2, 2)]
    objects = {line.identity: (line.step, line.at) for line in lines if line.part == "object"}
    assert objects == {"app.orders": (0, 1), "app.orders.id": (0, 2), "app.orders.net": (0, 3)}


def test_what_was_removed_is_told_when_asked_for() -> None:
    made = orders()
    lines = blame(("table", "app.orders"), made.final, made, removed=True)
    removed = {(line.identity, line.part, line.step, line.says) for line in lines if line.status == "removed"}
    assert removed == {("app.orders", "grants", 1, "taken back"), ("app.orders.old", "object", 2, "dropped")}


def test_drift_of_a_table_says_which_way_it_parted() -> None:
    made = orders()
    by_hand = column("extra", 4)
    there = [table(owner="boss", grants=RIGHTS), column("net", 2), by_hand]
    lines = blame(("table", "app.orders"), snapshot_of(there), made)
    assert told(lines, "row_security") == [("no", "by_hand", None, None)]
    assert {(x.status, x.says) for x in lines if x.part == "grants" and "INSERT" in x.text} == {
        ("superseded", "01_m1 changes it, but not here")
    }
    (gone,) = (line for line in lines if line.identity == "app.orders.id")
    assert (gone.status, gone.step) == ("missing", 0)
    assert {x.status for x in lines if x.identity == "app.orders.extra"} == {"by_hand"}
    assert told(lines, "not_null") == [("none", "superseded", 0, 3)]


def test_an_object_is_followed_through_its_renaming() -> None:
    old = Fact(
        "table column",
        "app.orders.sum",
        column("sum").attributes,
        1259,
        60,
        1,
        60,
        "app",
        "sum",
        "app.orders",
    )
    made = replayed(
        [SECURED, "alter table app.orders rename sum to total;"],
        {
            ("table", "app.orders"): [Change(0, 1, "create", table())],
            old.key: [Change(0, 1, "create", old), Change(1, 1, "alter", None)],
            ("table column", "app.orders.total"): [Change(1, 1, "alter", column("total"))],
        },
    )
    lines = blame(("table column", "app.orders.total"), made.final, made)
    assert (lines[0].part, lines[0].step) == ("object", 0)
    assert told(lines, "renamed") == [("from app.orders.sum", "migration", 1, 1)]
    (gone,) = (x for x in blame(old.key, made.final, made, removed=True) if x.status == "removed")
    assert gone.says == "renamed to app.orders.total"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("app.orders", ("table", "app.orders")),
        ("table app.orders", ("table", "app.orders")),
        ("  table   app.orders ", ("table", "app.orders")),
        ("orders", ("table", "app.orders")),
        ("app.orders.net", ("table column", "app.orders.net")),
        ("app.total", TOTAL),
        ("function app.total()", TOTAL),
        ("app.orders.old", ("table column", "app.orders.old")),
    ],
)
def test_objects_are_found_by_what_people_call_them(name: str, found: Key) -> None:
    made = orders()
    there = snapshot_of([*made.final.iter(), total(BODY)])
    assert find(name, there, made) == found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("app.ordres", 'did you mean "table app.orders"'),
        ("total", 'can mean "function app.total()", "function b.total()"'),
        ("\x1b[31m", "nothing is or was called '\\x1b[31m'"),
        ("", "nothing is or was called"),
    ],
)
def test_unknown_and_ambiguous_names_are_visible(name: str, says: str) -> None:
    other = Fact("function", "b.total()", total(BODY).attributes, 1255, 51, schema="b", name="total")
    with pytest.raises(ConfigError) as error:
        find(name, snapshot_of([table(), total(BODY), other]))
    assert says in str(error.value)
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_what_names_hold_cannot_steer_a_terminal() -> None:
    line = {"kind": "table", "identity": "a\x1b]0;x\x07.b", "part": "comment", "text": "x\r\n\u202ey", "says": "",
            "status": "by_hand", "migration": None}  # fmt: skip
    document = {"kind": "table", "identity": "a\x1b.b", "environment": "e", "folder": "", "lines": [line]}
    for text, _ in blamed(document):
        assert text == visible(text)
    assert [len(text) for text in (cut("abcdef", 4), cut("日本語", 4))] == [4, 2]


# --- describe, literally ---------------------------------------------------------------------------------------


def test_the_last_migration_whose_state_it_equals_gives_the_name() -> None:
    made = orders()
    assert (describe(made.final, made).step, describe(made.final, made).deltas) == (2, [])
    after_second = snapshot_of(
        [c.fact for k, cs in made.timeline.items() for c in [[c for c in cs if c.step < 2][-1]] if c.fact]
    )
    found = describe(after_second, made)
    assert (found.step, found.exact) == (1, True)
    assert describe(snapshot_of([]), made).step == -1


def test_the_nearest_state_is_the_one_with_the_fewest_changes_and_each_is_told_since_when() -> None:
    made = orders()
    there = snapshot_of(
        [*(f for f in made.final.iter() if f.name != "net"), column("net", 2), column("extra", 9)]
    )
    found = describe(there, made)
    assert (found.step, found.exact) == (2, False)
    assert {(d.identity, d.change): since for d, since in zip(found.deltas, found.since, strict=True)} == {
        ("app.orders.extra", "unexpected"): None,
        ("app.orders.net", "changed"): 2,
    }
    assert distances(made.final, made, Scope())[-1] == 0


def test_of_equal_states_the_last_recorded_one_is_named() -> None:
    made = functions()  # the last migration changes nothing of the schema
    assert describe(made.final, made).step == 2
    assert describe(made.final, made, recorded={0, 1}).step == 1


def test_what_is_not_compared_is_no_change() -> None:
    made = functions()
    there = snapshot_of([total(TAXED, owner="somebody")])
    assert not describe(there, made).exact
    assert describe(there, made, scope=Scope(owners=False)).exact
    assert describe(snapshot_of([total("x")]), made, scope=Scope(schemas=frozenset({"other"}))).exact


# --- how far it reaches, literally ----------------------------------------------------------------------------


def hanging(*pairs: tuple[Fact, Fact]) -> Edges:
    """pg_depend: the first of each pair depends on the second."""
    edges = Edges()
    for left, right in pairs:
        for column, number in zip(edges.columns, (*left.address, *right.address), strict=True):
            column.append(number)
        edges.types.append(ord("n"))
    return edges


def test_reach_goes_from_object_to_object_and_leaves_out_an_objects_own_parts() -> None:
    orders, net = table(), column("net", 1)

    def view(name: str, oid: int) -> Fact:
        return Fact("view", f"app.{name}", {"definition": ""}, 1259, oid, schema="app", name=name)

    first, second, apart = view("first", 71), view("second", 72), view("apart", 73)
    key = {"definition": "", "comment": None}
    own = Fact("table constraint", "own on app.orders", key, 2606, 80, 0, 60, "app", "own", "app.orders")
    policy = Fact("policy", "p on app.orders", {"using": ""}, 3256, 90, 0, 60, "app", "p", "app.orders")
    there = snapshot_of([orders, net, first, second, apart, own, policy])
    there.raw_edges = hanging((first, net), (second, first), (first, second), (own, net), (policy, net))

    def found(key: Key) -> list[tuple[str, int, str]]:
        return [(each.key[1], each.depth, each.through[1]) for each in reach([key], there)]

    assert found(("table column", "app.orders.net"))[-1] == ("app.second", 2, "app.first")
    assert found(("table", "app.orders")) == [
        ("app.first", 1, "app.orders"),
        ("app.second", 2, "app.first"),
    ]
    assert found(("policy", "p on app.orders")) == [
        ("app.orders", 1, "p on app.orders"),
        ("app.first", 2, "app.orders"),
        ("app.second", 3, "app.first"),
    ]
    assert found(("view", "app.apart")) == found(("view", "app.nowhere")) == []


# --- a history in git, on a server -------------------------------------------------------------------------------

MORE = {
    "20260106100000_count_again.sql": """\
create or replace function public.count_notes(p bigint) returns bigint language sql stable
  as $$
    select count(*)
    from public.notes where person = p
  $$;
""",
    "20260107100000_names.sql": """\
alter table public.people
  alter column name set default 'nobody',
  alter column name set not null;
grant select on public.people to public;
comment on table public.people is 'Who writes';
""",
    "20260108100000_rename.sql": "alter table public.notes rename to remarks;\n",
}


def commit(folder: Path, message: str, author: str) -> None:
    who = ("-c", f"user.name={author}", "-c", "user.email=x@example.org")
    git(folder, *who, "commit", "-q", "-m", message, "--date", "2026-01-09T10:00:00Z")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Project]:
    """A project in git, its production with all migrations but the last, and changes made by hand. Only read."""
    project = Project.make(tmp_path_factory.mktemp("blame"), MIGRATIONS | MORE)
    production = server.create_database(name := f"blame_{uuid.uuid4().hex[:8]}")
    project.apply(production, sorted({**MIGRATIONS, **MORE})[:-1])
    project.settings({"production": production})
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=project.root, check=True)
    for author, names in {"Ann": sorted(MIGRATIONS), "Bob": sorted(MORE)}.items():
        git(project.root, "add", *(f"supabase/migrations/{name}" for name in names))
        commit(project.root, f"By {author}", author)
    with psycopg.connect(production, autocommit=True) as connection:
        connection.execute("alter table public.people alter column name drop not null")
        connection.execute("grant insert on public.people to public")
        connection.execute("create policy by_hand on public.notes using (true)")
        connection.execute("create policy watch on public.people using (true)")
    yield project
    server.drop_database(name)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Project
) -> Callable[..., Answer]:
    """The command line, run in this process in a project's folder."""

    def answer(*arguments: str, where: Project = project) -> Answer:
        monkeypatch.chdir(where.root)
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        return Answer(int(stop.value.code or 0), out, err)

    return answer


def shown(answer: Answer) -> list[str]:
    return [" ".join(line.split()) for line in answer.out.splitlines()]


def test_blame_and_describe_on_a_real_history(project: Project, run: Callable[..., Answer]) -> None:
    lines = shown(answer := run("blame", "production", "people"))
    assert answer.code == 0, answer.err
    by_bob = git(project.root, "log", "-1", "--format=%h", "--abbrev=8")[:8]
    assert lines[0] == "table public.people in production in supabase/migrations/"
    assert f"20260107100000_names.sql:2 {by_bob} Bob 2026-01-09 default 'nobody'::text" in lines
    assert f"20260107100000_names.sql:5 {by_bob} Bob 2026-01-09 comment Who writes" in lines
    assert f"20260107100000_names.sql:4 {by_bob} Bob 2026-01-09 grant GRANT SELECT TO PUBLIC" in lines
    assert "! not by any migration grant GRANT INSERT TO PUBLIC" in lines
    assert any(x.startswith("! ") and "not null none" in x for x in lines)
    assert any(
        x.startswith("20260101100000_people.sql:3 ") and "Ann" in x and "email text" in x for x in lines
    )
    assert any(x.startswith("20260105100000_people_name.sql:1 ") and "name text" in x for x in lines)
    assert "not as the recorded migrations make it; why: auditkit explain production" in answer.err

    body = [x for x in shown(run("blame", "production", "count_notes")) if " body " in x]
    assert [x.split()[0] for x in body] == [f"20260106100000_count_again.sql:{n}" for n in (3, 4)]

    document = run("blame", "production", "notes", "--json").json
    assert document["format"] == "auditkit.blame/1"
    by_hand = {x["identity"] for x in document["lines"] if x["status"] == "by_hand"}
    assert by_hand == {"by_hand on public.notes"}
    renamed = run("blame", "migrations", "public.remarks", "--json").json
    made = next(x for x in renamed["lines"] if x["part"] == "object")["migration"]
    assert (made["version"], made["line"], made["author"]) == ("20260102100000", 1, "Ann")
    assert [x["migration"]["version"] for x in renamed["lines"] if x["part"] == "renamed"][:1] == [
        "20260108100000"
    ]
    assert run("blame", "migrations@HEAD~1", "people", "--json").json["lines"]

    told = run("describe")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("production: 20260107100000_names +4 changes   fingerprint ")
    assert (
        "3 by no migration, 1 that undo or lack what migrations make, from 20260107100000_names on"
        in told.out
    )
    assert "1 later migration in the repository" in told.out
    exact = run("describe", "migrations", "--json").json["environments"]
    assert [(x["describe"], x["exact"]) for x in exact] == [("20260108100000_rename", True)]


def test_a_finding_is_followed_to_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    audit = auditkit.explain("production")
    jsonschema.validate(audit.document, schema())
    by_object = {f["objects"][0]["identity"]: f for f in audit.document["findings"]}
    people = by_object["public.people"]
    assert {(item["status"], tuple(item["parts"])) for item in people["blame"] if not item["migration"]} == {
        ("by_hand", ("grants", "policy watch"))
    }
    assert {i["migration"]["author"] for i in people["blame"] if i["migration"]} == {"Ann", "Bob"}
    events = [(e["what"].split(":")[0], e["who"]) for e in people["timeline"]]
    assert set(events[:-1]) == {("committed", "Ann"), ("committed", "Bob")}
    assert events[-1] == ("production was read for this audit", None)
    assert [(d["identity"], d["depth"]) for d in people["dependents"]] == [
        ("notes_person_fkey on public.notes", 1)
    ]
    assert by_object["watch on public.people"]["dependents"][0]["identity"] == "public.people"
    assert audit.worst in set(audit.findings.id)
    assert set(audit.blame.status) >= {"migration", "by_hand"}
    assert audit.only(focus=people["id"]).events.finding.unique().tolist() == [people["id"]]


def test_describe_answers_at_once_when_the_replay_is_kept(project: Project) -> None:
    assert project.run("describe", "production").code == 0

    def seconds() -> float:
        """Of the processor: the machine has other things to do, too."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert project.run("describe", "production").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(2)) < 1.5  # 0.6 s when nothing else runs


def test_frames_have_their_documented_columns(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    frame = auditkit.blame("production", "people")
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        name: {"str": str(frame.kind.dtype)}.get(dtype, dtype) for name, dtype in frames.BLAME.items()
    }
    assert set(frame[frame.part == "comment"].author) == {"Bob"}
    described = auditkit.describe()
    assert list(described.columns) == list(frames.DESCRIBE)
    assert described.changes.tolist() == [4]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("blame", "production", "peple"), 2, 'did you mean "table public.people"'),
        (("blame", "prodction", "people"), 2, "prodction"),
        (("blame", "migrations", "by_hand"), 2, "nothing is or was called 'by_hand'"),
        (("describe", "prodction"), 2, "prodction"),
        (("blame", "production"), 2, "Missing argument 'OBJECT'"),
    ],
)
def test_errors_are_visible(
    run: Callable[..., Answer], arguments: tuple[str, ...], code: int, says: str
) -> None:
    answer = run(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert says in answer.err and len(answer.err.splitlines()) == 1


def test_without_migrations_or_with_code_the_reason_is_visible(
    run: Callable[..., Answer], tmp_path: Path, database: str
) -> None:
    empty = Project(tmp_path / "empty")
    empty.settings({"production": database})
    for command in (("blame", "production", "x"), ("describe",)):
        answer = run(*command, where=empty)
        assert (answer.code, len(answer.err.splitlines())) == (2, 1)
        assert "no migrations found" in answer.err
    code = Project(tmp_path / "code")
    code.settings({"production": database}, '[migrations]\npath = "migrations"\ntool = "knex"')
    (code.root / "migrations").mkdir()
    (code.root / "migrations" / "20260101000000_a.js").write_text("exports.up = (knex) => null", "utf-8")
    for command in (("blame", "production", "x"), ("describe",)):
        answer = run(*command, where=code)
        assert (answer.code, answer.out) == (3, ""), answer.err
        assert "knex" in answer.err and "without a replay" in answer.err


def test_lines_that_were_never_committed_have_no_author(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    (tmp_path / "a.sql").write_text("select 1;\nselect 2;\n", "utf-8")
    git(tmp_path, "add", "a.sql")
    commit(tmp_path, "a", "Ann")
    repository, _ = open_repository(tmp_path)
    assert repository
    found = repository.blame("a.sql", b"select 1;\nselect 3;\n", [1, 2, 99])
    assert {line: commit.author for line, commit in found.items()} == {1: "Ann"}
    assert repository.blame("other.sql", b"x", [1]) == {}
