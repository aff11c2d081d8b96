"""Connections: read-only sessions, refusals in one line, and no piece of a password anywhere."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from string import printable

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit import connect
from auditkit import server as servers
from auditkit.errors import AuditError, ConfigError, ConnectionFailed

SECRET = "c4nary-pw"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOST", "PORT", "USER", "DATABASE", "PASSWORD", "SERVICE", "OPTIONS", "SERVICEFILE"):
        monkeypatch.delenv(f"PG{name}", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))


@pytest.fixture(scope="module")
def guarded() -> Iterator[servers.Server]:
    """A server that asks everybody but the superuser for a password."""
    with servers.start(label="guarded") as server:
        rules = "local all postgres trust\nlocal all rejected reject\nlocal all all scram-sha-256\n"
        (server.socket_dir / "pg_hba.conf").write_text(rules)
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("create role auditor login password 'right'")
            connection.execute("create role rejected login")
            connection.execute("select pg_reload_conf()")
        yield server


def refusal(conninfo: str) -> str:
    with pytest.raises(AuditError) as caught:
        connect.connect(conninfo, name="production")
    message = str(caught.value)
    assert SECRET not in message
    assert "\n" not in message
    # libpq's own message, which may hold anything, stays behind.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


# --- sessions ----------------------------------------------------------------------------------------------


def test_a_session_is_what_it_promises(database: str) -> None:
    with connect.connect(database, name="production") as session:
        assert session.autocommit
        found = {
            name: session.execute("SELECT current_setting(%s)", [name]).fetchone() for name in connect.SESSION
        }
        assert found == {
            **{name: (value,) for name, value in connect.SESSION.items()},
            "DateStyle": ("ISO, MDY",),
        }
        assert session.execute("SELECT current_setting('client_encoding')").fetchone() == ("UTF8",)
        assert session.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone() \
            == ("auditkit",)  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.x ()",
        "CREATE ROLE x",
        "COMMENT ON SCHEMA public IS 'x'",
        "SELECT nextval('public.s')",
    ],
)
def test_a_session_cannot_write(database: str, statement: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE SEQUENCE public.s")
    with (
        connect.connect(database) as session,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        session.execute(statement.encode())


def test_settings_of_the_role_do_not_win(server: servers.Server, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("ALTER ROLE CURRENT_USER SET statement_timeout = '1h'")
        owner.execute("ALTER ROLE CURRENT_USER SET search_path = public")
    try:
        with connect.connect(database) as session:
            assert session.execute("SHOW statement_timeout").fetchone() == ("15s",)
            assert session.execute("SHOW search_path").fetchone() == ("pg_catalog",)
    finally:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("ALTER ROLE CURRENT_USER RESET ALL")


# --- a pooler that knows no startup options ----------------------------------------------------------------


class Pooler:
    """A proxy before a server's Unix socket, as strict about startup parameters as PgBouncer."""

    KNOWN = frozenset({"user", "database", "client_encoding", "application_name", "DateStyle", "TimeZone"})

    def __init__(self, server: servers.Server) -> None:
        self.target = str(server.socket_dir / f".s.PGSQL.{server.port}")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
            rest = client.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
            if code not in (80877103, 80877104):
                break
            client.sendall(b"N")  # neither TLS nor GSSAPI
        words = rest.rstrip(b"\0").split(b"\0")
        unknown = sorted({name.decode() for name in words[::2]} - self.KNOWN)
        if unknown:
            text = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0".encode()
            client.sendall(b"E" + struct.pack("!I", len(text) + 4) + text)
            client.close()
            return
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(self.target)
            upstream.sendall(struct.pack("!II", length, code) + rest)
            back = threading.Thread(target=self._copy, args=(upstream, client), daemon=True)
            back.start()
            self._copy(client, upstream)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def pooler(server: servers.Server) -> Iterator[Pooler]:
    if not hasattr(server, "socket_dir"):
        pytest.skip("the server named by AUDITKIT_TEST_DSN has no Unix socket of ours")
    pooler = Pooler(server)
    yield pooler
    pooler.listener.close()


def test_a_pooler_without_startup_options_serves(pooler: Pooler, database: str) -> None:
    from auditkit.catalog.capture import capture

    words = connect.parse(database)
    through = f"host=127.0.0.1 port={pooler.port} dbname={words['dbname']} user={words['user']}"
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        psycopg.connect(f"{through} options='-c statement_timeout=1'")
    with connect.connect(through) as session:
        assert session.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
        assert session.execute("SHOW search_path").fetchone() == ("pg_catalog",)
    assert capture(through).fingerprint == capture(database).fingerprint


# --- refusals ----------------------------------------------------------------------------------------------


def test_wrong_password(guarded: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    conninfo = guarded.conninfo(user="auditor")
    where = f"production: cannot connect to postgres on {guarded.socket_dir}:5432 as auditor: "
    advice = "; check the role and its password (.pgpass, PGPASSWORD or a service file)"
    assert refusal(conninfo) == f"{where}no password supplied{advice}"
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert refusal(conninfo) == f'{where}password authentication failed for user "auditor"{advice}'
    assert refusal(f"{conninfo} password={SECRET}x") == (
        f'{where}password authentication failed for user "auditor"{advice}'
    )
    assert refusal(guarded.conninfo(user="nobody_here")).startswith(
        f"production: cannot connect to postgres on {guarded.socket_dir}:5432 as nobody_here: password authentication"
    )
    assert "pg_hba.conf rejects connection" in refusal(guarded.conninfo(user="rejected"))
    monkeypatch.setenv("PGPASSWORD", "right")
    connect.connect(conninfo).close()


def test_passwords_come_from_libpqs_own_places(
    guarded: servers.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pgpass").write_text("*:*:*:auditor:right\n")
    (tmp_path / "pgpass").chmod(0o600)
    connect.connect(guarded.conninfo(user="auditor")).close()
    (tmp_path / "pgpass").unlink()
    (tmp_path / "services").write_text(
        f"[app]\nhost={guarded.socket_dir}\nuser=auditor\ndbname=postgres\npassword=right\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    connect.connect("service=app").close()


@pytest.mark.parametrize(
    ("conninfo", "says"),
    [
        (
            "host=no-such-host.invalid dbname=app user=u",
            "production: cannot connect to app on no-such-host.invalid as u: failed to resolve host",
        ),
        (
            f"postgresql://u:{SECRET}@127.0.0.1:1/app",
            "production: cannot connect to app on 127.0.0.1:1 as u: "
            "Connection refused; check host, port and network access, then run `auditkit doctor`",
        ),
        (
            "service=nosuch",
            "production: cannot connect to service nosuch: definition of service "
            '"nosuch" not found; check the service file (PGSERVICEFILE, ~/.pg_service.conf)',
        ),
    ],
)
def test_unreachable(conninfo: str, says: str) -> None:
    message = refusal(conninfo)
    assert message.startswith(says)
    assert "service" in conninfo or message.endswith("then run `auditkit doctor`")


def test_unknown_database(server: servers.Server) -> None:
    message = refusal(server.conninfo("nosuchdb"))
    assert message.endswith('database "nosuchdb" does not exist; check the database and role names')


MALFORMED = [
    f"postgresql://u:{SECRET}%zz@h/db",
    f"postgresql://u:{SECRET}%@h/db",
    f"postgresql://u:{SECRET}@x@127.0.0.1:1/db",
    f"postgresql://u:p@{SECRET}@127.0.0.1:1/db",
    f"postgresql://u:p@{SECRET}/y@127.0.0.1:1/db",
    f"postgresql://u:p/{SECRET}@127.0.0.1/db",
    f"postgresql://u:p?{SECRET}@{SECRET}@127.0.0.1/db",
    f"postgresql://u:p@x:{SECRET}@127.0.0.1/db",
    f"postgres://u:a@{SECRET}@h1,h2/db",
    f"postgresql+psycopg://u:{SECRET}@h/db",
    f"host=h password='{SECRET}",
    f"host=h password=a {SECRET}",
    f"host=h pasword={SECRET}",
    f"{SECRET}",
]


@pytest.mark.parametrize("conninfo", MALFORMED)
def test_malformed_strings_are_refused_whole(conninfo: str) -> None:
    assert refusal(conninfo) == (
        "production: the connection string cannot be parsed (check quoting and percent-encoding: in a password "
        "@ is %40, / is %2F, % is %25); a service file or .pgpass keeps passwords out of it"
    )


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://u@h/db",
        "postgresql://u:p%40x%2Fy@h:5433/db?sslmode=require",
        "postgresql://u%40tenant:p@h/db",
        "postgresql://h/db?user=u@tenant",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://u@h/a%40b",
        "postgresql://u@[::1]:5432/db",
        "postgresql://u@h1:1,h2:2/db",
        "host=h user=u@tenant dbname=a@b",
        "",
    ],
)
def test_well_formed_strings_are_accepted(conninfo: str) -> None:
    assert isinstance(connect.parse(conninfo), dict)


# Passwords with everything that a URL or a keyword string gives a meaning to.
passwords = st.text(st.sampled_from("@:/?#%&=[]' \\\"" + "abc123"), min_size=1, max_size=12)


@given(before=passwords, after=passwords)
def test_no_piece_of_an_unescaped_password_is_ever_shown(before: str, after: str) -> None:
    conninfo = f"postgresql://u:{before}{SECRET}{after}@127.0.0.1:1/db"
    try:
        described = connect.describe(conninfo)
    except ConfigError as error:
        described = str(error)
    assert SECRET not in described


@given(st.text(printable, max_size=60))
def test_any_text_is_parsed_or_refused_without_being_repeated(text: str) -> None:
    try:
        connect.parse(text)
    except ConfigError as error:
        assert len(text) < 4 or text not in str(error)


# --- redaction ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}@h/db",
        f"see postgres://u:{SECRET}@h and more",
        f"password={SECRET} host=h",
        f"password = '{SECRET} x' host=h",
        f"PASSWORD '{SECRET}'",
        f'"password": "{SECRET}"',
        f"PGPASSWORD={SECRET}",
        f"sslpassword={SECRET}",
        f"OPTIONS (user 'u', password '{SECRET}')",
        f"CREATE USER MAPPING … OPTIONS (password $${SECRET}$$)",
        f"api_key: {SECRET}",
        f"Authorization: Bearer {SECRET}",
    ],
)
def test_redaction(text: str) -> None:
    assert SECRET not in connect.redact(text)
    assert "***" in connect.redact(text)


def test_redaction_leaves_everything_else_alone() -> None:
    for text in (
        "column password of public.users",
        "postgresql://u@h:5432/db",
        'permission denied for table "passwords"',
        "check the role and its password (.pgpass, PGPASSWORD or a service file)",
    ):
        assert connect.redact(text) == text


def test_a_notebook_shows_one_line() -> None:
    assert ConnectionFailed("production: no").__class__._render_traceback_(
        ConnectionFailed("production: no")
    ) == ["ConnectionFailed: production: no"]
