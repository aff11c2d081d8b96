"""New migrations that are programs: the text that each tool wants around SQL, one function for each tool.

Nothing but the statements is in them, and their way back: what a tool adds when it makes such a file itself (models,
snapshots) is left to it.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from auditkit.errors import ConfigError
from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migration, Migrations, with_content

__all__ = ["PROGRAMS", "Asked"]


@dataclass(frozen=True)
class Asked:
    """What a file is to do: ``up`` and ``down`` are statements; ``alone``: no transaction may be around them."""

    migrations: Migrations
    name: str
    title: str
    up: Sequence[str]
    down: Sequence[str]
    alone: bool

    @property
    def items(self) -> tuple[Migration, ...]:
        return self.migrations.items

    @property
    def last(self) -> Migration | None:
        """The youngest migration that is a program of the project's own; what it looks like is how they are written."""
        own = (m for m in reversed(self.items) if m.sql is None and not m.path.startswith("site-packages/"))
        return next(own, None)

    def heads(self, items: Sequence[Migration] | None = None) -> list[Migration]:
        """What nothing else of *items* depends on."""
        items = self.items if items is None else items
        needed = {version for item in items for version in (*item.depends, *item.replaces)}
        return [item for item in items if item.version not in needed]

    def path(self, local: str) -> str:
        folder = self.migrations.project.directories[0]
        return local if folder == "." else f"{folder}/{local}"

    def made(
        self, version: str, name: str, path: str, text: str, depends: tuple[str, ...] = ()
    ) -> tuple[Migration, str]:
        empty = Migration(version, name, path, None, depends=depends)
        return with_content(LAYOUTS[self.migrations.tool], empty, text.encode()), text


# ---- Python ------------------------------------------------------------------------------------------------


def _python(text: str, indent: str) -> str:
    """A text as a literal that can still be read."""
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if safe.endswith('"'):
        safe = safe[:-1] + '\\"'
    return f'{indent}"""{safe}"""'


def _docstring(text: str) -> str:
    return text.replace("\\", "").replace('"""', "'''")


def _alembic(asked: Asked) -> tuple[Migration, str]:
    """A revision. Alembic takes ``:name`` for a parameter, so such a colon is escaped."""
    version = uuid.uuid4().hex[-12:]
    heads = tuple(item.version for item in asked.heads())
    down = f'"{heads[0]}"' if len(heads) == 1 else repr(heads) if heads else "None"
    now = dt.datetime.now(dt.UTC)

    def body(statements: Sequence[str]) -> str:
        if not statements:
            return "    pass\n"
        indent = "        " if asked.alone else "    "
        calls = [
            f"{indent}op.execute(\n{_python(_escaped(s), indent + '    ')}\n{indent})\n" for s in statements
        ]
        return ("    with op.get_context().autocommit_block():\n" if asked.alone else "") + "".join(calls)

    title = _docstring(asked.title)
    text = (
        f'"""{title}\n\nRevision ID: {version}\nRevises: {", ".join(heads)}\n'
        f'Create Date: {now:%Y-%m-%d %H:%M:%S.%f}\n\n"""\n\nfrom alembic import op\n\n'
        f'revision = "{version}"\ndown_revision = {down}\nbranch_labels = None\ndepends_on = None\n\n\n'
        f"def upgrade() -> None:\n{body(asked.up)}\n\ndef downgrade() -> None:\n{body(asked.down)}"
    )
    path = asked.path(f"{_alembic_file(asked, version, now)}.py")
    name = PurePosixPath(path).stem.removeprefix(version).strip("_-")
    return asked.made(version, name, path, text, depends=heads)


def _escaped(sql: str) -> str:
    return re.sub(r"(?<![:\w\\]):(?=\w+(?!:))", r"\\:", sql)


def _alembic_file(asked: Asked, version: str, now: dt.datetime) -> str:
    """The name as ``file_template`` in alembic.ini has it."""
    root = asked.migrations.project.root
    folders = [root, *(root / p for p in PurePosixPath(asked.migrations.project.directories[0]).parents)]
    inis = (folder / "alembic.ini" for folder in folders)
    said = next((ini.read_text("utf-8", "replace") for ini in inis if ini.is_file()), "")
    match = re.search(r"^\s*file_template\s*=\s*(\S+)\s*$", said, re.MULTILINE)
    words = {"rev": version, "slug": asked.name, "epoch": int(now.timestamp())}
    words |= {part: getattr(now, part) for part in ("year", "month", "day", "hour", "minute", "second")}
    try:
        return (match[1] if match else "%%(rev)s_%%(slug)s").replace("%%", "%") % words
    except (KeyError, ValueError, TypeError):
        return f"{version}_{asked.name}"


def _django(asked: Asked) -> tuple[Migration, str]:
    """A RunSQL in the app whose tables the statements name most; it depends on the last of every app that they name."""
    own = [item for item in asked.items if not item.path.startswith("site-packages/")]
    apps: dict[str, list[Migration]] = {}
    for item in own:
        apps.setdefault(item.version.partition(".")[0], []).append(item)
    if not apps:
        raise ConfigError(
            "no app of the project has migrations, only installed packages: begin one with "
            "`python manage.py makemigrations --empty APP`, or undo in the database what is not to stay (revert)"
        )
    said = "\n".join(asked.up)
    counts = {app: len(re.findall(rf"\b{re.escape(app)}_", said)) for app in apps}
    app = max(reversed(apps), key=lambda app: counts[app])
    items = apps[app]
    numbers = [int(m[1]) for item in items if (m := re.match(r"(\d+)", item.version.partition(".")[2]))]
    name = f"{max(numbers, default=0) + 1:04}_{asked.name}"
    leaves = asked.heads(items)
    leaves += [leaf for other in apps if other != app and counts[other] for leaf in asked.heads(apps[other])]
    depends = tuple(leaf.version for leaf in leaves)

    def block(word: str, statements: Sequence[str]) -> str:
        texts = "".join(f"{_python(s, ' ' * 16)},\n" for s in statements)
        return f"            {word}=[\n{texts}            ],\n"

    pairs = "".join(f'        ("{v.partition(".")[0]}", "{v.partition(".")[2]}"),\n' for v in depends)
    text = (
        f"# {asked.title}\n# Models are not changed by it: what they shall know of belongs into state_operations.\n\n"
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        + ("    atomic = False\n\n" if asked.alone else "")
        + f"    dependencies = [\n{pairs}    ]\n\n    operations = [\n        migrations.RunSQL(\n"
        f"{block('sql', asked.up)}{block('reverse_sql', asked.down)}        ),\n    ]\n"
    )
    folder = PurePosixPath(items[-1].path).parent
    return asked.made(f"{app}.{name}", name, str(folder / f"{name}.py"), text, depends=depends)


def _yoyo(asked: Asked) -> tuple[Migration, str]:
    """Named as the last one: counted on, or the day and a number."""
    last = max((item.version for item in asked.items), default="")
    day = f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    if match := re.match(r"(\d{8})_(\d\d)_\w+", last):
        day = max(day, match[1])
        count = int(match[2]) + 1 if day == match[1] else 1
        version = f"{day}_{count:02}_{uuid.uuid4().hex[:5]}-{asked.name.replace('_', '-')}"
    else:
        number = match[1] if (match := re.match(r"(\d+)", last)) else "0000"
        between = match[1] if (match := re.match(r"\d+([._-])", last)) else "."
        version = f"{str(int(number) + 1).zfill(len(number))}{between}{asked.name}"
    heads = tuple(item.version for item in asked.heads())
    needs = "{" + ", ".join(f'"{head}"' for head in heads) + "}" if heads else "set()"
    # A step for each statement; the last one takes all back, the first to be undone.
    rest = [f"step(\n{_python(s, '    ')},\n)\n" for s in asked.up]
    backs = [f'step(\n    "SELECT 1",\n{_python(s, "    ")},\n)\n' for s in reversed(asked.down)]
    alone = "__transactional__ = False\n" if asked.alone else ""
    text = (
        f'"""\n{_docstring(asked.title)}\n"""\n\nfrom yoyo import step\n\n__depends__ = {needs}\n{alone}\n'
        + "".join(rest + backs)
    )
    return asked.made(version, "", asked.path(f"{version}.py"), text, depends=heads)


# ---- JavaScript and TypeScript -------------------------------------------------------------------------------


def _template(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${") + "`"


@dataclass(frozen=True)
class _Style:
    """How the project writes its scripts: the ending of files, whether in TypeScript, whether as a module."""

    ending: str
    types: bool
    module: bool
    text: str

    @classmethod
    def of(cls, asked: Asked) -> _Style:
        last = asked.last
        text = last.raw.decode("utf-8", "replace") if last else ""
        ending = PurePosixPath(last.path).suffix if last else ".js"
        types = ending.endswith("ts")
        return cls(ending, types, types or bool(re.search(r"^export\s", text, re.MULTILINE)), text)

    def function(self, name: str, arguments: str, body: str) -> str:
        promise = ": Promise<void>" if self.types else ""
        if self.module:
            return f"export async function {name}({arguments}){promise} {{\n{body}}}\n"
        return f"exports.{name} = async function ({arguments}) {{\n{body}}};\n"


def _stamped(asked: Asked, digits: int) -> str:
    """A time after those of all others, of so many digits."""
    now = dt.datetime.now(dt.UTC)
    text = str(int(now.timestamp() * 1000)) if digits == 13 else f"{now:%Y%m%d%H%M%S}"
    taken = [int(item.version) for item in asked.items if re.fullmatch(rf"\d{{{digits}}}", item.version)]
    return str(max(int(text), *(number + 1 for number in taken), 0))


def _head(asked: Asked) -> str:
    return f"// {asked.title}\n"


def _knex(asked: Asked) -> tuple[Migration, str]:
    """``?`` stands for a value in Knex, so it is escaped."""
    style, version = _Style.of(asked), _stamped(asked, 14)

    def body(statements: Sequence[str]) -> str:
        texts = (re.sub(r"\?", r"\\?", s) for s in statements)
        return "".join(f"  await knex.raw({_template(s)});\n" for s in texts)

    argument = "knex: Knex" if style.types else "knex"
    text = 'import type { Knex } from "knex";\n\n' if style.types else ""
    text += _head(asked) + "\n" + style.function("up", argument, body(asked.up)) + "\n"
    text += style.function("down", argument, body(asked.down))
    if asked.alone:
        start = "export const config" if style.module else "exports.config"
        text += f"\n{start} = {{ transaction: false }};\n"
    return asked.made(version, asked.name, asked.path(f"{version}_{asked.name}{style.ending}"), text)


def _typeorm(asked: Asked) -> tuple[Migration, str]:
    style, version = _Style.of(asked), _stamped(asked, 13)
    camel = "".join(word[:1].upper() + word[1:] for word in asked.name.split("_"))
    if not camel[:1].isalpha():
        camel = f"M{camel}"
    name = f"{camel}{version}"
    typed = ": QueryRunner" if style.types else ""
    promise = ": Promise<void>" if style.types else ""
    public = "public " if style.types else ""

    def method(word: str, statements: Sequence[str]) -> str:
        calls = "".join(f"    await queryRunner.query({_template(s)});\n" for s in statements)
        return f"  {public}async {word}(queryRunner{typed}){promise} {{\n{calls}  }}\n"

    text = 'import { MigrationInterface, QueryRunner } from "typeorm";\n\n' if style.types else ""
    start = f"export class {name}" if style.module else f"exports.{name} = class {name}"
    text += f"{_head(asked)}{start}{' implements MigrationInterface' if style.types else ''} {{\n"
    text += f'  name = "{name}";\n' + ("  transaction = false;\n" if asked.alone else "") + "\n"
    text += f"{method('up', asked.up)}\n{method('down', asked.down)}}}{'' if style.module else ';'}\n"
    return asked.made(version, camel, asked.path(f"{version}-{camel}{style.ending}"), text)


def _sequelize(asked: Asked) -> tuple[Migration, str]:
    """Called as the others are: with the query interface, or with umzug's context that has it."""
    style, version = _Style.of(asked), _stamped(asked, 14)
    context = re.search(r"\(\s*\{[^)}]*\bcontext\b", style.text)
    bound = re.search(r"\.context\b", style.text)  # whichever it is called with
    argument = "{ context: queryInterface }" if context else "queryInterface"

    def body(statements: Sequence[str], indent: str) -> str:
        lines = (
            f"{indent}const q = queryInterface.context || queryInterface;\n" if bound and not context else ""
        )
        q = "q" if lines else "queryInterface"
        if not statements:
            return ""
        if asked.alone:
            return lines + "".join(
                f"{indent}await {q}.sequelize.query({_template(s)});\n" for s in statements
            )
        calls = "".join(
            f"{indent}  await {q}.sequelize.query({_template(s)}, {{ transaction }});\n" for s in statements
        )
        return (
            f"{lines}{indent}await {q}.sequelize.transaction(async (transaction) => {{\n{calls}{indent}}});\n"
        )

    if style.types:
        argument = "{ context: queryInterface }: any" if context else "queryInterface: any"
    if style.module or re.search(r"^exports\.up\b", style.text, re.MULTILINE):
        text = _head(asked) + "\n" + style.function("up", argument, body(asked.up, "  ")) + "\n"
        text += style.function("down", argument, body(asked.down, "  "))
    else:
        text = f'"use strict";\n\n{_head(asked)}/** @type {{import("sequelize-cli").Migration}} */\nmodule.exports = {{\n'
        text += f"  async up({argument}) {{\n{body(asked.up, '    ')}  }},\n\n"
        text += f"  async down({argument}) {{\n{body(asked.down, '    ')}  }},\n}};\n"
    name = asked.name.replace("_", "-")
    return asked.made(version, name, asked.path(f"{version}-{name}{style.ending}"), text)


# ---- Ruby --------------------------------------------------------------------------------------------------


def _rails(asked: Asked) -> tuple[Migration, str]:
    version = _stamped(asked, 14)
    camel = "".join(word[:1].upper() + word[1:] for word in asked.name.split("_"))
    before = asked.last.raw.decode("utf-8", "replace") if asked.last else ""
    base = re.search(r"ActiveRecord::Migration(?:\[[0-9.]+\])?", before)

    def method(word: str, statements: Sequence[str]) -> str:
        calls = "".join(f"    execute <<-'{(mark := _mark(s))}'\n{s}\n    {mark}\n" for s in statements)
        return f"  def {word}\n{calls}  end\n"

    text = f"# {asked.title}\nclass {camel} < {base[0] if base else 'ActiveRecord::Migration[7.0]'}\n"
    text += ("  disable_ddl_transaction!\n\n" if asked.alone else "") + method("up", asked.up) + "\n"
    text += method("down", asked.down) + "end\n"
    return asked.made(version, asked.name, asked.path(f"{version}_{asked.name}.rb"), text)


def _mark(text: str) -> str:
    mark = "SQL"
    while re.search(rf"^\s*{mark}\s*$", text, re.MULTILINE):
        mark += "_"
    return mark


#: Tool → the migration that does what is asked, and its text.
PROGRAMS: dict[str, Callable[[Asked], tuple[Migration, str]]] = {
    "alembic": _alembic,
    "django": _django,
    "yoyo": _yoyo,
    "knex": _knex,
    "typeorm": _typeorm,
    "sequelize": _sequelize,
    "rails": _rails,
}
