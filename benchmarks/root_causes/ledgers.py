"""How migration tools lay out their files, run them and record them, as facts/migration_histories.md has it.

A tool is one entry of :data:`TOOLS`. What it writes and in which transaction is what the tool itself does; nothing
here asks auditkit.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

__all__ = ["TOOLS", "Text", "Tool", "Unit"]

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Text:
    """What a migration file says: its statements, a comment above them, and whether it is kept out of a transaction."""

    statements: tuple[str, ...]
    comment: str = ""
    autocommit: bool = False
    tail: str = ""
    crlf: bool = False

    @property
    def sql(self) -> str:
        head = f"-- {self.comment}\n" if self.comment else ""
        return head + "".join(f"{s};\n" for s in self.statements) + self.tail


@dataclass(frozen=True)
class Unit:
    """One migration as a tool meets it: ``day`` and ``index`` give its version, ``shift`` moves it by seconds."""

    index: int
    name: str
    day: int
    shift: int = 0

    @property
    def moment(self) -> dt.datetime:
        return dt.datetime(2024, 1, 1, 9, 0, tzinfo=dt.UTC) + dt.timedelta(
            days=self.day, seconds=self.index * 7 + self.shift
        )


@dataclass(frozen=True)
class Tool:
    """``link``: whether ledger row and objects are written in one transaction (``exact``), in others (``apart``), or
    there is but ``one`` row. ``texts``: the ledger keeps statements or a checksum; ``order``: it keeps the order.

    ``row`` writes a row as after a run; ``mark`` as the tool does when told to believe that it was applied.
    """

    name: str
    link: str
    texts: bool
    order: bool
    table: str
    column: str
    ledger: tuple[str, ...]
    version: Callable[[Unit], str]
    path: Callable[[Unit], str]
    content: Callable[[Text], str]
    key: Callable[[Unit], Any]
    run: Callable[[Connection, Unit, Text, Text], None]
    mark: Callable[[Connection, Unit, Text], None]
    extra: Mapping[str, str] | None = None
    autocommit: bool = False

    def files(self, files: Iterable[tuple[Unit, Text]]) -> dict[str, str]:
        files = list(files)
        made = {self.path(unit): self.write(text) for unit, text in files}
        if self.name == "drizzle":
            entries = [
                {"idx": n, "version": "7", "when": int(self.version(u)), "tag": _tag(u), "breakpoints": True}
                for n, (u, _) in enumerate(files)
            ]
            journal = {"version": "7", "dialect": "postgresql", "entries": entries}
            made["drizzle/meta/_journal.json"] = json.dumps(journal, indent=2)
        return made | dict(self.extra or {})

    def write(self, text: Text) -> str:
        """The file's content; an editor on Windows may have saved it."""
        content = self.content(text)
        return content.replace("\n", "\r\n") if text.crlf else content

    def forget(self, unit: Unit) -> tuple[str, tuple[Any, ...]]:
        return f"DELETE FROM {self.table} WHERE {self.column} = %s", (self.key(unit),)


def execute(connection: Connection, text: Text) -> None:
    """As one simple query, which is one transaction where there is none yet; else statement by statement."""
    if text.autocommit:
        for statement in text.statements:
            connection.execute(statement.encode())
    else:
        connection.execute(text.sql.encode())


def stamp(unit: Unit) -> str:
    return unit.moment.strftime("%Y%m%d%H%M%S")


def _stem(unit: Unit) -> str:
    return f"{stamp(unit)}_{unit.name}"


def _plain(text: Text) -> str:
    return text.sql


def _sectioned(up: str, down: str, marker: str = "") -> Callable[[Text], str]:
    def content(text: Text) -> str:
        return f"{up}{marker if text.autocommit else ''}\n{text.sql}\n{down}\n"

    return content


# --- Supabase


def _stored(text: Text) -> list[str]:
    head = f"-- {text.comment}\n" if text.comment else ""
    return [(head if n == 0 else "") + s for n, s in enumerate(text.statements)]


def _supabase_run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
    if text.autocommit:
        execute(connection, text)
        return _supabase_mark(connection, unit, recorded)
    with connection.transaction():
        for statement in _stored(text):
            connection.execute(statement.encode())
        _supabase_mark(connection, unit, recorded)
    return None


def _supabase_mark(connection: Connection, unit: Unit, text: Text) -> None:
    connection.execute(
        "INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES (%s, %s, %s) "
        "ON CONFLICT (version) DO UPDATE SET name = excluded.name, statements = excluded.statements",
        (stamp(unit), unit.name, _stored(text)),
    )


# --- tools that insert one row in the transaction of the migration


def _inserting(
    sql: str, values: Callable[[Unit, Text], Sequence[Any]]
) -> tuple[Callable[..., None], Callable[..., None]]:
    def mark(connection: Connection, unit: Unit, text: Text) -> None:
        connection.execute(sql.encode(), values(unit, text))

    def run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
        if text.autocommit:
            execute(connection, text)
            return mark(connection, unit, recorded)
        with connection.transaction():
            connection.execute(text.sql.encode())
            mark(connection, unit, recorded)
        return None

    return run, mark


def _goose_content(text: Text) -> str:
    parts = ["-- +goose NO TRANSACTION"] if text.autocommit else []
    parts.append("-- +goose Up")
    parts += [f"-- {text.comment}"] * bool(text.comment)
    for statement in text.statements:
        if ";" in statement:
            parts.append(f"-- +goose StatementBegin\n{statement};\n-- +goose StatementEnd")
        else:
            parts.append(f"{statement};")
    return "\n".join(parts) + f"\n{text.tail}\n-- +goose Down\nSELECT 1;\n"


# --- Prisma: the row first, then the script, then two updates


def _prisma_sum(text: Text) -> str:
    return hashlib.sha256(text.sql.encode()).hexdigest()


def _prisma_id(unit: Unit) -> str:
    digest = hashlib.md5(_stem(unit).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def _prisma_run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at) VALUES (%s, %s, %s, clock_timestamp())",
        (_prisma_id(unit), _prisma_sum(recorded), _stem(unit)),
    )
    try:
        connection.execute(text.sql.encode())
    except psycopg.Error as error:
        connection.execute(
            "UPDATE _prisma_migrations SET logs = %s WHERE id = %s", (str(error), _prisma_id(unit))
        )
        raise
    connection.execute(
        "UPDATE _prisma_migrations SET applied_steps_count = applied_steps_count + 1 WHERE id = %s",
        (_prisma_id(unit),),
    )
    connection.execute(
        "UPDATE _prisma_migrations SET finished_at = clock_timestamp() WHERE id = %s", (_prisma_id(unit),)
    )


def _prisma_mark(connection: Connection, unit: Unit, text: Text) -> None:
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count) "
        "VALUES (%s, %s, clock_timestamp(), %s, clock_timestamp(), 0)",
        (_prisma_id(unit), _prisma_sum(text), _stem(unit)),
    )


# --- Flyway: its history goes through a connection of its own


def _flyway_sum(text: Text) -> int:
    crc = zlib.crc32("".join(re.split(r"\r\n|\r|\n", text.sql)).encode())
    return crc - (1 << 32) if crc >= 1 << 31 else crc


def _flyway_mark(connection: Connection, unit: Unit, text: Text) -> None:
    connection.execute(
        "INSERT INTO flyway_schema_history SELECT coalesce(max(installed_rank), 0) + 1, %s, %s, 'SQL', %s, %s, "
        "current_user, clock_timestamp(), 5, true FROM flyway_schema_history",
        (
            str(unit.index + 1),
            unit.name.replace("_", " "),
            f"V{unit.index + 1}__{unit.name}.sql",
            _flyway_sum(text),
        ),
    )


def _flyway_run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
    if text.autocommit:
        execute(connection, text)
    else:
        with connection.transaction():
            connection.execute(text.sql.encode())
    _flyway_mark(connection, unit, recorded)


# --- sqlx: a second statement touches the row after the commit


def _sqlx_mark(connection: Connection, unit: Unit, text: Text) -> None:
    connection.execute(
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) "
        "VALUES (%s, %s, clock_timestamp(), true, %s, -1)",
        (
            int(stamp(unit)),
            unit.name.replace("_", " "),
            hashlib.sha384(_sqlx_content(text).encode()).digest(),
        ),
    )


def _sqlx_content(text: Text) -> str:
    return ("-- no-transaction\n" if text.autocommit else "") + text.sql


def _sqlx_run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
    if text.autocommit:
        execute(connection, text)
        _sqlx_mark(connection, unit, recorded)
    else:
        with connection.transaction():
            connection.execute(text.sql.encode())
            _sqlx_mark(connection, unit, recorded)
    connection.execute(
        "UPDATE _sqlx_migrations SET execution_time = 4000 WHERE version = %s", (int(stamp(unit)),)
    )


# --- golang-migrate: one row


def _golang_set(connection: Connection, unit: Unit, dirty: bool) -> None:
    with connection.transaction():
        connection.execute("TRUNCATE public.schema_migrations")
        connection.execute("INSERT INTO public.schema_migrations VALUES (%s, %s)", (unit.index + 1, dirty))


def _golang_run(connection: Connection, unit: Unit, text: Text, recorded: Text) -> None:
    _golang_set(connection, unit, True)
    execute(connection, text)
    _golang_set(connection, unit, False)


def _tag(unit: Unit) -> str:
    return f"{unit.index:04}_{unit.name}"


def _millis(unit: Unit) -> str:
    return str(int(unit.moment.timestamp() * 1000))


_dbmate = _inserting("INSERT INTO public.schema_migrations (version) VALUES (%s)", lambda u, t: (stamp(u),))
_goose = _inserting(
    "INSERT INTO goose_db_version (version_id, is_applied) VALUES (%s, true)", lambda u, t: (u.index + 1,)
)
_drizzle = _inserting(
    "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES (%s, %s)",
    lambda u, t: (hashlib.sha256(_drizzle_content(t).encode()).hexdigest(), int(_millis(u))),
)
_node = _inserting(
    "INSERT INTO public.pgmigrations (name, run_on) VALUES (%s, now())", lambda u, t: (_node_stem(u),)
)
_diesel = _inserting("INSERT INTO __diesel_schema_migrations (version) VALUES (%s)", lambda u, t: (stamp(u),))


def _node_stem(unit: Unit) -> str:
    return f"{_millis(unit)}_{unit.name}"


def _drizzle_content(text: Text) -> str:
    head = f"-- {text.comment}\n" if text.comment else ""
    return head + ";--> statement-breakpoint\n".join(text.statements) + ";\n" + text.tail


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "supabase", "exact", True, False, "supabase_migrations.schema_migrations", "version",
            ("CREATE SCHEMA supabase_migrations",
             "CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY, statements text[], name text)"),
            stamp, lambda u: f"supabase/migrations/{_stem(u)}.sql",
            lambda t: ("-- pg-delta: transaction=false\n" if t.autocommit else "") + t.sql,
            stamp, _supabase_run, _supabase_mark, {"supabase/config.toml": 'project_id = "shop"\n'}, True,
        ),
        Tool(
            "dbmate", "exact", False, False, "public.schema_migrations", "version",
            ("CREATE TABLE public.schema_migrations (version varchar(128) PRIMARY KEY)",),
            stamp, lambda u: f"db/migrations/{_stem(u)}.sql",
            _sectioned("-- migrate:up", "-- migrate:down", " transaction:false"), stamp, *_dbmate, None, True,
        ),
        Tool(
            "prisma", "apart", True, True, "_prisma_migrations", "migration_name",
            ("CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, "
             "finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, "
             "started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)",),
            stamp, lambda u: f"prisma/migrations/{_stem(u)}/migration.sql", _plain, _stem, _prisma_run, _prisma_mark,
            {"prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n',
             "prisma/schema.prisma": 'datasource db {\n  provider = "postgresql"\n}\n'},
        ),
        Tool(
            "flyway", "apart", True, True, "flyway_schema_history", "version",
            ("CREATE TABLE flyway_schema_history (installed_rank integer NOT NULL, version varchar(50), "
             "description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL, "
             "checksum integer, installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(), "
             "execution_time integer NOT NULL, success boolean NOT NULL)",
             "ALTER TABLE flyway_schema_history ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank)",
             "CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success)"),
            lambda u: str(u.index + 1), lambda u: f"db/migration/V{u.index + 1}__{u.name}.sql", _plain,
            lambda u: str(u.index + 1), _flyway_run, _flyway_mark,
        ),
        Tool(
            "goose", "exact", False, True, "goose_db_version", "version_id",
            ("CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "
             "version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now())",
             "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)"),
            lambda u: str(u.index + 1), lambda u: f"migrations/{u.index + 1:05}_{u.name}.sql", _goose_content,
            lambda u: u.index + 1, *_goose, None, True,
        ),
        Tool(
            "golang-migrate", "one", False, False, "public.schema_migrations", "version",
            ("CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)",),
            lambda u: str(u.index + 1), lambda u: f"migrations/{u.index + 1:06}_{u.name}.up.sql", _plain,
            lambda u: u.index + 1, _golang_run, lambda c, u, t: _golang_set(c, u, False),
        ),
        Tool(
            "sqlx", "apart", True, True, "_sqlx_migrations", "version",
            ("CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, "
             "installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, "
             "execution_time bigint NOT NULL)",),
            stamp, lambda u: f"migrations/{_stem(u)}.sql", _sqlx_content, lambda u: int(stamp(u)),
            _sqlx_run, _sqlx_mark, {"Cargo.toml": '[package]\nname = "shop"\n[dependencies]\nsqlx = "0.8"\n'}, True,
        ),
        Tool(
            "drizzle", "exact", True, True, "drizzle.__drizzle_migrations", "created_at",
            ("CREATE SCHEMA drizzle",
             "CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)"),
            _millis, lambda u: f"drizzle/{_tag(u)}.sql", _drizzle_content, lambda u: int(_millis(u)), *_drizzle,
        ),
        Tool(
            "node-pg-migrate", "exact", False, True, "public.pgmigrations", "name",
            ("CREATE TABLE public.pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, "
             "run_on timestamp NOT NULL)",),
            _millis, lambda u: f"migrations/{_node_stem(u)}.sql", _sectioned("-- Up Migration", "-- Down Migration"),
            _node_stem, *_node,
            {"package.json": '{"name": "shop", "dependencies": {"node-pg-migrate": "^7.0.0"}}\n'},
        ),
        Tool(
            "diesel", "exact", False, True, "__diesel_schema_migrations", "version",
            ("CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY NOT NULL, "
             "run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)",),
            stamp, lambda u: f"migrations/{u.moment:%Y-%m-%d-%H%M%S}_{u.name}/up.sql", _plain, stamp, *_diesel,
            {"diesel.toml": '[print_schema]\nfile = "src/schema.rs"\n'},
        ),
    )
}  # fmt: skip
