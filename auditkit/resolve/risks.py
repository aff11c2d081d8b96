"""What a rehearsal says about the real thing: how long others will wait, and what will be gone.

What was seen on a shadow with a few rows is weighed by how large the tables are where it will happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Culprit, Evidence, Key
from auditkit.history.shadow.replayed import Failure
from auditkit.history.shadow.running import leading_word
from auditkit.resolve.objections import Objection, accepted, object_to
from auditkit.resolve.proof import MODES
from auditkit.resolve.watching import Outcome, Seen, Watched

__all__ = ["BIG_PAGES", "BIG_ROWS", "Size", "mode_in_words", "risks", "sizes_of"]

#: From so many rows, or pages of 8 kB, on what reads or writes all of a table is felt.
BIG_ROWS, BIG_PAGES = 100_000, 12_800
#: The weakest lock that keeps writers out, and the one that keeps readers out, too.
_WRITERS, _EVERYBODY = MODES.index("ShareLock"), MODES.index("AccessExclusiveLock")


@dataclass(frozen=True)
class Size:
    """About how large a table is; None: nothing tells."""

    rows: int | None = None
    pages: int | None = None

    @property
    def big(self) -> bool | None:
        if self.rows is None:
            return None
        return self.rows >= BIG_ROWS or (self.pages or 0) >= BIG_PAGES

    @property
    def empty(self) -> bool:
        return self.rows == 0 and not self.pages

    def __str__(self) -> str:
        if self.rows is None:
            return "nothing tells how large it is"
        if self.empty:
            return "it is empty, as far as the statistics tell"
        pages = self.pages or 0
        room = f", {_bytes(pages * 8192)}" if pages else ""
        return f"about {self.rows:,} {'row' if self.rows == 1 else 'rows'}{room}"

    def severity(self, big: str, unknown: str = "low", small: str = "info") -> str:
        """How bad something is that is felt on large tables."""
        return {True: big, None: unknown, False: small}[self.big]


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "kB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


def sizes_of(snapshot: Snapshot, tables: Iterable[str]) -> dict[str, Size]:
    """How large each of *tables* is there."""
    known = snapshot.physical.get("sizes")
    return {table: Size(*known.get(table, (0, 0))) if known is not None else Size() for table in tables}


def mode_in_words(mode: str) -> str:
    """``AccessExclusiveLock`` as the manual writes it: ACCESS EXCLUSIVE."""
    return "".join(f" {c}" if c.isupper() else c for c in mode.removesuffix("Lock")).strip().upper()


def risks(
    outcome: Outcome, environment: str, culprits: Sequence[Culprit], snapshot: Snapshot
) -> list[Objection]:
    """What speaks against running these migrations on *snapshot*'s environment.

    Args:
        culprits: the migration of each step of the outcome, and of those that were not reached.
        snapshot: of the environment.
    """
    found: list[Objection] = []
    for watched, culprit in zip(outcome.watched, culprits, strict=False):
        meant = accepted(watched.step.sql)
        felt = _Migration(watched, culprit, environment, snapshot, outcome).all()
        found += [_accept(each, meant.get(each.cause)) for each in felt if each.severity != "info"]
    if outcome.left_back:
        left = outcome.left_back
        found.append(
            object_to(
                "no_way_back",
                environment,
                "low",
                "the way back that was tried does not lead to what was there",
                evidence={"rehearsal": "; ".join(left[:5]) + (" …" if len(left) > 5 else "")},
            )
        )
    return found


def _accept(objection: Objection, why: str | None) -> Objection:
    if why is None or objection.severity == "info":
        return objection
    evidence = [*objection.evidence, Evidence("accepted", f"The file says that it is meant: {why}")]
    return replace(objection, severity="info", evidence=evidence)


class _Migration:
    """One migration as it was watched, and the tables it meets."""

    def __init__(
        self, watched: Watched, culprit: Culprit, environment: str, snapshot: Snapshot, outcome: Outcome
    ) -> None:
        self.watched, self.culprit, self.environment, self.outcome = watched, culprit, environment, outcome
        self.snapshot = snapshot
        self.file = culprit.file or culprit.version
        self.told: set[tuple[int, str]] = set()

    def size(self, table: str) -> Size:
        return sizes_of(self.snapshot, [table])[table]

    def object(
        self, name: str, severity: str, title: str, seen: Seen | None, keys: Sequence[Key], **evidence: str
    ) -> Objection:
        line = seen.line if seen else None
        signals = {"statement": seen.text if seen else "", **evidence}
        at = replace(self.culprit, line=line)
        subject = f"{line}|" + "|".join(" ".join(key) for key in keys)
        return object_to(
            name, self.environment, severity, title, objects=keys, culprit=at, evidence=signals, subject=subject
        )  # fmt: skip

    def all(self) -> Iterator[Objection]:
        yield from self._failures()
        for number in dict.fromkeys(seen.transaction for seen in self.watched.statements):
            if number is not None:
                yield from self._transaction([s for s in self.watched.statements if s.transaction == number])
        if self.watched.step.code:
            yield from self._program()
        yield from self._patience()
        yield from self._data()

    def _failures(self) -> Iterator[Objection]:
        if failure := self.watched.failure:
            seen = Seen(failure.line, failure.statement)
            says = f"{failure.message} ({failure.sqlstate})" if failure.sqlstate else failure.message
            title = f"{self.file}:{failure.line} fails on a shadow of {self.environment}: {failure.message}"
            yield self.object("fails", "high", title, seen, [], server=says)
        on_rows = self.outcome.on_rows
        if on_rows and on_rows.step == self.watched.step and (failure := on_rows.failure):
            severity, rows = self._on_rows(failure)
            title = f"{self.file}:{failure.line} fails if there are rows like those of the rehearsal: {failure.message}"
            yield self.object(
                "fails_on_rows",
                severity,
                title,
                Seen(failure.line, failure.statement),
                [],
                server=f"{failure.message} ({failure.sqlstate})",
                rows=f"{rows} The shadow's tables have two made-up rows each; without any it runs.",
            )
        if alone := self.watched.alone:
            title = f"{self.file}:{alone.line} cannot run in a transaction, and the file does not say so"
            yield self.object("needs_autocommit", "high", title, Seen(alone.line, alone.text), [])

    def _on_rows(self, failure: Failure) -> tuple[str, str]:
        """How bad it is that it fails on rows, and which tables have some."""
        mine = [seen for seen in self.watched.statements if seen.line == failure.line]
        tables = sorted({table for seen in mine for table in (*seen.locks, *seen.scanned)})
        sizes = [(table, self.size(table)) for table in tables if self.snapshot.get("table", table)]
        says = " ".join(f"{table}: {size}." for table, size in sizes)
        if sizes and all(size.empty for _, size in sizes):
            return "low", says
        certain = failure.sqlstate == "23502" and any(size.rows for _, size in sizes)
        return "high" if certain else "medium", says

    def _transaction(self, statements: Sequence[Seen]) -> Iterator[Objection]:
        held: dict[str, tuple[int, Seen]] = {}
        for seen in statements:
            for table, mode in seen.locks.items():
                held[table] = (MODES.index(mode), seen)
            for table in seen.rewritten:
                if leading_word(seen.text) != "truncate":
                    yield self._rewrites(seen, table)
            for table in seen.scanned:
                level = held.get(table, (0, seen))[0]
                if table in seen.rewritten or level < _WRITERS:
                    continue
                yield (
                    self._indexes(seen, table, level)
                    if table in seen.indexed
                    else self._scans(seen, table, level)
                )
        yield from self._held(statements)

    def _rewrites(self, seen: Seen, table: str) -> Objection:
        self.told.add((seen.line, table))
        size = self.size(table)
        title = f"{self.file}:{seen.line} writes {table} anew ({size})"
        return self.object(
            "rewrites_table",
            size.severity("high"),
            title,
            seen,
            [("table", table)],
            why=self._why_rewritten(table),
        )

    def _why_rewritten(self, table: str) -> str:
        for delta in self.watched.deltas:
            fact = self.watched.after.get(*delta.key)
            if delta.kind != "table column" or fact is None or fact.parent != table:
                continue
            if delta.change == "unexpected" and fact.attributes.get("default"):
                default = fact.attributes["default"]
                return f"The default of the new column {fact.name}, {default}, differs from row to row."
            if delta.change == "unexpected" and fact.attributes.get("generated"):
                return f"The new column {fact.name} is computed for each row."
            if delta.attribute == "type":
                return f"The type of column {fact.name} changes from {delta.left} to {delta.right}."
        return ""

    def _indexes(self, seen: Seen, table: str, level: int) -> Objection:
        self.told.add((seen.line, table))
        size = self.size(table)
        whom = "reads and writes" if level == _EVERYBODY else "writes"
        title = f"{self.file}:{seen.line} builds an index on {table} while {whom} wait ({size})"
        return self.object("blocks_writes", size.severity("high"), title, seen, [("table", table)])

    def _scans(self, seen: Seen, table: str, level: int) -> Objection:
        self.told.add((seen.line, table))
        size = self.size(table)
        whom = "everybody" if level == _EVERYBODY else "writers"
        title = f"{self.file}:{seen.line} reads all of {table} while it keeps {whom} out ({size})"
        lock = f"Held meanwhile: {mode_in_words(MODES[level])}."
        return self.object(
            "scans_under_lock", size.severity("medium"), title, seen, [("table", table)], lock=lock
        )

    def _held(self, statements: Sequence[Seen]) -> Iterator[Objection]:
        """Who holds a lock against everybody and then goes on to work for long, on whatever table."""
        for n, seen in enumerate(statements):
            for table, mode in seen.locks.items():
                if MODES.index(mode) < _EVERYBODY or self.snapshot.get("table", table) is None:
                    continue
                for later in statements[n + 1 :]:
                    slow = [t for t in (*later.rewritten, *later.scanned) if t != table and self.size(t).big]
                    if slow and not self.size(table).empty:
                        title = (
                            f"{self.file}:{seen.line} keeps everybody out of {table} until the transaction ends, "
                            f"and line {later.line} works on all of {slow[0]} ({self.size(slow[0])})"
                        )
                        yield self.object("held_long", "medium", title, seen, [("table", table)])
                        break

    def _program(self) -> Iterator[Objection]:
        """Of a program, which its tool runs, the locks are not seen; what it wrote anew is."""
        for table in self.watched.rewritten:
            yield self._rewrites(Seen(1, self.file), table)

    def _patience(self) -> Iterator[Objection]:
        waiting = [
            (seen, table, mode)
            for seen in self.watched.statements
            for table, mode in seen.locks.items()
            if seen.waits == "0" and MODES.index(mode) >= _WRITERS and self.snapshot.get("table", table)
        ]
        if not waiting:
            return
        seen, table, mode = max(waiting, key=lambda each: self.size(each[1]).rows or 0)
        size = self.size(table)
        title = f"{self.file} sets no lock_timeout, and waits for {mode_in_words(mode)} on {table} ({size})"
        tables = sorted({t for _, t, _ in waiting})
        yield self.object(
            "no_lock_timeout",
            size.severity("low", "info"),
            title,
            seen,
            [("table", t) for t in tables],
            lock="While it waits, everybody who comes later waits behind it. What the deploying session sets is not seen.",
        )

    def _data(self) -> Iterator[Objection]:
        dropped = {
            d.key: (d.identity if d.kind == "table" else d.identity.rpartition(".")[0])
            for d in self.watched.deltas
            if d.change == "missing" and d.kind in ("table", "table column") and self._is_gone(d.key)
        }
        for (kind, identity), table in dropped.items():
            size = self.size(table)
            severity = "low" if size.rows is None else "info" if size.empty else "medium"
            what = f"{kind.removeprefix('table ')} {identity}"
            title = f"{self.file} drops {what} and what is in it ({size})"
            yield self.object("drops_data", severity, title, self._first(table), [(kind, identity)])
        lost = [name for name in self.watched.lost if name not in dropped.values()]
        for name in lost:
            table = name if self.snapshot.get("table", name) else name.rpartition(".")[0]
            size = self.size(table)
            severity = "low" if size.rows is None else "info" if size.empty else "medium"
            title = f"{self.file} leaves less in {name} than was there ({size})"
            yield self.object(
                "deletes_rows",
                severity,
                title,
                self._first(table),
                [("table", table)],
                rehearsal=f"{name} held more before it ran than afterwards.",
            )

    def _is_gone(self, key: Key) -> bool:
        """Whether it is not there any more under another name either."""
        fact = self.watched.before.get(*key)
        return fact is not None and fact.address not in self.watched.after.addresses

    def _first(self, table: str) -> Seen | None:
        """The statement that took the strongest lock on a table."""
        mine = [seen for seen in self.watched.statements if table in seen.locks]
        return max(mine, key=lambda seen: MODES.index(seen.locks[table]), default=None)
