"""The shadow database: migrations replayed on a scratch cluster, with provenance for every statement."""

from auditkit.history.shadow.replayed import Change, Failure, Ground, Replay, Step
from auditkit.history.shadow.replaying import replay, reprint
from auditkit.history.shadow.trying import Trial, attempt

__all__ = ["Change", "Failure", "Ground", "Replay", "Step", "Trial", "attempt", "replay", "reprint"]
