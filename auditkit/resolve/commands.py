"""The migration tools' own commands: what pushes, what records, what forgets, written as each tool wants it.

A command names variables where it needs to know the environment, never what they hold. ``surroundings`` gives them:

* ``AUDITKIT_URL``: the environment's address without its password, for commands that take it as an argument, which every
  user of the machine can read; the drivers of such tools find ``PGPASSWORD``. ``AUDITKIT_ADDRESS``: without its scheme.
* ``DATABASE_URL``, ``FLYWAY_…``, ``LIQUIBASE_…``, ``GOOSE_…``, ``PG…``: what the tools read by themselves, password and all.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from auditkit.connect import redact
from auditkit.errors import ConfigError
from auditkit.history.migration import Migration, Project

if TYPE_CHECKING:
    import psycopg

__all__ = ["TOOLS", "Commands", "Ended", "at_work", "commands_of", "run", "surroundings"]

#: How yoyo names one migration and the database; it takes a regular expression.
_YOYO = '--batch --no-config-file --match {exactly} --database "{scheme}$AUDITKIT_ADDRESS" {folder}'
_URL = re.compile(r"(postgres(?:ql)?(?:\+\w+)?|postgis)(?=://)")
#: Longer outputs of a command are of no use to anybody.
_LAST = 4000


@dataclass(frozen=True)
class Tool:
    """How one tool is called. Words in braces are filled in, see ``Commands``.

    Attributes:
        one: runs one migration; empty if the tool cannot.
        all: runs all that are pending.
        applied, reverted: correct the ledger for one version and run nothing.
        late: what has to be said where a pending migration is older than one that was applied.
    """

    one: str = ""
    all: str = ""
    applied: str = ""
    reverted: str = ""
    late: str = ""


#: Checked with the tools themselves: Supabase CLI 3.1, Alembic 1.20, Django 5.2, dbmate 2.37, Knex 3.1, Prisma 6.19,
#: node-pg-migrate 9.0, Sequelize CLI 6.6, TypeORM 1.1, yoyo 9.0; all others as their manuals have them.
TOOLS: dict[str, Tool] = {
    "supabase": Tool(
        all="supabase db push {target} --yes",
        applied="supabase migration repair --status applied {version} {target} --yes",
        reverted="supabase migration repair --status reverted {version} {target} --yes",
        late=" --include-all",
    ),
    "alembic": Tool(
        one="alembic{ini} upgrade {version}",
        applied="alembic{ini} stamp {version}",
        reverted="alembic{ini} stamp {parent}",
    ),
    "django": Tool(
        one="python manage.py migrate {app} {migration} --no-input",
        applied="python manage.py migrate {app} {migration} --fake --no-input",
    ),
    "knex": Tool(one="npx knex migrate:up {file}"),
    "dbmate": Tool(all="dbmate --migrations-dir {folder} --no-dump-schema up"),
    "prisma": Tool(
        all="npx prisma migrate deploy",
        applied="npx prisma migrate resolve --applied {label}",
    ),
    "drizzle": Tool(all="npx drizzle-kit migrate"),
    "flyway": Tool(one="flyway -locations=filesystem:{folder} -target={version} -outOfOrder=true migrate"),
    "liquibase": Tool(all="liquibase update"),
    "rails": Tool(one="bin/rails db:migrate:up VERSION={version}"),
    "goose": Tool(one="goose -allow-missing -dir {folder} up-to {version}"),
    "golang-migrate": Tool(
        one='migrate -path {folder} -database "$AUDITKIT_URL" goto {version}',
        applied='migrate -path {folder} -database "$AUDITKIT_URL" force {version}',
    ),
    "sqlx": Tool(one="sqlx migrate run --source {folder} --target-version {version}"),
    "diesel": Tool(all="diesel migration run --migration-dir {folder}"),
    "ecto": Tool(one="mix ecto.migrate --to {version}"),
    "atlas": Tool(
        all='atlas migrate apply --url "$AUDITKIT_URL" --dir file://{folder}',
        applied='atlas migrate set {version} --url "$AUDITKIT_URL" --dir file://{folder}',
        late=" --exec-order non-linear",
    ),
    "refinery": Tool(all="refinery migrate -e DATABASE_URL -p {folder}"),
    "sequelize": Tool(
        one='npx sequelize-cli db:migrate --url "$AUDITKIT_URL" --migrations-path {folder} --name {file}'
    ),
    "node-pg-migrate": Tool(
        one="npx node-pg-migrate up {stem} -m {folder}",
        applied="npx node-pg-migrate up {stem} --fake -m {folder}",
        late=" --no-check-order",
    ),
    "typeorm": Tool(all="npx {typeorm} migration:run -d {source} --transaction each"),
    "yoyo": Tool(
        one="yoyo apply {yoyo}",
        applied="yoyo mark {yoyo}",
        reverted="yoyo unmark {yoyo}",
    ),
    "sqitch": Tool(one='sqitch deploy --to {name} "db:$AUDITKIT_URL"'),
    "efcore": Tool(one="dotnet ef database update {version}"),
}


@dataclass(frozen=True)
class Commands:
    """The commands of one project's tool.

    ``folder`` is where they are started, relative to the project's root; ``python`` the interpreter that has the tool, if
    it is written in Python; ``words`` fill in what belongs to the project and the tool's version.
    """

    tool: str
    root: Path
    folder: str
    words: Mapping[str, str]
    python: str = ""

    @property
    def one_by_one(self) -> bool:
        """Whether the tool can be told to run one migration and no other."""
        return bool(TOOLS[self.tool].one)

    def push(self, files: Sequence[Migration], *, late: bool) -> str:
        """What runs *files*, all that are pending; one of them if that is all the tool was asked for."""
        entry = TOOLS[self.tool]
        if entry.one:
            more = entry.late if late else ""
            return "\n".join(self._filled(entry.one, file) + more for file in files)
        return self._filled(entry.all, files[0]) + (entry.late if late else "")

    def record(self, *files: Migration) -> str:
        """What records migrations as applied; empty if the tool has no such command."""
        template = TOOLS[self.tool].applied
        if self.tool == "supabase":  # any number of versions at once
            versions = " ".join(shlex.quote(file.version) for file in files)
            return template.format(version=versions, **self.words)
        return "\n".join(filter(None, (self._filled(template, file) for file in files)))

    def forget(self, version: str, file: Migration | None = None) -> str:
        """What takes a version out of the ledger; empty if the tool has no such command."""
        template = TOOLS[self.tool].reverted
        if file is None and ("{parent}" in template or self.tool == "yoyo"):  # which looks for the file
            return ""
        return self._filled(template, file or Migration(version, "", "", None))

    def _filled(self, template: str, file: Migration) -> str:
        app, _, rest = file.version.partition(".")
        path = PurePosixPath(file.path)
        words = {
            "version": file.version,
            "name": file.name,
            "label": f"{file.version}_{file.name}",
            "stem": path.stem,
            "exactly": f"^{re.escape(file.version)}$",
            "app": app,
            "migration": rest,
            "file": path.name,
            "parent": file.depends[0] if file.depends else "base",
        }
        quoted = {key: shlex.quote(value) for key, value in words.items()}
        return template.replace("{yoyo}", _YOYO).format(**quoted, **self.words)

    @property
    def usable(self) -> bool:
        """Whether the project has what it needs, beside the tool itself."""
        if self.tool == "typeorm":
            return (self.root / self.folder / self.words["source"]).is_file()
        if self.tool == "sequelize":  # many a project runs its migrations with a script of its own
            return _found("sequelize-cli", self.root, self.folder) is not None
        return True


def commands_of(
    project: Project, *, folder: str = ".", ini: str = "", python: str = "", local: bool = False
) -> Commands | None:
    """The commands of a project's tool; None if it has none of its own.

    Args:
        folder: where its settings are, relative to the root.
        ini: the settings' file, if it is not the one that the tool looks for.
        local: whether they are for the developer's own database.
    """
    if project.tool not in TOOLS or not project.directories:
        return None
    directory = project.directories[0]
    words = {
        "folder": shlex.quote(os.path.relpath(directory, folder)),
        "ini": f" -c {shlex.quote(ini)}" if ini else "",
        "target": "",
    }
    if project.tool == "typeorm":
        words |= _data_source(project.root / folder)
    if project.tool == "yoyo":
        words["scheme"] = "postgresql" if python and _imports(python, "psycopg2") else "postgresql+psycopg"
    if project.tool == "supabase":
        # "--remote" came with version 3, which calls "--db-url" deprecated.
        words["target"] = (
            '--db-url "$AUDITKIT_URL"' if _supabase_major(project.root) < 3 else '--remote="$AUDITKIT_URL"'
        )
    return Commands(project.tool, project.root, folder, words, python)


def _data_source(root: Path) -> dict[str, str]:
    """Where TypeORM's projects say how to connect, and the program that understands it."""
    folders = ("", "src/", "dist/", "src/database/", "src/db/", "db/")
    files = ("data-source", "datasource", "ormconfig", "typeorm.config")
    names = [f"{folder}{file}{end}" for folder in folders for file in files for end in (".js", ".ts")]
    found = next((name for name in names if (root / name).is_file()), "src/data-source.ts")
    program = "typeorm-ts-node-commonjs" if found.endswith(".ts") else "typeorm"
    return {"source": found, "typeorm": program}


@functools.cache
def _imports(python: str, module: str) -> bool:
    program = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-I", "-c", program], capture_output=True, check=False).returncode == 0


def _supabase_major(root: Path) -> int:
    program = _found("supabase", root)
    said = _said(program) if program else ""
    match = re.search(r"(\d+)\.\d+\.\d+", said)
    return int(match[1]) if match else 3


@functools.cache
def _said(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _found(program: str, root: Path, folder: str = ".") -> str | None:
    """Where a program is: in the project (``bin/rails``, node_modules), else where the shell would look."""
    own = root / folder / program
    if "/" in program:
        return str(own) if own.is_file() else None
    for place in (root / folder, root):
        if (tool := place / "node_modules" / ".bin" / program).is_file():
            return str(tool)
    return shutil.which(program)


# ---- running one ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the last of what it said, without secrets."""

    code: int
    said: str

    @property
    def last_line(self) -> str:
        """What it said last: that is where most tools say what is wrong."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        told = [
            line for line in lines if not (line.startswith("(") and "https://" in line)
        ]  # SQLAlchemy's remark
        return (told or lines or ["it said nothing"])[-1][:300]


def arguments(
    command: str, variables: Mapping[str, str], root: Path, folder: str, python: str = ""
) -> list[str]:
    """The words of a command with its variables filled in, the program where it was found; no shell is involved.

    Raises:
        ConfigError: the program is not installed.
    """
    words = shlex.split(command)
    if words[0] == "npx":
        words = words[1:]
    if python and words[0] in ("python", "alembic", "yoyo"):
        words = [python, *(["-m", words[0]] if words[0] != "python" else []), *words[1:]]
    else:
        program = _found(words[0], root, folder)
        if program is None:
            raise ConfigError(
                f"{words[0]} was not found, which the plan runs (`{command}`); install it, or make the plan without "
                "--tool-commands"
            )
        words[0] = program
    fill = re.compile(r"\$(\w+)")
    return [words[0], *(fill.sub(lambda m: variables.get(m[1], m[0]), word) for word in words[1:])]


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str], began: Any) -> Ended:
    """Run one command in a group of processes of its own, so that a Ctrl-C meant for us does not cut it short.

    *began* is told the process's id.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        began(process.pid)
        said, _ = process.communicate()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode("utf-8", "replace"))
    secret = environment.get("PGPASSWORD")
    if secret:
        for word in {secret, quote(secret, safe="")}:
            text = text.replace(word, "***")
    return Ended(process.returncode, redact(text[-_LAST:]))


def at_work(pid: int, program: str) -> bool:
    """Whether a process of this machine is still that command."""
    try:
        os.kill(pid, 0)
        said = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here, or not ours: it is there
        return True
    return (
        PurePosixPath(program).name in said
    )  # of a process that has ended, and is not waited for, it is empty


def surroundings(
    info: psycopg.ConnectionInfo, more: Mapping[str, str], base: Mapping[str, str], *, encrypted: bool = False
) -> dict[str, str]:
    """The variables of a command that works on the database of a connection.

    Args:
        more: the project's own, ``[migrations] environment``, in whose values ``{shadow}`` and its parts are filled in.
        base: what is there already; whatever leads to another database is replaced.
        encrypted: whether the connection is.
    """
    parameters = info.get_parameters()
    host, port = parameters.get("host") or info.host, str(info.port)
    password = info.password or ""
    options = {
        key: value
        for key, value in parameters.items()
        if key in ("sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding")
    }
    if not str(options.get("sslmode", "")).startswith(("require", "verify")):
        options["sslmode"] = "require" if encrypted else "disable"  # as it is: not every driver can try both
    socket = host.startswith("/")
    query = {**({"host": host} if socket else {}), **options}
    ending = "?" + "&".join(f"{k}={quote(v, safe='/')}" for k, v in query.items()) if query else ""
    where = f"{'localhost' if socket else host}:{port}/{quote(info.dbname, safe='')}"
    user = quote(info.user, safe="")
    plain = f"postgresql://{user}@{where}{ending}"
    whole = f"postgresql://{user}:{quote(password, safe='')}@{where}{ending}" if password else plain
    kept = {k: v for k, v in base.items() if not k.startswith(("PG", "AUDITKIT_"))}
    for name, value in kept.items():  # as for replays: they lead where we are, whatever they are called
        if scheme := _URL.match(value):
            kept[name] = scheme[1] + whole.removeprefix("postgresql")
    kept |= {
        "AUDITKIT_URL": plain,
        "AUDITKIT_ADDRESS": plain.removeprefix("postgresql"),
        "DATABASE_URL": whole,
        "PGHOST": host,
        "PGPORT": port,
        "PGUSER": info.user,
        "PGDATABASE": info.dbname,
        "PGAPPNAME": "auditkit apply (tool)",
        "FLYWAY_URL": f"jdbc:postgresql://{where}",
        "FLYWAY_USER": info.user,
        "FLYWAY_PASSWORD": password,
        "LIQUIBASE_COMMAND_URL": f"jdbc:postgresql://{where}",
        "LIQUIBASE_COMMAND_USERNAME": info.user,
        "LIQUIBASE_COMMAND_PASSWORD": password,
        "GOOSE_DRIVER": "postgres",
        "GOOSE_DBSTRING": whole,
        "SUPABASE_YES": "true",
        "PYTHONUNBUFFERED": "1",
    }
    kept |= {f"PG{key.upper()}": value for key, value in options.items()}
    if password:
        kept["PGPASSWORD"] = password
    parts = {
        "shadow": whole,
        "host": host,
        "port": port,
        "user": info.user,
        "password": password,
        "database": info.dbname,
    }
    for name, value in more.items():
        kept[name] = re.sub(r"\{(\w+)\}", lambda match: parts.get(match[1], match[0]), value)
    return kept
