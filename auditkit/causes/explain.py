"""From deltas to findings: what caused each, and which migration is behind it.

The order of the search is the order of certainty. First what the installation itself explains. Then what
history explains: the ledger is replayed as it says it was run, and every object that this reproduces
exactly owes its state to a skipped, unknown, edited or reordered migration (the counterfactual was run,
hence ``proven``). Of the rest, what looks as if a recorded migration had never run; what is left was done
by hand. Each delta ends up in exactly one finding.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditkit.catalog.compare import Delta
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact
from auditkit.causes.case import Case, Culprit, Entry, Evidence, Finding, Key, attributes_equal
from auditkit.causes.evidence import Calibration, calibrate, owner_shift, ran_by_oids
from auditkit.history.shadow import Change, Replay

_SEVERITIES = ("info", "low", "medium", "high", "critical")
#: Attributes whose change opens a door, whatever the kind.
_SECURITY = frozenset(
    {"row_security", "force_row_security", "grants", "security_definer", "security_invoker"}
)
_COSMETIC = frozenset({"comment", "position", "statistics_target", "storage", "compression"})
#: Kinds that belong to the installation rather than to the schema.
_INSTALLATION = frozenset({"database"})


def explain(case: Case, calibration: Calibration | None = None) -> list[Finding]:
    """Explain every delta of *case*; findings come worst first, and every delta is in exactly one."""
    return _Search(case, calibration or calibrate(case)).run()


class _Search:
    def __init__(self, case: Case, calibration: Calibration) -> None:
        self.case = case
        self.calibration = calibration
        self.open: dict[Key, list[Delta]] = {}
        for delta in case.deltas:
            self.open.setdefault((delta.kind, delta.identity), []).append(delta)
        self.findings: list[Finding] = []
        self.by_intended = {e.intended: e for e in case.entries if e.intended is not None}
        self.by_applied = {e.applied: e for e in case.entries if e.applied is not None}

    def run(self) -> list[Finding]:
        self._installation()
        self._applied_not_recorded()
        self._history()
        self._recorded_not_applied()
        self._by_hand()
        self._silent_history()
        for finding in self.findings:
            finding.severity = _severity(finding, self.case)
            finding.deltas.sort(key=lambda d: (d.kind, d.identity, d.attribute or ""))
        return sorted(
            self.findings,
            key=lambda f: (-_SEVERITIES.index(f.severity), f.cause, f.objects, f.culprit is None, f.id),
        )

    # --- what an object is here, and in the replays ------------------------------------------------

    def actual(self, key: Key) -> Fact | None:
        return self.case.actual.get(*key)

    def same(self, left: Fact | None, right: Fact | None) -> bool:
        return attributes_equal(left, right, self.case.ignored)

    def take(self, keys: Iterable[Key]) -> list[Delta]:
        """Remove these objects from what is still unexplained and return their deltas."""
        return [delta for key in keys for delta in self.open.pop(key, [])]

    def writer(self, key: Key) -> tuple[Entry, Change] | None:
        """The migration that last defined *key* according to the files, and where."""
        replay = self.case.intended
        change = replay.last_writer(key) if replay else None
        if change is None or change.step not in self.by_intended:
            return None
        return self.by_intended[change.step], change

    # --- the installation ----------------------------------------------------------------------------

    def _installation(self) -> None:
        env = self.case.environment
        for key in [k for k in self.open if k[0] in _INSTALLATION]:
            deltas = self.open[key]
            properties = [d for d in deltas if d.attribute != "settings"]
            if not properties or len(properties) < len(deltas):
                continue
            self._add(
                "environment_difference",
                "proven",
                f"{env}: the database itself was created differently ({_list(d.attribute or '' for d in deltas)})",
                [key],
                evidence=[
                    Evidence("catalog", f"{d.attribute}: {_show(d.left)} was meant, {_show(d.right)} is here")
                    for d in deltas
                ],
            )
        for key in [k for k in self.open if k[0] == "extension"]:
            deltas = self.open[key]
            if all(d.change == "changed" and d.attribute in ("version", "schema") for d in deltas):
                says = [f"{d.attribute} {_show(d.left)} was meant, {_show(d.right)} is here" for d in deltas]
                self._add(
                    "environment_difference",
                    "proven",
                    f"extension {key[1]} differs in {env}: {'; '.join(says)}",
                    [key],
                    evidence=[
                        Evidence("catalog", "; ".join(says) + "."),
                        Evidence(
                            "members",
                            "Its member objects follow the extension and are not compared one by one.",
                        ),
                    ],
                )
        for key in [k for k in self.open if k[0] == "collation"]:
            if all(d.attribute == "version" for d in self.open[key]):
                self._add(
                    "environment_difference",
                    "proven",
                    f"collation {key[1]} has another version in {env}",
                    [key],
                    evidence=[
                        Evidence(
                            "catalog", "Collation versions come from the operating system or ICU library."
                        )
                    ],
                )
        shift = owner_shift(self.case)
        if shift:
            meant, actual, keys = shift
            taken = []
            for key in keys:
                mine = [d for d in self.open.get(key, []) if d.attribute == "owner"]
                rest = [d for d in self.open.get(key, []) if d.attribute != "owner"]
                taken += mine
                if rest:
                    self.open[key] = rest
                else:
                    self.open.pop(key, None)
            finding = self._add(
                "environment_difference",
                "consistent",
                f"{env}: {len(keys)} objects belong to {actual} where {meant} was meant",
                keys[:1],
                evidence=[
                    Evidence(
                        "owner",
                        f"{len(keys)} of the objects that {meant} should own belong to {actual}; one owner "
                        "consistently stands for the other.",
                    )
                ],
            )
            finding.objects = keys
            finding.deltas += taken

    # --- applied but not recorded ----------------------------------------------------------------------

    def _applied_not_recorded(self) -> None:
        """Pending migrations whose effect is already here. They leave no delta, so history must ask."""
        replay = self.case.intended
        if replay is None or not self.case.ledger_readable:
            return
        for entry in self._entries(lambda e: e.applied is None and e.intended is not None):
            assert entry.intended is not None
            keys = [k for k in replay.footprint(entry.intended) if _writes_last(replay, k, entry.intended)]
            there = [k for k in keys if self.same(replay.timeline[k][-1].fact, self.actual(k))]
            if not keys or len(there) < len(keys):
                continue
            self._add(
                "applied_not_recorded",
                "consistent",
                f"{entry.label} has its whole effect in {self.case.environment}, but the ledger does not record it",
                self._roots(there, replay),
                entry=entry,
                evidence=[
                    Evidence("ledger", f"No row for version {entry.version}."),
                    Evidence(
                        "replay",
                        f"All {len(keys)} objects that it makes or changes are here exactly as it leaves them.",
                    ),
                ],
                alternatives=[
                    (
                        "manual_change",
                        "The same statements may have been typed in before the migration was written.",
                    )
                ],
            )

    # --- what history explains -------------------------------------------------------------------------

    def _history(self) -> None:
        intended, applied = self.case.intended, self.case.applied
        if intended is None or applied is None:
            return
        groups: dict[tuple[str, str], list[Key]] = {}
        entries: dict[tuple[str, str], Entry] = {}
        others: dict[tuple[str, str], set[str]] = {}
        for key in self.open:
            predicted = applied.final.get(*key)
            if not self.same(predicted, self.actual(key)):
                continue
            cause, entry, alternatives = self._differing_history(key, intended, applied)
            if entry is None:
                continue
            group = (cause, entry.version)
            groups.setdefault(group, []).append(key)
            entries[group] = entry
            others.setdefault(group, set()).update(alternatives)
        for group, keys in groups.items():
            self._add_history(group[0], entries[group], keys, sorted(others[group]))

    def _differing_history(
        self, key: Key, intended: Replay, applied: Replay
    ) -> tuple[str, Entry | None, set[str]]:
        """Which difference between the files and the ledger made *key* what it is."""
        meant = [c.step for c in intended.timeline.get(key, ()) if c.step >= 0]
        done = [c.step for c in applied.timeline.get(key, ()) if c.step >= 0]
        missing = [e for s in meant if (e := self.by_intended.get(s)) and e.applied is None]
        unknown = [e for s in done if (e := self.by_applied.get(s)) and e.intended is None]
        touching = [self.by_intended.get(s) for s in meant] + [self.by_applied.get(s) for s in done]
        edited = [
            e
            for e in touching
            if e and e.content == "different" and e.intended is not None and e.applied is not None
        ]
        swapped = self._swapped(meant, done)
        found: list[tuple[str, Entry]] = []
        if missing:
            found.append(("missing_migration", missing[0]))
        if unknown:
            found.append(("unknown_migration", unknown[-1]))
        if edited:
            found.append(("edited_after_apply", edited[-1]))
        if swapped and not missing:
            found.append(("out_of_order", swapped))
        if not found:
            # Nothing that differs touched it in itself: it follows from something that did (a loop over
            # tables, default privileges, IF NOT EXISTS). One difference in all history names it all the same.
            found = self._all_differences()
            if len({entry.version for _, entry in found}) != 1:
                return "unknown", None, set()
        cause, entry = found[0]
        return cause, entry, {f"{c}: {e.label}" for c, e in found[1:] if e.version != entry.version}

    def _swapped(self, meant: list[int], done: list[int]) -> Entry | None:
        """The migration that came last here although the files have it earlier."""
        order = [e.version for s in meant if (e := self.by_intended.get(s)) and e.applied is not None]
        real = [e.version for s in done if (e := self.by_applied.get(s)) and e.intended is not None]
        common = set(order) & set(real)
        if [v for v in order if v in common] == [v for v in real if v in common]:
            return None
        late = self.by_applied.get(done[-1])
        if late and late.state == "out_of_order":
            return late
        return next(
            (e for s in reversed(done) if (e := self.by_applied.get(s)) and e.state == "out_of_order"), late
        )

    def _all_differences(self) -> list[tuple[str, Entry]]:
        found: list[tuple[str, Entry]] = []
        for entry in self.case.entries:
            if entry.intended is not None and entry.applied is None:
                found.append(("missing_migration", entry))
            elif entry.intended is None:
                found.append(("unknown_migration", entry))
            elif entry.content == "different":
                found.append(("edited_after_apply", entry))
            elif entry.state == "out_of_order":
                found.append(("out_of_order", entry))
        return found

    def _add_history(self, cause: str, entry: Entry, keys: list[Key], alternatives: list[str]) -> None:
        env = self.case.environment
        replay = self.case.applied if cause == "unknown_migration" else self.case.intended
        assert replay is not None
        titles = {
            "missing_migration": f"{entry.label} was not applied to {env}",
            "unknown_migration": f"{env} ran {entry.label}, which is not in the repository",
            "edited_after_apply": f"{entry.label} was edited after {env} had applied it",
            "out_of_order": f"{entry.label} was applied to {env} after a later migration, and won",
        }
        ledger = {
            "missing_migration": f"The ledger of {env} has no row for version {entry.version}.",
            "unknown_migration": f"The ledger records version {entry.version}, and no file has it.",
            "edited_after_apply": "What the ledger stored when it was applied is not what the file says now.",
            "out_of_order": "The ledger rows were written in another order than the files have.",
        }
        count = len(keys)
        self._add(
            cause,
            "proven",
            titles[cause],
            self._roots_first(keys, replay),
            entry=entry,
            deltas=self.take(keys),
            evidence=[
                Evidence("ledger", ledger[cause]),
                Evidence(
                    "replay",
                    f"Replaying what the ledger says was run gives exactly what {env} has for "
                    f"{'this object' if count == 1 else f'all {count} objects'}; replaying the files does not.",
                ),
            ],
            alternatives=[tuple(a.split(": ", 1)) for a in alternatives],  # type: ignore[misc]
        )

    # --- recorded but never run ------------------------------------------------------------------------

    def _recorded_not_applied(self) -> None:
        replay = self.case.applied
        if replay is None:
            return
        for entry in self._entries(lambda e: e.applied is not None):
            assert entry.applied is not None
            step = entry.applied
            keys = [k for k in replay.footprint(step) if _writes_last(replay, k, step)]
            if not keys or not any(k in self.open for k in keys):
                continue
            if not all(self.same(replay.state_before(k, step), self.actual(k)) for k in keys):
                continue
            roots = self._roots(keys, replay)
            named = self._roots_first([k for k in keys if k in self.open], replay)
            ran = ran_by_oids(self.case, entry, self.calibration)
            if ran or (len(roots) == 1 and not self._never_ran(entry, roots[0], ran)):
                continue  # one hand can undo one thing; see _by_hand
            evidence = [
                Evidence("ledger", f"Version {entry.version} is recorded as applied."),
                Evidence(
                    "replay",
                    f"None of the {len(keys)} objects that it makes or changes shows any effect of it.",
                ),
            ]
            if ran is False:
                evidence.append(
                    Evidence(
                        "object ids",
                        "Too few object ids were used between the migrations before and after it: "
                        "what it creates was never created here.",
                    )
                )
            shared = self.calibration.by_xid.get(entry.xmin or -1, [])
            if len(shared) > 1:
                evidence.append(
                    Evidence(
                        "xmin",
                        f"Its ledger row was written together with {len(shared) - 1} others, as a repair does.",
                    )
                )
            confidence = "consistent" if ran is False or len(roots) > 1 else "conjecture"
            self._add(
                "recorded_not_applied",
                confidence,
                f"{entry.label} is recorded in {self.case.environment}, but it never ran there",
                named,
                entry=entry,
                deltas=self.take(keys),
                evidence=evidence,
                alternatives=[("manual_change", "Somebody may have undone every part of it by hand.")],
            )

    def _never_ran(self, entry: Entry, key: Key, ran: bool | None) -> bool:
        """For a migration with a single effect: whether the signs say it never ran, rather than was undone."""
        if ran is not None:
            return not ran
        if len(self.calibration.by_xid.get(entry.xmin or -1, [])) > 1:
            return True
        actual = self.actual(key)
        if actual is None:
            return False
        if self.calibration.exact:
            # Last written by an earlier migration: nothing has touched it since, so neither did this one.
            return any(e is not entry for x in actual.xmins for e in self.calibration.by_xid.get(x, ()))
        return True

    # --- by hand ---------------------------------------------------------------------------------------

    def _by_hand(self) -> None:
        failed = self._failed_text()
        for key in self._roots(list(self.open), self.case.intended, whole=True):
            deltas = self.open.get(key)
            if not deltas:
                continue
            hanging = [k for k in self.open if k != key and self._hangs_on(k, key)]
            writer = self.writer(key)
            culprit = self._definer(key)
            mention = next((f for f in failed if _mentions(f[1], key[1])), None)
            missing, unexpected = (any(d.change == c for d in deltas) for c in ("missing", "unexpected"))
            evidence = [self._content_evidence(key, missing, unexpected, writer)]
            evidence += self._xmin_evidence(key)
            if mention and not missing:
                self._add(
                    "unknown",
                    "conjecture",
                    f"{_name(key)} differs in {self.case.environment}, and {mention[0]} could not be replayed",
                    [key],
                    deltas=self.take([key, *hanging]),
                    culprit=culprit,
                    evidence=[
                        Evidence("replay", f"{mention[0]} mentions it and failed in the shadow database."),
                        *evidence,
                    ],
                )
                continue
            overwritten = self._overwritten(key)
            if overwritten:
                self._add(
                    "edited_after_apply",
                    "consistent",
                    f"{overwritten.label} was edited after {self.case.environment} had applied it",
                    [key, *hanging],
                    entry=overwritten,
                    deltas=self.take([key, *hanging]),
                    evidence=evidence,
                    alternatives=[
                        ("manual_change", "A hand-made change in the migration's own transaction.")
                    ],
                )
                continue
            title = self._manual_title(key, deltas, missing, unexpected)
            known = self.case.intended is not None or self.case.applied is not None
            alternatives = []
            if missing and writer and _only_root(self, writer[0], key):
                alternatives.append(
                    (
                        "recorded_not_applied",
                        f"It is all that {writer[0].label} does; it may never have run here.",
                    )
                )
            self._add(
                "manual_change" if known else "unknown",
                "consistent" if known and (self.calibration.exact or not missing) else "conjecture",
                title,
                [key, *hanging],
                deltas=self.take([key, *hanging]),
                culprit=culprit,
                evidence=evidence,
                alternatives=alternatives,
            )

    def _manual_title(self, key: Key, deltas: list[Delta], missing: bool, unexpected: bool) -> str:
        env = self.case.environment
        if missing:
            return f"{_name(key)} was dropped by hand in {env}"
        if unexpected:
            return f"{_name(key)} was made by hand in {env}; no migration creates it"
        if any(d.attribute == "row_security" and d.right is False for d in deltas):
            return f"row level security of {key[1]} was switched off by hand in {env}"
        if any(d.attribute == "enabled" for d in deltas) and len(deltas) == 1:
            return f"{_name(key)} was set to {_show(deltas[0].right)} by hand in {env}"
        what = _list(dict.fromkeys((d.attribute or "").replace("_", " ") for d in deltas))
        return f"{_name(key)} was changed by hand in {env} ({what})"

    def _content_evidence(
        self, key: Key, missing: bool, unexpected: bool, writer: tuple[Entry, Change] | None
    ) -> Evidence:
        replay = self.case.intended
        if replay is None:
            return Evidence("compare", "Nothing could be replayed, so only the difference itself is known.")
        where = ""
        if writer:
            entry, change = writer
            where = f"{entry.file or entry.label}{f', line {change.line}' if change.line else ''}"
        runs = f"{len(replay.steps)} migrations"
        if missing:
            return Evidence(
                "replay",
                f"The migrations make it ({where or 'in the platform part'}) and none of them drops it; here it is gone.",
            )
        if unexpected:
            return Evidence("replay", f"None of the {runs} creates it, in any state of the replay.")
        actual = self.actual(key)
        for change in reversed(replay.timeline.get(key, [])[:-1]):
            if self.same(change.fact, actual) and change.step in self.by_intended:
                old = self.by_intended[change.step]
                return Evidence(
                    "replay",
                    f"It is what {old.label} left, before {where} changed it: that change is not here.",
                )
        return Evidence(
            "replay",
            f"In no state of the replay of {runs} was it like this; last defined in {where or 'the platform part'}.",
        )

    def _xmin_evidence(self, key: Key) -> list[Evidence]:
        actual = self.actual(key)
        if not self.calibration.exact or actual is None:
            return []
        foreign = [x for x in actual.xmins if x not in self.calibration.by_xid]
        if not foreign:
            names = _list(
                dict.fromkeys(e.label for x in actual.xmins for e in self.calibration.by_xid.get(x, ()))
            )
            return [Evidence("xmin", f"Its catalog rows were written in the transactions of {names}.")]
        return [
            Evidence(
                "xmin",
                f"Transaction {max(foreign)} wrote to its catalog rows, and no migration was recorded in it.",
            )
        ]

    def _overwritten(self, key: Key) -> Entry | None:
        """The recorded migration whose own transaction wrote this content, which its text no longer gives.

        ``supabase migration repair --status applied`` replaces the stored statements by the file's, so equal
        text does not prove that the text was run.
        """
        actual = self.actual(key)
        if not self.calibration.exact or actual is None or not actual.xmins:
            return None
        if any(x not in self.calibration.by_xid for x in actual.xmins):
            return None
        replay = self.case.applied or self.case.intended
        change = replay.last_writer(key) if replay else None
        entry = (
            (self.by_applied if replay is self.case.applied else self.by_intended).get(change.step)
            if change
            else None
        )
        return entry if entry and entry.xmin in actual.xmins else None

    def _failed_text(self) -> list[tuple[str, str]]:
        """Label and text of every migration that could not be replayed."""
        found = []
        for replay in (self.case.intended, self.case.applied):
            for failure in replay.failures if replay else ():
                step = replay.steps[failure.step]  # type: ignore[union-attr]
                found.append((f"{step.version}_{step.name}", step.sql))
        return found

    # --- what history alone says -----------------------------------------------------------------------

    def _silent_history(self) -> None:
        """Migrations that are missing or unknown although no delta betrays them."""
        if not self.case.ledger_readable:
            return
        told = {(f.cause, f.entry.version) for f in self.findings if f.entry}
        env = self.case.environment
        for entry in self._entries(lambda e: e.state in ("pending", "unknown")):
            pending = entry.state == "pending"
            if any(version == entry.version for _, version in told):
                continue
            self._add(
                "missing_migration" if pending else "unknown_migration",
                "consistent",
                f"{entry.label} was not applied to {env}"
                if pending
                else f"{env} records {entry.label}, which is not in the repository",
                [],
                entry=entry,
                evidence=[
                    Evidence(
                        "ledger",
                        f"The ledger of {env} has no row for version {entry.version}."
                        if pending
                        else f"The ledger records version {entry.version}, and no file has it.",
                    ),
                    Evidence("replay", "No object of the schema shows whether it was run."),
                ],
            )

    # --- helpers ---------------------------------------------------------------------------------------

    def _entries(self, wanted: object) -> list[Entry]:
        return [entry for entry in self.case.entries if wanted(entry)]  # type: ignore[operator]

    def _definer(self, key: Key, entry: Entry | None = None) -> Culprit | None:
        """Where the files last define *key*."""
        writer = self.writer(key)
        if writer is None:
            return None
        entry, change = writer
        return Culprit(entry.version, entry.name, entry.file, change.line, entry.commit, entry.author)

    def _culprit(self, entry: Entry, objects: list[Key]) -> Culprit:
        """*entry* with the line of its first statement that made one of *objects*."""
        line = None
        for replay, step in ((self.case.intended, entry.intended), (self.case.applied, entry.applied)):
            if replay is None or step is None:
                continue
            lines = [c.line for k in objects for c in replay.timeline.get(k, ()) if c.step == step and c.line]
            if lines:
                line = min(lines)
                break
        return Culprit(entry.version, entry.name, entry.file, line, entry.commit, entry.author)

    def _add(
        self,
        cause: str,
        confidence: str,
        title: str,
        objects: list[Key],
        *,
        entry: Entry | None = None,
        culprit: Culprit | None = None,
        evidence: list[Evidence],
        alternatives: list[tuple[str, str]] | None = None,
        deltas: list[Delta] | None = None,
    ) -> Finding:
        finding = Finding(
            cause,
            confidence,
            self.case.environment,
            title,
            objects,
            culprit=culprit or (self._culprit(entry, objects) if entry else None),
            evidence=evidence,
            alternatives=alternatives or [],
            deltas=self.take(objects) if deltas is None else deltas,
            entry=entry,
        )
        self.findings.append(finding)
        return finding

    def _roots(self, keys: list[Key], replay: Replay | None, *, whole: bool = False) -> list[Key]:
        """Of *keys*, those that hang on no other of them: the table, not its columns."""
        wanted = set(keys)
        return sorted(k for k in wanted if not any(o in wanted for o in self._holders(k, whole=whole)))

    def _roots_first(self, keys: list[Key], replay: Replay | None) -> list[Key]:
        roots = self._roots(keys, replay)
        return [*roots, *sorted(set(keys) - set(roots))]

    def _holders(self, key: Key, *, whole: bool) -> set[Key]:
        """What *key* hangs on, in the intended schema or here.

        ``whole`` counts only holders that are missing or unexpected as a whole: a changed function does not
        explain why a trigger that calls it is gone.
        """
        holders: set[Key] = set()
        for snapshot in (self.case.actual, *(r.final for r in (self.case.intended, self.case.applied) if r)):
            holders |= snapshot.holders(key)
        if not whole:
            return holders
        mine = {d.change for d in self.open.get(key, ())}
        return {
            h
            for h in holders
            if any(d.change in ("missing", "unexpected") and d.change in mine for d in self.open.get(h, ()))
        }

    def _hangs_on(self, key: Key, root: Key) -> bool:
        seen: set[Key] = set()
        stack = [key]
        while stack:
            for holder in self._holders(stack.pop(), whole=True):
                if holder == root:
                    return True
                if holder not in seen:
                    seen.add(holder)
                    stack.append(holder)
        return False


def _writes_last(replay: Replay, key: Key, step: int) -> bool:
    return replay.timeline[key][-1].step == step


def _only_root(search: _Search, entry: Entry, key: Key) -> bool:
    replay = search.case.intended
    return (
        replay is not None
        and entry.intended is not None
        and search._roots(replay.footprint(entry.intended), replay) == [key]
    )


def _severity(finding: Finding, case: Case) -> str:
    """How bad: the worst of its deltas, tempered by the cause."""
    worst = 0
    for delta in finding.deltas:
        kind = KINDS.get(delta.kind)
        level = _SEVERITIES.index(kind.severity if kind else "medium")
        if delta.change == "changed" and delta.attribute in _COSMETIC:
            level = 0 if delta.attribute == "comment" else 1
        elif delta.attribute in _SECURITY:
            level = (
                4
                if delta.attribute in ("row_security", "force_row_security") and delta.right is False
                else max(level, 3)
            )
        worst = max(worst, level)
    if finding.cause == "environment_difference":
        return _SEVERITIES[min(worst, 1)]
    if finding.cause == "missing_migration" and finding.entry:
        # Waiting at the end of the line is ordinary; skipped while later ones were applied is not.
        if not case.later_applied.get(finding.entry.version, False):
            return "low"
        return _SEVERITIES[max(worst, 2)]
    if finding.cause in ("unknown_migration", "applied_not_recorded"):
        return _SEVERITIES[max(worst, 2)]
    return _SEVERITIES[worst]


def _name(key: Key) -> str:
    return f"{key[0].removeprefix('table ')} {key[1]}"


def _list(words: Iterable[str]) -> str:
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "nothing"


def _show(value: object) -> str:
    return "nothing" if value is None else str(value)


def _mentions(sql: str, identity: str) -> bool:
    """Whether *sql* speaks of the object, judged by the last part of its name."""
    name = identity.split(" on ", maxsplit=1)[0].split("(", maxsplit=1)[0].rsplit(".", 1)[-1].strip('"')
    return len(name) > 2 and name.lower() in sql.lower()
