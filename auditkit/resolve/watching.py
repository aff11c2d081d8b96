"""Migrations run on a shadow that was rebuilt from an environment, statement by statement, and watched.

Nothing is read out of their text: which locks a statement took, which tables it read from end to end or wrote anew,
which indexes it built and which rows are gone afterwards is what the server tells. Their way back is made from what they
did, and is run, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditkit.catalog.compare import Delta, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.errors import NotTheShadow, ToolFailed
from auditkit.history.shadow.replayed import Failure, Step
from auditkit.history.shadow.running import (
    NEEDS_AUTOCOMMIT,
    OWN_OBJECTS,
    SCHEMA,
    TRANSACTION_WORDS,
    Error,
    excerpt,
    execute,
    leading_word,
    without_client_commands,
)
from auditkit.history.shadow.scratch import Scratch
from auditkit.history.split import Statement, first_word, split
from auditkit.resolve import rows, script
from auditkit.resolve.closing import close
from auditkit.resolve.proof import MODES, Shadow, Stage
from auditkit.resolve.rehearsal import said, sql_of
from auditkit.resolve.renames import recognise

if TYPE_CHECKING:
    import psycopg

__all__ = ["Outcome", "Seen", "Watched", "watch"]

#: As the session that runs the migration sees its own, uncommitted work: relations, and for each how often it was read
#: from end to end by this session.
_RELATIONS = """
    SELECT c.oid::int8, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text,
           coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::int8, pg_catalog.pg_stat_get_xact_numscans(c.oid),
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND n.nspname <> 'auditkit_shadow'"""
_LOCKS = """
    SELECT relation::int8, mode FROM pg_locks WHERE locktype = 'relation' AND granted AND pid = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_PATIENCE = "SELECT pg_catalog.current_setting('lock_timeout')"


@dataclass(frozen=True)
class Seen:
    """One statement, as it was seen to run.

    Attributes:
        line: in the migration's file.
        text: its beginning.
        locks: relation → the lock it took there, if that is stronger than what its transaction held already.
        rewritten, scanned, indexed: tables that it wrote anew, read from end to end, gave another index.
        transaction: the number of its transaction within the migration; None if it can be in none.
        waits: the lock_timeout in force, ``0`` for ever.
    """

    line: int
    text: str
    locks: dict[str, str] = field(default_factory=dict)
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    transaction: int | None = 0
    waits: str = "0"

    def as_dict(self) -> dict[str, Any]:
        """As the document has it."""
        return {
            "line": self.line,
            "statement": self.text,
            "locks": [{"relation": name, "mode": mode} for name, mode in sorted(self.locks.items())],
            "rewritten": [*self.rewritten],
            "scanned": [*self.scanned],
            "indexed": [*self.indexed],
            "transaction": self.transaction,
            "lock_timeout": self.waits,
        }


@dataclass
class Watched:
    """One migration, as it was seen to run.

    Attributes:
        step: what was run.
        statements: what each of its statements did; none of a program, which its own tool runs.
        failure: where and why it failed, if it did.
        before, after: what was there.
        deltas: what it changed.
        rewritten: tables that it wrote anew.
        lost: tables and columns that held more rows or values before.
        alone: it holds something that cannot run in a transaction, and its file does not say so.
        back: SQL that takes it back; ``back_whole``: in one transaction.
    """

    step: Step
    before: Snapshot
    after: Snapshot
    statements: list[Seen] = field(default_factory=list)
    failure: Failure | None = None
    deltas: list[Delta] = field(default_factory=list)
    rewritten: tuple[str, ...] = ()
    lost: list[str] = field(default_factory=list)
    alone: Statement | None = None
    back: str = ""
    back_whole: bool = True

    @property
    def locks(self) -> dict[str, str]:
        """Relation → the strongest lock held."""
        found: dict[str, str] = {}
        for seen in self.statements:
            for name, mode in seen.locks.items():
                found[name] = max(mode, found.get(name, mode), key=MODES.index)
        return found


@dataclass
class Outcome:
    """What came of running migrations on a shadow of an environment.

    Attributes:
        first, last: the shadow before and after; they are of one server, so object ids can be compared.
        unlike: how the rebuilt shadow differs from the environment.
        with_rows: whether its tables held rows.
        on_rows: the migration that fails where tables have rows like those, and how; it was then run without.
        left_back: what is not as before once all was taken back; None if that was not tried.
        server: the shadow's server.
        notes: what could not be rebuilt.
    """

    first: Snapshot
    last: Snapshot
    watched: list[Watched]
    unlike: list[Delta]
    with_rows: bool
    server: str
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    on_rows: Watched | None = None
    left_back: list[str] | None = None

    @property
    def failure(self) -> Watched | None:
        """The migration that failed, if one did."""
        return next((each for each in self.watched if each.failure), None)


def watch(before: Snapshot, steps: Sequence[Step], stage: Stage) -> Outcome:
    """Run *steps* on a shadow rebuilt from *before*, with a few rows in every table, then all ways back.

    What fails on those rows only is run once more without any, and both is told.

    Raises:
        ServerFailed: no shadow could be started.
    """
    started = time.monotonic()
    outcome = _run(before, steps, stage, with_rows=True)
    if stumbled := outcome.failure:
        again = _run(before, steps, stage, with_rows=False)
        further = again.failure is None or len(again.watched) > len(outcome.watched)
        again.on_rows = stumbled if further else None
        for first, second in zip(outcome.watched, again.watched, strict=False):
            second.lost = first.lost
        outcome = again
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _run(before: Snapshot, steps: Sequence[Step], stage: Stage, *, with_rows: bool) -> Outcome:
    with Scratch(stage.ground, None) as scratch:
        notes = [*stage.ground.notes, *scratch.lay(stage.ground)]
        shadow = Shadow(scratch, stage)
        try:
            notes += shadow.rebuild(before)
            if with_rows:
                rows.fill(shadow.runner)
            scratch.reset(shadow.runner)
            first = now = shadow.look()
            outcome = Outcome(
                first,
                now,
                [],
                [*filter(script.changeable, stage.differences(first, before))],
                with_rows,
                str(first.manifest["server"]),
                notes=notes,
            )
            known = {oid: name for oid, (name, *_) in _relations(shadow.runner).items()}
            for number, step in enumerate(steps):
                found = _Migration(shadow, number, step, known).run(now, with_rows=with_rows)
                outcome.watched.append(found)
                outcome.last = now = found.after
                if found.failure:
                    return outcome
            outcome.left_back = _go_back(shadow, outcome)
            return outcome
        finally:
            shadow.close()


def _go_back(shadow: Shadow, outcome: Outcome) -> list[str]:
    """Take all back, last migration first; what is not as before then."""
    for found in reversed(outcome.watched):
        texts = [found.back] if found.back_whole else [s.text for s in split(found.back)]
        for text in filter(str.strip, texts):
            if error := execute(shadow.runner, text):
                return [
                    f"{found.step.file or found.step.version}: its way back fails: {error.message} "
                    f"({excerpt(text, 80)})"
                ]
        shadow.scratch.reset(shadow.runner)
    differences = shadow.stage.differences(shadow.look(), outcome.first)
    return [said(delta) for delta in filter(script.changeable, differences)]


Relations = dict[int, tuple[str, str, int, int, int]]  # oid → name, kind, file, scans, indexes


def _relations(session: psycopg.Connection[Any]) -> Relations:
    rows = session.execute(_RELATIONS).fetchall()
    return {oid: (name, kind, file, scans, indexes) for oid, name, kind, file, scans, indexes in rows}


class _Migration:
    """One migration that is run on the shadow. *known* are the relations of the environment: others hold nothing yet."""

    def __init__(self, shadow: Shadow, number: int, step: Step, known: Mapping[int, str]) -> None:
        self.shadow, self.number, self.step, self.known = shadow, number, step, known
        self.runner, self.reader = shadow.runner, shadow.reader
        self.seen: list[Seen] = []
        self.transaction = 0
        self.held: dict[int, str] = {}

    def run(self, before: Snapshot, *, with_rows: bool) -> Watched:
        filled = rows.contents(self.runner) if with_rows else {}
        files = _relations(self.runner)
        found = Watched(self.step, before, before)
        found.failure = self._by_tool() if self.step.code else self._by_hand(found)
        self.shadow.scratch.reset(self.runner)
        found.statements = self.seen
        if found.failure:
            return found
        found.after = self.shadow.look()
        found.deltas = [
            d for d in compare(before, found.after, scope=self.shadow.stage.scope) if not d.is_order
        ]
        found.rewritten = self._which(files, _relations(self.runner), lambda old, new: old[2] != new[2])
        found.lost = rows.lost(filled, rows.contents(self.runner)) if filled else []
        found.back, found.back_whole = self._way_back(before, found.after)
        return found

    def _way_back(self, before: Snapshot, after: Snapshot) -> tuple[str, bool]:
        stage = self.shadow.stage
        renames, known, rest = recognise(
            after,
            before,
            stage.differences(after, before),
            guess="rename" in self.step.sql.lower(),
            again=lambda snapshot: stage.differences(snapshot, before),
        )
        return sql_of(renames + close(known, before, rest))

    def _by_tool(self) -> Failure | None:
        """A program is run by its own tool, on this database alone."""
        assert self.step.code
        execute(self.runner, OWN_OBJECTS)
        try:
            return self.step.code.run(self.runner, self.reader, self.number, self.step).failure
        except (NotTheShadow, ToolFailed) as error:
            return Failure(self.number, 1, str(error), "", "")
        finally:
            self.shadow.scratch.reset(self.runner)
            execute(self.runner, f"DROP EVENT TRIGGER IF EXISTS {SCHEMA}_drop; DROP SCHEMA {SCHEMA} CASCADE")

    def _by_hand(self, found: Watched) -> Failure | None:
        statements = [
            s for s in split(without_client_commands(self.step.sql)) if first_word(s.text) < len(s.text)
        ]
        own = any(leading_word(s.text) in TRANSACTION_WORDS for s in statements)
        if self.step.transactional and not own:
            failure = self._together(statements)
            if failure is None or failure.sqlstate not in NEEDS_AUTOCOMMIT:
                return failure
            found.alone = next((s for s in statements if s.line >= failure.line), statements[-1])
            self.seen, self.transaction = [], 0
        return self._one_by_one(statements)

    def _together(self, statements: Sequence[Statement]) -> Failure | None:
        """All in one transaction."""
        self._begin()
        for statement in statements:
            if error := self._watched(statement):
                execute(self.runner, "ROLLBACK")
                return error.at(self.number, statement)
        error = execute(self.runner, "COMMIT")  # deferred constraints speak up here
        return error.at(self.number, statements[-1]) if error and statements else None

    def _one_by_one(self, statements: Sequence[Statement]) -> Failure | None:
        """Each in a transaction of its own, or in those that the file opens."""
        from psycopg.pq import TransactionStatus

        for statement in statements:
            word = leading_word(statement.text)
            if word in TRANSACTION_WORDS or word == "rollback to":
                error = execute(self.runner, statement.text)
                if word in ("begin", "start"):
                    self.held = {}
                elif word != "rollback to":
                    self.transaction += 1
            elif self.runner.info.transaction_status == TransactionStatus.INTRANS:
                error = self._watched(statement)
            else:
                error = self._in_its_own(statement)
                self.transaction += 1
            if error:
                execute(self.runner, "ROLLBACK")
                return error.at(self.number, statement)
        execute(self.runner, "COMMIT")
        return None

    def _in_its_own(self, statement: Statement) -> Error | None:
        self._begin()
        error = self._watched(statement)
        if error is None:
            return execute(self.runner, "COMMIT")
        execute(self.runner, "ROLLBACK")
        if error.sqlstate not in NEEDS_AUTOCOMMIT:
            return error
        self.seen.append(Seen(statement.line, excerpt(statement.text), transaction=None, waits=self._waits()))
        return execute(self.runner, statement.text)

    def _begin(self) -> None:
        self.held = {}
        execute(self.runner, "BEGIN")

    def _watched(self, statement: Statement) -> Error | None:
        before, waits = _relations(self.runner), self._waits()
        if error := execute(self.runner, statement.text):
            return error
        now = _relations(self.runner)
        self.seen.append(
            Seen(
                statement.line,
                excerpt(statement.text),
                self._new_locks(),
                self._which(before, now, lambda old, new: old[2] != new[2]),
                self._which(before, now, lambda old, new: new[3] > old[3]),
                self._which(before, now, lambda old, new: new[4] > old[4]),
                self.transaction,
                waits,
            )
        )
        return None

    def _which(
        self, before: Relations, now: Relations, differ: Callable[[Any, Any], bool]
    ) -> tuple[str, ...]:
        """The tables of the environment that differ so."""
        both = ((oid, before[oid], now[oid]) for oid in self.known if oid in before and oid in now)
        return tuple(sorted(self.known[oid] for oid, old, new in both if old[1] in "rm" and differ(old, new)))

    def _new_locks(self) -> dict[str, str]:
        """The locks that the transaction did not have before."""
        found: dict[str, str] = {}
        for oid, mode in self.reader.execute(_LOCKS, [self.runner.info.backend_pid]).fetchall():
            weaker = MODES.index(mode) <= MODES.index(self.held.get(oid, MODES[0]))
            if oid in self.known and not weaker:
                found[self.known[oid]] = self.held[oid] = mode
        return found

    def _waits(self) -> str:
        row = self.runner.execute(_PATIENCE).fetchone()
        return str(row[0]) if row else "0"
