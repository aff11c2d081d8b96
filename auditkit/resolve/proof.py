"""Proof of a script: one side is rebuilt on a shadow, the script is run there, and the way back, too.

What is said is what was seen: what is left between the result and the other side, which locks each table was held
under, which tables were written anew, and what became of a few rows in them. Nothing is proven on a ground that is
not what it should be: if the rebuilt side differs from its snapshot, that is said, and the proof is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from auditkit.catalog.compare import Comparison, Delta, Scope, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.history.shadow import Ground
from auditkit.history.shadow.running import Error, excerpt, execute
from auditkit.history.shadow.scratch import Scratch, execute_all
from auditkit.resolve import rows, script
from auditkit.resolve.closing import Step, close
from auditkit.resolve.renames import recognise

#: Weakest first, as PostgreSQL's manual lists them.
MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)

RELATIONS = """
    SELECT c.oid, format('%I.%I', n.nspname, c.relname), coalesce(pg_relation_filenode(c.oid), 0), c.relkind
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_LOCKS = """
    SELECT relation, mode FROM pg_locks WHERE locktype = 'relation' AND granted AND pid = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@dataclass
class Way:
    """One direction, as it was run on the shadow.

    Attributes:
        sql: the script as it is printed.
        steps: its statements.
        left: what still differs afterwards, but for what no statement changes (the order of columns).
        locks: relation → the strongest lock held on it, of those that were there before.
        rewritten: tables that were written anew.
        lost: tables and columns with fewer rows or values than before, of which no hazard spoke.
        error: which statement failed, and why.
        on_rows: why it fails where tables have rows like these; it was then run without any.
    """

    sql: str
    steps: Sequence[Step]
    left: list[Delta] = field(default_factory=list)
    locks: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    error: str | None = None
    on_rows: str | None = None

    @property
    def proven(self) -> bool:
        """Whether it ran, left nothing, and lost nothing unsaid."""
        return self.error is None and not self.left and not self.lost

    def as_dict(self) -> dict[str, object]:
        """As the document has it."""
        return {
            "proven": self.proven,
            "left": [delta.as_dict() for delta in self.left],
            "locks": [{"relation": name, "mode": mode} for name, mode in sorted(self.locks.items())],
            "rewritten": self.rewritten,
            "lost": self.lost,
            "error": self.error,
            "on_rows": self.on_rows,
        }


@dataclass
class Proof:
    """Both ways, and the ground they were run on.

    Attributes:
        server: the shadow's server.
        unlike: how the rebuilt side differs from its snapshot; then nothing is proven.
        notes: what else the shadow could not do.
    """

    forward: Way
    back: Way
    server: str
    unlike: list[Delta]
    notes: list[str]

    @property
    def proven(self) -> bool:
        """Whether both ways are, on a ground that is what it should be."""
        return not self.unlike and self.forward.proven and self.back.proven

    def as_dict(self) -> dict[str, object]:
        """As the document has it."""
        return {
            "proven": self.proven,
            "server": self.server,
            "unlike": [delta.as_dict() for delta in self.unlike],
            "notes": self.notes,
            "forward": self.forward.as_dict(),
            "back": {
                **self.back.as_dict(),
                "sql": self.back.sql,
                "steps": [step.as_dict() for step in self.back.steps],
            },
        }


@dataclass(frozen=True)
class Stage:
    """Where and how a script is rehearsed.

    Attributes:
        ground: the server, and what it holds before the side is rebuilt; its role runs the script.
        scope: what is compared.
        settles: whether a difference is the shadow's doing only.
    """

    ground: Ground
    scope: Scope
    settles: Callable[[Delta], bool]

    def differences(self, left: Snapshot, right: Snapshot) -> Comparison:
        """What is compared, less what the shadow alone decides."""
        found = compare(left, right, scope=self.scope)
        found.deltas = [delta for delta in found if not self.settles(delta)]
        return found


def prove(before: Snapshot, after: Snapshot, steps: Sequence[Step], sql: str, stage: Stage) -> Proof:
    """Run *steps*, printed as *sql*, on a rebuilt *before*; compare with *after*; go back, and compare with *before*.

    Tables are given a few rows first. Where a script fails on those, it is run once more without them, and both
    is said: it is right, but will fail on rows like these.

    Raises:
        ServerFailed: no shadow could be started.
    """
    first = _rehearse(before, after, steps, sql, stage, with_rows=True)
    stumbled = [way.on_rows for way in (first.forward, first.back)]
    if not any(stumbled):
        return first
    again = _rehearse(before, after, steps, sql, stage, with_rows=False)
    if not first.forward.on_rows:
        again.forward = first.forward  # ran with rows; only the way back did not
    again.forward.on_rows, again.back.on_rows = stumbled
    return again


def _rehearse(
    before: Snapshot, after: Snapshot, steps: Sequence[Step], sql: str, stage: Stage, *, with_rows: bool
) -> Proof:
    with Scratch(stage.ground, None) as scratch:
        notes = [*stage.ground.notes, *scratch.lay(stage.ground)]
        shadow = Shadow(scratch, stage)
        try:
            notes += shadow.rebuild(before)
            rebuilt = shadow.look()
            unlike = [*filter(script.changeable, stage.differences(rebuilt, before))]
            filled = rows.fill(shadow.runner) if with_rows else {}
            forward = shadow.go(steps, sql, filled)
            if forward.error is None:
                there = shadow.look()
                forward.left = [*filter(script.changeable, stage.differences(there, after))]
                renamed = any(step.action == "rename" for step in steps)
                first, known, rest = recognise(
                    there,
                    rebuilt,
                    stage.differences(there, rebuilt),
                    guess=renamed,
                    again=lambda snapshot: stage.differences(snapshot, rebuilt),
                )
                back_steps = first + close(known, rebuilt, rest)
                back_sql = script.text(back_steps, title="The way back.")
                back = shadow.go(back_steps, back_sql, rows.contents(shadow.runner))
                if back.error is None:
                    back.left = [*filter(script.changeable, stage.differences(shadow.look(), rebuilt))]
            else:
                back = Way("", [], error="not tried: the way there failed")
            return Proof(forward, back, str(rebuilt.manifest["server"]), unlike, notes)
        finally:
            shadow.close()


class Shadow:
    """A scratch database with a session that runs scripts, and one that watches."""

    def __init__(self, scratch: Scratch, stage: Stage) -> None:
        self.scratch, self.stage = scratch, stage
        self.runner = scratch.runner(stage.ground.role)
        self.reader = scratch.reader()
        scratch.reset(self.runner)

    def close(self) -> None:
        self.runner.close()
        self.reader.close()

    def look(self) -> Snapshot:
        """The database as it is; what is made next will belong to the session's role."""
        snapshot = self.scratch.snapshot()
        snapshot.manifest["role"] = self.stage.ground.role
        return snapshot

    def rebuild(self, wanted: Snapshot) -> list[str]:
        """Make the database what *wanted* says, as far as possible; return what did not work."""
        whole = replace(self.stage, scope=replace(self.stage.scope, schemas=frozenset(), rules=(), owners=True,
                                                  grants=True, comments=True))  # fmt: skip
        empty = self.look()
        execute(self.runner, "SET check_function_bodies = off")
        steps = close(empty, wanted, whole.differences(empty, wanted))
        failed = [
            f"not rebuilt: {excerpt(text, 80)}: {error.message}"
            for alone, group in script.transactions(steps)
            for text, error in execute_all(self.runner, [step.sql.text for step in group], together=not alone)
        ]
        self.scratch.reset(self.runner)
        return failed

    def go(self, steps: Sequence[Step], sql: str, filled: rows.Contents) -> Way:
        """Run a script as psql would, in the transactions as printed, and watch."""
        way = Way(sql, steps)
        relations = {oid: row for oid, *row in self.reader.execute(RELATIONS).fetchall()}
        failed = self._run(steps, way, {oid: row[0] for oid, row in relations.items()})
        self.scratch.reset(self.runner)
        if failed:
            step, error = failed
            said = f"{excerpt(step.sql.text, 120)}: {error.message}"
            way.error = said
            way.on_rows = said if filled else None
            return way
        files = {oid: file for oid, _, file, _ in self.reader.execute(RELATIONS).fetchall()}
        way.rewritten = sorted(
            name
            for oid, (name, file, kind) in relations.items()
            if kind in "rm" and files.get(oid, file) != file
        )
        if filled:
            said_so = {
                step.key[1] for step in steps for hazard in step.sql.hazards if hazard.code == "DELETES_DATA"
            }
            after = rows.contents(self.runner)
            way.lost = [
                name for name in rows.lost(filled, after) if not said_so & {name, name.rpartition(".")[0]}
            ]
        return way

    def _run(self, steps: Sequence[Step], way: Way, names: dict[int, str]) -> tuple[Step, Error] | None:
        """The first statement that failed, if one did."""
        if script.loose(steps):
            execute(self.runner, script.LOOSE)
        for alone, group in script.transactions(steps):
            if not alone:
                execute(self.runner, "BEGIN")
            for step in group:
                if (
                    alone
                ):  # its locks are gone when it has run, so they are looked at in a rehearsal of its own
                    execute(self.runner, "BEGIN")
                    execute(self.runner, step.sql.text)
                    self.watch(way, names)
                    execute(self.runner, "ROLLBACK")
                if error := execute(self.runner, step.sql.text):
                    return step, error
            self.watch(way, names)
            if not alone and (error := execute(self.runner, "COMMIT")):  # deferred constraints speak up here
                return group[-1], error
        return None

    def watch(self, way: Way, names: dict[int, str]) -> None:
        found = self.reader.execute(_LOCKS, [self.runner.info.backend_pid]).fetchall()
        for oid, mode in found:
            name = names.get(oid)
            if name and (name not in way.locks or MODES.index(mode) > MODES.index(way.locks[name])):
                way.locks[name] = mode


def summary(proof: Proof, name: str) -> list[str]:
    """What was proven, in lines for people."""
    lines = [f"{name} rebuilt on {proof.server}: {'equal' if not proof.unlike else 'NOT equal'}"]
    lines += [f"  {_said(delta)}" for delta in proof.unlike]
    lines += [f"  {note}" for note in proof.notes]
    for title, way in (("the way there", proof.forward), ("the way back", proof.back)):
        lines += _way(title, way, bool(proof.unlike))
    return lines


def _way(title: str, way: Way, unlike: bool) -> list[str]:
    verdict = "NOT proven" if unlike or not way.proven else "proven: nothing is left"
    lines = [f"{title} ({len(way.steps)} statements): {verdict}"]
    lines += [f"  failed: {way.error}"] if way.error else []
    lines += [f"  fails on tables with rows: {way.on_rows}"] if way.on_rows else []
    lines += [f"  left: {_said(delta)}" for delta in way.left]
    lines += [f"  lost, and no hazard said so: {name}" for name in way.lost]
    held = [f"{name} {_words(mode)}" for name, mode in sorted(way.locks.items()) if mode != MODES[0]]
    lines += [f"  locks: {', '.join(held)}"] if held else []
    lines += [f"  rewritten: {', '.join(way.rewritten)}"] if way.rewritten else []
    return lines


def _said(delta: Delta) -> str:
    attribute = f" · {delta.attribute}" if delta.attribute else ""
    return f"{delta.change}: {delta.kind} {delta.identity}{attribute}"


def _words(mode: str) -> str:
    """``AccessExclusiveLock`` as the manual writes it: ACCESS EXCLUSIVE."""
    return "".join(f" {c}" if c.isupper() else c for c in mode.removesuffix("Lock")).strip().upper()
