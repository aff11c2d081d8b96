"""One finding, followed to the end: what made its objects what they are, what happened when, and what depends on them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from auditkit.audit.explained import Explained
from auditkit.catalog.snapshot import Key
from auditkit.causes.case import Finding
from auditkit.causes.reach import Dependent, reach
from auditkit.causes.who import person, place
from auditkit.history.blame import TEXTS, Line, Tracer
from auditkit.history.migration import label_of
from auditkit.history.shadow import Replay, Step
from auditkit.history.states import HistoryMatrix, MatrixRow

#: So many are listed in a document; how many there are is said beside them.
DEPENDENTS, OBJECTS, EVENTS, PARTS = 40, 8, 24, 6


class Investigator:
    """Follows the findings of one environment."""

    def __init__(self, explained: Explained, matrix: HistoryMatrix) -> None:
        self.explained = explained
        self.case = explained.case
        self.matrix = matrix

    def about(self, finding: Finding) -> dict[str, Any]:
        """``blame``, ``timeline``, ``dependents`` and ``dependents_count`` of a finding, for the document."""
        found = self.reach(finding)
        made = list(self.blame(finding))
        return {
            "blame": made,
            "timeline": self.timeline(finding, made),
            "dependents": [
                {
                    "kind": each.key[0],
                    "identity": each.key[1],
                    "depth": each.depth,
                    "through": " ".join(each.through),
                }
                for each in found[:DEPENDENTS]
            ],
            "dependents_count": len(found),
        }

    def reach(self, finding: Finding) -> list[Dependent]:
        """What depends on the objects here; on those that are not here, where the migrations have them."""
        here = [key for key in finding.objects if self.case.actual.get(*key)]
        gone = [key for key in finding.objects if key not in here]
        found = reach(here, self.case.actual)
        if gone and self.case.intended:
            known = {each.key for each in found}
            found += [each for each in reach(gone, self.case.intended.final) if each.key not in known]
        return sorted(found, key=lambda each: (each.depth, each.key))

    # --- what made it what it is ------------------------------------------------------------------------------

    @cached_property
    def _tracer(self) -> Tracer | None:
        if self.case.applied is None or self.case.intended is None:
            return None
        return Tracer(self.case.actual, self.case.applied, self.case.intended)

    def blame(self, finding: Finding) -> Iterator[dict[str, Any]]:
        """Per object and migration (or hand): which parts it made."""
        for key in finding.objects[:OBJECTS] if self._tracer else ():
            assert self._tracer
            together: dict[tuple[int | None, bool, str], list[Line]] = {}
            for line in self._tracer.blame(key):
                together.setdefault((line.step, line.intended, line.status), []).append(line)
            in_order = sorted(together.items(), key=lambda item: (item[0][0] is None, item[0][0] or 0))
            for (step, intended, status), lines in in_order:
                yield {
                    "kind": key[0],
                    "identity": key[1],
                    "status": status,
                    "parts": _parts(key, lines),
                    "migration": self._migration(step, intended, lines[0].at),
                }

    def _migration(self, step: int | None, intended: bool, at: int | None) -> dict[str, Any] | None:
        made: Replay | None = self.case.intended if intended else self.case.applied
        if step is None or step < 0 or made is None:
            return None
        there = made.steps[step]
        row = self._row(there)
        git = row.migration.git if row and row.migration else None
        commit = git.added if git else None
        # What was run may not be what the file says now: then its line is not the file's.
        same = row is not None and row.migration is not None and row.migration.sql == there.sql
        return {
            "version": there.version,
            "name": there.name,
            "file": there.file,
            "line": at if same else None,
            "commit": commit.id if commit else None,
            "author": commit.author if commit else None,
        }

    def _row(self, step: Step) -> MatrixRow | None:
        return next((r for r in self.matrix.rows if (r.version, r.name) == (step.version, step.name)), None)

    # --- what happened when --------------------------------------------------------------------------------------

    def timeline(self, finding: Finding, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The events that have to do with a finding, in order of time; of too many, those around the hand and the last."""
        concerned = {(m["version"], m["name"]) for item in made if (m := item["migration"]) is not None}
        if finding.culprit:
            concerned.add((finding.culprit.version, finding.culprit.name))
        events = [e for r in self.matrix.rows if (r.version, r.name) in concerned for e in self._of(r)]
        acts = [*self._seen(finding), *self._written(finding)]
        events += acts
        for act in acts:
            events += self._deployments_around(act["at"])
        captured = self.case.actual.manifest.get("captured_at")
        if captured:
            events.append(
                _event(captured, f"{self.case.environment} was read for this audit", source="capture")
            )
        ordered = sorted(
            {tuple(e.items()): e for e in events if e["at"]}.values(),
            key=lambda e: (_instant(e["at"]), e["what"]),
        )
        return ordered if len(ordered) <= EVENTS else [*ordered[:2], *ordered[2 - EVENTS :]]

    def _of(self, row: MatrixRow) -> Iterator[dict[str, Any]]:
        """Of a migration: when it was written, changed, and applied here."""
        label = _label(row)
        git = row.migration.git if row.migration else None
        if git and git.added:
            yield _event(
                git.added.committed_at, f"committed: {git.added.subject}", git.added.author, label, "git"
            )
            for commit in git.edited_later:
                yield _event(commit.committed_at, f"edited: {commit.subject}", commit.author, label, "git")
        yield from self._applied(row)

    def _applied(self, row: MatrixRow) -> Iterator[dict[str, Any]]:
        cell = row.cells.get(self.case.environment)
        if cell is not None and cell.row and cell.row["applied_at"] and cell.row["state"] == "applied":
            at, who = str(cell.row["applied_at"]), cell.row["applied_by"]
            yield _event(at, f"applied to {self.case.environment}", who, _label(row), "ledger")

    def _deployments_around(self, at: str) -> list[dict[str, Any]]:
        """The last migration that was applied before a moment, and the first after it."""
        every = sorted(
            (e for row in self.matrix.rows for e in self._applied(row)), key=lambda e: _instant(e["at"])
        )
        before = [e for e in every if _instant(e["at"]) <= _instant(at)]
        after = [e for e in every if _instant(e["at"]) > _instant(at)]
        return before[-1:] + after[:1]

    def _seen(self, finding: Finding) -> Iterator[dict[str, Any]]:
        """What witnesses saw done."""
        for who in finding.who:
            if who.at:
                about = who.as_dict()
                where = f" from {place(about)}" if place(about) else ""
                yield _event(
                    who.at, f"{who.statement or 'changed it'}{where}", person(about), None, who.source
                )

    def _written(self, finding: Finding) -> Iterator[dict[str, Any]]:
        """When the rows of what differs were last written, if the server still knows."""
        heard = self.case.heard
        known = {entry.xmin for entry in self.case.entries}
        times: dict[str, list[str]] = {}
        for key in finding.objects if heard and not heard.wrapped else ():
            fact = self.case.actual.get(*key)
            for xid in sorted(fact.xmins - known) if fact else ():
                if at := heard.committed(xid):
                    times.setdefault(at, []).append(key[1])
        for at, names in times.items():
            what = f"the catalog row of {names[0]} was written, by no recorded migration"
            yield _event(at, what, source="commit timestamp")


def _event(
    at: str, what: str, who: str | None = None, migration: str | None = None, source: str = ""
) -> dict[str, Any]:
    return {"at": at, "what": what, "who": who, "migration": migration, "source": source}


def _instant(at: str) -> str:
    """A time to sort by: ISO 8601 in UTC, however its fraction and zone are written."""
    try:
        moment = dt.datetime.fromisoformat(at)
    except ValueError:
        return at
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC).isoformat()


def _label(row: MatrixRow) -> str:
    return label_of(row.version, row.name)


def _parts(key: Key, lines: list[Line]) -> list[str]:
    """What of an object a migration made, in words."""
    words: Counter[str] = Counter()
    for line in lines:
        own = (line.kind, line.identity) == key
        name = line.identity.partition(" on ")[0].removeprefix(f"{key[1]}.")
        if own and line.part == "object":
            words["made it"] += 1
        elif own and line.part in TEXTS.values():
            words[f"of its {line.part}"] += 1
        elif own:
            words[line.part.replace("_", " ")] += 1
        elif line.part == "object":
            words[f"{line.kind.removeprefix('table ')} {name}"] += 1
    shown = [
        f"{count} line{'s' if count > 1 else ''} {word}" if word.startswith("of its ") else word
        for word, count in words.items()
    ]
    return shown[:PARTS] + ([f"and {len(shown) - PARTS} more"] if len(shown) > PARTS else [])
