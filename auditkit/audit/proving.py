"""Proving SQL: a shadow like one side, on which it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditkit.audit.meant import ground_like
from auditkit.audit.reading import Sides, scope_of
from auditkit.catalog.compare import Delta
from auditkit.catalog.grants import quote
from auditkit.config import Settings
from auditkit.resolve import proof
from auditkit.resolve.closing import Step


def proof_of(sides: Sides, steps: Sequence[Step], sql: str, settings: Settings) -> dict[str, Any]:
    """The ``proof`` of the diff document, and its lines for people."""
    before, after = sides.left, sides.right
    ground, base = ground_like(settings, before, after)
    bases = [base, *([sides.base] if sides.base else [])]

    def settles(delta: Delta) -> bool:
        if delta.key == ("role", quote(ground.role)):
            return True  # it is a superuser on the shadow
        return any(each.settles(delta.kind, delta.identity, delta.attribute) for each in bases)

    stage = proof.Stage(ground, scope_of(settings, before, after), settles)
    result = proof.prove(before, after, steps, sql, stage)
    return {**result.as_dict(), "says": proof.summary(result, str(before.manifest["name"]))}
