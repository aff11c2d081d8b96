"""Reading catalogs: every kind, on real servers, as PostgreSQL itself names and restores things."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import psycopg
import pytest
import tools
from catalog import copy, every_kind, execute, facts, load, snap

from auditkit import server as servers
from auditkit.catalog import capture as capturing
from auditkit.catalog.capture import NEWEST, OLDEST, capture, read_facts, touched
from auditkit.catalog.compare import compare
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Snapshot
from auditkit.connect import connect
from auditkit.server import Server

#: Composed kinds: the address is that of a row which pg_identify_object does not know, or names otherwise.
COMPOSED = {"database", "setting", "role membership", "initial privileges"}


@pytest.fixture(scope="module")
def home() -> Iterator[Server]:
    """A server of its own, as the schema makes roles, with the schema in database ``every``."""
    settings = {"wal_level": "logical", "log_statement": "none"}
    with servers.start(label="catalog", settings=settings) as server:
        server.create_database("every")
        load(server, "every", every_kind(server.version // 10000))
        yield server


@pytest.fixture(scope="module")
def every(home: Server) -> Snapshot:
    return snap(home.conninfo("every"), name="every")


def test_every_kind_of_the_registry_is_in_the_schema(every: Snapshot) -> None:
    assert set(KINDS) - set(every.kinds) == set()


def test_identity_and_kind_are_those_of_pg_identify_object(home: Server, every: Snapshot) -> None:
    with connect(home.conninfo("every")) as connection:
        for fact in every.iter():
            if fact.kind not in COMPOSED:
                named = connection.execute(
                    "SELECT type, identity FROM pg_identify_object(%s::int8::oid, %s::int8::oid, %s)",
                    fact.address,
                ).fetchone()
                assert named == fact.key


def test_every_attribute_is_away_from_its_default_somewhere(every: Snapshot) -> None:
    """An attribute that is the same in all facts of the schema is one that no test looks at."""
    constant = {
        (kind, name)
        for kind in every.kinds
        for name, values in zip(
            every.tables[kind].attributes, zip(*every.tables[kind].values, strict=True), strict=True
        )
        if set(values) == {None} and name not in ("comment", "security_labels")
    }
    assert constant - NEVER_SET == set()


#: (kind, attribute) pairs the schema leaves NULL: what only superusers of the server's file system, ICU builds
#: or C code can set, and options that the kinds share but the object cannot have.
NEVER_SET = {
    ("aggregate", "serialize"), ("aggregate", "deserialize"), ("aggregate", "grants"),
    ("collation", "rules"), ("extension", "grants"), ("foreign table", "grants"), ("foreign table", "inherits"),
    ("foreign table", "partition_bound"), ("function", "transforms"), ("materialized view", "grants"),
    ("materialized view", "tablespace"), ("index", "tablespace"), ("table", "tablespace"), ("type", "canonical"),
    ("type", "element"), ("foreign-data wrapper", "handler"), ("foreign-data wrapper", "validator"),
    ("procedure", "support"), ("procedure", "returns"), ("procedure", "library"),
    ("procedure", "transforms"), ("procedure", "grants"),
    ("operator of access method", "sort_family"), ("setting", "grants"), ("schema", "grants"),
    *((f"{relation} column", name) for relation in ("view", "materialized view", "foreign table")
      for name in ("grants", "default", "identity_generation", "generated", "storage", "compression", "options",
                   "foreign_options", "statistics_target", "collation", "not_null", "not_null_name",
                   "not_null_comment", "declared")),
    ("table column", "foreign_options"), ("table column", "not_null_comment"), ("type", "not_null_comment"),
    ("type", "not_null_name"),
}  # fmt: skip


def test_a_dumped_and_restored_database_gives_no_delta(home: Server, every: Snapshot) -> None:
    with servers.start(label="copy", settings={"wal_level": "logical"}) as target:
        copy(home, "every", target)
        restored = snap(target.conninfo("every"))
    assert compare(every, restored).deltas == []
    assert every.fingerprint == restored.fingerprint


def test_two_captures_are_equal(home: Server, every: Snapshot) -> None:
    again = snap(home.conninfo("every"))
    assert facts(again) == facts(every)
    assert again.fingerprint == every.fingerprint
    assert compare(every, again).deltas == []


def test_in_slices_and_by_two_sessions_the_facts_are_the_same(
    home: Server, every: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "BIG", 10)
    monkeypatch.setattr(capturing, "SLICE", 20)
    assert snap(home.conninfo("every")).fingerprint == every.fingerprint


def test_what_no_kind_describes_is_counted(every: Snapshot) -> None:
    assert every.unmodelled == [{"kind": "large object", "count": 1, "examples": ["424242"]}]


def test_what_create_leaves_out_belongs_to_the_whole(every: Snapshot) -> None:
    """Whoever makes an object again wants its row security and its disabled trigger, too."""

    def whole(kind: str, identity: str) -> list[str]:
        fact = every.get(kind, identity)
        assert fact is not None
        return KINDS[kind].whole(fact, every)[1:]

    assert whole("table", "app.people") == [
        "ALTER TABLE app.people REPLICA IDENTITY FULL",
        "ALTER TABLE app.people ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.people FORCE ROW LEVEL SECURITY",
    ]
    assert whole("trigger", "off on app.people") == ["ALTER TABLE app.people DISABLE TRIGGER off"]


def test_no_secret_is_in_a_snapshot(every: Snapshot, tmp_path: object) -> None:
    text = "\n".join(repr(fact) for fact in every.iter()) + repr(every.manifest)
    assert "hunter2" not in text
    assert every.get("server", "ek_server").attributes["options"] == ("host=h", "password=***")  # type: ignore[union-attr]
    assert every.get("user mapping", "ek_reader on server ek_server").attributes["options"] == (  # type: ignore[union-attr]
        "password=***",
        "user=remote",
    )


def test_members_of_extensions_are_attributed_to_them(every: Snapshot) -> None:
    members = {fact.extension for fact in every.iter()}
    assert members == {None, "btree_gist", "citext"}
    citext = every.get("type", "app.citext")
    assert citext is not None
    assert citext.extension == "citext"


def test_edges_have_facts_at_both_ends(every: Snapshot) -> None:
    keys = {fact.key for fact in every.iter()}
    assert len(every.edges) > 100
    assert set(map(tuple, every.edges[["kind", "identity"]].values)) <= keys
    assert set(map(tuple, every.edges[["on_kind", "on_identity"]].values)) <= keys
    people = ("table", "app.people")
    assert ("view", "app.adults") in every.dependents(("table column", "app.people.born"))
    assert ("policy", "own on app.people") in every.dependents(people)
    assert people in every.holders(("index", "app.people_mood")) | every.holders(
        ("policy", "own on app.people")
    )


def test_a_role_that_may_only_log_in_reads_the_same_and_writes_nothing(home: Server, every: Snapshot) -> None:
    execute(home.conninfo("every"), "CREATE ROLE ek_auditor LOGIN")
    log = home.datadir.parent
    try:
        execute(home.conninfo("postgres"), "ALTER ROLE ek_auditor SET log_statement = 'mod'")
        snapshot = snap(home.conninfo("every", user="ek_auditor"))
    finally:
        execute(home.conninfo("every"), "DROP ROLE ek_auditor")
    assert log
    assert compare(every, snapshot).deltas == compare(snapshot, every).deltas == []
    assert [note["what"] for note in snapshot.manifest["not_checked"]] == ["options of user mappings"]


def test_an_audit_session_cannot_write(home: Server) -> None:
    with connect(home.conninfo("every")) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE app.mine ()")


def test_partial_reading_gives_the_facts_of_the_relation(home: Server, every: Snapshot) -> None:
    people = every.get("table", "app.people")
    assert people is not None
    with connect(home.conninfo("every")) as connection:
        found = {f.key: f for f in read_facts(connection, relations=[people.oid]).facts}
    expected = {f.key: f for f in every.iter() if f.anchor in (people.oid, 0) or f.oid == people.oid}
    assert {
        k: f.attributes for k, f in found.items() if f.kind != "sequence" and "publication" not in f.kind
    } == {k: f.attributes for k, f in expected.items() if f.kind != "sequence"}
    assert all(found[key].rows == fact.rows for key, fact in expected.items() if key in found)


CHANGES = [
    "ALTER TABLE app.people ALTER num SET DEFAULT 4",
    "CREATE TABLE app.new (a integer PRIMARY KEY, b text DEFAULT 'x', FOREIGN KEY (a) REFERENCES app.people)",
    "COMMENT ON COLUMN app.people.num IS 'other'",
    "COMMENT ON CONSTRAINT late ON app.people IS 'other'",
    "CREATE ROLE ek_new",
    "GRANT ek_new TO ek_reader",
    "CREATE VIEW app.seen AS SELECT * FROM app.people",
    "CREATE TYPE app.colour AS ENUM ('red')",
    "ALTER TYPE app.colour ADD VALUE 'green'",
    "CREATE TYPE app.pair AS (x integer, y integer)",
    "ALTER TYPE app.pair ADD ATTRIBUTE more text, DROP ATTRIBUTE x",
    "ALTER DATABASE every SET work_mem = '9MB'",
    "GRANT SELECT ON app.parent TO ek_reader",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ek_reader",
    "ALTER SEQUENCE app.free OWNED BY app.parent.a",
    "CREATE EXTENSION hstore SCHEMA app",
    "ALTER TABLE app.events DETACH PARTITION app.events_rest",
    "CREATE TRIGGER late AFTER INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.touch()",
    "ALTER TEXT SEARCH CONFIGURATION app.configuration ADD MAPPING FOR url WITH simple",
    "ALTER DOMAIN app.positive DROP NOT NULL",
    "ALTER OPERATOR FAMILY app.moods USING btree ADD FUNCTION 2 (app.mood, app.mood) btint4sortsupport(internal)",
    "ALTER PUBLICATION ek_some ADD TABLE app.parent",
    "ALTER ROLE ek_owner CREATEDB NOCREATEROLE",
]


def test_following_touched_rows_keeps_facts_current(home: Server) -> None:
    """What the shadow replay does after every migration must give what a full read gives."""
    home.create_database("followed", template="every")
    try:
        with connect(home.conninfo("followed")) as reader:
            known = {fact.key: fact for fact in read_facts(reader).facts}
            for change in CHANGES:
                row = reader.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8").fetchone()
                assert row
                execute(home.conninfo("followed"), change.replace("every", "followed"))
                rows = touched(reader, range(row[0], row[0] + 20))
                assert rows, change
                there = {fact.oid for fact in known.values() if fact.anchor in rows.anchors}
                reading = read_facts(reader, touched=rows, known=there)
                again = {fact.key: fact for fact in reading.facts}
                gone = {k for k, f in known.items() if f.anchor in rows.anchors and f.kind in rows.kinds}
                known = {k: f for k, f in known.items() if k not in gone} | again
                full = {fact.key: fact for fact in read_facts(reader).facts}
                assert {k: f.attributes for k, f in known.items()} == {
                    k: f.attributes for k, f in full.items()
                }, change
                if change != "CREATE ROLE ek_new":  # nothing in the database refers to it yet
                    assert any(x >= row[0] for fact in again.values() for x in fact.xmins), change
    finally:
        home.drop_database("followed")
        execute(home.conninfo("every"), "DROP ROLE ek_new", "ALTER ROLE ek_owner CREATEROLE")


def test_what_the_server_keeps_in_a_columns_options_is_no_option(home: Server) -> None:
    """As of November 2026 PostgreSQL's minor releases keep a number there, another one for each relation."""
    home.create_database("kept")
    try:
        execute(
            home.conninfo("kept"),
            "CREATE TABLE t (a int, b int)",
            "ALTER TABLE t ALTER a SET (n_distinct = 5, n_distinct_inherited = 6)",
        )
        before = snap(home.conninfo("kept"))
        execute(
            home.conninfo("kept"),
            "SET allow_system_table_mods = on; UPDATE pg_attribute SET attoptions = "
            "ARRAY['pg_attver=6365648'] || coalesce(attoptions, '{}') WHERE attrelid = 't'::regclass",
        )
        after = snap(home.conninfo("kept"))
        assert compare(before, after).deltas == []
        told = [after.get("table column", f"public.t.{name}") for name in "ab"]
        assert [fact and fact.attributes["options"] for fact in told] == [
            ("n_distinct=5", "n_distinct_inherited=6"),
            None,
        ]
    finally:
        home.drop_database("kept")


def test_a_change_while_reading_makes_it_start_over(home: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    home.create_database("moving", template="every")
    conninfo = home.conninfo("moving")
    reads = []
    original = capturing._read

    def read(*arguments: object, **options: object) -> object:
        result = original(*arguments, **options)  # type: ignore[arg-type]
        reads.append(1)
        if len(reads) == 1:
            execute(conninfo, "ALTER TABLE app.parent ADD COLUMN late integer")
        return result

    monkeypatch.setattr(capturing, "_read", read)
    snapshot = snap(conninfo)
    assert len(reads) == 2
    assert snapshot.get("table column", "app.parent.late") is not None
    home.drop_database("moving")


@pytest.mark.parametrize(
    ("change", "catalog"),
    [
        ("ALTER TABLE app.parent ALTER b SET STATISTICS {n}", "pg_attribute"),
        ("ALTER SEQUENCE app.free OWNED BY {owner}", "pg_depend"),
        ("ALTER ROLE ek_owner CONNECTION LIMIT {n}", "pg_roles"),
        ("COMMENT ON TABLE app.parent IS '{n}'", "pg_description"),
        ("ALTER DATABASE moving SET work_mem = '{n}MB'", "pg_db_role_setting"),
    ],
)
def test_a_catalog_that_never_stands_still_is_incomplete_and_named(
    home: Server, monkeypatch: pytest.MonkeyPatch, change: str, catalog: str
) -> None:
    home.create_database("moving", template="every")
    conninfo = home.conninfo("moving")
    original = capturing._read
    count = iter(range(20, 99))

    def read(*arguments: object, **options: object) -> object:
        result = original(*arguments, **options)  # type: ignore[arg-type]
        n = next(count)
        execute(conninfo, change.format(n=n, owner="NONE" if n % 2 else "app.parent.a"))
        return result

    monkeypatch.setattr(capturing, "_read", read)
    try:
        snapshot = capture(conninfo)
    finally:
        home.drop_database("moving")
        execute(home.conninfo("every"), "ALTER ROLE ek_owner CONNECTION LIMIT 7")
    assert snapshot.manifest["status"] == "incomplete"
    assert catalog in snapshot.manifest["not_checked"][0]["why"]


def test_temporary_tables_do_not_disturb(home: Server, every: Snapshot) -> None:
    stop = threading.Event()

    def busy() -> None:
        with psycopg.connect(home.conninfo("every"), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute(
                    "CREATE TEMP TABLE scratch (a int PRIMARY KEY DEFAULT 1, b text CHECK (b <> ''))"
                )
                connection.execute("CREATE TEMP VIEW v AS SELECT * FROM scratch")
                connection.execute("DROP TABLE scratch CASCADE")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        snapshot = snap(home.conninfo("every"))
    finally:
        stop.set()
        thread.join()
    assert compare(every, snapshot).deltas == []
    assert snapshot.fingerprint == every.fingerprint


def test_a_locked_view_is_named_and_the_rest_is_read(home: Server, every: Snapshot) -> None:
    with psycopg.connect(home.conninfo("every")) as connection:
        connection.execute("LOCK TABLE app.adults IN ACCESS EXCLUSIVE MODE")
        snapshot = capture(home.conninfo("every"))
        connection.rollback()
    assert snapshot.manifest["status"] == "incomplete"
    named = [note["what"] for note in snapshot.manifest["not_checked"]]
    assert "definition of view app.adults" in named
    assert all(
        what.endswith(("app.adults", "app.people")) for what in named
    )  # a view's tables are locked with it
    assert compare(every, snapshot).deltas == []  # unknown is neither missing nor changed


def test_views_are_read_without_holding_locks_until_the_end(home: Server) -> None:
    """A second statement on the session must not find locks of the first."""
    with connect(home.conninfo("every")) as connection:
        capture(connection)
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE relation >= 16384").fetchone()
    assert row == (0,)


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("major", [14, 15, 16, 17])
def test_other_major_versions(major: int) -> None:
    binaries = tools.postgres_binaries(major)
    with (
        servers.start(binaries=binaries, settings={"wal_level": "logical"}) as server,
        servers.start(binaries=binaries, settings={"wal_level": "logical"}) as target,
    ):
        server.create_database("every")
        load(server, "every", every_kind(major))
        snapshot = snap(server.conninfo("every"))
        missing = {"publication namespace"} if major < 15 else set()
        assert set(KINDS) - set(snapshot.kinds) == missing
        with connect(server.conninfo("every")) as connection:
            for fact in snapshot.iter():
                if fact.kind not in COMPOSED:
                    named = connection.execute(
                        "SELECT type, replace(identity, ' on language ', ' language ')"  # of a transform, before 16
                        " FROM pg_identify_object(%s::int8::oid, %s::int8::oid, %s)",
                        fact.address,
                    ).fetchone()
                    assert named == fact.key
        copy(server, "every", target)
        assert compare(snapshot, snap(target.conninfo("every"))).deltas == []


def test_seventeen_and_eighteen_agree_on_not_null(home: Server) -> None:
    """PostgreSQL 18 stores NOT NULL as constraints; here they are the column's, whatever the version."""
    home.create_database("plain")
    execute(home.conninfo("plain"), "CREATE TABLE t (a integer NOT NULL, b integer PRIMARY KEY)")
    snapshot = snap(home.conninfo("plain"))
    home.drop_database("plain")
    assert [fact.identity for fact in snapshot.iter("table constraint")] == ["t_pkey on public.t"]
    assert [fact.attributes["not_null"] for fact in snapshot.iter("table column")] == ["NOT NULL", "NOT NULL"]


def test_hostile_names_are_taken_as_they_are(every: Snapshot) -> None:
    schema = 'Robert\'); DROP TABLE "students";--'
    names = {fact.name for fact in every.iter("table column") if fact.schema == schema}
    assert names == {
        "select", "new\nline", "ünïcödé 数据 🐘", "a.b", "{only x} %s %(only)s", "$owner", " leading and trailing ",
        "sixty-three bytes of a name which is as long as a name can be..",
    }  # fmt: skip
    table = next(fact for fact in every.iter("table") if fact.schema == schema)
    assert table.name == "<script>alert('x')</script>"
    assert table.attributes["grants"] == ('GRANT SELECT TO "a,b=c/d"', 'GRANT SELECT TO "select"')
    assert table.attributes["comment"] == '</pre><script>alert("comment")</script>\n\u202e'


def test_messages_hold_no_secret() -> None:
    with pytest.raises(Exception, match="cannot connect") as error:
        capture("postgresql://someone:hunter2@127.0.0.1:1/none", name="production")
    assert not re.search("hunter2", str(error.value))


def test_what_reads_alike_reads_as_the_server_writes_it(home: Server) -> None:
    """Definitions taken over from another table: trees that are equal say nothing of names, types, collations."""
    home.create_database("alike")
    conninfo = home.conninfo("alike")
    tables = {
        "a": ("x integer", "y text"),
        "b": ("x integer", "y text"),
        '"CREATE INDEX USING b"': ("x integer", "y text"),
        "renamed": ("z integer", "y text"),
        "also": ("x integer", "w text"),
        "varying": ("x integer", "y varchar"),
        "collated": ("x integer", 'y text COLLATE "C"'),
    }
    for table, columns in tables.items():
        x, y = (column.split()[0] for column in columns)
        execute(
            conninfo,
            f"CREATE TABLE {table} ({', '.join(columns)}, CHECK ({x} > 0), CHECK ({y} <> '' OR {x} < 9))",
            f"ALTER TABLE {table} ADD CHECK ({y} > '5') NOT VALID, ADD CHECK ({table} IS NOT NULL), ADD CHECK (true)",
            f"CREATE INDEX ON {table} ({x})",
            f"CREATE INDEX ON {table} ({y}, {x} DESC)",
            f"CREATE INDEX ON {table} ({y} text_pattern_ops) INCLUDE ({x}) WITH (fillfactor = 70)",
            f'CREATE INDEX ON {table} ({y} COLLATE "C")',
            f"CREATE UNIQUE INDEX ON {table} ((lower({y}) || {x}), {x}) WHERE {y} <> {x}::text",
            f"CREATE INDEX ON {table} (({table} IS NULL))",
        )
    execute(conninfo, "ALTER TABLE a RENAME y TO moved")
    counts = definitions_are_the_servers(conninfo)
    assert counts == {"index": 6 * len(tables), "table constraint": 5 * len(tables)}


def definitions_are_the_servers(conninfo: str) -> dict[str, int]:
    """How many definitions of indexes and constraints read as the server writes them: all."""
    snapshot = snap(conninfo)
    counts = {}
    with connect(conninfo) as connection:
        for kind, function in (("index", "pg_get_indexdef"), ("table constraint", "pg_get_constraintdef")):
            rows = connection.execute(
                f"SELECT o::int8, {function}(o) FROM unnest(%s::int8[]::oid[]) o",
                [list(snapshot.tables[kind].oids)],
            )
            texts = dict(rows.fetchall())
            # An index that backs a constraint has no definition but that.
            read = {
                f.oid: f.attributes["definition"]
                for f in snapshot.iter(kind)
                if " on " not in (f.parent or "")
            }
            assert {oid: texts[oid] for oid in read} == read
            counts[kind] = len(read)
    return counts


@pytest.mark.parametrize("major", [OLDEST, 17, NEWEST])
def test_keys_read_as_the_server_writes_them(major: int) -> None:
    """Primary, unique, exclusion and foreign keys of tables that are alike, with every option there is."""
    primary = ["({a})", "({a}, {b})", "({b}, {a})", "({a}) DEFERRABLE", "({a}) DEFERRABLE INITIALLY DEFERRED",
               "({a}) INCLUDE ({b})", "({a}) WITH (fillfactor = 70)"]  # fmt: skip
    others = ["UNIQUE ({b})", "UNIQUE ({b}, {a})", "UNIQUE ({b}) INCLUDE ({c})", "UNIQUE ({b}) DEFERRABLE",
              "EXCLUDE ({b} WITH =)", "EXCLUDE ({b} WITH =, {c} WITH =) WHERE ({c} > 0)"]  # fmt: skip
    others += [f"FOREIGN KEY ({{c}}) REFERENCES {{t}} ({{d}}) {options}" for options in (
        "", "NOT VALID", "MATCH FULL", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED", "ON UPDATE CASCADE",
        "ON DELETE RESTRICT ON UPDATE NO ACTION", "ON DELETE SET NULL", "ON UPDATE SET DEFAULT")]  # fmt: skip
    others += ["FOREIGN KEY ({d}) REFERENCES {t} ({d})", "FOREIGN KEY ({a}, {c}) REFERENCES {t} ({d}, {b})",
               "FOREIGN KEY ({c}, {a}) REFERENCES {t} ({b}, {d}) MATCH FULL ON DELETE CASCADE"]  # fmt: skip
    if major >= 15:
        others += ["UNIQUE NULLS NOT DISTINCT ({b})", "UNIQUE NULLS NOT DISTINCT ({b}, {a})",
                   "FOREIGN KEY ({a}, {c}) REFERENCES {t} ({d}, {b}) ON DELETE SET NULL ({c})"]  # fmt: skip
    if major >= 18:
        others += ["UNIQUE ({b}, {p} WITHOUT OVERLAPS)", "CHECK ({a} > 0)", "CHECK ({a} > 0) NOT ENFORCED",
                   "FOREIGN KEY ({c}) REFERENCES {t} ({d}) NOT ENFORCED",
                   "FOREIGN KEY ({b}, PERIOD {p}) REFERENCES {t} ({b}, PERIOD {p})"]  # fmt: skip
    plain = {name: name for name in "abcdp"}
    namings = [plain, plain, plain | {"a": "d", "d": "a"}, {name: f'"{name} ""x"""' for name in plain}]
    statements = ["CREATE EXTENSION btree_gist", 'CREATE SCHEMA "s "" t"']
    for n, names in enumerate(namings):
        for m, key in enumerate(primary):
            table = f'"s "" t"."T{n}_{m}"' if m % 2 else f"t{n}_{m}"
            columns = "{a} int, {b} int, {c} int, {d} int UNIQUE, {p} tsrange, UNIQUE ({d}, {b})"
            parts = [f"PRIMARY KEY {key}", *others]
            statements.append(f"CREATE TABLE {table} ({columns})".format(**names))
            statements += [f"ALTER TABLE {table} ADD {part}".format(**names, t=table) for part in parts]
    with servers.start(label="keys", binaries=tools.postgres_binaries(major)) as server:
        conninfo = server.create_database("keys")
        execute(conninfo, *statements)
        counts = definitions_are_the_servers(conninfo)
    tables = len(namings) * len(primary)
    assert counts == {"index": 0, "table constraint": tables * (3 + len(others))}
