"""Rows for tables that somebody else thought up, and what became of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

TABLES = """
SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relkind = 'p' OR EXISTS (SELECT FROM pg_constraint
    WHERE conrelid = c.oid AND contype = 'f'), (SELECT string_agg(text, ' ') FROM (
        SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c'
        UNION ALL SELECT pg_get_expr(p.relpartbound, p.oid) FROM pg_class p JOIN pg_inherits ON inhrelid = p.oid
        WHERE inhparent = c.oid) AS t(text))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY 3, 1
"""
COLUMNS = """
SELECT quote_ident(attname), format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname), t.typcategory,
    attnotnull, atthasdef OR attidentity <> '', attgenerated <> '' OR attidentity = 'a',
    (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid IN (t.oid, b.oid)), attgenerated <> '',
    coalesce(e.typtype, t.typtype) = 'c'
FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
RELATIONS = """
SELECT c.oid, format('%I.%I', nspname, relname), relkind, coalesce(pg_partition_root(c.oid)::text,
    (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno LIMIT 1),
    c.oid::regclass::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
#: The i-th value of a type, as text that its input function reads.
VALUES = {
    "bool": "true",
    "uuid": "00000000-0000-0000-0000-00000000000{i}",
    "date": "2024-01-0{i}",
    "timestamp": "2024-01-0{i}",
    "timestamptz": "2024-01-0{i}",
    "time": "0{i}:00",
    "timetz": "0{i}:00+00",
    "interval": "{i} day",
    "json": '{{"v": {i}}}',
    "jsonb": '{{"v": {i}}}',
    "xml": "<v>{i}</v>",
    "bytea": "\\x0{i}",
    "inet": "10.0.0.{i}",
    "cidr": "10.0.{i}.0/24",
    "macaddr": "08:00:2b:01:02:0{i}",
    "point": "({i},{i})",
    "box": "({i},{i}),(0,0)",
    "hstore": "v=>{i}",
}


def fill(conninfo: str) -> None:
    """Put up to three rows into every table that accepts values made without knowing what they mean."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET statement_timeout = '3s'; SET client_min_messages = error")
        waiting = connection.execute(TABLES).fetchall()
        progress = True
        while waiting and progress:  # a table that refers to another one waits until that one has rows
            left = [table for table in waiting if not insert(connection, table[0], table[1], table[3] or "")]
            progress, waiting = len(left) < len(waiting), left


def insert(connection: psycopg.Connection[Any], oid: int, table: str, rules: str) -> bool:
    columns = connection.execute(COLUMNS, [oid]).fetchall()
    # Values that CHECK constraints and partition bounds speak of have the best chance to satisfy them.
    known = [word.strip("'") for word in re.findall(r"'[^']*'|\b\d+\b", rules)]
    inserted = 0
    for i in (1, 2, 3):
        for choice in [None, *known] if i == 1 or inserted else []:
            given = {
                name: value(choice, i, type_name, category, labels)
                for name, _, type_name, category, required, default, fixed, labels, *_ in columns
                if not fixed and (not default or (choice is None and not required))
            }
            names = ", ".join(given)
            places = ", ".join(f"(%s::text)::{column[1]}" for column in columns if column[0] in given)
            target = f"{table} ({names}) VALUES ({places})" if given else f"{table} DEFAULT VALUES"
            try:
                connection.execute(f"INSERT INTO {target}", list(given.values()))  # type: ignore[arg-type]
            except psycopg.Error:
                continue
            inserted += 1
            break
    return inserted > 0


def value(choice: str | None, i: int, type_name: str, category: str, labels: list[str] | None) -> str | None:
    if labels:
        return labels[(i - 1) % len(labels)]
    if choice is not None and (category == "S" or (category == "N" and choice.isdigit()) or category == "D"):
        return choice
    if type_name in VALUES:
        return VALUES[type_name].format(i=i)
    if category in "NSV" and type_name not in ("tsvector", "tsquery"):
        return "1" if category == "V" else str(i)
    return {"A": "{}", "R": "empty"}.get(category)


@dataclass(frozen=True)
class Rows:
    """What a relation holds: its number of rows, and of every column its type, filled values and a digest.

    ``root`` is the partitioned table on top: whoever speaks of it speaks of its partitions, and the other way round.
    """

    root: str
    spread: bool  # over partitions, which have rows of their own
    count: int
    columns: dict[str, tuple[str, int, str]]


def contents(conninfo: str) -> dict[str, Rows]:
    """Rows of all tables, and positions of all sequences (as rows), by qualified name."""
    found = {}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        relations = connection.execute(RELATIONS).fetchall()
        for oid, name, kind, root in relations:
            if kind == "S":
                position = connection.execute(f"SELECT last_value + is_called::int FROM {name}").fetchone()
                found[name] = Rows(root, False, position[0] if position else 0, {})
                continue
            columns = [
                row for row in connection.execute(COLUMNS, [oid]) if not row[8]
            ]  # not what is computed
            said = "".join(
                f", count({name}), md5(string_agg({name}::text, ',' ORDER BY {name}::text COLLATE \"C\"))"
                for name, *_ in columns
            )
            only = "ONLY " if kind == "r" else ""
            try:
                row = connection.execute(f"SELECT count(*){said} FROM {only}{name}").fetchone() or ()
            except psycopg.errors.ObjectNotInPrerequisiteState:  # a partition that is a foreign table
                continue
            values = {
                # a composite type's values read otherwise when it has another attribute
                column[0]: (column[1], row[1 + 2 * n], "" if column[9] else row[2 + 2 * n])
                for n, column in enumerate(columns)
            }
            found[name] = Rows(root, kind == "p", row[0], values)
    return found


def losses(before: dict[str, Rows], after: dict[str, Rows], kept_only: bool) -> Iterator[tuple[str, str]]:
    """(name, what was lost); with *kept_only* nothing of what does not exist any more.

    What is found under a name that is new was renamed, not lost.
    """
    new = [rows for name, rows in after.items() if name not in before]
    for name, was in before.items():
        if was.spread:
            continue
        now = after.get(name) or _most_alike(was, new)
        if now is None:
            if was.count and was.columns and not kept_only:
                yield name, f"{name} with {was.count} rows"
            continue
        if now.count < was.count:
            yield name, f"{name}: {was.count} → {now.count}"
        renamed = {values[1:] for column, values in now.columns.items() if column not in was.columns}
        for column, (type_name, filled, digest) in was.columns.items():
            if column not in now.columns:
                if filled and not kept_only and (filled, digest) not in renamed:
                    yield name, f"{name}.{column} with {filled} values"
            elif now.columns[column][1] < filled:
                yield name, f"{name}.{column}: {filled} → {now.columns[column][1]} values"
            elif now.columns[column][0] == type_name and now.columns[column][2] != digest:
                yield name, f"{name}.{column}: other values"


def _most_alike(was: Rows, others: list[Rows]) -> Rows | None:
    """The relation that holds most of the same columns' values, if any does (none was filled but by a rename)."""

    def shared(other: Rows) -> int:
        return len({values[1:] for values in was.columns.values() if values[1]} & _values(other))

    best = max(others, key=shared, default=None)
    return best if best and shared(best) else None


def _values(rows: Rows) -> set[tuple[int, str]]:
    return {values[1:] for values in rows.columns.values()}
