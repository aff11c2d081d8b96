"""Scheduled audits, and notebooks rendered to HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.deployment import verify
from auditkit.audit.explaining import explain
from auditkit.audit.gating import preflight
from auditkit.audit.resolving import resolution
from auditkit.config import Settings
from auditkit.errors import ConfigError
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.report.document import Audit
    from auditkit.report.rendering import RunDir


#: How many past runs are searched for the moment when a drift began.
RUNS_LOOKED_AT = 60


def scheduled(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    history_dir: str = "",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """:func:`explain`, plus what is new, resolved or persisting since the last run in *history_dir*."""
    from auditkit.report.document import (
        Audit,
        compare_runs,
        drift_windows,
        load_audit,
        past_runs,
        previous_audit,
    )

    settings = settings or config.load(config_file or None)
    runs = Path(history_dir) if history_dir else settings.out_dir
    audit = explain(
        environments,
        baseline=baseline,
        settings=settings,
        fail_on=fail_on,
        notebook="scheduled_audit",
        at=at,
        progress=progress,
    )
    document = dict(audit.document)
    document["command"] = "auditkit report scheduled_audit"
    document["since_last_run"] = compare_runs(previous_audit(runs, "scheduled_audit", baseline), document)
    document["runs"] = [r for r in past_runs(runs) if r["notebook"] == "scheduled_audit"]
    same = [r for r in document["runs"][:RUNS_LOOKED_AT] if r["baseline"] == baseline]
    earlier = [load_audit(runs / r["path"] / "audit.json") for r in reversed(same)]
    document["timeline"] = sorted(
        [*document["timeline"], *drift_windows(earlier, document)], key=lambda event: str(event["at"])
    )
    return Audit(document)


def report(
    name: str,
    parameters: Mapping[str, str],
    *,
    settings: Settings | None = None,
    out_dir: str | None = None,
    fail_on: str | None = None,
    at: str = "",
    progress: Tell = silent,
) -> RunDir:
    """Run notebook *name* and write its HTML report, its ``audit.json`` and the index of all runs.

    Raises:
        ConfigError: there is no such notebook or parameter.
        NotebookFailed: a cell failed; the message names it.
    """
    from auditkit.report.parameters import declared, validate
    from auditkit.report.rendering import render

    flags = {"true": True, "false": False}  # the command line gives texts
    kinds = {key: parameter.type for key, parameter in declared(name).items()}
    given = validate(
        name, {k: flags.get(v, v) if kinds.get(k) == "bool" else v for k, v in parameters.items()}
    )
    settings = settings or config.load(str(given.get("config") or "") or None)
    target = Path(out_dir) if out_dir else settings.out_dir
    try:  # said before the audit, which may take minutes
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written: {error.strerror}; choose another folder with --out-dir"
        ) from None
    value = {"baseline": "migrations", "history_dir": str(target), **{k: str(v) for k, v in given.items()}}
    common: dict[str, Any] = {"settings": settings, "fail_on": fail_on, "at": at, "progress": progress}
    named = {**common, "command": f"auditkit report {name}"}
    environment = value.get("environment", "production")
    if name == "scheduled_audit":
        made = scheduled(
            value.get("environments", "all"),
            baseline=value["baseline"],
            history_dir=value["history_dir"],
            **{**common, "fail_on": fail_on or value.get("fail_on")},
        )
    elif name == "pre_deployment":
        made = preflight(
            environment,
            snapshot=value.get("snapshot", ""),
            expected_version=value.get("expected_version", ""),
            **named,
        )
    elif name == "resolution":
        made = resolution(
            environment,
            resolve=value.get("resolve", ""),
            plan_file=value.get("plan_file", ""),
            tool_commands=bool(given.get("tool_commands", False)),
            **named,
        )
    elif name == "post_deploy_review":
        made = verify(
            environment,
            before=value.get("before", ""),
            expected_version=value.get("expected_version", ""),
            deployed_at=value.get("deployed_at", ""),
            **common,
        )
    else:
        made = explain(
            environment,
            baseline=value["baseline"],
            schemas=value.get("schemas", ""),
            notebook=name,
            **named,
        )
    progress(0, 1, f"Rendering {name}")
    return render(name, given, made, target)
