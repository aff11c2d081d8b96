"""Every kind of object auditkit knows, each declared once: its query, its severity, its SQL.

A kind is named as ``pg_identify_object`` names it. To add one, add one entry to ``KINDS``: reading, comparing,
saving and reporting know no kind. What an entry's query must return is told by its column names:

``oid`` ``subid``    the object's address inside ``Kind.catalog`` (``subid`` only for columns)
``xmin``             transaction that wrote the object's main row, the one in ``Kind.row``
``pg_…``             transaction that wrote the object's row in that catalog, where it has more than one
``schema``           schema name as it is (not quoted)
``name``             name as it is; the identity is made of it by ``Kind.identity`` …
``identity``         … or the identity as ``pg_identify_object`` gives it
``parent``           what the object belongs to: an oid in ``Kind.parent_catalog``, or an identity
``origin``           the object a parent table or partitioned table gives it: likewise
``anchor``           oid it is read again with: the table of a constraint (default: its own; 0: cluster-wide)
``kind``             name of the kind, when several kinds share one query
``typmod``           completes an attribute of SQL type ``oid``, which always means a data type
``acl_type``         letter for ``acldefault()``, where it depends on the row
all other columns    attributes; **every attribute is compared**

Attributes are text, integers, booleans, NULL and text arrays (``oid`` means a type, ``aclitem[]`` grants), so that
equality never forgets one. Comments and security labels are laid over all kinds when they are read.

``{18? new ?? old}`` chooses by server version; ``{only k.oid, k.conrelid}`` becomes the condition that restricts
reading to the objects asked for, ``{slice k.conrelid}`` the one that cuts a big database into portions. A query may not contain a percent sign. Object identifiers from 16384 on
belong to users (``FirstNormalObjectId`` in PostgreSQL's transam.h).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot

Severity = Literal["critical", "high", "medium", "low"]
Create = Callable[["Fact", "Snapshot"], list[str]]

#: OIDs of the catalogs, fixed by PostgreSQL's own headers and equal in all versions.
CATALOGS: dict[str, int] = {
    "pg_am": 2601,
    "pg_amop": 2602,
    "pg_amproc": 2603,
    "pg_auth_members": 1261,
    "pg_authid": 1260,
    "pg_cast": 2605,
    "pg_class": 1259,
    "pg_collation": 3456,
    "pg_constraint": 2606,
    "pg_conversion": 2607,
    "pg_database": 1262,
    "pg_db_role_setting": 2964,
    "pg_default_acl": 826,
    "pg_event_trigger": 3466,
    "pg_extension": 3079,
    "pg_foreign_data_wrapper": 2328,
    "pg_foreign_server": 1417,
    "pg_language": 2612,
    "pg_namespace": 2615,
    "pg_opclass": 2616,
    "pg_operator": 2617,
    "pg_opfamily": 2753,
    "pg_policy": 3256,
    "pg_proc": 1255,
    "pg_publication": 6104,
    "pg_publication_namespace": 6237,
    "pg_publication_rel": 6106,
    "pg_rewrite": 2618,
    "pg_statistic_ext": 3381,
    "pg_subscription": 6100,
    "pg_transform": 3576,
    "pg_trigger": 2620,
    "pg_ts_config": 3602,
    "pg_ts_dict": 3600,
    "pg_ts_parser": 3601,
    "pg_ts_template": 3764,
    "pg_type": 1247,
    "pg_user_mapping": 1418,
}


@dataclass(frozen=True)
class Kind:
    """One kind of catalog object.

    Attributes:
        name: as in ``pg_identify_object(...).type``.
        doc: one line for people; it goes into docs/kinds.md.
        severity: how bad a difference is, unless ``attribute_severity`` says otherwise.
        catalog: the system table the object's address is in.
        query: see the module's docstring.
        identity: how the identity is composed of ``{schema}``, ``{name}``, ``{parent}`` (each quoted where
            needed) when the query returns no ``identity``.
        parents: kinds the parent may be of; a missing parent makes the object part of the parent's delta.
        parent_catalog: the catalog an ``oid`` in the ``parent`` column points into.
        since: first major version that has the catalog.
        always: read even if the guard counted no user row in ``catalog``.
        row: catalog of the row whose ``xmin`` says when the object was created (default: ``catalog``).
        written: attribute → catalog of the row that holds it (default: ``catalog``).
        acl: object type letter for ``acldefault()``.
        definition: SQL function for the attribute ``definition``, run outside the query in short
            statements of its own because it takes locks.
        never_null: attributes that are NULL only if the object was dropped while it was read.
        own_membership: belongs to an extension only if it is itself a member, not through its parent.
        ordinal: attribute that is a position among siblings: compared as an order, not as a number.
        create: gives the statements which create the object, where that is simple.
    """

    name: str
    doc: str
    severity: Severity
    catalog: str
    query: str
    identity: str = ""
    parents: tuple[str, ...] = ()
    parent_catalog: str = "pg_class"
    since: int = 0
    always: bool = False
    row: str = ""
    written: Mapping[str, str] = field(default_factory=dict)
    acl: str = ""
    definition: str = ""
    never_null: tuple[str, ...] = ()
    own_membership: bool = False
    ordinal: str = ""
    attribute_severity: Mapping[str, Severity] = field(default_factory=dict)
    create: Create | None = None

    @property
    def classid(self) -> int:
        """OID of ``catalog``."""
        return CATALOGS[self.catalog]

    @property
    def main_row(self) -> str:
        """Catalog of the row ``Fact.xmin`` was read from."""
        return self.row or self.catalog

    @property
    def attribute_row(self) -> str:
        """Catalog of the row that holds the attributes, unless ``written`` says otherwise."""
        return self.catalog if self.row == "pg_type" else self.main_row

    @property
    def cluster_wide(self) -> bool:
        """Whether its facts depend on the whole cluster, so that they are always read together."""
        return "0::oid AS anchor" in self.query

    @property
    def sources(self) -> frozenset[str]:
        """The watched catalogs whose rows can change a fact of this kind without renaming anything."""
        return frozenset(re.findall(r"\bpg_[a-z_]+", self.query)) - ({"pg_namespace"} - {self.catalog})

    def severity_of(self, attribute: str | None) -> Severity:
        """Severity of a difference in one attribute (``None``: in the object's existence)."""
        return self.attribute_severity.get(attribute or "", self.severity)

    def drop(self, identity: str) -> str:
        """The statement that drops an object of this kind (its type and identity are what DROP wants)."""
        if " on " in self.identity:
            name, _, table = identity.rpartition(" on ")
            if "constraint" in self.name:
                return f"ALTER {self.name.split()[0].upper()} {table} DROP CONSTRAINT {name}"
            return f"DROP {self.name.upper()} {name} ON {table}"
        if self.name.endswith(" column"):
            relation, _, column = identity.rpartition(".")
            return f"ALTER {self.name.removesuffix(' column').upper()} {relation} DROP COLUMN {column}"
        return f"DROP {self.name.upper()} {identity}"


_SINCE = re.compile(r"\{(\d+)\?([^{}]*?)\?\?([^{}]*)\}")  # innermost first: marks may be nested
_ONLY = re.compile(r"\{only ([^}]*)\}")
_SLICE = re.compile(r"\{slice ([^}]*)\}")


def render(query: str, version: int, *, only: bool = False, slice: tuple[int, int] | None = None) -> str:
    """A query for one server version.

    Args:
        query: with the marks that the module's docstring describes.
        version: ``server_version_num``.
        only: restrict it to the objects in the parameter ``%(only)s``.
        slice: restrict it to oids from the first up to, not including, the second.
    """

    def restrict(match: re.Match[str]) -> str:
        keys = [f"{key.strip()} = ANY(%(only)s::oid[])" for key in match[1].split(",")]
        return f"AND ({' OR '.join(keys)})" if only else ""

    def portion(match: re.Match[str]) -> str:
        return f"AND {match[1]} >= {slice[0]} AND {match[1]} < {slice[1]}" if slice else ""

    query = _SLICE.sub(portion, _ONLY.sub(restrict, query))
    while (chosen := _SINCE.sub(lambda m: m[2] if version // 10000 >= int(m[1]) else m[3], query)) != query:
        query = chosen
    return query


def _options(array: str) -> str:
    """SQL: an array of ``key=value`` in a fixed order, the values of secret-looking keys never sent."""
    return (
        f"CASE WHEN {array} IS NOT NULL THEN (SELECT array_agg(CASE "
        "WHEN o ~* '^[^=]*(pass|secret|token|credential|key|private|auth)[^=]*=' "
        "THEN substr(o, 1, strpos(o, '=')) || '***' ELSE o END "
        f"""ORDER BY o COLLATE "C") FROM unnest({array}) o) END"""
    )


def _code(column: str, **names: str) -> str:
    """SQL: a one-letter code in words."""
    cases = " ".join(f"WHEN '{letter}' THEN '{word}'" for letter, word in names.items())
    return f"CASE {column} {cases} ELSE {column}::text END"


def _procedure(column: str) -> str:
    """SQL: a function reference as text; NULL where there is none."""
    return f"CASE WHEN {column} <> 0 THEN {column}::regprocedure::text END"


def _identify(catalog: str, oid: str, subid: str = "0") -> str:
    return f"(pg_identify_object({CATALOGS[catalog]}, {oid}, {subid})).identity"


_ENABLED = {"O": "enabled", "D": "disabled", "R": "replica", "A": "always"}
_PERSISTENCE = {"p": "permanent", "u": "unlogged"}

# --- SQL shared by several kinds ---------------------------------------------------------------------------

#: The oid of this database; shared catalogs hold rows of all databases.
THIS_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

#: Roles that own, may use, or are configured for something in this database, and their memberships.
_ROLES_USED = f"""
    WITH RECURSIVE used(oid) AS (
        SELECT refobjid FROM pg_shdepend
        WHERE refclassid = 1260 AND (dbid = {THIS_DATABASE}
              OR (dbid = 0 AND classid = 1262 AND objid = {THIS_DATABASE}))
        UNION SELECT setrole FROM pg_db_role_setting WHERE setrole <> 0 AND setdatabase = {THIS_DATABASE}
        UNION SELECT CASE WHEN m.member = used.oid THEN m.roleid ELSE m.member END
        FROM used JOIN pg_auth_members m ON used.oid IN (m.member, m.roleid)
        WHERE used.oid >= 16384
    )"""

#: The row in pg_type is the best witness of a relation's creation: it keeps the creating transaction, while
#: the row in pg_class is rewritten by TRUNCATE, VACUUM FULL, the first foreign key pointing at the table …
_RELATION = """
    c.oid, t.xmin, c.xmin AS pg_class, n.nspname AS schema, c.relname AS name,
    c.relowner::regrole AS owner, c.relacl AS grants"""
_RELATION_FROM = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_type t ON t.oid = c.reltype"""

_INHERITS = """
    LEFT JOIN (SELECT i.inhrelid, array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno) AS parents,
                      min(i.inhparent::int8)::oid AS first
               FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent AND p.relkind IN ('r', 'p', 'f')
               GROUP BY i.inhrelid) inh ON inh.inhrelid = c.oid"""

_COLUMNS = f"""
    SELECT CASE c.relkind WHEN 'v' THEN 'view column' WHEN 'm' THEN 'materialized view column'
                          WHEN 'f' THEN 'foreign table column' ELSE 'table column' END AS kind,
           a.attrelid AS oid, a.attnum AS subid, a.xmin, d.xmin AS pg_attrdef, a.attname AS name,
           a.attrelid AS parent, CASE WHEN a.attinhcount > 0 THEN inh.inhparent END AS origin,
           a.attacl AS grants, a.atttypid AS type, a.atttypmod AS typmod,
           CASE WHEN a.attnotnull THEN CASE WHEN nn.oid IS NULL THEN 'NOT NULL'
                     WHEN nn.connoinherit THEN 'NOT NULL NO INHERIT' ELSE 'NOT NULL NOT VALID' END
                END AS not_null,
           CASE WHEN d.oid IS NOT NULL THEN pg_get_expr(d.adbin, d.adrelid) END AS default,
           CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity_generation,
           CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END AS generated,
           CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                THEN a.attcollation::regcollation::text END AS collation,
           CASE WHEN a.attstorage <> t.typstorage
                THEN {_code("a.attstorage", p="plain", e="external", m="main", x="extended")} END AS storage,
           CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END AS compression,
           nullif(a.attstattarget, -1)::int4 AS statistics_target,
           {_options("a.attoptions")} AS options, {_options("a.attfdwoptions")} AS foreign_options,
           a.attinhcount > 0 AND NOT a.attislocal AS inherited,
           (a.attnum - CASE WHEN gone.numbers IS NULL THEN 0 ELSE
               (SELECT count(*) FROM unnest(gone.numbers) g WHERE g < a.attnum) END)::int4 AS position
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON a.atthasdef AND d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_inherits inh ON inh.inhrelid = a.attrelid AND inh.inhseqno = 1
    LEFT JOIN pg_constraint nn ON nn.contype = 'n' AND nn.conrelid = a.attrelid AND nn.conkey[1] = a.attnum
              AND (nn.connoinherit OR NOT nn.convalidated)
    LEFT JOIN (SELECT g.attrelid, array_agg(g.attnum) AS numbers FROM pg_attribute g
               WHERE g.attisdropped AND g.attnum > 0 AND g.attrelid >= 16384 {{only g.attrelid}}
               GROUP BY g.attrelid) gone ON gone.attrelid = a.attrelid
    WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped {{slice a.attrelid}} {{only a.attrelid}}"""

_CONSTRAINT = f"""
    k.oid, k.xmin, n.nspname AS schema, k.conname AS name,
    CASE WHEN k.conparentid <> 0 THEN {_identify("pg_constraint", "k.conparentid")} END AS origin,
    pg_get_constraintdef(k.oid) AS definition"""

_FUNCTIONS = f"""
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
           p.oid, p.xmin, n.nspname AS schema, p.proname AS name, {_identify("pg_proc", "p.oid")} AS identity,
           p.proowner::regrole AS owner, p.proacl AS grants, pg_get_function_arguments(p.oid) AS arguments,
           pg_get_function_result(p.oid) AS returns, l.lanname AS language,
           {_code("p.provolatile", v="volatile", s="stable", i="immutable")} AS volatility,
           p.proisstrict AS strict, p.prosecdef AS security_definer, p.proleakproof AS leakproof,
           {_code("p.proparallel", u="unsafe", r="restricted", s="safe")} AS parallel,
           p.procost::text AS cost, p.prorows::text AS rows, {_procedure("p.prosupport")} AS support,
           p.prokind = 'w' AS window, {_options("p.proconfig")} AS settings,
           CASE WHEN p.protrftypes IS NOT NULL THEN p.protrftypes::regtype[]::text[] END AS transforms,
           CASE WHEN p.prosqlbody IS NOT NULL THEN pg_get_function_sqlbody(p.oid) ELSE p.prosrc END AS body,
           p.prosqlbody IS NOT NULL AS sql_body, p.probin AS library
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE p.oid >= 16384 AND p.prokind <> 'a' AND n.nspname !~ '^pg_temp' {{only p.oid}}"""

# --- creating objects from their facts -----------------------------------------------------------------------


def _text(fact: Fact, attribute: str) -> str:
    return str(fact.attributes[attribute])


def _tuple(fact: Fact, attribute: str) -> tuple[str, ...]:
    value = fact.attributes.get(attribute)
    return value if isinstance(value, tuple) else ()


def literal(text: str) -> str:
    """A text as an SQL literal that is safe whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def _with(fact: Fact, attribute: str = "options") -> str:
    pairs = (option.partition("=") for option in _tuple(fact, attribute))
    items = ", ".join(f"{key}={literal(value)}" for key, _, value in pairs)
    return f" WITH ({items})" if items else ""


def _column(fact: Fact) -> str:
    value = fact.attributes
    text = f"{quote(fact.name)} {value['type']}"
    if value.get("collation"):
        text += f" COLLATE {value['collation']}"
    if value.get("compression"):
        text += f" COMPRESSION {value['compression']}"
    if value.get("generated"):
        text += f" GENERATED ALWAYS AS ({value['default']}) {_text(fact, 'generated').upper()}"
    elif value.get("identity_generation"):
        text += f" GENERATED {_text(fact, 'identity_generation').upper()} AS IDENTITY"
    elif value.get("default") is not None:
        text += f" DEFAULT {value['default']}"
    return text + (" NOT NULL" if value.get("not_null") else "")


def _create_column(fact: Fact, snapshot: Snapshot) -> list[str]:
    relation = fact.kind.removesuffix(" column").upper()
    return [f"ALTER {relation} {fact.parent} ADD COLUMN {_column(fact)}"]


def _create_table(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    what = "UNLOGGED TABLE" if value["persistence"] == "unlogged" else "TABLE"
    if value["partition_bound"]:
        text = f"CREATE {what} {fact.identity} PARTITION OF {_tuple(fact, 'inherits')[0]} {value['partition_bound']}"
    else:
        columns = snapshot.children(fact, "table column")
        columns.sort(key=lambda column: int(_text(column, "position")))
        own = ", ".join(_column(column) for column in columns if not column.attributes["inherited"])
        text = f"CREATE {what} {fact.identity} ({own})"
        if value["inherits"]:
            text += f" INHERITS ({', '.join(_tuple(fact, 'inherits'))})"
    if value["partition_key"]:
        text += f" PARTITION BY {value['partition_key']}"
    statements = [text + _with(fact)]
    if value["row_security"]:
        statements.append(f"ALTER TABLE {fact.identity} ENABLE ROW LEVEL SECURITY")
    if value["force_row_security"]:
        statements.append(f"ALTER TABLE {fact.identity} FORCE ROW LEVEL SECURITY")
    return statements


def _create_constraint(fact: Fact, snapshot: Snapshot) -> list[str]:
    owner = "DOMAIN" if fact.kind == "domain constraint" else "TABLE"
    return [f"ALTER {owner} {fact.parent} ADD CONSTRAINT {quote(fact.name)} {fact.attributes['definition']}"]


def _create_index(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = fact.attributes["definition"]  # None: the constraint it belongs to creates it
    return [str(definition)] if definition else []


def _create_view(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = _text(fact, "definition").rstrip(";")
    tail = ""
    if fact.kind == "materialized view" and not fact.attributes["populated"]:
        tail = " WITH NO DATA"
    return [f"CREATE {fact.kind.upper()} {fact.identity}{_with(fact)} AS {definition}{tail}"]


def _create_sequence(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    if value["of_identity"]:
        return []  # the identity column creates it
    return [
        f"CREATE SEQUENCE {fact.identity} AS {value['type']} INCREMENT BY {value['increment']}"
        f" MINVALUE {value['minimum']} MAXVALUE {value['maximum']} START WITH {value['start']}"
        f" CACHE {value['cache']}" + (" CYCLE" if value["cycle"] else " NO CYCLE")
    ]


def _create_type(fact: Fact, snapshot: Snapshot) -> list[str]:
    value, name = fact.attributes, fact.identity
    match value["variant"]:
        case "enum":
            return [f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, _tuple(fact, 'labels')))})"]
        case "composite":
            columns = snapshot.children(fact, "composite type column")
            columns.sort(key=lambda column: int(_text(column, "position")))
            return [f"CREATE TYPE {name} AS ({', '.join(_column(column) for column in columns)})"]
        case "domain":
            text = f"CREATE DOMAIN {name} AS {value['base_type']}"
            text += f" COLLATE {value['collation']}" if value["collation"] else ""
            text += f" DEFAULT {value['default']}" if value["default"] is not None else ""
            return [text + (" NOT NULL" if value["not_null"] else "")]
        case "range":
            parts = [f"SUBTYPE = {value['subtype']}", f"MULTIRANGE_TYPE_NAME = {value['multirange']}"]
            names = {
                "subtype_opclass": "SUBTYPE_OPCLASS",
                "collation": "COLLATION",
                "subtype_diff": "SUBTYPE_DIFF",
            }
            parts += [f"{word} = {value[key]}" for key, word in names.items() if value[key]]
            return [f"CREATE TYPE {name} AS RANGE ({', '.join(parts)})"]
        case _:
            return [f"CREATE TYPE {name}"]  # a shell; a base type's functions come first


def _create_function(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    name = f"{quote(fact.schema or '')}.{quote(fact.name)}"
    text = f"CREATE OR REPLACE {fact.kind.upper()} {name}({value['arguments']})"
    if value["returns"] is not None:
        text += f" RETURNS {value['returns']}"
    text += f" LANGUAGE {quote(_text(fact, 'language'))}"
    if value["transforms"]:
        text += " TRANSFORM " + ", ".join(f"FOR TYPE {name}" for name in _tuple(fact, "transforms"))
    if fact.kind == "function":
        text += " WINDOW" * bool(value["window"]) + f" {_text(fact, 'volatility').upper()}"
        text += " STRICT" * bool(value["strict"]) + " LEAKPROOF" * bool(value["leakproof"])
        text += f" PARALLEL {_text(fact, 'parallel').upper()} COST {value['cost']}"
        if value["rows"] != "0":
            text += f" ROWS {value['rows']}"
        if value["support"]:
            text += f" SUPPORT {_text(fact, 'support').partition('(')[0]}"
    text += " SECURITY DEFINER" * bool(value["security_definer"])
    for setting in _tuple(fact, "settings"):
        key, _, new = setting.partition("=")
        # Settings that are lists arrive as text which is a list already (SET would make it one element).
        lists = key in (
            "search_path",
            "temp_tablespaces",
            "session_preload_libraries",
            "local_preload_libraries",
        )
        if lists and new == '""':  # SET search_path = ''
            new, lists = "", False
        text += f" SET {key} TO {(new or literal('')) if lists else literal(new)}"
    if value["sql_body"]:
        return [f"{text} {value['body']}"]
    body = _text(fact, "body")
    if value["library"]:
        return [f"{text} AS {literal(_text(fact, 'library'))}, {literal(body)}"]
    mark = "$auditkit$" if "$auditkit" not in body else "$auditkit_body$"
    return [f"{text} AS {mark}{body}{mark}" if mark not in body else f"{text} AS {literal(body)}"]


def _create_policy(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE POLICY {quote(fact.name)} ON {fact.parent}"
    text += (
        f" AS {'PERMISSIVE' if value['permissive'] else 'RESTRICTIVE'} FOR {_text(fact, 'command').upper()}"
    )
    text += f" TO {', '.join(_tuple(fact, 'roles'))}"
    text += f" USING ({value['using']})" if value["using"] is not None else ""
    return [text + (f" WITH CHECK ({value['check']})" if value["check"] is not None else "")]


def _create_trigger(fact: Fact, snapshot: Snapshot) -> list[str]:
    statements = [_text(fact, "definition")]
    words = {"disabled": "DISABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS"}
    if state := words.get(_text(fact, "enabled")):
        statements.append(f"ALTER TABLE {fact.parent} {state} TRIGGER {quote(fact.name)}")
    return statements


def _create_role(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    flags = {
        "superuser": "SUPERUSER",
        "inherit": "INHERIT",
        "create_role": "CREATEROLE",
        "create_database": "CREATEDB",
        "login": "LOGIN",
        "replication": "REPLICATION",
        "bypass_row_security": "BYPASSRLS",
    }
    words = [word if value[key] else f"NO{word}" for key, word in flags.items()]
    return [f"CREATE ROLE {fact.identity} {' '.join(words)} CONNECTION LIMIT {value['connection_limit']}"]


def _create_schema(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE SCHEMA {fact.identity}"]


def _create_extension(fact: Fact, snapshot: Snapshot) -> list[str]:
    schema, version = quote(_text(fact, "extension_schema")), quote(_text(fact, "version"))
    return [f"CREATE EXTENSION {fact.identity} SCHEMA {schema} VERSION {version}"]


def quote(name: str) -> str:
    """A name as an SQL identifier, quoted always: right wherever it is pasted."""
    return '"' + name.replace('"', '""') + '"'


# --- the registry ------------------------------------------------------------------------------------------

_ALL: tuple[Kind, ...] = (
    # -- what everything else stands in
    Kind(
        name="database",
        doc="This database: owner, grants, connection limit. Its identity is `database`, as names differ.",
        severity="medium",
        catalog="pg_database",
        always=True,
        acl="d",
        query=f"""
            SELECT d.oid, d.xmin, 'database' AS identity, d.datdba::regrole AS owner, d.datacl AS grants,
                   d.datconnlimit AS connection_limit
            FROM pg_database d WHERE d.oid = {THIS_DATABASE} {{only d.oid}}""",
    ),
    Kind(
        name="setting",
        doc="A setting made by ALTER DATABASE … SET or ALTER ROLE … SET. A secret's value is never read.",
        severity="medium",
        catalog="pg_db_role_setting",
        always=True,
        query=f"""{_ROLES_USED}
            SELECT s.setdatabase AS oid, 0::oid AS anchor, s.xmin,
                   split_part(o, '=', 1) || CASE
                       WHEN s.setrole = 0 AND s.setdatabase = 0 THEN ' for all'
                       WHEN s.setrole = 0 THEN ' for database'
                       WHEN s.setdatabase = 0 THEN ' for role ' || s.setrole::regrole
                       ELSE ' for role ' || s.setrole::regrole || ' in database' END AS identity,
                   CASE WHEN split_part(o, '=', 1) ~* '(pass|secret|token|credential|key|private|auth)' THEN '***'
                        ELSE substr(o, strpos(o, '=') + 1) END AS value
            FROM pg_db_role_setting s, unnest(s.setconfig) o
            WHERE (s.setdatabase = {THIS_DATABASE} OR s.setdatabase = 0)
              AND (s.setrole = 0 OR s.setrole IN (SELECT oid FROM used))""",
    ),
    Kind(
        name="role",
        doc="A role that owns, may use, or is configured for something here, and roles related to it.",
        severity="high",
        catalog="pg_authid",
        always=True,
        create=_create_role,
        query=f"""{_ROLES_USED}
            SELECT r.oid, 0::oid AS anchor, r.rolname AS name, quote_ident(r.rolname) AS identity, r.rolsuper AS superuser,
                   r.rolinherit AS inherit, r.rolcreaterole AS create_role, r.rolcreatedb AS create_database,
                   r.rolcanlogin AS login, r.rolreplication AS replication,
                   r.rolbypassrls AS bypass_row_security, r.rolconnlimit AS connection_limit,
                   r.rolvaliduntil::text AS valid_until
            FROM pg_roles r WHERE r.oid >= 16384 AND r.oid IN (SELECT oid FROM used)""",
    ),
    Kind(
        name="role membership",
        doc="One role's membership in another, whoever granted it.",
        severity="high",
        catalog="pg_auth_members",
        always=True,
        query=f"""{_ROLES_USED}
            SELECT {{16? min(m.oid::int8)::oid ?? 0::oid}} AS oid, 0::oid AS anchor, (array_agg(m.xmin ORDER BY age(m.xmin)))[1] AS xmin,
                   'membership of role ' || m.member::regrole || ' in role ' || m.roleid::regrole AS identity,
                   bool_or(m.admin_option) AS admin,
                   bool_or({{16? m.inherit_option ??
                       (SELECT r.rolinherit FROM pg_roles r WHERE r.oid = m.member)}}) AS inherit,
                   bool_or({{16? m.set_option ?? true}}) AS set_role
            FROM pg_auth_members m
            WHERE m.member IN (SELECT oid FROM used) AND m.member >= 16384
            GROUP BY m.member, m.roleid""",
    ),
    Kind(
        name="schema",
        doc="A schema.",
        severity="high",
        catalog="pg_namespace",
        always=True,
        acl="n",
        create=_create_schema,
        query="""
            SELECT n.oid, n.xmin, n.nspname AS schema, quote_ident(n.nspname) AS identity,
                   n.nspname AS name, n.nspowner::regrole AS owner, n.nspacl AS grants
            FROM pg_namespace n
            WHERE (n.oid >= 16384 OR n.nspname = 'public') AND n.nspname !~ '^pg_(temp|toast)' {only n.oid}""",
    ),
    Kind(
        name="extension",
        doc="An extension: version and schema. Its members are attributed to it and not compared one by one.",
        severity="high",
        catalog="pg_extension",
        always=True,
        create=_create_extension,
        query="""
            SELECT e.oid, e.xmin, e.extname AS name, quote_ident(e.extname) AS identity,
                   e.extowner::regrole AS owner, n.nspname AS extension_schema, e.extversion AS version
            FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE true {only e.oid}""",
    ),
    Kind(
        name="language",
        doc="A procedural language.",
        severity="medium",
        catalog="pg_language",
        acl="l",
        query=f"""
            SELECT l.oid, l.xmin, quote_ident(l.lanname) AS identity, l.lanowner::regrole AS owner,
                   l.lanacl AS grants, l.lanpltrusted AS trusted, {_procedure("l.lanplcallfoid")} AS handler,
                   {_procedure("l.laninline")} AS inline, {_procedure("l.lanvalidator")} AS validator
            FROM pg_language l WHERE l.oid >= 16384 {{only l.oid}}""",
    ),
    Kind(
        name="access method",
        doc="A table or index access method.",
        severity="medium",
        catalog="pg_am",
        query=f"""
            SELECT a.oid, a.xmin, quote_ident(a.amname) AS identity,
                   {_code("a.amtype", t="table", i="index")} AS type, {_procedure("a.amhandler")} AS handler
            FROM pg_am a WHERE a.oid >= 16384 {{only a.oid}}""",
    ),
    # -- types
    Kind(
        name="type",
        doc="An enum, composite, domain, range, base or shell type. Row and array types follow their element.",
        severity="high",
        catalog="pg_type",
        identity="{schema}.{name}",
        acl="T",
        written={"labels": "pg_enum"},
        create=_create_type,
        query=f"""
            SELECT t.oid, t.xmin, CASE WHEN t.typtype = 'e' THEN
                       (SELECT (array_agg(e.xmin ORDER BY age(e.xmin)))[1] FROM pg_enum e
                        WHERE e.enumtypid = t.oid) END AS pg_enum,
                   n.nspname AS schema, t.typname AS name, t.typowner::regrole AS owner, t.typacl AS grants,
                   CASE WHEN NOT t.typisdefined THEN 'shell'
                        ELSE {_code("t.typtype", b="base", c="composite", d="domain", e="enum", r="range")}
                        END AS variant,
                   CASE WHEN t.typtype = 'e' THEN (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
                        FROM pg_enum e WHERE e.enumtypid = t.oid) END AS labels,
                   CASE WHEN t.typtype = 'd' THEN t.typbasetype END AS base_type, t.typtypmod AS typmod,
                   t.typnotnull AS not_null, t.typdefault AS default,
                   CASE WHEN t.typtype = 'd' AND t.typcollation IS DISTINCT FROM
                             (SELECT b.typcollation FROM pg_type b WHERE b.oid = t.typbasetype)
                        THEN nullif(t.typcollation, 0)::regcollation::text
                        WHEN t.typtype = 'r' AND r.rngcollation IS DISTINCT FROM
                             (SELECT b.typcollation FROM pg_type b WHERE b.oid = r.rngsubtype)
                        THEN nullif(r.rngcollation, 0)::regcollation::text END AS collation,
                   format_type(r.rngsubtype, NULL) AS subtype, format_type(r.rngmultitypid, NULL) AS multirange,
                   CASE WHEN r.rngsubopc <> 0 AND NOT (SELECT o.opcdefault FROM pg_opclass o WHERE o.oid = r.rngsubopc)
                        THEN {_identify("pg_opclass", "r.rngsubopc")} END AS subtype_opclass,
                   nullif(r.rngcanonical, 0)::regprocedure::text AS canonical,
                   nullif(r.rngsubdiff, 0)::regproc::text AS subtype_diff,
                   CASE WHEN t.typtype = 'b' THEN format_type(nullif(t.typelem, 0), NULL) END AS element,
                   CASE WHEN t.typtype = 'b' THEN ARRAY['input=' || t.typinput::regprocedure,
                        'output=' || t.typoutput::regprocedure, 'receive=' || t.typreceive::regprocedure,
                        'send=' || t.typsend::regprocedure, 'typmod_in=' || t.typmodin::regprocedure,
                        'typmod_out=' || t.typmodout::regprocedure, 'analyze=' || t.typanalyze::regprocedure,
                        'subscript=' || {{14? t.typsubscript::regprocedure ?? '-'}},
                        'length=' || t.typlen, 'by_value=' || t.typbyval, 'alignment=' || t.typalign::text,
                        'storage=' || t.typstorage::text, 'category=' || t.typcategory::text,
                        'preferred=' || t.typispreferred, 'delimiter=' || t.typdelim::text] END AS base_properties
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_range r ON r.rngtypid = t.oid
            LEFT JOIN pg_class c ON c.oid = t.typrelid
            WHERE t.oid >= 16384 AND t.typtype <> 'm' AND (t.typrelid = 0 OR c.relkind = 'c')
              AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
              AND n.nspname !~ '^pg_temp' {{only t.oid, t.typrelid}}""",
    ),
    Kind(
        name="composite type column",
        doc="An attribute of a composite type.",
        severity="high",
        catalog="pg_class",
        row="pg_attribute",
        identity="{parent}.{name}",
        parents=("type",),
        parent_catalog="pg_type",
        ordinal="position",
        query="""
            SELECT a.attrelid AS oid, a.attnum AS subid, a.xmin, a.attname AS name, c.reltype AS parent,
                   a.atttypid AS type, a.atttypmod AS typmod,
                   CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                        THEN a.attcollation::regcollation::text END AS collation,
                   (row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum))::int4 AS position
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
            JOIN pg_type t ON t.oid = a.atttypid
            WHERE c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped {only c.oid, c.reltype}""",
    ),
    Kind(
        name="domain constraint",
        doc="A CHECK constraint of a domain (NOT NULL is an attribute of the domain).",
        severity="high",
        catalog="pg_constraint",
        identity="{name} on {parent}",
        parents=("type",),
        parent_catalog="pg_type",
        never_null=("definition",),
        create=_create_constraint,
        query=f"""
            SELECT {_CONSTRAINT}, k.contypid AS parent, k.contypid AS anchor
            FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
            WHERE k.oid >= 16384 AND k.contypid <> 0 AND k.contype = 'c' {{only k.oid, k.contypid}}""",
    ),
    Kind(
        name="collation",
        doc="A collation (its library version is a matter of the server and not compared).",
        severity="medium",
        catalog="pg_collation",
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {_identify("pg_collation", "c.oid")} AS identity,
                   c.collowner::regrole AS owner,
                   {_code("c.collprovider", c="libc", i="icu", b="builtin", d="default")} AS provider,
                   c.collisdeterministic AS deterministic, c.collencoding AS encoding,
                   {{15? coalesce(c.collcollate, {{17? c.colllocale ?? c.colliculocale}})
                         ?? c.collcollate::text}} AS collate,
                   {{15? c.collctype ?? CASE WHEN c.collprovider <> 'i' THEN c.collctype::text END}} AS ctype,
                   {{16? c.collicurules ?? NULL::text}} AS rules
            FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
            WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    # -- relations
    Kind(
        name="table",
        doc="A table or partitioned table, with its row security switches, storage, partitioning, inheritance.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        parents=("table",),
        acl="r",
        written={"inherits": "pg_inherits"},
        attribute_severity={
            "row_security": "critical",
            "force_row_security": "critical",
            "options": "low",
            "toast_options": "low",
            "tablespace": "low",
        },
        create=_create_table,
        query=f"""
            SELECT {_RELATION}, CASE WHEN c.relispartition THEN inh.first END AS parent,
                   {_code("c.relpersistence", **_PERSISTENCE)} AS persistence,
                   c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
                   {_options("c.reloptions")} AS options, {_options("o.reloptions")} AS toast_options,
                   {_code("c.relreplident", d="default", n="nothing", f="full", i="index")} AS replica_identity,
                   am.amname AS access_method, ts.spcname AS tablespace,
                   nullif(c.reloftype, 0) AS of_type, inh.parents AS inherits,
                   CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
                   CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS partition_bound
            {_RELATION_FROM}
            LEFT JOIN pg_class o ON o.oid = c.reltoastrelid
            LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            {_INHERITS}
            WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' {{only c.oid}}""",
    ),
    Kind(
        name="foreign table",
        doc="A foreign table: server and options (values of secret-looking options are never read).",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"options": "pg_foreign_table", "server": "pg_foreign_table", "inherits": "pg_inherits"},
        query=f"""
            SELECT {_RELATION}, f.xmin AS pg_foreign_table,
                   CASE WHEN c.relispartition THEN inh.first END AS parent, quote_ident(s.srvname) AS server,
                   {_options("f.ftoptions")} AS options, inh.parents AS inherits,
                   CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS partition_bound
            {_RELATION_FROM}
            JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
            {_INHERITS}
            WHERE c.oid >= 16384 AND c.relkind = 'f' {{only c.oid}}""",
        parents=("table",),
    ),
    Kind(
        name="view",
        doc="A view, with security_invoker, security_barrier and check option.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"definition": "pg_rewrite"},
        attribute_severity={"options": "critical"},
        definition="pg_get_viewdef",
        never_null=("definition",),
        create=_create_view,
        query=f"""
            SELECT {_RELATION}, r.xmin AS pg_rewrite, {_options("c.reloptions")} AS options
            {_RELATION_FROM} LEFT JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
            WHERE c.oid >= 16384 AND c.relkind = 'v' AND c.relpersistence <> 't' {{only c.oid}}""",
    ),
    Kind(
        name="materialized view",
        doc="A materialized view and whether it is populated.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"definition": "pg_rewrite"},
        attribute_severity={"populated": "medium", "options": "low", "tablespace": "low"},
        definition="pg_get_viewdef",
        never_null=("definition",),
        create=_create_view,
        query=f"""
            SELECT {_RELATION}, r.xmin AS pg_rewrite, {_options("c.reloptions")} AS options,
                   c.relispopulated AS populated, am.amname AS access_method, ts.spcname AS tablespace
            {_RELATION_FROM} LEFT JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
            LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            WHERE c.oid >= 16384 AND c.relkind = 'm' {{only c.oid}}""",
    ),
    *(
        Kind(
            name=f"{relation} column",
            doc=f"A column of a {relation}; its position counts among its siblings, dropped columns left out.",
            severity="high",
            catalog="pg_class",
            row="pg_attribute",
            identity="{parent}.{name}",
            parents=(relation,),
            acl="c",
            written={"default": "pg_attrdef"},
            ordinal="position",
            attribute_severity={
                "storage": "low",
                "compression": "low",
                "statistics_target": "low",
                "options": "low",
                "position": "low",
            },
            create=_create_column if relation == "table" else None,
            query=_COLUMNS,
        )
        for relation in ("table", "foreign table", "view", "materialized view")
    ),
    Kind(
        name="table constraint",
        doc="A primary key, unique, check, exclusion or foreign key constraint, NOT VALID and NOT ENFORCED shown; "
        "whether triggers that enforce it are disabled. NOT NULL is an attribute of the column.",
        severity="high",
        catalog="pg_constraint",
        identity="{name} on {parent}",
        parents=("table", "foreign table"),
        never_null=("definition",),
        written={"disabled_triggers": "pg_trigger"},
        create=_create_constraint,
        query=f"""
            SELECT {_CONSTRAINT}, k.conrelid AS parent, k.conrelid AS anchor, coalesce(off.triggers, 0)::int4 AS disabled_triggers,
                   k.coninhcount > 0 AND NOT k.conislocal AS inherited
            FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
            LEFT JOIN (SELECT g.tgconstraint, count(*) AS triggers FROM pg_trigger g
                       WHERE g.tgisinternal AND g.tgenabled <> 'O'
                       GROUP BY g.tgconstraint) off ON off.tgconstraint = k.oid
            WHERE k.oid >= 16384 AND k.conrelid <> 0 AND k.contype IN ('c', 'f', 'p', 'u', 'x')
              AND n.nspname !~ '^pg_temp' {{slice k.conrelid}} {{only k.oid, k.conrelid}}""",
    ),
    Kind(
        name="index",
        doc="An index: definition (of one that backs a constraint: that constraint's), validity, clustering.",
        severity="medium",
        catalog="pg_class",
        row="pg_index",
        identity="{schema}.{name}",
        parents=("table constraint", "table", "materialized view"),
        never_null=("valid",),
        attribute_severity={"valid": "high", "replica_identity": "high"},
        written={"options": "pg_class", "tablespace": "pg_class", "statistics_targets": "pg_attribute"},
        create=_create_index,
        query=f"""
            SELECT c.oid, i.xmin, c.xmin AS pg_class, n.nspname AS schema, c.relname AS name, i.indrelid AS anchor,
                   CASE WHEN k.oid IS NULL THEN '' ELSE quote_ident(k.conname) || ' on ' END
                       || quote_ident(tn.nspname) || '.' || quote_ident(t.relname) AS parent,
                   CASE WHEN c.relispartition THEN (SELECT {_identify("pg_class", "h.inhparent")}
                        FROM pg_inherits h WHERE h.inhrelid = c.oid LIMIT 1) END AS origin,
                   CASE WHEN k.oid IS NULL THEN pg_get_indexdef(i.indexrelid) END AS definition,
                   i.indisvalid AS valid, i.indisclustered AS clustered, i.indisreplident AS replica_identity,
                   {_options("c.reloptions")} AS options, ts.spcname AS tablespace,
                   st.targets AS statistics_targets
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_class t ON t.oid = i.indrelid AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
            JOIN pg_namespace tn ON tn.oid = t.relnamespace
            LEFT JOIN pg_constraint k ON k.conrelid = i.indrelid AND k.conindid = i.indexrelid
                  AND k.contype IN ('p', 'u', 'x')
            LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            LEFT JOIN (SELECT a.attrelid, array_agg(a.attnum || '=' || a.attstattarget ORDER BY a.attnum) AS targets
                       FROM pg_attribute a JOIN pg_class x ON x.oid = a.attrelid AND x.relkind IN ('i', 'I')
                       WHERE a.attrelid >= 16384 AND a.attstattarget >= 0 {{only a.attrelid}}
                       GROUP BY a.attrelid) st ON st.attrelid = c.oid
            WHERE i.indexrelid >= 16384 {{slice i.indrelid}} {{only i.indexrelid, i.indrelid}}""",
    ),
    Kind(
        name="sequence",
        doc="A sequence's parameters and its owning column (not its current value, which is data).",
        severity="medium",
        catalog="pg_class",
        row="pg_sequence",
        identity="{schema}.{name}",
        parents=("table column",),
        acl="s",
        written={
            "owned_by": "pg_depend",
            "of_identity": "pg_depend",
            "owner": "pg_class",
            "grants": "pg_class",
        },
        create=_create_sequence,
        query=f"""
            SELECT c.oid, s.xmin, c.xmin AS pg_class, d.xmin AS pg_depend, n.nspname AS schema, c.relname AS name,
                   c.relowner::regrole AS owner, c.relacl AS grants,
                   CASE WHEN d.refobjid IS NOT NULL THEN {_identify("pg_class", "d.refobjid", "d.refobjsubid")}
                        END AS parent,
                   format_type(s.seqtypid, NULL) AS type, s.seqstart::text AS start,
                   s.seqincrement::text AS increment, s.seqmin::text AS minimum, s.seqmax::text AS maximum,
                   s.seqcache::text AS cache, s.seqcycle AS cycle,
                   {_code("c.relpersistence", **_PERSISTENCE)} AS persistence,
                   CASE WHEN d.refobjid IS NOT NULL THEN {_identify("pg_class", "d.refobjid", "d.refobjsubid")}
                        END AS owned_by,
                   coalesce(d.deptype = 'i', false) AS of_identity
            FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_depend d ON d.classid = 1259 AND d.objid = c.oid AND d.objsubid = 0
                  AND d.deptype IN ('a', 'i') AND d.refclassid = 1259 AND d.refobjsubid > 0
            WHERE c.oid >= 16384 AND c.relpersistence <> 't' {{only c.oid, d.refobjid}}""",
    ),
    # -- what hangs on relations
    Kind(
        name="rule",
        doc="A rewrite rule other than a view's own.",
        severity="high",
        catalog="pg_rewrite",
        identity="{name} on {parent}",
        parents=("table", "view", "foreign table", "materialized view"),
        definition="pg_get_ruledef",
        never_null=("definition",),
        query=f"""
            SELECT r.oid, r.xmin, n.nspname AS schema, r.rulename AS name, r.ev_class AS parent, r.ev_class AS anchor,
                   {_code("r.ev_enabled", **_ENABLED)} AS enabled
            FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.oid >= 16384 AND r.rulename <> '_RETURN' AND c.relpersistence <> 't'
              {{only r.oid, r.ev_class}}""",
    ),
    Kind(
        name="trigger",
        doc="A trigger and whether it fires. Triggers that enforce constraints belong to the constraint.",
        severity="high",
        catalog="pg_trigger",
        identity="{name} on {parent}",
        parents=("table", "view", "foreign table"),
        never_null=("definition",),
        own_membership=True,
        create=_create_trigger,
        query=f"""
            SELECT t.oid, t.xmin, n.nspname AS schema, t.tgname AS name, t.tgrelid AS parent, t.tgrelid AS anchor,
                   CASE WHEN t.tgparentid <> 0 THEN {_identify("pg_trigger", "t.tgparentid")} END AS origin,
                   pg_get_triggerdef(t.oid) AS definition, {_code("t.tgenabled", **_ENABLED)} AS enabled
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE t.oid >= 16384 AND c.relpersistence <> 't'
              AND {{15? NOT t.tgisinternal ?? (NOT t.tgisinternal OR t.tgparentid <> 0
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype = 'f'))}}
              {{only t.oid, t.tgrelid}}""",
    ),
    Kind(
        name="policy",
        doc="A row-level security policy.",
        severity="critical",
        catalog="pg_policy",
        identity="{name} on {parent}",
        parents=("table",),
        own_membership=True,
        create=_create_policy,
        query=f"""
            SELECT p.oid, p.xmin, n.nspname AS schema, p.polname AS name, p.polrelid AS parent, p.polrelid AS anchor,
                   {_code("p.polcmd::text", r="select", a="insert", w="update", d="delete", **{"*": "all"})} AS command,
                   p.polpermissive AS permissive,
                   (SELECT array_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE r::regrole::text END
                                     ORDER BY r <> 0, (CASE WHEN r <> 0 THEN r::regrole::text END) COLLATE "C")
                    FROM unnest(p.polroles) r) AS roles,
                   pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
            FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE p.oid >= 16384 {{only p.oid, p.polrelid}}""",
    ),
    Kind(
        name="statistics object",
        doc="Extended statistics.",
        severity="low",
        catalog="pg_statistic_ext",
        never_null=("definition",),
        parents=("table", "materialized view", "foreign table"),
        query=f"""
            SELECT s.oid, s.xmin, n.nspname AS schema, {_identify("pg_statistic_ext", "s.oid")} AS identity,
                   s.stxrelid AS parent, s.stxrelid AS anchor, s.stxowner::regrole AS owner,
                   pg_get_statisticsobjdef(s.oid) AS definition, nullif(s.stxstattarget, -1)::int4 AS target
            FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
            WHERE s.oid >= 16384 {{only s.oid, s.stxrelid}}""",
    ),
    # -- routines and what is made of them
    *(
        Kind(
            name=name,
            doc=doc,
            severity="high",
            catalog="pg_proc",
            acl="f",
            never_null=("arguments",),
            attribute_severity={"security_definer": "critical", "settings": "critical"},
            create=_create_function,
            query=_FUNCTIONS,
        )
        for name, doc in (
            ("function", "A function or window function: signature, body and every property."),
            ("procedure", "A procedure: signature, body and every property."),
        )
    ),
    Kind(
        name="aggregate",
        doc="An aggregate function.",
        severity="high",
        catalog="pg_proc",
        acl="f",
        never_null=("arguments",),
        query=f"""
            SELECT p.oid, p.xmin, a.xmin AS pg_aggregate, n.nspname AS schema, p.proname AS name, {_identify("pg_proc", "p.oid")} AS identity,
                   p.proowner::regrole AS owner, p.proacl AS grants, pg_get_function_arguments(p.oid) AS arguments,
                   pg_get_function_result(p.oid) AS returns,
                   {_code("p.proparallel", u="unsafe", r="restricted", s="safe")} AS parallel,
                   {_code("a.aggkind", n="normal", o="ordered set", h="hypothetical set")} AS variant,
                   {_procedure("a.aggtransfn")} AS transition, format_type(a.aggtranstype, NULL) AS state,
                   a.aggtransspace AS state_space, a.agginitval AS initial,
                   {_procedure("a.aggfinalfn")} AS final, a.aggfinalextra AS final_extra,
                   {_code("a.aggfinalmodify", r="read only", s="shareable", w="read write")} AS final_modify,
                   {_procedure("a.aggcombinefn")} AS combine, {_procedure("a.aggserialfn")} AS serialize,
                   {_procedure("a.aggdeserialfn")} AS deserialize,
                   {_procedure("a.aggmtransfn")} AS moving_transition, {_procedure("a.aggminvtransfn")} AS moving_inverse,
                   format_type(nullif(a.aggmtranstype, 0), NULL) AS moving_state, a.aggmtransspace AS moving_space,
                   a.aggminitval AS moving_initial, {_procedure("a.aggmfinalfn")} AS moving_final,
                   a.aggmfinalextra AS moving_final_extra,
                   {_code("a.aggmfinalmodify", r="read only", s="shareable", w="read write")} AS moving_final_modify,
                   CASE WHEN a.aggsortop <> 0 THEN a.aggsortop::regoperator::text END AS sort_operator
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_aggregate a ON a.aggfnoid = p.oid
            WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp' {{only p.oid}}""",
    ),
    Kind(
        name="cast",
        doc="A cast between two types.",
        severity="high",
        catalog="pg_cast",
        query=f"""
            SELECT c.oid, c.xmin, {_identify("pg_cast", "c.oid")} AS identity, {_procedure("c.castfunc")} AS function,
                   {_code("c.castcontext", e="explicit", a="assignment", i="implicit")} AS context,
                   {_code("c.castmethod", f="function", i="inout", b="binary")} AS method
            FROM pg_cast c WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="operator",
        doc="An operator.",
        severity="high",
        catalog="pg_operator",
        query=f"""
            SELECT o.oid, o.xmin, n.nspname AS schema, {_identify("pg_operator", "o.oid")} AS identity,
                   o.oprowner::regrole AS owner, o.oprcode::regprocedure::text AS function,
                   CASE WHEN o.oprcom <> 0 THEN o.oprcom::regoperator::text END AS commutator,
                   CASE WHEN o.oprnegate <> 0 THEN o.oprnegate::regoperator::text END AS negator,
                   {_procedure("o.oprrest")} AS restrict_estimator, {_procedure("o.oprjoin")} AS join_estimator,
                   o.oprcanhash AS hashes, o.oprcanmerge AS merges
            FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384 {{only o.oid}}""",
    ),
    Kind(
        name="operator family",
        doc="An operator family; its members are kinds of their own.",
        severity="medium",
        catalog="pg_opfamily",
        query=f"""
            SELECT f.oid, f.xmin, n.nspname AS schema, {_identify("pg_opfamily", "f.oid")} AS identity,
                   f.opfowner::regrole AS owner
            FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace WHERE f.oid >= 16384 {{only f.oid}}""",
    ),
    Kind(
        name="operator class",
        doc="An operator class.",
        severity="medium",
        catalog="pg_opclass",
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {_identify("pg_opclass", "c.oid")} AS identity,
                   c.opcowner::regrole AS owner, format_type(c.opcintype, NULL) AS type, c.opcdefault AS default,
                   format_type(nullif(c.opckeytype, 0), NULL) AS storage, {_identify("pg_opfamily", "c.opcfamily")} AS family
            FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="operator of access method",
        doc="An operator in an operator family.",
        severity="medium",
        catalog="pg_amop",
        parents=("operator family",),
        parent_catalog="pg_opfamily",
        query=f"""
            SELECT o.oid, o.xmin, {_identify("pg_amop", "o.oid")} AS identity, o.amopfamily AS parent, o.amopfamily AS anchor,
                   o.amopopr::regoperator::text AS operator, {_code("o.amoppurpose", s="search", o="ordering")} AS purpose,
                   CASE WHEN o.amopsortfamily <> 0 THEN {_identify("pg_opfamily", "o.amopsortfamily")} END AS sort_family
            FROM pg_amop o WHERE o.oid >= 16384 {{only o.oid, o.amopfamily}}""",
    ),
    Kind(
        name="function of access method",
        doc="A support function in an operator family.",
        severity="medium",
        catalog="pg_amproc",
        parents=("operator family",),
        parent_catalog="pg_opfamily",
        query=f"""
            SELECT p.oid, p.xmin, {_identify("pg_amproc", "p.oid")} AS identity, p.amprocfamily AS parent, p.amprocfamily AS anchor,
                   p.amproc::regprocedure::text AS function
            FROM pg_amproc p WHERE p.oid >= 16384 {{only p.oid, p.amprocfamily}}""",
    ),
    Kind(
        name="conversion",
        doc="An encoding conversion.",
        severity="low",
        catalog="pg_conversion",
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {_identify("pg_conversion", "c.oid")} AS identity,
                   c.conowner::regrole AS owner, pg_encoding_to_char(c.conforencoding)::text AS source,
                   pg_encoding_to_char(c.contoencoding)::text AS target, {_procedure("c.conproc")} AS function,
                   c.condefault AS default
            FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="transform",
        doc="How a language sees a type.",
        severity="medium",
        catalog="pg_transform",
        query=f"""
            SELECT t.oid, t.xmin, {_identify("pg_transform", "t.oid")} AS identity,
                   {_procedure("t.trffromsql")} AS from_sql, {_procedure("t.trftosql")} AS to_sql
            FROM pg_transform t WHERE t.oid >= 16384 {{only t.oid}}""",
    ),
    # -- text search
    Kind(
        name="text search parser",
        doc="A text search parser.",
        severity="low",
        catalog="pg_ts_parser",
        query=f"""
            SELECT p.oid, p.xmin, n.nspname AS schema, {_identify("pg_ts_parser", "p.oid")} AS identity,
                   {_procedure("p.prsstart")} AS start, {_procedure("p.prstoken")} AS token,
                   {_procedure("p.prsend")} AS end, {_procedure("p.prsheadline")} AS headline,
                   {_procedure("p.prslextype")} AS token_types
            FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = p.prsnamespace WHERE p.oid >= 16384 {{only p.oid}}""",
    ),
    Kind(
        name="text search template",
        doc="A text search template.",
        severity="low",
        catalog="pg_ts_template",
        query=f"""
            SELECT t.oid, t.xmin, n.nspname AS schema, {_identify("pg_ts_template", "t.oid")} AS identity,
                   {_procedure("t.tmplinit")} AS init, {_procedure("t.tmpllexize")} AS lexize
            FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace WHERE t.oid >= 16384 {{only t.oid}}""",
    ),
    Kind(
        name="text search dictionary",
        doc="A text search dictionary: template and options.",
        severity="medium",
        catalog="pg_ts_dict",
        query=f"""
            SELECT d.oid, d.xmin, n.nspname AS schema, {_identify("pg_ts_dict", "d.oid")} AS identity,
                   d.dictowner::regrole AS owner, {_identify("pg_ts_template", "d.dicttemplate")} AS template,
                   d.dictinitoption AS options
            FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace WHERE d.oid >= 16384 {{only d.oid}}""",
    ),
    Kind(
        name="text search configuration",
        doc="A text search configuration: parser and the dictionaries of each token type.",
        severity="medium",
        catalog="pg_ts_config",
        written={"mappings": "pg_ts_config_map"},
        query=f"""
            SELECT c.oid, c.xmin, (SELECT (array_agg(m.xmin ORDER BY age(m.xmin)))[1] FROM pg_ts_config_map m
                                   WHERE m.mapcfg = c.oid) AS pg_ts_config_map,
                   n.nspname AS schema, {_identify("pg_ts_config", "c.oid")} AS identity,
                   c.cfgowner::regrole AS owner, {_identify("pg_ts_parser", "c.cfgparser")} AS parser,
                   (SELECT array_agg(x.mapping ORDER BY x.token) FROM (
                       SELECT t.alias COLLATE "C" AS token,
                              t.alias || ': ' || string_agg(m.mapdict::regdictionary::text, ', ' ORDER BY m.mapseqno) AS mapping
                       FROM pg_ts_config_map m JOIN ts_token_type(c.cfgparser) t ON t.tokid = m.maptokentype
                       WHERE m.mapcfg = c.oid GROUP BY t.alias) x) AS mappings
            FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    # -- foreign data
    Kind(
        name="foreign-data wrapper",
        doc="A foreign-data wrapper.",
        severity="medium",
        catalog="pg_foreign_data_wrapper",
        acl="F",
        query=f"""
            SELECT f.oid, f.xmin, quote_ident(f.fdwname) AS identity, f.fdwowner::regrole AS owner, f.fdwacl AS grants,
                   {_procedure("f.fdwhandler")} AS handler, {_procedure("f.fdwvalidator")} AS validator,
                   {_options("f.fdwoptions")} AS options
            FROM pg_foreign_data_wrapper f WHERE f.oid >= 16384 {{only f.oid}}""",
    ),
    Kind(
        name="server",
        doc="A foreign server; values of secret-looking options are never read.",
        severity="medium",
        catalog="pg_foreign_server",
        acl="S",
        query=f"""
            SELECT s.oid, s.xmin, quote_ident(s.srvname) AS identity, s.srvowner::regrole AS owner, s.srvacl AS grants,
                   quote_ident(f.fdwname) AS wrapper, s.srvtype AS type, s.srvversion AS version,
                   {_options("s.srvoptions")} AS options
            FROM pg_foreign_server s JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw WHERE s.oid >= 16384 {{only s.oid}}""",
    ),
    Kind(
        name="user mapping",
        doc="A user mapping's existence; of its options only `user` is read.",
        severity="medium",
        catalog="pg_user_mapping",
        always=True,  # the catalog itself may be read by a superuser only, hence not counted
        parents=("server",),
        parent_catalog="pg_foreign_server",
        query="""
            SELECT m.umid AS oid, CASE WHEN m.umuser = 0 THEN 'public' ELSE m.usename::text END
                       || ' on server ' || m.srvname AS identity, m.srvid AS parent,
                   (SELECT array_agg(CASE WHEN starts_with(o, 'user=') THEN o ELSE split_part(o, '=', 1) || '=***' END
                                     ORDER BY o COLLATE "C") FROM unnest(m.umoptions) o) AS options
            FROM pg_user_mappings m WHERE m.umid >= 16384 {only m.umid}""",
    ),
    # -- database-wide
    Kind(
        name="event trigger",
        doc="An event trigger and whether it fires.",
        severity="high",
        catalog="pg_event_trigger",
        query=f"""
            SELECT e.oid, e.xmin, quote_ident(e.evtname) AS identity, e.evtowner::regrole AS owner,
                   e.evtevent::text AS event, {_procedure("e.evtfoid")} AS function,
                   {_code("e.evtenabled", **_ENABLED)} AS enabled,
                   CASE WHEN e.evttags IS NOT NULL THEN (SELECT array_agg(t ORDER BY t COLLATE "C")
                        FROM unnest(e.evttags) t) END AS tags
            FROM pg_event_trigger e WHERE e.oid >= 16384 {{only e.oid}}""",
    ),
    Kind(
        name="publication",
        doc="A publication; its tables and schemas are kinds of their own.",
        severity="medium",
        catalog="pg_publication",
        query="""
            SELECT p.oid, p.xmin, quote_ident(p.pubname) AS identity, p.pubowner::regrole AS owner,
                   p.puballtables AS all_tables, p.pubinsert AS insert, p.pubupdate AS update, p.pubdelete AS delete,
                   p.pubtruncate AS truncate, p.pubviaroot AS via_root,
                   {18? CASE p.pubgencols WHEN 's' THEN 'stored' ELSE 'none' END ?? 'none'} AS generated_columns
            FROM pg_publication p WHERE p.oid >= 16384 {only p.oid}""",
    ),
    Kind(
        name="publication relation",
        doc="A table in a publication, with its row filter and column list.",
        severity="medium",
        catalog="pg_publication_rel",
        parents=("publication",),
        parent_catalog="pg_publication",
        query=f"""
            SELECT r.oid, r.xmin, n.nspname AS schema, {_identify("pg_publication_rel", "r.oid")} AS identity,
                   r.prpubid AS parent, r.prpubid AS anchor,
                   {{15? pg_get_expr(r.prqual, r.prrelid) ?? NULL::text}} AS row_filter,
                   {{15? CASE WHEN r.prattrs IS NOT NULL THEN (SELECT array_agg(a.attname::text ORDER BY a.attnum)
                         FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs)) END
                         ?? NULL::text[]}} AS columns
            FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.oid >= 16384 {{only r.oid, r.prpubid, r.prrelid}}""",
    ),
    Kind(
        name="publication namespace",
        doc="A schema in a publication.",
        severity="medium",
        catalog="pg_publication_namespace",
        since=15,
        parents=("publication",),
        parent_catalog="pg_publication",
        query=f"""
            SELECT s.oid, s.xmin, n.nspname AS schema, {_identify("pg_publication_namespace", "s.oid")} AS identity,
                   s.pnpubid AS parent, s.pnpubid AS anchor
            FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
            WHERE s.oid >= 16384 {{only s.oid, s.pnpubid, s.pnnspid}}""",
    ),
    Kind(
        name="subscription",
        doc="A subscription. Its connection string is never read.",
        severity="medium",
        catalog="pg_subscription",
        always=True,  # not every column may be read, so it is not counted
        query=f"""
            SELECT s.oid, s.xmin, quote_ident(s.subname) AS identity, s.subowner::regrole AS owner,
                   s.subenabled AS enabled, s.subbinary AS binary, s.subslotname::text AS slot,
                   s.subsynccommit AS synchronous_commit,
                   (SELECT array_agg(p ORDER BY p COLLATE "C") FROM unnest(s.subpublications) p) AS publications,
                   {{16? CASE s.substream WHEN 't' THEN 'on' WHEN 'p' THEN 'parallel' ELSE 'off' END
                      ?? CASE WHEN s.substream THEN 'on' ELSE 'off' END}} AS streaming,
                   {{15? s.subtwophasestate <> 'd' ?? false}} AS two_phase,
                   {{15? s.subdisableonerr ?? false}} AS disable_on_error,
                   {{16? s.subpasswordrequired ?? true}} AS password_required,
                   {{16? s.subrunasowner ?? false}} AS run_as_owner, {{16? s.suborigin ?? 'any'}} AS origin_filter,
                   {{17? s.subfailover ?? false}} AS failover
            FROM pg_subscription s WHERE s.oid >= 16384 AND s.subdbid = {THIS_DATABASE} {{only s.oid}}""",
    ),
    Kind(
        name="default acl",
        doc="Default privileges: what ALTER DEFAULT PRIVILEGES gives to objects created later.",
        severity="high",
        catalog="pg_default_acl",
        query=f"""
            SELECT a.oid, a.xmin, n.nspname AS schema, {_identify("pg_default_acl", "a.oid")} AS identity,
                   a.defaclrole::regrole AS acl_owner, a.defaclacl AS grants,
                   CASE WHEN a.defaclnamespace <> 0 THEN '-'
                        ELSE CASE a.defaclobjtype WHEN 'S' THEN 's' ELSE a.defaclobjtype::text END END AS acl_type
            FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace
            WHERE a.oid >= 16384 {{only a.oid}}""",
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


# --- what the guard watches --------------------------------------------------------------------------------

_RELATION_IS_TEMPORARY = "(SELECT oid FROM pg_class WHERE relpersistence = 't')"
_SCHEMA_IS_TEMPORARY = "(SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp')"


@dataclass(frozen=True)
class Watched:
    """A catalog whose rows facts are made of.

    Attributes:
        catalog: the system table.
        oid: expression for the object its row belongs to (as in a fact's address).
        anchor: expression for the relation, type, … the object belongs to; what ``read_facts`` takes.
        where: which rows are users' rows. Temporary objects come and go all the time; they are no facts.
        since: first major version.
        subid: expression for the column number.
        classid: expression for the catalog of the object that a comment or label is on.
        restricted: only superusers may read it.
    """

    catalog: str
    oid: str = "oid"
    anchor: str = ""
    where: str = "oid >= 16384"
    since: int = 0
    subid: str = "0"
    classid: str = "0"
    restricted: bool = False


WATCHED: tuple[Watched, ...] = (
    Watched("pg_am"),
    Watched("pg_aggregate", "aggfnoid::oid", where="aggfnoid::oid >= 16384"),
    Watched("pg_amop", anchor="amopfamily"),
    Watched("pg_amproc", anchor="amprocfamily"),
    Watched(
        "pg_attrdef",
        "adrelid",
        where=f"oid >= 16384 AND adrelid NOT IN {_RELATION_IS_TEMPORARY}",
        subid="adnum",
    ),
    Watched(
        "pg_attribute",
        "attrelid",
        where=f"attrelid >= 16384 AND attnum > 0 AND attrelid NOT IN {_RELATION_IS_TEMPORARY}",
        subid="attnum",
    ),
    Watched("pg_auth_members", "roleid", "0::oid", "member >= 16384"),
    Watched("pg_authid", anchor="0::oid", restricted=True),
    Watched("pg_cast"),
    Watched("pg_class", where="oid >= 16384 AND relpersistence <> 't'"),
    Watched("pg_collation"),
    Watched(
        "pg_constraint",
        anchor="CASE WHEN conrelid <> 0 THEN conrelid ELSE contypid END",
        where=f"oid >= 16384 AND connamespace NOT IN {_SCHEMA_IS_TEMPORARY}",
    ),
    Watched("pg_conversion"),
    Watched("pg_database", where=f"oid = {THIS_DATABASE}"),
    Watched("pg_db_role_setting", "setrole", "0::oid", f"setdatabase IN (0, {THIS_DATABASE})"),
    Watched("pg_default_acl"),
    # Only what no other catalog tells: the members of extensions and the owners of sequences.
    Watched(
        "pg_depend",
        "objid",
        where="refclassid = 3079 AND deptype = 'e' OR classid = 1259 AND deptype = 'a' "
        "AND objid IN (SELECT seqrelid FROM pg_sequence)",
    ),
    Watched(
        "pg_description",
        "objoid",
        where="objoid >= 16384 OR objoid = 2200",
        subid="objsubid",
        classid="classoid",
    ),
    Watched("pg_enum", "enumtypid", where="enumtypid >= 16384"),
    Watched("pg_event_trigger"),
    Watched("pg_extension", where="true"),
    Watched("pg_foreign_data_wrapper"),
    Watched("pg_foreign_server"),
    Watched("pg_foreign_table", "ftrelid", where="ftrelid >= 16384"),
    Watched(
        "pg_index",
        "indexrelid",
        "indrelid",
        f"indexrelid >= 16384 AND indrelid NOT IN {_RELATION_IS_TEMPORARY}",
    ),
    Watched("pg_inherits", "inhrelid", where="inhrelid >= 16384"),
    Watched("pg_language"),
    Watched("pg_namespace", where="(oid >= 16384 OR oid = 2200) AND nspname !~ '^pg_(toast_)?temp'"),
    Watched("pg_opclass"),
    Watched("pg_operator"),
    Watched("pg_opfamily"),
    Watched("pg_partitioned_table", "partrelid", where="partrelid >= 16384"),
    Watched("pg_policy", anchor="polrelid"),
    Watched("pg_proc"),
    Watched("pg_publication"),
    Watched("pg_publication_namespace", anchor="pnpubid", since=15),
    Watched("pg_publication_rel", anchor="prpubid"),
    Watched("pg_range", "rngtypid", where="rngtypid >= 16384"),
    Watched(
        "pg_rewrite", anchor="ev_class", where=f"oid >= 16384 AND ev_class NOT IN {_RELATION_IS_TEMPORARY}"
    ),
    Watched(
        "pg_seclabel",
        "objoid",
        where="objoid >= 16384 OR objoid = 2200",
        subid="objsubid",
        classid="classoid",
    ),
    Watched("pg_sequence", "seqrelid", where="seqrelid >= 16384"),
    Watched(
        "pg_shdescription", "objoid", where=f"objoid >= 16384 OR objoid = {THIS_DATABASE}", classid="classoid"
    ),
    Watched(
        "pg_shseclabel", "objoid", where=f"objoid >= 16384 OR objoid = {THIS_DATABASE}", classid="classoid"
    ),
    Watched("pg_statistic_ext", anchor="stxrelid"),
    Watched("pg_transform"),
    Watched(
        "pg_trigger", anchor="tgrelid", where=f"oid >= 16384 AND tgrelid NOT IN {_RELATION_IS_TEMPORARY}"
    ),
    Watched("pg_ts_config"),
    Watched("pg_ts_config_map", "mapcfg", where="mapcfg >= 16384"),
    Watched("pg_ts_dict"),
    Watched("pg_ts_parser"),
    Watched("pg_ts_template"),
    Watched("pg_type", where=f"oid >= 16384 AND typnamespace NOT IN {_SCHEMA_IS_TEMPORARY}"),
)

#: Catalogs whose rows are parts of facts, under an oid of their own.
PART_CATALOGS = frozenset({"pg_attrdef", "pg_enum"})
