"""Migrations that stopped half-way: the first statements of one are here, the rest is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from auditkit.catalog.compare import Delta
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.evidence import ran_by_oids
from auditkit.causes.laboratory import Outcome, proof
from auditkit.causes.recorded import (
    Effect,
    independent,
    lasting_effects,
    pending_effects,
    predicted,
    touched_since,
)
from auditkit.causes.search import Search, counted, listed, name_of
from auditkit.history.shadow import Replay
from auditkit.history.split import join, split

#: So many beginnings of a migration are tried: those that fit best what is here.
_TRIED = 3


def partial_apply(search: Search) -> None:
    """What the ledger says failed, or does not record, and of which a beginning is here."""
    intended = search.case.intended
    if intended is None or not search.case.ledger_readable:
        return
    _invalid_indexes(search)
    for entry in search.entries(lambda e: e.intended is not None and e.applied is None):
        if entry.label not in search.ran:
            effects = list(pending_effects(search, entry))
            _one(search, _Half(search, entry, intended, entry.intended or 0, effects))


def recorded_in_part(search: Search) -> None:
    """What the ledger records as applied, and of which only a beginning is here: recorded by hand after it failed.

    A hand may have undone the rest, too: one thing that lacks is taken for that, unless object ids tell otherwise.
    """
    applied = search.case.applied
    if applied is None or not search.case.ledger_readable:
        return
    for entry in search.entries(lambda e: e.applied is not None and e.intended is not None):
        if not any(key in search.open for key in applied.footprint(entry.applied or 0)):
            continue
        effects = list(lasting_effects(search, applied, entry))
        half = _Half(search, entry, applied, entry.applied or 0, effects)
        if not (half.there and half.gone and half.clear):
            continue
        created = ran_by_oids(search.case, entry, search.calibration, set(half.gone))
        lacking = [e for e in half.effects if e[2] is False]
        alone = len(independent(search, lacking)) < 2
        if created or (created is None and (alone or touched_since(search, lacking))):
            continue
        _one(search, half, created)


def perhaps_stopped(search: Search, entry: Entry, lacking: list[Key]) -> bool:
    """Whether *lacking* is all that the last statements of a recorded migration make: it may never have come to them."""
    if search.case.applied is None or entry.applied is None:
        return False
    effects = list(lasting_effects(search, search.case.applied, entry))
    half = _Half(search, entry, search.case.applied, entry.applied, effects)
    return bool(half.there) and {*search.roots(half.gone)} <= {*lacking} and half.clear


class _Half:
    """A migration of which a part is here: the lines that made what is ``there``, and what is ``gone``."""

    def __init__(
        self, search: Search, entry: Entry, replay: Replay, number: int, effects: list[Effect]
    ) -> None:
        self.entry, self.replay, self.number = entry, replay, number
        self.effects = [*effects, *self._altered_since(search, effects)]
        self.step = replay.steps[number]
        self.statements = [] if self.step.code else split(self.step.sql)
        self.there, self.gone = (
            {e[0]: self._line(e) for e in self.effects if e[2] is seen} for seen in (True, False)
        )

    def _altered_since(self, search: Search, effects: list[Effect]) -> Iterator[Effect]:
        """What lacks of a thing that the migration makes and then alters, and that is here as it was made."""
        for key, name, seen in effects:
            change = next((c for c in self.replay.timeline[key] if c.step == self.number), None)
            if name is None and seen and change and len(set(change.rows.values())) > 1:
                for attribute in search.differing(change.fact, search.actual(key)):
                    if attribute and any(d.attribute == attribute for d in search.open.get(key, ())):
                        yield key, attribute, False

    def _line(self, effect: Effect) -> int:
        """The line of the statement that had an effect; 0 if that is not known."""
        key, name, _ = effect
        change = next((c for c in self.replay.timeline[key] if c.step == self.number), None)
        if change is None:
            return 0
        return (min(change.rows.values(), default=None) if name is None else None) or change.line or 0

    def beginnings(self) -> list[tuple[int, int]]:
        """How many statements may have been run, the likeliest number first, each after how much agrees with it."""
        unknown = sum(not line for line in (*self.there.values(), *self.gone.values()))
        found = []
        for done in range(len(self.statements) + 1):
            following = self.statements[done].line if done < len(self.statements) else 1 << 30
            agree = sum(0 < line < following for line in self.there.values())
            agree += sum(line >= following for line in self.gone.values())
            found.append((agree + unknown, done))
        return sorted(found, key=lambda pair: (-pair[0], pair[1]))

    @property
    def clear(self) -> bool:
        """Whether one beginning accounts for everything that is here, and for all that lacks."""
        return self.beginnings()[0][0] == len(self.there) + len(self.gone)

    def misfits(self, outcome: Outcome) -> list[Delta]:
        """What a trial leaves different in what the migration is about."""
        mine = set(self.replay.footprint(self.number))
        return [d for d in outcome.residual if d.key in mine]


def _one(search: Search, half: _Half, created: bool | None = None) -> None:
    env, entry, there, gone = search.env, half.entry, half.there, half.gone
    failed, whole = entry.state == "failed", len(half.statements)
    if not failed and not (there and gone and half.statements):
        return  # nothing of it is here, or all, or it is a program, which has no statements to count
    outcome, before, done = _best(search, half) if there else (None, [], 0)
    misfits = half.misfits(outcome) if outcome else []
    footprint = set(half.replay.footprint(half.number))
    mine = [
        d
        for key, deltas in search.open.items()
        if key in footprint or (outcome and _of_the_base(half.replay, key))
        for d in deltas
        if (predicted(search, d, outcome.final) if outcome else _absent(half.effects, d.key))
    ]
    if not failed and (misfits or not mine or (outcome is None and not half.clear)):
        return
    stopped = f"{done} of {whole} statements"
    finding = search.add(
        "partial_apply",
        "proven" if not misfits and (outcome or not there) and (failed or created is False) else "consistent",
        f"{entry.label} failed in {env}, and nothing of it is there"
        if not there
        else f"{entry.label} failed in {env}, though all that it makes is there"
        if not gone
        else f"{entry.label} stopped in {env} after {stopped}",
        search.roots({*gone} or {d.key for d in mine}),
        entry=entry,
        deltas=search.claim(mine),
        evidence=[
            Evidence("ledger", _ledger_says(search, entry)),
            *_replay_says(search, there, gone, stopped, outcome, bool(misfits)),
            *_ids_say(created),
        ],
        alternatives=[]
        if failed or created is False
        else [("manual_change", "What is there of it may have been typed in by hand.")]
        if entry.applied is None
        else [("manual_change", "What its last statements make may have been undone by hand.")],
    )
    if outcome:
        finding.proof = proof(f"{entry.label} ran no further than {stopped}", before, outcome)
    elif failed and not there:
        finding.proof = search.as_recorded(f"Without {entry.label}")
    search.ran.add(entry.label)


def _of_the_base(replay: Replay, key: Key) -> bool:
    """Whether no migration writes it: a role that comes into sight when something is granted to it."""
    return all(change.step < 0 for change in replay.timeline.get(key, ()))


def _absent(effects: list[Effect], key: Key) -> bool:
    return any(k == key and seen is False for k, _, seen in effects)


def _best(search: Search, half: _Half) -> tuple[Outcome | None, list[Delta], int]:
    """The beginning of a migration with which a replay of the ledger leaves nothing of it different, else the likeliest."""
    applied, laboratory, entry = search.case.applied, search.case.laboratory, half.entry
    best = half.beginnings()
    if applied is None or laboratory is None or not half.statements:
        return None, [], best[0][1]
    if entry.applied is not None:
        first, rest = applied.steps[: entry.applied], applied.steps[entry.applied + 1 :]
    else:
        earlier = [
            e for e in search.by_applied.values() if e.intended is not None and e.intended < half.number
        ]
        place = max((e.applied + 1 for e in earlier if e.applied is not None), default=0)
        first, rest = applied.steps[:place], applied.steps[place:]
    tried: list[tuple[int, Outcome, int]] = []
    for _, done in best[:_TRIED]:
        begun = replace(half.step, sql=join(s.text for s in half.statements[:done]))
        outcome = laboratory.run([*first, begun, *rest])
        if outcome is None:
            break
        tried.append((len(half.misfits(outcome)), outcome, done))
        if not tried[-1][0]:
            break
    if not tried:
        return None, [], best[0][1]
    _, outcome, done = min(tried, key=lambda trial: trial[0])
    return outcome, laboratory.residual(applied.final), done


def _ids_say(created: bool | None) -> Iterator[Evidence]:
    if created is False:
        yield Evidence(
            "object ids",
            "Too few object ids were used between the migrations before and after it: "
            "what its last statements create was never created here.",
        )


def _ledger_says(search: Search, entry: Entry) -> str:
    if entry.state == "failed":
        return f"The ledger of {search.env} records that version {entry.version} failed."
    if entry.applied is not None:
        return f"Version {entry.version} is recorded as applied."
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
                    _ledger_says(search, entry),
                ),
            ],
            alternatives=[("manual_change", "A REINDEX CONCURRENTLY of it by hand may have failed.")],
        )
        if entry.applied is None:
            search.ran.add(entry.label)
