"""Snapshots on disk, their frames, and comparing on literal facts: no database."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit import frames
from auditkit.catalog.compare import Delta, Scope, compare
from auditkit.catalog.kind import render
from auditkit.catalog.kinds import KINDS, markdown
from auditkit.catalog.snapshot import Edges, Fact, Snapshot, Table
from auditkit.config import IgnoreRule
from auditkit.errors import SnapshotCorrupt

DOCS = Path(__file__).parent.parent / "docs"


def snapshot(*facts: tuple[str, str, dict[str, Any]], **parents: str) -> Snapshot:
    """A snapshot of (kind, identity, attributes); the parent of ``s.t.a`` or ``x on s.t`` is taken from its identity."""
    tables: dict[str, Table] = {}
    for number, (kind, identity, attributes) in enumerate(facts, 16384):
        table = tables.setdefault(kind, Table(kind, tuple(attributes)))
        parent = identity.rpartition(" on ")[2] if " on " in identity else identity.rpartition(".")[0]
        table.identities.append(identity)
        table.values.append(tuple(attributes.values()))
        table.names.append(identity.rpartition(".")[2])
        table.schemas.append(identity.partition(".")[0])
        table.parents.append(parent if KINDS[kind].parents and kind != "table" else None)
        table.oids.append(number)
        table.subids.append(1 if kind.endswith("column") else 0)
        table.anchors.append(number)
        table.xmins.append(700)
    manifest = {"format": "auditkit.snapshot", "status": "complete", "not_checked": [], "name": "test"}
    return Snapshot(manifest, {kind: tables[kind] for kind in KINDS if kind in tables})


TABLE = ("table", "s.t", {"owner": "a", "row_security": True, "options": ("x=1", "y=2"), "comment": None})
COLUMN = ("table column", "s.t.a", {"type": "integer", "position": 1, "comment": "ü"})
POLICY = ("policy", "p on s.t", {"using": "true", "comment": None})


def test_equal_snapshots_have_no_deltas_and_one_fingerprint() -> None:
    left, right = snapshot(TABLE, COLUMN, POLICY), snapshot(POLICY, COLUMN, TABLE)
    assert compare(left, right).deltas == []
    assert left.fingerprint == right.fingerprint


def test_a_changed_attribute_is_one_delta_with_both_values() -> None:
    changed = ("table", "s.t", {**TABLE[2], "row_security": False})
    assert compare(snapshot(TABLE), snapshot(changed)).deltas == [
        Delta("table", "s.t", "changed", "row_security", True, False, "s")
    ]
    assert snapshot(TABLE).fingerprint != snapshot(changed).fingerprint
    assert compare(snapshot(TABLE), snapshot(changed)).deltas[0].severity == "critical"


def test_what_belongs_to_a_missing_object_is_not_repeated() -> None:
    (delta,) = compare(snapshot(TABLE, COLUMN, POLICY), snapshot())
    assert (delta.key, delta.change, delta.attribute) == (("table", "s.t"), "missing", None)
    assert delta.children == (("policy", "p on s.t"), ("table column", "s.t.a"))


def test_one_more_column_does_not_move_the_others() -> None:
    def columns(*names: str) -> Snapshot:
        return snapshot(
            TABLE, *(("table column", f"s.t.{n}", {"position": i}) for i, n in enumerate(names, 1))
        )

    (delta,) = compare(columns("a", "b", "c"), columns("a", "new", "b", "c"))
    assert (delta.identity, delta.change) == ("s.t.new", "unexpected")
    (delta,) = compare(columns("a", "b", "c", "d"), columns("b", "c", "d", "a"))
    assert delta == Delta("table column", "s.t.a", "changed", "position", 1, 4, "s")


@given(st.permutations(range(8)))
def test_the_order_of_siblings_is_reported_with_as_few_moves_as_possible(order: list[int]) -> None:
    left = snapshot(TABLE, *(("table column", f"s.t.c{i}", {"position": i + 1}) for i in range(8)))
    right = snapshot(
        TABLE, *(("table column", f"s.t.c{i}", {"position": order.index(i) + 1}) for i in range(8))
    )
    moved = {delta.identity for delta in compare(left, right)}
    stays = [i for i in order if f"s.t.c{i}" not in moved]
    assert stays == sorted(stays)
    assert (not moved) == (order == sorted(order))


def test_what_a_partition_inherits_is_told_once() -> None:
    def pair(default: str) -> Snapshot:
        one = snapshot(
            TABLE, ("table", "s.p", TABLE[2]),
            ("table column", "s.t.a", {"default": default}), ("table column", "s.p.a", {"default": default}),
        )  # fmt: skip
        one.tables["table column"].origins[1] = "s.t.a"
        return one

    (delta,) = compare(pair("1"), pair("2"))
    assert (delta.identity, delta.children) == ("s.t.a", (("table column", "s.p.a"),))


def test_members_of_extensions_are_not_compared() -> None:
    left, right = snapshot(TABLE), snapshot(TABLE, ("function", "s.f()", {"body": "x"}))
    right.tables["function"].extensions[0] = "citext"
    result = compare(left, right)
    assert (result.deltas, result.extension_members) == ([], 1)


def test_scope_leaves_out_what_it_says_and_counts_it() -> None:
    auth = ("table", "auth.users", TABLE[2])
    ledger = ("table", "m.ledger", TABLE[2])
    right = snapshot(
        TABLE, auth, ledger, ("table column", "m.ledger.v", {"type": "text"}), ("schema", "m", {"owner": "x"})
    )
    result = compare(
        snapshot(TABLE), right, scope=Scope(managed=frozenset({"auth"}), ledgers=frozenset({"m.ledger"}))
    )
    assert (result.deltas, result.managed) == ([], {"auth": 1})
    changed = ("table", "s.t", {**TABLE[2], "owner": "b", "comment": "new"})
    assert compare(snapshot(TABLE), snapshot(changed), scope=Scope(owners=False, comments=False)).deltas == []
    rule = IgnoreRule(reason="known", kind="table", name="s.*")
    result = compare(snapshot(TABLE), snapshot(changed), scope=Scope(rules=(rule,)))
    assert (result.deltas, result.suppressed) == ([], {rule: 2})
    assert compare(snapshot(TABLE), snapshot(changed), scope=Scope(schemas=frozenset({"other"}))).deltas == []


def test_what_an_upgrade_or_a_service_changes_is_left_to_those_who_ask_for_it() -> None:
    """A name of NOT NULL is a warning, in an audit nothing; privileges that a service gave are in no migration."""
    named = {"type": "text", "not_null": "NOT NULL", "not_null_name": None}
    left = snapshot(("table column", "s.t.a", named))
    right = snapshot(("table column", "s.t.a", named | {"not_null_name": "filled"}))
    assert [(d.attribute, d.is_warning) for d in compare(left, right)] == [("not_null_name", True)]
    assert compare(left, right, scope=Scope(lenient=False)).deltas == []
    given = (
        "initial privileges",
        "function pg_catalog.f()",
        {"grants": ("GRANT EXECUTE TO a",), "initial": None},
    )
    assert [d.change for d in compare(snapshot(), snapshot(given))] == ["unexpected"]
    assert compare(snapshot(), snapshot(given), scope=Scope(system=False)).deltas == []
    assert compare(snapshot(), snapshot(given), scope=Scope(grants=False)).deltas == []


def test_partitions_of_partitions_are_named_with_the_delta_they_follow() -> None:
    sides = []
    for kind in ("integer", "bigint"):
        side = snapshot(*(("table column", f"s.{table}.a", {"type": kind}) for table in ("t", "p", "pp")))
        side.tables["table column"].origins.update({1: "s.t.a", 2: "s.p.a"})
        sides.append(side)
    (delta,) = compare(*sides).deltas
    assert (delta.identity, delta.children) == (
        "s.t.a", (("table column", "s.p.a"), ("table column", "s.pp.a"))
    )  # fmt: skip


@pytest.mark.parametrize(
    "entry",
    [["table", "s.t", "owner"], ["table", None, "owner"], ["table", "s.t", None], ["table", None, None]],
)
def test_what_could_not_be_read_is_no_drift(entry: list[str | None]) -> None:
    changed = ("table", "s.t", {**TABLE[2], "owner": "b"})
    right = snapshot(changed)
    right.manifest["unreadable"] = [entry]
    assert compare(snapshot(TABLE), right).deltas == compare(right, snapshot(TABLE)).deltas == []


# --- files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    one = snapshot(TABLE, COLUMN, POLICY)
    one.raw_edges = Edges(tuple(array("I", [n]) for n in (3256, 16386, 0, 1259, 16384, 0)), bytearray(b"a"))
    one.tables["table"].written["pg_class"] = {0: 701}
    one.ledgers = [
        {
            "tool": "dbmate",
            "rows": [{"tool": "dbmate", "version": "1", "state": "applied", "statements": ["x"]}],
        }
    ]
    return one.save(tmp_path / "one.snapshot")


def test_a_saved_snapshot_is_read_back_equal(saved: Path) -> None:
    one = Snapshot.load(saved)
    original = snapshot(TABLE, COLUMN, POLICY)
    original.tables["table"].written["pg_class"] = {0: 701}
    assert list(one.iter()) == list(original.iter())
    assert compare(one, snapshot(TABLE, COLUMN, POLICY)).deltas == []
    assert one.fingerprint == snapshot(TABLE, COLUMN, POLICY).fingerprint
    assert one.holders(("policy", "p on s.t")) == {("table", "s.t")}
    assert one.dependents(("table", "s.t")) == {("policy", "p on s.t")}
    assert one.history["version"].tolist() == ["1"]
    assert Snapshot.load(one.save(saved.with_name("two"))).manifest == one.manifest
    assert saved.read_bytes() == saved.with_name("two").read_bytes()


def test_a_file_that_was_cut_short_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(SnapshotCorrupt) as error:
            Snapshot.load(saved)
        assert "\n" not in str(error.value)


@settings(deadline=None)
@given(st.data())
def test_a_file_with_one_altered_byte_is_refused_or_equal(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = snapshot(TABLE, COLUMN).save(Path(folder) / "s")
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            assert Snapshot.load(path).fingerprint == snapshot(TABLE, COLUMN).fingerprint
        except SnapshotCorrupt as error:
            assert "\n" not in str(error)


def _rewrite(path: Path, **changes: Any) -> None:
    from auditkit.catalog import snapshot as module

    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if name != "digest"}
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {"digest": module._digest(members).encode(), **members}.items():
            file.writestr(name, content)


def test_other_files_and_newer_formats_are_refused_by_name(saved: Path, tmp_path: Path) -> None:
    _rewrite(saved, format_version=99)
    with pytest.raises(SnapshotCorrupt, match="newer auditkit"):
        Snapshot.load(saved)
    _rewrite(saved, format="something else")
    with pytest.raises(SnapshotCorrupt, match="not a snapshot"):
        Snapshot.load(saved)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(SnapshotCorrupt, match="not a snapshot"):
        Snapshot.load(text)
    with zipfile.ZipFile(text, "w") as file:
        file.writestr("a", "b")
    with pytest.raises(SnapshotCorrupt, match="not a snapshot"):
        Snapshot.load(text)
    with pytest.raises(SnapshotCorrupt, match="cannot be read"):
        Snapshot.load(tmp_path / "absent")


def test_frames_have_their_documented_columns_full_and_empty(saved: Path) -> None:
    for one in (Snapshot.load(saved), Snapshot({}, {})):
        for frame, columns in (
            (one.facts, frames.FACTS),
            (one.edges, frames.EDGES),
            (one.history, frames.HISTORY),
        ):
            assert list(frame.columns) == list(columns)
    full, empty = Snapshot.load(saved), Snapshot({}, {})
    assert full.facts.dtypes.equals(empty.facts.dtypes)
    assert full.edges.dtypes.equals(empty.edges.dtypes)
    assert full.history.dtypes.equals(empty.history.dtypes)
    assert full.table("table")["options"].tolist() == [("x=1", "y=2")]


def test_a_fact_goes_through_json_unchanged() -> None:
    fact = next(snapshot(TABLE).iter())
    assert Fact.from_json(json.loads(json.dumps(fact.to_json()))) == fact


# --- the registry --------------------------------------------------------------------------------------------


def test_queries_are_complete_for_every_version() -> None:
    for kind in KINDS.values():
        for version in (140000, 150000, 160000, 170000, 180000):
            for options in ({}, {"only": True}, {"without": True}, {"slice": (1, 2)}):
                query = render(kind.query, version, **options)  # type: ignore[arg-type]
                assert "{" not in query.replace("'{", "")
                assert "??" not in query
                assert query.replace("%(only)s", "").replace("%(without)s", "").count("%") == 0


def test_parents_and_rows_name_what_exists() -> None:
    for kind in KINDS.values():
        assert set(kind.parents) <= set(KINDS)
        assert set(kind.attribute_severity) <= {*kind.attributes, "comment"}
        assert set(kind.written) <= set(kind.attributes)


def test_docs_kinds_is_current() -> None:
    expected = (DOCS / "kinds.md").read_text("utf-8")
    assert markdown() == expected, "run: python -m auditkit.catalog.kinds > docs/kinds.md"


def test_reading_and_comparing_import_nothing_heavy() -> None:
    code = (
        "import sys, auditkit.catalog.capture, auditkit.catalog.compare\n"
        "print([m for m in ('pandas', 'pyarrow', 'plotly', 'papermill', 'psycopg') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
