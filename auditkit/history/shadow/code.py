"""Migrations that are programs: which tool runs them, with which interpreter, on which files.

Code is run by the tool that it was written for, in the project's own environment, one migration at a time and
on the shadow database alone (``session.py`` says how that is made sure). One entry in ``TOOLS`` for each tool.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from auditkit.config import Settings
from auditkit.connect import redact
from auditkit.errors import ToolFailed
from auditkit.history.files import Migration, Migrations
from auditkit.history.git import open_repository
from auditkit.history.shadow.replayed import Step, digest_of
from auditkit.history.shadow.session import DRIVERS, INSTALLED, Session, files_of, run
from auditkit.history.trees import Disk

if TYPE_CHECKING:
    import psycopg

    from auditkit.history.shadow.running import Ran

__all__ = ["TOOLS", "Code", "Tool", "code_of", "listed", "step_of", "text_of"]


@dataclass(frozen=True)
class Tool:
    """How one tool's migrations are run.

    ``package`` is what must be installed for the interpreter or, with ``node``, in the project; ``by`` names what its driver
    in ``drivers/for_<name>`` is run by, and ``work`` gives what that is told of a project (the values are paths relative
    to its root, or plain words); ``lists``: whether the tool knows of migrations that are in no folder of the project.
    """

    name: str
    package: str
    work: Callable[[Migrations, Settings], Mapping[str, str]]
    by: str = "python"
    lists: bool = False


@dataclass(frozen=True)
class Code:
    """The program that runs a project's migrations, and what it is told.

    ``commit``: the files are taken from there, None: from disk. ``support`` is a digest of the files beside the
    migrations, which decide with them what is done. ``environment`` are the user's variables, in whose
    values ``{shadow}`` and its parts are filled in.
    """

    tool: str
    program: tuple[str, ...]
    version: str
    root: Path
    commit: str | None
    work: Mapping[str, str] = field(hash=False)
    environment: tuple[tuple[str, str], ...] = ()
    support: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """What decides, beside the text of a migration, what running it does."""
        words = [
            self.tool,
            self.version,
            self.support,
            repr(self.environment),
            repr(sorted(self.work.items())),
        ]
        return digest_of(words)

    def run(
        self, runner: psycopg.Connection[Any], reader: psycopg.Connection[Any], number: int, step: Step
    ) -> Ran:
        """Have the tool run one migration on the database that *runner* is connected to.

        Raises:
            NotTheShadow: the project's code was about to connect to another database, and was stopped.
            ToolFailed: the tool could not be started.
        """
        return run(self, runner, reader, number, step)


def _alembic(migrations: Migrations, settings: Settings) -> Mapping[str, str]:
    """The nearest alembic.ini (or pyproject.toml that has the section) above the versions, and their folder."""
    root, versions = migrations.project.root, PurePosixPath(migrations.project.directories[0])
    scripts = versions.parent.as_posix()
    folders = [p.as_posix() for p in (*versions.parents,)]
    folders += sorted(p.parent.relative_to(root).as_posix() for p in root.glob("*/alembic.ini"))
    for folder in folders:
        if (root / folder / "alembic.ini").is_file():
            return {"folder": folder, "ini": f"{folder}/alembic.ini", "scripts": scripts}
    for folder in folders:
        project = root / folder / "pyproject.toml"
        if project.is_file() and "[tool.alembic]" in project.read_text("utf-8", "replace"):
            return {"folder": folder, "toml": f"{folder}/pyproject.toml", "scripts": scripts}
    return {"folder": ".", "scripts": scripts}


def _django(migrations: Migrations, settings: Settings) -> Mapping[str, str]:
    """The folder of manage.py, and the settings that it names."""
    root = migrations.project.root
    managers = [root / "manage.py", *sorted(root.glob("*/manage.py")), *sorted(root.glob("*/*/manage.py"))]
    manage = next((file for file in managers if file.is_file()), None)
    module = settings.code_environment.get("DJANGO_SETTINGS_MODULE") or os.environ.get(
        "DJANGO_SETTINGS_MODULE"
    )
    if manage is not None and not module:
        said = re.search(
            r"DJANGO_SETTINGS_MODULE['\"]\s*[,\]]\s*=?\s*['\"]([\w.]+)['\"]",
            manage.read_text("utf-8", "replace"),
        )
        module = said[1] if said else None
    if not module:
        raise ToolFailed(
            "the settings module of the Django project was not found; name it in auditkit.toml: "
            '[migrations] environment = { DJANGO_SETTINGS_MODULE = "project.settings" }'
        )
    folder = manage.parent.relative_to(root).as_posix() if manage else "."
    return {"folder": folder, "settings": module}


def _knex(migrations: Migrations, settings: Settings) -> Mapping[str, str]:
    """The nearest knexfile above the migrations."""
    root = migrations.project.root
    for folder in PurePosixPath(migrations.project.directories[0]).parents:
        for name in ("knexfile.js", "knexfile.cjs", "knexfile.ts"):
            if (root / folder / name).is_file():
                return {"folder": folder.as_posix(), "knexfile": f"./{name}"}
    raise ToolFailed(
        "no knexfile.js was found above the migrations; compare with another environment: --baseline NAME"
    )


def _root(migrations: Migrations, settings: Settings) -> Mapping[str, str]:
    return {"folder": "."}


def _package(migrations: Migrations, settings: Settings) -> Mapping[str, str]:
    """The nearest folder above the migrations in which their tool is installed."""
    folder, _ = _installed(TOOLS[migrations.tool].package, migrations)
    return {"folder": folder}


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("alembic", "alembic", _alembic),
        Tool("django", "django", _django, lists=True),
        Tool("knex", "knex", _knex, by="node"),
        Tool("rails", "activerecord", _root, by="ruby"),
        Tool("node-pg-migrate", "node-pg-migrate", _package, by="node"),
        Tool("sequelize", "sequelize", _package, by="node"),
        Tool("typeorm", "typeorm", _package, by="node"),
        Tool("yoyo", "yoyo-migrations", _root),
    )
}


def code_of(migrations: Migrations, settings: Settings) -> Code | None:
    """What runs those of *migrations* that are code; None if none is.

    Raises:
        ToolFailed: code cannot be run here, or may not be; why, and what to do, in one line.
    """
    code = [migration for migration in migrations if migration.sql is None]
    if not code:
        return None
    if not settings.run_code:
        raise ToolFailed(
            "they are code, and [migrations] run_code = false says that no code is run; "
            "compare with another environment: --baseline NAME"
        )
    tool = TOOLS.get(migrations.tool)
    if tool is None:
        raise ToolFailed(
            f"they are code ({migrations.tool}), which is not replayed yet; "
            "compare with another environment: --baseline NAME"
        )
    find, driver = _RUNTIMES[tool.by]
    program, version = find(tool, migrations, settings)
    return Code(
        tool.name,
        (program, str(DRIVERS / driver)),
        version,
        migrations.project.root,
        _commit(migrations),
        tool.work(migrations, settings),
        tuple(sorted(settings.code_environment.items())),
        _support(migrations),
    )


def step_of(migration: Migration, code: Code | None) -> Step:
    """The step that replays a migration; the text of code is the program."""
    by_tool = code if migration.sql is None else None
    text = text_of(migration)
    return Step(migration.version, migration.name, text, migration.path, migration.transactional, by_tool)


def text_of(migration: Migration) -> str:
    """What a migration says: SQL, or a program."""
    # Python reads a file's line ends as one character, and so do those that compare texts here.
    return migration.sql if migration.sql is not None else _plain(migration.raw)


def _plain(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _commit(migrations: Migrations) -> str | None:
    if migrations.ref is None:
        return None
    repository, why = open_repository(migrations.project.root)
    if repository is None:
        raise ToolFailed(f"migrations@{migrations.ref} needs git; {why}")
    return repository.resolve(migrations.ref)


_SUPPORTING = (".rb", ".py", ".ini", ".toml", ".cfg", ".sql", ".env", ".js", ".cjs", ".mjs", ".ts", ".json")


def _support(migrations: Migrations) -> str:
    """A digest of the files beside the migrations: the environment script, helpers, the project's settings."""
    known = {migration.path for migration in migrations}
    digest = hashlib.sha256()
    root = migrations.project.root
    for folder in dict.fromkeys(PurePosixPath(d).parent.as_posix() for d in migrations.project.directories):
        with files_of(root, _commit(migrations)) as place:
            for file in sorted(Disk(place, folder).files):
                if file not in known and file.endswith(_SUPPORTING):
                    digest.update(
                        file.encode("utf-8", "surrogateescape") + b"\0" + _read(place / file) + b"\0"
                    )
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# ---- which interpreter -------------------------------------------------------------------------------------


def _python(tool: Tool, migrations: Migrations, settings: Settings) -> tuple[str, str]:
    """The interpreter that has the tool, and the tool's version: the one that is named, else the project's own."""
    tried = []
    for python in _interpreters(migrations.project.root, settings):
        version = _version(python, tool.package)
        if version:
            return python, version
        tried.append(python)
    raise ToolFailed(
        f"{tool.package} is not installed for {', '.join(tried) or 'any Python'}; name the interpreter that has it "
        'in auditkit.toml: [migrations] python = ".venv/bin/python"'
    )


def _node(tool: Tool, migrations: Migrations, settings: Settings) -> tuple[str, str]:
    """Node.js, and the version of the tool that the project has installed."""
    node = shutil.which("node")
    if node is None:
        raise ToolFailed("node was not found, which runs these migrations; install Node.js")
    return node, _installed(tool.package, migrations)[1]


def _installed(package: str, migrations: Migrations) -> tuple[str, str]:
    """The nearest folder above the migrations whose node_modules have *package*, and its version."""
    root = migrations.project.root
    for folder in PurePosixPath(migrations.project.directories[0]).parents:
        file = root / folder / "node_modules" / package / "package.json"
        if file.is_file():
            return folder.as_posix(), str(json.loads(file.read_text("utf-8")).get("version"))
    raise ToolFailed(f"{package} was not found in node_modules; install what the project needs: npm ci")


def _ruby(tool: Tool, migrations: Migrations, settings: Settings) -> tuple[str, str]:
    """Ruby, and the version of the tool that the project's bundle has, or Ruby itself."""
    ruby = shutil.which("ruby")
    if ruby is None:
        raise ToolFailed("ruby was not found, which runs these migrations; install Ruby")
    root = migrations.project.root
    program = f"require 'pg'; puts Gem.loaded_specs.fetch({tool.package!r}).version"
    for bundle in (("-rbundler/setup",) if (root / "Gemfile").is_file() else ()), ():
        command = [ruby, *bundle, "-e", f"gem {tool.package!r}; {program}"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return ruby, done.stdout.strip() + "".join(bundle)
    raise ToolFailed(f"{tool.package} and pg are not installed for {ruby}; run bundle install")


_RUNTIMES = {"python": (_python, "run.py"), "node": (_node, "run.js"), "ruby": (_ruby, "run.rb")}


def _interpreters(root: Path, settings: Settings) -> Iterable[str]:
    if settings.python:
        yield str(settings.root / settings.python) if "/" in settings.python else settings.python
        return
    for folder in (root, *root.resolve().parents[:2]):
        for name in (".venv", "venv", "env", ".env"):
            if (python := folder / name / "bin" / "python").is_file():
                yield str(python)
    if (root / "poetry.lock").is_file() and (poetry := shutil.which("poetry")):
        command = [poetry, "env", "info", "--executable"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            yield done.stdout.strip()
    if active := os.environ.get("VIRTUAL_ENV"):
        yield str(Path(active) / "bin" / "python")
    yield sys.executable
    if python_of_path := shutil.which("python3"):
        yield python_of_path


@functools.cache
def _version(python: str, package: str) -> str | None:
    """The version of *package* that *python* has installed; the project's folder is not looked at."""
    program = f"import importlib.metadata as m, sys; print(m.version({package!r}), sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", program], cwd="/", capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


# ---- what the tool has beside the files ----------------------------------------------------------------------


def listed(migrations: Migrations, settings: Settings) -> Migrations:
    """*migrations* in their tool's order, among them those that installed packages bring: Django's own apps.

    Raises:
        ToolFailed: as ``code_of``.
    """
    code = code_of(migrations, settings)
    if code is None or not TOOLS[code.tool].lists:
        return migrations
    with files_of(code.root, code.commit) as place, Session(code, place, None) as session:
        answer = session.ask({"do": "list"})
    if "error" in answer:
        raise ToolFailed(
            f"{code.tool} cannot load the project: {redact(answer['error']['message'])}; if it needs settings, give "
            "them in auditkit.toml: [migrations] environment"
        )
    mine = {migration.path: migration for migration in migrations}
    items: list[Migration] = []
    for version, file in [*answer["migrations"], *answer["replaced"]]:
        path = _relative(file, answer["place"])
        if path in mine:
            items.append(replace(mine.pop(path), version=version))
        elif [version, file] in answer["migrations"]:
            name = version.partition(".")[2]
            replaces = tuple(answer["replaces"].get(version, ()))
            path = path or _of_package(file)
            items.append(Migration(version, name, path, None, raw=_read(Path(file)), replaces=replaces))
    return replace(migrations, items=(*items, *mine.values()))


def _relative(file: str, place: str) -> str | None:
    """*file* as it is called inside the project; None if it is not in it, or in an environment that is."""
    within = os.path.relpath(os.path.realpath(file), os.path.realpath(place))
    return None if within.startswith("..") or "site-packages" in Path(within).parts else within


def _of_package(file: str) -> str:
    """What a file that an installed package brought is called in reports."""
    parts = Path(file).parts
    start = max((n for n, part in enumerate(parts) if part in ("site-packages", "dist-packages")), default=-5)
    return INSTALLED + "/".join(parts[start + 1 :])
