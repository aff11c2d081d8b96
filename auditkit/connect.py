"""Sessions that cannot harm production, and the removal of secrets from anything that is shown.

An audit session is read-only, autocommit, gives up a lock after 100 ms (well before
``deadlock_timeout``, so that a migration is never the victim) and resolves no name through a schema
that another role could write to.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from auditkit.errors import ConfigError, ConnectionFailed

if TYPE_CHECKING:
    import psycopg

#: Set by the first statement, not by startup options, which poolers reject. ``search_path`` makes the
#: deparsed text schema-qualified (hence comparable) and shuts out functions planted in ``public``.
SESSION: dict[str, str] = {
    "default_transaction_read_only": "on",
    "statement_timeout": "15s",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "10s",
    "search_path": "pg_catalog",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
}

_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/?#@]*):[^\s]*@", re.IGNORECASE)
#: ``password=…``, ``"password": "…"``, and SQL's ``PASSWORD '…'`` and ``OPTIONS (password $$…$$)``.
_PAIR_PASSWORD = re.compile(
    r"""((?:password|passwd|secret|token|api_?key)["']?(?:\s*[=:]\s*|\s+(?=['$])))"""
    r"""('(?:[^'\\]|\\.|'')*'|"[^"]*"|\$(\w*)\$.*?\$\3\$|[^\s&,;)]+)""",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"(\bBearer\s+)\S+", re.IGNORECASE)


def redact(text: str) -> str:
    """Return *text* with every password that looks like one replaced by ``***``."""
    for pattern, instead in (
        (_URL_PASSWORD, r"\1:***@"),
        (_BEARER, r"\1***"),
        (_PAIR_PASSWORD, r"\1***"),
    ):
        text = pattern.sub(instead, text)
    return text


def parse(conninfo: str, name: str = "") -> dict[str, Any]:
    """Split a libpq connection string into keywords; *name* is the environment's, for messages.

    Raises:
        ConfigError: it cannot be parsed. libpq's own message quotes the string, password and all
            (a badly percent-encoded URL prints it whole), so that message is never passed on.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        words = dict(conninfo_to_dict(conninfo))
        if not _password_in_the_wrong_place(conninfo, words):
            return words
    except (ProgrammingError, UnicodeDecodeError):
        pass
    raise ConfigError(
        f"{name}{': ' if name else ''}the connection string cannot be parsed (check quoting and percent-encoding: "
        "in a password @ is %40, / is %2F, % is %25); a service file or .pgpass keeps passwords out of it"
    )


def _password_in_the_wrong_place(conninfo: str, words: dict[str, Any]) -> bool:
    """Whether an unescaped @ or / in a URL made libpq take a piece of the password for host, port or database.

    Those are shown in messages, so such a URL is refused before anything is done with it.
    """
    url = re.match(r"\s*postgres(?:ql)?://(.*)", conninfo, re.DOTALL)
    if not url:
        return False
    rest = url[1]
    address, _, _ = rest.partition("?")
    before, at, after = address.partition("@")
    return (
        (bool(at) and ("@" in after or "/" in before))
        or any("@" in str(words.get(key) or "") for key in ("host", "port"))
        or ("@" in str(words.get("dbname") or "") and "%40" not in rest)
    )


def describe(conninfo: str) -> str:
    """Where a connection string points, without user secrets: ``db on host:port as user``."""
    words = parse(conninfo)
    if "service" in words:
        return f"service {words['service']}"
    host = unquote(str(words.get("host") or words.get("hostaddr") or "the default host"))
    port = f":{words['port']}" if words.get("port") else ""
    user = f" as {words['user']}" if words.get("user") else ""
    return f"{words.get('dbname') or 'the default database'} on {host}{port}{user}"


def has_password(conninfo: str) -> bool:
    """Whether a connection string carries a password in itself."""
    return bool(parse(conninfo).get("password"))


def connect(conninfo: str, *, name: str | None = None, timeout: int = 10) -> psycopg.Connection[Any]:
    """Open a read-only session for an audit.

    Args:
        conninfo: anything libpq accepts; service files, ``.pgpass`` and ``PG*`` work unchanged.
        name: the environment's name, used in messages.
        timeout: seconds to wait for the server, unless the connection string says otherwise.

    Raises:
        ConnectionFailed: with libpq's reason in one line, without secrets.
        ConfigError: the string cannot be parsed.
    """
    import psycopg

    # Errors reach people as exceptions; what psycopg logs on the way (after Ctrl-C) is not for standard error.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    words = parse(conninfo, name or "")
    words.setdefault("connect_timeout", timeout)
    words.setdefault("client_encoding", "utf8")
    words["application_name"] = "auditkit"
    label = name or "the database"
    try:
        connection = psycopg.connect(**words, autocommit=True)
        connection.execute(
            "SELECT " + ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in SESSION),
            [word for pair in SESSION.items() for word in pair],
        )
    except psycopg.OperationalError as error:
        raise ConnectionFailed(
            f"{label}: cannot connect to {describe(conninfo)}: {reason(error)}; {_advice(str(error))}"
        ) from None
    return connection


def reason(error: BaseException) -> str:
    """The gist of a libpq or server error: one line, no secrets, no repeated connection details."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if "FATAL:" in line or "ERROR:" in line), lines[0] if lines else "")
    for mark in ("FATAL:", "ERROR:"):
        text = text.rpartition(mark)[2] if mark in text else text
    text = re.sub(r"^(connection (failed|is bad): )?(connection to server .*? failed: )?", "", text.strip())
    text = text.removeprefix("fe_sendauth: ")
    return redact(text).rstrip(".") or type(error).__name__


def _advice(message: str) -> str:
    """What a person should look at next, by the kind of failure."""
    lower = message.lower()
    if "password" in lower or "authentication" in lower or "no pg_hba.conf" in lower:
        return "check the role and its password (.pgpass, PGPASSWORD or a service file)"
    if "does not exist" in lower:
        return "check the database and role names"
    if "ssl" in lower or "certificate" in lower:
        return "check sslmode and the certificates"
    if "definition of service" in lower or "service file" in lower:
        return "check the service file (PGSERVICEFILE, ~/.pg_service.conf)"
    return "check host, port and network access, then run `auditkit doctor`"
