"""Random schemas and random edits of them, for Hypothesis.

A schema is a dictionary of objects by name; each knows its DDL, made of plain choices, so that an edit is another
choice and Hypothesis can shrink both. Whatever an object refers to is looked up when the DDL is written: an edit that
takes away what others need makes them fall back to something simpler, so that both sides always load.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

TYPES = ("integer", "bigint", "text", "varchar(20)", "numeric(8,2)", "boolean", "date", "jsonb", "integer[]")
DEFAULTS = {
    "integer": ("1", "2", "(1 + 2)"),
    "bigint": ("1", "5"),
    "text": ("'x'", "'it''s'", "CURRENT_USER"),
    "varchar(20)": ("'x'", "'y'"),
    "numeric(8,2)": ("1.5", "0"),
    "boolean": ("true", "false"),
    "date": ("CURRENT_DATE", "'2030-01-01'"),
    "jsonb": ("'{}'", "'[1]'"),
    "integer[]": ("'{}'", "'{1,2}'"),
}
LABELS = ("new", "open", "it's", "done", "Big Label")
ROLES = ("reader", '"Writer W"')
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "SELECT, DELETE", "ALL")
TABLES = ("t0", "t1", '"T 2"', "t3")
COLUMNS = ("a", "b", '"C c"', "d")


@dataclass(frozen=True)
class Column:
    """A column; ``type`` may be a number: that of an enum, domain or composite of the schema."""

    type: str
    default: int | None = None
    not_null: bool = False
    comment: str | None = None
    generated: bool = False
    collate: bool = False
    statistics: int | None = None


@dataclass(frozen=True)
class Table:
    columns: dict[str, Column]
    key: str | None = "identity"  # identity, serial, plain or none
    partitions: int = 0
    child: bool = False
    refers: str | None = None
    on_delete: str = "NO ACTION"
    checks: tuple[str, ...] = ()
    unique: str | None = None
    indexes: tuple[str, ...] = ()
    index_style: str = "plain"
    policy: str | None = None
    trigger: str | None = None
    unlogged: bool = False
    grants: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class View:
    """A view on a table or on another view (``of``), all of it or some columns."""

    of: str
    columns: int = 0
    materialized: bool = False
    indexed: bool = False
    barrier: bool = False
    where: bool = False
    grants: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Function:
    """A function of an integer, which checks, defaults, indexes and views may call."""

    argument: str = "n"
    returns: str = "integer"
    language: str = "sql"
    body: int = 0
    strict: bool = False
    reads: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Schema:
    tables: dict[str, Table]
    views: dict[str, View] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    enum: tuple[str, ...] = LABELS[:3]
    domain: int = 0
    composite: tuple[str, ...] = ("x integer", "y text")
    sequence: int = 0


# --- strategies

_comment = st.none() | st.sampled_from(("one", "it's two"))
_owner = st.none() | st.sampled_from(ROLES)
_grants = st.dictionaries(st.sampled_from(ROLES), st.sampled_from(PRIVILEGES), max_size=2)
columns = st.builds(
    Column,
    type=st.sampled_from((*TYPES, "mood", "email", "pair", "mood[]")),
    default=st.none() | st.integers(0, 3),
    not_null=st.booleans(),
    comment=_comment,
    generated=st.sampled_from((False, False, False, True)),
    collate=st.sampled_from((False, False, True)),
    statistics=st.none() | st.just(50),
)
tables = st.builds(
    Table,
    columns=st.dictionaries(st.sampled_from(COLUMNS), columns, min_size=1, max_size=4),
    key=st.sampled_from(("identity", "serial", "plain", None)),
    partitions=st.sampled_from((0, 0, 0, 1, 2)),
    child=st.sampled_from((False, False, True)),
    refers=st.none() | st.sampled_from(TABLES),
    on_delete=st.sampled_from(("NO ACTION", "CASCADE", "SET NULL")),
    checks=st.lists(st.sampled_from(("id > 0", "id < 1000", "f0(id) > 0")), unique=True, max_size=2).map(
        tuple
    ),
    unique=st.none() | st.sampled_from(COLUMNS),
    indexes=st.lists(st.sampled_from(COLUMNS), unique=True, max_size=2).map(tuple),
    index_style=st.sampled_from(("plain", "partial", "function")),
    policy=st.none() | st.sampled_from(("id > 1", "f0(id) > 1", "id IS NOT NULL")),
    trigger=st.none() | st.sampled_from(("BEFORE INSERT", "AFTER UPDATE OR DELETE")),
    unlogged=st.sampled_from((False, False, True)),
    grants=_grants,
    owner=_owner,
    comment=_comment,
)
VIEWS = ("v0", "v1", '"V 2"', "v3")
views = st.builds(
    View,
    of=st.sampled_from((*TABLES, *VIEWS)),
    columns=st.integers(0, 2),
    materialized=st.sampled_from((False, False, True)),
    indexed=st.booleans(),
    barrier=st.booleans(),
    where=st.booleans(),
    grants=_grants,
    owner=_owner,
    comment=_comment,
)
FUNCTIONS = ("f0", "f1")
functions = st.builds(
    Function,
    argument=st.sampled_from(("n", "number")),
    returns=st.sampled_from(("integer", "integer", "bigint")),
    language=st.sampled_from(("sql", "plpgsql", "atomic")),
    body=st.integers(0, 1),
    strict=st.booleans(),
    reads=st.none() | st.sampled_from(TABLES),
    comment=_comment,
)
schemas = st.builds(
    Schema,
    tables=st.dictionaries(st.sampled_from(TABLES), tables, min_size=1, max_size=4),
    views=st.dictionaries(st.sampled_from(VIEWS), views, max_size=4),
    functions=st.dictionaries(st.sampled_from(FUNCTIONS), functions, max_size=2),
    enum=st.permutations(LABELS).flatmap(lambda p: st.integers(2, 5).map(lambda n: tuple(p[:n]))),
    domain=st.integers(0, 3),
    composite=st.sampled_from(
        (("x integer", "y text"), ("x integer",), ("x bigint", "y text"), ("y text", "z date"))
    ),
    sequence=st.integers(0, 2),
)


@st.composite
def edited(draw: Any, schema: Schema) -> Schema:
    """The schema after a few edits, each of which replaces, adds, drops or renames something."""
    for _ in range(draw(st.integers(1, 4))):
        schema = draw(_edit(schema))
    return schema


def _edit(schema: Schema) -> st.SearchStrategy[Schema]:
    """One edit."""
    kinds = {"tables": (TABLES, tables), "views": (VIEWS, views), "functions": (FUNCTIONS, functions)}
    edits: list[st.SearchStrategy[Schema]] = []
    for kind, (names, strategy) in kinds.items():
        there = getattr(schema, kind)
        added = st.tuples(st.sampled_from(names), strategy)
        edits.append(
            added.map(lambda new, k=kind, o=there: replace(schema, **{k: {**o, new[0]: _like(o, *new)}}))
        )
        if len(there) > (kind == "tables"):
            gone = st.sampled_from(sorted(there))
            edits.append(
                gone.map(
                    lambda name, k=kind, o=there: replace(
                        schema, **{k: {n: thing for n, thing in o.items() if n != name}}
                    )
                )
            )
    for name, table in schema.tables.items():
        edits.append(
            _edited_table(table).map(lambda t, n=name: replace(schema, tables={**schema.tables, n: t}))
        )
    for name, view in schema.views.items():
        edits.append(
            _edited(view, views).map(lambda v, n=name: replace(schema, views={**schema.views, n: v}))
        )
    for name, function in schema.functions.items():
        edits.append(
            _edited(function, functions).map(
                lambda f, n=name: replace(schema, functions={**schema.functions, n: f})
            )
        )
    edits.append(
        schemas.flatmap(
            lambda other: st.sampled_from(("enum", "domain", "composite", "sequence")).map(
                lambda name: replace(schema, **{name: getattr(other, name)})
            )
        )
    )
    return st.one_of(edits)


def _like(there: dict[str, Any], name: str, new: Any) -> Any:
    """A table that stays does not become a child or free: PostgreSQL would have its columns as its own for good."""
    if isinstance(new, Table) and name in there:
        return replace(new, child=there[name].child)
    return new


def _edited(thing: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same with one attribute of another."""
    names = st.sampled_from(sorted(set(thing.__dataclass_fields__) - {"child"}))
    return st.tuples(strategy, names).map(lambda both: replace(thing, **{both[1]: getattr(both[0], both[1])}))


def _edited_table(table: Table) -> st.SearchStrategy[Table]:
    def with_column(change: tuple[str, Column]) -> Table:
        return replace(table, columns={**table.columns, change[0]: change[1]})

    found = [_edited(table, tables), st.tuples(st.sampled_from(COLUMNS), columns).map(with_column)]
    for name, column in table.columns.items():
        found.append(_edited(column, columns).map(lambda c, n=name: with_column((n, c))))
    return st.one_of(found)


# --- DDL


def ddl(schema: Schema) -> str:
    """A script for an empty database."""
    lines = ["SET check_function_bodies = off;", "CREATE SCHEMA s; SET search_path = s;"]
    lines += [f"CREATE ROLE {role}; GRANT ALL ON SCHEMA s TO {role};" for role in ROLES]
    lines.append(f"CREATE TYPE mood AS ENUM ({', '.join(map(_literal, schema.enum))});")
    lines.append(f"CREATE TYPE pair AS ({', '.join(schema.composite)});")
    domains = (
        "text",
        "text CHECK (VALUE <> '')",
        "varchar(30) DEFAULT 'd'",
        "text COLLATE \"C\" CONSTRAINT own CHECK (VALUE <> 'no')",
    )
    lines.append(f"CREATE DOMAIN email AS {domains[schema.domain]};")
    lines.append(f"CREATE SEQUENCE free INCREMENT {schema.sequence + 1} CACHE {schema.sequence + 1};")
    lines.append("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';")
    atomic = [n for n, f in schema.functions.items() if f.language == "atomic" and f.reads in schema.tables]
    for name, function in schema.functions.items():
        if name not in atomic:
            lines += _function(name, function, schema)
    lines.append("CREATE TABLE top (at date, note text DEFAULT 'n');")
    for name, table in schema.tables.items():
        lines += _table(name, table, schema)
    for name, table in schema.tables.items():
        target = schema.tables.get(table.refers or "")
        if target and target.key and table.key and not table.partitions:
            lines.append(
                f"ALTER TABLE {name} ADD COLUMN ref {_key_type(target)}, ADD CONSTRAINT {_part(name, 'fk')}"
                f" FOREIGN KEY (ref) REFERENCES {table.refers} ON DELETE {table.on_delete};"
            )
    for name in atomic:
        lines += _function(name, schema.functions[name], schema)
    done: list[str] = []
    for name, view in sorted(schema.views.items()):
        if made := _view(name, view, schema, done):
            lines += made
            done.append(name)
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _part(name: str, suffix: str) -> str:
    return f'"{name.strip(chr(34))} {suffix}"'


def _key_type(table: Table) -> str:
    return "bigint" if table.key == "identity" else "integer"


def _belongings(kind: str, name: str, thing: Any) -> list[str]:
    lines = [f"GRANT {what} ON {name} TO {role};" for role, what in sorted(thing.grants.items())]
    if thing.comment:
        lines.append(f"COMMENT ON {kind} {name} IS {_literal(thing.comment)};")
    if thing.owner:
        lines.append(f"ALTER {kind} {name} OWNER TO {thing.owner};")
    return lines


def _call(schema: Schema, expression: str) -> str | None:
    """An expression, if the function that it calls is there and may be used before the tables are."""
    function = schema.functions.get("f0")
    usable = function is not None and not (function.language == "atomic" and function.reads in schema.tables)
    return None if "f0" in expression and not usable else expression


def _column(name: str, column: Column, schema: Schema) -> str:
    text = f"{name} {column.type}"
    textual = column.type in ("text", "varchar(20)")
    if column.collate and textual:
        text += ' COLLATE "C"'
    if column.generated and column.type in ("integer", "bigint"):
        return f"{text} GENERATED ALWAYS AS (id + {column.default or 0}) STORED"
    if column.default is not None:
        choices = DEFAULTS.get(column.type, ())
        if column.type == "mood":
            choices = tuple(f"{_literal(label)}" for label in schema.enum)
        if column.type == "integer" and column.default == 3 and _call(schema, "f0"):
            choices = ("f0(1)",)
        if choices:
            text += f" DEFAULT {choices[column.default % len(choices)]}"
    return text + (" NOT NULL" if column.not_null else "")


def _table(name: str, table: Table, schema: Schema) -> list[str]:
    kinds = {
        "identity": "id bigint GENERATED BY DEFAULT AS IDENTITY",
        "serial": "id serial",
        "plain": "id integer",
        None: "id integer",
    }
    items = [kinds[None if table.partitions and table.key == "serial" else table.key]]
    items += [_column(n, c, schema) for n, c in table.columns.items()]
    if table.key:
        items.append(f"CONSTRAINT {_part(name, 'key')} PRIMARY KEY (id)")
    for number, check in enumerate(filter(None, (_call(schema, check) for check in table.checks))):
        items.append(f"CONSTRAINT {_part(name, f'check{number}')} CHECK ({check})")
    plain = {n: c for n, c in table.columns.items() if not c.type.startswith(("jsonb", "pair"))}
    if table.unique in plain:
        within = f"{table.unique}, id" if table.partitions else table.unique
        items.append(f"CONSTRAINT {_part(name, 'unique')} UNIQUE ({within})")
    wanted = any(
        other.refers == name for other in schema.tables.values()
    )  # by tables that are there for good
    unlogged = "UNLOGGED " if table.unlogged and not table.partitions and not wanted else ""
    tail = " PARTITION BY RANGE (id)" if table.partitions else " INHERITS (top)" if table.child else ""
    lines = [f"CREATE {unlogged}TABLE {name} ({', '.join(items)}){tail};"]
    for number in range(table.partitions):
        bounds = f"FROM ({number * 100}) TO ({number * 100 + 100})"
        lines.append(f"CREATE TABLE {_part(name, f'p{number}')} PARTITION OF {name} FOR VALUES {bounds};")
    for column in table.indexes:
        if column in plain:
            index = _part(name, f"index {column.strip(chr(34))}")
            where = " WHERE id > 5" if table.index_style == "partial" else ""
            call = _call(schema, "f0(id::integer)") if table.index_style == "function" else None
            lines.append(f"CREATE INDEX {index} ON {name} ({column}{f', ({call})' if call else ''}){where};")
    for column_name, column in table.columns.items():
        if column.comment:
            lines.append(f"COMMENT ON COLUMN {name}.{column_name} IS {_literal(column.comment)};")
        if column.statistics:
            lines.append(f"ALTER TABLE {name} ALTER {column_name} SET STATISTICS {column.statistics};")
    policy = _call(schema, table.policy or "f0 ?") if table.policy else None
    if policy:
        lines.append(
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON {name} USING ({policy});"
        )
    if table.trigger:
        lines.append(f"CREATE TRIGGER tr {table.trigger} ON {name} FOR EACH ROW EXECUTE FUNCTION touch();")
    return lines + _belongings("TABLE", name, table)


def _function(name: str, function: Function, schema: Schema) -> list[str]:
    reads = (
        f" + (SELECT count(*) FROM s.{function.reads})::integer" if function.reads in schema.tables else ""
    )
    value = f"{function.argument} + {function.body}{reads if function.language == 'atomic' else ''}"
    body = {
        "sql": f"LANGUAGE sql AS $$ SELECT {value} $$",
        "plpgsql": f"LANGUAGE plpgsql AS $$ BEGIN RETURN {value}; END $$",
        "atomic": f"LANGUAGE sql RETURN {value}",
    }[function.language]
    strict = " STRICT" if function.strict else ""
    text = f"CREATE FUNCTION {name}({function.argument} bigint) RETURNS {function.returns} IMMUTABLE{strict} {body};"
    if function.returns == "integer":
        text = text.replace(value, f"({value})::integer")
    return [
        text,
        *([f"COMMENT ON FUNCTION {name} IS {_literal(function.comment)};"] if function.comment else []),
    ]


def _view(name: str, view: View, schema: Schema, done: list[str]) -> list[str]:
    """A view on what is there: a table, or a view that came before; else on nothing."""
    if view.of in schema.tables:
        names = ["id", *schema.tables[view.of].columns]
        chosen = {0: "*", 1: ", ".join(names), 2: ", ".join(names[:2])}[view.columns]
    elif view.of in done and view.of != name:
        chosen = {0: "*", 1: "id", 2: "id AS other, id"}[view.columns]
    else:
        return []
    where = " WHERE id > 0" if view.where else ""
    if view.materialized:
        head = f"CREATE MATERIALIZED VIEW {name} AS SELECT {chosen} FROM {view.of}{where};"
        index = [f"CREATE INDEX {_part(name, 'id')} ON {name} (id);"] if view.indexed else []
        owner = replace(view, owner=None)  # an owner who may not read what it is made of could not refresh it
        return [head, *index, *_belongings("MATERIALIZED VIEW", name, owner)]
    options = " WITH (security_barrier)" if view.barrier else ""
    owner = replace(view, owner=None)
    return [
        f"CREATE VIEW {name}{options} AS SELECT {chosen} FROM {view.of}{where};",
        *_belongings("VIEW", name, owner),
    ]
