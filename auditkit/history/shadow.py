"""Replay of migrations in a shadow database, with provenance for every statement.

PostgreSQL is the only thing that understands PostgreSQL, so what was *meant* is found by running the
migrations on a scratch cluster (a cluster, because migrations change roles) and reading its catalog.

How provenance is won: each statement runs in a savepoint of its own and leaves a marker row. Catalog rows
and marker rows written by one statement carry the same subtransaction id, or a later one that is still
below the next marker's (``DO … EXCEPTION`` opens further ones), so ``xmin`` leads back to the statement.
After each migration only the objects whose catalog rows it wrote are read again; what it dropped is told
by an ``sql_drop`` event trigger. At the end the state built up that way is compared with a full read, and
if they differ (a rename can change text that was stored nowhere) the replay is repeated with a full read
after every migration: slower, and right.
"""

from __future__ import annotations

import bisect
import contextlib
import gzip
import hashlib
import json
import os
import re
import secrets
import select
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import auditkit
from auditkit import server as servers
from auditkit.catalog import capture
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Address, Fact, Key, Snapshot
from auditkit.connect import connect, reason
from auditkit.errors import ServerFailed
from auditkit.history.split import Statement, first_word, split
from auditkit.progress import silent

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult

Progress = Callable[[int, int, str], None]

#: Our own objects in the shadow database live here and are never reported.
SCHEMA = "auditkit_shadow"
FORMAT = 2
KEEP, KEEP_CLUSTERS = 60, 10  # replays in the cache (1 MB each), and how many with their cluster (30 MB)

_OWN_OBJECTS = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.mark (step int NOT NULL, statement int NOT NULL);
CREATE TABLE {SCHEMA}.dropped (classid oid, objid oid, objsubid int, object_type text, identity text);
CREATE FUNCTION {SCHEMA}.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO {SCHEMA}.dropped
    SELECT classid, objid, objsubid, object_type, object_identity FROM pg_event_trigger_dropped_objects();
END $$;
CREATE EVENT TRIGGER {SCHEMA}_drop ON sql_drop EXECUTE FUNCTION {SCHEMA}.on_drop();
ALTER EVENT TRIGGER {SCHEMA}_drop ENABLE ALWAYS;
GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO PUBLIC;
"""

#: A file that fails inside a transaction with one of these is run again statement by statement, each
#: committing for itself, as the server demands: CREATE INDEX CONCURRENTLY and friends (25001), an enum
#: value used in the transaction that added it (55P04), COMMIT inside a procedure (2D000).
_NEEDS_AUTOCOMMIT = frozenset({"25001", "55P04", "2D000"})
_SAVEPOINT = "SAVEPOINT auditkit"
_PG_CLASS = 1259  # the oid of the catalog of relations
_TRANSACTION_WORDS = frozenset(
    {"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"}
)
#: SET TRANSACTION, like what ends a transaction, cannot stand in a savepoint.
_NOT_WITHIN = _TRANSACTION_WORDS | {"set"}


@dataclass(frozen=True)
class Step:
    """One migration to replay: its text and how its tool runs it."""

    version: str
    name: str
    sql: str
    file: str | None = None
    transactional: bool = True


@dataclass(frozen=True)
class Change:
    """One entry in the timeline of an object: what it became, and through which statement.

    ``step`` counts from 0; -1 is the platform's base. ``fact`` is None when the object was dropped.
    ``line`` (1-based) and ``statement`` are None for the base.
    """

    step: int
    line: int | None
    statement: str | None
    fact: Fact | None


@dataclass(frozen=True)
class Failure:
    """A migration that did not run in the shadow database."""

    step: int
    line: int
    message: str
    sqlstate: str
    statement: str


@dataclass
class Replay:
    """What a sequence of migrations makes of a database, and which statement made what.

    ``final`` is a snapshot of the end state; ``timeline`` holds, for every object that a migration
    touched, its states in order (the first is the base's, when the base had it).
    """

    steps: list[Step]
    final: Snapshot
    timeline: dict[Key, list[Change]]
    failures: list[Failure]
    notes: list[str] = field(default_factory=list)
    statements: int = 0
    replayed: int = 0  # steps that were really run this time; the rest came from the cache
    seconds: float = 0.0
    taken: dict[int, int] = field(
        default_factory=dict
    )  # step → object ids that our own objects took before it
    server: str = ""
    major: int = 0
    ground: Ground | None = None

    def last_writer(self, key: Key, before: int | None = None) -> Change | None:
        """The last change of an object (before step *before*), its base state, or None."""
        changes = self.timeline.get(key)
        if not changes:
            return None
        if before is None:
            return changes[-1]
        return next((c for c in reversed(changes) if c.step < before), None)

    def state_before(self, key: Key, step: int) -> Fact | None:
        """What the object was when *step* began."""
        change = self.last_writer(key, before=step)
        return change.fact if change else None

    def footprint(self, step: int) -> list[Key]:
        """The objects that *step* changed, in a stable order."""
        if not self._footprints:
            for key, changes in self.timeline.items():
                for change in changes:
                    self._footprints.setdefault(change.step, {})[key] = None
        return sorted(self._footprints.get(step, ()))

    _footprints: dict[int, dict[Key, None]] = field(default_factory=dict, repr=False)


# --------------------------------------------------------------------------------------------------
# Running one migration
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ran:
    """The outcome of one migration: the first transaction id of each statement, or why it failed."""

    statements: list[Statement]
    marks: list[tuple[int, int]]
    failure: Failure | None


def _run(runner: psycopg.Connection[Any], reader: psycopg.Connection[Any], number: int, step: Step) -> _Ran:
    statements = split(_without_client_commands(step.sql))
    own_transaction = any(_first_word(s.text) in _TRANSACTION_WORDS for s in statements)
    if step.transactional and not own_transaction:
        error = _exec(runner, _in_one_transaction(number, statements))
        if error is None:
            return _Ran(statements, _marks(reader, number), None)
        _exec(runner, "ROLLBACK")
        if error.sqlstate not in _NEEDS_AUTOCOMMIT:
            # Once more, one by one, to learn which statement it was.
            return _Ran(
                statements, [], _locate(runner, number, statements) or error.at(number, statements[0])
            )
    from psycopg.pq import TransactionStatus

    marks: list[tuple[int, int]] = []
    for index, statement in enumerate(statements):
        marks.append((_next_xid(reader), index))
        if (
            runner.info.transaction_status == TransactionStatus.INTRANS
            and _first_word(statement.text) not in _NOT_WITHIN
        ):
            # All statements of the file's own transaction would else share one transaction id.
            marks.pop()
            error = _exec(runner, _marked(number, index, statement))
            if error is not None:
                error = replace(error, position=max(error.position - len(_SAVEPOINT) - 1, 0))
        else:
            error = _exec(runner, statement.text)
        if error is not None:
            if _exec(runner, "ROLLBACK") is not None:  # outside a transaction it only warns
                raise ServerFailed(f"the shadow server stopped while it ran {step.file or step.version}")
            return _Ran(statements, marks, error.at(number, statement))
    _exec(runner, "COMMIT")
    return _Ran(statements, sorted(marks + _marks(reader, number)), None)


def _in_one_transaction(number: int, statements: Sequence[Statement]) -> str:
    parts = [_marked(number, index, statement) for index, statement in enumerate(statements)]
    return ";".join(["BEGIN", *parts, "COMMIT"])


def _marked(number: int, index: int, statement: Statement) -> str:
    return ";".join(
        [
            _SAVEPOINT,
            statement.text + "\n",  # a final -- comment must not swallow the semicolon
            f"INSERT INTO {SCHEMA}.mark VALUES ({number}, {index})",
            "RELEASE SAVEPOINT auditkit",
        ]
    )


def _locate(runner: psycopg.Connection[Any], number: int, statements: Sequence[Statement]) -> Failure | None:
    _exec(runner, "BEGIN")
    try:
        for statement in statements:
            error = _exec(runner, statement.text)
            if error is not None:
                return error.at(number, statement)
        error = _exec(runner, "COMMIT")  # deferred constraints speak up here
        last = next((s for s in reversed(statements) if _first_word(s.text)), statements[-1])
        return error.at(number, last) if error else None
    finally:
        _exec(runner, "ROLLBACK")


@dataclass(frozen=True)
class _Error:
    sqlstate: str
    message: str
    position: int  # in characters, 1-based; 0 when the server gave none

    def at(self, number: int, statement: Statement) -> Failure:
        line = statement.line
        if self.position:
            text = statement.text
            skipped = len(text) - len(text.lstrip())
            line_of_start = statement.line - text[: self._first(text)].count("\n")
            line = line_of_start + text[: max(self.position - 1, skipped)].count("\n")
        return Failure(number, line, self.message, self.sqlstate, _excerpt(statement.text))

    @staticmethod
    def _first(text: str) -> int:
        from auditkit.history.split import first_word

        return first_word(text)


def _exec(connection: psycopg.Connection[Any], sql: str) -> _Error | None:
    """Run *sql* as one simple query, as psql and most migration tools do; None when it succeeded."""
    from psycopg.pq import DiagnosticField, ExecStatus

    if "\x00" in sql:
        return _Error("22021", "the file holds a NUL byte, which SQL text cannot", 0)
    result = _wait(connection.pgconn, sql.encode("utf-8"))
    if result.status == ExecStatus.COPY_IN:
        connection.pgconn.put_copy_end(b"rows are not replayed")
        while (rest := connection.pgconn.get_result()) is not None:
            result = rest
    if result.status != ExecStatus.FATAL_ERROR:
        return None

    def field_of(name: DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode("utf-8", "replace")

    message = (
        field_of(DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode("utf-8", "replace").strip()
    )
    position = field_of(DiagnosticField.STATEMENT_POSITION)
    if sql.lstrip().startswith("\\"):
        message = "a psql meta-command, which is not run (it could execute shell commands)"
    return _Error(field_of(DiagnosticField.SQLSTATE), message, int(position) if position.isdigit() else 0)


def _wait(pgconn: PGconn, sql: bytes) -> PGresult:
    """``PQexec``, but Ctrl-C is heard while the server works: libpq's own waiting goes on until it is done."""
    from psycopg import OperationalError
    from psycopg.pq import ExecStatus

    poll = select.poll()
    try:
        poll.register(pgconn.socket, select.POLLIN)
        pgconn.send_query(sql)
    except OperationalError:
        return pgconn.exec_(sql)  # the connection is gone: a result that says so
    last: PGresult | None = None
    while True:
        with contextlib.suppress(OperationalError):  # lost just now: the next result says so
            while pgconn.is_busy():
                poll.poll()
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            assert last
            return last
        last = result
        if result.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
            return result


def _without_client_commands(sql: str) -> str:
    r"""Blank out what only psql understands and what carries no schema, keeping line numbers.

    ``\restrict`` and ``\unrestrict`` frame dumps of pg_dump 13.22 … 18 and newer (CVE-2025-8714);
    rows between ``COPY … FROM stdin;`` and ``\.`` are data.
    """
    if "\\" not in sql:
        return sql
    sql = re.sub(r"(?m)^\\(?:un)?restrict .*$", "", sql)
    return re.sub(
        r"(?ims)^copy\s[^;]*\sfrom\s+stdin[^;]*;\r?\n.*?^\\\.[ \t]*\r?$",
        lambda match: "\n" * match[0].count("\n"),
        sql,
    )


def _first_word(text: str) -> str:
    match = re.match(r"[a-zA-Z]+", text[first_word(text) :])
    return match[0].lower() if match else ""


def _excerpt(text: str, width: int = 160) -> str:
    flat = " ".join(text[first_word(text) :].split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _marks(reader: psycopg.Connection[Any], number: int) -> list[tuple[int, int]]:
    rows = reader.execute(
        f"SELECT xmin::text::bigint, statement FROM {SCHEMA}.mark WHERE step = %s ORDER BY 1", [number]
    ).fetchall()
    return [(int(xid), int(index)) for xid, index in rows]


def _next_xid(reader: psycopg.Connection[Any]) -> int:
    row = reader.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert row
    return int(row[0])


def _oids_of_own(reader: psycopg.Connection[Any]) -> int:
    """How many object ids ``_OWN_OBJECTS`` took: the schema is made first, the event trigger last."""
    row = reader.execute(
        "SELECT max(e.oid)::bigint - max(n.oid)::bigint + 1 FROM pg_event_trigger e, pg_namespace n "
        f"WHERE e.evtname = '{SCHEMA}_drop' AND n.nspname = '{SCHEMA}'"
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _statement_of(marks: Sequence[tuple[int, int]], xid: int) -> int | None:
    """The statement whose (sub)transaction wrote *xid*: the last marker that is not younger."""
    place = bisect.bisect_right(marks, (xid, 1 << 30)) - 1
    return marks[place][1] if place >= 0 else None


# --------------------------------------------------------------------------------------------------
# Following the catalog from migration to migration
# --------------------------------------------------------------------------------------------------


class _Follower:
    """The facts of the shadow database, kept current by reading only what each migration touched."""

    def __init__(
        self, reader: psycopg.Connection[Any], timeline: Mapping[Key, list[Change]], *, always_full: bool
    ) -> None:
        self.reader = reader
        self.always_full = always_full
        self.facts: dict[Key, Fact] = {}
        self.keys: dict[tuple[int, int, int], Key] = {}  # catalog address → key
        self.anchored: dict[int, set[Key]] = {}
        self.timeline = {key: list(changes) for key, changes in timeline.items()}
        self._replace(self._read(), None)

    def _read(self, touched: capture.Touched | None = None) -> list[Fact]:
        facts = capture.read_facts(self.reader, touched=touched)
        return [fact for fact in facts if not _is_ours(fact)]

    def _replace(self, facts: list[Fact], touched: capture.Touched | None) -> dict[Key, Fact | None]:
        """Put *facts* in place of all facts, or of those that *touched* made us read; return what changed."""
        changed: dict[Key, Fact | None] = {}
        new = {fact.key: fact for fact in facts}
        if touched is None:
            old = set(self.facts)
        else:
            kinds = touched.kinds
            old = {k for anchor in touched.anchors for k in self.anchored.get(anchor, ()) if k[0] in kinds}
        for key in old - new.keys():
            self._forget(key)
            changed[key] = None
        for key, fact in new.items():
            before = self.facts.get(key)
            if before is None or before.attributes != fact.attributes:
                changed[key] = fact
            self.facts[key] = fact
            self.keys[fact.address] = key
            self.anchored.setdefault(fact.anchor, set()).add(key)
        return changed

    def _forget(self, key: Key) -> None:
        fact = self.facts.pop(key)
        if self.keys.get(fact.address) == key:
            del self.keys[fact.address]
        self.anchored.get(fact.anchor, set()).discard(key)

    def step(self, number: int, ran: _Ran, since: int) -> None:
        """Bring the facts up to date after step *number*, whose first transaction id was *since*."""
        before = self.facts.copy()
        dropped = self._dropped(since)
        changed: dict[Key, Fact | None] = {}
        touched = capture.touched(self.reader, since)
        facts = [] if self.always_full or not touched else self._read(touched)
        # Cluster-wide facts have no anchor, and several may share an address.
        renamed = any(fact.anchor and self.keys.get(fact.address, fact.key) != fact.key for fact in facts)
        if self.always_full or renamed:
            # A new name changes text that is stored nowhere: views, expressions and keys that mention it.
            changed = self._replace(self._read(), None)
        else:
            for _, oid, subid in dropped:
                for key in list(self.anchored.get(oid, ())) if not subid else ():
                    self._forget(key)
                    changed[key] = None
            for address in dropped:
                if (gone := self.keys.get(address)) is not None:
                    self._forget(gone)
                    changed[gone] = None
            changed |= self._replace(facts, touched) if touched else {}
        for key, fact in changed.items():
            earlier = before.get(key)
            if earlier is None and fact is None:
                continue  # made and dropped by the same migration
            if key not in self.timeline and earlier is not None:
                self.timeline[key] = [Change(-1, None, None, earlier)]
            if fact is not None:
                xids = self._written(fact, since)
            else:
                assert earlier is not None
                xids = [x for a, x in dropped.items() if a == earlier.address or a[1] == earlier.anchor]
                xids = xids or self._written(earlier, since, renamed=True)
            index = max((i for x in xids if (i := _statement_of(ran.marks, x)) is not None), default=None)
            statement = ran.statements[index] if index is not None else None
            line, text = (statement.line, _excerpt(statement.text)) if statement else (None, None)
            self.timeline.setdefault(key, []).append(Change(number, line, text, fact))

    def _written(self, fact: Fact, since: int, *, renamed: bool = False) -> list[int]:
        """The transactions that wrote *fact*, or what now has its address; else those of its relation.

        Renaming a table changes the names of its columns, whose own rows stay as they were.
        """
        for address in (fact.address, (_PG_CLASS, fact.anchor, 0)):
            key = self.keys.get(address)
            there = fact if not renamed and address == fact.address else self.facts[key] if key else None
            if there and (xids := [xid for xid in there.xmins if xid >= since]):
                return xids
        return []

    def agrees(self, final: Snapshot) -> bool:
        """Whether the facts are those of a full read; roles that came into use or out of it are put right first."""
        for kind in (k.name for k in KINDS.values() if k.cluster_wide):
            for fact in final.iter(kind):
                if fact.key not in self.facts:
                    self.facts[fact.key] = fact
                    self.timeline.setdefault(fact.key, [Change(-1, None, None, fact)])
            for key in [k for k in self.facts if k[0] == kind and final.get(*k) is None]:
                del self.facts[key]
                if changes := self.timeline.get(key):
                    changes.append(Change(changes[-1].step, None, None, None))
        return {f.key: f.attributes for f in final.iter()} == {k: f.attributes for k, f in self.facts.items()}

    def _dropped(self, since: int) -> dict[Address, int]:
        rows = self.reader.execute(
            f"SELECT classid::bigint, objid::bigint, objsubid, xmin::text::bigint FROM {SCHEMA}.dropped "
            "WHERE xmin::text::bigint >= %s",
            [since],
        ).fetchall()
        return {(classid, objid, subid): xid for classid, objid, subid, xid in rows}


def _is_ours(fact: Fact) -> bool:
    return fact.schema == SCHEMA or SCHEMA in fact.identity


# --------------------------------------------------------------------------------------------------
# The replay
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """What a replay stands on: the server, and what is there before the first migration.

    ``base`` are statements of the platform or the operator, run as superuser; ``role`` runs the migrations;
    ``superuser`` is the cluster's bootstrap role;
    ``extension_files`` are stand-ins (path below the extension directory → text). ``server`` names
    a scratch server to use instead of an embedded one: databases and roles are made and dropped there.
    ``platform``, ``stand_ins`` and ``notes`` only say where these came from.
    """

    binaries: servers.Binaries | None = None
    server: str | None = None
    database: str = "postgres"
    role: str = "postgres"
    superuser: str = "postgres"
    base: tuple[str, ...] = ()
    extension_files: Mapping[str, str] = field(default_factory=dict)
    platform: str = "none"
    stand_ins: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        version = self.binaries.version if self.binaries else 0
        words = [
            str(FORMAT),
            auditkit.__version__,
            str(version),
            self.database,
            self.role,
            self.superuser,
            *self.base,
        ]
        words += [text for item in sorted(self.extension_files.items()) for text in item]
        return hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def replay(
    steps: Sequence[Step],
    ground: Ground,
    *,
    progress: Progress = silent,
    cache: bool = True,
    continued: bool = True,
) -> Replay:
    """Run *steps* on *ground* and follow what each statement makes of every object.

    A migration that fails is recorded (file, line, the server's message), its transaction is rolled back, and
    the replay goes on. Results are cached by content: of a history that grew, only what is new is run.

    Args:
        steps: the migrations, in order.
        ground: what they run on.
        progress: told (done, total, what).
        cache: whether to use and fill the cache.
        continued: whether *steps* are likely to be continued: then the cluster is kept too (30 MB).

    Raises:
        ServerFailed: no scratch server could be started, or it went away.
    """
    started = time.monotonic()
    steps = list(steps)
    with _Store(ground, steps, enabled=cache and ground.binaries is not None, clusters=continued) as store:
        done = store.longest()
        if done == len(steps):
            result = store.load()
        else:
            try:
                result = _run_steps(steps, ground, store, done, progress, always_full=False)
            except _Strayed:
                result = _run_steps(steps, ground, store, store.longest(), progress, always_full=True)
            store.keep(result)
    result.seconds = time.monotonic() - started
    result.ground = ground
    return result


def reprint(result: Replay, queries: Mapping[Key, str]) -> dict[Key, str]:
    """*queries* as the server of a replay prints them, where all that they mention is as the replay left it.

    Nothing is returned for those that cannot run there, nor if the replay's cluster is no longer kept.
    """
    if result.ground is None or result.ground.binaries is None:
        return {}
    printed: dict[Key, str] = {}
    with _Store(result.ground, result.steps, enabled=True, clusters=True) as store:
        cluster = store.cluster(len(result.steps))
        if not cluster.exists():
            return {}
        with _Scratch(result.ground, cluster) as scratch:
            runner = scratch.runner()
            _exec(runner, f"CREATE SCHEMA {SCHEMA}; SET search_path = pg_catalog")
            for key, query in queries.items():
                if _exec(runner, f"CREATE OR REPLACE VIEW {SCHEMA}.reprint AS {query}") is None:
                    row = runner.execute(f"SELECT pg_get_viewdef('{SCHEMA}.reprint'::regclass)").fetchone()
                    printed[key] = row[0] if row else query
                    _exec(runner, f"DROP VIEW {SCHEMA}.reprint")
            runner.close()
    return printed


class _Strayed(Exception):
    """Following what each migration touched did not lead to what a full read shows."""


def _run_steps(
    steps: list[Step],
    ground: Ground,
    store: _Store,
    done: int | None,
    progress: Progress,
    *,
    always_full: bool,
) -> Replay:
    """Replay what follows the first *done* steps (None: lay the ground first)."""
    earlier = store.load() if done else None
    notes = list(earlier.notes) if earlier else []
    failures = list(earlier.failures) if earlier else []
    statements = earlier.statements if earlier else 0
    first = done or 0
    with _Scratch(ground, store.cluster(done) if done is not None else None) as scratch:
        if done is None:
            progress(0, len(steps), "Preparing the shadow database")
            notes += scratch.lay(ground)
        reader = scratch.reader()
        runner = scratch.runner(ground.role)
        _exec(runner, _OWN_OBJECTS)
        taken = dict(earlier.taken) if earlier else {}
        taken[first] = _oids_of_own(reader)
        follower = _Follower(reader, earlier.timeline if earlier else {}, always_full=always_full)
        for number in range(first, len(steps)):
            step = steps[number]
            progress(number, len(steps), f"Replaying {step.version} {step.name}".strip())
            scratch.reset(runner)
            since = _next_xid(reader)
            ran = _run(runner, reader, number, step)
            statements += len(ran.statements)
            if ran.failure:
                failures.append(ran.failure)
            follower.step(number, ran, since)
        scratch.reset(runner)
        _exec(
            runner,
            f"RESET SESSION AUTHORIZATION; DROP EVENT TRIGGER {SCHEMA}_drop; DROP SCHEMA {SCHEMA} CASCADE",
        )
        runner.close()
        final = scratch.snapshot()
        if not follower.agrees(final) and not always_full:
            raise _Strayed
        reader.close()
        result = Replay(
            steps=steps,
            final=final,
            timeline=follower.timeline,
            failures=failures,
            notes=notes,
            statements=statements,
            replayed=len(steps) - first,
            taken=taken,
            server=str(final.manifest["server"]),
            major=int(final.manifest["server_version"]) // 10000,
        )
        store.keep_cluster(scratch)
    return result


class _Scratch:
    """A cluster (or, on a server named by the user, a database) that exists for one replay."""

    def __init__(self, ground: Ground, cluster: Path | None) -> None:
        self.ground = ground
        self.server: servers.Server | None = None
        self.database = ground.database
        self._roles: set[str] = set()
        if ground.server:
            self.database = f"auditkit_shadow_{secrets.token_hex(4)}"
            self._named(ground.server)
        else:
            self._embedded(ground, cluster)

    def _embedded(self, ground: Ground, cluster: Path | None) -> None:
        self.server = servers.start(
            binaries=ground.binaries,
            cluster=cluster,
            superuser=ground.superuser,
            extension_files=ground.extension_files,
            label="shadow",
        )

    def _named(self, conninfo: str) -> None:
        import psycopg

        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                self._roles = _roles(connection)
                connection.execute(f'CREATE DATABASE "{self.database}" TEMPLATE template0')
        except psycopg.Error as error:
            raise ServerFailed(
                f"the shadow server cannot be used: {reason(error)}; [shadow] server must name a scratch server "
                "whose role may create databases and roles"
            ) from None

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.server:
            self.server.stop()
        elif self.ground.server:
            self._drop_named(self.ground.server)

    def _drop_named(self, conninfo: str) -> None:
        import psycopg

        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
            for role in sorted(_roles(connection) - self._roles):
                _exec(connection, f"DROP ROLE IF EXISTS {quote(role)}")

    def conninfo(self, user: str | None = None) -> str:
        if self.server:
            return self.server.conninfo(self.database, user=user)
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self.ground.server or "", dbname=self.database)

    def runner(self, user: str | None = None) -> psycopg.Connection[Any]:
        """A session with libpq's plain defaults, as most tools have; the role's own settings apply."""
        import psycopg

        try:
            connection = psycopg.connect(self.conninfo(user), autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as error:
            raise ServerFailed(
                f"the shadow database cannot run migrations as {user}: {reason(error)}; "
                "name another role with [shadow] role in auditkit.toml"
            ) from None
        connection.add_notice_handler(lambda notice: None)
        return connection

    def reader(self) -> psycopg.Connection[Any]:
        connection = connect(self.conninfo(), name="the shadow database")
        # Our own scratch database: nobody to be polite to.
        connection.execute(
            "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"
        )
        return connection

    def reset(self, runner: psycopg.Connection[Any]) -> None:
        """Make the session as good as new."""
        from psycopg.pq import TransactionStatus

        if runner.pgconn.transaction_status != TransactionStatus.IDLE:
            _exec(runner, "ROLLBACK")
        error = _exec(runner, "DISCARD ALL")
        if error is None and self.ground.server:
            error = _exec(runner, f"SET SESSION AUTHORIZATION {quote(self.ground.role)}")
        if error is not None:
            raise ServerFailed(
                f"the shadow database cannot run migrations as {self.ground.role}: {error.message}"
            )

    def lay(self, ground: Ground) -> list[str]:
        """Create the database and what must exist before the first migration; return what did not work.

        Statements that fail are tried again after the others, until a round brings nothing new: facts read
        from a catalog come in no particular order.
        """
        if self.server and self.database not in ("postgres", "template1"):
            self.server.create_database(self.database)
        connection = self.runner()
        waiting = list(ground.base)
        if not any(role == ground.role for role in _roles(connection)):
            waiting.insert(0, f"CREATE ROLE {quote(ground.role)} SUPERUSER")
        errors: dict[str, _Error] = {}
        while waiting:
            again = []
            _exec(connection, "SET check_function_bodies = off")  # bodies may mention what comes later
            for statement in waiting:
                error = _exec(connection, statement)
                if error:
                    errors[statement] = error
                    again.append(statement)
                    _exec(connection, "ROLLBACK")
            if len(again) == len(waiting):
                break
            waiting = again
        connection.close()
        return [
            f"not rebuilt: {_excerpt(statement, 80)}: {errors[statement].message}" for statement in waiting
        ]

    def snapshot(self) -> Snapshot:
        return capture.capture(self.conninfo(), name="migrations")


class _Store:
    """Replays kept by content: for every prefix that was replayed its timeline, end state and cluster."""

    def __init__(self, ground: Ground, steps: Sequence[Step], *, enabled: bool, clusters: bool) -> None:
        self.clusters = clusters
        self.steps = list(steps)
        self.keys = _chain(ground.digest(), steps)
        self.root = _cache_root() if enabled else None
        self._pending: Path | None = None
        self._loaded: Replay | None = None

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pending:
            shutil.rmtree(self._pending, ignore_errors=True)
        if self.root:
            _prune(self.root)

    def longest(self) -> int | None:
        """How many of the first steps need not be run: all, or those after which a cluster was kept; or None."""
        if self.root is None:
            return None
        for n in range(len(self.steps), -1, -1):
            folder = self.root / self.keys[n]
            if (folder / "done").exists() and (n == len(self.steps) or (folder / "cluster").exists()):
                try:
                    self._loaded = _load(folder, self.steps[:n])
                    os.utime(folder)
                except (OSError, EOFError, LookupError, TypeError, ValueError, zlib.error):
                    shutil.rmtree(folder, ignore_errors=True)  # damaged: as if it had never been kept
                else:
                    return n
        return None

    def cluster(self, done: int) -> Path:
        assert self.root
        return self.root / self.keys[done] / "cluster"

    def load(self) -> Replay:
        """The replay of as many steps as ``longest`` said last."""
        assert self._loaded
        return self._loaded

    def keep_cluster(self, scratch: _Scratch) -> None:
        if self.root is None or scratch.server is None:
            return
        self._pending = self._new_folder()
        if self.clusters:
            scratch.server.freeze(self._pending / "cluster")

    def keep(self, result: Replay) -> None:
        if self._pending is None or not result.final.complete:
            return
        _save(result, self._pending)
        (self._pending / "done").touch()
        self._publish(self._pending, self.keys[-1])
        self._pending = None

    def _new_folder(self) -> Path:
        assert self.root
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))

    def _publish(self, folder: Path, key: str) -> None:
        assert self.root
        try:
            folder.rename(self.root / key)
        except OSError:  # another process was quicker; its result is the same
            shutil.rmtree(folder, ignore_errors=True)


def _save(result: Replay, folder: Path) -> None:
    facts: list[Fact] = []
    places: dict[int, int] = {}

    def place(fact: Fact | None) -> int | None:
        if fact is None:
            return None
        if id(fact) not in places:
            places[id(fact)] = len(facts)
            facts.append(fact)
        return places[id(fact)]

    timeline = [
        [*key, [[c.step, c.line, c.statement, place(c.fact)] for c in changes]]
        for key, changes in result.timeline.items()
    ]
    data = {
        "final": result.final.to_json(),
        "timeline": timeline,
        "facts": [fact.to_json() for fact in facts],
        "failures": [[f.step, f.line, f.message, f.sqlstate, f.statement] for f in result.failures],
        "notes": result.notes,
        "statements": result.statements,
        "taken": sorted(result.taken.items()),
        "server": result.server,
        "major": result.major,
    }
    (folder / "replay.json.gz").write_bytes(gzip.compress(json.dumps(data).encode(), 1))


def _load(folder: Path, steps: list[Step]) -> Replay:
    data = json.loads(gzip.decompress((folder / "replay.json.gz").read_bytes()))
    facts = [Fact.from_json(item) for item in data["facts"]]
    timeline = {
        (kind, identity): [
            Change(n, line, text, None if f is None else facts[f]) for n, line, text, f in changes
        ]
        for kind, identity, changes in data["timeline"]
    }
    return Replay(
        steps=steps,
        final=Snapshot.from_json(data["final"]),
        timeline=timeline,
        failures=[Failure(*item) for item in data["failures"]],
        notes=data["notes"],
        statements=data["statements"],
        taken=dict(data.get("taken", ())),
        server=data["server"],
        major=data["major"],
    )


def _chain(ground: str, steps: Sequence[Step]) -> list[str]:
    """One key per prefix: changing or inserting a migration changes all keys from there on."""
    keys = [ground]
    for step in steps:
        words = (keys[-1], step.version, step.name, step.file or "", str(step.transactional), step.sql)
        keys.append(hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogatepass")).hexdigest())
    return [key[:40] for key in keys]


def _cache_root() -> Path:
    named = os.environ.get("AUDITKIT_CACHE_DIR")
    if named:
        return Path(named) / "replays"
    import platformdirs

    return Path(platformdirs.user_cache_dir("auditkit")) / "replays"


def _prune(root: Path) -> None:
    """Forget the replays and clusters that were not used for longest, and what a killed process left."""
    if not root.is_dir():
        return
    kept = sorted((f for f in root.iterdir() if not f.name.startswith(".")), key=lambda f: f.stat().st_mtime)
    heavy = [f for f in kept if (f / "cluster").exists()]
    stale = [f for f in root.glob(".new-*") if f.stat().st_mtime < time.time() - 3600]
    for folder in {*kept[:-KEEP], *heavy[:-KEEP_CLUSTERS], *stale}:
        shutil.rmtree(folder, ignore_errors=True)


def _roles(connection: psycopg.Connection[Any]) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
    }


def quote(name: str) -> str:
    """*name* as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
