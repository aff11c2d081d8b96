"""A script as people and psql read it: statements in transactions, hazards as comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from auditkit.catalog.compare import Comparison, Delta
from auditkit.errors import ConfigError
from auditkit.resolve.closing import Step

#: How the session is set first where functions are made.
SETTING = "check_function_bodies = off"
LOOSE = f"SET {SETTING}"
#: What whoever did not mean a rename can do.
HINT = "--no-renames to drop and create"


def text(steps: Sequence[Step], *, title: str = "", notes: Iterable[str] = ()) -> str:
    """The script, ready for ``psql -v ON_ERROR_STOP=1 -f``; empty if there is nothing to do.

    What can run in a transaction does, as one where nothing has to be committed in between; a line
    ``-- hazard: CODE: why`` stands before each statement that needs care.
    """
    comments = [f"-- {line}" for line in (title, *notes) if line]
    if not steps:
        return "".join(f"{line}\n" for line in comments[1:])
    lines = comments
    if loose(steps):
        lines.append(f"{LOOSE};  -- a body may mention what comes later")
    for alone, group in transactions(steps):
        lines += [""] if alone else ["", "BEGIN;"]
        for step in group:
            lines += statement(step)
        lines += [] if alone else ["COMMIT;"]
    return "\n".join(lines) + "\n"


def loose(steps: Iterable[Step]) -> bool:
    """Whether bodies are made that may mention what comes later."""
    return any(
        step.key[0] in ("function", "procedure") and step.sql.text.startswith("CREATE ") for step in steps
    )


def transactions(steps: Iterable[Step]) -> Iterator[tuple[bool, list[Step]]]:
    """The statements in groups: those that run alone (True), and those that share a transaction."""
    for alone, group in groupby(steps, key=lambda step: step.sql.alone):
        yield alone, list(group)


def statement(step: Step) -> list[str]:
    """One statement, below what there is to know about it."""
    why = [f"-- renamed, not dropped and created: {step.evidence}; {HINT}"] if step.evidence else []
    return [
        *why,
        *(f"-- hazard: {h.code}: {h.why}".rstrip(": ") for h in step.sql.hazards),
        f"{step.sql.text};",
    ]


def changeable(delta: Delta) -> bool:
    """Whether there is any statement that closes a difference: for the order of columns there is none."""
    if delta.key[0] == "extension" and delta.attribute == "owner":
        return False
    return not delta.is_order and not delta.is_warning


#: What is said of attributes that no statement changes; None: where there is one, it is in the script.
_STAYS = {"owner": "the owner", "declared": None, "not_null_name": None}


def notes(differences: Comparison) -> list[str]:
    """What no statement can close."""
    stays: dict[str, set[str]] = {}
    for delta in differences:
        if not changeable(delta):
            if (what := _STAYS.get(delta.attribute or "", "the order of columns")) is None:
                continue
            stays.setdefault(what, set()).add(delta.identity)
    return [f"note: {what} stays as it is: {', '.join(sorted(names))}" for what, names in stays.items()]


def refuse_deletions(steps: Iterable[Step]) -> None:
    """Stop where a statement deletes data.

    Raises:
        ConfigError: one line names those statements and what they delete.
    """
    found = [
        f"{' '.join(step.sql.text.split())} (DELETES_DATA: {hazard.why})"
        for step in steps
        for hazard in step.sql.hazards
        if hazard.code == "DELETES_DATA"
    ]
    if found:
        raise ConfigError(
            f"refused by --safe: {len(found)} {'statement deletes' if len(found) == 1 else 'statements delete'} data: "
            f"{'; '.join(found)}; move the data first, or leave out --safe"
        )
