"""What every part of the search for causes shares: the deltas not yet explained, and how to look things up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from auditkit.catalog.compare import Delta
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact
from auditkit.causes.calibration import Calibration
from auditkit.causes.case import Case, Culprit, Entry, Evidence, Finding, Key, Proof, differing
from auditkit.history.blame import Past
from auditkit.history.shadow import Change, Replay


class Search:
    """One search: deltas move from ``open`` into ``findings``, each exactly once.

    ``ran`` collects the labels of migrations that ran although the ledger does not record them; ``restamped``
    those that may be what the ledger records as another, of which nothing else is known.
    """

    def __init__(self, case: Case, calibration: Calibration) -> None:
        self.case = case
        self.env = case.environment
        self.calibration = calibration
        self.open: dict[Key, list[Delta]] = {}
        self.inside: dict[Key, Key] = {}  # part of something missing or unexpected → that
        for delta in case.deltas:
            self.open.setdefault(delta.key, []).append(delta)
            if delta.change != "changed":
                self.inside.update(dict.fromkeys(delta.children, delta.key))
        self.findings: list[Finding] = []
        self.ran: set[str] = set()
        self.restamped: dict[str, Entry] = {}
        self._left_as_recorded: int | None = None
        self._pasts: dict[int, Past] = {}  # by the id of the replay
        self.by_intended = {e.intended: e for e in case.entries if e.intended is not None}
        self.by_applied = {e.applied: e for e in case.entries if e.applied is not None}

    # --- what an object is here, and in the replays ------------------------------------------------

    def actual(self, key: Key) -> Fact | None:
        return self.case.actual.get(*key)

    def differing(self, left: Fact | None, right: Fact | None) -> frozenset[str | None]:
        return differing(left, right, self.case.ignored)

    def same(self, left: Fact | None, right: Fact | None) -> bool:
        return not self.differing(left, right)

    def entries(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        return [entry for entry in self.case.entries if wanted(entry)]

    def writer(self, key: Key, attributes: Collection[str] = ()) -> tuple[Entry, Change] | None:
        """The migration that last defined *key* according to the files, and where: of what is gone, its CREATE.

        With *attributes*, who last said one of these: CREATE says all, ALTER what it changes.
        """
        replay = self.case.intended
        change = self._last_defined(key, frozenset(attributes))
        if replay and self.actual(key) is None:
            creating = (
                c
                for c in reversed(replay.timeline.get(key, ()))
                if (c.statement or "").lower().startswith("create")
            )
            change = next(creating, change)
        if change is None or change.step not in self.by_intended:
            return None
        return self.by_intended[change.step], change

    def renamed_from(self, replay: Replay, key: Key) -> list[Change]:
        """What became of an object in a replay while it had other names."""
        past = self._pasts.setdefault(id(replay), Past(replay))
        return [change for name, change in past.of(key) if name != key]

    def _last_defined(self, key: Key, attributes: frozenset[str]) -> Change | None:
        """The last change of *key*, but for those that only moved it: an earlier column was dropped."""
        changes = self.case.intended.timeline.get(key, []) if self.case.intended else []
        if self.actual(key) is not None and changes and changes[-1].fact is None:
            changes = changes[:-1]  # what took it away, or gave it another name, has not run here
        moved = {KINDS[key[0]].ordinal} if key[0] in KINDS else set()
        for before, change in zip(reversed(changes[:-1]), reversed(changes), strict=False):
            differing = self.differing(before.fact, change.fact)
            said = (change.statement or "").lower().startswith("create")
            if not differing <= moved and (not attributes or said or differing & {*attributes, None}):
                return change
        return changes[0] if changes else None

    def definer(self, key: Key, attributes: Collection[str] = ()) -> Culprit | None:
        """Where the files last define *key*, or one of its *attributes*."""
        writer = self.writer(key, attributes)
        if writer is None:
            return None
        entry, change = writer
        return Culprit(entry.version, entry.name, entry.file, change.line, entry.commit, entry.author)

    def culprit(self, entry: Entry, objects: list[Key]) -> Culprit:
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

    # --- deltas and findings ---------------------------------------------------------------------------

    def claim(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Take *deltas* out of what is still unexplained, and return them."""
        claimed = list(deltas)
        for delta in claimed:
            rest = [d for d in self.open[delta.key] if d is not delta]
            if rest:
                self.open[delta.key] = rest
            else:
                del self.open[delta.key]
        return claimed

    def take(self, keys: Iterable[Key]) -> list[Delta]:
        """``claim`` all that is still unexplained of these objects."""
        return [delta for key in keys for delta in self.open.pop(key, [])]

    def add(
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
        """Report a finding; without *deltas* it claims all that is unexplained of its *objects*."""
        finding = Finding(
            cause,
            confidence,
            self.env,
            title,
            objects,
            culprit=culprit or (self.culprit(entry, objects) if entry else None),
            evidence=evidence,
            alternatives=alternatives or [],
            deltas=self.take(objects) if deltas is None else deltas,
            entry=entry,
        )
        self.findings.append(finding)
        return finding

    def as_recorded(self, hypothesis: str) -> Proof | None:
        """The replay of what the ledger says was run, as the proof of *hypothesis*."""
        applied, laboratory = self.case.applied, self.case.laboratory
        if applied is None or laboratory is None or applied is self.case.intended:
            return None
        if self._left_as_recorded is None:
            self._left_as_recorded = len(laboratory.residual(applied.final))
        left = self._left_as_recorded
        return Proof(True, hypothesis, len(self.case.deltas), left, round(applied.seconds, 2))

    # --- what hangs on what ------------------------------------------------------------------------------

    def holders(self, key: Key) -> set[Key]:
        """What *key* hangs on, here or in a replay."""
        found: set[Key] = set()
        for snapshot in (self.case.actual, *(r.final for r in (self.case.intended, self.case.applied) if r)):
            found |= snapshot.holders(key)
        return found

    def roots(self, keys: Iterable[Key]) -> list[Key]:
        """Of *keys*, those that hang on no other of them: the table, not its columns."""
        wanted = set(keys)
        return sorted(k for k in wanted if not self.holders(k) & wanted)

    def roots_first(self, keys: Iterable[Key]) -> list[Key]:
        keys = set(keys)
        roots = self.roots(keys)
        return [*roots, *sorted(keys - set(roots))]

    def families(self) -> dict[Key, list[Key]]:
        """What is still unexplained, by the object that came, went or changed first of each family.

        DROP … CASCADE takes along what depends; a new owner of a table is also that of its sequences. But
        a changed function does not explain why a trigger that calls it is gone.
        """
        found: dict[Key, list[Key]] = {}
        for key in sorted(self.open):
            top, seen = key, {key}
            while above := sorted(self._explained_by(top) - seen):
                top = above[0]
                seen.add(top)
            found.setdefault(top, [])
            if top != key:
                found[top].append(key)
        return found

    def _explained_by(self, key: Key) -> set[Key]:
        deltas = self.open.get(key, [])
        changes = {d.change for d in deltas}
        if "changed" not in changes:
            above = {self.inside.get(h, h) for h in self.holders(key)} - {key}
            return {h for h in above if changes & {d.change for d in self.open.get(h, ())}}
        mine = {(d.attribute, d.left, d.right) for d in deltas}
        found: set[Key] = set()
        stack, seen = [key], {key}
        while stack:
            for whole in self.case.actual.wholes(stack.pop()) - seen:
                seen.add(whole)
                stack.append(whole)
                if mine <= {(d.attribute, d.left, d.right) for d in self.open.get(whole, ())}:
                    found.add(whole)
        return found


def state_at(replay: Replay, key: Key, step: int) -> Fact | None:
    """What *key* was after *step*."""
    return replay.state_before(key, step + 1)


def name_of(key: Key) -> str:
    return f"{key[0].removeprefix('table ')} {key[1]}"


def last_name(identity: str) -> str:
    """What an object is called without its schema, arguments and table; quotes stay."""
    return identity.split(" on ", maxsplit=1)[0].split("(", maxsplit=1)[0].rsplit(".", 1)[-1]


def listed(words: Iterable[str]) -> str:
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "nothing"


def counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def shown(value: object) -> str:
    return "nothing" if value is None else str(value)
