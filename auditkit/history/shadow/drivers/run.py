"""Apply one migration at a time with the project's own tool, on the shadow database and on nothing else.

Requests and answers are lines of JSON, on standard input and on what was standard output; whatever the project
prints goes to standard error. The first line says what to work on::

    {"tool", "root", "shadow": {"host", "port", "dbname", "user", "password"?} | null, "alias", "marks", …}

then ``{"do": "list"}`` or ``{"do": "apply", "step", "version", "path", "text"}``.

Three guards stand between the project's code and any database but the shadow, all before its first line runs:
every driver's way to connect is replaced by one that admits only the shadow's made-up host name (or none, which
means the same), and connects to the shadow in its place; every other socket of this process is refused; and
the environment names the shadow wherever libpq or the project looks. auditkit adds a fourth from outside: where
the system allows it, this process has no network.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

#: As in auditkit.history.shadow.running: these cannot stand in a savepoint.
_NOT_WITHIN = frozenset(
    "begin start commit end rollback abort savepoint release set".split()  # noqa: SIM905
)
_FAIL = "DO $$ BEGIN RAISE EXCEPTION 'stopped here'; END $$"
_PROGRAMS = frozenset("psql pg_restore pg_dump pg_dumpall createdb dropdb createuser vacuumdb pgcli".split())  # noqa: SIM905
_DRIVERS = frozenset(("psycopg", "psycopg2", "asyncpg", "pg8000", "aiopg"))


class Refused(Exception):
    """The project's code was about to connect to something that is not the shadow database."""


class Gate:
    """The only way to a database: *shadow* says where it leads; without one there is no way at all."""

    def __init__(self, shadow: dict[str, Any] | None, alias: str) -> None:
        self.shadow, self.alias = shadow, alias
        self.refused: list[str] = []
        self._addresses: set[tuple[Any, ...]] = set()
        if shadow and not shadow["host"].startswith("/"):
            found = socket.getaddrinfo(shadow["host"], int(shadow["port"]), type=socket.SOCK_STREAM)
            self._addresses = {tuple(entry[4][:2]) for entry in found}

    def close_all_others(self) -> None:
        for guard in (self._psycopg, self._psycopg2, self._asyncpg):
            with contextlib.suppress(ImportError):  # not installed here
                guard()
        sys.addaudithook(self._hear)

    def words(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The shadow's connection parameters in place of *asked*.

        Raises:
            Refused: *asked* leads somewhere else.
        """
        host = asked.get("host")
        if self.shadow is None:
            self._refuse("a database, although nothing is to be run")
        assert self.shadow
        if asked.get("service"):
            self._refuse("service {}".format(asked["service"]))
        if asked.get("hostaddr") or host not in (None, "", self.alias, self.shadow["host"]):
            name = asked.get("dbname") or asked.get("database")
            self._refuse("database {} on {}".format(name, asked.get("hostaddr") or host))
        return self.shadow

    def _refuse(self, what: str) -> None:
        self.refused.append(what)
        raise Refused("not the shadow database: " + what)

    def _psycopg(self) -> None:
        psycopg: Any = importlib.import_module("psycopg")
        split = importlib.import_module("psycopg.conninfo").conninfo_to_dict

        def guard(kind: Any) -> None:
            plain = kind.connect.__func__

            def connect(cls: Any, /, conninfo: str = "", **options: Any) -> Any:
                asked = {**split(conninfo), **options}
                return plain(cls, "", **{**_without(asked), **self.words(asked)})

            kind.connect = classmethod(connect)

        guard(psycopg.Connection)
        guard(psycopg.AsyncConnection)
        psycopg.connect = psycopg.Connection.connect

    def _psycopg2(self) -> None:
        module: Any = importlib.import_module("psycopg2")
        extensions = importlib.import_module("psycopg2.extensions")
        plain = module._connect

        def connect(dsn: str, *arguments: Any, **options: Any) -> Any:
            asked = extensions.parse_dsn(dsn)
            words = {**_without(asked), **self.words(asked)}
            return plain(extensions.make_dsn(**words), *arguments, **options)

        module._connect = connect

    def _asyncpg(self) -> None:
        module: Any = importlib.import_module("asyncpg")
        inner: Any = importlib.import_module("asyncpg.connection")
        from urllib.parse import parse_qsl, urlsplit

        plain = inner.connect

        def connect(dsn: str | None = None, **options: Any) -> Any:
            parts = urlsplit(dsn or "")
            asked = {"host": parts.hostname, "dbname": parts.path[1:], **dict(parse_qsl(parts.query))}
            asked.update({k: v for k, v in options.items() if v is not None})
            words = dict(self.words(asked))
            words["database"] = words.pop("dbname")
            words["port"] = int(words["port"])
            if words.pop("options", None):
                raise Refused("asyncpg cannot take on another role on the shadow server")
            return plain(**{**_without(options), **words})

        module.connect = inner.connect = connect

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse PostgreSQL's own programs, and sockets but those of the shadow and of local services that are none."""
        if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
            words = [os.fsdecode(word) for word in _flat(arguments[:2])]
            for name in {os.path.basename(part) for word in words for part in word.split()}:  # noqa: PTH119
                if name in _PROGRAMS:
                    self._refuse(f"whatever {name} connects to")
        if event != "socket.connect":
            return
        address = arguments[1]
        if isinstance(address, (str, bytes)):
            path = os.fsdecode(address)
            ours = self.shadow is not None and os.path.dirname(path) == self.shadow["host"]  # noqa: PTH120
            if ours or ".s.PGSQL." not in path:
                return
            self._refuse(path)
        if tuple(address[:2]) in self._addresses:
            return
        frame: Any = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").partition(".")[0] in _DRIVERS:
                self._refuse("{}:{}".format(*address[:2]))
            frame = frame.f_back
        raise ConnectionRefusedError("there is no network in a replay: {}:{}".format(*address[:2]))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [word for item in value for word in _flat(item)]
    return [value] if isinstance(value, (str, bytes, os.PathLike)) else []


def _without(asked: dict[str, Any]) -> dict[str, Any]:
    """*asked* but for what proves who one is to a server that is not meant."""
    left_out = ("ssl", "sslmode", "sslcert", "sslkey", "sslrootcert", "passfile", "password")
    return {name: value for name, value in asked.items() if name not in left_out}


class Recorder:
    """What the tool sent while one migration ran, each statement with its line and a mark in the shadow.

    Inside a transaction a statement gets a savepoint and a row in the table of marks, as auditkit's own replay
    does; outside of one, the next transaction id is noted.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.step: int | None = None
        self.statements: list[list[Any]] = []  # line, text, transaction id or None
        self.line: Callable[[], int] = lambda: 1
        self.stop: int | None = None

    def begin(self, step: int, line: Callable[[], int], stop: int | None = None) -> None:
        """From now on statements are noted, each with what *line* says; the one after *stop* others fails."""
        self.step, self.statements, self.line, self.stop = step, [], line, stop

    def before(self, sql: str, cursor: Any, autocommit: bool) -> int | None:
        """Note a statement that is about to run; give its number if ``after`` is to leave a mark."""
        if self.step is None:
            return None
        self.statements.append([self.line(), sql, None])
        if len(self.statements) - 1 == self.stop:
            cursor.execute(_FAIL)
        if autocommit:
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8")
            self.statements[-1][2] = int(cursor.fetchone()[0])
            return None
        word = sql.lstrip().partition(" ")[0].strip(";").lower()
        if word in _NOT_WITHIN:
            return None
        cursor.execute("SAVEPOINT auditkit")
        return len(self.statements) - 1

    def after(self, number: int | None, cursor: Any) -> None:
        if number is not None:
            cursor.execute(f"INSERT INTO {self.table} VALUES ({number})")
            cursor.execute("RELEASE SAVEPOINT auditkit")


def line_in(path: str) -> int | None:
    """The line of the file *path* that is being executed further out, if there is one."""
    frame: Any = sys._getframe()
    while frame is not None:
        if _same(frame.f_code.co_filename, path):
            return int(frame.f_lineno)
        frame = frame.f_back
    return None


_real: dict[str, str] = {}


def _same(left: str, right: str) -> bool:
    if os.path.basename(left) != os.path.basename(right):  # noqa: PTH119
        return False
    for path in (left, right):
        if path not in _real:
            _real[path] = os.path.realpath(path)
    return _real[left] == _real[right]


def explained(error: BaseException, path: str, recorder: Recorder) -> dict[str, Any]:
    """An error as auditkit's ``Failure`` has it: the server's own words, and the line in the migration."""
    line, origin, sqlstate = None, error, None
    seen: set[int] = set()
    chain: BaseException | None = error
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        state = getattr(chain, "sqlstate", None) or getattr(chain, "pgcode", None)
        if state:
            origin, sqlstate = chain, state
        for frame in traceback.extract_tb(chain.__traceback__):
            if _same(frame.filename, path):
                line = frame.lineno
        chain = getattr(chain, "orig", None) or chain.__cause__ or chain.__context__
    last = recorder.statements[-1] if recorder.statements else None
    if sqlstate and last:
        line = last[0]
    message = getattr(getattr(origin, "diag", None), "message_primary", None) or _gist(origin)
    return {
        "line": line or (last[0] if last else recorder.line()),
        "outside": line is None and last is None,  # the project could not even be started
        "message": message,
        "sqlstate": sqlstate or "",
        "statement": last[1] if sqlstate and last else "",
    }


def _gist(error: BaseException) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}".rstrip(": ")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work = json.loads(sys.stdin.readline())
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    module = _load(os.path.join(here, "for_{}.py".format(work["tool"])))  # noqa: PTH118
    # In place of our own folder, as when the tool itself is started there.
    sys.path[:] = [work["root"], *(path for path in sys.path if os.path.abspath(path) != here)]  # noqa: PTH100
    sys.dont_write_bytecode = True
    gate, recorder = Gate(work["shadow"], work["alias"]), Recorder(work["marks"])
    gate.close_all_others()
    tool: Any = None

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal tool
        path = request.get("path", "")
        recorder.begin(request.get("step", 0), lambda: line_in(path) or 1)
        recorder.step = None  # until the migration itself runs
        try:
            if tool is None:
                tool = module.Tool(work, recorder, line_in)
            result = tool.list() if request["do"] == "list" else tool.apply(request)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            result = {"error": explained(error, path, recorder)}
        result["statements"] = recorder.statements
        recorder.step = None
        if gate.refused:
            result["refused"] = gate.refused[0]
        return result  # type: ignore[no-any-return]

    for request in sys.stdin:
        print(json.dumps(answer(json.loads(request))), file=answers, flush=True)


def _load(path: str) -> Any:
    """The module in *path*, without leaving its folder where the project looks for modules."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("auditkit_driver", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
