"""Traces beside transaction ids that support a finding: ids the ledger lacks, columns that are gone, late labels.

They are added to findings as evidence; none is reason enough for a finding of its own. Column numbers and places of
labels mean something only where the catalog was not restored, that is where transaction ids are trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditkit.causes.case import Evidence, Finding, Key
from auditkit.causes.search import Search, counted
from auditkit.history.ledgers import LEDGERS


def attach(search: Search) -> None:
    """Add to each finding what traces say of it."""
    gap = _gap(search)
    for finding in search.findings:
        if gap and finding.cause in ("applied_not_recorded", "unknown"):
            finding.evidence.append(gap)
        if search.calibration.trusted and finding.cause == "manual_change":
            for key in finding.objects[:3]:
                finding.evidence += _of_column(search, finding, key) if key[0] == "table column" else ()
                finding.evidence += _of_labels(search, finding, key) if key[0] == "type" else ()


def _gap(search: Search) -> Evidence | None:
    """More ids were handed out than there are rows: rows were deleted, or inserting one failed."""
    for ledger in search.case.actual.ledgers:
        rows = ledger["rows"]
        last = search.case.actual.physical.get("counters", {}).get(f"{ledger['schema']}.{ledger['table']}")
        ids = [row["position"] for row in rows if row.get("position") is not None]
        highest = max([*ids, *([last] if last else [])], default=0)
        tool = LEDGERS.get(ledger["tool"])
        if tool is None or tool.tool != search.case.ledger_tool or tool.where != "true":
            continue  # another's, or some of its rows are the tool's own and not read
        if not ids or highest <= len(rows):
            continue
        return Evidence(
            "ledger ids",
            f"The ledger handed out {counted(highest, 'id')} and has {counted(len(rows), 'row')}: "
            f"{counted(highest - len(rows), 'row')} {'was' if highest - len(rows) == 1 else 'were'} deleted, or could not "
            "be inserted.",
        )
    return None


def _of_column(search: Search, finding: Finding, key: Key) -> Iterator[Evidence]:
    """A column that is gone leaves its number; one that came after has a number no migration gave."""
    replay, here = search.case.intended, search.actual(key)
    meant = replay.final.get(*key) if replay else None
    column = here or meant
    table = search.case.actual.get("table", column.parent or "") if column else None
    if table is None or finding.renamed:
        return
    dropped = {
        number: xid for oid, number, xid in search.case.actual.physical.get("dropped", ()) if oid == table.oid
    }
    if here is None and meant is not None and meant.subid in dropped:
        yield Evidence(
            "column numbers",
            f"Number {meant.subid} of {table.identity}, which the migrations give to this column, was dropped in "
            f"transaction {dropped[meant.subid]}: it was not renamed.",
        )
    if here is not None and meant is not None and here.subid != meant.subid and meant.subid in dropped:
        yield Evidence(
            "column numbers",
            f"It has number {here.subid}, the migrations give it {meant.subid}, and that was dropped in transaction "
            f"{dropped[meant.subid]}: it was dropped and added again, and its data went with the first one.",
        )


def _of_labels(search: Search, finding: Finding, key: Key) -> Iterator[Evidence]:
    """Labels that were added to an enum after it was made, by a transaction of no migration."""
    here = search.actual(key)
    if here is None:
        return
    for oid, label, xid in search.case.actual.physical.get("labels", ()):
        if oid == here.oid and xid not in search.calibration.by_xid:
            yield Evidence(
                "enum labels",
                f"The label {label!r} was added after the type was made, in transaction {xid}, which is that of no "
                "migration.",
            )
