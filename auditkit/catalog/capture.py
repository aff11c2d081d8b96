"""Read a database's catalog into facts, without tearing and without hurting anyone.

Catalogs are not MVCC-safe (deparsers see the present, rows the past) and a reader that holds locks can make a
migration the victim of a deadlock. Hence no transaction: every statement stands for itself, a digest of all
user rows is taken before and after, and if it moved, or a deparser met a vanished object, reading starts over.
What takes locks (views, rules) is read in short statements of its own. If three attempts are not enough the
snapshot says ``incomplete``. What a role may not read is named in ``not_checked``.
"""

from __future__ import annotations

import datetime as dt
import gc
import re
import sys
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import chain, compress, islice, pairwise, repeat
from operator import gt, itemgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from auditkit.catalog import grants as acl
from auditkit.catalog.kind import CATALOGS, THIS_DATABASE, Kind, is_attribute, render
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.settled import DEPARSED, settled
from auditkit.catalog.snapshot import COMMON, Address, Edges, Fact, Snapshot, Table, Value
from auditkit.catalog.watched import PART_CATALOGS, TEMPORARY, WATCHED
from auditkit.connect import connect, reason
from auditkit.errors import Unreadable

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

OLDEST, NEWEST = 14, 18  # major versions whose catalogs are known
ATTEMPTS = 3
#: So few views per statement that the locks on them and their tables are gone within milliseconds.
VIEWS_PER_STATEMENT = 25
#: More columns than this are read in slices, by two sessions: less memory at a time, two cores busy.
BIG = 30_000
SLICE = 25_000
#: Bytes of pg_attribute from which on a catalog is large: twice those of an empty database.
_LARGE = 1_000_000
#: How the planner is to read those.
_WHERE_LARGE = {"enable_nestloop": "off", "enable_mergejoin": "off", "random_page_cost": "1"}

_LOCK_TIMEOUT = "55P03"
_TEXT_ARRAY, _ACL, _XID, _BYTES = 1009, 1034, 28, 17  # type oids, fixed by PostgreSQL
#: What comments and labels are laid over.
_NOT_NOTED = (None,) * len(COMMON)
#: Identity, schema and kind of a parent that is not there.
_NOBODY: tuple[str | None, str | None, str] = (None, None, "")
#: Kinds whose facts other facts name as their parent.
_PARENT_KINDS = frozenset(parent for kind in KINDS.values() for parent in kind.parents)

_GROUPS: dict[str, list[Kind]] = defaultdict(list)
for _kind in KINDS.values():
    _GROUPS[_kind.query].append(_kind)


# --- queries that belong to no kind ------------------------------------------------------------------------

#: Settings that tell what the server records of changes: everybody may read them.
_RECORDING = ("track_commit_timestamp", "log_statement", "log_line_prefix", "log_timezone", "pgaudit.log")
_SERVER = """
    SELECT current_setting('server_version'), current_database()::text, current_user::text,
           pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
           {15? d.datlocprovider::text ?? 'c'}, pg_is_in_recovery(), clock_timestamp()::text,
           current_setting('server_version_num')::int4, has_table_privilege(1418::oid, 'SELECT'),
           json_build_object({settings})
    FROM pg_database d WHERE d.datname = current_database()""".replace(
    "{settings}", ", ".join(f"'{name}', current_setting('{name}', true)" for name in _RECORDING)
)

_COMMENTS = f"""
    SELECT classoid, objoid, objsubid, description, NULL AS provider, xmin FROM pg_description
    WHERE (objoid >= 16384 OR objoid = 2200 AND description <> 'standard public schema') {{only objoid}}
    UNION ALL SELECT classoid, objoid, 0, description, NULL, xmin FROM pg_shdescription
    WHERE (objoid >= 16384 OR objoid = {THIS_DATABASE}) {{only objoid}}
    UNION ALL SELECT classoid, objoid, objsubid, label, provider, xmin FROM pg_seclabel WHERE true {{only objoid}}
    UNION ALL SELECT classoid, objoid, 0, label, provider, xmin FROM pg_shseclabel WHERE true {{only objoid}}"""

_MEMBERS = """
    SELECT d.classid, d.objid, e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 3079 AND d.deptype = 'e' {only d.objid}"""

_PARENTS = """
    SELECT oid, (i).identity, (i).schema, (i).type
    FROM (SELECT oid, pg_identify_object(%(catalog)s, oid, 0) AS i FROM unnest(%(oids)s::oid[]) AS t(oid)) AS p"""

_EDGES = (
    """
    SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid, ascii(deptype::text)
    FROM pg_depend WHERE objid >= 16384 AND refobjid >= 16384 AND deptype IN ('n', 'a', 'i', 'e', 'P')"""
    ""
)

_MOMENT = "SELECT pg_current_snapshot()::text"

_LOCKED = """
    SELECT DISTINCT relation, (pg_identify_object(1259, relation, 0)).identity FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND granted AND relation >= 16384
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_CATALOGS_WITH_OIDS = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
    WHERE a.attrelid < 16384 AND c.relnamespace = 11 AND c.relkind = 'r' ORDER BY 1"""

#: The relation, by oid, at which another thousand columns are full.
_THOUSANDS = """
    SELECT max(oid) FROM (SELECT oid, sum(relnatts) OVER (ORDER BY oid) / 1000 AS thousands FROM pg_class
    WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f')) AS c GROUP BY thousands ORDER BY thousands"""


def _guard_sql(version: int) -> list[str]:
    """Per catalog the number of user rows, and a digest of the places and writers of recent ones: in statements that
    take about as long as each other in a big database. The last is about columns.

    Recent is what a transaction wrote that was not over when reading began: all that can have come since. What went
    is missed in the number; of columns only recent ones are counted, as they go with their relation or stay as rows
    that say they are dropped.
    """
    recent = "age(xmin) <= (SELECT age(%(since)s::text::xid))"
    parts = [
        f"SELECT '{w.catalog}' AS catalog, count(*){f' FILTER (WHERE {recent})' * (w.catalog == 'pg_attribute')}, "
        f"sum(hash_record(ROW(ctid, xmin))) FILTER (WHERE {recent}) FROM {w.catalog} WHERE {w.where}"
        for w in WATCHED
        if version // 10000 >= w.since and not w.restricted
    ]
    # pg_authid may be read by superusers only; the view shows all of it but the passwords.
    roles = "oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls"
    parts.append(
        f"SELECT 'pg_roles', count(*), sum(hash_record(ROW({roles}, rolconnlimit, rolvaliduntil))) FROM pg_roles"
    )
    columns = [part for part in parts if part.startswith("SELECT 'pg_attribute'")]
    hanging = [part for part in parts if " temporary" in part and part not in columns]
    others = [part for part in parts if part not in (*hanging, *columns)]
    return [
        " UNION ALL ".join(others),
        *(f"{TEMPORARY} {' UNION ALL '.join(some)}" for some in (hanging, columns)),
    ]


@cache
def _touched_sql(version: int, catalogs: frozenset[str]) -> str:
    """Rows of *catalogs* written since some transaction; those of temporary objects lead to no fact."""
    recent = "age(xmin) <= (SELECT age(%(since)s::text::xid))"  # far quicker than to look it up in a list
    parts = [
        f"SELECT '{w.catalog}', {w.classid}::oid, {w.oid}, {w.subid}::int4, {w.anchor or w.oid}, xmin, {w.kinds} "
        f"FROM {w.catalog} WHERE {recent} AND ({w.where})"
        for w in WATCHED
        if version // 10000 >= w.since and w.catalog in catalogs
    ]
    return f"WITH temporary AS (SELECT 0::oid AS oid WHERE false) {' UNION ALL '.join(parts)}"


def _unmodelled_sql(catalogs: Iterable[str], major: int) -> str:
    """What users made and no kind describes, by pg_identify_object's own name for it: kind, count, examples."""
    covered = {*CATALOGS, *PART_CATALOGS}
    # Large objects are described in one catalog and addressed through another.
    address = {"pg_largeobject_metadata": "pg_largeobject"}
    sources = [
        f"SELECT '{address.get(name, name)}'::regclass::oid AS classid, oid FROM {name} WHERE oid >= 16384"
        for name in catalogs
        if name not in covered
    ]
    if (
        major > NEWEST
    ):  # there may be new sorts of relations, types, constraints and routines in known catalogs
        sources += [
            "SELECT 1259::oid, oid FROM pg_class WHERE oid >= 16384 AND relkind <> ALL('{r,p,v,m,f,S,i,I,c,t}')",
            "SELECT 1247::oid, oid FROM pg_type WHERE oid >= 16384 AND typtype <> ALL('{b,c,d,e,r,m,p}')",
            "SELECT 2606::oid, oid FROM pg_constraint WHERE oid >= 16384 AND contype <> ALL('{c,f,n,p,t,u,x}')",
            "SELECT 1255::oid, oid FROM pg_proc WHERE oid >= 16384 AND prokind <> ALL('{f,p,w,a}')",
        ]
    return f"""
        SELECT i.type, count(*)::int4, (array_agg(i.identity ORDER BY u.oid))[1:3]
        FROM ({" UNION ALL ".join(sources)}) AS u(classid, oid),
             LATERAL pg_identify_object(u.classid, u.oid, 0) AS i
        GROUP BY i.type ORDER BY i.type"""


# --- a session ---------------------------------------------------------------------------------------------


@dataclass
class _Result:
    """What one statement returned, and the definitions by oid, where the kind shares them."""

    names: list[str]
    types: list[int]
    rows: list[tuple[Any, ...]]
    error: psycopg.Error | None = None
    definitions: dict[int, str | None] = field(default_factory=dict)

    @property
    def packed(self) -> bool:
        """Whether a row stands for several objects."""
        return bool(self.rows) and self.types[self.names.index("oid")] == _BYTES

    def each(self, name: str, rows: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """A column that is no attribute, with one value per object of *rows*."""
        place = self.names.index(name)
        values = [*map(itemgetter(place), rows)]
        if not self.packed:
            return values
        if self.types[place] == _BYTES:
            return sum(map(_numbers, values), array("I"))
        if self.types[place] == _TEXT_ARRAY:
            return [*chain.from_iterable(map(acl.array, values))]
        return [*chain.from_iterable(map(repeat, values, self.sizes(rows)))]

    def sizes(self, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """How many objects each of packed *rows* stands for."""
        if not self.packed:
            return [1] * len(rows)
        place = self.names.index("oid")
        return [len(_numbers(row[place])) for row in rows]


def _numbers(sent: bytes) -> array[int]:
    """The elements of what ``array_send()`` gives of four-byte integers: a header of five words, then length and value
    of each (arrayfuncs.c). Far quicker than text, for the server, too."""
    words = array("I", sent)
    if sys.byteorder == "little":
        words.byteswap()
    return words[6::2]


class _Quoted(dict[str, str]):
    """Name → quote_ident(name), without asking the server a hundred thousand times."""

    def __init__(self, reserved: frozenset[str]) -> None:
        super().__init__()
        self.reserved = reserved

    def __missing__(self, name: str) -> str:
        if name.isascii() and name.isidentifier() and name.islower() and name not in self.reserved:
            quoted = name
        else:
            quoted = '"' + name.replace('"', '""') + '"'
        self[name] = quoted
        return quoted


@dataclass
class _Server:
    """What is asked once per connection."""

    version: int
    reads_roles: bool  # may read pg_authid
    quoted: _Quoted
    plans_kept: bool = False  # prepared statements keep their first plan: planning takes longer than running
    prepared: dict[str, str] = field(default_factory=dict)  # statement → its name on the server
    cursor: psycopg.Cursor[Any] | None = None  # for those: to make one takes a while


_SERVERS: WeakKeyDictionary[Connection, _Server] = WeakKeyDictionary()
_RESERVED: dict[int, frozenset[str]] = {}  # major version → words
_OID_CATALOGS: dict[int, list[str]] = {}


def _server(connection: Connection) -> _Server:
    server = _SERVERS.get(connection)
    if server is None:
        from psycopg.types.numeric import IntLoader

        connection.adapters.register_loader(_XID, IntLoader)
        version = connection.info.server_version
        major = version // 10000
        if major < OLDEST:
            raise Unreadable(f"PostgreSQL {major} is not supported; auditkit reads {OLDEST} to {NEWEST}")
        readable, words = connection.execute(
            "SELECT has_table_privilege(1260::oid, 'SELECT'), "
            + ("NULL" if major in _RESERVED else
               "(SELECT array_agg(word) FROM pg_get_keywords() WHERE catcode <> 'U')")
        ).fetchone() or (False, [])  # fmt: skip
        reserved = _RESERVED.setdefault(major, frozenset(words or ()))
        server = _SERVERS[connection] = _Server(version, bool(readable), _Quoted(reserved))
    return server


def _cursor(connection: Connection) -> psycopg.Cursor[Any]:
    """A cursor that leaves arrays as text: equal rows are then found by hashing, before anything is parsed."""
    from psycopg.types.string import TextLoader

    cursor = connection.cursor()
    cursor.adapters.register_loader(_TEXT_ARRAY, TextLoader)
    cursor.adapters.register_loader(_ACL, TextLoader)
    return cursor


def _result(cursor: psycopg.Cursor[Any]) -> _Result:
    result = cursor.pgresult  # cursor.description would build an object per column
    assert result is not None
    columns = range(result.nfields)
    names = [(result.fname(i) or b"").decode() for i in columns]
    return _Result(names, [result.ftype(i) for i in columns], cursor.fetchall())


Statement = tuple[str, dict[str, Any] | None]
Job = Callable[..., None]  # takes the session to use, by keyword


def _oids(numbers: Iterable[int]) -> str:
    """Numbers as an array literal: psycopg would look at each of them to choose a type."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _run_prepared(connection: Connection, statements: Sequence[Statement]) -> list[_Result]:
    """Run statements whose parameters are numbers and arrays of numbers, all in one message.

    A pipeline sends six messages for each statement, which takes longer than to run one for a few objects.
    """
    server = _server(connection)
    prepared, calls = server.prepared, []
    for sql, parameters in statements:
        if sql not in prepared:
            places = {name: f"${i}" for i, name in enumerate(parameters or (), 1)}
            name = f"auditkit_{len(prepared)}"
            connection.execute(f"PREPARE {name} AS {sql % places}", prepare=False)
            prepared[sql] = name
        values = ", ".join(f"'{value}'" for value in (parameters or {}).values())
        calls.append(f"EXECUTE {prepared[sql]} {values and f'({values})'}")
    cursor = server.cursor = server.cursor or _cursor(connection)
    cursor.execute("; ".join(calls), prepare=False)
    results = [_result(cursor)]
    while cursor.nextset():
        results.append(_result(cursor))
    return results


def _run(
    connection: Connection, statements: Sequence[Statement], *, prepare: bool = False, locking: bool = False
) -> list[_Result]:
    """Run statements in one round trip; *locking* ones each in a transaction of its own, *prepare* ones in one.

    A statement that fails gives a result with ``error``; the others are run all the same.
    """
    import psycopg

    if len(statements) > 1 and connection.autocommit:
        try:
            if prepare:
                return _run_prepared(connection, statements)
            cursors = []
            with connection.pipeline() as pipeline:
                for sql, parameters in statements:
                    cursor = _cursor(connection)
                    cursor.execute(sql, parameters)
                    if locking:
                        pipeline.sync()  # ends the transaction, hence releases the locks
                    cursors.append(cursor)
            return [_result(cursor) for cursor in cursors]
        except (psycopg.errors.Error, psycopg.errors.PipelineAborted):
            if connection.closed:
                raise
    results = []
    for sql, parameters in statements:
        try:
            results.append(_result(_cursor(connection).execute(sql, parameters, prepare=prepare)))
        except psycopg.Error as error:
            if connection.closed or not connection.autocommit:
                raise
            results.append(_Result([], [], [], error))
    return results


@dataclass
class _Report:
    """What stood in the way of reading.

    ``unreadable`` says of which kind, identity (also: of the parent) and attribute nothing is known, None meaning
    all, so that comparing takes it neither for missing nor for changed. ``torn`` calls for another attempt.
    """

    not_checked: list[dict[str, str]] = field(default_factory=list)
    unreadable: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    torn: set[str] = field(default_factory=set)
    failed: bool = False

    def failure(self, group: Sequence[Kind], error: psycopg.Error) -> None:
        """A query did not run."""
        what, why = " and ".join(kind.name for kind in group), reason(error)
        if error.sqlstate == "XX000":  # a deparser met an object that is just being dropped
            self.torn.add(what)
            return
        denied = error.sqlstate == "42501"
        self.failed |= not denied
        fix = (
            "grant the audit role SELECT on it"
            if denied
            else "run the audit again; if it persists, report it"
        )
        self.not_checked.append({"what": what, "why": why, "fix": fix})
        self.unreadable += [(kind.name, None, None) for kind in group]

    def locked(self, kind: str, identity: str, attribute: str | None) -> None:
        """Another session holds a lock that reading would have to wait for."""
        self.failed = True
        why = "another session holds a lock on it or on a table it uses"
        fix = "run the audit again when that session is done"
        note = {"what": f"{attribute or 'everything'} of {kind} {identity}", "why": why, "fix": fix}
        if note not in self.not_checked:
            self.not_checked.append(note)


# --- building facts ----------------------------------------------------------------------------------------


class _Builder:
    """Turns rows into tables of facts."""

    def __init__(self, server: _Server, report: _Report, only: Collection[int] | None = None) -> None:
        self.server = server
        self.report = report
        self.only = only
        self.tables: dict[str, Table] = {}
        self.names: dict[str, dict[int, tuple[str | None, str | None, str]]] = defaultdict(dict)
        self.definitions: dict[str, dict[int, str | None]] = defaultdict(dict)
        self.handed_out: Counter[str] = Counter()
        #: Rows that facts are made of at the end, and by catalog the oids that then will have names.
        self.waiting: list[tuple[Sequence[Kind], _Result]] = []
        self._coming: dict[str, set[int]] = defaultdict(set)
        self._shared: dict[Any, Any] = {}
        #: The same for the attributes of facts: kind by kind, as 1 equals True.
        self._alike: dict[str, dict[tuple[Value, ...], tuple[Value, ...]]] = defaultdict(dict)
        self._lock = threading.Lock()

    def add(self, group: Sequence[Kind], result: _Result) -> None:
        """Take the rows of a query that one or several kinds share."""
        if not result.rows:
            return
        with self._lock:
            if len(group) == 1:
                self._add(group[0], result, result.rows)
                return
            by_kind: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
            place = result.names.index("kind")
            for row in result.rows:
                by_kind[row[place]].append(row)
            for kind in group:
                if kind.name in by_kind:
                    self._add(kind, result, by_kind[kind.name])

    def keep(self, group: Sequence[Kind], result: _Result) -> None:
        """Take such rows, and make facts of them when all have come."""
        self.waiting.append((group, result))
        if result.rows and any(kind.name in _PARENT_KINDS for kind in group):
            self._coming[group[0].catalog].update(result.each("oid", result.rows))

    def _add(self, kind: Kind, result: _Result, rows: list[tuple[Any, ...]]) -> None:
        share, once = self._shared.setdefault, self._alike[kind.name].setdefault
        own: dict[str, Sequence[Any]] = dict(zip(result.names, _columns(rows), strict=True))
        columns = own
        if result.packed:
            columns = {name: result.each(name, rows) for name in own if not is_attribute(name)}
        if kind.shares_definitions and "definition" not in own:
            own["definition"] = [*map(result.definitions.get, own["oid"])]
        oids = columns["oid"]
        empty: list[Any] = [None] * len(oids)
        subids = columns.get("subid", [0] * len(oids))
        self._convert(kind, result, own)
        attributes = [name for name in own if is_attribute(name)]
        if kind.ordinal:
            columns.setdefault("parent", oids)
        if kind.name not in self.tables:
            own_names = (*attributes, *((kind.ordinal,) if kind.ordinal else ()))
            asked_later = ("definition",) if self.apart(kind) else ()
            self.tables[kind.name] = Table(kind.name, (*own_names, *asked_later, *COMMON))
        table, start = self.tables[kind.name], len(self.tables[kind.name])
        if any(None in own.get(name, ()) for name in kind.never_null):
            self.report.torn.add(f"{kind.name} definitions")
        shown = [*zip(*(own[name] for name in attributes), strict=True)] if attributes else [()] * len(rows)
        if kind.ordinal:
            # Of places among siblings there are few, however many columns there are.
            ranks = iter(_ranks(oids, subids))
            for values, size in zip(shown, result.sizes(rows), strict=True):
                places = [*islice(ranks, size)]
                made = {rank: (*values, rank, *_NOT_NOTED) for rank in {*places}}
                made = {rank: once(row, row) for rank, row in made.items()}
                table.values += map(made.__getitem__, places)
        else:
            table.values += [once(row, row) for row in map(tuple.__add__, shown, repeat(_NOT_NOTED))]

        known = self.names[kind.parent_catalog]
        names = columns.get("name", empty)
        quote = self.server.quoted.__getitem__
        quoted = [*map(quote, names)] if "name" in columns else []
        schemas: Sequence[Any] = columns.get("schema", empty)
        identities: list[Any] = [*columns["identity"]] if "identity" in columns else []
        if identities and self.server.version < 170000:
            # JSON became a word of the grammar in 17, and such types have no schema.
            identities = [i and re.sub(r"\bpg_catalog\.json\b", "json", i) for i in identities]
        if kind.identity == "{schema}.{name}":
            identities = [
                f"{schema}.{name}" for schema, name in zip(map(quote, schemas), quoted, strict=True)
            ]
        if kind.name in _PARENT_KINDS and identities:
            entries = (
                (identity, schema, kind.name) for identity, schema in zip(identities, schemas, strict=True)
            )
            self.names[kind.catalog].update(zip(oids, entries, strict=True))
        parents: Sequence[Any] = columns.get("parent", empty)
        if any(type(parent) is int for parent in parents):
            found = [*map(known.get, parents, repeat(_NOBODY))]
            parents = [*map(itemgetter(0), found)]
            schemas = [*map(itemgetter(1), found)] if "schema" not in columns else schemas
        else:
            parents = [*map(share, parents, parents)]
        if "schema" in columns:
            schemas = [*map(share, schemas, schemas)]
        if kind.identity == "{parent}.{name}":
            identities = [f"{parent}.{name}" for parent, name in zip(parents, quoted, strict=True)]
        elif kind.identity == "{name} on {parent}":
            identities = [f"{name} on {parent}" for name, parent in zip(quoted, parents, strict=True)]
        if None in identities or (kind.identity and "parent" in kind.identity and None in parents):
            self.report.torn.add(f"{kind.name} names")
            identities = [identity or "?" for identity in identities]

        table.identities += identities
        table.names += map(share, names, names)
        table.schemas += schemas
        table.parents += parents
        table.oids.extend(oids)
        table.subids.extend(iter(subids))  # not of the same type, if it is an array, too
        table.anchors.extend(columns.get("anchor", oids))
        xmins = columns.get("xmin", empty)
        table.xmins.extend(xmins if None not in xmins else [xid or 0 for xid in xmins])
        origins = columns.get("origin", ())
        for i, origin in enumerate(origins if any(origins) else ()):
            if isinstance(origin, str):
                table.origins[start + i] = origin
            elif origin in known:
                table.origins[start + i] = f"{known[origin][0]}.{quoted[i]}"
        for catalog in (name for name in columns if name.startswith("pg_")):
            written = table.written.setdefault(catalog, {})
            written.update(compress(enumerate(columns[catalog], start), columns[catalog]))

    def _convert(self, kind: Kind, result: _Result, own: dict[str, Sequence[Any]]) -> None:
        """Put attributes in place of what the server calls them."""
        for name, code in zip(result.names, result.types, strict=True):
            if not is_attribute(name) or not any(own[name]):
                continue
            if code == _ACL:
                nothing = [None] * len(own[name])
                about = (own.get(other, nothing) for other in ("acl_type", "acl_owner", "owner"))
                own[name] = [
                    acl.grants(text, letter or kind.acl, holder or owner or "", self.server.version)
                    for text, letter, holder, owner in zip(own[name], *about, strict=True)
                ]
            elif code == _TEXT_ARRAY:
                own[name] = [text if text is None else acl.array(text) for text in own[name]]
        for name in DEPARSED.intersection(own):
            own[name] = [*map(settled, own[name], repeat(name))]

    # -- what can only be asked when the rows are known

    def missing_parents(self, group: Sequence[Kind], result: _Result) -> set[int]:
        """Parents (by oid) that are needed to name the rows and have not been read."""
        catalog = group[0].parent_catalog
        known = self.names[catalog].keys() | self._coming[catalog]
        found: set[int] = set()
        for name in ("parent", "origin", "oid" if group[0].ordinal and "parent" not in result.names else ""):
            if name in result.names:
                values = result.each(name, result.rows)
                found.update(value for value in values if type(value) is int and value and value not in known)
        return found

    def deparse_jobs(self) -> list[tuple[Kind, list[int]]]:
        """Portions of what has to be deparsed in statements of its own, as far as it has not been handed out."""
        jobs = []
        for name, table in self.tables.items():
            if self.apart(KINDS[name]):
                wanted = table.oids[self.handed_out[name] :]
                for i in range(0, len(wanted), VIEWS_PER_STATEMENT):
                    jobs.append((KINDS[name], [*wanted[i : i + VIEWS_PER_STATEMENT]]))
                self.handed_out[name] = len(table)
        return jobs

    def apart(self, kind: Kind) -> bool:
        """Whether definitions are asked for once the rows are known, in short statements: to get one takes locks."""
        return bool(kind.definition) and self.only is None and not kind.shares_definitions

    def finish(
        self,
        comments: Iterable[tuple[Any, ...]],
        members: Iterable[tuple[int, int, str]],
        writers: Iterable[tuple[int, int]] = (),
    ) -> dict[str, Table]:
        """Make facts of what waits; put definitions in that were asked for later, and who wrote each role's row; lay
        comments and extension membership over the facts."""
        for group, result in self.waiting:
            self.add(group, result)
        self.waiting.clear()
        if (roles := self.tables.get("role")) and (wrote := dict(writers)):
            roles.xmins = array("I", [wrote.get(oid, 0) for oid in roles.oids])
        overlay: dict[int, dict[tuple[int, int], list[tuple[str, str | None, int]]]] = defaultdict(dict)
        for classid, oid, subid, text, provider, xid in comments:
            overlay[classid].setdefault((oid, subid), []).append((text, provider, xid))
        member_of: dict[int, dict[int, str]] = defaultdict(dict)
        for classid, oid, extension in members:
            member_of[classid][oid] = extension
        for name in [n for n in KINDS if n in self.tables]:
            kind, table = KINDS[name], self.tables[name]
            if self.apart(kind):
                texts = map(settled, map(self.definitions[name].get, table.oids))
                table.values = [
                    (*row[: -len(COMMON)], text, *_NOT_NOTED)
                    for row, text in zip(table.values, texts, strict=True)
                ]
            if notes := overlay.get(kind.classid):
                self._annotate(table, notes)
            if member_of:
                self._attribute(kind, table, member_of)
        return {name: self.tables[name] for name in KINDS if name in self.tables}

    def _annotate(
        self, table: Table, notes: dict[tuple[int, int], list[tuple[str, str | None, int]]]
    ) -> None:
        wanted = {oid for oid, _ in notes}
        for i in compress(range(len(table)), map(wanted.__contains__, table.oids)):
            if found := notes.get((table.oids[i], table.subids[i])):
                comment = next((text for text, provider, _ in found if provider is None), None)
                labels = tuple(
                    sorted(f"{provider}: {text}" for text, provider, _ in found if provider is not None)
                )
                table.values[i] = (*table.values[i][:-2], comment, labels or None)
                for _, provider, xid in found:
                    table.written.setdefault("pg_seclabel" if provider else "pg_description", {})[i] = xid

    def _attribute(self, kind: Kind, table: Table, member_of: dict[int, dict[int, str]]) -> None:
        own = member_of.get(kind.classid, {})
        if own and not all(table.subids):
            for i, (oid, subid) in enumerate(zip(table.oids, table.subids, strict=True)):
                if oid in own and not subid:
                    table.extensions[i] = own[oid]
        if kind.own_membership:
            return
        inherited: dict[str, str] = {}
        for parent in kind.parents:
            above = self.tables.get(parent)
            if above is not None and above is not table:
                inherited.update(
                    (above.identities[i], extension) for i, extension in above.extensions.items()
                )
        if self.only is not None and not inherited and kind.parents:
            # The parents were not read this time.
            members = member_of.get(CATALOGS[kind.parent_catalog], {})
            found = ((i, members.get(anchor)) for i, anchor in enumerate(table.anchors))
            table.extensions.update((i, e) for i, e in found if e is not None and i not in table.extensions)
        if inherited:
            for i, name in enumerate(table.parents):
                if name in inherited and i not in table.extensions:
                    table.extensions[i] = inherited[name]


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns, as many at a time as the processor's cache holds."""
    columns: list[list[Any]] = [[] for _ in rows[0]]
    for start in range(0, len(rows), 500):
        for column, values in zip(columns, zip(*rows[start : start + 500], strict=True), strict=True):
            column.extend(values)
    return columns


def _ranks(oids: Sequence[int], positions: Sequence[int]) -> Sequence[int]:
    """Positions within each oid without gaps: 1, 2, 4 becomes 1, 2, 3."""
    ranks = positions
    count = Counter(oids)
    gaps = {*compress(oids, map(gt, positions, map(count.__getitem__, oids)))}
    if gaps:
        ranks = [*positions]
        places: dict[int, list[int]] = defaultdict(list)
        for place, oid in enumerate(oids):
            if oid in gaps:
                places[oid].append(place)
        for siblings in places.values():
            for rank, place in enumerate(sorted(siblings, key=positions.__getitem__), 1):
                ranks[place] = rank
    return ranks


# --- reading -----------------------------------------------------------------------------------------------


@cache
def _groups(version: int, kinds: frozenset[str]) -> list[list[Kind]]:
    major = version // 10000
    return [
        group
        for group in _GROUPS.values()
        if major >= group[0].since and any(kind.name in kinds for kind in group)
    ]


def _read(
    connection: Connection,
    groups: Sequence[list[Kind]],
    *,
    only: Collection[int] | None = None,
    known: Collection[int] = (),
    helpers: Sequence[Connection] = (),
    slices: Sequence[tuple[int, int]] = (),
) -> tuple[_Builder, Callable[[], dict[str, Table]], _Report]:
    """Read the kinds of *groups*; with *slices* in portions, by *connection* and its *helpers* at once.

    With *only* what has these oids or anchors; *known* are oids that are likely to be among it.
    Returns what was read, and a function that completes it, for which the server is not needed any more.
    """
    server = _server(connection)
    report = _Report()
    builder = _Builder(server, report, only)
    # Sessions fetch, one more thread makes facts of the rows: the server does not wait for Python.
    desk = ThreadPoolExecutor(1)  # has no thread before it has work
    added: list[Future[None]] = []
    named: list[Future[None]] = []
    restricted = only is not None
    # 0 stands for what is cluster-wide, and is no condition: those are read together.
    parameters = {"only": _oids(oid for oid in only if oid)} if only is not None else None

    def statement(group: Sequence[Kind], portion: tuple[int, int] | None = None) -> Statement:
        query = render(group[0].query, server.version, only=restricted, slice=portion)
        if restricted and group[0].definition:
            # Nobody waits for our locks, and to find out which ones read alike pays where there are many.
            text = f"{group[0].definition}(q.oid)"
            if group[0].shares_definitions:
                text = f"CASE WHEN q.head IS NOT NULL THEN {text} END"
            query = f"SELECT q.*, {text} AS definition FROM ({query}) AS q"
        return query, parameters

    def take(
        group: Sequence[Kind],
        result: _Result,
        session: Connection = connection,
        portion: tuple[int, int] | None = None,
    ) -> None:
        if not restricted:
            result = _defined(session, group[0], result, report)
        if result.error is not None and result.error.sqlstate == _LOCK_TIMEOUT:
            result = _around_locks(session, server, group, portion, report)
            result = _defined(session, group[0], result, report)
        if result.error is not None:
            report.failure(group, result.error)
            return
        missing = builder.missing_parents(group, result) if restricted else set()
        if missing:
            catalog = group[0].parent_catalog
            query = {"catalog": CATALOGS[catalog], "oids": _oids(missing)}
            for oid, *entry in _run(session, [(_PARENTS, query)], prepare=True)[0].rows:
                builder.names[catalog][oid] = (entry[0], entry[1], entry[2])
        if slices:
            added.append(desk.submit(builder.add, group, result))
        elif restricted:
            builder.keep(group, result)
        else:
            builder.add(group, result)

    def read(
        groups: Sequence[list[Kind]],
        after: Sequence[Future[None]] = (),
        *,
        session: Connection,
        portion: tuple[int, int] | None = None,
    ) -> None:
        # One after the other: what libpq holds of one result is freed when the next arrives.
        for group in groups:
            result = _run(session, [statement(group, portion)])[0]
            _wait(after)
            take(group, result, session, portion)

    def read_named(groups: Sequence[list[Kind]], read_all: Future[None], *, session: Connection) -> None:
        try:
            read(groups, session=session)
        finally:
            read_all.set_result(None)

    def notes(on: Collection[int]) -> list[Statement]:
        parameters = {"only": _oids(on)} if restricted else None
        return [(render(sql, server.version, only=restricted), parameters) for sql in (_COMMENTS, _MEMBERS)]

    noted = {*(only or ()), *known}
    about = notes(noted)
    if server.reads_roles and any(kind.name == "role" for group in groups for kind in group):
        about.append(("SELECT oid, xmin FROM pg_authid", None))
    if slices:
        sessions = (connection, *helpers)
        big = [group for group in groups if "{slice " in group[0].query]
        rest = [group for group in groups if group not in big]
        parents = [group for group in rest if any(kind.name in _PARENT_KINDS for kind in group)]
        related = [group for group in parents if any(kind.parents for kind in group)]
        alone = [group for group in rest if not any(kind.parents for kind in group)]
        rest = [group for group in rest if group not in (*related, *alone)]

        def jobs() -> Iterator[Job]:
            # First what others take their names from, and are not made facts of before.
            for first in (related, *([group] for group in alone)):
                named.append(Future())
                yield partial(read_named, first, named[-1])
            # A session that has seen a table reads what hangs on it at half the price: one slice, one session.
            yield from (partial(read, big, named, portion=portion) for portion in slices)
            yield partial(read, rest, named)
            _wait(added)
            yield from (partial(_deparse, jobs=[job], builder=builder) for job in builder.deparse_jobs())

        _share_out(jobs(), sessions)
        results = _run(connection, about)
        _wait(added)
    else:
        results = _run(connection, [*map(statement, groups), *about], prepare=restricted)
        for group, result in zip(groups, results, strict=False):
            take(group, result)
        results = results[len(groups) :]
        seen: set[int] = set()
        for _, result in builder.waiting:
            for name in {"oid", "anchor"}.intersection(result.names if result.rows else ()):
                seen.update(result.each(name, result.rows))
        if not seen <= noted:
            results[:2] = _run(connection, notes(seen), prepare=True)

    for result in results:
        if result.error is not None:
            raise result.error
    _deparse(connection, builder.deparse_jobs(), builder)
    return builder, partial(builder.finish, *(result.rows for result in results)), report


def _share_out(jobs: Iterable[Job], sessions: Sequence[Connection]) -> None:
    """Do the jobs in their order, each in the next session that is free."""
    queue = iter(jobs)
    lock = threading.Lock()

    def work(session: Connection) -> None:
        while True:
            with lock:
                job = next(queue, None)
            if job is None:
                return
            job(session=session)

    with ThreadPoolExecutor(len(sessions)) as pool:
        _wait([pool.submit(work, session) for session in sessions])


def _wait(jobs: Iterable[Future[None]]) -> None:
    for job in jobs:
        job.result()


def _around_locks(
    connection: Connection,
    server: _Server,
    group: Sequence[Kind],
    portion: tuple[int, int] | None,
    report: _Report,
) -> _Result:
    """Read a kind without what is locked exclusively; what was left out is named, and not waited for."""
    locked = _run(connection, [(_LOCKED, None)])[0].rows
    for _, identity in locked:
        for kind in group:
            report.unreadable.append((kind.name, identity, None))
        report.locked("relation", identity, None)
    query = render(group[0].query, server.version, slice=portion, without=True)
    return _run(connection, [(query, {"without": _oids(oid for oid, _ in locked)})])[0]


def _deparsing(kind: Kind, oids: Iterable[int]) -> Statement:
    return f"SELECT o::oid, {kind.definition}(o) FROM unnest(%(oids)s::oid[]) o", {"oids": _oids(oids)}


def _defined(connection: Connection, kind: Kind, result: _Result, report: _Report) -> _Result:
    """Add the definitions of rows that share them: to deparse one, the server first collects all it knows of the
    table, which takes far longer than to find out that another table's text will do.

    A definition is the row's ``head`` and the rest, which it has in common with rows like it; or all of ``head``.
    """
    if result.error is not None or not kind.shares_definitions or not result.rows:
        return result
    likeness = itemgetter(*(i for i, name in enumerate(result.names) if name.startswith("like_")))
    head, oid = result.names.index("head"), result.names.index("oid")
    defined = [(row[oid], row[head], likeness(row)) for row in result.rows if row[head] is not None]
    whole = (None,) * len(defined[0][2]) if defined else ()
    result.definitions = {number: text for number, text, key in defined if key == whole}
    rows = [row for row in defined if row[2] != whole]
    firsts: dict[tuple[Any, ...], tuple[int, str]] = {}
    for number, start, key in rows:
        firsts.setdefault(key, (number, start))
    texts = _run(connection, [_deparsing(kind, (number for number, _ in firsts.values()))])[0]
    if texts.error is not None:
        return texts
    found = dict(texts.rows)
    if None in found.values():
        report.torn.add(f"{kind.name} definitions")
        return result
    ends = {key: found[number][len(start) :] for key, (number, start) in firsts.items()}
    result.definitions |= {number: start + ends[key] for number, start, key in rows}
    return result


def _deparse(
    session: Connection,
    jobs: Sequence[tuple[Kind, list[int]]],
    builder: _Builder,
) -> None:
    """Fetch the texts that take locks, in short statements; what stays locked is named, not waited for."""
    if not jobs:
        return

    results = _run(session, [_deparsing(*job) for job in jobs], locking=True)
    for (kind, oids), result in zip(jobs, results, strict=True):
        texts = builder.definitions[kind.name]
        texts.update((row[0], row[1]) for row in result.rows)
        if result.error is not None:
            for oid in oids:
                _deparse_one(session, kind, oid, _deparsing(kind, [oid]), builder)
        if None in texts.values():
            builder.report.torn.add(f"{kind.name} definitions")


def _deparse_one(
    connection: Connection, kind: Kind, oid: int, statement: Statement, builder: _Builder
) -> None:
    for attempt in range(ATTEMPTS):
        result = _run(connection, [statement])[0]
        if result.error is None:
            builder.definitions[kind.name].update((row[0], row[1]) for row in result.rows)
            return
        if result.error.sqlstate != _LOCK_TIMEOUT:
            builder.report.failure([kind], result.error)
            return
        time.sleep(0.05 * 2**attempt)
    table = builder.tables[kind.name]
    identity = table.identities[table.oids.index(oid)]
    builder.report.unreadable.append((kind.name, identity, "definition"))
    builder.report.locked(kind.name, identity, "definition")


# --- the public functions ----------------------------------------------------------------------------------


def capture(
    source: str | Connection,
    *,
    name: str | None = None,
    kinds: Collection[str] | None = None,
    edges: bool = True,
    workers: int = 2,
    conninfo: str | None = None,
) -> Snapshot:
    """Read the catalog of a database, guarded against changes made meanwhile.

    Args:
        source: a connection string, or an autocommit connection made by ``auditkit.connect.connect``.
        name: the environment's name.
        kinds: names of the kinds to read; all by default.
        edges: whether to read dependencies too (``Snapshot.edges``, ``holders``, ``dependents``).
        workers: most sessions to use at once; more than one only for big databases.
        conninfo: where further sessions connect to, if *source* is a connection.

    Returns:
        A snapshot; ``manifest["status"]`` is ``incomplete`` when the catalog never stood still.

    Raises:
        ConnectionFailed: the database cannot be reached.
        Unreadable: the server is older than PostgreSQL 14, or stopped answering.
    """
    import psycopg

    connection = connect(source, name=name) if isinstance(source, str) else source
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of tuples and not one cycle
    try:
        more = source if isinstance(source, str) else conninfo
        return _capture(connection, more, name, kinds, edges, workers)
    except psycopg.Error as error:
        raise Unreadable(
            f"{name or 'the database'}: cannot be read: {reason(error)}; run the audit again"
        ) from None
    finally:
        if collecting:
            gc.enable()
        if isinstance(source, str):
            connection.close()


def _capture(
    connection: Connection,
    more: str | None,
    name: str | None,
    kinds: Collection[str] | None,
    edges: bool,
    workers: int,
) -> Snapshot:
    server = _server(connection)
    version, major = server.version, server.version // 10000
    moment, big = _polite(connection)
    since = {"since": int(moment.partition(":")[0]) % 2**32}
    guard: list[Statement] = [(sql, since) for sql in _guard_sql(version)]
    helpers: list[Connection] = []
    not_checked: list[dict[str, str]] = []
    try:
        while big and more is not None and len(helpers) < workers - 1:
            helpers.append(connect(more, name=name))
            _server(helpers[-1])
            _polite(helpers[-1])
        first: list[Statement] = [(render(_SERVER, version), None)]
        if big:
            first.append((_THOUSANDS, None))
        if major not in _OID_CATALOGS:
            first.append((_CATALOGS_WITH_OIDS, None))
        # To look for recent columns takes longest, and is not needed where no transaction ends meanwhile.
        before, (about, *more_about) = _guarded((connection, *helpers), guard[:-1], *first)
        before.add(("pg_attribute", 0, None))
        slices = _slices([row[0] for row in more_about.pop(0).rows]) if big else []
        for result in more_about:
            _OID_CATALOGS[major] = [row[0] for row in result.rows]
        for attempt in range(ATTEMPTS):
            counts: Counter[str] = Counter()
            for catalog, count, _ in before:
                counts[catalog] += count
            groups = [
                g
                for g in _groups(version, frozenset(KINDS if kinds is None else kinds))
                if _may_exist(g, counts)
            ]
            _, finish, report = _read(connection, groups, helpers=helpers, slices=slices)
            last: list[Statement] = [
                (_unmodelled_sql(_OID_CATALOGS[major], major), None),
                (_MOMENT, None),
            ]
            if edges:
                last.insert(0, (_EDGES, None))
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(_run, connection, last)
                tables = finish()
                *dependencies, unmodelled, now = waiting.result()
            for result in (*dependencies, unmodelled, now):
                if result.error is not None:
                    raise result.error
            # Where no transaction has ended, nothing has changed. (A standby does not tell which ones run.)
            quiet = now.rows[0][0] == moment and not about.rows[0][7]
            after = before if quiet else _guarded((connection, *helpers), guard)[0]
            moment = now.rows[0][0]
            moved = sorted({row[0] for row in before ^ after})
            if not moved and not report.torn:
                break
            before = after
            if attempt < ATTEMPTS - 1:
                time.sleep(0.1 * 4**attempt)
        status = "incomplete" if moved or report.torn or report.failed else "complete"
        if moved or report.torn:
            what = ", ".join([*moved, *sorted(report.torn)])
            why = f"the schema was being changed: {what} differed before and after reading, {ATTEMPTS} times"
            not_checked.append(
                {
                    "what": "the catalog as a whole",
                    "why": why,
                    "fix": "run the audit again when no migration is running",
                }
            )
    finally:
        for helper in helpers:
            helper.close()
        if not connection.closed and connection.autocommit:
            names = ", ".join(f"'{name}'" for name in _WHERE_LARGE)
            connection.execute(
                f"SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ({names})"
            )
    not_checked += report.not_checked
    if "user mapping" in tables and not about.rows[0][10]:
        why, fix = "only their owners and superusers may read them", "audit as a superuser, or do without"
        not_checked.append({"what": "options of user mappings", "why": why, "fix": fix})
        report.unreadable.append(("user mapping", None, "options"))
    if major > NEWEST:
        what, why = f"what is new in PostgreSQL {major}", f"auditkit knows catalogs up to version {NEWEST}"
        not_checked.append({"what": what, "why": why, "fix": "upgrade auditkit"})
    row = about.rows[0]
    manifest: dict[str, Any] = {
        "format": "auditkit.snapshot",
        "name": name or row[1],
        "server": f"PostgreSQL {row[0]}",
        "server_version": version,
        "database": row[1],
        "role": row[2],
        "captured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "status": status,
        "not_checked": not_checked,
        "unreadable": [list(entry) for entry in report.unreadable],
        "environment": {
            "encoding": row[3],
            "collate": row[4],
            "ctype": row[5],
            "locale_provider": {"c": "libc", "i": "icu", "b": "builtin"}.get(row[6], row[6]),
            "standby": row[7],
            "next_xid": int(now.rows[0][0].split(":")[1]),
            **row[11],
        },
        "unmodelled": [
            {"kind": kind, "count": count, "examples": list(acl.array(examples))}
            for kind, count, examples in unmodelled.rows
        ],
    }
    return Snapshot(manifest, tables, _edges(dependencies[0]) if edges else None)


def _polite(connection: Connection) -> tuple[str, bool]:
    """No worker processes and no compilation for our queries: the server's cores are others'.

    Where the catalogs are large, hash joins: without statistics, as on a shadow and after a restore, the planner takes
    catalogs for nearly empty and reads one over and over (11 s instead of 2 for 1,500 tables). And a portion of one is
    looked up, and not picked out of all of it: they are in memory.

    Returns which transactions are over, as text, and whether there may be more than ``BIG`` columns.
    """
    large = ", ".join(
        f"set_config('{name}', CASE WHEN pg_relation_size(1249::oid) > {_LARGE} THEN '{value}' "
        f"ELSE current_setting('{name}') END, false)"
        for name, value in _WHERE_LARGE.items()
    )
    row = connection.execute(
        f"{_MOMENT}, pg_relation_size(1249::oid), "
        f"set_config('max_parallel_workers_per_gather', '0', false), set_config('jit', 'off', false), {large}"
    ).fetchone()
    assert row
    return str(row[0]), row[1] > BIG * 140  # bytes of a row of pg_attribute


def _guarded(
    sessions: Sequence[Connection], guard: Sequence[Statement], *more: Statement
) -> tuple[set[tuple[Any, ...]], list[_Result]]:
    """The rows of the guard, its statements shared out among the sessions, and the results of *more*."""
    statements = [*guard, *more]
    shares = [statements[i :: len(sessions)] for i in range(len(sessions))]
    with ThreadPoolExecutor(len(sessions)) as pool:
        shared = list(pool.map(_run, sessions, shares))
    results = [shared[i % len(sessions)][i // len(sessions)] for i in range(len(statements))]
    for result in results:
        if result.error is not None:
            raise result.error
    rows = {row for result in results[: len(guard)] for row in result.rows}
    return rows, results[len(guard) :]


def _may_exist(group: Sequence[Kind], counts: dict[str, int]) -> bool:
    return any(kind.always or counts.get(kind.catalog, 1) for kind in group)


def _slices(thousands: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of oids with about ``SLICE`` columns each; none if there are not more than ``BIG``."""
    if len(thousands) * 1000 <= BIG:
        return []
    portions = max(2, len(thousands) * 1000 // SLICE)
    bounds = (thousands[len(thousands) * i // portions] for i in range(1, portions))
    return list(pairwise([16384, *bounds, 2**32 - 1]))


def _edges(result: _Result) -> Edges:
    edges = Edges()
    if result.rows:
        *columns, types = zip(*result.rows, strict=True)
        for kept, column in zip(edges.columns, columns, strict=True):
            kept.extend(column)
        edges.types.extend(types)
    return edges


@dataclass(frozen=True)
class Touched:
    """Catalog rows written by some transactions: ``(catalog, classid, oid, subid, anchor, xmin, kinds)`` each.

    False if there are none. ``anchors`` are the oids to read again, with 0 for what is cluster-wide.
    """

    rows: tuple[tuple[str, int, int, int, int, int, str | None], ...]

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def anchors(self) -> set[int]:
        """What ``read_facts`` has to read again."""
        return {0, *(row[4] for row in self.rows), *(row[2] for row in self.rows)}

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds ``read_facts`` reads again: of an anchor's facts, those of other kinds are as they were.

        Unless something was renamed, which changes what mentions it; and which roles count as used can change
        without a row of theirs, so that cluster-wide kinds are then not among them.
        """
        parts = {(catalog, classid, kinds) for catalog, classid, _, _, _, _, kinds in self.rows}
        return frozenset().union(*(_kinds_of(*part) for part in parts))


@cache
def _kinds_of(catalog: str, classid: int, kinds: str | None) -> frozenset[str]:
    """The kinds a row of *catalog* is part of: those it names, else those of the object that a comment is on,
    else all whose queries use the catalog."""
    if kinds is not None:
        return frozenset(kinds.split(",")) & KINDS.keys()
    if classid:
        return frozenset(kind.name for kind in KINDS.values() if kind.classid == classid)
    return frozenset(kind.name for kind in KINDS.values() if catalog in kind.sources)


def _keep_plans(connection: Connection, server: _Server) -> None:
    if not server.plans_kept:
        # Plans are made while the catalogs are small, and have to be good for those of the last migration.
        connection.execute(
            "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
            "set_config('enable_seqscan', 'off', false)"
        )
        server.plans_kept = True


def touched(connection: Connection, xids: range, catalogs: Collection[str] | None = None) -> Touched:
    """Catalog rows of users written by the transactions *xids*, the latest there are.

    Deleted rows leave no trace here. Takes a few milliseconds: it reads all user rows of the catalogs that may hold
    some, which *catalogs* names if that is known.
    """
    server = _server(connection)
    _keep_plans(connection, server)
    watched = {w.catalog for w in WATCHED if server.reads_roles or not w.restricted}
    wanted = watched.intersection(watched if catalogs is None else catalogs)
    if "pg_attribute" in wanted:
        wanted.discard("pg_attrdef")  # a default is never written without its column (pg_attrdef.c)
    if not wanted:
        return Touched(())
    query = _touched_sql(server.version, frozenset(wanted))
    rows = _run_prepared(connection, [(query, {"since": xids.start})])[0].rows
    return Touched(tuple(row for row in rows if row[5] in xids))


@dataclass(frozen=True)
class Reading:
    """What was read without a guard. The server is not needed any more, and goes on while facts are made of it."""

    _rows: Sequence[tuple[Sequence[Kind], _Result]]
    _finish: Callable[[], dict[str, Table]]

    def named(self) -> Iterator[tuple[Address, str, str | None, str | None]]:
        """Address, kind, schema and name (or identity) of what has an anchor, as far as its own rows tell."""
        for group, result in self._rows:
            if not result.rows:
                continue

            def column(name: str, else_what: Any, result: _Result = result) -> Iterable[Any]:
                return result.each(name, result.rows) if name in result.names else else_what

            oids = result.each("oid", result.rows)
            anchors, subids = column("anchor", oids), column("subid", repeat(0))
            kinds, schemas = column("kind", repeat(group[0].name)), column("schema", repeat(None))
            names = column("name", column("identity", repeat(None)))
            for oid, subid, anchor, *what in zip(oids, subids, anchors, kinds, schemas, names, strict=False):
                if anchor:
                    yield (group[0].classid, oid, subid), *what

    @cached_property
    def facts(self) -> list[Fact]:
        """All of them."""
        return [table.fact(i) for table in self._finish().values() for i in range(len(table))]


def read_facts(
    connection: Connection,
    kinds: Collection[str] | None = None,
    relations: Collection[int] | None = None,
    *,
    touched: Touched | None = None,
    known: Collection[int] = (),
) -> Reading:
    """Facts as they are now, without a guard: for databases nobody else writes to.

    Args:
        connection: its ``search_path`` must be ``pg_catalog``.
        kinds: names of the kinds to read; all by default.
        relations: oids; only facts whose own oid or anchor (the relation, type or family they belong to) is
            among them are read, and cluster-wide ones (roles, memberships, settings: anchor 0).
        touched: read what these rows are part of: like ``relations=touched.anchors``, and only the kinds that
            can have changed.
        known: oids of what is likely to be read: what was there with such an anchor. Saves a round trip.

    Raises:
        Unreadable: a query failed.
    """
    server = _server(connection)
    _keep_plans(connection, server)
    if touched is not None:
        relations = touched.anchors
        kinds = touched.kinds if kinds is None else touched.kinds.intersection(kinds)
    groups = _groups(server.version, frozenset(KINDS if kinds is None else kinds))
    builder, finish, report = _read(connection, groups, only=relations, known=known)
    if report.not_checked:
        first = report.not_checked[0]
        raise Unreadable(f"{first['what']} cannot be read: {first['why']}")
    return Reading([*builder.waiting], finish)
