"""Running a plan on the environment itself, one step at a time. The only code that writes to one.

A step is one transaction wherever that is possible. Before it is committed, the catalog is read in that same
transaction: if it is not exactly what the rehearsal led to, everything of the step is rolled back. The transaction's id
is in the journal before COMMIT is sent, so that after a crash the server itself can say whether it was committed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from auditkit.connect import SESSION, redact
from auditkit.errors import AuditError, ConfigError, ConnectionFailed, ServerFailed, Unreadable
from auditkit.history.shadow.running import Error, excerpt, execute
from auditkit.history.split import first_word
from auditkit.resolve.commands import Ended, at_work
from auditkit.resolve.guards import Guard
from auditkit.resolve.journal import Entry, Journal, Unwritable
from auditkit.resolve.plan import Plan, PlanStep
from auditkit.resolve.records import Book
from auditkit.resolve.rehearsal import pieces, units

if TYPE_CHECKING:
    import psycopg

#: Waiting longer for a lock, or once more, can help: lock timeout, deadlock, serialization failure.
_AGAIN = frozenset({"55P03", "40P01", "40001"})
#: It cannot run in a transaction.
_ALONE = "25001"
#: What was to be made is there, or what was to be dropped is not.
_DONE = frozenset({"42P07", "42710", "42704", "42P01"})
#: What was to be taken away is not there.
_GONE = frozenset({"42704", "42P01", "42703", "42883", "3F000"})
#: For the sessions of ``apply``: the server notices soon when we are gone, and gives up what we held.
_NOTICE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "2s",
}
#: In a transaction we only wait for ourselves: the longest time is that of reading the catalog.
_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '2min'"
#: What the journal calls done must survive a crash of the server, whatever its own setting.
_DURABLE = "SET LOCAL synchronous_commit = on"
_READ_ONLY = "default_transaction_read_only"


class Stopped(AuditError):
    """A plan was not carried out to its end; the message says where it stands and how to go on."""


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM)."""


def noticed(connection: psycopg.Connection[Any]) -> None:
    """Have the server notice when the client is gone, with what this server knows of it."""
    connection.execute(
        "SELECT pg_catalog.set_config(w.name, w.setting, false) "
        "FROM pg_catalog.jsonb_each_text(%s::jsonb) AS w (name, setting) "
        "WHERE w.name IN (SELECT s.name FROM pg_catalog.pg_settings AS s)",
        [json.dumps(_NOTICE)],
    )


@dataclass(frozen=True)
class Way:
    """One step in one direction: what is run, and which fingerprint is there before and after."""

    step: PlanStep
    name: str  # there, back
    sql: str
    record: str
    transaction: bool
    before: str
    after: str


@dataclass
class Runner:
    """What it takes to run steps: a session that writes, one that keeps the locks, the journal.

    ``look`` gives the fingerprint of the environment as the given session sees it. ``open`` opens a session. ``shell``
    runs one command of the migration tool for a step, and tells the process's id as soon as there is one; ``before`` is
    called before a step is begun, and after one was taken back.
    """

    plan: Plan
    journal: Journal
    book: Book | None
    open: Callable[[], psycopg.Connection[Any]]
    look: Callable[[psycopg.Connection[Any]], str]
    guard: Guard
    lock_timeout: int = 3000
    attempts: int = 6
    tell: Callable[[str], None] = lambda line: None
    shell: Callable[[PlanStep, str, Callable[[int], None]], Ended] | None = None
    before: Callable[[PlanStep], None] = lambda step: None
    command: str = "auditkit apply PLAN --to ENV"
    session: psycopg.Connection[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.open()

    # --- where it stands --------------------------------------------------------------------------------------------

    def ways(self, back: bool) -> Iterator[Way]:
        """What is still to be run, in order."""
        done = self.journal.done()
        prints = [self.plan.fingerprint, *(step.after for step in self.plan.steps)]
        for step in self.plan.steps if not back else reversed(self.plan.steps):
            before, after = prints[step.number - 1], prints[step.number]
            if back and step.number in done:
                yield Way(step, "back", step.back, step.unrecord, step.back_transaction, after, before)
            elif not back and step.number not in done:
                yield Way(step, "there", step.sql, step.record, step.transaction, before, after)

    def expected(self) -> str:
        """The fingerprint that must be there now."""
        done = self.journal.done()
        return self.plan.steps[max(done) - 1].after if done else self.plan.fingerprint

    def recover(self) -> None:
        """Settle what became of a step that was begun and whose end the journal does not tell.

        Raises:
            Stopped: it cannot be told, or is not over.
        """
        begun = self.journal.open_step()
        if not begun:
            return
        number, way = begun[0]["step"], begun[0]["way"]
        step = self.plan.steps[number - 1]
        self._still_at_work(begun)
        commit = next((e for e in reversed(begun) if e["event"] == "commit"), None)
        if commit and commit.get("whole"):
            status = self._status(commit["xid"])
            if status == "in progress":
                raise Stopped(
                    f"step {number} is still being committed by the earlier run; try again in a moment"
                )
            if status is not None:
                event = "done" if status == "committed" else "rolled back"
                self.journal.add(event, step=number, way=way, says=f"transaction {commit['xid']}: {status}")
                return
        whole = step.transaction if way == "there" else step.back_transaction
        if whole and not commit:  # COMMIT was never sent
            self.journal.add("rolled back", step=number, way=way, says="it was not committed")
            return
        prints = [self.plan.fingerprint, *(s.after for s in self.plan.steps)]
        before, after = prints[number - 1], prints[number]
        if way == "back":
            before, after = after, before
        here = self.look_fresh()
        if here == after:
            self.journal.add(
                "done", step=number, way=way, says="the environment has the fingerprint of afterwards"
            )
        elif here == before and not any(e["event"] == "statement done" for e in begun):
            self.journal.add(
                "rolled back", step=number, way=way, says="the environment has the fingerprint of before"
            )

    @staticmethod
    def _still_at_work(begun: list[Entry]) -> None:
        """A command of the migration tool goes on when we are killed."""
        for entry in begun:
            if entry["event"] == "started" and at_work(entry["pid"], entry["program"]):
                raise Stopped(
                    f"step {entry['step']}: {entry['program']} of the earlier run is still at work on this machine "
                    f"(process {entry['pid']}); go on when it is done"
                )

    def reconcile(self, here: str) -> bool:
        """Whether the environment is where the plan leads to after some step, though the journal ends before that.

        Its last lines, or all of it, were lost then. What is missing is written down again.
        """
        prints = [self.plan.fingerprint, *(step.after for step in self.plan.steps)]
        found = [number for number, each in enumerate(prints) if each == here]
        done = self.journal.done()
        if len(found) != 1 or found[0] <= len(done) or self.journal.open_step():
            return False
        for step in self.plan.steps[len(done) : found[0]]:
            self.journal.add(
                "done",
                step=step.number,
                way="there",
                fingerprint=step.after,
                says=f"the journal did not have it; the environment is as after step {found[0]}",
            )
        return True

    def _status(self, xid: str) -> str | None:
        """What became of a transaction; a session whose client has died needs a moment to notice."""
        for _ in range(40):
            row = self.session.execute("SELECT pg_catalog.pg_xact_status(%s::text::xid8)", [xid]).fetchone()
            status = str(row[0]) if row and row[0] else None
            if status != "in progress":
                return status
            time.sleep(0.25)
        return status

    def look_fresh(self) -> str:
        """The fingerprint as a session of its own sees it."""
        with contextlib.closing(self.open()) as connection:
            execute(connection, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
            self._settle(connection)
            return self.look(connection)

    def _settle(self, connection: psycopg.Connection[Any]) -> None:
        """Settings for reading the catalog, until the transaction ends."""
        words = {name: value for name, value in SESSION.items() if name != _READ_ONLY}
        words["lock_timeout"] = f"{max(self.lock_timeout, 1)}ms"
        connection.execute(
            "SELECT " + ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in words),
            [word for pair in words.items() for word in pair],
        )

    # --- running ----------------------------------------------------------------------------------------------------

    def run(self, *, back: bool) -> None:
        """All that is still to be run.

        Raises:
            Stopped: at the first surprise.
        """
        begun = self.journal.open_step()
        if begun and back and begun[0]["way"] == "there":
            self._take_back_half(self.plan.steps[begun[0]["step"] - 1])
        elif begun and (begun[0]["way"] == "back") != back:
            other = "--resume" if back else "--rollback"
            raise Stopped(
                f"{self.plan.environment}: step {begun[0]['step']} is half done ({self.journal.path}); "
                f"finish it first: `{self.command} {other}`"
            )
        for way in self.ways(back):
            if not back:
                self.before(way.step)
            self._step(way)
            if back:
                self.before(way.step)
        self.journal.add(
            "taken back" if back else "finished", fingerprint=self.expected(), plan=self.plan.digest
        )

    def _step(self, way: Way) -> None:
        import psycopg

        number = way.step.number
        resumed = self.journal.open_step()
        if not resumed:
            self.journal.add("begin", step=number, way=way.name, title=way.step.title)
        self.tell(f"{number}. {'taking back: ' if way.name == 'back' else ''}{way.step.title}")
        try:
            if way.step.kind == "command" and way.name == "there":
                self._by_command(way, resumed)
            elif way.transaction:
                self._retried(way, lambda: self._whole(way))
            else:
                self._by_statement(way, resumed)
        except Unreadable as error:
            self.session.close()
            raise self._stop(way, str(error), known=False) from None
        except (ConnectionFailed, ServerFailed, psycopg.Error):
            self.session.close()
            raise self._stop(way, "the connection was lost", known=False) from None
        except Unwritable as error:
            self.session.close()
            raise self._stop(way, f"{error}; make that possible first", known=False) from None
        except KeyboardInterrupt as error:
            how = "it was told to end (SIGTERM)" if isinstance(error, Terminated) else "stopped by Ctrl-C"
            self._let_go()
            raise self._stop(way, how, known=False) from None

    def _let_go(self) -> None:
        """End what the server does for us, and the session."""
        import psycopg

        with contextlib.suppress(psycopg.Error, OSError):
            self.session.cancel_safe(timeout=5)
        self.session.close()

    def _stop(self, way: Way, why: str, *, known: bool = True, kept: int = 0, files: str = "") -> Stopped:
        """The message for people; *known*: nothing of the step is left; *kept*: but so many of its statements."""
        number, count, why = way.step.number, len(self.plan.steps), redact(why)
        if kept or files:
            where = files or f"{kept} of its statements are in place"
        elif known:
            self.journal.add("rolled back", step=number, way=way.name, says=why)
            where = f"nothing of this step was kept; steps in place: {len(self.journal.done())} of {count}"
        else:
            where = "what became of it is looked up in the server when you go on"
        on = f"go on with `{self.command} --resume`, or take it all back with `{self.command} --rollback`"
        return Stopped(f"{self.plan.environment}: step {number} ({way.step.title}): {why}; {where}; {on}")

    def _retried(self, way: Way, work: Callable[[], Error | None], kept: int = 0) -> None:
        for attempt in range(self.attempts):
            error = work()
            if error is None:
                return
            execute(self.session, "ROLLBACK")
            if error.sqlstate not in _AGAIN or attempt == self.attempts - 1:
                raise self._stop(way, error.message, kept=kept)
            pause = min(0.25 * 2**attempt, 8)
            self.journal.add(
                "retry", step=way.step.number, way=way.name, says=redact(error.message), seconds=pause
            )
            self.tell(f"   {error.message}; once more in {pause:g} s")
            time.sleep(pause)

    def _fresh(self) -> None:
        """The session as it was when it was opened."""
        execute(self.session, "DISCARD ALL")
        noticed(self.session)

    def _begin(self) -> Error | None:
        """A transaction in which nobody else can write to the ledger."""
        texts = ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"]
        texts.append(f"SET LOCAL lock_timeout = {self.lock_timeout}")
        texts += [_DURABLE, _IDLE]
        if self.book:
            texts.append(f"LOCK TABLE {self.book.table} IN SHARE ROW EXCLUSIVE MODE")
        for text in texts:
            if error := execute(self.session, text):
                return error
        return None

    def _whole(self, way: Way) -> Error | None:
        """The step as one transaction; looked at before it is committed."""
        self._fresh()
        if error := self._begin():
            return error
        for text in (*pieces(way.sql, whole=True), *([f"RESET ROLE;\n{way.record}"] if way.record else [])):
            if error := execute(self.session, text):
                return error
        if error := execute(self.session, "RESET ROLE; SET CONSTRAINTS ALL IMMEDIATE"):
            return error
        self._settle(self.session)
        try:
            here = self.look(self.session)
        except Unreadable as error:  # somebody holds a table so that not even its definition can be read
            return Error("55P03", str(error), 0)
        if here != way.after:
            execute(self.session, "ROLLBACK")
            raise self._stop(
                way, f"the environment would not be what the rehearsal led to ({self._perhaps()})"
            )
        return self._commit(way, whole=True)

    def _perhaps(self) -> str:
        """Why a step leads elsewhere than in the rehearsal."""
        wanted = str(self.plan.proof.get("role") or "")
        row = self.session.execute("SELECT current_user::text").fetchone()
        if not wanted or (row and row[0] == wanted):
            return "it was changed meanwhile?"
        return f"that was run as {wanted}, this as {row[0] if row else '?'}: connect as {wanted}"

    def _commit(self, way: Way, *, whole: bool) -> Error | None:
        if not self.guard.holds():
            execute(self.session, "ROLLBACK")
            raise self._stop(way, "the lock that keeps others out was lost")
        row = self.session.execute("SELECT pg_catalog.pg_current_xact_id()::text").fetchone()
        assert row
        self.journal.add("commit", step=way.step.number, way=way.name, xid=row[0], whole=whole)
        error = execute(self.session, "COMMIT")
        if error is None and whole:
            self.journal.add("done", step=way.step.number, way=way.name, fingerprint=way.after)
        return error

    # --- what is not one transaction ----------------------------------------------------------------------------------

    def _by_statement(self, way: Way, resumed: list[Entry]) -> None:
        """Each transaction or statement for itself; the journal has how far it came."""
        number, own = way.step.number, units(way.sql) is None
        if not resumed and self.look_fresh() != way.before:
            raise self._stop(way, "the environment is not what it was before this step in the rehearsal")
        self._fresh()
        if own:
            self._as_it_is(way, resumed)
        texts = [] if own else pieces(way.sql, whole=False)
        texts += [f"RESET ROLE;\n{way.record}"] if way.record else []
        first = self._first(way, resumed)
        self._settings_again(texts[:first])
        for n, text in enumerate(texts[first:], first):
            again = n == first and any(e["event"] == "statement" and e["statement"] == n for e in resumed)
            self.journal.add(
                "statement", step=number, way=way.name, statement=n, says=redact(excerpt(text, 100))
            )

            def work(text: str = text, again: bool = again) -> Error | None:
                return self._one(way, text, again)

            self._retried(way, work, kept=n + own)
            self.journal.add("statement done", step=number, way=way.name, statement=n)
        if self.look_fresh() != way.after:
            raise self._stop(
                way, "it ran, but the environment is not what the rehearsal led to; compare them", known=False
            )
        self.journal.add("done", step=number, way=way.name, fingerprint=way.after)

    def _settings_again(self, texts: list[str]) -> None:
        """What statements that were run before set for the session."""
        for text in texts:
            if text[first_word(text) :].lower().startswith(("set ", "reset ")):
                execute(self.session, text)

    def _one(self, way: Way, text: str, again: bool) -> Error | None:
        """One statement in a transaction, or without one if it wants none; *again*: an earlier run may have done it."""
        if error := self._begin():
            return error
        error = execute(self.session, text)
        if error is None:
            return self._commit(way, whole=False)
        if error.sqlstate != _ALONE:
            return error
        execute(self.session, "ROLLBACK")
        if not self.guard.holds():
            raise self._stop(way, "the lock that keeps others out was lost")
        self._clear_invalid(way)
        error = execute(self.session, f"SET lock_timeout = {self.lock_timeout}") or execute(
            self.session, text
        )
        if error is None:
            return None
        if again and error.sqlstate in _DONE:
            if not self._invalid(way):
                return None
            return Error("55P03", "an index of this step is still being built by the earlier run", 0)
        self._clear_invalid(way)
        return error

    def _invalid(self, way: Way) -> list[str]:
        """Indexes of this step that are half-built, and what an interrupted REINDEX left."""
        wanted = [c["identity"] for c in way.step.changes if c["kind"] == "index" and c["change"] == "comes"]
        again = "reindex" in way.sql.lower()
        if way.name != "there" or not (wanted or again):
            return []
        found = self.session.execute(
            "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE NOT i.indisvalid AND (format('%%I.%%I', n.nspname, c.relname) = ANY (%s) "
            "OR %s AND c.relname ~ '_ccnew[0-9]*$')",
            [wanted, again],
        ).fetchall()
        return [str(name) for (name,) in found]

    def _clear_invalid(self, way: Way) -> None:
        """Drop what an earlier attempt left half-built."""
        for name in self._invalid(way):
            self.journal.add("clear", step=way.step.number, way=way.name, says=f"invalid index {name}")
            execute(self.session, f"SET lock_timeout = {self.lock_timeout}")
            execute(self.session, f"DROP INDEX CONCURRENTLY {name}")

    def _first(self, way: Way, resumed: list[Entry]) -> int:
        """The statement to go on with."""
        begun = [e for e in resumed if e["event"] == "statement"]
        if not begun:
            return 0
        last = begun[-1]["statement"]
        if any(e["event"] == "statement done" and e["statement"] == last for e in resumed):
            return int(last) + 1
        after = [e for e in resumed if e["event"] == "commit" and e["n"] > begun[-1]["n"]]
        if after:
            status = self._status(after[-1]["xid"])
            if status == "in progress":
                raise Stopped(f"step {way.step.number} is still being committed; try again in a moment")
            return int(last) + (status == "committed")
        # Without a transaction of ours: it left something only if it is one that builds an index, and that is cleared.
        return max(int(last), 0)

    def _as_it_is(self, way: Way, resumed: list[Entry]) -> None:
        """A file that does more with transactions than to begin and to commit, sent as it is."""
        if any(e["event"] == "statement done" for e in resumed):
            return
        if any(e["event"] == "statement" for e in resumed):
            raise Stopped(
                f"{self.plan.environment}: step {way.step.number} has transactions of its own and was interrupted: look at "
                f"what is there of {way.step.file or 'it'}, then make a new plan"
            )
        self.journal.add(
            "statement", step=way.step.number, way=way.name, statement=-1, says="the file as it is"
        )
        execute(self.session, f"SET lock_timeout = {self.lock_timeout}; SET synchronous_commit = on")
        for text in pieces(way.sql, whole=False):
            if error := execute(self.session, text):
                execute(self.session, "ROLLBACK")
                raise self._stop(
                    way, f"{error.message}; what its own transactions committed stays", known=False
                )
        self.journal.add("statement done", step=way.step.number, way=way.name, statement=-1)

    def _take_back_half(self, step: PlanStep) -> None:
        """Take back what is in place of a step that is not one transaction and did not come to its end."""
        prints = [self.plan.fingerprint, *(s.after for s in self.plan.steps)]
        half = Way(
            step, "there", step.back, step.unrecord, False, prints[step.number], prints[step.number - 1]
        )
        self.tell(f"{step.number}. taking back what is in place of: {step.title}")
        self._fresh()
        self._clear_invalid(replace(half, sql=step.sql))
        for text in [*pieces(step.back, whole=False), *([step.unrecord] if step.unrecord else [])]:

            def work(text: str = text) -> Error | None:
                error = self._one(replace(half, name="back"), text, False)
                return None if error and error.sqlstate in _GONE else error

            self._retried(half, work, kept=1)
        if self.look_fresh() != half.after:
            raise Stopped(
                f"{self.plan.environment}: step {step.number} is half done and its way back does not lead to what was "
                f"there before it; make a new plan from where it stands: auditkit plan {self.plan.environment}"
            )
        self.journal.add(
            "rolled back", step=step.number, way="there", says="what was in place of it was taken back"
        )

    # --- the migration tool's own commands ---------------------------------------------------------------------------

    def _by_command(self, way: Way, resumed: list[Entry]) -> None:
        """Have the migration tool do the step, and look at what it made of the environment."""
        step = way.step
        here = self.look_fresh()
        if here != way.before and not (resumed and here in step.between):
            why = "the environment is not what it was before this step in the rehearsal"
            raise self._stop(way, why, known=not resumed)
        if not self.guard.holds():
            raise self._stop(way, "the lock that keeps others out was lost")
        assert self.shell
        ended = Ended(0, "")
        for line in step.command.splitlines():
            self.journal.add("command", step=step.number, way=way.name, says=line)
            self.tell(f"   $ {line}")
            try:
                ended = self.shell(step, line, self._began(way, line))
            except ConfigError as error:
                raise self._stop(way, str(error)) from None
            for said in ended.said.splitlines()[-20:]:
                self.tell(f"   | {said}")
            self.journal.add(
                "command done", step=step.number, way=way.name, code=ended.code, says=ended.said[-1000:]
            )
            if ended.code:
                break
        self._after_command(way, ended, self.look_fresh())

    def _began(self, way: Way, line: str) -> Callable[[int], None]:
        program = line.removeprefix("npx ").split()[0]
        return lambda pid: void(
            self.journal.add("started", step=way.step.number, way=way.name, pid=pid, program=program)
        )

    def _after_command(self, way: Way, ended: Ended, here: str) -> None:
        step, failed = way.step, f"it ended with exit code {ended.code}: {ended.last_line}"
        if here == way.after:
            more = {"says": failed} if ended.code else {}
            self.journal.add("done", step=step.number, way=way.name, fingerprint=way.after, **more)
        elif here == way.before:
            raise self._stop(
                way,
                failed
                if ended.code
                else f"it ended well, and nothing changed in {self.plan.environment}: does it work on another database? "
                "[migrations] environment in auditkit.toml says where it connects",
            )
        elif here in step.between:
            raise self._stop(
                way,
                failed,
                files=f"{step.between.index(here) + 1} of its {len(step.texts)} migrations are in place",
            )
        else:
            why = failed if ended.code else "it ended well"
            raise self._stop(
                way,
                f"{why}; the environment is not what the rehearsal led to; compare them: "
                f"`auditkit explain {self.plan.environment}`",
                known=False,
            )


def void(thing: object) -> None:
    """A value that nobody wants."""
