"""Which statement of which migration made an object what it is: ``git blame`` for a catalog.

The replay knows what each migration made of each object, and which statement wrote each of its catalog rows
last. Where one row holds several things (a table's grants, owner and row security are one row of pg_class),
the statements of that one migration are searched for the one that speaks of the thing; what only text tells
never leads out of the migration that the replay names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, get_close_matches
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal

from auditkit.catalog import create
from auditkit.catalog.grants import unquote
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact, Key, Snapshot, Value
from auditkit.catalog.sql import last, tuple_of
from auditkit.errors import ConfigError
from auditkit.history.migration import label_of
from auditkit.history.shadow.replayed import Change, Replay
from auditkit.history.split import Statement, first_word, split

__all__ = ["Line", "Tracer", "blame", "find"]

#: migration: it is as the migration left it. base: it was there before the first one. by_hand: no migration makes
#: it so. superseded: a later migration changed it, but not here. missing: a migration made it, and it is not here.
#: unrecorded: a migration makes it that is not recorded here. removed: a migration or hand took it away.
Status = Literal["migration", "base", "by_hand", "superseded", "missing", "unrecorded", "removed"]

#: What is blamed line by line.
TEXTS = {
    "function": "body",
    "procedure": "body",
    "view": "definition",
    "materialized view": "definition",
    "type": "labels",
}
#: What belongs to an object and is blamed with it; a partition is an object of its own.
_OWN = frozenset({"table", "foreign table"})
#: How a statement speaks that sets an attribute, where its row holds others, too.
_SPEAKS = {
    "owner": r"\bowner\s+to\b",
    "comment": r"\bcomment\s+on\b",
    "GRANT": r"\bgrant\b",
    "REVOKE": r"\brevoke\b",
    "row_security": r"\b(?:en|dis)able\s+row\s+level\s+security\b",
    "force_row_security": r"\bforce\s+row\s+level\s+security\b",
    "replica_identity": r"\breplica\s+identity\b",
    "not_null": r"\bnot\s+null\b",
    "default": r"\bdefault\b",
    "enabled": r"\b(?:en|dis)able\b",
}


@dataclass(frozen=True)
class Line:
    """One part of an object, and what made it what it is.

    Attributes:
        kind, identity: the object, or what belongs to it: a column, a policy.
        part: ``object`` (that it exists), ``owner``, ``comment``, ``grants``, another attribute's name, or, line by
            line, ``body``, ``definition``, ``labels``.
        text: the definition, the value, or the line.
        status: see ``Status``.
        step: place of the migration in ``replay.steps``; -1: before the first; None: no migration.
        at: line of its text (from 1).
        statement: the statement's beginning.
        says: what a person should know beyond that, else empty.
        intended: whether ``step`` counts in the replay of the files, not in that of the ledger.
    """

    kind: str
    identity: str
    part: str
    text: str
    status: Status
    step: int | None = None
    at: int | None = None
    statement: str | None = None
    says: str = ""
    intended: bool = False

    @property
    def drift(self) -> bool:
        """Whether it is not what the migrations that are recorded here make it."""
        return self.status not in ("migration", "base", "removed")


def blame(
    key: Key, actual: Snapshot, applied: Replay, intended: Replay | None = None, *, removed: bool = False
) -> list[Line]:
    """The lines of one object and of all that belongs to it.

    Args:
        key: what ``find`` found.
        actual: the environment.
        applied: the replay of what its ledger records.
        intended: the replay of the files, if it is another one.
        removed: also what was there once and was taken away.
    """
    return Tracer(actual, applied, intended).blame(key, removed=removed)


def find(name: str, actual: Snapshot, *replays: Replay) -> Key:
    """The object that a person means: ``app.orders``, ``table app.orders``, ``app.total``, ``app.orders.net``, ``orders``.

    Raises:
        ConfigError: nothing is called so, or several things are.
    """
    keys = {(kind, identity) for kind, table in actual.tables.items() for identity in table.identities}
    keys.update(key for replay in replays for key in replay.timeline)
    words = " ".join(name.split())
    kinds = [kind for kind in KINDS if words.startswith(f"{kind} ")]
    wanted = {(kind, words[len(kind) + 1 :]) for kind in kinds}

    def bare(identity: str) -> str:
        return identity.partition("(")[0]

    def simple(key: Key) -> str:
        identity = key[1]
        return unquote(last(bare(identity).partition(" on ")[0])) if "." in identity else bare(identity)

    tests: Sequence[Callable[[Key], bool]] = (
        lambda key: key[1] == words or key in wanted,
        lambda key: bare(key[1]) == words or (key[0], bare(key[1])) in wanted,
        lambda key: key[1].partition(" on ")[0] == words or (key[0], key[1].partition(" on ")[0]) in wanted,
        lambda key: simple(key) == words or (key[0], simple(key)) in wanted,
    )
    for test in tests:
        found = sorted(filter(test, keys))
        there = [key for key in found if actual.get(*key) or any(r.final.get(*key) for r in replays)]
        # What is there is meant rather than what was, and a table rather than the column of a table.
        found = there or found
        found = [key for key in found if not key[0].endswith(" column")] or found
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(_named(key) for key in found[:6])
            more = f" and {len(found) - 6} more" if len(found) > 6 else ""
            raise ConfigError(f"{name!r} can mean {shown}{more}; name one of them, its kind first")
    texts = {text: key for key in sorted(keys) for text in (key[1], bare(key[1]), simple(key))}
    words = next((words[len(kind) + 1 :] for kind in kinds), words)
    close = [texts[text] for text in get_close_matches(words, texts, n=3, cutoff=0.6)]
    nearest = ", ".join(_named(key) for key in dict.fromkeys(close))
    raise ConfigError(
        f"nothing is or was called {name!r}; "
        + (f"did you mean {nearest}?" if nearest else "`auditkit snapshot ENV --json` counts what there is")
    )


def _named(key: Key) -> str:
    return f'"{key[0]} {key[1]}"'


@dataclass
class Past:
    """What became of objects in one replay, followed through renames."""

    replay: Replay

    def of(self, key: Key, before: int | None = None) -> list[tuple[Key, Change]]:
        """The changes of an object since it was last made, oldest first, each with its name then; empty: not there."""
        changes = [c for c in self.replay.timeline.get(key, ()) if before is None or c.step < before]
        start = max((n + 1 for n, c in enumerate(changes) if c.fact is None), default=0)
        alive = changes[start:]
        if not alive:
            final = self.replay.final.get(*key) if before is None and not changes else None
            return [(key, Change(-1, None, None, final))] if final else []
        first = alive[0]
        assert first.fact is not None
        earlier = self._left.get((first.step, first.fact.address)) if first.fact.oid else None
        past = self.of(earlier, first.step) if earlier and earlier != key else []
        return past + [(key, change) for change in alive]

    @cached_property
    def _left(self) -> dict[tuple[int, tuple[int, int, int]], Key]:
        """(step, catalog address) → the name that the object there lost in that step."""
        found = {}
        for key, changes in self.replay.timeline.items():
            for before, after in pairwise(changes):
                if after.fact is None and before.fact is not None:
                    found[after.step, before.fact.address] = key
        return found

    def label(self, step: int) -> str:
        """A migration as people call it."""
        there = self.replay.steps[step]
        return label_of(there.version, there.name)

    def place(self, change: Change, part: str, fact: Fact, mentions: Sequence[str]) -> Statement | None:
        """The statement of the change's migration that set *part*: by its row, and within that by what it says."""
        if change.step < 0 or change.line is None:
            return None
        kind = KINDS[fact.kind]
        row = kind.main_row if part == "object" else _row(fact.kind, part)
        upto = change.rows.get(row, change.line)
        if self.replay.steps[change.step].code:  # a program: what it sent is known by the line that sent it
            text = change.statement or ""
            return Statement(text, upto, 0, len(text))
        statements = [s for s in _statements(self.replay.steps[change.step].sql) if s.line <= upto]
        if len(statements) < 2:
            return statements[0] if statements else None

        def told(speaks: str, words: Sequence[str]) -> Statement | None:
            pattern = re.compile(speaks, re.IGNORECASE)
            fits = (s for s in reversed(statements) if pattern.search(s.text))
            return next((s for s in fits if all(_mentions(s.text, word) for word in words)), None)

        if part in _SPEAKS and (found := told(_SPEAKS[part], mentions)):
            return found
        # What no statement speaks of came with the object: its owner, what default privileges grant.
        if part in _SPEAKS and part != "object" and kind.main_row in change.rows:
            return next((s for s in statements if s.line == change.rows[kind.main_row]), statements[-1])
        if part in _SPEAKS or part == "object":
            word = fact.kind.split()[-1]
            makes = (
                r"\b(?:create|add)\b" if word in ("column", "constraint") else rf"\bcreate\b[^(]*\b{word}\b"
            )
            return told(makes, [_simple(fact)]) or statements[-1]
        return statements[-1]


def _row(kind: str, part: str) -> str:
    """The catalog whose row holds an attribute."""
    if part == "comment":
        return "pg_description"
    return KINDS[kind].written.get(part) or KINDS[kind].attribute_row


@lru_cache(maxsize=256)
def _statements(sql: str) -> list[Statement]:
    return split(sql)


def _mentions(text: str, words: str) -> bool:
    """Whether one of the *words* (separated by ``|``) stands in *text* as a word."""
    return any(_word(word).search(text) for word in words.split("|"))


@lru_cache(maxsize=512)
def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])", re.IGNORECASE)


class Tracer:
    """``blame`` for several objects of one environment."""

    def __init__(self, actual: Snapshot, applied: Replay, intended: Replay | None) -> None:
        self.actual = actual
        self.applied = Past(applied)
        self.intended = Past(intended) if intended is not None and intended is not applied else None

    def blame(self, key: Key, *, removed: bool = False) -> list[Line]:
        """See the function of that name."""
        lines: list[Line] = []
        family = list(self.family(key))
        for each in family:
            found = self.lines(each, whole=each == key)
            backs = each[0] == "index" and each != key and self.backs_constraint(each)
            lines += (line for line in found if line.drift) if backs else found
        if removed:
            lines += [line for each in family for line in self.lost_grants(each)]
            lines += self.gone(key)
        return lines

    # --- which objects --------------------------------------------------------------------------------------

    def family(self, key: Key) -> Iterator[Key]:
        """An object, then what belongs to it here or by the replay, kind by kind, siblings in their order."""
        yield key
        for kind in KINDS.values():
            if key[0] not in kind.parents or kind.name in _OWN:
                continue
            if kind.name.endswith("view column"):
                continue  # they follow from the definition
            members: dict[Key, Fact] = {}
            for side in (self.applied.replay.final, self.actual):
                holder = side.get(*key)
                members |= {fact.key: fact for fact in side.children(holder, kind.name)} if holder else {}
            place = kind.ordinal
            for fact in sorted(
                members.values(), key=lambda f: (_number(f.attributes.get(place)), f.identity)
            ):
                yield from self.family(fact.key)

    def backs_constraint(self, key: Key) -> bool:
        """Whether an index is a constraint's own, and thus told with it."""
        fact = self.actual.get(*key) or self.applied.replay.final.get(*key)
        return fact is not None and fact.parent is not None and " on " in fact.parent

    # --- one object -----------------------------------------------------------------------------------------

    def lines(self, key: Key, *, whole: bool) -> Iterator[Line]:
        past, fact = self.applied.of(key), self.actual.get(*key)
        if fact is None:
            if past:
                yield self._missing(key, past)
            return
        if not past:
            if self.intended and (unrecorded := self.intended.of(key)):
                for line in self._of(fact, unrecorded, self.intended, whole):
                    yield (
                        replace(
                            line,
                            status="unrecorded",
                            says="its migration is not recorded here",
                            intended=True,
                        )
                        if line.status == "migration"
                        else replace(line, intended=True)
                    )
                return
            yield from self._orphan(fact, whole)
            return
        yield from self._of(fact, past, self.applied, whole)

    def _missing(self, key: Key, past: list[tuple[Key, Change]]) -> Line:
        fact = past[-1][1].fact
        assert fact is not None
        made = self._made(past, self.applied, fact)
        return replace(
            made,
            text=short(fact, self.applied.replay.final),
            status="missing",
            says="it is not there: no recorded migration drops it",
        )

    def _orphan(self, fact: Fact, whole: bool) -> Iterator[Line]:
        """An object that no replay ends with: made by hand, or dropped by a migration that has no effect here."""
        changes = self.applied.replay.timeline.get(fact.key, ())
        drop = changes[-1] if changes else None
        says = "not by any migration"
        if drop is not None and drop.step >= 0:
            says = f"{self.applied.label(drop.step)} drops it, but it is there"
            past = self.applied.of(fact.key, drop.step)
            if past:
                for line in self._of(fact, past, self.applied, whole):
                    yield replace(line, status="superseded", says=says) if line.part == "object" else line
                return
        yield Line(fact.kind, fact.identity, "object", short(fact, self.actual), "by_hand", says=says)
        for part in ("owner", "comment"):
            if (value := fact.attributes.get(part)) and (whole or part != "owner"):
                yield Line(fact.kind, fact.identity, part, _shown(value), "by_hand", says=says)

    def _of(self, fact: Fact, past: list[tuple[Key, Change]], where: Past, whole: bool) -> Iterator[Line]:
        made = self._made(past, where, fact)
        yield replace(made, text=short(fact, self.actual))
        for (old, _), (new, change) in pairwise(past):
            if old != new:
                yield self._line(fact, "renamed", f"from {old[1]}", change, where)
        text = TEXTS.get(fact.kind, "")
        first = past[0][1]
        for part, value in fact.attributes.items():
            if part in ("grants", "owned_by", text, KINDS[fact.kind].ordinal):
                continue
            line = self._attribute(fact, part, value, past, where)
            # What came with the object needs no line of its own, unless a statement of its own set it.
            own = part in ("owner", "comment") or value != KINDS[fact.kind].later.get(part, value)
            told = value is not None and (own or line.step != first.step)
            if (told or line.drift) and (whole or part != "owner"):
                yield line
        if grants := tuple_of(fact.attributes.get("grants")):
            yield from self._grants(fact, grants, past, where)
        if text:
            yield from self._text(fact, text, past, where)

    def _made(self, past: list[tuple[Key, Change]], where: Past, fact: Fact) -> Line:
        """That the object exists: the statement that made it, under whatever name."""
        first = past[0][1]
        assert first.fact is not None
        return self._line(fact, "object", "", first, where, mentions=[_simple(first.fact)])

    def _attribute(
        self, fact: Fact, part: str, value: Value, past: list[tuple[Key, Change]], where: Past
    ) -> Line:
        def holds(other: Fact) -> bool:
            return other.attributes.get(part, value) == value

        change, status, says = self._origin(fact.key, past, where, holds)
        return self._line(fact, part, _shown(value), change, where, status, says, [_simple(fact)])

    def _origin(
        self, key: Key, past: list[tuple[Key, Change]], where: Past, holds: Callable[[Fact], bool]
    ) -> tuple[Change | None, Status, str]:
        """The change since which something holds, how sure that is, and what else is to be said."""
        versions = [change for _, change in past]
        found = [n for n, change in enumerate(versions) if change.fact is not None and holds(change.fact)]
        if found:
            start = end = found[-1]
            while start - 1 in found:
                start -= 1
            if end == len(versions) - 1:
                return versions[start], "migration", ""
        if self.intended and where is self.applied:
            later = [change for _, change in self.intended.of(key)]
            if later and later[-1].fact is not None and holds(later[-1].fact):
                step = self.intended.replay.steps[later[-1].step]
                known = any((s.version, s.sql) == (step.version, step.sql) for s in where.replay.steps)
                if not known:
                    name = self.intended.label(later[-1].step)
                    return None, "unrecorded", f"as {name} makes it, which is not recorded here so"
        if found:
            name = where.label(versions[end + 1].step)
            return versions[start], "superseded", f"{name} changes it, but not here"
        return None, "by_hand", "not by any migration"

    def _grants(
        self, fact: Fact, grants: Iterable[str], past: list[tuple[Key, Change]], where: Past
    ) -> Iterator[Line]:
        """Per privilege and grantee; those of one grantee that came together are one line."""
        together: dict[tuple[str, str, str, Line], list[str]] = {}
        for action, privilege, grantee, option in _atoms(grants):

            def holds(
                other: Fact, atom: tuple[str, str, str, str] = (action, privilege, grantee, option)
            ) -> bool:
                return atom in _atoms(tuple_of(other.attributes.get("grants")))

            change, status, says = self._origin(fact.key, past, where, holds)
            names = [f"{_simple(fact)}|all", f"{unquote(grantee)}", f"{privilege}|all"]
            line = self._line(fact, "grants", "", change, where, status, says, names, action)
            together.setdefault((action, grantee, option, line), []).append(privilege)
        for (action, grantee, option, line), privileges in together.items():
            toward = "TO" if action == "GRANT" else "FROM"
            yield replace(line, text=f"{action} {', '.join(privileges)} {toward} {grantee}{option}")

    def _text(self, fact: Fact, part: str, past: list[tuple[Key, Change]], where: Past) -> Iterator[Line]:
        """Line by line: which version brought it, and where in the migration it stands."""
        versions = [(change, _split(change.fact.attributes.get(part))) for _, change in past if change.fact]
        origins: list[Change | None] = [versions[0][0]] * len(versions[0][1])
        lines = versions[0][1]
        for change, after in [*versions[1:], (None, _split(fact.attributes.get(part)))]:
            kept: list[Change | None] = [change] * len(after)
            for a, b, size in SequenceMatcher(None, lines, after, autojunk=False).get_matching_blocks():
                kept[b : b + size] = origins[a : a + size]
            lines, origins = after, kept
        unrecorded: dict[str, tuple[Change, Past]] = {}
        if None in origins and self.intended and where is self.applied:
            for _, change in self.intended.of(fact.key):
                for text in _split(change.fact.attributes.get(part)) if change.fact else ():
                    unrecorded.setdefault(text, (change, self.intended))
        for text, origin in zip(lines, origins, strict=True):
            if origin is None and text.strip() and text in unrecorded:
                change, there = unrecorded[text]
                says = f"as {there.label(change.step)} makes it, which is not recorded here so"
                yield replace(self._line(fact, part, text, change, there, "unrecorded", says), intended=True)
            elif origin is None:
                yield Line(fact.kind, fact.identity, part, text, "by_hand", says="not by any migration")
            else:
                yield self._line(fact, part, text, origin, where)

    def _line(
        self,
        fact: Fact,
        part: str,
        text: str,
        change: Change | None,
        where: Past,
        status: Status = "migration",
        says: str = "",
        mentions: Sequence[str] = (),
        action: str = "",
    ) -> Line:
        if change is None:
            return Line(fact.kind, fact.identity, part, text, status, says=says)
        if change.step < 0:
            status = "base" if status == "migration" else status
            says = says or "there before the first migration"
            return Line(fact.kind, fact.identity, part, text, status, -1, says=says)
        statement = where.place(change, action or part, change.fact or fact, mentions)
        at = _precise(statement, part, text, change.fact or fact) if statement else change.line
        begins = " ".join(statement.text.split())[:200] if statement else change.statement
        return Line(fact.kind, fact.identity, part, text, status, change.step, at, begins, says)

    # --- what is no more --------------------------------------------------------------------------------------

    def lost_grants(self, key: Key) -> Iterator[Line]:
        """Privileges that a migration gave and a later one, or somebody, took away."""
        fact = self.actual.get(*key)
        if fact is None:
            return
        now = set(_atoms(tuple_of(fact.attributes.get("grants"))))
        versions = self.applied.of(key)
        for (_, before), (_, after) in pairwise(versions):
            if before.fact is None or after.fact is None:
                continue
            earlier, later = (
                _atoms(tuple_of(c.fact.attributes.get("grants"))) for c in (before, after) if c.fact
            )
            for atom in earlier:
                if atom not in later and atom not in now:
                    action, privilege, grantee, option = atom
                    toward = "TO" if action == "GRANT" else "FROM"
                    text = f"{action} {privilege} {toward} {grantee}{option}"
                    names = [f"{_simple(fact)}|all", unquote(grantee)]
                    yield self._line(
                        fact, "grants", text, after, self.applied, "removed", "taken back", names
                    )

    def gone(self, key: Key) -> Iterator[Line]:
        """What belonged to the object, or the object itself, and was dropped or renamed."""
        names = {name for name, _ in self.applied.of(key)} | {key}
        for other, changes in sorted(self.applied.replay.timeline.items()):
            if changes[-1].fact is not None or self.actual.get(*other) is not None or len(changes) < 2:
                continue
            fact, drop = changes[-2].fact, changes[-1]
            if fact is None or drop.step < 0:
                continue
            belongs = any(fact.parent == name and kind in KINDS[fact.kind].parents for kind, name in names)
            if other != key and (not belongs or fact.kind in _OWN or fact.kind.endswith("view column")):
                continue
            if other in names - {key}:
                continue
            renamed = self._renamed(other, fact, drop)
            yield Line(
                fact.kind, fact.identity, "object", short(fact, self.applied.replay.final), "removed",
                drop.step, drop.line, drop.statement, f"renamed to {renamed}" if renamed else "dropped",
            )  # fmt: skip

    def _renamed(self, key: Key, fact: Fact, drop: Change) -> str:
        """The name that an object took when it lost this one."""
        for other in self.applied.replay.footprint(drop.step) if fact.oid else ():
            for change in self.applied.replay.timeline[other]:
                now = change.fact if change.step == drop.step and other != key else None
                if now is not None and now.address == fact.address:
                    return other[1]
        return ""


def short(fact: Fact, snapshot: Snapshot) -> str:
    """An object's definition in one line, without what is told in lines of its own."""
    if fact.kind in ("table column", "foreign table column"):
        try:
            return " ".join(create.column_definition(fact, snapshot).split())
        except KeyError:  # a snapshot of another version of auditkit may lack an attribute
            return fact.name
    if fact.kind in ("table", "foreign table", "view", "materialized view", "schema"):
        return f"{fact.kind} {fact.identity}"
    try:
        statements = KINDS[fact.kind].whole(fact, snapshot)
    except KeyError:
        statements = []
    if not statements:
        return f"{fact.kind} {fact.identity}"
    text = " ".join(statements[0].split())
    if fact.kind in ("function", "procedure"):
        return text.partition(" AS $")[0].partition(" BEGIN ATOMIC")[0].partition(" AS '")[0]
    if fact.kind == "type" and fact.attributes.get("labels"):
        return f"type {fact.identity}"
    head = re.match(r"ALTER (?:FOREIGN )?TABLE (?:ONLY )?\S+ ADD (?=CONSTRAINT)", text)
    return text[head.end() :] if head else text


def _simple(fact: Fact) -> str:
    """The name by which a statement speaks of an object."""
    return fact.name or unquote(last(fact.identity.partition("(")[0].partition(" on ")[0]))


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else str(value)


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _split(value: Value) -> list[str]:
    """A text as lines without the empty ones around it; a list as it is."""
    if isinstance(value, tuple):
        return list(value)
    return value.strip("\n").split("\n") if isinstance(value, str) else []


_GRANT = re.compile(r"(GRANT|REVOKE) (.+?) (?:TO|FROM) (.+?)( WITH GRANT OPTION)?", re.DOTALL)


def _atoms(grants: Iterable[str]) -> list[tuple[str, str, str, str]]:
    """(GRANT or REVOKE, privilege, grantee, option) one by one."""
    found = []
    for line in grants:
        if match := _GRANT.fullmatch(line):
            action, privileges, grantee, option = match.groups()
            found += [(action, privilege, grantee, option or "") for privilege in privileges.split(", ")]
    return found


def _precise(statement: Statement, part: str, text: str, fact: Fact) -> int:
    """The line of the migration: the one inside the statement which names the thing, else the statement's own."""
    patterns: list[str] = []
    name = rf'(?<![\w$])"?{re.escape(_simple(fact))}(?![\w$])'
    if part in ("body", "definition"):
        body, wanted = fact.attributes.get(part), text.strip().rstrip(";")
        if isinstance(body, str) and (place := statement.text.find(body)) >= 0 and text in body.split("\n"):
            offset = statement.text.count("\n", 0, place) + body.split("\n").index(text)
            return _line_at(statement, 0) + offset
        patterns = [re.escape(wanted)] if wanted else []
    elif part == "labels":
        patterns = [re.escape(f"'{text}'")]
    elif fact.kind.endswith(" column"):
        # An element of a list, or what ADD and ALTER name; then anywhere.
        patterns = [rf"(?i)(?:^|[(,]|\bcolumn|\bexists|\badd)\s*{name}\"?\s", name]
    elif "constraint" in fact.kind:
        patterns = [name, *_unnamed(fact)]
    for pattern in patterns:
        if match := re.compile(pattern, re.MULTILINE).search(statement.text, _first_word(statement)):
            blank = re.match(r"[\s(,]*", match.group())
            return _line_at(statement, match.start() + (blank.end() if blank else 0))
    return statement.line


_CLAUSES = {"PRIMARY": r"primary\s+key", "FOREIGN": "references", "UNIQUE": "unique", "CHECK": "check"}


def _unnamed(fact: Fact) -> Iterator[str]:
    """How a constraint is written whose name PostgreSQL chose: beside its column."""
    found = re.match(
        r'(PRIMARY|FOREIGN|UNIQUE|CHECK)\b.*?\("?([^",()]+)', str(fact.attributes.get("definition"))
    )
    if found:
        clause, column = _CLAUSES[found[1]], re.escape(found[2])
        yield rf"(?i)^[^\n]*(?<![\w$]){column}(?![\w$])[^\n]*\b{clause}\b"
        yield rf"(?i)^[^\n]*\b{clause}\b[^\n]*(?<![\w$]){column}(?![\w$])"


def _first_word(statement: Statement) -> int:
    return first_word(statement.text, 0, len(statement.text))


def _line_at(statement: Statement, place: int) -> int:
    """The line of the file on which a place in the statement's text is."""
    return (
        statement.line
        - statement.text.count("\n", 0, _first_word(statement))
        + statement.text.count("\n", 0, place)
    )
