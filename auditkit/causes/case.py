"""What is known about one environment, in the form that the search for causes works on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from auditkit.history.migration import label_of
from auditkit.history.witnesses.testimony import Heard

if TYPE_CHECKING:
    from auditkit.catalog.compare import Delta, Scope
    from auditkit.catalog.snapshot import Fact, Snapshot
    from auditkit.causes.cloning import Clone
    from auditkit.causes.laboratory import Laboratory
    from auditkit.history.shadow import Replay

Key = tuple[str, str]  # kind, identity


@dataclass(frozen=True)
class Entry:
    """One migration as this environment sees it: its file, its ledger row, and where each is replayed.

    ``intended`` is its step in the replay of the files, ``applied`` its step in the replay of what the
    ledger says was run; either is None when there is no file, or no row. ``recorded_as`` is the version under
    which the ledger has it, if that is another. ``content`` tells how the two
    texts relate (``identical``, ``cosmetic``, ``different``, or None when the ledger cannot show it).
    ``edits`` counts the commits that changed the file after it was added; ``from_git`` says that not the
    ledger but an earlier commit told what was run; ``unseen`` that the ledger's checksum is that of a text which nobody has;
    ``marked`` that the ledger itself says that it was recorded, not run; ``executed`` that a ledger which tells these
    apart says that it was run;
    ``unrecorded`` that it has a step in the replay of the ledger because what is recorded cannot have run without it.
    """

    version: str
    name: str
    file: str | None
    state: str
    intended: int | None
    applied: int | None
    content: str | None = None
    xmin: int | None = None
    commit: str | None = None
    author: str | None = None
    edits: int = 0
    from_git: bool = False
    recorded_as: str | None = None
    unseen: bool = False
    marked: bool = False
    executed: bool = False
    unrecorded: bool = False

    @property
    def recorded(self) -> bool:
        """Whether the ledger itself says that it was run."""
        return self.applied is not None and not self.unrecorded

    @property
    def label(self) -> str:
        return label_of(self.version, self.name)


@dataclass
class Case:
    """One environment, what it was meant to be, and what its ledger says was done.

    ``intended`` replays the migration files; ``applied`` replays the ledger: the statements it stores, in
    the order they were run. Either is None when it could not be replayed. ``ignored`` are attribute names
    that the settings exclude from comparison. ``needs`` tells for skipped migrations (by label) which others
    cannot run without them. ``ordered``: whether anything tells the order in which migrations were applied.
    ``laboratory`` is where hypotheses are tried; None where nothing can be replayed. ``heard`` is what the
    witnesses say. ``scope`` tells what is compared; None: everything. ``clones`` are the environments that
    were one database with this one.
    """

    environment: str
    actual: Snapshot
    deltas: list[Delta]
    entries: list[Entry]
    intended: Replay | None = None
    applied: Replay | None = None
    ignored: Collection[str] = frozenset()
    ledger_readable: bool = True
    ledger_tool: str | None = None
    later_applied: Mapping[str, bool] = field(default_factory=dict)
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)
    ordered: bool = True
    laboratory: Laboratory | None = None
    scope: Scope | None = None
    clones: Sequence[Clone] = ()
    heard: Heard = field(default_factory=Heard)


@dataclass(frozen=True)
class Proof:
    """A replay that was run to test a hypothesis: what it was, and how many deltas it left of how many.

    ``residual_before`` counts what a replay without the hypothesis leaves different in the whole environment,
    ``residual_after`` what is left with it: of other causes, if nothing is left of the finding's own objects.
    """

    ran: bool
    hypothesis: str
    residual_before: int
    residual_after: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """One observation: which signal, and what it says in a sentence."""

    signal: str
    says: str


@dataclass(frozen=True)
class Who:
    """Who did it and when, as one witness says, and what connects that with the finding (``joined_by``)."""

    role: str | None
    session_user: str | None
    client: str | None
    application: str | None
    at: str | None
    statement: str | None
    source: str
    joined_by: str

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Culprit:
    """The migration behind a finding: at least its version; file, line, commit and author where known."""

    version: str
    name: str
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    author: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "commit": self.commit,
            "author": self.author,
        }


@dataclass
class Finding:
    """Deltas with one cause: what, why, how sure, how bad.

    ``objects`` are the roots; deltas of what hangs on them (the policies of a dropped table) are included
    in ``deltas`` but not listed. ``renamed`` are the old and the new name, if that is what happened. ``who`` did it,
    as witnesses say, best first. ``proof`` is the replay that tested it. ``id`` is stable from run to run.
    """

    cause: str
    confidence: str
    environment: str
    title: str
    objects: list[Key]
    severity: str = "medium"
    culprit: Culprit | None = None
    evidence: list[Evidence] = field(default_factory=list)
    alternatives: list[tuple[str, str]] = field(default_factory=list)
    deltas: list[Delta] = field(default_factory=list)
    entry: Entry | None = None
    renamed: tuple[Key, Key] | None = None
    proof: Proof | None = None
    who: list[Who] = field(default_factory=list)

    @property
    def id(self) -> str:
        by_migration = self.culprit and self.cause not in (
            "manual_change",
            "unknown",
            "environment_difference",
            "reverted_hotfix",
        )
        subject = (
            f"{self.culprit.version}_{self.culprit.name}"
            if by_migration and self.culprit
            else "|".join(self.objects[0])
            if self.objects
            else ""
        )
        text = "\x1f".join((self.environment, self.cause, subject))
        return "f-" + hashlib.sha256(text.encode()).hexdigest()[:10]


def differing(left: Fact | None, right: Fact | None, ignored: Collection[str]) -> frozenset[str | None]:
    """In which compared attributes two facts differ; ``{None}`` if only one of them is there."""
    if left is None or right is None:
        return frozenset() if left is right else frozenset({None})
    if left.attributes == right.attributes:
        return frozenset()
    names = left.attributes.keys() | right.attributes.keys()
    return frozenset(
        n for n in names if n not in ignored and left.attributes.get(n) != right.attributes.get(n)
    )
