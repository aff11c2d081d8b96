"""Auditing never writes, and needs next to no rights: what the server itself says about every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from project import MIGRATIONS, Project

from auditkit import server as servers
from auditkit.connect import SESSION

NEWEST = "20260105100000_people_name.sql"
#: How a statement may begin. SET is psycopg's pipeline; set_config() is for the session only.
READING = {"SELECT", "WITH", "SHOW"}
#: Functions that change something although the statement is a SELECT.
CHANGING = re.compile(
    r"\b(nextval|setval|pg_terminate_backend|pg_cancel_backend|pg_notify|lo_\w+|pg_advisory\w*|pg_reload_conf|"
    r"dblink\w*|pg_create\w*|pg_drop\w*|pg_stat_reset\w*|pg_switch_wal|pg_logical\w*)\s*\(",
    re.IGNORECASE,
)


@dataclass
class Audited:
    """A server that logs every statement, a database on it, and a project whose role is the auditor's."""

    server: servers.Server
    project: Project
    owner: str

    def log(self) -> str:
        return (self.server.socket_dir / "log").read_text("utf-8", errors="replace")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, private_cache: Path) -> Iterator[Audited]:
    logging = {"log_statement": "all", "log_line_prefix": "~%p~%u~%d~%a~ "}
    with servers.start(label="audited", settings=logging) as server:
        owner = server.create_database("app")
        project = Project.make(tmp_path_factory.mktemp("readonly"))
        project.apply(owner, [name for name in MIGRATIONS if name != NEWEST])
        with psycopg.connect(owner, autocommit=True) as connection:
            for statement in (
                "create role auditor login",
                "create role reader login",
                "grant usage on schema supabase_migrations to reader",
                "grant select on supabase_migrations.schema_migrations to reader",
                "create view public.by_hand as select 1 as one",
                "insert into public.people (email) values ('a@example.org')",
            ):
                connection.execute(statement.encode())
        names = {role: server.conninfo("app", user=role) for role in ("auditor", "reader")}
        project.settings(names)
        answer = project.run("snapshot", "reader", "-o", "before.snapshot")
        assert answer.code == 0, answer.err
        project.apply(owner, [NEWEST])
        yield Audited(server, project, owner)


@dataclass(frozen=True)
class Logged:
    """One statement of the server's log."""

    session: str
    role: str
    database: str
    application: str
    text: str


def statements(log: str) -> list[Logged]:
    pattern = r"^~(\d+)~([^~\n]*)~([^~\n]*)~([^~\n]*)~ LOG:  (?:statement|execute [^:]*): (.*?)(?=^~\d+~|\Z)"
    return [Logged(*match) for match in re.findall(pattern, log, re.MULTILINE | re.DOTALL)]


COMMANDS = {
    "doctor": ["doctor"],
    "snapshot": ["snapshot", "reader", "-o", "now.snapshot"],
    "history": ["history", "reader"],
    "diff": ["diff", "reader", "auditor"],
    "diff with migrations": ["diff", "migrations", "reader"],
    "check": ["check", "reader"],
    "fleet": ["fleet", "reader"],
    "explain": ["explain", "reader"],
    "explain with a baseline": ["explain", "reader", "--baseline", "auditor"],
    "report root_cause": ["report", "root_cause", "-e", "reader"],
    "policy": ["policy", "reader"],
    "preflight": ["preflight", "reader", "--snapshot", "preflight.snapshot"],
    "verify": ["verify", "reader", "--before", "before.snapshot"],
    "report pre_deployment": ["report", "pre_deployment", "-e", "reader"],
    "report post_deploy_review": ["report", "post_deploy_review", "-e", "reader", "-p", "before", "before.snapshot"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes(audited: Audited, command: str) -> None:
    before = len(audited.log())
    answer = audited.project.run(*COMMANDS[command])
    assert answer.code in (0, 1, 3), answer.err
    assert "internal error" not in answer.err
    seen = statements(audited.log()[before:])
    assert seen, "the audited server logs every statement"
    assert {(s.role, s.database) for s in seen} <= {("reader", "app"), ("auditor", "app")}
    assert {s.application for s in seen} == {"auditkit"}
    other = [s.text for s in seen if s.text.split(None, 1)[0].strip("(").upper() not in READING]
    assert other == []
    assert [s.text for s in seen if CHANGING.search(s.text)] == []
    assert [s.text for s in seen if re.search(r"\bFOR\s+(NO\s+KEY\s+)?(UPDATE|SHARE)\b", s.text)] == []
    # Each session makes itself harmless before anything else.
    first = {s.session: s.text for s in reversed(seen)}
    assert {text[:40] for text in first.values()} == {"SELECT pg_catalog.set_config($1, $2, fal"}


def test_contents_of_tables_are_never_read(audited: Audited) -> None:
    """Only the ledger is: the catalog says everything else."""
    seen = [s.text for s in statements(audited.log()) if s.application == "auditkit"]
    assert [text for text in seen if re.search(r"\b(public\.)?(people|notes)\b", text)] == []
    assert [text for text in seen if '"supabase_migrations"."schema_migrations"' in text] != []


def test_nothing_was_written_according_to_the_statistics(audited: Audited) -> None:
    """Sequences stand still, and the roles of the audit own and wrote nothing."""
    with psycopg.connect(audited.owner) as connection:
        assert connection.execute("select last_value from public.people_id_seq").fetchone() == (1,)
        owned = "select count(*) from pg_shdepend where refobjid::regrole::text in ('auditor', 'reader') and deptype = 'o'"
        assert connection.execute(owned).fetchone() == (0,)


def test_a_role_that_may_only_log_in_sees_all_but_the_ledger(audited: Audited) -> None:
    answer = audited.project.run("snapshot", "auditor", "-o", "login.snapshot", "--json")
    assert (answer.code, answer.json["status"], answer.json["not_checked"]) == (3, "complete", [])
    assert answer.err.startswith(
        "not checked: migration history (supabase, supabase_migrations.schema_migrations): "
    )
    full = audited.project.run("snapshot", audited.owner, "-o", "full.snapshot", "--json")
    assert full.json["fingerprint"] == answer.json["fingerprint"]
    assert audited.project.run("diff", "login.snapshot", "full.snapshot").out == "equal\n"


def test_a_role_that_may_read_the_ledger_explains_everything(audited: Audited) -> None:
    answer = audited.project.run("explain", "reader", "--json")
    document = answer.json
    assert (answer.code, document["verdict"], document["not_checked"]) == (1, "FAIL", [])
    assert [(f["cause"], [o["identity"] for o in f["objects"]]) for f in document["findings"]] == [
        ("manual_change", ["public.by_hand"])
    ]


def test_every_session_has_the_settings(audited: Audited) -> None:
    """The values that each session sends are those of SESSION: the log keeps them as parameters."""
    details = re.findall(r"DETAIL:  [Pp]arameters: (.*)", audited.log())
    wanted = ", ".join(
        f"${n} = '{word}'" for n, word in enumerate([w for pair in SESSION.items() for w in pair], 1)
    )
    logged = [d for d in details if "default_transaction_read_only" in d]
    assert logged
    assert set(logged) == {wanted}
    opened = {s.session for s in statements(audited.log()) if s.application == "auditkit"}
    assert len(logged) == len(opened)


def test_a_standby_can_be_audited(audited: Audited) -> None:
    """A session that cannot write anyway: everything in it works when the server is read-only altogether."""
    with psycopg.connect(audited.owner, autocommit=True) as connection:
        connection.execute("alter database app set default_transaction_read_only = on")
        try:
            assert audited.project.run("diff", "reader", "auditor").out == "equal\n"
        finally:
            connection.execute("set default_transaction_read_only = off")
            connection.execute("alter database app reset default_transaction_read_only")
