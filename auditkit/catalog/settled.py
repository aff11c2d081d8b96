"""Texts that PostgreSQL deparses in one way when they were written, and in another once they come from a dump.

``v IN ('a', 'b')`` on a varchar is kept as a cast of an array, ``(ARRAY['a'::character varying, …])::text[]``; read
again, the parser hands the cast down to the elements, ``ARRAY[('a'::character varying)::text, …]``
(``transformArrayExpr`` in parse_expr.c). ``a BETWEEN 1 AND 2 AND b`` is kept as ``((a >= 1 AND a <= 2) AND b)``; read
again, what stands first is no list of its own (``makeAndExpr`` in gram.y). A restored database would differ from its
migrations in each such check, index, view and policy; so a text is taken as it will be, which it then remains.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["DEPARSED", "settled"]

#: The attributes that hold expressions as the server deparses them; the body of a function, where it is no string.
DEPARSED = frozenset({"definition", "default", "using", "check", "row_filter", "body"})

_NAME = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+")'
_TYPE = rf"{_NAME}(?:\.{_NAME}| varying)?(?:\(\d+\))?"
#: A literal with its type, or a column.
_ELEMENT = rf"(?:E?'(?:[^']|'')*'::{_TYPE}|NULL::{_TYPE}|{_NAME}(?:\.{_NAME})*)"
_ELEMENTS = re.compile(_ELEMENT)
_CAST = re.compile(rf"\(ARRAY\[({_ELEMENT}(?:, {_ELEMENT})*)\]\)::({_TYPE})\[\]")
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]| (?:AND|OR) """)
_LATER = re.compile(r"\) (?:AND|OR) ")


def settled(text: Any, attribute: str = "definition") -> Any:
    """*text* as the server would deparse it after it has read it again; other texts, and what is none, as they are."""
    if not isinstance(text, str) or (attribute == "body" and not text.startswith("BEGIN ATOMIC")):
        return text
    if "(ARRAY[" in text:
        text = _CAST.sub(_handed_down, text)
    return _flat(text) if "((" in text and _LATER.search(text) else text


def _handed_down(cast: re.Match[str]) -> str:
    elements = (f"({element})::{cast[2]}" for element in _ELEMENTS.findall(cast[1]))
    return f"ARRAY[{', '.join(elements)}]"


def _flat(text: str) -> str:
    """Without the parentheses around a list of conditions that another list of the same kind begins with."""
    gone: list[int] = []
    opened: list[tuple[int, set[str]]] = []  # where, and the words between what stands in it
    for token in _TOKEN.finditer(text):
        word, place = token[0], token.start()
        if word == "(":
            opened.append((place, set()))
        elif word == ")" and opened:
            start, words = opened.pop()
            if len(words) == 1 and text[start - 1 : start] == "(" and text.startswith(words.pop(), place + 1):
                gone += (start, place)
        elif word[0] == " " and opened:
            opened[-1][1].add(word)
    left = sorted(gone, reverse=True)
    for place in left:
        text = text[:place] + text[place + 1 :]
    return text
