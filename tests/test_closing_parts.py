"""Small pieces of the SQL that closes differences, on facts that are written down here."""

from __future__ import annotations

from typing import Any

import pytest
from literal import snapshot_of

from auditkit.catalog import alter, belongings, create, sql
from auditkit.catalog.compare import compare
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact
from auditkit.resolve import closing, script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a integer", [("a integer", False)]),
        ("a integer DEFAULT 1, b text", [("a integer", True), ("b text", False)]),
        ("a numeric(10,2), b integer[] DEFAULT ARRAY[1, 2]", [("a numeric(10,2)", False), ("b integer[]", True)]),
        ("a text DEFAULT 'x, y DEFAULT '', (', OUT b integer", [("a text", True), ("OUT b integer", False)]),
        ('"in, DEFAULT" text DEFAULT f(1, (2)), VARIADIC c text[]',
         [('"in, DEFAULT" text', True), ("VARIADIC c text[]", False)]),
        (r"a text DEFAULT E'\', b text'::text", [("a text", True)]),
    ],
)  # fmt: skip
def test_parameters_of_a_function(text: str, expected: list[tuple[str, bool]]) -> None:
    assert alter.parameters(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "using"),
    [
        ("integer", "bigint", " USING c::bigint"),
        ("character varying(5)", "character varying(9)", ""),
        ("numeric(10,2)", "numeric(8,2)", ""),
        ("text", "integer", " USING c::integer"),
        ("jsonb", "text", " USING c::text"),
        ("json", "jsonb", " USING c::jsonb"),
        ("bigint", "jsonb", " USING c::text::jsonb"),
        ("integer", "uuid", " USING c::text::uuid"),
        ("integer[]", "text[]", " USING c::text[]"),
        ("integer[]", "text", " USING c::text"),
        ("text", "integer[]", " USING c::integer[]"),
        ("integer", "text[]", " USING c::text::text[]"),
        ("numeric(8,2)", "integer[]", " USING c::text::integer[]"),
        ("integer[]", "numeric", " USING c::text::numeric"),
        ("app.mood", "app.mood", " USING c::text::app.mood"),
        ("app.mood", "app.state", " USING c::text::app.state"),
        ("timestamp(3) without time zone", "date", " USING c::date"),
    ],
)
def test_how_values_change_their_type(old: str, new: str, using: str) -> None:
    assert alter.conversion("c", old, new) == using


@pytest.mark.parametrize(
    "body", ["", "x", "$", "a $$ b", "$auditkit$", "ends with $", "$$ $auditkit$ $auditkit0$", "\\"]
)
def test_dollar_quotes_hold_any_body(body: str, database: str) -> None:
    import psycopg

    with psycopg.connect(database) as connection:
        assert connection.execute(f"SELECT {sql.dollar(body)}".encode()).fetchone() == (body,)
        assert connection.execute(f"SELECT {sql.literal(body)}".encode()).fetchone() == (body,)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("work_mem", "7MB", "work_mem TO '7MB'"),
        ("search_path", 'app, "My Schema", "$user"', 'search_path TO app, "My Schema", "$user"'),
        ("search_path", "", "search_path TO ''"),
        ("search_path", '""', "search_path TO ''"),
        ("DateStyle", "German, DMY", "DateStyle TO 'German, DMY'"),
        ("app.it's", "it's", "app.\"it's\" TO 'it''s'"),
    ],
)
def test_settings(name: str, value: str, expected: str) -> None:
    assert create.setting(name, value) == expected


@pytest.mark.parametrize(
    ("labels", "wanted", "expected"),
    [
        (("a", "b"), ("a", "b", "c"), ["ADD VALUE 'c'"]),
        (("b",), ("a", "b"), ["ADD VALUE 'a' BEFORE 'b'"]),
        (("a", "d"), ("a", "b", "it's", "d"), ["ADD VALUE 'b' AFTER 'a'", "ADD VALUE 'it''s' AFTER 'b'"]),
        ((), ("a", "b"), ["ADD VALUE 'a'", "ADD VALUE 'b'"]),
        (("a", "b"), ("b", "a"), None),
        (("a", "b"), ("a",), None),
    ],
)
def test_labels_of_an_enum(
    labels: tuple[str, ...], wanted: tuple[str, ...], expected: list[str] | None
) -> None:
    found = alter._labels("t", labels, wanted)
    assert (found and [statement.text.removeprefix("ALTER TYPE t ") for statement in found]) == expected


# --- privileges


def grants(was: tuple[str, ...], now: tuple[str, ...], **options: Any) -> list[str]:
    fact = Fact("table", "app.t", {"owner": "owner", "grants": now})
    return [statement.text for statement in belongings.grants(fact, was, **options)]


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ((), ("GRANT SELECT TO a",), ["GRANT SELECT ON TABLE app.t TO a"]),
        (("GRANT INSERT, SELECT TO a",), ("GRANT SELECT TO a",), ["REVOKE INSERT ON TABLE app.t FROM a"]),
        (
            ("GRANT SELECT TO a WITH GRANT OPTION",),
            ("GRANT SELECT TO a",),
            ["REVOKE GRANT OPTION FOR SELECT ON TABLE app.t FROM a"],
        ),
        (
            ("GRANT SELECT TO a",),
            ("GRANT SELECT TO a WITH GRANT OPTION",),
            ["GRANT SELECT ON TABLE app.t TO a WITH GRANT OPTION"],
        ),
        ((), ("REVOKE DELETE FROM $owner",), ["REVOKE DELETE ON TABLE app.t FROM owner"]),
        (("REVOKE DELETE FROM $owner",), (), ["GRANT DELETE ON TABLE app.t TO owner"]),
        (
            ("GRANT SELECT TO a",),
            ('GRANT SELECT TO "B b"',),
            ["REVOKE SELECT ON TABLE app.t FROM a", 'GRANT SELECT ON TABLE app.t TO "B b"'],
        ),
    ],
)
def test_privileges(was: tuple[str, ...], now: tuple[str, ...], expected: list[str]) -> None:
    assert grants(was, now) == expected


def test_what_a_new_owner_held_is_the_owners() -> None:
    """ALTER … OWNER TO makes one entry of both, so nothing is left to be revoked, and nothing may be."""
    assert grants(("GRANT SELECT TO owner",), (), owner="owner", given_away=True) == []
    assert (
        grants(("GRANT SELECT TO owner", "REVOKE SELECT FROM $owner"), (), owner="owner", given_away=True)
        == []
    )
    assert grants(("GRANT SELECT TO a",), (), owner="owner", given_away=True) == [
        "REVOKE SELECT ON TABLE app.t FROM a"
    ]


def test_access_for_everybody_is_a_hazard() -> None:
    fact = Fact("table", "app.t", {"owner": "owner", "grants": ("GRANT SELECT TO PUBLIC",)})
    assert [h.code for s in belongings.grants(fact, None) for h in s.hazards] == ["OPENS_ACCESS"]


# --- names


@pytest.mark.parametrize(
    ("kind", "identity", "expected"),
    [
        ("table", "app.t", "DROP TABLE app.t"),
        ("table column", 'app.t."a.b"', 'ALTER TABLE app.t DROP COLUMN "a.b"'),
        ("composite type column", 'app."T.t"."x ""y"', 'ALTER TYPE app."T.t" DROP ATTRIBUTE "x ""y"'),
        ("table constraint", '"x on y" on app.t', 'ALTER TABLE app.t DROP CONSTRAINT "x on y"'),
        ("domain constraint", "c on app.d", "ALTER DOMAIN app.d DROP CONSTRAINT c"),
        ("policy", '"p on q" on app.t', 'DROP POLICY "p on q" ON app.t'),
        ("trigger", "tr on app.t", "DROP TRIGGER tr ON app.t"),
        ("aggregate", "app.rows()", "DROP AGGREGATE app.rows(*)"),
        ("foreign-data wrapper", "w", "DROP FOREIGN DATA WRAPPER w"),
        ("statistics object", "app.s", "DROP STATISTICS app.s"),
        ("publication namespace", "A b in publication Pub", 'ALTER PUBLICATION "Pub" DROP TABLES IN SCHEMA "A b"'),
    ],
)  # fmt: skip
def test_how_objects_are_dropped(kind: str, identity: str, expected: str) -> None:
    assert KINDS[kind].drop(identity) == expected


# --- scripts


def schema(name: str, comment: str | None = None) -> Fact:
    attributes = {"owner": "me", "grants": None, "comment": comment, "security_labels": None}
    return Fact("schema", name, attributes, schema=name, name=name)


def test_a_script_of_two_facts() -> None:
    before = snapshot_of([schema("stays"), schema("goes")], role="me")
    after = snapshot_of([schema("stays", "it's here"), schema("comes")], role="me")
    steps = closing.close(before, after, compare(before, after))
    assert [(step.action, step.sql.text) for step in steps] == [
        ("drop", "DROP SCHEMA goes"),
        ("create", "CREATE SCHEMA comes"),
        ("alter", "COMMENT ON SCHEMA stays IS 'it''s here'"),
    ]
    lines = [line for line in script.text(steps).splitlines() if line and not line.startswith("--")]
    assert lines == ["BEGIN;", *(f"{step.sql.text};" for step in steps), "COMMIT;"]
    assert closing.close(after, after, compare(after, after)) == []


def test_what_cannot_run_in_a_transaction_stands_alone() -> None:
    alone, usual = sql.Sql("ALTER TYPE t ADD VALUE 'x'", alone=True), sql.Sql("SELECT 1")
    steps = [closing.Step(statement, ("type", "t"), "alter") for statement in (usual, alone, usual)]
    lines = [line for line in script.text(steps).splitlines() if line and not line.startswith("--")]
    assert lines == [
        "BEGIN;",
        "SELECT 1;",
        "COMMIT;",
        "ALTER TYPE t ADD VALUE 'x';",
        "BEGIN;",
        "SELECT 1;",
        "COMMIT;",
    ]
