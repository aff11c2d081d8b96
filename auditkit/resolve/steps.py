"""One statement of a script that turns one snapshot into another."""

from __future__ import annotations

from dataclasses import dataclass

from auditkit.catalog.snapshot import Key
from auditkit.catalog.sql import Sql


@dataclass(frozen=True)
class Step:
    """One statement of a script.

    Attributes:
        sql: the statement with its hazards.
        key: the object it is about.
        action: ``drop``, ``create``, ``alter`` or ``rename``.
        evidence: why a rename is taken for one.
    """

    sql: Sql
    key: Key
    action: str
    evidence: str = ""

    def as_dict(self) -> dict[str, object]:
        """As the JSON documents have it."""
        return {
            "sql": self.sql.text,
            "action": self.action,
            "kind": self.key[0],
            "identity": self.key[1],
            "transaction": not self.sql.alone,
            "hazards": [{"code": hazard.code, "why": hazard.why} for hazard in self.sql.hazards],
            **({"evidence": self.evidence} if self.evidence else {}),
        }
