"""Fixtures that everybody shares, and a summary in which no skip goes unseen."""

from __future__ import annotations

import compileall
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditkit import server as servers

REPOSITORY = Path(__file__).resolve().parent.parent


# What was started in the background ignores some signals, and so would every program that a test starts and interrupts.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


# Where Python may not write what it compiles (PYTHONDONTWRITEBYTECODE), each program that a test starts would compile
# anew what was edited since the installation.
if "PYTEST_XDIST_WORKER" not in os.environ:
    compileall.compile_dir(REPOSITORY / "auditkit", quiet=2)


class ExternalServer(servers.Server):
    """The server that AUDITKIT_TEST_DSN names; its role must be allowed to create databases."""

    def __init__(self, dsn: str) -> None:
        import psycopg

        self._dsn = dsn
        with psycopg.connect(dsn) as connection:
            self._version = connection.info.server_version
            self.superuser = connection.info.user

    @property
    def version(self) -> int:
        return self._version

    def conninfo(self, dbname: str | None = None, user: str | None = None) -> str:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            self._dsn, **({"dbname": dbname} if dbname else {}), **({"user": user} if user else {})
        )


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this session's own, except for initdb's results, which workers and sessions share."""
    cache = tmp_path_factory.mktemp("cache")
    clusters = REPOSITORY / ".cache" / f"clusters-{os.geteuid()}"
    clusters.mkdir(parents=True, exist_ok=True, mode=0o700)
    (cache / "clusters").symlink_to(clusters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDITKIT_CACHE_DIR", str(cache))
        yield cache


@pytest.fixture(scope="session")
def server(private_cache: Path) -> Iterator[servers.Server]:
    """A running PostgreSQL: one for each xdist worker. Tests use databases of their own on it."""
    dsn = os.environ.get("AUDITKIT_TEST_DSN")
    if dsn:
        yield ExternalServer(dsn)
    else:
        with servers.start(label="tests") as started:
            yield started


@pytest.fixture
def databases(server: servers.Server) -> Iterator[Callable[..., str]]:
    """A factory of empty databases, ``databases()`` or ``databases("staging", template=…)`` -> conninfo."""
    created: list[str] = []

    def create(name: str = "db", **options: Any) -> str:
        unique = f"{name}_{uuid.uuid4().hex[:8]}"
        created.append(unique)
        return server.create_database(unique, **options)

    yield create
    for name in reversed(created):
        server.drop_database(name)


@pytest.fixture
def database(databases: Callable[..., str]) -> str:
    """Connection string of a new, empty database."""
    return databases()


@pytest.fixture
def production(databases: Callable[..., str]) -> Iterator[str]:
    """A database that is reached over TCP, as tools in other languages want it."""
    import tools
    from psycopg.conninfo import make_conninfo

    conninfo = databases()
    with tools.tcp(conninfo) as port:
        yield make_conninfo(conninfo, host="127.0.0.1", port=port)


def _forbid(report: pytest.TestReport | pytest.CollectReport, allowed: bool) -> None:
    """Where CI=true a skipped test is a failure: what CI does not run, nobody runs."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail") and not allowed:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = (
            f"{reason}: skipped although CI=true; mark the test allow_skip(reason) if that is meant"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    _forbid(report, item.get_closest_marker("allow_skip") is not None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    _forbid(report, False)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} NOT RUN", yellow=True, bold=True)
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {reason}")
