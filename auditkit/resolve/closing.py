"""SQL that turns one snapshot into another.

What has to be done to which objects is ``work``; what comes and goes together ``company``; the statements of each action
are ``actions``; which comes first is ``order``.
"""

from __future__ import annotations

from auditkit.catalog.compare import Comparison
from auditkit.catalog.snapshot import Snapshot
from auditkit.resolve.order import Order
from auditkit.resolve.steps import Step
from auditkit.resolve.work import Work, spread

__all__ = ["Step", "close"]


def close(before: Snapshot, after: Snapshot, differences: Comparison) -> list[Step]:
    """The statements that turn *before* into *after*, in an order that runs.

    Args:
        before, after: snapshots with their edges.
        differences: ``compare(before, after)``; what it leaves out is not touched, unless it has to be remade.
    """
    with before.facts_kept(), after.facts_kept():
        return _close(Work(before, after), differences)


def _close(work: Work, differences: Comparison) -> list[Step]:
    for delta in differences:
        for key in (delta.key, *delta.children):
            if delta.change == "missing":
                work.dropped.add(key)
            elif delta.change == "unexpected":
                work.created.add(key)
            elif delta.attribute is not None:
                work.changed.setdefault(key, set()).add(delta.attribute)
    spread(work)
    while True:
        script = Order(work)
        steps = script.steps()
        tables, parts = script.circular_tables(), script.circular_parts()
        if not tables and not parts:
            return steps
        work.bare |= tables
        work.named |= parts
