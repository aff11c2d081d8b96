"""Which migration is in which state in which environment: the files held against the ledgers.

A file and a ledger row belong together by version, name *and* content. The version alone is not enough:
tools and people stamp the same SQL anew (``restamped``), reuse a version for something else, and edit files
that were applied. What a ledger cannot show is said, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from auditkit.history.checksums import atlas
from auditkit.history.files import Blob, Migration, Migrations, blobs, lost
from auditkit.history.layouts import LAYOUTS
from auditkit.history.ledgers import LEDGERS, History, Row, not_detectable
from auditkit.history.split import Effect, same_effect, signature

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "EnvironmentHistory", "HistoryMatrix", "MatrixRow", "State", "states"]

State = Literal["applied", "pending", "edited", "out_of_order", "failed", "unknown", "restamped"]


@dataclass(frozen=True)
class Cell:
    """One migration in one environment.

    Attributes:
        state: applied; pending; edited (what was applied differs from the file, beyond comments and
            layout); out_of_order (applied after a later one); failed; unknown (a ledger row without a
            file); restamped (this content is recorded under another version).
        row: the ledger's row, see ``ledgers.read_ledgers``; None if there is none (pending, or a ledger
            that keeps one row for many migrations).
        content: how the recorded content relates to the file; None where the ledger cannot show it.
        blob: for an edited file, the commit whose content was applied; for an unknown one, where it was
            last seen (deleted since, or in another branch). None if git does not have it.
        out_of_order: also set when another state is shown.
        notes: what a person should know about this cell.
    """

    state: State
    row: Row | None = None
    content: Effect | None = None
    blob: Blob | None = None
    out_of_order: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatrixRow:
    """One migration: a file, a ledger row that has no file, or both. ``cells`` lacks unreadable ledgers."""

    version: str
    name: str
    file: str | None
    migration: Migration | None
    cells: Mapping[str, Cell]

    @property
    def states(self) -> dict[str, State]:
        return {environment: cell.state for environment, cell in self.cells.items()}


@dataclass(frozen=True)
class EnvironmentHistory:
    """The ledger of one environment in sum.

    ``head``: the last applied version in the order of the files (all heads, for alembic). ``ordered_by``:
    what tells the order of application: ``ledger``, ``row age`` or None. ``applied_rows`` are the rows of
    what was applied, in that order (else in order of version). ``not_detectable``: what this ledger
    cannot show. ``not_checked``: {what, why, fix}.
    """

    name: str
    tool: str | None
    table: str | None
    head: str | None
    applied: int
    pending: int
    ordered_by: str | None = None
    applied_rows: tuple[Row, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    not_detectable: tuple[str, ...] = ()
    not_checked: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class HistoryMatrix:
    """The result of ``states``: one row per migration, one cell per environment."""

    rows: tuple[MatrixRow, ...]
    environments: tuple[EnvironmentHistory, ...]
    notes: tuple[str, ...] = ()

    def environment(self, name: str) -> EnvironmentHistory:
        return next(environment for environment in self.environments if environment.name == name)

    def to_json(self) -> dict[str, Any]:
        """The document ``auditkit.history/1``."""
        shown = (
            "name",
            "tool",
            "table",
            "head",
            "applied",
            "pending",
            "notes",
            "not_detectable",
            "not_checked",
        )
        return {
            "format": "auditkit.history/1",
            "environments": [
                {
                    key: list(value) if isinstance(value := getattr(environment, key), tuple) else value
                    for key in shown
                }
                for environment in self.environments
            ],
            "migrations": [
                {"version": row.version, "name": row.name, "file": row.file, "states": row.states}
                for row in self.rows
            ],
            "notes": list(self.notes),
        }

    def frame(self) -> pd.DataFrame:
        """Columns version, name, file, and one of states for each environment (None: not known)."""
        import pandas as pd

        names = [environment.name for environment in self.environments]
        records = [
            {"version": row.version, "name": row.name, "file": row.file}
            | {name: row.states.get(name) for name in names}
            for row in self.rows
        ]
        return pd.DataFrame(records, columns=["version", "name", "file", *names], dtype="object")


#: Tools that order migrations by dependency, which allows many orders.
_GRAPHS = frozenset({"alembic", "django"})

BlobsOf = Callable[[Migration], Sequence[Blob]]


def states(
    migrations: Migrations | Sequence[Migration],
    histories: Mapping[str, History],
    earlier: BlobsOf | None = None,
) -> HistoryMatrix:
    """Hold the migration files against the ledgers of the environments.

    Args:
        migrations: the files, in the tool's order.
        histories: per environment, what ``ledgers.read_history`` or ``ledgers.choose`` gave.
        earlier: gives what a file said in earlier commits; by default git is asked.
    """
    if earlier is None:
        earlier = _from_git(migrations)
    sides = {name: _Side(name, list(migrations), history, earlier) for name, history in histories.items()}
    for side in sides.values():
        side.match()
    if isinstance(migrations, Migrations) and any(side.strangers for side in sides.values()):
        seen = lost(migrations)
        for side in sides.values():
            side.find_strangers(seen)
    rows = [
        MatrixRow(
            migration.version,
            migration.name,
            migration.path,
            migration,
            {name: side.cells[index] for name, side in sides.items() if index in side.cells},
        )
        for index, migration in enumerate(migrations)
    ]
    notes = migrations.notes if isinstance(migrations, Migrations) else ()
    return HistoryMatrix(
        tuple(_merge(rows, _strangers(sides.values()), _order_of(migrations))),
        tuple(side.summary() for side in sides.values()),
        notes,
    )


def _from_git(migrations: Migrations | Sequence[Migration]) -> BlobsOf:
    if isinstance(migrations, Migrations):
        return lambda migration: blobs(migrations, migration)
    return lambda _: ()


def _order_of(migrations: Migrations | Sequence[Migration]) -> Callable[[str], Any] | None:
    """The sort key of versions, None where they have no order of their own."""
    tool = migrations.tool if isinstance(migrations, Migrations) else "plain"
    return None if tool in _GRAPHS or LAYOUTS[tool].listed else LAYOUTS[tool].order


def _strangers(sides: Iterable[_Side]) -> list[MatrixRow]:
    """Ledger rows without a file, one for each version and name over all environments."""
    found: dict[tuple[str, str], dict[str, Cell]] = {}
    for side in sides:
        for row, cell in side.strangers:
            found.setdefault((row["version"], row["name"]), {})[side.name] = cell
    return [MatrixRow(version, name, None, None, cells) for (version, name), cells in found.items()]


def _merge(
    rows: list[MatrixRow], strangers: list[MatrixRow], order: Callable[[str], Any] | None
) -> Iterable[MatrixRow]:
    """Put each stranger before the first file with a later version, or at the end."""
    strangers = sorted(
        strangers, key=lambda row: (order(row.version) if order else (), row.version, row.name)
    )
    for row in rows:
        while order and strangers and order(strangers[0].version) < order(row.version):
            yield strangers.pop(0)
        yield row
    yield from strangers


class _Side:
    """The files against one ledger."""

    def __init__(self, name: str, migrations: list[Migration], history: History, earlier: BlobsOf) -> None:
        self.name, self.migrations, self.history, self.earlier = name, migrations, history, earlier
        self.ledger = LEDGERS.get(history.tool or "")
        self.order = LAYOUTS[history.tool].order if history.tool in LAYOUTS else str
        self.cells: dict[int, Cell] = {}  # by index into migrations
        self.files: dict[int, Migration] = {}  # not paired yet
        self.rows: dict[int, Row] = {}
        self.strangers: list[tuple[Row, Cell]] = []
        # By path, for checksums that cover several files: how the text applied relates to the file's.
        self.chain: dict[str, tuple[Effect, Blob | None]] = {}
        self.notes = list(history.notes)
        self.not_checked = list(history.not_checked)
        self.ordered_by: str | None = None

    # -- matching ----------------------------------------------------------------------------------------

    def match(self) -> None:
        if not self.history.readable:
            return
        rows = _latest(self.history.rows, self.history.tool)
        whole = self.ledger.whole if self.ledger else ""
        if whole == "heads":
            self._heads(rows)
        elif whole == "upto":
            self._up_to(rows)
        else:
            self._one_by_one(rows)
            self._find_order()
        self._note_skipped()

    def _one_by_one(self, rows: list[Row]) -> None:
        """Pair files and rows, the surest pairs first; what is left over is pending or unknown."""
        self.files, self.rows = dict(enumerate(self.migrations)), dict(enumerate(rows))
        if self.ledger and self.ledger.chained:
            self._follow_chain(rows)
        self._pair_versions(sure=True)
        self._pair_contents()
        # Another name and another content under the same version: still that version's file, much edited.
        self._pair_versions(sure=False)
        self._pair_names()
        for index in self.files:
            self.cells[index] = Cell("pending")
        self._under_baseline(rows)
        for row in self.rows.values():
            if row["state"] != "rolled_back" and row.get("recorded_as") != "baseline":
                self.strangers.append((row, Cell("unknown", row, notes=_row_notes(row))))

    def _under_baseline(self, rows: list[Row]) -> None:
        """What a baseline covers counts as applied: the tool will never run it."""
        lines = [row for row in rows if row.get("recorded_as") == "baseline" and row["version"]]
        if not lines:
            return
        top = max(lines, key=lambda row: self.order(row["version"]))
        self.notes.append(f"migrations up to version {top['version']} are recorded as a baseline, not run")
        for index, cell in self.cells.items():
            version = self.migrations[index].version
            if cell.state == "pending" and version and self.order(version) <= self.order(top["version"]):
                note = f"covered by the baseline {top['version']}: recorded as applied, not run"
                self.cells[index] = Cell("applied", notes=(note,))

    def _follow_chain(self, rows: list[Row]) -> None:
        """Where each checksum covers all earlier files too (Atlas): which files still say what was applied.

        A later file can be judged only if all before it are known as they were, from disk or from git: after
        the first one that is not, nothing more is said. A file that was added before an applied one was not
        there when that was hashed.
        """
        recorded = {row["version"]: row for row in rows}
        here = {migration.version for migration in self.migrations}
        known: list[
            tuple[int | None, str, bytes]
        ] = []  # position in the ledger (None: not in it), name, text
        for migration in sorted(self.migrations, key=lambda item: item.path):
            name = migration.path.rpartition("/")[2]
            row = recorded.get(migration.version)
            position = row["position"] or 0 if row else None
            if row is None or not row["checksum"]:
                known.append((position, name, migration.raw))
                continue
            if any(version < migration.version for version in recorded.keys() - here):
                return  # a file before this one is gone
            # What was there when it was hashed: all of them, those in the ledger, those in it by then.
            beginnings = [
                [(n, text) for _, n, text in known],
                [(n, text) for place, n, text in known if place is not None],
                [(n, text) for place, n, text in known if place is not None and place < (position or 0)],
            ]
            texts: list[tuple[bytes, Blob | None]] = [(migration.raw, None)]
            texts += [(blob.migration.raw, blob) for blob in self.earlier(migration)]
            hashed = row["checksum"].removeprefix("h1:")
            fitting = [
                (raw, blob)
                for raw, blob in texts
                if any(atlas([*before, (name, raw)]) == hashed for before in beginnings)
            ]
            if not fitting:
                self.chain[migration.path] = ("different", None)
                return
            raw, blob = fitting[0]
            then = blob.migration.sql if blob else None
            effect = same_effect([then], [migration.sql or ""]) if then is not None else "identical"
            self.chain[migration.path] = (effect, blob)
            known.append((position, name, raw))

    def _pair(self, index: int, number: int, cell: Cell) -> None:
        self.cells[index] = cell
        del self.files[index], self.rows[number]

    def _pair_versions(self, sure: bool) -> None:
        """The same version; if *sure*, only where neither name nor content speaks against it."""
        candidates: dict[object, list[int]] = {}
        for index, migration in enumerate(self.migrations):
            candidates.setdefault(self._key(migration.version, migration.name), []).append(index)
        for number, row in list(self.rows.items()):
            indexes = candidates.get(self._key(row["version"], row["name"]), [])
            for index in indexes:
                if index not in self.files:
                    continue
                migration = self.files[index]
                content = self._content(migration, row)
                same_name = row["name"] in ("", migration.name) or not migration.name
                fits = content in ("identical", "cosmetic") or (content is None and len(indexes) == 1)
                if same_name or fits or not sure:
                    self._pair(index, number, self._cell(migration, row, content))
                    break

    def _pair_contents(self) -> None:
        """The same content under another version."""
        recorded: dict[object, int] = {}
        for number, row in self.rows.items():
            if row["statements"]:
                recorded[signature(row["statements"])] = number
            elif row["checksum"] and not (self.ledger and self.ledger.chained):
                recorded[row["checksum"].lower()] = number
        checksums = self.ledger.checksums if self.ledger else None
        for index, migration in list(self.files.items()) if recorded else ():
            keys: list[object] = [*(checksums(migration) or ())] if checksums and migration.raw else []
            if migration.statements:
                keys.append(signature(statement.text for statement in migration.statements))
            number = next((recorded[key] for key in keys if key in recorded), -1)
            if number in self.rows:
                self._pair(index, number, self._restamped(migration, self.rows[number], "the same content"))

    def _pair_names(self) -> None:
        """A name that is unique on both sides, where the content is not known to differ."""
        files: dict[str, list[int]] = {}
        rows: dict[str, list[int]] = {}
        for index, migration in self.files.items():
            files.setdefault(migration.name, []).append(index)
        for number, row in self.rows.items():
            rows.setdefault(row["name"], []).append(number)
        for name in sorted(files.keys() & rows.keys() - {""}):
            if len(files[name]) > 1 or len(rows[name]) > 1:
                continue
            index, number = files[name][0], rows[name][0]
            migration, row = self.files[index], self.rows[number]
            if self._content(migration, row) is None:
                self._pair(index, number, self._restamped(migration, row, "the same name"))
            else:
                self.notes.append(
                    f"{migration.path} is pending, and version {row['version']} with the same name "
                    "but other content is recorded: they are taken for two migrations"
                )

    def _key(self, version: str, name: str) -> object:
        """What versions are compared by: 007 and 7 are one version to a tool that counts."""
        if self.history.tool == "flyway" and not version:
            return ("repeatable", name)
        return self.order(version)

    def find_strangers(self, seen: Mapping[str, Blob]) -> None:
        """Say where git has the files of unknown rows."""
        by_version = self.history.tool != "drizzle"  # whose versions are in a list that the file's branch has
        known = {self._key(b.migration.version, b.migration.name): b for b in seen.values() if by_version}
        for number, (row, cell) in enumerate(self.strangers):
            blob = known.get(self._key(row["version"], row["name"])) or next(
                (b for b in seen.values() if self._has_checksum(row, b.migration)), None
            )
            if blob and row["name"] in ("", blob.migration.name):
                where = f"git has it as {blob.migration.path} ({blob.commit.id[:12]}, {blob.commit.author})"
                self.strangers[number] = (row, replace(cell, blob=blob, notes=(*cell.notes, where)))

    def _content(self, migration: Migration, row: Row) -> Effect | None:
        """How the recorded content relates to the file; None if the ledger cannot show it."""
        if row["statements"] is not None and migration.sql is not None:
            # An empty list is what a hand-made row looks like, unless the file is empty too.
            if not row["statements"] and migration.statements:
                return None
            return same_effect((s.text for s in migration.statements), row["statements"])
        if self.ledger and self.ledger.chained:
            return self.chain[migration.path][0] if migration.path in self.chain else None
        if row["checksum"] and self.ledger and self.ledger.checksums and migration.raw:
            accepted = self.ledger.checksums(migration)
            if accepted is None:
                return None
            if row["checksum"].lower() in accepted:
                return "identical"
            applied = self._blob(migration, row)
            if applied and applied.migration.sql is not None and migration.sql is not None:
                return same_effect([applied.migration.sql], [migration.sql])
            return "different"
        return None

    def _has_checksum(self, row: Row, migration: Migration) -> bool:
        if not row["checksum"] or not self.ledger or not self.ledger.checksums:
            return False
        return row["checksum"].lower() in (self.ledger.checksums(migration) or ())

    def _blob(self, migration: Migration, row: Row) -> Blob | None:
        """The earlier version of the file that was applied, as far as the ledger identifies it."""
        if migration.path in self.chain:
            return self.chain[migration.path][1]
        same = None
        for blob in self.earlier(migration):
            if row["statements"] is not None:
                effect = same_effect((s.text for s in blob.migration.statements), row["statements"])
                if effect == "identical":
                    return blob
                if effect == "cosmetic":
                    same = same or blob
            elif self._has_checksum(row, blob.migration):
                return blob
        return same

    def _cell(self, migration: Migration, row: Row, content: Effect | None) -> Cell:
        notes = list(_row_notes(row))
        if row["name"] and migration.name and row["name"] != migration.name:
            notes.append(f"recorded as {row['name']!r}")
        if row["state"] == "failed":
            return Cell("failed", row, content, notes=tuple(notes))
        if row["state"] == "rolled_back":
            return Cell("pending", row, notes=("it was rolled back", *notes))
        if content == "cosmetic":
            notes.append("edited after it was applied, in comments or layout only")
        elif content is None and self.ledger and "statements" in self.ledger.columns:
            notes.append("its statements are not recorded, so an edit cannot be seen")
        if content != "different":
            return Cell("applied", row, content, notes=tuple(notes))
        blob = self._blob(migration, row)
        if blob:
            notes.append(f"what was applied is the file as of {blob.commit.id[:12]} ({blob.commit.author})")
        return Cell("edited", row, content, blob, notes=tuple(notes))

    def _restamped(self, migration: Migration, row: Row, why: str) -> Cell:
        content = self._content(migration, row)
        if row["state"] == "rolled_back":
            return Cell("pending", row, notes=(f"{why} was rolled back as version {row['version']}",))
        if row["state"] == "failed":
            return Cell(
                "failed", row, content, notes=(f"recorded as version {row['version']}", *_row_notes(row))
            )
        return Cell(
            "restamped",
            row,
            content,
            notes=(f"{why} is recorded as version {row['version']}", *_row_notes(row)),
        )

    # -- ledgers whose rows stand for more than one migration ---------------------------------------------

    def _heads(self, rows: list[Row]) -> None:
        by_version = {migration.version: index for index, migration in enumerate(self.migrations)}
        lost = [row for row in rows if row["version"] not in by_version]
        self.strangers = [(row, Cell("unknown", row)) for row in lost]
        if lost:
            heads = ", ".join(row["version"] for row in lost)
            self.not_checked.append(
                {
                    "what": f"which migrations are applied to {self.name}",
                    "why": f"its revision {heads} is in no file, and the ledger stores nothing else",
                    "fix": "bring the branch that has it, or look for it with `git log --all`",
                }
            )
        known = {row["version"]: row for row in rows}
        reached: set[str] = set()
        queue = [row["version"] for row in rows]
        while queue:
            version = queue.pop()
            if version in by_version and version not in reached:
                reached.add(version)
                queue.extend(self.migrations[by_version[version]].depends)
        for version, index in by_version.items():
            if version in reached:
                self.cells[index] = Cell("applied", known.get(version))
            elif not lost:
                self.cells[index] = Cell("pending")

    def _up_to(self, rows: list[Row]) -> None:
        row = rows[-1] if rows else None
        head = self.order(row["version"]) if row else None
        for index, migration in enumerate(self.migrations):
            key = self.order(migration.version)
            if head is None or key > head:
                self.cells[index] = Cell("pending")
            elif key == head and row:
                self.cells[index] = Cell("failed" if row["state"] == "failed" else "applied", row)
            else:
                self.cells[index] = Cell("applied")
        if row and not any(cell.row is row for cell in self.cells.values()):
            self.strangers.append((row, Cell("unknown", row, notes=_row_notes(row))))

    # -- order -------------------------------------------------------------------------------------------

    def _find_order(self) -> None:
        """Mark what was applied after a later migration, where rows tell their order."""
        rows = [cell.row for cell in self.cells.values() if cell.row] + [row for row, _ in self.strangers]
        if len(rows) < 2:
            return
        when = _order_evidence(rows)
        if when is None:
            return
        self.ordered_by, key = when
        if self.history.tool in _GRAPHS:  # many orders are right
            return
        earliest: Any = None
        for index in sorted(self.cells, reverse=True):
            cell = self.cells[index]
            if cell.row is None or cell.row["state"] == "rolled_back" or not self.migrations[index].version:
                continue
            moment = key(cell.row)
            if earliest is not None and moment > earliest:
                late = "applied after a later version"
                state: State = "out_of_order" if cell.state == "applied" else cell.state
                self.cells[index] = replace(cell, state=state, out_of_order=True, notes=(*cell.notes, late))
            if earliest is None or moment < earliest:
                earliest = moment

    def _note_skipped(self) -> None:
        """Pending migrations that are older than the last applied one: some tools never run them."""
        done = [index for index, cell in self.cells.items() if cell.state != "pending"]
        last = max(done, default=-1)
        note = {
            "drizzle": "older than the last applied migration: drizzle will skip it silently",
            "supabase": "older than the last applied migration: `db push` refuses it without --include-all",
            "flyway": "older than the last applied migration: flyway ignores it without outOfOrder",
        }.get(self.history.tool or "", "older than the last applied migration")
        if self.history.tool in _GRAPHS:
            return
        if self.history.tool == "drizzle" and any(row["name"] for row in self.history.rows):
            note = "older than the last applied migration"  # from 1.0 it goes by name, and runs it next time
        for index, cell in self.cells.items():
            if cell.state == "pending" and index < last:
                self.cells[index] = replace(cell, notes=(*cell.notes, note))

    # -- summary -----------------------------------------------------------------------------------------

    def summary(self) -> EnvironmentHistory:
        applied = [
            index for index, cell in sorted(self.cells.items()) if cell.state not in ("pending", "failed")
        ]
        if self.ledger and self.ledger.whole == "heads":
            head = ", ".join(sorted(row["version"] for row in self.history.rows)) or None
        elif self.history.tool in _GRAPHS or (
            self.history.tool in LAYOUTS and LAYOUTS[self.history.tool].listed
        ):
            head = self.migrations[applied[-1]].version if applied else None
        else:
            versions = [self.migrations[index].version for index in applied]
            versions += [row["version"] for row, _ in self.strangers]
            head = max(versions, key=self.order, default=None)
        rows = [
            cell.row for cell in chain(self.cells.values(), (cell for _, cell in self.strangers)) if cell.row
        ]
        ran = [row for row in rows if row["state"] == "applied"]
        ran.sort(key=lambda row: self.order(row["version"]))
        if when := _order_evidence(ran) if self.ordered_by else None:
            ran.sort(key=when[1])
        return EnvironmentHistory(
            name=self.name,
            tool=self.history.tool,
            table=self.history.table,
            head=head,
            applied=len(applied) + sum(row["state"] == "applied" for row, _ in self.strangers),
            pending=sum(cell.state == "pending" for cell in self.cells.values()),
            ordered_by=self.ordered_by,
            applied_rows=tuple(ran),
            notes=tuple(self.notes),
            not_detectable=tuple(
                item
                for item in not_detectable(self.history.tool)
                if not (self.ordered_by and item.startswith("the order in which"))
            ),
            not_checked=tuple(self.not_checked),
        )


def _latest(rows: Iterable[Row], tool: str | None) -> list[Row]:
    """The last row of each migration: tools add a row when one is retried, rolled back or rerun.

    Two migrations may bear the same time stamp (Prisma allows it); a row that undoes one has another name.
    """
    latest: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: row["position"] or 0):
        named = tool != "flyway" or not row["version"]
        latest[row["version"], row["name"] if named else ""] = row
    return list(latest.values())


def _row_notes(row: Row) -> tuple[str, ...]:
    return (row["note"],) if row["note"] else ()


def _order_evidence(rows: Sequence[Row]) -> tuple[str, Callable[[Row], Any]] | None:
    """What tells the order in which rows were written, and the sort key for it; None if nothing does."""
    if all(row["position"] is not None for row in rows):
        return "ledger", lambda row: row["position"]
    ages = {row["age"] for row in rows}
    # One transaction for all rows is a restore or a bulk repair. The age is kept through a freeze, and turns
    # negative beyond 2^31 transactions, where it orders nothing any more.
    if None not in ages and len(ages) > 1 and min(ages) >= 0:
        return "row age", lambda row: -row["age"]
    return None
