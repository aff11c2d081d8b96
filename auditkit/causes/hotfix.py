"""What was changed by hand and is nevertheless as the migrations say: captured later, or taken back.

There is no difference to explain, so these are findings without deltas: notes. All that shows them is who wrote a
catalog row last. Hence only rows that nothing but a change of the object writes count (never a table's row in
pg_class, which TRUNCATE, VACUUM FULL and the first foreign key rewrite), only where transaction ids are trusted,
and only rows whose migration is known to have run in another transaction.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact
from auditkit.causes.calibration import UNSTEADY, Row, older, rows_of
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.search import Search, counted, listed, name_of
from auditkit.history.shadow import Change, Replay
from auditkit.history.split import split

#: Kinds that belong to the cluster or the installation, or whose rows maintenance writes; and those of which nothing
#: changes but grants, which provisioning scripts give again and again.
_OTHERS = frozenset({"database", "default acl", "extension", "schema", "sequence", "subscription"})
#: Rows that are stored anew whenever the same is said again: a default, be it in other words; a comment; a label.
_SAID_AGAIN = frozenset({"pg_attrdef", "pg_description", "pg_seclabel"})
#: A transaction that wrote so many functions or types granted something on all of them.
_GRANTED = 3
#: Links that tell a migration's own transaction from the next one.
SURE = frozenset({"exact", "commit-time"})
#: SQL that leaves what is there already as it is.
_NO_OP = re.compile(r"\bif\s+not\s+exists\b|^\s*do\b|\bif\s+exists\b", re.I)


@dataclass(frozen=True)
class Written:
    """A row that another transaction wrote than that of its migration: before that (``early``) or after it."""

    row: Row
    ran: int

    @property
    def early(self) -> bool:
        return older(self.row.xid, self.ran)


def hotfixes(search: Search) -> None:
    """Report what was written by hand and differs in nothing; nothing that already has a finding."""
    replay = search.case.applied or search.case.intended
    if replay is None or not search.calibration.trusted or not search.case.ledger_readable:
        return
    told = {key for finding in search.findings for key in finding.objects}
    settled = {finding.entry.label for finding in search.findings if finding.entry}
    told |= {key for delta in search.case.deltas for key in (delta.key, *delta.children)}
    # What was written together with a difference is a part of that: a column when its partition is detached.
    known = {x for key in told for x in search.calibration.foreign(search.actual(key))}
    written = [
        w
        for w in _foreign(search, replay)
        if w.row.key not in told and w.row.xid not in known and w.row.entry.label not in settled
    ]
    granted = _granted(written)
    _captured(search, replay, [w for w in written if w.early])
    _reverted(search, replay, [w for w in written if not w.early and w.row.xid not in granted])
    _dropped_again(search, replay, told)


def _foreign(search: Search, replay: Replay) -> Iterator[Written]:
    """The rows that no migration wrote, although they are as one left them."""
    case, calibration = search.case, search.calibration
    rebuilt = _rebuilt(search)
    for row in rows_of(case, replay):
        ran = calibration.ran.get(row.entry.label)
        if ran is None or row.nested or row.xid in calibration.by_xid:
            continue
        if calibration.link not in SURE and calibration.near(row.xid, row.entry):
            continue
        here, meant = case.actual.get(*row.key), replay.final.get(*row.key)
        assert here and meant
        written = Written(row, ran)
        if not _telling(row, here, rebuilt) or not _compared(search, here):
            continue
        if written.early or not _rewritten(search, row, replay):
            yield written


def _granted(written: Iterable[Written]) -> set[int]:
    """The transactions that wrote many objects on which rights are given: GRANT … ON ALL FUNCTIONS."""
    found = Counter(
        w.row.xid for w in written if w.row.catalog in ("pg_proc", "pg_type") and w.row.key[0] != "table"
    )
    return {xid for xid, count in found.items() if count >= _GRANTED}


def _rebuilt(search: Search) -> tuple[set[int], set[int]]:
    """The transactions that wrote indexes in one go, and those that rebuilt them."""
    actual = search.case.actual
    apart = actual.physical.get("rebuilt")
    made: set[int] = set()
    rebuilt: set[int] = set()
    for fact in actual.iter("index"):
        if xid := fact.rows.get("pg_index"):
            (rebuilt if apart is None or fact.oid in apart else made).add(xid)
    return made, rebuilt


def _telling(row: Row, here: Fact, indexes: tuple[set[int], set[int]]) -> bool:
    """Whether only a change of the object writes this row.

    REINDEX CONCURRENTLY gives an index a new oid, which it writes into the rows of the constraints that use it.
    """
    made, rebuilt = indexes
    if here.kind in _OTHERS or KINDS[here.kind].cluster_wide or row.catalog in _SAID_AGAIN:
        return False
    if row.catalog == "pg_index":
        return here.attributes.get("definition") is not None and row.xid in made - rebuilt
    if row.catalog in UNSTEADY:
        return False
    if here.kind != "table constraint" or row.catalog != "pg_constraint":
        return True
    own = str(here.attributes.get("definition")).startswith(("CHECK", "FOREIGN KEY"))
    return row.xid not in rebuilt and (own or row.xid in made)


def _rewritten(search: Search, row: Row, replay: Replay) -> bool:
    """Whether something else can have written a column's row: a rewrite of its table, or its default set again.

    A column that was added with a default has a value for old rows, until VACUUM FULL or CLUSTER makes them new.
    """
    here, meant = search.actual(row.key), replay.final.get(*row.key)
    if row.catalog != "pg_attribute" or not here or not meant or here.subid != meant.subid:
        return False
    if here.rows.get("pg_attrdef") == row.xid:
        return True
    missing = {(oid, number) for oid, number, _ in search.case.actual.physical.get("missing", ())}
    states = [*search.renamed_from(replay, row.key), *replay.timeline.get(row.key, ())]
    made = min((c for c in states if c.fact is not None), key=lambda c: c.step, default=None)
    statement = (_said(replay, made, "pg_attribute") if made else "").lower()
    domain = search.case.actual.get("type", str(meant.attributes.get("type"))) is not None
    given = made is not None and made.fact is not None and made.fact.attributes.get("default") is not None
    valued = domain or given or "default" in statement or statement.endswith("…")
    return valued and not statement.startswith("create") and (here.oid, here.subid) not in missing


def _compared(search: Search, fact: Fact) -> bool:
    """Whether a difference in this object would be reported at all."""
    scope = search.case.scope
    if scope is None:
        return True
    if fact.schema in scope.managed and fact.kind not in scope.still_compared:
        return False
    if scope.schemas and fact.schema not in scope.schemas:
        return False
    return scope.rule_for(fact, search.case.actual) is None


# --- captured ------------------------------------------------------------------------------------------


def _captured(search: Search, replay: Replay, written: list[Written]) -> None:
    """What was there before the migration that makes it: one finding for each such migration."""
    by_entry: dict[str, list[Written]] = defaultdict(list)
    for w in written:
        by_entry[w.row.entry.label].append(w)
    for found in by_entry.values():
        entry = found[0].row.entry
        why = _why_captured(search, replay, entry, found)
        if why is None:
            continue
        keys = search.roots({w.row.key for w in found})
        search.add(
            "captured_hotfix",
            _confidence(search),
            f"{listed(map(name_of, keys[:3]))} {'was' if len(keys) == 1 else 'were'} made by hand in {search.env} before "
            f"{entry.label} was recorded there",
            keys,
            entry=entry,
            deltas=[],
            evidence=[
                Evidence(
                    "replay", f"{'It is' if len(keys) == 1 else 'They are'} as {entry.label} makes them."
                ),
                _xmin(search, found, "before"),
                Evidence("replay", why),
                *_moments(search, found, entry),
            ],
            alternatives=[
                (
                    "manual_change",
                    f"The ledger row of {entry.label} may have been written again after it had run.",
                )
            ],
        )


def _why_captured(search: Search, replay: Replay, entry: Entry, found: list[Written]) -> str | None:
    """What shows that the migration found it there; None if its ledger row may simply be younger than its run."""
    ran, place = search.calibration.ran, _intended(entry)
    # Migrations whose own rows bear the transaction of their ledger row: that was not written again since.
    linked = [r.entry for r in rows_of(search.case, replay) if r.xid == ran.get(r.entry.label)]
    before = [e for e in search.case.entries if 0 <= _intended(e) < place and e.label in ran]
    if not before:
        return None  # a baseline: what was there before migrations were
    last = max((e for e in linked if e in before), key=_intended, default=None)
    if last is not None and all(older(w.row.xid, ran[last.label]) for w in found):
        return f"It was there before {last.label} ran, which comes earlier."
    if _written_again(search) or not all(
        _NO_OP.search(said) for w in found if (said := _statement(search, replay, w.row)) is not None
    ):
        return None
    # A tool that commits each statement would leave the same: did it link the migration before this one?
    telling = {r.entry.label for r in rows_of(search.case, replay)}
    beside = max((e for e in before if e.label in telling), key=_intended, default=None)
    return (
        None
        if beside is not None and beside not in linked
        else "Its statement leaves what is there already as it is."
    )


def _written_again(search: Search) -> bool:
    """Whether a row of the ledger may have been updated, or deleted and inserted anew: it left its place.

    A row that is not there any more has left one, too.
    """
    case = search.case
    gone = search.entries(
        lambda e: e.intended is not None and not e.recorded and case.later_applied.get(e.version, False)
    )
    return bool(case.actual.physical.get("vacant", 0) > len(gone))


def _intended(entry: Entry) -> int:
    return -1 if entry.intended is None else entry.intended


# --- taken back ----------------------------------------------------------------------------------------


def _reverted(search: Search, replay: Replay, written: list[Written]) -> None:
    """What was written again after its migration: one finding for each object that stands for itself."""
    by_root: dict[Key, list[Written]] = defaultdict(list)
    keys = {w.row.key for w in written}
    for w in written:
        by_root[_root(search, w.row.key, keys)].append(w)
    for root, found in sorted(by_root.items()):
        again = _made_again(search, replay, root, found)
        search.add(
            "reverted_hotfix",
            _confidence(search),
            f"{name_of(root)} was {again or 'changed by hand'} in {search.env}"
            + (": its data went with the first one" if again else " and taken back"),
            [root],
            culprit=search.definer(root),
            deltas=[],
            evidence=[
                Evidence("replay", "It is what the migrations make; nothing differs."),
                _xmin(search, found, "after"),
                *_moments(search, found, found[0].row.entry),
            ],
            alternatives=[
                ("manual_change", "The same definition may have been run again, without a change in between.")
            ],
        )


def _root(search: Search, key: Key, keys: set[Key]) -> Key:
    """What *key* is a part of, as far as that was written by hand, too."""
    seen = {key}
    while above := sorted((search.case.actual.wholes(key) & keys) - seen):
        key = above[0]
        seen.add(key)
    return key


def _made_again(search: Search, replay: Replay, root: Key, found: list[Written]) -> str | None:
    """Whether a table or column was dropped and made again, in words.

    A new owner or name is written to a table's row in pg_type and not to those of all its columns; a column keeps
    its number for life.
    """
    here, meant = search.actual(root), replay.final.get(*root)
    if here is None or meant is None:
        return None
    if root[0] == "table column" and here.subid != meant.subid:
        return "dropped and added again by hand"
    if root[0] == "table":
        columns = {column.key for column in search.case.actual.children(here, "table column")}
        created = {w.row.xid for w in found if w.row.catalog == "pg_type"}
        if created and columns and columns <= {w.row.key for w in found if w.row.xid in created}:
            return "dropped and made again by hand"
    return None


def _dropped_again(search: Search, replay: Replay, told: set[Key]) -> None:
    """Tables that had a column by hand for a while: its number is gone, and no migration dropped it."""
    case, calibration = search.case, search.calibration
    tables = {fact.oid: fact for fact in case.actual.iter("table")}
    known: dict[str, set[int]] = defaultdict(set)  # table → numbers of columns that migrations made
    for (kind, _), changes in replay.timeline.items():
        for change in changes if kind == "table column" else ():
            if change.fact is not None and change.fact.parent is not None:
                known[change.fact.parent].add(change.fact.subid)
    lost: dict[Key, list[int]] = defaultdict(list)
    for oid, number, xid in case.actual.physical.get("dropped", ()):
        fact = tables.get(oid)
        if fact is None or xid in calibration.by_xid or number in known.get(fact.identity, ()):
            continue
        columns = {column.key for column in case.actual.children(fact, "table column")}
        meant = replay.final.get(*fact.key)
        steps = replay.timeline.get(fact.key)
        entry = next((e for e in case.entries if steps and _step(search, replay, e) == steps[0].step), None)
        ran = calibration.ran.get(entry.label) if entry else None
        if meant is None or ran is None or not older(ran, xid) or ({fact.key} | columns) & told:
            continue
        if _compared(search, fact):
            lost[fact.key].append(xid)
    reported = {key for f in search.findings if f.cause == "reverted_hotfix" for key in f.objects}
    for key, xids in sorted(lost.items()):
        if key in reported:
            continue
        search.add(
            "reverted_hotfix",
            _confidence(search),
            f"{name_of(key)} had {counted(len(xids), 'column')} added and dropped by hand in {search.env}",
            [key],
            culprit=search.definer(key),
            deltas=[],
            evidence=[
                Evidence("replay", "It is what the migrations make; nothing differs."),
                Evidence(
                    "column numbers",
                    f"Transaction {xids[-1]} dropped a column that no migration made, and is that of no migration.",
                ),
            ],
        )


# --- words -----------------------------------------------------------------------------------------------


def _confidence(search: Search) -> str:
    return "consistent" if search.calibration.link in SURE else "conjecture"


def _xmin(search: Search, found: list[Written], when: str) -> Evidence:
    xids = sorted({w.row.xid for w in found})
    rows = listed(dict.fromkeys(w.row.catalog for w in found))
    entry, ran = found[0].row.entry, found[0].ran
    shown = f"Transaction {xids[-1]}" if len(xids) == 1 else f"Transactions {listed(map(str, xids[-3:]))}"
    return Evidence(
        "xmin",
        f"{shown} wrote {'its' if len(found) == 1 else 'the'} rows in {rows}, {when} {entry.label} (transaction {ran}), "
        "and no migration was recorded in it.",
    )


def _moments(search: Search, found: list[Written], entry: Entry) -> Iterable[Evidence]:
    times = search.calibration.times
    at = sorted({times[w.row.xid] for w in found if w.row.xid in times})
    ran = times.get(found[0].ran)
    if at:
        yield Evidence(
            "commit time", f"It was committed at {at[-1]}{f', {entry.label} at {ran}' if ran else ''}."
        )


def _step(search: Search, replay: Replay, entry: Entry) -> int:
    step = entry.applied if replay is search.case.applied else entry.intended
    return -1 if step is None else step


def _statement(search: Search, replay: Replay, row: Row) -> str | None:
    """What the migration of a row says to write it; of several that speak of the object the one that wrote there."""
    step = _step(search, replay, row.entry)
    change = next(
        (c for c in replay.timeline.get(row.key, ()) if c.step == step and c.fact is not None), None
    )
    return None if change is None else _said(replay, change, row.catalog)


def _said(replay: Replay, change: Change, catalog: str) -> str:
    """The statement of a change that wrote to *catalog*: another may have come after it, a comment on a column."""
    line = change.rows.get(catalog)
    sql = replay.steps[change.step].sql if change.step >= 0 else ""
    return next((s.text for s in split(sql) if s.line == line), change.statement or "")
