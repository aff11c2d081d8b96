"""What the rows of a catalog tell beyond their content: what was there before, and which cluster it is.

None of this is compared. A restore or an upgrade wipes most of it out, which is why ``auditkit.causes.calibration``
decides what may be believed. Everything is small: a few numbers per dropped column or odd label. When rows were
written is told by a witness, ``auditkit.history.witnesses.commit_times``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Snapshot

if TYPE_CHECKING:
    import psycopg

_ABOUT = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()),
           (SELECT oid::int8 FROM pg_database WHERE datname = current_database())"""

# Without an index to use, this reads pg_attribute once more: dropped columns and such are few, but anywhere.
_COLUMNS = """
    SELECT attrelid::int8, attnum::int4, attisdropped, xmin::text::int8 FROM pg_attribute
    WHERE attrelid >= 16384 AND attnum > 0 AND (attisdropped OR atthasmissing) ORDER BY 1, 2"""

# A label that was added between others has a fractional place; one that was added after CREATE TYPE an odd oid.
_LABELS = """
    SELECT enumtypid::int8, enumlabel::text, xmin::text::int8 FROM pg_enum
    WHERE enumtypid >= 16384 AND (enumsortorder <> trunc(enumsortorder) OR oid::int8 % 2 = 1) ORDER BY 1, 2"""

# CREATE INDEX writes all rows of an index in one transaction; what is done CONCURRENTLY takes several.
_REBUILT = """
    SELECT i.indexrelid::int8 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1
    WHERE i.indexrelid >= 16384 AND a.xmin <> i.xmin ORDER BY 1"""

# As the view pg_sequences does it: no error where the role may not ask.
_COUNTERS = """
    SELECT n.nspname || '.' || c.relname,
           CASE WHEN has_sequence_privilege(d.objid, 'SELECT, USAGE') THEN pg_sequence_last_value(d.objid) END
    FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_sequence s ON s.seqrelid = d.objid
    WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype IN ('a', 'i')
      AND n.nspname || '.' || c.relname = ANY (%s)"""

# As far as the statistics tell: no table is opened. A table that was never analysed has the rows that were counted.
_SIZES = """
    SELECT format('%I.%I', n.nspname, c.relname),
           (CASE WHEN c.reltuples > 0 THEN c.reltuples::int8 ELSE coalesce(pg_stat_get_live_tuples(c.oid), 0) END),
           greatest(c.relpages, 0) + greatest(coalesce(t.relpages, 0), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    WHERE c.relkind IN ('r', 'm', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't'"""


def read(connection: psycopg.Connection[Any], snapshot: Snapshot) -> dict[str, Any]:
    """What is to be kept beside *snapshot*, whose ledgers are read already.

    Keys, each only if it could be read: ``system`` (the cluster's identifier, kept by physical copies), ``database``
    (its oid), ``dropped`` and ``missing`` (``[relation, column number, transaction]`` of dropped columns, and of
    columns that old rows lack because they were added with a default), ``labels`` (``[type, label, transaction]`` of
    enum labels that were added later), ``rebuilt`` (indexes that one transaction did not make), ``counters`` (ledger →
    the last id handed out), ``vacant`` (how many places rows of ledgers have left: none if no row was ever updated or
    deleted), ``sizes`` (table → about how many rows and pages; a table that is not there is empty, as far as the
    statistics tell).
    """
    found: dict[str, Any] = {}
    with _allowed():
        system, database = connection.execute(_ABOUT).fetchall()[0]
        found |= {"system": system, "database": database}
    with _allowed():
        columns = connection.execute(_COLUMNS).fetchall()
        found["dropped"] = [[oid, number, xid] for oid, number, dropped, xid in columns if dropped]
        found["missing"] = [[oid, number, xid] for oid, number, dropped, xid in columns if not dropped]
    with _allowed():
        found["labels"] = [list(row) for row in connection.execute(_LABELS).fetchall()]
    with _allowed():
        found["rebuilt"] = [oid for (oid,) in connection.execute(_REBUILT).fetchall()]
    with _allowed():
        found["sizes"] = {
            table: [rows, pages]
            for table, rows, pages in connection.execute(_SIZES).fetchall()
            if rows or pages
        }
    if snapshot.ledgers:
        with _allowed():
            names = [f"{ledger['schema']}.{ledger['table']}" for ledger in snapshot.ledgers]
            counters = connection.execute(_COUNTERS, [names]).fetchall()
            found["counters"] = {name: last for name, last in counters if last is not None}
        with _allowed():
            found["vacant"] = sum(
                _vacant(connection, ledger) for ledger in snapshot.ledgers if ledger["rows"]
            )
    return found


def _vacant(connection: psycopg.Connection[Any], ledger: dict[str, Any]) -> int:
    """How many places of its pages a ledger has left: an updated row moves to a new one, a deleted one leaves its."""
    from psycopg import sql

    table = sql.Identifier(ledger["schema"], ledger["table"])
    query = sql.SQL(
        "SELECT coalesce(sum(last - rows), 0)::int4 FROM (SELECT count(*) AS rows, max((place::point)[1]) AS last "
        "FROM (SELECT ctid::text::point AS place FROM {}) AS t GROUP BY (place::point)[0]) AS pages"
    ).format(table)
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """What a server or a role does not give is simply not known: it is only ever a further sign."""
    import psycopg

    with contextlib.suppress(psycopg.Error):
        yield
