"""The steps of a plan, run one by one on a shadow that was rebuilt from the environment, ledger and all.

What a step does is taken from what was seen: the objects it changed, the locks it held, the tables it wrote anew, the
rows it lost. The way back of each step is made from that, and is run, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from auditkit.catalog.compare import Comparison, Delta, Scope, compare
from auditkit.catalog.snapshot import Key, Snapshot
from auditkit.catalog.sql import literal
from auditkit.errors import NotTheShadow, ToolFailed
from auditkit.history import ledgers
from auditkit.history.migration import Migrations
from auditkit.history.shadow.replayed import Step as Replayed
from auditkit.history.shadow.running import OWN_OBJECTS, SCHEMA, Error, Ran, excerpt, execute
from auditkit.history.shadow.scratch import Scratch
from auditkit.history.split import first_word, split
from auditkit.resolve import rows, script
from auditkit.resolve.closing import Step, close
from auditkit.resolve.effects import Effect, State, fingerprint, named, state_of
from auditkit.resolve.observed import Unrepeatable, as_sql
from auditkit.resolve.plan import PlanStep
from auditkit.resolve.proof import MODES, RELATIONS, Shadow, Stage, Way
from auditkit.resolve.records import Book, Raw
from auditkit.resolve.renames import recognise
from auditkit.resolve.unheeded import unheeded

__all__ = ["Rehearsal", "Stumbled", "pieces", "sql_of"]

#: What cannot run in a transaction says so: such a file is run statement by statement, as its tool does.
_ALONE = frozenset({"25001", "55P04", "2D000"})
_OWN = frozenset({"begin", "start", "commit", "end", "rollback", "abort"})
_BEGINS = frozenset({"begin", "begin transaction", "begin work", "start transaction"})
_COMMITS = frozenset({"commit", "commit transaction", "commit work", "end", "end transaction", "end work"})


class Stumbled(Exception):
    """A step failed on the shadow; the message is one line."""


def pieces(sql: str, *, whole: bool) -> list[str]:
    """What is sent to the server, each piece in a transaction of its own: all at once, or piece by piece.

    What a text puts between ``BEGIN`` and ``COMMIT`` is one piece, without these words.
    """
    found = units(sql)
    if found is None:
        return [statement.text for statement in split(sql)]
    if whole and len(found) > 1:
        return [sql]
    return found


def units(sql: str) -> list[str] | None:
    """The transactions of a text; None if it does more with them than to begin and to commit."""
    found: list[str] = []
    inside: list[str] | None = None
    for statement in split(sql):
        words = statement.text[first_word(statement.text) :].lower().strip("; \n").split()
        if not words:
            continue
        if words[0] in _OWN or words[:2] == ["prepare", "transaction"]:
            begins = " ".join(words) in _BEGINS
            if begins == (inside is not None) or not (begins or " ".join(words) in _COMMITS):
                return None
            if inside is not None and inside:
                found.append("\n;\n".join(inside))  # a final -- comment must not swallow the semicolon
            inside = [] if begins else None
        elif inside is not None:
            inside.append(statement.text)
        else:
            found.append(statement.text)
    return found if inside is None else None


def alone(sql: str) -> bool:
    """Whether a text opens or ends transactions and cannot be run in one of ours."""
    found = units(sql)
    return found is None or (len(found) > 1 and begins_itself(sql))


def begins_itself(sql: str) -> bool:
    """Whether a text opens or ends transactions."""
    texts = (s.text[first_word(s.text) :].split(None, 1) for s in split(sql))
    return any(words and words[0].lower().strip(";") in _OWN for words in texts)


def sql_of(steps: Sequence[Step]) -> tuple[str, bool]:
    """The statements as text, and whether they can share a transaction."""
    whole = not any(step.sql.alone for step in steps)
    lines = [f"{'SET LOCAL' if whole else 'SET'} {script.SETTING};"] if script.loose(steps) else []
    for step in steps:
        lines += script.statement(step)
    return "\n".join(lines) + "\n" if lines else "", whole


class Rehearsal:
    """A shadow like the environment, with its ledger's rows and a few rows in each table."""

    def __init__(
        self, scratch: Scratch, stage: Stage, scope: Scope, book: Book | None, project: Migrations
    ) -> None:
        self.scratch, self.stage, self.scope = scratch, stage, scope
        self.book, self.project = book, project
        self.shadow = Shadow(scratch, stage)
        self.runner, self.reader = self.shadow.runner, self.shadow.reader
        self.steps: list[PlanStep] = []
        self.unlike: list[Delta] = []
        self.notes: list[str] = []
        self.final: list[str] = []  # what cannot be taken back, and need not be

    def close(self) -> None:
        self.shadow.close()

    def start(self, before: Snapshot, raw: Raw, state: State, *, with_rows: bool) -> None:
        """Rebuild *before*; *state* is the environment's own, from which fingerprints are told."""
        self.notes += self.shadow.rebuild(before)
        self._spoil(before)
        if self.book:
            self._rebuild_ledger(before, self.book)
        if with_rows:
            rows.fill(self.runner)
        for statement in [f"DELETE FROM {self.book.table}", *self.book.restore(raw)] if self.book else ():
            if error := execute(self.runner, statement):
                raise Stumbled(f"the ledger cannot be rebuilt on the shadow: {error.message}")
        if self.book:
            execute(self.runner, self.book.numbers)
        self.scratch.reset(self.runner)
        self.with_rows = with_rows
        self.now = self.first = self.look()
        self.unlike = [*filter(script.changeable, self.stage.differences(self.first, before))]
        self.here = state
        self.fingerprint = fingerprint(state)

    def _spoil(self, before: Snapshot) -> None:
        """Indexes that are not valid: no statement makes such ones."""
        for fact in before.iter("index"):
            if fact.attributes.get("valid") is False:
                where = f"indexrelid = {literal(fact.identity)}::regclass"
                execute(self.runner, f"UPDATE pg_index SET indisvalid = false WHERE {where}")

    def _rebuild_ledger(self, before: Snapshot, book: Book) -> None:
        empty = self.shadow.look()

        def own(delta: Delta) -> bool:
            side = before.get(*delta.key) or empty.get(*delta.key)
            parent = side.parent if side else None
            return delta.key == ("schema", book.schema) or bool({delta.identity, parent} & {*book.tables})

        found = compare(empty, before, scope=Scope())
        found.deltas = [delta for delta in found if own(delta)]
        for step in close(empty, before, found):
            if error := execute(self.runner, step.sql.text):
                self.notes.append(f"not rebuilt: {excerpt(step.sql.text, 80)}: {error.message}")
        if book.furnish:
            execute(self.runner, book.furnish)

    def look(self) -> Snapshot:
        found = self.shadow.look()
        found.ledgers = ledgers.read_ledgers(self.reader)
        return found

    def state(self, snapshot: Snapshot) -> State:
        return state_of(snapshot, self.scope, ledgers.choose(snapshot.ledgers, self.project))

    def raw(self) -> list[str]:
        return [str(row[0]) for row in self.reader.execute(self.book.read).fetchall()] if self.book else []

    # --- forward ----------------------------------------------------------------------------------------------------

    def run(
        self,
        step: PlanStep,
        *,
        added: Sequence[tuple[str, str]] = (),
        renamed: bool = False,
        program: Replayed | None = None,
        repeat: bool = False,
    ) -> None:
        """Run one step, and complete it with what was seen.

        Args:
            added: version and name of what it records.
            renamed: whether it may rename something.
            program: the migration, if it is a program: its own tool runs it.
            repeat: take that back and do with its statements what it did; then these are the step.

        Raises:
            Stumbled: it failed.
        """
        step.number = len(self.steps) + 1
        if step.transaction and alone(step.sql):
            step.transaction = False
        raw = self.raw()
        relations = {oid: row for oid, *row in self.reader.execute(RELATIONS).fetchall()}
        names = {oid: str(row[0]) for oid, row in relations.items()}
        filled = rows.contents(self.runner) if self.with_rows else {}
        way = Way("", [])
        if program is not None:
            ran = self._by_tool(step, program)
            if repeat:
                self._repeat(step, ran, raw)
        if self.raw() != raw:  # the tool has recorded it
            step.record = ""
        error = self._send(step.sql, step.record, step.transaction, way, names)
        if error and step.transaction and error.sqlstate in _ALONE:
            step.transaction = False
            self.scratch.reset(self.runner)
            error = self._send(step.sql, step.record, False, way, names)
        self.scratch.reset(self.runner)
        if error:
            raise Stumbled(f"step {step.number} ({step.title}) fails: {error.message}")
        before, self.now = self.now, self.look()
        self._observe(step, way, relations, filled)
        effect = Effect.between(self.state(before), self.state(self.now))
        step.changes = effect.as_list()
        self.here = effect.on(self.here)
        step.after = fingerprint(self.here)
        step.verify = [*named(step.changes)] or ["nothing that is compared changes"]
        self._way_back(step, before, renamed)
        if self.book and self.raw() != raw:
            step.unrecord = self.book.back(raw, self.raw(), added, ran=step.kind == "file")
        self.steps.append(step)

    def _send(
        self, sql: str, record: str, whole: bool, way: Way | None = None, names: dict[int, str] | None = None
    ) -> Error | None:
        texts = [*pieces(sql, whole=whole), *([f"RESET ROLE;\n{record}"] if record else [])]
        if whole:
            execute(self.runner, "BEGIN")
        for text in texts:
            if error := execute(self.runner, text):
                return error
        if way is not None and names is not None:
            self.shadow.watch(way, names)
        return execute(self.runner, "COMMIT") if whole else None

    def _repeat(self, step: PlanStep, ran: Ran, raw: Raw) -> None:
        """Make of a program's statements the step's own, with everything as it was before it ran.

        Raises:
            Stumbled: they depend on more than the schema.
        """
        assert self.book
        file = step.file
        try:
            step.sql = as_sql(ran.statements, ran.bound, self.book.own)
        except Unrepeatable as why:
            raise Stumbled(
                f"{file} cannot be run without its tool: {why}; run it with the tool, then make the plan again"
            ) from None
        there = self.look()
        first, known, rest = recognise(
            there,
            self.now,
            self.stage.differences(there, self.now),
            guess="rename" in step.sql.lower(),
            again=lambda snapshot: self.stage.differences(snapshot, self.now),
        )
        back, whole = sql_of(first + close(known, self.now, rest))
        texts = [f"DELETE FROM {self.book.table}", *self.book.restore(raw)] if self.raw() != raw else []
        error = self._send(back, ";\n".join(texts), whole)
        self.scratch.reset(self.runner)
        if error:
            raise Stumbled(f"{file}: what it does cannot be taken back in the rehearsal: {error.message}")

    def _by_tool(self, step: PlanStep, program: Replayed) -> Ran:
        """Run a program with its tool, on this database alone.

        Raises:
            Stumbled: it failed.
        """
        assert program.code
        self.scratch.reset(self.runner)
        execute(self.runner, OWN_OBJECTS)
        try:
            ran = program.code.run(self.runner, self.reader, len(self.steps), program)
        except (NotTheShadow, ToolFailed) as error:
            raise Stumbled(f"step {step.number} ({step.title}) fails: {error}") from None
        finally:
            self.scratch.reset(self.runner)
            execute(self.runner, f"DROP EVENT TRIGGER IF EXISTS {SCHEMA}_drop; DROP SCHEMA {SCHEMA} CASCADE")
        if ran.failure:
            raise Stumbled(f"step {step.number} ({step.title}) fails: {ran.failure.message}")
        return ran

    def _observe(
        self, step: PlanStep, way: Way, relations: dict[int, list[object]], filled: rows.Contents
    ) -> None:
        ledger = {self.book.table, f"{self.book.schema}.{self.book.name}"} if self.book else set()
        step.locks = {
            name: mode for name, mode in sorted(way.locks.items()) if mode != MODES[0] and name not in ledger
        }
        files = {oid: file for oid, _, file, _ in self.reader.execute(RELATIONS).fetchall()}
        step.rewritten = sorted(
            str(name)
            for oid, (name, file, kind) in relations.items()
            if str(kind) in "rm" and files.get(oid, file) != file
        )
        said = " ".join(step.hazards)
        for name in rows.lost(filled, rows.contents(self.runner)) if filled else ():
            if (
                name not in ledger
                and not any(name.startswith(f"{table}.") for table in ledger)
                and name not in said
            ):
                step.hazards.append(f"DELETES_DATA: {name} held more before (seen in the rehearsal)")

    def _way_back(self, step: PlanStep, before: Snapshot, renamed: bool) -> None:
        first, known, rest = recognise(
            self.now,
            before,
            self.stage.differences(self.now, before),
            guess=renamed,
            again=lambda snapshot: self.stage.differences(snapshot, before),
        )
        step.back, step.back_transaction = sql_of(first + close(known, before, rest))

    def close_to(
        self,
        target: Snapshot,
        select: Callable[[Delta], bool],
        title: str,
        findings: Callable[[set[Key]], list[str]],
        differences: Callable[[Snapshot, Snapshot], Comparison],
    ) -> None:
        """Steps that make of what is there what *target* has, as far as *select* says."""

        def again(left: Snapshot) -> Comparison:
            found = differences(left, target)
            found.deltas = [d for d in found if script.changeable(d) and select(d)]
            return found

        compared = again(self.now)
        if not compared.deltas:
            return
        renames, left, rest = recognise(self.now, target, compared, known=[], guess=True, again=again)
        right = unheeded(left, target, replace(self.scope, lenient=True).ignored_attributes)
        made = renames + close(left, right, rest)
        for _, group in script.transactions(made):
            sql, whole = sql_of(group)
            keys = {step.key for step in group}
            about = ", ".join(sorted({f"{k} {i}" for k, i in keys})[:3]) + (" …" if len(keys) > 3 else "")
            hazards = [f"{h.code}: {h.why}".rstrip(": ") for s in group for h in s.sql.hazards]
            self.run(
                PlanStep(
                    0,
                    f"{title}: {about}",
                    "sql",
                    findings(keys | {key for d in compared for key in (d.key, *d.children)}),
                    sql=sql,
                    transaction=whole,
                    hazards=[*dict.fromkeys(hazards)],
                ),
                renamed=any(s.action == "rename" for s in group),
            )

    # --- back -------------------------------------------------------------------------------------------------------

    def go_back(self) -> list[str]:
        """Run all ways back, last step first; what is left then, in words.

        Raises:
            Stumbled: one of them failed.
        """
        for step in reversed(self.steps):
            whole = step.back_transaction
            error = self._send(step.back, step.unrecord, whole) if step.back or step.unrecord else None
            self.scratch.reset(self.runner)
            if error:
                raise Stumbled(f"the way back of step {step.number} ({step.title}) fails: {error.message}")
        there = self.look()
        found = [*filter(script.changeable, self.stage.differences(there, self.first))]
        invalid = [d for d in found if (d.kind, d.attribute, d.right) == ("index", "valid", False)]
        self.final = [
            f"{d.identity} was not valid, and nothing makes it so again: a rollback stops there"
            for d in invalid
        ]
        left = [said(delta) for delta in found if delta not in invalid]
        was, now = self.state(self.first), self.state(there)
        rows_left = Effect.between(
            {k: v for k, v in was.items() if k[0] == "ledger row"},
            {k: v for k, v in now.items() if k[0] == "ledger row"},
        )
        return [*left, *named(rows_left.as_list())]


def said(delta: Delta) -> str:
    """A delta in a few words."""
    attribute = f" · {delta.attribute}" if delta.attribute else ""
    return f"{delta.change}: {delta.kind} {delta.identity}{attribute}"
