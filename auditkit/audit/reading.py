"""Reading sources: snapshots, comparisons and histories of environments, files and migrations."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.catalog.capture import capture
from auditkit.catalog.snapshot import Key, Snapshot
from auditkit.config import Settings, Source
from auditkit.connect import connect
from auditkit.errors import AuditError, ConfigError
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.catalog.compare import Comparison, Scope
    from auditkit.history.ledgers import History
    from auditkit.history.platform import Base
    from auditkit.history.shadow import Replay
    from auditkit.history.states import HistoryMatrix
    from auditkit.resolve.closing import Step

# Two databases are compared in half a second, most of which goes into imports: what a capture does not need is
# imported where it is used.


def take(
    source: Source,
    settings: Settings,
    *,
    logs: bool = False,
    evidence: bool = True,
    progress: Tell = silent,
) -> Snapshot:
    """A snapshot of *source*: captured, loaded, or the end state of a replay of the migrations.

    With *logs* the files of the server's log that the settings name are heard as well; without *evidence* nothing
    but facts and ledgers is read, which is enough to compare them.

    Raises:
        ConnectionFailed, Unreadable, SnapshotCorrupt, ConfigError, ServerFailed: in one line each.
    """
    if logs and source.logs:
        from auditkit.history import witnesses

        found = take(source, settings, progress=progress)
        more = witnesses.read_logs(source.logs, found, settings.root, source.log_line_prefix)
        found.manifest["witnesses"] = [*found.manifest.get("witnesses", ()), *more]
        return found
    if source.type == "snapshot":
        if not Path(source.value).is_file():
            raise ConfigError(
                f"{source.name}: no such snapshot file: {source.value}; make one with "
                f"`auditkit snapshot ENV -o {source.value}`"
            )
        loaded = Snapshot.load(source.value)
        loaded.manifest["name"] = source.name
        return loaded
    if source.type == "live":
        progress(0, 1, f"Reading {source.name}")
        return _capture(source, evidence=evidence)
    return _end_state(source, settings, None, progress)[0].final


def _end_state(
    source: Source, settings: Settings, like: Snapshot | None, progress: Tell
) -> tuple[Replay, Base]:
    """What the migrations lead to when they are replayed on a ground like that of the database *like*."""
    from auditkit.audit.meant import all_steps, ground_for, migrations_of
    from auditkit.history.shadow import replay

    migrations = migrations_of(settings, ref=source.value or None)
    ground, base = ground_for(settings, like, migrations)
    result = replay(all_steps(migrations, settings), ground, progress=progress)
    if result.failures:
        failure = result.failures[0]
        step = result.steps[failure.step]
        raise AuditError(
            f"{source.name}: {step.file or step.version}:{failure.line}: cannot be replayed: {failure.message}; "
            "correct the migration, or compare with an environment instead"
        )
    result.final.manifest["name"] = source.name
    result.final.manifest["role"] = ground.role  # whose will be what a further migration makes
    return result, base


def _capture(source: Source, *, evidence: bool) -> Snapshot:
    """Catalog and ledgers of a live environment, over short read-only sessions."""
    with connect(source.conninfo, name=source.name) as connection:
        snapshot = capture(connection, name=source.name, conninfo=source.conninfo)
        from auditkit.history import ledgers

        snapshot.ledgers = ledgers.read_ledgers(connection)
        if not evidence:
            return snapshot
        from auditkit.catalog import access, physical
        from auditkit.history import witnesses

        snapshot.manifest["access"] = access.read(connection)
        snapshot.physical = physical.read(connection, snapshot)
        snapshot.manifest["witnesses"] = witnesses.read(connection, snapshot)
    return snapshot


def try_take(source: Source, settings: Settings) -> Snapshot | AuditError:
    """``take``, with the server's logs, or why an environment cannot be read."""
    try:
        return take(source, settings, logs=True)
    except ConfigError:
        raise
    except AuditError as error:
        return error


def read_all(
    sources: Sequence[Source], settings: Settings, progress: Tell
) -> dict[str, Snapshot | AuditError]:
    """All environments at once; one that cannot be read does not stop the others."""
    found: dict[str, Snapshot | AuditError] = {}
    with ThreadPoolExecutor(max_workers=min(4, len(sources) or 1)) as pool:
        for number, (source, result) in enumerate(
            zip(sources, pool.map(partial(try_take, settings=settings), sources), strict=True)
        ):
            progress(number, len(sources), f"Reading {source.name}")
            found[source.name] = result
    return found


def diff(
    left: Source,
    right: Source,
    settings: Settings,
    *,
    sql: bool = False,
    safe: bool = False,
    prove: bool = False,
    renames: Sequence[str] = (),
    guess_renames: bool = True,
    online: bool = False,
    progress: Tell = silent,
) -> dict[str, Any]:
    """The document ``auditkit.diff/1``: how *right* differs from *left*; with *sql*, what turns left into right.

    Migrations beside a database are replayed on a ground like that database's: its platform and its operator's
    roles are no differences. ``equal`` is only true if everything could be read; the order of columns, which no
    statement changes, is listed and does not count. ``sql`` is the script as
    psql runs it, ``steps`` its statements with their hazards, ``proof`` what came of running it on a shadow.
    *renames* are the user's, ``KIND:OLD=NEW``; others are recognised unless *guess_renames* is false. *online* keeps
    no writer waiting for long, at the price of several transactions.

    Raises:
        ConfigError: *safe* was asked for, and a statement deletes data; or a rename names what is not there.
    """
    # Hazards are told from what was seen besides.
    asked = sql or safe or prove or online
    sides = compared_sides(left, right, settings, progress, lenient=True, evidence=asked)
    compared = sides.compared
    both = (sides.left, sides.right)
    not_checked = [{"environment": s.manifest["name"], **n} for s in both for n in s.manifest["not_checked"]]
    document: dict[str, Any] = {
        "format": "auditkit.diff/1",
        "left": left.name,
        "right": right.name,
        "equal": all(d.is_warning for d in compared)
        and not any(n.get("blocking", True) for n in not_checked),
        "deltas": [delta.as_dict() for delta in compared.deltas],
        "managed": dict(sorted(compared.managed.items())),
        "extension_members": compared.extension_members,
        "suppressed": [rule.as_dict(compared.suppressed.get(rule, 0)) for rule in settings.ignore],
        "unmodelled": [{"environment": s.manifest["name"], **u} for s in both for u in s.unmodelled],
        "not_checked": not_checked,
    }
    if asked:
        from auditkit.resolve import script

        steps = sides.steps(renames, guess=guess_renames, online=online)
        if safe:
            script.refuse_deletions(steps)
        document["steps"] = [step.as_dict() for step in steps]
        document["sql"] = script.text(
            steps, title=f"Turns {left.name} into {right.name}.", notes=script.notes(compared)
        )
        if prove and compared.deltas:
            from auditkit.audit.proving import proof_of

            progress(0, 1, f"Proving on a shadow of {left.name}")
            document["proof"] = proof_of(sides, steps, document["sql"], settings)
    return document


@dataclass(frozen=True)
class Sides:
    """Two sources that can be compared, and how they differ; ``base`` is what migrations were replayed on."""

    left: Snapshot
    right: Snapshot
    compared: Comparison
    scope: Scope
    base: Base | None = None
    replay: Replay | None = None

    def again(self, left: Snapshot) -> Comparison:
        """How the right side differs from another left one."""
        return _compared(left, self.right, self.scope, self.base)

    def steps(self, renames: Sequence[str] = (), *, guess: bool = True, online: bool = False) -> list[Step]:
        """The statements that turn left into right: renames first, told by the user or recognised."""
        from auditkit.resolve import closing
        from auditkit.resolve.online import online as without_long_locks
        from auditkit.resolve.renames import recognise, told
        from auditkit.resolve.unheeded import unheeded

        known = told(renames, self.left)
        steps, left, rest = recognise(
            self.left, self.right, self.compared, known=known, guess=guess, again=self.again
        )
        right = unheeded(left, self.right, replace(self.scope, lenient=True).ignored_attributes)
        closed = closing.close(left, right, rest)
        return steps + (without_long_locks(closed, left, right) if online else closed)


def _compared(left: Snapshot, right: Snapshot, scope: Scope, base: Base | None) -> Comparison:
    from auditkit.catalog.compare import compare

    found = compare(left, right, scope=scope)
    if base:
        found.deltas = [d for d in found.deltas if not base.settles(d.kind, d.identity, d.attribute)]
    return found


def compared_sides(
    left: Source,
    right: Source,
    settings: Settings,
    progress: Tell = silent,
    *,
    lenient: bool = False,
    evidence: bool = True,
) -> Sides:
    """Both sources as snapshots that can be compared, and how they differ; see ``Scope`` for *lenient*, ``take`` for
    *evidence*."""
    sources = (left, right)
    databases = [source for source in sources if source.type != "migrations"]
    if any(source.type == "live" for source in sources):
        import psycopg  # noqa: F401  (first of all: the rest is imported while the servers answer)
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [
            pool.submit(take, source, settings, evidence=evidence, progress=progress) for source in databases
        ]
        # Needed only once the snapshots are there.
        from auditkit.catalog.compare import compare  # noqa: F401
        from auditkit.history import ledgers, platform  # noqa: F401

        taken = [each.result() for each in waiting]
    base = result = None
    if len(taken) == 1:
        from auditkit.history.dialect import translated

        result, base = _end_state(left if left.type == "migrations" else right, settings, taken[0], progress)
        there = translated(taken[0], result)
        sides = [result.final if source.type == "migrations" else there for source in sources]
    else:
        sides = taken or [take(source, settings, progress=progress) for source in sources]
    scope = replace(scope_of(settings, *sides), lenient=lenient, system=base is None)
    return Sides(sides[0], sides[1], _compared(sides[0], sides[1], scope, base), scope, base, result)


def history(
    sources: Sequence[Source], settings: Settings, *, progress: Tell = silent
) -> tuple[HistoryMatrix, list[dict[str, Any]]]:
    """The matrix of migrations and environments, and what could not be read."""
    from auditkit.audit.meant import migrations_of
    from auditkit.history import ledgers
    from auditkit.history.states import states

    migrations = migrations_of(settings)
    histories: dict[str, History] = {}
    problems: list[dict[str, Any]] = []
    unreached: list[AuditError] = []
    for number, source in enumerate(sources):
        progress(number, len(sources), f"Reading the ledger of {source.name}")
        try:
            if source.type == "live":
                with connect(source.conninfo, name=source.name) as connection:
                    found = ledgers.read_history(connection, migrations)
            else:
                found = ledgers.choose(take(source, settings).ledgers, migrations)
        except ConfigError:
            raise
        except AuditError as error:
            unreached.append(error)
            problems.append(unreachable(source.name, error))
            continue
        histories[source.name] = found
        problems += [{"environment": source.name, **item} for item in found.not_checked]
    if unreached and not histories:
        raise unreached[0]
    return states(migrations, histories), problems


def unreachable(name: str, error: AuditError) -> dict[str, Any]:
    # Messages say what happened, then what to do; the name has a place of its own here.
    why, _, fix = str(error).removeprefix(f"{name}: ").rpartition("; ")
    return {"environment": name, "what": "the environment", "why": why or fix, "fix": fix}


def scope_of(settings: Settings, *snapshots: Snapshot) -> Scope:
    """What is compared: all but the platform's own schemas, the ledger, and what the settings exclude."""
    from auditkit.catalog.compare import Scope
    from auditkit.history import ledgers, platform

    managed: frozenset[str] = frozenset()
    if any(platform.is_supabase(snapshot) for snapshot in snapshots):
        managed = frozenset(platform.MANAGED_SCHEMAS)
    tables = {table for s in snapshots for r in s.ledgers for table in ledgers.own_tables(r)}
    # A log of changes, which event triggers write, is no change: its schema is counted as managed, like a platform's.
    logs: set[str] = set()
    own_triggers: frozenset[Key] = frozenset()
    if any("event trigger" in s.tables for s in snapshots):
        from auditkit.history.witnesses import ddl_log

        logs = {place[0] for s in snapshots if (place := ddl_log.place(s))}
        own_triggers = frozenset(key for s in snapshots for key in ddl_log.triggers(s))
    return Scope(
        managed=managed | logs,
        apart=own_triggers,
        still_compared=platform.USERS_KINDS,
        ledgers=frozenset(tables),
        schemas=frozenset(settings.schemas),
        rules=tuple(rule for rule in settings.ignore if rule.active()),
        owners=settings.owners,
        grants=settings.grants,
        comments=settings.comments,
        lenient=False,
        system=False,
    )
