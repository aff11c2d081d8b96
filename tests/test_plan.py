"""`auditkit plan`: every cause has its way out, a plan is a file that people read, and none is offered unrehearsed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from project import MIGRATIONS, Project

from auditkit.catalog.compare import Delta
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Case, Finding
from auditkit.causes.registry import CAUSES
from auditkit.causes.resolutions import CHOICES, RESOLUTIONS, choice
from auditkit.errors import ConfigError
from auditkit.history.migration import Migration
from auditkit.resolve.effects import Effect, fingerprint
from auditkit.resolve.plan import Plan, PlanStep, Resolved, load, read, to_toml
from auditkit.resolve.records import Book
from auditkit.resolve.rehearsal import begins_itself, pieces

FOUR = sorted(MIGRATIONS)[:4]


# --- tables ---------------------------------------------------------------------------------------------------------


def test_every_cause_has_its_resolutions() -> None:
    assert set(CHOICES) == set(CAUSES)
    for cause in CHOICES.values():
        assert {cause.default, *cause.others} <= set(RESOLUTIONS)
        assert cause.truth in ("migrations", "environment", "person")


@pytest.mark.parametrize(
    ("delta", "severity", "expected"),
    [
        (Delta("index", "public.i", "unexpected"), "medium", "pull"),
        (Delta("function", "public.f()", "changed", "body"), "high", "pull"),  # a hotfix may carry the load
        (Delta("function", "public.f()", "changed", "security_definer"), "medium", "revert"),
        (Delta("view", "public.v", "changed", "options"), "medium", "revert"),
        (Delta("table", "public.t", "changed", "row_security"), "critical", "revert"),
        (Delta("policy", "p on public.t", "changed", "using"), "medium", "revert"),
        (Delta("table", "public.t", "changed", "grants"), "medium", "revert"),
    ],
)
def test_what_opens_a_door_is_taken_back(delta: Delta, severity: str, expected: str) -> None:
    class Here(Snapshot):
        def get(self, kind: str, identity: str) -> Any:
            return SimpleNamespace(attributes={})

    finding = Finding("manual_change", "proven", "production", "", [delta.key], severity, deltas=[delta])
    case = Case("production", Here({}, {}), [delta], [])
    assert choice(finding, case).default == expected
    gone = Case("production", Snapshot({}, {}), [delta], [])
    assert choice(finding, gone).default == "revert"  # what the migrations make is made again


def test_an_effect_is_carried_over() -> None:
    here = {("table", "t"): {"owner": "a", "persistence": "permanent"}, ("index", "i"): {"definition": "x"}}
    shadow = {("table", "t"): {"owner": "b", "persistence": "permanent"}, ("index", "i"): {"definition": "x"}}
    after = {("table", "t"): {"owner": "b", "persistence": "unlogged"}, ("view", "v"): {"definition": "y"}}
    effect = Effect.between(shadow, after)
    assert effect.on(here) == {
        ("table", "t"): {"owner": "a", "persistence": "unlogged"},
        ("view", "v"): {"definition": "y"},
    }
    assert [(c["kind"], c["change"]) for c in effect.as_list()] == [
        ("index", "goes"),
        ("table", "changes"),
        ("view", "comes"),
    ]
    assert fingerprint(here) != fingerprint(effect.on(here))
    assert fingerprint(here) == fingerprint(dict(reversed(here.items())))


MIGRATION = Migration("20260101", "it's", "m.sql", "select 1;\nselect ';';", b"select 1")


@pytest.mark.parametrize(
    ("tool", "record", "forget"),
    [
        (
            "supabase",
            "INSERT INTO app.\"l\"\"x\" (version, name, statements) VALUES ('20260101', 'it''s', "
            "ARRAY['select 1', 'select '';''']::text[])",
            "version = '20260101'",
        ),
        ("dbmate", 'INSERT INTO app."l""x" (version) VALUES (\'20260101\')', "version = '20260101'"),
        (
            "goose",
            'INSERT INTO app."l""x" (version_id, is_applied) VALUES (20260101, true)',
            "version_id = 20260101",
        ),
        (
            "golang-migrate",
            'DELETE FROM app."l""x";\nINSERT INTO app."l""x" (version, dirty) VALUES (20260101, false)',
            "version = 20260101",
        ),
    ],
)
def test_ledger_rows_as_the_tool_writes_them(tool: str, record: str, forget: str) -> None:
    book = Book(tool, "app", 'l"x')
    assert book.record(MIGRATION) == record
    assert book.forget("20260101") == f'DELETE FROM app."l""x" WHERE {forget}'


def test_texts_are_sent_whole_or_in_pieces() -> None:
    assert pieces("select 1; select 2;", whole=True) == ["select 1; select 2;"]
    assert pieces("select 1; select ';';", whole=False) == ["select 1", "select ';'"]
    assert pieces(" \n", whole=True) == []
    assert begins_itself("-- x\nBEGIN;\nselect 1;\nCOMMIT;")
    assert not begins_itself("create function f() returns int begin atomic select 1; end; select 'begin'")


def a_plan(**changes: Any) -> Plan:
    step = PlanStep(1, "Undo: it", "sql", ["f-1"], sql="alter '''x';\n-- \\ \" \x01\n", back="a\nb\n", after="ff",
                    changes=[{"kind": "index", "identity": 'a."b\nc"', "change": "comes"}])  # fmt: skip
    finding = Resolved("f-1", "manual_change", "low", "T", "revert", "migrations", ("pull",))
    parts: dict[str, Any] = {"fingerprint": "aa", "created_at": "2026", "tool": "supabase", "ledger": "s.t"}
    return Plan(
        "production", "db", "migrations", findings=[finding], steps=[step], proof={"proven": True}, **parts
    )


def test_a_plan_survives_its_file_and_an_edited_one_is_refused(tmp_path: Path) -> None:
    made, file = a_plan(), tmp_path / "plan.toml"
    made.save(file)
    assert tomllib.loads(file.read_text("utf-8")) == made.as_dict()
    assert load(file).as_dict() == made.as_dict()
    file.write_text(file.read_text("utf-8").replace('resolution = "revert"', 'resolution = "pull"'), "utf-8")
    assert read(file)["findings"][0]["resolution"] == "pull"
    with pytest.raises(ConfigError, match=r"was edited .* `auditkit plan production --from .*plan.toml"):
        load(file)
    file.write_text("format = 'x'", "utf-8")
    with pytest.raises(ConfigError, match=r"is not a plan"):
        load(file)


def test_texts_stay_readable() -> None:
    text = to_toml({**a_plan().as_dict(), "notes": ["x"]})
    assert "back = '''a\nb\n'''" in text
    assert text.startswith("# A plan for production.")


# --- a drifted environment --------------------------------------------------------------------------------------------

BY_HAND = (
    "alter table public.notes disable row level security",
    "create index by_email on public.people (email)",
    "drop index public.notes_person",
)


@pytest.fixture
def drifted(tmp_path: Path, databases: Callable[..., str]) -> tuple[Project, str]:
    """Four of five migrations, and three changes by hand: one for each way out."""
    project, production = Project.make(tmp_path / "project"), databases("production")
    project.apply(production, FOUR)
    with psycopg.connect(production, autocommit=True) as connection:
        for statement in BY_HAND:
            connection.execute(statement.encode())
    project.settings({"production": production})
    return project, production


def written(conninfo: str) -> Any:
    with psycopg.connect(conninfo) as connection:
        return connection.execute(
            "select (select array_agg(version order by version) from supabase_migrations.schema_migrations), "
            "pg_current_snapshot()::text"
        ).fetchone()


def test_a_plan_of_all_ways_out(drifted: tuple[Project, str]) -> None:
    here, production = drifted
    before = written(production)
    answer = here.run("plan", "production", "--json", "-o", "plan.toml")
    assert answer.code == 0, answer.err
    assert written(production) == before  # not one transaction
    plan = answer.json
    assert {(f["cause"], f["resolution"]) for f in plan["findings"]} == {
        ("manual_change", "revert"),
        ("manual_change", "pull"),
        ("missing_migration", "push"),
    }
    undo, push, pull = plan["steps"]
    assert (undo["kind"], push["kind"], pull["kind"]) == ("sql", "file", "ledger")
    assert "ENABLE ROW LEVEL SECURITY" in undo["sql"]
    assert "DISABLE ROW LEVEL SECURITY" in undo["back"]
    assert undo["locks"] == {"public.notes": "AccessExclusiveLock"}
    assert push["sql"] == MIGRATIONS["20260105100000_people_name.sql"]
    assert "DROP COLUMN name" in push["back"]
    assert "DELETE FROM supabase_migrations.schema_migrations" in push["unrecord"]
    assert "by_email" in next(iter(pull["writes"].values()))
    assert not (here.root / next(iter(pull["writes"]))).exists()
    assert {k: plan["proof"][k] for k in ("proven", "left", "left_back", "unlike")} == {
        "proven": True,
        "left": [],
        "left_back": [],
        "unlike": [],
    }
    assert load(here.root / "plan.toml").digest == plan["digest"]


def test_choices_are_made_on_the_command_line_or_in_the_file(drifted: tuple[Project, str]) -> None:
    here, _ = drifted
    first = here.run("plan", "production", "-o", "plan.toml")
    assert first.code == 0
    (made,) = re.findall(r"(f-\w+)  pull \(or revert, accept, none\)", first.out)
    file = here.root / "plan.toml"
    text = file.read_text("utf-8")
    place = text.index(f'id = "{made}"')
    file.write_text(
        text[:place] + text[place:].replace('resolution = "pull"', 'resolution = "accept"', 1), "utf-8"
    )
    again = here.run("plan", "production", "--from", "plan.toml")
    assert again.code == 0, again.err
    assert f"{made}  accept" in again.out
    assert '  name = "public.by_email"' in again.out
    assert "pull_production" not in again.out
    undecided = here.run("plan", "production", "--resolve", f"{made}=none")
    assert undecided.code == 1
    assert undecided.err.splitlines() == [
        "not offered: left: unexpected: index public.by_email",
        f"not offered: decide about {made} (manual_change): --resolve {made}=pull|revert|accept",
    ]
    (late,) = re.findall(r"(f-\w+)  push", first.out)
    caught_up = here.run("plan", "production", "--resolve", f"{late}=reconcile")
    assert caught_up.code == 0, caught_up.err
    assert "ALTER TABLE public.people ADD COLUMN name" in caught_up.out
    assert "Record 20260105100000 as applied: what it makes is there now" in caught_up.out
    wrong = here.run("plan", "production", "--resolve", f"{made}=push")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == (
        f"auditkit: {made} (manual_change) cannot be resolved by 'push'; choose pull, revert, accept, none\n"
    )
    assert here.run("plan", "production", "--resolve", "f-none=pull").code == 2


def test_what_needs_a_migration_that_comes_too_late_is_made_with_it(
    tmp_path: Path, databases: Callable[..., str]
) -> None:
    files = {
        "20260101000000_t.sql": "create table public.t (a integer);",
        "20260102000000_b.sql": "alter table public.t add column b integer;",
        "20260103000000_wider.sql": "alter table public.t alter column b set default 1, alter column a type bigint;",
        "20260104000000_v.sql": "create view public.v as select a from public.t;",
    }
    here, production = Project.make(tmp_path / "project", files), databases("production")
    first, _, _, last = files
    here.apply(production, [first, last])
    here.settings({"production": production})
    refused = here.run("plan", "production")
    assert refused.code == 1
    advice = re.search(r"_wider\.sql\) fails: .*: --resolve (f-\w+)=reconcile", refused.err)
    assert advice is not None, refused.err
    plan = here.run("plan", "production", "--resolve", f"{advice[1]}=reconcile")
    assert plan.code == 0, plan.err
    recorded = re.findall(r"Record (\d+) as applied", plan.out)
    assert recorded == ["20260102000000", "20260103000000"]


def test_what_only_the_ledger_has_becomes_a_file(tmp_path: Path, databases: Callable[..., str]) -> None:
    """And an index that is not valid is made again; both on a history that has nothing pending."""
    here, production = Project.make(tmp_path / "project"), databases("production")
    here.apply(production)
    branch = "create view public.branch as select 1 as x"
    with psycopg.connect(production, autocommit=True) as connection:
        connection.execute(branch)
        connection.execute(
            "insert into supabase_migrations.schema_migrations values ('20260201000000', %s, 'branch')",
            [[branch]],
        )
        connection.execute("create view public.lost as select 2 as x")
        connection.execute(
            "insert into supabase_migrations.schema_migrations values ('20260202000000', null, 'lost')"
        )
        connection.execute(
            "update pg_index set indisvalid = false where indexrelid = 'public.notes_person'::regclass"
        )
    here.settings({"production": production})
    first = here.run("plan", "production", "--json")
    assert first.code == 1
    unknown = [f["id"] for f in first.json["findings"] if f["cause"] == "unknown_migration"]
    pull = [word for each in unknown for word in ("--resolve", f"{each}=pull")]
    answer = here.run("plan", "production", *pull, "--json")
    assert answer.code == 0, answer.err
    note, *rest = answer.json["steps"]
    assert note["writes"] == {"supabase/migrations/20260201000000_branch.sql": f"{branch};\n"}
    assert [step["kind"] for step in rest] == ["sql", "ledger", "ledger"]
    (file,) = rest[1]["writes"]
    assert rest[2]["title"] == f"Forget 20260202000000_lost, which has no file: {file} has what stays"
    assert "notes_person" in rest[0]["sql"]
    assert answer.err.splitlines()[1:] == [
        "note: public.notes_person was not valid, and nothing makes it so again: a rollback stops there"
    ]
