"""diff --sql --online: what keeps nobody waiting, in pieces that run, and what cannot be done so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from catalog import snap
from closes import psql
from oracle import normalised_dump
from tools import postgres_binaries

from auditkit import server as servers
from auditkit.catalog.compare import compare
from auditkit.resolve import closing, script
from auditkit.resolve.online import online

A = """
    CREATE TABLE r (id int, code text); CREATE TABLE t (id int, r int, x text, "Y" int, d date); CREATE INDEX gone ON t (x);
    CREATE INDEX again ON t (x); CREATE TABLE p (id int NOT NULL, x int) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
    CREATE VIEW v AS SELECT x FROM t; CREATE TABLE s (q int); CREATE TABLE f (p int);
    INSERT INTO r VALUES (1, 'a'); INSERT INTO t VALUES (1, 1, 'a', 5, now()); INSERT INTO p VALUES (1, 1)"""
B = """
    CREATE TABLE r (id int PRIMARY KEY, code text UNIQUE DEFERRABLE);
    CREATE TABLE t (id int NOT NULL PRIMARY KEY, r int NOT NULL REFERENCES r, x text CONSTRAINT x_there NOT NULL,
        "Y" int NOT NULL CHECK ("Y" > 0), d date, UNIQUE ("Y", x));
    CREATE INDEX again ON t (x, d); CREATE UNIQUE INDEX new ON t (x) WHERE d IS NOT NULL;
    COMMENT ON INDEX new IS 'said'; ALTER TABLE t ADD EXCLUDE (d WITH =); ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey;
    CREATE TABLE p (id int NOT NULL, x int CHECK (x > 0)) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE INDEX whole ON p (x); CREATE INDEX part ON p1 (id);
    CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNIQUE INDEX ON m (a); CREATE VIEW v AS SELECT x FROM t;
    CREATE TABLE s (q int GENERATED ALWAYS AS IDENTITY); CREATE TABLE made (id int PRIMARY KEY, r int REFERENCES r);
    ALTER TABLE p ADD PRIMARY KEY (id); CREATE TABLE f (p int REFERENCES p);
    CREATE INDEX on_made ON made (r); CREATE VIEW grouped AS SELECT id, x FROM t GROUP BY id"""


@pytest.fixture(scope="module", params=[14, 18])
def cluster(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(binaries=postgres_binaries(request.param), label="online") as started:
        yield started


def test_the_script_runs_and_leaves_nothing(cluster: servers.Server) -> None:
    sides = [cluster.create_database(name) for name in ("a", "b")]
    for conninfo, text in zip(sides, (A, B), strict=True):
        assert psql(conninfo, text) == ""
    before, after = map(snap, sides)
    steps = online(closing.close(before, after, compare(before, after)), before, after)
    assert psql(sides[0], script.text(steps)) == ""
    assert list(compare(snap(sides[0]), after)) == []
    assert normalised_dump(sides[0]) == normalised_dump(sides[1])
    alone = {step.sql.text for step in steps if step.sql.alone}
    for text in (
        "DROP INDEX CONCURRENTLY public.gone",
        "CREATE INDEX CONCURRENTLY again ON public.t USING btree (x, d)",
        "CREATE UNIQUE INDEX CONCURRENTLY new ON public.t USING btree (x) WHERE (d IS NOT NULL)",
        "CREATE UNIQUE INDEX CONCURRENTLY t_pkey ON public.t (id)",
        'CREATE UNIQUE INDEX CONCURRENTLY "t_Y_x_key" ON public.t ("Y", x)',
        "CREATE INDEX CONCURRENTLY part ON public.p1 USING btree (id)",
        "CREATE UNIQUE INDEX CONCURRENTLY m_a_idx ON public.m USING btree (a)",
        "ALTER TABLE public.t VALIDATE CONSTRAINT t_r_fkey",
        'ALTER TABLE public.t VALIDATE CONSTRAINT "t_Y_check"',
    ):
        assert text in alone
    assert not any("on_made" in text or "whole" in text or "made_" in text for text in alone)
    # Nothing that reads all rows of a table in use runs under a strong lock.
    for step in steps:
        codes = {hazard.code for hazard in step.sql.hazards}
        if (
            not step.sql.alone
            and step.key[1].endswith(("public.t", "public.r"))
            and "EXCLUDE" not in step.sql.text
        ):
            assert not codes & {"SCANS_TABLE", "BLOCKS_WRITES"}, step


def test_back_again(cluster: servers.Server) -> None:
    sides = [cluster.create_database(name) for name in ("b2", "a2")]
    for conninfo, text in zip(sides, (B, A), strict=True):
        assert psql(conninfo, text) == ""
    before, after = map(snap, sides)
    steps = online(closing.close(before, after, compare(before, after)), before, after)
    assert psql(sides[0], script.text(steps)) == ""
    assert list(compare(snap(sides[0]), after)) == []


def test_a_table_that_is_attached_brings_its_indexes(databases: Callable[..., str]) -> None:
    partitioned = "CREATE TABLE p (id int NOT NULL, x int) PARTITION BY RANGE (id); CREATE INDEX ix ON p (x)"
    part = "CREATE TABLE p1 (id int NOT NULL, x int)"
    sides = databases("a"), databases("b")
    assert psql(sides[0], f"{partitioned}; {part}; INSERT INTO p1 VALUES (1, 1)") == ""
    attach = "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (9)"
    assert psql(sides[1], f"{partitioned}; {part}; CREATE INDEX mine ON p1 (x); {attach}") == ""
    before, after = map(snap, sides)
    steps = online(closing.close(before, after, compare(before, after)), before, after)
    assert not any(step.sql.alone for step in steps)
    assert psql(sides[0], script.text(steps)) == ""
    assert list(compare(snap(sides[0]), after)) == []
