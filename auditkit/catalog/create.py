"""The statements that create an object, made from its fact.

Each function takes the fact and the snapshot it is from (for what belongs to it) and returns the statements, in
order; none when something else creates the object. What a kind's entry names as ``create`` is here. An entry's
``later`` lists what CREATE leaves to ALTER; owner, grants and comment are left to ``auditkit.catalog.belongings``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditkit.catalog.grants import unquote
from auditkit.catalog.sql import (
    arguments,
    called,
    dollar,
    execute,
    last,
    literal,
    operator,
    pairs,
    quote,
    tuple_of,
)

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot

#: Settings whose value is a list already, as text; SET with a literal would make it a list of one.
_LISTS = frozenset(
    ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries",
     "shared_preload_libraries", "unix_socket_directories")
)  # fmt: skip


def _text(fact: Fact, attribute: str) -> str:
    return str(fact.attributes[attribute])


def _tuple(fact: Fact, attribute: str) -> tuple[str, ...]:
    return tuple_of(fact.attributes.get(attribute))


def _listed(items: list[tuple[str, object]]) -> str:
    """``KEY = value, …`` of what is set."""
    return ", ".join(f"{key} = {value}" for key, value in items if value)


def setting(name: str, value: str) -> str:
    """``SET`` without its verb: a setting of a function, role or database."""
    if name in _LISTS:
        return f"{name} TO {literal('') if value in ('', chr(34) * 2) else value}"
    return f"{_name(name)} TO {literal(value)}"


def _name(setting: str) -> str:
    return ".".join(part if re.fullmatch(r"\w+", part) else quote(part) for part in setting.split("."))


# --- relations ---------------------------------------------------------------------------------------------------


def storage(fact: Fact) -> str:
    """The WITH clause of a relation."""
    items = [f"{key}={literal(value)}" for key, value in pairs(_tuple(fact, "options"))]
    items += [f"toast.{key}={literal(value)}" for key, value in pairs(_tuple(fact, "toast_options"))]
    return f" WITH ({', '.join(items)})" if items else ""


def foreign(options: tuple[str, ...]) -> str:
    """The OPTIONS clause of foreign data."""
    items = ", ".join(f"{quote(key)} {literal(value)}" for key, value in pairs(options))
    return f" OPTIONS ({items})" if items else ""


def identity_sequence(column: Fact, snapshot: Snapshot) -> str:
    """The parenthesis of GENERATED … AS IDENTITY: the sequence's name and what is not its default."""
    for fact in snapshot.children(column, "sequence"):
        if fact.attributes["of_identity"]:
            return f" (SEQUENCE NAME {fact.identity} {sequence_options(fact)})"
    return ""


def sequence_options(fact: Fact) -> str:
    """The parameters of a sequence."""
    value = fact.attributes
    return (
        f"START WITH {value['start']} INCREMENT BY {value['increment']} MINVALUE {value['minimum']}"
        f" MAXVALUE {value['maximum']} CACHE {value['cache']} {'CYCLE' if value['cycle'] else 'NO CYCLE'}"
    )


def column_definition(fact: Fact, snapshot: Snapshot, *, default: bool = True, again: bool = False) -> str:
    """A column as CREATE TABLE and ADD COLUMN want it; without its *default*, if that has to wait.

    Made *again* its NOT NULL may find that its partitions have kept the usual name.
    """
    value = fact.attributes
    text = f"{quote(fact.name)} {value['type']}"
    if value.get("compression"):
        text += f" COMPRESSION {value['compression']}"
    if value.get("foreign_options"):
        text += foreign(_tuple(fact, "foreign_options"))
    if value.get("collation"):
        text += f" COLLATE {value['collation']}"
    return text + _column_constraints(fact, snapshot, default, again)


def _of_partition(column: Fact, snapshot: Snapshot) -> bool:
    """Whether a column is its partitioned table's: its identity comes when the partition is attached."""
    table = snapshot.get("table", column.parent or "")
    return column.origin is not None and table is not None and bool(table.attributes["partition_bound"])


def _column_constraints(fact: Fact, snapshot: Snapshot, default: bool, again: bool = False) -> str:
    value, text = fact.attributes, ""
    if value.get("generated"):
        text = f" GENERATED ALWAYS AS ({value['default']}) {_text(fact, 'generated').upper()}"
    elif value.get("identity_generation") and not _of_partition(fact, snapshot):
        text = f" GENERATED {_text(fact, 'identity_generation').upper()} AS IDENTITY"
        text += identity_sequence(fact, snapshot)
    elif value.get("default") is not None and default:
        text = f" DEFAULT {value['default']}"
    not_null = str(value.get("not_null") or "")
    if not_null and not_null != "NOT NULL NOT VALID" and not _from_parent(fact, snapshot):
        name = not_null_name(fact) if again else None
        text += f" CONSTRAINT {quote(name)} {not_null}" if name else f" {_constraint_name(fact)}{not_null}"
    return text


def _from_parent(column: Fact, snapshot: Snapshot) -> bool:
    """Whether a child declares a column again, but not the NOT NULL that it inherits (since 18)."""
    origin = snapshot.get(column.kind, column.origin or "")
    return (
        str(column.attributes.get("declared")) == "column"
        and "not_null_name" in column.attributes
        and origin is not None
        and origin.attributes["not_null"] == "NOT NULL"
    )


def _constraint_name(fact: Fact) -> str:
    """What stands before NOT NULL, of a column or domain whose constraint has a name of its own."""
    name = fact.attributes.get("not_null_name")
    return f"CONSTRAINT {quote(str(name))} " if name else ""


def not_null_name(fact: Fact) -> str | None:
    """The name of the constraint that is NOT NULL of a column or domain (since 18); None where there is none."""
    value = fact.attributes
    if not value.get("not_null") or "not_null_name" not in value:
        return None
    return str(value["not_null_name"] or usual_not_null_name(fact))


def usual_not_null_name(fact: Fact) -> str:
    """The name that pg_dump leaves out."""
    parts = [unquote(last(fact.parent))] if fact.parent else []
    return "_".join([*parts, fact.name, "not_null"])


def column(fact: Fact, snapshot: Snapshot) -> list[str]:
    relation = fact.kind.removesuffix(" column").upper()
    if relation == "TABLE" and snapshot.get("foreign table", fact.parent or "") is not None:
        relation = "FOREIGN TABLE"
    return [f"ALTER {relation} {fact.parent} ADD COLUMN {column_definition(fact, snapshot)}"]


def attribute(fact: Fact, snapshot: Snapshot) -> list[str]:
    """A composite type's column."""
    text = f"ALTER TYPE {fact.parent} ADD ATTRIBUTE {column_definition(fact, snapshot)}"
    return [text + cascading(fact, snapshot)]


def cascading(attribute: Fact, snapshot: Snapshot) -> str:
    """What lets a composite type's column come or go while there are tables of that type."""
    typed = any(table.attributes["of_type"] == attribute.parent for table in snapshot.iter("table"))
    return " CASCADE" if typed else ""


def columns(fact: Fact, snapshot: Snapshot, defaults: bool = True, again: bool = False) -> list[str]:
    """What stands in the parentheses of CREATE TABLE: all columns of a partition, of other children only their own.

    Own is also what the parent has and the child declares all the same, be it only NOT NULL.
    """
    found = snapshot.children(fact, f"{fact.kind} column")
    found.sort(key=lambda column: int(_text(column, "position")))
    texts = []
    for column in found:
        declared = str(column.attributes.get("declared") or "")
        if fact.attributes["partition_bound"] or column.origin is None or "column" in declared:
            texts.append(column_definition(column, snapshot, default=defaults, again=again))
        elif "not null" in declared and column.attributes["not_null"] == "NOT NULL":
            texts.append(f"{_constraint_name(column)}NOT NULL {quote(column.name)}")
    return texts


def table(fact: Fact, snapshot: Snapshot, defaults: bool = True, again: bool = False) -> list[str]:
    """The table alone: a partition is attached later, when its indexes are there."""
    value = fact.attributes
    text = "CREATE UNLOGGED TABLE" if value["persistence"] == "unlogged" else "CREATE TABLE"
    text += f" {fact.identity}"
    if value["of_type"]:
        text += f" OF {value['of_type']}"
        found = snapshot.children(fact, "table column")
        stated = [(c, _column_constraints(c, snapshot, defaults)) for c in found]
        options = ", ".join(f"{quote(c.name)} WITH OPTIONS{words}" for c, words in stated if words)
        text += f" ({options})" if options else ""
    else:
        text += f" ({', '.join(columns(fact, snapshot, defaults, again))})"
    if value["inherits"] and not value["partition_bound"]:
        text += f" INHERITS ({', '.join(_tuple(fact, 'inherits'))})"
    if value["partition_key"]:
        text += f" PARTITION BY {value['partition_key']}"
    if value["access_method"] not in (None, "heap"):
        text += f" USING {quote(_text(fact, 'access_method'))}"
    text += storage(fact)
    return [text + tablespace(fact)]


def tablespace(fact: Fact) -> str:
    """The TABLESPACE clause, if it is not the database's own."""
    name = fact.attributes.get("tablespace")
    return f" TABLESPACE {quote(str(name))}" if name else ""


def foreign_table(fact: Fact, snapshot: Snapshot, defaults: bool = True) -> list[str]:
    value = fact.attributes
    text = f"CREATE FOREIGN TABLE {fact.identity} ({', '.join(columns(fact, snapshot, defaults))})"
    if value["inherits"] and not value["partition_bound"]:
        text += f" INHERITS ({', '.join(_tuple(fact, 'inherits'))})"
    return [f"{text} SERVER {value['server']}{foreign(_tuple(fact, 'options'))}"]


def constraint(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = _text(fact, "definition")
    if fact.kind == "domain constraint":
        return [f"ALTER DOMAIN {fact.parent} ADD CONSTRAINT {quote(fact.name)} {definition}"]
    foreign = snapshot.get("foreign table", fact.parent or "") is not None
    # One that is an index does not reach for the partitions: their indexes have names of their own.
    parent = snapshot.get("table", fact.parent or "")
    partitioned = parent is not None and parent.attributes["partition_key"]
    only = "ONLY " if partitioned and definition.startswith(("PRIMARY", "UNIQUE", "EXCLUDE")) else ""
    what = "FOREIGN TABLE" if foreign else "TABLE"
    return [f"ALTER {what} {only}{fact.parent} ADD CONSTRAINT {quote(fact.name)} {definition}"]


def index(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = fact.attributes["definition"]  # None: the constraint it belongs to creates it
    return [f"{definition}"] if definition else []


def view(fact: Fact, snapshot: Snapshot) -> list[str]:
    definition = _text(fact, "definition").rstrip(";")
    if fact.kind == "view":
        return [f"CREATE VIEW {fact.identity}{storage(fact)} AS\n{definition}"]
    method = fact.attributes["access_method"]
    using = f" USING {quote(str(method))}" if method not in (None, "heap") else ""
    tail = "" if fact.attributes["populated"] else "\nWITH NO DATA"
    head = f"CREATE MATERIALIZED VIEW {fact.identity}{using}{storage(fact)}{tablespace(fact)}"
    return [f"{head} AS\n{definition}{tail}"]


def sequence(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    if value["of_identity"]:
        return []  # the identity column creates it
    what = "UNLOGGED SEQUENCE" if value["persistence"] == "unlogged" else "SEQUENCE"
    return [f"CREATE {what} {fact.identity} AS {value['type']} {sequence_options(fact)}"]


def rule(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [_text(fact, "definition").rstrip(";")]


def trigger(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [_text(fact, "definition")]


def statistics(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [_text(fact, "definition")]


def policy(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE POLICY {quote(fact.name)} ON {fact.parent}"
    text += (
        f" AS {'PERMISSIVE' if value['permissive'] else 'RESTRICTIVE'} FOR {_text(fact, 'command').upper()}"
    )
    text += f" TO {', '.join(_tuple(fact, 'roles'))}"
    text += f" USING ({value['using']})" if value["using"] is not None else ""
    return [text + (f" WITH CHECK ({value['check']})" if value["check"] is not None else "")]


# --- types -------------------------------------------------------------------------------------------------------

_STORAGE = {"p": "plain", "e": "external", "x": "extended", "m": "main"}
_ALIGNMENT = {"c": "char", "s": "int2", "i": "int4", "d": "double"}


def type(fact: Fact, snapshot: Snapshot) -> list[str]:
    value, name = fact.attributes, fact.identity
    match value["variant"]:
        case "enum":
            return [f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, _tuple(fact, 'labels')))})"]
        case "composite":
            own = snapshot.children(fact, "composite type column")
            own.sort(key=lambda column: int(_text(column, "position")))
            return [f"CREATE TYPE {name} AS ({', '.join(column_definition(c, snapshot) for c in own)})"]
        case "domain":
            text = f"CREATE DOMAIN {name} AS {value['base_type']}"
            text += f" COLLATE {value['collation']}" if value["collation"] else ""
            text += f" DEFAULT {value['default']}" if value["default"] is not None else ""
            return [text + (f" {_constraint_name(fact)}NOT NULL" if value["not_null"] else "")]
        case "range":
            parts = [f"SUBTYPE = {value['subtype']}", f"MULTIRANGE_TYPE_NAME = {value['multirange']}"]
            if value["subtype_opclass"]:
                parts.append(f"SUBTYPE_OPCLASS = {_text(fact, 'subtype_opclass').rpartition(' USING ')[0]}")
            if value["collation"]:
                parts.append(f"COLLATION = {value['collation']}")
            if value["subtype_diff"]:
                parts.append(f"SUBTYPE_DIFF = {value['subtype_diff']}")
            text = f"CREATE TYPE {name} AS RANGE ({', '.join(parts)}"
            if value["canonical"]:  # the function takes the type, so a shell of it comes first
                return [f"CREATE TYPE {name}", f"{text}, CANONICAL = {called(value['canonical'])})"]
            return [f"{text})"]
        case "base":
            return [f"CREATE TYPE {name}", base_type(fact)]
        case _:
            return [f"CREATE TYPE {name}"]


def base_type(fact: Fact) -> str:
    """The statement that completes a shell type, when its functions are there."""
    value = dict(pairs(_tuple(fact, "base_properties")))
    words = {
        "input": "INPUT", "output": "OUTPUT", "receive": "RECEIVE", "send": "SEND", "typmod_in": "TYPMOD_IN",
        "typmod_out": "TYPMOD_OUT", "analyze": "ANALYZE", "subscript": "SUBSCRIPT",
    }  # fmt: skip
    parts = [f"{word} = {called(value[key])}" for key, word in words.items() if value[key] != "-"]
    parts.append(f"INTERNALLENGTH = {'VARIABLE' if value['length'] == '-1' else value['length']}")
    if value["by_value"] in ("t", "true"):
        parts.append("PASSEDBYVALUE")
    parts += [
        f"ALIGNMENT = {_ALIGNMENT[value['alignment']]}",
        f"STORAGE = {_STORAGE[value['storage']]}",
        f"CATEGORY = {literal(value['category'])}",
        f"PREFERRED = {value['preferred']}",
        f"DELIMITER = {literal(value['delimiter'])}",
    ]
    if fact.attributes["element"]:
        parts.append(f"ELEMENT = {fact.attributes['element']}")
    if fact.attributes["default"] is not None:
        parts.append(f"DEFAULT = {literal(_text(fact, 'default'))}")
    if value.get("collatable") in ("t", "true"):
        parts.append("COLLATABLE = true")
    return f"CREATE TYPE {fact.identity} ({', '.join(parts)})"


def collation(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    collate, ctype = value["collate"], value["ctype"]
    if (
        value["encoding"] == -1 and value["provider"] == "libc"
    ):  # it is for every encoding, as only copies are
        return [f"CREATE COLLATION {fact.identity} FROM pg_catalog.{quote(str(collate))}"]
    parts: list[tuple[str, object]] = [("PROVIDER", value["provider"])]
    if value["provider"] == "libc" and collate != ctype:
        parts += [("LC_COLLATE", literal(str(collate))), ("LC_CTYPE", literal(str(ctype)))]
    elif collate is not None:
        parts.append(("LOCALE", literal(str(collate))))
    if not value["deterministic"]:
        parts.append(("DETERMINISTIC", "false"))
    if value["rules"]:
        parts.append(("RULES", literal(str(value["rules"]))))
    return [f"CREATE COLLATION {fact.identity} ({_listed(parts)})"]


# --- routines ----------------------------------------------------------------------------------------------------


def function(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    name = f"{quote(fact.schema or '')}.{quote(fact.name)}"
    text = f"CREATE OR REPLACE {fact.kind.upper()} {name}({value['arguments']})"
    if value["returns"] is not None and fact.kind == "function":
        text += f" RETURNS {value['returns']}"
    text += f" LANGUAGE {quote(_text(fact, 'language'))}"
    if value["transforms"]:
        text += " TRANSFORM " + ", ".join(f"FOR TYPE {name}" for name in _tuple(fact, "transforms"))
    if fact.kind == "function":
        text += " WINDOW" * bool(value["window"])
        if value["volatility"] != "volatile":
            text += f" {_text(fact, 'volatility').upper()}"
        text += " STRICT" * bool(value["strict"]) + " LEAKPROOF" * bool(value["leakproof"])
        if value["parallel"] != "unsafe":
            text += f" PARALLEL {_text(fact, 'parallel').upper()}"
        if value["cost"] != ("1" if value["language"] in ("c", "internal") else "100"):
            text += f" COST {value['cost']}"
        returns_set = str(value["returns"]).startswith(("SETOF ", "TABLE("))
        if value["rows"] != ("1000" if returns_set else "0"):
            text += f" ROWS {value['rows']}"
        if value["support"]:
            text += f" SUPPORT {called(value['support'])}"
    text += " SECURITY DEFINER" * bool(value["security_definer"])
    for key, new in pairs(_tuple(fact, "settings")):
        text += f" SET {setting(key, new)}"
    if value["sql_body"]:
        return [f"{text}\n{value['body']}"]
    if value["library"]:
        return [f"{text} AS {literal(_text(fact, 'library'))}, {literal(_text(fact, 'body'))}"]
    return [f"{text} AS {dollar(_text(fact, 'body'))}"]


def aggregate(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes

    def routine(attribute: str) -> str | None:
        return called(value[attribute]) if value[attribute] else None

    def text(attribute: str) -> str | None:
        return literal(_text(fact, attribute)) if value[attribute] is not None else None

    def modify(attribute: str, usual: str) -> str | None:
        return str(value[attribute]).upper().replace(" ", "_") if value[attribute] != usual else None

    usual = "read only" if value["variant"] == "normal" else "read write"
    parts = _listed(
        [
            ("SFUNC", routine("transition")), ("STYPE", value["state"]), ("SSPACE", value["state_space"]),
            ("FINALFUNC", routine("final")), ("FINALFUNC_MODIFY", modify("final_modify", usual)),
            ("COMBINEFUNC", routine("combine")), ("SERIALFUNC", routine("serialize")),
            ("DESERIALFUNC", routine("deserialize")), ("INITCOND", text("initial")),
            ("MSFUNC", routine("moving_transition")), ("MINVFUNC", routine("moving_inverse")),
            ("MSTYPE", value["moving_state"]), ("MSSPACE", value["moving_space"]),
            ("MFINALFUNC", routine("moving_final")),
            ("MFINALFUNC_MODIFY", modify("moving_final_modify", usual) if value["moving_state"] else None),
            ("MINITCOND", text("moving_initial")),
            ("SORTOP", operator(value["sort_operator"]) if value["sort_operator"] else None),
            ("PARALLEL", value["parallel"]),
        ]
    )  # fmt: skip
    for attribute, word in (("final_extra", "FINALFUNC_EXTRA"), ("moving_final_extra", "MFINALFUNC_EXTRA")):
        parts += f", {word}" if value[attribute] else ""
    parts += ", HYPOTHETICAL" if value["variant"] == "hypothetical set" else ""
    name = f"{quote(fact.schema or '')}.{quote(fact.name)}"
    return [f"CREATE AGGREGATE {name}({value['arguments'] or '*'}) ({parts})"]


def cast(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    ways = {
        "function": f"WITH FUNCTION {value['function']}",
        "inout": "WITH INOUT",
        "binary": "WITHOUT FUNCTION",
    }
    context = {"explicit": "", "assignment": " AS ASSIGNMENT", "implicit": " AS IMPLICIT"}
    return [f"CREATE CAST {fact.identity} {ways[_text(fact, 'method')]}{context[_text(fact, 'context')]}"]


def operator_(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    left, _, right = arguments(fact.identity).partition(",")
    parts = _listed(
        [
            ("FUNCTION", called(value["function"])),
            ("LEFTARG", left if left != "NONE" else None),
            ("RIGHTARG", right),
            ("COMMUTATOR", operator(value["commutator"]) if value["commutator"] else None),
            ("NEGATOR", operator(value["negator"]) if value["negator"] else None),
            ("RESTRICT", called(value["restrict_estimator"]) if value["restrict_estimator"] else None),
            ("JOIN", called(value["join_estimator"]) if value["join_estimator"] else None),
        ]
    )
    parts += ", HASHES" * bool(value["hashes"]) + ", MERGES" * bool(value["merges"])
    return [f"CREATE OPERATOR {called(fact.identity)} ({parts})"]


def operator_family(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE OPERATOR FAMILY {fact.identity}"]


def operator_class(fact: Fact, snapshot: Snapshot) -> list[str]:
    """The class with those members that are its own: pg_depend tells them from the family's loose ones."""
    value = fact.attributes
    name, _, method = fact.identity.rpartition(" USING ")
    family = _text(fact, "family").rpartition(" USING ")[0]
    members = []
    for kind in ("operator of access method", "function of access method"):
        for member in snapshot.iter(kind):
            if fact.key in snapshot.wholes(member.key):
                members.append(family_member(member))
    if value["storage"] or not members:
        members.append(f"STORAGE {value['storage'] or value['type']}")
    default = " DEFAULT" * bool(value["default"])
    head = f"CREATE OPERATOR CLASS {name}{default} FOR TYPE {value['type']} USING {method} FAMILY {family}"
    return [f"{head} AS {', '.join(members)}"]


#: As ``pg_identify_object`` names a member: "operator 1 (integer, integer) of public.fam USING btree".
_MEMBER = re.compile(r"(operator|function) (\d+) (\(.*\)) of (.*)", re.DOTALL)


def _member(identity: str) -> tuple[str, str, str, str]:
    match = _MEMBER.fullmatch(identity)
    assert match is not None, identity
    return match[1].upper(), match[2], match[3], match[4]


def family_member(fact: Fact) -> str:
    """An operator or function, as CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY list it."""
    what, number, types, _ = _member(fact.identity)
    if what == "FUNCTION":
        return f"FUNCTION {number} {types} {fact.attributes['function']}"
    text = f"OPERATOR {number} {fact.attributes['operator']}"
    if fact.attributes["purpose"] == "ordering":
        text += f" FOR ORDER BY {_text(fact, 'sort_family').rpartition(' USING ')[0]}"
    return text


def loose_member(fact: Fact, snapshot: Snapshot) -> list[str]:
    if any(kind == "operator class" for kind, _ in snapshot.wholes(fact.key)):
        return []  # its class brings it along
    return [add_member(fact)]


def add_member(fact: Fact) -> str:
    """The statement that adds an operator or function to a family."""
    return f"ALTER OPERATOR FAMILY {_member(fact.identity)[3]} ADD {family_member(fact)}"


def drop_member(identity: str) -> str:
    what, number, types, family = _member(identity)
    return f"ALTER OPERATOR FAMILY {family} DROP {what} {number} {types}"


def conversion(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    default = "DEFAULT " if value["default"] else ""
    return [
        f"CREATE {default}CONVERSION {fact.identity} FOR {literal(_text(fact, 'source'))}"
        f" TO {literal(_text(fact, 'target'))} FROM {called(value['function'])}"
    ]


def transform(fact: Fact, snapshot: Snapshot) -> list[str]:
    ways = {"FROM SQL": fact.attributes["from_sql"], "TO SQL": fact.attributes["to_sql"]}
    parts = ", ".join(f"{words} WITH FUNCTION {name}" for words, name in ways.items() if name)
    return [f"CREATE TRANSFORM {fact.identity} ({parts})"]


def language(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE {'TRUSTED ' * bool(value['trusted'])}LANGUAGE {fact.identity} HANDLER {called(value['handler'])}"
    text += f" INLINE {called(value['inline'])}" if value["inline"] else ""
    return [text + (f" VALIDATOR {called(value['validator'])}" if value["validator"] else "")]


def access_method(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    return [
        f"CREATE ACCESS METHOD {fact.identity} TYPE {_text(fact, 'type').upper()} HANDLER {called(value['handler'])}"
    ]


# --- text search -------------------------------------------------------------------------------------------------


def text_search_parser(fact: Fact, snapshot: Snapshot) -> list[str]:
    words = {
        "start": "START",
        "token": "GETTOKEN",
        "end": "END",
        "token_types": "LEXTYPES",
        "headline": "HEADLINE",
    }
    parts = _listed([(w, called(v) if (v := fact.attributes[key]) else None) for key, w in words.items()])
    return [f"CREATE TEXT SEARCH PARSER {fact.identity} ({parts})"]


def text_search_template(fact: Fact, snapshot: Snapshot) -> list[str]:
    words = {"init": "INIT", "lexize": "LEXIZE"}
    parts = _listed([(w, called(v) if (v := fact.attributes[key]) else None) for key, w in words.items()])
    return [f"CREATE TEXT SEARCH TEMPLATE {fact.identity} ({parts})"]


def text_search_dictionary(fact: Fact, snapshot: Snapshot) -> list[str]:
    options = f", {fact.attributes['options']}" if fact.attributes["options"] else ""
    return [
        f"CREATE TEXT SEARCH DICTIONARY {fact.identity} (TEMPLATE = {fact.attributes['template']}{options})"
    ]


def text_search_configuration(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE TEXT SEARCH CONFIGURATION {fact.identity} (PARSER = {fact.attributes['parser']})"]


# --- foreign data and replication --------------------------------------------------------------------------------


def foreign_data_wrapper(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE FOREIGN DATA WRAPPER {fact.identity}"
    text += f" HANDLER {called(value['handler'])}" if value["handler"] else ""
    text += f" VALIDATOR {called(value['validator'])}" if value["validator"] else ""
    return [text + foreign(_tuple(fact, "options"))]


def server(fact: Fact, snapshot: Snapshot) -> list[str]:
    value = fact.attributes
    text = f"CREATE SERVER {fact.identity}"
    text += f" TYPE {literal(_text(fact, 'type'))}" if value["type"] is not None else ""
    text += f" VERSION {literal(_text(fact, 'version'))}" if value["version"] is not None else ""
    return [f"{text} FOREIGN DATA WRAPPER {value['wrapper']}{foreign(_tuple(fact, 'options'))}"]


def mapped(identity: str) -> str:
    """``user on server name``, both as they are, as FOR … SERVER …."""
    user, _, name = identity.partition(" on server ")
    return f"FOR {'PUBLIC' if user == 'public' else quote(user)} SERVER {quote(name)}"


def user_mapping(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE USER MAPPING {mapped(fact.identity)}{foreign(_tuple(fact, 'options'))}"]


def drop_user_mapping(identity: str) -> str:
    return f"DROP USER MAPPING {mapped(identity)}"


def event_trigger(fact: Fact, snapshot: Snapshot) -> list[str]:
    value, tags = fact.attributes, _tuple(fact, "tags")
    when = f" WHEN TAG IN ({', '.join(map(literal, tags))})" if tags else ""
    call = called(value["function"])
    return [f"CREATE EVENT TRIGGER {fact.identity} ON {value['event']}{when} EXECUTE FUNCTION {call}()"]


def publication_options(fact: Fact, version: int) -> str:
    """The parameters of a publication, without the parentheses; those the server does not know are left out."""
    value = fact.attributes
    publish = ", ".join(what for what in ("insert", "update", "delete", "truncate") if value[what])
    text = f"publish = '{publish}', publish_via_partition_root = {str(bool(value['via_root'])).lower()}"
    if value["generated_columns"] != "none" or version >= 180000:
        text += f", publish_generated_columns = {value['generated_columns']}"
    return text


def publication(fact: Fact, snapshot: Snapshot) -> list[str]:
    everything = " FOR ALL TABLES" if fact.attributes["all_tables"] else ""
    return [f"CREATE PUBLICATION {fact.identity}{everything} WITH ({publication_options(fact, 0)})"]


def _published(identity: str) -> tuple[str, str]:
    """(what, publication) of "what in publication name"."""
    what, _, publication = identity.rpartition(" in publication ")
    return what, publication


def publication_relation(fact: Fact, snapshot: Snapshot) -> list[str]:
    table, publication = _published(fact.identity)
    names = _tuple(fact, "columns")
    text = f"ALTER PUBLICATION {publication} ADD TABLE ONLY {table}"
    text += f" ({', '.join(map(quote, names))})" if names else ""
    rows = fact.attributes["row_filter"]
    return [text + (f" WHERE ({rows})" if rows else "")]


def drop_publication_relation(identity: str) -> str:
    table, publication = _published(identity)
    return f"ALTER PUBLICATION {publication} DROP TABLE ONLY {table}"


def publication_namespace(fact: Fact, snapshot: Snapshot) -> list[str]:
    schema, publication = _published(fact.identity)
    return [f"ALTER PUBLICATION {quote(publication)} ADD TABLES IN SCHEMA {quote(schema)}"]


def drop_publication_namespace(identity: str) -> str:
    schema, publication = _published(identity)
    return f"ALTER PUBLICATION {quote(publication)} DROP TABLES IN SCHEMA {quote(schema)}"


def subscription_options(fact: Fact) -> list[str]:
    """The parameters that ALTER SUBSCRIPTION can set, too; those at their defaults are left out."""
    value = fact.attributes
    slot = value["slot"]
    found = [
        ("slot_name", quote(str(slot)) if slot else "NONE", True),
        ("binary", str(bool(value["binary"])).lower(), value["binary"]),
        ("streaming", value["streaming"], value["streaming"] != "off"),
        (
            "synchronous_commit",
            literal(_text(fact, "synchronous_commit")),
            value["synchronous_commit"] != "off",
        ),
        ("disable_on_error", str(bool(value["disable_on_error"])).lower(), value["disable_on_error"]),
        ("password_required", str(bool(value["password_required"])).lower(), not value["password_required"]),
        ("run_as_owner", str(bool(value["run_as_owner"])).lower(), value["run_as_owner"]),
        ("origin", value["origin_filter"], value["origin_filter"] != "any"),
    ]
    return [f"{key} = {text}" for key, text, told in found if told]


def subscription(fact: Fact, snapshot: Snapshot) -> list[str]:
    """It does not connect: the slot is made, and the subscription refreshed, by whoever knows the other side."""
    value = fact.attributes
    publications = ", ".join(map(quote, _tuple(fact, "publications")))
    options = ["connect = false", *subscription_options(fact)]
    options += ["two_phase = true"] if value["two_phase"] else []
    options += ["failover = true"] if value["failover"] else []
    head = (
        f"CREATE SUBSCRIPTION {fact.identity} CONNECTION {literal('dbname=***')} PUBLICATION {publications}"
    )
    return [f"{head} WITH ({', '.join(options)})"]


# --- the database and its roles ----------------------------------------------------------------------------------

_FLAGS = {
    "superuser": "SUPERUSER",
    "inherit": "INHERIT",
    "create_role": "CREATEROLE",
    "create_database": "CREATEDB",
    "login": "LOGIN",
    "replication": "REPLICATION",
    "bypass_row_security": "BYPASSRLS",
}


def role_options(fact: Fact, attributes: frozenset[str] | None = None) -> str:
    """The options of CREATE ROLE and ALTER ROLE, all or those that stand for *attributes*."""
    value = fact.attributes
    words = [
        word if value[key] else f"NO{word}"
        for key, word in _FLAGS.items()
        if attributes is None or key in attributes
    ]
    if attributes is None or "connection_limit" in attributes:
        words.append(f"CONNECTION LIMIT {value['connection_limit']}")
    until = value.get("valid_until")
    if until is not None or (attributes and "valid_until" in attributes):
        words.append(f"VALID UNTIL {literal(str(until or 'infinity'))}")
    return " ".join(words)


def role(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE ROLE {fact.identity} {role_options(fact)}"]


#: "membership of role m in role r"
_MEMBERSHIP = re.compile(r'membership of role ((?:"(?:[^"]|"")*"|\S)+) in role (.+)', re.DOTALL)


def membership(identity: str) -> tuple[str, str]:
    """(member, group) of a membership."""
    match = _MEMBERSHIP.fullmatch(identity)
    assert match is not None, identity
    return match[1], match[2]


def role_membership(fact: Fact, snapshot: Snapshot) -> list[str]:
    member, group = membership(fact.identity)
    value = fact.attributes
    text = f"GRANT {group} TO {member}"
    if int(snapshot.manifest.get("server_version", 0)) >= 160000:
        options = {"ADMIN": value["admin"], "INHERIT": value["inherit"], "SET": value["set_role"]}
        return [f"{text} WITH {', '.join(f'{key} {str(bool(on)).upper()}' for key, on in options.items())}"]
    return [text + " WITH ADMIN OPTION" * bool(value["admin"])]


def drop_membership(identity: str) -> str:
    member, group = membership(identity)
    return f"REVOKE {group} FROM {member}"


#: "name for database", "name for all", "name for role r", "name for role r in database"
_SETTING = re.compile(r"(\S+) for (database|all|role (.*?)( in database)?)", re.DOTALL)


def _setting(identity: str, action: str) -> str:
    match = _SETTING.fullmatch(identity)
    assert match is not None, identity
    if match[2] == "all":
        return f"ALTER ROLE ALL {action}"
    if match[2] == "database":
        return execute(f"ALTER DATABASE %I {action.replace('%', '%%')}")
    role = f"ALTER ROLE {match[3]}"
    if match[4]:
        return execute(f"{role.replace('%', '%%')} IN DATABASE %I {action.replace('%', '%%')}")
    return f"{role} {action}"


def database_setting(fact: Fact, snapshot: Snapshot) -> list[str]:
    name = fact.identity.partition(" for ")[0]
    return [_setting(fact.identity, f"SET {setting(name, _text(fact, 'value'))}")]


def drop_setting(identity: str) -> str:
    return _setting(identity, f"RESET {_name(identity.partition(' for ')[0])}")


def schema(fact: Fact, snapshot: Snapshot) -> list[str]:
    return [f"CREATE SCHEMA {fact.identity}"]


def extension(fact: Fact, snapshot: Snapshot) -> list[str]:
    schema, version = quote(_text(fact, "extension_schema")), quote(_text(fact, "version"))
    return [f"CREATE EXTENSION {fact.identity} SCHEMA {schema} VERSION {version}"]
