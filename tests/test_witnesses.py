"""Witnesses: logs that real servers wrote, the DDL log on real servers, and who is named for what.

``tests/logs`` holds one session each of PostgreSQL 18 (``log_statement = ddl``) and of 15 with Debian's pgaudit 1.7, in
all three formats; addresses of sockets were replaced, lines about checkpoints left out, nothing else was changed.
"""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from project import Project

from auditkit import audit, config, frames
from auditkit import server as servers
from auditkit.catalog.capture import capture
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Finding
from auditkit.connect import connect
from auditkit.errors import ConfigError
from auditkit.history import witnesses
from auditkit.history.witnesses import Heard, server_log
from auditkit.history.witnesses import Testimony as Said
from auditkit.history.witnesses.ddl_log_sql import installation
from auditkit.history.witnesses.testimony import command_of, masked
from tests.test_causes import FUNCTION, INDEX, TABLE, findings

LOGS = Path(__file__).parent / "logs"
PREFIX = "%m [%p] %q%u@%d %a %h %x %v "


# --- the server's log --------------------------------------------------------------------------------------


def of(database: str = "shop", **about: str) -> Snapshot:
    return Snapshot({"database": database, "environment": {"log_timezone": "UTC", **about}}, {})


def said(
    *names: str, root: Path = LOGS, prefix: str | None = PREFIX, snapshot: Snapshot | None = None
) -> list[Said]:
    record = server_log.read(names, of() if snapshot is None else snapshot, 1000, root=root, prefix=prefix)
    return sorted(record["rows"], key=lambda row: int(row.source.rpartition(":")[2]))


def by_statement(rows: list[Said], text: str) -> list[Said]:
    return [row for row in rows if text in (row.statement or "")]


@pytest.mark.parametrize("log", ["ddl18", "pgaudit15"])
def test_all_formats_say_the_same(log: str) -> None:
    texts = {ext: sorted((replace(t, source="") for t in said(f"{log}.{ext}")), key=repr)
             for ext in ("csv", "json", "log")}  # fmt: skip
    assert texts["csv"] == texts["json"] == texts["log"]
    assert len(texts["csv"]) > 10


@pytest.mark.parametrize("name", ["ddl18.csv", "ddl18.json", "ddl18.log"])
def test_log_statement(name: str) -> None:
    rows = said(name)
    index, column = by_statement(rows, "create index")[0], by_statement(rows, "add column age")[0]
    assert (index.session_user, index.application, index.client) == ("alice", 'psql, "x"', None)
    assert index.at == "2026-11-22T16:36:40.874000Z"
    assert index.command == "CREATE INDEX"
    assert re.fullmatch(rf"{re.escape(name)}:\d+", index.source)
    assert (index.xid, column.xid) == (755, 755), "the id that the transaction got later counts for it, too"
    assert not by_statement(rows, "nowhere"), "it failed"
    assert not by_statement(rows, "create view"), "DO blocks are not logged"
    assert by_statement(rows, "create table public.prep"), "prepared statements are"
    assert not any("hunter2" in (row.statement or "") for row in rows)


@pytest.mark.parametrize("name", ["pgaudit15.csv", "pgaudit15.json", "pgaudit15.log"])
def test_pgaudit(name: str) -> None:
    rows = said(name)
    table, view = by_statement(rows, "create table public.people")[0], by_statement(rows, "create view")[0]
    assert (table.objects, table.xid, table.role) == ((("table", "public.people"),), 727, "alice")
    assert (view.objects, view.xid) == ((("view", "public.v"),), 730), "made in a DO block"
    dropped = [row.objects[0] for row in rows if row.dropped]
    assert dropped == [
        ("table column", "public.people.age"),
        ("view", "public.v"),
        ("function", "public.f(integer)"),
    ]
    grant = by_statement(rows, "grant select")
    assert [(g.command, g.xid, g.objects) for g in grant] == [("GRANT", 731, ())]
    assert len(by_statement(rows, "create index")) == 1, "log_statement's line about the same is left out"


@pytest.mark.parametrize("name", ["ddl18.csv", "ddl18.json", "ddl18.log", "pgaudit15.csv", "pgaudit15.log"])
def test_a_statement_cannot_forge_a_line(name: str) -> None:
    rows = said(name)
    assert by_statement(rows, "forged")  # the text that was meant to look like lines of a log
    assert {row.session_user for row in rows} == {"alice", "postgres"}
    assert not [row for row in rows if (row.statement or "").startswith("drop table x")]


def test_other_databases_are_left_out_but_for_what_they_share() -> None:
    rows = said("ddl18.csv", snapshot=of("another"))
    assert {row.command for row in rows} <= {"CREATE DATABASE", "CREATE ROLE", "ALTER ROLE"}
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("prefix", "start"),
    [
        ("%m [%p] %q%u@%d ", "2026-11-22 16:36:40.874 UTC [2070] alice@shop "),
        (
            "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
            "2026-11-22 16:36:40 UTC [7]: user=alice,db=shop,app=a,client=10.0.0.7 ",
        ),
        ("%t:%r:%u@%d:[%p]:", "2026-11-22 16:36:40 UTC:10.0.0.7(5432):alice@shop:[2070]:"),
        ("%h %m [%p] %q%u@%d ", "10.0.0.7 2026-11-22 16:36:40.874 UTC [2070] alice@shop "),
        ("%n %c %-10u %%%d %e ", "1795365400.874 6b031a5c.1856 alice      %shop 00000 "),
        ("<%q%u|%d|%t>", "<alice|shop|2026-11-22 17:36:40 +01>"),
    ],
)  # fmt: skip
def test_prefixes(prefix: str, start: str, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(f"{start}LOG:  statement: alter table t\n\tadd column c int\n")
    common = prefix in server_log.COMMON
    (row,) = said("x.log", root=tmp_path, prefix=None if common else prefix)
    assert (row.session_user, row.statement) == ("alice", "alter table t add column c int")
    assert row.at and row.at.startswith("2026-11-22T16:36:40")
    assert row.client == ("10.0.0.7" if "10.0.0.7" in start else None)


def test_who_a_session_is_may_come_from_log_connections(tmp_path: Path) -> None:
    lines = [
        "LOG:  connection received: host=10.0.0.7 port=40000",
        "LOG:  connection authorized: user=alice database=shop application_name=psql",
        "LOG:  statement: drop view v",
        "LOG:  statement: drop view w",
        'ERROR:  view "w" does not exist',
        "STATEMENT:  drop view w",
    ]
    (tmp_path / "x.log").write_text("".join(f"2026-11-22 16:36:40.1 UTC [7] {line}\n" for line in lines))
    (row,) = said("x.log", root=tmp_path, prefix=None)
    assert (row.session_user, row.client, row.application) == ("alice", "10.0.0.7", "psql")
    assert row.statement == "drop view v"


def test_zones_are_those_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("2026-07-01 12:00:00.5 CEST [1] LOG:  statement: drop view v\n")
    (row,) = said("x.log", root=tmp_path, snapshot=of(log_timezone="Europe/Berlin"))
    assert row.at == "2026-07-01T10:00:00.500000Z"


def test_what_an_error_may_have_undone_is_not_sure(tmp_path: Path) -> None:
    lines = [
        "0 3/7 LOG:  statement: drop view v",
        "755 3/7 LOG:  statement: drop view w",
        '755 3/7 ERROR:  view "w" does not exist',
        "755 3/7 STATEMENT:  drop view w",
        "0 3/8 LOG:  statement: drop view x",
    ]
    (tmp_path / "x.log").write_text("".join(f"2026-11-22 16:36:40.1 UTC [7] {line}\n" for line in lines))
    rows = said("x.log", root=tmp_path, prefix="%m [%p] %x %v ")
    assert [(r.statement, r.xid, r.unsure) for r in rows] == [
        ("drop view v", 755, True),
        ("drop view x", None, False),
    ]


def test_hostile_and_damaged_files(tmp_path: Path) -> None:
    whole = (LOGS / "pgaudit15.csv").read_bytes()
    (tmp_path / "torn.csv").write_bytes(whole[900:-200] + b'"\xff\x00\xfe, never closed')
    (tmp_path / "x.json").write_bytes(
        (LOGS / "ddl18.json").read_bytes() + b'{"timestamp": 1\n\xff{}\n[[[[\n{"a":' + b"[" * 9000
    )
    (tmp_path / "whole.csv.gz").write_bytes(gzip.compress(whole))
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(whole)[:-700])
    (tmp_path / "empty.log").write_bytes(b"")
    assert len(said("torn.csv", root=tmp_path)) > 10
    assert len(said("x.json", root=tmp_path)) == len(said("ddl18.json"))
    assert len(said("whole.csv.gz", root=tmp_path)) == len(said("pgaudit15.csv"))
    record = server_log.read(["torn.csv.gz", "empty.log"], of(), 1000, root=tmp_path)
    assert "ends early" in record["denied"]["why"]
    assert server_log.read(["*.nothing"], of(), 1000, root=tmp_path)["denied"]["what"] == "the server's log"


@pytest.mark.parametrize(
    "text", ["hello\n", "\x00\x01\x02", "2026-11-22 16:36:40.1 UTC [7] LOG:  statement: drop view v\n"]
)
def test_what_is_no_log_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(text * 3 if text.startswith("2026") else text)
    if text.startswith("2026"):
        assert len(said("x.log", root=tmp_path, prefix="%u ")) == 3, "the default prefix is tried, too"
        return
    with pytest.raises(
        ConfigError,
        match=re.escape("expected csvlog, jsonlog, or lines that begin with log_line_prefix '%u '"),
    ) as error:
        said("x.log", root=tmp_path, prefix="%u ")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="no such log file: gone"):
        said("gone.log", root=tmp_path)


def test_the_most_important_statements_are_kept() -> None:
    record = server_log.read(["pgaudit15.csv"], of(), 5, root=LOGS, prefix=PREFIX)
    assert len(record["rows"]) == 5
    assert record["cut"] == "5 of 21 statements were kept"
    assert record["since"] == "2026-11-22T16:37:48Z"


# --- texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "alter role a password 'hunter2'",
        "create user mapping for a server s options (user 'u', password $$hunter2$$)",
        "create subscription s connection 'host=x password=hunter2' publication p",
        "CREATE ROLE a LOGIN ENCRYPTED PASSWORD 'hunter2",
        "select dblink('postgresql://u:hunter2@h/d'); create view v as select 1",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "hunter2" not in masked(text)


def test_texts_are_cut_and_harmless() -> None:
    text = masked("create view v as select '\x1b[31m' \n -- x\n" + "x" * 9000)
    assert len(text) == 400
    assert text.isprintable()
    assert Said("ddl_log", "x", role="a\x1bb").role == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("create or replace function f() returns int", "CREATE FUNCTION"),
        ("/* x */ begin; ALTER  TABLE t", "ALTER TABLE"),
        ("create unique index i on t (a)", "CREATE INDEX"),
        ("drop materialized view if exists v", "DROP MATERIALIZED VIEW"),
        ("grant select on t to a", "GRANT"),
        ("-- create table x\nselect 1", None),
        ("insert into t values ('x; y')", None),
    ],
)
def test_commands(text: str, command: str | None) -> None:
    assert command_of(text) == command


# --- who did it: literal worlds ----------------------------------------------------------------------------

KEYS = {TABLE: ("table", "public.t"), INDEX: ("index", "public.i"), FUNCTION: ("function", "f()")}
MADE: dict[str, dict[str, object]] = {f"0{n}": {f"table public.m{n}": "x"} for n in range(1, 5)}
XIDS = {version: 700 + n for n, version in enumerate(MADE)}
WRITERS = {f"table public.m{n}": 699 + n for n in range(1, 5)}


def log(object_: str | None = None, **more: Any) -> Said:
    """A row of the DDL log by alice."""
    objects = () if object_ is None else (KEYS[object_],)
    values = {
        "at": "2026-11-01T10:00:00.000000Z",
        "role": "alice",
        "session_user": "alice",
        "objects": objects,
    }
    return Said("ddl_log", "auditkit_log.ddl_log", **{**values, **more})


def explained(heard: Heard, actual: dict[str, object], writers: dict[str, int], **more: Any) -> list[Finding]:
    here = {name: value for state in MADE.values() for name, value in state.items()}
    files = {**MADE, **more.pop("files", {})}
    return findings(files, {**here, **actual}, xids=XIDS, writers={**WRITERS, **writers}, heard=heard, **more)


def joined(found: list[Finding]) -> list[tuple[str | None, str]]:
    return [(who.role, who.joined_by) for who in found[0].who]


def test_the_transaction_and_the_object_name_the_author() -> None:
    heard = Heard([log(TABLE, xid=900), log(INDEX, xid=900, role="bob"), log(TABLE, xid=800, role="eve")])
    found = explained(heard, {TABLE: "x"}, {TABLE: 900})
    assert joined(found) == [("alice", "transaction id and object")]
    assert found[0].evidence[-1].signal == "ddl log"
    assert "alice ran a statement at 2026-11-01 10:00:00 UTC" in found[0].evidence[-1].says


def test_subtransactions_belong_to_their_transaction() -> None:
    assert joined(explained(Heard([log(TABLE, xid=900, upto=905)]), {TABLE: "x"}, {TABLE: 903})) == [
        ("alice", "transaction id and object")
    ]
    commits = {900: "2026-11-01T10:00:01.123456Z", 903: "2026-11-01T10:00:01.123456Z"}
    found = explained(Heard([log(TABLE, xid=900)], commits), {TABLE: "x"}, {TABLE: 903})
    assert joined(found) == [("alice", "transaction id and object")]
    assert (
        found[0]
        .evidence[-1]
        .says.startswith("Transaction 903, which wrote its catalog row, committed at 2026-11-01")
    )


def test_a_log_line_must_speak_of_the_object() -> None:
    line = Said(
        "server_log",
        "x.csv:1",
        at="2026-11-01T10:00:00Z",
        role="alice",
        xid=900,
        statement="alter table public.other",
    )
    assert joined(explained(Heard([line]), {TABLE: "x"}, {TABLE: 900})) == []
    same = replace(line, statement="create table public.t (a int)")
    assert joined(explained(Heard([same]), {TABLE: "x"}, {TABLE: 900})) == [
        ("alice", "transaction id and statement text")
    ]


def test_where_ids_have_come_round_equality_alone_proves_nothing() -> None:
    rows = [log(None, xid=900, statement="grant all")]
    assert joined(explained(Heard(rows), {TABLE: "x"}, {TABLE: 900})) == [("alice", "transaction id")]
    assert joined(explained(Heard(rows, wrapped=True), {TABLE: "x"}, {TABLE: 900})) == []
    assert Heard(rows).by_xid(900) == rows
    assert Heard(rows, wrapped=True).by_xid(900) == []


def test_what_was_dropped_has_no_transaction() -> None:
    heard = Heard(
        [
            log(TABLE, dropped=True),
            log(TABLE, dropped=True, at="2026-10-01T10:00:00Z", role="eve"),
            log(TABLE, role="bob"),
        ]
    )
    found = explained(heard, {}, {}, files={"05": {TABLE: "x"}}, ledger=[*MADE, "05"])
    assert joined(found) == [("alice", "object and time")]
    assert heard.about(("table", "public.t"))[-1].role == "eve"


def test_texts_name_whoever_ran_what_is_in_no_migration() -> None:
    texts = Heard([
        Said("server_log", "x.csv:1", at="2026-11-01T10:00:00Z", role="alice", statement="create table public.t()"),
        Said("statements", "pg_stat_statements", role="bob", statement="CREATE TABLE t (a int)"),
        Said("statements", "pg_stat_statements", role="eve", statement="create table public.tt (a int)"),
    ])  # fmt: skip
    found = explained(texts, {TABLE: "x"}, {TABLE: 900})
    assert joined(found) == [("alice", "statement text and time"), ("bob", "statement text")]
    early = Heard(texts.testimonies, {900: "2026-10-30T10:00:00.000000Z"})
    assert joined(explained(early, {TABLE: "x"}, {TABLE: 900})) == [("bob", "statement text")], (
        "it committed before"
    )
    migration = Heard([Said("statements", "pg_stat_statements", role="deploy", statement="…")])
    assert joined(explained(migration, {TABLE: "x"}, {TABLE: 900})) == []


def test_a_row_that_was_written_again_hides_its_author_but_not_his_words() -> None:
    heard = Heard(
        [
            log(FUNCTION, xid=901, role="bob", statement="alter function f() cost 5"),
            log(FUNCTION, xid=900, statement="alter function f() owner to x"),
        ]
    )
    meant: dict[str, object] = {"body": "1", "owner": "a"}
    found = explained(
        heard,
        {FUNCTION: {**meant, "owner": "x"}},
        {FUNCTION: 901},
        files={"05": {FUNCTION: meant}},
        ledger=[*MADE, "05"],
    )
    assert joined(found) == [("alice", "object and time"), ("bob", "transaction id and object")]


def test_a_grant_is_found_by_its_words() -> None:
    rows = [
        Said(
            "server_log",
            "x.csv:2",
            at="2026-11-01T11:00:00Z",
            role="bob",
            xid=901,
            statement="alter function f() cost 5",
        ),
        Said(
            "server_log",
            "x.csv:1",
            at="2026-11-01T10:00:00Z",
            role="alice",
            xid=900,
            statement="grant all on function f() to x",
        ),
    ]
    meant: dict[str, object] = {"body": "1", "grants": ("a",)}
    more: dict[str, Any] = {"files": {"05": {FUNCTION: meant}}, "ledger": [*MADE, "05"]}
    found = explained(Heard(rows), {FUNCTION: {**meant, "grants": ("a", "b")}}, {FUNCTION: 901}, **more)
    assert joined(found)[0] == ("alice", "statement text and time")


def test_a_migrations_own_statements_accuse_nobody() -> None:
    texts = Heard([Said("statements", "pg_stat_statements", role="deploy", statement="… /* f() */")])
    files: dict[str, Any] = {"05": {FUNCTION: "1"}}
    found = explained(texts, {FUNCTION: "2"}, {FUNCTION: 900}, files=files, ledger=[*MADE, "05"])
    assert joined(found) == []


def test_a_report_shows_who_and_believes_nothing() -> None:
    import jsonschema

    from auditkit.report import html
    from auditkit.report.document import schema
    from tests.sample_audit import shop

    document = shop()
    evil = "<script>alert(1)</script>"
    document["findings"][0]["who"] = [
        {
            **dict.fromkeys(("role", "session_user", "client", "application", "statement", "source"), evil),
            "at": "2026-11-01T10:00:00.000000Z",
            "joined_by": "transaction id",
        },
        {
            **dict.fromkeys(("role", "session_user", "client", "application", "statement", "at")),
            "source": "x",
            "joined_by": "ledger row",
        },
    ]
    jsonschema.validate(document, schema())
    page = str(html.findings(document)._repr_html_())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "unknown person" in page


def test_nobody_did_what_was_not_done() -> None:
    heard = Heard([log(TABLE), log(TABLE, dropped=True)])
    (found,) = explained(heard, {}, {}, files={"05": {TABLE: "x"}}, ledger=list(MADE))
    assert found.cause == "missing_migration"
    assert found.who == []


def test_a_mere_commit_tells_when() -> None:
    found = explained(Heard([], {900: "2026-11-01T10:00:01.123456Z"}), {TABLE: "x"}, {TABLE: 900})
    assert [(who.role, who.at, who.joined_by) for who in found[0].who] == [
        (None, "2026-11-01T10:00:01.123456Z", "transaction id")
    ]


# --- the DDL log on real servers ---------------------------------------------------------------------------

RECORDING = {
    "track_commit_timestamp": "on",
    "logging_collector": "on",
    "log_destination": "csvlog",
    "log_statement": "ddl",
    "shared_preload_libraries": "pg_stat_statements",
}


@pytest.fixture(scope="module", params=[None, pytest.param(14, marks=pytest.mark.tools)])
def recording(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server that records what it can: of the usual version, and of the oldest that is read."""
    binaries = None
    if request.param:
        from tools import postgres_binaries

        binaries = postgres_binaries(request.param)
    with servers.start(binaries=binaries, settings=RECORDING, label="witnesses") as server:
        with psycopg.connect(server.conninfo(), autocommit=True) as admin:
            for role in ("auditkit", "alice", "bob"):
                admin.execute(f"CREATE ROLE {role} LOGIN")
            admin.execute("GRANT bob TO alice")
        yield server


Open = Callable[..., "psycopg.Connection[Any]"]


@pytest.fixture
def logged(recording: servers.Server) -> Iterator[Open]:
    """Sessions in a new database with the log installed: ``logged("alice")``; without a name the superuser's."""
    name = f"w{threading.get_native_id()}"
    recording.drop_database(name)
    recording.create_database(name)
    opened = []

    def session(user: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        opened.append(psycopg.connect(recording.conninfo(name, user), autocommit=True, **options))
        return opened[-1]

    admin = session()
    admin.execute("GRANT ALL ON SCHEMA public TO alice, bob")
    admin.execute(installation())
    yield session
    for each in opened:
        each.close()
    recording.drop_database(name)


def logged_rows(session: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return session.execute(
        "SELECT tag, role, login, application, dropped, statement, objects FROM auditkit_log.ddl_log ORDER BY id"
    ).fetchall()


def heard_in(session: psycopg.Connection[Any], user: str = "auditkit") -> tuple[Snapshot, Heard]:
    info = session.info
    with connect(f"host={info.host} port={info.port} dbname={info.dbname} user={user}") as connection:
        snapshot = capture(connection)
        snapshot.manifest["witnesses"] = witnesses.read(connection, snapshot)
    return snapshot, witnesses.heard(snapshot)


def test_the_log_captures_who_and_what(logged: Open) -> None:
    alice = logged("alice", application_name="psql'")
    hostile = '"hä ""x"" \'; drop table x; --"'
    alice.execute(f"CREATE TABLE public.{hostile} (a int)")
    alice.execute("CREATE TEMP TABLE t (a int); CREATE TABLE IF NOT EXISTS public.hers (a int)")
    alice.execute("CREATE TABLE IF NOT EXISTS public.hers (a int)")  # changes nothing
    alice.execute("SET ROLE bob; CREATE VIEW public.v AS SELECT 1 AS x; RESET ROLE")
    alice.execute(
        "DO $$ BEGIN CREATE TABLE public.nested (password text); EXCEPTION WHEN OTHERS THEN NULL; END $$"
    )
    alice.execute("COMMENT ON TABLE public.hers IS 'password = hunter2'")
    alice.execute("DROP TABLE public.hers")
    admin = logged()
    admin.execute("SET session_replication_role = replica; CREATE TABLE public.silent (a int)")
    admin.execute("CREATE EXTENSION dblink")
    rows = logged_rows(admin)
    assert [(tag, role, login) for tag, role, login, *_ in rows] == [
        ("CREATE TABLE", "alice", "alice"),
        ("CREATE TABLE", "alice", "alice"),
        ("CREATE VIEW", "bob", "alice"),
        ("CREATE TABLE", "alice", "alice"),
        ("COMMENT", "alice", "alice"),
        ("DROP TABLE", "alice", "alice"),
        ("CREATE TABLE", "postgres", "postgres"),
        ("CREATE EXTENSION", "postgres", "postgres"),
    ]
    assert rows[0][3] == "psql'"
    assert rows[0][6] == [["table", f"public.{hostile}"]]
    assert "hunter2" not in str(rows)
    assert [row[4] for row in rows].count(True) == 1
    snapshot, heard = heard_in(admin)
    made = snapshot.get("table", f"public.{hostile}")
    assert made is not None and made.xmin is not None
    (testimony,) = heard.by_xid(made.xmin)
    assert testimony.names([made.key])
    inner = snapshot.get("table", "public.nested")  # written in a subtransaction
    assert inner is not None and inner.xmin is not None
    assert heard.about(inner.key)[0].around({inner.xmin})
    assert heard.committed(made.xmin)
    assert list(snapshot.testimony.columns) == list(frames.TESTIMONY)
    assert "alice" in set(snapshot.testimony.role)


SABOTAGE = {
    "the table is gone": "DROP TABLE auditkit_log.ddl_log",
    "a column is gone": "ALTER TABLE auditkit_log.ddl_log DROP COLUMN statement",
    "a constraint refuses": "ALTER TABLE auditkit_log.ddl_log ADD CHECK (tag <> 'CREATE TABLE') NOT VALID",
    "no more numbers": "ALTER SEQUENCE auditkit_log.ddl_log_id_seq MAXVALUE 10 RESTART 10",
    "a trigger fails": "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'no %', '%s' USING ERRCODE = 'disk_full'; END $$; "
    "CREATE TRIGGER no BEFORE INSERT ON auditkit_log.ddl_log FOR EACH ROW EXECUTE FUNCTION public.no()",
    "the owner lost his rights": "REVOKE ALL ON auditkit_log.ddl_log FROM postgres; CREATE ROLE weak_{n}; "
    "ALTER FUNCTION auditkit_log.record_ddl() OWNER TO weak_{n}",
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_failing_log_stops_nothing(what: str, logged: Open) -> None:
    admin, alice = logged(), logged("alice")
    for statement in SABOTAGE[what].replace("{n}", str(admin.info.backend_pid)).split("; "):
        if what != "a trigger fails":
            admin.execute(statement)
    if what == "a trigger fails":
        admin.execute(SABOTAGE[what])
    warnings: list[str] = []
    alice.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    with alice.transaction():
        alice.execute("CREATE TABLE public.still (a int)")
        alice.execute("INSERT INTO public.still VALUES (1)")
    assert alice.execute("SELECT a FROM public.still").fetchall() == [(1,)]
    assert any("auditkit_log: this CREATE TABLE was not recorded" in text for text in warnings)
    if "weak" in SABOTAGE[what]:
        admin.execute("ALTER FUNCTION auditkit_log.record_ddl() OWNER TO postgres")
        admin.execute(f"DROP ROLE weak_{admin.info.backend_pid}")


def test_a_lock_on_the_log_stops_nobody_for_long(logged: Open) -> None:
    admin, alice = logged(), logged("alice")
    with admin.transaction():
        admin.execute("LOCK TABLE auditkit_log.ddl_log")
        alice.execute("SET statement_timeout = '5s'")
        alice.execute("CREATE TABLE public.still (a int)")
    assert alice.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_a_cancelled_statement_is_cancelled(logged: Open) -> None:
    admin, alice = logged(), logged("alice")
    admin.execute(
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF new.tag = 'CREATE TABLE' THEN PERFORM pg_sleep(30); END IF; RETURN new; END $$; "
        "CREATE TRIGGER wait BEFORE INSERT ON auditkit_log.ddl_log FOR EACH ROW EXECUTE FUNCTION public.wait()"
    )
    alice.execute("SET statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        alice.execute("CREATE TABLE public.never (a int)")
    assert admin.execute("SELECT to_regclass('public.never')").fetchone() == (None,)


def test_only_the_trigger_writes(logged: Open) -> None:
    admin, alice = logged(), logged("alice")
    for statement in (
        "SELECT * FROM auditkit_log.ddl_log",
        "INSERT INTO auditkit_log.ddl_log (tag) VALUES ('x')",
        "DELETE FROM auditkit_log.ddl_log",
        "SELECT nextval('auditkit_log.ddl_log_id_seq')",
        "CREATE TABLE auditkit_log.mine (a int)",
        "CREATE TABLE public.x AS SELECT auditkit_log.record_ddl()",
        "DROP EVENT TRIGGER auditkit_log_changed",
        "ALTER EVENT TRIGGER auditkit_log_changed DISABLE",
        "SET session_replication_role = replica",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
            alice.execute(statement.encode())
    # A function of hers in front of the system's is not what the log calls.
    alice.execute("CREATE FUNCTION public.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    alice.execute("SET search_path = public, pg_catalog; CREATE TABLE public.hers (a int)")
    assert admin.execute("SELECT count(*) FROM auditkit_log.ddl_log WHERE pid = 1").fetchone() == (0,)
    assert logged("auditkit").execute("SELECT count(*) FROM auditkit_log.ddl_log").fetchone() == (2,)


def test_a_table_that_looks_like_the_log_is_not_believed(logged: Open) -> None:
    alice, admin = logged("alice"), logged()
    admin.execute("GRANT ALL ON DATABASE " + admin.info.dbname + " TO alice")
    for schema in ("public", "aaa"):
        alice.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}" if schema != "public" else "SELECT 1")
        alice.execute(
            f"CREATE TABLE {schema}.ddl_log (id int, at timestamptz, xid xid8, cluster bigint, role text, login text, "
            "client inet, port int, application text, pid int, tag text, dropped boolean, statement text, objects jsonb)"
        )
        alice.execute(f"GRANT ALL ON {schema}.ddl_log TO PUBLIC")
        alice.execute(f"INSERT INTO {schema}.ddl_log (role, statement) VALUES ('postgres', 'he did it')")
    snapshot, heard = heard_in(admin)
    assert {t.source for t in heard if t.witness == "ddl_log"} == {"auditkit_log.ddl_log"}
    scope = audit.scope_of(config.Settings(Path()), snapshot)
    assert scope.managed == {"auditkit_log"}
    admin.execute("DROP EVENT TRIGGER auditkit_log_changed; DROP EVENT TRIGGER auditkit_log_dropped")
    snapshot, _ = heard_in(admin)
    assert audit.scope_of(config.Settings(Path()), snapshot).managed == frozenset()


def test_sessions_write_at_once(logged: Open) -> None:
    sessions = [logged("alice") for _ in range(4)]

    def work(number: int) -> None:
        for i in range(10):
            sessions[number].execute(f"CREATE TABLE public.p_{number}_{i} (a int)")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logged().execute(
        "SELECT count(*), count(DISTINCT xid::text) FROM auditkit_log.ddl_log"
    ).fetchone() == (40, 40)


def test_a_log_from_another_cluster_is_not_joined_by_transaction(logged: Open) -> None:
    admin = logged()
    admin.execute("CREATE TABLE public.t (a int)")
    admin.execute(
        "UPDATE auditkit_log.ddl_log SET cluster = 1"
    )  # as it is after a dump was restored elsewhere
    (row,) = heard_in(admin)[1].testimonies
    assert (row.xid, row.upto, row.objects) == (None, None, (("table", "public.t"),))


def test_what_may_not_be_read_is_said(logged: Open) -> None:
    admin = logged()
    admin.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE public.t (a int)")
    admin.execute("REVOKE ALL ON auditkit_log.ddl_log FROM auditkit")
    snapshot, heard = heard_in(admin)
    notes = witnesses.not_checked(snapshot)
    assert [(note["what"], note["blocking"]) for note in notes] == [
        ("the DDL log auditkit_log.ddl_log", False),
        ("pg_stat_statements", False),
    ]
    assert snapshot.complete
    assert not heard.testimonies


def test_pg_stat_statements_knows_texts(logged: Open) -> None:
    admin = logged()
    admin.execute("CREATE SCHEMA extra; CREATE EXTENSION pg_stat_statements SCHEMA extra")
    admin.execute("CREATE TABLE public.seen (a int)")
    admin.execute("ALTER ROLE bob PASSWORD 'hunter2'")
    admin.execute("GRANT pg_read_all_stats TO auditkit")
    admin.execute("GRANT USAGE ON SCHEMA extra TO auditkit")
    texts = [t for t in heard_in(admin)[1] if t.witness == "statements"]
    assert [t.role for t in texts if t.statement == "CREATE TABLE public.seen (a int)"] == ["postgres"]
    assert not any("hunter2" in str(t.statement) for t in texts)
    admin.execute("REVOKE pg_read_all_stats FROM auditkit")


def test_it_can_be_removed_as_it_says(logged: Open) -> None:
    admin = logged()
    for statement in re.findall(r"^--   (DROP .*;)$", installation(), re.MULTILINE):
        admin.execute(statement.encode())
    admin.execute("CREATE TABLE public.t (a int)")
    assert admin.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)
    assert admin.execute("SELECT to_regnamespace('auditkit_log')").fetchone() == (None,)


@pytest.mark.parametrize("schema", ["public", "pg_log", "Log", "a;b", "", "x" * 60])
def test_the_log_has_a_schema_of_its_own(schema: str) -> None:
    with pytest.raises(ConfigError, match="--schema"):
        installation(schema)
    with pytest.raises(ConfigError, match="--reader"):
        installation(reader='x"; DROP')


def test_where_there_is_no_witness_nothing_is_asked(database: str) -> None:
    with connect(database) as connection:
        snapshot = capture(connection)
    assert connection.closed
    assert witnesses.read(connection, snapshot) == []


# --- from end to end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", [None], indirect=True)
def test_who_changed_production_by_hand(
    recording: servers.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording.drop_database("shop")
    recording.drop_database("plain")
    project = Project.make(tmp_path)
    plain, shop = recording.create_database("plain"), recording.create_database("shop")
    with psycopg.connect(shop, autocommit=True) as admin:
        admin.execute(installation())
    for conninfo in (plain, shop):
        project.apply(conninfo)
        with psycopg.connect(conninfo, autocommit=True, application_name="dbeaver") as admin:
            admin.execute("GRANT ALL ON SCHEMA supabase_migrations TO auditkit")
            admin.execute("GRANT SELECT ON supabase_migrations.schema_migrations TO auditkit")
            admin.execute("ALTER TABLE public.notes DISABLE ROW LEVEL SECURITY")
            admin.execute("DROP INDEX public.notes_person")
            admin.execute("ALTER TABLE public.people ADD COLUMN phone text")
    logs = [str(path) for path in (recording.datadir / "log").glob("*.csv")]
    project.settings(
        {"shop": recording.conninfo("shop", "auditkit")},
        f'[environments.plain]\nurl = "{recording.conninfo("plain", "auditkit")}"\nlogs = {logs!r}',
    )
    settings = config.load(tmp_path / "auditkit.toml")

    found = audit.explain("shop", settings=settings).document
    who = {f["objects"][0]["identity"]: f["who"][0] for f in found["findings"]}
    assert {name: (w["role"], w["application"], w["joined_by"]) for name, w in who.items()} == {
        "public.notes": ("postgres", "dbeaver", "transaction id and object"),
        "public.notes_person": ("postgres", "dbeaver", "object and time"),
        "public.people.phone": ("postgres", "dbeaver", "transaction id and object"),
    }
    assert {f["cause"] for f in found["findings"]} == {"manual_change"}, "the log itself is no drift"
    assert {e["signal"] for e in found["findings"][0]["evidence"]} >= {"ddl log", "commit time"}
    assert [m["schema"] for m in found["coverage"]["managed"]] == ["auditkit_log"]

    taken = audit.take(settings.source("shop"), settings).save(tmp_path / "shop.snapshot")
    later = audit.explain(str(taken), settings=settings).document
    assert [f["who"] for f in later["findings"]] == [f["who"] for f in found["findings"]]

    by_log = audit.explain("plain", settings=settings).document
    who = {f["objects"][0]["identity"]: f["who"][0] for f in by_log["findings"]}
    assert {name: (w["role"], w["application"], w["joined_by"]) for name, w in who.items()} == {
        "public.notes": ("postgres", "dbeaver", "statement text and time"),
        "public.notes_person": ("postgres", "dbeaver", "statement text and time"),
        "public.people.phone": ("postgres", "dbeaver", "statement text and time"),
    }
    policy = audit.policy([settings.source("shop")], settings)["environments"][0]
    assert policy["captured"]
    assert policy["witnesses"][0]["says"].endswith("its event triggers are on (always)")
    recording.drop_database("shop")
    recording.drop_database("plain")


def test_the_command_line(tmp_path: Path, database: str) -> None:
    project = Project.make(tmp_path)
    project.settings({"production": database})
    answer = project.run("policy", "production", "--ddl-log-sql", "--schema", "ddl_history")
    assert (answer.code, answer.out) == (0, installation("ddl_history"))
    # Other tests may have left roles on the server that could change this schema, too.
    answer = project.run("policy", "production", "--warn-only")
    assert answer.code == 0
    assert "  changes to the schema leave no name\n    · ddl log: not installed" in answer.out
    answer = project.run("explain", "production", "--log", "nowhere.csv")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("auditkit: no such log file: ")
