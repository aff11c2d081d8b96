"""The statements that create an object, made from its fact.

Each function takes the fact and the snapshot it is from (for what belongs to it) and returns the statements, in
order; none when something else creates the object. What a kind's entry names as ``create`` is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot


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


def column(fact: Fact, snapshot: Snapshot) -> list[str]:
    relation = fact.kind.removesuffix(" column").upper()
    return [f"ALTER {relation} {fact.parent} ADD COLUMN {_column(fact)}"]


def table(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    what = "UNLOGGED TABLE" if value["persistence"] == "unlogged" else "TABLE"
    if value["partition_bound"]:
        text = f"CREATE {what} {fact.identity} PARTITION OF {_tuple(fact, 'inherits')[0]} {value['partition_bound']}"
    else:
        columns = snapshot.children(fact, "table column")
        columns.sort(key=lambda column: int(_text(column, "position")))
        own = ", ".join(_column(column) for column in columns if column.origin is None)
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


def constraint(fact: Fact, snapshot: Snapshot) -> list[str]:
    owner = "DOMAIN" if fact.kind == "domain constraint" else "TABLE"
    return [f"ALTER {owner} {fact.parent} ADD CONSTRAINT {quote(fact.name)} {fact.attributes['definition']}"]


def index(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = fact.attributes["definition"]  # None: the constraint it belongs to creates it
    return [str(definition)] if definition else []


def view(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = _text(fact, "definition").rstrip(";")
    tail = ""
    if fact.kind == "materialized view" and not fact.attributes["populated"]:
        tail = " WITH NO DATA"
    return [f"CREATE {fact.kind.upper()} {fact.identity}{_with(fact)} AS {definition}{tail}"]


def sequence(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    if value["of_identity"]:
        return []  # the identity column creates it
    return [
        f"CREATE SEQUENCE {fact.identity} AS {value['type']} INCREMENT BY {value['increment']}"
        f" MINVALUE {value['minimum']} MAXVALUE {value['maximum']} START WITH {value['start']}"
        f" CACHE {value['cache']}" + (" CYCLE" if value["cycle"] else " NO CYCLE")
    ]


def type(fact: Fact, snapshot: Snapshot) -> list[str]:
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


def function(fact: Fact, snapshot: Snapshot) -> list[str]:
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


def policy(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE POLICY {quote(fact.name)} ON {fact.parent}"
    text += (
        f" AS {'PERMISSIVE' if value['permissive'] else 'RESTRICTIVE'} FOR {_text(fact, 'command').upper()}"
    )
    text += f" TO {', '.join(_tuple(fact, 'roles'))}"
    text += f" USING ({value['using']})" if value["using"] is not None else ""
    return [text + (f" WITH CHECK ({value['check']})" if value["check"] is not None else "")]


def trigger(fact: Fact, snapshot: Snapshot) -> list[str]:
    statements = [_text(fact, "definition")]
    words = {"disabled": "DISABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS"}
    if state := words.get(_text(fact, "enabled")):
        statements.append(f"ALTER TABLE {fact.parent} {state} TRIGGER {quote(fact.name)}")
    return statements


def role(fact: Fact, snapshot: Snapshot) -> list[str]:
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


def schema(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE SCHEMA {fact.identity}"]


def extension(fact: Fact, snapshot: Snapshot) -> list[str]:
    schema, version = quote(_text(fact, "extension_schema")), quote(_text(fact, "version"))
    return [f"CREATE EXTENSION {fact.identity} SCHEMA {schema} VERSION {version}"]


def quote(name: str) -> str:
    """A name as an SQL identifier, quoted always: right wherever it is pasted."""
    return '"' + name.replace('"', '""') + '"'
