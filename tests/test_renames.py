"""Renames: what is told, what a clone shows, what has the same shape; nothing is lost, and nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from catalog import execute, snap
from closes import psql
from oracle import normalised_dump

from auditkit import audit, config
from auditkit import server as servers
from auditkit.catalog.compare import Scope, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.errors import ConfigError
from auditkit.resolve import closing, renames, script
from auditkit.server import Server

Databases = Callable[..., str]


def steps_of(before: Snapshot, after: Snapshot, *told: str, guess: bool = True) -> list[closing.Step]:
    differences = compare(before, after)
    known = renames.told(told, before)
    first, then, rest = renames.recognise(before, after, differences, known=known, guess=guess)
    return first + closing.close(then, after, rest)


def done(a: str, b: str, *told: str, guess: bool = True) -> list[str]:
    """Turn the database *a* into *b*, which pg_dump judges; what was done, renames with their evidence."""
    steps = steps_of(snap(a), snap(b), *told, guess=guess)
    assert psql(a, script.text(steps)) == ""
    assert [d for d in compare(snap(a), snap(b)) if d.attribute != "position"] == []
    assert normalised_dump(a) == normalised_dump(b)
    return [f"{step.sql.text} -- {step.evidence}" if step.evidence else step.sql.text for step in steps]


def both(databases: Databases, a: str, b: str) -> tuple[str, str]:
    """Two databases made by scripts."""
    made = databases("a"), databases("b")
    for conninfo, text in zip(made, (a, b), strict=True):
        assert psql(conninfo, text) == ""
    return made


def one(conninfo: str, query: str) -> Any:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


#: What is renamed → script with ``{}`` for the name, its two names, and the statements that have to do.
PLACE, DEFINITION = "same place, type and properties", "same definition"
SHAPES = {
    "column": (
        """CREATE TABLE t (id int PRIMARY KEY, {} text NOT NULL, n int, g text GENERATED ALWAYS AS ({} || 'x') STORED);
        CREATE INDEX ix ON t ({}, lower({})); CREATE STATISTICS st ON {}, n FROM t;
        CREATE VIEW v AS SELECT id, {} AS kept FROM t; CREATE VIEW w AS SELECT {} AS z, count(*) AS n FROM t GROUP BY {};
        CREATE MATERIALIZED VIEW m AS SELECT t.{} AS a, v.kept FROM t JOIN v ON v.kept = t.{};
        CREATE POLICY p ON t USING ({} > 'a'); CREATE TRIGGER tr BEFORE UPDATE OF {} ON t FOR EACH ROW
        WHEN (new.{} > 'b') EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE TABLE c (k int) INHERITS (t); CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT {} FROM t; END""",
        ('"Old one"', "other"),
        [
            f'ALTER TABLE public.t RENAME COLUMN "Old one" TO other -- {PLACE}',
            "CREATE OR REPLACE FUNCTION public.f() RETURNS text LANGUAGE sql\nBEGIN ATOMIC\n SELECT t.other\n"
            "    FROM public.t;\nEND",
        ],
    ),
    "view column": (
        "CREATE TABLE t (id int, {} text); CREATE VIEW v AS SELECT id, {} FROM t; CREATE VIEW w AS SELECT {} AS a FROM v",
        ("x", "y"),
        [
            f"ALTER TABLE public.t RENAME COLUMN x TO y -- {PLACE}",
            f"ALTER VIEW public.v RENAME COLUMN x TO y -- {PLACE}",
        ],
    ),
    "referenced column": (
        "CREATE TABLE a ({} int PRIMARY KEY, z text); CREATE TABLE b (x int REFERENCES a ({}), {} text, n text)",
        ("x1", "id"),
        [
            f"ALTER TABLE public.a RENAME COLUMN x1 TO id -- {PLACE}",
            f"ALTER TABLE public.b RENAME COLUMN x1 TO id -- {PLACE}",
        ],
    ),
    "label": (
        "CREATE TYPE e AS ENUM ('a', '{}', 'c'); CREATE TABLE t (k e DEFAULT '{}' CHECK (k <> '{}'))",
        ("b", "it''s"),
        ["ALTER TYPE public.e RENAME VALUE 'b' TO 'it''s' -- same place among the same labels"],
    ),
    "enum": (
        "CREATE TYPE {} AS ENUM ('a', 'b'); CREATE TABLE t (k {} DEFAULT 'a', l {}[]); CREATE FUNCTION f({}) RETURNS int "
        "LANGUAGE sql AS 'SELECT 1'; CREATE VIEW v AS SELECT 'a'::{} AS k, f('b') AS f",
        ("mood", '"Mood"'),
        [f'ALTER TYPE public.mood RENAME TO "Mood" -- {DEFINITION}'],
    ),
    "schema": (
        "CREATE SCHEMA {}; CREATE TABLE {}.t (id serial PRIMARY KEY, x int); CREATE FUNCTION {}.f({}.t) RETURNS int "
        "LANGUAGE sql AS 'SELECT 1'; CREATE VIEW v AS SELECT *, {}.f(t) AS f FROM {}.t; GRANT USAGE ON SCHEMA {} TO public",
        ("old", "new"),
        ["ALTER SCHEMA old RENAME TO new -- same objects in it"],
    ),
    "index": (
        "CREATE TABLE t (id int, x text); CREATE UNIQUE INDEX {} ON t (x) WHERE id > 0",
        ("a", "b"),
        [f"ALTER INDEX public.a RENAME TO b -- {DEFINITION}"],
    ),
    "constraint": (
        "CREATE TABLE r (id int PRIMARY KEY); CREATE TABLE t (x int CONSTRAINT {} UNIQUE) PARTITION BY LIST (x); "
        "CREATE TABLE u (x int CONSTRAINT {} CHECK (x > 0), y int CONSTRAINT fk_{} REFERENCES r)",
        ("a", "b"),
        [
            f"ALTER TABLE public.t RENAME CONSTRAINT a TO b -- {DEFINITION}",
            f"ALTER TABLE public.u RENAME CONSTRAINT a TO b -- {DEFINITION}",
            f"ALTER TABLE public.u RENAME CONSTRAINT fk_a TO fk_b -- {DEFINITION}",
        ],
    ),
    "sequence": (
        "CREATE SEQUENCE {} START 5; CREATE TABLE t (id int DEFAULT nextval('{}'))",
        ("s1", "s2"),
        ["ALTER SEQUENCE public.s1 RENAME TO s2 -- same parameters and owner"],
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW {} AS SELECT 1 AS a, 2 AS b; CREATE VIEW v AS SELECT {}.a FROM {}, pg_class",
        ("m1", "m2"),
        ["ALTER MATERIALIZED VIEW public.m1 RENAME TO m2 -- same query"],
    ),
    "function": (
        "CREATE FUNCTION {}(a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 42'; CREATE TABLE t (x int DEFAULT {}(1)); "
        "CREATE INDEX ix ON t ({}(x))",
        ("f", "g"),
        ["ALTER FUNCTION public.f(integer) RENAME TO g -- same arguments and body"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_the_same_shape(databases: Databases, case: str) -> None:
    template, names, statements = SHAPES[case]
    a, b = both(databases, *(template.replace("{}", name) for name in names))
    kept = [text for text in done(a, b) if "_not_null" not in text]  # NOT NULL has a name since 18
    assert kept == statements


def test_a_table_takes_everything_along(databases: Databases) -> None:
    text = """CREATE TABLE {} (id serial PRIMARY KEY, x text NOT NULL, y int CHECK (y > 0), r int REFERENCES {});
        CREATE INDEX ix ON {} (x); CREATE VIEW v AS SELECT {}.id, c.relname FROM {} JOIN pg_class c ON c.oid = {}.id;
        CREATE POLICY p ON {} USING (EXISTS (SELECT FROM {} t2 WHERE t2.id = {}.y)); COMMENT ON TABLE {} IS '{}';
        CREATE FUNCTION f({}) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT ($1).id; END; INSERT INTO {} (x) VALUES ('a')"""
    a, b = both(databases, text.replace("{}", "people"), text.replace("{}", "persons"))
    assert [text for text in done(a, b) if "_not_null" not in text] == [
        "ALTER TABLE public.people RENAME TO persons -- same columns and constraints",
        "ALTER SEQUENCE public.people_id_seq RENAME TO persons_id_seq -- same parameters and owner",
        f"ALTER TABLE public.persons RENAME CONSTRAINT people_pkey TO persons_pkey -- {DEFINITION}",
        f"ALTER TABLE public.persons RENAME CONSTRAINT people_r_fkey TO persons_r_fkey -- {DEFINITION}",
        f"ALTER TABLE public.persons RENAME CONSTRAINT people_y_check TO persons_y_check -- {DEFINITION}",
        "COMMENT ON TABLE public.persons IS 'persons'",
    ]
    assert one(a, "SELECT count(*) FROM persons") == 1


UNDECIDED = {
    "two candidates": ("CREATE TABLE a (x int, y int)", "CREATE TABLE b (x int, y int); CREATE TABLE c (x int, y int)"),
    "one column": ("CREATE TABLE a (x int)", "CREATE TABLE b (x int)"),
    "another type": ("CREATE TABLE t (i int, x int)", "CREATE TABLE t (i int, y bigint)"),
    "another place": ("CREATE TABLE t (i int, x int, z text)", "CREATE TABLE t (i int, z text, y int)"),
    "added after a drop": (
        "CREATE TABLE t (i int, x int)",
        "CREATE TABLE t (i int, x int); ALTER TABLE t DROP x; ALTER TABLE t ADD y int",
    ),
    "another schema": (
        "CREATE SCHEMA s; CREATE TABLE s.t (x int, y int)",
        "CREATE SCHEMA s; CREATE TABLE u (x int, y int)",
    ),
    "two labels": ("CREATE TYPE e AS ENUM ('a', 'b')", "CREATE TYPE e AS ENUM ('c', 'd')"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDECIDED)
def test_what_is_not_clear_is_no_rename(databases: Databases, case: str) -> None:
    a, b = both(databases, *UNDECIDED[case])
    for before, after in ((a, b), (b, a)):
        assert [step for step in steps_of(snap(before), snap(after)) if step.action == "rename"] == []
    done(a, b)


def test_a_name_that_is_taken_is_not_given_again(databases: Databases) -> None:
    view = "CREATE VIEW b AS SELECT 1 AS n"
    a, b = both(databases, f"CREATE TABLE a (x int, y int); {view}", "CREATE TABLE b (x int, y int)")
    assert done(a, b) == [
        "DROP VIEW public.b",
        "DROP TABLE public.a",
        "CREATE TABLE public.b (x integer, y integer)",
    ]


def test_it_can_be_switched_off(databases: Databases) -> None:
    a, b = both(databases, "CREATE TABLE a (x int, y int)", "CREATE TABLE b (x int, y int)")
    assert done(a, b, guess=False) == [
        "DROP TABLE public.a",
        "CREATE TABLE public.b (x integer, y integer)",
    ]


# --- clones ------------------------------------------------------------------------------------------------------

GROUND = """
    CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, x text, y int); CREATE TABLE s.u (a int, b text);
    CREATE TYPE s.e AS ENUM ('a', 'b'); CREATE VIEW s.v AS SELECT id, x FROM s.t; CREATE INDEX ix ON s.t (x);
    INSERT INTO s.t (x) VALUES ('kept'); INSERT INTO s.u VALUES (1, 'kept'); CREATE TABLE s.last ()"""


def test_a_clone_knows_its_objects_whatever_else_changed(server: Server, databases: Databases) -> None:
    original = databases("original")
    assert psql(original, GROUND) == ""
    with psycopg.connect(original) as connection:
        name = connection.info.dbname
    clone = databases("clone", template=name)
    execute(
        clone,
        "ALTER TABLE s.t RENAME TO people",
        "ALTER TABLE s.people ADD z int, ALTER y TYPE bigint",
        "ALTER TABLE s.people RENAME x TO name",
        "ALTER TABLE s.u SET SCHEMA public",
        "ALTER TYPE s.e RENAME TO mood",
        "ALTER TYPE s.mood ADD VALUE 'c'",
        "ALTER INDEX s.ix RENAME TO by_name",
        "CREATE TABLE s.t (other int)",
    )
    said = [text for text in done(original, clone) if " -- " in text]
    assert [text.partition(" -- ")[0] for text in said] == [
        "ALTER TYPE s.e RENAME TO mood",
        "ALTER TABLE s.t RENAME TO people",
        "ALTER TABLE s.u SET SCHEMA public",
        "ALTER TABLE s.people RENAME COLUMN x TO name",
        "ALTER INDEX s.ix RENAME TO by_name",
    ]
    assert [text for text in said if "same object in a clone: oid " not in text] == []
    assert one(original, "SELECT name FROM s.people") == one(original, "SELECT b FROM u") == "kept"


def test_what_is_not_compared_is_not_renamed(databases: Databases) -> None:
    original = databases("original")
    assert psql(original, GROUND) == ""
    with psycopg.connect(original) as connection:
        name = connection.info.dbname
    clone = databases("clone", template=name)
    execute(
        clone, "ALTER TABLE s.t RENAME TO people", "ALTER TABLE s.u RENAME TO more", "CREATE TABLE x (i int)"
    )
    before, after = snap(original), snap(clone)
    scope = Scope(rules=(config.IgnoreRule("not mine", name="people"),))
    differences = compare(before, after, scope=scope)
    first, *_ = renames.recognise(
        before, after, differences, again=lambda snapshot: compare(snapshot, after, scope=scope)
    )
    assert [step.sql.text for step in first] == ["ALTER TABLE s.u RENAME TO more"]


def test_equal_numbers_by_chance_are_no_clone() -> None:
    """The same script on two new clusters gives the same oids and transactions, until it is another script."""
    sides = []
    for table in ("old (p int, q int)", "new (p bigint, q text)"):
        with servers.start(label="renames") as one:
            conninfo = one.create_database("side")
            assert psql(conninfo, f"{GROUND}; CREATE TABLE s.{table}; CREATE TABLE s.further ()") == ""
            sides.append(snap(conninfo))
    old, new = sides[0].get("table", "s.old"), sides[1].get("table", "s.new")
    assert old is not None
    assert new is not None
    assert (old.address, old.rows) == (new.address, new.rows)
    assert [step for step in steps_of(*sides) if step.action == "rename"] == []


# --- told --------------------------------------------------------------------------------------------------------


def test_the_user_knows_best(databases: Databases) -> None:
    a, b = both(
        databases,
        """CREATE TABLE a (x int, y int); INSERT INTO a VALUES (1, 2); CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE k (m mood)""",
        """CREATE SCHEMA s; CREATE TABLE s.b (x bigint, z int, n int); CREATE TYPE mood AS ENUM ('blue', 'fine', 'new');
        CREATE FUNCTION s.g(int) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE TABLE k (m mood)""",
    )
    told = (
        "table:public.a=s.b",
        "column:public.a.y=z",
        "label:public.mood.sad=blue",
        "label:public.mood.ok=public.mood.fine",
        "function:public.f(integer)=s.g(integer)",
    )
    assert [text for text in done(a, b, *told) if "told" in text] == [
        "ALTER TYPE public.mood RENAME VALUE 'sad' TO 'blue' -- told by --rename",
        "ALTER TYPE public.mood RENAME VALUE 'ok' TO 'fine' -- told by --rename",
        "ALTER TABLE public.a SET SCHEMA s -- told by --rename",
        "ALTER TABLE s.a RENAME TO b -- told by --rename",
        "ALTER FUNCTION public.f(integer) SET SCHEMA s -- told by --rename",
        "ALTER FUNCTION s.f(integer) RENAME TO g -- told by --rename",
        "ALTER TABLE s.b RENAME COLUMN y TO z -- told by --rename",
    ]
    assert one(a, "SELECT z FROM s.b") == 2


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("public.a=b", "must be KIND:OLD=NEW"),
        ("table:public.a", "must be KIND:OLD=NEW"),
        ("tabel:public.a=b", "unknown kind 'tabel'; did you mean 'table'?"),
        ("role:x=y", "a role is not renamed by auditkit"),
        ("table:public.x=b", "there is no table public.x on the left"),
        ("column:public.a.z=y", "there is no column public.a.z on the left"),
        ("label:public.e.x=y", "there is no label public.e.x on the left"),
        ("table:public.a=c", "there is no table public.c on the right"),
        ("column:public.a.x=z", "there is no table column public.a.z on the right"),
        ("label:public.e.a=z", "there is no type public.e.z on the right"),
        ("table:public.a=taken", "the name taken is taken on the left"),
    ],
)
def test_what_is_told_must_be_there(databases: Databases, told: str, says: str) -> None:
    a, b = both(
        databases,
        "CREATE TABLE a (x int, y int); CREATE VIEW taken AS SELECT 1; CREATE TYPE e AS ENUM ('a', 'b')",
        "CREATE TABLE b (x int, y int); CREATE TYPE e AS ENUM ('a', 'b')",
    )
    with pytest.raises(ConfigError, match=says.replace("(", r"\(").replace("?", r"\?")):
        steps_of(snap(a), snap(b), told)


# --- as it is shown ----------------------------------------------------------------------------------------------


def test_the_document_and_the_script_say_why(databases: Databases) -> None:
    a, b = both(databases, "CREATE TABLE a (x int, y int)", "CREATE TABLE b (x int, y int)")
    settings = config.load()
    document = audit.diff(settings.source(a), settings.source(b), settings, sql=True, prove=True)
    assert json.loads(json.dumps(document["steps"])) == [
        {
            "sql": "ALTER TABLE public.a RENAME TO b",
            "action": "rename",
            "kind": "table",
            "identity": "public.b",
            "transaction": True,
            "hazards": [],
            "evidence": "same columns and constraints",
        }
    ]
    assert (
        "-- renamed, not dropped and created: same columns and constraints; --no-renames to drop and create\n"
        "ALTER TABLE public.a RENAME TO b;\n"
    ) in document["sql"]
    assert document["proof"]["proven"]
    back = document["proof"]["back"]["steps"]
    assert [(step["action"], step["sql"]) for step in back] == [
        ("rename", "ALTER TABLE public.b RENAME TO a")
    ]
