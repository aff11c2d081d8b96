"""What history explains: migrations skipped, unknown, edited, reordered, not recorded, or never run.

The ledger is replayed as it says it was run. What that reproduces exactly, and the files do not, owes its
state to a difference between the two: the counterfactual was run, hence ``proven``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from auditkit.catalog.compare import Delta
from auditkit.catalog.snapshot import Fact, Snapshot
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.evidence import never_had, no_room, ran_by_oids
from auditkit.causes.laboratory import MOST, Outcome, proof
from auditkit.causes.search import Search, counted, last_name, listed, state_at
from auditkit.history.shadow import Change, Replay

#: Object, attribute (None: that it is there or gone), and whether that is seen here (None: cannot be told).
Effect = tuple[Key, "str | None", "bool | None"]
Cause = tuple[str, Entry]


# --- run, but not recorded -----------------------------------------------------------------------------


def applied_not_recorded(search: Search) -> None:
    """Pending migrations whose effect is already here. They leave no delta, so history must ask."""
    case, env = search.case, search.env
    if case.intended is None or not case.ledger_readable:
        return
    pending = _pending(search)
    here = [entry for entry in pending if entry.unrecorded or _ran_unrecorded(search, entry)]
    strangers = search.entries(lambda e: e.state == "unknown" and e.applied is None)
    search.ran |= {entry.label for entry in here}
    if len(here) > 1 and not any(e.applied is not None or e.state == "unknown" for e in case.entries):
        silent = [entry for entry in pending if entry not in here and _leaves_all_right(search, entry)]
        search.ran |= {entry.label for entry in silent}
        _no_ledger(search, here, silent, len(pending))
        return
    if len(here) == len(strangers) == 1:  # the same one, as far as can be told: see restamped
        search.restamped[here[0].label] = strangers[0]
        return
    for entry in here:
        effects = list(pending_effects(search, entry))
        there = list(dict.fromkeys(key for key, _, seen in effects if seen))
        gone = list(dict.fromkeys(key for key, _, seen in effects if seen is False))
        finding = search.add(
            "applied_not_recorded",
            "consistent",
            f"{entry.label} has its whole effect in {env}, but the ledger does not record it"
            if not gone
            else f"{entry.label} was run in {env}, but the ledger does not record it",
            search.roots(k for k in case.intended.footprint(entry.intended or 0) if search.actual(k) and k not in gone),
            entry=entry,
            deltas=[],
            evidence=[
                Evidence("ledger", _unrecorded(search, entry)),
                *_built_on(entry),
                Evidence(
                    "replay",
                    f"It makes or changes {counted(len(there), 'object')}, and all is here as it leaves it."
                    if not gone
                    else f"Of the {len(there) + len(gone)} objects that it makes or changes, {len(there)} are here, "
                    "among them what its last statements make.",
                ),
            ],
            alternatives=[
                ("manual_change", "The same statements may have been typed in before the migration was written."),
                *(("restamped", f"It may be what is recorded as {e.label}, which no file has.") for e in strangers),
            ],
        )  # fmt: skip
        if entry.unrecorded:
            finding.proof = search.as_recorded(f"With {entry.label}, which the ledger does not record")


def _built_on(entry: Entry) -> Iterator[Evidence]:
    if entry.unrecorded:
        yield Evidence(
            "replay", "Without it a replay of what the ledger records fails; with it, it does not."
        )


def _leaves_all_right(search: Search, entry: Entry) -> bool:
    """Whether all that a migration made or changed, if that is anything, is as the last of them leaves it."""
    intended = search.case.intended
    assert intended is not None and entry.intended is not None
    keys = intended.footprint(entry.intended)
    return all(search.same(intended.final.get(*key), search.actual(key)) for key in keys)


def _no_ledger(search: Search, here: list[Entry], silent: list[Entry], pending: int) -> None:
    """A schema without any history: one finding, not one for every migration."""
    env = search.env
    found = len(here) + len(silent)
    count = f"{found} of {pending}" if found < pending else f"all {pending}"
    assert search.case.intended is not None
    steps = [e.intended for e in here if e.intended is not None]
    made = {key for step in steps for key in search.case.intended.footprint(step) if search.actual(key)}
    search.add(
        "applied_not_recorded",
        "consistent",
        f"{env} records no migration, but has the effect of {count}",
        search.roots(made),
        deltas=[],
        evidence=[
            Evidence("ledger", f"No row of any migration of this project was found in {env}."),
            Evidence("replay", f"The effect of {listed(e.label for e in here)} is here."),
            *_superseded(silent),
        ],
        alternatives=[
            ("unknown", "It may have been made from a dump or a schema file, or its ledger lies elsewhere.")
        ],
    )


def _superseded(silent: list[Entry]) -> Iterator[Evidence]:
    if silent:
        yield Evidence(
            "replay", f"Nothing of {listed(e.label for e in silent)} would show: later ones changed it."
        )


def _ran_unrecorded(search: Search, entry: Entry) -> bool:
    """Everything that would show is here; or the end of it is, so that what lacks was taken away later."""
    effects = list(pending_effects(search, entry))
    there = [_line(search, entry, key) for key, _, seen in effects if seen]
    lacking = search.roots(key for key, _, seen in effects if seen is False)
    gone = [_line(search, entry, key) for key in lacking]
    return bool(there) and (not gone or max(there) > max(gone))


def _line(search: Search, entry: Entry, key: Key) -> int:
    assert search.case.intended is not None
    return next((c.line or 0 for c in search.case.intended.timeline[key] if c.step == entry.intended), 0)


def pending_effects(search: Search, entry: Entry) -> Iterator[Effect]:
    """What shows whether a pending migration was run: its effects that would not be here without it."""
    intended, applied = search.case.intended, search.case.applied
    if intended is None or entry.intended is None:
        return
    if entry.unrecorded and applied is not None:
        yield from lasting_effects(search, applied, entry)
        return
    for key in intended.footprint(entry.intended):
        without = applied.final.get(*key) if applied else None
        telling = search.differing(intended.final.get(*key), without)
        before, after = intended.state_before(key, entry.intended), state_at(intended, key, entry.intended)
        for name in search.differing(before, after) if telling else ():
            if None not in telling and name not in telling:
                if name is None:  # a later one makes it anew, and without this one would have found it there
                    yield key, None, _as_one_of(search, key, intended.final, without)
                continue
            gone = name is not None and after is not None and search.actual(key) is None
            seen = False if gone else _seen(name, before, after, search.actual(key))
            if seen is None and search.same(intended.final.get(*key), search.actual(key)):
                seen = True  # later migrations changed it further, and without this one it would be otherwise
            yield key, name, seen


def _as_one_of(search: Search, key: Key, meant: Snapshot, without: Fact | None) -> bool | None:
    """Whether an object is as it was *meant* (True), as it is *without* a migration (False), or neither."""
    actual = search.actual(key)
    return True if search.same(meant.get(*key), actual) else False if search.same(without, actual) else None


def _seen(name: str | None, before: Fact | None, after: Fact | None, actual: Fact | None) -> bool | None:
    """Whether one effect is here (True), not here (False), or cannot be told from what is here (None)."""
    if name is None:
        return (actual is None) == (after is None)
    if actual is None or before is None or after is None:
        return None
    value = actual.attributes.get(name)
    return (
        True
        if value == after.attributes.get(name)
        else False
        if value == before.attributes.get(name)
        else None
    )


# --- what the ledger's own history explains ------------------------------------------------------------


def history(search: Search) -> None:
    """Deltas that a replay of the ledger reproduces, under the difference in history that made them."""
    intended, applied = search.case.intended, search.case.applied
    if intended is None or applied is None:
        return
    groups: dict[tuple[str, str], list[Delta]] = {}
    entries: dict[tuple[str, str], Entry] = {}
    others: dict[tuple[str, str], set[Cause]] = {}
    for delta in [d for deltas in search.open.values() for d in deltas]:
        if not predicted(search, delta, applied.final):
            continue
        causes = _differences(search, delta, intended, applied)
        if not causes:
            continue
        cause, entry = causes[0]
        entry = next(
            (e for e in _pending(search) if entry.label in search.case.needs.get(e.label, ())), entry
        )
        group = (cause, entry.label)
        groups.setdefault(group, []).append(delta)
        entries[group] = entry
        others.setdefault(group, set()).update((c, e) for c, e in causes[1:] if e.label != entry.label)
    for group, deltas in groups.items():
        _add_history(search, group[0], entries[group], deltas, others[group])


def _pending(search: Search) -> list[Entry]:
    return search.entries(lambda e: e.intended is not None and not e.recorded and e.label not in search.ran)


def predicted(search: Search, delta: Delta, state: Snapshot) -> bool:
    """Whether *state*, which a replay led to, has exactly this difference from what was meant, too."""
    there, actual = state.get(*delta.key), search.actual(delta.key)
    if delta.change == "changed":
        assert delta.attribute is not None
        return bool(
            there
            and actual
            and there.attributes.get(delta.attribute) == actual.attributes.get(delta.attribute)
        )
    return search.same(there, actual)


def _differences(search: Search, delta: Delta, intended: Replay, applied: Replay) -> list[Cause]:
    """Which differences between the files and the ledger made the object what it is, the best one first."""
    meant = _changing(search, intended, delta)
    done = _changing(search, applied, delta)
    pending = {e.label for e in _pending(search)}
    missing = [e for s in meant if (e := search.by_intended.get(s)) and e.label in pending]
    unknown = [e for s in done if (e := search.by_applied.get(s)) and e.intended is None]
    touching = [search.by_intended.get(s) for s in meant] + [search.by_applied.get(s) for s in done]
    edited = [
        e for e in touching
        if e and e.content == "different" and e.intended is not None and e.applied is not None
    ]  # fmt: skip
    found: list[Cause] = []
    if missing:
        found.append(("missing_migration", missing[-1]))
    if unknown:
        found.append(("unknown_migration", unknown[-1]))
    if edited:
        found.append(("edited_after_apply", edited[-1]))
    if not missing and (late := _swapped(search, meant, done)):
        found.append(("out_of_order", late))
    if found:
        return found
    # Nothing that differs touched it in itself: it follows from something that did (a loop over tables,
    # default privileges, IF NOT EXISTS). One difference in all history names it all the same.
    found = _all_differences(search)
    roots = {e.label for _, e in found} - {n for needing in search.case.needs.values() for n in needing}
    causes = [cause for cause in found if cause[1].label in roots]
    if len(roots) > 1:  # a role that comes into sight with a grant
        name = last_name(delta.identity).strip('"')
        causes = [cause for cause in causes if any(name in text for text in _texts(search, cause[1]))]
    return causes


def _texts(search: Search, entry: Entry) -> Iterator[str]:
    for replay, step in ((search.case.intended, entry.intended), (search.case.applied, entry.applied)):
        if replay is not None and step is not None:
            yield replay.steps[step].sql


def _changing(search: Search, replay: Replay, delta: Delta) -> list[int]:
    """The steps that changed what the delta is about; all that touched the object, if none did alone."""
    changes = replay.timeline.get(delta.key, [])
    if delta.change == "changed":
        changes = sorted([*search.renamed_from(replay, delta.key), *changes], key=lambda c: c.step)
    wanted = {delta.attribute, None}

    def relevant(before: Change | None, change: Change) -> bool:
        return bool(search.differing(before.fact if before else None, change.fact) & wanted)

    steps = [
        change.step
        for before, change in zip([None, *changes], changes, strict=False)
        if change.step >= 0 and relevant(before, change)
    ]
    return steps or [c.step for c in changes if c.step >= 0]


def _swapped(search: Search, meant: list[int], done: list[int]) -> Entry | None:
    """The migration that came last here although the files have it earlier."""
    order = [e.label for s in meant if (e := search.by_intended.get(s)) and e.applied is not None]
    real = [e.label for s in done if (e := search.by_applied.get(s)) and e.intended is not None]
    common = set(order) & set(real)
    if [v for v in order if v in common] == [v for v in real if v in common]:
        return None
    late = search.by_applied.get(done[-1])
    if late and late.state == "out_of_order":
        return late
    return next(
        (e for s in reversed(done) if (e := search.by_applied.get(s)) and e.state == "out_of_order"), late
    )


def _all_differences(search: Search) -> list[Cause]:
    found: list[Cause] = []
    for entry in search.case.entries:
        if entry.intended is not None and entry.applied is None:
            if entry.label not in search.ran:
                found.append(("missing_migration", entry))
        elif entry.intended is None:
            found.append(("unknown_migration", entry))
        elif entry.content == "different":
            found.append(("edited_after_apply", entry))
        elif entry.state == "out_of_order":
            found.append(("out_of_order", entry))
    return found


def _add_history(search: Search, cause: str, entry: Entry, deltas: list[Delta], others: set[Cause]) -> None:
    env, needing = search.env, sorted(search.case.needs.get(entry.label, ()))
    titles = {
        "missing_migration": _missing_title(search, entry)
        + (f", nor what needs it ({listed(needing)})" if needing else ""),
        "unknown_migration": f"{env} ran {entry.label}, which is not in the repository",
        "edited_after_apply": f"{entry.label} was edited after {env} had applied it",
        "out_of_order": f"{entry.label} was applied to {env} after a later migration, and won",
    }
    keys = {d.key for d in deltas}
    count = len(keys)
    evidence = [
        Evidence("git" if entry.from_git else "ledger", _ledger_says(search, cause, entry)),
        Evidence(
            "replay",
            f"Replaying what {'git' if entry.from_git else 'the ledger'} says was run gives exactly what {env} has for "
            f"{'this object' if count == 1 else f'all {count} objects'}; replaying the files does not.",
        ),
    ]
    if needing:
        evidence.append(
            Evidence(
                "replay", f"Without it {listed(needing)} cannot run, and the ledger has no row for them."
            )
        )
    effects = list(pending_effects(search, entry)) if cause == "missing_migration" else []
    there = list(dict.fromkeys(key for key, _, seen in effects if seen))
    title = titles[cause]
    alternatives = [(c, _alternative(c, e)) for c, e in sorted(others, key=lambda o: (o[0], o[1].label))]
    if there:
        title = f"{entry.label} is only partly in {env}, and the ledger does not record it"
        evidence.append(
            Evidence(
                "replay",
                f"{listed('{} {}'.format(*k) for k in there)} is as it leaves it; what follows is not.",
            )
        )
        alternatives.append(("manual_change", "What is there may have been typed in by hand."))
    squashed = cause == "unknown_migration" and entry.label in search.ran
    if squashed:
        alternatives.append(("rebaselined", "The file that took the place of its own may have lost this."))
    # A replay of the ledger that stumbled proves nothing about what would have come after.
    proven = not (there or squashed) and not (search.case.applied and search.case.applied.failures)
    finding = search.add(
        cause,
        "proven" if proven else "consistent",
        title,
        sorted(search.roots_first(keys), key=lambda k: _touches(search, entry, k), reverse=True),
        entry=entry,
        deltas=search.claim(deltas),
        evidence=evidence,
        alternatives=alternatives,
    )
    hypothesis = {
        "missing_migration": f"Without {entry.label}",
        "unknown_migration": f"With {entry.label}, which is not among the files",
        "edited_after_apply": f"With the text of {entry.label} that was applied",
        "out_of_order": "In the order in which they were applied",
    }[cause]
    finding.proof = search.as_recorded(hypothesis)


def _missing_title(search: Search, entry: Entry) -> str:
    if entry.state == "failed":
        return f"{entry.label} failed in {search.env}"
    return f"{entry.label} was not applied to {search.env}"


def _touches(search: Search, entry: Entry, key: Key) -> bool:
    replays = ((search.case.intended, entry.intended), (search.case.applied, entry.applied))
    return any(r is not None and any(c.step == n for c in r.timeline.get(key, ())) for r, n in replays)


def _ledger_says(search: Search, cause: str, entry: Entry) -> str:
    if entry.from_git:
        return (
            f"{entry.file} was changed in git after it was added; its earlier text gives what {search.env} has, "
            "the present one does not."
        )
    return {
        "missing_migration": _unrecorded(search, entry),
        "unknown_migration": f"The ledger records version {entry.version}, and no file has it.",
        "edited_after_apply": "What the ledger stored when it was applied is not what the file says now.",
        "out_of_order": "The ledger rows were written in another order than the files have.",
    }[cause]


def _unrecorded(search: Search, entry: Entry) -> str:
    if entry.state == "failed":
        return f"The ledger of {search.env} records that version {entry.version} failed."
    return f"No row in {search.env} records version {entry.version}."


def _alternative(cause: str, entry: Entry) -> str:
    return {
        "missing_migration": f"{entry.label}, which was not applied either, changes it as well.",
        "unknown_migration": f"{entry.label}, which is not in the repository, changes it as well.",
        "edited_after_apply": f"{entry.label}, which was edited after it was applied, changes it as well.",
        "out_of_order": f"{entry.label}, which was applied late, changes it as well.",
    }[cause]


def edited_unseen(search: Search) -> None:
    """What a migration last defined that was edited after it was applied, where nobody has the text that was run."""
    groups: dict[str, tuple[Entry, list[Key]]] = {}
    for key in search.open:
        writer = search.writer(key)
        if writer and writer[0].unseen and not search.calibration.others(search.actual(key), writer[0]):
            groups.setdefault(writer[0].label, (writer[0], []))[1].append(key)
    for entry, keys in groups.values():
        search.add(
            "edited_after_apply",
            "consistent",
            f"{entry.label} was edited after {search.env} had applied it",
            search.roots_first(keys),
            entry=entry,
            evidence=[
                Evidence(
                    "ledger",
                    "The checksum that it stored is not that of the file, nor of any text that git has.",
                ),
                Evidence("replay", f"{entry.label} is the last to define what differs."),
            ],
            alternatives=[
                ("manual_change", "It may have been changed by hand, and the edit may be of no effect.")
            ],
        )


# --- recorded, but never run ---------------------------------------------------------------------------


@dataclass
class Suspect:
    """A recorded migration of which nothing is here: ``effects`` lack here, which makes the deltas ``mine``.

    ``ran`` is what object ids tell. ``alone``: it has a single effect, which one hand could have undone.
    ``overlaid``: some of its effects are here, all of them things that later migrations speak of.
    ``needing`` are recorded migrations that cannot have run without it. ``unfitting``: there was no transaction in which
    it could have run. ``masked``: it drops what later ones make anew.
    """

    entry: Entry
    effects: list[Effect]
    mine: list[Delta]
    ran: bool | None
    alone: bool
    overlaid: bool = False
    needing: list[Entry] = field(default_factory=list)
    unfitting: bool = False
    masked: bool = False

    @property
    def keys(self) -> list[Key]:
        return list(dict.fromkeys(key for key, _, _ in self.effects))


def recorded_not_applied(search: Search) -> None:
    """Recorded migrations of which nothing is here that would be here had they run."""
    replay = search.case.applied
    if replay is None or not search.case.ledger_readable:
        return
    recorded = search.entries(lambda e: e.recorded)
    suspects = [found for entry in recorded if (found := _suspect(search, replay, entry))]
    suspects, outcome = _left_out(search, replay, suspects)
    for suspect in suspects:
        _add_never_ran(search, replay, suspect, outcome)


def _suspect(search: Search, replay: Replay, entry: Entry) -> Suspect | None:
    if entry.applied is None or not search.open.keys() & set(replay.footprint(entry.applied)):
        return None
    effects = list(lasting_effects(search, replay, entry))
    if not effects:
        return _masked(search, replay, entry)
    if any(seen is not False for _, _, seen in effects):
        return _overlaid(search, replay, entry, effects)
    mine = [d for key, name, _ in effects for d in search.open.get(key, ()) if d.attribute == name]
    if not mine:
        return None
    ran = ran_by_oids(search.case, entry, search.calibration)
    if ran is None and not entry.marked and touched_since(search, effects):
        return None
    alone = len(independent(search, effects)) == 1
    if (
        ran
        or (entry.executed and ran is None)
        or (alone and not _never_ran(search, entry, effects[0][0], ran))
    ):
        return None  # one hand can undo one thing; see by_hand
    unfitting = no_room(search.case, entry, search.calibration)
    return Suspect(entry, effects, mine, ran, alone, unfitting=unfitting)


def _masked(search: Search, replay: Replay, entry: Entry) -> Suspect | None:
    """A migration that drops what a later one makes anew if it is not there: it is there as before the drop.

    A replay without it has to show that: see ``_left_out``.
    """
    assert entry.applied is not None
    effects: list[Effect] = [
        (key, None, False)
        for key in replay.footprint(entry.applied)
        if key in search.open
        and state_at(replay, key, entry.applied) is None
        and search.actual(key) is not None
        and search.same(replay.state_before(key, entry.applied), search.actual(key))
        and not (search.calibration.exact and search.calibration.foreign(search.actual(key)))
    ]
    if not effects or entry.executed or search.case.laboratory is None:
        return None
    mine = [d for key, _, _ in effects for d in search.open[key]]
    return Suspect(entry, effects, mine, None, alone=False, overlaid=True, masked=True)


def _overlaid(search: Search, replay: Replay, entry: Entry, effects: list[Effect]) -> Suspect | None:
    """A migration of which several things lack, while later ones may have made what is here of it.

    A replay without it has to show that: see ``_left_out``.
    """
    lacking = [effect for effect in effects if effect[2] is False]
    mine = [d for key, name, _ in lacking for d in search.open.get(key, ()) if d.attribute == name]
    untouched = untouched_since(search, entry, lacking)
    few = len(independent(search, lacking)) < 2 and not untouched
    if entry.executed or not mine or few or touched_since(search, lacking):
        return None
    later = "\n".join(step.sql for step in replay.steps[(entry.applied or 0) + 1 :]).lower()
    here = search.roots(key for key, _, seen in effects if seen is not False)
    if not all(last_name(key[1]).strip('"').lower() in later for key in here):
        return None
    return Suspect(entry, lacking, mine, None, alone=False, overlaid=True)


def _left_out(
    search: Search, replay: Replay, suspects: list[Suspect]
) -> tuple[list[Suspect], Outcome | None]:
    """The fewest *suspects* whose absence explains what lacks, as replays without them show, and the last replay.

    What cannot run without a suspect did not run either; its row is no cause of its own. What a later
    migration makes again all the same, without the suspect, was undone by somebody.
    """
    laboratory = search.case.laboratory
    if laboratory is None or not suspects:
        return suspects, None
    stumbled = {replay.steps[f.step].version for f in replay.failures}

    def without(some: Sequence[Suspect]) -> tuple[Outcome | None, list[Entry]]:
        out = {s.entry.applied for s in some}
        kept = [n for n in range(len(replay.steps)) if n not in out]
        outcome = laboratory.run([replay.steps[n] for n in kept])
        failed = [search.by_applied.get(kept[f.step]) for f in outcome.failures] if outcome else []
        return outcome, [e for e in failed if e and e.version not in stumbled]

    before = laboratory.residual(replay.final) if any(s.overlaid for s in suspects) else []

    def explains(suspect: Suspect) -> bool:
        """Whether without it nothing differs that does not differ with it."""
        outcome = without([suspect])[0]
        return outcome is not None and all(d in before for d in outcome.residual)

    doubtful = [s for s in suspects if s.overlaid][:MOST]
    suspects = [s for s in suspects if not s.overlaid or (s in doubtful and explains(s))]
    if not suspects:
        return [], None
    if 1 < len(suspects) <= MOST:
        roots: list[Suspect] = []
        for suspect in suspects:
            if not any(suspect.entry in root.needing for root in roots):
                suspect.needing = without([suspect])[1]
                roots.append(suspect)
        for root in roots:
            root.mine += [
                d for s in suspects if s.entry in root.needing for d in s.mine if d not in root.mine
            ]
        suspects = roots
    outcome, needing = without(suspects)
    if outcome is None:
        return suspects, None
    if len(suspects) == 1:
        suspects[0].needing = needing
    held = [s for s in suspects if all(predicted(search, d, outcome.final) for d in s.mine)]
    if len(held) < len(suspects):
        return held, without(held)[0] if held else None
    return suspects, outcome


def _add_never_ran(search: Search, replay: Replay, suspect: Suspect, outcome: Outcome | None) -> None:
    entry, keys, alone = suspect.entry, suspect.keys, suspect.alone
    more = [] if outcome is None else [
        d
        for needing in suspect.needing
        for key in replay.footprint(needing.applied if needing.applied is not None else -1)
        for d in search.open.get(key, ())
        if d not in suspect.mine and predicted(search, d, outcome.final)
    ]  # fmt: skip
    mine = [d for d in dict.fromkeys([*suspect.mine, *more]) if d in search.open.get(d.key, ())]
    if not mine:
        return
    marked = "marked as applied, not run" if entry.marked else "recorded as applied"
    evidence = [
        Evidence("ledger", f"Version {entry.version} is {marked}."),
        Evidence(
            "replay",
            f"It drops {counted(len(keys), 'object')} that a later migration makes anew where it is not there; it is as "
            "it was before."
            if suspect.masked
            else f"{counted(len(keys), 'object')} would not be as they are with it, and what is here of it is what later "
            "migrations make as well."
            if suspect.overlaid
            else f"It makes or changes {counted(len(keys), 'object')}, and nothing here shows any effect of it.",
        ),
    ]
    if suspect.ran is False:
        evidence.append(
            Evidence(
                "object ids",
                "Too few object ids were used between the migrations before and after it: "
                "what it creates was never created here.",
            )
        )
    if alone and keys[0] in search.open and never_had(search.case, keys[0], search.calibration):
        says = "Its table has no number of a dropped column that migrations do not account for: it was not dropped."
        evidence.append(Evidence("column numbers", says))
    if suspect.unfitting:
        says = (
            "Its ledger row was written in the transaction after that of the row before; it needs transactions of its "
            "own, and there was none between."
        )
        evidence.append(Evidence("xmin", says))
    shared = search.calibration.by_xid.get(entry.xmin or -1, [])
    if len(shared) > 1:
        evidence.append(
            Evidence(
                "xmin",
                f"Its ledger row was written together with {len(shared) - 1} others, as a repair does.",
            )
        )
    if entry.state == "out_of_order":
        evidence.append(Evidence("ledger", "Its row was written later than those of later migrations."))
    needing = listed(e.label for e in suspect.needing)
    if suspect.needing:
        evidence.append(
            Evidence("replay", f"Without it {needing} cannot run either, and is recorded all the same.")
        )
    untouched = untouched_since(search, suspect.entry, suspect.effects)
    finding = search.add(
        "recorded_not_applied",
        "proven" if outcome and (suspect.ran is False or untouched) and not suspect.masked
        else "consistent" if suspect.ran is False or suspect.unfitting or not alone or entry.marked
        else "conjecture",
        f"{entry.label} is recorded in {search.env}, but it never ran there"
        + (f", nor did what needs it ({needing})" if suspect.needing else ""),
        search.roots_first({d.key for d in mine}),
        entry=entry,
        deltas=search.claim(mine),
        evidence=evidence,
        alternatives=[] if outcome and untouched and not suspect.masked else [
            ("manual_change", "Somebody may have undone every part of it by hand."),
            *perhaps_late(search, replay, entry, keys),
        ],
    )  # fmt: skip
    if outcome:
        before = search.case.laboratory.residual(replay.final) if search.case.laboratory else []
        finding.proof = proof(f"Without {entry.label}, which the ledger records", before, outcome)


def untouched_since(search: Search, entry: Entry, effects: list[Effect]) -> bool:
    """Whether all that *entry* would have changed or dropped was last written by migrations before it: by nobody since."""
    if not search.calibration.exact:
        return False
    for key, name, _ in effects:
        fact = search.actual(key)
        if fact is None:
            return False  # what it would have made
        for xid in [fact.writer(name)] if name else fact.xmins or [None]:
            writers = search.calibration.by_xid.get(xid, []) if xid else []
            if not writers or any(e.applied is None or e.applied >= (entry.applied or 0) for e in writers):
                return False
    return bool(effects)


def perhaps_late(search: Search, replay: Replay, entry: Entry, keys: list[Key]) -> Iterator[tuple[str, str]]:
    """Without a recorded order: an earlier migration that left the same may have been run after it."""
    for key in () if search.case.ordered or entry.applied is None else keys:
        before = replay.last_writer(key, before=entry.applied)
        earlier = search.by_applied.get(before.step) if before else None
        if earlier:
            says = f"{earlier.label} may have been applied after it; the ledger does not tell the order."
            yield "out_of_order", says
            return


def lasting_effects(search: Search, replay: Replay, entry: Entry) -> Iterator[Effect]:
    """The effects of a recorded migration that no later one changed again."""
    assert entry.applied is not None
    for key in replay.footprint(entry.applied):
        before, after = replay.state_before(key, entry.applied), state_at(replay, key, entry.applied)
        since = search.differing(after, replay.final.get(*key))
        for name in search.differing(before, after):
            if name not in since and None not in since:
                yield key, name, _seen(name, before, after, search.actual(key))


def touched_since(search: Search, effects: list[Effect]) -> bool:
    """Whether what would have been changed was last written in a transaction of no migration: undone by hand."""
    if not search.calibration.exact:
        return False
    written = (f.writer(name) for key, name, _ in effects if name and (f := search.actual(key)))
    return any(xid and xid not in search.calibration.by_xid for xid in written)


def independent(search: Search, effects: list[Effect]) -> list[Key]:
    """What at least had to be undone one by one: what hangs on a thing goes with it."""
    made = {key for key, name, _ in effects if name is None}
    return [
        key
        for key in dict.fromkeys(key for key, _, _ in effects)
        if key not in made or not search.holders(key) & made
    ]


def _never_ran(search: Search, entry: Entry, key: Key, ran: bool | None) -> bool:
    """For a migration with a single effect: whether the signs say it never ran, rather than was undone."""
    if ran is not None or entry.marked:
        return not ran
    calibration, actual = search.calibration, search.actual(key)
    if len(calibration.by_xid.get(entry.xmin or -1, [])) > 1 or entry.state == "out_of_order":
        return True
    if no_room(search.case, entry, calibration):
        return True
    if actual is None:
        return never_had(search.case, key, calibration)
    if calibration.exact:
        # Last written by an earlier migration: nothing has touched it since, so neither did this one.
        return any(e is not entry for x in actual.xmins for e in calibration.by_xid.get(x, ()))
    return True


# --- what history alone says ---------------------------------------------------------------------------


def silent_history(search: Search) -> None:
    """Migrations that are missing or unknown although no delta betrays them."""
    if not search.case.ledger_readable:
        return
    told = {f.entry.label for f in search.findings if f.entry} | search.ran
    told |= {stranger.label for stranger in search.restamped.values()}
    told |= {n for label in told for n in search.case.needs.get(label, ())}
    env = search.env
    for entry in search.entries(lambda e: e.state in ("pending", "failed") and e.label not in told):
        effects = list(pending_effects(search, entry))
        absent = bool(effects) and all(seen is False for _, _, seen in effects)
        says = (
            "Nothing was replayed, so only the ledger tells."
            if search.case.intended is None
            else "Nothing of what it makes or changes is here; an earlier migration that is missing comes first."
            if absent
            else "What it makes or changes is something else again here, which does not show whether it was run."
            if effects
            else "The schema would be the same with it, so nothing else shows whether it was run."
        )
        unrecorded = ("applied_not_recorded", "It may have been run without being recorded.")
        finding = search.add(
            "missing_migration",
            "proven" if absent else "consistent",
            _missing_title(search, entry),
            search.roots({key for key, _, _ in effects}) if absent else [],
            entry=entry,
            deltas=[],
            evidence=[Evidence("ledger", _unrecorded(search, entry)), Evidence("replay", says)],
            alternatives=[] if absent or entry.state == "failed" else [unrecorded],
        )
        finding.proof = search.as_recorded(f"Without {entry.label}") if absent else None
    for entry in search.entries(lambda e: e.state == "unknown" and e.label not in told):
        search.add(
            "unknown_migration",
            "consistent",
            f"{env} records {entry.label}, which is not in the repository",
            [],
            entry=entry,
            evidence=[
                Evidence("ledger", f"The ledger records version {entry.version}, and no file has it."),
                Evidence(
                    "replay",
                    "Its text is nowhere to be found, so what it did is not known."
                    if entry.applied is None
                    else "What it made was changed again since."
                    if search.case.applied and search.case.applied.footprint(entry.applied)
                    else "It changes nothing that is compared.",
                ),
            ],
        )
