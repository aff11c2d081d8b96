"""What a replay is and gives: steps in, states with their provenance out."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import auditkit
from auditkit import server as servers
from auditkit.catalog.snapshot import Fact, Key, Snapshot

if TYPE_CHECKING:
    from auditkit.history.shadow.code import Code


#: Raised when what is cached changes its shape or meaning.
FORMAT = 9


def digest_of(words: Iterable[str]) -> str:
    """One digest of several texts."""
    return hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Step:
    """One migration to replay: its text and how its tool runs it.

    With ``code`` the text is a program, which the tool itself runs; after ``stop`` of its statements the next one fails.
    """

    version: str
    name: str
    sql: str
    file: str | None = None
    transactional: bool = True
    code: Code | None = None
    stop: int | None = None


@dataclass(frozen=True)
class Change:
    """One entry in the timeline of an object: what it became, and through which statement.

    ``step`` counts from 0; -1 is the platform's base. ``fact`` is None when the object was dropped.
    ``line`` (1-based) and ``statement`` are None for the base. Where several statements of the migration wrote rows
    of the object, ``rows`` has for each catalog the line of the one that wrote there last; else it is empty.
    """

    step: int
    line: int | None
    statement: str | None
    fact: Fact | None
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A migration that did not run in the shadow database."""

    step: int
    line: int
    message: str
    sqlstate: str
    statement: str


@dataclass(frozen=True)
class Used:
    """The transaction ids that one step used in the shadow: from ``first`` on.

    ``marks`` are those of its statements; a row with another one was written in a subtransaction (``DO … EXCEPTION``,
    a savepoint of the migration's own). ``whole``: the step ran in one transaction. ``sent`` are line and text of the
    statements that a program sent.
    """

    first: int
    marks: frozenset[int]
    whole: bool
    sent: tuple[tuple[int, str], ...] = ()


@dataclass
class Replay:
    """What a sequence of migrations makes of a database, and which statement made what.

    ``final`` is a snapshot of the end state; ``timeline`` holds, for every object that a migration
    touched, its states in order (the first is the base's, when the base had it).
    """

    steps: list[Step]
    final: Snapshot
    timeline: dict[Key, list[Change]]
    failures: list[Failure]
    notes: list[str] = field(default_factory=list)
    statements: int = 0
    replayed: int = 0  # steps that were really run this time; the rest came from the cache
    seconds: float = 0.0
    taken: dict[int, int] = field(
        default_factory=dict
    )  # step → object ids that our own objects took before it
    server: str = ""
    major: int = 0
    ground: Ground | None = None
    used: dict[int, Used] = field(default_factory=dict)  # step → its transaction ids

    def last_writer(self, key: Key, before: int | None = None) -> Change | None:
        """The last change of an object (before step *before*), its base state, or None."""
        changes = self.timeline.get(key)
        if not changes:
            return None
        if before is None:
            return changes[-1]
        return next((c for c in reversed(changes) if c.step < before), None)

    def state_before(self, key: Key, step: int) -> Fact | None:
        """What the object was when *step* began."""
        change = self.last_writer(key, before=step)
        return change.fact if change else None

    def step_of(self, xid: int) -> int:
        """The step that used a transaction id of the shadow; -1: what was there before the first."""
        place = bisect.bisect_right(self._firsts, (xid, len(self.steps)))
        return self._firsts[place - 1][1] if place else -1

    @cached_property
    def _firsts(self) -> list[tuple[int, int]]:
        return sorted((used.first, number) for number, used in self.used.items())

    def footprint(self, step: int) -> list[Key]:
        """The objects that *step* changed, in a stable order."""
        if not self._footprints:
            for key, changes in self.timeline.items():
                for change in changes:
                    self._footprints.setdefault(change.step, {})[key] = None
        return sorted(self._footprints.get(step, ()))

    _footprints: dict[int, dict[Key, None]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Ground:
    """What a replay stands on: the server, and what is there before the first migration.

    ``base`` are statements of the platform or the operator, run as superuser; ``role`` runs the migrations;
    ``superuser`` is the cluster's bootstrap role;
    ``extension_files`` are stand-ins (path below the extension directory → text). ``server`` names
    a scratch server to use instead of an embedded one: databases and roles are made and dropped there.
    ``platform``, ``stand_ins`` and ``notes`` only say where these came from.
    """

    binaries: servers.Binaries | None = None
    server: str | None = None
    database: str = "postgres"
    role: str = "postgres"
    superuser: str = "postgres"
    base: tuple[str, ...] = ()
    extension_files: Mapping[str, str] = field(default_factory=dict)
    platform: str = "none"
    stand_ins: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        version = self.binaries.version if self.binaries else 0
        words = [
            str(FORMAT),
            auditkit.__version__,
            str(version),
            self.database,
            self.role,
            self.superuser,
            *self.base,
        ]
        words += [text for item in sorted(self.extension_files.items()) for text in item]
        return digest_of(words)
