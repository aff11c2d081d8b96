"""Applying a plan to its environment: who may, whether it is still what the plan was made for, and where it stands."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.meant import listed, migrations_of, named_in
from auditkit.audit.reading import scope_of
from auditkit.catalog.capture import capture
from auditkit.config import Settings, Source
from auditkit.connect import describe, parse, reason
from auditkit.errors import AuditError, ConfigError, ConnectionFailed, ServerFailed, Unreadable
from auditkit.history import ledgers
from auditkit.history.migration import Migrations
from auditkit.history.shadow.code import code_of, text_of
from auditkit.history.shadow.replayed import digest_of
from auditkit.resolve import commands
from auditkit.resolve.applying import Runner, Stopped, Terminated, noticed
from auditkit.resolve.effects import fingerprint, state_of
from auditkit.resolve.guards import Guard
from auditkit.resolve.journal import Journal
from auditkit.resolve.lifeline import Lifeline
from auditkit.resolve.plan import Plan, PlanStep
from auditkit.resolve.records import Book

if TYPE_CHECKING:
    import psycopg


def apply(
    plan: Plan,
    *,
    to: str,
    confirmed: str,
    resume: bool = False,
    rollback: bool = False,
    lock_timeout: int = 3000,
    attempts: int = 6,
    settings: Settings | None = None,
    config_file: str = "",
    command: str = "",
    tell: Callable[[str], None] = lambda line: None,
) -> Journal:
    """Run *plan* on the environment that it was made for; the journal of what was done.

    Args:
        to, confirmed: the environment's name, twice.
        resume: go on where an earlier run stopped.
        rollback: take back the steps that are in place.
        lock_timeout: milliseconds to wait for a lock, each time.
        attempts: how often a step is tried that waits for locks.
        command: how to call it again, for messages.

    Raises:
        ConfigError: the wrong environment, a plan that is not offered, or a migration edited since.
        Stopped: it was not carried out to its end; the message says where it stands.
        Held: somebody else is at work there.
    """
    import psycopg

    settings = settings or config.load(config_file or None)
    source = _checked(plan, to, confirmed, settings)
    migrations = migrations_of(settings)
    if not rollback:
        _same_files(plan, migrations, settings)
    with ending(), Lifeline() as lifeline:

        def open_session() -> psycopg.Connection[Any]:
            return lifeline.watch(session(source), lambda: session(source))

        try:
            return _applied(
                plan,
                open_session,
                settings,
                migrations,
                resume=resume,
                rollback=rollback,
                lock_timeout=lock_timeout,
                attempts=attempts,
                command=command,
                tell=tell,
            )
        except (psycopg.Error, ServerFailed) as error:
            why = reason(error) if isinstance(error, psycopg.Error) else "the session was ended"
            raise ConnectionFailed(
                f"{plan.environment}: the connection was lost ({why}) before a step was begun; nothing was run now; "
                "try again"
            ) from None


def _applied(
    plan: Plan,
    open_session: Callable[[], psycopg.Connection[Any]],
    settings: Settings,
    migrations: Migrations,
    *,
    resume: bool,
    rollback: bool,
    lock_timeout: int,
    attempts: int,
    command: str,
    tell: Callable[[str], None],
) -> Journal:
    guard_session = open_session()
    try:
        book = None
        if plan.ledger:
            found = next(
                (r for r in ledgers.find_ledgers(guard_session) if r.label == plan.ledger),
                None,
            )
            if found is None:
                raise ConfigError(
                    f"{plan.environment} has no ledger {plan.ledger} any more; make the plan again"
                )
            book = Book(plan.tool, found.schema, found.table)
        by_tool = any(step.kind == "command" for step in plan.steps) and not rollback
        guard = Guard(guard_session, plan.environment, plan.tool, book, leave=by_tool)
        journal = journal_of(plan, settings)  # nobody else writes to it now
        _begun_before(plan, journal, resume=resume, rollback=rollback, command=command)

        def look(connection: psycopg.Connection[Any]) -> str:
            return look_at(connection, plan.environment, settings, migrations)

        def before(step: PlanStep) -> None:
            if rollback:
                _unwrite(step, settings.root)
            else:
                _write(step, journal, settings.root)

        runner = Runner(
            plan,
            journal,
            book,
            open_session,
            look,
            guard,
            lock_timeout,
            attempts,
            tell,
            shell_of(guard_session, settings, migrations) if by_tool else None,
            before,
            command or "auditkit apply",
        )
        try:
            runner.recover()
            here = runner.look_fresh()
            if here != runner.expected() and (resume or rollback):
                runner.reconcile(here)
            if not journal.open_step() and here != runner.expected():
                raise Stopped(_elsewhere(plan, journal, here, command))
            for step in () if rollback else plan.steps:
                _may_write(step, settings.root)
            journal.add(
                "run", plan=plan.digest, environment=plan.environment, fingerprint=here, back=rollback
            )
            runner.run(back=rollback)
        finally:
            runner.session.close()
    finally:
        guard_session.close()
    return journal


def _elsewhere(plan: Plan, journal: Journal, here: str, command: str) -> str:
    """Why a plan does not fit what is there; what can be done about it."""
    after = [step.number for step in plan.steps if step.after == here]
    if after and not journal.entries:
        return (
            f"{plan.environment} is as after step {after[-1]} of this plan, and {journal.path} is not there: was it run "
            f"from another folder? Go on with `{command} --resume`, or take it back with `{command} --rollback`"
        )
    return (
        f"{plan.environment} is not what the plan was made for"
        f"{' and led to so far' if journal.entries else ''}: it was changed meanwhile; nothing was run now; "
        f"look at it with `auditkit explain {plan.environment}` and make the plan again"
    )


def shell_of(
    connection: psycopg.Connection[Any], settings: Settings, migrations: Migrations
) -> Callable[[PlanStep, str, Callable[[int], None]], commands.Ended]:
    """What runs a command of the project's tool on the database of *connection*."""
    code = code_of(migrations, settings)
    python = code.program[0] if code and code.program[1].endswith(".py") else ""
    encrypted = bool(connection.pgconn.ssl_in_use)
    words = commands.surroundings(connection.info, settings.code_environment, os.environ, encrypted=encrypted)
    root = migrations.project.root

    def shell(step: PlanStep, line: str, began: Callable[[int], None]) -> commands.Ended:
        folder = step.folder or "."
        command = commands.arguments(line, words, root, folder, python)
        return commands.run(command, root / folder, words, began)

    return shell


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does: what is in hand is rolled back, and said."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def journal_of(plan: Plan, settings: Settings) -> Journal:
    """The journal of one plan: in ``journal/`` where the reports go."""
    return Journal(settings.out_dir / "journal" / f"{_plain(plan.environment)}-{plan.digest[:12]}.jsonl")


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def carried_out(settings: Settings, environment: str, before: str, after: str) -> list[Path]:
    """The journals of the plans that alone led from one fingerprint of *environment* to another; none if others did."""
    found: list[Path] = []
    runs = []
    for path in (settings.out_dir / "journal").glob(f"{_plain(environment)}-*.jsonl"):
        with contextlib.suppress(AuditError):  # a journal that was changed tells nothing
            runs += [(*ends, path) for ends in Journal(path, mend=False).ends()]
    for _, start, end, path in sorted(runs):
        if start == before != after:
            before = end
            found.append(path)
    return [*dict.fromkeys(found)] if before == after else []


def _checked(plan: Plan, to: str, confirmed: str, settings: Settings) -> Source:
    if to != plan.environment:
        raise ConfigError(f"the plan is for {plan.environment}, not for {to}; nothing was run")
    if confirmed != plan.environment:
        raise ConfigError(
            f"not confirmed: give the name of the environment once more, --yes {plan.environment}"
        )
    if not plan.offered:
        raise ConfigError(f"the plan was not offered: {'; '.join(plan.not_offered) or 'it is not proven'}")
    source = settings.source(to)
    if source.type != "live":
        raise ConfigError(f"{to} is not a database that could be changed; name an environment that is")
    return source


def _same_files(plan: Plan, migrations: Migrations, settings: Settings) -> None:
    """The files on disk are those that were rehearsed."""
    wanted = {path: digest for step in plan.steps for path, digest in step.texts.items()}
    if not wanted:
        return
    known = listed(migrations, settings)
    texts = {named_in(known, migration): text_of(migration) for migration in known}
    for path, digest in wanted.items():
        if path not in texts or digest_of([texts[path]]) != digest:
            what = "was edited" if path in texts else "is gone"
            raise ConfigError(f"{path} {what} since the plan was made; make it again")


def _begun_before(plan: Plan, journal: Journal, *, resume: bool, rollback: bool, command: str) -> None:
    begun = any(entry["event"] == "begin" for entry in journal.entries)
    done, count = len(journal.done()), len(plan.steps)
    if rollback and not begun:
        raise ConfigError(f"nothing of this plan was run on {plan.environment}, as {journal.path} has it")
    if not begun or resume or rollback:
        return
    if journal.over:
        if done:
            raise ConfigError(
                f"this plan was applied to {plan.environment} already ({journal.path}); make a new one"
            )
        return  # it was taken back, and may be applied again
    raise Stopped(
        f"{plan.environment}: an earlier run of this plan stopped with {done} of {count} steps in place ({journal.path}); "
        f"go on with `{command} --resume`, or take it back with `{command} --rollback`"
    )


def session(source: Source) -> psycopg.Connection[Any]:
    """A session that may write, with libpq's plain settings as migration tools have them."""
    import psycopg

    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    words = parse(source.conninfo, source.name)
    words.setdefault("connect_timeout", 10)
    words.setdefault("client_encoding", "utf8")
    words["application_name"] = "auditkit apply"
    for name, value in (("keepalives_idle", 10), ("keepalives_interval", 5), ("keepalives_count", 3)):
        words.setdefault(name, value)
    try:
        connection = psycopg.connect(**words, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise ConnectionFailed(
            f"{source.name}: cannot connect to {describe(source.conninfo)}: {reason(error)}; try again later"
        ) from None
    connection.add_notice_handler(lambda notice: None)
    noticed(connection)
    return connection


def look_at(
    connection: psycopg.Connection[Any], name: str, settings: Settings, migrations: Migrations
) -> str:
    """The fingerprint of the environment as this session sees it, what it has not committed yet included."""
    try:
        snapshot = capture(connection, name=name, edges=False, workers=1)
    except Unreadable as error:
        if "transaction is aborted" not in str(error):
            raise
        raise Unreadable(
            f"{name}: cannot be read now: another session holds a lock on a table of it; try again when it is done"
        ) from None
    if not snapshot.complete:
        why = "; ".join(note["why"] for note in snapshot.manifest["not_checked"])
        raise Unreadable(f"{name}: cannot be read completely: {why}")
    snapshot.ledgers = ledgers.read_ledgers(connection)
    history = ledgers.choose(snapshot.ledgers, migrations)
    return fingerprint(state_of(snapshot, scope_of(settings, snapshot), history))


def _may_write(step: PlanStep, root: Path) -> None:
    """Nothing of the project's is overwritten that the plan does not know."""
    for path, text in _files(step, root):
        old = step.replaces.get(str(path.relative_to(root.resolve())))
        if path.exists() and path.read_text("utf-8", "replace") not in (text, old):
            raise ConfigError(f"{path} exists already and is not overwritten; make the plan again")


def _write(step: PlanStep, journal: Journal, root: Path) -> None:
    """The migration files that a step captures: in the project before they are recorded anywhere."""
    _may_write(step, root)
    for path, text in _files(step, root):
        if not path.exists() or path.read_text("utf-8", "replace") != text:
            _put(path, text)
            journal.add("wrote", step=step.number, file=str(path.relative_to(root.resolve())))


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; make that possible, then go on with --resume"
        ) from None


def _unwrite(step: PlanStep, root: Path) -> None:
    for path, text in _files(step, root):
        if path.exists() and path.read_text("utf-8", "replace") == text:
            old = step.replaces.get(str(path.relative_to(root.resolve())))
            if old is not None:
                _put(path, old)
                continue
            path.unlink()
            with contextlib.suppress(OSError):  # a folder of its own (Prisma, Diesel)
                path.parent.rmdir()


def _files(step: PlanStep, root: Path) -> list[tuple[Path, str]]:
    found = []
    for name, text in step.writes.items():
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ConfigError(f"the plan would write {name}, which is outside of the project")
        found.append((path, text))
    return found
