"""Where the replay of a ledger stumbles: migrations that it does not record may have run, and are tried in their place."""

from __future__ import annotations

from dataclasses import replace

from auditkit.audit.meant import Meant
from auditkit.causes.case import Entry
from auditkit.causes.laboratory import MOST, Laboratory
from auditkit.history.shadow import Failure, replay
from auditkit.progress import Tell


def try_unrecorded(meant: Meant, laboratory: Laboratory, progress: Tell) -> None:
    """Put into *meant* the migrations without which recorded ones cannot have run, and which are here.

    A row of the ledger was deleted, or never written, and what came later built on that migration: a replay of the
    ledger fails where the environment did not. A migration is taken if with it less fails and less is left different.
    """
    applied, intended = meant.applied, meant.intended
    if applied is None or intended is None or applied.ground is None or applied is intended:
        return
    sound = {e.applied for e in meant.entries if _runs(e, intended.failures)}
    failed = [f for f in applied.failures if f.step in sound]
    if not failed:
        return
    steps, left, fails = list(applied.steps), laboratory.residual(applied.final), len(applied.failures)
    entries, found = list(meant.entries), False
    last = max(
        e.intended for e in entries if e.applied in {f.step for f in failed} and e.intended is not None
    )
    pending = [
        n for n, e in enumerate(entries) if e.applied is None and e.intended is not None and e.intended < last
    ]
    for number in pending[:MOST]:
        entry = entries[number]
        place = _place(entries, entry)
        tried = [*steps[:place], intended.steps[entry.intended or 0], *steps[place:]]
        outcome = laboratory.run(tried)
        if outcome and len(outcome.failures) < fails and len(outcome.residual) < len(left):
            steps, left, fails, found = tried, outcome.residual, len(outcome.failures), True
            entries = [
                replace(e, applied=e.applied + 1) if e.applied is not None and e.applied >= place else e
                for e in entries
            ]
            entries[number] = replace(entry, applied=place, unrecorded=True)
    if found:
        meant.applied = replay(steps, applied.ground, progress=progress, continued=False)
        meant.entries = entries
        meant.notes = [n for n in meant.notes if "replaying what the ledger records" not in str(n.get("why"))]


def _runs(entry: Entry, failures: list[Failure]) -> bool:
    return entry.intended is not None and entry.intended not in {f.step for f in failures}


def _place(entries: list[Entry], entry: Entry) -> int:
    """Where a migration would have run: after the last recorded one that comes before it."""
    earlier = [
        e.applied
        for e in entries
        if e.applied is not None
        and e.intended is not None
        and entry.intended is not None
        and e.intended < entry.intended
    ]
    return max(earlier, default=-1) + 1
