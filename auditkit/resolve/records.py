"""The rows of a ledger as SQL: how a migration is recorded without being run, and how it is forgotten.

One entry for each tool, written as the tool itself writes its row. Tools that are not listed keep in theirs what only
they can compute; their own command has to do it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from auditkit.catalog.sql import literal, quote
from auditkit.history import checksums
from auditkit.history.migration import Migration

__all__ = ["RECORDS", "Book", "Raw"]

#: Rows as they are stored, each as JSON text.
Raw = Sequence[str]


def _supabase(table: str, migration: Migration) -> str:
    texts = ", ".join(literal(statement.text) for statement in migration.statements)
    return (
        f"INSERT INTO {table} (version, name, statements) VALUES ({literal(migration.version)}, "
        f"{literal(migration.name)}, ARRAY[{texts}]::text[])"
    )


def _version(column: str = "version", text: bool = True) -> Callable[[str, Migration], str]:
    def record(table: str, migration: Migration) -> str:
        value = literal(migration.version) if text else str(int(migration.version))
        return f"INSERT INTO {table} ({column}) VALUES ({value})"

    return record


def _ecto(table: str, migration: Migration) -> str:
    return (
        f"INSERT INTO {table} (version, inserted_at) VALUES ({int(migration.version)}, "
        "(now() AT TIME ZONE 'UTC')::timestamp(0))"
    )


def _goose(table: str, migration: Migration) -> str:
    return f"INSERT INTO {table} (version_id, is_applied) VALUES ({int(migration.version)}, true)"


def _golang(table: str, migration: Migration) -> str:
    return (
        f"DELETE FROM {table};\nINSERT INTO {table} (version, dirty) VALUES ({int(migration.version)}, false)"
    )


def _prisma(table: str, migration: Migration) -> str:
    label = f"{migration.version}_{migration.name}"
    checksum = hashlib.sha256(migration.raw).hexdigest()
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"auditkit:{label}:{checksum}")
    return (
        f"INSERT INTO {table} (id, checksum, finished_at, migration_name, started_at, applied_steps_count) "
        f"VALUES ({literal(str(name))}, {literal(checksum)}, now(), {literal(label)}, now(), 1)"
    )


def _sqlx(table: str, migration: Migration) -> str:
    checksum = hashlib.sha384(migration.raw).hexdigest()
    return (
        f"INSERT INTO {table} (version, description, success, checksum, execution_time) VALUES "
        f"({int(migration.version)}, {literal(migration.name.replace('_', ' '))}, true, "
        f"decode('{checksum}', 'hex'), 0)"
    )


def _alembic(table: str, migration: Migration) -> str:
    """A head takes the place of those it follows."""
    before = ", ".join(literal(version) for version in migration.depends)
    gone = f"DELETE FROM {table} WHERE version_num IN ({before});\n" if before else ""
    return f"{gone}INSERT INTO {table} (version_num) VALUES ({literal(migration.version)})"


def _django(table: str, migration: Migration) -> str:
    app, _, name = migration.version.partition(".")
    return f"INSERT INTO {table} (app, name, applied) VALUES ({literal(app)}, {literal(name)}, now())"


def _knex(table: str, migration: Migration) -> str:
    name = literal(PurePosixPath(migration.path).name)
    return (
        f"INSERT INTO {table} (name, batch, migration_time) "
        f"SELECT {name}, coalesce(max(batch), 0) + 1, now() FROM {table}"
    )


def _flyway(table: str, migration: Migration) -> str:
    found = checksums.flyway(migration)
    checksum = next(iter(found)) if found else "NULL"
    version = literal(migration.version) if migration.version else "NULL"
    return (
        f"INSERT INTO {table} (installed_rank, version, description, type, script, checksum, installed_by, "
        f"execution_time, success) SELECT coalesce(max(installed_rank), 0) + 1, {version}, "
        f"{literal(migration.name.replace('_', ' '))}, 'SQL', {literal(PurePosixPath(migration.path).name)}, "
        f"{checksum}, current_user, 0, true FROM {table}"
    )


#: Tool → the statement that records one migration.
RECORDS: dict[str, Callable[[str, Migration], str]] = {
    "supabase": _supabase,
    "dbmate": _version(),
    "rails": _version(),
    "diesel": _version(),
    "ecto": _ecto,
    "goose": _goose,
    "golang-migrate": _golang,
    "prisma": _prisma,
    "sqlx": _sqlx,
    "alembic": _alembic,
    "django": _django,
    "knex": _knex,
    "flyway": _flyway,
}
#: Tool → the condition that names the rows of one version; by default the column version.
_FORGET: dict[str, Callable[[str, str], str]] = {
    "ecto": lambda version, name: f"version = {int(version)}",
    "goose": lambda version, name: f"version_id = {int(version)}",
    "golang-migrate": lambda version, name: f"version = {int(version)}",
    "sqlx": lambda version, name: f"version = {int(version)}",
    "alembic": lambda version, name: f"version_num = {literal(version)}",
    "django": lambda version, name: (
        f"app = {literal(version.partition('.')[0])} AND name = {literal(version.partition('.')[2])}"
    ),
    "knex": lambda version, name: (
        f"regexp_replace(name, '[.][a-z]+$', '') = {literal('_'.join(filter(None, (version, name))))}"
    ),
    "prisma": lambda version, name: f"migration_name = {literal(f'{version}_{name}' if name else version)}",
}


@dataclass(frozen=True)
class Book:
    """One ledger that SQL can write to: its tool, and where it is."""

    tool: str
    schema: str
    name: str

    @property
    def table(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    @classmethod
    def of(cls, record: Mapping[str, Any], tool: str) -> Book:
        """The ledger of a record as ``ledgers.read_ledgers`` gives it."""
        return cls(tool, str(record["schema"]), str(record["table"]))

    @property
    def writable(self) -> bool:
        """Whether SQL can record a migration there."""
        return self.tool in RECORDS

    def record(self, migration: Migration) -> str:
        """The statement that records *migration* as applied."""
        return RECORDS[self.tool](self.table, migration)

    def forget(self, version: str, name: str = "", file: Migration | None = None) -> str:
        """The statement that takes a version out; *file* says what came before it, where only that is stored."""
        if self.tool == "alembic" and file is not None:
            parents = ", ".join(f"({literal(version)})" for version in file.depends)
            gone = f"DELETE FROM {self.table} WHERE version_num = {literal(version)}"
            if not parents:
                return gone
            return (
                f"WITH gone AS ({gone} RETURNING version_num) INSERT INTO {self.table} (version_num) "
                f"SELECT parent FROM (VALUES {parents}) AS p (parent) WHERE EXISTS (SELECT FROM gone)"
            )
        named = _FORGET.get(self.tool)
        where = named(version, name) if named else f"version = {literal(version)}"
        return f"DELETE FROM {self.table} WHERE {where}"

    @property
    def read(self) -> str:
        """The query of all rows as they are stored."""
        return f"SELECT to_jsonb(t)::text FROM ONLY {self.table} AS t ORDER BY 1"

    def restore(self, rows: Raw) -> list[str]:
        """The statements that put rows back as they were."""
        return [
            f"INSERT INTO {self.table} OVERRIDING SYSTEM VALUE "
            f"SELECT * FROM jsonb_populate_record(NULL::{self.table}, {literal(row)}::jsonb)"
            for row in rows
        ]

    @property
    def numbers(self) -> str:
        """The query that has sequences of the ledger go on after its rows."""
        return (
            "SELECT setval(s.oid::regclass, (SELECT coalesce(max((to_jsonb(t) ->> a.attname)::bigint), 0) + 1 "
            f"FROM {self.table} AS t), false) FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' "
            "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
            f"WHERE d.refobjid = {literal(self.table)}::regclass AND d.deptype IN ('a', 'i')"
        )

    def back(self, before: Raw, after: Raw, added: Sequence[tuple[str, str]]) -> str:
        """What takes back the change from *before* to *after*, which put the versions *added* there."""
        gone = [row for row in before if row not in set(after)]
        if self.tool == "golang-migrate":  # one row, always
            return ";\n".join([f"DELETE FROM {self.table}", *self.restore(before)])
        return ";\n".join([*(self.forget(*each) for each in added), *self.restore(gone)])
