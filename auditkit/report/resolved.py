"""What is done about each finding, step by step: the sections of the report ``resolution``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditkit.causes.resolutions import RESOLUTIONS
from auditkit.report.document import Audit, counted, document_of
from auditkit.report.html import Fragment, render
from auditkit.resolve.plan import PlanStep


def _plan(audit: Audit | Mapping[str, Any]) -> dict[str, Any]:
    own = document_of(audit).get("resolution") or {}
    return {
        "findings": [],
        "steps": [],
        "proof": {},
        "not_offered": [],
        "notes": [],
        **(own.get("plan") or {}),
    }


def choices(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What is done about each finding, which side is right, and what could be done instead."""
    plan = _plan(audit)
    rows = [
        {"ignore": "", "reason": "", "until": "", **row, "does": RESOLUTIONS.get(row["resolution"], "")}
        for row in plan["findings"]
    ]
    text = "There is no finding to resolve."
    if rows:
        undecided = sum(row["resolution"] == "none" and bool(row["others"]) for row in rows)
        text = f"{counted(len(rows), 'finding is', 'findings are')} resolved as this says"
        text += f"; {undecided} of them by nothing." if undecided else "."
    return render("choices", text, title=text, rows=rows)


def steps(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What is run, in which order, with its way back: as it was rehearsed on a shadow of the environment."""
    document = document_of(audit)
    plan = _plan(audit)
    plan |= {"steps": [{**PlanStep(0, "", "").__dict__, **step} for step in plan["steps"]]}
    plan.setdefault("offered", False)
    plan.setdefault("environment", "")
    file = (document.get("resolution") or {}).get("file") or ""
    text = "Nothing has to be done."
    if plan["not_offered"]:
        text = "No plan is offered: something has to be decided first, or could not be rehearsed."
    elif plan["steps"]:
        text = (
            f"{counted(len(plan['steps']), 'step')}, rehearsed on a shadow of {plan['environment']}: nothing is left "
            "then, and the way back leads to what is there now."
        )
    return render("steps", text, title=text, plan=plan, file=file or "plan.toml", saved=bool(file))
