"""What objects of any kind can have: an owner, privileges, a comment, security labels."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from auditkit.catalog.grants import OWNER, PUBLIC
from auditkit.catalog.sql import Hazard, Sql, execute, last, literal, tuple_of

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Value

_WORDS = {
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "statistics object": "STATISTICS",
    "table constraint": "CONSTRAINT",
}


def named(kind: str, identity: str) -> str:
    """An object as ALTER, COMMENT ON and DROP name it: ``TABLE public.t``, ``COLUMN public.t.c``."""
    if kind.endswith(" column"):
        return f"COLUMN {identity}"
    if kind == "domain constraint":
        name, _, domain = identity.rpartition(" on ")
        return f"CONSTRAINT {name} ON DOMAIN {domain}"
    if kind == "aggregate" and identity.endswith("()"):
        identity = identity[:-2] + "(*)"
    return f"{_WORDS.get(kind, kind.upper())} {identity}"


def _about(fact: Fact, template: str) -> str:
    """A statement with ``{}`` for the object; one about the database finds out its name."""
    if fact.kind == "database":
        return execute(template.replace("%", "%%").replace("{}", "DATABASE %I"))
    return template.replace("{}", named(fact.kind, fact.identity), 1)


def owner(fact: Fact) -> list[Sql]:
    """Make the owner what *fact* says."""
    if fact.kind == "extension":
        return []  # PostgreSQL has no statement for it
    new = str(fact.attributes["owner"])
    return [Sql(_about(fact, f"ALTER {{}} OWNER TO {new.replace('{}', '')}"))]


def comment(fact: Fact) -> list[Sql]:
    """Make the comment what *fact* says."""
    text = fact.attributes["comment"]
    if text is None and fact.key == ("schema", "public"):
        text = "standard public schema"  # as initdb makes it, which a fact does not hold
    statement = f"IS {'NULL' if text is None else literal(str(text))}"
    if fact.kind == "database":
        return [Sql(_about(fact, f"COMMENT ON {{}} {statement}"))]
    return [Sql(f"COMMENT ON {named(fact.kind, fact.identity)} {statement}")]


def security_labels(fact: Fact, old: Value) -> list[Sql]:
    """Make the security labels (``provider: label``) what *fact* says."""
    was = dict(label.split(": ", 1) for label in tuple_of(old))
    now = dict(label.split(": ", 1) for label in tuple_of(fact.attributes.get("security_labels")))
    return [
        Sql(
            f"SECURITY LABEL FOR {literal(provider)} ON {named(fact.kind, fact.identity)}"
            f" IS {literal(now[provider]) if provider in now else 'NULL'}"
        )
        for provider in sorted(was.keys() | now.keys())
        if was.get(provider) != now.get(provider)
    ]


# --- privileges --------------------------------------------------------------------------------------------------

_LINE = re.compile(r"(GRANT|REVOKE) (.+?) (?:TO|FROM) (.+?)( WITH GRANT OPTION)?", re.DOTALL)
Held = dict[tuple[str, str], str]  # (grantee, privilege) → GRANT, REVOKE or GRANT OPTION


def _held(lines: Value) -> Held:
    """What differs from the default, privilege by privilege."""
    held: Held = {}
    for line in tuple_of(lines):
        match = _LINE.fullmatch(line)
        assert match is not None, line
        for privilege in match[2].split(", "):
            held[match[3], privilege] = "GRANT OPTION" if match[4] else match[1]
    return held


#: What initial privileges are on: "function pg_catalog.pg_sleep(double precision)", "table pg_catalog.pg_proc (oid)".
_INITIAL = re.compile(r"(\w+) (.*?)( \(.*\))?", re.DOTALL)


def granted_on(fact: Fact) -> tuple[str, str]:
    """(object as GRANT names it, column list) of what privileges can be given on."""
    kind, identity = fact.kind, fact.identity
    if kind.endswith(" column"):
        relation = fact.parent or ""
        return f"TABLE {relation}", f" ({last(identity)})"
    if kind == "initial privileges" and (match := _INITIAL.fullmatch(identity)):
        return f"{'TABLE' if match[1] == 'view' else match[1].upper()} {match[2]}", match[3] or ""
    words = {
        "view": "TABLE",
        "materialized view": "TABLE",
        "foreign table": "TABLE",
        "aggregate": "FUNCTION",
        "server": "FOREIGN SERVER",
        "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    }
    return f"{words.get(kind, kind.upper())} {identity}", ""


#: "for role r", "for role r in schema s" … "on tables", as ``pg_identify_object`` names default privileges.
_DEFAULTS = re.compile(
    r"(for role .*?) on (tables|sequences|functions|types|schemas|large objects)", re.DOTALL
)


def _given_to(owner: str, held: Held, column: bool, former: str | None = None) -> Held:
    """What is held when an object has been given to *owner*: theirs and the former owner's privileges become one."""
    if column and former is not None:  # on a column the owner is a grantee like others
        held = {(owner if grantee == former else grantee, what): how for (grantee, what), how in held.items()}
    found = {key: how for key, how in held.items() if key[0] != owner}
    for grantee, privilege in held.keys() - found.keys():
        if column and grantee == owner:
            found[OWNER, privilege] = "GRANT"
        else:
            found.pop(
                (OWNER, privilege), None
            )  # of all else an owner holds everything, unless it was revoked
    return found


def grants(
    fact: Fact, old: Value, *, owner: str | None = None, given_away: bool = False, former: str | None = None
) -> list[Sql]:
    """Make the privileges what *fact* says, if they are *old* (as ``auditkit.catalog.grants`` writes them).

    Args:
        fact: the object as it shall be.
        old: its privileges as they are.
        owner: its owner, if that is not an attribute of the object.
        given_away: that owner has just become so.
        former: who was the owner before.
    """
    was, now = _held(old), _held(fact.attributes.get("grants"))
    steps: dict[tuple[str, str], list[str]] = defaultdict(list)
    if given_away and owner is not None:
        for (grantee, privilege), how in was.items():
            if grantee == owner and how == "GRANT OPTION":  # which an owner has anyway
                steps["REVOKE GRANT OPTION FOR", OWNER].append(privilege)
        was = _given_to(owner, was, fact.kind.endswith(" column"), former)
    for key in sorted(was.keys() | now.keys()):
        grantee, privilege = key
        before, after = was.get(key), now.get(key)
        if before == after:
            continue
        if after == "GRANT" and before == "GRANT OPTION":
            steps["REVOKE GRANT OPTION FOR", grantee].append(privilege)
        elif after == "REVOKE" or (after is None and before != "REVOKE"):
            steps["REVOKE", grantee].append(privilege)
        else:
            steps["GRANT WITH OPTION" if after == "GRANT OPTION" else "GRANT", grantee].append(privilege)
    found = []
    for (action, grantee), privileges in sorted(steps.items(), key=lambda s: (s[0][0].startswith("G"), s[0])):
        name = (owner or str(fact.attributes.get("owner"))) if grantee == OWNER else grantee
        found.append(_privileges(fact, action, privileges, name))
    return found


def _privileges(fact: Fact, action: str, privileges: list[str], grantee: str) -> Sql:
    on, columns = granted_on(fact)
    listed = ", ".join(privilege + columns for privilege in privileges)
    verb = action.removesuffix(" WITH OPTION")
    tail = " WITH GRANT OPTION" if action.endswith(" WITH OPTION") else ""
    towards = "TO" if verb == "GRANT" else "FROM"
    opens = verb == "GRANT" and grantee == PUBLIC and fact.kind != "default acl"
    hazards = (Hazard("OPENS_ACCESS", "everybody is given access"),) if opens else ()
    if fact.kind == "default acl":
        match = _DEFAULTS.fullmatch(fact.identity)
        assert match is not None, fact.identity
        scope = match[1].replace("for role", "FOR ROLE", 1).replace(" in schema ", " IN SCHEMA ", 1)
        return Sql(
            f"ALTER DEFAULT PRIVILEGES {scope} {verb} {listed} ON {match[2].upper()} {towards} {grantee}{tail}",
            hazards,
        )
    if fact.kind == "database":
        return Sql(
            execute(f"{verb} {listed} ON DATABASE %I {towards} {grantee.replace('%', '%%')}{tail}"), hazards
        )
    return Sql(f"{verb} {listed} ON {on} {towards} {grantee}{tail}", hazards)
