"""What is in a database before its first migration: the operator's roles, the platform's schemas.

A replay of migrations equals the audited database only if it starts from what that one started from. Roles,
their settings and memberships belong to whoever runs the cluster; on Supabase whole schemas (``auth``,
``storage``, …), default privileges and extensions are the platform's and change with its releases. So the
base of a replay is written from the audited database's own facts, less what migrations make themselves;
where there is no audited database to ask, from the bootstrap in ``platform_sql/supabase.sql``.

What belongs to whom is decided so that a healthy database has no finding:

- roles that no migration creates are the operator's, with attributes, memberships and settings;
- in the platform's schemas everything is the platform's, except policies, triggers whose function lives
  elsewhere, members of extensions, and what a migration's text creates by name;
- default privileges and grants on schema ``public`` are the platform's as they are, unless migrations change
  them: then they begin as a new project's do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

from auditkit.catalog.grants import OWNER, PUBLIC, quote, unquote
from auditkit.catalog.kinds import KINDS, literal

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Key, Snapshot

__all__ = [
    "MANAGED_ROLES",
    "MANAGED_SCHEMAS",
    "PREINSTALLED",
    "USERS_KINDS",
    "Base",
    "base",
    "is_supabase",
    "migration_role",
]

#: Schemas of the Supabase platform and of the extensions it offers. Nothing in them comes from migrations,
#: except policies and triggers on their tables.
MANAGED_SCHEMAS = frozenset(
    {
        "_analytics",
        "_realtime",
        "_supavisor",
        "auth",
        "cron",
        "etl",
        "extensions",
        "graphql",
        "graphql_public",
        "net",
        "pgbouncer",
        "pgmq",
        "pgroonga",
        "pgsodium",
        "pgsodium_masks",
        "pgtle",
        "realtime",
        "repack",
        "storage",
        "supabase_functions",
        "supabase_migrations",
        "tiger",
        "tiger_data",
        "topology",
        "vault",
    }
)

#: What projects put into the platform's schemas by migration: triggers on auth.users, policies on storage.objects.
USERS_KINDS = frozenset({"policy", "trigger"})

#: Roles of the Supabase platform.
MANAGED_ROLES = frozenset(
    {
        "anon",
        "authenticated",
        "authenticator",
        "dashboard_user",
        "pgbouncer",
        "pgsodium_keyholder",
        "pgsodium_keyiduser",
        "pgsodium_keymaker",
        "pgtle_admin",
        "postgres",
        "service_role",
        "supabase_admin",
        "supabase_auth_admin",
        "supabase_etl_admin",
        "supabase_functions_admin",
        "supabase_privileged_role",
        "supabase_read_only_user",
        "supabase_realtime_admin",
        "supabase_replication_admin",
        "supabase_storage_admin",
    }
)

#: Extensions that a Supabase project has, or had when it was made, without anybody asking.
PREINSTALLED = frozenset(
    {"pg_graphql", "pg_stat_statements", "pgcrypto", "pgjwt", "pgsodium", "supabase_vault", "uuid-ossp"}
)

#: Publications that the platform makes; which tables are in `supabase_realtime` is up to migrations.
_PUBLICATIONS = frozenset({"supabase_realtime", "supabase_realtime_messages_publication"})

#: Schemas whose objects are somebody else's to make: the ledger's by the ledger's reader, the rest by nobody.
_NOT_REBUILT = frozenset({"supabase_migrations"})

_REBUILT = (
    "type",
    "domain constraint",
    "sequence",
    "function",
    "procedure",
    "table",
    "table constraint",
    "index",
    "view",
    "materialized view",
    "trigger",
)


@dataclass(frozen=True)
class Base:
    """What must exist before the first migration.

    Attributes:
        statements: SQL to run as superuser in one session, in order; statements that fail should be tried
            again after the others, as often as that helps.
        origin: 'audited database', 'bundled bootstrap' or 'none'.
        notes: what could not be taken over, one sentence each.
        role: the role that runs the migrations; a superuser in the shadow database.
        superuser: the bootstrap role the shadow cluster should have (``server.start(superuser=…)``), so that
            what it owns is owned by the same name in the audited database.
        other_release: whether the shadow is another major version than the audited server.
    """

    statements: list[str]
    origin: Literal["audited database", "bundled bootstrap", "none"]
    notes: list[str]
    role: str
    superuser: str
    _operators: frozenset[Key] = field(default=frozenset(), repr=False)
    _extensions_owned: bool = field(default=False, repr=False)
    other_release: bool = False
    _versioned: frozenset[str] = field(default=frozenset(), repr=False)

    def settles(self, kind: str, identity: str, attribute: str | None) -> bool:
        """Whether a delta between replay and audited database is only the shadow's doing.

        In the shadow database the migrations' role is a superuser, which shows in its own attributes and
        memberships, in the owner of extensions (Supabase creates them as another role), and in which of
        the operator's roles count as used. Another major version of the server has other versions of
        extensions, which matter only where migrations ask for one.
        """
        if kind == "extension":
            if attribute in ("version", "comment"):  # each major version comes with its own
                return self.other_release and unquote(identity) not in self._versioned
            return self._extensions_owned and attribute == "owner"
        return (kind, identity) in self._operators or (kind, identity) == ("role", quote(self.superuser))


def is_supabase(snapshot: Snapshot) -> bool:
    """Whether a database is a Supabase project's: the API roles and the table of users are there."""
    roles = {fact.name for fact in snapshot.iter("role")}
    return {"anon", "authenticated", "service_role"} <= roles and snapshot.get(
        "table", "auth.users"
    ) is not None


def migration_role(snapshot: Snapshot) -> str:
    """The role that runs the migrations: the owner of the project's ledger, else of most tables."""
    for record in snapshot.ledgers:
        table = snapshot.get("table", f"{quote(record['schema'])}.{quote(record['table'])}")
        if table is not None and not record.get("platform"):
            return _role(table.attributes["owner"])
    owners = [
        _role(fact.attributes["owner"])
        for fact in snapshot.iter("table")
        if not fact.extension and fact.schema not in MANAGED_SCHEMAS
    ]
    return max(sorted(set(owners)), key=owners.count) if owners else "postgres"


def acting_role(snapshot: Snapshot) -> str:
    """The role that SQL for a database is run as: the one that read it, or, if that may only read (as one made for
    audits), :func:`migration_role`."""
    reader, owner = str(snapshot.manifest["role"]), migration_role(snapshot)
    access = snapshot.manifest.get("access") or {}
    memberships, powerful = access.get("memberships", ()), {quote(owner)}
    powerful |= {role["name"] for role in access.get("roles", ()) if role["superuser"]}
    roles, more = set[str](), {quote(reader)}
    while more:
        roles |= more
        more = {m["role"] for m in memberships if m["member"] in more and m["inherit"]} - roles
    return owner if access and not roles & powerful else reader


def base(snapshot: Snapshot | None, migrations_sql: Sequence[str], *, supabase: bool = False) -> Base:
    """What a replay of *migrations_sql* stands on, if it is to be compared with *snapshot*.

    *supabase* says that the project is the Supabase CLI's: if the audited database does not show the
    platform (it is empty yet, or there is none) but the migrations need it, the bundled bootstrap is used.
    """
    texts = [_without_comments(text) for text in migrations_sql]
    text = "\n".join(texts)
    if snapshot is not None and is_supabase(snapshot):
        return _Audited(snapshot, text, supabase=True).base()
    if supabase and (snapshot is None or _needs_platform(text)):
        notes = [] if snapshot is None else ["the audited database lacks the platform these migrations need"]
        return Base(_bootstrap_statements(), "bundled bootstrap", notes, "postgres", "postgres")
    if snapshot is not None:
        return _Audited(snapshot, text, supabase=False).base()
    roles = sorted(_mentioned_roles(texts) - _created_roles(text) - {"postgres"})
    return Base([f"CREATE ROLE {quote(role)} NOLOGIN" for role in roles], "none", [], "postgres", "postgres")


# --- what the migrations' text says ------------------------------------------------------------------------

_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
_ROLE_WORDS = frozenset({"public", "current_user", "current_role", "session_user", "none", "all"})


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|--[^\n]*", " ", text, flags=re.DOTALL)


def _plain(name: str) -> str:
    """A name as it is, from how SQL text has it."""
    return unquote(name) if name.startswith('"') else name.lower()


def _created_roles(text: str) -> set[str]:
    """Roles created anywhere in *text*, also inside DO blocks and EXECUTE strings, or named so by a renaming."""
    patterns = (
        rf"\bcreate\s+(?:role|user|group)\s+({_NAME})",
        rf"\balter\s+(?:role|user|group)\s+{_NAME}\s+rename\s+to\s+({_NAME})",
    )
    found = {_plain(match[1]) for pattern in patterns for match in re.finditer(pattern, text, re.I)}
    return found - {"mapping", "if"}


def _mentioned_roles(texts: Iterable[str]) -> set[str]:
    """Roles that plain statements name where only a role can stand."""
    lists = rf"({_NAME}(?:\s*,\s*{_NAME})*)"
    patterns = [
        rf"\bgrant\b[^;']*?\bto\s+(?:group\s+)?{lists}",
        rf"\brevoke\b[^;']*?\bfrom\s+(?:group\s+)?{lists}",
        rf"\bcreate\s+policy\b[^;]*?\bto\s+{lists}\s*(?:using|with|;|$)",
        rf"\bowner\s+to\s+{lists}",
        rf"\bfor\s+(?:role|user)\s+{lists}",
        rf"\bauthorization\s+{lists}",
        rf"\b(?:alter|set|comment\s+on)\s+(?:local\s+)?(?:role|user)\s+(?!mapping\b){lists}",
    ]
    found = set()
    for text in texts:
        for pattern in patterns:
            for match in re.finditer(pattern, text, re.I):
                found |= {_plain(name.strip()) for name in re.findall(_NAME, match[1])}
    return {name for name in found if name not in _ROLE_WORDS and not name.startswith("pg_")}


def _versioned_extensions(text: str) -> frozenset[str]:
    """Extensions of which migrations ask for a certain version."""
    pattern = (
        rf"\b(?:create|alter)\s+extension\s+(?:if\s+not\s+exists\s+)?({_NAME})[^;]*\b(?:version|update)\b"
    )
    return frozenset(_plain(match[1]) for match in re.finditer(pattern, text, re.I))


def _needs_platform(text: str) -> bool:
    schemas = r"\b(?:auth|storage|realtime|vault|supabase_functions|extensions)\s*\."
    return re.search(rf"{schemas}|\b(?:anon|authenticated|service_role)\b", text, re.I) is not None


def _creates(text: str, kind: str, schema: str, name: str) -> bool:
    """Whether *text* makes an object that must then not exist: CREATE without OR REPLACE or IF NOT EXISTS."""
    if not _named_in(_creations(text), name):
        return False
    words = {"materialized view": r"materialized\s+view", "type": "(?:type|domain)"}.get(kind, kind)
    within = rf"(?:{_spelled(schema)}\s*\.\s*)" if schema else ""
    if kind == "index":  # is never qualified
        within = ""
        words = r"(?:unique\s+)?index(?:\s+concurrently)?"
    pattern = rf"\bcreate\s+{words}\s+{within}{_spelled(name)}(?![\w$])"
    return re.search(pattern, _creations(text), re.I) is not None


def _named_in(text: str, name: str) -> bool:
    """Whether *text* can mention *name* at all: it takes longer to compile a pattern than to look."""
    return '"' in name or name.lower() in _lowered(text)


@lru_cache(maxsize=8)
def _lowered(text: str) -> str:
    return text.lower()


@lru_cache(maxsize=8)
def _creations(text: str) -> str:
    """The beginnings of all CREATE commands: a hundred names are looked for in a few lines, not in all text."""
    return "\n".join(re.findall(r"\bcreate\b[^;]{0,300}", text, re.I))


@lru_cache(maxsize=256)
def _alterations(text: str, schema: str, name: str) -> str:
    """What follows ALTER TABLE for one table."""
    if not _named_in(text, name):
        return ""
    target = rf"{_spelled(schema)}\s*\.\s*{_spelled(name)}"
    return ";".join(
        re.findall(rf"\balter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?{target}\s([^;]*)", text, re.I)
    )


def _adds(text: str, what: str, table: Fact, name: str) -> bool:
    """Whether *text* adds a column or constraint to a platform table."""
    altered = _alterations(text, table.schema or "", table.name)
    if not altered:
        return False
    item = r"(?:column\s+)?(?:if\s+not\s+exists\s+)?" if what == "column" else r"constraint\s+"
    return re.search(rf"\badd\s+{item}{_spelled(name)}(?![\w$])", altered, re.I) is not None


def _spelled(name: str) -> str:
    """A pattern for a name as SQL may spell it."""
    return rf'"?{re.escape(name)}"?'


@cache
def _bootstrap() -> str:
    path = resources.files("auditkit.history") / "platform_sql" / "supabase.sql"
    return path.read_text(encoding="utf-8")


def _bootstrap_statements() -> list[str]:
    from auditkit.history.split import split

    statements = [s.text for s in split(_bootstrap())]
    # The script creates those extensions that the server has; by name, a stand-in is made for the others.
    preinstalled = re.findall(r"\('([\w-]+)', '(\w+)'\)", statements[-1])
    return statements + [
        f'CREATE EXTENSION IF NOT EXISTS "{name}" WITH SCHEMA {schema}' for name, schema in preinstalled
    ]


# --- from an audited database ------------------------------------------------------------------------------


#: Settings that hold lists of names: the catalog's text is a list, a literal would make it one name.
_LISTS = frozenset(
    {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"}
)


def _role(owner: object) -> str:
    """A role's name, from an attribute that has it as an SQL identifier."""
    return unquote(str(owner))


def _unless_role(name: str, statement: str) -> str:
    """*statement*, if there is no role *name*: the shadow's own superuser may have that name."""
    return (
        f"DO $auditkit$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(name)})"
        f" THEN {statement}; END IF; END $auditkit$"
    )


_DATABASE = "{database}"


def _for_database(statement: str) -> str:
    """*statement* for the database of the session, whatever its name."""
    return (
        f"DO $auditkit$ BEGIN EXECUTE replace({literal(statement)}, {literal(_DATABASE)},"
        " quote_ident(current_database())); END $auditkit$"
    )


class _Audited:
    """Writes the base of one audited database."""

    def __init__(self, snapshot: Snapshot, text: str, *, supabase: bool) -> None:
        self.snapshot = snapshot
        self.text = text
        self.supabase = supabase
        self.role = migration_role(snapshot)
        plpgsql = snapshot.get("extension", "plpgsql")
        # initdb creates plpgsql, hence its owner is the bootstrap role.
        self.superuser = _role(plpgsql.attributes["owner"]) if plpgsql else "postgres"
        self.created = _created_roles(text) - (MANAGED_ROLES if supabase else frozenset())
        self.statements: list[str] = ["SET check_function_bodies = off"]
        self.notes: list[str] = []
        self.operators: set[Key] = set()  # facts that migrations have no say in

    def base(self) -> Base:
        self._roles()
        self._database()
        if self.supabase:
            self._schemas()
            self._extensions()
            self._objects()
            self._event_triggers()
            self._publications()
        self._public()
        self._ledgers()
        if self.supabase:
            self._default_privileges()
        self.statements.append("RESET check_function_bodies")
        return Base(
            self.statements,
            "audited database",
            self.notes,
            self.role,
            self.superuser,
            frozenset(self.operators),
            self.supabase,
            _versioned=_versioned_extensions(self.text),
        )

    # -- roles

    def _roles(self) -> None:
        known = {"postgres", self.superuser}
        for fact in self.snapshot.iter("role"):
            name = fact.name
            if name in self.created:
                continue
            known.add(name)
            if name == self.role or not self._mentions(
                rf"\balter\s+(?:role|user)\s+{_spelled(name)}\s+(?:with\s+)?(?!set\b|reset\b|in\b)"
            ):
                self.operators.add(fact.key)
            create = KINDS["role"].create
            assert create is not None
            for statement in create(fact, self.snapshot):
                # The shadow's own superuser may have the name; CREATE must then not stop the rest.
                self.statements.append(_unless_role(name, statement))
        mentioned = _mentioned_roles([self.text]) - self.created - known
        # They are there, or migrations would fail; they come into sight with what is granted to them.
        self.operators |= {("role", quote(name)) for name in mentioned}
        self.statements += [
            _unless_role(name, f"CREATE ROLE {quote(name)} NOLOGIN") for name in sorted(mentioned)
        ]
        # Both are there if the shadow cluster was made as `superuser` says.
        for name in (self.superuser, self.role):
            self.statements.append(_unless_role(name, f"CREATE ROLE {quote(name)} SUPERUSER"))
        self.statements.append(f"ALTER ROLE {quote(self.role)} SUPERUSER LOGIN")
        self._memberships()
        self._settings()

    def _memberships(self) -> None:
        pattern = re.compile(rf"membership of role ({_NAME}) in role ({_NAME})")
        for fact in self.snapshot.iter("role membership"):
            match = pattern.fullmatch(fact.identity)
            if match is None:
                continue
            member, role = _plain(match[1]), _plain(match[2])
            value = fact.attributes
            if member in self.created:
                continue
            if role in self.created:
                # From PostgreSQL 16 on the creator of a role, if no superuser, becomes its administrator.
                if member == self.role and value["admin"] and not value["inherit"] and not value["set_role"]:
                    self.operators.add(fact.key)
                continue
            self.operators.add(fact.key)
            grant = f"GRANT {match[2]} TO {match[1]}"
            if int(self.snapshot.manifest["server_version"]) >= 160000:
                flags = {"ADMIN": "admin", "INHERIT": "inherit", "SET": "set_role"}
                grant += " WITH " + ", ".join(
                    f"{word} {str(bool(value[key])).upper()}" for word, key in flags.items()
                )
            elif value["admin"]:
                grant += " WITH ADMIN OPTION"
            if member != self.superuser:
                self.statements.append(grant)

    def _settings(self) -> None:
        pattern = re.compile(rf"(\S+) for (?:(all|database)|role ({_NAME})( in database)?)")
        for fact in self.snapshot.iter("setting"):
            match = pattern.fullmatch(fact.identity)
            if match is None or (match[3] and _plain(match[3]) in self.created):
                continue
            name, value = match[1], str(fact.attributes["value"])
            whom = "all" if match[2] == "all" else _spelled(_plain(match[3])) if match[3] else ""
            of = rf"(?:role|user)\s+{whom}" if whom else r"database\s"
            if self._mentions(rf"\balter\s+{of}[^;]*\b(?:set|reset)\s+(?:{_spelled(name)}|all\b)"):
                continue  # migrations have a say in it
            self.operators.add(fact.key)
            # Lists come as text that is a list already; a literal would make them one element.
            to = (value if value.strip('"') else "''") if name in _LISTS else literal(value)
            if name.endswith("preload_libraries"):
                continue  # the shadow has no such library, and no session of the role could start
            change = f"SET {name} TO {to}"
            if match[2] == "all":
                self.statements.append(f"ALTER ROLE ALL {change}")
            elif match[2] == "database":
                self.statements.append(_for_database(f"ALTER DATABASE {_DATABASE} {change}"))
            elif match[4]:
                self.statements.append(
                    _for_database(f"ALTER ROLE {match[3]} IN DATABASE {_DATABASE} {change}")
                )
            else:
                self.statements.append(f"ALTER ROLE {match[3]} {change}")

    def _database(self) -> None:
        database = self.snapshot.get("database", "database")
        if database is None:
            return
        owner = _role(database.attributes["owner"])
        if owner not in self.created:
            self.statements.append(_for_database(f"ALTER DATABASE {_DATABASE} OWNER TO {quote(owner)}"))
        if not self._mentions(r"\b(?:grant|revoke)\b[^;]*?\bon\s+database\b"):
            self.statements += [_for_database(s) for s in self._grants(database, f"DATABASE {_DATABASE}")]
        if not self._mentions(r"\bcomment\s+on\s+database\b"):
            comment = database.attributes["comment"]
            text = "NULL" if comment is None else literal(str(comment))
            self.statements.append(_for_database(f"COMMENT ON DATABASE {_DATABASE} IS {text}"))
        if database.attributes["connection_limit"] != -1:
            limit = database.attributes["connection_limit"]
            self.statements.append(_for_database(f"ALTER DATABASE {_DATABASE} CONNECTION LIMIT {limit}"))

    # -- the platform's schemas

    def _schemas(self) -> None:
        create = KINDS["schema"].create
        assert create is not None
        for fact in self.snapshot.iter("schema"):
            if fact.name in MANAGED_SCHEMAS - _NOT_REBUILT and not fact.extension:
                if re.search(rf"\bcreate\s+schema\s+{_spelled(fact.name)}(?![\w$])", self.text, re.I):
                    continue  # without IF NOT EXISTS: it was not there
                self.statements += create(fact, self.snapshot)
                self._dress(fact)

    def _extensions(self) -> None:
        for fact in self.snapshot.iter("extension"):
            if fact.name not in PREINSTALLED:
                continue
            if re.search(rf"\bcreate\s+extension\s+{_spelled(fact.name)}(?![\w$-])", self.text, re.I):
                continue
            schema = quote(str(fact.attributes["extension_schema"]))
            # Without a version: another major version of the server has other ones.
            self.statements.append(f"CREATE EXTENSION IF NOT EXISTS {fact.identity} WITH SCHEMA {schema}")

    def _objects(self) -> None:
        tables = {f.identity: f for f in self.snapshot.iter("table") if self._is_platform(f)}
        for kind in _REBUILT:
            for fact in self.snapshot.iter(kind):
                if self._is_platform(fact, tables):
                    self._create(fact)

    def _is_platform(self, fact: Fact, tables: dict[str, Fact] | None = None) -> bool:
        if fact.extension or fact.schema not in MANAGED_SCHEMAS - _NOT_REBUILT:
            return False
        value = fact.attributes
        parent = (tables or {}).get(fact.parent or "")
        match fact.kind:
            case "table":
                # Partitions come and go every day.
                return not value["partition_bound"] and not _creates(
                    self.text, "table", fact.schema, fact.name
                )
            case "trigger":
                function = re.search(rf"EXECUTE FUNCTION ({_NAME})\.", str(value["definition"]))
                return parent is not None and function is not None and _plain(function[1]) == fact.schema
            case "table constraint":
                own = parent is not None and fact.origin is None
                return own and not (parent and _adds(self.text, "constraint", parent, fact.name))
            case "index":
                return fact.parent in (tables or {}) and not _creates(
                    self.text, "index", fact.schema, fact.name
                )
        return not _creates(self.text, fact.kind, fact.schema, fact.name)

    def _create(self, fact: Fact) -> None:
        snapshot: Snapshot = self.snapshot
        if fact.kind == "table":
            snapshot = _WithoutColumns(
                self.snapshot, lambda column: _adds(self.text, "column", fact, column.name)
            )  # type: ignore[assignment]
        self.statements += KINDS[fact.kind].whole(fact, snapshot, without={"owned_by", "replica_identity"})
        if fact.kind == "sequence" and fact.attributes["owned_by"] and not fact.attributes["of_identity"]:
            self.statements.append(f"ALTER SEQUENCE {fact.identity} OWNED BY {fact.attributes['owned_by']}")
        self._dress(fact)
        for column in snapshot.children(fact, "table column") if fact.kind == "table" else ():
            self._comment(column, "COLUMN")

    def _dress(self, fact: Fact) -> None:
        """Owner, grants and comment of an object that was just created."""
        what = f"{fact.kind.upper()} {fact.identity}"
        owner = fact.attributes.get("owner")
        if owner is not None and _role(owner) not in self.created and not fact.attributes.get("of_identity"):
            self.statements.append(f"ALTER {what} OWNER TO {owner}")
        if "grants" in fact.attributes:
            relation = what.replace("MATERIALIZED VIEW", "TABLE").replace("VIEW", "TABLE")
            self.statements += self._grants(fact, relation)
        self._comment(fact, "CONSTRAINT" if fact.kind == "table constraint" else fact.kind.upper())

    def _comment(self, fact: Fact, what: str) -> None:
        if (comment := fact.attributes.get("comment")) is not None:
            self.statements.append(f"COMMENT ON {what} {fact.identity} IS {literal(str(comment))}")

    def _event_triggers(self) -> None:
        for fact in self.snapshot.iter("event trigger"):
            value = fact.attributes
            schema = re.match(rf"({_NAME})\.", str(value["function"]))
            if fact.extension or schema is None or _plain(schema[1]) not in MANAGED_SCHEMAS:
                continue
            if re.search(
                rf"\bcreate\s+event\s+trigger\s+{_spelled(unquote(fact.identity))}(?![\w$])", self.text, re.I
            ):
                continue
            tags = value["tags"]
            when = f" WHEN TAG IN ({', '.join(map(literal, tags))})" if isinstance(tags, tuple) else ""
            self.statements += [
                f"CREATE EVENT TRIGGER {fact.identity} ON {value['event']}{when}"
                f" EXECUTE FUNCTION {str(value['function']).rpartition('(')[0]}()",
                f"ALTER EVENT TRIGGER {fact.identity} OWNER TO {quote(_role(value['owner']))}",
            ]

    def _publications(self) -> None:
        for fact in self.snapshot.iter("publication"):
            if unquote(fact.identity) not in _PUBLICATIONS or self._mentions(
                rf"\bcreate\s+publication\s+{_spelled(unquote(fact.identity))}(?![\w$])"
            ):
                continue
            value = fact.attributes
            everything = " FOR ALL TABLES" if value["all_tables"] else ""
            events = ", ".join(word for word in ("insert", "update", "delete", "truncate") if value[word])
            options = (
                f"publish = '{events}', publish_via_partition_root = {str(bool(value['via_root'])).lower()}"
            )
            self.statements += [
                f"CREATE PUBLICATION {fact.identity}{everything} WITH ({options})",
                f"ALTER PUBLICATION {fact.identity} OWNER TO {quote(_role(value['owner']))}",
            ]
            if fact.identity != "supabase_realtime":
                for table in self.snapshot.iter("publication relation"):
                    if table.parent == fact.identity and table.schema in MANAGED_SCHEMAS:
                        name = table.identity.rpartition(" in publication ")[0]
                        self.statements.append(f"ALTER PUBLICATION {fact.identity} ADD TABLE {name}")

    # -- the ledger

    def _ledgers(self) -> None:
        """The ledger that a migration speaks of: its tool makes it before the first one runs."""
        for record in self.snapshot.ledgers:
            name, schema = str(record["table"]), str(record["schema"])
            if record.get("platform") or not _named_in(self.text, name):
                continue
            if any(_creates(self.text, "table", s, name) for s in (schema, "")):
                continue  # a dump of the whole schema as first migration
            within, table = f"{quote(schema)}.", self.snapshot.get("table", f"{quote(schema)}.{quote(name)}")
            if table is None:
                continue
            self.statements.append(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
            for fact in self.snapshot.iter("sequence"):
                if str(fact.attributes["owned_by"] or "").startswith(f"{within}{quote(name)}."):
                    self._create(fact)
            self._create(table)
            for kind in ("table constraint", "index"):
                for fact in self.snapshot.children(table, kind):
                    if fact.origin is None:
                        self._create(fact)

    # -- schema public and default privileges

    def _mentions(self, pattern: str) -> bool:
        return re.search(pattern, self.text, re.I) is not None

    def _grants(self, fact: Fact, what: str, owner: object = None) -> list[str]:
        """Statements that give *what* the privileges of *fact*, to all roles that no migration creates."""
        lines = fact.attributes["grants"]
        statements = []
        for line in lines if isinstance(lines, tuple) else ():
            match = re.fullmatch(r"(GRANT|REVOKE) (.+) (TO|FROM) (.+?)( WITH GRANT OPTION)?", line)
            assert match, line
            verb, privileges, word, grantee, option = match.groups()
            if grantee == OWNER:
                grantee = str(owner or fact.attributes["owner"])
            if unquote(grantee) not in self.created:
                statements.append(f"{verb} {privileges} ON {what} {word} {grantee}{option or ''}")
        return statements

    def _public(self) -> None:
        schema = self.snapshot.get("schema", "public")
        if schema is None:
            if not self._mentions(r"\bdrop\s+schema\b[^;]*\bpublic\b"):
                self.statements.append("DROP SCHEMA IF EXISTS public")
            return
        if self._mentions(r"\bcreate\s+schema\s+(?:if\s+not\s+exists\s+)?\"?public\b"):
            return  # migrations make it themselves
        if not self._mentions(r"\balter\s+schema\s+\"?public\"?\s+owner\b"):
            self.statements.append(f"ALTER SCHEMA public OWNER TO {schema.attributes['owner']}")
        if not self._mentions(r"\bcomment\s+on\s+schema\s+\"?public\b"):
            comment = schema.attributes.get("comment")
            self.statements.append(
                f"COMMENT ON SCHEMA public IS {'NULL' if comment is None else literal(str(comment))}"
            )
        changed = r"\b(?:grant|revoke)\b[^;]*?\bon\s+schema\b[^;]*\bpublic\b[^;]*?\b(?:to|from)\b"
        self.statements.append("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        if self._mentions(rf"{changed}[^;]*\bpublic\b"):
            # As it was when the database was made: everybody could create until PostgreSQL 15.
            old = int(self.snapshot.manifest["server_version"]) < 150000
            self.statements.append(f"GRANT {'ALL' if old else 'USAGE'} ON SCHEMA public TO PUBLIC")
            kept: set[str] = set()
        elif self._mentions(changed):
            kept = {PUBLIC}
        else:
            kept = {PUBLIC, str(schema.attributes["owner"])}
            kept |= set(map(quote, MANAGED_ROLES)) if self.supabase else set()
        for statement in self._grants(schema, "SCHEMA public"):
            grantee = re.sub(r" WITH GRANT OPTION$", "", statement).rpartition(" ")[2]
            if grantee in kept:
                self.statements.append(statement)
        if self.supabase and self._mentions(changed):
            self.statements += _of_new_project(r"GRANT USAGE ON SCHEMA public ")

    def _default_privileges(self) -> None:
        """Default privileges that the platform made.

        Migrations can change only those of their own role, and mostly in schema public. Then the base has
        what a new project has, because objects made before the change have it too.
        """
        pattern = re.compile(rf"for role ({_NAME})(?: in schema ({_NAME}))? on (\w+)")
        changed = self._changed_defaults()
        for fact in self.snapshot.iter("default acl"):
            match = pattern.fullmatch(fact.identity)
            if match is None:
                continue
            role, schema, objects = unquote(match[1]), match[2] and unquote(match[2]), match[3]
            if role not in MANAGED_ROLES or (
                role == self.role and schema not in {"public", *MANAGED_SCHEMAS}
            ):
                continue  # of migrations, or of somebody by hand
            if role == self.role and schema == "public" and objects in changed:
                continue
            within = f" IN SCHEMA {match[2]}" if match[2] else ""
            for statement in self._grants(fact, objects.upper(), match[1]):
                grantee = unquote(re.sub(r" WITH GRANT OPTION$", "", statement).rpartition(" ")[2])
                if role == self.role and grantee not in {*MANAGED_ROLES, "PUBLIC"}:
                    continue  # the platform gives nothing to roles of others
                self.statements.append(f"ALTER DEFAULT PRIVILEGES FOR ROLE {match[1]}{within} {statement}")
        for objects in sorted(changed):
            command = r"ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public\s+GRANT ALL ON"
            self.statements += _of_new_project(f"{command} {objects.upper()} ")

    def _changed_defaults(self) -> set[str]:
        """What kinds of objects migrations change the default privileges of: tables, functions …"""
        changed = set()
        for match in re.finditer(r"\balter\s+default\s+privileges\b([^;]*)", self.text, re.I):
            command = match[1].lower()
            what = re.search(r"\bon\s+(tables|sequences|functions|routines|types|schemas)\b", command)
            within = re.search(r"\bin\s+schema\b(.*?)\b(?:grant|revoke)\b", command, re.DOTALL)
            if what and (within is None or re.search(r"\bpublic\b", within[1])):
                changed.add("functions" if what[1] == "routines" else what[1])
        return changed


def _of_new_project(pattern: str) -> list[str]:
    """The bootstrap's statements that match *pattern*."""
    from auditkit.history.split import split

    return [s.text for s in split(_bootstrap()) if re.match(pattern, _without_comments(s.text).strip())]


class _WithoutColumns:
    """A snapshot whose tables lack the columns that migrations add."""

    def __init__(self, snapshot: Snapshot, added: Callable[[Fact], bool]) -> None:
        self.snapshot = snapshot
        self.added = added

    def __getattr__(self, name: str) -> object:
        return getattr(self.snapshot, name)

    def children(self, fact: Fact, kind: str) -> list[Fact]:
        return [child for child in self.snapshot.children(fact, kind) if not self.added(child)]
