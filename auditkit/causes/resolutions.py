"""What can be done about a finding, and what is done unless somebody decides otherwise: one entry for each cause.

A plan closes every finding by one of these. The default follows the source of truth: the files for what was not run,
the environment for what was made there and is needed, a person for what only a person can know. What opens a door
is closed first and asked about later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact
    from auditkit.causes.case import Case, Finding

#: Resolution → what it does, in a few words.
RESOLUTIONS = {
    "push": "run what is missing",
    "pull": "write what is there into a migration, and record that",
    "repair": "correct the ledger only",
    "reconcile": "run new SQL that leads to what the migrations say",
    "revert": "undo what was changed in the environment",
    "accept": "leave it, with a reason and an end date",
    "none": "do nothing about it",
}


@dataclass(frozen=True)
class Choice:
    """How findings of one cause are resolved.

    Attributes:
        default: what is done if nobody decides; ``none`` where only a person can.
        others: what else can be done.
        truth: which side is right: ``migrations``, ``environment`` or ``person``.
    """

    default: str
    others: tuple[str, ...]
    truth: str


CHOICES: dict[str, Choice] = {
    "manual_change": Choice("pull", ("revert", "accept", "none"), "environment"),
    "missing_migration": Choice("push", ("reconcile", "accept", "none"), "migrations"),
    "unknown_migration": Choice("none", ("pull", "revert", "accept"), "person"),
    "out_of_order": Choice("reconcile", ("accept", "none"), "migrations"),
    "edited_after_apply": Choice("reconcile", ("accept", "none"), "person"),
    "applied_not_recorded": Choice("repair", ("accept", "none"), "environment"),
    "recorded_not_applied": Choice("push", ("repair", "reconcile", "accept", "none"), "migrations"),
    "partial_apply": Choice("reconcile", ("accept", "none"), "migrations"),
    "restamped": Choice("repair", ("accept", "none"), "migrations"),
    "rebaselined": Choice("repair", ("accept", "none"), "migrations"),
    "captured_hotfix": Choice("none", ("accept",), "migrations"),
    "reverted_hotfix": Choice("none", ("accept",), "migrations"),
    "environment_difference": Choice("accept", ("none",), "person"),
    "unknown": Choice("none", ("revert", "pull", "accept"), "person"),
}

_BACK_TO_THE_FILES = Choice("revert", ("pull", "accept", "none"), "migrations")


def choice(finding: Finding, case: Case) -> Choice:
    """How *finding* is resolved: what opens a door, or took away what the migrations make, is taken back."""
    found = CHOICES[finding.cause]
    if finding.cause == "manual_change" and (
        finding.severity == "critical"
        or _opens(finding)
        or any(fact is not None and fact.attributes.get("valid") is False for fact in _indexes(finding, case))
        or (not finding.renamed and any(case.actual.get(*key) is None for key in finding.objects))
    ):
        return _BACK_TO_THE_FILES
    return found


#: What decides who may see or do something; and an index that is not valid is nobody's wish.
_DOORS = frozenset({"grants", "owner", "row_security", "force_row_security", "security_definer"})
_DOORS_OF_KINDS = frozenset({("view", "options"), ("trigger", "enabled"), ("index", "valid")})
_DOOR_KINDS = frozenset({"policy", "default acl", "role", "role membership", "initial privileges"})


def _indexes(finding: Finding, case: Case) -> list[Fact | None]:
    return [case.actual.get(*key) for key in finding.objects if key[0] == "index"]


def _opens(finding: Finding) -> bool:
    return any(
        d.kind in _DOOR_KINDS or d.attribute in _DOORS or (d.kind, d.attribute) in _DOORS_OF_KINDS
        for d in finding.deltas
    )
