"""The server's own log, from files: what ``log_statement = ddl`` and pgaudit wrote, as csvlog, jsonlog or plain text.

``log_statement`` writes a line before the statement is run: no transaction id yet, no word whether it succeeded.
What later lines of the same transaction say (its id, an error) is carried back to it. What is never in a log of
this kind: DO blocks and DDL in functions (pgaudit sees those), ROLLBACK by the user. Times and names are as the
server wrote them; in plain text a client can imitate what follows its application_name (``%a``) in the prefix.
"""

from __future__ import annotations

import csv
import datetime as dt
import glob
import gzip
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from auditkit.catalog.snapshot import Snapshot
from auditkit.errors import ConfigError
from auditkit.history.witnesses.commit_times import catalog_xids
from auditkit.history.witnesses.testimony import Key, Testimony, command_of, masked

#: Prefixes that are tried when the server's own does not fit: the default, Debian's, pgBadger's and platforms'.
COMMON = (
    "%m [%p] ",
    "%m [%p] %q%u@%d ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t:%r:%u@%d:[%p]:",
    "%m [%p]: [%l-1] db=%d,user=%u ",
    "%h %m [%p] %q%u@%d ",
    "%t ",
)
#: So many statements are held at once, however long the log is.
_HELD = 50_000
_SAMPLE = 2000  # lines that are looked at to find out what a file is
_LONGEST_FIELD = 1 << 24

_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? (?:[A-Za-z]{1,6}|<?[+-]\d\d(?::?\d\d)*>?)"
_CSV_START = re.compile(rf'{_TIME},(?:"|,)')
_ESCAPES = {
    "a": r"(?P<application>.*?)", "u": r"(?P<user>.*?)", "d": r"(?P<database>.*?)",
    "r": r"(?P<client>[^\s(]*?)(?:\(\d+\))?", "h": r"(?P<client>\S*?)", "L": r"\S*?", "b": r".*?",
    "p": r"(?P<pid>\d+)", "P": r"\d*", "t": rf"(?P<at>{_TIME})", "m": rf"(?P<at>{_TIME})",
    "n": r"(?P<epoch>\d+\.\d+)", "i": r".*?", "e": r"[0-9A-Z]{5}", "c": r"(?P<session>[0-9a-f]+\.[0-9a-f]+)",
    "l": r"\d+", "s": _TIME, "v": r"(?P<vxid>[-\d/]*)", "x": r"(?P<xid>\d+)", "Q": r"-?\d+", "%": "%",
}  # fmt: skip
_SEVERITY = (
    r"(?P<severity>DEBUG\d?|INFO|NOTICE|WARNING|LOG|ERROR|FATAL|PANIC|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|"
    r"LOCATION|BACKTRACE):  (?P<message>.*)\Z"
)
_LOGGED = re.compile(
    r"(?:duration: [\d.]+ ms  )?(?:statement|execute (?!fetch from)[^:]*): (.*)\Z", re.DOTALL
)
_AUDIT = "AUDIT: "
_CONNECTED = re.compile(r"connection authorized: user=(\S+)(?: database=(\S+))?(?: application_name=(.*))?")
_RECEIVED = re.compile(r"connection received: host=(\S+)")
#: Commands about what all databases of a cluster share.
_CLUSTER_WIDE = re.compile(r"(?:CREATE|ALTER|DROP|GRANT|REVOKE) (?:ROLE|USER|GROUP|DATABASE|TABLESPACE)")


@dataclass(frozen=True)
class _Line:
    """One entry of a log, whatever its format; ``session`` tells sessions apart, ``vxid`` their transactions."""

    number: int
    at: str
    severity: str
    message: str
    user: str = ""
    database: str = ""
    client: str = ""
    application: str = ""
    session: str = ""
    vxid: str = ""
    xid: int = 0
    query: str = ""


def read(
    patterns: Sequence[str], snapshot: Snapshot, limit: int, *, root: Path, prefix: str | None = None
) -> dict[str, Any]:
    """The record of log files: see ``witnesses.read``.

    Args:
        patterns: files and shell-style patterns, below *root* unless absolute; ``.gz`` is unpacked.
        snapshot: of the database whose statements are wanted; says how the server writes its log, if it was live.
        prefix: ``log_line_prefix`` of plain text, where the snapshot does not know it.

    Raises:
        ConfigError: a file is not there, cannot be read, or is no log in a form that is known.
    """
    about = snapshot.manifest.get("environment", {})
    prefixes = [p for p in (prefix, about.get("log_line_prefix")) if p]
    zone = str(about.get("log_timezone") or "")
    database = str(snapshot.manifest.get("database") or "")
    held: deque[Testimony] = deque(maxlen=_HELD)
    files, notes, seen = _files(patterns, root), _Notes(), 0
    for file in files:
        lines = _lines(file, prefixes, notes)
        for testimony in _testimonies(lines, file.name, database, _Clock(zone), notes):
            held.append(testimony)
            seen += 1
    rows = select(held, snapshot, limit)
    cut = f"{len(rows)} of {seen} statements were kept" if seen > len(rows) else None
    record: dict[str, Any] = {
        "source": ", ".join(f.name for f in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else ""),
        "since": notes.first,
        "count": seen,
        "cut": cut,
        "rows": rows,
    }  # fmt: skip
    if notes.problems:
        why = "; ".join(dict.fromkeys(notes.problems))
        record["denied"] = {"what": "a part of the server's log", "why": why, "fix": "give the whole files"}
    if not files:
        why = f"no file matches {', '.join(patterns)}"
        record["denied"] = {"what": "the server's log", "why": why, "fix": "correct logs in the settings"}
    return record


def select(testimonies: Iterable[Testimony], snapshot: Snapshot, limit: int) -> list[Testimony]:
    """The *limit* that matter most: of transactions that wrote the catalog's rows outside of migrations, then the latest."""
    recorded = {row.get("xmin") for ledger in snapshot.ledgers for row in ledger["rows"]}
    foreign = catalog_xids(snapshot) - recorded
    ranked = sorted(testimonies, key=lambda t: t.at or "", reverse=True)
    ranked.sort(key=lambda t: t.xid not in foreign)
    return sorted(ranked[:limit], key=lambda t: t.at or "", reverse=True)


class _Notes:
    """What is found out on the way: the time of the first line, and what could not be read."""

    def __init__(self) -> None:
        self.first: str | None = None
        self.problems: list[str] = []


def _files(patterns: Sequence[str], root: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = root / pattern
        if path.is_file():
            found.append(path)
        elif glob.has_magic(pattern):
            matching = glob.glob(str(path), recursive=True)  # noqa: PTH207 (patterns may be absolute)
            found += sorted(Path(p) for p in matching if Path(p).is_file())
        else:
            raise ConfigError(f"no such log file: {pattern}; check --log, or logs in the settings")
    return list(dict.fromkeys(found))


# --- what a file is ----------------------------------------------------------------------------------------


def _open(file: Path) -> io.TextIOWrapper:
    """The file as text; bytes that are no UTF-8 become replacement characters, line ends stay as they are."""
    try:
        raw: Any = gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # noqa: SIM115 (closed with the text)
        return io.TextIOWrapper(raw, "utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read: {error.strerror}; check the path and its rights"
        ) from None


def _text(file: Path, notes: _Notes) -> Iterator[str]:
    """Its lines; of a damaged archive those before the damage."""
    with _open(file) as text:
        try:
            yield from text
        except (EOFError, OSError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or "it is cut short or damaged"
            notes.problems.append(f"{file.name} ends early: {reason}")


def _lines(file: Path, prefixes: Sequence[str], notes: _Notes) -> Iterator[_Line]:
    sample = list(islice(_text(file, _Notes()), _SAMPLE))
    if not any(line.strip() for line in sample):
        return iter(())
    if any(_json_object(line) is not None for line in sample[:50]):
        return _from_json(_text(file, notes), file, notes)
    if any(_CSV_START.match(line) for line in sample):
        return _from_csv(_text(file, notes), file, notes)
    own = [line for line in sample if not line.startswith("\t") and line.strip()]
    best, fitting = None, 0
    for prefix in dict.fromkeys((*prefixes, *COMMON)):
        pattern = prefix_pattern(prefix)
        count = sum(bool(pattern.match(line.rstrip("\r\n"))) for line in own)
        if count > fitting:
            best, fitting = pattern, count
    if best is None or 2 * fitting < len(own):
        expected = (
            f"log_line_prefix '{prefixes[0]}'" if prefixes else "one of the common log_line_prefix values"
        )
        raise ConfigError(
            f"{file}: no PostgreSQL log in a form that is known: expected csvlog, jsonlog, or lines that begin "
            f"with {expected}, then LOG: in English; give the server's prefix as log_line_prefix = \"…\" of the "
            "environment"
        )  # fmt: skip
    return _from_text(_text(file, notes), best, file, notes)


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "timestamp" in found and "error_severity" in found else None


def prefix_pattern(prefix: str) -> re.Pattern[str]:
    """What a line looks like with this ``log_line_prefix``: groups for what is wanted of it."""
    parts, names, optional = [], set[str](), 0
    for literal, padding, letter in re.findall(
        r"([^%]+)|%(-?\d*)(.)", prefix + ("%" if prefix.endswith("%") else "")
    ):
        if literal:
            parts.append(re.escape(literal))
        elif letter == "q":
            parts.append("(?:")
            optional += 1
        else:
            pattern = _ESCAPES.get(letter, "")
            name = re.match(r"\(\?P<(\w+)>", pattern)
            if name and name[1] in names:
                pattern = pattern.replace(name[0], "(?:", 1)
            elif name:
                names.add(name[1])
            parts.append(f" *{pattern} *" if padding else pattern)
    return re.compile("".join(parts) + ")?" * optional + _SEVERITY, re.DOTALL)  # fmt: skip


# --- the formats -------------------------------------------------------------------------------------------


def _from_json(lines: Iterable[str], file: Path, notes: _Notes) -> Iterator[_Line]:
    bad = 0
    for number, line in enumerate(lines, 1):
        found = _json_object(line)
        if found is None:
            bad += bool(line.strip())
            continue
        value = {name: v if isinstance(v, str) else "" for name, v in found.items()}
        yield _Line(
            number=number,
            at=value["timestamp"],
            severity=value["error_severity"],
            message=value.get("message", ""),
            user=value.get("user", ""),
            database=value.get("dbname", ""),
            client=value.get("remote_host", ""),
            application=value.get("application_name", ""),
            session=value.get("session_id") or str(found.get("pid") or ""),
            vxid=value.get("vxid", ""),
            xid=_number(found.get("txid")),
            query=value.get("statement", ""),
        )
    if bad:
        notes.problems.append(f"{file.name}: {bad} lines are no JSON of PostgreSQL's")


class _Counted:
    """Lines of a csvlog from the first whole record on, and the number of the one that was read last."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines, self.number, self.started = iter(lines), 0, False

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.number += 1
            self.started = self.started or bool(_CSV_START.match(line))
            if self.started:
                yield line


def _from_csv(lines: Iterable[str], file: Path, notes: _Notes) -> Iterator[_Line]:
    # A statement may hold line ends and whole records that look genuine: only the quotes tell, hence csv.
    csv.field_size_limit(_LONGEST_FIELD)
    counted = _Counted(lines)
    reader, bad = csv.reader(counted), 0
    while True:
        first = counted.number + 1
        try:
            row = next(reader, None)
        except csv.Error:
            bad += 1
            continue
        if row is None:
            break
        if len(row) < 23 or not re.fullmatch(_TIME, row[0]):
            bad += bool(row)
            continue
        client = row[4] if row[4].startswith("[") else row[4].rpartition(":")[0] or row[4]
        yield _Line(first, row[0], row[11], row[13], row[1], row[2], client, row[22], row[5], row[9],
                    _number(row[10]), row[19])  # fmt: skip
    if bad:
        notes.problems.append(f"{file.name}: {bad} records are cut short or damaged")


def _from_text(lines: Iterable[str], pattern: re.Pattern[str], file: Path, notes: _Notes) -> Iterator[_Line]:
    found: re.Match[str] | None = None
    first, more, strange = 0, list[str](), 0
    for number, whole in enumerate(lines, 1):
        line = whole.rstrip("\r\n")
        if line.startswith(
            "\t"
        ):  # PostgreSQL indents every further line of a message, so that none can be forged
            more.append(line[1:])
            continue
        if found:
            yield _matched(found, more, first)
        found, first, more = pattern.match(line), number, []
        strange += not found and bool(line.strip())
    if found:
        yield _matched(found, more, first)
    if strange:
        notes.problems.append(f"{file.name}: {strange} lines do not begin with its log_line_prefix")


def _matched(found: re.Match[str], more: Sequence[str], number: int) -> _Line:
    value = {name: text or "" for name, text in found.groupdict().items()}
    at = value.get("at") or value.get("epoch", "")
    message = "\n".join([value["message"], *more])
    return _Line(
        number=number,
        at=at,
        severity=value["severity"],
        message=message,
        user=_known(value.get("user", "")),
        database=_known(value.get("database", "")),
        client=value.get("client", ""),
        application=_known(value.get("application", "")),
        session=value.get("session") or value.get("pid", ""),
        vxid=value.get("vxid", ""),
        xid=_number(value.get("xid")),
    )


def _known(text: str) -> str:
    return "" if text == "[unknown]" else text


def _number(value: object) -> int:
    text = str(value or "")
    return int(text) % (1 << 32) if text.isascii() and text.isdigit() and len(text) < 20 else 0


class _Clock:
    """Times of a log, in whatever zone it is written, as ISO 8601 in UTC."""

    def __init__(self, zone: str) -> None:
        try:
            self.zone: dt.tzinfo = ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.zone = dt.UTC

    def utc(self, text: str) -> str | None:
        try:
            if re.fullmatch(r"\d+\.\d+", text):
                moment = dt.datetime.fromtimestamp(float(text), dt.UTC)
            else:
                day, time, zone = text.split(" ", 2)
                moment = dt.datetime.fromisoformat(f"{day} {time}").replace(tzinfo=self._zone(zone))
            return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        except (ValueError, OverflowError, OSError):
            return None

    def _zone(self, name: str) -> dt.tzinfo:
        if name in ("UTC", "GMT", "Z"):
            return dt.UTC
        if offset := re.fullmatch(r"<?([+-])(\d\d):?(\d\d)?.*", name):
            minutes = int(offset[2]) * 60 + int(offset[3] or 0)
            return dt.timezone(dt.timedelta(minutes=-minutes if offset[1] == "-" else minutes))
        return self.zone  # an abbreviation, which alone means nothing; log_timezone tells what it stands for


# --- from lines to testimonies -----------------------------------------------------------------------------


@dataclass
class _Session:
    """What is known of a session, and the statements of its running transaction: (raw text, from pgaudit, testimony)."""

    user: str = ""
    database: str = ""
    client: str = ""
    application: str = ""
    vxid: str = ""
    running: list[tuple[str, bool, Testimony]] | None = None

    def finish(self) -> Iterator[Testimony]:
        """The statements of the transaction that is over; where pgaudit logged one, that is enough."""
        audited = {text for text, by_pgaudit, _ in self.running or () if by_pgaudit}
        for text, by_pgaudit, testimony in self.running or ():
            if by_pgaudit or text not in audited:
                yield testimony
        self.running = []


def _testimonies(
    lines: Iterable[_Line], file: str, database: str, clock: _Clock, notes: _Notes
) -> Iterator[Testimony]:
    sessions: dict[str, _Session] = {}
    for line in lines:
        if notes.first is None:
            notes.first = (clock.utc(line.at) or "")[:19] + "Z"
        session = sessions.setdefault(line.session, _Session())
        if line.vxid != session.vxid or (not line.vxid and line.severity == "LOG"):
            yield from session.finish()
            session.vxid = line.vxid
        _introduce(session, line)
        if line.severity in ("ERROR", "FATAL", "PANIC", "STATEMENT"):
            _failed(session, line)
            continue
        if line.xid and session.running:
            session.running = [
                (text, audit, replace(t, xid=t.xid or line.xid)) for text, audit, t in session.running
            ]
        spoken = _spoken(line)
        if spoken is None:
            continue
        text, command, objects = spoken
        where = line.database or session.database
        if where and database and where != database and not _CLUSTER_WIDE.fullmatch(command):
            continue
        user = line.user or session.user or None
        client = line.client or session.client
        testimony = Testimony(
            witness="server_log",
            source=f"{file}:{line.number}",
            at=clock.utc(line.at),
            role=user,
            session_user=user,
            client=None if client in ("", "[local]") else client,
            application=line.application or session.application or None,
            command=command,
            statement=masked(text) or None,
            xid=line.xid or None,
            objects=objects,
            dropped=command.startswith("DROP") or bool(objects and objects[0][0] == "table column"
                                                       and re.search(r"\bdrop\b", text, re.I)),
        )  # fmt: skip
        session.running = [*(session.running or ()), (text, line.message.startswith(_AUDIT), testimony)]
        if not line.vxid:  # nothing tells transactions apart: an error can only concern the last statement
            *over, last = session.running
            session.running = over
            yield from session.finish()
            session.running = [last]
    for session in sessions.values():
        yield from session.finish()


def _introduce(session: _Session, line: _Line) -> None:
    """Who a session is, where the prefix does not say it and ``log_connections`` does."""
    if received := _RECEIVED.match(line.message):
        session.user = session.database = session.application = ""
        session.client = received[1]
    elif connected := _CONNECTED.match(line.message):
        session.user, session.database, session.application = (part or "" for part in connected.groups())


def _failed(session: _Session, line: _Line) -> None:
    """An error: its statement did nothing, and what came before it in the transaction may have been rolled back."""
    text = line.message if line.severity == "STATEMENT" else line.query
    session.running = [
        (known, audit, replace(testimony, unsure=testimony.unsure or bool(line.vxid)))
        for known, audit, testimony in session.running or ()
        if known != text
    ]


def _spoken(line: _Line) -> tuple[str, str, tuple[Key, ...]] | None:
    """Statement, command and objects of a line that tells of a change to the schema."""
    if line.message.startswith(_AUDIT):
        try:
            fields = next(csv.reader(io.StringIO(line.message.removeprefix(_AUDIT))))
        except (csv.Error, StopIteration):
            return None
        if len(fields) < 8 or fields[3] not in ("DDL", "ROLE"):
            return None
        kind, identity = fields[5].lower(), fields[6]
        return fields[7], fields[4], ((kind, identity),) if kind and identity else ()
    logged = _LOGGED.match(line.message) if line.severity == "LOG" else None
    command = command_of(logged[1]) if logged else None
    return (logged[1], command, ()) if logged and command else None
