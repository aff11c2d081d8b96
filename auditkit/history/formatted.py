"""Liquibase's formatted SQL: one file, several changesets.

The rules are those of Liquibase 4 (`AbstractFormattedChangeLogParser`): which lines are instructions to it,
and so are neither run nor part of the checksum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Changeset", "accepted", "body", "changesets", "cut", "is_formatted", "statements"]

#: Stands between the SQL of two changes of one changeset; their checksums are computed apart.
NEXT = "\n;--\n"

_FLAGS = re.IGNORECASE
_FIRST = re.compile(r"\s*--\s*liquibase\s*formatted.*", _FLAGS)
_CHANGESET = re.compile(r'\s*--\s*changeset\s+("[^"]+"|[^:]+):\s*("[^"]+"|\S+)(.*)', _FLAGS)
_PROPERTY = re.compile(r"\s*--\s*property\s+(.*:.*)\s+(.*:.*).*", _FLAGS)
_IGNORE = re.compile(r"--\s*ignoreLines:(\w+)", _FLAGS)
_ACCEPTED = re.compile(r"--\s*validCheckSum:? (.*)", _FLAGS)
_ROLLBACK = re.compile(r"\s*/\*\s*liquibase\s*rollback\s*", _FLAGS)
_INSTRUCTION = re.compile(
    r"--\s*comment:? .*|--\s*validCheckSum:? .*|\s*--\s*rollback .*|\s*--\s*preconditions.*"
    r"|\s*--\s*precondition-[a-zA-Z0-9-]+( .*)?",
    _FLAGS,
)
_ATTRIBUTE = re.compile(r'(\w+):("[^"]*"|\S*)')


@dataclass(frozen=True)
class Changeset:
    """One changeset. ``line`` is the number of its ``--changeset`` line, ``end`` that of the line after it."""

    author: str
    id: str
    line: int
    end: int
    attributes: dict[str, str] = field(default_factory=dict)


def is_formatted(text: str) -> bool:
    return bool(_FIRST.match(text.lstrip("\ufeff").lstrip()))


def changesets(text: str) -> tuple[list[Changeset], dict[str, str]]:
    """The changesets of a file, each with its attributes (the file's own logicalFilePath among them).

    Also the properties that the file defines. Keys of attributes are in lower case.
    """
    lines = _lines(text)
    found: list[Changeset] = []
    properties: dict[str, str] = {}
    common: dict[str, str] = {}
    for number, line in _heeded(lines):
        if _FIRST.fullmatch(line):
            common = {k: v for k, v in _attributes(line).items() if k == "logicalfilepath"}
        elif _PROPERTY.fullmatch(line):
            words = _attributes(line)
            properties.setdefault(words.get("name", ""), words.get("value", ""))
        elif match := _CHANGESET.fullmatch(line):
            if found:
                found[-1] = _until(found[-1], number)
            author, name = (word.strip('"') for word in match.group(1, 2))
            found.append(Changeset(author, name, number, len(lines) + 1, common | _attributes(match[3])))
    return found, properties


def cut(text: str, changeset: Changeset, properties: Mapping[str, str]) -> str:
    """The lines of *changeset* with properties filled in, and blank lines before them: line numbers stay."""
    lines = _lines(text)
    part = "\n".join(lines[changeset.line - 1 : changeset.end - 1])
    filled = re.sub(r"\$\{([^}\n]+)\}", lambda match: properties.get(match[1].strip(), match[0]), part)
    return "\n" * (changeset.line - 1) + filled


def body(part: str) -> str:
    """What is run of a changeset's lines (as ``cut`` gives them), with blank lines for what is not."""
    lines = _lines(part)
    kept = dict(_heeded(lines))
    inside = False  # a rollback in a comment of several lines
    for number, line in list(kept.items()):
        if inside:
            inside = not line.rstrip().endswith("*/")
            del kept[number]
        elif _ROLLBACK.fullmatch(line):
            inside = True
            del kept[number]
        elif _INSTRUCTION.fullmatch(line) or _CHANGESET.fullmatch(line) or _PROPERTY.fullmatch(line):
            del kept[number]
    return "\n".join(kept.get(number, "") for number in range(1, len(lines) + 1))


def statements(part: str) -> str:
    """``body`` with semicolons where the changeset chose another end of a statement."""
    sql = body(part)
    match = _CHANGESET.fullmatch(part.lstrip("\n").partition("\n")[0])
    delimiter = _attributes(match[3]).get("enddelimiter") if match else None
    if not delimiter or delimiter == ";":
        return sql
    literal = re.escape(delimiter.replace("\\n", "\n").replace("\\r", "").strip("\n"))
    return re.sub(rf"(?<=\n){literal}[ \t]*(?=\n|\Z)|{literal}[ \t]*(?=\n|\Z)", ";", sql)


def accepted(part: str) -> frozenset[str]:
    """The checksums that a changeset declares valid; ``any`` for all of them."""
    sums = {match[1].strip().lower() for line in _lines(part) if (match := _ACCEPTED.fullmatch(line))}
    return frozenset("any" if one in ("any", "1:any") else one for one in sums)


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)


def _until(changeset: Changeset, end: int) -> Changeset:
    return Changeset(changeset.author, changeset.id, changeset.line, end, changeset.attributes)


def _heeded(lines: list[str]) -> list[tuple[int, str]]:
    """The lines, numbered, without those that ``--ignoreLines`` takes out."""
    heeded: list[tuple[int, str]] = []
    skip, until_end = 0, False
    for number, line in enumerate(lines, 1):
        match = _IGNORE.fullmatch(line)
        if until_end:
            until_end = not (match and match[1] == "end")
        elif skip:
            skip -= 1
        elif match:
            until_end = match[1] == "start"
            skip = int(match[1]) if match[1].isdecimal() else 0
        else:
            heeded.append((number, line))
    return heeded


def _attributes(words: str) -> dict[str, str]:
    return {match[1].lower(): match[2].strip('"') for match in _ATTRIBUTE.finditer(words)}
