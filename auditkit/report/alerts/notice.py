"""What an alert says, whichever way it goes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditkit.connect import redact
from auditkit.report.document import counted

#: More findings than this are counted, not listed: an alert is read on a telephone.
MOST = 15
#: Control characters, and those that turn the direction of text round or cannot be seen.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")


def clean(text: object, width: int = 240) -> str:
    """*text*, which a catalog may have brought, as one line without secrets, control characters and bidi tricks."""
    words = " ".join(_UNSEEN.sub(" ", redact(str(text))).split())
    words = words.encode("utf-8", "replace").decode().replace("##[", "## [")  # GitHub's older commands
    return words if len(words) <= width else words[: width - 1] + "…"


@dataclass(frozen=True)
class Item:
    """One finding in a notice. ``file`` and ``line`` are the culprit's; ``news``: new, persisting or empty."""

    id: str
    severity: str
    title: str
    cause: str
    confidence: str
    environment: str
    file: str | None = None
    line: int | None = None
    news: str = ""
    since: str | None = None
    remedy: str = ""

    @property
    def says(self) -> str:
        """The finding in one line."""
        mark = {"new": "new: "}.get(self.news, "")
        since = f", since {self.since[:10]}" if self.since and self.news == "persisting" else ""
        return f"{mark}{self.severity.upper()}  {self.title}  [{self.cause}, {self.confidence}{since}]"


@dataclass(frozen=True)
class Notice:
    """What a check found, in words: every text in it is clean, and none is trusted."""

    verdict: str
    headline: str
    at: str
    items: tuple[Item, ...] = ()
    unread: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    new: int = 0
    newly_unread: bool = False
    recovered: bool = False
    environments: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    violations: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong, or could not be looked at."""
        return self.verdict in ("FAIL", "INCOMPLETE")

    @property
    def is_news(self) -> bool:
        """Whether anything is not as the last check found it."""
        return bool(self.new or self.resolved or self.newly_unread or self.recovered)

    @property
    def title(self) -> str:
        """Verdict and headline."""
        glyph = {"PASS": "✓", "WARN": "!", "FAIL": "✗", "INCOMPLETE": "?"}.get(self.verdict, "?")
        return f"{glyph} {self.verdict}: {self.headline}"

    @property
    def lines(self) -> list[str]:
        """Everything below the title, line by line, the news first."""
        ranked = sorted(self.items, key=lambda item: item.news != "new")
        lines = [item.says for item in ranked[:MOST]]
        if len(ranked) > MOST:
            lines.append(f"and {counted(len(ranked) - MOST, 'more finding')}")
        lines += [f"not checked: {text}" for text in self.unread[:MOST]]
        if len(self.unread) > MOST:
            lines.append(f"and {len(self.unread) - MOST} more not checked")
        lines += [f"out of order: {text}" for text in self.violations[:5]]
        lines += [f"gone: {text}" for text in self.resolved[:MOST]]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """As a line of a JSON file."""
        return {
            "format": "auditkit.alert/1",
            "at": self.at,
            "verdict": self.verdict,
            "headline": self.headline,
            "environments": [dict(e) for e in self.environments],
            "findings": [vars(item) for item in self.items],
            "not_checked": list(self.unread),
            "resolved": list(self.resolved),
            "violations": list(self.violations),
        }


def notice_of(document: Mapping[str, Any]) -> Notice:
    """The notice of an audit document; what is new is taken from its ``since_last_run``, if it has one."""
    since = document.get("since_last_run") or {}
    known = since.get("previous") is not None
    state = dict.fromkeys(since.get("new", ()), "new") if known else {}
    state |= dict.fromkeys(since.get("persisting", ()), "persisting")
    shown = [f for f in document["findings"] if f["severity"] != "info"]
    items = tuple(_item(f, state.get(f["id"], "")) for f in shown)
    unread = _unread(document["not_checked"])
    return Notice(
        verdict=str(document["verdict"]),
        headline=clean(document["headline"], 400),
        at=str(document["created_at"]),
        items=items,
        unread=tuple(unread),
        resolved=tuple(clean(f["title"]) for f in since.get("resolved", ()) if f["severity"] != "info"),
        new=len(items) if not known else sum(item.news == "new" for item in items),
        newly_unread=bool(since.get("newly_unread")) or bool(unread and not known),
        recovered=bool(since.get("recovered")),
        environments=tuple(
            {"name": clean(e["name"]), "status": e["status"], "findings": str(e["findings"])}
            for e in document["environments"]
        ),
        violations=tuple(clean(v["says"]) for v in (document.get("fleet") or {}).get("violations", ())),
    )


def refused(problem: str, at: str) -> Notice:
    """The notice of a check that could not be made at all: silence would look like success."""
    return Notice("INCOMPLETE", clean(f"The check could not be made: {problem}", 400), at, newly_unread=True)


def _unread(items: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for item in items:
        if item.get("blocking", True):
            where = f"{item['environment']}: " if item.get("environment") else ""
            found.append(clean(f"{where}{item['what']}: {item['why']}; {item['fix']}", 400))
    return found


def _item(finding: Mapping[str, Any], news: str) -> Item:
    culprit = finding["migration"] or {}
    remedy = finding.get("remedy") or {}
    file = culprit.get("file")
    return Item(
        id=str(finding["id"]),
        severity=str(finding["severity"]),
        title=clean(finding["title"]),
        cause=str(finding["cause"]),
        confidence=str(finding["confidence"]),
        environment=clean(finding["environment"] or ""),
        file=clean(file) if file else None,
        line=culprit.get("line"),
        news=news,
        since=finding.get("first_seen"),
        remedy=clean(remedy.get("summary", "")),
    )
