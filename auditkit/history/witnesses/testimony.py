"""What a witness says: who ran which statement, when, in which transaction, on which objects.

Everything in a testimony was written by somebody else: statements, application names and the names of objects are
hostile text. Secrets are masked and statements cut here, before anything is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from auditkit.connect import redact

Key = tuple[str, str]  # kind, identity

#: So much of a statement is kept: enough to recognise it by.
LONGEST = 400
#: Commands whose literals may all be secrets, whatever stands before them.
_SECRETIVE = re.compile(
    r"\b(?:create|alter)\s+(?:role|user|group|subscription|server|user\s+mapping|database\s+link)\b", re.I
)
_LITERAL = re.compile(r"""[eE]?'(?:[^'\\]|\\.|'')*'?|\$(\w*)\$.*?(?:\$\1\$|\Z)""", re.DOTALL)
_WORD = re.compile(r"[\w$]+")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
#: Statements that change a schema, where one begins: what ``log_statement = ddl`` logs, less what changes none.
_DDL = re.compile(
    r"(?:\A|;)[\s(]*(create|alter|drop|grant|revoke|comment\s+on|security\s+label|reassign\s+owned|"
    r"import\s+foreign\s+schema)\b",
    re.I,
)
_SORT = re.compile(
    r"(?:\s+(?:or\s+replace|if\s+(?:not\s+)?exists|unique|unlogged|recursive|constraint|temp|temporary|global|local))*"
    r"\s+(materialized\s+view|foreign\s+table|foreign\s+data\s+wrapper|event\s+trigger|default\s+privileges|"
    r"user\s+mapping|[a-z]+)",
    re.I,
)


def clean(text: str) -> str:
    """*text* without characters that do something to a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def masked(statement: str) -> str:
    """*statement* on one line, without secrets, cut to ``LONGEST`` characters."""
    text = statement[: 8 * LONGEST]
    if _SECRETIVE.search(text):
        text = _LITERAL.sub("'***'", text)
    text = clean(" ".join(redact(text).split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def command_of(statement: str) -> str | None:
    """The first command in a text that changes a schema, as ``ALTER TABLE``; None if there is none."""
    text = _COMMENT.sub(" ", statement[: 64 * LONGEST])
    found = _DDL.search(text)
    if found is None:
        return None
    command = " ".join(found[1].upper().split())
    sort = _SORT.match(text, found.end()) if command in ("CREATE", "ALTER", "DROP") else None
    return f"{command} {' '.join(sort[1].upper().split())}" if sort else command


@dataclass(frozen=True)
class Testimony:
    """One statement, as one witness recorded it. What the witness does not know is None.

    Attributes:
        witness: which one, as in ``WITNESSES``.
        source: where it is written: the table, or file and line.
        at: when, ISO 8601 in UTC.
        role: whose rights were used; ``session_user``: who had logged in.
        client: address or host; ``application``: what the client calls itself.
        command: ``ALTER TABLE``; ``statement``: its text, masked and cut.
        xid: the transaction, 32 bits, as ``xmin`` in the catalog shows it.
        upto: the first transaction id that is surely another's: a subtransaction's lies between the two.
        objects: (kind, identity) of what it made, changed or dropped, where the witness names it.
        dropped: whether ``objects`` were dropped.
        unsure: whether it may have been rolled back.
    """

    witness: str
    source: str
    at: str | None = None
    role: str | None = None
    session_user: str | None = None
    client: str | None = None
    application: str | None = None
    command: str | None = None
    statement: str | None = None
    xid: int | None = None
    upto: int | None = None
    objects: tuple[Key, ...] = ()
    dropped: bool = False
    unsure: bool = False

    def __post_init__(self) -> None:
        for name in ("source", "role", "session_user", "client", "application", "command"):
            if (value := getattr(self, name)) is not None and not value.isprintable():
                object.__setattr__(self, name, clean(value))

    def as_dict(self) -> dict[str, Any]:
        """As a snapshot keeps it: only what is known."""
        values = {name: value for name, value in self.__dict__.items() if value not in (None, (), False)}
        if self.objects:
            values["objects"] = [list(key) for key in self.objects]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Testimony:
        """The testimony that ``as_dict`` gave; keys of newer versions are left out."""
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        objects = tuple((str(kind), str(identity)) for kind, identity in data.get("objects", ()))
        return cls(**{**known, "objects": objects})

    def names(self, keys: Iterable[Key]) -> bool:
        """Whether the witness itself names one of *keys* as what was changed."""
        return not set(keys).isdisjoint(self.objects)

    def around(self, xids: Iterable[int]) -> bool:
        """Whether one of *xids* may be a subtransaction of its own: on a busy server it may be another's as well."""
        return self.xid is not None and self.upto is not None and any(self.xid < x < self.upto for x in xids)


class Heard:
    """All that the witnesses of one environment say, to be looked up.

    ``commits`` gives the time (ISO 8601, UTC) at which a transaction of the catalog committed. ``wrapped``:
    transaction ids of this cluster have been used more than once, so that equality alone proves nothing.
    """

    def __init__(
        self,
        testimonies: Iterable[Testimony] = (),
        commits: Mapping[int, str] | None = None,
        *,
        wrapped: bool = False,
    ) -> None:
        #: Latest first; those without a time last.
        self.testimonies = sorted(testimonies, key=lambda t: t.at or "", reverse=True)
        self.commits = dict(commits or {})
        self.wrapped = wrapped

    def __bool__(self) -> bool:
        return bool(self.testimonies or self.commits)

    def __iter__(self) -> Iterator[Testimony]:
        return iter(self.testimonies)

    def by_xid(self, xid: int) -> list[Testimony]:
        """What was recorded of a transaction: latest first; by its id, or by a commit at the same microsecond.

        Ids repeat after 2^32 transactions: nothing is returned where they have (see ``wrapped``).
        """
        found = [] if self.wrapped else [t for x in self.same({xid}) for t in self.by_transaction.get(x, ())]
        return sorted(found, key=lambda t: t.at or "", reverse=True)

    def about(self, *keys: Key) -> list[Testimony]:
        """The statements of which a witness says that they made, changed or dropped one of these: latest first."""
        found = {id(t): t for key in keys for t in self._by_object.get(key, ())}
        return sorted(found.values(), key=lambda t: t.at or "", reverse=True)

    def committed(self, xid: int | None) -> str | None:
        """When a transaction committed, if the server still knows: ISO 8601, UTC."""
        return self.commits.get(xid) if xid is not None else None

    def same(self, xids: Iterable[int]) -> set[int]:
        """*xids* and all that committed at the very same microsecond: subtransactions and their transaction."""
        wanted = set(xids)
        times = {self.commits[xid] for xid in wanted if xid in self.commits}
        return wanted | {xid for at in times for xid in self._by_commit[at]}

    def mentioning(self, name: str) -> list[Testimony]:
        """The statements of which a witness knows only the text, and that hold *name* (in lower case), or at
        least a word of it."""
        words = _WORD.findall(name)
        return self._by_word.get(max(words, key=len), []) if words else []

    @cached_property
    def by_transaction(self) -> dict[int, list[Testimony]]:
        """The statements of each transaction, by its id alone, latest first."""
        found: dict[int, list[Testimony]] = defaultdict(list)
        for testimony in self.testimonies:
            if testimony.xid is not None:
                found[testimony.xid].append(testimony)
        return found

    @cached_property
    def _by_word(self) -> dict[str, list[Testimony]]:
        found: dict[str, list[Testimony]] = defaultdict(list)
        for testimony in self.testimonies:
            if testimony.statement and not testimony.objects:
                for word in set(_WORD.findall(testimony.statement.lower())):
                    found[word].append(testimony)
        return found

    @cached_property
    def _by_commit(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for xid, at in self.commits.items():
            found[at].append(xid)
        return found

    @cached_property
    def _by_object(self) -> dict[Key, list[Testimony]]:
        found: dict[Key, list[Testimony]] = defaultdict(list)
        for testimony in self.testimonies:
            for key in testimony.objects:
                found[key].append(testimony)
        return found
