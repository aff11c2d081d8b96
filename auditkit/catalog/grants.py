"""Privileges as text that can be compared between servers: the differences to PostgreSQL's defaults.

An ACL that was never set and one that was set to what is the default anyway mean the same, and which
privileges are the default depends on the version (MAINTAIN exists since 17). So a fact holds only what was
granted or revoked beyond the default, as ``GRANT SELECT TO anon`` and ``REVOKE EXECUTE FROM PUBLIC``. The owner
is written ``$owner``, so that a change of ownership is one delta. Who granted a privilege is not compared.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: Letters of aclitem, in the order PostgreSQL prints them (src/include/utils/acl.h).
PRIVILEGES = {
    "a": "INSERT",
    "r": "SELECT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "X": "EXECUTE",
    "U": "USAGE",
    "C": "CREATE",
    "T": "TEMPORARY",
    "c": "CONNECT",
    "s": "SET",
    "A": "ALTER SYSTEM",
    "m": "MAINTAIN",
}
OWNER = "$owner"
PUBLIC = "PUBLIC"

#: Default privileges of (owner, PUBLIC) by the letter that acldefault() takes; "-" is "none at all", which is
#: what ALTER DEFAULT PRIVILEGES IN SCHEMA adds to.
_DEFAULTS = {
    "c": ("", ""),
    "r": ("arwdDxtm", ""),
    "s": ("rwU", ""),
    "d": ("CTc", "Tc"),
    "f": ("X", "X"),
    "l": ("U", "U"),
    "n": ("UC", ""),
    "F": ("U", ""),
    "S": ("U", ""),
    "T": ("U", "U"),
    "L": ("rw", ""),
    "-": ("", ""),
}
_ITEM = re.compile(r'("(?:[^"]|"")*"|[^"=]*)=([^/]*)/', re.DOTALL)
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}]+)', re.DOTALL)
_SAFE = re.compile(r"[a-z_][a-z0-9_]*")
#: Reserved words, which an identifier may be only in quotes.
_RESERVED_WORDS = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column
concurrently constraint create cross current_catalog current_date current_role current_schema current_time
current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from
full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit localtime
localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references returning
right select session_user similar some symmetric system_user table tablesample then to trailing true union unique user
using variadic verbose when where window with"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def quote(name: str) -> str:
    """A name as an SQL identifier, quoted where ``quote_ident()`` quotes it."""
    if _SAFE.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def unquote(identifier: str) -> str:
    """The name an SQL identifier stands for."""
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier


def array(text: str) -> tuple[str, ...]:
    """The elements of a one-dimensional PostgreSQL array literal (NULL elements do not occur in catalogs)."""
    if '"' not in text:
        return tuple(text[1:-1].split(",")) if len(text) > 2 else ()
    return tuple(
        re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) if match[1] is not None else match[2]
        for match in _ELEMENT.finditer(text[1:-1])
    )


@lru_cache(maxsize=4096)
def grants(acl: str | None, kind: str, owner: str, version: int) -> tuple[str, ...] | None:
    """What an ACL grants and revokes beyond the default.

    Args:
        acl: the text of an ``aclitem[]``; None stands for the default.
        kind: the letter that ``acldefault()`` takes, or "-" for no default.
        owner: the owner's name as an SQL identifier.
        version: ``server_version_num``.

    Returns:
        Statements without their object, sorted; None when the privileges are the default ones.
    """
    if acl is None:
        return None
    held: dict[str, dict[str, bool]] = {}
    owner_name = unquote(owner)
    for item in array(acl):
        match = _ITEM.match(item)
        if match is None:
            raise ValueError(f"not an aclitem: {item!r}")
        name = unquote(match[1])
        grantee = PUBLIC if not name else OWNER if name == owner_name else quote(name)
        letters = held.setdefault(grantee, {})
        for letter, star in re.findall(r"(.)(\*?)", match[2]):
            # The owner may grant what it holds in any case; a star says nothing.
            letters[letter] = letters.get(letter, False) or (star == "*" and grantee != OWNER)
    defaults = dict(zip((OWNER, PUBLIC), _DEFAULTS[kind], strict=True))
    if version < 170000:
        defaults = {grantee: letters.replace("m", "") for grantee, letters in defaults.items()}
    lines = []
    for grantee in held.keys() | defaults.keys():
        has, default = held.get(grantee, {}), defaults.get(grantee, "")
        plain = [PRIVILEGES[p] for p in PRIVILEGES if p in has and not has[p] and p not in default]
        grantable = [PRIVILEGES[p] for p in PRIVILEGES if has.get(p)]
        revoked = [PRIVILEGES[p] for p in PRIVILEGES if p in default and p not in has]
        if plain:
            lines.append(f"GRANT {', '.join(plain)} TO {grantee}")
        if grantable:
            lines.append(f"GRANT {', '.join(grantable)} TO {grantee} WITH GRANT OPTION")
        if revoked:
            lines.append(f"REVOKE {', '.join(revoked)} FROM {grantee}")
    return tuple(sorted(lines)) or None
