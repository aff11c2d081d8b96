"""Who can change the schema: chains of roles, each door and what closes it, on literal snapshots and on real servers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import tools
from click.testing import CliRunner, Result
from literal import snapshot_of
from project import MIGRATIONS, Project

from auditkit import audit, config
from auditkit import server as servers
from auditkit.audit.guarding import section
from auditkit.catalog.snapshot import Fact, Snapshot
from auditkit.cli import cli
from auditkit.config import Settings, Source
from auditkit.errors import ConfigError
from auditkit.policy.doors import doors, verdict
from auditkit.policy.lately import lately, stale
from auditkit.policy.plan import plan, script
from auditkit.policy.powers import DOORS
from auditkit.policy.roles import Membership, Reach, Role, Roles, Step, roles_of
from auditkit.report.guarded import doors as html_of
from auditkit.report.guarded import guarded
from auditkit.visible import visible

# --- who can act as whom -----------------------------------------------------------------------------------


def member(of: str, who: str, options: str = "is") -> Membership:
    """*options*: a for ADMIN, i for INHERIT, s for SET."""
    return Membership(of, who, "a" in options, "i" in options, "s" in options, "postgres")


def reach(*memberships: Membership, start: str = "x") -> dict[str, Reach]:
    names = {name for m in memberships for name in (m.role, m.member)}
    return Roles([Role(name) for name in names], memberships).reach(start)


def how(found: Reach) -> str:
    return " ".join(f"{step.by} {step.role}" for step in found.chain)


def test_privileges_are_inherited_along_a_chain() -> None:
    found = reach(member("a", "x"), member("b", "a"))
    assert {name: how(r) for name, r in found.items()} == {
        "x": "",
        "a": "inherits a",
        "b": "inherits a inherits b",
    }
    assert all(r.become is not None for r in found.values())


def test_a_role_that_does_not_inherit_is_reached_by_set_role_and_passes_on_what_it_inherits() -> None:
    found = reach(member("a", "x", "s"), member("b", "a", "i"))
    assert how(found["b"]) == "set role a inherits b"
    assert found["b"].become is None, "SET ROLE b needs a chain that allows it all along"


def test_what_is_only_inherited_cannot_set_role_further() -> None:
    found = reach(member("a", "x", "i"), member("b", "a", "s"))
    assert set(found) == {"x", "a"}


def test_admin_option_grants_itself_and_plainer_ways_come_first() -> None:
    found = reach(member("a", "x", "a"), member("b", "x", "i"), member("c", "b"), member("a", "c"))
    assert how(found["a"]) == "inherits b inherits c inherits a"
    assert found["a"].become == (Step("x", "a", "grants itself"),)


def test_circles_end_and_nothing_beyond_a_stop() -> None:
    roles = Roles([], [member("a", "x"), member("b", "a"), member("x", "b", "a")])
    assert set(roles.reach("x")) == {"x", "a", "b"}
    assert set(roles.reach("x", frozenset({"a"}))) == {"x", "a"}


def test_an_older_snapshot_tells_what_it_has_and_says_so() -> None:
    attributes = {"superuser": False, "inherit": True, "login": True}
    facts = [
        Fact("role", '"a b"', attributes, name="a b"),
        Fact("role", "c", attributes, name="c"),
        Fact("role membership", 'membership of role "a b" in role c', {"admin": False, "inherit": True, "set_role": False}),
    ]  # fmt: skip
    roles = roles_of(snapshot_of(facts))
    assert roles.memberships == [Membership("c", '"a b"', False, True, False)]
    (note,) = doors(snapshot_of(facts)).not_checked
    assert (note["why"], note["blocking"]) == ("the snapshot was made before they were kept", True)


# --- doors -------------------------------------------------------------------------------------------------


def role(name: str, **attributes: Any) -> dict[str, Any]:
    usual = dict.fromkeys(
        ("superuser", "create_role", "replication", "bypass_row_security", "bootstrap"), False
    )
    return {"name": name, **usual, "inherit": True, "login": True, **attributes}


POSTGRES = role("postgres", superuser=True, bootstrap=True)
TABLE = {"owner": "migrator", "grants": None, "columns": ()}
ROUTINE = {"owner": "migrator", "grants": None, "security_definer": True, "settings": None, "body": "select 1",
           "returns": "integer"}  # fmt: skip


def house(
    facts: Sequence[Fact] = (),
    roles: Sequence[dict[str, Any]] = (),
    memberships: Sequence[Membership] = (),
    version: int = 180000,
    **manifest: Any,
) -> Snapshot:
    """A database whose migrations are run by migrator; schema s is its own, everybody may look into it."""
    own = [
        Fact("database", "database", {"owner": "postgres", "grants": None}),
        Fact(
            "schema", "s", {"owner": "migrator", "grants": ("GRANT USAGE TO PUBLIC",)}, schema="s", name="s"
        ),
        Fact("table", "s.t", TABLE, schema="s", name="t"),
    ]
    keys = {fact.key for fact in facts}
    access = {
        "roles": [POSTGRES, role("migrator"), role("app"), *roles],
        "memberships": [vars(m) for m in memberships],
        "parameters": manifest.pop("parameters", []),
    }
    facts = [*(fact for fact in own if fact.key not in keys), *facts]
    return snapshot_of(facts, access=access, server_version=version, database="app", **manifest)


def found(snapshot: Snapshot, *migration_roles: str) -> list[tuple[str, str, str]]:
    return [(d.role, d.kind, d.severity) for d in doors(snapshot, migration_roles or ["migrator"]).open]


def closing(snapshot: Snapshot) -> list[str]:
    return [step.sql for step in plan(doors(snapshot, ["migrator"]))]


def test_a_house_in_order_has_no_door() -> None:
    judged = doors(house())
    assert judged.migration_roles == ("migrator",), "the owner of most tables, where there is no ledger"
    assert judged.open == []
    assert {(d.role, d.judged) for d in judged.doors} == {("postgres", "operator"), ("migrator", "migration")}
    assert verdict(judged.doors, "info", []) == "PASS"
    assert script(judged, "production").endswith("-- There is nothing to close.\n")


@pytest.mark.parametrize(
    ("attribute", "version", "expected", "sql"),
    [
        ("superuser", 180000, [("x", "superuser", "high")], ["ALTER ROLE x NOSUPERUSER"]),
        ("create_role", 150000, [("x", "create_role", "critical")], ["ALTER ROLE x NOCREATEROLE"]),
        ("create_role", 160000, [], []),
        ("replication", 180000, [("x", "replication", "info")], []),
        ("bypass_row_security", 180000, [("x", "bypass_row_security", "info")], []),
    ],
)
def test_attributes(attribute: str, version: int, expected: list[Any], sql: list[str]) -> None:
    there = house(roles=[role("x", **{attribute: True})], version=version)
    assert (found(there), closing(there)) == (expected, sql)


def test_attributes_are_not_inherited_but_may_be_become() -> None:
    roles = [role("boss", superuser=True, login=False)]
    assert found(house(roles=roles, memberships=[member("boss", "app", "i")])) == []
    (door,) = doors(house(roles=roles, memberships=[member("boss", "app", "is")]), ["migrator"]).open
    assert (door.role, door.says()) == ("app", "may become boss, a superuser")


@pytest.mark.parametrize(
    ("name", "kind", "severity"),
    [
        ("pg_execute_server_program", "server_programs", "critical"),
        ("pg_write_server_files", "server_programs", "critical"),
        ("pg_read_server_files", "server_files", "medium"),
    ],
)
def test_predefined_roles_are_closed_at_the_membership(name: str, kind: str, severity: str) -> None:
    there = house(roles=[role(name, login=False)], memberships=[member(name, "app")])
    assert found(there) == [("app", kind, severity)]
    assert closing(there) == [f"REVOKE {name} FROM app GRANTED BY postgres"]


def test_a_membership_passed_on_goes_with_it_and_before_16_has_no_grantor() -> None:
    passed = [member("migrator", "app", "ais"), Membership("migrator", "bob", grantor="app")]
    there = house(roles=[role("bob")], memberships=passed)
    assert "REVOKE migrator FROM app GRANTED BY postgres CASCADE" in closing(there)
    there = house(memberships=[member("migrator", "app")], version=150000)
    assert closing(there) == ["REVOKE migrator FROM app"]


def test_acting_as_the_migration_role_is_one_door_cut_at_whoever_should_not() -> None:
    groups = [role("devs", login=False), role("alice")]
    there = house(roles=groups, memberships=[member("devs", "alice"), member("migrator", "devs")])
    (door,) = doors(there, ["migrator"]).open
    assert (door.role, door.kind, [s.role for s in door.chain]) == ("alice", "acts_as", ["devs", "migrator"])
    assert closing(there) == ["REVOKE migrator FROM devs GRANTED BY postgres"]
    assert found(there, "migrator", "devs") == [("alice", "acts_as", "medium")]
    assert found(there, "migrator", "alice") == []


def test_ownership_goes_to_the_migration_role_and_use_stays() -> None:
    facts = [
        Fact("schema", "old", {"owner": "app", "grants": None}, schema="old", name="old"),
        Fact("table", "old.t", {**TABLE, "owner": "app"}, schema="old", name="t"),
        Fact("table column", "old.t.id", {"grants": None}, schema="old", name="id", parent="old.t"),
        Fact("sequence", "old.t_id_seq", {"owner": "app", "grants": None}, schema="old", parent="old.t.id"),
    ]
    assert found(house(facts)) == [("app", "owner", "high"), ("app", "schema_owner", "high")]
    assert closing(house(facts)) == [
        "GRANT USAGE, CREATE ON SCHEMA old TO migrator",
        "ALTER TABLE old.t OWNER TO migrator",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE old.t TO app",
        "GRANT USAGE, SELECT ON SEQUENCE old.t_id_seq TO app",
        "ALTER SCHEMA old OWNER TO migrator",
        "GRANT USAGE ON SCHEMA old TO app",
    ]


def test_whoever_owns_the_database_owns_what_is_pg_database_owners() -> None:
    facts = [
        Fact("database", "database", {"owner": "app", "grants": None}),
        Fact("schema", "public", {"owner": "pg_database_owner", "grants": ("GRANT USAGE TO PUBLIC",)}, name="public"),
    ]  # fmt: skip
    assert found(house(facts)) == [("app", "database_owner", "high"), ("app", "schema_owner", "high")]
    assert [sql for sql in closing(house(facts)) if "OWNER TO" in sql] == [
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO migrator', current_database()); END$$"
    ]


def test_create_for_everybody_is_taken_and_given_to_the_migration_role() -> None:
    grants = ("GRANT CREATE TO app WITH GRANT OPTION", "GRANT CREATE, USAGE TO PUBLIC")
    public = Fact("schema", "public", {"owner": "postgres", "grants": grants}, schema="public", name="public")
    assert found(house([public])) == [
        ("PUBLIC", "create_in_schema", "high"),
        ("app", "create_in_schema", "medium"),
    ]
    assert closing(house([public])) == [
        "GRANT USAGE, CREATE ON SCHEMA public TO migrator",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM app CASCADE",
    ]


@pytest.mark.parametrize(
    ("changes", "severity", "sql"),
    [
        ({}, "medium", ["ALTER FUNCTION s.f() SET search_path = pg_catalog, s, pg_temp"]),
        ({"owner": "postgres"}, "high", ["ALTER FUNCTION s.f() SET search_path = pg_catalog, s, pg_temp"]),
        ({"settings": ("search_path=\"\"",), "body": "begin execute q; end"}, "high",
         ["REVOKE EXECUTE ON FUNCTION s.f() FROM PUBLIC"]),
        ({"settings": ("search_path=s, pg_temp",), "body": "begin drop table x; end"}, "high",
         ["REVOKE EXECUTE ON FUNCTION s.f() FROM PUBLIC"]),
        ({"settings": ("search_path=s, pg_temp",), "body": "-- execute q\n/* drop table x */ select 1"}, None, []),
        ({"security_definer": False}, None, []),
        ({"grants": ("REVOKE EXECUTE FROM PUBLIC",)}, None, []),
    ],
)  # fmt: skip
def test_security_definer(changes: dict[str, Any], severity: str | None, sql: list[str]) -> None:
    fact = Fact("function", "s.f()", {**ROUTINE, **changes}, schema="s", name="f")
    assert found(house([fact])) == ([("PUBLIC", "definer", severity)] if severity else [])
    assert closing(house([fact])) == sql


def test_a_function_in_a_schema_that_few_may_use_is_open_to_those() -> None:
    schema = Fact(
        "schema", "s", {"owner": "migrator", "grants": ("GRANT USAGE TO app",)}, schema="s", name="s"
    )
    fact = Fact("function", "s.f()", ROUTINE, schema="s", name="f")
    assert found(house([schema, fact])) == [("app", "definer", "medium")]


def test_a_search_path_into_which_others_may_plant() -> None:
    schema = Fact(
        "schema",
        "s",
        {"owner": "migrator", "grants": ("GRANT CREATE, USAGE TO PUBLIC",)},
        schema="s",
        name="s",
    )
    fact = Fact("function", "s.f()", {**ROUTINE, "settings": ("search_path=s",)}, schema="s", name="f")
    hints = [h for d in doors(house([schema, fact]), ["migrator"]).open for h in d.power.hints]
    assert "its search_path holds a schema in which PUBLIC may create" in hints


def test_triggers_defaults_parameters_and_other_servers() -> None:
    facts = [
        Fact("table", "s.t", {**TABLE, "grants": ("GRANT SELECT, TRIGGER TO app",)}, schema="s", name="t"),
        Fact("default acl", "for role migrator in schema s on tables", {"grants": ("GRANT TRIGGER TO app",)}),
        Fact("server", "loop", {"owner": "postgres", "grants": None, "options": ("dbname=app",)}),
        Fact("user mapping", "app on server loop", {"options": ("password=***", "user=migrator")}, parent="loop"),
        Fact("initial privileges", "function pg_catalog.lo_export(oid,text)",
             {"grants": ("GRANT EXECUTE TO app", "REVOKE EXECUTE FROM PUBLIC")}),
    ]  # fmt: skip
    there = house(facts, parameters=[["archive_command", "app", "ALTER SYSTEM"]])
    assert found(there) == [
        ("app", "server_programs", "critical"),
        ("app", "foreign_server", "high"),
        ("app", "parameter", "high"),
        ("app", "default_privileges", "low"),
        ("app", "trigger", "low"),
    ]
    assert closing(there) == [
        "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_export(oid,text) FROM app",
        "DROP USER MAPPING FOR app SERVER loop",
        "REVOKE ALTER SYSTEM ON PARAMETER archive_command FROM app",
        "REVOKE TRIGGER ON TABLE s.t FROM app",
        "ALTER DEFAULT PRIVILEGES for role migrator in schema s REVOKE TRIGGER ON TABLES FROM app",
    ]


def test_what_is_the_platforms_is_told_apart() -> None:
    """Supabase gives TRIGGER to the roles of its API; a function that anybody on the Internet may call is another matter."""
    facts = [
        *(Fact("role", name, {"superuser": False}, name=name) for name in ("anon", "authenticated", "service_role")),
        Fact("table", "auth.users", {**TABLE, "owner": "supabase_auth_admin"}, schema="auth", name="users"),
        Fact("table", "s.t", {**TABLE, "grants": ("GRANT SELECT, TRIGGER TO anon",)}, schema="s", name="t"),
        Fact("function", "s.f()", {**ROUTINE, "grants": ("GRANT EXECUTE TO anon", "REVOKE EXECUTE FROM PUBLIC")},
             schema="s", name="f"),
    ]  # fmt: skip
    roles = [role("anon", login=False), role("authenticator"), role("supabase_auth_admin", login=False),
             role("supabase_admin", superuser=True), role("boss", superuser=True)]  # fmt: skip
    judged = doors(house(facts, roles, [member("anon", "authenticator", "s")]), ["migrator"])
    assert [(d.role, d.kind) for d in judged.open] == [("boss", "superuser"), ("anon", "definer")]
    assert {(d.role, d.kind, d.judged) for d in judged.doors} >= {
        ("anon", "trigger", "platform"),
        ("supabase_admin", "superuser", "platform"),
    }


def test_groups_that_nobody_can_act_as_are_told_without_severity() -> None:
    schema = Fact("schema", "old", {"owner": "idle", "grants": None}, schema="old", name="old")
    judged = doors(house([schema], roles=[role("idle", login=False)]), ["migrator"])
    assert [(d.role, d.judged, d.severity) for d in judged.doors if d.role == "idle"] == [
        ("idle", "nobody", "info")
    ]
    assert judged.open == []


def test_a_migration_role_that_does_not_exist_is_said() -> None:
    (note,) = doors(house(), ["deployer"]).not_checked
    assert (note["what"], note["why"]) == ("migration role deployer", "there is no such role")
    assert verdict([], "medium", [note]) == "INCOMPLETE"


def test_hostile_names_stay_in_quotes_and_on_their_line() -> None:
    evil = '"x""; drop\n-- \u202e"'
    schema = Fact("schema", "old", {"owner": evil, "grants": None}, schema="old", name="old")
    judged = doors(house([schema], roles=[role(evil)]), ["migrator"])
    text = script(judged, "pro\nduction")
    comments = [line for line in text.splitlines() if line.startswith("--")]
    assert '-- closes "x""; drop\\n-- \\u{202E}": schema_owner' in comments
    assert f"GRANT USAGE ON SCHEMA old TO {evil};" in text
    assert visible("a\r\nb\u2028c") == "a\\r\\nb\\u{2028}c"
    document = {"name": "e\n", "migration_roles": ["migrator"], "doors": [d.as_dict() for d in judged.doors],
                "captured": True, "witnesses": [], "lately": [],
                "stale": {"migrated_at": None, "says": []}}  # fmt: skip
    assert not any("\n" in line or "\u202e" in line for line, _ in guarded(document))


def test_every_door_has_a_severity_and_is_on_the_page() -> None:
    assert {severity for severity, _, _ in DOORS.values()} <= set(config.SEVERITIES)
    page = (Path(__file__).parent.parent / "docs" / "policy.md").read_text("utf-8")
    assert [f"| `{name}` | {severity} | {does} |" in page for name, (severity, does, _) in DOORS.items()] == [
        True
    ] * len(DOORS)


def test_the_verdict_knows_how_bad_is_too_bad() -> None:
    trigger = Fact("table", "s.t", {**TABLE, "grants": ("GRANT TRIGGER TO app",)}, schema="s", name="t")
    judged = doors(house([trigger]), ["migrator"])
    assert [verdict(judged.doors, least, []) for least in ("low", "medium")] == ["FAIL", "WARN"]


# --- who did, and what is stale ----------------------------------------------------------------------------


def test_who_changed_it_lately() -> None:
    row = {
        "witness": "ddl_log",
        "application": "psql",
        "client": None,
        "command": "ALTER TABLE",
        "statement": "alter",
    }
    rows = [
        {**row, "session_user": "alice", "role": "migrator", "at": "2026-11-02T00:00:00Z"},
        {**row, "session_user": "bob", "role": "bob", "at": "2026-11-01T00:00:00Z"},
        {**row, "session_user": "bob", "role": "bob", "at": "2026-11-03T00:00:00Z", "statement": "drop"},
    ]
    judged = doors(house(witnesses=[{"witness": "ddl_log", "rows": rows}]), ["migrator"])
    assert [(e["session_user"], e["migration"], e["count"], e["statement"]) for e in lately(judged)] == [
        ("bob", False, 2, "drop"),
        ("alice", True, 1, "alter"),
    ]


def test_stale_environments() -> None:
    now = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    taken = {
        "staging": house(captured_at="2026-11-21T00:00:00+00:00"),
        "production": house(captured_at="2026-11-01T00:00:00+00:00"),
    }
    rows = {
        "staging": [{"version": v, "applied_at": f"2026-11-0{v}T00:00:00Z"} for v in ("1", "2", "3")],
        "production": [{"version": "1", "applied_at": None}],
    }
    ages = stale(taken, rows, dt.timedelta(days=7), now, {"staging": "2026-11-01T00:00:00Z"})
    assert ages["staging"]["says"] == ["was last audited 21 days ago"]
    assert ages["staging"]["migrated_at"] == "2026-11-03T00:00:00Z"
    assert ages["production"]["says"] == ["was read 21 days ago", "is 2 migrations behind the others"]
    assert ages["production"]["behind"] == ["2", "3"]


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "auditkit.toml"
    file.write_text('[policy]\nmigration_roles = ["deployer"]\nstale_after = "36h"\n')
    settings = config.load(file)
    assert (settings.migration_roles, settings.stale_after) == (("deployer",), dt.timedelta(hours=36))
    file.write_text('[policy]\nstale_after = "soon"\n')
    with pytest.raises(ConfigError, match="'soon' is not a time span; write it like"):
        config.load(file)


# --- in a report -------------------------------------------------------------------------------------------


def test_the_section_of_a_report_escapes_what_it_shows() -> None:
    evil = '"<img src=x onerror=alert(1)>\u202e"'
    schema = Fact("schema", "old", {"owner": evil, "grants": None}, schema="old", name="old")
    hands = {"witness": "ddl_log", "session_user": "<b>", "role": None, "application": "", "at": None}
    there = house(
        [schema],
        roles=[role(evil)],
        witnesses=[{"witness": "ddl_log", "source": "l.ddl_log", "rows": [hands]}],
    )
    there.manifest |= {"captured_at": "2026-11-01T00:00:00+00:00"}
    found = section({"pro<i>": there}, Settings(root=Path()), "2026-11-22T00:00:00Z")
    shown = html_of({"format": "auditkit.audit/1", "policy": found})
    assert str(shown) == "Besides those that should, the schema can be changed by 1 role in pro<i>."
    page = shown.html
    assert "&lt;img src=x onerror=alert(1)&gt;\\u{202E}" in page and "was read 21 days ago" in page
    assert not any(bad in page for bad in ("<img", "<b>", "<i>", "\u202e"))
    assert "owns a schema" in page and "by itself" in page


def test_an_audit_that_did_not_ask_says_so() -> None:
    assert html_of({"format": "auditkit.audit/1"}).text == "Who can change the schema was not asked."


# --- real servers ------------------------------------------------------------------------------------------

#: Every way that needs no extension, as a careless administrator would leave it.
CARELESS = """
create role migrator login; create role app login; create role devs; create role alice login in role devs;
create role bob login noinherit; grant migrator to bob; create role root2 login superuser;
create role ops login; grant pg_execute_server_program to ops;
create role "evil ""; drop
--" login; create role carol login; grant devs to carol with admin option;
grant create on database {database} to migrator; grant create on database {database} to "evil ""; drop
--";
create schema shop authorization migrator; create schema old authorization app; grant usage on schema shop to app;
set role migrator;
create table shop.schema_migrations (version text primary key);
insert into shop.schema_migrations values ('20260101000000');
create table shop.orders (id bigint generated always as identity primary key, note text);
grant select, insert, update, delete, trigger on shop.orders to app;
create function shop.run(q text) returns void language plpgsql security definer set search_path = ''
  as $$ begin execute q; end $$;
create function shop.total() returns bigint language sql security definer as 'select count(*) from shop.orders';
alter default privileges for role migrator in schema shop grant trigger on tables to devs;
reset role;
create table old.t (id serial primary key, x int); alter table old.t owner to app;
create view old.v as select * from old.t; alter view old.v owner to devs;
create function old.f() returns int language sql as 'select 1'; alter function old.f() owner to app;
grant create on schema shop to devs with grant option; grant create on schema public to public;
"""
OLDER = """
create role maker login createrole; create role owners; create role noin login noinherit; grant owners to noin;
create table public.t (id serial, x int); alter table public.t owner to owners;
alter database {database} owner to app;
create function public.hook() returns event_trigger language plpgsql as $$ begin end $$;
alter function public.hook() owner to app;
create event trigger hook on ddl_command_end execute function public.hook();
grant execute on function pg_read_file(text) to app; grant execute on function lo_export(oid, text) to public;
"""


def audited(conninfo: str, tmp_path: Path, **more: Any) -> dict[str, Any]:
    source = Source("production", "live", conninfo)
    settings = Settings(root=tmp_path, out_dir=tmp_path, environments={"production": source}, **more)
    return audit.policy([source], settings)


def ways(document: dict[str, Any]) -> set[tuple[str, str]]:
    doors = document["environments"][0]["doors"]
    return {(d["role"], d["door"]) for d in doors if d["judged"] == "door"}


def proven(server: servers.Server, conninfo: str, database: str, tmp_path: Path) -> dict[str, Any]:
    """Ask, run the plan, ask again: every door is gone, and who migrates and who reads and writes still can."""
    before = audited(conninfo, tmp_path)
    assert (before["verdict"], before["not_checked"]) == ("FAIL", [])
    sql = before["environments"][0]["sql"]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(sql.encode())
    after = audited(conninfo, tmp_path)
    assert (after["verdict"], ways(after), after["environments"][0]["plan"]) == ("PASS", set(), [])
    assert audited(conninfo, tmp_path)["headline"] == "Only the roles that should can change the schema."
    with psycopg.connect(server.conninfo(database, user="migrator"), autocommit=True) as connection:
        connection.execute(
            "alter table shop.orders add x int; alter table old.t add y int; create table old.n ();"
            "drop view old.v; create table public.p (); create schema another"
        )
    with psycopg.connect(server.conninfo(database, user="app"), autocommit=True) as connection:
        connection.execute(
            "insert into old.t (x) values (1); update shop.orders set note = ''; select old.f()"
        )
        for statement in ("alter table old.t add z int", "create table old.z ()", "create table public.z ()",
                          "create trigger z before update on shop.orders execute function"
                          " suppress_redundant_updates_trigger()",
                          "select shop.run('create table shop.z ()')", "drop function old.f()"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    return before


def test_the_plan_closes_every_door(tmp_path: Path) -> None:
    with servers.start(label="policy") as server:
        conninfo = server.create_database("app")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(CARELESS.format(database="app").encode())
        before = proven(server, conninfo, "app", tmp_path)
    assert ways(before) == {
        ("PUBLIC", "create_in_schema"),
        ("app", "definer"),
        ("app", "owner"),
        ("app", "schema_owner"),
        ("app", "trigger"),
        ("bob", "acts_as"),
        ("ops", "server_programs"),
        ("root2", "superuser"),
        ('"evil ""; drop\n--"', "create_in_database"),
        *(
            (who, door)
            for who in ("alice", "carol")
            for door in ("owner", "create_in_schema", "default_privileges")
        ),
    }


@pytest.mark.tools
def test_the_plan_closes_every_door_on_an_old_server(tmp_path: Path) -> None:
    with servers.start(label="policy", binaries=tools.postgres_binaries(14)) as server:
        conninfo = server.create_database("app")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute((CARELESS + OLDER).format(database="app").encode())
        before = proven(server, conninfo, "app", tmp_path)
    assert ways(before) >= {
        ("PUBLIC", "server_programs"),
        ("app", "database_owner"),
        ("app", "event_trigger"),
        ("app", "server_files"),
        ("maker", "create_role"),
        ("noin", "owner"),
    }


def test_the_role_for_audits_reads_all_and_writes_nothing(tmp_path: Path) -> None:
    with servers.start(label="policy") as server:
        owner = server.create_database("app")
        project = Project.make(tmp_path)
        project.apply(owner, list(MIGRATIONS)[:-1])
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("create view public.by_hand as select 1 as one")
        hostile = 'aud"it\n-or'
        project.settings({"owner": owner, "reader": server.conninfo("app", user=hostile)})
        answer = project.run("policy", "owner", "--role-sql", hostile)
        assert answer.code == 0, answer.err
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(answer.out.encode())
        again = project.run("policy", "owner", "--role-sql", hostile).out
        assert "is in this cluster already" in again, "as it is for the second database of a cluster"
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(again.encode())
        assert project.run("diff", "owner", "reader").out == "equal\n"
        seen = project.run("explain", "reader", "--json")
        assert (seen.code, seen.json["not_checked"]) == (1, [])
        assert {f["cause"] for f in seen.json["findings"]} == {"manual_change", "missing_migration"}
        assert project.run("check", "reader").code == 1
        assert project.run("policy", "reader", "--json").json["not_checked"] == []
        with psycopg.connect(server.conninfo("app", user=hostile), autocommit=True) as connection:
            assert connection.execute("show statement_timeout").fetchone() == ("15s",)
            connection.execute("set default_transaction_read_only = off")
            for statement in ("create table public.x ()", "insert into public.people (email) values ('x')",
                              "select * from public.people", "create schema x", "create role x",
                              "delete from supabase_migrations.schema_migrations"):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


def run(root: Path, *arguments: str) -> Result:
    """The command line in this process, as it starts quicker."""
    return CliRunner().invoke(cli, ["--config", str(root / "auditkit.toml"), "--quiet", *arguments])


def test_from_a_snapshot_file_and_on_the_command_line(tmp_path: Path, database: str) -> None:
    Project(tmp_path).settings({"production": database}, '[policy]\nmigration_roles = ["postgres"]')
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table public.t (); create function public.f() returns int language sql "
                           "security definer as 'select 1'")  # fmt: skip
    kept = str(tmp_path / "now.snapshot")
    assert run(tmp_path, "snapshot", "production", "-o", kept).exit_code == 0
    live, later = (run(tmp_path, "policy", source, "--json") for source in ("production", kept))
    assert (live.exit_code, later.exit_code) == (1, 1), live.stderr + later.stderr
    documents = [json.loads(answer.stdout) for answer in (live, later)]
    assert documents[0]["format"] == "auditkit.policy/1"
    assert documents[0]["environments"][0]["doors"] == documents[1]["environments"][0]["doors"]
    text = run(tmp_path, "policy", "--warn-only")
    assert text.exit_code == 0
    assert "HIGH  PUBLIC (everybody) may call a SECURITY DEFINER function" in text.stdout
    assert run(tmp_path, "policy", "--fail-on", "critical").exit_code == 0
    sql = run(tmp_path, "policy", "production", "--sql").stdout
    assert "ALTER FUNCTION public.f() SET search_path = pg_catalog, public, pg_temp;" in sql


def test_sql_for_one_environment_wants_one(tmp_path: Path) -> None:
    Project(tmp_path).settings({"a": "dbname=a", "b": "dbname=b"})
    answer = run(tmp_path, "policy", "--ddl-log-sql")
    assert isinstance(answer.exception, ConfigError)
    assert "name it, as in `auditkit policy production --role-sql`" in str(answer.exception)
