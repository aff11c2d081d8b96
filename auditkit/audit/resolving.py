"""What is done about each finding of one environment, as a report: an audit with a plan in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit import config
from auditkit.audit.document import assemble
from auditkit.audit.planning import planned, wish
from auditkit.config import Settings
from auditkit.errors import ConfigError
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.report.document import Audit


def resolution(
    environment: str,
    *,
    resolve: str | Mapping[str, str] = "",
    plan_file: str = "",
    tool_commands: bool = False,
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    command: str = "",
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """An audit of one environment, and what is done about each finding: ``document["resolution"]``. Nothing is run.

    Args:
        resolve: finding → resolution, or the same as text: ``f-0123456789=revert, f-…=accept until 2027-01-31: why``.
        plan_file: where the plan is saved, for ``auditkit apply``; its choices are taken if it is there already.

    Raises:
        ConfigError: what :func:`plan` raises, or *plan_file* cannot be written.
    """
    from auditkit.report.document import Audit

    settings = settings or config.load(config_file or None)
    fail_on = config.check_severity(fail_on or settings.fail_on)
    file = settings.root / plan_file if plan_file else None
    made = planned(
        environment,
        resolve=choices(resolve) if isinstance(resolve, str) else resolve,
        from_file=str(file) if file and file.is_file() else "",
        only_push=False,
        tool_commands=tool_commands,
        settings=settings,
        progress=progress,
    )
    audit = assemble(
        [made.explained],
        made.matrix,
        problems=[],
        settings=settings,
        baseline="migrations",
        fail_on=fail_on,
        notebook="resolution",
        command=command or f"auditkit explain {made.plan.environment}",
        at=at,
    )
    if file:
        made.plan.save(file)
    saved = str(Path(plan_file)) if file else ""
    return Audit({**audit.document, "resolution": {"plan": made.plan.as_dict(), "file": saved}})


def decide(
    audit: Audit, otherwise: Mapping[str, str], *, config_file: str = "", progress: Tell = silent
) -> Audit:
    """The same with some findings resolved *otherwise*: as it is if there are none."""
    if not otherwise:
        return audit
    known = audit.document["resolution"]
    before = {f["id"]: wish(f) for f in known["plan"]["findings"]}
    return resolution(
        known["plan"]["environment"],
        resolve={**before, **otherwise},
        plan_file=known["file"],
        tool_commands=any(step["kind"] == "command" for step in known["plan"]["steps"]),
        config_file=config_file,
        progress=progress,
    )


def choices(text: str) -> dict[str, str]:
    """``f-1=revert, f-2=accept until 2027-01-31: reason`` as a dictionary; a reason may hold commas.

    Raises:
        ConfigError: a part has no ``=``.
    """
    found: dict[str, str] = {}
    for part in re.split(r",\s*(?=f-[0-9a-f]+\s*=)", text.strip()) if text.strip() else ():
        finding, _, how = part.partition("=")
        if not how.strip():
            raise ConfigError(f"{part}: write FINDING=HOW, as in f-0123456789=revert")
        found[finding.strip()] = how.strip().rstrip(",")
    return found
