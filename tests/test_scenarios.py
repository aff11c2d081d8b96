"""Known injuries on a real server: is the cause right, is the culprit right, and is nothing else reported?

One history of ten migrations in a git repository (``FILES``), applied as the Supabase CLI does it: one
transaction for each file, its ledger row included. A scenario says what went differently and what must be
found; the numbers are those of the benchmark that the search for causes was designed with.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit import audit
from auditkit.config import Settings, Source
from auditkit.demo.files import git
from auditkit.history.split import split
from auditkit.server import Server

FILES: dict[str, tuple[str, str]] = {
    "01": ("schema", "create schema app;"),
    "02": ("users", """
create table app.users (
    id bigint generated always as identity primary key,
    email text not null,
    joined timestamptz not null default now()
);"""),
    "03": ("orders", """
create table app.orders (
    id bigserial primary key,
    user_id bigint not null references app.users (id),
    net numeric(12, 2) not null,
    tax numeric(12, 2) not null default 0,
    state text not null default 'new',
    constraint net_positive check (net >= 0)
);"""),
    "04": ("total", """
-- what an order costs
create function app.total(order_id bigint) returns numeric language sql stable
    as $$ select net from app.orders where id = order_id $$;"""),
    "05": ("index", "create index orders_user on app.orders (user_id);"),
    "06": ("total_with_tax", """
create or replace function app.total(order_id bigint) returns numeric language sql stable
    as $$ select net + tax from app.orders where id = order_id $$;"""),
    "07": ("security", """
alter table app.orders enable row level security;
create policy own_orders on app.orders using (user_id = 1);"""),
    "08": ("priority", "create type app.priority as enum ('low', 'high');"),
    "09": ("log", """
create table app.log (at timestamptz not null, what text) partition by range (at);
create table app.log_2026 partition of app.log for values from ('2026-01-01') to ('2027-01-01');
create index log_at on app.log (at);"""),
    "10": ("open_orders", """
create view app.open_orders as select id, user_id, app.total(id) as total from app.orders where state = 'new';"""),
}  # fmt: skip

ORDERS, USERS, LOG = "table app.orders", "table app.users", "table app.log"
TOTAL = "function app.total(bigint)"
INDEX, VIEW, POLICY = "index app.orders_user", "view app.open_orders", "policy own_orders on app.orders"
LEDGER = """
create schema supabase_migrations;
create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
"""
RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"


def version(number: str) -> str:
    return f"202601{number}000000"


Expected = tuple[str, "str | None", Sequence[str]]


@dataclass(frozen=True)
class Scenario:
    """What went differently, and what must be found: ``(cause, culprit, objects)`` for each finding.

    ``order`` lists the migrations in the order in which this environment met them: ``05`` was run,
    ``05!`` only recorded, ``05?`` run but not recorded, ``05&`` run statement by statement,
    ``05=`` run and recorded with the text that the file has now;
    at ``*`` the statement ``between`` is run, at ``~`` somebody else in the cluster makes things. ``ran`` are texts that
    it ran in place of the file's, ``files`` texts that files have instead of FILES (None: there is no such
    file), ``edits`` says which files were edited in git, with the text before. ``hand`` is typed in at the end,
    each line for itself. ``bare`` is what is found when transaction ids tell nothing, if that is less.
    ``notes`` are the findings of severity info: what leaves no difference, and only transaction ids show.
    """

    name: str
    hand: str = ""
    expect: Sequence[Expected] = ()
    order: str = "01 02 03 04 05 06 07 08 09 10"
    ran: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str] | None] = field(default_factory=dict)
    edits: Mapping[str, str] = field(default_factory=dict)
    between: str = ""
    bare: Sequence[Expected] | None = None
    notes: Sequence[Expected] = ()


MANUAL, MISSING, UNKNOWN_MIGRATION = "manual_change", "missing_migration", "unknown_migration"
LATE, EDITED, UNRECORDED = "out_of_order", "edited_after_apply", "applied_not_recorded"
CAPTURED, REVERTED = "captured_hotfix", "reverted_hotfix"
NEVER_RAN, INSTALLATION, UNKNOWN = "recorded_not_applied", "environment_difference", "unknown"
PARTIAL, RESTAMPED, REBASELINED = "partial_apply", "restamped", "rebaselined"

ALL = "01 02 03 04 05 06 07 08 09 10"
V1 = FILES["04"][1].replace("create function", "create or replace function")
V2 = FILES["06"][1]
OLD_V2 = V2.replace("net + tax", "net + tax + 1")
HOTFIX = V2.replace("net + tax", "42 + net").replace("\n", " ")
LOG_AGAIN = FILES["09"][1].replace("\n", " ")
ROW = "supabase_migrations.schema_migrations where version ="
DEFAULTS = "alter default privileges in schema app grant select on tables to web"
DEFAULT_ACL = "default acl for role postgres in schema app on tables"
LONG = f"\ncomment on table app.orders is '{' '.join(str(n**5) for n in range(900))}';"
PHONE = {"11": ("phone", "alter table app.users add column if not exists phone text;")}
HSTORE = {"11": ("hstore", "create extension hstore schema app;")}
IN_A_BLOCK = {"11": ("block", "do $$ begin create table app.d (); exception when others then raise; end $$;")}
TRIGGER = {
    "11": (
        "touch",
        """
create function app.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touch before insert on app.users for each row execute function app.touch();""",
    )
}
GUARDED = {
    "11": (
        "secret",
        "create function app.secret() returns int language sql as 'select 1';\n"
        "revoke all on function app.secret() from public;\ngrant execute on function app.secret() to web;",
    )
}
TENANTS = {
    "11": (
        "tenants",
        """do $$ begin for n in 1..5 loop
    execute format('create schema tenant%s', n);
    execute format('create table tenant%s.bill (id int)', n);
    execute format('create index bill_id on tenant%s.bill (id)', n);
end loop; end $$;""",
    )
}
TENANTS_OF_ROWS = {
    "11": ("tenants", "create table app.tenant (name text);"),
    "12": ("schemas", """do $$ declare n text; begin for n in select name from app.tenant loop
    execute format('create schema %I', n);
    execute format('create table %I.bill (id int)', n);
end loop; end $$;"""),
}  # fmt: skip
FIRST_FIVE = ("01", "02", "03", "04", "05")
SQUASHED: dict[str, tuple[str, str] | None] = {
    **dict.fromkeys(FIRST_FIVE),
    "00": ("baseline", "\n".join(FILES[n][1] for n in FIRST_FIVE)),
}
OF_OLD = {n: FILES[n][1] for n in FIRST_FIVE}
TWO_PARTS = {
    "11": (
        "parts",
        "begin;\ncreate table app.a ();\ncommit;\ncreate table app.b ();\ncreate view app.c as select 1;",
    )
}
CONCURRENTLY = {"05": ("index", FILES["05"][1].replace("index", "index concurrently", 1))}
INVALID = "update pg_index set indisvalid = false where indexrelid = 'app.{}'::regclass"
EVERYTHING = (
    "schema app", "table app.users", "table app.orders", "table app.log", "table app.log_2026",
    "view app.open_orders", "function app.total(bigint)", "type app.priority",
)  # fmt: skip


def but(*numbers: str) -> str:
    """The usual order without these."""
    return " ".join(n for n in ALL.split() if n not in numbers)


def column(name: str) -> str:
    return f"table column app.{name}"


SCENARIOS = [
    Scenario("0 nothing"),
    # --- 1 to 4: a hand
    Scenario(
        "1 column added",
        "alter table app.users add column phone text",
        [(MANUAL, None, [column("users.phone")])],
    ),
    Scenario(
        "2 index made", "create index by_email on app.users (email)", [(MANUAL, None, ["index app.by_email"])]
    ),
    Scenario("3 function hotfixed", HOTFIX, [(MANUAL, "06", [TOTAL])]),
    Scenario("4 index dropped", "drop index app.orders_user", [(MANUAL, "05", [INDEX])]),
    Scenario(
        "4 two drops",
        "drop index app.orders_user\ndrop view app.open_orders",
        [(MANUAL, "05", [INDEX]), (MANUAL, "10", [VIEW])],
    ),
    Scenario("4 table dropped, cascade", "drop table app.orders cascade", [(MANUAL, "03", [ORDERS, VIEW])]),
    Scenario(
        "4 function dropped, cascade", "drop function app.total cascade", [(MANUAL, "06", [TOTAL, VIEW])]
    ),
    Scenario(
        "4 column dropped, cascade",
        "alter table app.orders drop column user_id cascade",
        [
            (
                MANUAL,
                "03",
                [
                    column("orders.user_id"),
                    INDEX,
                    POLICY,
                    "table constraint orders_user_id_fkey on app.orders",
                    VIEW,
                ],
            )
        ],
    ),
    Scenario("4 schema dropped", "drop schema app cascade", [(MANUAL, "01", ["schema app"])]),
    Scenario(
        "4 table made",
        "create table app.notes (id int primary key, t text)\ncreate index on app.notes (t)",
        [(MANUAL, None, ["table app.notes"])],
    ),
    Scenario("4 type dropped", "drop type app.priority", [(MANUAL, "08", ["type app.priority"])]),
    Scenario("4 view dropped", "drop view app.open_orders", [(MANUAL, "10", [VIEW])]),
    Scenario(
        "4 all of a migration undone",
        "drop policy own_orders on app.orders\nalter table app.orders disable row level security",
        [(MANUAL, "07", [ORDERS]), (MANUAL, "07", [POLICY])],
        bare=[(NEVER_RAN, "07", [ORDERS, POLICY])],
    ),
    # --- 5 and 6: skipped
    Scenario("5 skipped", "", [(MISSING, "05", [INDEX])], but("05")),
    Scenario("6 skipped, others need it", "", [(MISSING, "03", [ORDERS, TOTAL, VIEW])], "01 02 08 09"),
    Scenario(
        "6 skipped, others recorded all the same",
        "",
        [(MISSING, "03", [ORDERS, TOTAL, VIEW])],
        "01 02 04! 05! 06! 07! 08 09 10!",
    ),
    Scenario(
        "6 not yet applied",
        "",
        [
            (MISSING, "07", [ORDERS, POLICY]),
            (MISSING, "08", ["type app.priority"]),
            (MISSING, "09", [LOG]),
            (MISSING, "10", [VIEW]),
        ],
        "01 02 03 04 05 06",
    ),
    # --- 7 and 8: order
    Scenario(
        "7 wrong order",
        "",
        [(LATE, "04", [TOTAL])],
        "01 02 03 06 04 05 07 08 09 10",
        files={"04": ("total", V1)},
        bare=[(NEVER_RAN, "06", [TOTAL])],
    ),
    Scenario(
        "7 wrong order, two things at once",
        "",
        [(LATE, "11", ["function app.one()", "function app.two()"])],
        ALL + " 12 11",
        files={
            n: (
                f"pair_{n}",
                "\n".join(
                    f"create or replace function app.{name}() returns int language sql as 'select {n}';"
                    for name in ("one", "two")
                ),
            )
            for n in ("11", "12")
        },
        bare=[(NEVER_RAN, "12", ["function app.one()", "function app.two()"])],
    ),
    Scenario("8 wrong order, no matter", "", [], "01 02 03 04 05 06 08 07 09 10"),
    # --- 9 to 12: edited
    Scenario("9 edited", "", [(EDITED, "06", [TOTAL])], edits={"06": OLD_V2}),
    Scenario(
        "9 edited, ledger repaired",
        "",
        [(EDITED, "06", [TOTAL])],
        ALL.replace("06", "06="),
        edits={"06": OLD_V2},
    ),
    Scenario(
        "9 edited, ledger repaired, not in git",
        "",
        [(EDITED, "06", [TOTAL])],
        ALL.replace("06", "06="),
        ran={"06": OLD_V2},
        bare=[(MANUAL, "06", [TOTAL])],
    ),
    Scenario("10 comment edited", "", [], edits={"06": f"-- as of last year\n{V2}"}),
    Scenario(
        "12 column edited",
        "",
        [(EDITED, "02", [column("users.email")])],
        edits={"02": FILES["02"][1].replace("text not null", "text")},
    ),
    # --- 13: recorded, but never run
    Scenario(
        "13 recorded only, at the end",
        "",
        [(NEVER_RAN, "05", [INDEX])],
        but("05") + " 05!",
        bare=[(MANUAL, "05", [INDEX])],
    ),
    Scenario(
        "13 recorded only, in its place",
        "",
        [(NEVER_RAN, "05", [INDEX])],
        ALL.replace("05", "05!"),
        bare=[(MANUAL, "05", [INDEX])],
    ),
    Scenario(
        "13 recorded only, two things", "", [(NEVER_RAN, "07", [ORDERS, POLICY])], ALL.replace("07", "07!")
    ),
    Scenario("13 recorded only, a change", "", [(NEVER_RAN, "06", [TOTAL])], ALL.replace("06", "06!")),
    Scenario(
        "13 recorded only, a busy cluster",
        "",
        [(NEVER_RAN, "07", [ORDERS, POLICY])],
        ALL.replace("07", "~ 07! ~"),
    ),
    Scenario(
        "13 recorded only, a long text",
        "",
        [(NEVER_RAN, "07", [ORDERS, POLICY])],
        ALL.replace("07", "07!"),
        files={"07": ("security", FILES["07"][1] + LONG)},
    ),
    Scenario(
        "19 a column added again, without the default that it came with",
        "alter table app.users drop column nick\nalter table app.users add column nick text",
        [(MANUAL, "11", [column("users.nick")])],
        ALL + " 11",
        files={
            "11": (
                "nick",
                "alter table app.users add column nick text;\nalter table app.users alter nick set default 'x';",
            )
        },
    ),
    Scenario(
        "13 recorded only, a drop before what is made if it is not there",
        "",
        [(NEVER_RAN, "11", [INDEX])],
        ALL + " 11! 12",
        files={
            "11": ("away", "drop index app.orders_user;"),
            "12": ("again", "create index if not exists orders_user on app.orders (user_id) where id > 0;"),
        },
    ),
    Scenario(
        "13 recorded only, and a part of it made again since",
        "",
        [(NEVER_RAN, "11", ["index app.by_email", "index app.by_joined"])],
        ALL + " 11! 12",
        files={
            "11": (
                "indexes",
                "create index by_email on app.users (email);\ncreate index by_joined on app.users (joined);\n"
                "create index by_both on app.users (email, joined);",
            ),
            "12": ("again", "create index if not exists by_both on app.users (email, joined);"),
        },
    ),
    # One thing and nobody's object ids to go by: it may as well have been dropped. The alternative is told.
    Scenario("13 recorded only, nothing after it", "", [(MANUAL, "10", [VIEW])], ALL.replace("10", "10!")),
    # --- 14 to 16: the ledger itself
    Scenario("14 all rows rewritten", "update supabase_migrations.schema_migrations set name = name"),
    Scenario("15 row deleted", f"delete from {ROW} '{version('05')}'", [(UNRECORDED, "05", [INDEX])]),
    Scenario(
        "15 row deleted, overwritten since", f"delete from {ROW} '{version('04')}'", [(MISSING, "04", [])]
    ),
    Scenario(
        "15 row deleted, others built on it",
        f"delete from {ROW} '{version('03')}'",
        [(UNRECORDED, "03", [ORDERS])],
    ),
    Scenario(
        "15 row deleted, half of it gone",
        f"delete from {ROW} '{version('09')}'\ndrop index app.log_at",
        [(PARTIAL, "09", ["index app.log_at"])],
    ),
    Scenario(
        "15 row deleted, a part dropped",
        f"delete from {ROW} '{version('09')}'\ndrop table app.log_2026",
        [(MANUAL, "09", ["table app.log_2026"]), (UNRECORDED, "09", [LOG])],
    ),
    Scenario(
        "15 row deleted, a value that later ones use, and a hand",
        f"delete from {ROW} '{version('11')}'\nalter table app.users add phone text",
        [(MANUAL, None, [column("users.phone")]), (UNRECORDED, "11", ["type app.priority"])],
        ALL + " 11 12",
        files={
            "11": ("urgent", "alter type app.priority add value 'urgent';"),
            "12": ("tasks", "create table app.tasks (rank app.priority not null default 'urgent');"),
        },
    ),
    Scenario("15 no ledger", "drop schema supabase_migrations cascade", [(UNRECORDED, None, ["schema app"])]),
    Scenario(
        "15 empty ledger",
        "delete from supabase_migrations.schema_migrations",
        [(UNRECORDED, None, ["schema app"])],
    ),
    Scenario(
        "16 restamped",
        f"update supabase_migrations.schema_migrations set version = '20260105111111' where version = '{version('05')}'",
        [(RESTAMPED, "05", [])],
    ),
    # --- 17 to 21: half-way
    Scenario(
        "17 index invalid, not recorded",
        INVALID.format("orders_user"),
        [(PARTIAL, "05", [INDEX])],
        ALL.replace("05", "05?"),
        files=CONCURRENTLY,
        ran={"05": FILES["05"][1]},
    ),
    Scenario(
        "17 index invalid, recorded",
        INVALID.format("orders_user"),
        [(PARTIAL, "05", [INDEX])],
        ALL.replace("05", "05="),
        files=CONCURRENTLY,
        ran={"05": FILES["05"][1]},
    ),
    Scenario(
        "18 left by REINDEX CONCURRENTLY",
        f"create index orders_user_ccnew on app.orders (user_id)\n{INVALID.format('orders_user_ccnew')}",
        [(MANUAL, None, ["index app.orders_user_ccnew"])],
    ),
    Scenario(
        "19 stopped after two statements",
        "",
        [(PARTIAL, "09", ["index app.log_at"])],
        "01 02 03 04 05 06 07 08 10 09?",
        ran={"09": FILES["09"][1].rpartition("create index")[0]},
    ),
    Scenario(
        "19 stopped after one statement of a table that was there",
        "",
        [(PARTIAL, "07", [POLICY])],
        "01 02 03 04 05 06 07?",
        files=dict.fromkeys(("08", "09", "10")),
        ran={"07": FILES["07"][1].partition("create policy")[0]},
    ),
    Scenario(
        "20 committed in the middle, then stopped",
        "",
        [(PARTIAL, "11", ["table app.b", "view app.c"])],
        ALL + " 11?",
        files=TWO_PARTS,
        ran={"11": "create table app.a ();"},
    ),
    Scenario(
        "19 stopped before its grants, then marked",
        "",
        [(PARTIAL, "11", ["function app.secret()"])],
        ALL + " * 11!",
        between="create function app.secret() returns int language sql as 'select 1'",
        files=GUARDED,
        bare=[(MANUAL, "11", ["function app.secret()"])],
    ),
    Scenario(
        "19 stopped before a drop, then marked",
        "",
        [(PARTIAL, "11", [VIEW])],
        ALL + " * 11!",
        between="create table app.lists (id int)",
        files={"11": ("lists", "create table app.lists (id int);\ndrop view app.open_orders;")},
        bare=[(MANUAL, "10", [VIEW])],
    ),
    Scenario(
        "19 stopped, then marked, and a hand on the rest",
        "alter table app.crew drop column name",
        [(MANUAL, "11", [column("crew.name")]), (PARTIAL, "11", ["index app.crew_age", "view app.crews"])],
        ALL + " * 11!",
        between="create table app.crew (id int, name text, age int)",
        files={
            "11": (
                "crew",
                "create table app.crew (id int, name text, age int);\n"
                "create index crew_age on app.crew (age);\ncreate view app.crews as select 1 as one;",
            )
        },
    ),
    Scenario(
        "4 the last statements of a migration undone",
        "drop view app.crews\ndrop index app.crew_age",
        [(MANUAL, "11", ["index app.crew_age"]), (MANUAL, "11", ["view app.crews"])],
        ALL + " 11",
        files={
            "11": (
                "crew",
                "create table app.crew (id int, age int);\n"
                "create index crew_age on app.crew (age);\ncreate view app.crews as select 1 as one;",
            )
        },
        bare=[(PARTIAL, "11", ["index app.crew_age", "view app.crews"])],
    ),
    # --- 22 to 26: mixtures
    Scenario(
        "22 hotfix captured",
        "",
        [],
        ALL + " * 11",
        between="alter table app.users add column phone text",
        files=PHONE,
        notes=[(CAPTURED, "11", [column("users.phone")])],
    ),
    Scenario(
        "23 hotfix captured, of another type",
        "",
        [(MANUAL, "11", [column("users.phone")])],
        ALL + " * 11",
        between="alter table app.users add column phone varchar(20)",
        files=PHONE,
    ),
    Scenario(
        "24 hotfix taken back",
        f"{HOTFIX}\n{V2.replace(chr(10), ' ').strip()}",
        [],
        files={"06": ("total_with_tax", V2.replace("\n", " ").strip())},
        notes=[(REVERTED, "06", [TOTAL])],
    ),
    Scenario(
        "25 skipped, and a hand on the same function",
        HOTFIX,
        [(MANUAL, "06", [TOTAL]), (MISSING, "06", [])],
        but("06"),
    ),
    Scenario(
        "25 skipped, and a grant on the same table",
        "grant select on app.orders to web",
        [(MANUAL, "03", [ORDERS]), (MISSING, "07", [ORDERS, POLICY])],
        but("07"),
    ),
    Scenario(
        "26 skipped, and an index beside it",
        "create index by_net on app.orders (net)",
        [(MANUAL, None, ["index app.by_net"]), (MISSING, "05", [INDEX])],
        but("05"),
    ),
    # --- 27 to 33: details of definitions
    Scenario(
        "27 constraint validated",
        "alter table app.orders validate constraint cheap",
        [(MANUAL, "11", ["table constraint cheap on app.orders"])],
        ALL + " 11",
        files={"11": ("cheap", "alter table app.orders add constraint cheap check (net < 9) not valid;")},
    ),
    Scenario(
        "28 enum value before another",
        "alter type app.priority add value 'middle' before 'high'",
        [(MANUAL, "08", ["type app.priority"])],
    ),
    Scenario(
        "30 order of columns",
        "",
        [(LATE, "11", [column("users.a")])],
        ALL + " 12 11",
        files={
            "11": ("a", "alter table app.users add column a text;"),
            "12": ("b", "alter table app.users add column b text;"),
        },
    ),
    Scenario(
        "31 default in other words",
        "alter table app.users alter column joined set default current_timestamp",
        [(MANUAL, "02", [column("users.joined")])],
    ),
    Scenario("31 default with its cast", "alter table app.orders alter column state set default 'new'::text"),
    Scenario(
        "32 sequence let go",
        "alter sequence app.orders_id_seq owned by none",
        [(MANUAL, "03", ["sequence app.orders_id_seq"])],
    ),
    Scenario(
        "33 identity, was serial",
        "",
        [(EDITED, "02", [column("users.id")])],
        edits={"02": FILES["02"][1].replace("bigint generated always as identity", "bigserial")},
    ),
    # --- 34 to 36: other names
    Scenario(
        "34 table renamed",
        "alter table app.users rename to people",
        [(MANUAL, "02", [USERS, "table app.people"])],
    ),
    Scenario(
        "34 a hand at a table that a migration renames, which has not run",
        """create policy mine on app.users using (true)
        alter table app.users alter joined drop default
        drop index app.users_by_joined""",
        [
            (MISSING, "12", ["table app.users"]),
            (MANUAL, None, ["policy mine on app.users"]),
            (MANUAL, "02", ["table column app.users.joined"]),
            (MANUAL, "11", ["index app.users_by_joined"]),
        ],
        order=f"{ALL} 11",
        files={
            "11": ("by_joined", "create index users_by_joined on app.users (joined);"),
            "12": ("people", "alter table app.users rename to people;"),
        },
    ),
    Scenario(
        "34 partitioned table renamed",
        "alter table app.log rename to events",
        [(MANUAL, "09", [LOG, "table app.events"])],
    ),
    Scenario(
        "35 table made again", f"drop table app.log\n{LOG_AGAIN}", notes=[(REVERTED, "09", ["table app.log"])]
    ),
    Scenario(
        "35 table made again, of another type",
        "drop table app.log\n" + LOG_AGAIN.replace("what text", "what varchar"),
        [(MANUAL, "09", [column("log.what")])],
    ),
    Scenario(
        "36 column renamed",
        "alter table app.users rename email to mail",
        [(MANUAL, "02", [column("users.email"), column("users.mail")])],
    ),
    Scenario(
        "36 column renamed, much used",
        "alter table app.orders rename user_id to owner_id",
        [(MANUAL, "03", [column("orders.user_id"), column("orders.owner_id")])],
    ),
    Scenario(
        "36 column dropped and another added",
        "alter table app.users drop email\nalter table app.users add mail text not null",
        [(MANUAL, "02", [column("users.email")]), (MANUAL, None, [column("users.mail")])],
    ),
    Scenario(
        "34 function renamed",
        "alter function app.total rename to cost",
        [(MANUAL, "06", [TOTAL, "function app.cost(bigint)", VIEW])],
    ),
    Scenario(
        "34 type renamed",
        "alter type app.priority rename to urgency",
        [(MANUAL, "08", ["type app.priority", "type app.urgency"])],
    ),
    Scenario(
        "34 table moved",
        "alter table app.users set schema public",
        [(MANUAL, "02", [USERS, "table public.users"])],
    ),
    Scenario(
        "34 schema renamed",
        "alter schema app rename to shop",
        [(MANUAL, "01", ["schema app", "schema shop", ORDERS, "table shop.orders"])],
    ),
    # --- 37 to 42: switches and rights
    Scenario(
        "37 trigger disabled",
        "alter table app.users disable trigger touch",
        [(MANUAL, "11", ["trigger touch on app.users"])],
        ALL + " 11",
        files=TRIGGER,
    ),
    Scenario(
        "38 row level security off",
        "alter table app.orders disable row level security",
        [(MANUAL, "07", [ORDERS])],
    ),
    Scenario(
        "39 policy widened", "alter policy own_orders on app.orders using (true)", [(MANUAL, "07", [POLICY])]
    ),
    Scenario("40 granted to all", "grant select on app.users to public", [(MANUAL, "02", [USERS])]),
    Scenario(
        "41 default privileges, then a migration",
        "",
        [(MANUAL, None, [DEFAULT_ACL, ORDERS, LOG, "table app.log_2026", VIEW])],
        "01 02 * 03 04 05 06 07 08 09 10",
        between=DEFAULTS,
    ),
    Scenario(
        "41 default privileges, then a hand",
        f"{DEFAULTS}\ncreate table app.extra (id int)",
        [(MANUAL, None, [DEFAULT_ACL]), (MANUAL, None, ["table app.extra"])],
    ),
    Scenario("42 owner of one table", "alter table app.users owner to dashboard", [(MANUAL, "02", [USERS])]),
    Scenario(
        "42 owner of all",
        "\n".join(f"alter {what} owner to dashboard" for what in EVERYTHING),
        [(INSTALLATION, None, [*EVERYTHING])],
    ),
    # --- 43 to 51: extensions, partitions, tenants
    Scenario(
        "43 extension's version",
        "",
        [(INSTALLATION, None, ["extension hstore"])],
        ALL + " 11=",
        files=HSTORE,
        ran={"11": "create extension hstore schema app version '1.4';"},
    ),
    Scenario(
        "44 extension's schema",
        "alter extension hstore set schema public",
        [(INSTALLATION, None, ["extension hstore"])],
        ALL + " 11",
        files=HSTORE,
    ),
    Scenario(
        "46 partition made",
        "create table app.log_2027 partition of app.log for values from ('2027-01-01') to ('2028-01-01')",
        [(MANUAL, None, ["table app.log_2027"])],
    ),
    Scenario(
        "47 partition detached",
        "alter table app.log detach partition app.log_2026",
        [(MANUAL, "09", ["table app.log_2026"])],
    ),
    Scenario(
        "48 some tenants lack an index",
        "\n".join(f"drop index tenant{n}.bill_id" for n in (1, 3, 4)),
        [(MANUAL, "11", [f"index tenant{n}.bill_id" for n in (1, 3, 4)])],
        ALL + " 11",
        files=TENANTS,
    ),
    Scenario(
        "48 tenants by their rows",
        "",
        [(UNKNOWN, "12", ["schema north", "table north.bill", "schema south", "table south.bill"])],
        ALL + " 11 * 12",
        between="insert into app.tenant values ('north'), ('south')",
        files=TENANTS_OF_ROWS,
    ),
    Scenario(
        "51 constraint of one partition",
        "alter table app.log_2026 add constraint said check (what <> '')",
        [(MANUAL, None, ["table constraint said on app.log_2026"])],
    ),
    # --- 54 to 60: traps
    Scenario("54 made in a block that catches errors", "", [], ALL + " 11", files=IN_A_BLOCK),
    Scenario("55 rewritten", "truncate app.users cascade\nvacuum full app.users"),
    # --- 57 and 58: squashed
    Scenario("57 squashed", "", [(REBASELINED, "00", ["schema app"])], files=SQUASHED, ran=OF_OLD),
    Scenario(
        "57 squashed into the last one's version",
        "",
        [(REBASELINED, "05", ["schema app"])],
        files={**SQUASHED, "00": None, "05": SQUASHED["00"]},
        edits={"05": FILES["05"][1]},
        ran=OF_OLD,
    ),
    Scenario(
        "57 squashed, and a hand",
        HOTFIX,
        [(MANUAL, "06", [TOTAL]), (REBASELINED, "00", ["schema app"])],
        files=SQUASHED,
        ran=OF_OLD,
    ),
    Scenario(
        "58 squashed, and a grant was lost",
        "",
        [(REBASELINED, "00", ["schema app"]), (UNKNOWN_MIGRATION, "05", [USERS])],
        files=SQUASHED,
        ran={**OF_OLD, "05": FILES["05"][1] + "grant select on app.users to web;"},
    ),
    Scenario(
        "59 from a branch",
        "",
        [(UNKNOWN_MIGRATION, "65", ["view app.branch"])],
        but("07", "08", "09", "10") + " 65 07 08 09 10",
        ran={"65": "create view app.branch as select 1 as x"},
    ),
    Scenario(
        "59 from a branch, then a hand",
        "create or replace view app.branch as select 1 as x, 2 as y",
        [(MANUAL, None, ["view app.branch"]), (UNKNOWN_MIGRATION, "65", [])],
        ALL + " 65",
        ran={"65": "create view app.branch as select 1 as x"},
    ),
]


#: The index that keeps a policy's name company; all that a file makes of what may be there already.
TAGS = {"11": ("tags", """
create table if not exists app.tags (id int primary key, name text not null);
create index if not exists tags_name on app.tags (name);""")}  # fmt: skip
LEVEL = {"11": ("level", "alter table app.users add column level int not null default 7;")}
BY_EMAIL = {
    "11": ("by_email", "create index by_email on app.users (email);\nalter table app.users add age int;")
}
#: Tools that set a savepoint before each statement: the ledger row alone has the id of the transaction itself.
SAVED = {"11": ("saved", """do $$ begin
    begin create table app.saved (id int); exception when duplicate_table then null; end;
    begin alter table app.users add note text; exception when duplicate_column then null; end;
end $$;""")}  # fmt: skip
GUARDED = "alter table app.team enable row level security;"
RENAMED = {
    "11": ("team", f"create table app.team (id int primary key);\n{GUARDED}"),
    "12": ("crew", "alter table app.team rename to crew;"),
}
FOUR_TYPES = {"11": ("types", """
alter table app.users alter email type varchar(300);
alter table app.orders alter tax type numeric(14, 2);
alter table app.orders alter net type numeric(14, 2);
alter table app.users alter joined type timestamptz(3);""")}  # fmt: skip
MATERIALIZED = {"11": ("sums", "create materialized view app.sums as select count(*) as n from app.orders;")}
EVERY_TABLE = ("app.users", "app.orders", "app.log_2026")

SCENARIOS += [
    # --- nothing: maintenance and operations write catalog rows, too
    Scenario("55n vacuum full, all", "\n".join(f"vacuum full {t}" for t in EVERY_TABLE)),
    Scenario("55n reindex", "\n".join(f"reindex table {t}" for t in EVERY_TABLE)),
    Scenario("55n reindex concurrently", "\n".join(f"reindex table concurrently {t}" for t in EVERY_TABLE)),
    Scenario(
        "55n clustered and back",
        "cluster app.users using users_pkey\nalter table app.users set without cluster",
    ),
    Scenario("55n truncated, ids from the start", "truncate app.users, app.log restart identity cascade"),
    Scenario("55n analyzed", "analyze\nvacuum\nvacuum freeze"),
    Scenario("55n sequence restarted", "alter sequence app.orders_id_seq restart with 1000"),
    Scenario(
        "55n a column with a default, then rewritten",
        "insert into app.users (email) values ('a')\nvacuum full app.users",
        order=ALL + " 11",
        files=LEVEL,
    ),
    Scenario(
        "55n a column with a default and a comment, then rewritten",
        "insert into app.users (email) values ('a')\nvacuum full app.users",
        order=ALL + " 11",
        files={
            "11": (
                "level",
                LEVEL["11"][1].replace("level", "grade")
                + "\nalter table app.users rename grade to level;\ncomment on column app.users.level is 'from 1 on';",
            )
        },
    ),
    Scenario(
        "0 a migration that asks the ledger",
        order=ALL + " 11",
        files={
            "11": (
                "asks",
                "create function app.at() returns text language sql as\n"
                "    $$ select max(version) from supabase_migrations.schema_migrations $$;",
            )
        },
    ),
    Scenario(
        "55n a materialized view refreshed",
        "refresh materialized view app.sums",
        order=ALL + " 11",
        files=MATERIALIZED,
    ),
    Scenario(
        "55n a first foreign key by hand",
        "create table app.extra (user_id bigint references app.users)",
        [(MANUAL, None, ["table app.extra"])],
    ),
    Scenario(
        "55n a first child by hand",
        "create table app.vip () inherits (app.users)",
        [(MANUAL, None, ["table app.vip"])],
    ),
    Scenario("55n blocks that catch errors", "", order=ALL + " 11", files=SAVED),
    Scenario(
        "55n one ledger row written again",
        f"update {ROW} '{version('05')}'".replace(
            "schema_migrations where", "schema_migrations set name = name where"
        ),
    ),
    Scenario(
        "55n some ledger rows written again",
        "update supabase_migrations.schema_migrations set name = name where version < '20260105'",
    ),
    Scenario("55n the same grant again", "grant select on app.users to postgres"),
    Scenario("55n a temporary table", "create temp table users (like app.users including all)"),
    Scenario(
        "55n indexes made concurrently",
        "",
        order=ALL + " 11&",
        files={"11": ("cic", "create index concurrently by_email on app.users (email);")},
    ),
    *(
        Scenario(
            f"55n one ledger row written again, {number}",
            f"update supabase_migrations.schema_migrations set name = name where version = '{version(number)}'",
            order=ALL + " 11",
            files=TAGS,
        )
        for number in ("03", "06", "07", "09", "11")
    ),
    Scenario(
        "55n rights given again by a script",
        "grant usage on schema app to postgres\ngrant execute on all functions in schema app to postgres\n"
        "comment on function app.touch() is 'again'\ncomment on function app.touch() is null",
        order=ALL + " 11 12",
        files=TRIGGER
        | {
            "12": (
                "more",
                "create function app.one() returns int language sql as 'select 1';\n"
                "create function app.two() returns int language sql as 'select 2';",
            )
        },
    ),
    Scenario(
        "55n made by an older tool, each statement for itself",
        order="01 02 03& 04 05 06& 07 08 09& 10 11&",
        files=TAGS,
    ),
    # --- by hand first, by migration then
    Scenario(
        "22 table and index captured",
        order=ALL + " * 11",
        between="create table app.tags (id int primary key, name text not null); create index tags_name on app.tags (name)",
        files=TAGS,
        notes=[(CAPTURED, "11", ["table app.tags"])],
    ),
    Scenario(
        "22 index captured, long before",
        order="01 02 03 04 05 * 06 07 08 09 10 11",
        between="create table app.tags (id int primary key, name text not null)",
        files=TAGS,
        notes=[(CAPTURED, "11", ["table app.tags"])],
    ),
    Scenario(
        "22 table captured by a migration that says more of it",
        order=ALL + " * 11",
        between="create table app.team (id int primary key)",
        files={"11": ("team", "create table if not exists app.team (id int primary key);\n" + GUARDED)},
        notes=[(CAPTURED, "11", ["table app.team"])],
    ),
    Scenario(
        "22 typed in, then recorded",
        order="01 02 03 04 05 * 06 07 08 09 10 11!",
        between="create index by_email on app.users (email); alter table app.users add age int",
        files=BY_EMAIL,
        notes=[(CAPTURED, "11", ["index app.by_email", column("users.age")])],
    ),
    # --- several statements, other names, things that only look alike
    *(
        Scenario(
            f"9 edited, and renamed since, {what}",
            expect=[(EDITED, "11", ["table app.crew"])],
            order=f"{ALL} {how} 12",
            files=RENAMED,
            edits={"11": RENAMED["11"][1].replace(GUARDED, "")},
        )
        for what, how in (("ledger as it was", "11"), ("ledger repaired", "11="))
    ),
    Scenario(
        "19 half of it typed in, then marked",
        expect=[(PARTIAL, "11", [column("orders.net"), column("users.joined")])],
        order=ALL + " * 11!",
        between="alter table app.users alter email type varchar(300); alter table app.orders alter tax type numeric(14, 2)",
        files=FOUR_TYPES,
    ),
    Scenario(
        "1 of the name of a function that a trigger executes",
        "create function app.touch(n int) returns int language sql as 'select n'",
        [(MANUAL, None, ["function app.touch(integer)"])],
        ALL + " 11",
        files=TRIGGER,
    ),
    Scenario(
        "13 recorded only, a column",
        expect=[(NEVER_RAN, "06", [column("users.nick")])],
        order=ALL.replace("06", "06!") + " 11",
        files={
            "06": ("nick", "alter table app.users add nick text;"),
            "11": ("age", "alter table app.users add age int;"),
            "10": ("none", "select 1;"),
        },
        bare=[(MANUAL, "06", [column("users.nick")])],
    ),
    # --- changed and taken back
    Scenario(
        "24 column added and dropped",
        "alter table app.users add phone text\nalter table app.users drop phone",
        notes=[(REVERTED, "02", [USERS])],
    ),
    Scenario(
        "24 policy widened and narrowed",
        "alter policy own_orders on app.orders using (true)\nalter policy own_orders on app.orders using (user_id = 1)",
        notes=[(REVERTED, "07", [POLICY])],
    ),
    Scenario(
        "24 trigger off and on",
        "alter table app.users disable trigger touch\nalter table app.users enable trigger touch",
        order=ALL + " 11",
        files=TRIGGER,
        notes=[(REVERTED, "11", ["trigger touch on app.users"])],
    ),
    Scenario(
        "24 check dropped and added",
        "alter table app.orders drop constraint net_positive\n"
        "alter table app.orders add constraint net_positive check (net >= 0)",
        notes=[(REVERTED, "03", ["table constraint net_positive on app.orders"])],
    ),
    Scenario(
        "24 foreign key dropped and added",
        "alter table app.orders drop constraint orders_user_id_fkey\n"
        "alter table app.orders add foreign key (user_id) references app.users (id)",
        notes=[(REVERTED, "03", ["table constraint orders_user_id_fkey on app.orders"])],
    ),
    Scenario(
        "24 index dropped and made again",
        f"drop index app.orders_user\n{FILES['05'][1]}",
        notes=[(REVERTED, "05", [INDEX])],
    ),
    Scenario(
        "24 key dropped and made again",
        "alter table app.users drop constraint users_pkey cascade\nalter table app.users add primary key (id)\n"
        "alter table app.orders add foreign key (user_id) references app.users (id)",
        notes=[
            (REVERTED, "02", ["table constraint users_pkey on app.users"]),
            (REVERTED, "03", ["table constraint orders_user_id_fkey on app.orders"]),
        ],
    ),
    Scenario(
        "24 view replaced and put back",
        f"{FILES['10'][1].strip().replace('create view', 'create or replace view').replace('new', 'old')}\n"
        f"{FILES['10'][1].strip().replace('create view', 'create or replace view')}",
        notes=[(REVERTED, "10", [VIEW])],
    ),
    Scenario(
        "24 renamed and back",
        "alter table app.users rename email to mail\nalter table app.users rename mail to email",
        notes=[(REVERTED, "02", [column("users.email")])],
    ),
    Scenario(
        "24 taken back, and maintenance",
        f"{HOTFIX}\n{V2.replace(chr(10), ' ').strip()}\nvacuum full app.users\nreindex table concurrently app.orders",
        files={"06": ("total_with_tax", V2.replace("\n", " ").strip())},
        notes=[(REVERTED, "06", [TOTAL])],
    ),
    Scenario(
        "36 column dropped and added, same name",
        "alter table app.users drop joined\nalter table app.users add joined timestamptz not null default now()",
        notes=[(REVERTED, "02", [column("users.joined")])],
    ),
]


@dataclass
class World:
    """The test server, prepared: repositories by content, databases by what was applied to them."""

    server: Server
    folder: Path
    repositories: dict[str, Path] = field(default_factory=dict)
    databases: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def repository(self, scenario: Scenario) -> Path:
        """A git repository with the scenario's files; each edit is a commit of its own."""
        files = {n: item for n, item in (FILES | dict(scenario.files)).items() if item}
        key = repr((sorted(files.items()), sorted(scenario.edits.items())))
        if key in self.repositories:
            return self.repositories[key]
        root = self.folder / f"repository{len(self.repositories)}"
        migrations = root / "supabase" / "migrations"
        migrations.mkdir(parents=True)
        (root / "supabase" / "config.toml").write_text('project_id = "scenarios"\n')
        git(root, "init", "--quiet", "--template=")
        git(root, "symbolic-ref", "HEAD", "refs/heads/main")
        texts = {f"{version(n)}_{name}.sql": sql for n, (name, sql) in sorted(files.items())}
        named = {n: f"{version(n)}_{name}.sql" for n, (name, _) in files.items()}
        before = texts | {named[n]: sql for n, sql in scenario.edits.items()}
        commits = [before, *({named[n]: texts[named[n]]} for n in scenario.edits)]
        stream = b"".join(_commit(number, changed) for number, changed in enumerate(commits))
        git(root, "fast-import", "--quiet", stdin=stream)
        git(root, "reset", "--hard", "--quiet")
        self.repositories[key] = root
        return root

    def database(self, scenario: Scenario) -> str:
        """A database to which the scenario's migrations were applied, and which was then tampered with."""
        files = {n: item for n, item in (FILES | dict(scenario.files)).items() if item}
        texts = {n: scenario.ran.get(n, scenario.edits.get(n, sql)) for n, (_, sql) in files.items()}
        names = {n: name for n, (name, _) in files.items()}
        words = tuple((w, texts.get(w[:2], scenario.ran.get(w[:2]))) for w in scenario.order.split())
        key = repr((words, scenario.between))
        if key not in self.databases:
            self.databases[key] = name = f"template_{len(self.databases)}"
            self.server.create_database(name)
            with self.connect(name) as connection:
                connection.execute(LEDGER)
                for word, sql in words:
                    number, how = word[:2], word[2:]
                    if sql is not None:
                        text = files[number][1] if how == "=" else sql
                        apply(connection, number, names.get(number, "from_a_branch"), sql, how, text)
                    elif word == "*":
                        connection.execute(scenario.between.encode())
                    else:
                        connection.execute(
                            "create temp table noise (a serial primary key, b text); drop table noise"
                        )
        self.count += 1
        name = f"scenario_{self.count}"
        self.server.create_database(name, template=self.databases[key])
        with self.connect(name) as connection:
            for statement in filter(None, map(str.strip, scenario.hand.split("\n"))):
                connection.execute(statement.encode())
        return name

    def connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.conninfo(name), autocommit=True)

    def explain(self, scenario: Scenario, conninfo: str) -> dict[str, Any]:
        source = Source("production", "live", conninfo)
        settings = Settings(self.repository(scenario), environments={"production": source})
        return dict(audit.explain(settings=settings).document)


def _commit(number: int, files: Mapping[str, str]) -> bytes:
    stamp = f"Ada <ada@example.org> {1767225600 + 86400 * number} +0000"
    lines = [f"commit refs/heads/main\nauthor {stamp}\ncommitter {stamp}\n{_data(f'Commit {number}')}"]
    lines += [f"M 100644 inline supabase/migrations/{name}\n{_data(text)}" for name, text in files.items()]
    return "\n".join([*lines, ""]).encode()


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}"


def apply(connection: psycopg.Connection[Any], number: str, name: str, sql: str, how: str, text: str) -> None:
    """One migration: *sql* is run and *text* recorded in one transaction; ``!``: only recorded, ``?``: only run,
    ``&``: in as many transactions as there are statements, ``%``: each statement in a savepoint, ``+``: recorded in
    the next transaction."""
    apart = contextlib.nullcontext()
    with apart if how == "&" else connection.transaction():
        for statement in split(sql) if how != "!" else ():
            with connection.transaction() if how == "%" else apart:
                connection.execute(statement.text.encode())
        if how not in ("?", "+"):
            connection.execute(RECORD, (version(number), name, [s.text for s in split(text)]))
    if how == "+":
        connection.execute(RECORD, (version(number), name, [s.text for s in split(text)]))


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(server, tmp_path_factory.mktemp("world"))
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        for role in ("dashboard", "web"):
            connection.execute(f"create role {role}".encode())
    yield made
    for name in [*(f"scenario_{n + 1}" for n in range(made.count)), *made.databases.values()]:
        server.drop_database(name)
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("drop role dashboard, web")


def told(document: Mapping[str, Any], *, notes: bool = False) -> list[tuple[str, str | None, list[str]]]:
    """Cause, culprit (as in FILES) and objects of every finding that is more than a note; or of the notes."""
    found = [
        (
            f["cause"],
            f["migration"]["version"][6:8] if f["migration"] else None,
            [f"{o['kind']} {o['identity']}" for o in f["objects"]],
        )
        for f in document["findings"]
        if (f["severity"] == "info") == notes
    ]
    return sorted(found, key=repr)


def found_exactly(document: Mapping[str, Any], expected: Sequence[Expected]) -> None:
    """Right causes, right culprits, the objects named, everything explained, and nothing else."""
    found = told(document)
    wanted = sorted(expected, key=repr)
    assert [(cause, culprit) for cause, culprit, _ in found] == [
        (cause, culprit) for cause, culprit, _ in wanted
    ]
    for (_, _, named), (_, _, objects) in zip(found, wanted, strict=True):
        assert set(objects) - set(named) == set()
    assert document["residual"] == 0
    ids = [f["id"] for f in document["findings"]]
    assert len(set(ids)) == len(ids)
    assert all(f["evidence"] for f in document["findings"])
    assert bool(found) == (document["verdict"] in ("FAIL", "WARN"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_cause_and_culprit_are_right_and_nothing_else_is_reported(world: World, scenario: Scenario) -> None:
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    found_exactly(document, scenario.expect)
    assert told(document, notes=True) == sorted(scenario.notes, key=repr)


#: After this, all rows of the ledger bear one transaction id, as after a restore or a bulk repair.
REWRITTEN = "update supabase_migrations.schema_migrations set name = name"


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if "supabase_migrations" not in s.hand], ids=lambda s: s.name
)
def test_without_transaction_ids_less_is_known_and_nothing_false(world: World, scenario: Scenario) -> None:
    bare = replace(scenario, hand=f"{scenario.hand}\n{REWRITTEN}")
    document = world.explain(bare, world.server.conninfo(world.database(bare)))
    found_exactly(document, scenario.expect if scenario.bare is None else scenario.bare)
    assert told(document, notes=True) == []
    assert "xmin" not in {e["signal"] for f in document["findings"] for e in f["evidence"]}


def by_name(name: str) -> Scenario:
    return next(s for s in SCENARIOS if s.name == name)


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("38 row level security off", "critical"),
        ("39 policy widened", "critical"),
        ("40 granted to all", "high"),
        ("30 order of columns", "low"),
        ("42 owner of all", "low"),
        ("36 column renamed, much used", "high"),
        ("6 not yet applied", "low"),
    ],
)
def test_how_bad_it_is(world: World, name: str, severity: str) -> None:
    scenario = by_name(name)
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    assert {f["severity"] for f in document["findings"]} == {severity}


def test_a_restored_database_has_the_same_drift_on_less_evidence(world: World, tmp_path: Path) -> None:
    """Scenario 52: a restore gives all ledger rows one transaction id, and all objects other ones."""
    scenario = Scenario("52", f"{HOTFIX}\ndrop index app.orders_user", order=but("08"))
    before, after = world.database(scenario), "restored"
    world.server.create_database(after)
    bindir, dump = world.server.binaries.bindir, tmp_path / "dump"
    subprocess.run([bindir / "pg_dump", "-Fc", "-f", dump, world.server.conninfo(before)], check=True)
    subprocess.run([bindir / "pg_restore", "-d", world.server.conninfo(after), dump], check=True)
    try:
        drifted, restored = (world.explain(scenario, world.server.conninfo(name)) for name in (before, after))
    finally:
        world.server.drop_database(after)
    expected: list[Expected] = [
        (MANUAL, "05", [INDEX]), (MANUAL, "06", [TOTAL]), (MISSING, "08", ["type app.priority"]),
    ]  # fmt: skip
    found_exactly(drifted, expected)
    found_exactly(restored, expected)
    assert [d["environments"][0]["calibration"]["link"] for d in (drifted, restored)] == ["exact", "none"]
    assert {
        f["confidence"] for f in restored["findings"] if f["objects"][0]["identity"] == "app.orders_user"
    } == {"conjecture"}


def restored(world: World, name: str, folder: Path, *options: str) -> str:
    """A copy of a database, made by pg_dump and pg_restore."""
    copy, dump, bindir = f"{name}_restored", folder / "dump", world.server.binaries.bindir
    world.server.create_database(copy)
    world.databases[copy] = copy
    subprocess.run([bindir / "pg_dump", "-Fc", "-f", dump, world.server.conninfo(name)], check=True)
    subprocess.run([bindir / "pg_restore", *options, "-d", world.server.conninfo(copy), dump], check=True)
    return copy


def calibration(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(document["environments"][0]["calibration"])


BACK = {"06": ("total_with_tax", V2.replace("\n", " ").strip())}
TAKEN_BACK = f"{HOTFIX}\n{BACK['06'][1]}"


def test_a_restore_in_one_transaction_makes_everything_match_and_is_seen_through(
    world: World, tmp_path: Path
) -> None:
    scenario = Scenario("52", f"{TAKEN_BACK}\ndrop index app.orders_user", order=but("08"), files=BACK)
    document = world.explain(
        scenario,
        world.server.conninfo(restored(world, world.database(scenario), tmp_path, "--single-transaction")),
    )
    found_exactly(document, [(MANUAL, "05", [INDEX]), (MISSING, "08", ["type app.priority"])])
    assert told(document, notes=True) == []
    assert "a restore in a single transaction" in calibration(document)["says"]


def test_what_was_applied_since_a_restore_is_believed_and_nothing_before_is(
    world: World, tmp_path: Path
) -> None:
    scenario = Scenario("52 and on", TAKEN_BACK, order=but("08", "09", "10"), files=BACK)
    copy = restored(world, world.database(scenario), tmp_path)
    view = FILES["10"][1].strip().replace("create view", "create or replace view")
    with world.connect(copy) as connection:
        for number in ("08", "09", "10"):
            apply(connection, number, *FILES[number], "", FILES[number][1])
        for hand in (*TAKEN_BACK.split("\n"), view.replace("'new'", "'old'"), view):
            connection.execute(hand.encode())
    document = world.explain(scenario, world.server.conninfo(copy))
    found_exactly(document, [])
    assert told(document, notes=True) == [(REVERTED, "10", [VIEW])]
    assert calibration(document)["link"] == "exact"
    assert [item["signal"] for item in calibration(document)["dropped"]] == ["xmin of the ledger"]


@pytest.mark.parametrize(
    ("name", "signal", "words"),
    [
        ("36 column dropped and another added", "column numbers", "it was not renamed"),
        ("28 enum value before another", "enum labels", "'middle' was added after the type was made"),
    ],
)
def test_traces_support_what_a_hand_did(world: World, name: str, signal: str, words: str) -> None:
    scenario = by_name(name)
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    evidence = [e for f in document["findings"] for e in f["evidence"] if e["signal"] == signal]
    assert len(evidence) == 1
    assert words in evidence[0]["says"]


def test_a_clone_shows_what_was_there_before_and_what_came_since(world: World) -> None:
    """staging was made of production by CREATE DATABASE … TEMPLATE; a third database was built apart."""
    scenario = Scenario(
        "clone", "create table app.notes (t text)\nalter table app.users add column phone text"
    )
    production = world.database(scenario)
    staging, apart = (
        f"{production}_clone",
        world.database(replace(scenario, order="01 02 03 04 05 06 08 07 09 10")),
    )
    world.server.create_database(staging, template=production)
    world.databases[staging] = staging
    with world.connect(staging) as connection:
        connection.execute("alter table app.log rename to events")
        connection.execute("drop index app.orders_user")
        connection.execute(HOTFIX)
    sources = {
        name: Source(name, "live", world.server.conninfo(database))
        for name, database in (("production", production), ("staging", staging), ("apart", apart))
    }
    document = audit.explain(settings=Settings(world.repository(scenario), environments=sources)).document
    told_by: dict[str, dict[str, list[str]]] = {}
    for finding in document["findings"]:
        says = [
            e["says"].partition("; ")[2] or e["says"] for e in finding["evidence"] if e["signal"] == "clone"
        ]
        told_by.setdefault(finding["environment"], {})[finding["objects"][0]["identity"]] = says
    assert told_by["production"]["app.notes"] == [
        "table app.notes is the very same in staging: it was so before they parted."
    ]
    assert told_by["staging"]["app.orders_user"] == [
        "index app.orders_user was in both, and was dropped from staging since."
    ]
    assert told_by["staging"]["app.total(bigint)"] == [
        "function app.total(bigint) was written in staging since."
    ]
    assert "renamed, not made anew" in told_by["staging"]["app.log"][0]
    assert not any(any(found.values()) for found in [told_by["apart"]])


@pytest.mark.parametrize(("how", "links"), [("%", {"adjacent", "subtransaction"}), ("+", {"adjacent"})])
def test_tools_that_record_apart_are_told_by_how_often_it_fits(
    world: World, how: str, links: set[str]
) -> None:
    order = " ".join(f"{number}{how}" for number in [*ALL.split(), "11"])
    scenario = Scenario("tool", order=order, files=BACK | SAVED)
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    found_exactly(document, [])
    assert told(document, notes=True) == []
    assert calibration(document)["link"] in links
    hand = replace(scenario, hand=f"{TAKEN_BACK}\ndrop index app.orders_user")
    document = world.explain(hand, world.server.conninfo(world.database(hand)))
    found_exactly(document, [(MANUAL, "05", [INDEX])])
    assert [(f["cause"], f["confidence"]) for f in document["findings"] if f["severity"] == "info"] in (
        [(REVERTED, "conjecture")],
        [],
    )


@pytest.mark.parametrize(
    ("hand", "verdict"), [("", "INCOMPLETE"), (HOTFIX, "FAIL"), ("drop index app.orders_user", "FAIL")]
)
def test_without_the_ledger_nobody_is_blamed(world: World, hand: str, verdict: str) -> None:
    """Scenario 62: the role may read all catalogs, and not the ledger."""
    scenario = Scenario("62", hand)
    database = world.database(scenario)
    with world.connect(database) as connection:
        connection.execute("alter role web login")
        connection.execute("grant usage on schema supabase_migrations to web")
    document = world.explain(scenario, world.server.conninfo(database, user="web"))
    assert document["verdict"] == verdict
    assert {cause for cause, _, _ in told(document)} == ({UNKNOWN} if hand else set())
    assert any("supabase_migrations" in item["what"] + item["why"] for item in document["not_checked"])


def test_findings_keep_their_ids_and_words(world: World) -> None:
    scenario = by_name("25 skipped, and a hand on the same function")
    conninfo = world.server.conninfo(world.database(scenario))
    first, again = (world.explain(scenario, conninfo)["findings"] for _ in range(2))
    for finding in (*first, *again):
        finding["timeline"] = [e for e in finding["timeline"] if e["source"] != "capture"]
        if finding["proof"]:
            assert finding["proof"].pop("seconds") >= 0  # the second time it comes from the cache
    assert first == again


@pytest.mark.parametrize(
    ("name", "hypothesis", "before", "after", "confidence"),
    [
        ("5 skipped", "Without", 1, 0, "proven"),
        ("9 edited", "With the text of", 1, 0, "proven"),
        ("13 recorded only, in its place", "Without", 1, 0, "proven"),
        ("13 recorded only, a change", "Without", 1, 0, "proven"),
        ("19 stopped after two statements", "ran no further than 2 of 3 statements", 1, 0, "consistent"),
        ("25 skipped, and a grant on the same table", "Without", 3, 1, "proven"),
    ],
)
def test_the_replay_that_was_run_is_told(
    world: World, name: str, hypothesis: str, before: int, after: int, confidence: str
) -> None:
    scenario = by_name(name)
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    (finding,) = (f for f in document["findings"] if f["cause"] != MANUAL)
    proof = finding["proof"]
    assert hypothesis in proof["hypothesis"]
    assert (proof["ran"], proof["residual_before"], proof["residual_after"]) == (True, before, after)
    assert finding["confidence"] == confidence
    assert all(f["proof"] is None for f in document["findings"] if f["cause"] == MANUAL)


def test_one_hand_can_undo_a_migration_of_one_effect_so_neither_is_proven(world: World) -> None:
    """Dropped by hand, or recorded and never run: the same content, told apart by the server's traces alone."""
    dropped, never_ran = by_name("4 index dropped"), by_name("13 recorded only, in its place")
    for scenario in (dropped, never_ran):
        bare = replace(scenario, hand=f"{scenario.hand}\n{REWRITTEN}")
        (finding,) = world.explain(bare, world.server.conninfo(world.database(bare)))["findings"]
        told = {finding["cause"], *(a["cause"] for a in finding["alternatives"])}
        assert told >= {MANUAL, NEVER_RAN}
        assert finding["confidence"] != "proven"


def test_an_environment_that_agrees_is_not_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("a trial was run")

    monkeypatch.setattr("auditkit.causes.laboratory.attempt", never)
    scenario = by_name("0 nothing")
    assert world.explain(scenario, world.server.conninfo(world.database(scenario)))["findings"] == []


def test_an_empty_database_lacks_everything(world: World) -> None:
    scenario = Scenario("empty", "drop schema app cascade\ndrop schema supabase_migrations cascade")
    document = world.explain(scenario, world.server.conninfo(world.database(scenario)))
    found_exactly(document, [(MISSING, number, []) for number in FILES])
    assert (document["verdict"], {f["confidence"] for f in document["findings"]}) == ("WARN", {"proven"})


# --- other tools -----------------------------------------------------------------------------------------


def dbmate(world: World, edited: bool) -> tuple[Settings, str]:
    """Plain SQL files; the ledger stores versions and nothing else."""
    root = world.folder / f"dbmate{world.count}"
    (root / "db" / "migrations").mkdir(parents=True)
    world.count += 1
    name = f"scenario_{world.count}"
    world.server.create_database(name)
    git(root, "init", "--quiet", "--template=")
    git(root, "symbolic-ref", "HEAD", "refs/heads/main")
    texts = {
        f"db/migrations/{version(n)}_{what}.sql": f"-- migrate:up\n{sql}\n\n-- migrate:down\n"
        for n, (what, sql) in FILES.items()
    }
    commits = [texts]
    if edited:
        total = next(path for path in texts if "total_with_tax" in path)
        commits = [texts | {total: texts[total].replace("net + tax", "net + tax + 1")}, {total: texts[total]}]
    git(root, "fast-import", "--quiet", stdin=b"".join(_commit(n, c) for n, c in enumerate(commits)))
    git(root, "reset", "--hard", "--quiet")
    with world.connect(name) as connection:
        connection.execute("create table public.schema_migrations (version varchar primary key)")
        for path, sql in commits[0].items():
            with connection.transaction():
                connection.execute(sql.split("-- migrate:down")[0].encode())
                stamp = Path(path).name.split("_")[0]
                connection.execute("insert into public.schema_migrations values (%s)", (stamp,))
    source = Source("production", "live", world.server.conninfo(name))
    return Settings(root, environments={"production": source}), name


@pytest.mark.parametrize("done", [0, 2])
def test_golang_migrate_dirty(world: World, done: int) -> None:
    """Scenario 21: one row for all, and it says that the last one failed."""
    root = world.folder / f"golang{done}"
    (root / "migrations").mkdir(parents=True)
    for number, (what, sql) in FILES.items():
        (root / "migrations" / f"0000{number}_{what}.up.sql").write_text(sql)
    name = world.database(Scenario(f"golang {done}", order=""))
    with world.connect(name) as connection:
        connection.execute("drop schema supabase_migrations cascade")
        for number, (_, sql) in FILES.items():
            statements = [s.text for s in split(sql)]
            for text in statements[:done] if number == "09" else statements if number < "09" else ():
                connection.execute(text.encode())
        connection.execute(
            "create table schema_migrations (version bigint not null primary key, dirty boolean not null)"
        )
        connection.execute("insert into schema_migrations values (9, true)")
    source = Source("production", "live", world.server.conninfo(name))
    document = audit.explain(settings=Settings(root, environments={"production": source})).document
    found = {(f["cause"], f["migration"]["name"]): f for f in document["findings"]}
    assert found.keys() == {(PARTIAL, "log"), (MISSING, "open_orders")}
    half = found[PARTIAL, "log"]
    assert half["title"].endswith(
        "stopped in production after 2 of 3 statements" if done else "nothing of it is there"
    )
    assert (half["confidence"], half["alternatives"]) == ("proven", [])


def test_what_a_ledger_without_texts_cannot_tell_git_can(world: World) -> None:
    settings, _ = dbmate(world, edited=True)
    document = audit.explain(settings=settings).document
    found_exactly(document, [(EDITED, "06", [TOTAL])])
    (finding,) = document["findings"]
    assert finding["confidence"] == "proven"
    assert [e["signal"] for e in finding["evidence"]] == ["git", "replay"]


def test_dbmate_skipped_unrecorded_and_by_hand(world: World) -> None:
    settings, name = dbmate(world, edited=False)
    with world.connect(name) as connection:
        connection.execute(HOTFIX)
        connection.execute("drop type app.priority")
        for number in ("08", "05"):
            connection.execute("delete from public.schema_migrations where version = %s", (version(number),))
    found_exactly(
        audit.explain(settings=settings).document,
        [(MANUAL, "06", [TOTAL]), (MISSING, "08", ["type app.priority"]), (UNRECORDED, "05", [INDEX])],
    )


def test_migrations_that_are_code_are_judged_by_the_ledger_alone(world: World) -> None:
    """Alembic: its revisions are not replayed yet, so the verdict is no better than INCOMPLETE."""
    root = world.folder / "alembic"
    (root / "alembic" / "versions").mkdir(parents=True)
    (root / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n")
    for revision, down in (
        ("aaaa11112222", None),
        ("bbbb11112222", "aaaa11112222"),
        ("cccc11112222", "bbbb11112222"),
    ):
        (root / "alembic" / "versions" / f"{revision}_step.py").write_text(
            f'"""step"""\nrevision = "{revision}"\ndown_revision = {down!r}\n\ndef upgrade():\n    pass\n'
        )
    database = world.database(Scenario("alembic", order=""))
    with world.connect(database) as connection:
        connection.execute("create table alembic_version (version_num varchar(32) primary key)")
        connection.execute("insert into alembic_version values ('bbbb11112222')")
    source = Source("production", "live", world.server.conninfo(database))
    document = audit.explain(settings=Settings(root, environments={"production": source})).document
    assert [(f["cause"], f["migration"]["version"]) for f in document["findings"]] == [
        (MISSING, "cccc11112222")
    ]
    assert document["verdict"] == "INCOMPLETE"
