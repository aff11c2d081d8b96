"""Rows for a rehearsal: a few in every table that takes them, and what became of them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

_TABLES = """
    SELECT c.oid, format('%I.%I', n.nspname, c.relname),
           (SELECT string_agg(text, ' ') FROM (
               SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c'
               UNION ALL SELECT pg_get_expr(c.relpartbound, c.oid)) AS t (text))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY c.oid"""
_COLUMNS = """
    SELECT a.attrelid, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname),
           t.typcategory, a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',
           (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid IN (t.oid, b.oid))
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"""
#: The n-th value of a type. Equal numbers in all tables: so foreign keys hold without being looked at.
_VALUES = {
    "bool": "true",
    "uuid": "00000000-0000-0000-0000-00000000000{n}",
    "date": "2024-01-0{n}",
    "timestamp": "2024-01-0{n}",
    "timestamptz": "2024-01-0{n}",
    "time": "0{n}:00",
    "timetz": "0{n}:00+00",
    "interval": "{n} day",
    "json": '{{"v": {n}}}',
    "jsonb": '{{"v": {n}}}',
    "xml": "<v>{n}</v>",
    "bytea": "\\x0{n}",
    "inet": "10.0.0.{n}",
    "cidr": "10.0.{n}.0/24",
    "macaddr": "08:00:2b:01:02:0{n}",
    "point": "({n},{n})",
}

#: relation → number of rows (under "") and of values in each column.
Contents = dict[str, dict[str, int]]


def fill(connection: psycopg.Connection[Any]) -> Contents:
    """Put up to two rows into each table, whatever its triggers and foreign keys say; return what is in there."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET client_min_messages = error")
    tables = connection.execute(_TABLES).fetchall()
    columns = _columns(connection, [oid for oid, *_ in tables])
    for oid, table, rules in tables:
        # Values that CHECK constraints and partition bounds speak of have the best chance to satisfy them.
        words = re.findall(r"'[^']*'|\b\d+\b", rules or "")
        known = [near for word in words for near in _near(word.strip("'"))]
        for n in (1, 2):
            if not any(
                _insert(connection, table, columns.get(oid, []), n, word) for word in [None, *known, ""]
            ):
                break
    _advance(connection)
    connection.execute("RESET session_replication_role")
    connection.execute("RESET client_min_messages")
    return contents(connection)


def _advance(connection: psycopg.Connection[Any]) -> None:
    """Sequences that number rows go on after those that are there."""
    import psycopg

    owned = """
        SELECT DISTINCT s.oid::regclass::text FROM pg_class s JOIN pg_depend d ON d.objid = s.oid
        WHERE s.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"""
    for (name,) in connection.execute(owned).fetchall():
        with contextlib.suppress(psycopg.Error):  # two numbers are more than it has
            connection.execute("SELECT nextval(%s::regclass), nextval(%s::regclass)", [name, name])


def _near(word: str) -> list[str]:
    """A value that a rule speaks of, and for a number those beside it: the rule may be > or <."""
    return [word, str(int(word) + 1), str(max(int(word) - 1, 0))] if word.isdigit() else [word]


def _columns(connection: psycopg.Connection[Any], tables: list[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for oid, *column in connection.execute(_COLUMNS, [tables]).fetchall():
        found.setdefault(oid, []).append(column)
    return found


def _insert(
    connection: psycopg.Connection[Any], table: str, columns: list[Any], n: int, word: str | None
) -> bool:
    """Insert the *n*-th row, *word* being the value of what may be restricted; where it is "", as little as possible."""
    import psycopg

    given = [
        (name, type_name, _value(base, category, labels, n, word))
        for name, type_name, base, category, required, default, generated, labels in columns
        if not generated and (word is None or not default) and (word != "" or required)
    ]
    names = ", ".join(name for name, _, _ in given)
    places = ", ".join(f"(%s::text)::{type_name}" for _, type_name, _ in given)
    what = f"({names}) OVERRIDING SYSTEM VALUE VALUES ({places})" if given else "DEFAULT VALUES"
    try:
        connection.execute(f"INSERT INTO {table} {what}", [value for _, _, value in given])
    except psycopg.Error:  # it wants what cannot be guessed, and stays empty
        return False
    return True


def _value(base: str, category: str, labels: list[str] | None, n: int, word: str | None) -> str | None:
    if labels:
        return labels[(n - 1) % len(labels)]
    fits = {"N": r"\d+", "D": r"\d{4}-.*", "S": ".+"}
    if word and re.fullmatch(fits.get(category, "(?!)"), word, re.DOTALL):
        return word
    if base in _VALUES:
        return _VALUES[base].format(n=n)
    if category in "NSV" and base not in ("tsvector", "tsquery"):
        return "1" if category == "V" else str(n)
    return {"A": "{}", "R": "empty"}.get(category)


def contents(connection: psycopg.Connection[Any]) -> Contents:
    """How many rows each table holds, and how many values each column."""
    tables = connection.execute(_TABLES).fetchall()
    columns = _columns(connection, [oid for oid, *_ in tables])
    found: Contents = {}
    for oid, table, _ in tables:
        names = [name for name, *_ in columns.get(oid, [])]
        counts = ", ".join(["count(*)", *(f"count({name})" for name in names)])
        row = connection.execute(f"SELECT {counts} FROM ONLY {table}").fetchone()
        found[table] = dict(zip(["", *names], row or (), strict=True))
    return found


def lost(before: Contents, after: Contents) -> list[str]:
    """Tables and columns that are still there, with fewer rows or values than before."""
    return [
        f"{table}.{column}" if column else table
        for table, counts in before.items()
        for column, count in counts.items()
        if after.get(table, {}).get(column, count) < count
    ]
