"""Stand-ins for extensions that the shadow server does not have.

A migration says ``CREATE EXTENSION x`` and the scratch server's binaries lack ``x``. What a schema needs of
an extension is its objects, not its behaviour: types for columns, functions for defaults, operator classes
for indexes. So an extension script is written that creates just those, taken from the audited
database's own catalog or, where that does not have the extension (yet), from the short scripts in
``platform_sql/standins``. Functions raise an error when called, except the few that data migrations
cannot do without (`BEHAVIOUR`). The report names every stand-in.

The files go where the server looks for extensions: on PostgreSQL 18 and newer a directory named in
``extension_control_path`` (`settings`), before that the ``share`` directory of a copy of the binaries
(``Binaries.copy``). Inside either the layout is ``extension/NAME.control``, ``extension/NAME--VERSION.sql``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.catalog import create
from auditkit.catalog.grants import quote
from auditkit.catalog.kinds import KINDS, literal
from auditkit.catalog.sql import called
from auditkit.history.split import split

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Fact, Snapshot

__all__ = ["BUNDLED", "StandIn", "settings", "wanted", "write"]


@dataclass(frozen=True)
class StandIn:
    """One stand-in: ``origin`` is 'audited database' or 'bundled'; ``says`` is the report's line."""

    extension: str
    version: str
    origin: str
    says: str


_SCRIPTS = resources.files("auditkit.history") / "platform_sql" / "standins"

#: Extensions that have a generic stand-in, for databases where they were not created yet.
BUNDLED = frozenset(
    script.name.removesuffix(".sql") for script in _SCRIPTS.iterdir() if script.name.endswith(".sql")
)

_REQUEST = "SELECT nextval('net.http_request_queue_id_seq')"
_VAULT_ROW = "INSERT INTO vault.secrets (secret, name, description) VALUES ('', $2, $3) RETURNING id"
_UUID = "SELECT pg_catalog.gen_random_uuid()"
_NAMED_UUID = "SELECT md5($1::text || $2)::uuid"
_DIGEST = """SELECT CASE lower($2)
    WHEN 'md5' THEN decode(md5(convert_to($1::text, 'UTF8')), 'hex')
    WHEN 'sha224' THEN sha224(convert_to($1::text, 'UTF8'))
    WHEN 'sha384' THEN sha384(convert_to($1::text, 'UTF8'))
    WHEN 'sha512' THEN sha512(convert_to($1::text, 'UTF8'))
    ELSE sha256(convert_to($1::text, 'UTF8')) END"""

#: What some functions do instead of raising, because migrations that carry data call them: extension ->
#: "name/number of arguments" -> body of a function in SQL. Only the kind of value is right.
BEHAVIOUR: dict[str, dict[str, str]] = {
    "uuid-ossp": {
        "uuid_nil/0": "SELECT '00000000-0000-0000-0000-000000000000'::uuid",
        "uuid_ns_dns/0": "SELECT '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid",
        "uuid_ns_url/0": "SELECT '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid",
        "uuid_ns_oid/0": "SELECT '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid",
        "uuid_ns_x500/0": "SELECT '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid",
        "uuid_generate_v3/2": _NAMED_UUID,
        "uuid_generate_v5/2": _NAMED_UUID,
    },
    "pgcrypto": {
        "digest/2": _DIGEST,
        "hmac/3": "SELECT sha256(convert_to($1::text || $2::text, 'UTF8'))",
        "crypt/2": "SELECT $2 || md5($1 || $2)",
        "gen_salt/1": "SELECT '$' || $1 || '$' || substr(md5(random()::text), 1, 16)",
        "gen_salt/2": "SELECT '$' || $1 || '$' || substr(md5(random()::text), 1, 16)",
        "gen_random_bytes/1": """SELECT substr(string_agg(uuid_send(pg_catalog.gen_random_uuid()), ''), 1, $1)
            FROM generate_series(0, $1 / 16)""",
    },
    "pg_net": dict.fromkeys(("http_get/4", "http_post/5", "http_delete/4", "http_delete/5"), _REQUEST),
    "pg_cron": {
        "schedule/3": """INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3)
            ON CONFLICT ON CONSTRAINT jobname_username_uniq
            DO UPDATE SET schedule = EXCLUDED.schedule, command = EXCLUDED.command RETURNING jobid""",
        "schedule/2": "INSERT INTO cron.job (schedule, command) VALUES ($1, $2) RETURNING jobid",
        "unschedule/1": "DELETE FROM cron.job WHERE $1::text IN (jobname, jobid::text); SELECT true",
    },
    "supabase_vault": {
        "create_secret/3": _VAULT_ROW,
        "create_secret/4": _VAULT_ROW,
    },
    "pgmq": {
        "create/1": "SELECT",
        "create_non_partitioned/1": "SELECT",
        "create_unlogged/1": "SELECT",
        "drop_queue/1": "SELECT true",
    },
    "pg_graphql": {"get_schema_version/0": "SELECT 1", "resolve/4": "SELECT '{}'::jsonb"},
}

#: Extensions whose control file fixes their schema; the catalog does not say so.
FIXED_SCHEMA = frozenset(
    {"pg_cron", "pgsodium", "supabase_vault", "pgmq", "pg_graphql", "pg_tle", "timescaledb", "pgroonga"}
)

_NAME = r'(?:"((?:[^"]|"")+)"|([A-Za-z_][\w$]*))'
_CREATE = re.compile(rf"\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?{_NAME}", re.I)
_VERSION = re.compile(r"""\bversion\s+(?:'([^']+)'|"([^"]+)"|([\w.]+))""", re.I)


def wanted(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The extensions that *texts* (SQL of migrations, statements of a base) create, in order.

    The value holds the versions asked for by name (``VERSION '1.2'``), mostly none. Commands built inside
    ``DO`` or ``EXECUTE`` are found too: this reads text, it does not parse SQL. A comment that
    mentions a command costs at most a stand-in that nobody creates.
    """
    found: dict[str, frozenset[str]] = {}
    for text in texts:
        for match in _CREATE.finditer(text):
            name = match[1].replace('""', '"') if match[1] else match[2].lower()
            rest = re.split(r"[;\n]", text[match.end() :], maxsplit=1)[0]
            version = _VERSION.search(rest)
            versions = {next(filter(None, version.groups()))} if version else set[str]()
            found[name] = found.get(name, frozenset()) | versions
    return found


def settings(directory: Path) -> dict[str, str]:
    """Server settings (PostgreSQL 18 and newer) with which stand-ins written to *directory* are found."""
    return {"extension_control_path": f"{directory}:$system"}


def write(
    snapshot: Snapshot | None,
    missing: Iterable[str],
    directory: Path,
    *,
    available: Collection[str] = (),
    versions: Mapping[str, Collection[str]] | None = None,
) -> list[StandIn]:
    """Write stand-ins for the *missing* extensions below ``directory/extension``; return those written.

    *available* is what the server's binaries have (``Binaries.extensions``): what a stand-in requires is
    written too unless it is there. *versions* are further versions that migrations ask for by name (as
    `wanted` returns them); the audited database's own version is the default one. An extension of which
    neither the audited database nor `BUNDLED` knows anything is not in the result: then
    ``CREATE EXTENSION`` fails, rightly.
    """
    target = directory / "extension"
    target.mkdir(parents=True, exist_ok=True)
    written: dict[str, StandIn] = {}
    queue = list(missing)
    while queue:
        name = queue.pop(0)
        if name in written:
            continue
        script = _from_snapshot(snapshot, name) or _from_bundle(name)
        if script is None:
            continue
        _write_files(target, script, (versions or {}).get(name, frozenset()))
        written[name] = StandIn(name, script.version, script.origin, script.says)
        queue += [required for required in script.requires if required not in available]
    return list(written.values())


@dataclass(frozen=True)
class _Script:
    name: str
    version: str
    relocatable: bool
    schema: str | None
    requires: tuple[str, ...]
    body: str
    comment: str
    origin: str
    says: str


def _write_files(target: Path, script: _Script, versions: Collection[str]) -> None:
    control = [
        f"comment = {literal(script.comment)}",
        f"default_version = '{script.version}'",
        f"relocatable = {'true' if script.relocatable else 'false'}",
        "superuser = false",  # the shadow's own role decides what it may run
    ]
    if script.schema:
        control.append(f"schema = {script.schema}")
    if script.requires:
        control.append(f"requires = '{', '.join(script.requires)}'")
    (target / f"{script.name}.control").write_text("\n".join(control) + "\n", encoding="utf-8")
    for version in {script.version, *versions}:
        (target / f"{script.name}--{version}.sql").write_text(script.body, encoding="utf-8")
        if version != script.version:  # so that a later ALTER EXTENSION … UPDATE finds its way, and back
            for way in (f"{version}--{script.version}", f"{script.version}--{version}"):
                (target / f"{script.name}--{way}.sql").write_text("", encoding="utf-8")


def _from_bundle(name: str) -> _Script | None:
    if name not in BUNDLED:
        return None
    text = (_SCRIPTS / f"{name}.sql").read_text(encoding="utf-8")
    head = dict(re.findall(r"(?m)^-- (version|relocatable|schema|requires): (.+)$", text))
    statements = [_with_body(name, statement.text) for statement in split(text)]
    return _Script(
        name=name,
        version=head["version"],
        relocatable=head["relocatable"] == "true",
        schema=head.get("schema"),
        requires=tuple(re.split(r",\s*", head["requires"])) if "requires" in head else (),
        body=_script(statements),
        comment=f"stand-in for {name}",
        origin="bundled",
        says=f"{name} {head['version']}: generic stand-in with its commonest objects; functions do not work",
    )


def _script(statements: Iterable[str]) -> str:
    # Bodies may mention tables that come later, and a stand-in's need not be checked at all.
    return "SET LOCAL check_function_bodies = off;\n" + "".join(f"{s};\n" for s in statements)


def _with_body(extension: str, statement: str) -> str:
    """Complete ``CREATE FUNCTION name(…) RETURNS …`` of a bundled script, which leaves the body out."""
    header = re.search(r"\bCREATE FUNCTION (?:\w+\.)?(\w+)\(", statement)
    if header is None or re.search(r"\bLANGUAGE\b", statement):
        return statement
    arguments = _balanced(statement, header.end())
    returns = re.match(r"\s*RETURNS\s+(\w+)", statement[header.end() + len(arguments) + 1 :])
    return f"{statement} " + _body(
        extension,
        header[1],
        arguments,
        returns=returns[1] if returns else "void",
        immutable=" IMMUTABLE" in statement,
    )


def _body(extension: str, function: str, arguments: str, *, returns: str, immutable: bool) -> str:
    """``LANGUAGE … AS …`` of a stand-in's function.

    What has effects raises an error. What PostgreSQL itself may call while a schema is built does not:
    immutable functions (constants are folded, index expressions computed) give NULL, trigger functions
    do nothing.
    """
    inputs = [a for a in _arguments(arguments) if not a.startswith(("OUT ", "TABLE "))]
    known = BEHAVIOUR.get(extension, {}).get(f"{function}/{len(inputs)}")
    if known is None and not inputs and returns == "uuid":
        known = _UUID  # the default of many a primary key
    if known is not None:
        return f"LANGUAGE sql AS $standin${known}$standin$"
    if returns == "trigger":
        return "LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(NEW, OLD); END'"
    if returns == "event_trigger":
        return "LANGUAGE plpgsql AS 'BEGIN END'"
    if immutable:
        one = re.match(r"(?:SETOF|TABLE|void)\b", returns, re.I) is None and len(inputs) == len(
            _arguments(arguments)
        )
        return f"LANGUAGE plpgsql AS 'BEGIN RETURN{' NULL' * one}; END'"
    message = literal(f"stand-in for extension {extension}: {function}() does not work")
    return f"LANGUAGE plpgsql AS $standin$BEGIN RAISE EXCEPTION USING MESSAGE = {message}; END$standin$"


def _balanced(text: str, start: int) -> str:
    """The text from *start*, just inside a parenthesis, up to the parenthesis that closes it."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return text[start:]


def _arguments(text: str) -> list[str]:
    """Split a list of arguments at its outer commas."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


# --- from the audited database's catalog --------------------------------------------------------------------

#: Functions PostgreSQL has built in that carry a base type of a given length and passing: what its input
#: and output functions are made of. A type of any other shape is stored as text.
_CARRIERS = {("8", "true"): "int8", ("4", "true"): "int4", ("2", "true"): "int2"}
_TEXT = {"input": "textin", "output": "textout", "receive": "textrecv", "send": "textsend"}
_STORAGE = {"p": "plain", "e": "external", "m": "main", "x": "extended"}
_ALIGNMENT = {"c": "char", "s": "int2", "i": "int4", "d": "double"}

#: Handlers that PostgreSQL calls while objects are created: any it has built in will do.
_HANDLERS = {
    "index_am_handler": "gisthandler",
    "table_am_handler": "heap_tableam_handler",
    "tsm_handler": "tsm_bernoulli_handler",
}
#: Support functions without which ``gisthandler`` makes no index.
_GIST_SUPPORT = frozenset({1, 2, 5, 6, 7})
#: Types that no procedural language may take or return. A function of that kind is bound to the input
#: function of pseudo-type internal, which raises an error whatever it is given.
_PSEUDO = re.compile(r'\b(?:cstring|internal|\w+_handler)\b|"any"')

_ORDER = (
    "schema",
    "type",
    "domain constraint",
    "function",
    "procedure",
    "access method",
    "operator",
    "operator family",
    "operator class",
    "operator of access method",
    "function of access method",
    "cast",
    "aggregate",
    "sequence",
    "table",
    "table constraint",
    "index",
    "view",
    "trigger",
    "policy",
    "foreign-data wrapper",
    "text search template",
    "text search dictionary",
)

_REQUIRES = {"earthdistance": ("cube",)}


def _from_snapshot(snapshot: Snapshot | None, name: str) -> _Script | None:
    if snapshot is None:
        return None
    extension = snapshot.get("extension", quote(name))
    if extension is None:
        return None
    schema = str(extension.attributes["extension_schema"])
    version = str(extension.attributes["version"])
    bundled = _from_bundle(name)
    members = [fact for fact in snapshot.iter() if fact.extension == name and fact.kind in _ORDER]
    tables = {fact.identity for fact in members if fact.kind == "table"}
    # A policy is never recorded as a member; the extension's script made it if one of ours does, too.
    members += [
        fact
        for fact in snapshot.iter("policy")
        if fact.parent in tables and bundled and f"CREATE POLICY {fact.name} ON " in bundled.body
    ]
    members.sort(key=lambda fact: (_ORDER.index(fact.kind), fact.identity))
    fixed = name in FIXED_SCHEMA or schema in (name, "pg_catalog")
    relocatable = (
        bundled.relocatable
        if bundled
        else not fixed and all(fact.schema in (schema, None) for fact in members)
    )
    statements = list(_Members(snapshot, name, members).statements())
    if not fixed:
        prefix = "" if relocatable else "@extschema@."
        statements = [_in_schema(statement, schema, prefix) for statement in statements]
    return _Script(
        name=name,
        version=version,
        relocatable=relocatable,
        schema=schema if fixed else None,
        requires=bundled.requires if bundled else _REQUIRES.get(name, ()),
        body=fixpoint(statements),
        comment=str(extension.attributes.get("comment") or ""),
        origin="audited database",
        says=f"{name} {version}: stand-in written from the audited database's catalog "
        f"(members: {len(members)}); its functions do not work",
    )


def fixpoint(statements: Iterable[str]) -> str:
    """One ``DO`` command that runs *statements* in an order that works, whatever order they come in.

    Each round runs what is left and keeps what succeeded; it ends when a round brings nothing. What never
    ran is reported by a warning that starts with ``auditkit:``.
    """
    texts = ",\n".join(literal(statement) for statement in statements)
    tag = next(tag for n in count() if (tag := f"$do{n}$") not in texts)
    return f"""SET LOCAL check_function_bodies = off;
SET LOCAL client_min_messages = warning;
DO {tag}
DECLARE
  left_over text[] := ARRAY[
{texts}
  ]::text[];
  failed text[];
  reasons text[];
  command text;
BEGIN
  LOOP
    failed := '{{}}';
    reasons := '{{}}';
    FOREACH command IN ARRAY left_over LOOP
      BEGIN
        EXECUTE command;
      EXCEPTION WHEN OTHERS THEN
        failed := failed || command;
        reasons := reasons || SQLERRM;
      END;
    END LOOP;
    EXIT WHEN cardinality(failed) IN (0, cardinality(left_over));
    left_over := failed;
  END LOOP;
  FOR place IN 1 .. cardinality(failed) LOOP
    RAISE WARNING 'auditkit: % (%)', reasons[place], left(failed[place], 120);
  END LOOP;
END
{tag};
"""


def _in_schema(statement: str, schema: str, prefix: str) -> str:
    """Let names in the extension's own schema follow the schema that CREATE EXTENSION asks for."""
    quoted = re.escape(schema.replace('"', '""'))
    return re.sub(
        rf'(?<![\w".$])(?:"{quoted}"|{quoted})\.(?=[^\s\w]|\w)', prefix.replace("\\", ""), statement
    )


class _Members:
    """The statements that create the members of one extension, with functions that do no real work."""

    def __init__(self, snapshot: Snapshot, extension: str, members: list[Fact]) -> None:
        self.snapshot = snapshot
        self.extension = extension
        self.members = members
        self.internal: dict[str, str] = {}  # function identity → built-in function it is bound to
        self.harmless: set[str] = set()  # functions that CREATE commands call
        for fact in members:
            if _is_base_type(fact):
                self._bind(fact)
            elif fact.kind == "foreign-data wrapper":
                self.harmless.add(_squeeze(str(fact.attributes["validator"])))
            elif fact.kind == "text search template":
                self.internal[_squeeze(str(fact.attributes["init"]))] = "dsimple_init"
                self.internal[_squeeze(str(fact.attributes["lexize"]))] = "dsimple_lexize"

    def _bind(self, fact: Fact) -> None:
        properties = _properties(fact)
        carrier = _CARRIERS.get((properties["length"], properties["by_value"]))
        for role, builtin in _TEXT.items():
            if properties[role] != "-":
                short = builtin.removeprefix("text")
                self.internal[_squeeze(properties[role])] = f"{carrier}{short}" if carrier else builtin
        if properties["typmod_in"] != "-":
            # One number in parentheses, kept and shown as it is, as in bit(3).
            self.internal[_squeeze(properties["typmod_in"])] = "bittypmodin"

    def statements(self) -> Iterable[str]:
        shells = [
            fact for fact in self.members if fact.kind == "type" and fact.attributes["variant"] == "base"
        ]
        yield from (f"CREATE TYPE {fact.identity}" for fact in shells)
        for fact in self.members:
            yield from self._create(fact)

    def _create(self, fact: Fact) -> Iterable[str]:
        value = fact.attributes
        match fact.kind:
            case "type" if _is_base_type(fact):
                yield self._base_type(fact)
            case "function":
                yield from self._function(fact)
            case "operator":
                yield _operator(fact)
            case "operator class":
                name, _, method = fact.identity.rpartition(" USING ")
                default = " DEFAULT" * bool(value["default"])
                family = str(value["family"]).rpartition(" USING ")[0]
                yield (
                    f"CREATE OPERATOR CLASS {name}{default} FOR TYPE {value['type']} USING {method}"
                    f" FAMILY {family} AS STORAGE {value['storage'] or value['type']}"
                )
                yield from self._support(fact)
            case "operator of access method" | "function of access method":
                yield create.add_member(fact)
            case "foreign-data wrapper":
                handlers = [
                    f"{key.upper()} {called(value[key])}" for key in ("handler", "validator") if value[key]
                ]
                yield f"CREATE FOREIGN DATA WRAPPER {fact.identity} {' '.join(handlers)}"
            case "text search dictionary":
                yield f"CREATE TEXT SEARCH DICTIONARY {fact.identity} (TEMPLATE = {value['template']})"
            case kind:
                if (make := KINDS[kind].create) is not None:
                    yield from make(fact, self.snapshot)

    def _support(self, fact: Fact) -> Iterable[str]:
        """Support functions that the handler in an index method's place wants, and the method itself does not."""
        family, _, method = str(fact.attributes["family"]).rpartition(" USING ")
        if not any(member.kind == "access method" and member.identity == method for member in self.members):
            return
        present = {}
        for member in self.members:
            match = _FAMILY_MEMBER.fullmatch(member.identity)
            if match and match[1] == "function" and member.parent == fact.attributes["family"]:
                present[int(match[2])] = str(member.attributes["function"])
        operand = fact.attributes["type"]
        for number in _GIST_SUPPORT - present.keys() if present else ():
            function = present[min(present)]
            yield f"ALTER OPERATOR FAMILY {family} USING {method} ADD FUNCTION {number} ({operand}, {operand}) {function}"

    def _base_type(self, fact: Fact) -> str:
        properties = _properties(fact)
        carried = (properties["length"], properties["by_value"]) in _CARRIERS
        options = [
            f"{word.upper()} = {called(properties[word])}"
            for word in ("input", "output", "receive", "send", "typmod_in")
            if properties[word] != "-"
        ]
        if carried:
            options += [f"INTERNALLENGTH = {properties['length']}", "PASSEDBYVALUE"]
            options.append(f"ALIGNMENT = {_ALIGNMENT[properties['alignment']]}")
        else:
            storage = _STORAGE[properties["storage"]] if properties["length"] == "-1" else "extended"
            options += [f"STORAGE = {storage}"]
        options += [f"CATEGORY = {literal(properties['category'])}", f"PREFERRED = {properties['preferred']}"]
        options.append(f"DELIMITER = {literal(properties['delimiter'])}")
        if properties["category"] == "S":  # a string type, such as citext, has a collation
            options.append("COLLATABLE = true")
        return f"CREATE TYPE {fact.identity} ({', '.join(options)})"

    def _function(self, fact: Fact) -> Iterable[str]:
        value = fact.attributes
        name, inputs = _signature(fact)
        known = f"{fact.name}/{len(_arguments(inputs))}" in BEHAVIOUR.get(self.extension, {})
        if value["language"] in ("sql", "plpgsql") and not known:
            yield from create.function(fact, self.snapshot)
            return
        words = [
            f"CREATE FUNCTION {name}({value['arguments']}) RETURNS {value['returns']}",
            str(value["volatility"]).upper(),
            "STRICT" * bool(value["strict"]),
            f"PARALLEL {str(value['parallel']).upper()}",
        ]
        yield " ".join(filter(None, [*words, self._does(fact)]))

    def _does(self, fact: Fact) -> str:
        arguments, returns = str(fact.attributes["arguments"]), str(fact.attributes["returns"])
        key = _squeeze(fact.identity)
        builtin = self.internal.get(key) or _HANDLERS.get(returns)
        if builtin is None and arguments == "internal" and returns == "void":
            builtin = "gtsvector_options"  # of an operator class; knows the common option, siglen
        if builtin is None and _PSEUDO.search(f"{arguments} {returns}"):
            builtin = "internal_in"
        if builtin is not None:
            return f"LANGUAGE internal AS '{builtin}'"
        if key in self.harmless:
            return "LANGUAGE plpgsql AS 'BEGIN END'"
        immutable = fact.attributes["volatility"] == "immutable"
        return _body(self.extension, fact.name, arguments, returns=returns, immutable=immutable)


def _is_base_type(fact: Fact) -> bool:
    return fact.kind == "type" and fact.attributes["variant"] == "base"


def _properties(fact: Fact) -> dict[str, str]:
    """``key=value`` pairs of a base type."""
    pairs = fact.attributes["base_properties"]
    assert isinstance(pairs, tuple)
    return {key: value for key, _, value in (str(pair).partition("=") for pair in pairs)}


def _squeeze(signature: str) -> str:
    """A function's signature as both `regprocedure` and `pg_identify_object` would have it."""
    return signature.replace(", ", ",").replace("pg_catalog.", "")


def _signature(fact: Fact) -> tuple[str, str]:
    """Name and input types of a routine, as its identity has them."""
    place = fact.identity.index("(", len(fact.name))
    return fact.identity[:place], fact.identity[place + 1 : -1]


def _operator(fact: Fact) -> str:
    value = fact.attributes
    name, _, operands = fact.identity.rpartition("(")
    left, right = _arguments(operands.rstrip(")"))
    parts = [f"FUNCTION = {called(value['function'])}"]
    parts += [f"LEFTARG = {left}"] * (left.upper() != "NONE") + [f"RIGHTARG = {right}"] * (
        right.upper() != "NONE"
    )
    for key, word in (("commutator", "COMMUTATOR"), ("negator", "NEGATOR")):
        if value[key]:
            parts.append(f"{word} = OPERATOR({called(value[key])})")
    for key, word in (("restrict_estimator", "RESTRICT"), ("join_estimator", "JOIN")):
        # An estimator of the extension's own would raise an error whenever a query is planned.
        if value[key] and "." not in str(value[key]):
            parts.append(f"{word} = {called(value[key])}")
    parts += ["HASHES"] * bool(value["hashes"]) + ["MERGES"] * bool(value["merges"])
    return f"CREATE OPERATOR {name} ({', '.join(parts)})"


_FAMILY_MEMBER = re.compile(r"(operator|function) (\d+) \((.*?)\) of (.*) USING (.+)", re.DOTALL)
