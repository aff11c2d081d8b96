"""Migrations that stopped half-way: the first statements of one are here, the rest is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from auditkit.catalog.compare import Delta
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.laboratory import Outcome, proof
from auditkit.causes.recorded import Effect, pending_effects, predicted
from auditkit.causes.search import Search, counted, listed, name_of
from auditkit.history.shadow import Step
from auditkit.history.split import Statement, join, split


def partial_apply(search: Search) -> None:
    """What the ledger says failed, or does not record, and of which a beginning is here."""
    if search.case.intended is None or not search.case.ledger_readable:
        return
    _invalid_indexes(search)
    for entry in search.entries(lambda e: e.intended is not None and e.applied is None):
        if entry.label not in search.ran:
            _one(search, entry)


def _one(search: Search, entry: Entry) -> None:
    intended, case, env = search.case.intended, search.case, search.env
    assert intended is not None and entry.intended is not None
    effects = list(pending_effects(search, entry))
    failed = entry.state == "failed"
    there, gone = (_lines(search, entry, effects, seen) for seen in (True, False))
    if not failed and not (there and gone and max(there.values()) < min(gone.values())):
        return  # nothing of it is here, or all, or not as a beginning
    step = intended.steps[entry.intended]
    if step.code is not None:
        return  # its text is a program, which cannot be run in parts
    statements = split(step.sql)
    last = max(there.values(), default=0)
    done = sum(s.line <= last for s in statements)
    outcome, before = _tried(search, entry, step, statements[:done]) if done else (None, [])
    footprint = set(intended.footprint(entry.intended))
    mine = [
        d
        for key in footprint & search.open.keys()
        for d in search.open[key]
        if (predicted(search, d, outcome.final) if outcome else _absent(effects, d.key))
    ]
    left = [d for d in outcome.residual if d.key in footprint] if outcome else []
    if not failed and (left or not mine):
        return
    objects = search.roots({*gone} or {d.key for d in mine})
    stopped = f"{done} of {len(statements)} statements"
    finding = search.add(
        "partial_apply",
        "proven" if failed and not left and (done == 0 or outcome) else "consistent",
        f"{entry.label} failed in {env}, and nothing of it is there"
        if not there
        else f"{entry.label} failed in {env}, though all that it makes is there"
        if not gone
        else f"{entry.label} stopped in {env} after {stopped}",
        objects,
        entry=entry,
        deltas=search.claim(mine),
        evidence=[
            Evidence("ledger", _ledger_says(search, entry)),
            *_replay_says(search, there, gone, stopped, outcome, bool(left)),
        ],
        alternatives=[] if failed else [("manual_change", "What is there of it may have been typed in by hand.")],
    )  # fmt: skip
    if outcome:
        finding.proof = proof(f"{entry.label} ran no further than {stopped}", before, outcome)
    elif failed and not there and case.applied is not None and case.laboratory:
        finding.proof = search.as_recorded(f"Without {entry.label}")
    search.ran.add(entry.label)


def _lines(search: Search, entry: Entry, effects: list[Effect], wanted: bool) -> dict[Key, int]:
    """The line of the statement that leaves each object as it is (or is not) here."""
    assert search.case.intended is not None
    found: dict[Key, int] = {}
    for key, _, seen in effects:
        if seen is wanted:
            changes = search.case.intended.timeline[key]
            found[key] = next((c.line or 0 for c in changes if c.step == entry.intended), 0)
    return found


def _absent(effects: list[Effect], key: Key) -> bool:
    return any(k == key and seen is False for k, _, seen in effects)


def _tried(
    search: Search, entry: Entry, step: Step, first: list[Statement]
) -> tuple[Outcome | None, list[Delta]]:
    """What the ledger records, with *first*, the beginning of a migration, in its place."""
    applied, laboratory = search.case.applied, search.case.laboratory
    if applied is None or laboratory is None:
        return None, []
    earlier = [e for e in search.by_applied.values() if e.intended is not None and e.applied is not None]
    place = max((e.applied + 1 for e in earlier if (e.intended or 0) < (entry.intended or 0)), default=0)  # type: ignore[operator]
    begun = replace(step, sql=join(s.text for s in first))
    outcome = laboratory.run([*applied.steps[:place], begun, *applied.steps[place:]])
    return outcome, laboratory.residual(applied.final)


def _ledger_says(search: Search, entry: Entry) -> str:
    if entry.state == "failed":
        return f"The ledger of {search.env} records that version {entry.version} failed."
    return f"No row in {search.env} records version {entry.version}."


def _replay_says(
    search: Search,
    there: dict[Key, int],
    gone: dict[Key, int],
    stopped: str,
    outcome: Outcome | None,
    left: bool,
) -> Iterator[Evidence]:
    if there and gone:
        here = listed(name_of(k) for k in search.roots(there)[:5])
        says = f"{here}: as it leaves {'it' if len(there) == 1 else 'them'}; what its later statements make is not here."
        yield Evidence("replay", says)
    elif gone:
        yield Evidence("replay", f"It makes or changes {counted(len(gone), 'object')}, and none is here.")
    if outcome and not left:
        says = f"Replaying {stopped} of it after what the ledger records gives exactly what is here."
        yield Evidence("replay", says)


# --- CREATE INDEX CONCURRENTLY ---------------------------------------------------------------------------


def _invalid_indexes(search: Search) -> None:
    """An index that is there but invalid, and whose migration builds it concurrently: that failed."""
    replay = search.case.intended
    assert replay is not None
    for key in [k for k in search.open if k[0] == "index"]:
        actual, writer = search.actual(key), search.writer(key)
        if actual is None or actual.attributes.get("valid") is not False or writer is None:
            continue
        entry, change = writer
        meant = change.fact
        if meant is None or not meant.attributes.get("valid"):
            continue
        if "concurrently" not in replay.steps[change.step].sql.lower():
            continue
        deltas = [d for d in search.open[key] if d.attribute == "valid"]
        if entry.applied is None:  # what came after it in the file was never reached
            effects = list(pending_effects(search, entry))
            deltas += [d for k in search.open if k != key and _absent(effects, k) for d in search.open[k]]
        search.add(
            "partial_apply",
            "consistent",
            f"{name_of(key)} is invalid in {search.env}: {entry.label} failed while it built it",
            [key],
            entry=entry,
            deltas=search.claim(deltas),
            evidence=[
                Evidence(
                    "catalog",
                    "It is marked invalid, as CREATE INDEX CONCURRENTLY leaves an index when it fails (duplicates, a "
                    "deadlock, a timeout); it costs writes and serves no query.",
                ),
                Evidence(
                    "ledger",
                    f"Version {entry.version} is recorded as applied."
                    if entry.state not in ("pending", "failed")
                    else _ledger_says(search, entry),
                ),
            ],
            alternatives=[("manual_change", "A REINDEX CONCURRENTLY of it by hand may have failed.")],
        )
        if entry.applied is None:
            search.ran.add(entry.label)
