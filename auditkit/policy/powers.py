"""What a role can do to the schema by itself: each power with the SQL that takes it away and leaves the rest.

A power belongs to whoever holds it directly, a role or PUBLIC; ``doors`` tells who else gets at it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from auditkit.catalog.belongings import granted_on, named, owner
from auditkit.catalog.grants import OWNER, PUBLIC, quote, unquote
from auditkit.catalog.sql import execute, tuple_of

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Key, Snapshot
    from auditkit.policy.roles import Name, Roles

#: Door → severity, what its holder can do, and what closing it may break.
DOORS: dict[str, tuple[str, str, str]] = {
    "superuser": ("high", "is a superuser: may do anything", "whatever it does that only superusers may"),
    "server_programs": (
        "critical",
        "may run programs or write files as the server's system user, and so become superuser",
        "its COPY … PROGRAM, COPY … TO a file and lo_export()",
    ),
    "create_role": (
        "critical",
        "has CREATEROLE, and before PostgreSQL 16 may put itself into any role that is no superuser",
        "its management of roles",
    ),
    "parameter": (
        "high",
        "may set a parameter of the server that only superusers may",
        "its ALTER SYSTEM and SET of that parameter",
    ),
    "acts_as": (
        "medium",
        "may act as a role that is meant to change the schema",
        "whatever it does as that role; if it is how migrations are run, name it in [policy] migration_roles",
    ),
    "database_owner": (
        "high",
        "owns the database: may create schemas and trusted extensions, and drop or alter it",
        "its ALTER DATABASE and CREATE SCHEMA; CONNECT and TEMPORARY if PUBLIC has them not",
    ),
    "schema_owner": (
        "high",
        "owns a schema: may create in it, drop anything in it, and rename it",
        "its CREATE in the schema; it keeps USAGE by the GRANT here",
    ),
    "owner": (
        "high",
        "owns objects: may alter and drop them",
        "its DDL, TRUNCATE, REFRESH and ANALYZE; what it reads and writes is granted here. As owner row level "
        "security did not bind it: now it does",
    ),
    "create_in_database": (
        "medium",
        "may create schemas, publications and trusted extensions in the database",
        "its CREATE SCHEMA, CREATE EXTENSION and CREATE PUBLICATION",
    ),
    "create_in_schema": ("medium", "may create objects in a schema", "its CREATE there, also SELECT INTO"),
    "event_trigger": (
        "high",
        "owns the function of an event trigger, which runs with the rights of whoever changes the schema",
        "its CREATE OR REPLACE of that function",
    ),
    "definer": (
        "high",
        "may call a SECURITY DEFINER function that can be led to change the schema with its owner's rights",
        "callers of the function, if they need it: grant EXECUTE to them by name; unqualified names in its body that "
        "are in other schemas",
    ),
    "trigger": (
        "low",
        "has TRIGGER: its trigger functions run with the rights of whoever writes to the table",
        "its CREATE TRIGGER on the table",
    ),
    "default_privileges": (
        "low",
        "will get CREATE or TRIGGER on what is created later",
        "nothing that exists; objects made later do not give it any more",
    ),
    "foreign_server": (
        "low",
        "may connect to another server, or to this one, as somebody else",
        "foreign tables and dblink of whoever uses that mapping",
    ),
    "server_files": (
        "medium",
        "may read files of the server, credentials among them",
        "its COPY … FROM a file and pg_read_file()",
    ),
    "replication": (
        "info",
        "has REPLICATION: may copy the whole cluster, password hashes included",
        "standbys, backups and change data capture that log in with it",
    ),
    "bypass_row_security": ("info", "is not bound by row level security", "reads and writes that policies forbid"),
}  # fmt: skip

#: Predefined roles that lead further than their names say (PostgreSQL's documentation, "Predefined Roles").
PREDEFINED = {
    "pg_execute_server_program": "server_programs",
    "pg_write_server_files": "server_programs",
    "pg_read_server_files": "server_files",
}
#: PostgreSQL's own functions that do the same, once somebody may call them.
_SYSTEM = {
    "lo_export": "server_programs",
    "lo_import": "server_files",
    "pg_read_file": "server_files",
    "pg_read_binary_file": "server_files",
}
#: What an owner did with its objects and still needs when it owns them no more.
_USES = {
    "table": "SELECT, INSERT, UPDATE, DELETE",
    "foreign table": "SELECT, INSERT, UPDATE, DELETE",
    "view": "SELECT, INSERT, UPDATE, DELETE",
    "materialized view": "SELECT",
    "sequence": "USAGE, SELECT",
    "schema": "USAGE",
    "function": "EXECUTE",
    "procedure": "EXECUTE",
    "aggregate": "EXECUTE",
    "type": "USAGE",
    "server": "USAGE",
    "foreign-data wrapper": "USAGE",
}


@dataclass(frozen=True)
class Close:
    """One statement that closes a door, in which part of the plan it comes (see ``plan.ORDER``)."""

    part: str
    sql: str


@dataclass
class Power:
    """What *holder* can do by itself.

    ``attribute``: only whoever becomes the holder has it. ``hints`` say what makes it worse, or what to look at.
    """

    door: str
    holder: Name
    objects: list[Key] = field(default_factory=list)
    close: list[Close] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    severity: str = ""
    attribute: bool = False

    def __post_init__(self) -> None:
        self.severity = self.severity or DOORS[self.door][0]


@dataclass(frozen=True)
class View:
    """What powers are searched in: ``trusted`` roles may, ``migrator`` is to own what others should not."""

    snapshot: Snapshot
    roles: Roles
    trusted: frozenset[Name]
    migrator: Name

    @property
    def major(self) -> int:
        return int(self.snapshot.manifest.get("server_version", 0)) // 10000

    @cached_property
    def sequences(self) -> dict[str, list[str]]:
        """Sequences that belong to columns, by the identity of the table."""
        found: dict[str, list[str]] = defaultdict(list)
        columns = {fact.identity: fact.parent for fact in self.snapshot.iter("table column")}
        for fact in self.snapshot.iter("sequence"):
            if table := columns.get(fact.parent or ""):
                found[table].append(fact.identity)
        return found

    def owns(self, fact: Fact) -> Name:
        """The owner of an object; empty where its kind has none."""
        return str(fact.attributes.get("owner") or "")

    def creators(self, schema: Fact) -> list[Name]:
        """Who is granted CREATE on a schema, its owner aside."""
        return [grantee for grantee, privilege, _ in granted(schema) if privilege == "CREATE"]


_LINE = re.compile(r"(GRANT|REVOKE) (.+?) (?:TO|FROM) (.+?)( WITH GRANT OPTION)?", re.DOTALL)


def granted(fact: Fact) -> Iterator[tuple[Name, str, bool]]:
    """(grantee, privilege, with grant option) of what is granted beyond the default; not the owner's own."""
    for line in tuple_of(fact.attributes.get("grants")):
        match = _LINE.fullmatch(str(line))
        if match and match[1] == "GRANT" and match[3] != OWNER:
            for privilege in match[2].split(", "):
                yield match[3], privilege, bool(match[4])


def callers(fact: Fact) -> list[tuple[Name, bool]]:
    """Who may EXECUTE a routine, its owner aside, and whether they may grant it: PUBLIC, unless that was revoked."""
    lines = tuple_of(fact.attributes.get("grants"))
    found = [(grantee, option) for grantee, privilege, option in granted(fact) if privilege == "EXECUTE"]
    if not any(line.startswith("REVOKE") and line.endswith(" FROM PUBLIC") for line in lines):
        found.insert(0, (PUBLIC, False))
    return found


def _revoke(privilege: str, fact: Fact, grantee: Name, option: bool = False) -> str:
    if fact.kind == "database":
        return execute(
            f"REVOKE {privilege} ON {{}} FROM {grantee}".replace("%", "%%").replace("{}", "DATABASE %I", 1)
        )
    on, columns = granted_on(fact)
    return f"REVOKE {privilege}{columns} ON {on} FROM {grantee}{' CASCADE' if option else ''}"


def powers(view: View) -> list[Power]:
    """Every power that somebody holds directly, the trusted roles' own included."""
    return [power for search in _SEARCHES for power in search(view)]


# --- attributes of roles -----------------------------------------------------------------------------------


def _attributes(view: View) -> Iterator[Power]:
    for role in view.roles.all.values():
        if role.name.startswith("pg_"):
            continue
        for door, has, word in (
            ("superuser", role.superuser, "NOSUPERUSER"),
            ("create_role", role.create_role and view.major < 16 and not role.superuser, "NOCREATEROLE"),
            ("replication", role.replication and not role.superuser, "NOREPLICATION"),
            ("bypass_row_security", role.bypass_row_security and not role.superuser, "NOBYPASSRLS"),
        ):
            if has:
                close = [Close("attributes", f"ALTER ROLE {role.name} {word}")]
                yield Power(door, role.name, close=close, attribute=True)


def _predefined(view: View) -> Iterator[Power]:
    """Closed at the memberships: the role itself is PostgreSQL's."""
    for name, door in PREDEFINED.items():
        if name in view.roles.all:
            yield Power(door, name)


def _parameters(view: View) -> Iterator[Power]:
    access = view.snapshot.manifest.get("access") or {}
    for name, grantee, privilege in access.get("parameters", ()):
        sql = f"REVOKE {privilege} ON PARAMETER {name} FROM {grantee}"
        yield Power("parameter", grantee, close=[Close("grants", sql)], hints=[f"{privilege} on {name}"])


# --- ownership ---------------------------------------------------------------------------------------------


def _ownership(view: View) -> Iterator[Power]:
    found: dict[tuple[str, Name], Power] = {}
    for kind in view.snapshot.kinds:
        table = view.snapshot.tables[kind]
        if "owner" not in table.attributes:
            continue
        door = {"database": "database_owner", "schema": "schema_owner"}.get(kind, "owner")
        for fact in view.snapshot.iter(kind):
            if (fact.extension and kind != "extension") or (kind == "event trigger"):
                continue
            holder = view.owns(fact)
            power = found.setdefault((door, holder), Power(door, holder))
            power.objects.append(fact.key)
            if kind == "extension":
                power.hints.append(
                    f"extension {fact.identity}: its owner changes only by DROP and CREATE EXTENSION"
                )
            elif holder not in view.trusted and not (
                kind == "sequence" and fact.parent
            ):  # goes with its table
                power.close += _handed_over(fact, holder, view)
    yield from found.values()


def _handed_over(fact: Fact, holder: Name, view: View) -> Iterator[Close]:
    """To the migration role; the former owner keeps what it needs to go on reading and writing."""
    changed = replace(fact, attributes={**fact.attributes, "owner": view.migrator})
    for statement in owner(changed):
        yield Close("owners", statement.text)
    uses = _USES.get(fact.kind)
    if uses == "EXECUTE" and (_returns_trigger(fact) or (PUBLIC, False) in callers(fact)):
        uses = None
    if uses and holder not in view.trusted and holder != "pg_database_owner":
        yield Close("owners", f"GRANT {uses} ON {granted_on(fact)[0]} TO {holder}")
    if fact.kind == "table":
        for sequence in view.sequences.get(fact.identity, ()):
            yield Close("owners", f"GRANT {_USES['sequence']} ON SEQUENCE {sequence} TO {holder}")


# --- privileges --------------------------------------------------------------------------------------------


def _creation(view: View) -> Iterator[Power]:
    for kind, door in (("database", "create_in_database"), ("schema", "create_in_schema")):
        found: dict[Name, Power] = {}
        for fact in view.snapshot.iter(kind):
            for grantee, privilege, option in granted(fact):
                if privilege == "CREATE":
                    power = found.setdefault(grantee, Power(door, grantee))
                    power.severity = "high" if grantee == PUBLIC else power.severity
                    power.objects.append(fact.key)
                    power.close.append(Close("grants", _revoke("CREATE", fact, grantee, option)))
        yield from found.values()


def _triggers(view: View) -> Iterator[Power]:
    found: dict[Name, Power] = {}
    for kind in ("table", "view", "foreign table"):
        for fact in view.snapshot.iter(kind):
            if fact.extension or "grants" not in fact.attributes or not fact.attributes["grants"]:
                continue
            for grantee, privilege, option in granted(fact):
                if privilege == "TRIGGER" and grantee != view.owns(fact):
                    power = found.setdefault(grantee, Power("trigger", grantee))
                    power.severity = "medium" if grantee == PUBLIC else power.severity
                    power.objects.append(fact.key)
                    power.close.append(Close("grants", _revoke("TRIGGER", fact, grantee, option)))
    yield from found.values()


_LATER = re.compile(r"(for role .*?) on (tables|sequences|functions|types|schemas|large objects)", re.DOTALL)


def _later(view: View) -> Iterator[Power]:
    found: dict[Name, Power] = {}
    for fact in view.snapshot.iter("default acl"):
        match = _LATER.fullmatch(fact.identity)
        for grantee, privilege, _ in granted(fact) if match else ():
            if match and (match[2], privilege) in (("tables", "TRIGGER"), ("schemas", "CREATE")):
                power = found.setdefault(grantee, Power("default_privileges", grantee))
                power.objects.append(fact.key)
                sql = f"ALTER DEFAULT PRIVILEGES {match[1]} REVOKE {privilege} ON {match[2].upper()} FROM {grantee}"
                power.close.append(Close("defaults", sql))
    yield from found.values()


def _system(view: View) -> Iterator[Power]:
    """PostgreSQL's own functions, where somebody was given what initdb gives to nobody."""
    for fact in view.snapshot.iter("initial privileges"):
        match = re.match(r"function pg_catalog\.(\w+)\(", fact.identity)
        if match and match[1] in _SYSTEM:
            for grantee, option in callers(fact):
                if not grantee.startswith("pg_"):
                    close = [Close("grants", _revoke("EXECUTE", fact, grantee, option))]
                    yield Power(_SYSTEM[match[1]], grantee, [fact.key], close, [f"EXECUTE on {match[1]}()"])


# --- code that runs with others' rights --------------------------------------------------------------------

#: Text that a body puts together and runs, or DDL in it: hints from words, comments left out. `execute` alone would
#: also be a trigger's EXECUTE FUNCTION and GRANT EXECUTE ON.
_DYNAMIC = re.compile(r"\bexecute\b(?!\s+(?:on|function|procedure)\b)", re.I)
_DDL = re.compile(r"\b(?:create|alter|drop|grant|revoke|truncate|reindex)\s+(?!or\b)[a-z]", re.I)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def _returns_trigger(fact: Fact) -> bool:
    return str(fact.attributes.get("returns") or "") in ("trigger", "event_trigger")


def search_path(fact: Fact) -> list[str] | None:
    """The schemas of a routine's own search_path; None if it has none and takes its caller's."""
    for setting in tuple_of(fact.attributes.get("settings")):
        name, _, value = str(setting).partition("=")
        if name.lower() == "search_path":
            return [part.strip().strip('"') for part in value.split(",") if part.strip().strip('"')]
    return None


def _definers(view: View) -> Iterator[Power]:
    strong = view.trusted | {role.name for role in view.roles.all.values() if role.superuser}
    schemas = {fact.name: fact for fact in view.snapshot.iter("schema")}
    open_to = {
        name: [c for c in view.creators(fact) if c not in view.trusted]
        + [o for o in (view.owns(fact),) if o not in strong and o != "pg_database_owner"]
        for name, fact in schemas.items()
    }
    for kind in ("function", "procedure"):
        for fact in view.snapshot.iter(kind):
            if not fact.attributes.get("security_definer") or fact.extension or view.owns(fact) not in strong:
                continue
            path, body = search_path(fact), _COMMENT.sub(" ", str(fact.attributes.get("body") or ""))
            path, body = search_path(fact), _COMMENT.sub(" ", str(fact.attributes.get("body") or ""))
            names, acts = [], []
            if path is None:
                names.append("no search_path of its own: whoever calls it decides what its names mean")
            elif planted := sorted({who for part in path for who in open_to.get(part, ())}):
                names.append(f"its search_path holds a schema in which {', '.join(planted)} may create")
            if _DYNAMIC.search(body):
                acts.append("its body runs text that it puts together (EXECUTE)")
            elif _DDL.search(body):
                acts.append("its body seems to change the schema itself")
            if names or acts:
                schema = schemas.get(fact.schema or "")
                yield from _opened(view, fact, schema, [*names, *acts], path is None, bool(acts))


def _opened(
    view: View, fact: Fact, schema: Fact | None, hints: list[str], path_fix: bool, acts: bool
) -> Iterator[Power]:
    superuser = view.roles.get(view.owns(fact)).superuser
    fix = (
        [Close("definers", f"ALTER {named(fact.kind, fact.identity)} SET search_path = {_path(fact)}")]
        if path_fix
        else []
    )
    rights = [f"runs with the rights of {view.owns(fact)}{', a superuser' if superuser else ''}", *hints]
    if _returns_trigger(fact):  # cannot be called: it fires, for whoever writes
        if path_fix:
            yield Power("definer", PUBLIC, [fact.key], fix, [*rights, "fires for whoever writes"], "low")
        return
    inside = (
        {PUBLIC} if schema is None else {g for g, privilege, _ in granted(schema) if privilege == "USAGE"}
    )
    for grantee, option in callers(fact):
        # EXECUTE is of use only to those who may look into the schema.
        able = [grantee] if PUBLIC in inside or grantee != PUBLIC else sorted(inside)
        for caller in able:
            if caller == view.owns(fact) or caller in view.trusted:
                continue
            close = [*fix, *([Close("definers", _revoke("EXECUTE", fact, grantee, option))] if acts else [])]
            yield Power(
                "definer", caller, [fact.key], close, rights, "high" if superuser or acts else "medium"
            )


def _path(fact: Fact) -> str:
    """pg_temp last: unnamed, it would come first."""
    return ", ".join(dict.fromkeys(["pg_catalog", quote(fact.schema or "public"), "pg_temp"]))


def _event_triggers(view: View) -> Iterator[Power]:
    routines = {fact.identity: fact for fact in view.snapshot.iter("function")}
    for trigger in view.snapshot.iter("event trigger"):
        fact = routines.get(str(trigger.attributes["function"]))
        if fact is not None and not view.roles.get(view.owns(fact)).superuser:
            close = [c for c in _handed_over(fact, view.owns(fact), view) if c.sql.startswith("ALTER")]
            yield Power("event_trigger", view.owns(fact), [fact.key, trigger.key], close)


# --- other servers -----------------------------------------------------------------------------------------


def _foreign(view: View) -> Iterator[Power]:
    servers = {fact.identity: fact for fact in view.snapshot.iter("server")}
    for fact in view.snapshot.iter("user mapping"):
        server = servers.get(fact.parent or "")
        if server is None:
            continue
        user = fact.identity.removesuffix(f" on server {unquote(server.identity)}")
        holder = PUBLIC if user == "public" else quote(user)
        remote = _option(fact, "user")
        host = _option(server, "host") or ""
        here = host in ("", "localhost", "::1") or host.startswith(("127.", "/"))
        strong = remote is not None and (
            quote(remote) in view.trusted or view.roles.get(quote(remote)).superuser
        )
        hints = [f"server {server.identity}" + (f" as {remote}" if remote else "")]
        if here and strong:
            hints.append("which seems to be this server, and a role that may change the schema")
        close = [Close("grants", f"DROP USER MAPPING FOR {holder} SERVER {server.identity}")]
        yield Power("foreign_server", holder, [fact.key], close, hints, "high" if here and strong else "")
    for fact in view.snapshot.iter("function"):
        if fact.extension == "dblink" and fact.name == "dblink_connect_u":
            for grantee, option in callers(fact):
                close = [Close("grants", _revoke("EXECUTE", fact, grantee, option))]
                hints = ["connects with the server's own credentials"]
                yield Power("foreign_server", grantee, [fact.key], close, hints, "high")


def _option(fact: Fact, name: str) -> str | None:
    for option in tuple_of(fact.attributes.get("options")):
        key, _, value = str(option).partition("=")
        if key == name:
            return value
    return None


_SEARCHES: tuple[Callable[[View], Iterable[Power]], ...] = (
    _attributes,
    _predefined,
    _parameters,
    _ownership,
    _creation,
    _triggers,
    _later,
    _system,
    _definers,
    _event_triggers,
    _foreign,
)


def by_holder(found: Iterable[Power]) -> dict[Name, list[Power]]:
    grouped: dict[Name, list[Power]] = defaultdict(list)
    for power in found:
        grouped[power.holder].append(power)
    return grouped
