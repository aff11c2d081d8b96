"""What the server deparses otherwise once it has read it again is no difference: literal texts, then a dump of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from catalog import execute, snap

from auditkit.catalog.compare import compare
from auditkit.catalog.settled import settled
from auditkit.server import Server, find_binaries

V = "::character varying"
TEXTS = {
    f"((v)::text = ANY ((ARRAY['a'{V}, 'it''s'{V}])::text[]))": (
        f"((v)::text = ANY (ARRAY[('a'{V})::text, ('it''s'{V})::text]))"
    ),
    f"(ARRAY['a'{V}, \"an other\", t.w])::text[]": f"ARRAY[('a'{V})::text, (\"an other\")::text, (t.w)::text]",
    "(((a >= 1) AND (a <= 2)) AND (b > 0))": "((a >= 1) AND (a <= 2) AND (b > 0))",
    "((((a > 1) OR (b)) OR (c)) OR (d))": "((a > 1) OR (b) OR (c) OR (d))",
}
AS_THEY_ARE = [
    "(n = ANY (ARRAY[1, 2]))",
    "(ARRAY[(1 + 2), 3])::numeric[]",
    "((a > 1) AND ((b > 1) AND (c > 1)))",
    "(((a > 1) OR (b > 1)) AND (c > 1))",
    "((x = '((a) AND (b)) AND c'::text) AND (\"((a) AND (b)) AND\" > 1))",
    "(NOT ((a > 1) AND (b > 1)))",
]


@pytest.mark.parametrize(("text", "later"), TEXTS.items())
def test_a_text_is_taken_as_it_will_be_and_then_remains(text: str, later: str) -> None:
    assert settled(text) == later
    assert settled(later) == later


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_other_texts_are_taken_as_they_are(text: str) -> None:
    assert settled(text) == text


def test_only_a_body_that_is_no_string_was_deparsed() -> None:
    body = f"BEGIN\n  RETURN x = ANY ((ARRAY['a'{V}])::text[]);\nEND"
    assert settled(body, "body") == body
    assert settled(f"BEGIN ATOMIC{body}", "body") != f"BEGIN ATOMIC{body}"


SCHEMA = """
create domain code as varchar(5) check (value in ('x', 'y''z'));
create table t (
    v varchar(20), w varchar, x float, y float, d code,
    check (v in ('a', 'b')), check (v not in ('a', E'b\\\\c')), check (v in ('a', w)), check (d in ('x', 'y')),
    check (x between -90 and 90 and y between -180 and 180), check (x between 1 and 2 and y > 3 or (x = 4 or y = 5)),
    g text generated always as (case when v in ('a', 'b') and x between 1 and 2 and y = 1 then 'y' end) stored
);
create index i on t ((v in ('a', 'b'))) where x between 1 and 2 and v in ('a', 'b');
alter table t enable row level security;
create policy p on t using (v in ('a', 'b')) with check (x between 1 and 2 and w not in ('a', 'b'));
create view seen as
    select *, sum(x) over (order by y rows between 1 preceding and current row) as s from t
    where (v in ('a', 'b') or x between 1 and 2 and y = 3)
    and exists (select from t u where u.x between 1 and 2 and u.y = t.y);
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger t before insert on t for each row when (new.v in ('a', 'b')) execute function touch();
create rule r as on delete to t where old.x between 1 and 2 and old.v in ('a', 'b') do instead nothing;
create function f() returns bigint language sql
    begin atomic select count(*) from t where v in ('a', 'b') and x between 1 and 2 and y = 3; end;
"""


def test_a_dump_that_was_restored_gives_no_delta(server: Server, databases: Callable[..., str]) -> None:
    source, target = databases(), databases()
    execute(source, SCHEMA)
    bin = find_binaries(server.version // 10000).bindir
    dump = subprocess.run([bin / "pg_dump", "-d", source], capture_output=True, check=True).stdout
    load = [bin / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", target]
    subprocess.run(load, input=dump, capture_output=True, check=True)
    before, after = snap(source), snap(target)
    assert compare(before, after).deltas == []
    check = "select pg_get_expr(polqual, polrelid) from pg_policy"
    # What stays differs, or this test could not fail.
    assert _value(source, check) != _value(target, check)


def _value(conninfo: str, query: str) -> object:
    import psycopg

    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]
