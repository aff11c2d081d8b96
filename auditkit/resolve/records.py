"""The rows of a ledger as SQL: how a migration is recorded without being run, and how it is forgotten.

One entry for each tool, written as the tool itself writes its row. Tools that are not listed keep in theirs what only
they can compute; their own command has to do it.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from auditkit.catalog.sql import literal, quote
from auditkit.history import checksums
from auditkit.history.ledgers import own_tables
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


def _script(table: str, migration: Migration) -> str:
    """The name of a script as the ledger has those of others: what is compiled is recorded as .js, and .ts is its source."""
    path = PurePosixPath(migration.path)
    others = f"(SELECT coalesce(substring(name FROM '[.][cm]?[jt]s$'), '') FROM {table} ORDER BY name DESC LIMIT 1)"
    return f"{literal(path.stem)} || coalesce({others}, {literal(path.suffix)})"


def _knex(table: str, migration: Migration) -> str:
    return (
        f"INSERT INTO {table} (name, batch, migration_time) "
        f"SELECT {_script(table, migration)}, coalesce(max(batch), 0) + 1, now() FROM {table}"
    )


def _sequelize(table: str, migration: Migration) -> str:
    return f"INSERT INTO {table} (name) SELECT {_script(table, migration)}"


def _typeorm(table: str, migration: Migration) -> str:
    """The name is the class's, which ends with the time."""
    name = literal(migration.name + migration.version)
    return f'INSERT INTO {table} ("timestamp", name) VALUES ({int(migration.version)}, {name})'


def _node_pg_migrate(table: str, migration: Migration) -> str:
    return f"INSERT INTO {table} (name, run_on) VALUES ({literal(PurePosixPath(migration.path).stem)}, now())"


def _drizzle(table: str, migration: Migration) -> str:
    """Up to 0.x a row is known by the time of its entry in the journal, since 1.0 by the folder's name."""
    checksum = literal(hashlib.sha256(migration.raw).hexdigest())
    if re.fullmatch(r"[0-9]{13,}", migration.version):
        return f"INSERT INTO {table} (hash, created_at) VALUES ({checksum}, {migration.version})"
    made = literal(f"{migration.version[:8]} {migration.version[8:14]}")
    return (
        f"INSERT INTO {table} (hash, created_at, name, applied_at) VALUES ({checksum}, "
        f"(extract(epoch FROM to_timestamp({made}, 'YYYYMMDD HH24MISS') AT TIME ZONE 'UTC') * 1000)::bigint, "
        f"{literal(migration.version)}, now())"
    )


def _refinery(table: str, migration: Migration) -> str:
    """Checksums depend on the width of the column, as the tool was built."""
    small, big = (literal(checksums.refinery_sized(migration, size)) for size in (4, 8))
    width = f"(SELECT attlen FROM pg_attribute WHERE attrelid = {literal(table)}::regclass AND attname = 'version')"
    return (
        f"INSERT INTO {table} (version, name, applied_on, checksum) VALUES ({int(migration.version)}, "
        f"{literal(migration.name)}, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
        f"CASE {width} WHEN 8 THEN {big} ELSE {small} END)"
    )


def _postgres_migrations(table: str, migration: Migration) -> str:
    checksum = next(iter(checksums.postgres_migrations(migration) or frozenset({""})))
    return (
        f"INSERT INTO {table} (id, name, hash) VALUES "
        f"({int(migration.version)}, {literal(migration.name)}, {literal(checksum)})"
    )


def _liquibase(table: str, migration: Migration) -> str:
    """A changeset of a file that is known keeps the path that the ledger has; without a checksum Liquibase adds it."""
    file, name, author = migration.version.rsplit("::", 2)
    found = checksums.liquibase(migration)
    checksum = next((literal(c) for c in found or () if c.startswith("9:")), "NULL")
    base = literal(PurePosixPath(file).name)
    path = f"(SELECT max(filename) FROM {table} WHERE regexp_replace(filename, '^.*[/:]', '') = {base})"
    return (
        f"INSERT INTO {table} (id, author, filename, dateexecuted, orderexecuted, exectype, md5sum) "
        f"SELECT {literal(name)}, {literal(author)}, coalesce({path}, {literal(file)}), now(), "
        f"coalesce(max(orderexecuted), 0) + 1, 'EXECUTED', {checksum} FROM {table}"
    )


def _yoyo(table: str, migration: Migration) -> str:
    return (
        f"INSERT INTO {table} (migration_hash, migration_id, applied_at_utc) VALUES "
        f"({literal(_yoyo_hash(migration.version))}, {literal(migration.version)}, now() AT TIME ZONE 'UTC')"
    )


def _yoyo_hash(version: str) -> str:
    return hashlib.sha256(version.encode("utf-8", "replace")).hexdigest()


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
    "liquibase": _liquibase,
    "drizzle": _drizzle,
    "refinery": _refinery,
    "postgres-migrations": _postgres_migrations,
    "typeorm": _typeorm,
    "sequelize": _sequelize,
    "node-pg-migrate": _node_pg_migrate,
    "yoyo": _yoyo,
}


def _stem(version: str, name: str) -> str:
    """Which row names a file, whatever its ending and what stands after the number."""
    stem = literal("_".join(filter(None, (version, name))))
    ending = "regexp_replace(name, '[.]([cm]?[jt]s|sql)$', '')"
    return f"regexp_replace({ending}, '^([0-9]+)[_-]', '\\1_') = {stem}"


def _changeset(version: str, name: str) -> str:
    file, *rest = version.rsplit("::", 2)
    known = "::".join([PurePosixPath(file).name, *rest])
    return f"concat_ws('::', regexp_replace(filename, '^.*[/:]', ''), id, author) = {literal(known)}"


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
    "knex": _stem,
    "sequelize": _stem,
    "node-pg-migrate": _stem,
    "typeorm": lambda version, name: f'"timestamp" = {int(version)}',
    "liquibase": _changeset,
    "drizzle": lambda version, name: (
        f"coalesce(to_jsonb(t) ->> 'name', created_at::text) = {literal(version)}"
    ),
    "refinery": lambda version, name: f"version = {int(version)}",
    "postgres-migrations": lambda version, name: f"id = {int(version)}",
    "yoyo": lambda version, name: f"migration_id = {literal(version)}",
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

    @property
    def tables(self) -> list[str]:
        """The ledger, and beside it what its tool needs to find."""
        own = sorted(self.own) if self.tool == "yoyo" else [self.name]
        return [f"{quote(self.schema)}.{quote(name)}" for name in own]

    @property
    def furnish(self) -> str:
        """What fills those beside the ledger; empty if that is not needed."""
        if self.tool != "yoyo":
            return ""
        return f"INSERT INTO {quote(self.schema)}._yoyo_version (version, installed_at_utc) VALUES (2, now())"

    @property
    def own(self) -> set[str]:
        """The names of all tables that the tool keeps for itself."""
        record = {"tool": self.tool, "schema": self.schema, "table": self.name}
        return {name.rpartition(".")[2] for name in own_tables(record)}

    @property
    def _log(self) -> str:
        return f"{quote(self.schema)}._yoyo_log"

    def _logged(self, operation: str, version: str) -> str:
        """yoyo writes down what it did, too; else nobody could tell what was run from what was marked."""
        if self.tool != "yoyo":
            return ""
        values = (_yoyo_hash(version), version, operation)
        return (
            f";\nINSERT INTO {self._log} (id, migration_hash, migration_id, operation, username, hostname, "
            f"created_at_utc) SELECT gen::text, {', '.join(map(literal, values))}, session_user, "
            "coalesce(host(inet_client_addr()), 'localhost'), now() AT TIME ZONE 'UTC' "
            "FROM CAST(md5(random()::text || clock_timestamp()::text) AS uuid) AS gen"
        )

    def record(self, migration: Migration, *, ran: bool = False) -> str:
        """The statements that record *migration* as applied; *ran*: it was run before them."""
        text = RECORDS[self.tool](self.table, migration)
        return text + self._logged("apply" if ran else "mark", migration.version)

    def forget(
        self, version: str, name: str = "", file: Migration | None = None, *, ran: bool = False
    ) -> str:
        """The statements that take a version out.

        Args:
            file: says what came before it, where only that is stored.
            ran: what it did was taken back before.
        """
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
        row = " AS t" if self.tool == "drizzle" else ""  # one of its columns need not be there
        gone = f"DELETE FROM {self.table}{row} WHERE {where}"
        return gone + self._logged("rollback" if ran else "unmark", version)

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

    def back(self, before: Raw, after: Raw, added: Sequence[tuple[str, str]], *, ran: bool = False) -> str:
        """What takes back the change from *before* to *after*, which put the versions *added* there."""
        gone = [row for row in before if row not in set(after)]
        if self.tool == "golang-migrate":  # one row, always
            return ";\n".join([f"DELETE FROM {self.table}", *self.restore(before)])
        return ";\n".join([*(self.forget(*each, ran=ran) for each in added), *self.restore(gone)])
