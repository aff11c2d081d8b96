"""Following the catalog from migration to migration, reading only what each one touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditkit.catalog import capture
from auditkit.catalog.kind import CATALOGS
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Address, Fact, Key, Snapshot
from auditkit.history.shadow.replayed import Change
from auditkit.history.shadow.running import SCHEMA, Ran, excerpt, statement_of

if TYPE_CHECKING:
    import psycopg

#: A migration that touches more things than these, and a tenth of all there is, is followed by reading everything:
#: what is read for a list of things takes longer than that, by the square of their number.
_MANY = 1000


@dataclass(frozen=True)
class Seen:
    """What the server showed after a step; ``touched`` is None if ``reading`` holds all there is."""

    number: int
    ran: Ran
    since: int
    touched: capture.Touched | None
    reading: capture.Reading | None


class Follower:
    """The facts of the shadow database, kept current by reading only what each migration touched."""

    def __init__(
        self, reader: psycopg.Connection[Any], timeline: Mapping[Key, list[Change]], *, always_full: bool
    ) -> None:
        self.reader = reader
        self.always_full = always_full
        self.facts: dict[Key, Fact] = {}
        self.keys: dict[tuple[int, int, int], Key] = {}  # catalog address → key
        self.anchored: dict[int, set[Key]] = {}
        self.timeline = {key: list(changes) for key, changes in timeline.items()}
        self._replace(capture.read_facts(self.reader), None)

    def _replace(
        self, reading: capture.Reading | None, touched: capture.Touched | None
    ) -> dict[Key, Fact | None]:
        """Put what was read in place of all facts, or of those that *touched* made us read; return what changed."""
        changed: dict[Key, Fact | None] = {}
        new = {fact.key: fact for fact in (reading.facts if reading else ()) if not is_ours(fact)}
        if touched is None:
            old = set(self.facts)
        else:
            kinds = touched.kinds
            old = {k for anchor in touched.anchors for k in self.anchored.get(anchor, ()) if k[0] in kinds}
        for key in old - new.keys():
            self._forget(key)
            changed[key] = None
        for key, fact in new.items():
            before = self.facts.get(key)
            if before is None or before.attributes != fact.attributes:
                changed[key] = fact
            self.facts[key] = fact
            self.keys[fact.address] = key
            self.anchored.setdefault(fact.anchor, set()).add(key)
        return changed

    def _forget(self, key: Key) -> None:
        fact = self.facts.pop(key)
        if self.keys.get(fact.address) == key:
            del self.keys[fact.address]
        self.anchored.get(fact.anchor, set()).discard(key)

    def look(self, number: int, ran: Ran, since: int) -> Seen:
        """Read what step *number* touched, whose first transaction id was *since*."""
        touched = (
            None if self.always_full else capture.touched(self.reader, range(since, ran.next), ran.catalogs)
        )
        if touched is not None and not touched:
            return Seen(number, ran, since, touched, None)
        if touched is not None and len(touched.anchors) > max(_MANY, len(self.anchored) // 10):
            touched = None
        known: set[int] = set()
        if touched is not None:
            keys = (key for anchor in touched.anchors for key in self.anchored.get(anchor, ()))
            known = {self.facts[key].oid for key in keys}
        reading = capture.read_facts(self.reader, touched=touched, known=known)
        # Cluster-wide facts have no anchor, and several may share an address.
        if touched and any(self._renamed(*named) for named in reading.named()):
            # A new name changes text that is stored nowhere: views, expressions and keys that mention it.
            touched, reading = None, capture.read_facts(self.reader)
        return Seen(number, ran, since, touched, reading)

    def _renamed(self, at: Address, kind: str, schema: str | None, name: str | None) -> bool:
        key = self.keys.get(at)
        if key is None:
            return False
        fact = self.facts[key]
        return (
            kind != fact.kind
            or (schema is not None and schema != fact.schema)
            or (name is not None and name not in (fact.name, fact.identity))
        )

    def follow(self, seen: Seen) -> None:
        """Bring the facts up to date with what was seen after a step, and tell which statement made what."""
        number, ran, since, dropped = seen.number, seen.ran, seen.since, seen.ran.dropped
        before = self.facts.copy()
        changed: dict[Key, Fact | None] = {}
        if seen.touched is None:
            changed = self._replace(seen.reading, None)
        else:
            for _, oid, subid in dropped:
                for key in list(self.anchored.get(oid, ())) if not subid else ():
                    self._forget(key)
                    changed[key] = None
            for address in dropped:
                if (gone := self.keys.get(address)) is not None:
                    self._forget(gone)
                    changed[gone] = None
            changed |= self._replace(seen.reading, seen.touched)
        for key, fact in changed.items():
            earlier = before.get(key)
            if earlier is None and fact is None:
                continue  # made and dropped by the same migration
            if key not in self.timeline and earlier is not None:
                self.timeline[key] = [Change(-1, None, None, earlier)]
            if fact is not None:
                xids = self._written(fact, since)
            else:
                assert earlier is not None
                xids = [x for a, x in dropped.items() if a == earlier.address or a[1] == earlier.anchor]
                xids = xids or self._written(earlier, since, renamed=True)
            index = max((i for x in xids if (i := statement_of(ran.marks, x)) is not None), default=None)
            statement = ran.statements[index] if index is not None else None
            line, text = (statement.line, excerpt(statement.text)) if statement else (None, None)
            rows = _lines(fact, since, ran) if fact is not None else {}
            self.timeline.setdefault(key, []).append(Change(number, line, text, fact, rows))

    def _written(self, fact: Fact, since: int, *, renamed: bool = False) -> list[int]:
        """The transactions that wrote *fact*, or what now has its address; else those of its relation.

        Renaming a table changes the names of its columns, whose own rows stay as they were.
        """
        for address in (fact.address, (CATALOGS["pg_class"], fact.anchor, 0)):
            key = self.keys.get(address)
            there = fact if not renamed and address == fact.address else self.facts[key] if key else None
            if there and (xids := [xid for xid in there.xmins if xid >= since]):
                return xids
        return []

    def agrees(self, final: Snapshot) -> bool:
        """Whether the facts are those of a full read; roles that came into use or out of it are put right first."""
        for kind in (k.name for k in KINDS.values() if k.cluster_wide):
            for fact in final.iter(kind):
                if fact.key not in self.facts:
                    self.facts[fact.key] = fact
                    self.timeline.setdefault(fact.key, [Change(-1, None, None, fact)])
            for key in [k for k in self.facts if k[0] == kind and final.get(*k) is None]:
                del self.facts[key]
                if changes := self.timeline.get(key):
                    changes.append(Change(changes[-1].step, None, None, None))
        return {f.key: f.attributes for f in final.iter()} == {k: f.attributes for k, f in self.facts.items()}


def _lines(fact: Fact, since: int, ran: Ran) -> dict[str, int]:
    """Catalog → line of the statement that wrote the row there last; nothing if one statement wrote them all."""
    written = {catalog: statement_of(ran.marks, xid) for catalog, xid in fact.rows.items() if xid >= since}
    lines = {catalog: ran.statements[i].line for catalog, i in written.items() if i is not None}
    return lines if len(set(lines.values())) > 1 else {}


def is_ours(fact: Fact) -> bool:
    return fact.schema == SCHEMA or SCHEMA in fact.identity
