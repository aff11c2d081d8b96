"""One audit from beginning to end: read the environments, replay what was meant, explain, tell.

These functions are what the command line and the notebooks call; everything they use lives in the rooms of
the house (catalog → history → causes → resolve → report) and is joined only here.
"""

from auditkit.audit.deployment import verify
from auditkit.audit.explaining import explain
from auditkit.audit.reading import diff, history, scope_of, take
from auditkit.audit.reports import report, scheduled

__all__ = ["diff", "explain", "history", "report", "scheduled", "scope_of", "take", "verify"]
