"""Our own log of changes to the schema, where somebody has installed it (``ddl_log_sql``)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Snapshot
from auditkit.history.witnesses.ddl_log_sql import COLUMNS, TABLE
from auditkit.history.witnesses.testimony import Key, Testimony, masked

if TYPE_CHECKING:
    import psycopg

#: Statements in transactions that no migration was recorded in come first: who made those is what is asked.
_READ = """
    SELECT to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           (t.xid::text::numeric %% 4294967296)::int8, t.xmin::text::int8,
           t.cluster IS NOT DISTINCT FROM (SELECT system_identifier FROM pg_control_system()),
           left(t.role, 200), left(t.login, 200), host(t.client), left(t.application, 200), left(t.tag, 100),
           t.dropped, left(t.statement, 4000), t.objects::text
    FROM {schema}.{table} AS t
    ORDER BY (t.xid::text::numeric %% 4294967296)::int8 = ANY (%s::int8[]), t.id DESC LIMIT %s"""

_ABOUT = """
    SELECT count(*)::int8, to_char(min(t.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM {schema}.{table} t"""

_ALLOWED = "SELECT has_schema_privilege(%s, 'USAGE') AND has_table_privilege(%s::oid, 'SELECT'), current_user"


def place(snapshot: Snapshot) -> tuple[str, str, int] | None:
    """Schema, table and oid of the log; None if there is none.

    Its columns give it away, and that event triggers write to it: only a superuser can make those, so nobody else
    can pass off a table as the log, or a schema as the log's.
    """
    tables, columns = snapshot.tables.get("table"), snapshot.tables.get("table column")
    if tables is None or columns is None or TABLE not in tables.names:
        return None
    for i, (name, schema) in enumerate(zip(tables.names, tables.schemas, strict=True)):
        if name == TABLE and schema and _fired(snapshot, schema):
            own = [n for n, parent in zip(columns.names, columns.parents, strict=True)
                   if parent == tables.identities[i]]  # fmt: skip
            if sorted(map(str, own)) == sorted(COLUMNS):
                return schema, TABLE, tables.oids[i]
    return None


def triggers(snapshot: Snapshot) -> list[Key]:
    """The log's event triggers, which are in no schema."""
    found = place(snapshot)
    return _fired(snapshot, found[0]) if found else []


def _fired(snapshot: Snapshot, schema: str) -> list[Key]:
    """The event triggers that write to a log in *schema*."""
    functions = (fact for fact in snapshot.iter("event trigger"))
    return [fact.key for fact in functions if fact.attributes.get("function") == f"{schema}.record_ddl()"]


def read(connection: psycopg.Connection[Any], snapshot: Snapshot, limit: int) -> dict[str, Any] | None:
    """The record of the log: see ``witnesses.read``."""
    from psycopg import sql

    found = place(snapshot)
    if found is None:
        return None
    schema, table, oid = found
    label = f"{schema}.{table}"
    allowed, role = connection.execute(_ALLOWED, (schema, oid)).fetchone() or (False, "")
    if not allowed:
        return {
            "source": label,
            "denied": {
                "what": f"the DDL log {label}",
                "why": f"role {role} may not read it",
                "fix": f'GRANT USAGE ON SCHEMA {schema} TO "{role}"; GRANT SELECT ON {label} TO "{role}"',
            },
        }
    names = {"schema": sql.Identifier(schema), "table": sql.Identifier(table)}
    count, since = connection.execute(sql.SQL(_ABOUT).format(**names)).fetchone() or (0, None)
    recorded = [row["xmin"] for ledger in snapshot.ledgers for row in ledger["rows"] if row.get("xmin")]
    rows = connection.execute(sql.SQL(_READ).format(**names), (recorded, limit)).fetchall()
    older = snapshot.manifest["server_version"] < 170000
    cut = f"{len(rows)} of {count} statements were read, the latest ones" if count > len(rows) else None
    testimonies = [_testimony(label, row, older) for row in rows]
    return {"source": label, "since": since, "count": count, "cut": cut, "rows": testimonies}


def _testimony(label: str, row: tuple[Any, ...], older: bool) -> Testimony:
    at, xid, own, here, role, login, client, application, tag, dropped, statement, objects = row
    return Testimony(
        witness="ddl_log",
        source=label,
        at=at,
        role=role,
        session_user=login,
        client=client,
        application=application or None,
        command=tag,
        statement=masked(statement or "") or None,
        # A log that came from another cluster, by a restore or an upgrade, speaks of that one's transactions.
        xid=xid if here else None,
        # The row was written in a subtransaction that began after the statement: what lies between is the statement's.
        upto=own if here and own is not None and xid < own else None,
        objects=tuple(_objects(objects, older)),
        dropped=bool(dropped),
    )


def _objects(text: str | None, older: bool) -> list[Key]:
    found = json.loads(text or "[]")
    pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2 and all(pair)]
    return [(str(kind), _as_captured(str(identity)) if older else str(identity)) for kind, identity in pairs]


def _as_captured(identity: str) -> str:
    # JSON became a word of the grammar in 17; capture names it the new way, too.
    return re.sub(r"\bpg_catalog\.json\b", "json", identity)
