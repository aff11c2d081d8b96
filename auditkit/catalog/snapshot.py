"""Facts, and the snapshot that holds them: in memory by column, on disk as one verified file."""

from __future__ import annotations

import io
import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.catalog.kinds import KINDS
from auditkit.errors import SnapshotCorrupt

if TYPE_CHECKING:
    import pandas as pd

#: What an attribute can be; comparable with ``==``.
Value = str | int | bool | None | tuple[str, ...]
Key = tuple[str, str]  # kind, identity
Address = tuple[int, int, int]  # classid, oid, subid

FORMAT = "auditkit.snapshot"
FORMAT_VERSION = 1

#: Attributes every kind has, laid over what its own query returns.
COMMON = ("comment", "security_labels")

_DEPENDENCIES = {"n": "normal", "a": "auto", "i": "internal", "e": "extension", "x": "extension",
                 "P": "partition", "S": "partition"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One object of the catalog.

    Attributes:
        kind, identity: what it is and its name, equal across servers; together its key.
        attributes: everything that is compared.
        classid, oid, subid: its address, which means something on its own server only.
        anchor: oid of the relation, type or family it is read together with (its own, if it stands alone).
        schema, name: unquoted, where it has them.
        parent: identity of what it belongs to; ``Kind.parents`` says of which kind that may be.
        origin: identity of the same thing in a parent table or partitioned table it comes from.
        extension: name of the extension it is a member of.
        rows: catalog → id of the transaction that wrote the object's row there.
    """

    kind: str
    identity: str
    attributes: dict[str, Value]
    classid: int = 0
    oid: int = 0
    subid: int = 0
    anchor: int = 0
    schema: str | None = None
    name: str = ""
    parent: str | None = None
    origin: str | None = None
    extension: str | None = None
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """(kind, identity)."""
        return self.kind, self.identity

    @property
    def address(self) -> Address:
        """(classid, oid, subid)."""
        return self.classid, self.oid, self.subid

    @property
    def xmin(self) -> int | None:
        """The transaction that wrote the main row: of a table its pg_type row, which tells who created it."""
        return self.rows.get(KINDS[self.kind].main_row)

    @property
    def xmins(self) -> frozenset[int]:
        """The transactions that wrote any row the fact is made of."""
        return frozenset(self.rows.values())

    def writer(self, attribute: str | None) -> int | None:
        """The transaction that last wrote the row which holds *attribute* (None: the object as such)."""
        kind = KINDS[self.kind]
        if attribute is None:
            return self.xmin
        catalog = (
            {"comment": "pg_description"}.get(attribute) or kind.written.get(attribute) or kind.attribute_row
        )
        return self.rows.get(catalog, self.xmin)

    def to_json(self) -> list[Any]:
        """As JSON; ``from_json`` gives an equal fact."""
        return [
            self.kind, self.identity, self.attributes, self.classid, self.oid, self.subid, self.anchor,
            self.schema, self.name, self.parent, self.origin, self.extension, self.rows,
        ]  # fmt: skip

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Fact:
        kind, identity, attributes, *rest = data
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
        return cls(kind, identity, values, *rest)

    def describe(self, snapshot: Snapshot | None = None) -> str:
        """The object's definition as SQL where its kind can give it, else its attributes line by line."""
        try:
            statements = KINDS[self.kind].whole(self, snapshot or Snapshot({}, {}))
        except KeyError:  # a snapshot of another version of auditkit may lack an attribute
            statements = []
        if statements:
            return ";\n".join(statements)
        return "\n".join(
            f"{name}: {', '.join(value) if isinstance(value, tuple) else value}"
            for name, value in self.attributes.items()
            if value is not None
        )


@dataclass
class Table:
    """All facts of one kind, by column: an order of magnitude smaller than a list of objects.

    Facts that agree in all attributes share one tuple in ``values``.
    """

    kind: str
    attributes: tuple[str, ...]
    identities: list[str] = field(default_factory=list)
    values: list[tuple[Value, ...]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    schemas: list[str | None] = field(default_factory=list)
    parents: list[str | None] = field(default_factory=list)
    oids: array[int] = field(default_factory=lambda: array("I"))
    subids: array[int] = field(default_factory=lambda: array("i"))
    anchors: array[int] = field(default_factory=lambda: array("I"))
    xmins: array[int] = field(default_factory=lambda: array("I"))  # 0: not known
    origins: dict[int, str] = field(default_factory=dict)  # position → …
    extensions: dict[int, str] = field(default_factory=dict)
    written: dict[str, dict[int, int]] = field(default_factory=dict)  # catalog → position → transaction

    def __len__(self) -> int:
        return len(self.identities)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Identity → position."""
        return {identity: i for i, identity in enumerate(self.identities)}

    def fact(self, i: int) -> Fact:
        """The fact at position *i*."""
        kind = KINDS[self.kind]
        rows = {kind.main_row: self.xmins[i]} if self.xmins[i] else {}
        return Fact(
            kind=self.kind,
            identity=self.identities[i],
            attributes=dict(zip(self.attributes, self.values[i], strict=True)),
            classid=kind.classid,
            oid=self.oids[i],
            subid=self.subids[i],
            anchor=self.anchors[i],
            schema=self.schemas[i],
            name=self.names[i] or "",
            parent=self.parents[i],
            origin=self.origins.get(i),
            extension=self.extensions.get(i),
            rows=rows | {catalog: xids[i] for catalog, xids in self.written.items() if i in xids},
        )


@dataclass
class Edges:
    """Rows of pg_depend as read, seven parallel arrays; resolved to facts when first asked for."""

    columns: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("I") for _ in range(6)))
    types: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.types)

    def __iter__(self) -> Iterator[tuple[Address, Address, str]]:
        for a, b, c, d, e, f, kind in zip(*self.columns, self.types, strict=True):
            yield (a, b, c), (d, e, f), chr(kind)


class Snapshot:
    """All facts, dependency edges and history of one environment at one instant.

    Attributes:
        manifest: plain data about the capture: ``format``, ``name``, ``server`` (text), ``server_version``
            (int), ``database``, ``role``, ``captured_at`` (ISO 8601, UTC), ``status`` (``complete`` or
            ``incomplete``), ``not_checked`` (list of ``{what, why, fix}``), ``environment`` (encoding,
            collation …), ``unmodelled`` (list of ``{kind, count, examples}``), ``unreadable`` (list of
            ``[kind, identity, attribute]``, of which nothing is known; identity also that of the parent, None: all).
        tables: kind → facts by column.
        ledgers: records of the migration ledgers, attached by ``auditkit.history``.
        physical: what rows tell beyond their content, see ``auditkit.catalog.physical``; not compared.
    """

    def __init__(
        self, manifest: dict[str, Any], tables: dict[str, Table], edges: Edges | None = None
    ) -> None:
        self.manifest = manifest
        self.tables = tables
        self.raw_edges = edges or Edges()
        self.ledgers: list[dict[str, Any]] = []
        self.physical: dict[str, Any] = {}
        self._kept: dict[Key, Fact] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))

    @property
    def kinds(self) -> list[str]:
        """The kinds of which there is at least one fact, in the registry's order."""
        return [kind for kind in KINDS if kind in self.tables and len(self.tables[kind])]

    @property
    def unmodelled(self) -> list[dict[str, Any]]:
        """Objects that no kind describes: ``{kind, count, examples}`` each."""
        return list(self.manifest.get("unmodelled", []))

    @property
    def complete(self) -> bool:
        """Whether everything was read and nothing changed meanwhile."""
        return self.manifest.get("status") == "complete"

    def get(self, kind: str, identity: str) -> Fact | None:
        """The fact of that key, or None."""
        if self._kept is not None and (kept := self._kept.get((kind, identity))) is not None:
            return kept
        table = self.tables.get(kind)
        i = table.positions.get(identity) if table is not None else None
        if table is None or i is None:
            return None
        fact = table.fact(i)
        if self._kept is not None:
            self._kept[fact.key] = fact
        return fact

    @contextmanager
    def facts_kept(self) -> Iterator[None]:
        """As long as this lasts, ``get`` makes each fact once only: where the same ones are asked for many times."""
        before, self._kept = self._kept, self._kept or {}
        try:
            yield
        finally:
            self._kept = before

    def iter(self, kind: str | None = None) -> Iterator[Fact]:
        """All facts (of one kind), kind by kind."""
        for name in self.kinds if kind is None else [kind]:
            if table := self.tables.get(name):
                for i in range(len(table)):
                    yield table.fact(i)

    __iter__ = iter

    @cached_property
    def _children(self) -> dict[tuple[str, str], list[int]]:
        children: dict[tuple[str, str], list[int]] = defaultdict(list)
        for kind, table in self.tables.items():
            for i, parent in enumerate(table.parents):
                if parent is not None:
                    children[kind, parent].append(i)
        return children

    def children(self, fact: Fact, kind: str) -> list[Fact]:
        """The facts of *kind* that belong to *fact*: the columns of a table."""
        if fact.kind not in KINDS[kind].parents:
            return []
        return [self.tables[kind].fact(i) for i in self._children.get((kind, fact.identity), ())]

    @cached_property
    def parents_of_tables(self) -> frozenset[str]:
        """Identities of the tables that others inherit from, or are partitions of."""
        found: set[str] = set()
        for kind in ("table", "foreign table"):
            if (table := self.tables.get(kind)) and "inherits" in table.attributes:
                place = table.attributes.index("inherits")
                for values in table.values:
                    if isinstance(parents := values[place], tuple):
                        found.update(parents)
        return frozenset(found)

    @cached_property
    def heirs(self) -> dict[Key, list[Key]]:
        """What child tables and partitions have from each object: the opposite of ``Fact.origin``."""
        found: dict[Key, list[Key]] = defaultdict(list)
        for kind, table in self.tables.items():
            for i, origin in table.origins.items():
                found[kind, origin].append((kind, table.identities[i]))
        return found

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the facts: equal exactly when all kinds, identities and attributes are equal."""
        import hashlib

        digest = hashlib.sha256()
        texts: dict[tuple[Value, ...], str] = {}
        for kind in self.kinds:
            table = self.tables[kind]
            digest.update(repr((kind, table.attributes)).encode())
            lines = []
            for identity, values in zip(table.identities, table.values, strict=True):
                text = texts.get(values)
                if text is None:
                    text = texts[values] = repr(values)
                lines.append(f"{identity}\x00{text}\x01")
            digest.update("".join(sorted(lines)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    # --- dependencies ------------------------------------------------------------------------------------------

    @cached_property
    def addresses(self) -> dict[Address, Key]:
        """Address in this server's catalog → key. Two kinds never share an address that both describe."""
        found: dict[Address, Key] = {}
        for kind, table in self.tables.items():
            classid = KINDS[kind].classid
            for oid, subid, identity in zip(table.oids, table.subids, table.identities, strict=True):
                found.setdefault((classid, oid, subid), (kind, identity))
        return found

    @cached_property
    def _edges(self) -> list[tuple[Key, Key, str]]:
        """(dependent, what it depends on, type) between facts; each pair once.

        Rows between things that are no facts (a view's own rule, a default, a row type, a constraint's
        triggers) count for the fact which they are part of: what they depend on internally, or automatically.
        """
        addresses = self.addresses
        owners: dict[Address, Address] = {}
        for what, on, kind in self.raw_edges:
            if what not in addresses and (kind == "i" or (kind == "a" and what not in owners)):
                owners[what] = on

        def resolve(address: Address) -> Key | None:
            for _ in range(4):
                if address in addresses:
                    return addresses[address]
                if address not in owners:
                    break
                address = owners[address]
            # A column that is no fact of its own (of an index, of a row type) counts for its relation.
            return addresses.get((address[0], address[1], 0)) if address[2] else None

        seen: dict[tuple[Key, Key], str] = {}
        for what, on, kind in self.raw_edges:
            left, right = resolve(what), resolve(on)
            if left and right and left != right:
                word = _DEPENDENCIES.get(kind, kind)
                if seen.setdefault((left, right), word) == "normal":
                    seen[left, right] = word  # a stronger tie beside it
        return [(left, right, kind) for (left, right), kind in seen.items()]

    def holders(self, key: Key) -> set[Key]:
        """What an object hangs on: its parent, what it depends on, its schema."""
        found = set(self._ties.get(key, ()))
        fact = self.get(*key)
        if fact is not None:
            for kind in KINDS[fact.kind].parents:
                if (
                    fact.parent is not None
                    and kind in self.tables
                    and fact.parent in self.tables[kind].positions
                ):
                    found.add((kind, fact.parent))
                    break
        return found - {key}

    def wholes(self, key: Key) -> set[Key]:
        """What an object is a part of: its parent, and what it goes with (a sequence with its column)."""
        found = {on for on, tie in self._ties.get(key, {}).items() if tie in ("auto", "internal")}
        fact = self.get(*key)
        if fact is not None and fact.parent is not None:
            found |= {
                (kind, fact.parent)
                for kind in KINDS[fact.kind].parents
                if kind in self.tables and fact.parent in self.tables[kind].positions
            }
        return found - {key}

    def makers(self, key: Key) -> set[Key]:
        """What an object comes and goes with, as part of its implementation: a range's constructors with the range."""
        return {right for right, kind in self._ties.get(key, {}).items() if kind == "internal"}

    def stands_alone(self, key: Key, whole: Key) -> bool:
        """Whether dropping *whole* is refused as long as *key* is there, rather than taking it along."""
        return self._ties.get(key, {}).get(whole) == "normal"

    @cached_property
    def _ties(self) -> dict[Key, dict[Key, str]]:
        """What each object depends on, and how."""
        found: dict[Key, dict[Key, str]] = defaultdict(dict)
        for left, right, kind in self._edges:
            found[left][right] = kind
        return found

    def dependents(self, key: Key) -> set[Key]:
        """What hangs on an object directly (the opposite of ``holders``, by pg_depend)."""
        return set(self._dependents.get(key, ())) - {key}

    @cached_property
    def _dependents(self) -> dict[Key, set[Key]]:
        found: dict[Key, set[Key]] = defaultdict(set)
        for left, right, _ in self._edges:
            found[right].add(left)
        return found

    # --- DataFrames --------------------------------------------------------------------------------------------

    def table(self, kind: str) -> pd.DataFrame:
        """The facts of one kind, wide: identity, schema, parent, extension, then each attribute."""
        import numpy as np
        import pandas as pd

        from auditkit import frames

        table = self.tables.get(kind) or Table(kind, ())
        columns: dict[str, Any] = {
            "identity": frames.text(table.identities).array,
            "schema": frames.text(table.schemas).array,
            "parent": frames.text(table.parents).array,
            "extension": frames.text([*map(table.extensions.get, range(len(table)))]).array,
        }
        # Facts share their values: convert each distinct tuple once and repeat it; and columns are alike, too.
        codes, ids = pd.factorize(np.fromiter(map(id, table.values), np.intp, len(table)))
        firsts = np.empty(len(ids), np.intp)
        firsts[codes[::-1]] = np.arange(len(codes))[::-1]  # what is written last stays
        distinct = [table.values[first] for first in firsts]
        alike: dict[tuple[Any, ...], Any] = {}
        for n, name in enumerate(table.attributes):
            values = tuple(row[n] for row in distinct)
            key = (*map(type, values), *values)  # 1 equals True
            if key not in alike:
                alike[key] = _array(values).take(codes)
            own = alike[key].copy()  # which costs next to nothing where it is text
            columns[name if name not in columns else f"{name}_"] = own
        return pd.DataFrame(columns, copy=False)

    @property
    def facts(self) -> pd.DataFrame:
        """One row per fact; columns: ``auditkit.frames.FACTS``. ``table(kind)`` has the attributes."""
        import numpy as np
        import pandas as pd

        from auditkit import frames

        tables = [(kind, self.tables[kind]) for kind in self.kinds]

        def text(of: Callable[[str, Table], list[Any]]) -> list[Any]:
            return list(chain.from_iterable(of(kind, table) for kind, table in tables))

        def numbers(of: Callable[[str, Table], Any]) -> Any:
            parts = [np.asarray(of(kind, table), dtype="int64") for kind, table in tables]
            return np.concatenate(parts) if parts else np.array([], dtype="int64")

        xmins = numbers(lambda _, table: table.xmins)
        data: dict[str, Any] = {
            "kind": text(lambda kind, table: [kind] * len(table)),
            "identity": text(lambda _, table: table.identities),
            "schema": text(lambda _, table: table.schemas),
            "name": text(lambda _, table: table.names),
            "parent": text(lambda _, table: table.parents),
            "extension": text(lambda _, table: list(map(table.extensions.get, range(len(table))))),
            "classid": numbers(lambda kind, table: np.full(len(table), KINDS[kind].classid)),
            "oid": numbers(lambda _, table: table.oids),
            "subid": numbers(lambda _, table: table.subids),
            "xmin": pd.arrays.IntegerArray(xmins, xmins == 0),
        }
        return frames.frame(frames.FACTS, data)

    @property
    def edges(self) -> pd.DataFrame:
        """One row per dependency between facts; columns: ``auditkit.frames.EDGES``."""
        from auditkit import frames

        rows = [(*left, *right, kind) for left, right, kind in self._edges]
        data = dict(zip(frames.EDGES, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
        return frames.frame(frames.EDGES, data)

    @property
    def history(self) -> pd.DataFrame:
        """One row per migration in the ledgers; columns: ``auditkit.frames.HISTORY``."""
        from auditkit import frames

        records = (record for ledger in self.ledgers for record in ledger.get("rows", [ledger]))
        return frames.from_records(frames.HISTORY, records)

    @property
    def testimony(self) -> pd.DataFrame:
        """One row per statement that a witness recorded; columns: ``auditkit.frames.TESTIMONY``."""
        from auditkit import frames

        records = self.manifest.get("witnesses", ())
        return frames.from_records(frames.TESTIMONY, (row for record in records for row in record["rows"]))

    def to_sql(self) -> str:
        """The whole schema as SQL that runs in an empty database: ``psql -v ON_ERROR_STOP=1``.

        Raises:
            ServerFailed: no server could be started to ask what an empty database holds.
        """
        from auditkit import to_sql  # through the front door: SQL is written in a room further on

        return to_sql(self)

    # --- one file ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one file: a zip of manifest.json and Parquet tables, with a digest of both."""
        import zipfile

        members = {"manifest.json": self._manifest_bytes()}
        for kind in self.kinds:
            members[f"facts/{kind}.parquet"] = _to_parquet(_arrow_columns(self.tables[kind]))
        edges = [*self.raw_edges.columns, self.raw_edges.types]
        members["edges.parquet"] = _to_parquet({f"c{i}": list(column) for i, column in enumerate(edges)})
        path = Path(path)
        part = path.with_name(path.name + ".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in {"digest": _digest(members).encode(), **members}.items():
                # A fixed date: the same facts give the same bytes.
                file.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        part.replace(path)
        return path

    def _manifest_bytes(self) -> bytes:
        manifest = {
            **self.manifest,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "ledgers": self.ledgers,
            "physical": self.physical,
        }
        return json.dumps(manifest, ensure_ascii=True, indent=1, default=str).encode()

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a cache: quicker than a file, and nothing has to be imported. See ``from_json``."""
        edges = [*self.raw_edges.columns, self.raw_edges.types]
        return {
            "manifest": self.manifest,
            "ledgers": self.ledgers,
            "tables": {kind: _arrow_columns(self.tables[kind]) for kind in self.kinds},
            "edges": [list(column) for column in edges],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        """The snapshot that ``to_json`` gave."""
        tables = {kind: _from_arrow_columns(kind, columns) for kind, columns in data["tables"].items()}
        *columns, types = data["edges"]
        edges = Edges(tuple(array("I", column) for column in columns), bytearray(types))
        snapshot = cls(data["manifest"], tables, edges)
        snapshot.ledgers = data["ledgers"]
        return snapshot

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a file written by ``save``.

        Raises:
            SnapshotCorrupt: it is no snapshot, was cut short, was altered, or is of a newer format.
        """
        import zipfile
        import zlib

        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SnapshotCorrupt(f"{path}: cannot be read ({error.strerror}); check the path") from None
        if not content.startswith(b"PK"):
            raise SnapshotCorrupt(f"{path}: not a snapshot; make one with `auditkit snapshot`")
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                members = {name: file.read(name) for name in file.namelist()}
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,
            NotImplementedError,
            zlib.error,
        ):
            raise SnapshotCorrupt(
                f"{path}: cut short or damaged; capture it again with `auditkit snapshot`"
            ) from None
        digest = members.pop("digest", b"").decode("ascii", "replace")
        if "manifest.json" not in members or not digest:
            raise SnapshotCorrupt(
                f"{path}: a zip file, but not a snapshot; make one with `auditkit snapshot`"
            )
        if digest != _digest(members):
            raise SnapshotCorrupt(
                f"{path}: altered since it was written (its digest differs); capture it again"
            )
        manifest = json.loads(members["manifest.json"])
        if manifest.get("format") != FORMAT:
            raise SnapshotCorrupt(
                f"{path}: a zip file, but not a snapshot; make one with `auditkit snapshot`"
            )
        if int(manifest.get("format_version", 0)) > FORMAT_VERSION:
            raise SnapshotCorrupt(
                f"{path}: written by a newer auditkit (format {manifest['format_version']}); upgrade auditkit"
            )
        ledgers = manifest.pop("ledgers")
        physical = manifest.pop("physical", {})
        fingerprint = manifest.pop("fingerprint")
        tables = {}
        for name, data in members.items():
            if name.startswith("facts/"):
                kind = name[6 : -len(".parquet")]
                tables[kind] = _from_arrow_columns(kind, _from_parquet(data))
        columns = list(_from_parquet(members["edges.parquet"]).values())
        edges = Edges(tuple(array("I", column) for column in columns[:6]), bytearray(columns[6]))
        snapshot = cls(manifest, tables, edges)
        snapshot.ledgers = ledgers
        snapshot.physical = physical
        snapshot.__dict__["fingerprint"] = fingerprint  # the digest vouches for it
        return snapshot


def _digest(members: dict[str, bytes]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}\x00{len(members[name])}\x00".encode())
        digest.update(members[name])
    return digest.hexdigest()


def _array(values: Sequence[Value]) -> Any:
    """As what pandas keeps in a column of such values."""
    import pandas as pd

    from auditkit import frames

    given: list[Any] = [*values]
    types = {type(value) for value in values if value is not None}
    if types <= {str}:
        return frames.text(given).array
    if types == {bool}:
        return pd.array(given, dtype="boolean" if None in values else "bool")
    return pd.array(given, dtype="Int64" if types == {int} else "object")


def _arrow_columns(table: Table) -> dict[str, Any]:
    length = range(len(table))
    columns: dict[str, Any] = {
        "identity": table.identities,
        "name": table.names,
        "schema": table.schemas,
        "parent": table.parents,
        "oid": list(table.oids),
        "subid": list(table.subids),
        "anchor": list(table.anchors),
        "xmin": list(table.xmins),
        "origin": [table.origins.get(i) for i in length],
        "extension": [table.extensions.get(i) for i in length],
    }
    columns |= {f"@{catalog}": [xids.get(i) for i in length] for catalog, xids in table.written.items()}
    values: Iterable[Sequence[Value]] = zip(*table.values, strict=True)
    return columns | {f"={name}": column for name, column in zip(table.attributes, values, strict=True)}


def _from_arrow_columns(kind: str, columns: dict[str, list[Any]]) -> Table:
    attributes = tuple(name[1:] for name in columns if name.startswith("="))
    data = [columns[f"={name}"] for name in attributes]
    data = [[tuple(v) if isinstance(v, list) else v for v in c] if any(isinstance(v, list) for v in c) else c
            for c in data]  # fmt: skip
    shared: dict[tuple[Value, ...], tuple[Value, ...]] = {}
    return Table(
        kind=kind,
        attributes=attributes,
        identities=columns["identity"],
        values=[shared.setdefault(row, row) for row in zip(*data, strict=True)],
        names=columns["name"],
        schemas=columns["schema"],
        parents=columns["parent"],
        oids=array("I", columns["oid"]),
        subids=array("i", columns["subid"]),
        anchors=array("I", columns["anchor"]),
        xmins=array("I", columns["xmin"]),
        origins={i: v for i, v in enumerate(columns["origin"]) if v is not None},
        extensions={i: v for i, v in enumerate(columns["extension"]) if v is not None},
        written={
            name[1:]: {i: v for i, v in enumerate(column) if v is not None}
            for name, column in columns.items()
            if name.startswith("@")
        },
    )


def _to_parquet(columns: dict[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, compression="none")
    return buffer.getvalue()


def _from_parquet(data: bytes) -> dict[str, list[Any]]:
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(io.BytesIO(data)).read()  # read_table would import pandas
    return {name: table.column(name).to_pylist() for name in table.column_names}
