"""Compare what auditkit says with what is true: literal records in, verdicts out; knows no database."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from root_causes.drafts import MAY, OPEN, Truth

__all__ = ["Answer", "Score", "judge", "tables"]

Finding = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What was said of one truth. ``status``: right, wrong, none; for what is open: fits or not."""

    truth: Truth
    cause: bool
    culprit: bool
    status: str
    open: bool
    said: str
    confidence: str | None


@dataclass
class Score:
    """Of one case: an answer to each truth that counts, and the findings that nothing stands behind."""

    answers: list[Answer] = field(default_factory=list)
    false: list[Finding] = field(default_factory=list)
    #: Each finding's confidence, and whether it is right; open ones only when proven.
    calibration: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not self.false and all(
            (a.cause and a.culprit) or (a.open and a.status == "fits") for a in self.answers
        )


def names(finding: Finding) -> list[str]:
    return [f"{o['kind']} {re.sub(r', +', ',', o['identity'])}" for o in finding["objects"]]


def touches(finding: Finding, truth: Truth) -> bool:
    return bool(set(names(finding)) & set(truth.objects))


def right(finding: Finding, truth: Truth) -> bool:
    return finding["cause"] == truth.cause or finding["cause"] in truth.accept


def describe(finding: Finding | None) -> str:
    if finding is None:
        return "nothing"
    migration = finding["migration"]
    culprit = f"{migration['version']} {migration['name']}" if migration else "no migration"
    some = ", ".join(names(finding)[:3]) + (" …" if len(finding["objects"]) > 3 else "")
    return f"{finding['cause']} ({finding['confidence']}), {culprit}, {some or 'no objects'}"


def judge(
    findings: Sequence[Finding],
    truths: Sequence[Truth],
    *,
    bare: bool,
    blames: Callable[[Finding, int | str | None], bool],
    tolerated: Callable[[Finding], bool] = lambda f: False,
) -> Score:
    """Score the findings of one environment.

    *blames* tells whether a finding's migration is the one named by a truth. Each truth is answered by the finding that
    fits it best; one finding answers two truths only if it is right for both. What is left is false, unless it repeats
    a truth in its own words, or is *tolerated*: true as well, though not asked.
    """
    score = Score()

    def blamed(finding: Finding, truth: Truth) -> bool:
        return any(blames(finding, culprit) for culprit in truth.culprits)

    def fit(finding: Finding, truth: Truth) -> tuple[int, int, int]:
        near = touches(finding, truth) if truth.objects else blamed(finding, truth)
        same = right(finding, truth)
        return (2 * near + (same and blamed(finding, truth)), same, blamed(finding, truth))

    taken: set[int] = set()
    ranked = sorted(truths, key=lambda t: max((fit(f, t) for f in findings), default=(0, 0, 0)), reverse=True)
    for truth in ranked:
        mode = truth.bare if bare else truth.live
        choices = sorted(range(len(findings)), key=lambda n: fit(findings[n], truth), reverse=True)
        best = next(
            (
                n
                for n in choices
                if fit(findings[n], truth)[0]
                and (n not in taken or (right(findings[n], truth) and blamed(findings[n], truth)))
            ),
            None,
        )
        finding = None if best is None else findings[best]
        cause = finding is not None and right(finding, truth)
        culprit = finding is not None and blamed(finding, truth)
        if mode == MAY:
            if finding is not None and cause and culprit:
                taken.add(best)  # type: ignore[arg-type]
                score.calibration.append((finding["confidence"], True))
            continue
        if best is not None:
            taken.add(best)
        confidence = finding["confidence"] if finding is not None else None
        is_open = mode == OPEN
        status = "right" if cause and culprit else "none" if finding is None else "wrong"
        if is_open:
            others = {a["cause"] for a in finding["alternatives"]} if finding is not None else set()
            told = finding is not None and confidence != "proven" and truth.cause in others
            status = "fits" if (cause and culprit) or told else "not"
        if finding is not None and confidence and (not is_open or confidence == "proven"):
            score.calibration.append((confidence, cause and culprit))
        score.answers.append(Answer(truth, cause, culprit, status, is_open, describe(finding), confidence))
    for number, finding in enumerate(findings):
        if number in taken:
            continue
        again = any(
            right(finding, t) and blamed(finding, t) and (touches(finding, t) or not finding["objects"])
            for t in truths
        )
        if again or tolerated(finding):
            continue
        score.false.append(finding)
        score.calibration.append((finding["confidence"], False))
    return score


# --- the table


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def tables(rows: Iterable[Mapping[str, Any]]) -> str:
    """What :mod:`root_cause` prints at the end; a row is one case, with signals or without."""
    rows = list(rows)
    parts = []
    for title, key in (("class", "group"), ("ledger", "tool"), ("history", "size"), ("injuries", "mixed")):
        for signals in (True, False):
            chosen = [r for r in rows if r["live"] is signals]
            if chosen:
                parts.append(
                    _table(f"{title}, {'with' if signals else 'without'} physical signals", key, chosen)
                )
    parts.append(_calibration(rows))
    parts.append(_times(rows))
    return "\n\n".join(parts)


def _table(title: str, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = f"{title:42}{'cases':>6}{'n':>6}{'cause':>8}{'culprit':>9}{'both':>8}{'open':>10}{'false':>7}{'manual':>8}"
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        for answer in row["answers"]:
            name = answer["group"] if key == "group" else row[key]
            groups[str(name)].append({**row, "answers": [answer], "false": 0, "false_manual": 0, "cases": 0})
        name = row[key]
        groups[str(name)].append({**row, "answers": [], "cases": 1})
    lines = [head]
    order = sorted(groups, key=lambda g: (int(g) if g.isdigit() else 0, g))
    for name in [*order, "all"]:
        mine = groups[name] if name != "all" else [r for g in order for r in groups[g]]
        answers = [a for r in mine for a in r["answers"]]
        strict = [a for a in answers if not a["open"]]
        opened = [a for a in answers if a["open"]]
        both = sum(a["cause"] and a["culprit"] for a in strict)
        fits = sum(a["status"] == "fits" for a in opened)
        lines.append(
            f"  {name:40}{sum(r['cases'] for r in mine):6}{len(strict):6}"
            f"{share(sum(a['cause'] for a in strict), len(strict)):>8}"
            f"{share(sum(a['culprit'] for a in strict), len(strict)):>9}{share(both, len(strict)):>8}"
            f"{f'{fits}/{len(opened)}' if opened else '–':>10}"
            f"{sum(r['false'] for r in mine):7}{sum(r['false_manual'] for r in mine):8}"
        )
    return "\n".join(lines)


def _calibration(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'confidence':42}{'with':>18}{'without':>18}"]
    for level in ("proven", "consistent", "conjecture"):
        cells = []
        for signals in (True, False):
            mine = [
                right
                for r in rows
                if r["live"] is signals
                for said, right in r["calibration"]
                if said == level
            ]
            cells.append(f"{share(sum(mine), len(mine))} of {len(mine)}")
        lines.append(f"  {level:40}{cells[0]:>18}{cells[1]:>18}")
    return "\n".join(lines)


def _times(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'seconds to explain a case':42}{'median':>10}{'p95':>10}{'n':>6}"]
    for live in (True, False):
        for size in sorted({r["size"] for r in rows}):
            mine = sorted(r["seconds"] for r in rows if r["size"] == size and r["live"] is live)
            if mine:
                p95 = mine[min(len(mine) - 1, int(len(mine) * 0.95))]
                said = "with signals, new history" if live else "without, replay cached"
                lines.append(
                    f"  {f'{size} migrations, {said}':40}{mine[len(mine) // 2]:10.2f}{p95:10.2f}{len(mine):6}"
                )
    return "\n".join(lines)
