"""The statements that a program sent, as SQL that does the same without it.

For programs whose tool has no command that could be called. It stands for the program only where the program does the
same wherever it is run: one that looks at rows, or fills values in, is left to its own tool.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from auditkit.history.shadow.running import excerpt, leading_word
from auditkit.history.split import Statement

__all__ = ["Unrepeatable", "as_sql"]

_FRAME = frozenset({"begin", "start", "commit", "end", "savepoint", "release"})
_READS = frozenset({"select", "show", "with", "values", "table"})
#: What a driver sets when it connects.
_SETTING = re.compile(
    r"set\s+(?:session\s+)?(?:client_min_messages|standard_conforming_strings|client_encoding|datestyle|time\s+zone)\b",
    re.IGNORECASE,
)
#: Tools ask the catalog what is there; whatever else stands after FROM or JOIN may hold rows.
_CATALOG = r"\"?(?:information_schema|pg_catalog)\"?\s*\.|\"?pg_\w+|current_\w+|unnest\b|lateral\b|\("
_ROWS = re.compile(rf"\b(?:from|join)\s+(?!{_CATALOG})", re.IGNORECASE)
_FROM = re.compile(r"\bfrom\b|^select\s+(?:version|current_\w+)\b", re.IGNORECASE)


class Unrepeatable(Exception):
    """What it sent depends on more than the schema; the message says what, in a few words."""


def as_sql(statements: Sequence[Statement], bound: Collection[int], own: Collection[str]) -> str:
    """The SQL of *statements*, without what frames them and what they ask the catalog.

    Args:
        bound: the numbers of those whose values were sent apart.
        own: the names of the tables that the tool keeps for itself.

    Raises:
        Unrepeatable: it would not do what the program does.
    """
    mine = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in own) or "(?!)")
    kept = []
    for number, statement in enumerate(statements):
        text = statement.text.strip().rstrip(";").rstrip()
        word = leading_word(text)
        if not text or word in _FRAME or mine.search(text) or _SETTING.match(text):
            continue
        if word in _READS and _ROWS.search(text):
            raise Unrepeatable(f"it reads what is there ({excerpt(text, 60)})")
        if word == "show" or (word in _READS and _FROM.search(text)):
            continue
        if number in bound:
            raise Unrepeatable(f"it fills in values ({excerpt(text, 60)})")
        if word.startswith("rollback") or word in ("abort", "copy"):
            raise Unrepeatable(f"it says {word.upper()}")
        kept.append(text)
    return "\n;\n".join(kept) + ";\n" if kept else ""
