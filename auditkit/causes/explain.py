"""From deltas to findings: what caused each, and which migration is behind it.

The order of the search is the order of certainty. First what the installation itself explains. Then what
history explains: the ledger is replayed as it says it was run, and every object that this reproduces
exactly owes its state to a skipped, unknown, edited or reordered migration. Of the rest, what looks as if a
recorded migration had never run; what is left was done by hand. Each delta ends up in exactly one finding.
"""

from __future__ import annotations

from auditkit.catalog.kinds import KINDS
from auditkit.causes import cloning, traces, who
from auditkit.causes.by_hand import by_hand, renamed
from auditkit.causes.calibration import Calibration, calibrate
from auditkit.causes.case import Case, Finding
from auditkit.causes.halfway import left_by_pending, partial_apply, recorded_in_part
from auditkit.causes.hotfix import hotfixes
from auditkit.causes.installation import installation
from auditkit.causes.recorded import (
    applied_not_recorded,
    edited_unseen,
    history,
    recorded_not_applied,
    silent_history,
)
from auditkit.causes.renumbered import rebaselined, restamped
from auditkit.causes.reordered import another_order
from auditkit.causes.search import Search
from auditkit.config import SEVERITIES

#: Attributes whose change opens a door, whatever the kind.
_SECURITY = frozenset(
    {"row_security", "force_row_security", "grants", "security_definer", "security_invoker"}
)
_COSMETIC = frozenset({"comment", "position", "statistics_target", "storage", "compression"})


def explain(case: Case, calibration: Calibration | None = None) -> list[Finding]:
    """Explain every delta of *case*; findings come worst first, and every delta is in exactly one."""
    search = Search(case, calibration or calibrate(case))
    installation(search)
    rebaselined(search)
    partial_apply(search)
    applied_not_recorded(search)
    history(search)
    renamed(search)
    edited_unseen(search)
    recorded_not_applied(search)
    recorded_in_part(search)
    another_order(search)
    left_by_pending(search)
    by_hand(search)
    silent_history(search)
    restamped(search)
    hotfixes(search)
    traces.attach(search)
    cloning.attach(search)
    who.attach(search.findings, case, search.calibration)
    for finding in search.findings:
        finding.severity = _severity(finding, case)
        finding.deltas.sort(key=lambda d: (d.kind, d.identity, d.attribute or ""))
    return sorted(
        search.findings,
        key=lambda f: (-SEVERITIES.index(f.severity), f.cause, f.objects, f.culprit is None, f.id),
    )


def _severity(finding: Finding, case: Case) -> str:
    """How bad: the worst of its deltas, tempered by the cause."""
    worst = 0
    for delta in finding.deltas:
        if finding.renamed and delta.key not in finding.renamed:
            continue  # what only speaks of the old name has come to no harm
        kind = KINDS.get(delta.kind)
        level = SEVERITIES.index(kind.severity if kind else "medium")
        if delta.change == "changed" and delta.attribute in _COSMETIC:
            level = 0 if delta.attribute == "comment" else 1
        elif delta.attribute in _SECURITY:
            level = (
                4
                if delta.attribute in ("row_security", "force_row_security") and delta.right is False
                else max(level, 3)
            )
        worst = max(worst, level)
    if finding.cause == "environment_difference":
        return SEVERITIES[min(worst, 1)]
    if finding.cause == "missing_migration" and finding.entry:
        # Waiting at the end of the line is ordinary; skipped while later ones were applied is not.
        if not case.later_applied.get(finding.entry.version, False):
            return "low"
        return SEVERITIES[max(worst, 2)]
    if finding.cause in (
        "unknown_migration",
        "applied_not_recorded",
        "partial_apply",
        "restamped",
        "rebaselined",
    ):
        return SEVERITIES[max(worst, 2)]
    return SEVERITIES[worst]
