"""Preflight, deploy, verify: on real databases, in the order in which people do it, and with what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest
from project import MIGRATIONS, Project

from auditkit import audit, config
from auditkit.audit.gates import earlier
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Culprit
from auditkit.demo.files import git
from auditkit.history.files import load_migrations
from auditkit.history.ledgers import History
from auditkit.history.shadow import Failure, Step
from auditkit.history.states import states
from auditkit.report.document import schema
from auditkit.resolve import squawk
from auditkit.resolve.objections import GATES, OBJECTIONS, accepted
from auditkit.resolve.ready import ready
from auditkit.resolve.risks import Size, risks
from auditkit.resolve.watching import Outcome, Seen, Watched

OLD = [name for name in MIGRATIONS if name < "20260104"]
ORDERS = "20260106100000_orders.sql"
PENDING = {
    ORDERS: """\
create table public.orders (id bigint generated always as identity primary key, person bigint references public.people);
alter table public.orders enable row level security;
create policy own_orders on public.orders for select using (true);
create view public.order_count as select count(*) as n from public.orders;
""",
}


# --- what the rehearsal's sights are worth: literal ----------------------------------------------------------------

EMPTY = Snapshot({"server_version": 180000}, {})
BIG, SMALL = {"public.t": [5_000_000, 90_000]}, {"public.t": [10, 1]}


def outcome(*statements: Seen, sql: str = "", **more: Any) -> Outcome:
    step = Step("1", "a", sql, "m/1.sql", True)
    watched = Watched(step, EMPTY, EMPTY, [*statements], **more)
    return Outcome(EMPTY, EMPTY, [watched], [], True, "PostgreSQL 18", left_back=[])


def felt(found: Outcome, sizes: dict[str, list[int]] | None) -> list[tuple[str, str]]:
    here = Snapshot({}, {})
    here.physical = {} if sizes is None else {"sizes": sizes}
    here.get = lambda kind, identity: object() if kind == "table" else None  # type: ignore[assignment, method-assign]
    return [(o.cause, o.severity) for o in risks(found, "production", [Culprit("1", "a", "m/1.sql")], here)]


EXCLUSIVE = {"public.t": "AccessExclusiveLock"}
REWRITES = Seen(1, "alter table t …", EXCLUSIVE, ("public.t",), ("public.t",), waits="3s")
READS = Seen(2, "alter table t alter c set not null", EXCLUSIVE, (), ("public.t",), waits="3s")
BUILDS = Seen(3, "create index …", {"public.t": "ShareLock"}, (), ("public.t",), ("public.t",), waits="3s")
WAITS = Seen(4, "alter table t add c int", EXCLUSIVE)


@pytest.mark.parametrize(
    ("seen", "sizes", "expected"),
    [
        (REWRITES, BIG, [("rewrites_table", "high")]),
        (REWRITES, None, [("rewrites_table", "low")]),
        (REWRITES, SMALL, []),
        (READS, BIG, [("scans_under_lock", "medium")]),
        (BUILDS, BIG, [("blocks_writes", "high")]),
        (BUILDS, SMALL, []),
        (WAITS, BIG, [("no_lock_timeout", "low")]),
        (WAITS, None, []),
        (Seen(1, "select 1", {}, (), ("public.t",)), BIG, []),
    ],
)
def test_what_is_felt_depends_on_how_large_the_table_is(
    seen: Seen, sizes: dict[str, list[int]] | None, expected: list[tuple[str, str]]
) -> None:
    assert felt(outcome(seen), sizes) == expected


def test_a_lock_is_held_while_other_work_goes_on() -> None:
    other = Seen(5, "update b …", {}, (), ("public.b",), waits="3s")
    taken = Seen(1, "alter table t add c int", EXCLUSIVE, waits="3s")
    sizes = {**SMALL, "public.b": [9_000_000, 100_000]}
    assert felt(outcome(taken, other), sizes) == [("held_long", "medium")]
    assert felt(outcome(other, taken), sizes) == []  # the lock comes last


def test_a_failure_and_a_file_that_needs_autocommit() -> None:
    failure = Failure(0, 7, 'relation "x" does not exist', "42P01", "alter table x")
    assert felt(outcome(failure=failure), SMALL) == [("fails", "high")]
    statements = load_statement("create index concurrently i on t (c)")
    assert felt(outcome(alone=statements), SMALL) == [("needs_autocommit", "high")]


def load_statement(text: str) -> Any:
    from auditkit.history.split import split

    return split(text)[0]


def test_what_a_file_says_is_meant_is_information() -> None:
    text = "-- auditkit: accept rewrites_table, drops_data: nobody uses it\nalter table t …"
    assert accepted(text) == {"rewrites_table": "nobody uses it", "drops_data": "nobody uses it"}
    assert felt(outcome(REWRITES, sql=text), BIG) == [("rewrites_table", "info")]
    assert accepted("-- auditkit: accept rewrites_table") == {}, "without a reason it is not"


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (Size(), "nothing tells how large it is"),
        (Size(0, 0), "it is empty, as far as the statistics tell"),
        (Size(1, 1), "about 1 row, 8 kB"),
        (Size(5_000_000, 90_000), "about 5,000,000 rows, 703 MB"),
    ],
)
def test_sizes_in_words(size: Size, says: str) -> None:
    assert str(size) == says


def test_every_objection_has_its_gate_and_is_documented() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "deploy.md").read_text("utf-8")
    for kind in OBJECTIONS.values():
        assert kind.gate in GATES
        assert f"`{kind.name}`" in page


# --- files, versions, environments: literal ------------------------------------------------------------------------


def rows(*versions: str, statements: dict[str, list[str]] | None = None) -> History:
    found = []
    for n, version in enumerate(versions):
        text = (statements or {}).get(version)
        row: dict[str, Any] = dict.fromkeys(
            ("position", "applied_at", "checksum", "note", "done", "total", "applied_by")
        )
        row |= {"tool": "supabase", "table": "s.t", "version": version, "name": "", "state": "applied"}
        row |= {"statements": text, "xmin": n + 1, "age": -n, "recorded_as": "run"}
        found.append(row)
    return History("supabase", "s.t", tuple(found))


def objections(
    root: Path, files: dict[str, str], earlier: list[str], **histories: History
) -> list[tuple[str, str, str]]:
    project = Project.make(root, files)
    migrations = load_migrations(project.root)
    matrix = states(migrations, histories)
    return [(o.cause, o.severity, o.title) for o in ready(matrix, migrations, "production", earlier)]


FILES = {f"{n}_m{n}.sql": f"select {n};\n" for n in (1, 2, 3)}


def test_nothing_speaks_against_files_that_are_in_order(tmp_path: Path) -> None:
    assert objections(tmp_path, FILES, ["staging"], production=rows("1"), staging=rows("1", "2", "3")) == []


def test_what_was_not_tried_before(tmp_path: Path) -> None:
    assert objections(tmp_path, FILES, ["staging"], production=rows("1"), staging=rows("1", "2")) == [
        ("not_promoted", "medium", "3_m3 is not on staging yet, which comes before production")
    ]


def test_what_comes_late(tmp_path: Path) -> None:
    assert objections(tmp_path, FILES, [], production=rows("1", "3")) == [
        (
            "late_version",
            "medium",
            "supabase/migrations/2_m2.sql comes before 3, which production has applied already",
        )
    ]


def test_a_version_that_is_there_twice(tmp_path: Path) -> None:
    files = {**FILES, "3_other.sql": "select 33;\n"}
    found = objections(tmp_path, files, [], production=rows("1", "2"))
    assert [each[:2] for each in found] == [("duplicate_version", "high")]


def test_what_was_edited_after_it_was_tried(tmp_path: Path) -> None:
    applied = rows("1", "2", "3", statements={"1": ["select 1"], "2": ["select 2"], "3": ["select 'other'"]})
    found = objections(tmp_path, FILES, [], production=rows("1", "2"), staging=applied)
    assert [each[:2] for each in found] == [("edited_elsewhere", "high")]


def test_what_is_not_committed(tmp_path: Path) -> None:
    Project.make(tmp_path, FILES)
    git(tmp_path, "init", "-q")
    for command in (
        ["add", "."],
        ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "x"],
    ):
        git(tmp_path, *command)
    files = {**FILES, "2_m2.sql": "select 22;\n", "4_m4.sql": "select 4;\n"}
    found = objections(tmp_path, files, [], production=rows("1"))
    assert [each[0] for each in found] == ["uncommitted", "uncommitted"]
    assert found[0][2].endswith("is not as it was committed")
    assert found[1][2].endswith("is in no commit")


# --- on real databases ---------------------------------------------------------------------------------------------


@dataclass
class World:
    """A project whose production lacks migrations that staging has, under git."""

    project: Project
    staging: str
    production: str

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.production, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def commit(self) -> None:
        git(self.project.root, "add", ".")
        git(self.project.root, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "more")

    def preflight(self, **more: Any) -> dict[str, Any]:
        settings = config.load(self.project.root / "auditkit.toml")
        return checked(audit.preflight("production", settings=settings, **more).document)

    def verify(self, **more: Any) -> dict[str, Any]:
        settings = config.load(self.project.root / "auditkit.toml")
        before = str(self.project.root / "before.snapshot")
        return checked(audit.verify("production", before=before, settings=settings, **more).document)


def checked(document: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(document))
    jsonschema.validate(plain, schema())
    return plain


def found(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["cause"], f["severity"]) for f in document["findings"] if f["severity"] != "info"]


def gates(document: dict[str, Any], section: str) -> dict[str, str]:
    return {check["gate"]: check["state"] for check in document[section]["checks"]}


@pytest.fixture
def world(tmp_path: Path, databases: Callable[..., str]) -> Iterator[World]:
    project = Project.make(tmp_path / "shop", {name: MIGRATIONS[name] for name in OLD} | PENDING)
    (project.root / ".gitignore").write_text("auditkit.toml\n*.snapshot\n")
    staging = project.apply(databases("staging"))
    production = project.apply(databases("production"), OLD)
    project.settings({"staging": staging, "production": production})
    git(project.root, "init", "-q")
    made = World(project, staging, production)
    made.commit()
    yield made


def test_from_preflight_to_sign_off(world: World) -> None:
    file = str(world.project.root / "before.snapshot")
    before = world.preflight(snapshot=file)
    assert (before["verdict"], found(before)) == ("PASS", [])
    assert set(gates(before, "preflight").values()) == {"ok"}
    own = before["preflight"]
    assert own["order"] == ["staging", "production"]
    (pending,) = own["pending"]
    assert pending["ran"]
    assert {(d["kind"], d["identity"]) for d in pending["changes"]} >= {
        ("table", "public.orders"),
        ("view", "public.order_count"),
    }
    assert [(lock["relation"], lock["mode"]) for lock in pending["locks"]] == [
        ("public.people", "ShareRowExclusiveLock")
    ]
    assert own["rehearsal"]["back"] is True
    assert "DROP TABLE public.orders" in pending["back"]

    world.project.apply(world.production, [ORDERS])
    after = world.verify()
    assert (after["verdict"], found(after)) == ("PASS", [])
    assert set(gates(after, "deploy").values()) == {"ok"}
    expected = after["deploy"]["expected"]
    assert expected == {**expected, "fingerprint": own["expected"]["fingerprint"], "from": "preflight"}
    assert expected["actual"] == expected["fingerprint"]
    assert after["deploy"]["environments"] == [
        {"name": "staging", "head": "20260106100000", "lacks": [], "beyond": []}
    ]
    assert "DROP TABLE public.orders" in "\n".join(after["deploy"]["rollback"])
    assert after["deploy"]["back"] is True


def test_a_hotfix_that_slips_in_is_named_and_explained(world: World) -> None:
    """Also what ends a drift, and so leaves none that would tell."""
    world.sql("create view public.by_hand as select 1 as one")
    world.preflight(snapshot=str(world.project.root / "before.snapshot"))
    world.project.apply(world.production, [ORDERS])
    world.sql(
        "alter table public.people add column vip boolean",
        "alter table public.notes disable row level security",
        "drop view public.by_hand",
    )
    after = world.verify()
    assert after["verdict"] == "FAIL"
    assert {(d["kind"], d["identity"], d["attribute"]) for d in after["deploy"]["unintended"]} == {
        ("table column", "public.people.vip", None),
        ("table", "public.notes", "row_security"),
        ("view", "public.by_hand", None),
    }
    assert after["deploy"]["absent"] == []
    assert {(f["cause"], o["identity"]) for f in after["findings"] for o in f["objects"]} == {
        ("manual_change", "public.people.vip"),
        ("manual_change", "public.notes"),
        ("slipped_in", "public.by_hand"),
    }
    assert "3 changes nobody intended" in after["headline"]
    assert gates(after, "deploy")["schema"] == "bad"


def test_less_and_more_than_intended_and_another_text(world: World) -> None:
    """A view was not made, one migration left out, one deployed that was not to be, one edited meanwhile."""
    world.project.write("20260107100000_more.sql", "select 1;\n")
    world.commit()
    world.preflight(snapshot=str(world.project.root / "before.snapshot"))
    world.project.write(ORDERS, PENDING[ORDERS] + "create view public.late as select 2 as two;\n")
    world.project.write("20260108100000_beyond.sql", "create view public.more as select 1 as one;\n")
    world.project.apply(world.production, [ORDERS, "20260108100000_beyond.sql"])
    world.sql("drop view public.order_count")
    after = world.verify()
    assert after["verdict"] == "FAIL"
    assert [(d["identity"], d["change"]) for d in after["deploy"]["absent"]] == [
        ("public.order_count", "missing")
    ]
    assert {f["cause"] for f in after["findings"]} >= {"missing_migration", "not_intended", "file_changed"}
    bad = {"history": "bad", "rehearsal": "bad", "files": "bad"}
    assert gates(after, "deploy") | bad == gates(after, "deploy")


def test_the_rehearsal_is_one_of_this_very_environment(world: World) -> None:
    """From nothing the files run and lead to what they say; here somebody has made tables of those names."""
    soft = "create table if not exists public.soft (id bigint primary key, note text);\n"
    world.project.write("20260106090000_soft.sql", soft)
    world.commit()
    world.sql("create table public.orders (id int)", "create table public.soft (id bigint primary key)")
    document = world.preflight()
    first, second = document["preflight"]["pending"]
    assert first["ran"]
    assert second["failure"] == {"line": 1, "message": 'relation "orders" already exists'}
    assert ("fails", "high") in found(document)
    assert document["preflight"]["expected"] is None
    assert gates(document, "preflight") | {"schema": "bad", "rehearsal": "bad"} == gates(
        document, "preflight"
    )
    finding = next(f for f in document["findings"] if f["cause"] == "fails")
    assert (finding["migration"]["file"], finding["migration"]["line"]) == (
        f"supabase/migrations/{ORDERS}",
        1,
    )
    world.sql("drop table public.orders")
    assert ("leads_elsewhere", "high") in found(world.preflight())


def test_locks_rewrites_and_data_as_they_were_seen(world: World) -> None:
    text = """\
alter table public.notes add column token uuid not null default gen_random_uuid();
alter table public.people alter column email set not null;
create index people_email on public.people (email);
alter table public.notes drop column body;
drop view public.names; create view public.names as select email from public.people;
alter table public.notes add constraint positive check (person > 0) not valid;
"""
    world.project.write("20260106110000_heavy.sql", text)
    world.project.write(
        "20260106120000_concurrently.sql", "create index concurrently n on public.notes (person);\n"
    )
    world.project.write(
        "20260106130000_strict.sql", "alter table public.people add column born date not null;\n"
    )
    world.commit()
    world.sql(
        "create view public.names as select email from public.people",
        "grant select on public.names to public",
        "insert into public.people (email) select 'a' from generate_series(1, 150000)",
        "insert into public.notes (person, body) select 1, 'b' from generate_series(1, 10)",
        "analyze",
    )
    document = world.preflight()
    heavy, alone, strict = document["preflight"]["pending"][1:]
    assert heavy["ran"], heavy["failure"]
    assert heavy["rewritten"] == ["public.notes"]
    locks = {lock["relation"]: (lock["mode"], lock["rows"]) for lock in heavy["locks"]}
    assert locks["public.notes"] == ("AccessExclusiveLock", 10)
    assert locks["public.people"] == ("AccessExclusiveLock", 150_000)
    assert [seen["transaction"] for seen in alone["statements"]] == [None]
    assert strict["ran"], "without rows it runs"
    seen = {
        (f["cause"], f["migration"]["line"]): f["severity"]
        for f in document["findings"]
        if f.get("migration")
    }
    wanted = {
        ("blocks_writes", 3): "high",
        ("drops_data", 1): "medium",
        ("needs_autocommit", 1): "high",
        ("fails_on_rows", 1): "high",
        ("no_lock_timeout", 2): "low",
    }
    assert seen | wanted == seen
    assert ("rewrites_table", 1) not in seen, "the table is small"
    health = {f["cause"]: f for f in document["findings"] if f.get("gate") == "health"}
    assert set(health) == {"grants_lost", "not_validated"}
    (step,) = health["grants_lost"]["remedy"]["steps"]
    assert step["sql"] == "GRANT SELECT ON TABLE public.names TO PUBLIC;"


def test_an_earlier_environment_that_cannot_be_read(world: World) -> None:
    world.project.settings({"staging": "host=/nonexistent dbname=x", "production": world.production})
    document = world.preflight()
    assert document["verdict"] == "INCOMPLETE"
    assert gates(document, "preflight")["promotion"] == "unknown"
    assert "staging: its migration history" in document["headline"]


def test_without_the_ledger_nobody_knows(world: World) -> None:
    file = str(world.project.root / "before.snapshot")
    world.preflight(snapshot=file)
    world.sql("create role blind_one login")
    try:
        world.project.settings({"production": f"{world.production} user=blind_one"})
        before = world.preflight()
        assert before["verdict"] == "INCOMPLETE"
        assert {gates(before, "preflight")[gate] for gate in ("history", "files", "schema", "rehearsal")} == {
            "unknown"
        }
        after = world.verify()
        assert (after["verdict"], after["findings"]) == ("INCOMPLETE", [])
        assert set(gates(after, "deploy").values()) == {"unknown"}
        assert after["headline"].startswith(
            "Nobody knows what the deployment to production did: migration history"
        )
    finally:
        world.sql("drop role blind_one")


@pytest.mark.parametrize(
    ("order", "name", "before"),
    [
        ("", "production", ["test", "staging"]),
        ("", "staging", ["test"]),
        ("", "after", ["test", "staging"]),  # nothing is tried in production first
        ('order = ["staging", "test", "production"]', "production", ["staging", "test"]),
        ('order = ["staging", "production"]', "test", []),
    ],
)
def test_which_environments_come_before(tmp_path: Path, order: str, name: str, before: list[str]) -> None:
    names = {each: f"service={each}" for each in ("local", "test", "staging", "production", "after")}
    Project(tmp_path).settings(names, f"[fleet]\n{order}")
    assert earlier(config.load(tmp_path / "auditkit.toml"), name) == before


def test_the_linter_is_heard_beside(tmp_path: Path) -> None:
    Project.make(
        tmp_path, {"1_a.sql": "select 1;\nalter table b add column c int not null default random();\n"}
    )
    program = squawk.find(tmp_path)
    assert program, "squawk-cli is among the test requirements"
    says = squawk.lint(program, load_migrations(tmp_path), tmp_path, 170002)
    assert {"adding-field-with-default"} <= {item["rule"] for item in says}
    assert {(item["file"], item["line"]) for item in says} == {("supabase/migrations/1_a.sql", 2)}
