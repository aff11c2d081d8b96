"""How each migration tool lays its files out: one entry for each tool."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auditkit.history import formatted
from auditkit.history.migration import stamp

__all__ = ["LAYOUTS", "SCRIPT", "Layout", "identify", "is_down", "numbers"]


@dataclass(frozen=True)
class Layout:
    """How one tool lays its files out.

    ``file`` is matched against paths inside the migrations directory and has the groups ``version`` and
    ``name``; ``up`` cuts out the part that is applied; ``order`` is the sort key of a version;
    ``autocommit`` finds the directive that keeps a file out of a transaction; ``code`` if the files are
    programs, not SQL; ``endings`` of the files that hold SQL; ``said`` is what the tool asks of names, for the
    note about a file it skips. ``part`` cuts one version out of a file that holds several. ``listed``: the
    project lists its migrations in their order, which versions do not tell. ``others`` are files that the
    tool knows and does not apply in order. ``own`` finds version and name in a file that says them itself.
    """

    tool: str
    file: re.Pattern[str]
    said: str
    up: Callable[[str], str | None] = lambda sql: sql
    order: Callable[[str], Any] = lambda version: version
    autocommit: re.Pattern[str] | None = None
    code: bool = False
    endings: tuple[str, ...] = (".sql",)
    part: Callable[[str, str], str | None] | None = None
    listed: bool = False
    others: re.Pattern[str] | None = None
    own: re.Pattern[str] | None = None


def numbers(version: str) -> tuple[int, ...]:
    """Sort key of a version of numbers, where 1.10 comes after 1.9 and 1.0 equals 1."""
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _section(up: str, down: str) -> Callable[[str], str | None]:
    """Cut out what stands between two marks; None if the first is missing."""
    begin, end = re.compile(up, re.MULTILINE | re.IGNORECASE), re.compile(down, re.MULTILINE | re.IGNORECASE)

    def cut(sql: str) -> str | None:
        start = begin.search(sql)
        if not start:
            return None
        stop = end.search(sql, start.end())
        return "\n" * sql.count("\n", 0, start.end()) + sql[start.end() : stop.start() if stop else None]

    return cut


def _changeset(text: str, version: str) -> str | None:
    """The lines of one changeset of a formatted SQL file; None if the file has none of this id and author."""
    changesets, properties = formatted.changesets(text)
    for changeset in changesets:
        if version.endswith(f"::{changeset.id}::{changeset.author}"):
            return formatted.cut(text, changeset, properties)
    return None


def _changeset_key(version: str) -> tuple[str, ...]:
    """What tells changesets apart; of the file only its name, since paths depend on where Liquibase ran."""
    path, *rest = version.rsplit("::", 2)
    return (re.split(r"[/:]", path)[-1], *rest)


def _pgroll(text: str) -> str | None:
    """The SQL of a pgroll migration whose operations are all SQL; None if one is not."""
    try:
        operations = json.loads(text)["operations"]
        return ";\n".join(operation["sql"]["up"] for operation in operations)
    except (ValueError, LookupError, TypeError):
        return None


_STAMPED = r"(?P<version>[0-9]+)_(?P<name>[^/]*)"
SCRIPT = r"\.(?:js|ts|cjs|mjs|cts|mts)"

# In the order in which a folder is taken to be theirs, when several would fit equally well.
LAYOUTS: dict[str, Layout] = {
    layout.tool: layout
    for layout in (
        Layout(
            "supabase",
            re.compile(rf"{_STAMPED}\.sql"),
            "<timestamp>_name.sql",
            autocommit=re.compile(r"\ufeff?-- pg-delta: transaction=false\r?(?:\n|\Z)"),
        ),
        Layout("prisma", re.compile(r"(?P<version>[^/]+)(?P<name>)/migration\.sql"), "<name>/migration.sql"),
        Layout("drizzle", re.compile(r"(?P<version>[^/]+)(?P<name>)(?:/migration)?\.sql"), "<tag>.sql"),
        Layout("alembic", re.compile(r"(?P<version>)(?P<name>[^/]*)\.py"), "<name>.py", code=True),
        Layout("django", re.compile(r"(?P<version>)(?P<name>[^/]*)\.py"), "<name>.py", code=True),
        Layout(
            "dbmate",
            re.compile(r"(?P<version>[0-9]+)_?(?P<name>[^/]*)\.sql"),
            "<version>_name.sql",
            up=_section(r"^--\s*migrate:up.*$", r"^--\s*migrate:down"),
            autocommit=re.compile(r"^--\s*migrate:up.*\btransaction:false", re.MULTILINE),
        ),
        Layout(
            "goose",
            re.compile(rf"{_STAMPED}\.(?:sql|go)"),
            "<version>_name.sql",
            up=_section(r"^--\s*\+goose up\b.*$", r"^--\s*\+goose down\b"),
            order=numbers,
            autocommit=re.compile(r"^--\s*\+goose no transaction", re.MULTILINE | re.IGNORECASE),
        ),
        Layout(
            "golang-migrate", re.compile(rf"{_STAMPED}\.up\.[^/]*"), "<version>_name.up.sql", order=numbers
        ),
        Layout(
            "sqlx",
            re.compile(rf"(?!.*\.down\.sql){_STAMPED.replace('*', '*?')}(?:\.up)?\.sql"),
            "<version>_name.sql",
            order=numbers,
            autocommit=re.compile(r"-- no-transaction"),
        ),
        Layout(
            "atlas",
            re.compile(r"(?P<version>[^/_]+)(?:_(?P<name>[^/]*))?\.sql"),
            "<version>_name.sql",
            autocommit=re.compile(r"^-- atlas:txmode none", re.MULTILINE),
        ),
        Layout(
            "liquibase",
            re.compile(r"(?P<version>.*)(?P<name>)\.(?:sql|xml|ya?ml|json)"),
            "changelogs with changesets",
            up=formatted.statements,
            order=_changeset_key,
            autocommit=re.compile(r"^\s*--\s*changeset\s.*runInTransaction:false", re.M | re.I),
            endings=(".sql", ".xml", ".yaml", ".yml", ".json"),
            part=_changeset,
            listed=True,
        ),
        Layout(
            "sqitch",
            re.compile(r"(?P<version>[^/]+)(?P<name>)\.sql"),
            "listed in sqitch.plan",
            listed=True,
        ),
        Layout(
            "yoyo",
            re.compile(r"(?P<version>[^/]+)(?P<name>)(?<!\.rollback)\.(?:sql|py)"),
            "<id>.sql or <id>.py",
            autocommit=re.compile(r"^\s*--\s*transactional\s*:\s*false", re.M | re.I),
            listed=True,
        ),
        Layout(
            "hasura",
            re.compile(r"(?P<version>[0-9]+)_(?P<name>[^/]*)/up\.sql"),
            "<version>_name/up.sql",
            order=numbers,
        ),
        Layout(
            "pgroll",
            re.compile(r"(?P<version>[^/.]+)(?P<name>)\.(?:json|ya?ml)"),
            "<name>.json",
            up=_pgroll,
            endings=(".json",),
        ),
        Layout(
            "postgres-migrations",
            re.compile(r"(?P<version>[0-9]+)[-_]?(?P<name>[^/]*)\.(?:sql|js)"),
            "<number>_name.sql",
            order=numbers,
        ),
        Layout(
            "efcore",
            re.compile(r"(?P<version>[0-9]{14})_(?P<name>[^/.]*)\.cs"),
            "<timestamp>_Name.cs",
            code=True,
        ),
        Layout("diesel", re.compile(r"(?P<version>[^/_]+)_(?P<name>[^/]*)/up\.sql"), "<version>_name/up.sql"),
        Layout(
            "refinery",
            re.compile(r"[UV](?P<version>[0-9]+(?:\.[0-9]+)?)__(?P<name>\w+)\.(?:sql|rs)"),
            "V<version>__name.sql",
            order=numbers,
        ),
        Layout(
            "flyway",
            re.compile(r"(?:.*/)?(?:V(?P<version>[0-9][0-9._]*)|R)__(?P<name>[^/]*)\.sql"),
            "V<version>__name.sql",
            order=numbers,
            # Baseline migrations stand in for what they cover, in new databases only; undo migrations.
            others=re.compile(r"(?:.*/)?[UB][0-9][0-9._]*__[^/]*\.sql"),
        ),
        Layout(
            "rails", re.compile(r"(?P<version>[0-9]+)_(?P<name>\w*)[^/]*\.rb"), "<version>_name.rb", code=True
        ),
        Layout("ecto", re.compile(rf"{_STAMPED}\.exs"), "<version>_name.exs", order=numbers, code=True),
        Layout("knex", re.compile(rf"(?P<version>[0-9]*)_?(?P<name>[^/]*){SCRIPT}"), "<name>.js", code=True),
        Layout(
            "sequelize", re.compile(rf"(?P<version>[0-9]*)-?(?P<name>[^/]*){SCRIPT}"), "<name>.js", code=True
        ),
        Layout(
            "typeorm",
            re.compile(rf"(?P<version>[0-9]+)-?(?P<name>[^/]*){SCRIPT}"),
            "<timestamp>-name.ts",
            order=numbers,
            code=True,
            own=re.compile(r"""(?:\bclass\s+|\bname\s*=\s*['"])(?P<name>\w+?)(?P<version>[0-9]{13})\b"""),
        ),
        Layout(
            "node-pg-migrate",
            re.compile(rf"(?P<version>[0-9]+)[_-](?P<name>[^/]*)(?:{SCRIPT}|\.sql)"),
            "<timestamp>_name.js",
            up=lambda sql: (
                _section(r"^\s*--[\s-]*up migration.*$", r"^\s*--[\s-]*down migration")(sql) or sql
            ),
            order=numbers,
        ),
        Layout("plain", re.compile(r"(?:.*/)?(?P<version>[0-9.]*)[_-]*(?P<name>[^/]*)\.sql"), "<name>.sql"),
    )
}


def identify(layout: Layout, local: str) -> tuple[str, str] | None:
    """Version and name of the file *local* in the migrations' folder; None if the tool skips it."""
    match = layout.file.fullmatch(local)
    if not match or is_down(local):
        return None
    version, name = match["version"] or "", match["name"] or ""
    if layout.tool == "prisma":
        return stamp(version)
    if layout.tool == "diesel":
        return version.replace("-", ""), name
    if layout.tool == "flyway":
        return version.replace("_", "."), name.replace("_", " ")
    if layout.tool == "alembic":
        version, _, name = name.partition("_")
    return (version, name) if version else (name, "")


def is_down(local: str) -> bool:
    return bool(re.search(r"(?:^|[/._-])(?:down|undo|rollback)\.sql$", local, re.IGNORECASE))
