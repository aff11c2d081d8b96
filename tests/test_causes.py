"""The search for causes on literal data: no database, one small world per test.

A migration is a dictionary: what it makes of which object (``None``: it drops it). Replays are computed from
that, so a test says only what the files are, what the ledger records, and what is really there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from auditkit.catalog.compare import compare
from auditkit.catalog.snapshot import Fact, Snapshot
from auditkit.causes.calibration import calibrate
from auditkit.causes.case import Case, Entry, Finding
from auditkit.causes.explain import explain
from auditkit.causes.registry import CAUSES
from auditkit.history.shadow import Change, Replay, Step
from auditkit.history.shadow.replayed import Failure, Used
from tests.literal import snapshot_of

Objects = Mapping[str, object]
FUNCTION, TABLE, INDEX, POLICY = "function f()", "table public.t", "index public.i", "policy p on public.t"
DEFAULTS = "default acl for role postgres in schema public on tables"


#: The transaction of the first migration in a shadow.
SHADOW = 100
BODY = {"policy": "using", "function": "body"}
WHOLE = {
    "policy": {"permissive": True, "command": "ALL", "roles": ("public",), "check": None},
    "view": {"options": None},
}


def split(name: str) -> tuple[str, str]:
    """Kind and identity; the kinds that are two words are known."""
    for kind in ("default acl", "table column"):
        if name.startswith(kind):
            return kind, name if kind == "default acl" else name.removeprefix(f"{kind} ")
    kind, _, identity = name.partition(" ")
    return kind, identity


def fact(name: str, value: object, xid: int = 0) -> Fact:
    kind, identity = split(name)
    rows = {
        "table": "pg_type",
        "index": "pg_index",
        "policy": "pg_policy",
        "function": "pg_proc",
        "view": "pg_type",
        "table column": "pg_attribute",
        "default acl": "pg_default_acl",
        "type": "pg_type",
    }
    schema = identity.split(".")[0] if "." in identity.split(" on ")[0] else "public"
    parent = f"{schema}.t" if kind in ("index", "policy", "table column") else None
    attributes = (
        value if isinstance(value, dict) else {**WHOLE.get(kind, {}), BODY.get(kind, "definition"): value}
    )
    number = int.from_bytes(name.encode()[-3:], "big") + 16384
    return Fact(kind, identity, dict(attributes), oid=number, anchor=number, schema=schema, name=identity,
                parent=parent, rows={rows[kind]: xid} if xid else {})  # fmt: skip


def snapshot(objects: Objects, writers: Mapping[str, int] = {}) -> Snapshot:
    facts = [fact(name, value, writers.get(name, 0)) for name, value in objects.items()]
    return snapshot_of(facts)


def replayed(
    migrations: Sequence[tuple[str, Objects]], said: Mapping[str, str] = {}, apart: Collection[str] = ()
) -> Replay:
    state: dict[str, Fact] = {}
    timeline: dict[tuple[str, str], list[Change]] = {}
    for number, (version, objects) in enumerate(migrations):
        for name, value in objects.items():
            made = None if value is None else fact(name, value, SHADOW + number)
            state.pop(name, None)
            if made is not None:
                state[name] = made
            timeline.setdefault(split(name), []).append(Change(number, 7, said.get(version, "…"), made))
    steps = [Step(version, "m", "…", f"{version}.sql") for version, _ in migrations]
    used = {
        n: Used(SHADOW + n, frozenset({SHADOW + n}), whole=step.version not in apart)
        for n, step in enumerate(steps)
    }
    return Replay(steps, snapshot_of(state.values()), timeline, [], used=used)


def findings(
    files: Mapping[str, Objects],
    actual: Objects,
    *,
    ledger: Sequence[str] | None = None,
    applied: Mapping[str, Objects] | None = None,
    xids: Mapping[str, int] | None = None,
    writers: Mapping[str, int] | None = None,
    failed: str | None = None,
    edits: Mapping[str, int] = {},
    unseen: str | None = None,
    said: Mapping[str, str] = {},
    apart: Collection[str] = (),
    vacant: int = 0,
    stumbles: str | None = None,
    **more: Any,
) -> list[Finding]:
    """Explain *actual*: *ledger* is what is recorded in its order, *applied* the texts that differ from the files.

    *xids* are the transactions of ledger rows, *writers* those of objects; *failed* is recorded as failed;
    *stumbles* keeps no checksum, and its file cannot run after what the ledger records before it;
    *edits* count later commits; *said* are statements by version, and what is *apart* ran in transactions of its own;
    *more* goes into the case.
    """
    ledger = list(files) if ledger is None else list(ledger)
    applied = applied or {}
    order = list(files)
    texts = {**files, **applied}
    intended = replayed(list(files.items()), said, apart)
    done = replayed([(v, {} if v == stumbles else texts[v]) for v in ledger], said, apart)
    if stumbles is not None:
        done.failures.append(Failure(ledger.index(stumbles), 1, "it already exists", "42P07", "CREATE …"))
    entries = []
    for version in sorted({*files, *ledger}):
        late = (
            version in ledger
            and version in order
            and any(v > version for v in ledger[: ledger.index(version)])
        )
        state = "unknown" if version not in files else "applied" if version in ledger else "pending"
        edited = version in applied and version in files
        entries.append(
            Entry(
                version=version,
                name="m",
                file=f"{version}.sql" if version in files else None,
                state="failed"
                if version == failed
                else "edited"
                if edited
                else "out_of_order"
                if late and state == "applied"
                else state,
                intended=order.index(version) if version in files else None,
                applied=ledger.index(version) if version in ledger else None,
                content=None
                if version == stumbles
                else "different"
                if edited or version == unseen
                else "identical",
                unseen=version == unseen,
                xmin=(xids or {}).get(version),
                edits=edits.get(version, 0),
            )
        )
    here = snapshot(actual, writers or {})
    here.physical["vacant"] = vacant
    last = max((order.index(v) for v in ledger if v in order), default=-1)
    case = Case(
        environment="production",
        actual=here,
        deltas=compare(intended.final, here).deltas,
        entries=entries,
        intended=intended,
        applied=done,
        later_applied={v: n < last for n, v in enumerate(order)},
        **more,
    )
    found = explain(case, calibrate(case))
    explained = [d for f in found for d in f.deltas]
    assert len(explained) == len(case.deltas), "every delta is in exactly one finding"
    return found


def told(found: Sequence[Finding]) -> list[tuple[str, str | None, list[str]]]:
    return [
        (f.cause, f.culprit.version if f.culprit else None, [" ".join(o) for o in f.objects]) for f in found
    ]


SHOP: dict[str, Objects] = {
    "1": {TABLE: {"row_security": False}},
    "2": {FUNCTION: "v1"},
    "3": {INDEX: "on t"},
    "4": {FUNCTION: "v2"},
    "5": {TABLE: {"row_security": True}, POLICY: "using (mine)"},
}
GOOD: dict[str, object] = {
    TABLE: {"row_security": True},
    FUNCTION: "v2",
    INDEX: "on t",
    POLICY: "using (mine)",
}


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in GOOD.items() if key != name}


def test_agreement_is_silent() -> None:
    assert findings(SHOP, GOOD) == []


def test_a_function_changed_by_hand_masks_the_migration_that_defined_it() -> None:
    assert told(findings(SHOP, {**GOOD, FUNCTION: "hotfix"})) == [("manual_change", "4", [FUNCTION])]


def test_an_object_made_by_hand_has_no_culprit() -> None:
    assert told(findings(SHOP, {**GOOD, "view public.v": "select 1"})) == [
        ("manual_change", None, ["view public.v"])
    ]


def test_an_index_dropped_by_hand() -> None:
    (finding,) = findings(SHOP, without(INDEX))
    assert told([finding]) == [("manual_change", "3", [INDEX])]
    assert [cause for cause, _ in finding.alternatives] == ["recorded_not_applied"]


def test_row_level_security_switched_off_is_critical() -> None:
    (finding,) = findings(SHOP, {**GOOD, TABLE: {"row_security": False}})
    assert (finding.cause, finding.severity, finding.culprit and finding.culprit.version) == (
        "manual_change", "critical", "5",
    )  # fmt: skip


def test_a_skipped_migration_is_named_and_proven() -> None:
    (finding,) = findings(SHOP, without(INDEX), ledger=["1", "2", "4", "5"])
    assert told([finding]) == [("missing_migration", "3", [INDEX])]
    assert (finding.confidence, finding.severity) == ("proven", "medium")


def test_a_migration_waiting_at_the_end_is_ordinary() -> None:
    actual = {**without(POLICY), TABLE: {"row_security": False}}
    (finding,) = findings(SHOP, actual, ledger=["1", "2", "3", "4"])
    assert told([finding]) == [("missing_migration", "5", [TABLE, POLICY])]
    assert finding.severity == "low"


def test_the_wrong_order_with_an_effect_names_the_late_migration() -> None:
    (finding,) = findings(SHOP, {**GOOD, FUNCTION: "v1"}, ledger=["1", "3", "4", "2", "5"])
    assert told([finding]) == [("out_of_order", "2", [FUNCTION])]
    assert finding.confidence == "proven"


def test_the_wrong_order_without_an_effect_is_silent() -> None:
    assert findings(SHOP, GOOD, ledger=["1", "3", "2", "4", "5"]) == []


def test_an_edit_after_it_was_applied() -> None:
    found = findings(SHOP, {**GOOD, INDEX: "on t (old)"}, applied={"3": {INDEX: "on t (old)"}})
    assert told(found) == [("edited_after_apply", "3", [INDEX])]


def test_an_edit_without_an_effect_is_silent() -> None:
    assert findings(SHOP, GOOD, applied={"2": {FUNCTION: "v0"}}) == []


def test_a_migration_of_another_branch() -> None:
    ledger = ["1", "2", "3", "4", "45", "5"]
    found = findings(
        SHOP, {**GOOD, "view public.v": "x"}, ledger=ledger, applied={"45": {"view public.v": "x"}}
    )
    assert told(found) == [("unknown_migration", "45", ["view public.v"])]


def test_recorded_but_never_run() -> None:
    files = {**SHOP, "6": {"view public.a": "x", "view public.b": "y"}}
    found = findings(files, GOOD)
    assert told(found) == [("recorded_not_applied", "6", ["view public.a", "view public.b"])]
    assert found[0].confidence == "consistent"


def test_a_single_change_that_is_as_before_never_ran_if_its_last_writer_is_older() -> None:
    xids = {version: 700 + int(version) for version in SHOP}
    writers = {TABLE: 705, POLICY: 705, INDEX: 703, FUNCTION: 702}
    assert told(findings(SHOP, {**GOOD, FUNCTION: "v1"}, xids=xids, writers=writers)) == [
        ("recorded_not_applied", "4", [FUNCTION])
    ]


def test_applied_but_not_recorded_leaves_no_delta() -> None:
    (finding,) = findings(SHOP, GOOD, ledger=["1", "2", "4", "5"])
    assert told([finding]) == [("applied_not_recorded", "3", [INDEX])]
    assert finding.deltas == []


def test_what_later_migrations_built_on_shows_that_it_was_run() -> None:
    # 2 added a label to an enum, and 3 renamed the other: what is here is neither what 2 left nor what it found.
    files: dict[str, Objects] = {"1": {"type e": "a"}, "2": {"type e": "a, b"}, "3": {"type e": "x, b"}}
    (finding,) = findings(files, {"type e": "x, b"}, ledger=["1", "3"], applied={"3": {"type e": "x"}})
    assert told([finding]) == [("applied_not_recorded", "2", ["type e"])]


def test_two_causes_on_neighbouring_objects_are_two_findings() -> None:
    found = findings(SHOP, {**without(INDEX), FUNCTION: "hotfix"}, ledger=["1", "2", "4", "5"])
    assert sorted(told(found)) == [("manual_change", "4", [FUNCTION]), ("missing_migration", "3", [INDEX])]


def test_transaction_ids_speak_when_they_are_trusted() -> None:
    xids = {version: 700 + int(version) for version in SHOP}
    writers = {TABLE: 705, POLICY: 705, INDEX: 703, FUNCTION: 999}
    (finding,) = findings(SHOP, {**GOOD, FUNCTION: "hotfix"}, xids=xids, writers=writers)
    assert [e.signal for e in finding.evidence] == ["replay", "xmin"]
    assert "999" in finding.evidence[1].says


def test_after_a_restore_transaction_ids_are_not_used() -> None:
    xids = dict.fromkeys(SHOP, 700)
    (finding,) = findings(SHOP, {**GOOD, FUNCTION: "hotfix"}, xids=xids, writers=dict.fromkeys(GOOD, 700))
    assert [e.signal for e in finding.evidence] == ["replay"]


def test_a_hand_and_a_skipped_migration_on_one_table_are_told_apart_by_attribute() -> None:
    actual = {**without(POLICY), TABLE: {"row_security": False, "grants": ("GRANT SELECT TO web",)}}
    files = {**SHOP, "1": {TABLE: {"row_security": False, "grants": None}}, "5": {
        TABLE: {"row_security": True, "grants": None}, POLICY: "using (mine)"}}  # fmt: skip
    found = findings(files, actual, ledger=["1", "2", "3", "4"])
    assert sorted(told(found)) == [
        ("manual_change", "1", [TABLE]), ("missing_migration", "5", [TABLE, POLICY]),
    ]  # fmt: skip
    assert [[d.attribute for d in f.deltas] for f in found if f.cause == "manual_change"] == [["grants"]]


def test_what_cannot_run_without_a_skipped_migration_is_no_finding_of_its_own() -> None:
    needs = {"2_m": {"4_m"}}
    (finding,) = findings(SHOP, without(FUNCTION), ledger=["1", "3", "5"], needs=needs)
    assert told([finding]) == [("missing_migration", "2", [FUNCTION])]
    assert "4_m" in finding.title


def test_a_migration_that_is_half_there_is_missing_and_not_proven() -> None:
    files = {**SHOP, "6": {"view public.a": "x", "view public.b": "y"}}
    (finding,) = findings(files, {**GOOD, "view public.a": "x"}, ledger=list(SHOP))
    assert told([finding]) == [("missing_migration", "6", ["view public.b"])]
    assert finding.confidence == "consistent"
    assert "only partly" in finding.title


@pytest.mark.parametrize(
    ("here", "cause"), [("new", "applied_not_recorded"), ("old", "missing_migration")], ids=["run", "skipped"]
)
def test_a_drop_that_is_not_recorded_shows_in_what_a_later_migration_could_make_anew(
    here: str, cause: str
) -> None:
    """``DROP INDEX`` and, in the next file, ``CREATE INDEX IF NOT EXISTS``: which does nothing without the first."""
    files = {**SHOP, "6": {INDEX: None}, "7": {INDEX: "new"}}
    files["3"] = {INDEX: "old"}
    found = findings(files, {**GOOD, INDEX: here}, ledger=[*SHOP, "7"], applied={"7": {INDEX: "old"}})
    assert [(f.cause, f.culprit and f.culprit.version) for f in found] == [(cause, "6")]


def test_what_an_edited_migration_made_is_not_taken_for_that_of_one_that_failed() -> None:
    old = {"2": {FUNCTION: "v1", "view public.once": "z"}}
    actual = {**without(INDEX), "view public.once": "z"}
    found = findings(SHOP, actual, ledger=["1", "2", "4", "5"], applied=old, failed="3")
    assert sorted(told(found)) == [
        ("edited_after_apply", "2", ["view public.once"]), ("partial_apply", "3", [INDEX]),
    ]  # fmt: skip


def test_a_migration_that_failed_is_said_to_have_failed() -> None:
    (finding,) = findings(SHOP, without(INDEX), ledger=["1", "2", "4", "5"], failed="3")
    assert told([finding]) == [("partial_apply", "3", [INDEX])]
    assert finding.title == "3_m failed in production, and nothing of it is there"


@pytest.mark.parametrize(
    ("actual", "title"),
    [
        (GOOD, "3_m failed in production, though all that it makes is there"),
        (without(INDEX), "3_m failed in production, and nothing of it is there"),
    ],
)
def test_what_the_ledger_says_failed_is_half_applied(actual: Objects, title: str) -> None:
    (finding,) = findings(SHOP, actual, ledger=["1", "2", "4", "5"], failed="3")
    assert (finding.cause, finding.culprit and finding.culprit.version) == ("partial_apply", "3")
    assert finding.title == title
    assert finding.alternatives == []


def test_several_rows_without_files_and_one_file_that_makes_the_same_are_a_squashed_history() -> None:
    files = {"0": {**SHOP["1"], **SHOP["2"], **SHOP["3"]}, "4": SHOP["4"], "5": SHOP["5"]}
    old = {version: SHOP[version] for version in ("1", "2", "3")}
    (finding,) = findings(files, GOOD, ledger=["1", "2", "3", "4", "5"], applied=old)
    assert (finding.cause, finding.culprit and finding.culprit.version) == ("rebaselined", "0")
    assert finding.deltas == []


def test_what_a_squashed_file_forgot_is_blamed_on_the_row_that_made_it() -> None:
    files = {"0": {**SHOP["1"], **SHOP["2"]}, "4": SHOP["4"], "5": SHOP["5"]}
    old = {version: SHOP[version] for version in ("1", "2", "3")}
    found = findings(files, GOOD, ledger=["1", "2", "3", "4", "5"], applied=old)
    assert sorted((f.cause, f.culprit.version) for f in found if f.culprit) == [
        ("rebaselined", "0"),
        ("unknown_migration", "3"),
    ]


def test_a_squashed_file_may_keep_the_version_of_a_row_whose_text_no_ledger_tells() -> None:
    files = {"3": {**SHOP["1"], **SHOP["2"], **SHOP["3"]}, "4": SHOP["4"], "5": SHOP["5"]}
    old = {version: SHOP[version] for version in ("1", "2")}
    (finding,) = findings(files, GOOD, ledger=["1", "2", "3", "4", "5"], applied=old, stumbles="3")
    assert (finding.cause, finding.title.split(" that")[0]) == ("rebaselined", "3_m replaces 2 migrations")


def test_an_old_row_of_which_nothing_is_left_belongs_to_the_squashed_history() -> None:
    """The file that took its place does not drop it any more, so that a replay of the ledger keeps it."""
    files = {"0": {**SHOP["1"], **SHOP["2"], **SHOP["3"]}, "4": SHOP["4"], "5": SHOP["5"]}
    old = {**{version: SHOP[version] for version in ("1", "2", "3")}, "25": {"view public.v": "x"}}
    (finding,) = findings(files, GOOD, ledger=["1", "2", "25", "3", "4", "5"], applied=old)
    assert (finding.cause, finding.title.split(" that")[0]) == ("rebaselined", "0_m replaces 4 migrations")


def test_what_two_unrecorded_migrations_leave_between_them_is_not_a_hand_s() -> None:
    """The first stopped half-way; the second, which would drop it all, never came."""
    files = {
        **SHOP,
        "6": {"view public.a": "x", "view public.b": "y"},
        "7": {"view public.a": None, "view public.b": None, "view public.c": "z"},
    }
    found = findings(files, {**GOOD, "view public.a": "x"}, ledger=list(SHOP))
    assert sorted(told(found)) == [
        ("missing_migration", "7", ["view public.c"]), ("partial_apply", "6", ["view public.a"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "cause"), [(1, "recorded_not_applied"), (4, "manual_change")], ids=["none", "room"]
)
def test_an_index_that_lacks_was_not_built_concurrently_where_no_transaction_was_left_for_it(
    gap: int, cause: str
) -> None:
    other = "index public.j"
    files = {**SHOP, "6": {"view public.v": "x"}, "7": {other: "on t"}}
    xids = {"1": 500, "2": 501, "3": 501 + gap, "4": 510, "5": 511, "6": 512, "7": 516}
    writers = {FUNCTION: 510, TABLE: 511, POLICY: 511, "view public.v": 512, other: 514}
    actual = {**without(INDEX), other: "on t", "view public.v": "x"}
    found = findings(files, actual, xids=xids, writers=writers, apart={"3", "7"})
    assert [f.cause for f in found] == [cause]


def test_a_migration_that_leaves_what_is_there_wrote_nothing_beside_its_row() -> None:
    """Where the tool records in the next transaction, what a hand made before it lies where the migration's would."""
    column = "table column public.t.c"
    files: dict[str, Objects] = {
        **{str(n): {f"view public.v{n}": "x", f"function f{n}()": "x"} for n in range(1, 6)},
        "6": {column: "text", "view public.w": "x"},
    }
    xids = {str(n): 500 + 2 * n for n in range(1, 7)}
    actual = {name: value for objects in files.values() for name, value in objects.items()}
    writers = {name: xids[version] - 1 for version, objects in files.items() for name in objects}
    found = findings(files, {**actual, column: "int"}, xids=xids, writers=writers)
    assert [f.cause for f in found] == ["edited_after_apply"]
    said = {"6": "ALTER TABLE t ADD COLUMN IF NOT EXISTS c text"}
    found = findings(files, {**actual, column: "int"}, xids=xids, writers=writers, said=said)
    assert [f.cause for f in found] == ["manual_change"]


@pytest.mark.parametrize(
    ("vacant", "captured"), [(1, True), (2, False)], ids=["the deleted row", "another, too"]
)
def test_a_ledger_row_that_was_written_again_says_not_when_its_migration_ran(
    vacant: int, captured: bool
) -> None:
    files = {**SHOP, "6": {"view public.v": "x"}, "7": {"view public.w": "x"}}
    xids = {"1": 500, "3": 503, "4": 504, "5": 505, "6": 507, "7": 508}
    writers = {INDEX: 503, FUNCTION: 504, TABLE: 505, POLICY: 505, "view public.v": 506, "view public.w": 508}
    actual = {**GOOD, "view public.v": "x", "view public.w": "x"}
    said = {"6": "CREATE VIEW IF NOT EXISTS v AS x"}
    found = findings(files, actual, ledger=list(xids), xids=xids, writers=writers, said=said, vacant=vacant)
    assert (("captured_hotfix", "6", ["view public.v"]) in told(found)) == captured


def test_two_rows_without_files_are_no_squashed_history_if_they_made_something_else() -> None:
    files = {"0": {"view public.v": "x"}, **SHOP}
    old = {"45": {"view public.a": "x"}, "46": {"view public.b": "y"}}
    actual = {**GOOD, "view public.a": "x", "view public.b": "y"}
    found = findings(files, actual, ledger=[*SHOP, "45", "46"], applied=old)
    assert sorted(f.cause for f in found) == ["missing_migration", "unknown_migration", "unknown_migration"]


def test_a_text_that_nobody_has_was_an_edit() -> None:
    (finding,) = findings(SHOP, {**GOOD, FUNCTION: "v3"}, unseen="4")
    assert told([finding]) == [("edited_after_apply", "4", [FUNCTION])]
    assert (finding.confidence, [c for c, _ in finding.alternatives]) == ("consistent", ["manual_change"])


def test_a_column_that_moved_was_not_defined_by_what_dropped_another() -> None:
    b = "table column public.t.b"
    files = {
        "1": {TABLE: {"row_security": False}},
        "2": {b: {"position": 2, "default": "1"}},
        "3": {b: {"position": 1, "default": "1"}},
    }
    (finding,) = findings(files, {TABLE: {"row_security": False}, b: {"position": 1, "default": None}})
    assert told([finding]) == [("manual_change", "2", [b])]


def test_a_schema_without_any_ledger_is_one_finding() -> None:
    (finding,) = findings(SHOP, GOOD, ledger=[])
    assert (finding.cause, finding.culprit, finding.deltas) == ("applied_not_recorded", None, [])


def test_a_new_name_is_one_finding() -> None:
    files = {**SHOP, "6": {"view public.old": "select 1"}}
    (finding,) = findings(files, {**GOOD, "view public.new": "select 1"})
    assert told([finding]) == [("manual_change", "6", ["view public.old", "view public.new"])]
    assert finding.renamed == (("view", "public.old"), ("view", "public.new"))


def test_two_that_might_be_the_renamed_one_are_not_guessed_at() -> None:
    files = {**SHOP, "6": {"view public.old": "select 1"}}
    found = findings(files, {**GOOD, "view public.new": "select 1", "view public.other": "select 1"})
    assert [finding.renamed for finding in found] == [None, None, None]


def test_grants_that_follow_from_default_privileges_are_part_of_them() -> None:
    files = {"1": {TABLE: {"grants": None}}, "2": {"table public.u": {"grants": None}}}
    given = ("GRANT SELECT TO web",)
    actual = {
        DEFAULTS: {"grants": given},
        TABLE: {"grants": given},
        "table public.u": {"grants": ("GRANT ALL TO web",)},
    }
    assert sorted(told(findings(files, actual)), key=str) == [
        ("manual_change", "2", ["table public.u"]),
        ("manual_change", None, [f"default acl {DEFAULTS}", TABLE]),
    ]


def test_the_same_thing_in_many_schemas_is_one_finding() -> None:
    files = {"1": {f"index s{n}.i": "on t" for n in range(5)}}
    found = findings(files, {f"index s{n}.i": "on t" for n in (0, 4)})
    assert told(found) == [("manual_change", "1", ["index s1.i", "index s2.i", "index s3.i"])]
    assert found[0].title == "index i was dropped by hand in 3 schemas of production"


def test_without_a_ledger_a_difference_is_not_blamed_on_a_hand() -> None:
    (finding,) = findings(SHOP, without(INDEX), ledger_readable=False)
    assert (finding.cause, finding.confidence) == ("unknown", "conjecture")
    assert [cause for cause, _ in finding.alternatives] == ["missing_migration", "manual_change"]


@pytest.mark.parametrize(("edits", "cause"), [({}, "unknown"), ({"3": 1}, "edited_after_apply")])
def test_what_a_migration_made_itself_is_not_blamed_on_a_hand(edits: Mapping[str, int], cause: str) -> None:
    xids = {version: 700 + int(version) for version in SHOP}
    writers = {TABLE: 705, POLICY: 705, INDEX: 703, FUNCTION: 704, "view public.v": 703}
    found = findings(SHOP, {**GOOD, "view public.v": "x"}, xids=xids, writers=writers, edits=edits)
    assert told(found) == [(cause, "3", ["view public.v"])]


def test_after_an_upgrade_not_everything_is_taken_for_manual() -> None:
    xids = {version: 700 + int(version) for version in SHOP}
    assert findings(SHOP, GOOD, xids=xids, writers=dict.fromkeys(GOOD, 900)) == []


def test_without_an_order_a_place_among_columns_may_be_that_of_another_order() -> None:
    a, b = "table column public.t.a", "table column public.t.b"
    files = {"1": {TABLE: {"row_security": False}}, "2": {a: {"position": 1}}, "3": {b: {"position": 2}}}
    actual = {TABLE: {"row_security": False}, a: {"position": 2}, b: {"position": 1}}
    for ordered, cause in ((True, "manual_change"), (False, "out_of_order")):
        (finding,) = findings(files, actual, ordered=ordered)
        assert (finding.cause, finding.severity) == (cause, "low")


def test_ids_of_findings_are_stable_and_distinct() -> None:
    actual = {**without(INDEX), FUNCTION: "hotfix"}
    first, again = findings(SHOP, actual), findings(SHOP, actual)
    assert [f.id for f in first] == [f.id for f in again]
    assert len({f.id for f in first}) == 2


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_says_what_it_is(name: str) -> None:
    assert CAUSES[name].meaning.endswith(".")
    assert CAUSES[name].shown_by.endswith(".")
    assert CAUSES[name].way_out.endswith(".")
