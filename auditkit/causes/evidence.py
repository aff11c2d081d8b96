"""Signs of the installation beside transaction ids: the counter of object ids, and who owns what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from auditkit.catalog.snapshot import Fact
from auditkit.causes.calibration import Calibration
from auditkit.causes.case import Case, Entry, Key
from auditkit.history.shadow import Replay

#: From about this length on PostgreSQL stores a text apart from its row (TOAST_TUPLE_THRESHOLD).
_TOASTED = 1900


def ran_by_oids(
    case: Case, entry: Entry, calibration: Calibration, only: Collection[Key] | None = None
) -> bool | None:
    """Whether a recorded migration left its mark in the counter of object ids; or *only* some of what it makes.

    PostgreSQL numbers new objects with one counter for the whole cluster, upwards. Between the last object of
    the migration before and the first of the migration after, the shadow needed a certain gap; other work
    in the cluster can only widen it. A narrower gap here means that something the shadow created was not
    created here; exactly the same gap means that it was. Returns None when that cannot be told (no ids of
    neighbours, nothing created, other work in between, ids not comparable after a restore).
    """
    replay = case.applied
    if replay is None or entry.applied is None or not calibration.trusted:
        return None
    created = _created_by_step(case)
    mine = entry.applied
    linked = {entry.applied for entry in case.entries if entry.label in calibration.ran}
    before = max((s for s in created if s < mine and s in linked), default=None)
    after = min((s for s in created if s > mine and s in linked), default=None)
    if before is None or after is None:
        return None
    # Only neighbours whose own ids rise in the order of replay tell anything.
    low = max(created[before], key=lambda pair: pair[0])
    high = min(created[after], key=lambda pair: pair[0])
    ours = sum(count for step, count in replay.taken.items() if before < step <= after)
    needed, here = high[0] - low[0] - ours, high[1] - low[1]
    own = _oids_taken(replay, mine, only)
    others = any(_oids_taken(replay, step) for step in range(before + 1, after) if step != mine)
    if own == 0 or others or needed <= 0 or here <= 0:
        return None
    # A label of an enum takes an even id, which costs one more or not: so much may differ from run to run.
    slack = sum(_labelled(replay, step) for step in range(before, after + 1))
    if own > slack and here <= needed - own + slack:
        return False
    # Exactly as many leave no room for a doubt; more may be the work of others in the cluster. But a ledger
    # row that is too long for its page takes an id for its text, which may make up for what was not created.
    toasted = any(len(step.sql) > _TOASTED for step in replay.steps[before : mine + 1])
    return True if here == needed and not toasted and not slack else None


def no_room(case: Case, entry: Entry, calibration: Calibration) -> bool:
    """Whether a migration that needs transactions of its own had none between its ledger row and the one before.

    What cannot run in a transaction (``CREATE INDEX CONCURRENTLY``) runs before the tool records it. A tool that
    records first betrays itself by another such migration, whose effect is here.
    """
    replay = case.applied
    if replay is None or calibration.link != "exact":
        return False
    rows = {e.applied: e for e in case.entries if e.recorded and e.xmin is not None}

    def adjoining(one: Entry) -> bool:
        before = rows.get((one.applied or 0) - 1)
        alone = len(calibration.by_xid.get(one.xmin or -1, ())) == 1
        return bool(before and alone and before.xmin and one.xmin and one.xmin - before.xmin == 1)

    def apart(one: Entry) -> bool:
        used = replay.used.get(-1 if one.applied is None else one.applied)
        return used is not None and not used.whole and not one.marked

    others = [e for e in rows.values() if e is not entry and apart(e) and _created(case, e)]
    return apart(entry) and adjoining(entry) and not any(map(adjoining, others))


def _created(case: Case, entry: Entry) -> bool:
    """Whether something is here that a recorded migration made."""
    assert case.applied is not None and entry.applied is not None
    return any(case.actual.get(*key) for key, _ in _first_made(case.applied, entry.applied))


def _created_by_step(case: Case) -> dict[int, list[tuple[int, int]]]:
    """Per step: (object id in the shadow, object id here) of what it created and both still have."""
    assert case.applied is not None
    created: dict[int, list[tuple[int, int]]] = {}
    for key, changes in case.applied.timeline.items():
        first = next((c for c in changes if c.fact is not None), None)
        last = changes[-1].fact
        actual = case.actual.get(*key)
        if first is None or first.step < 0 or last is None or actual is None or first.fact is None:
            continue
        if first.fact.address != last.address or last.address[2] or not last.address[1]:
            continue  # dropped and made again, or a part of something that has no id of its own
        created.setdefault(first.step, []).append((last.address[1], actual.address[1]))
    return created


def _oids_taken(replay: Replay, step: int, only: Collection[Key] | None = None) -> int:
    """The least number of ids that a step took: of its objects (or *only* some), and of the labels of its enums."""
    taken = set()
    labels = 0
    for key, fact in _first_made(replay, step):
        if not fact.address[2] and (only is None or key in only):
            taken.add(fact.address[:2])
            values = fact.attributes.get("labels") if key[0] == "type" else None
            labels += 1 + len(values) if isinstance(values, tuple) else 0  # and its array type
    return len(taken) + labels


def _first_made(replay: Replay, step: int) -> Iterator[tuple[Key, Fact]]:
    for key in replay.footprint(step):
        first = next((c for c in replay.timeline[key] if c.fact is not None), None)
        if first is not None and first.step == step and first.fact is not None:
            yield key, first.fact


def _labelled(replay: Replay, step: int) -> int:
    """How many enums a step made or gave a label."""
    return sum(
        any(c.step == step and c.fact and c.fact.attributes.get("labels") for c in replay.timeline[key])
        for key in replay.footprint(step)
        if key[0] == "type"
    )


def never_had(case: Case, key: Key, calibration: Calibration) -> bool:
    """Whether a table never had a column: a column that is dropped leaves its number behind, until a restore.

    Migrations drop columns, too; that many numbers may be vacant, and none for what was dropped by hand.
    """
    replay = case.applied
    meant = replay.final.get(*key) if replay else None
    if replay is None or meant is None or key[0] != "table column" or not calibration.trusted:
        return False
    there = replay.final.get("table", meant.parent or "")
    here = case.actual.get("table", meant.parent or "")
    vacant = case.actual.physical.get("dropped")
    if there is None or here is None or vacant is None:
        return False
    columns = [
        change.fact
        for (kind, _), changes in replay.timeline.items()
        if kind == "table column"
        for change in changes
        if change.fact is not None and change.fact.oid == there.oid
    ]
    dropped = {c.subid for c in columns} - {c.subid for c in replay.final.children(there, "table column")}
    return len([oid for oid, _, _ in vacant if oid == here.oid]) <= len(dropped)


def added_again(case: Case, key: Key, calibration: Calibration) -> bool:
    """Whether a column was dropped and added again: it has another number, and its own is that of a dropped one."""
    replay, here = case.applied, case.actual.get(*key)
    meant = replay.final.get(*key) if replay else None
    table = case.actual.get("table", here.parent or "") if here and key[0] == "table column" else None
    if not here or not meant or not table or here.subid == meant.subid or not calibration.trusted:
        return False
    dropped = {number for oid, number, _ in case.actual.physical.get("dropped", ()) if oid == table.oid}
    return meant.subid in dropped


def owner_shift(case: Case) -> tuple[str, str, list[Key]] | None:
    """One owner standing consistently for another: (meant, actual, objects), or None.

    Consistent means at least three objects, and at least four of five that migrations made for the meant owner.
    """
    shifts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], list[Key]] = {}
    for delta in case.deltas:
        if delta.change == "changed" and delta.attribute == "owner":
            pair = (str(delta.left), str(delta.right))
            shifts[pair] += 1
            keys.setdefault(pair, []).append((delta.kind, delta.identity))
    if not shifts or case.intended is None:
        return None
    (meant, actual), count = shifts.most_common(1)[0]
    same = sum(
        1
        for key, changes in case.intended.timeline.items()
        if (made := changes[-1].fact)
        and made.attributes.get("owner") == meant
        and not made.extension
        and (here := case.actual.get(*key))
        and here.attributes.get("owner") == meant
    )
    if count >= 3 and count >= 4 * same:
        return meant, actual, keys[meant, actual]
    return None
