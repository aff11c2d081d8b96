"""One audit from beginning to end: read the environments, replay what was meant, explain, tell.

These functions are what the command line and the notebooks call; everything they use lives in the rooms of
the house (catalog → history → causes → resolve → report) and is joined only here. Each is imported when it is
first used, because ``diff`` needs little of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditkit.audit.applying import apply
    from auditkit.audit.blaming import blame, describe
    from auditkit.audit.checking import check
    from auditkit.audit.deployment import verify
    from auditkit.audit.explaining import explain
    from auditkit.audit.gating import preflight
    from auditkit.audit.guarding import policy, policy_reader
    from auditkit.audit.planning import plan
    from auditkit.audit.pulling import pull
    from auditkit.audit.reading import diff, history, scope_of, take
    from auditkit.audit.reports import report, scheduled
    from auditkit.audit.resolving import decide, resolution

__all__ = [
    "apply",
    "blame",
    "check",
    "decide",
    "describe",
    "diff",
    "explain",
    "history",
    "plan",
    "policy",
    "policy_reader",
    "preflight",
    "pull",
    "report",
    "resolution",
    "scheduled",
    "scope_of",
    "take",
    "verify",
]

_HOME = {
    "apply": "applying",
    "blame": "blaming",
    "check": "checking",
    "decide": "resolving",
    "describe": "blaming",
    "diff": "reading",
    "explain": "explaining",
    "history": "reading",
    "plan": "planning",
    "policy": "guarding",
    "policy_reader": "guarding",
    "preflight": "gating",
    "pull": "pulling",
    "report": "reports",
    "resolution": "resolving",
    "scheduled": "reports",
    "scope_of": "reading",
    "take": "reading",
    "verify": "deployment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
