"""The answers of ``auditkit blame`` and ``auditkit describe`` as aligned lines for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditkit.history.migration import label_of
from auditkit.visible import visible

#: What stands before a line, and its colour: nothing is the matter, it is not so by the migrations, it is not there.
SIGNS = {
    "migration": (" ", None),
    "base": (" ", None),
    "by_hand": ("!", "red"),
    "superseded": ("!", "yellow"),
    "unrecorded": ("!", "yellow"),
    "missing": ("-", "red"),
    "removed": ("-", None),
}
_NOWHERE = {"base": "before the first migration", "by_hand": "not by any migration"}
_TEXTS = frozenset({"body", "definition", "labels"})
#: Narrower than this nothing can be read in columns.
_LEAST = 60


def blamed(document: Mapping[str, Any], width: int | None = None) -> Iterator[tuple[str, str | None]]:
    """The lines of ``auditkit.blame/1`` with their colours; cut to *width* if there is one.

    Names, comments and bodies are the database's: what would steer a terminal is shown as an escape.
    """
    rows = [_row(line, document) for line in document["lines"]]
    columns = [max((columns_of(row[n]) for row in rows), default=0) for n in range(5)]
    folder = f"   in {visible(document['folder'])}/" if document["folder"] else ""
    yield (
        f"{visible(document['kind'])} {visible(document['identity'])} in {visible(document['environment'])}{folder}",
        None,
    )
    for line, row in zip(document["lines"], rows, strict=True):
        sign, colour = SIGNS.get(line["status"], (" ", None))
        head = "  ".join(filled(cell, size) for cell, size in zip(row[:5], columns, strict=True) if size)
        says = line["says"] if line["status"] not in _NOWHERE else ""
        says = f"   ({visible(says)})" if says else ""
        text = f"{sign} {head}  {row[5]}"
        if width and columns_of(text) + columns_of(says) > max(width, _LEAST):
            text = cut(text, max(width, _LEAST) - columns_of(says))
        yield (text + says).rstrip(), colour


def _row(line: Mapping[str, Any], document: Mapping[str, Any]) -> Sequence[str]:
    """place, commit, author, date, what, text."""
    made = line["migration"]
    own = (line["kind"], line["identity"]) == (document["kind"], document["identity"])
    if line["part"] in _TEXTS:
        what = line["part"]
    elif line["part"] == "object":
        what = line["kind"] if own else f"  {short_kind(line['kind'])}"
    else:
        part = {"grants": "grant"}.get(line["part"], line["part"].replace("_", " "))
        what = f"  {part}" if own else f"    {part}"
    text = visible(line["text"])
    if made is None:
        return _NOWHERE.get(line["status"], "?"), "", "", "", what, text
    return (
        place(made, document["folder"]),
        (made["commit"] or "")[:8],
        cut(visible(made["author"] or ""), 18),
        (made["authored_at"] or "")[:10],
        what,
        text,
    )


def place(made: Mapping[str, Any], folder: str) -> str:
    """``20260101_init.sql:12``; with the migration's name before it where the file's does not have it."""
    label = label_of(made["version"], made["name"])
    if not made["file"]:
        return visible(label)
    file = made["file"].removeprefix(f"{folder}/") if folder else made["file"]
    line = f":{made['line']}" if made["line"] else ""
    known = made["version"] in file
    return visible(f"{file}{line}" if known else f"{label} {file}{line}")


def short_kind(kind: str) -> str:
    """``column`` for ``table column``, which the table above it says."""
    for word in ("column", "constraint"):
        if kind.endswith(f" {word}"):
            return word
    return kind


def described(item: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one environment of ``auditkit.describe/1``."""
    count = item["changes"]
    label = item["describe"].rpartition("+")[0] if not item["exact"] else item["describe"]
    change = f" +{count} {'change' if count == 1 else 'changes'}" if not item["exact"] else ""
    yield visible(f"{item['name']}: {label}{change}   fingerprint {item['fingerprint'][:12]}")
    if not item["exact"]:
        rest = count - item["by_no_migration"]
        parts = [f"{item['by_no_migration']} by no migration"] if item["by_no_migration"] else []
        parts += [f"{rest} that undo or lack what migrations make, from {item['since']} on"] if rest else []
        yield visible(f"  the nearest state there is, and {count} away from it: {', '.join(parts)}")
    if item["head"] and item["version"] and item["head"] != item["version"]:
        yield visible(f"  the ledger's last is {item['head']}")
    if item["later"]:
        yield f"  {item['later']} later {'migration' if item['later'] == 1 else 'migrations'} in the repository"


def columns_of(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def filled(text: str, size: int) -> str:
    """*text* with blanks up to *size* columns."""
    return text + " " * (size - columns_of(text))


def cut(text: str, size: int) -> str:
    """*text* in at most *size* columns."""
    if columns_of(text) <= size:
        return text
    kept = ""
    for character in text:
        if columns_of(kept + character) > size - 1:
            break
        kept += character
    return kept + "…"
