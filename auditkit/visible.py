"""Names and texts of audited databases, with what cannot be seen written out: they may hold anything."""

from __future__ import annotations

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(value: object) -> str:
    """*value* as one line: nothing in it ends the line, moves a cursor, turns text round or looks like a blank."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_written_out, text))


def visible_code(value: object) -> str:
    """Several lines of code, with all but line breaks and tabs written out."""
    text = str(value).replace("\r\n", "\n")
    return "".join(char if char in "\n\t" else _written_out(char) for char in text)


def _written_out(char: str) -> str:
    return char if char.isprintable() else _SHORT.get(char, f"\\u{{{ord(char):04X}}}")
