"""Where nothing tells the order in which migrations were applied: another order, if it explains several things at once.

One thing that is as an earlier migration left it may as well have been put back by hand, or the later migration never
ran; that is said beside each (see ``by_hand``). Several that one change of order explains are hardly chance.
"""

from __future__ import annotations

from auditkit.causes.case import Evidence, Key
from auditkit.causes.laboratory import proof
from auditkit.causes.search import Search, counted

#: So many changes of order are tried.
_TRIED = 4


def another_order(search: Search) -> None:
    applied, laboratory = search.case.applied, search.case.laboratory
    if applied is None or laboratory is None or search.case.ordered or search.calibration.trusted:
        return
    pairs: dict[tuple[int, int], list[Key]] = {}
    for key in search.open:
        steps = sorted({c.step for c in applied.timeline.get(key, ()) if c.step in search.by_applied})
        if len(steps) > 1:
            pairs.setdefault((steps[-2], steps[-1]), []).append(key)
    for first in {first for first, _ in pairs}:  # after all that changed what it made
        found = [(last, keys) for (one, last), keys in pairs.items() if one == first]
        pairs[first, max(last for last, _ in found)] = [key for _, keys in found for key in keys]
    several = [(pair, keys) for pair, keys in pairs.items() if len(search.roots(keys)) > 1]
    before = laboratory.residual(applied.final) if several else []
    for (first, last), keys in sorted(several, key=lambda item: -len(item[1]))[:_TRIED]:
        tried = list(applied.steps)
        tried.insert(last, tried.pop(first))
        outcome = laboratory.run(tried)
        if outcome is None or len(outcome.failures) > len(applied.failures):
            continue
        left = {d.key for d in outcome.residual}
        if left & {*keys} or any(d not in before for d in outcome.residual):
            continue
        mine = [d for key in [*search.open] if key not in left for d in search.open[key]]
        late, early = search.by_applied[first], search.by_applied[last]
        finding = search.add(
            "out_of_order",
            "conjecture",
            f"{late.label} was applied to {search.env} after {early.label}, as it seems",
            search.roots(d.key for d in mine),
            entry=late,
            deltas=search.claim(mine),
            evidence=[
                Evidence("ledger", "Nothing tells the order in which migrations were applied."),
                Evidence(
                    "replay",
                    f"In that order a replay of the ledger gives what is here for {counted(len(mine), 'difference')}.",
                ),
            ],
            alternatives=[("manual_change", "Each of them may have been changed by hand.")],
        )
        finding.proof = proof(f"{late.label} after {early.label}", before, outcome)
