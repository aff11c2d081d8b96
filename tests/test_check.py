"""The daily check and fleets, on real databases: what is remembered, what is news, groups told as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest
from project import MIGRATIONS, Project
from test_alerts import Server as Hook

from auditkit import audit, config, report
from auditkit import server as servers
from auditkit.audit import checking, remembered
from auditkit.report import checked as lines
from auditkit.report import last_check
from auditkit.report.document import Audit, schema
from auditkit.report.fleet import fleet_of

NEWEST = sorted(MIGRATIONS)[-1]


def checked(project: Project, names: str = "all", **more: Any) -> dict[str, Any]:
    found: Audit = audit.check(names, settings=config.load(start=project.root), **more)
    jsonschema.validate(found.document, schema())
    return found.document


def run(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what is another each time."""
    kept = {k: v for k, v in document.items() if k not in ("check", "created_at", "timeline", "tool")}
    environments = [{**e, "captured_at": None} for e in document["environments"]]
    for finding in kept["findings"]:
        finding["timeline"] = [e for e in finding["timeline"] if "read" not in e["what"]]
        if finding["proof"]:
            finding["proof"]["seconds"] = 0
    return {**kept, "environments": environments}


@pytest.fixture(scope="module")
def template(server: servers.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that is as migrated."""
    name = "check_template"
    conninfo = server.create_database(name)
    Project.make(tmp_path_factory.mktemp("template")).apply(conninfo)
    yield name
    server.drop_database(name)


@pytest.fixture
def project(tmp_path: Path, databases: Any, template: str) -> Project:
    made = Project.make(tmp_path)
    made.settings({"production": databases("production", template=template)})
    return made


def conninfo(project: Project, name: str = "production") -> str:
    return config.load(start=project.root).environments[name].conninfo


# --- what is remembered ------------------------------------------------------------------------------------


def test_what_is_remembered_is_what_would_be_found(project: Project) -> None:
    """Whatever changes, in the database, the ledger, the files or the settings, is found at once."""
    database = conninfo(project)
    first = checked(project)
    assert (first["verdict"], first["check"]["remembered"]) == ("PASS", [])
    again = checked(project)
    assert again["check"]["remembered"] == ["production"]
    assert timeless(again) == timeless(first)
    index = project.root / "supabase" / "migrations" / "20260103100000_notes_index.sql"
    rule = '[[ignore]]\nkind = "index"\nreason = "why not"'
    changes: list[Any] = [
        lambda: run(database, "create index by_hand on public.people (name)"),
        lambda: run(database, "grant select on public.people to public"),
        lambda: run(
            database, "delete from supabase_migrations.schema_migrations where version = '20260105100000'"
        ),
        lambda: run(database, "comment on table public.people is 'hello'"),
        lambda: index.write_text("create index notes_person on public.notes (person, body);\n"),
        lambda: project.settings({"production": database}, rule),
        lambda: run(database, "drop index by_hand", "create index by_hand on public.people (email)"),
    ]
    ids: list[set[str]] = []
    for change in changes:
        change()
        now = checked(project)
        assert now["check"]["remembered"] == []
        ids.append({finding["id"] for finding in now["findings"]})
        known = checked(project)
        assert known["check"]["remembered"] == ["production"]
        assert timeless(known) == timeless(now)
    assert all(ids) and len({frozenset(each) for each in ids}) > 4
    fresh = checked(project, remember=False)
    assert fresh["check"]["remembered"] == [] and timeless(fresh) == timeless(known)


def test_the_causes_are_those_of_explain(project: Project) -> None:
    run(conninfo(project), "create view public.by_hand as select 1 as one")
    found, explained = checked(project), audit.explain("production", settings=config.load(start=project.root))
    keys = ("id", "cause", "confidence", "severity", "title", "objects", "evidence", "remedy")
    assert [[f[k] for k in keys] for f in found["findings"]] == [
        [f[k] for k in keys] for f in explained.document["findings"]
    ]
    assert found["headline"] == explained.headline


def test_what_could_not_be_looked_at_is_not_green(project: Project) -> None:
    """Whatever stands in the way, and although the last check was green and is remembered."""
    database = conninfo(project)
    assert checked(project)["verdict"] == "PASS"
    gone = database.replace("dbname=", "dbname=no_such_")
    project.settings({"production": gone, "staging": database, "later": "service=nosuch"})
    found = checked(project)
    assert found["verdict"] == "INCOMPLETE"
    assert {e["name"]: e["status"] for e in found["environments"]} == {
        "production": "incomplete", "staging": "complete", "later": "incomplete",
    }  # fmt: skip
    project.settings({"production": database})
    with psycopg.connect(database) as connection:
        connection.execute("lock table public.notes")
        connection.execute("create view public.of_notes as select * from public.notes")
        waiting = checked(project)
        connection.rollback()
    assert waiting["verdict"] in ("INCOMPLETE", "PASS")  # what is not committed is not there
    project.write("20260106100000_broken.sql", "create tabel oops (id int);\n")
    assert checked(project)["verdict"] == "INCOMPLETE"
    assert checked(project)["check"]["remembered"] == []  # a gap is never kept


def test_the_command(project: Project, databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, news, alerts over HTTP, exit codes, and no secret anywhere."""
    database = conninfo(project)
    hook = Hook([200])
    threading.Thread(target=hook.serve_forever, args=(0.02,), daemon=True).start()
    secret = "/services/c4nary-secret"
    env = {"HOOK": f"http://127.0.0.1:{hook.server_port}{secret}"}
    more = '[alerts]\nwebhook_env = "HOOK"\nfile = "reports/alerts.jsonl"\n'
    project.settings({"production": database}, more)
    said = [project.run("check", env=env)]
    assert (said[0].code, said[0].err, hook.seen) == (0, "", [])
    said.append(project.run("check", env=env))
    assert "unchanged since the last check, " in said[1].out
    run(database, "create view public.by_hand as select 1 as one")
    said.append(project.run("check", "--warn-only", "--only-new", env=env))
    assert said[2].code == 0
    assert "\nnew  HIGH  view public.by_hand was made by hand in production" in said[2].out
    assert len(hook.seen) == 1
    said.append(project.run("check", "--only-new", env=env))
    assert (said[3].code, len(hook.seen)) == (1, 1)
    hook.answers[:] = [404]
    said.append(project.run("check", env=env))
    assert said[4].code == 1 and len(hook.seen) == 2
    assert (
        said[4].err
        == "alert not sent: the webhook in HOOK answered 404; the verdict stands, and nobody was told this way\n"
    )
    hook.answers[:] = [200]
    run(database, "drop view public.by_hand")
    said.append(project.run("check", "--only-new", env=env))
    assert said[5].code == 0 and "\ngone  view public.by_hand was made by hand" in said[5].out
    assert [m["text"].split()[2] for m in hook.seen] == ["FAIL:", "FAIL:", "PASS:"]
    # A check that cannot be made is no silence: it may be the only sign.
    project.settings({"production": database.replace("dbname=", "dbname=no_such_")}, more)
    said.append(project.run("check", env=env))
    assert said[6].code == 3 and said[6].err.startswith("auditkit: production: cannot connect")
    for file in (project.root / "supabase" / "migrations").iterdir():
        file.unlink()
    said.append(project.run("check", env=env))
    assert said[7].code == 2
    assert [m["text"].split()[2] for m in hook.seen[3:]] == ["INCOMPLETE:", "INCOMPLETE:"]
    assert "no migrations found" in hook.seen[4]["text"]
    kept = "".join(f.read_text() for f in (project.root / "reports").iterdir())
    assert secret not in "".join(a.out + a.err for a in said) + kept
    hook.shutdown()
    hook.server_close()


# --- fleets ------------------------------------------------------------------------------------------------


@pytest.fixture
def shops(project: Project, databases: Any, template: str) -> list[str]:
    """Nine databases on one server, each a copy."""
    return [databases(f"shop{n}", template=template) for n in range(9)]


def grouped(project: Project, database: str, exclude: str = "") -> None:
    words = psycopg.conninfo.conninfo_to_dict(database) | {"dbname": "postgres"}
    url = psycopg.conninfo.make_conninfo(**words)
    project.settings(
        {"production": conninfo(project)},
        f'[fleet.groups.shops]\ndatabases = "shop*"\nurl = "{url}"\nexclude = ["{exclude}"]\n',
    )


def test_tenant_databases_are_one_finding(project: Project, shops: list[str]) -> None:
    for database in shops[:3]:
        run(database, "create view public.by_hand as select 1 as one")
    run(shops[8], "drop index public.notes_person")
    grouped(project, shops[0])
    most = [0]
    done = threading.Event()

    def watch() -> None:
        with psycopg.connect(shops[0], autocommit=True) as connection:
            while not done.wait(0.01):
                row = connection.execute(
                    "select count(*) from pg_stat_activity where application_name = 'auditkit' and datname like 'shop%'"
                ).fetchone()
                most[0] = max(most[0], row[0] if row else 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = checked(project)
    done.set()
    watcher.join()
    assert 1 <= most[0] <= checking.AT_ONCE
    assert len(found["findings"]) == 2
    by_hand = next(f for f in found["findings"] if f["objects"][0]["identity"] == "public.by_hand")
    assert (by_hand["environment"], len(by_hand["environments"]), len(by_hand["members"])) == ("shops", 3, 3)
    assert (
        by_hand["title"]
        == "view public.by_hand was made by hand in 3 of 9 databases of shops; no migration creates it"
    )
    other = next(f for f in found["findings"] if f is not by_hand)
    assert len(other["environments"]) == 1 and other["environment"].startswith("shops/shop8_")
    assert {d["finding"] for d in found["deltas"]} == {by_hand["id"], other["id"]}
    # What one had alone is no news when others join, and is not gone.
    only = {**found, "findings": [f for f in found["findings"] if f is other]}
    assert other["members"] == [other["id"]]
    alone_before = {
        **by_hand,
        "id": by_hand["members"][0],
        "environment": by_hand["environments"][0],
        "members": [],
    }
    alone_before["environments"] = by_hand["environments"][:1]
    folder = project.root / "reports"
    last_check.save(folder, {**only, "findings": [alone_before, other]}, {})
    since = last_check.since(found, last_check.load(folder))["since_last_run"]
    assert (since["new"], since["persisting"], since["resolved"]) == ([by_hand["id"]], [other["id"]], [])
    last_check.save(folder, found, {})
    since = last_check.since({**only, "findings": [alone_before, other]}, last_check.load(folder))[
        "since_last_run"
    ]
    assert (since["new"], since["resolved"]) == ([], [])
    # One of them by name, as the next step says.
    member = by_hand["environments"][0]
    alone = audit.explain(member, settings=config.load(start=project.root)).document
    assert [f["id"] for f in alone["findings"]] == [by_hand["members"][0]]
    fleet = fleet_of(found)
    (group,) = fleet["groups"]
    assert len(group["members"]) == 9
    assert {o["identity"]: len(o["environments"]) for o in fleet["objects"]} == {
        "public.by_hand": 3, "public.notes_person": 1,
    }  # fmt: skip


def test_a_group_that_is_not_there_is_not_green(project: Project) -> None:
    grouped(project, conninfo(project), exclude="*")
    found = checked(project)
    assert found["verdict"] == "INCOMPLETE"
    assert found["not_checked"][0]["what"] == "the databases of the group"
    project.settings(
        {"production": conninfo(project)}, '[fleet.groups.shops]\ndatabases = "s*"\nurl_env = "NO_SUCH"\n'
    )
    found = checked(project)
    assert found["verdict"] == "INCOMPLETE" and "NO_SUCH is not set" in found["not_checked"][0]["why"]


TENANT = (
    'create schema "{0}"',
    'create table "{0}".orders (id bigint primary key, total numeric check (total >= 0))',
    'create index on "{0}".orders (total)',
    'create view "{0}".big as select id from "{0}".orders where total > 100',
    'create function "{0}".count_orders() returns bigint language sql set search_path = "{0}" '
    "as 'select count(*) from \"{0}\".orders'",
    'create trigger t before update on "{0}".orders for each row execute function suppress_redundant_updates_trigger()',
)


@pytest.mark.parametrize("named", [None, "tenant_a"])
def test_tenant_schemas_are_held_against_each_other(project: Project, named: str | None) -> None:
    database = conninfo(project)
    names = ["tenant_a", "tenant_b", "tenant_C d", "tenant_orders", "tenant_x"]
    for name in names:
        run(database, *(statement.format(name) for statement in TENANT))
    for name in ("tenant_b", "tenant_x"):
        run(database, f'alter table "{name}".orders add column extra text', f'drop view "{name}".big')
    model = f'template = "{named}"\n' if named else ""
    project.settings(
        {"production": database},
        f'[fleet.groups.tenants]\nenvironment = "production"\nschemas = "tenant_*"\n{model}',
    )
    found = checked(project)
    assert [f["title"] for f in found["findings"]] == [
        "2 schemas (tenant_b and tenant_x) of tenants are unlike tenant_a in 2 objects"
    ]
    (finding,) = found["findings"]
    assert finding["schemas"] == ["tenant_b", "tenant_x"]
    assert [(o["kind"], o["identity"]) for o in finding["objects"]] == [
        ("table column", "tenant_b.orders.extra"),
        ("view", "tenant_b.big"),
    ]
    assert found["tenants"][0]["says"].endswith("schemas, 2 unlike tenant_a (tenant_b and tenant_x)")
    assert checked(project)["check"]["remembered"] == ["production"]
    run(database, 'alter table "tenant_C d".orders alter total set not null')
    assert {tuple(f["schemas"]) for f in checked(project)["findings"]} == {
        ("tenant_b", "tenant_x"),
        ("tenant_C d",),
    }


def test_production_is_ahead_of_staging(project: Project, databases: Any) -> None:
    behind = databases("staging")
    project.apply(behind, [name for name in sorted(MIGRATIONS) if name != NEWEST])
    project.settings(
        {"production": conninfo(project), "staging": behind}, '[fleet]\norder = ["staging", "production"]'
    )
    found = checked(project)
    assert [v["says"] for v in found["fleet"]["violations"]] == [
        "production has 20260105100000_people_name, which staging lacks"
    ]
    assert [e["name"] for e in found["environments"]] == ["staging", "production"]
    answer = project.run("fleet")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert lines[1] == "promotion order: staging → production"
    assert lines[2].split() == ["migration", "staging", "production"]
    assert lines[3].split() == ["20260105100000", "people_name", "pending", "applied"]
    assert "out of order: production has 20260105100000_people_name, which staging lacks" in lines
    page = report.Audit(found)
    assert page.verdict == "WARN"


def test_time_is_bounded_by_what_changed(project: Project) -> None:
    """A remembered check neither replays nor explains: it takes hardly longer than reading."""
    checked(project)
    started = time.perf_counter()
    assert checked(project)["check"]["remembered"] == ["production"]
    assert time.perf_counter() - started < 10


def test_a_catalog_is_recognised_in_whatever_order_it_was_read(project: Project) -> None:
    snapshot = audit.take(
        config.load(start=project.root).environments["production"], config.load(start=project.root)
    )
    before = remembered._state(snapshot)
    for table in snapshot.tables.values():
        n = len(table)
        for name in (
            "identities",
            "values",
            "names",
            "schemas",
            "parents",
            "oids",
            "subids",
            "anchors",
            "xmins",
        ):
            setattr(table, name, getattr(table, name)[::-1])
        for name in ("origins", "extensions"):
            setattr(table, name, {n - 1 - i: value for i, value in getattr(table, name).items()})
        table.written = {c: {n - 1 - i: xid for i, xid in rows.items()} for c, rows in table.written.items()}
    snapshot.__dict__.pop("fingerprint")
    assert remembered._state(snapshot) == before
    snapshot.tables["table"].xmins[0] += 1  # written by another transaction: perhaps changed and changed back
    assert remembered._state(snapshot) != before


def test_fifty_environments_fit_on_a_screen() -> None:
    """Those of which the same is said are told together; the first of the promotion order and groups stay apart."""
    names = [f"shop_{n:02}" for n in range(50)]
    drifted = {"shop_03", "shop_33"}

    def environment(name: str) -> dict[str, Any]:
        ledger = {"applied": 1, "pending": int(name == "shop_07"), "head": "1"}
        return {
            "name": name,
            "status": "complete",
            "fingerprint": "f",
            "ledger": ledger,
            "findings": int(name in drifted),
        }

    delta = {"kind": "index", "identity": "public.i", "change": "unexpected", "finding": None}
    document = {
        "environments": [environment(name) for name in names],
        "fleet": {"groups": [], "order": ["shop_01"], "violations": []},
        "deltas": [{**delta, "environment": name} for name in sorted(drifted)],
        "migrations": [
            {"version": "1", "name": "a", "file": "1_a.sql", "states": dict.fromkeys(names, "applied")},
            {"version": "2", "name": "b", "file": "2_b.sql",
             "states": {**dict.fromkeys(names, "applied"), "shop_07": "pending"}},
        ],
        "not_checked": [],
        "findings": [],
        **dict.fromkeys(("created_at", "verdict", "headline"), ""),
    }  # fmt: skip
    assert [text for text, _ in lines.checked(document)] == [
        "  shop_03: 1 finding, 1 applied, 0 pending",
        "  shop_33: 1 finding, 1 applied, 0 pending",
        "  shop_00, shop_01, shop_02 and 44 others: 0 findings, 1 applied, 0 pending",
        "  shop_07: 0 findings, 1 applied, 1 pending",
    ]
    fleet = fleet_of(document)
    assert [text for text, _ in lines.matrix(fleet)] == [
        "promotion order: shop_01",
        "migration  shop_01  shop_00 and 45 others  shop_03 and shop_33  shop_07",
        "2 b        applied  applied                applied              pending",
        "1 migration is applied everywhere.",
        "",
        "drifted object  shop_01  shop_00 and 45 others  shop_03 and shop_33  shop_07",
        "index public.i  ·        ·                      + unexpected         ·",
    ]
    assert "shop_49" in next(
        text for text, _ in lines.matrix(fleet, everything=True) if text.startswith("migration")
    )
