"""What the entry of a kind says, and the SQL that entries are made of.

A kind is named as ``pg_identify_object`` names it. To add one, add one entry to ``kinds.py``: reading,
comparing, saving and reporting know no kind. What an entry's query must return is told by its column names:

``oid`` ``subid``    the object's address inside ``Kind.catalog`` (``subid`` only for columns)
``xmin``             transaction that wrote the object's main row, the one in ``Kind.row``
``pg_…``             transaction that wrote the object's row in that catalog, where it has more than one
``schema``           schema name as it is (not quoted)
``name``             name as it is; the identity is made of it by ``Kind.identity`` …
``identity``         … or the identity as ``pg_identify_object`` gives it
``parent``           what the object belongs to: an oid in ``Kind.parent_catalog``, or an identity
                     (columns need none: it is their ``oid``)
``origin``           the object a parent table or partitioned table gives it: likewise
``anchor``           oid it is read again with: the table of a constraint (default: its own; 0: cluster-wide)
``like_…`` ``head``  what the text of ``Kind.definition`` depends on, and what it begins with: rows which agree in the
                     former are deparsed once. A row whose ``head`` is NULL has no definition
``kind``             name of the kind, when several kinds share one query
``acl_type``         letter for ``acldefault()``, where it depends on the row
all other columns    attributes; **every attribute is compared**

Where ``oid`` is made by ``each``, so are ``subid``, ``xmin`` … (0 for none), and ``name`` is an array: the row then
stands for as many objects, all alike in their attributes.

Attributes are text, integers, booleans, NULL and text arrays (``aclitem[]`` means grants), so that equality never
forgets one. Comments and security labels are laid over all kinds when they are read.

``{18? new ?? old}`` chooses by server version; ``{only k.oid, k.conrelid}`` becomes the condition that restricts
reading to the objects asked for, ``{slice k.conrelid}`` the one that cuts a big database into portions. A query
may not contain a percent sign. Oids from 16384 on belong to users (FirstNormalObjectId in PostgreSQL's transam.h).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

from auditkit.catalog.belongings import named
from auditkit.catalog.sql import Change, Sql, last

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot, Value

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
    "pg_init_privs": 3394,
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


#: Columns of a query that are no attributes.
META = frozenset(
    (
        "kind",
        "oid",
        "subid",
        "xmin",
        "schema",
        "name",
        "identity",
        "parent",
        "origin",
        "anchor",
        "head",
        "acl_type",
        "acl_owner",
    )
)


@cache
def is_attribute(column: str) -> bool:
    """Whether a column of a query is an attribute."""
    return column not in META and not column.startswith(("pg_", "like_"))


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
        definition: SQL function for the attribute ``definition``. It is run outside the query: in short statements,
            because it takes locks; or, if the query has ``like_…`` columns, once for all rows that read alike.
        never_null: attributes that are NULL only if the object was dropped while it was read.
        own_membership: belongs to an extension only if it is itself a member, not through its parent.
        lenient: attributes in which both sides count as equal all the same: a server upgraded from an older version
            has other values, or no statement changes them.
        ordinal: name of an attribute made of ``subid``: the position among siblings, without the gaps that dropped ones
            left; compared as an order, not as a number.
        create: gives the statements which create the object; none if something else does.
        later: what CREATE leaves to ALTER: attribute → its value right after CREATE.
        alter: gives the statements which alter it in place, or None when it must be dropped and created again.
        dropped: gives the statement which drops it, where that is not ``DROP`` with kind and identity.
        disturbs: attributes that cannot be altered while views, policies, triggers … use the object.
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
    lenient: frozenset[str] = frozenset()
    ordinal: str = ""
    attribute_severity: Mapping[str, Severity] = field(default_factory=dict)
    create: Create | None = None
    later: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    alter: Callable[[Change], list[Sql] | None] | None = None
    dropped: Callable[[str], str] | None = None
    disturbs: frozenset[str] = frozenset()

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
    def attributes(self) -> list[str]:
        """Names of the attributes, in the query's order, without those that all kinds have."""
        names = re.findall(
            r"\bAS ([a-z_]+)",
            _outermost(render(self.query, 180000)).replace("DISTINCT FROM", "").partition(" FROM ")[0],
        )
        found = [name for name in names if is_attribute(name)]
        if self.ordinal:
            found.append(self.ordinal)
        return [*found, "definition"] if self.definition else found

    @cached_property
    def shares_definitions(self) -> bool:
        """Whether one text is asked for all rows that read alike, instead of one for each."""
        return " AS like_" in self.query

    @cached_property
    def cluster_wide(self) -> bool:
        """Whether its facts depend on the whole cluster, so that they are always read together."""
        return "0::oid AS anchor" in self.query

    @cached_property
    def sources(self) -> frozenset[str]:
        """The watched catalogs whose rows can change a fact of this kind without renaming anything."""
        named = {*re.findall(r"\bpg_[a-z_]+", self.query)} - {"pg_namespace"}
        return frozenset(named | {self.catalog})

    def severity_of(self, attribute: str | None) -> Severity:
        """Severity of a difference in one attribute (``None``: in the object's existence)."""
        return self.attribute_severity.get(attribute or "", self.severity)

    def initial(self, fact: Fact) -> dict[str, Value]:
        """The attributes of *fact* that CREATE leaves to ALTER, as they are in between."""
        found: dict[str, Value] = dict(self.later)
        value = fact.attributes
        if value.get("partition_bound"):
            found["inherits"] = None  # attaching it makes it a child
        if value.get("replica_identity") == "index":
            found["replica_identity"] = "index"  # that index says so itself
        if value.get("valid") is False:
            found["valid"] = False  # attaching its parts makes it valid, nothing makes it invalid
        if value.get("not_null") == "NOT NULL NOT VALID":
            found["not_null"] = None
        return found

    def whole(self, fact: Fact, snapshot: Snapshot, *, without: Collection[str] = ()) -> list[str]:
        """The statements that create an object and set what CREATE leaves to ALTER; not its owner, grants, comment.

        Args:
            without: attributes to leave as CREATE makes them.
        """
        texts = self.create(fact, snapshot) if self.create is not None else []
        start = self.initial(fact)
        # A snapshot of another version of auditkit may lack an attribute.
        names = {name for name, value in start.items() if fact.attributes.get(name, value) != value} - set(
            without
        )
        if names and self.alter is not None:
            old = replace(fact, attributes=fact.attributes | start)
            version = int(snapshot.manifest.get("server_version") or 0)
            change = Change(old, fact, frozenset(names), snapshot, snapshot, version)
            texts = texts + [sql.text for sql in self.alter(change) or ()]
        return texts

    def drop(self, identity: str) -> str:
        """The statement that drops an object of this kind (its type and identity are what DROP wants)."""
        if self.dropped is not None:
            return self.dropped(identity)
        if " on " in self.identity:
            name, _, table = identity.rpartition(" on ")
            if "constraint" in self.name:
                return f"ALTER {self.name.split()[0].upper()} {table} DROP CONSTRAINT {name}"
            return f"DROP {self.name.upper()} {name} ON {table}"
        if self.name.endswith(" column"):
            column = last(identity)
            what = "ATTRIBUTE" if self.name == "composite type column" else "COLUMN"
            relation = self.name.removesuffix(" column").removeprefix("composite ").upper()
            return f"ALTER {relation} {identity[: -len(column) - 1]} DROP {what} {column}"
        return f"DROP {named(self.name, identity)}"


_SINCE = re.compile(r"\{(\d+)\?([^{}]*?)\?\?([^{}]*)\}")  # innermost first: marks may be nested
_ONLY = re.compile(r"\{only ([^}]*)\}")
_SLICE = re.compile(r"\{slice ([^}]*)\}")


@lru_cache(maxsize=1000)
def render(
    query: str,
    version: int,
    *,
    only: bool = False,
    without: bool = False,
    slice: tuple[int, int] | None = None,
) -> str:
    """A query for one server version.

    Args:
        query: with the marks that the module's docstring describes.
        version: ``server_version_num``.
        only: restrict it to the objects in the parameter ``%(only)s``.
        without: leave out the objects in the parameter ``%(without)s``.
        slice: restrict it to oids from the first up to, not including, the second.
    """

    def restrict(match: re.Match[str]) -> str:
        keys = [key.strip() for key in match[1].split(",")]
        if without:
            return "".join(f" AND {key} <> ALL(%(without)s::oid[])" for key in keys)
        return f"AND ({' OR '.join(f'{key} = ANY(%(only)s::oid[])' for key in keys)})" if only else ""

    def portion(match: re.Match[str]) -> str:
        return f"AND {match[1]} >= {slice[0]} AND {match[1]} < {slice[1]}" if slice else ""

    query = _SLICE.sub(portion, _ONLY.sub(restrict, query))
    while (chosen := _SINCE.sub(lambda m: m[2] if version // 10000 >= int(m[1]) else m[3], query)) != query:
        query = chosen
    return query


def _outermost(sql: str) -> str:
    """A query without what stands in parentheses or quotes, in one line."""
    kept, depth = [], 0
    for part in re.split(r"('(?:[^']|'')*'|[()])", sql):
        if part in ("(", ")"):
            depth += 1 if part == "(" else -1
        elif depth == 0 and not part.startswith("'"):
            kept.append(part)
    return " ".join("".join(kept).split())


def options(array: str, *, without: str = "") -> str:
    """SQL: an array of ``key=value`` in a fixed order, the values of secret-looking keys never sent.

    Args:
        without: a key which the server keeps for itself.
    """
    there = f"{array} IS NOT NULL"
    if without:  # on all columns or none: then, as a rule, it is all there is
        there += f" AND NOT (cardinality({array}) = 1 AND {array}[1] ^@ '{without}=')"
    return (
        f"CASE WHEN {there} THEN (SELECT array_agg(CASE "
        "WHEN o ~* '^[^=]*(pass|secret|token|credential|key|private|auth)[^=]*=' "
        "THEN substr(o, 1, strpos(o, '=')) || '***' ELSE o END "
        f"""ORDER BY o COLLATE "C") FROM unnest({array}) o {f"WHERE NOT o ^@ '{without}='" if without else ""}) END"""
    )


def each(number: str) -> str:
    """SQL: a four-byte number of each object that a row stands for, as the server sends arrays."""
    return f"array_send(array_agg({number}))"


def code(column: str, **names: str) -> str:
    """SQL: a one-letter code in words."""
    cases = " ".join(f"WHEN '{letter}' THEN '{word}'" for letter, word in names.items())
    return f"CASE {column} {cases} ELSE {column}::text END"


def type_name(oid: str, modifier: str = "-1") -> str:
    """SQL: a data type as text."""
    return f"format_type({oid}, nullif({modifier}, -1))"


def procedure(column: str) -> str:
    """SQL: a function reference as text; NULL where there is none."""
    return f"CASE WHEN {column} <> 0 THEN {column}::regprocedure::text END"


def identify(catalog: str, oid: str, subid: str = "0") -> str:
    return f"(pg_identify_object({CATALOGS[catalog]}, {oid}, {subid})).identity"


#: SQL: whether a type in pg_type is made with and for another. No type that a user defines may use this function
#: (IsTrueArrayType in pg_type.h; DefineType in typecmds.c).
IS_ARRAY = "typsubscript = 'array_subscript_handler'::regproc"
ENABLED = {"O": "enabled", "D": "disabled", "R": "replica", "A": "always"}
PERSISTENCE = {"p": "permanent", "u": "unlogged"}

#: The oid of this database; shared catalogs hold rows of all databases.
THIS_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())"
