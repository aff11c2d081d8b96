"""SQL as it is handed to people: names and literals, statements, and what can go wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditkit.catalog.grants import quote

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot, Value

__all__ = ["HAZARDS", "Change", "Hazard", "Sql", "called", "execute", "literal", "quote"]

#: What a statement can do beside its purpose: code → meaning (docs/sql.md lists them).
HAZARDS: dict[str, str] = {
    "DELETES_DATA": "rows, values or positions that are stored now are gone afterwards",
    "MAY_FAIL_ON_DATA": "rows that are stored now can make it fail; then nothing is changed",
    "REWRITES_TABLE": "every row is written anew, while nobody can read or write the table",
    "SCANS_TABLE": "every row is read, while nobody can write the table",
    "BLOCKS_WRITES": "writing to the table waits until an index is built",
    "OPENS_ACCESS": "somebody can read or write afterwards what was closed to them before",
    "NEEDS_SECRET": "a secret is never read from a catalog: put it in by hand",
    "NOT_TRANSACTIONAL": "it runs outside of a transaction: if a later statement fails, it stays",
}


@dataclass(frozen=True)
class Hazard:
    """One thing to know before a statement is run.

    Attributes:
        code: a key of ``HAZARDS``.
        why: what exactly, in a few words.
    """

    code: str
    why: str = ""


@dataclass(frozen=True)
class Sql:
    """One statement, without its semicolon.

    Attributes:
        text: the statement.
        hazards: what to know before it is run.
        alone: it cannot run in a transaction, or what it does must be committed before it is used.
        early: it lets go of what the object depended on, and so comes before that is dropped or made anew.
    """

    text: str
    hazards: tuple[Hazard, ...] = ()
    alone: bool = False
    early: bool = False


@dataclass(frozen=True)
class Change:
    """One object that differs, as the functions of ``auditkit.catalog.alter`` are given it.

    Attributes:
        old, new: the fact before and after.
        attributes: those in which they differ, without owner, grants, comment and security labels.
        before, after: the snapshots that both are from.
        version: ``server_version_num`` of the server that the SQL is for.
        released: what its default is made of is made anew, so the default has to step aside.
    """

    old: Fact
    new: Fact
    attributes: frozenset[str]
    before: Snapshot
    after: Snapshot
    version: int
    released: bool = False

    def value(self, attribute: str) -> Value:
        """The attribute as it shall be."""
        return self.new.attributes.get(attribute)

    def was(self, attribute: str) -> Value:
        """The attribute as it is."""
        return self.old.attributes.get(attribute)

    def only(self, *attributes: str) -> bool:
        """Whether nothing else differs."""
        return self.attributes <= set(attributes)


def literal(text: str) -> str:
    """A text as an SQL literal that is safe whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def called(routine: object) -> str:
    """The name in ``schema.name(arguments)``, as ``regprocedure`` and ``regoperator`` print it."""
    text = str(routine)
    return text[: text.rindex("(")] if "(" in text else text


def arguments(routine: object) -> str:
    """The arguments in ``schema.name(arguments)``."""
    text = str(routine)
    return text[text.rindex("(") + 1 : -1]


def operator(text: object) -> str:
    """``schema.+(integer,integer)`` as a reference to an operator by name."""
    return f"OPERATOR({called(text)})"


def execute(template: str) -> str:
    """A statement about this database, whose name may be any: ``%I`` in *template* stands for it."""
    body = f"BEGIN EXECUTE format({literal(template)}, current_database()); END"
    return f"DO {dollar(body)}"


def dollar(body: str) -> str:
    """A body between dollar quotes that it does not contain."""
    for tag in ("$$", "$auditkit$", *(f"$auditkit{n}$" for n in range(1000))):
        if tag not in body and not (body + tag).startswith(tag) and not body.endswith("$"):
            return f"{tag}{body}{tag}"
    return literal(body)


def pairs(options: Iterable[str]) -> list[tuple[str, str]]:
    """``key=value`` texts, split."""
    return [(key, value) for key, _, value in (option.partition("=") for option in options)]


def tuple_of(value: Value) -> tuple[str, ...]:
    """An attribute that is a list; empty when it is not set."""
    return value if isinstance(value, tuple) else ()


_LAST = re.compile(r'(?:"(?:[^"]|"")*"|[^".])+$')


def last(identity: str) -> str:
    """The last part of a qualified name, as it is written there."""
    match = _LAST.search(identity)
    return match[0] if match else identity
