"""Which transaction ids can be believed in an environment, and which migration each then stands for.

``xmin`` of a catalog row is the transaction that last wrote it; where the migration tool inserts its ledger row in
the same transaction, equality of the two names the migration. Restores, upgrades and repairs break that, and some
tools record in a transaction of their own. So signatures of the former are looked for first, and the latter is
measured: the replay knows which migration wrote each row last, and its rows here must bear the transaction that the
ledger names. Ids wrap around after 2^32: they are compared for equality, or as the server does it, in a circle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from auditkit.catalog.snapshot import Fact
from auditkit.causes.case import Case, Entry, Key, differing
from auditkit.history.shadow import Replay

#: The link between catalog and ledger is used if at most one transaction contradicts it for nine objects that agree.
TRUSTED = 0.9
#: Where ids are equal, which chance does not do, so many of the migrations have to have an object that shows it: many
#: hands in a small database contradict it in many objects.
AGREEING = 0.75
#: Fewer agreeing objects than this prove nothing either way.
ENOUGH = 3
#: So many transactions before or after its migration a tool may write the ledger row: it inserts, runs, updates.
NEAR = 3
#: Rows that maintenance rewrites: TRUNCATE, VACUUM FULL, CLUSTER, REINDEX, the first foreign key or child of a table,
#: ALTER SEQUENCE … RESTART. They speak for a link where they agree, and never against it.
UNSTEADY = frozenset({"pg_class", "pg_index", "pg_sequence", "pg_subscription", "pg_inherits"})
_CIRCLE = 1 << 32


def older(one: int, other: int) -> bool:
    """Whether a transaction id was handed out before another (``TransactionIdPrecedes`` in transam.c)."""
    return one != other and (other - one) % _CIRCLE < _CIRCLE // 2


@dataclass(frozen=True)
class Row:
    """A catalog row of an object that is as the replay has it: *entry* should have written it, *xid* did.

    ``nested``: in the shadow a subtransaction of a statement wrote it.
    """

    key: Key
    catalog: str
    xid: int
    entry: Entry
    nested: bool

    @property
    def steady(self) -> bool:
        """Whether nothing but a change of the object writes it. A key is rewritten when its index is rebuilt."""
        return self.catalog not in UNSTEADY and self.key[0] != "table constraint"


@dataclass
class Calibration:
    """How far transaction ids can be trusted here.

    ``link`` says how catalog and ledger hang together: ``exact`` (an object and the ledger row of its migration bear
    one transaction id), ``commit-time`` (they committed at the same microsecond), ``adjacent`` (the
    tool records in a transaction beside the migration's), ``subtransaction`` (ids that follow the ledger row's),
    ``one-row`` (the
    ledger keeps one row, but what one migration made bears one id) or ``none``. ``hit_rate`` is the share of objects
    for which that holds. ``by_xid`` are the migrations of each transaction that is known; ``dropped`` what is not
    believed and why; ``ran`` gives the transaction that ran a migration, by label, where the ledger row or what the
    migration made tells it; ``times`` when transactions committed, as far as the server knows; ``reach``
    how many ids a migration can have used.
    """

    link: str = "none"
    hit_rate: float | None = None
    says: str = "No migration is recorded, so transaction ids tell nothing."
    by_xid: dict[int, list[Entry]] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    ran: dict[str, int] = field(default_factory=dict)
    times: dict[int, str] = field(default_factory=dict)
    reach: dict[str, int] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether a transaction that is in ``by_xid`` names its migration, and one that is not names none."""
        return self.link != "none"

    @property
    def exact(self) -> bool:
        """Whether that is so transaction by transaction, and not just near by."""
        return self.link in ("exact", "commit-time", "subtransaction")

    def entries_of(self, fact: Fact | None) -> list[Entry]:
        """The migrations whose transactions last wrote the rows of an object; none if ids are not trusted."""
        if fact is None or not self.trusted:
            return []
        found = {e.label: e for xid in sorted(fact.xmins) for e in self.by_xid.get(xid, ())}
        return list(found.values())

    def near(self, xid: int, entry: Entry) -> bool:
        """Whether *xid* is so close to a migration that only an exact link could tell them apart."""
        ran = self.ran.get(entry.label, entry.xmin)
        reach = self.reach.get(entry.label, 0) + NEAR
        return ran is not None and min((xid - ran) % _CIRCLE, (ran - xid) % _CIRCLE) <= reach

    def foreign(self, fact: Fact | None) -> list[int]:
        """The transactions among the writers of an object's rows that belong to no migration, oldest first."""
        if fact is None or not self.trusted:
            return []
        return sorted(xid for xid in fact.xmins if xid not in self.by_xid)

    def others(self, fact: Fact | None, entry: Entry) -> list[int]:
        """``foreign``, less what *entry* may have written, as far as the link can tell."""
        return [xid for xid in self.foreign(fact) if self.exact or not self.near(xid, entry)]

    def as_dict(self) -> dict[str, object]:
        return {
            "link": self.link,
            "hit_rate": self.hit_rate,
            "says": self.says,
            "dropped": [{"signal": signal, "why": why} for signal, why in self.dropped],
        }


def calibrate(case: Case) -> Calibration:
    """Look for what breaks the link between catalog and ledger, then measure it against the replay."""
    recorded = [entry for entry in case.entries if entry.xmin is not None]
    if not recorded:
        return _none("The ledger gives no transaction ids here; only content is used.")
    replay = case.applied or case.intended
    alone = {entry.xmin for entry in recorded}
    if len(recorded) > 1 and len(alone) == 1:
        return _one_transaction(case, recorded)
    if replay is None:
        return _none("Nothing was replayed, so transaction ids could not be checked; they are not used.")
    rows = list(rows_of(case, replay))
    dropped = [*_upgraded(case, recorded, rows), *_in_bulk(recorded, rows), *_edited(case, recorded)]
    unlinked = {entry.label for entries, _ in dropped for entry in entries}
    reasons = [("xmin of the ledger", why) for _, why in dropped]
    kept = [entry for entry in recorded if entry.label not in unlinked]
    times = _commit_times(case)
    best: Calibration | None = None
    applied = sum(entry.recorded for entry in case.entries)
    for link in _LINKS:
        if link.needs_ledger and 2 * len(recorded) < applied:
            continue  # one row for all migrations
        by_xid = link.map(case, replay, kept, rows, times)
        hits, total, acts = _score(rows, by_xid, kept if link.needs_ledger else None)
        if not by_xid or total < ENOUGH:
            continue
        rate = hits / total
        share = f"{hits} of {total} objects carry {link.carry}"
        equal = link.name == "exact" and _agreeing(rows, by_xid, kept) >= AGREEING
        if hits >= total / 2 and (equal or hits >= TRUSTED * (hits + acts)):
            says = ". ".join([f"{share}; transaction ids are trusted here", *(why for _, why in dropped)])
            ran = {e.label: xid for xid, entries in reversed(by_xid.items()) for e in entries}
            if link.needs_ledger and link.name != "adjacent":
                ran |= {e.label: e.xmin for e in kept if e.xmin is not None}
            # A repair of many versions shows itself by their ids, too; and a migration that ran again has two rows.
            known = _superseded(case) | _by_ledger(recorded) | by_xid
            reach = {e.label: _used(replay, case, e) for e in case.entries}
            return Calibration(link.name, rate, f"{says}.", known, reasons, ran, times, reach)
        if best is None:
            why = f"Only {share}; after a restore, an upgrade or with this tool they say nothing and are not used"
            best = _none(". ".join([why, *(why for _, why in dropped)]) + ".", rate)
    why = ". ".join(
        ["Too few objects to check transaction ids against; they are not used", *(w for _, w in dropped)]
    )
    found = best or _none(f"{why}.")
    found.dropped += reasons
    found.times = times
    found.by_xid = _by_ledger(recorded)
    return found


def _none(says: str, rate: float | None = None) -> Calibration:
    return Calibration("none", rate, says, dropped=[("xmin", says.rstrip("."))])


def _by_ledger(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        if entry.xmin is not None:
            found.setdefault(entry.xmin, []).append(entry)
    return found


def _superseded(case: Case) -> dict[int, list[Entry]]:
    """The transactions of all ledger rows, also of those that are no migration's last."""
    rows = [row for ledger in case.actual.ledgers for row in ledger["rows"]]
    return {row["xmin"]: [] for row in rows if row["xmin"] is not None}


# --- what the replay says of each row ----------------------------------------------------------------


def rows_of(case: Case, replay: Replay) -> Iterator[Row]:
    """The rows of all objects that are as the replay leaves them, and that a recorded migration wrote last.

    Left out are members of extensions, whoever created those; and migrations that ran in several transactions.
    """
    entries = {e.applied if replay is case.applied else e.intended: e for e in case.entries}
    for fact in replay.final.iter():
        here = case.actual.get(*fact.key)
        if here is None or here.extension or differing(fact, here, case.ignored):
            continue
        for catalog, xid in fact.rows.items():
            step = replay.step_of(xid)
            entry, there = entries.get(step), here.rows.get(catalog)
            if entry and there and replay.used[step].whole and entry.applied is not None:
                yield Row(fact.key, catalog, there, entry, xid not in replay.used[step].marks)


def _score(
    rows: Sequence[Row], by_xid: dict[int, list[Entry]], kept: list[Entry] | None
) -> tuple[int, int, int]:
    """How many objects lead to the right migration, of how many, and how many transactions wrote the others.

    An object counts if it has a row that tells something. One hand may have written many objects; a restore gives
    each a transaction of its own.
    """
    labels = None if kept is None else {entry.label for entry in kept}
    right: dict[Key, bool] = {}
    acts: set[int] = set()
    for row in rows:
        if labels is not None and row.entry.label not in labels:
            continue
        hit = row.entry in by_xid.get(row.xid, ())
        if hit or row.steady:
            right[row.key] = right.get(row.key, True) and hit
            acts |= set() if hit else {row.xid}
    return sum(right.values()), len(right), len(acts)


def _agreeing(rows: Sequence[Row], by_xid: dict[int, list[Entry]], kept: list[Entry]) -> float:
    """The share of the migrations that have an object here which bears the transaction of their ledger row."""
    labels = {entry.label for entry in kept}
    seen = {row.entry.label for row in rows if row.steady and row.entry.label in labels}
    equal = {row.entry.label for row in rows if row.entry in by_xid.get(row.xid, ())} & seen
    return len(equal) / len(seen) if len(equal) >= ENOUGH else 0.0


def _commit_times(case: Case) -> dict[int, str]:
    """When transactions committed, as the witness of that name wrote it down."""
    records = case.actual.manifest.get("witnesses", ())
    return {int(xid): at for record in records for xid, at in record.get("commits", {}).items()}


# --- signatures of what breaks the link --------------------------------------------------------------

Broken = tuple[list[Entry], str]  # ledger rows that say nothing, and why


def _one_transaction(case: Case, recorded: list[Entry]) -> Calibration:
    """All ledger rows of one transaction: a restore or a repair; or the catalog's, too: a restore in one go."""
    (xid,) = {entry.xmin for entry in recorded}
    rows = [x for fact in case.actual.iter() for x in fact.xmins if not fact.extension]
    same = rows.count(xid or 0)
    says = "All ledger rows were written by one transaction, as a restore or a bulk repair does; "
    if same > 0.5 * len(rows):
        says = (
            f"{same} of {len(rows)} catalog rows and all ledger rows were written by one transaction, as a restore in a "
            "single transaction does: everything would match everything; "
        )
    return _none(f"{says}transaction ids are not used.")


def _upgraded(case: Case, recorded: list[Entry], rows: Sequence[Row]) -> list[Broken]:
    """Ledger rows that are older than the whole catalog: ``pg_upgrade`` writes that anew and keeps the rows."""
    xids = {row.xid for row in rows}
    if not xids:
        return []
    first = next(iter(xids))
    for xid in xids:
        first = xid if older(xid, first) else first
    expected = {row.entry.label for row in rows}
    before = [e for e in recorded if e.xmin is not None and older(e.xmin, first)]
    if sum(e.label in expected for e in before) < 2:
        return []
    why = (
        f"{len(before)} ledger rows are older than every row of the catalog, as after pg_upgrade or a restore"
    )
    return [(before, why)]


def _in_bulk(recorded: list[Entry], rows: Sequence[Row]) -> list[Broken]:
    """Ledger rows written together, of whose migrations nothing bears that transaction: a restore, a repair."""
    found: list[Broken] = []
    written: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        written[row.entry.label].add(row.xid)
    for xid, entries in _by_ledger(recorded).items():
        seen = [written[e.label] for e in entries if e.label in written]
        if len(entries) > 1 and seen and not any(xid in xids for xids in seen):
            why = f"{len(entries)} ledger rows were written by one transaction, which wrote nothing of their migrations"
            found.append((entries, why))
    return found


def _edited(case: Case, recorded: list[Entry]) -> list[Broken]:
    """Ledger rows that were committed days after, or before, they say that their migration was applied."""
    import datetime as dt

    times = _commit_times(case)
    applied = {row["xmin"]: row["applied_at"] for ledger in case.actual.ledgers for row in ledger["rows"]}
    found = []
    for entry in recorded:
        said, real = applied.get(entry.xmin), times.get(entry.xmin or 0)
        if said and real:
            gap = dt.datetime.fromisoformat(real) - dt.datetime.fromisoformat(said)
            if abs(gap) > dt.timedelta(hours=26):  # a time without a zone is off by up to that
                found.append(entry)
    why = f"{len(found)} ledger rows were written at another time than they say: edited, or loaded in bulk"
    return [(found, why)] if found else []


# --- ways in which ledger and catalog may hang together ------------------------------------------------

Map = dict[int, list[Entry]]


@dataclass(frozen=True)
class _Link:
    """One way: ``map`` gives the migrations of each transaction, ``carry`` says it in words."""

    name: str
    carry: str
    map: Callable[[Case, Replay, list[Entry], Sequence[Row], dict[int, str]], Map]
    needs_ledger: bool = True


def _exact(case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row], times: dict[int, str]) -> Map:
    """Equal ids; also those of subtransactions that the replay saw, and of equal commit times."""
    by_xid = _by_ledger(kept)
    for xid, entries in _same_moment(by_xid, rows, times).items():
        by_xid.setdefault(xid, entries)
    for row in rows:
        if (
            row.nested
            and row.xid not in by_xid
            and row.xid not in times
            and _within(row.xid, row.entry, kept)
        ):
            by_xid[row.xid] = [row.entry]
    for xid, entry in [*_several_transactions(case, replay, kept), *_wholly_nested(case, replay, kept, rows)]:
        by_xid.setdefault(xid, [entry])
    return by_xid


def _commit_time(
    case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row], times: dict[int, str]
) -> Map:
    by_xid = _by_ledger(kept)
    return by_xid | _same_moment(by_xid, rows, times) if times else {}


def _subtransaction(
    case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row], times: dict[int, str]
) -> Map:
    """Ids that follow the ledger row's: no more than the migration used in the shadow, and before the next row's."""
    by_xid = _by_ledger(kept)
    for row in rows:
        if row.xid not in by_xid and _within(row.xid, row.entry, kept, _used(replay, case, row.entry)):
            by_xid[row.xid] = [row.entry]
    return by_xid


def _adjacent(
    case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row], times: dict[int, str]
) -> Map:
    """The one transaction that wrote most of what a migration made, if it lies beside the ledger row's.

    Of a migration that made one thing alone, that which lies where the others' lie.
    """
    labels = {e.label for e in kept}
    found: Map = {}
    sides: Counter[int] = Counter()
    for entry, xid in _cohorts(r for r in rows if r.entry.label in labels):
        assert entry.xmin is not None
        side = (xid - entry.xmin + NEAR) % _CIRCLE - NEAR
        if abs(side) <= NEAR:
            found.setdefault(xid, []).append(entry)
            sides[side] += 1
    if sides:
        (usual, _), *_ = sides.most_common(1)
        there = {row.xid for row in rows}
        told = {e.label for entries in found.values() for e in entries}
        for entry in kept:
            assert entry.xmin is not None
            if entry.label not in told and (xid := (entry.xmin + usual) % _CIRCLE) in there:
                found.setdefault(xid, []).append(entry)
    return found


def _one_row(
    case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row], times: dict[int, str]
) -> Map:
    """Without rows in the ledger: what a migration made bears one id, and the ids rise from one to the next.

    A restore gives each object an id of its own, in an order of its own.
    """
    if sum(e.recorded and e.xmin is None for e in case.entries) < ENOUGH:
        return {}
    cohorts = sorted(_cohorts(rows), key=lambda pair: pair[0].applied or 0)
    rising = all(older(a[1], b[1]) for a, b in pairwise(cohorts))
    if not rising or len(cohorts) <= ENOUGH:
        return {}
    return {xid: [entry] for entry, xid in cohorts}


_LINKS = (
    _Link("exact", "the transaction id of the migration that the replay names", _exact),
    _Link("commit-time", "the commit time of the migration that the replay names", _commit_time),
    _Link("adjacent", "one transaction id beside that of the ledger row", _adjacent),
    _Link("subtransaction", "a transaction id that follows the ledger row's", _subtransaction),
    _Link("one-row", "the transaction id of what the same migration made", _one_row, needs_ledger=False),
)


def _same_moment(by_xid: Map, rows: Sequence[Row], times: dict[int, str]) -> Map:
    """The transactions that committed in the very microsecond in which a ledger row did: its subtransactions."""
    moments = {times[xid]: entries for xid, entries in by_xid.items() if xid in times}
    return {xid: moments[at] for xid, at in times.items() if at in moments and xid not in by_xid}


def _wholly_nested(
    case: Case, replay: Replay, kept: list[Entry], rows: Sequence[Row]
) -> Iterator[tuple[int, Entry]]:
    """What migrations wrote in subtransactions that their text does not have (psql's ON_ERROR_ROLLBACK, a wrapper).

    Then nothing bears the transaction of the ledger row, and all bears the ids that follow it at once. A hand that
    changes a thing and takes that back has used the first of those for the change.
    """
    written: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.steady or row.key[0] == "index":
            written[row.entry.label].add(row.xid)
    equal = [e for e in kept if e.xmin in written.get(e.label, ())]
    nested = [
        e
        for e in kept
        if e.xmin is not None
        and (e.xmin + 1) % _CIRCLE in written.get(e.label, ())
        and all(_within(xid, e, kept, _used(replay, case, e)) for xid in written[e.label])
    ]
    for entry in nested if len(nested) < len(equal) else ():  # else the tool records beside its migrations
        yield from ((xid, entry) for xid in written[entry.label])


def _within(xid: int, entry: Entry, kept: list[Entry], most: int | None = None) -> bool:
    """Whether *xid* lies between the ledger row of *entry* and the next one."""
    if entry.xmin is None or not older(entry.xmin, xid) or (most and (xid - entry.xmin) % _CIRCLE > most):
        return False
    return not any(e.xmin is not None and older(entry.xmin, e.xmin) and not older(xid, e.xmin) for e in kept)


def _used(replay: Replay, case: Case, entry: Entry) -> int:
    """How many transaction ids a migration can have used, counting one for each statement."""
    step = entry.applied if replay is case.applied else entry.intended
    used = replay.used.get(-1 if step is None else step)
    following = replay.used.get(-1 if step is None else step + 1)
    if used is None:
        return 1
    return following.first - used.first if following else len(used.marks) + NEAR


def _several_transactions(case: Case, replay: Replay, kept: list[Entry]) -> Iterator[tuple[int, Entry]]:
    """What migrations wrote that need more than one transaction (CREATE INDEX CONCURRENTLY), near their ledger row."""
    steps = {(e.applied if replay is case.applied else e.intended): e for e in kept}
    if all(used.whole for used in replay.used.values()):
        return
    last = (next((c.fact for c in reversed(changes) if c.fact), None) for changes in replay.timeline.values())
    for fact in [*replay.final.iter(), *(f for f in last if f and not replay.final.get(*f.key))]:
        here = case.actual.get(*fact.key)
        for catalog, xid in fact.rows.items() if here else ():
            step = replay.step_of(xid)
            entry = steps.get(step)
            there = here.rows.get(catalog) if here else None
            if catalog in UNSTEADY and fact.kind != "index":
                continue  # a table's own row, which a hand's next column writes again
            if entry and there and entry.xmin is not None and not replay.used[step].whole:
                distance = min((there - entry.xmin) % _CIRCLE, (entry.xmin - there) % _CIRCLE)
                if distance <= 4 * _used(replay, case, entry) + NEAR:
                    yield there, entry


def _cohorts(rows: Iterable[Row]) -> Iterator[tuple[Entry, int]]:
    """For each migration the transaction that wrote most of what it made; two rows in agreement at least."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    entries: dict[str, Entry] = {}
    for row in rows:
        if row.catalog != "pg_class" and not row.nested:
            found[row.entry.label][row.xid] += 1
            entries[row.entry.label] = row.entry
    for label, xids in found.items():
        (xid, count), *_ = xids.most_common(1)
        if count >= 2 and count > xids.total() / 2:
            yield entries[label], xid
