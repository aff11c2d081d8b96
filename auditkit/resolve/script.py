"""A script as people and psql read it: statements in transactions, hazards as comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from auditkit.catalog.compare import Comparison
from auditkit.catalog.kinds import KINDS
from auditkit.resolve.closing import Step


def text(steps: Sequence[Step], *, title: str = "", notes: Iterable[str] = ()) -> str:
    """The script, ready for ``psql -v ON_ERROR_STOP=1 -f``; empty if there is nothing to do.

    What can run in a transaction does, as one where nothing has to be committed in between; a line
    ``-- hazard: CODE: why`` stands before each statement that needs care.
    """
    comments = [f"-- {line}" for line in (title, *notes) if line]
    if not steps:
        return "".join(f"{line}\n" for line in comments[1:])
    lines = comments
    if any(step.key[0] in ("function", "procedure") and step.action == "create" for step in steps):
        lines.append("SET check_function_bodies = off;  -- a body may mention what comes later")
    for alone, group in groupby(steps, key=lambda step: step.sql.alone):
        lines += [""] if alone else ["", "BEGIN;"]
        for step in group:
            lines += [f"-- hazard: {h.code}: {h.why}".rstrip(": ") for h in step.sql.hazards]
            lines.append(f"{step.sql.text};")
        lines += [] if alone else ["COMMIT;"]
    return "\n".join(lines) + "\n"


def notes(differences: Comparison) -> list[str]:
    """What no statement can close."""
    moved = sorted({delta.identity for delta in differences if delta.attribute == KINDS[delta.kind].ordinal})
    return [f"note: the order of columns stays as it is: {', '.join(moved)}"] if moved else []
