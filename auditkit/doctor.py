"""``auditkit doctor``: is everything there that an audit needs, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auditkit import config
from auditkit.errors import AuditError

if TYPE_CHECKING:
    from auditkit.history import ledgers
    from auditkit.progress import Progress


@dataclass(frozen=True)
class Check:
    """One check: ``state`` is ``ok``, ``note`` (works, but know this) or ``bad``."""

    what: str
    state: str
    says: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: config.Settings, *, progress: Progress) -> list[Check]:
    """Check this machine, the settings, the migrations and every environment, without changing anything."""
    checks = [_python(), _server(settings), _git(), _settings(settings), _migrations(settings)]
    for number, source in enumerate(settings.environments.values()):
        progress(number, len(settings.environments), f"Connecting to {source.name}")
        checks += _environment(source)
    return checks


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", version)


def _server(settings: config.Settings) -> Check:
    if settings.shadow_server:
        return Check("shadow server", "ok", "the server named in [shadow] server")
    from auditkit import server

    try:
        found = server.find_binaries()
    except AuditError as error:
        return Check("shadow server", "bad", str(error))
    return Check("shadow server", "ok", f"PostgreSQL {found.major} ({found.source})")


def _git() -> Check:
    if shutil.which("git"):
        return Check("git", "ok", "found")
    return Check("git", "note", "not found: reports cannot name commits and authors", "install git")


def _settings(settings: config.Settings) -> Check:
    if settings.file is None:
        return Check(
            "settings",
            "note" if settings.environments else "bad",
            "no auditkit.toml here or above",
            'create auditkit.toml with [environments] production = "service=…"',
        )
    names = ", ".join(settings.environments) or "none"
    state = "ok" if settings.environments else "bad"
    return Check("settings", state, f"{settings.file}; environments: {names}")


def _migrations(settings: config.Settings) -> Check:
    from auditkit.history import files

    try:
        migrations = files.load_migrations(settings.root, tool=settings.tool, path=settings.migrations_path)
    except AuditError as error:
        return Check("migrations", "bad", str(error))
    note = f"; {migrations.notes[0]}" if migrations.notes else ""
    return Check(
        "migrations", "ok" if len(migrations) else "note", f"{len(migrations)} for {migrations.tool}{note}"
    )


def _environment(source: config.Source) -> list[Check]:
    if source.type == "snapshot":
        from auditkit.catalog.snapshot import Snapshot

        try:
            snapshot = Snapshot.load(source.value)
        except AuditError as error:
            return [Check(source.name, "bad", str(error))]
        return [Check(source.name, "ok", f"snapshot of {snapshot.manifest['captured_at']}")]
    from auditkit.connect import connect
    from auditkit.history import ledgers

    try:
        with connect(source.conninfo, name=source.name) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), current_database(), current_user, "
                "pg_is_in_recovery(), r.rolsuper FROM pg_roles r WHERE r.rolname = current_user"
            ).fetchone()
            assert row
            version, database, role, standby, superuser = row
            checks = [
                Check(
                    source.name,
                    "note" if superuser else "ok",
                    f"PostgreSQL {version}, database {database}, role {role}{', standby' if standby else ''}",
                    "the role is a superuser; an audit needs only LOGIN and SELECT on the ledger"
                    if superuser
                    else "",
                )
            ]
            checks += _ledger(source.name, ledgers.read_history(connection))
            return checks
    except AuditError as error:
        return [Check(source.name, "bad", str(error))]


def _ledger(name: str, history: ledgers.History) -> list[Check]:
    if history.not_checked:
        item = history.not_checked[0]
        return [Check(f"{name} ledger", "bad", f"{item['what']}: {item['why']}", item["fix"])]
    if history.tool is None:
        return [Check(f"{name} ledger", "note", "none found: no migration tool has recorded anything here")]
    return [Check(f"{name} ledger", "ok", f"{history.tool}, {history.table}, {len(history.rows)} rows")]
