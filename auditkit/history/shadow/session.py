"""A migration tool at work on the shadow database: its process, the files it sees, and what keeps it there.

**No other database is ever reached.** The process is told of the shadow under a name that no resolver knows
(``.invalid`` is reserved for that, RFC 2606); its driver replaces every way to connect by one that turns this
name into the shadow and refuses all others (``drivers/run.py``); its environment holds no way to another server;
where the system has network namespaces it has no network; and after each migration the shadow must have moved.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from auditkit.connect import redact
from auditkit.errors import NotTheShadow, ToolFailed
from auditkit.history.git import archive
from auditkit.history.shadow.replayed import Failure, Step
from auditkit.history.shadow.running import SCHEMA, Ran, after, excerpt, marked_since, next_xid
from auditkit.history.split import Statement

if TYPE_CHECKING:
    import psycopg

    from auditkit.history.shadow.code import Code

#: What the shadow is called in URLs. It stands for a socket, which many a URL could not name.
ALIAS = "auditkit-shadow.invalid"
#: Begins the path of a migration that is no file of the project but an installed package's.
INSTALLED = "site-packages/"

DRIVERS = Path(__file__).parent / "drivers"
_URL = re.compile(r"(postgres(?:ql)?(?:\+\w+)?|postgis)://")
_LAST_LINES = 4000
#: What tools send outside of the migration's transaction without changing anything.
_WRITES = re.compile(r"(?!\s*(?:select|show|set|begin|start|commit)\b)", re.IGNORECASE)


class Session:
    """One running tool; ``ask`` sends it a request and waits for the answer.

    *place* is where the project's files are; *shadow* are the connection parameters, None if nothing is to be run.
    """

    def __init__(self, code: Code, place: Path, shadow: Mapping[str, str] | None) -> None:
        self.code, self.place = code, place
        self.texts: dict[str, str] = {}
        self.asked = 0
        folder = place / code.work["folder"]
        work: dict[str, Any] = {
            **code.work,
            **{key: str(place / code.work[key]) for key in ("ini", "toml", "scripts") if key in code.work},
            "tool": code.tool,
            "root": str(folder),
            "shadow": dict(shadow) if shadow else None,
            "alias": ALIAS,
            "marks": f"{SCHEMA}.mark",
            "url": _address(shadow),
        }
        self._said: IO[bytes] = tempfile.TemporaryFile(prefix="auditkit-")  # noqa: SIM115
        command = [*_without_network(shadow), *code.program]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                encoding="utf-8",
                errors="surrogateescape",
                cwd=folder,
                env=_environment(code, shadow),
            )
        except OSError as error:
            raise ToolFailed(f"{code.program[0]} cannot be started; {error.strerror}") from None
        self._send(work)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process: it stops by itself when it is asked nothing more."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it has ended: the answer will not come, and says so
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request.

        Raises:
            NotTheShadow: the project's code was about to connect somewhere else.
            ToolFailed: the tool ended.
        """
        self.asked += 1
        self._send(request)
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(max(self._said.seek(0, os.SEEK_END) - _LAST_LINES, 0))
            said = self._said.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise ToolFailed(f"{self.code.tool} stopped: {redact(said[-1])}; run it by hand to see more")
        answer: dict[str, Any] = json.loads(line)
        if what := answer.get("refused"):
            raise NotTheShadow(
                f"{self.code.tool} was about to connect to {redact(what)}, which is not the shadow database, and was "
                "stopped; name the variables that the project takes its database from in auditkit.toml: [migrations] "
                'environment = { DATABASE_URL = "{shadow}" } (or {host}, {port}, {user}, {password}, {database})'
            )
        answer["place"] = str(self.place)
        return answer


_sessions: weakref.WeakKeyDictionary[Any, tuple[Session, contextlib.ExitStack]] = weakref.WeakKeyDictionary()


def run(
    code: Code, runner: psycopg.Connection[Any], reader: psycopg.Connection[Any], number: int, step: Step
) -> Ran:
    """Have the tool run one migration. Its process lives as long as the connection *runner*."""
    session = _session(code, runner, step)
    before = next_xid(reader)
    request = {"do": "apply", "step": number, "version": step.version, "text": step.sql, "stop": step.stop}
    answer = session.ask({**request, "path": str(session.place / (step.file or ""))})
    sent = answer["statements"]
    statements = [Statement(text, line, 0, len(text)) for line, text, *_ in sent]
    marks = [(xid, index) for index, (_, _, xid, *_) in enumerate(sent) if xid is not None]
    bound = frozenset(index for index, (*_, last) in enumerate(sent) if last is True)
    whole = not any(_WRITES.match(statements[index].text) for _, index in marks)
    if (error := answer.get("error")) is None:
        if next_xid(reader) == before and not answer.get("nothing"):
            raise NotTheShadow(
                f"{code.tool} ran {step.version}, and nothing changed in the shadow database: it worked elsewhere, "
                "or recorded nothing; run nothing more before you know where"
            )
        ran = after(runner, statements, None, marks, marked_since(runner, before))
        return replace(ran, whole=whole, bound=bound)
    message = redact(error["message"])
    if error["outside"] and session.asked == 1:
        raise ToolFailed(
            f"{code.tool} cannot load the project: {message}; if it needs settings, give them in auditkit.toml: "
            "[migrations] environment"
        )
    failure = Failure(number, error["line"], message, error["sqlstate"], excerpt(error["statement"]))
    return after(runner, statements, failure, marks, marked_since(runner, before))


def _session(code: Code, runner: psycopg.Connection[Any], step: Step) -> Session:
    """The tool's process for the database of *runner*; started anew when a migration has another text than its file."""
    known = _sessions.get(runner)
    path = step.file if step.file and not step.file.startswith(INSTALLED) else None
    texts = dict(known[0].texts) if known else {}
    if path:
        texts[path] = step.sql
    if known:
        session, stack = known
        if path is None or _text(session.place / path) == step.sql:
            session.texts = texts
            return session
        stack.close()
    stack = contextlib.ExitStack()
    place = stack.enter_context(files_of(code.root, code.commit))
    changed = {name: text for name, text in texts.items() if _text(place / name) != text}
    if changed:
        overlay = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auditkit-")), "project")
        _mirror(place, overlay, changed)
        place = overlay
    session = stack.enter_context(Session(code, place, _shadow(runner)))
    session.texts = texts
    _sessions[runner] = session, stack
    weakref.finalize(runner, stack.close)
    return session


def _shadow(runner: psycopg.Connection[Any]) -> dict[str, str]:
    """The parameters that lead to where *runner* is, in the role that it has taken on."""
    row = runner.execute("SELECT current_user::text").fetchone()
    words = {
        "host": runner.info.host,
        "port": str(runner.info.port),
        "dbname": runner.info.dbname,
        "user": runner.info.user,
    }
    if runner.info.password:
        words["password"] = runner.info.password
    if row and row[0] != runner.info.user:
        words["options"] = "-c role=" + row[0].replace("\\", "\\\\").replace(" ", "\\ ")
    return words


# ---- the files -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_of(root: Path, commit: str | None) -> Iterator[Path]:
    """The project's files: the folder itself, or a copy of what *commit* holds, for as long as it is needed."""
    if commit is None:
        yield root.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive(root, commit))) as files:
            files.extractall(folder, filter="data")
        for packages in (*root.resolve().glob("node_modules"), *root.resolve().glob("*/node_modules"),
                         *root.resolve().glob("*/*/node_modules")):  # fmt: skip
            link = Path(folder, packages.relative_to(root.resolve()))
            if link.parent.is_dir() and not link.exists():
                link.symlink_to(packages)
        yield Path(folder).resolve()


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError:
        return None


def _mirror(root: Path, target: Path, changed: Mapping[str, str]) -> None:
    """A folder like *root* in which the files *changed* have other texts; all else are links."""
    target.mkdir()
    inner: dict[str, dict[str, str]] = {}
    for path, text in changed.items():
        first, _, rest = path.partition("/")
        inner.setdefault(first, {})[rest] = text
    for entry in root.iterdir() if root.is_dir() else ():
        if entry.name not in inner and entry.name != "__pycache__":
            (target / entry.name).symlink_to(entry)
    for name, texts in inner.items():
        if "" in texts:
            (target / name).write_text(texts[""], "utf-8", newline="")
        else:
            _mirror(root / name, target / name, texts)


# ---- the surroundings ------------------------------------------------------------------------------------------


def _address(shadow: Mapping[str, str] | None) -> str:
    """A URL of the shadow, without its scheme: the driver puts its own name into that."""
    words = shadow or {"user": "nobody", "dbname": "none"}
    user = quote(words["user"], safe="") + (
        f":{quote(words['password'], safe='')}" if "password" in words else ""
    )
    return f"://{user}@{ALIAS}:5432/{quote(words['dbname'], safe='')}"


def _environment(code: Code, shadow: Mapping[str, str] | None) -> dict[str, str]:
    """Our own variables, but for those that lead to a database: they lead to the shadow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "AUDITKIT_"))}
    address = _address(shadow)
    for name, value in kept.items():
        if url := _URL.match(value):
            kept[name] = url[1] + address
    words = {
        "shadow": "postgresql" + address,
        "host": ALIAS,
        "port": "5432",
        "user": shadow["user"] if shadow else "nobody",
        "password": shadow.get("password", "") if shadow else "",
        "database": shadow["dbname"] if shadow else "none",
    }
    kept.setdefault("DATABASE_URL", words["shadow"])
    for name, value in code.environment:
        kept[name] = re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], match[0]), value)
    if "settings" in code.work:
        kept["DJANGO_SETTINGS_MODULE"] = code.work["settings"]
    libpq = {
        "PGHOST": "host",
        "PGPORT": "port",
        "PGDATABASE": "dbname",
        "PGUSER": "user",
        "PGPASSWORD": "password",
    }
    found = shadow or {"host": "/nonexistent"}
    kept |= {name: found[word] for name, word in libpq.items() if word in found}
    return {**kept, "PGPASSFILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


def _without_network(shadow: Mapping[str, str] | None) -> tuple[str, ...]:
    """What starts a program without a network, if the system allows it and the shadow is a socket."""
    return _namespace() if shadow is None or shadow["host"].startswith("/") else ()


@functools.cache
def _namespace() -> tuple[str, ...]:
    command = (
        ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-current-user", "--net")
    )
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    except OSError:
        return ()
    return command if tried.returncode == 0 else ()
