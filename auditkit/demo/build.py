"""Make the story happen: the shop's git repository, and three databases on a scratch server.

Migrations are applied the way the Supabase CLI applies them: one transaction for each file, its row in the
ledger included. Everything else is typed by hand, at the moment the story says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.demo import check as checks
from auditkit.demo.files import MIGRATIONS, git, migration_files, migration_name, migration_text, shop_file
from auditkit.demo.story import (
    A_WEEK_AGO,
    COMMITS,
    DRIFTS,
    ENVIRONMENTS,
    MOMENTS,
    NOW,
    Commit,
    Drift,
    Environment,
    Moment,
)
from auditkit.errors import AuditError
from auditkit.history.split import split

if TYPE_CHECKING:
    import psycopg

    from auditkit.server import Server


@dataclass
class Shop:
    """The built demo: a repository in ``directory`` and one database for each environment on ``server``.

    ``moment`` is the index in ``MOMENTS`` that the shop has reached. ``notes`` say what could not be told as
    meant (git is absent).
    """

    server: Server
    directory: Path
    moment: int = A_WEEK_AGO
    notes: list[str] = field(default_factory=list)
    _met: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in ENVIRONMENTS})

    def conninfo(self, environment: str) -> str:
        """Connection string of one environment, as superuser ``postgres``."""
        return self.server.conninfo(f"shop_{environment}", user="postgres")

    def advance(self) -> Moment | None:
        """Move to the next moment: commits, deploys, hands at work. None at the end of the story."""
        if self.moment + 1 >= len(MOMENTS):
            return None
        self.moment += 1
        _write_commits(self)
        if self.moment == NOW:
            for environment in ENVIRONMENTS:
                self.deploy(environment)
        self.resolve(*(drift.name for drift in DRIFTS if drift.until == self.moment))
        self.inject(*(drift.name for drift in DRIFTS if drift.since == self.moment and _typed(drift)))
        return MOMENTS[self.moment]

    def deploy(self, environment: Environment, versions: Iterable[str] | None = None) -> list[str]:
        """Apply what was merged since the last deploy, or exactly *versions*, in this environment's order.

        The drifts that come about during a deploy come about here. Returns the versions handled.
        """
        bent = {
            drift.version: drift
            for drift in DRIFTS
            if drift.environment == environment and drift.how not in ("sql", "platform", "from a branch")
        }
        merged = {v for commit in COMMITS if commit.moment <= self.moment for v in commit.versions}
        wanted = merged - self._met[environment] if versions is None else set(versions)
        done = [version for version in _order(bent) if version in wanted]
        with _connect(self.conninfo(environment)) as connection:
            for version in done:
                _apply(connection, version, bent[version].how if version in bent else "sql")
        self._met[environment].update(done)
        return done

    def inject(self, *names: str) -> None:
        """Let the named drifts happen: hands at work, or a migration from a branch."""
        for drift in map(_drift, names):
            if not _typed(drift):
                raise AuditError(
                    f"demo: '{drift.name}' comes about while {drift.version or 'the database'} is set up; "
                    "call build() or deploy() instead"
                )
            with _connect(self.conninfo(drift.environment)) as connection:
                if drift.how == "from a branch":
                    assert drift.version is not None
                    _run(connection, drift.version, "referral_codes", drift.sql[0])
                else:
                    for statement in drift.sql:
                        connection.execute(statement)

    def resolve(self, *names: str) -> None:
        """Undo the named drifts by hand, or apply the migration that was skipped."""
        for drift in map(_drift, names):
            if not drift.undo and drift.how != "skipped":
                raise AuditError(f"demo: nobody wrote down how to undo '{drift.name}'")
            with _connect(self.conninfo(drift.environment)) as connection:
                for statement in drift.undo:
                    connection.execute(statement)
                if drift.how == "skipped":
                    assert drift.version is not None
                    _apply(connection, drift.version, "sql")

    def check(self, audit_documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """``check`` for the moment this shop has reached, against its own repository."""
        return checks.check(audit_documents, moment=self.moment, repository=self.directory)


def build(server: Server, directory: Path) -> Shop:
    """Build the shop as it was a week ago: repository, settings file and three databases with old drift.

    *directory* must be empty or absent. Raises AuditError if it is not.
    """
    if directory.exists() and any(directory.iterdir()):
        raise AuditError(f"demo: {directory} is not empty; choose a new directory")
    shop = Shop(server, directory)
    _write_commits(shop)
    (directory / "auditkit.toml").write_text(_settings(shop), encoding="utf-8")
    bootstrap = files("auditkit.history").joinpath("platform_sql/supabase.sql").read_text(encoding="utf-8")
    for environment in ENVIRONMENTS:
        server.create_database(f"shop_{environment}", owner="postgres")
        with _connect(shop.conninfo(environment)) as connection:
            connection.execute(bootstrap.encode())
        with _connect(shop.conninfo(environment)) as connection:
            for drift in DRIFTS:
                if drift.environment == environment and drift.how == "platform":
                    connection.execute(drift.sql[0].encode())
            for statement in LEDGER:
                connection.execute(statement.encode())
        shop.deploy(environment)
        with _connect(shop.conninfo(environment)) as connection:
            connection.execute(shop_file("supabase/seed.sql").encode())
    shop.inject(*(drift.name for drift in DRIFTS if drift.since == A_WEEK_AGO and _typed(drift)))
    return shop


def _typed(drift: Drift) -> bool:
    return drift.how in ("sql", "from a branch")


def _drift(name: str) -> Drift:
    for drift in DRIFTS:
        if drift.name == name:
            return drift
    raise AuditError(f"demo: there is no drift '{name}'; see auditkit.demo.story.DRIFTS")


# ---------------------------------------------------------------------------- migrations, as the CLI runs

#: How the Supabase CLI creates its ledger, each time it pushes.
LEDGER = (
    "create schema if not exists supabase_migrations",
    "create table if not exists supabase_migrations.schema_migrations (version text not null primary key)",
    "alter table supabase_migrations.schema_migrations add column if not exists statements text[]",
    "alter table supabase_migrations.schema_migrations add column if not exists name text",
)
RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"


def _connect(conninfo: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A session that may write: the demo's own databases are the only ones it is ever opened on."""
    import psycopg

    # wal_level is a warning on every publication, and nobody subscribes here.
    return psycopg.connect(conninfo, autocommit=True, options="-c client_min_messages=error")


def _run(connection: psycopg.Connection[Any], version: str, name: str, sql: str) -> None:
    """One transaction for the statements and their row in the ledger, so that both carry the same xid."""
    statements = [statement.text for statement in split(sql)]
    connection.execute("reset all")
    with connection.transaction():
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute(RECORD, (version, name, statements))


def _apply(connection: psycopg.Connection[Any], version: str, how: str) -> None:
    name, sql = migration_name(version), migration_text(version, edited=how != "old text")
    if how == "recorded only":
        connection.execute(RECORD, (version, name, [statement.text for statement in split(sql)]))
    elif how == "run only":
        connection.execute(sql.encode())
    elif how != "skipped":
        _run(connection, version, name, sql)


def _order(bent: Mapping[str | None, Drift]) -> list[str]:
    """All versions in the order in which an environment meets them."""
    order = list(migration_files())
    for version, drift in bent.items():
        if drift.how == "late":
            assert version is not None and drift.after is not None
            order.remove(version)
            order.insert(order.index(drift.after) + 1, version)
    return order


# ---------------------------------------------------------------------------- the repository

FIRST_FILES = ("README.md", "supabase/config.toml", "supabase/seed.sql")
IGNORED = "# Connection strings and reports of this machine.\n/auditkit.toml\n/reports/\n"


def _settings(shop: Shop) -> str:
    lines = ["# Written by `auditkit demo`: three databases on a scratch server.", "[environments]"]
    lines += [f"{name} = {json.dumps(shop.conninfo(name))}" for name in ENVIRONMENTS]
    lines += ["", "[migrations]", f'path = "{MIGRATIONS}"', 'tool = "supabase"', ""]
    return "\n".join(lines)


def _contents(commit: Commit) -> dict[str, str]:
    """Path to text of the files this commit writes."""
    written = {
        f"{MIGRATIONS}/{migration_files()[v]}": migration_text(v, edited=False) for v in commit.versions
    }
    if commit.edit:
        version = commit.edit[0]
        written[f"{MIGRATIONS}/{migration_files()[version]}"] = migration_text(version)
    if commit is COMMITS[0]:
        written |= {path: shop_file(path) for path in FIRST_FILES} | {".gitignore": IGNORED}
    return written


def _write_commits(shop: Shop) -> None:
    """Add the commits of the current moment: files in the directory, and history if git is there.

    ``git fast-import`` needs no identity, hooks or settings of the user, so every build has the same hashes.
    """
    commits = [commit for commit in COMMITS if commit.moment == shop.moment]
    for commit in commits:
        for path, text in _contents(commit).items():
            target = shop.directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
    if not shutil.which("git"):
        note = "git was not found: the demo has no commits, so findings name files and lines but no authors"
        if note not in shop.notes:
            shop.notes.append(note)
        return
    first = not (shop.directory / ".git").exists()
    if first:
        git(shop.directory, "init", "--quiet", "--template=")
        git(shop.directory, "symbolic-ref", "HEAD", "refs/heads/main")
    if commits:
        stream = b"".join(
            _import_entry(commit, continues=index == 0 and not first) for index, commit in enumerate(commits)
        )
        git(shop.directory, "fast-import", "--quiet", stdin=stream)
        git(shop.directory, "reset", "--quiet")


def _import_entry(commit: Commit, *, continues: bool) -> bytes:
    lines = [
        b"commit refs/heads/main",
        f"author {commit.author} {_stamp(commit.authored)}".encode(),
        f"committer {commit.author} {_stamp(commit.merged or commit.authored)}".encode(),
        _data(commit.subject + "\n"),
    ]
    if continues:
        lines.append(b"from refs/heads/main^0")
    for path, text in _contents(commit).items():
        lines += [f"M 100644 inline {path}".encode(), _data(text)]
    return b"\n".join(lines) + b"\n\n"


def _data(text: str) -> bytes:
    encoded = text.encode()
    return b"data %d\n%s" % (len(encoded), encoded)


def _stamp(iso: str) -> str:
    at = datetime.fromisoformat(iso)
    return f"{int(at.timestamp())} {at:%z}"
