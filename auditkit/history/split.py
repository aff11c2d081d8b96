"""Split a SQL file into statements, exactly as the Supabase CLI does before it stores them.

The CLI writes the statements it ran into ``supabase_migrations.schema_migrations.statements``. Only a
splitter that agrees with it character for character can tell an edited migration from an untouched
one, so this follows the rules of CLI 3.x (checked against the real CLI in
``tests/test_history_supabase.py``), including its quirk of closing all open parentheses at the first
``)``. It is the only SQL splitter of the project.

What does not end a statement: ``;`` in ``'…'`` (with backslashes after ``E``), ``"…"``, ``$tag$…$tag$``,
``-- …``, nested ``/* … */``, ``(…)``, ``BEGIN ATOMIC … END``, and the character after a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Effect", "Statement", "first_word", "fold", "same_effect", "signature", "split"]

#: How two lists of statements relate: equal; equal but for comments, white space, line ends or the case
#: of unquoted words; or neither.
Effect = Literal["identical", "cosmetic", "different"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file.

    ``text`` is what the CLI stores: comments stay, the final ``;`` and white space around it go.
    ``sql[start:end] == text``. ``line`` (1-based) is where the first word stands that is not a comment,
    or where the text starts if there is none.
    """

    text: str
    line: int
    start: int
    end: int


# White space as JavaScript's trim() sees it (the CLI is JavaScript); str.strip() differs on \x1c-\x1f,
# \x85 and the byte order mark.
_SPACE = " \t\n\r\f\v"
_TRIM = (
    _SPACE
    + "\u00a0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_WORD = r"A-Za-z0-9_$\x80-\U0010ffff"
_IS_WORD = re.compile(f"[{_WORD}]")
# Everything that can change what a character means; all else is skipped in one go.
_STOP = re.compile(r"""[$'"\\;()]|--|/\*|(?ai:(?<=atomi)c|(?<=en)d)""")
_OPAQUE = re.compile(r"""[$'"\\]|--|/\*""")
_TAG = re.compile(r"\$[A-Za-z0-9_\x80-\U0010ffff]*\$")
_WORDS = re.compile(f"[{_WORD}]*")
_QUOTED = {
    quote: re.compile(rf"{quote}[^{quote}]*(?:{quote}{quote}[^{quote}]*)*(?:{quote}|\Z)") for quote in "'\""
}
_ESCAPED = re.compile(r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\\?\Z)", re.DOTALL)
_LINE_COMMENT = re.compile(r"--[^\n\r]*[\n\r]?")
_BLOCK_MARK = re.compile(r"/\*|\*/")
# Between two parts of one string constant: white space with a line end, and comments.
_CONTINUATION = re.compile(r"(?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*(?=')")
_BLANK = re.compile(r"[ \t\n\r\f\v]+")
_TIGHT = re.compile(r" ?([(),;]) ?")
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


def split(sql: str) -> list[Statement]:
    """Split *sql* into the statements the Supabase CLI would run and store, in order."""
    statements = []
    start, line, counted = 0, 1, 0
    while start < len(sql):
        end = _statement_end(sql, start)
        body = sql[start:end].rstrip(";")
        text = body.strip(_TRIM)
        if text:
            begin = start + len(body) - len(body.lstrip(_TRIM))
            first = first_word(sql, begin, begin + len(text))
            line += sql.count("\n", counted, first)
            counted = first
            statements.append(Statement(text, line, begin, begin + len(text)))
        start = end
    return statements


def join(statements: Iterable[str]) -> str:
    """A script of *statements*: what ``split`` undoes. The ``;`` gets a line of its own, since a statement
    may end in a line comment."""
    return "".join(f"{statement}\n;\n" for statement in statements)


def same_effect(left: Iterable[str], right: Iterable[str]) -> Effect:
    """Compare what two lists of statements do, as far as text can tell.

    Each element is split again first, because some writers of ledgers store a whole file as one
    element. A comment inside a ``$$`` body is part of the function and counts as different.
    """
    mine, theirs = _resplit(left), _resplit(right)
    if mine == theirs:
        return "identical"
    return "cosmetic" if signature(mine) == signature(theirs) else "different"


def signature(statements: Iterable[str]) -> tuple[str, ...]:
    """What *statements* do, as a key: equal if ``same_effect`` would not call them different."""
    return tuple(text for text in map(fold, _resplit(statements)) if text)


def fold(sql: str) -> str:
    """Return *sql* without what cannot matter: comments, white space, line ends, case of unquoted words.

    Literals, quoted names and dollar-quoted bodies stay as they are, except that CRLF becomes LF
    (a checkout on Windows changes every file, and nobody means it).
    """
    parts: list[str] = []
    plain: list[str] = []

    def flush() -> None:
        parts.append(_TIGHT.sub(r"\1", _BLANK.sub(" ", "".join(plain).translate(_LOWER))))
        plain.clear()

    sql = sql.replace("\r\n", "\n").replace("\ufeff", " ")
    position = 0
    while match := _OPAQUE.search(sql, position):
        plain.append(sql[position : match.start()])
        position = _skip(sql, 0, match.start())
        if match[0] in ("--", "/*"):
            plain.append(" ")
        elif position == match.start() + 1:  # a lone $ that opens nothing
            plain.append(match[0])
        else:
            flush()
            parts.append(sql[match.start() : position])
    plain.append(sql[position:])
    flush()
    return "".join(parts).strip()


def _resplit(statements: Iterable[str]) -> list[str]:
    return [statement.text for stored in statements for statement in split(stored)]


def _statement_end(sql: str, start: int) -> int:
    """Offset after the ``;`` that ends the statement beginning at *start*, or the end of *sql*."""
    # What is open: -1 for a parenthesis, else for BEGIN ATOMIC where its current inner statement starts.
    open_: list[int] = []
    position = start
    while match := _STOP.search(sql, position):
        at, mark = match.start(), match[0]
        position = at + 1
        if mark == ";":
            if not open_:
                return position
            if open_[-1] >= 0:
                open_[-1] = position
        elif mark == "(":
            open_.append(-1)
        elif mark == ")":
            while open_ and open_[-1] < 0:
                open_.pop()
        elif mark in "cC":
            if _begins_atomic(sql, start, position):
                open_.append(position)
        elif mark in "dD":
            if open_ and open_[-1] >= 0 and _ends_atomic(sql, start, open_[-1], position):
                open_.pop()
        else:
            position = _skip(sql, start, at)
    return len(sql)


def _skip(sql: str, start: int, at: int) -> int:
    """Offset after the quoted text, comment or escape at *at*; the statement began at *start*."""
    mark = sql[at]
    if mark == "\\":  # hides the next character, but the CLI still lets a ) close its parentheses
        return at + 1 if sql.startswith(")", at + 1) else min(at + 2, len(sql))
    if mark == "-":
        return _end(_LINE_COMMENT, sql, at)
    if mark == "/":
        depth = 0
        for delimiter in _BLOCK_MARK.finditer(sql, at):
            depth += 1 if delimiter[0] == "/*" else -1
            if depth == 0:
                return delimiter.end()
        return len(sql)
    if mark == "$":
        if at > start and _IS_WORD.match(sql, at - 1):
            return at + 1  # part of a name such as a$b
        tag = _TAG.match(sql, at)
        if not tag:
            return _end(_WORDS, sql, at + 1) if _IS_WORD.match(sql, at + 1) else at + 1
        close = sql.find(tag[0], at + 1)
        return len(sql) if close < 0 else close + len(tag[0])
    if mark == "'" and _word_before(sql, start, at, "e"):
        end = _end(_ESCAPED, sql, at)
        while (gap := _CONTINUATION.match(sql, end)) and ("\n" in gap[0] or "\r" in gap[0]):
            end = _end(_ESCAPED, sql, gap.end())
        return end
    return _end(_QUOTED[mark], sql, at)


def _end(pattern: re.Pattern[str], sql: str, at: int) -> int:
    match = pattern.match(sql, at)
    assert match, pattern  # each of these patterns matches wherever it is tried
    return match.end()


def _word_before(sql: str, start: int, end: int, word: str) -> bool:
    """Whether ``sql[start:end]`` ends with *word* standing alone (ASCII case ignored)."""
    begin = end - len(word)
    if begin < start or sql[begin:end].translate(_LOWER) != word:
        return False
    return begin == start or not _IS_WORD.match(sql, begin - 1)


def _begins_atomic(sql: str, start: int, end: int) -> bool:
    if not _word_before(sql, start, end, "atomic"):
        return False
    before = len(sql[start : end - len("atomic")].rstrip(_SPACE)) + start
    return _word_before(sql, start, before, "begin")


def _ends_atomic(sql: str, start: int, inner: int, end: int) -> bool:
    """Whether END before *end* closes BEGIN ATOMIC: it must be the first word of an inner statement."""
    if not _word_before(sql, start, end, "end") or _IS_WORD.match(sql, end):
        return False
    return end - len("end") >= inner and first_word(sql, inner, end, _SPACE) == end - len("end")


def first_word(sql: str, begin: int = 0, end: int | None = None, space: str = _TRIM) -> int:
    """Offset of the first character in ``sql[begin:end]`` outside white space and comments, else *begin*."""
    end = len(sql) if end is None else end
    position = begin
    while position < end:
        if sql[position] in space:
            position += 1
        elif sql.startswith(("--", "/*"), position):
            position = _skip(sql, begin, position)
        else:
            return position
    return begin
