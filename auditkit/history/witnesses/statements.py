"""Texts of statements in pg_stat_statements: who ran what at some time, not when.

Entries are evicted when there are many, and gone after a reset. Texts hold passwords as they were typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Snapshot
from auditkit.history.witnesses.testimony import Testimony, command_of, masked

if TYPE_CHECKING:
    import psycopg

EXTENSION = "pg_stat_statements"
#: Since 17 an entry tells when it was made, which is when the statement was first run.
_READ = """
    SELECT pg_get_userbyid(s.userid)::text, left(s.query, 4000), to_jsonb(s) ->> 'stats_since'
    FROM {schema}.pg_stat_statements AS s
    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND s.query ~* '(create|alter|drop|grant|revoke|comment|security|reassign|import) |^<insufficient'
    ORDER BY s.query LIKE '<insufficient%%', s.queryid LIMIT %s"""


def read(connection: psycopg.Connection[Any], snapshot: Snapshot, limit: int) -> dict[str, Any] | None:
    """The record of the statements that change a schema; statements of others may be hidden."""
    import psycopg
    from psycopg import sql

    extension = snapshot.get("extension", EXTENSION)
    if extension is None:
        return None
    schema = str(extension.attributes.get("extension_schema") or "public")
    try:
        rows = connection.execute(
            sql.SQL(_READ).format(schema=sql.Identifier(schema)), (8 * limit,)
        ).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState:
        why, fix = "its library is not loaded", "add it to shared_preload_libraries, or do without"
        return {"source": EXTENSION, "denied": {"what": EXTENSION, "why": why, "fix": fix}}
    hidden = sum(query.startswith("<insufficient") for _, query, _ in rows)
    found = [
        Testimony("statements", EXTENSION, role=role, command=command, statement=masked(query))
        for role, query, _ in rows
        if (command := command_of(query))
    ]
    record: dict[str, Any] = {"source": EXTENSION, "count": len(found), "rows": found[:limit]}
    record["cut"] = f"the first {limit} of {len(found)} were kept" if len(found) > limit else None
    if hidden:
        why = f"the statements of other roles are hidden ({hidden} at least)"
        record["denied"] = {"what": EXTENSION, "why": why, "fix": "grant pg_read_all_stats to the audit role"}
    return record
