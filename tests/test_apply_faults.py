"""`auditkit apply` under faults: it ends aligned, or exactly where the journal says, and nothing is lost.

Everything runs against a real server of this module's own, which is killed and restarted. What is killed is a forked child,
at a line of the journal: before it is written and after, so also between a COMMIT and the line that tells of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest
from project import MIGRATIONS, Project

from auditkit import audit, config
from auditkit import server as servers
from auditkit.audit.applying import journal_of, look_at, session
from auditkit.audit.meant import migrations_of
from auditkit.errors import AuditError
from auditkit.resolve import applying, lifeline
from auditkit.resolve.journal import Journal
from auditkit.resolve.plan import Plan, load
from auditkit.server import Server

BY_HAND = (
    "alter table public.notes disable row level security",
    "create index by_email on public.people (email)",
    "drop index public.notes_person",
)
#: Files that are not one transaction, and rows that must be there once.
AWKWARD = {
    "20260106100000_two.sql": "BEGIN;\nalter table public.people add column a int;\nCOMMIT;\n"
    "BEGIN;\ninsert into public.people (email) values ('two');\nCOMMIT;\n",
    "20260107100000_built.sql": "create index concurrently people_email on public.people (email);\n"
    "set statement_timeout = '1h';\ncreate index concurrently people_name on public.people (name);\n",
    "20260108100000_mood.sql": "create type public.mood as enum ('ok');\nalter type public.mood add value 'bad';\n"
    "create table public.moods (mood public.mood default 'bad');\n",
    "20260109100000_vacuum.sql": "vacuum public.people;\ninsert into public.people (email) values ('vacuum');\n",
    "20260110100000_one.sql": "begin;\ninsert into public.people (email) values ('one');\n"
    "create view public.v as select 1 as x;\ncommit;\n",
}


# --- the rig ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(private_cache: Path) -> Iterator[Server]:
    """A server that may be killed."""
    with servers.start(label="faults") as started:
        yield started


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@dataclass
class Rig:
    """A project, its plan, and a database that is as the plan expects it."""

    project: Project
    server: Server
    database: str
    plan: Plan
    children: list[int] = field(default_factory=list)

    @property
    def conninfo(self) -> str:
        return self.server.conninfo(self.database)

    @property
    def settings(self) -> config.Settings:
        return config.load(self.project.root / "auditkit.toml")

    @property
    def journal(self) -> Journal:
        return journal_of(self.plan, self.settings)

    def run(self, **how: Any) -> str:
        """Apply the plan; what stopped it, or nothing."""
        words = {"lock_timeout": 500, "attempts": 3, "command": "auditkit apply p --to production", **how}
        try:
            audit.apply(self.plan, to="production", confirmed="production", settings=self.settings, **words)
        except AuditError as error:
            return str(error)
        return ""

    def child(self, prepare: Callable[[], None] = lambda: None, **how: Any) -> int:
        """The same in a process of its own; its exit code is 0 if nothing stopped it, else 1."""
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            code = 2
            try:
                prepare()
                said = self.run(**how)
                (self.project.root / "said").write_text(said, "utf-8")
                code = 1 if said else 0
            finally:
                os._exit(code)
        self.children.append(pid)
        return pid

    @property
    def said(self) -> str:
        """What stopped a child."""
        return (self.project.root / "said").read_text("utf-8")

    def fingerprint(self) -> str:
        with contextlib.closing(session(self.settings.source("production"))) as connection:
            connection.execute("set search_path = pg_catalog")
            return look_at(connection, "production", self.settings, migrations_of(self.settings))

    @property
    def events(self) -> list[str]:
        return [e["event"] if "step" not in e else f"{e['event']} {e['step']}" for e in self.journal.entries]

    def assert_where_the_journal_says(self) -> None:
        done = self.journal.done()
        expected = self.plan.steps[done[-1] - 1].after if done else self.plan.fingerprint
        assert self.fingerprint() == expected

    def assert_whole(self) -> None:
        """All steps are in place, each run once."""
        assert self.journal.over
        assert self.journal.done() == [step.number for step in self.plan.steps]
        assert self.fingerprint() == self.plan.steps[-1].after
        if any("people" in step.title for step in self.plan.steps) or "two" in self.plan.steps[0].title:
            with psycopg.connect(self.conninfo) as connection:
                rows = connection.execute("select email, count(*) from public.people group by 1").fetchall()
                assert all(count == 1 for _, count in rows), rows

    def resume(self) -> None:
        said = self.run(resume=True)
        assert said == ""
        self.assert_whole()


def wait(pid: int, seconds: float = 60) -> int:
    """How a child ended: its exit code, or the negative number of the signal."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child did not end")


def until(what: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if what():
                return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def _prepared(own: Server, folder: Path, names: list[str], by_hand: tuple[str, ...]) -> tuple[Path, str]:
    """A project with its plan, and a template of the database that the plan is for."""
    project, template = Project.make(folder / "project"), f"template_{uuid.uuid4().hex[:8]}"
    conninfo = project.apply(own.create_database(template), names)
    execute(conninfo, *by_hand)
    if not by_hand:
        for name, text in AWKWARD.items():
            project.write(name, text)
    name = f"production_{uuid.uuid4().hex[:8]}"
    project.settings({"production": own.create_database(name, template=template)})
    made = audit.plan(
        "production", only_push=not by_hand, settings=config.load(project.root / "auditkit.toml")
    )
    assert made.offered, made.not_offered
    made.save(project.root / "plan.toml")
    own.drop_database(name)
    return project.root, template


@pytest.fixture(scope="module")
def plain(own: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Three steps, one of each kind, each one transaction."""
    return _prepared(own, tmp_path_factory.mktemp("plain"), sorted(MIGRATIONS)[:4], BY_HAND)


@pytest.fixture(scope="module")
def awkward(own: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Five files, four of which are not one transaction."""
    return _prepared(own, tmp_path_factory.mktemp("awkward"), sorted(MIGRATIONS), ())


@pytest.fixture
def rig(request: pytest.FixtureRequest, own: Server, tmp_path: Path) -> Iterator[Rig]:
    """That of *plain*, or of the fixture that the test names: a fresh project and database."""
    root, template = request.getfixturevalue(getattr(request, "param", "plain"))
    shutil.copytree(root, tmp_path / "project")
    name = f"production_{uuid.uuid4().hex[:8]}"
    project = Project(tmp_path / "project")
    project.settings({"production": own.create_database(name, template=template)})
    made = Rig(project, own, name, load(project.root / "plan.toml"))
    yield made
    for pid in made.children:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    own.drop_database(name)


only_awkward = pytest.mark.parametrize("rig", ["awkward"], indirect=True)


# --- killed ----------------------------------------------------------------------------------------------------------


def kill_at(line: int, *, written: bool) -> Callable[[], None]:
    """`kill -9` of this process at a line of the journal."""

    def prepare() -> None:
        add = Journal.add

        def dying(self: Journal, event: str, **more: Any) -> Any:
            if len(self.entries) + 1 == line and not written:
                os.kill(os.getpid(), signal.SIGKILL)
            entry = add(self, event, **more)
            if len(self.entries) == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return entry

        Journal.add = dying  # type: ignore[method-assign]

    return prepare


#: Lines of the journals of both plans when nothing happens.
LINES = {"plain": 12, "awkward": 41}
POINTS = [
    (name, line, written)
    for name, count in LINES.items()
    for line in range(1, count + 1)
    for written in (False, True)
]
ALL = bool(os.environ.get("AUDITKIT_TEST_ALL"))
CHOSEN = POINTS if ALL else random.Random(11).sample(POINTS, 8)


@pytest.mark.parametrize(("rig", "line", "written"), CHOSEN, indirect=["rig"])
def test_killed(rig: Rig, line: int, written: bool) -> None:
    assert wait(rig.child(kill_at(line, written=written))) == -signal.SIGKILL
    assert len(rig.journal.entries) == line - (not written)
    rig.resume()


@pytest.mark.parametrize("rig", ["plain", pytest.param("awkward", marks=pytest.mark.slow)], indirect=True)
def test_nothing_happens_there_or_back(rig: Rig) -> None:
    name = "plain" if len(rig.plan.steps) == 3 else "awkward"
    assert rig.run() == ""
    assert len(rig.events) == LINES[name]
    rig.assert_whole()
    assert rig.run(rollback=True) == ""
    assert rig.fingerprint() == rig.plan.fingerprint
    assert rig.run() == ""  # and there again
    assert rig.fingerprint() == rig.plan.steps[-1].after


@pytest.mark.parametrize(
    ("rig", "line"), [("plain", 15), pytest.param("awkward", 45, marks=pytest.mark.slow)], indirect=["rig"]
)
def test_killed_on_the_way_back(rig: Rig, line: int) -> None:
    assert rig.run() == ""
    assert wait(rig.child(kill_at(line, written=True), rollback=True)) == -signal.SIGKILL
    assert rig.run(rollback=True) == ""
    assert rig.fingerprint() == rig.plan.fingerprint
    assert rig.journal.done() == []


@pytest.mark.parametrize("line", [20, *([8, 14, 26, 31] if ALL else [])])
@only_awkward
def test_half_a_step_is_taken_back(rig: Rig, line: int) -> None:
    """A step of several transactions, killed in its middle: the way back takes what is there of it."""
    assert wait(rig.child(kill_at(line, written=True))) == -signal.SIGKILL
    said = rig.run(rollback=True)
    assert said == "", (said, rig.events)
    assert rig.fingerprint() == rig.plan.fingerprint
    assert rig.journal.done() == []


# --- the server ------------------------------------------------------------------------------------------------------


def restart(server: Server, how: signal.Signals) -> None:
    assert server._process
    server._process.send_signal(how)
    server._process.wait(60)
    server._process = servers._launcher(server.binaries).launch(
        server.socket_dir,
        "postgres",
        "-D",
        str(server.datadir),
        f"--config-file={server.socket_dir / 'postgresql.conf'}",
    )
    servers._wait_until_ready(server)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_of_the_server(rig: Rig, own: Server, how: signal.Signals) -> None:
    reader = psycopg.connect(rig.conninfo)
    reader.execute("select * from public.people")
    pid = rig.child(lock_timeout=60_000)
    until(lambda: "begin 2" in rig.events)
    until(lambda: waits(rig))
    restart(own, how)
    with contextlib.suppress(psycopg.Error):
        reader.close()
    assert wait(pid) == 1
    assert "the connection was lost; what became of it is looked up in the server when you go on" in rig.said
    rig.resume()


def waits(rig: Rig) -> bool:
    """Whether it waits for a lock."""
    with psycopg.connect(rig.conninfo) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'auditkit apply' "
            "and datname = current_database() and wait_event_type = 'Lock'"
        ).fetchone()
    return bool(row and row[0])


# --- the network -----------------------------------------------------------------------------------------------------


class Line:
    """A TCP line to the server that is cut, or stands still, at a message: before it is passed on, or after."""

    def __init__(self, target: Path, message: bytes, *, passed: bool, frozen: bool, nth: int = 1) -> None:
        self.target, self.message, self.passed, self.frozen = target, message, passed, frozen
        self.left = nth
        self.broken = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.still: set[int] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.target))
            self.pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server, client), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, client), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if id(client) in self.still:
                    continue
                if source is client and self.message in data and not self.broken:
                    self.left -= 1
                    if self.left == 0:
                        self.broken = True
                        self.still.add(id(client))
                        if self.passed:
                            to.sendall(data)
                            time.sleep(0.3)
                        if not self.frozen:
                            for each in (client, to):
                                each.shutdown(socket.SHUT_RDWR)
                            return
                        continue
                to.sendall(data)
        if id(client) not in self.still:
            with contextlib.suppress(OSError):
                to.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for somebody to call
        self.listener.close()
        for pair in self.pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


CUTS = [
    # message, passed on before the line is cut, stands still instead, which one → what is in place when it is noticed
    pytest.param(b"COMMIT\0", True, False, 1, id="cut after COMMIT was sent"),
    pytest.param(b"COMMIT\0", False, False, 2, id="cut before COMMIT arrives"),
    pytest.param(b"COMMIT\0", True, True, 1, id="still after COMMIT was sent"),
    pytest.param(
        b"LOCK TABLE", False, True, 1, id="still at the beginning of a step", marks=pytest.mark.slow
    ),
    pytest.param(b"pg_current_xact_id", True, False, 3, id="cut after looking", marks=pytest.mark.slow),
    pytest.param(b"pg_try_advisory_lock", True, False, 1, id="cut at the lock", marks=pytest.mark.slow),
    pytest.param(b"pg_locks", True, True, 1, id="the lock's line stands still", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("message", "passed", "frozen", "nth"), CUTS)
def test_a_line_that_is_cut(
    rig: Rig,
    own: Server,
    monkeypatch: pytest.MonkeyPatch,
    message: bytes,
    passed: bool,
    frozen: bool,
    nth: int,
) -> None:
    monkeypatch.setattr(lifeline, "PATIENCE", 1.0)
    monkeypatch.setattr(lifeline, "PAUSE", 0.3)
    line = Line(own.socket_dir / ".s.PGSQL.5432", message, passed=passed, frozen=frozen, nth=nth)
    direct = rig.conninfo
    rig.project.settings(
        {"production": psycopg.conninfo.make_conninfo(direct, host="127.0.0.1", port=line.port)}
    )
    said = rig.run()
    assert line.broken, said
    line.close()
    assert said
    rig.project.settings({"production": direct})
    until(lambda: gone(direct))
    if any(event == "begin 1" for event in rig.events):
        assert "the connection was lost" in said or "the lock that keeps others out was lost" in said
        rig.resume()
    else:
        assert rig.run() == ""
        rig.assert_whole()


def gone(conninfo: str) -> bool:
    """Whether the server has noticed that nobody is there any more."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity "
            "where application_name = 'auditkit apply' and datname = current_database()"
        ).fetchone()
    return bool(row and row[0] == 0)


# --- signals, locks, limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGINT, "stopped by Ctrl-C"), (signal.SIGTERM, "it was told to end (SIGTERM)")],
)
def test_told_to_stop_while_it_waits(rig: Rig, number: signal.Signals, why: str) -> None:
    with psycopg.connect(rig.conninfo) as reader:
        reader.execute("select * from public.people")
        pid = rig.child(lock_timeout=60_000)
        until(lambda: "begin 2" in rig.events and waits(rig))
        os.kill(pid, number)
        assert wait(pid, 20) == 1
    assert f"step 2 (Apply supabase/migrations/20260105100000_people_name.sql): {why}" in rig.said
    assert gone(rig.conninfo)
    assert rig.run(resume=True) == ""
    rig.assert_whole()


def test_a_deadlock_with_another_migration(rig: Rig) -> None:
    """The other one has the table, and wants the ledger, which is ours; PostgreSQL ends one of both."""
    with psycopg.connect(rig.conninfo) as other:
        other.execute("set deadlock_timeout = '1h'")  # so it is ours that is ended
        other.execute("lock table public.people in share mode")
        pid = rig.child(lock_timeout=30_000, attempts=2)
        until(lambda: "begin 2" in rig.events and waits(rig))
        failed: list[str] = []

        def record() -> None:
            with contextlib.suppress(psycopg.Error):
                other.execute("insert into supabase_migrations.schema_migrations (version) values ('2027')")
                failed.append("not ended")
                other.rollback()

        thread = threading.Thread(target=record)
        thread.start()
        assert wait(pid) == 0
        thread.join()
    assert failed == ["not ended"]
    assert "retry 2" in rig.events
    rig.assert_whole()


def test_a_table_that_cannot_even_be_looked_at(rig: Rig) -> None:
    """Nobody waits for ever, and holds what others wait for."""
    with psycopg.connect(rig.conninfo) as other:
        other.execute("lock table public.people")
        said = rig.run(lock_timeout=100, attempts=1)
    assert "production: cannot be read now: another session holds a lock" in said
    assert not rig.journal.path.exists()
    assert rig.run() == ""
    rig.assert_whole()


def test_a_statement_timeout_of_the_database(rig: Rig) -> None:
    direct = rig.conninfo
    hurried = psycopg.conninfo.make_conninfo(direct, options="-c statement_timeout=700ms")
    rig.project.settings({"production": hurried})
    with psycopg.connect(rig.conninfo) as reader:
        reader.execute("select * from public.people")
        said = rig.run(lock_timeout=60_000)
    assert "canceling statement due to statement timeout; nothing of this step was kept" in said
    rig.assert_where_the_journal_says()
    rig.project.settings({"production": direct})
    rig.resume()


def test_two_at_once(rig: Rig) -> None:
    with psycopg.connect(rig.conninfo) as reader:
        reader.execute("select * from public.people")
        first = rig.child(lock_timeout=30_000)
        until(lambda: "begin 2" in rig.events and waits(rig))
        assert "another auditkit apply is at work there" in rig.run(resume=True)
    assert wait(first) == 0
    rig.assert_whole()


def test_somebody_changes_something_between_two_steps(rig: Rig) -> None:
    assert wait(rig.child(kill_at(5, written=True))) == -signal.SIGKILL
    execute(rig.conninfo, "create view public.w as select 1 as x")
    said = rig.run(resume=True)
    assert (
        "is not what the plan was made for and led to so far: it was changed meanwhile; nothing was run"
        in said
    )
    execute(rig.conninfo, "drop view public.w")
    rig.resume()


# --- the journal -----------------------------------------------------------------------------------------------------


def full_at(line: int) -> Callable[[], None]:
    """No room on the disk for a line of the journal."""

    def prepare() -> None:
        sync, count = os.fsync, iter(range(1, 1000))

        def full(number: int) -> None:
            if "journal" in str(Path(f"/proc/self/fd/{number}").readlink()) and next(count) == line + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(number)

        os.fsync = full

    return prepare


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("line", [3, 4, *([1, 2, 5, 6, 12] if ALL else [])])
def test_no_room_for_the_journal(rig: Rig, line: int) -> None:
    """Nothing is done that cannot be written down; the next run knows what was."""
    assert wait(rig.child(full_at(line))) == 1
    assert "cannot write the journal" in rig.said
    assert "No space left on device" in rig.said
    assert Journal(rig.journal.path).entries  # what was there is whole
    rig.resume()


def test_a_journal_that_lost_lines_or_was_changed(rig: Rig) -> None:
    assert wait(rig.child(kill_at(8, written=True))) == -signal.SIGKILL  # two steps are in place
    path = rig.journal.path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole.replace(b'"step": 1', b'"step": 3'))
    assert "the journal was changed" in rig.run(resume=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # a crash of the machine: torn
    assert "an earlier run of this plan stopped with 0 of 3 steps in place" in rig.run()
    path.unlink()  # or a run in another folder
    assert "production is as after step 2 of this plan, and" in rig.run()
    rig.resume()


# --- what cannot be in a transaction ---------------------------------------------------------------------------------


@only_awkward
def test_an_index_that_is_half_built(rig: Rig) -> None:
    """Killed while the server builds it: the invalid index is dropped, and built again."""
    with psycopg.connect(rig.conninfo) as old:
        old.execute("begin isolation level repeatable read")
        old.execute("select * from public.notes")
        pid = rig.child(lock_timeout=30_000)
        until(lambda: invalid(rig))
        os.kill(pid, signal.SIGKILL)
        wait(pid)
        until(lambda: gone(rig.conninfo))  # the server notices
        assert invalid(rig)
    rig.resume()
    assert "clear 2" in rig.events
    assert not invalid(rig)


def invalid(rig: Rig) -> bool:
    with psycopg.connect(rig.conninfo) as connection:
        row = connection.execute("select count(*) from pg_index where not indisvalid").fetchone()
    return bool(row and row[0])


@only_awkward
def test_an_index_that_cannot_be_built(rig: Rig) -> None:
    """Nothing is left of it; the way back is open."""
    with psycopg.connect(rig.conninfo) as old:
        old.execute("select * from public.people")
        said = rig.run(lock_timeout=100, attempts=1)
    assert "canceling statement due to lock timeout" in said
    assert not invalid(rig)
    assert rig.run(rollback=True) == ""
    assert rig.fingerprint() == rig.plan.fingerprint


def test_terminated_is_a_keyboard_interrupt() -> None:
    assert issubclass(applying.Terminated, KeyboardInterrupt)
