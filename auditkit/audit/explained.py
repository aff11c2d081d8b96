"""One environment, explained: what the parts of an audit hand on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from auditkit.audit.meant import Meant
from auditkit.catalog.compare import Comparison
from auditkit.causes.calibration import Calibration
from auditkit.causes.case import Case, Finding
from auditkit.history.ledgers import History


@dataclass
class Explained:
    """One environment, explained."""

    case: Case
    compared: Comparison
    findings: list[Finding]
    calibration: Calibration
    meant: Meant
    history: History

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What could not be checked."""
        return self.meant.notes
