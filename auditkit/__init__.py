"""auditkit: why do these PostgreSQL databases differ?

    import auditkit

    production = auditkit.snapshot("production")      # everything in it, as DataFrames
    production.facts[production.facts.kind == "policy"]
    audit = auditkit.explain("production")            # what differs from the migrations, why, what to do
    audit.findings

Names are environments of ``auditkit.toml``, connection strings, snapshot files, ``migrations`` or
``migrations@GITREF``. Everything only reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from auditkit.catalog.snapshot import Snapshot
    from auditkit.progress import Progress
    from auditkit.report.document import Audit

__version__ = "0.1.0"
__all__ = [
    "blame",
    "decide",
    "describe",
    "diff",
    "explain",
    "migrations",
    "preflight",
    "resolution",
    "scheduled",
    "snapshot",
    "to_sql",
    "verify",
]


def snapshot(source: str, *, config: str = "") -> Snapshot:
    """Everything *source* holds: ``.facts``, ``.edges``, ``.history``, ``.table(kind)``, ``.fingerprint``, ``.to_sql()``.

    Raises:
        AuditError: *source* is unknown, cannot be reached or read; one line says what to do.
    """
    from auditkit import audit
    from auditkit import config as settings

    loaded = settings.load(config or None)
    return audit.take(loaded.source(source), loaded)


def to_sql(snapshot: Snapshot) -> str:
    """A whole schema from nothing: what ``snapshot.to_sql()`` returns."""
    from auditkit.resolve.whole import whole

    return whole(snapshot)


def diff(left: str, right: str, *, config: str = "") -> pd.DataFrame:
    """How *right* differs from *left*: columns kind, identity, change, attribute, left, right (text)."""
    import pandas as pd

    from auditkit import audit
    from auditkit import config as settings

    loaded = settings.load(config or None)
    document = audit.diff(loaded.source(left), loaded.source(right), loaded)
    columns = ["kind", "identity", "change", "attribute", "left", "right"]
    return pd.DataFrame(document["deltas"], columns=columns)


def blame(source: str, name: str, *, removed: bool = False, config: str = "") -> pd.DataFrame:
    """Which line of which migration made each part of the object *name* what it is: ``frames.BLAME``.

    Raises:
        AuditError: nothing is called *name*, or the migrations cannot be replayed; one line says what to do.
    """
    from auditkit import audit, frames
    from auditkit import config as settings

    loaded = settings.load(config or None)
    document = audit.blame(loaded.source(source), name, loaded, removed=removed)
    rows = [{**line, **(line["migration"] or {})} for line in document["lines"]]
    return frames.from_records(frames.BLAME, rows)


def describe(environments: str | Sequence[str] = "all", *, config: str = "") -> pd.DataFrame:
    """Which migration's state each environment equals or is nearest to: ``frames.DESCRIBE``."""
    from auditkit import audit, frames
    from auditkit import config as settings

    loaded = settings.load(config or None)
    document = audit.describe(loaded.sources(environments), loaded)
    return frames.from_records(frames.DESCRIBE, document["environments"])


def migrations(environments: str | Sequence[str] = "all", *, config: str = "") -> pd.DataFrame:
    """Which migration is in which state where: columns version, name, file, and one per environment."""
    from auditkit import audit
    from auditkit import config as settings

    loaded = settings.load(config or None)
    return audit.history(loaded.sources(environments), loaded)[0].frame()


def explain(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    config: str = "",
    schemas: str | Sequence[str] = (),
    fail_on: str | None = None,
) -> Audit:
    """What differs in the environments from what was meant, why, and what to do.

    Inside a report that ``auditkit report`` is making, the audit it has already computed is returned.
    """
    from auditkit import audit
    from auditkit.report.document import handed_over

    return handed_over() or audit.explain(
        environments,
        baseline=baseline,
        config_file=config,
        schemas=schemas,
        fail_on=fail_on,
        notebook="root_cause",
        progress=_progress(),
    )


def scheduled(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    history_dir: str = "",
    config: str = "",
    fail_on: str | None = None,
) -> Audit:
    """:func:`explain`, plus what is new, persisting or resolved since the last run in *history_dir*."""
    from auditkit import audit
    from auditkit.report.document import handed_over

    return handed_over() or audit.scheduled(
        environments,
        baseline=baseline,
        history_dir=history_dir,
        config_file=config,
        fail_on=fail_on,
        progress=_progress(),
    )


def preflight(
    environment: str,
    *,
    snapshot: str = "",
    expected_version: str = "",
    config: str = "",
    fail_on: str | None = None,
) -> Audit:
    """Before a deployment: is it safe to deploy to *environment* now, and what will happen there?"""
    from auditkit import audit
    from auditkit.report.document import handed_over

    return handed_over() or audit.preflight(
        environment,
        snapshot=snapshot,
        expected_version=expected_version,
        config_file=config,
        fail_on=fail_on,
        progress=_progress(),
    )


def resolution(
    environment: str,
    *,
    resolve: str | Mapping[str, str] = "",
    plan_file: str = "",
    tool_commands: bool = False,
    config: str = "",
    fail_on: str | None = None,
) -> Audit:
    """:func:`explain`, with a plan: what is done about each finding, rehearsed; nothing is run there."""
    from auditkit import audit
    from auditkit.report.document import handed_over

    return handed_over() or audit.resolution(
        environment,
        resolve=resolve,
        plan_file=plan_file,
        tool_commands=tool_commands,
        config_file=config,
        fail_on=fail_on,
        progress=_progress(),
    )


def decide(audit: Audit, otherwise: Mapping[str, str], *, config: str = "") -> Audit:
    """What :func:`resolution` gave, with some findings resolved *otherwise*: finding → resolution."""
    from auditkit.audit import decide

    return decide(audit, otherwise, config_file=config, progress=_progress())


def verify(
    environment: str,
    *,
    before: str,
    expected_version: str = "",
    deployed_at: str = "",
    config: str = "",
    fail_on: str | None = None,
) -> Audit:
    """After a deployment: did exactly what was intended happen, compared with the snapshot *before*?"""
    from auditkit import audit
    from auditkit.report.document import handed_over

    return handed_over() or audit.verify(
        environment,
        before=before,
        expected_version=expected_version,
        deployed_at=deployed_at,
        config_file=config,
        fail_on=fail_on,
        progress=_progress(),
    )


def _progress() -> Progress:
    from auditkit.progress import Progress

    return Progress()
