"""The judge of the tests of diff SQL: blind to what does not count, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable

import oracle
import psycopg
import pytest

COMMON = """
CREATE TYPE public.pair AS (x integer, y text);
CREATE FUNCTION public.f(a integer) RETURNS integer LANGUAGE sql AS $$
-- a comment that is part of the body

SELECT a $$;
"""
ONE = """
CREATE TABLE public.t (a integer NOT NULL, b text DEFAULT 'x, y)', CHECK (b <> 'it''s ('))
    WITH (fillfactor = 70, autovacuum_enabled = off);
ALTER TABLE public.t ALTER a SET STATISTICS 10, ALTER b SET STATISTICS 20;
CREATE TABLE public.u (c integer GENERATED ALWAYS AS (CASE WHEN true THEN 1 ELSE 2 END) STORED, d numeric(10,2));
CREATE VIEW public.v WITH (security_barrier, security_invoker) AS SELECT a, b FROM public.t;
GRANT SELECT, INSERT ON public.t TO pg_monitor;
GRANT SELECT ON public.t TO pg_read_all_data;
GRANT UPDATE (a, b) ON public.t TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT SELECT, DELETE ON TABLES TO pg_monitor;
"""
ANOTHER = """
CREATE TABLE public.u (d numeric(10,2), c integer GENERATED ALWAYS AS (CASE WHEN true THEN 1 ELSE 2 END) STORED);
CREATE TABLE public.t (gone date, b text DEFAULT 'x, y)', a integer NOT NULL)
    WITH (autovacuum_enabled = off, fillfactor = 70);
ALTER TABLE public.t DROP gone, ADD CHECK (b <> 'it''s (');
ALTER TABLE public.t ALTER b SET STATISTICS 20, ALTER a SET STATISTICS 10;
CREATE VIEW public.v WITH (security_invoker, security_barrier) AS SELECT a, b FROM public.t;
GRANT UPDATE (b) ON public.t TO pg_monitor;
GRANT UPDATE (a) ON public.t TO pg_monitor;
GRANT SELECT ON public.t TO pg_read_all_data;
GRANT INSERT ON public.t TO pg_monitor;
GRANT SELECT ON public.t TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;
"""
DIFFERENCES = [
    "ALTER TABLE t ALTER b SET DEFAULT 'x, y'",
    "ALTER TABLE u ALTER d TYPE numeric(12,2)",
    "ALTER TABLE t ALTER a DROP NOT NULL",
    "ALTER TABLE t ALTER a SET STATISTICS 11",
    "ALTER TABLE t SET (fillfactor = 71)",
    "ALTER TABLE t ADD CHECK (a > 0)",
    "ALTER TABLE t ADD UNIQUE (a)",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t OWNER TO pg_monitor",
    "ALTER TABLE t SET UNLOGGED",
    "COMMENT ON COLUMN t.a IS 'said'",
    "GRANT DELETE ON t TO pg_monitor",
    "REVOKE UPDATE (a) ON t FROM pg_monitor",
    "GRANT SELECT ON t TO pg_read_all_data WITH GRANT OPTION",
    "ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM pg_monitor",
    "ALTER VIEW v RESET (security_barrier)",
    "CREATE OR REPLACE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS $$\n-- another comment\n\nSELECT a $$",
    "DROP TYPE pair; CREATE TYPE pair AS (y text, x integer)",
    "CREATE SEQUENCE s",
]


def build(conninfo: str, *scripts: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for script in scripts:
            connection.execute(script)  # type: ignore[arg-type]
    return oracle.normalised_dump(conninfo)


def test_order_is_no_difference(databases: Callable[..., str]) -> None:
    assert build(databases(), COMMON, ONE) == build(databases(), COMMON, ANOTHER)


def test_an_empty_database_has_nothing_to_say(database: str) -> None:
    assert oracle.normalised_dump(database) == "\n"


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_everything_else_is_one(databases: Callable[..., str], difference: str) -> None:
    assert build(databases(), COMMON, ONE) != build(databases(), COMMON, ONE, difference)
