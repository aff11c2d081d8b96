"""Where a ledger does not tell what was run: earlier texts of the files, as git has them, are tried in the laboratory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from auditkit.audit.meant import Meant
from auditkit.catalog.compare import Delta
from auditkit.catalog.snapshot import Key
from auditkit.causes.case import Entry
from auditkit.causes.laboratory import MOST, Laboratory
from auditkit.history.blame import Past
from auditkit.history.files import Migrations, blobs
from auditkit.history.shadow import replay
from auditkit.history.shadow.code import text_of
from auditkit.history.states import Cell, MatrixRow
from auditkit.progress import Tell


def try_earlier_texts(
    name: str,
    meant: Meant,
    laboratory: Laboratory,
    rows: Sequence[MatrixRow],
    migrations: Migrations,
    progress: Tell,
) -> None:
    """Put into *meant* the earlier texts with which a replay of the ledger leaves fewer deltas.

    Only texts that have to do with a delta are tried: of files whose migration touched its object, or that mention it.
    Each is taken if the residual falls, file by file, the text of the time when it was applied first.
    """
    applied = meant.applied
    if applied is None or applied.ground is None or not any(e.edits for e in meant.entries):
        return
    steps, left, past = list(applied.steps), laboratory.residual(applied.final), Past(applied)
    by_file = {(row.file, row.version): row for row in rows if row.migration}
    found: dict[int, Entry] = {}
    tries = 0
    for number, entry in enumerate(meant.entries):
        if entry.applied is None or not entry.edits or not left:
            continue
        row = by_file[entry.file, entry.version]
        if entry.content == "different" and not entry.unseen:
            continue  # the ledger tells what was run
        step = steps[entry.applied]
        for text in _texts(row, row.cells.get(name), migrations):
            if tries == MOST or text == step.sql or not _concerns(entry, text, past, left):
                continue
            tries += 1
            tried = [*steps[: entry.applied], replace(step, sql=text), *steps[entry.applied + 1 :]]
            outcome = laboratory.run(tried)
            if outcome and len(outcome.residual) < len(left):
                steps, left = tried, outcome.residual
                found[number] = entry
    if not found:
        return
    meant.applied = replay(steps, applied.ground, progress=progress, continued=False)
    for number, entry in found.items():
        migration = by_file[entry.file, entry.version].migration
        edit = migration.git.edited_later[-1] if migration and migration.git else None
        meant.entries[number] = replace(
            entry,
            content="different",
            from_git=True,
            unseen=False,
            commit=edit.id if edit else entry.commit,
            author=edit.author if edit else entry.author,
        )


def _texts(row: MatrixRow, cell: Cell | None, migrations: Migrations) -> Iterator[str]:
    """The earlier texts of a file: that of the time when it was applied, the first one, then the others."""
    assert row.migration
    earlier = blobs(migrations, row.migration)
    at = (cell.row or {}).get("applied_at") if cell else None
    of_its_time = [b for b in earlier if at and b.commit.committed_at <= at][:1]
    yield from dict.fromkeys(text_of(b.migration) for b in [*of_its_time, *earlier[-1:], *earlier])


def _concerns(entry: Entry, text: str, past: Past, deltas: Sequence[Delta]) -> bool:
    """Whether a text has to do with what differs, under any of the names that it has had."""
    applied = past.replay
    footprint = set(applied.footprint(entry.applied)) if entry.applied is not None else set()
    keys = {key for d in deltas for key in (d.key, *d.children)}
    keys |= {name for key in keys for name, _ in past.of(key)}
    return bool(keys & footprint) or any(_last_name(d.key) in text for d in deltas)


def _last_name(key: Key) -> str:
    return key[1].split(" on ")[0].split("(")[0].rsplit(".", 1)[-1].strip('"')
