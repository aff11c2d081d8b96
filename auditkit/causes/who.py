"""Who did it, and when: what the witnesses say, joined to findings.

The transaction that wrote a catalog row is the best link: a witness that names the same transaction and the same
object saw it happen. Ids repeat after 2^32 transactions and a log may come from another cluster, so a line of a log
must also name the object, or speak of it. Without a transaction (what was dropped leaves no row) the last statement
on that object counts; weaker still is a text that mentions it. How it was joined is said with every name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditkit.causes.case import Case, Evidence, Finding, Key, Who
from auditkit.history.witnesses import WITNESSES
from auditkit.history.witnesses.testimony import Testimony

if TYPE_CHECKING:
    from auditkit.catalog.compare import Delta
    from auditkit.causes.calibration import Calibration

#: So many are named at most, and so many deltas of one finding are looked up: one act has one author.
MOST, _PARTS = 5, 40
#: Nobody did anything here: what differs was not done.
_UNDONE = frozenset({"missing_migration"})
#: What a migration's own transaction wrote is none of these.
_BY_HAND = frozenset({"manual_change", "captured_hotfix", "reverted_hotfix"})
#: Causes in which the row of the ledger is itself what was done.
_RECORDED = frozenset(
    {"recorded_not_applied", "unknown_migration", "out_of_order", "edited_after_apply", "restamped",
     "rebaselined", "partial_apply"}
)  # fmt: skip
#: Many attributes share one catalog row; these words tell whether a statement is about this one.
SPEAKS = {
    "row_security": r"\brow\s+level\s+security\b",
    "force_row_security": r"\brow\s+level\s+security\b",
    "owner": r"\bowner\s+to\b|\breassign\s+owned\b",
    "grants": r"\b(?:grant|revoke)\b",
    "comment": r"\bcomment\s+on\b",
    "enabled": r"\b(?:enable|disable)\b",
    "default": r"\bdefault\b",
    "not_null": r"\bnull\b|\bprimary\s+key\b",
}
_JOINED = {
    0: "transaction id and object",
    1: "transaction id and statement text",
    2: "transaction id",
    3: "object and time",
    4: "object and time",
    5: "statement text and time",
    6: "statement text",
}
_HOW = {
    "transaction id and object": "in the transaction that wrote its catalog row",
    "transaction id and statement text": "in the transaction that wrote its catalog row",
    "transaction id": "in the transaction that wrote its catalog row, which the statement does not name",
    "object and time": "the last recorded statement on it; no transaction links the two",
    "statement text and time": "the last logged statement that speaks of it; no transaction links the two",
    "statement text": "at some time, in a statement that speaks of it; nothing else links the two",
}
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def attach(findings: Iterable[Finding], case: Case, calibration: Calibration) -> None:
    """Give every finding its ``who``, and the evidence that goes with it."""
    desk = _Desk(case, calibration)
    for finding in findings:
        named = desk.acts(finding) if finding.cause not in _UNDONE and case.heard else []
        finding.who = [*(who for who, _ in named), *_ledger(finding, case)][:MOST]
        said: dict[str, Evidence] = {}
        for who, testimony in named:
            if testimony is not None:
                signal = WITNESSES[testimony.witness].signal
                said.setdefault(signal, Evidence(signal, _sentence(who, testimony)))
        finding.evidence += [*said.values(), *desk.commits(finding)]


@dataclass(frozen=True)
class _Part:
    """One delta, as the witnesses are asked about it.

    ``keys`` are the object and what it is a part of, ``names`` the words that a statement about it must hold,
    ``xids`` the transactions that wrote it as it is (none, if it is gone).
    """

    keys: tuple[Key, ...]
    names: tuple[str, ...]
    xids: frozenset[int]
    gone: bool
    attribute: str | None

    def speaks(self, text: str | None) -> bool:
        """Whether a statement may be about what changed, as far as its words tell."""
        words = SPEAKS.get(self.attribute or "")
        return words is None or bool(re.search(words, text or "", re.I))

    def mentioned(self, text: str | None) -> bool:
        """Whether a statement speaks of the object by name, and could have done it."""
        lower = (text or "").lower()
        if self.gone and not re.search(r"\b(?:drop|rename|set\s+schema)\b", lower):
            return False
        return bool(self.names) and all(
            name in lower and re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", lower)
            for name in self.names
        )


class _Desk:
    """Where the witnesses of one environment are asked."""

    def __init__(self, case: Case, calibration: Calibration) -> None:
        self.case = case
        self.heard = case.heard
        self.own = frozenset(calibration.by_xid) if calibration.trusted else frozenset[int]()
        self._migrations: str | None = None

    def acts(self, finding: Finding) -> list[tuple[Who, Testimony | None]]:
        """Who did it by what was heard, best first; the testimony is None for a mere commit."""
        ranked: dict[tuple[Any, ...], tuple[float, Testimony, int]] = {}
        for part in self.parts(finding):
            for rank, testimony in self._candidates(part, finding):
                speaking = part.speaks(testimony.statement)
                # A row that was written again since hides who wrote it before: a fitting statement goes first.
                order = rank + (0 if speaking or rank > 2 else 5.5)
                key = (testimony.role, testimony.session_user, (testimony.at or "")[:19], testimony.statement)
                if key not in ranked or order < ranked[key][0]:
                    ranked[key] = order, testimony, rank
        latest = sorted(ranked.values(), key=lambda r: r[1].at or "", reverse=True)
        latest.sort(key=lambda r: r[0])
        best = latest[0][0] if latest else 9.0
        kept = [r for r in latest if best > 2 or r[0] <= 2 or r[0] >= 5.5][: MOST if best < 5 else 3]
        found: list[tuple[Who, Testimony | None]] = [(_who(t, _JOINED[rank]), t) for _, t, rank in kept]
        if not found and (commit := self._commit(finding)):
            found.append((_by_commit(commit[1]), None))
        return found

    def parts(self, finding: Finding) -> Iterator[_Part]:
        """What the finding is about: its deltas, or its objects where nothing differs any more."""
        for delta in finding.deltas[:_PARTS]:
            yield self._part(delta.key, delta, finding.cause)
        if not finding.deltas:
            for key in finding.objects[:_PARTS]:
                yield self._part(key, None, finding.cause)

    def _part(self, key: Key, delta: Delta | None, cause: str) -> _Part:
        actual = self.case.actual.get(*key)
        attribute = delta.attribute if delta else None
        xids: frozenset[int] = frozenset()
        if actual is not None:
            writer = actual.writer(attribute) if attribute else None
            xids = frozenset({writer}) if writer else actual.xmins
        if cause in _BY_HAND:
            xids -= self.own
        replay = self.case.intended or self.case.applied
        fact = actual or (replay.final.get(*key) if replay else None)
        wholes = _wholes(key, fact.parent if fact else None)
        names = [f"schema {_name(key)}" if key[0] == "schema" else _name(key)]
        if wholes and (" on " in key[1] or key[1].startswith(f"{wholes[0][1]}.")):
            names.append(_name(wholes[0]))  # its own name says too little
        gone = bool(delta and delta.change == "missing")
        return _Part((key, *wholes), tuple(n for n in names if n), xids, gone, attribute)

    def _candidates(self, part: _Part, finding: Finding) -> Iterator[tuple[int, Testimony]]:
        near, hands = self.heard.same(part.xids), finding.cause in _BY_HAND
        reach = part.keys[:1] if part.gone else part.keys
        asked = {id(t): t for t in self.heard.about(*reach)}
        asked |= {id(t): t for xid in near for t in self.heard.by_transaction.get(xid, ())}
        asked |= {id(t): t for t in self.heard.mentioning(part.names[0])} if part.names else {}
        dropped: set[str] = set()  # of what was dropped several times, each witness's last word
        for testimony in sorted(asked.values(), key=lambda t: t.at or "", reverse=True):
            rank = self._rank(testimony, part, reach, near)
            if rank is None or (hands and testimony.xid in self.own):
                continue
            if rank >= 5 and finding.cause != "captured_hotfix" and self._in_a_migration(testimony):
                continue
            if part.gone or rank >= 5:
                if testimony.witness in dropped:
                    continue
                dropped.add(testimony.witness)
            yield rank, testimony

    def _rank(self, heard: Testimony, part: _Part, reach: tuple[Key, ...], near: set[int]) -> int | None:
        """How close a testimony is to a part: a key of ``_JOINED``; None if it is about something else."""
        named, mentioned = heard.names(reach), part.mentioned(heard.statement)
        if part.gone:
            if heard.unsure or not (named or (mentioned and not heard.objects)):
                return None
            if named:
                return 3 if heard.dropped else None
            return 5 if heard.at else 6
        if heard.dropped:
            return None
        if heard.xid in near or (named and heard.around(near)):
            if named or mentioned:
                return 0 if named else 1
            known = heard.witness == "ddl_log" and not heard.objects and not self.heard.wrapped
            return 2 if known else None
        # Another transaction wrote the row since; the row may hold several properties, and this be about another.
        hidden = heard.xid is not None and bool(part.xids)
        if heard.unsure or (hidden and not (part.attribute in SPEAKS and part.speaks(heard.statement))):
            return None
        if named:
            return 4 if hidden else 3
        if not mentioned or heard.objects or not part.speaks(heard.statement):
            return None
        if heard.at is None:
            return 6
        commits = [at for xid in part.xids if (at := self.heard.committed(xid))]
        return 5 if not commits or heard.at[:19] <= max(commits)[:19] else None

    def _in_a_migration(self, heard: Testimony) -> bool:
        """Whether the statement is one of a migration's: who runs those is no news."""
        if self._migrations is None:
            steps = [s for r in (self.case.intended, self.case.applied) if r for s in r.steps]
            self._migrations = "\n".join(dict.fromkeys(_plain(step.sql) for step in steps))
        text = _plain((heard.statement or "").rstrip("…"))
        return bool(text) and text in self._migrations

    def commits(self, finding: Finding) -> list[Evidence]:
        """When the transaction committed that wrote what is there."""
        commit = self._commit(finding) if finding.cause not in _UNDONE else None
        if commit is None:
            return []
        says = f"Transaction {commit[0]}, which wrote its catalog row, committed at {_time(commit[1])}."
        return [Evidence(WITNESSES["commit_times"].signal, says)]

    def _commit(self, finding: Finding) -> tuple[int, str] | None:
        xids = {xid for part in self.parts(finding) for xid in part.xids} if self.heard.commits else set()
        known = [(at, xid) for xid in xids if (at := self.heard.committed(xid))]
        return (max(known)[1], max(known)[0]) if known and not self.heard.wrapped else None


def _wholes(key: Key, parent: str | None) -> list[Key]:
    """What an object is a part of, by its identity; of which kind that is, nobody has to know."""
    if parent is None:
        return []
    kinds = ("table", "view", "materialized view", "foreign table", "type", "domain")
    return [(kind, parent) for kind in kinds if (kind, parent) != key]


def _name(key: Key) -> str:
    """The last part of a name, in lower case, as a statement would hold it."""
    head = re.split(r"\(| on ", key[1], maxsplit=1)[0] if not key[1].startswith('"') else key[1]
    found = re.search(r'(?:\A|\.)("(?:[^"]|"")+"|[^."]+)\Z', head)
    return (found[1] if found else head).strip('"').replace('""', '"').lower()


def _plain(sql: str) -> str:
    return " ".join(_COMMENT.sub(" ", sql).lower().split()).rstrip("; ")


def _who(heard: Testimony, joined_by: str) -> Who:
    return Who(
        role=heard.role,
        session_user=heard.session_user,
        client=heard.client,
        application=heard.application,
        at=heard.at,
        statement=heard.statement,
        source=heard.source,
        joined_by=joined_by,
    )


def _by_commit(at: str) -> Who:
    return Who(None, None, None, None, at, None, "pg_xact_commit_timestamp", "transaction id")


def _ledger(finding: Finding, case: Case) -> list[Who]:
    """Who recorded the migration that is behind it, and when, where its tool notes that."""
    entry = finding.entry
    if entry is None or finding.cause not in _RECORDED:
        return []
    version = entry.recorded_as or entry.version
    rows: list[Mapping[str, Any]] = [row for ledger in case.actual.ledgers for row in ledger["rows"]]
    return [
        Who(row["applied_by"], None, None, None, row["applied_at"], None, str(row["table"]), "ledger row")
        for row in rows
        if row["version"] == version and (row.get("applied_by") or row.get("applied_at"))
    ][:1]


def person(who: Mapping[str, Any]) -> str:
    """Whom to ask: the one who had logged in, and as whom they acted."""
    role, login = who.get("role"), who.get("session_user")
    if role and login and role != login:
        return f"{login} as {role}"
    return str(login or role or "unknown person")


def place(who: Mapping[str, Any]) -> str:
    """From where: ``psql on 10.0.0.7``."""
    return " on ".join(str(part) for part in (who.get("application"), who.get("client")) if part)


def _time(at: str | None) -> str:
    return f"{at[:10]} {at[11:19]} UTC" if at else "an unknown time"


def _sentence(who: Who, heard: Testimony) -> str:
    about = who.as_dict()
    when = f" at {_time(who.at)}" if who.at else ""
    where = f" from {place(about)}" if place(about) else ""
    return (
        f"{person(about)} ran {heard.command or 'a statement'}{when}{where}, {_HOW[who.joined_by]} "
        f"({heard.source}): {who.statement or 'its text was not recorded'}"
    )
