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
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.history.split import split

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Snapshot

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
    "pg_net": {
        name: "SELECT nextval('net.http_request_queue_id_seq')"
        for name in ("http_get/4", "http_post/5", "http_delete/4", "http_delete/5")
    },
    "pg_cron": {
        "schedule/3": """INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3)
            ON CONFLICT ON CONSTRAINT jobname_username_uniq
            DO UPDATE SET schedule = EXCLUDED.schedule, command = EXCLUDED.command RETURNING jobid""",
        "schedule/2": "INSERT INTO cron.job (schedule, command) VALUES ($1, $2) RETURNING jobid",
        "unschedule/1": "DELETE FROM cron.job WHERE $1::text IN (jobname, jobid::text); SELECT true",
    },
    "supabase_vault": {
        "create_secret/3": "INSERT INTO vault.secrets (secret, name, description) VALUES ('', $2, $3) RETURNING id",
        "create_secret/4": "INSERT INTO vault.secrets (secret, name, description) VALUES ('', $2, $3) RETURNING id",
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
    origin: str
    says: str


def _write_files(target: Path, script: _Script, versions: Collection[str]) -> None:
    control = [
        f"comment = 'stand-in for {script.name}'".replace("''", "'"),
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
        if version != script.version:  # so that a later ALTER EXTENSION … UPDATE finds its way
            (target / f"{script.name}--{version}--{script.version}.sql").write_text("", encoding="utf-8")


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
    inputs = [a for a in _arguments(arguments) if not a.startswith(("OUT ", "TABLE "))]
    returns = re.match(r"\s*RETURNS\s+(\w+)", statement[header.end() + len(arguments) + 1 :])
    return f"{statement} {body(extension, header[1], len(inputs), returns[1] if returns else 'void')}"


def body(extension: str, function: str, arguments: int, returns: str) -> str:
    """``LANGUAGE … AS …`` of a stand-in's function."""
    known = BEHAVIOUR.get(extension, {}).get(f"{function}/{arguments}")
    if known is None and arguments == 0 and returns == "uuid":
        known = _UUID  # the default of many a primary key
    if known is not None:
        return f"LANGUAGE sql AS $standin${known}$standin$"
    message = f"stand-in for extension {extension}: {function}() does nothing here".replace("'", "''")
    return f"LANGUAGE plpgsql AS $standin$BEGIN RAISE EXCEPTION '{message.replace('%', '%%')}'; END$standin$"


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


def _from_snapshot(snapshot: Snapshot | None, name: str) -> _Script | None:
    return None
