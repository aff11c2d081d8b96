"""What a snapshot will be like once objects have other names, and the statements that give them these names.

PostgreSQL refers to objects by their oids, so all it deparses shows a new name at once: views, constraints, defaults,
triggers. The facts follow here: identities by what they are made of, texts token by token, and only those of objects
that pg_depend says depend on the renamed one. A text that is not rewritten as PostgreSQL would write it differs from
what it shall be, and is closed like any other difference.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace

from auditkit.catalog.belongings import named
from auditkit.catalog.create import not_null_name, usual_not_null_name
from auditkit.catalog.grants import unquote
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import COMMON, Fact, Key, Snapshot, Table, Value
from auditkit.catalog.sql import Sql, last, literal, quote

#: Attributes that are no text of PostgreSQL's own making, so that no name in them follows a rename.
_FIXED = frozenset(
    ("owner", "grants", "options", "toast_options", "foreign_options", "settings", "labels", "initial", *COMMON)
)  # fmt: skip
#: Attributes in which columns are named without their table.
_OF_COLUMNS = frozenset(("definition", "default", "using", "check", "partition_key", "row_filter", "columns"))
_LITERAL = re.compile(r"('(?:[^']|'')*')")
_MOVE_ALONG = ("index", "sequence")
_QUERIES = ("view", "materialized view")
_ROUTINES = ("function", "procedure", "aggregate")


@dataclass(frozen=True)
class Rename:
    """One object that is to have another name, or to be in another schema.

    Attributes:
        key: what it is called now.
        name: its new name; for a label of an enum, that label's.
        evidence: why the two are taken for the same, in a few words.
        schema: its new schema, if that differs.
        label: of an enum: the label that is renamed.
    """

    key: Key
    name: str
    evidence: str
    schema: str | None = None
    label: str | None = None


class Renamed:
    """A copy of a snapshot in which objects are renamed one after the other."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.facts: dict[Key, Fact] = {}  # as they were called → as they are
        self.added: list[Fact] = []
        self.version = int(snapshot.manifest.get("server_version") or 0)

    def fact(self, key: Key) -> Fact:
        """The present state of what was called *key*."""
        found = self.facts.get(key) or self.snapshot.get(*key)
        assert found is not None, key
        return found

    def result(self) -> Snapshot:
        """The snapshot with the new names."""
        tables = dict(self.snapshot.tables)
        changed: dict[str, list[Key]] = defaultdict(list)
        for key in self.facts:
            changed[key[0]].append(key)
        for kind, keys in changed.items():
            tables[kind] = _with(self.snapshot.tables[kind], [self.facts[key] for key in keys], keys)
        for fact in self.added:
            tables[fact.kind] = _with(tables[fact.kind], [fact])
        found = Snapshot(self.snapshot.manifest, tables, self.snapshot.raw_edges)
        found.ledgers = self.snapshot.ledgers
        return found

    # -- renaming

    def rename(self, rename: Rename) -> list[Sql]:
        """Give an object its new name; the statements that do it."""
        fact = self.fact(rename.key)
        if rename.label is not None:
            return self._label(rename, fact)
        statements: list[Sql] = []
        if rename.schema is not None and rename.schema != fact.schema:
            statements.append(
                Sql(f"ALTER {named(fact.kind, fact.identity)} SET SCHEMA {quote(rename.schema)}")
            )
            self._move(rename.key, rename.schema)
            fact = self.fact(rename.key)
        if rename.name == name_of(fact):
            return statements
        statements.append(Sql(_statement(fact, rename.name)))
        names = {key: not_null_name(self.fact(key)) for key in self._named_after(rename.key)}
        self._apply(rename.key, rename.name)
        for key, name in names.items():  # constraints keep theirs
            if name is not None:
                fact = self.fact(key)
                own = None if name == usual_not_null_name(fact) else name
                self.facts[key] = replace(fact, attributes=fact.attributes | {"not_null_name": own})
        return statements

    def _named_after(self, key: Key) -> Iterator[Key]:
        """The columns and domain whose NOT NULL is usually named after an object."""
        fact = self.snapshot.get(*key)
        if fact is None or key[0] == "type":
            yield key
        elif key[0].endswith("table column"):
            yield key
            for heir in self.heirs(key):
                yield from self._named_after(heir)
        elif key[0] in ("table", "foreign table"):
            yield from (column.key for column in self.snapshot.children(fact, f"{key[0]} column"))

    def _apply(self, key: Key, name: str) -> None:
        fact = self.fact(key)
        if fact.kind == "schema":
            self._rename_schema(key, name)
        elif fact.kind.endswith(" column"):
            self._rename_column(key, name)
        elif " on {parent}" in KINDS[fact.kind].identity:
            self._rename_part(key, name)
        else:
            self._requalify(key, fact.schema, name)

    def _move(self, key: Key, schema: str) -> None:
        """Into another schema, with the indexes and owned sequences that go along."""
        for part in self._parts(key):
            if part[0] in _MOVE_ALONG:
                self._requalify(part, schema, name_of(self.fact(part)))
        self._requalify(key, schema, name_of(self.fact(key)))

    def _requalify(self, key: Key, schema: str | None, name: str) -> None:
        """Another qualified name: of a relation, type, routine … and in all that mentions it."""
        fact = self.fact(key)
        was, now = _qualified(fact.schema, name_of(fact)), _qualified(schema, name)
        pattern = re.compile(rf'(?<![\w$".]){re.escape(was)}(?![\w$"])')
        aliases = None
        if fact.kind in ("table", "foreign table", *_QUERIES) and not self._is_schema(fact.name):
            aliases = re.compile(rf'(?<![\w$".]){re.escape(quote(fact.name))}(?=\.)')
        others = self._overloads(fact)

        def sub(text: str) -> str:
            found = _outside(text, lambda part: pattern.sub(lambda _: now, part))
            if aliases and found != text:  # a query that names the table calls it so, unless it says AS
                return _outside(found, lambda part: aliases.sub(lambda _: quote(name), part))
            return found

        identity = identity_as(fact, name, schema)
        own = _rewritten(fact, sub)
        own = replace(own, schema=schema, name=name if fact.name else "", identity=identity)
        self.facts[key] = _definition_named(fact, own)
        for other in self._reach(key):
            if other == key or others & self.snapshot.holders(other):
                continue
            old = self.fact(other)
            new = _rewritten(old, sub)
            if (
                schema != fact.schema
                and "{parent}" in KINDS[old.kind].identity
                and new.identity != old.identity
            ):
                new = replace(new, schema=schema)
            self.facts[other] = new

    def _rename_schema(self, key: Key, name: str) -> None:
        fact = self.fact(key)
        pattern = re.compile(rf'(?<![\w$".]){re.escape(quote(fact.name))}\.')
        inside = [f.key for f in self.snapshot if self.fact(f.key).schema == fact.name and f.key != key]
        reached = {other for each in inside for other in self._reach(each)} | set(
            self.snapshot.dependents(key)
        )
        self.facts[key] = replace(fact, schema=name, name=name, identity=quote(name))

        def sub(text: str) -> str:
            return _outside(text, lambda part: pattern.sub(lambda _: f"{quote(name)}.", part))

        for other in sorted(reached | set(inside)):
            old = self.fact(other)
            new = _rewritten(old, sub)
            if old.attributes.get("extension_schema") == fact.name:
                new = replace(new, attributes=new.attributes | {"extension_schema": name})
            for end in (f" in schema {quote(fact.name)} ", f"{quote(fact.name)} in publication "):
                new = replace(
                    new, identity=new.identity.replace(end, end.replace(quote(fact.name), quote(name)))
                )
            self.facts[other] = replace(new, schema=name) if old.schema == fact.name else new

    def _rename_column(self, key: Key, name: str) -> None:
        fact = self.fact(key)
        was, now = quote(name_of(fact)), quote(name)
        identity = identity_as(fact, name)
        mentions = _column_pattern(was)

        def qualified(match: re.Match[str]) -> str:
            before = match[1].rstrip(".")
            return match[0] if before and self._is_schema(unquote(before)) else match[1] + now

        def sub(text: str) -> str:
            return _outside(text, lambda part: mentions.sub(qualified, part))

        for follower in self.heirs(key):
            self._rename_column(follower, name)
            self.facts[follower] = replace(self.fact(follower), origin=identity)
        self.facts[key] = replace(fact, name=name, identity=identity)
        tables = {
            k for kind in KINDS[fact.kind].parents if self.snapshot.get(*(k := (kind, self._parent(key))))
        }
        for other in sorted(self.snapshot.dependents(key) | self._parts(key) | tables - {key}):
            old = self.fact(other)
            if other[0] in _QUERIES and (fact.kind.startswith("table") or other not in tables):
                self.facts[other] = _with_items(old, lambda item: _shown(item, sub, was), sub)
            elif other[0] in _QUERIES:
                self.facts[other] = _with_items(old, _Called(int(str(fact.attributes["position"])), now))
            elif other != key:
                self.facts[other] = _column_rewritten(old, fact, identity, sub, was, now)

    def _parent(self, key: Key) -> str:
        found = self.snapshot.get(*key)
        return (found.parent if found else None) or ""

    def _rename_part(self, key: Key, name: str) -> None:
        """A constraint, trigger, policy or rule; a constraint's index has the name of that."""
        fact = self.fact(key)
        own = replace(fact, name=name, identity=identity_as(fact, name))
        self.facts[key] = _definition_named(fact, own)
        for other in self._parts(key):
            found = self.fact(other)
            self.facts[other] = replace(found, parent=own.identity)
            if found.attributes.get("definition") is None and found.name == fact.name:
                self._requalify(other, found.schema, name)
        check = str(fact.attributes.get("definition")).startswith("CHECK")
        for follower in self.heirs(key):
            found = self.fact(follower)
            self.facts[follower] = replace(found, origin=own.identity)
            if check or (fact.kind == "trigger" and self.version >= 150000):
                self._rename_part(follower, name)

    def _label(self, rename: Rename, fact: Fact) -> list[Sql]:
        """A label of an enum, and constants in all that uses the type."""
        was, now = literal(rename.label or ""), literal(rename.name)
        labels = fact.attributes["labels"]
        assert isinstance(labels, tuple)
        new = tuple(rename.name if label == rename.label else label for label in labels)
        self.facts[rename.key] = replace(fact, attributes=fact.attributes | {"labels": new})
        text, there = (f"{label.strip()}::{fact.identity}" for label in (was, now))
        users = self.snapshot.dependents(rename.key)
        for other in users.union(*map(self.snapshot.dependents, users)):
            self.facts[other] = _rewritten(self.fact(other), lambda value: value.replace(text, there))
        return [Sql(f"ALTER TYPE {fact.identity} RENAME VALUE {was.strip()} TO {now.strip()}")]

    def lacks_schema(self, name: str) -> bool:
        """Whether a schema has to be created before something can move into it."""
        there = {
            fact.name
            for fact in (*self.snapshot.iter("schema"), *self.facts.values())
            if fact.kind == "schema"
        }
        return name not in there | {fact.name for fact in self.added}

    def create_schema(self, name: str) -> Sql:
        """A schema that has to be there before something can move into it."""
        role = quote(str(self.snapshot.manifest.get("role")))
        attributes: dict[str, Value] = {"owner": role, "grants": None, **dict.fromkeys(COMMON)}
        self.added.append(Fact("schema", quote(name), attributes, schema=name, name=name))
        return Sql(f"CREATE SCHEMA {quote(name)}")

    # -- what is affected

    def _reach(self, key: Key) -> list[Key]:
        """What may mention the name of *key*: itself, its parts, and what depends on these; so on where names follow."""
        found, todo = {key}, [key]
        while todo:
            at = todo.pop()
            parts = self._parts(at) | set(self.heirs(at))
            for other in (parts | self.snapshot.dependents(at)) - found:
                found.add(other)
                if other in parts or "(" in other[1]:  # an identity with arguments may name the type
                    todo.append(other)
        return sorted(found)

    def _parts(self, key: Key) -> set[Key]:
        fact = self.snapshot.get(*key)
        assert fact is not None, key
        kinds = [kind for kind in self.snapshot.tables if key[0] in KINDS[kind].parents]
        return {child.key for kind in kinds for child in self.snapshot.children(fact, kind)}

    def heirs(self, key: Key) -> list[Key]:
        """The same thing in child tables."""
        return self.snapshot.heirs.get(key, [])

    def _overloads(self, fact: Fact) -> set[Key]:
        """Routines of the same name, which a text may mean as well."""
        if fact.kind not in _ROUTINES:
            return set()
        same = [other for kind in _ROUTINES for other in self.snapshot.iter(kind) if other.name == fact.name]
        return {
            other.key for other in same if other.schema == fact.schema and other.identity != fact.identity
        }

    def _is_schema(self, name: str) -> bool:
        return self.snapshot.get("schema", quote(name)) is not None


# --- names -------------------------------------------------------------------------------------------------------


def name_of(fact: Fact) -> str:
    """The name, also of kinds whose facts have only an identity."""
    if fact.name:
        return fact.name
    if fact.schema is not None:
        own = fact.identity[len(quote(fact.schema)) + 1 :]
        match = re.match(r'"(?:[^"]|"")*"|\w+', own)
        return unquote(match[0] if match else own)
    return unquote(last(fact.identity))


def identity_as(fact: Fact, name: str, schema: str | None = None) -> str:
    """The identity that *fact* has under another name, or in another schema."""
    template = KINDS[fact.kind].identity
    if "{parent}" in template:
        return template.format(name=quote(name), parent=fact.parent)
    if fact.kind == "schema" or fact.schema is None:
        return quote(name)
    rest = fact.identity[len(_qualified(fact.schema, name_of(fact))) :]  # arguments, USING …
    return _qualified(schema or fact.schema, name) + rest


def occupied(fact: Fact) -> set[tuple[str, str]]:
    """The names that an object keeps others from: relations share one space of names, types and routines others."""
    found = set()
    if fact.kind in ("table", "foreign table", *_QUERIES, "index", "sequence"):
        found.add(("relation", fact.identity))
    if fact.kind in ("table", "foreign table", *_QUERIES, "type"):
        found.add(("type", fact.identity))
    return found or {("routine" if fact.kind in _ROUTINES else fact.kind, fact.identity)}


def _qualified(schema: str | None, name: str) -> str:
    return f"{quote(schema)}.{quote(name)}" if schema is not None else quote(name)


_PARTS = {
    "table constraint": "CONSTRAINT",
    "domain constraint": "CONSTRAINT",
    "trigger": "TRIGGER",
    "policy": "POLICY",
}


def _statement(fact: Fact, name: str) -> str:
    was, now = quote(name_of(fact)), quote(name)
    match fact.kind:
        case "composite type column":
            return f"ALTER TYPE {fact.parent} RENAME ATTRIBUTE {was} TO {now}"
        case kind if kind.endswith(" column"):
            return f"ALTER {kind.removesuffix(' column').upper()} {fact.parent} RENAME COLUMN {was} TO {now}"
        case "table constraint" | "domain constraint":
            what = "DOMAIN" if fact.kind.startswith("domain") else "TABLE"
            return f"ALTER {what} {fact.parent} RENAME CONSTRAINT {was} TO {now}"
        case "trigger" | "policy" | "rule":
            return f"ALTER {fact.kind.upper()} {was} ON {fact.parent} RENAME TO {now}"
    return f"ALTER {named(fact.kind, fact.identity)} RENAME TO {now}"


# --- texts -------------------------------------------------------------------------------------------------------

Substitute = Callable[[str], str]


def _outside(text: str, sub: Substitute) -> str:
    """A text with *sub* applied to all but string constants; those of type regclass … are names, too."""
    parts = _LITERAL.split(text)
    for n, part in enumerate(parts):
        if n % 2 == 0 or parts[n + 1].startswith("::reg"):
            parts[n] = sub(part) if n % 2 == 0 else f"'{sub(part[1:-1])}'"
    return "".join(parts)


def _follows(fact: Fact, attribute: str) -> bool:
    """Whether PostgreSQL writes an attribute anew from what it refers to."""
    if attribute == "body":
        return bool(fact.attributes.get("sql_body"))
    return attribute not in _FIXED


def _changed(value: Value, sub: Substitute) -> Value:
    if isinstance(value, tuple):
        return tuple(map(sub, value))
    return sub(value) if isinstance(value, str) else value


def _rewritten(fact: Fact, sub: Substitute) -> Fact:
    """A fact in which all names that follow a rename did."""
    return replace(
        fact,
        identity=sub(fact.identity),
        parent=sub(fact.parent) if fact.parent is not None else None,
        origin=sub(fact.origin) if fact.origin is not None else None,
        attributes={a: _changed(v, sub) if _follows(fact, a) else v for a, v in fact.attributes.items()},
    )


_HEAD = re.compile(
    r'(CREATE (?:UNIQUE |CONSTRAINT )?(?:INDEX|TRIGGER|RULE|STATISTICS) )("(?:[^"]|"")*"|[\w$]+)(?= )'
)


def _definition_named(old: Fact, new: Fact) -> Fact:
    """The definition begins with the object's own name, of some kinds without its schema."""
    text = new.attributes.get("definition")
    if not isinstance(text, str) or new.kind not in ("index", "trigger", "rule"):
        return new
    return replace(
        new,
        attributes=new.attributes
        | {"definition": _HEAD.sub(lambda m: m[1] + quote(new.name), text, count=1)},
    )


def nameless(definition: Value) -> str:
    """A definition without the name it begins with."""
    return _HEAD.sub(r"\1", str(definition), count=1)


# --- columns -----------------------------------------------------------------------------------------------------


def _column_pattern(quoted: str) -> re.Pattern[str]:
    """A column's name as a token, with what it is qualified by; not a type (``::``), function or schema."""
    return re.compile(rf'(?<![\w$":])((?:(?:"(?:[^"]|"")*"|[\w$]+)\.)*){re.escape(quoted)}(?![\w$"(.])')


def _column_rewritten(fact: Fact, column: Fact, identity: str, sub: Substitute, was: str, now: str) -> Fact:
    """What depends on a column, with its new name."""
    values = dict(fact.attributes)
    for attribute, value in fact.attributes.items():
        if value == column.identity:  # a sequence's owner
            values[attribute] = identity
        elif attribute == "columns":
            values[attribute] = _changed(value, lambda text: unquote(now) if text == unquote(was) else text)
        elif attribute in _OF_COLUMNS and _follows(fact, attribute):
            values[attribute] = _changed(value, lambda text: _behind_head(fact, column, text, sub))
    parent = identity if fact.parent == column.identity else fact.parent
    return replace(fact, attributes=values, parent=parent)


def _behind_head(fact: Fact, column: Fact, text: str, sub: Substitute) -> str:
    """Only what follows the names of the object and its table can name columns; a foreign key names those of two."""
    if "SELECT" in text:
        return text  # how a query shows a column depends on more than its name
    if text.startswith("FOREIGN KEY"):
        own, word, other = text.partition(" REFERENCES ")
        table, bracket, rest = other.partition("(")
        own = sub(own) if fact.parent == column.parent else own
        return own + word + table + bracket + (sub(rest) if table == column.parent else rest)
    if match := re.match(
        r"CREATE (?:UNIQUE )?INDEX .*? USING |CREATE (?:CONSTRAINT )?TRIGGER \S+ |CREATE STATISTICS \S+ ",
        text,
    ):
        return match[0] + sub(text[match.end() :])
    return sub(text)


# --- queries -----------------------------------------------------------------------------------------------------

_SIMPLE = re.compile(r"( SELECT )(.*?)(\n   FROM .*)", re.DOTALL)
_NOT_SIMPLE = re.compile(r"\b(SELECT|UNION|INTERSECT|EXCEPT|USING|WITH|DISTINCT)\b")
_ITEM = re.compile(r'(.*?)(?: AS ("(?:[^"]|"")*"|[\w$]+))?', re.DOTALL)
_COLUMN = re.compile(r'(?:(?:"(?:[^"]|"")*"|[\w$]+)\.)*("(?:[^"]|"")*"|[\w$]+)')


def _with_items(fact: Fact, item: Substitute, rest: Substitute = str) -> Fact:
    """A view with each column of its query changed; as it is, if the query is more than one plain SELECT."""
    text = str(fact.attributes["definition"])
    match = _SIMPLE.fullmatch(text)
    if match is None or _NOT_SIMPLE.search(match[2] + match[3]):
        return fact
    items = ",\n    ".join(map(item, re.split(r",\n    (?=\S)", match[2])))
    return replace(fact, attributes=fact.attributes | {"definition": match[1] + items + rest(match[3])})


def _item(expression: str, name: str | None) -> str:
    """An item of a SELECT, with AS unless it is a column of that name."""
    column = _COLUMN.fullmatch(expression)
    return expression if name is None or (column and column[1] == name) else f"{expression} AS {name}"


def _split(item: str) -> tuple[str, str | None]:
    match = _ITEM.fullmatch(item)
    assert match is not None
    column = _COLUMN.fullmatch(match[1])
    return match[1], match[2] or (column[1] if column else None)


def _shown(item: str, sub: Substitute, was: str) -> str:
    """An item that uses a renamed column: the view's own column keeps its name."""
    expression, name = _split(item)
    return _item(sub(expression), name)


@dataclass
class _Called:
    """Gives the item at a place another name."""

    place: int
    name: str
    seen: int = 0

    def __call__(self, item: str) -> str:
        self.seen += 1
        return _item(_split(item)[0], self.name) if self.seen == self.place else item


# --- tables of facts ---------------------------------------------------------------------------------------------


def _with(table: Table, facts: list[Fact], keys: list[Key] | None = None) -> Table:
    """A copy of a table with facts in the places of those called *keys*, or added to it."""
    found = copy(table)
    found.__dict__.pop("positions", None)
    for name in ("identities", "values", "names", "schemas", "parents"):
        setattr(found, name, list(getattr(table, name)))
    found.origins, found.extensions = dict(table.origins), dict(table.extensions)
    for n, fact in enumerate(facts):
        values = tuple(fact.attributes[name] for name in table.attributes)
        if keys is not None:
            i = table.positions[keys[n][1]]
            found.identities[i], found.values[i], found.names[i] = fact.identity, values, fact.name or None
            found.schemas[i], found.parents[i] = fact.schema, fact.parent
            if fact.origin is not None:
                found.origins[i] = fact.origin
        else:
            found.identities.append(fact.identity)
            found.values.append(values)
            found.names.append(fact.name)
            found.schemas.append(fact.schema)
            found.parents.append(fact.parent)
            for column in ("oids", "subids", "anchors", "xmins"):
                numbers = array(getattr(found, column).typecode, getattr(found, column))
                numbers.append(0)
                setattr(found, column, numbers)
    return found
