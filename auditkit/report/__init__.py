"""Tell people: one audit document in, notebooks and HTML reports out.

In a notebook: ``report.summary(audit)``, ``report.findings(audit)`` and so on each show one section of a
report. From a program: :func:`render` runs a notebook and writes its page, :func:`load_audit` reads a result.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from auditkit.report.document import (
    Audit,
    compare_runs,
    handed_over,
    headline_of,
    load_audit,
    past_runs,
    previous_audit,
    save_audit,
    verdict_of,
)

if TYPE_CHECKING:
    from auditkit.report.deploying import checks, linter, pending, signoff, way_back
    from auditkit.report.figures import Chart, drift, runs, timeline
    from auditkit.report.guarded import doors
    from auditkit.report.html import (
        Fragment,
        blame,
        coverage,
        definitions,
        deployment,
        findings,
        ledger_check,
        matrix,
        provenance,
        remedies,
        rollback,
        since_last_run,
        summary,
        unintended,
    )
    from auditkit.report.investigation import proof, reach, story, table
    from auditkit.report.parameters import check_parameters, declared, notebook_path
    from auditkit.report.rendering import RunDir, render
    from auditkit.report.resolved import choices, steps

#: Where the names live that need jinja2 or papermill: imported when first used.
_LATER = {
    "html": (
        "Fragment blame coverage definitions deployment findings ledger_check matrix provenance remedies rollback "
        "since_last_run summary unintended"
    ),
    "deploying": "checks linter pending signoff way_back",
    "figures": "Chart drift runs timeline",
    "guarded": "doors",
    "investigation": "proof reach story table",
    "parameters": "check_parameters declared notebook_path",
    "rendering": "RunDir render",
    "resolved": "choices steps",
}

__all__ = [
    "Audit",
    "Chart",
    "Fragment",
    "RunDir",
    "blame",
    "check_parameters",
    "checks",
    "choices",
    "compare_runs",
    "coverage",
    "declared",
    "definitions",
    "deployment",
    "doors",
    "drift",
    "findings",
    "handed_over",
    "headline_of",
    "ledger_check",
    "linter",
    "load_audit",
    "matrix",
    "notebook_path",
    "past_runs",
    "pending",
    "previous_audit",
    "proof",
    "provenance",
    "reach",
    "remedies",
    "render",
    "rollback",
    "runs",
    "save_audit",
    "signoff",
    "since_last_run",
    "steps",
    "story",
    "summary",
    "table",
    "timeline",
    "unintended",
    "verdict_of",
    "way_back",
]


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
