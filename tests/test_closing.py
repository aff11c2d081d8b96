"""The SQL that closes differences, for every kind: it runs as printed, and three judges find nothing left.

Everything runs on the default server; a seeded sample also on the other majors. AUDITKIT_TEST_ALL=1 runs all on all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import closes
import psycopg
import pytest
import schemas_random
import tools
from catalog import every_kind, execute, load, snap
from closes import Pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_catalog_mutations import MUTATIONS, ROLE_MUTATIONS

from auditkit import server as servers
from auditkit.catalog.snapshot import Snapshot
from auditkit.resolve import script
from auditkit.server import Server

ALL = os.environ.get("AUDITKIT_TEST_ALL") == "1"
OTHER_MAJORS = (14, 15, 16, 17)
SAMPLE = 5  # cases for each of the other majors, and mutations, where not everything is run

#: Cases that are not closed yet, or cannot be: why.
OPEN: dict[str, str] = {}


def named(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def marked(case: Path, *marks: pytest.MarkDecorator, major: int = 18) -> object:
    reason = OPEN.get(named(case))
    known = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
    return pytest.param(major, case, marks=[*marks, *known], id=f"{named(case)}-{major}")


def on_other_majors() -> Iterator[object]:
    for major in OTHER_MAJORS:
        found = [c for c in closes.cases() if closes.since(c) <= major and named(c) not in OPEN]
        chosen = found if ALL else sorted(random.Random(major).sample(found, SAMPLE))
        yield from (marked(case, pytest.mark.tools, pytest.mark.slow, major=major) for case in chosen)


@pytest.fixture(scope="session")
def pairs() -> Iterator[Callable[[int], Pair]]:
    """Two clusters of a major version, started when they are first asked for."""
    started: dict[int, Pair] = {}

    def get(major: int) -> Pair:
        if major not in started:
            started[major] = Pair(None if major == 18 else tools.postgres_binaries(major))
        return started[major]

    yield get
    for pair in started.values():
        pair.stop()


@pytest.mark.parametrize(("major", "case"), [*map(marked, closes.cases()), *on_other_majors()])
def test_both_ways(pairs: Callable[[int], Pair], major: int, case: Path) -> None:
    pair = pairs(major)
    try:
        sides = [pair.build(n, (case / f"{'ab'[n]}.sql").read_text("utf-8")) for n in (0, 1)]
        states = [closes.state(side) for side in sides]
        assert closes.differences(states[0].snapshot, states[1].snapshot) != [], "the sides are alike"
        found = [
            f"{'ab'[one]} → {'ab'[other]}: {problem}"
            for one, other in closes.ways(case)
            if (problem := closes.problem(sides[one], states[one], states[other]))
        ]
    finally:
        pair.clean()
    assert "\n\n".join(found) == ""


# --- every attribute of every kind -------------------------------------------------------------------------------

#: Changes that no SQL takes back, or that leave nothing to be closed: why.
NOT_CLOSED = {
    "UPDATE pg_index": "an index becomes invalid by accident only",
    "ALTER TABLE app.parent DROP COLUMN b, ADD": "it changes nothing but the order of columns",
    "ALTER TABLE app.events DETACH PARTITION app.events_rest": "attaching it again would give it an index of the "
    "partitioned index that was made with ONLY, and that would have to be made anew",
}
CHANGES = [change for change, expected in MUTATIONS if expected and not change.startswith(tuple(NOT_CLOSED))]
CHOSEN = CHANGES if ALL else sorted(random.Random(18).sample(CHANGES, 5 * SAMPLE))


@pytest.fixture(scope="module")
def mutants() -> Iterator[tuple[Server, dict[str, Snapshot]]]:
    """A server whose database ``mutant`` has every kind, and that database as it was when it was last whole."""
    settings = {"wal_level": "logical", "allow_system_table_mods": "on"}
    with servers.start(label="closing", settings=settings) as server:
        yield server, {}


def whole(server: Server, known: dict[str, Snapshot]) -> Snapshot:
    """The database with every kind, built again if a test left it in pieces."""
    if "mutant" not in known:
        closes.forget_subscriptions(server)
        server.drop_database("mutant")
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            for (role,) in connection.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384"):
                connection.execute(f"DROP ROLE {role}".encode())
        server.create_database("mutant")
        load(server, "mutant", every_kind(server.version // 10000))
        known["mutant"] = snap(server.conninfo("mutant"))
    return known.pop("mutant")


@pytest.mark.parametrize(
    "change", [*CHOSEN, *(change for change, _, _ in ROLE_MUTATIONS)], ids=lambda c: c[:60]
)
def test_every_mutation_is_closed(mutants: tuple[Server, dict[str, Snapshot]], change: str) -> None:
    """There, back, and there again; the last one leaves the database as it was found."""
    server, known = mutants
    before = whole(server, known)
    conninfo = server.conninfo("mutant")
    execute(conninfo, *change.split(";"))
    after = snap(conninfo)
    assert closes.differences(before, after) != []
    for now, goal in ((after, before), (before, after), (after, before)):
        _, text = closes.way(now, goal)
        assert (closes.psql(conninfo, text), text) == ("", text)
        reached = snap(conninfo)
        assert (closes.differences(reached, goal), text) == ([], text)
    known["mutant"] = reached


# --- random schemas ----------------------------------------------------------------------------------------------


@settings(
    max_examples=300 if ALL else 10,
    derandomize=os.environ.get("AUDITKIT_TEST_SEED") is None,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_random_edits_are_closed(pairs: Callable[[int], Pair], data: st.DataObject) -> None:
    schema = data.draw(schemas_random.schemas)
    sides = (schema, data.draw(schemas_random.edited(schema)))
    pair = pairs(18)
    try:
        conninfos = [pair.build(n, schemas_random.ddl(side)) for n, side in enumerate(sides)]
        states = [closes.state(conninfo) for conninfo in conninfos]
        for one, other in ((0, 1), (1, 0)):
            assert closes.problem(conninfos[one], states[one], states[other]) == ""
    finally:
        pair.clean()


# --- nothing to do -----------------------------------------------------------------------------------------------


def test_alike_databases_need_no_sql(pairs: Callable[[int], Pair]) -> None:
    """Every kind, on two clusters."""
    pair = pairs(18)
    text = "\n".join(path.read_text("utf-8") for path in every_kind(18))
    try:
        one, other = (snap(pair.build(n, text)) for n in (0, 1))
        assert [closes.way(one, other)[0], closes.way(other, one)[0]] == [[], []]
    finally:
        pair.clean()
    assert script.text([]) == ""
