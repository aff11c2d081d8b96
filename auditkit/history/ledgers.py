"""The tables in which migration tools record what they applied, each tool as one entry.

A ledger is recognised by its columns and their types, never by its name alone: ``schema_migrations``
belongs to Rails, dbmate, golang-migrate and Ecto. Where the columns would fit many tables (one column
called ``version``), the name must fit as well. Reading is one SELECT for each ledger. What a role may not
read is told apart from what is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditkit.history import checksums
from auditkit.history.migration import Migrations, stamp

if TYPE_CHECKING:
    import psycopg

    from auditkit.history.migration import Migration

__all__ = [
    "LEDGERS",
    "History",
    "Ledger",
    "LedgerTable",
    "choose",
    "find_ledgers",
    "own_tables",
    "read_history",
    "read_ledgers",
]

Row = dict[str, Any]

_APPLIED = "'applied'"
_RUN = "'run'"


@dataclass(frozen=True)
class Ledger:
    """How one tool's ledger is recognised and read.

    ``columns`` maps each column that must be there to a pattern of its type (as ``format_type`` shows it),
    ``optional`` are others that may be. ``names``: the table must be called one of these, for columns that
    fit many tables. The fields from ``version`` to ``total`` are SQL expressions over the row ``t``, what
    they mean is said in ``read_ledgers``. ``source``: what ``t`` is, if not the table as it stands; it
    gives a column ``xmin``. ``keeps``: the tool's other tables in that schema (``{table}``: the ledger's name),
    which are no part of the schema either. ``companion`` is a table of the same schema that knows more: where it can be
    read, the expressions in ``beside`` take the place of those above.
    ``identify`` splits what the ledger calls a migration into version and name. ``checksums`` gives every
    checksum under which the tool accepts a migration (None: this one's cannot be told); None if the tool
    has none. ``chained``: a checksum covers all earlier files too. ``whole``: one row stands for all
    earlier migrations (``upto``), or for all ancestors (``heads``).
    """

    tool: str
    columns: Mapping[str, str]
    version: str
    optional: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    name: str = "NULL"
    state: str = _APPLIED
    position: str = "NULL"
    applied_at: str = "NULL"
    checksum: str = "NULL"
    statements: str = "NULL"
    applied_by: str = "NULL"
    note: str = "NULL"
    recorded_as: str = _RUN
    done: str = "NULL"
    total: str = "NULL"
    where: str = "true"
    source: str = "{table} AS t"
    keeps: tuple[str, ...] = ()
    companion: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    identify: Callable[[str], tuple[str, str]] | None = None
    checksums: Callable[[Migration], frozenset[str] | None] | None = None
    chained: bool = False
    whole: str = ""
    not_detectable: tuple[str, ...] = ()

    def recognise(self, columns: Mapping[str, str], table: str) -> bool:
        """Whether a table with these columns (name -> type) is this tool's ledger."""
        required = self.columns.items()
        return (
            all(column in columns and re.fullmatch(pattern, columns[column]) for column, pattern in required)
            and set(columns) <= {*self.columns, *self.optional}
            and (not self.names or table in self.names)
        )


_VARCHAR = r"character varying(?:\(\d+\))?"
_TEXT = rf"text|{_VARCHAR}"
_TIME = r"timestamp(?:\(\d\))? with(?:out)? time zone"
_INT = "integer|bigint"
_NO_EDITS = "edits of applied migrations (the ledger keeps neither text nor checksum)"
_NO_TIME = "when each migration was applied"
_NO_ORDER = "the order in which migrations were applied, when one transaction wrote all rows"


def _file_stem(name: str) -> tuple[str, str]:
    return stamp(re.sub(r"\.(?:js|ts|cjs|mjs|cts|mts|sql)$", "", name))


LEDGERS: dict[str, Ledger] = {
    ledger.tool: ledger
    for ledger in (
        Ledger(
            "supabase",
            {"version": _TEXT, "statements": r"text\[\]", "name": _TEXT},
            # Columns of hosted projects.
            optional=frozenset({"created_by", "idempotency_key", "rollback"}),
            keeps=("seed_files",),
            version="t.version",
            name="coalesce(t.name, '')",
            statements="t.statements",
            applied_by="to_jsonb(t) ->> 'created_by'",
            not_detectable=(
                _NO_TIME,
                _NO_ORDER,
                "whether the stored statements were run (`migration repair` stores them without that)",
            ),
        ),
        Ledger(
            "prisma",
            {
                "id": _VARCHAR,
                "checksum": _VARCHAR,
                "finished_at": _TIME,
                "migration_name": _VARCHAR,
                "logs": "text",
                "rolled_back_at": _TIME,
                "started_at": _TIME,
                "applied_steps_count": _INT,
            },
            version="t.migration_name",
            identify=stamp,
            state="CASE WHEN t.rolled_back_at IS NOT NULL THEN 'rolled_back' "
            "WHEN t.finished_at IS NULL THEN 'failed' ELSE 'applied' END",
            position="row_number() OVER (ORDER BY t.started_at, t.id)",
            applied_at="t.finished_at",
            checksum="t.checksum",
            note="CASE WHEN t.finished_at IS NULL "
            "THEN left(regexp_replace(t.logs, '[[:space:]]+', ' ', 'g'), 300) "
            "WHEN t.applied_steps_count = 0 THEN 'recorded with 0 steps: marked as applied, not run' END",
            recorded_as="CASE WHEN t.finished_at IS NOT NULL AND t.applied_steps_count = 0 THEN 'marked' "
            "ELSE 'run' END",
            done="t.applied_steps_count",
            checksums=checksums.prisma,
        ),
        Ledger(
            "flyway",
            {
                "installed_rank": _INT,
                "version": _VARCHAR,
                "description": _VARCHAR,
                "type": _VARCHAR,
                "script": _VARCHAR,
                "checksum": _INT,
                "installed_by": _VARCHAR,
                "installed_on": _TIME,
                "execution_time": _INT,
                "success": "boolean",
            },
            version="coalesce(t.version, '')",
            name="t.description",
            where="t.type <> 'SCHEMA'",
            state="CASE WHEN NOT t.success THEN 'failed' "
            "WHEN t.type LIKE 'UNDO%' OR t.type = 'DELETE' THEN 'rolled_back' ELSE 'applied' END",
            position="t.installed_rank",
            applied_at="t.installed_on",
            checksum="t.checksum::text",
            applied_by="t.installed_by",
            note="CASE WHEN t.type LIKE '%BASELINE' THEN 'baseline' END",
            # A script of type SQL_BASELINE was run in place of those it covers.
            recorded_as="CASE WHEN t.type LIKE '%BASELINE' THEN 'baseline' ELSE 'run' END",
            checksums=checksums.flyway,
            not_detectable=("edits hidden by `repair`, which rewrites checksums",),
        ),
        Ledger(
            "liquibase",
            {
                "id": _VARCHAR,
                "author": _VARCHAR,
                "filename": _VARCHAR,
                "dateexecuted": _TIME,
                "orderexecuted": _INT,
                "exectype": _VARCHAR,
                "md5sum": _VARCHAR,
            },
            optional=frozenset(
                {"description", "comments", "tag", "liquibase", "contexts", "labels", "deployment_id"}
            ),
            keeps=("{table}lock",),
            version="t.filename || '::' || t.id || '::' || t.author",
            state="CASE t.exectype WHEN 'FAILED' THEN 'failed' WHEN 'SKIPPED' THEN 'rolled_back' "
            "ELSE 'applied' END",
            position="t.orderexecuted",
            applied_at="t.dateexecuted",
            # Older checksums are computed otherwise; Liquibase replaces them when it runs next.
            checksum="CASE WHEN t.md5sum LIKE '9:%' THEN t.md5sum END",
            note="CASE WHEN t.exectype = 'MARK_RAN' THEN 'marked as run, not run' "
            "WHEN t.md5sum IS NULL THEN 'without a checksum: it was cleared, so an edit cannot be seen' "
            "WHEN t.md5sum NOT LIKE '9:%' THEN 'its checksum is of an older Liquibase, so an edit cannot be seen' "
            "WHEN t.exectype = 'RERAN' THEN 'run again after an edit' END",
            recorded_as="CASE t.exectype WHEN 'MARK_RAN' THEN 'marked' ELSE 'run' END",
            checksums=checksums.liquibase,
            not_detectable=(
                "edits of changesets that are not SQL (run `liquibase validate`), and those of white space",
            ),
        ),
        Ledger(
            "django",
            {"id": _INT, "app": _VARCHAR, "name": _VARCHAR, "applied": _TIME},
            version="t.app || '.' || t.name",
            name="t.name",
            position="t.id",
            applied_at="t.applied",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "alembic",
            {"version_num": _VARCHAR},
            version="t.version_num",
            whole="heads",
            not_detectable=(_NO_EDITS, _NO_TIME, "the order of migrations: only heads are stored"),
        ),
        Ledger(
            "drizzle",
            {"id": _INT, "hash": "text", "created_at": "bigint"},
            optional=frozenset({"name", "applied_at"}),
            version="coalesce(to_jsonb(t) ->> 'name', t.created_at::text)",
            name="coalesce(to_jsonb(t) ->> 'name', '')",
            position="t.id",
            applied_at="(to_jsonb(t) ->> 'applied_at')::timestamptz",
            checksum="t.hash",
            checksums=checksums.digest("sha256"),
            not_detectable=(_NO_TIME,),
        ),
        Ledger(
            "golang-migrate",
            {"version": "bigint", "dirty": "boolean"},
            version="t.version::text",
            state="CASE WHEN t.dirty THEN 'failed' ELSE 'applied' END",
            whole="upto",
            not_detectable=(_NO_EDITS, _NO_TIME, "skipped migrations: only the last version is stored"),
        ),
        Ledger(
            "ecto",
            {"version": "bigint", "inserted_at": _TIME},
            version="t.version::text",
            position="row_number() OVER (ORDER BY t.inserted_at, t.version)",
            applied_at="t.inserted_at",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "rails",
            {"version": _VARCHAR},
            names=("schema_migrations",),
            keeps=("ar_internal_metadata",),
            version="t.version",
            not_detectable=(_NO_EDITS, _NO_TIME, _NO_ORDER),
        ),
        Ledger(
            "dbmate",
            {"version": _VARCHAR},
            names=("schema_migrations",),
            version="t.version",
            not_detectable=(_NO_EDITS, _NO_TIME, _NO_ORDER),
        ),
        Ledger(
            "goose",
            {"id": _INT, "version_id": "bigint", "is_applied": "boolean", "tstamp": _TIME},
            version="t.version_id::text",
            where="t.version_id <> 0",
            state="CASE WHEN t.is_applied THEN 'applied' ELSE 'rolled_back' END",
            position="t.id",
            applied_at="t.tstamp",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "sqlx",
            {
                "version": "bigint",
                "description": "text",
                "installed_on": _TIME,
                "success": "boolean",
                "checksum": "bytea",
                "execution_time": "bigint",
            },
            version="t.version::text",
            name="replace(t.description, ' ', '_')",
            state="CASE WHEN t.success THEN 'applied' ELSE 'failed' END",
            position="row_number() OVER (ORDER BY t.installed_on, t.version)",
            applied_at="t.installed_on",
            checksum="encode(t.checksum, 'hex')",
            checksums=checksums.digest("sha384"),
        ),
        Ledger(
            "refinery",
            {"version": _INT, "name": _VARCHAR, "applied_on": _VARCHAR, "checksum": _VARCHAR},
            version="t.version::text",
            name="t.name",
            position="row_number() OVER (ORDER BY t.applied_on::timestamptz, t.version)",
            applied_at="t.applied_on::timestamptz",
            checksum="t.checksum",
            checksums=checksums.refinery,
        ),
        Ledger(
            "atlas",
            {
                "version": _TEXT,
                "description": _TEXT,
                "type": _INT,
                "applied": _INT,
                "total": _INT,
                "executed_at": _TIME,
                "execution_time": "bigint",
                "hash": _TEXT,
                "partial_hashes": "jsonb?",
                "operator_version": _TEXT,
            },
            optional=frozenset({"error", "error_stmt"}),
            version="t.version",
            name="t.description",
            where="t.version <> '.atlas_cloud_identifier'",
            state="CASE WHEN t.applied < t.total THEN 'failed' ELSE 'applied' END",
            position="row_number() OVER (ORDER BY t.executed_at, t.version)",
            applied_at="t.executed_at",
            checksum="t.hash",
            # The type is a set of bits: 1 baseline, 2 executed, 4 resolved by hand.
            note="CASE WHEN t.type & 2 = 0 THEN "
            "CASE WHEN t.type & 1 = 1 THEN 'baseline' ELSE 'resolved by hand, not run' END "
            "WHEN t.applied < t.total THEN format('%s of %s statements applied', t.applied, t.total) "
            "|| coalesce(', then: ' || left(regexp_replace(nullif(to_jsonb(t) ->> 'error', ''), "
            "'[[:space:]]+', ' ', 'g'), 300), '') END",
            recorded_as="CASE WHEN t.type & 1 = 1 THEN 'baseline' WHEN t.type & 2 = 0 THEN 'marked' ELSE 'run' END",
            done="t.applied",
            total="t.total",
            chained=True,
            not_detectable=(
                "edits after the first one, unless git has the edited text (hashes are cumulative)",
            ),
        ),
        Ledger(
            "knex",
            {"id": _INT, "name": _VARCHAR, "batch": _INT, "migration_time": _TIME},
            keeps=("{table}_lock",),
            version="t.name",
            identify=_file_stem,
            position="t.id",
            applied_at="t.migration_time",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "typeorm",
            {"id": _INT, "timestamp": "bigint", "name": _VARCHAR},
            keeps=("typeorm_metadata",),
            version="t.timestamp::text",
            name="regexp_replace(t.name, '[0-9]{{13}}$', '')",
            position="t.id",
            not_detectable=(_NO_EDITS, _NO_TIME),
        ),
        Ledger(
            "sequelize",
            {"name": _VARCHAR},
            names=("SequelizeMeta", "sequelize_meta"),
            version="t.name",
            identify=_file_stem,
            not_detectable=(_NO_EDITS, _NO_TIME, _NO_ORDER),
        ),
        Ledger(
            "node-pg-migrate",
            {"id": _INT, "name": _VARCHAR, "run_on": _TIME},
            version="t.name",
            identify=_file_stem,
            position="t.id",
            applied_at="t.run_on",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "diesel",
            {"version": _VARCHAR, "run_on": _TIME},
            version="t.version",
            position="row_number() OVER (ORDER BY t.run_on, t.version)",
            applied_at="t.run_on",
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "efcore",
            {"MigrationId": _VARCHAR, "ProductVersion": _VARCHAR},
            version='t."MigrationId"',
            identify=stamp,
            not_detectable=(_NO_EDITS, _NO_TIME, _NO_ORDER),
        ),
        Ledger(
            "yoyo",
            {"migration_hash": _VARCHAR, "migration_id": _VARCHAR, "applied_at_utc": _TIME},
            keeps=("_yoyo_log", "_yoyo_version", "yoyo_lock"),
            version="t.migration_id",
            position="row_number() OVER (ORDER BY t.applied_at_utc, t.migration_id)",
            applied_at="t.applied_at_utc AT TIME ZONE 'UTC'",
            companion="_yoyo_log",
            beside={
                "applied_by": "(SELECT nullif(concat_ws('@', l.username, l.hostname), '') FROM {companion} l "
                "WHERE l.migration_hash = t.migration_hash AND l.operation IN ('apply', 'mark') "
                "ORDER BY l.created_at_utc DESC LIMIT 1)",
                "recorded_as": "coalesce((SELECT CASE l.operation WHEN 'mark' THEN 'marked' ELSE 'run' END "
                "FROM {companion} l WHERE l.migration_hash = t.migration_hash "
                "AND l.operation IN ('apply', 'mark') ORDER BY l.created_at_utc DESC LIMIT 1), 'run')",
            },
            not_detectable=(_NO_EDITS,),
        ),
        Ledger(
            "sqitch",
            {
                "change_id": "text",
                "script_hash": "text",
                "change": "text",
                "project": "text",
                "note": "text",
                "committed_at": _TIME,
                "committer_name": "text",
                "committer_email": "text",
                "planned_at": _TIME,
                "planner_name": "text",
                "planner_email": "text",
            },
            # A change that was reworked is there twice; the plan counts in the same way.
            keeps=("projects", "releases", "tags", "dependencies", "events"),
            version="t.change || CASE WHEN t.failed THEN '' ELSE coalesce('#' || nullif("
            "row_number() OVER (PARTITION BY t.failed, t.project, t.change ORDER BY t.committed_at), 1), '') END",
            source="(SELECT *, false AS failed, xmin AS xmin FROM {table}) AS t",
            state="CASE WHEN t.failed THEN 'failed' ELSE 'applied' END",
            position="row_number() OVER (ORDER BY t.committed_at, t.change_id)",
            applied_at="t.committed_at",
            checksum="t.script_hash",
            applied_by="t.committer_name || ' <' || t.committer_email || '>'",
            companion="events",
            beside={
                # What failed is in the events only, and counts until the change is deployed.
                "source": "(SELECT c.change_id, c.script_hash, c.change, c.project, c.note, c.committed_at, "
                "c.committer_name, c.committer_email, false AS failed, c.xmin AS xmin FROM {table} AS c "
                "UNION ALL SELECT * FROM (SELECT DISTINCT ON (e.project, e.change_id) e.change_id, NULL, "
                "e.change, e.project, e.note, e.committed_at, e.committer_name, e.committer_email, true, e.xmin "
                "FROM {companion} AS e WHERE NOT EXISTS (SELECT FROM {table} AS c WHERE c.change_id = e.change_id) "
                "AND e.event IN ('fail', 'revert') "
                "ORDER BY e.project, e.change_id, e.committed_at DESC) AS f WHERE EXISTS (SELECT FROM {companion} AS e "
                "WHERE e.change_id = f.change_id AND e.committed_at = f.committed_at AND e.event = 'fail')) AS t",
            },
            checksums=checksums.digest("sha1"),
        ),
        Ledger(
            "postgres-migrations",
            {"id": _INT, "name": _VARCHAR, "hash": _VARCHAR, "executed_at": _TIME},
            version="t.id::text",
            name="t.name",
            where="t.id > 0",  # its own table
            position="row_number() OVER (ORDER BY t.executed_at, t.id)",
            applied_at="t.executed_at",
            checksum="t.hash",
            checksums=checksums.postgres_migrations,
        ),
        Ledger(
            "hasura",
            {"hasura_uuid": "uuid", "version": "text", "upgraded_on": _TIME, "cli_state": "jsonb"},
            # Whatever else the engine keeps in the one row of this table.
            optional=frozenset(
                {"console_state", "ee_client_id", "ee_client_secret", "jwt_jwk", "license_key", "cli_uuid"}
            ),
            source="(SELECT m.key AS version, d.key AS db, m.value AS dirty, NULL::xid AS xmin FROM {table} AS v, "
            "jsonb_each(CASE jsonb_typeof(v.cli_state -> 'migrations') WHEN 'object' "
            "THEN v.cli_state -> 'migrations' ELSE '{{}}' END) AS d, "
            "jsonb_each(CASE jsonb_typeof(d.value) WHEN 'object' THEN d.value ELSE '{{}}' END) AS m) AS t",
            keeps=(
                "hdb_metadata",
                "hdb_action_log",
                "hdb_cron_events",
                "hdb_cron_event_invocation_logs",
                "hdb_scheduled_events",
                "hdb_scheduled_event_invocation_logs",
                "hdb_schema_notifications",
                "hdb_source_catalog_version",
                "hdb_event_log",
                "event_log",
                "event_invocation_logs",
            ),
            version="t.version",
            state="CASE t.dirty WHEN 'true' THEN 'failed' ELSE 'applied' END",
            note="CASE t.db WHEN 'default' THEN NULL ELSE 'recorded for the database ' || t.db END",
            not_detectable=(_NO_EDITS, _NO_TIME, "the order in which migrations were applied"),
        ),
        Ledger(
            "pgroll",
            {
                "schema": "name",
                "name": "text",
                "migration": "jsonb",
                "created_at": _TIME,
                "updated_at": _TIME,
                "parent": "text",
                "done": "boolean",
                "resulting_schema": "jsonb",
            },
            optional=frozenset({"migration_type"}),
            keeps=("pgroll_version",),
            version="t.name",
            # What was changed without pgroll, and its event trigger saw.
            where="true",
            state="CASE WHEN t.done THEN 'applied' ELSE 'failed' END",
            position="row_number() OVER (ORDER BY t.created_at, t.name)",
            applied_at="t.created_at",
            statements="(SELECT array_agg(o -> 'sql' ->> 'up' ORDER BY n) FROM jsonb_array_elements("
            "CASE jsonb_typeof(t.migration -> 'operations') WHEN 'array' THEN t.migration -> 'operations' "
            "ELSE '[]' END) WITH ORDINALITY AS a(o, n) HAVING bool_and(o -> 'sql' ->> 'up' IS NOT NULL))",
            note="CASE WHEN NOT t.done THEN 'started and not completed: half of it is in place' "
            "ELSE CASE to_jsonb(t) ->> 'migration_type' WHEN 'inferred' "
            "THEN 'made without pgroll, whose event trigger recorded it' WHEN 'baseline' THEN 'baseline' END END",
            recorded_as="CASE to_jsonb(t) ->> 'migration_type' WHEN 'inferred' THEN 'captured' "
            "WHEN 'baseline' THEN 'baseline' ELSE 'run' END",
            not_detectable=("edits of migrations that are not SQL (what pgroll stored is not compared)",),
        ),
    )
}

# The platform's own ledgers, in schemas of these names whose tables a role supabase_… owns.
_PLATFORM = {
    "auth": "Supabase Auth",
    "storage": "Supabase Storage",
    "realtime": "Supabase Realtime",
    "_realtime": "Supabase Realtime",
    "supabase_functions": "Supabase Functions",
    "_analytics": "Supabase Analytics",
    "_supavisor": "Supavisor",
}


@dataclass(frozen=True)
class LedgerTable:
    """A ledger that was found. ``platform`` names the service it belongs to, if it is not the project's.

    ``denied`` says what the role lacks to read it, ``grant`` how to give it. ``companion``: the other table
    of the tool, which knows more, is there and can be read.
    """

    tool: str
    schema: str
    table: str
    platform: str | None = None
    denied: str | None = None
    grant: str | None = None
    companion: bool = False

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class History:
    """What one database records of its migrations.

    ``tool`` is None if no ledger was found. ``readable`` is False if there is one that may not be read: then
    nothing is known, which is not the same as nothing applied, and ``not_checked`` says so.
    ``others`` are the ledgers that were not taken, as ``schema.table (tool)``.
    """

    tool: str | None = None
    table: str | None = None
    rows: tuple[Row, ...] = ()
    readable: bool = True
    notes: tuple[str, ...] = ()
    not_checked: tuple[dict[str, str], ...] = ()
    others: tuple[str, ...] = field(default=())


# One row per table that could be a ledger: few columns, and one that some ledger has. format_type() spells
# a type the same on every server.
_FIND = """
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner),
       json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)),
       has_schema_privilege(n.oid, 'USAGE'),
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
       row_security_active(c.oid),
       current_user
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relnatts BETWEEN 1 AND 24
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
GROUP BY n.oid, n.nspname, c.oid, c.relname, c.relowner
HAVING bool_or(a.attname = ANY (%s)) OR c.relname = ANY (%s)
ORDER BY n.nspname, c.relname
"""

# Applied times come from the tool, else from the row's commit, which the server knows only if it was told to
# (track_commit_timestamp) and until the row is frozen.
_READ = """
SELECT {version} AS version, {name} AS name, {state} AS state, {position} AS position,
       to_char(coalesce(({applied_at})::timestamptz,
                        CASE WHEN current_setting('track_commit_timestamp') = 'on'
                             THEN pg_xact_commit_timestamp(t.xmin) END) AT TIME ZONE 'UTC',
               'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS applied_at,
       {checksum} AS checksum, {statements} AS statements, {applied_by} AS applied_by, {note} AS note,
       {recorded_as} AS recorded_as, {done} AS done, {total} AS total,
       t.xmin::text::bigint AS xmin, age(t.xmin) AS age
FROM {source} WHERE {where} ORDER BY 4 NULLS LAST, 1
"""


def find_ledgers(connection: psycopg.Connection[Any]) -> list[LedgerTable]:
    """All ledgers in the database, the platform's included, in order of schema and table."""
    # The rarest column of each ledger is enough to find its table.
    telling = sorted({_telling(ledger) for ledger in LEDGERS.values()})
    beside = ["ar_internal_metadata", *(ledger.companion for ledger in LEDGERS.values() if ledger.companion)]
    rows = connection.execute(_FIND, [telling, beside]).fetchall()
    tables = {(schema, table) for schema, table, *_ in rows}
    open_tables = {(row[0], row[1]) for row in rows if row[5] and not row[6]}
    found = []
    for schema, table, owner, columns, usage, readable, secured, role in rows:
        fitting = [ledger.tool for ledger in LEDGERS.values() if ledger.recognise(columns, table)]
        if not fitting:
            continue
        tool = fitting[0]
        if len(fitting) > 1 and (schema, "ar_internal_metadata") not in tables:
            tool = fitting[1]  # Rails keeps that table next to its ledger, dbmate does not
        platform = _PLATFORM.get(schema) if owner.startswith("supabase_") else None
        denied, grant = _denied(schema, table, role, usage=usage, readable=readable, secured=secured)
        companion = (schema, LEDGERS[tool].companion) in open_tables
        found.append(LedgerTable(tool, schema, table, platform, denied, grant, companion))
    return found


def _telling(ledger: Ledger) -> str:
    counts = {column: sum(column in other.columns for other in LEDGERS.values()) for column in ledger.columns}
    return min(counts, key=lambda column: (counts[column], column))


def _denied(
    schema: str, table: str, role: str, *, usage: bool, readable: bool, secured: bool
) -> tuple[str | None, str | None]:
    name, who = f"{_quoted(schema)}.{_quoted(table)}", _quoted(role)
    if not readable:
        grants = [] if usage else [f"GRANT USAGE ON SCHEMA {_quoted(schema)} TO {who};"]
        lacks = "SELECT on the table" if usage else "USAGE on the schema"
        return f"role {role} lacks {lacks}", " ".join([*grants, f"GRANT SELECT ON {name} TO {who};"])
    if secured:
        return (
            f"row-level security can hide its rows from role {role}",
            f"CREATE POLICY auditkit_read ON {name} FOR SELECT TO {who} USING (true);",
        )
    return None, None


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def read_ledgers(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Every ledger as a plain record, fit to be kept in a snapshot.

    Keys: tool, schema, table, platform, denied, grant, rows. A row has tool, table, position (order applied,
    or None), version, name, state (applied, failed, rolled_back), applied_at (ISO 8601, UTC), checksum,
    statements, applied_by (as the tool knows that person), note, recorded_as, done and total, xmin, age (in
    transactions; the higher, the older). The platform's own ledgers are listed without rows.

    recorded_as tells how the row came to be: run (the tool ran the migration), marked (recorded without
    being run), baseline (stands for all migrations up to it), captured (a change made without the tool, which
    saw it). done of total: the statements (Prisma: steps) that were run, where the tool counts them.
    """
    records = []
    for found in find_ledgers(connection):
        denied, grant, rows = found.denied, found.grant, list[Row]()
        if not denied and not found.platform:
            rows, denied = _rows(connection, found)
        records.append(
            {
                "tool": found.tool,
                "schema": found.schema,
                "table": found.table,
                "platform": found.platform,
                "denied": denied,
                "grant": grant,
                "rows": rows,
            }
        )
    return records


def _rows(connection: psycopg.Connection[Any], found: LedgerTable) -> tuple[list[Row], str | None]:
    import psycopg
    from psycopg import sql
    from psycopg.rows import dict_row

    ledger = LEDGERS[found.tool]
    texts: dict[str, str] = {name: getattr(ledger, name) for name in _EXPRESSIONS}
    texts.update(ledger.beside if found.companion else {})
    tables = {
        "table": sql.Identifier(found.schema, found.table),
        "companion": sql.Identifier(found.schema, ledger.companion),
    }
    parts = {name: sql.SQL(text).format(**tables) for name, text in texts.items()}
    query = sql.SQL(_READ).format(**parts)
    try:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query).fetchall()
    except psycopg.Error as error:
        return [], f"reading it failed ({error.diag.message_primary or type(error).__name__})"
    for row in rows:
        if ledger.identify:
            row["version"], row["name"] = ledger.identify(row["version"])
        row["name"] = row["name"] or ""
    return [{"tool": found.tool, "table": found.label, **row} for row in rows], None


_EXPRESSIONS = (
    "version",
    "name",
    "state",
    "position",
    "applied_at",
    "checksum",
    "statements",
    "applied_by",
    "note",
    "recorded_as",
    "done",
    "total",
    "where",
    "source",
)


def read_history(connection: psycopg.Connection[Any], project: str | Migrations | None = None) -> History:
    """What the database records of its migrations; *project* as for ``choose``."""
    return choose(read_ledgers(connection), project)


def choose(records: Iterable[Mapping[str, Any]], project: str | Migrations | None = None) -> History:
    """Pick the project's ledger from the records of ``read_ledgers``.

    *project* is its migrations, or the name of its tool. The ledger of that tool comes first; then what cannot
    be read, since it must not be overlooked; then the one that records most of the files' versions, then the
    one with most rows.
    """
    tool = project if project is None or isinstance(project, str) else project.tool
    wanted = frozenset() if project is None or isinstance(project, str) else {m.version for m in project}
    own = [record for record in records if not record["platform"]]
    # Rails' and dbmate's ledgers look alike; the project knows.
    twins = {"rails", "dbmate"}
    if tool in twins:
        own = [{**record, "tool": tool} if record["tool"] in twins else record for record in own]
    if not own:
        return History(notes=("no migration history table was found",))
    known = {_label(r): sum(row["version"] in wanted for row in r["rows"]) for r in own}
    ranked = sorted(
        own,
        key=lambda r: (r["tool"] != tool, not r["denied"], -known[_label(r)], -len(r["rows"]), _label(r)),
    )
    chosen, others = ranked[0], ranked[1:]
    label = _label(chosen)
    notes: list[str] = []
    if others:
        names = ", ".join(f"{_label(other)} ({other['tool']})" for other in others)
        notes.append(f"history read from {label} ({chosen['tool']}); there is also {names}")
    if tool not in (None, "plain", chosen["tool"]):
        notes.append(f"the files are {tool}'s, but the database has the ledger of {chosen['tool']} ({label})")
    not_checked: tuple[dict[str, str], ...] = ()
    if chosen["denied"]:
        not_checked = (
            {
                "what": f"migration history ({chosen['tool']}, {label})",
                "why": chosen["denied"],
                "fix": chosen["grant"] or "read it with another role",
            },
        )
    rows = [{**row, "tool": chosen["tool"]} for row in chosen["rows"]]
    return History(
        chosen["tool"],
        label,
        tuple(_squashed(rows, project) if isinstance(project, Migrations) else rows),
        not chosen["denied"],
        tuple(notes),
        not_checked,
        tuple(f"{_label(other)} ({other['tool']})" for other in others),
    )


def _squashed(rows: list[Row], migrations: Migrations) -> list[Row]:
    """*rows* without those that have no file because a migration that is there, and was run, replaces them.

    Django records those when it runs the squashed one, and that itself only at the end, or when it finds all of them: the
    last of their rows tells when it was.
    """
    recorded = {row["version"]: row for row in rows}
    files = {migration.version for migration in migrations}
    for migration in migrations:
        gone = [version for version in migration.replaces if version not in files]
        if not gone or not (migration.version in recorded or all(v in recorded for v in migration.replaces)):
            continue
        if last := recorded.get(gone[-1]):
            recorded[migration.version] = {**last, "version": migration.version, "name": migration.name}
        for version in gone:
            recorded.pop(version, None)
    return list(recorded.values()) if any(m.replaces for m in migrations) else rows


def _label(record: Mapping[str, Any]) -> str:
    return f"{record['schema']}.{record['table']}"


def own_tables(record: Mapping[str, Any]) -> set[str]:
    """What a tool keeps for itself, as schema.table: its ledger, given as ``read_ledgers`` does, and more."""
    ledger = LEDGERS.get(record["tool"])
    names = [name.format(table=record["table"]) for name in ledger.keeps] if ledger else []
    return {f"{record['schema']}.{name}" for name in (record["table"], *names)}


def not_detectable(tool: str | None) -> Sequence[str]:
    """What the ledger of *tool* cannot show, in words that continue "cannot be told: …"."""
    return LEDGERS[tool].not_detectable if tool in LEDGERS else ()
