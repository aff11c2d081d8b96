"""Running one migration as its tool would, so that every statement leaves a mark."""

from __future__ import annotations

import bisect
import contextlib
import re
import select
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auditkit.catalog.snapshot import Address
from auditkit.errors import ServerFailed
from auditkit.history.shadow.replayed import Failure, Step
from auditkit.history.split import Statement, first_word, split

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult


#: Our own objects in the shadow database live here and are never reported.
SCHEMA = "auditkit_shadow"

_NEXT_XID = "pg_snapshot_xmax(pg_current_snapshot())::text::int8"

OWN_OBJECTS = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.mark (statement int NOT NULL);
CREATE TABLE {SCHEMA}.catalog AS SELECT oid, relname::text AS name FROM pg_class WHERE oid < 16384 AND relkind = 'r';
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

#: What a migration says of itself goes back with its own results, each with a first column of such a name.
_MARK, _CATALOGS, _DROPPED, _NEXT = "auditkit_mark", "auditkit_catalogs", "auditkit_dropped", "auditkit_next"
#: The server counts what a transaction writes to each table; a counter that is off says nothing.
_WRITTEN = (
    f"SELECT array_to_string(ARRAY(SELECT name FROM {SCHEMA}.catalog WHERE pg_stat_get_xact_tuples_inserted(oid) "
    f"+ pg_stat_get_xact_tuples_updated(oid) > 0), ',') AS {_CATALOGS} WHERE current_setting('track_counts')::bool"
)
_GONE = f"DELETE FROM {SCHEMA}.dropped RETURNING xmin AS {_DROPPED}, classid, objid, objsubid"
_OVER = f"SELECT {_NEXT_XID} AS {_NEXT}"
_OURS = frozenset({_MARK, _CATALOGS, _DROPPED, _NEXT})

#: A file that fails inside a transaction with one of these is run again statement by statement, each
#: committing for itself, as the server demands: CREATE INDEX CONCURRENTLY and friends (25001), an enum
#: value used in the transaction that added it (55P04), COMMIT inside a procedure (2D000).
NEEDS_AUTOCOMMIT = frozenset({"25001", "55P04", "2D000"})
_SAVEPOINT = "SAVEPOINT auditkit"
_SAVEPOINT_WORDS = frozenset({"savepoint", "release", "rollback to"})
TRANSACTION_WORDS = frozenset({"begin", "start", "commit", "end", "rollback", "abort"})
#: SET TRANSACTION, like what ends a transaction, cannot stand in a savepoint.
_NOT_WITHIN = TRANSACTION_WORDS | _SAVEPOINT_WORDS | {"set"}


#: Rows that our own statements returned: the name of their first column, and the values.
Told = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Ran:
    """The outcome of one migration: what it ran, why it failed, if it did, and the traces it left.

    Attributes:
        marks: first transaction id of each statement and its number, ascending.
        catalogs: the catalogs it wrote to, if that is known.
        dropped: address of each object it dropped → the transaction that did.
        next: no later migration has an older transaction.
        whole: it ran in one transaction.
        bound: the numbers of statements whose values were sent apart, as far as the tool's driver tells.
    """

    statements: list[Statement]
    failure: Failure | None
    marks: list[tuple[int, int]]
    catalogs: list[str] | None
    dropped: dict[Address, int]
    next: int
    whole: bool
    bound: frozenset[int] = frozenset()

    @property
    def sent(self) -> tuple[tuple[int, str], ...]:
        """Line and text of each statement, as provenance gives them."""
        return tuple((statement.line, excerpt(statement.text)) for statement in self.statements)

    @property
    def plain(self) -> frozenset[int]:
        """The marks of statements that stand in no savepoint of the migration's own: elsewhere, too, what they write
        bears the id of the transaction itself."""
        words = (leading_word(statement.text) for statement in self.statements)
        first = next((i for i, word in enumerate(words) if word == "savepoint"), len(self.statements))
        return frozenset(xid for xid, index in self.marks if index < first)


@dataclass(frozen=True)
class Begun:
    """A migration, and what was sent of it: all, if it runs in one transaction, else nothing yet."""

    number: int
    step: Step
    statements: list[Statement]
    sent: str | None


def begin(runner: psycopg.Connection[Any], number: int, step: Step) -> Begun:
    """Have the server start on a migration, if it can be sent as a whole; ``run`` does the rest."""
    if step.code is not None:
        return Begun(number, step, [], None)
    statements = split(without_client_commands(step.sql))
    own_transaction = any(leading_word(s.text) in TRANSACTION_WORDS for s in statements)
    sql = _in_one_transaction(statements) if step.transactional and not own_transaction else None
    if sql is not None:
        send(runner, sql)
    return Begun(number, step, statements, sql)


def run(runner: psycopg.Connection[Any], reader: psycopg.Connection[Any], begun: Begun) -> Ran:
    """Wait until a migration has run; run it, if nothing was sent or it has to be run differently."""
    number, step, statements = begun.number, begun.step, begun.statements
    if step.code is not None:
        return step.code.run(runner, reader, number, step)
    told: Told = []
    if begun.sent is not None:
        error = finish(runner, begun.sent, told)
        if error is None:
            return _ran(statements, None, [], told)
        execute(runner, "ROLLBACK")
        if error.sqlstate not in NEEDS_AUTOCOMMIT:
            # Once more, one by one, to learn which statement it was.
            failure = _locate(runner, number, statements) or error.at(number, statements[0])
            return after(runner, statements, failure, [], [])
    from psycopg.pq import TransactionStatus

    told = []
    marks: list[tuple[int, int]] = []
    for index, statement in enumerate(statements):
        marks.append((next_xid(reader), index))
        if (
            runner.info.transaction_status == TransactionStatus.INTRANS
            and leading_word(statement.text) not in _NOT_WITHIN
        ):
            # All statements of the file's own transaction would else share one transaction id.
            marks.pop()
            error = execute(runner, _marked(index, statement), told)
            if error is not None:
                error = replace(error, position=max(error.position - len(_SAVEPOINT) - 1, 0))
        else:
            error = execute(runner, statement.text)
        if error is not None:
            if execute(runner, "ROLLBACK") is not None:  # outside a transaction it only warns
                raise ServerFailed(f"the shadow server stopped while it ran {step.file or step.version}")
            return after(runner, statements, error.at(number, statement), marks, told)
    execute(runner, "COMMIT")
    return after(runner, statements, None, marks, told)


def marked_since(runner: psycopg.Connection[Any], xid: int) -> Told:
    """The markers that others than ``run`` have left."""
    told: Told = []
    execute(
        runner,
        f"SELECT xmin AS {_MARK}, statement FROM {SCHEMA}.mark WHERE xmin::text::int8 >= {xid}",
        told,
    )
    return told


def after(
    runner: psycopg.Connection[Any],
    statements: list[Statement],
    failure: Failure | None,
    marks: list[tuple[int, int]],
    told: Told,
) -> Ran:
    """The outcome of a migration that could not tell what it dropped within its own transaction.

    Args:
        marks: the first transaction ids of those statements that could not leave a marker row.
        told: what the others have left.
    """
    execute(runner, f"{_GONE};{_OVER}", told)
    return _ran(statements, failure, marks, told)


def _ran(
    statements: list[Statement], failure: Failure | None, marks: list[tuple[int, int]], told: Told
) -> Ran:
    rows: dict[str, list[list[str]]] = {_MARK: [], _CATALOGS: [], _DROPPED: [], _NEXT: []}
    for name, row in told:
        rows[name].append(row)
    if not rows[_NEXT]:
        raise ServerFailed("the shadow session was ended; does a migration terminate sessions?")
    catalogs = rows[_CATALOGS][-1][0] if rows[_CATALOGS] else None
    return Ran(
        statements,
        failure,
        sorted(marks + [(int(xid), int(index)) for xid, index in rows[_MARK]]),
        None if catalogs is None else catalogs.split(","),
        {(int(classid), int(oid), int(subid)): int(xid) for xid, classid, oid, subid in rows[_DROPPED]},
        int(rows[_NEXT][-1][0]),
        whole=not marks,
    )


def _in_one_transaction(statements: Sequence[Statement]) -> str:
    parts = [_marked(index, statement) for index, statement in enumerate(statements)]
    return ";".join(["BEGIN", *parts, _GONE, _WRITTEN, "COMMIT", _OVER])


def _marked(index: int, statement: Statement) -> str:
    if leading_word(statement.text) in _SAVEPOINT_WORDS:
        return statement.text + "\n"
    return ";".join(
        [
            _SAVEPOINT,
            statement.text + "\n",  # a final -- comment must not swallow the semicolon
            f"INSERT INTO {SCHEMA}.mark VALUES ({index}) RETURNING xmin AS {_MARK}, statement",
            "RELEASE SAVEPOINT auditkit",
        ]
    )


def _locate(runner: psycopg.Connection[Any], number: int, statements: Sequence[Statement]) -> Failure | None:
    execute(runner, "BEGIN")
    try:
        for statement in statements:
            error = execute(runner, statement.text)
            if error is not None:
                return error.at(number, statement)
        error = execute(runner, "COMMIT")  # deferred constraints speak up here
        last = next((s for s in reversed(statements) if leading_word(s.text)), statements[-1])
        return error.at(number, last) if error else None
    finally:
        execute(runner, "ROLLBACK")


@dataclass(frozen=True)
class Error:
    sqlstate: str
    message: str
    position: int  # in characters, 1-based; 0 when the server gave none

    def at(self, number: int, statement: Statement) -> Failure:
        line = statement.line
        if self.position:
            text = statement.text
            skipped = len(text) - len(text.lstrip())
            line_of_start = statement.line - text[: first_word(text)].count("\n")
            line = line_of_start + text[: max(self.position - 1, skipped)].count("\n")
        return Failure(number, line, self.message, self.sqlstate, excerpt(statement.text))


def execute(connection: psycopg.Connection[Any], sql: str, told: Told | None = None) -> Error | None:
    """Run *sql* as one simple query, as psql and most migration tools do; None when it succeeded.

    *told* gets what our own statements among it return.
    """
    send(connection, sql)
    return finish(connection, sql, told)


def send(connection: psycopg.Connection[Any], sql: str) -> None:
    from psycopg import OperationalError

    if "\x00" not in sql:
        with contextlib.suppress(OperationalError):  # the connection is gone: waiting for it says so
            connection.pgconn.send_query(sql.encode("utf-8"))


def finish(connection: psycopg.Connection[Any], sql: str, told: Told | None = None) -> Error | None:
    """Wait until *sql*, which was sent, has run."""
    from psycopg.pq import DiagnosticField, ExecStatus

    if "\x00" in sql:
        return Error("22021", "the file holds a NUL byte, which SQL text cannot", 0)
    result = _wait(connection.pgconn, told)
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
    return Error(field_of(DiagnosticField.SQLSTATE), message, int(position) if position.isdigit() else 0)


def _wait(pgconn: PGconn, told: Told | None) -> PGresult:
    """The last result; Ctrl-C is heard while the server works, as libpq's own waiting goes on until it is done."""
    from psycopg import OperationalError
    from psycopg.pq import ExecStatus

    poll = select.poll()
    last: PGresult | None = None
    while True:
        with contextlib.suppress(OperationalError):  # lost just now: the next result says so
            while pgconn.is_busy():
                # What is longer than the socket's buffer (a dump in one migration) is sent piece by piece.
                poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if pgconn.flush() else 0))
                poll.poll()
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if last is None:  # nothing could be sent
                raise ServerFailed("the shadow session was ended; does a migration terminate sessions?")
            return last
        last = result
        if told is not None and result.nfields and (name := (result.fname(0) or b"").decode()) in _OURS:
            told += [
                (name, [(result.get_value(i, j) or b"").decode() for j in range(result.nfields)])
                for i in range(result.ntuples)
            ]
        if result.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
            return result


def without_client_commands(sql: str) -> str:
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


def leading_word(text: str) -> str:
    match = re.match(
        r"(rollback)(?:\s+(?:work|transaction))?\s+(to)\b|([a-z]+)", text[first_word(text) :], re.I
    )
    return " ".join(word for word in match.groups() if word).lower() if match else ""


def excerpt(text: str, width: int = 160) -> str:
    flat = " ".join(text[first_word(text) :].split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def next_xid(reader: psycopg.Connection[Any]) -> int:
    row = reader.execute(f"SELECT {_NEXT_XID}").fetchone()
    assert row
    return int(row[0])


def oids_of_own(reader: psycopg.Connection[Any]) -> int:
    """How many object ids ``OWN_OBJECTS`` took: the schema is made first, the event trigger last."""
    row = reader.execute(
        "SELECT max(e.oid)::bigint - max(n.oid)::bigint + 1 FROM pg_event_trigger e, pg_namespace n "
        f"WHERE e.evtname = '{SCHEMA}_drop' AND n.nspname = '{SCHEMA}'"
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def statement_of(marks: Sequence[tuple[int, int]], xid: int) -> int | None:
    """The statement whose (sub)transaction wrote *xid*: the last marker that is not younger."""
    place = bisect.bisect_right(marks, (xid, 1 << 30)) - 1
    return marks[place][1] if place >= 0 else None
