"""benchmarks/root_cause.py judges the causes; here it is judged itself: its histories, its truths, its scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit.server import Server

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import root_cause  # noqa: E402
from root_causes.drafts import MAY, OPEN, Truth  # noqa: E402
from root_causes.facts import FACTS, TESTS  # noqa: E402
from root_causes.histories import ROLES, STYLES, generate  # noqa: E402
from root_causes.ledgers import TOOLS  # noqa: E402
from root_causes.scenarios import SCENARIOS  # noqa: E402
from root_causes.scoring import Score, judge  # noqa: E402

# --- histories


def test_a_seed_makes_one_history_and_another_seed_another() -> None:
    for style in STYLES:
        first, again, other = generate(style, 60, 1), generate(style, 60, 1), generate(style, 60, 2)
        assert [m.sql for m in first.migrations] == [m.sql for m in again.migrations]
        assert [t.label for t in first.things] == [t.label for t in again.things]
        assert [m.sql for m in first.migrations] != [m.sql for m in other.migrations]
        assert len(first.migrations) == 60


PLATFORM = """
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
"""

THERE = """
SELECT (pg_identify_object(classid, objid, objsubid)).type || ' ' || (pg_identify_object(classid, objid, objsubid)).identity
FROM (SELECT 'pg_class'::regclass AS classid, oid AS objid, 0 AS objsubid FROM pg_class
      UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped
      UNION ALL SELECT 'pg_proc'::regclass, oid, 0 FROM pg_proc
      UNION ALL SELECT 'pg_policy'::regclass, oid, 0 FROM pg_policy
      UNION ALL SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
      UNION ALL SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
      UNION ALL SELECT 'pg_type'::regclass, oid, 0 FROM pg_type
      UNION ALL SELECT 'pg_namespace'::regclass, oid, 0 FROM pg_namespace
      UNION ALL SELECT 'pg_extension'::regclass, oid, 0 FROM pg_extension
      UNION ALL SELECT 'pg_default_acl'::regclass, oid, 0 FROM pg_default_acl
      UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 0 FROM pg_statistic_ext) AS objects
"""


@pytest.fixture(scope="module")
def roles(server: Server) -> Iterator[None]:
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        made = [role for role in ROLES if role not in there]
        for role in made:
            connection.execute(f"CREATE ROLE {role}".encode())
        yield
        for role in made:
            connection.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize("style", STYLES)
def test_histories_run_and_make_what_they_say(
    server: Server, roles: None, databases: Callable[..., str], style: str
) -> None:
    history = generate(style, 60, 3)
    with psycopg.connect(databases(), autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute(PLATFORM)
        for migration in history.migrations:
            connection.execute(migration.sql.encode())
        there = {label for (label,) in connection.execute(THERE)}
    alive = {t.label for t in history.things if t.dropped is None and t.kind != "default acl"}
    dropped = {t.label for t in history.things if t.dropped is not None} - alive
    assert alive <= there
    assert not dropped & there


# --- cases


def test_all_62_scenarios_of_the_facts_are_inflicted_or_tested_and_sixty_more() -> None:
    assert sorted(FACTS) == list(range(1, 63))
    for number, (_, names) in FACTS.items():
        assert names or number in TESTS, number
        assert set(names) <= SCENARIOS.keys()
        numbered = {name for name in SCENARIOS if name.startswith(f"{number:02} ")}
        assert numbered <= set(names), number  # none has the number and is left out
    for test in TESTS.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), test
    covered = {name for _, names in FACTS.values() for name in names}
    assert len(SCENARIOS.keys() - covered) >= 60
    assert [case.scenarios for case in root_cause.plan_facts(1, [10, 50], list(TOOLS))] == [
        (name,) for name in dict.fromkeys(name for _, names in FACTS.values() for name in names)
    ]


def test_every_scenario_of_the_facts_finds_something_to_injure() -> None:
    for case in root_cause.plan_facts(1, [10, 50, 200], list(TOOLS)):
        root_cause.draw(case)  # raises NotHere


def test_a_seed_draws_the_same_cases() -> None:
    def drawn() -> list[Any]:
        cases = root_cause.plan(30, 5, ["*"], [10, 50], list(TOOLS))
        drafts = [root_cause.draw(case) for case in cases]
        return [(d.tool.name, d.history.seed, d.steps, d.hands, d.git, d.truths) for d in drafts]

    root_cause.history.cache_clear()
    first = drawn()
    root_cause.history.cache_clear()
    assert first == drawn()


def test_negatives_have_no_truth_and_injuries_have_one() -> None:
    cases = [
        root_cause.Case(number, 1, (name,), (50,), ("supabase", "prisma"))
        for number, name in enumerate(SCENARIOS)
        if number % 4 == 0
    ]
    for case in cases:
        try:
            draft = root_cause.draw(case)
        except root_cause.NotHere:
            continue
        assert bool(draft.truths) != SCENARIOS[case.scenarios[0]].negative


# --- scores

TABLE = "table app.t"


def finding(
    cause: str, migration: int | None, *objects: str, confidence: str = "consistent", or_else: str = ""
) -> dict[str, Any]:
    return {
        "cause": cause,
        "confidence": confidence,
        "migration": None if migration is None else {"version": str(migration), "name": "", "file": None},
        "objects": [
            {"kind": kind, "identity": identity} for kind, _, identity in (o.partition(" ") for o in objects)
        ],
        "alternatives": [{"cause": or_else, "says": ""}] if or_else else [],
    }


def blames(found: Any, culprit: int | str | None) -> bool:
    version = found["migration"] and found["migration"]["version"]
    return bool(version == (None if culprit is None else str(culprit)))


def score(findings: list[dict[str, Any]], *truths: Truth, bare: bool = False) -> Score:
    return judge(findings, truths, bare=bare, blames=blames)


def marks(scored: Score) -> list[tuple[bool, bool, str]]:
    return [(a.cause, a.culprit, a.status) for a in scored.answers]


MANUAL = Truth("p", "manual_change", (4, None), (TABLE,))
MISSING = Truth("p", "missing_migration", (7,), ("index app.i",))


def test_right_is_cause_and_culprit_on_the_object() -> None:
    scored = score(
        [finding("missing_migration", 7, "index app.i"), finding("manual_change", None, TABLE)],
        MANUAL,
        MISSING,
    )
    assert marks(scored) == [(True, True, "right")] * 2
    assert scored.right
    assert not scored.false


def test_a_wrong_cause_and_a_wrong_culprit_are_wrong() -> None:
    assert marks(score([finding("out_of_order", 4, TABLE)], MANUAL)) == [(False, True, "wrong")]
    assert marks(score([finding("manual_change", 5, TABLE)], MANUAL)) == [(True, False, "wrong")]
    assert marks(score([], MANUAL)) == [(False, False, "none")]


def test_a_finding_with_nothing_behind_it_is_false() -> None:
    scored = score([finding("manual_change", None, "table app.other", confidence="proven")])
    assert len(scored.false) == 1
    assert scored.calibration == [("proven", False)]
    assert not scored.right


def test_a_second_opinion_on_the_object_is_false() -> None:
    scored = score([finding("manual_change", 4, TABLE), finding("edited_after_apply", 4, TABLE)], MANUAL)
    assert marks(scored) == [(True, True, "right")]
    assert [f["cause"] for f in scored.false] == ["edited_after_apply"]


def test_one_finding_answers_two_truths_only_when_right_for_both() -> None:
    other = Truth("p", "missing_migration", (7,), (TABLE,))
    scored = score([finding("manual_change", 4, TABLE)], MANUAL, other)
    assert sorted(marks(scored)) == [(False, False, "none"), (True, True, "right")]


def test_a_truth_without_objects_is_found_by_its_culprit() -> None:
    overwritten = Truth("p", "missing_migration", (7,))
    assert marks(score([finding("missing_migration", 7)], overwritten)) == [(True, True, "right")]
    assert marks(score([finding("missing_migration", 8)], overwritten)) == [(False, False, "none")]


def test_what_cannot_be_known_fits_when_the_truth_is_an_alternative_and_nothing_is_proven() -> None:
    unsure = Truth("p", "recorded_not_applied", (4,), (TABLE,), bare=OPEN)
    told = finding("manual_change", 4, TABLE, or_else="recorded_not_applied")
    assert marks(score([told], unsure, bare=True)) == [(False, True, "fits")]
    assert marks(score([told], unsure)) == [(False, True, "wrong")]
    proven = {**told, "confidence": "proven"}
    assert marks(score([proven], unsure, bare=True)) == [(False, True, "not")]
    assert score([proven], unsure, bare=True).calibration == [("proven", False)]
    assert marks(score([finding("manual_change", 4, TABLE)], unsure, bare=True)) == [(False, True, "not")]


def test_what_need_not_be_seen_may_be_missing_but_not_called_something_else() -> None:
    invisible = Truth("p", "reverted_hotfix", (4,), (TABLE,), bare=MAY)
    assert score([], invisible, bare=True).right
    assert not score([], invisible).right
    assert score([finding("reverted_hotfix", 4, TABLE)], invisible, bare=True).right
    assert not score([finding("manual_change", 4, TABLE)], invisible, bare=True).right
