"""The laboratory: what would be here if something else had been run than the ledger says?

A hypothesis changes the sequence of migrations that the ledger records (one left out, the first statements of
one, another text). The changed sequence is replayed in the shadow, and what still differs from the
environment is the residual: a hypothesis is accepted when the residual falls, and holds as far as it falls to
nothing for the objects concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditkit.causes.case import Proof
from auditkit.errors import ServerFailed
from auditkit.history.shadow import Failure, Ground, Step, attempt
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.catalog.compare import Delta
    from auditkit.catalog.snapshot import Snapshot

#: A migration's file is tried in so many ways at most, and so many migrations are doubted one by one.
MOST = 12


@dataclass(frozen=True)
class Outcome:
    """What a sequence of migrations leads to: its end state, and the deltas that it leaves here."""

    final: Snapshot
    residual: list[Delta]
    failures: list[Failure]
    seconds: float


@dataclass
class Laboratory:
    """Where hypotheses about one environment are tried, on the *ground* of its replays.

    ``residual`` compares an end state with the environment as the audit does. Outcomes are kept, so asking
    twice costs nothing; a shadow server that fails ends all trials, and nothing is proven then.
    """

    ground: Ground
    residual: Callable[[Snapshot], list[Delta]]
    progress: Tell = silent
    _known: dict[tuple[Step, ...], Outcome] = field(default_factory=dict, repr=False)
    _broken: bool = False

    def run(self, steps: Sequence[Step]) -> Outcome | None:
        """Replay *steps*; None if no shadow server can be used."""
        key = tuple(steps)
        if key not in self._known and not self._broken:
            try:
                trial = attempt(steps, self.ground, progress=self.progress)
            except ServerFailed:
                self._broken = True
            else:
                left = self.residual(trial.final)
                self._known[key] = Outcome(trial.final, left, trial.failures, trial.seconds)
        return self._known.get(key)


def proof(hypothesis: str, before: Sequence[Delta], outcome: Outcome) -> Proof:
    """The record of a trial: what was replayed, and how many deltas were left without and with it."""
    return Proof(True, hypothesis, len(before), len(outcome.residual), round(outcome.seconds, 2))
