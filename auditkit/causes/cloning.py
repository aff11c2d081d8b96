"""Environments that were one database once: what each row was on the other side, and what changed since they parted.

``CREATE DATABASE … TEMPLATE`` and physical copies (base backups, snapshots of a volume) keep object ids and the
transactions of all catalog rows; everything else gives new ones. So rows that agree in both were the same row. The
same script run on two new clusters gives equal ids, too: only databases of one cluster, or of copies of it, count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Address, Fact, Snapshot
from auditkit.causes.calibration import older
from auditkit.causes.case import Evidence, Finding, Key

if TYPE_CHECKING:
    from auditkit.causes.search import Search

#: Less than so many rows, or such a share of them, prove nothing.
ENOUGH, SHARE = 10, 0.5
#: Of one finding so many objects are looked up on the other side.
_LOOKED_UP = 3


@dataclass(frozen=True)
class Clone:
    """Another environment that was the same database once: ``shared`` of ``rows`` objects are still the same rows.

    ``parted`` is the latest transaction that both know: what came later happened on one side alone.
    """

    environment: str
    snapshot: Snapshot
    shared: int
    rows: int
    parted: int

    def says(self, environment: str) -> str:
        return (
            f"{environment} and {self.environment} were one database: {self.shared} of {self.rows} objects are still the "
            "same rows"
        )


def clones_of(name: str, snapshots: Mapping[str, Snapshot]) -> list[Clone]:
    """The environments that *name* was one database with."""
    mine = snapshots[name]
    return [
        clone
        for other, snapshot in snapshots.items()
        if other != name and (clone := _clone(mine, other, snapshot)) is not None
    ]


def _clone(mine: Snapshot, name: str, other: Snapshot) -> Clone | None:
    clusters = {mine.physical.get("system"), other.physical.get("system")}
    if len(clusters) > 1 or None in clusters:
        return None
    ours, theirs = _rows(mine), _rows(other)
    shared = ours.keys() & theirs.keys()
    rows = min(len(ours), len(theirs))
    if len(shared) < ENOUGH or len(shared) < SHARE * rows:
        return None
    parted = next(iter(shared))[1]
    for _, xid in shared:
        parted = xid if older(parted, xid) else parted
    return Clone(name, other, len(shared), rows, parted)


def _rows(snapshot: Snapshot) -> dict[tuple[Address, int], None]:
    """The main rows of all objects that belong to the database alone: address and transaction."""
    return {
        ((KINDS[kind].classid, oid, subid), xid): None
        for kind, table in snapshot.tables.items()
        if not KINDS[kind].cluster_wide and kind not in ("database", "setting", "subscription")
        for oid, subid, xid in zip(table.oids, table.subids, table.xmins, strict=True)
        if xid and oid >= 16384
    }


def attach(search: Search) -> None:
    """To each finding what the other side shows: there before the two parted, or done since, on which side."""
    for clone in search.case.clones:
        addresses = clone.snapshot.addresses
        for finding in search.findings:
            if finding.cause != "environment_difference":
                finding.evidence += _seen(search, clone, addresses, finding)


def _seen(
    search: Search, clone: Clone, addresses: Mapping[Address, Key], finding: Finding
) -> Iterator[Evidence]:
    if finding.renamed:
        old, new = (search.actual(finding.renamed[1]), clone.snapshot.get(*finding.renamed[0]))
        if old and new and old.address == new.address:
            yield Evidence(
                "clone",
                f"{clone.says(search.env)}; there it has its old name and the same object id: it was renamed, not made "
                "anew.",
            )
        return
    for key in finding.objects[:_LOOKED_UP]:
        here, there = search.actual(key), clone.snapshot.get(*key)
        says = _told(search.env, clone, here, there, addresses)
        if says:
            yield Evidence("clone", f"{clone.says(search.env)}; {' '.join(key)} {says}.")


def _told(
    env: str, clone: Clone, here: Fact | None, there: Fact | None, addresses: Mapping[Address, Key]
) -> str | None:
    """What became of one object since the two parted, as far as its rows tell."""
    other = clone.environment
    if here is None:
        if there is not None and there.xmin and not older(clone.parted, there.xmin):
            return f"was in both, and was dropped from {env} since"
        return None
    if there is None:
        gone = here.address not in addresses
        if here.xmin and older(clone.parted, here.xmin):
            return f"was made in {env} since" if gone else None
        return f"was in both, and was dropped from {other} since" if here.xmin and gone else None
    if here.address != there.address:
        later = [
            s for s, fact in ((env, here), (other, there)) if fact.xmin and older(clone.parted, fact.xmin)
        ]
        return f"was dropped and made again in {later[0]} since" if len(later) == 1 else None
    if not here.rows:
        return None
    changed = {catalog for catalog, xid in here.rows.items() if there.rows.get(catalog) != xid}
    if not changed:
        return f"is the very same in {other}: it was so before they parted"
    if any(older(clone.parted, here.rows[catalog]) for catalog in changed):
        return f"was written in {env} since"
    return f"was written in {other} since"
