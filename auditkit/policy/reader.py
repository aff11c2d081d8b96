"""The role for audits: it may log in, read the catalog as everybody may, and read the ledger; nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditkit.catalog.grants import PUBLIC, quote
from auditkit.catalog.sql import execute, literal, tuple_of
from auditkit.connect import SESSION
from auditkit.history import ledgers
from auditkit.history.witnesses import ddl_log
from auditkit.policy.powers import granted
from auditkit.visible import visible

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot

#: What keeps a session from harm; the rest of SESSION is how text is printed, which each audit says itself.
_SAFE = (
    "default_transaction_read_only",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
)


def reader_sql(snapshot: Snapshot, name: str = "auditkit") -> str:
    """SQL that makes the role *name* for audits of the database that *snapshot* is of; to be read, run by hand."""
    role = quote(name)
    lines = [
        f"-- A role for audits of {visible(snapshot.manifest.get('database', 'this database'))}:",
        "-- it can log in, read the catalog and the ledger, and write",
        "-- nothing. Read it, then run it as a role with CREATEROLE that may grant what is granted here (a superuser).",
        f"-- It has no password yet. Set one in psql, where it is not logged: \\password {visible(role)}",
        "-- and keep it in ~/.pgpass or a service file; or let pg_hba.conf authenticate it another way.",
        "",
        "BEGIN;",
        *_made(snapshot, role),
        *_connect(snapshot, role),
    ]
    readable = sorted({table for record in snapshot.ledgers for table in _tables(record, snapshot)})
    schemas = sorted({schema for schema, _ in readable})
    lines += ["", "-- the ledger: which migrations were applied"] if readable else [
        "",
        "-- No ledger was found. Once migrations have made one: GRANT USAGE ON its schema and SELECT ON the table.",
    ]  # fmt: skip
    lines += [
        f"GRANT USAGE ON SCHEMA {quote(schema)} TO {role};"
        for schema in schemas
        if (PUBLIC, "USAGE") not in _granted(snapshot.get("schema", quote(schema)))
    ]
    lines += [f"GRANT SELECT ON {quote(schema)}.{quote(table)} TO {role};" for schema, table in readable]
    if log := ddl_log.place(snapshot):
        lines += [
            "",
            "-- the DDL log: who changed what",
            f"GRANT USAGE ON SCHEMA {quote(log[0])} TO {role};",
            f"GRANT SELECT ON {quote(log[0])}.{quote(log[1])} TO {role};",
        ]
    return "\n".join([
        *lines,
        "COMMIT;",
        "",
        "-- Optional, each for one thing more:",
        f"-- GRANT pg_read_all_stats TO {visible(role)};     -- texts in pg_stat_statements: who ran a statement",
        f"-- GRANT pg_read_all_settings TO {visible(role)};  -- settings that only superusers see",
        "-- Its settings are its own to change. What keeps it from writing is that it is granted nothing:",
        "-- `auditkit policy ENV` shows what PUBLIC may do, which it may, too.",
        "",
    ])  # fmt: skip


def _made(snapshot: Snapshot, role: str) -> list[str]:
    """The role itself, unless another database of the cluster has brought it."""
    if any(each["name"] == role for each in (snapshot.manifest.get("access") or {}).get("roles", ())):
        return [f"-- {visible(role)} is in this cluster already; what this database has to add:"]
    return [
        f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;",
        *(f"ALTER ROLE {role} SET {key} = {literal(SESSION[key]).strip()};" for key in _SAFE),
    ]


def _granted(fact: Fact | None) -> set[tuple[str, str]]:
    return {(grantee, privilege) for grantee, privilege, _ in granted(fact)} if fact else set()


def _connect(snapshot: Snapshot, role: str) -> list[str]:
    """Only where PUBLIC may not connect: a privilege given for nothing would be a difference to the migrations."""
    database = snapshot.get("database", "database")
    lines = tuple_of(database.attributes.get("grants")) if database else ()
    if not any(x.startswith("REVOKE") and "CONNECT" in x and x.endswith(" FROM PUBLIC") for x in lines):
        return []
    return [f"{execute('GRANT CONNECT ON DATABASE %I TO ' + role.replace('%', '%%'))};"]


def _tables(record: object, snapshot: Snapshot) -> list[tuple[str, str]]:
    """A tool's ledger and what else it keeps, as far as it is there."""
    assert isinstance(record, dict)
    names = {name.partition(".")[2] for name in ledgers.own_tables(record)}
    schema = str(record["schema"])
    there = {fact.name for kind in ("table", "view") for fact in snapshot.iter(kind) if fact.schema == schema}
    return [(schema, name) for name in names & there]
