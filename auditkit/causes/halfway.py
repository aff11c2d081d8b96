"""Migrations that stopped half-way: the first statements of one are here, the rest is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from auditkit.catalog.compare import Delta
from auditkit.catalog.kinds import KINDS
from auditkit.causes.calibration import UNSTEADY
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.evidence import added_again, ran_by_oids
from auditkit.causes.laboratory import Outcome, proof
from auditkit.causes.recorded import (
    Effect,
    independent,
    lasting_effects,
    pending_effects,
    perhaps_late,
    predicted,
    touched_since,
    untouched_since,
)
from auditkit.causes.search import Search, counted, last_name, listed, name_of, state_at
from auditkit.causes.who import SPEAKS
from auditkit.history.shadow import Change, Replay, Step
from auditkit.history.split import Statement, join, split

#: So many beginnings of a migration are tried: those that fit best what is here.
_TRIED = 3
#: So much of a program's statement is quoted in a title.
_WORDS = 60


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

    A hand may have undone the rest, too: one thing that lacks is taken for that, unless ids tell otherwise. What was
    recorded in the transaction in which it ran has run to its end.
    """
    applied = search.case.applied
    if applied is None or not search.case.ledger_readable:
        return
    for entry in search.entries(lambda e: e.recorded and e.intended is not None):
        if not any(key in search.open for key in applied.footprint(entry.applied or 0)):
            continue
        effects = list(lasting_effects(search, applied, entry))
        half = _Half(search, entry, applied, entry.applied or 0, effects)
        if not (half.there and half.gone):
            continue
        if any(added_again(search.case, key, search.calibration) for key in half.there):
            continue  # a hand made it, and not the migration
        lacking = [e for e in half.effects if e[2] is False and e[0] in half.gone]
        made = {key for key, name, _ in lacking if name is None and search.actual(key) is None}
        created = ran_by_oids(search.case, entry, search.calibration, made) if made else None
        if half.recorded_at_once and created is False and entry.content is None:
            _another_text(search, entry, made)
        if half.recorded_at_once or not half.clear:
            continue
        several = len(independent(search, lacking))
        never = created is False or untouched_since(search, entry, lacking)
        doubtful = several < 2 or touched_since(search, lacking) or several <= len(search.roots(half.undone))
        doubtful |= half.step.code is not None  # a program's tool records it when it has come to its end
        if created or (not never and doubtful and half.recorded_at_once is None):
            continue
        _one(search, half, created, never)


def left_by_pending(search: Search) -> None:
    """What is as an unrecorded migration left it, before another that is not recorded changes or drops it."""
    replay = search.case.intended
    if replay is None or not search.case.ledger_readable:
        return
    found: dict[str, tuple[Entry, list[Key]]] = {}
    for key in search.open:
        if (entry := _left_by(search, replay, key)) is not None:
            found.setdefault(entry.label, (entry, []))[1].append(key)
    for entry, keys in found.values():
        number = entry.intended or 0
        since = any(
            not search.same(state_at(replay, k, number), search.actual(k)) for k in replay.footprint(number)
        )
        names = listed(name_of(k) for k in search.roots(keys)[:5])
        search.add(
            "partial_apply" if since else "applied_not_recorded",
            "consistent",
            f"{entry.label} is only partly in {search.env}, and the ledger does not record it"
            if since
            else f"{entry.label} has its whole effect in {search.env}, but the ledger does not record it",
            search.roots(keys),
            entry=entry,
            deltas=search.take(keys),
            evidence=[
                Evidence("ledger", _ledger_says(search, entry)),
                Evidence(
                    "replay",
                    f"{names}: as it leaves {'it' if len(keys) == 1 else 'them'}. What changes that later is not recorded "
                    "either.",
                ),
            ],
            alternatives=[("manual_change", "What is there of it may have been typed in by hand.")],
        )
        search.ran.add(entry.label)


def _left_by(search: Search, replay: Replay, key: Key) -> Entry | None:
    """The migration that is not recorded and left an object as it is here, if only others like it changed it since."""
    actual = search.actual(key)
    for change in reversed(replay.timeline.get(key, ()) if actual else ()):
        entry = search.by_intended.get(change.step)
        if entry is None or entry.applied is not None:
            return None
        if change.fact is not None and search.same(change.fact, actual):
            return entry
    return None


def _another_text(search: Search, entry: Entry, made: set[Key]) -> None:
    """A migration that ran to its end, in the transaction that recorded it, and did not make all that it makes now."""
    search.add(
        "edited_after_apply",
        "consistent",
        f"{entry.label} was edited after {search.env} had applied it",
        search.roots(made & search.open.keys()),
        entry=entry,
        deltas=search.take(made & search.open.keys()),
        evidence=[
            Evidence(
                "xmin",
                "What is here of it was written in the transaction that recorded it: it ran to its end.",
            ),
            *_ids_say(False, "what lacks was never created here"),
        ],
        alternatives=[
            ("manual_change", "What lacks may have been dropped by hand, if few ids of objects were used.")
        ],
    )


def perhaps_stopped(search: Search, entry: Entry, lacking: list[Key]) -> bool:
    """Whether *lacking* is all that the last statements of a recorded migration do: it may never have come to them."""
    if search.case.applied is None or entry.applied is None:
        return False
    effects = list(lasting_effects(search, search.case.applied, entry))
    half = _Half(search, entry, search.case.applied, entry.applied, effects)
    whole = (
        bool(half.there and half.gone)
        and half.clear
        and not half.undone
        and half.recorded_at_once is not True
    )
    return whole and {*search.roots(half.gone)} <= {*lacking}


class _Half:
    """A migration of which a part is here: the lines that made what is ``there``, and what is ``gone``.

    ``undone`` is what its first statements made and somebody took away since, at most half of what is gone.
    """

    def __init__(
        self, search: Search, entry: Entry, replay: Replay, number: int, effects: list[Effect]
    ) -> None:
        self.entry, self.replay, self.number = entry, replay, number
        self.step = replay.steps[number]
        self.statements = self._sent() if self.step.code else split(self.step.sql)
        #: Of what several statements wrote to one catalog row.
        self._lines: dict[tuple[Key, str | None], int] = {}
        self.effects = [*effects, *self._altered_since(search, effects)]
        self.there, self.gone = (
            {e[0]: self._line(e) for e in self.effects if e[2] is seen} for seen in (True, False)
        )
        self.undone: dict[Key, int] = {}
        following = self._following(self.beginnings()[0][1])
        undone = {key for key, line in self.gone.items() if 0 < line < following}
        if 0 < 2 * len(search.roots(undone)) <= len(search.roots(self.gone)):
            for key in self.gone:  # what hangs on it went with it
                undone |= {key} if search.holders(key) & undone else set()
            self.undone = {key: self.gone.pop(key) for key in undone}
        self.recorded_at_once = self._recorded_at_once(search)

    def _sent(self) -> list[Statement]:
        """What a program sent. Its lines run anyhow, so that the place of a statement stands for its line here.

        Nothing if it ran in one transaction: then it cannot stop half-way.
        """
        used = self.replay.used.get(self.number)
        sent = used.sent if used and not used.whole else ()
        return [Statement(text, place, 0, len(text)) for place, (_, text) in enumerate(sent, 1)]

    def _places(self, change: Change) -> tuple[int, list[int]]:
        """Where the statement stands that made a change, and those that wrote its rows: their lines, or their places."""
        lines = list(change.rows.values())
        if not self.step.code:
            return change.line or 0, lines
        sent = self.replay.used[self.number].sent if self.statements else ()
        places = {said: place for place, said in enumerate(sent, 1)}
        first = {line: place for place, (line, _) in reversed([*enumerate(sent, 1)])}
        return places.get((change.line or 0, change.statement or ""), 0), [
            first[n] for n in lines if n in first
        ]

    def reached(self, done: int) -> str:
        """How far it came, in words."""
        if not self.step.code:
            return f"{done} of {len(self.statements)} statements"
        line, text = self.replay.used[self.number].sent[min(done, len(self.statements) - 1)]
        text = text.rstrip("; ")
        return f"line {line} ({text if len(text) <= _WORDS else text[: _WORDS - 1] + '…'})"

    def begun(self, done: int) -> Step:
        """Its step, as it would be if it had failed after so many statements."""
        if self.step.code:
            return replace(self.step, stop=done)
        return replace(self.step, sql=join(s.text for s in self.statements[:done]))

    def _altered_since(self, search: Search, effects: list[Effect]) -> Iterator[Effect]:
        """What lacks of a thing that the migration makes and then alters, and that is here as it was made."""
        for key, name, seen in effects:
            change = next((c for c in self.replay.timeline[key] if c.step == self.number), None)
            if name is not None or not seen or change is None or key not in search.open:
                continue
            for attribute in search.differing(change.fact, search.actual(key)):
                if attribute and any(d.attribute == attribute for d in search.open[key]):
                    said = self._said(key, attribute)
                    if len(said) > 1:
                        self._lines |= {(key, None): said[0], (key, attribute): said[1]}
                    if len(said) > 1 or len(set(change.rows.values())) > 1:
                        yield key, attribute, False

    def _said(self, key: Key, attribute: str) -> list[int]:
        """The line of the statement that makes an object, and of the first one after it that gives it an attribute."""
        about, words = self._about(key), SPEAKS.get(attribute)
        later = [s.line for s in about[1:] if words and re.search(words, s.text, re.I)]
        return [about[0].line, *later[:1]] if later else []

    def _about(self, key: Key) -> list[Statement]:
        """The statements that speak of an object by name, from that which makes it."""
        name = re.escape(last_name(key[1]).strip('"').lower())
        about = [s for s in self.statements if re.search(rf"(?<![\w$]){name}(?![\w$])", s.text.lower())]
        made = next((n for n, s in enumerate(about) if s.text[:6].lower() == "create"), 0)
        return about[made:]

    def _line(self, effect: Effect) -> int:
        """The line of the statement that had an effect; 0 if that is not known."""
        key, name, _ = effect
        if (key, name) in self._lines:
            return self._lines[key, name]
        change = next((c for c in self.replay.timeline[key] if c.step == self.number), None)
        if change is None:
            return 0
        line, rows = self._places(change)
        if name is None and change.fact and len(change.rows) < 2 and not KINDS[key[0]].parents:
            about = self._about(key)  # what came after wrote its only row again: a GRANT
            if about and about[0].line < line:
                return about[0].line
        return (min(rows, default=0) if name is None else 0) or line

    def _recorded_at_once(self, search: Search) -> bool | None:
        """Whether what is here of it was written in the transaction of its ledger row; None if that cannot be told."""
        if self.entry.marked:
            return False
        calibration, used = search.calibration, self.replay.used.get(self.number)
        if not calibration.exact or self.entry.applied is None or used is None or not used.whole:
            return None
        written = set()
        for key in self.there:
            meant, here = self.replay.final.get(*key), search.actual(key)
            for catalog, xid in meant.rows.items() if meant and here else ():
                if here and catalog not in UNSTEADY and self.replay.step_of(xid) == self.number:
                    written.add(self.entry in calibration.by_xid.get(here.rows.get(catalog, 0), ()))
        return None if not written else True in written

    def _following(self, done: int) -> int:
        """The line of the statement after so many."""
        return self.statements[done].line if done < len(self.statements) else 1 << 30

    def beginnings(self) -> list[tuple[int, int]]:
        """How many statements may have been run, the likeliest number first, each after how much agrees with it."""
        unknown = sum(not line for line in (*self.there.values(), *self.gone.values()))
        found = []
        for done in range(len(self.statements) + 1):
            following = self._following(done)
            agree = sum(0 < line < following for line in self.there.values())
            agree += sum(line >= following for line in self.gone.values())
            found.append((agree + unknown, done))
        # A program has statements that do nothing here, its tool's COMMIT among them: it stopped at one that does.
        stops = {line - 1 for line in self.gone.values()} if self.step.code else {done for _, done in found}
        return sorted(found, key=lambda pair: (-pair[0], pair[1] not in stops, pair[1]))

    @property
    def clear(self) -> bool:
        """Whether one beginning accounts for everything that is here, and for all that lacks."""
        return self.beginnings()[0][0] == len(self.there) + len(self.gone)

    def misfits(self, outcome: Outcome, before: Sequence[Delta]) -> list[Delta]:
        """What a trial leaves different in what the migration is about; what others did to it does not count.

        That is what was different *before* and is here as one beginning leaves it.
        """
        mine = set(self.replay.footprint(self.number)) - self.undone.keys()
        lacking = {(key, name) for key, name, seen in self.effects if seen is False}
        return [
            d
            for d in outcome.residual
            if d.key in mine
            and (not self.clear or d not in before or {(d.key, d.attribute), (d.key, None)} & lacking)
        ]


def _one(search: Search, half: _Half, created: bool | None = None, never: bool = False) -> None:
    env, entry, there, gone = search.env, half.entry, half.there, half.gone
    failed = entry.state == "failed"
    if not failed and not (there and gone and half.statements):
        return  # nothing of it is here, or all, or it is a program that runs in one transaction
    outcome, before, done = _best(search, half) if there else (None, [], 0)
    misfits = half.misfits(outcome, before) if outcome else []
    footprint = set(half.replay.footprint(half.number))
    without = search.case.applied.final if search.case.applied and not there else None
    state = outcome.final if outcome else without
    mine = [
        d
        for key, deltas in search.open.items()
        for d in deltas
        if (key in footprint or (_of_the_base(half.replay, key) and not _told(search, d)))
        and (
            d.key in gone
            if state is None or (outcome is None and key in footprint)
            else predicted(search, d, state)
        )
    ]
    if not failed and (misfits or not mine or (outcome is None and not half.clear)):
        return
    stopped = half.reached(done)
    finding = search.add(
        "partial_apply",
        _confidence(search, half, created, never, outcome),
        f"{entry.label} failed in {env}, and nothing of it is there"
        if not there
        else f"{entry.label} failed in {env}, though all that it makes is there"
        if not gone
        else f"{entry.label} stopped in {env} {'at' if half.step.code else 'after'} {stopped}",
        search.roots({*gone} or {d.key for d in mine}),
        entry=entry,
        deltas=search.claim(mine),
        evidence=[
            Evidence("ledger", _ledger_says(search, entry)),
            *_replay_says(search, half, stopped, outcome, bool(misfits)),
            *_ids_say(created),
            *_apart_says(half),
        ],
        alternatives=[]
        if failed or never
        else [("manual_change", "What is there of it may have been typed in by hand.")]
        if entry.applied is None
        else [
            ("manual_change", "What its last statements make may have been undone by hand."),
            *perhaps_late(search, half.replay, entry, [*gone]),
        ],
    )
    if outcome:
        finding.proof = proof(f"{entry.label} ran no further than {stopped}", before, outcome)
    elif failed and not there:
        finding.proof = search.as_recorded(f"Without {entry.label}")
    search.ran.add(entry.label)


def _confidence(
    search: Search, half: _Half, created: bool | None, never: bool, outcome: Outcome | None
) -> str:
    """What a hand may have undone as well is a guess where no ids tell."""
    agrees = not half.misfits(outcome, ()) if outcome else not half.there
    if agrees and not half.undone and (half.entry.state == "failed" or created is False):
        return "proven"
    return "consistent" if half.entry.applied is None or never or search.calibration.trusted else "conjecture"


def _told(search: Search, delta: Delta) -> bool:
    """Whether what the ledger records has this difference from the files all the same."""
    applied = search.case.applied
    return applied is not None and predicted(search, delta, applied.final)


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
    before = laboratory.residual(applied.final)
    tried: list[tuple[int, Outcome, int]] = []
    for _, done in best[: 1 if half.undone else _TRIED]:
        outcome = laboratory.run([*first, half.begun(done), *rest])
        if outcome is None:
            break
        tried.append((len(half.misfits(outcome, before)), outcome, done))
        if not tried[-1][0]:
            break
    if not tried:
        return None, [], best[0][1]
    _, outcome, done = min(tried, key=lambda trial: trial[0])
    return outcome, before, done


def _ids_say(
    created: bool | None, what: str = "what its last statements create was never created here"
) -> Iterator[Evidence]:
    if created is False:
        says = f"Too few object ids were used between the migrations before and after it: {what}."
        yield Evidence("object ids", says)


def _apart_says(half: _Half) -> Iterator[Evidence]:
    if half.recorded_at_once is False:
        says = "What is here of it was not written in the transaction that recorded it: it was marked as applied."
        marked = "Its row says that it was marked as applied, not run."
        yield Evidence("ledger", marked) if half.entry.marked else Evidence("xmin", says)


def _ledger_says(search: Search, entry: Entry) -> str:
    if entry.state == "failed":
        return f"The ledger of {search.env} records that version {entry.version} failed."
    if entry.applied is not None:
        return f"Version {entry.version} is recorded as applied."
    return f"No row in {search.env} records version {entry.version}."


def _replay_says(
    search: Search, half: _Half, stopped: str, outcome: Outcome | None, left: bool
) -> Iterator[Evidence]:
    there, gone = half.there, half.gone
    if there and gone:
        here = listed(name_of(k) for k in search.roots(there)[:5])
        says = f"{here}: as it leaves {'it' if len(there) == 1 else 'them'}; what its later statements make is not here."
        yield Evidence("replay", says)
    elif gone:
        yield Evidence("replay", f"It makes or changes {counted(len(gone), 'object')}, and none is here.")
    if outcome and not left:
        part = f"it up to {stopped}" if half.step.code else f"{stopped} of it"
        says = f"Replaying {part} after what the ledger records gives exactly what is here."
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
