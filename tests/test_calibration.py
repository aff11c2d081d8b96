"""Which transaction ids are believed: literal ledgers and catalogs first, then tools and restores on a real server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from auditkit.catalog.snapshot import Fact
from auditkit.causes import traces
from auditkit.causes.calibration import Calibration, calibrate, older
from auditkit.causes.case import Case, Entry
from auditkit.causes.search import Search
from auditkit.history.shadow import Change, Replay, Step
from auditkit.history.shadow.replayed import Used
from tests.literal import snapshot_of

#: How many migrations there are, each with two functions of its own.
MIGRATIONS = 6


def function(number: int, xid: int) -> Fact:
    return Fact("function", f"f{number}()", {"body": number}, oid=20000 + number, rows={"pg_proc": xid})


def case(
    ledger: Sequence[int | None],
    written: Callable[[int], int] | Mapping[int, int],
    *,
    nested: bool = False,
    **manifest: Any,
) -> Case:
    """A case in which migration n of the shadow wrote functions 2n and 2n+1; *written* tells who did here.

    *ledger* are the transactions of its rows. *nested*: in the shadow, each was written in a subtransaction.
    """
    shadow = [function(n, 100 + 10 * (n // 2) + nested) for n in range(2 * MIGRATIONS)]
    xid_of = written if callable(written) else written.__getitem__
    here = [function(n, xid_of(n)) for n in range(2 * MIGRATIONS)]
    entries = [
        Entry(str(n), "m", f"{n}.sql", "applied", intended=n, applied=n, xmin=xid)
        for n, xid in enumerate(ledger)
    ]
    replay = Replay(
        [Step(str(n), "m", "…") for n in range(MIGRATIONS)],
        snapshot_of(shadow),
        {f.key: [Change(n // 2, 1, "…", f)] for n, f in enumerate(shadow)},
        [],
        used={n: Used(100 + 10 * n, frozenset({100 + 10 * n}), whole=True) for n in range(MIGRATIONS)},
    )
    actual = snapshot_of(here, **manifest)
    return Case("production", actual, [], entries, intended=replay, applied=replay)


def known(found: Calibration) -> dict[int, str]:
    return {xid: "".join(e.version for e in entries) for xid, entries in found.by_xid.items()}


LEDGER = [700, 710, 720, 730, 740, 750]


def test_ids_are_compared_in_a_circle() -> None:
    assert older(700, 701) and not older(701, 700) and not older(7, 7)
    assert older(2**32 - 5, 10), "after 2^32 they begin again"


def test_the_ledger_row_bears_the_transaction_of_its_migration() -> None:
    found = calibrate(case(LEDGER, lambda n: LEDGER[n // 2]))
    assert (found.link, found.hit_rate, found.trusted, found.dropped) == ("exact", 1.0, True, [])
    assert [e.version for e in found.entries_of(function(3, 710))] == ["1"]
    assert (found.foreign(function(3, 710)), found.foreign(function(3, 999))) == ([], [999])


def test_one_hand_that_wrote_many_objects_does_not_break_the_link() -> None:
    found = calibrate(case(LEDGER, lambda n: 999 if n < 3 else LEDGER[n // 2]))
    assert (found.link, found.hit_rate) == ("exact", 0.75)


def test_many_hands_in_a_small_database_do_not_break_the_link() -> None:
    hands = {0: 901, 2: 902, 4: 903, 6: 904}
    found = calibrate(case(LEDGER, {n: hands.get(n, LEDGER[n // 2]) for n in range(2 * MIGRATIONS)}))
    assert (found.link, round(found.hit_rate or 0, 2)) == ("exact", 0.67)
    assert found.foreign(function(0, 901)) == [901]
    half = {n: LEDGER[n // 2] if n < 6 else 900 + n for n in range(2 * MIGRATIONS)}
    assert calibrate(case(LEDGER, half)).link == "none", "three of the six migrations show nothing of it"


def test_a_restore_gives_all_ledger_rows_one_id() -> None:
    found = calibrate(case([900] * 6, lambda n: 800 + n))
    assert (found.link, found.by_xid) == ("none", {})
    assert "restore or a bulk repair" in found.says


def test_a_restore_in_one_transaction_matches_everything_and_is_not_believed() -> None:
    found = calibrate(case([900] * 6, lambda n: 900))
    assert found.link == "none"
    assert "12 of 12 catalog rows and all ledger rows were written by one transaction" in found.says


def test_an_upgrade_keeps_the_ledger_and_writes_the_catalog_anew() -> None:
    found = calibrate(case(LEDGER, lambda n: 5000 + n))
    assert found.link == "none"
    assert "older than every row of the catalog" in found.says


def test_migrations_since_an_upgrade_are_believed_and_those_before_are_not() -> None:
    ledger = [700, 710, 720, 6000, 6010, 6020]
    found = calibrate(case(ledger, lambda n: 5000 + n if n < 6 else ledger[n // 2]))
    assert (found.link, found.hit_rate) == ("exact", 1.0)
    assert sorted(found.ran) == ["3_m", "4_m", "5_m"]
    assert [why for _, why in found.dropped] == [
        "3 ledger rows are older than every row of the catalog, as after pg_upgrade or a restore"
    ]


def test_migrations_since_a_restore_are_believed() -> None:
    ledger = [900, 900, 900, 6000, 6010, 6020]
    found = calibrate(case(ledger, lambda n: 890 + n if n < 6 else ledger[n // 2]))
    assert (found.link, found.hit_rate, sorted(found.ran)) == ("exact", 1.0, ["3_m", "4_m", "5_m"])
    assert "3 ledger rows were written by one transaction" in found.says


def test_after_two_to_the_thirty_two_transactions_an_upgrade_still_looks_like_one() -> None:
    top = 2**32 - 100
    assert calibrate(case([top + n for n in range(6)], lambda n: 50 + n)).link == "none"


@pytest.mark.parametrize("shift", [-1, 1, 2])
def test_a_tool_that_records_in_a_transaction_beside_the_migration(shift: int) -> None:
    found = calibrate(case(LEDGER, lambda n: LEDGER[n // 2] + shift))
    assert (found.link, found.exact, found.trusted) == ("adjacent", False, True)
    assert found.ran["2_m"] == 720 + shift
    assert found.foreign(function(4, 999)) == [999]


def test_a_migration_that_was_run_in_a_subtransaction_once_is_no_hand_s() -> None:
    nested = {4: 721, 5: 721}
    found = calibrate(case(LEDGER, {n: nested.get(n, LEDGER[n // 2]) for n in range(2 * MIGRATIONS)}))
    assert (found.link, found.hit_rate, found.foreign(function(4, 721))) == ("exact", 1.0, [])
    hand = {4: 721}  # of two functions one
    found = calibrate(case(LEDGER, {n: hand.get(n, LEDGER[n // 2]) for n in range(2 * MIGRATIONS)}))
    assert (found.link, found.foreign(function(4, 721))) == ("exact", [721])


def test_a_ledger_of_one_row() -> None:
    found = calibrate(case([None, None, None, None, None, 750], lambda n: 600 + 10 * (n // 2)))
    assert (found.link, found.ran["2_m"]) == ("one-row", 620)


def test_a_restored_ledger_of_one_row_is_not_believed() -> None:
    found = calibrate(case([None, None, None, None, None, 750], lambda n: 600 + n))
    assert found.link == "none"
    found = calibrate(case([None, None, None, None, None, 750], lambda n: 690 - 10 * (n // 2)))
    assert found.link == "none", "each migration's own id, but in the order of names, not of migrations"


def test_what_a_block_wrote_bears_an_id_that_follows() -> None:
    found = calibrate(case(LEDGER, lambda n: LEDGER[n // 2] + 1 + n % 2, nested=True))
    assert (found.link, known(found)[741], known(found)[742]) == ("exact", "4", "4")


def test_a_tool_that_sets_savepoints() -> None:
    found = calibrate(case(LEDGER, lambda n: LEDGER[n // 2] + 1 + n % 2))
    assert (found.link, known(found)[741]) == ("subtransaction", "4")


def test_commit_times_make_one_of_subtransactions_however_far_apart() -> None:
    # A busy cluster: others took hundreds of ids between the savepoints of one migration.
    ledger = [1000 * n for n in range(1, 7)]
    written = {n: ledger[n // 2] + 400 + n for n in range(12)}
    at = {str(xid): f"2026-01-0{n + 1}T00:00:00.000001Z" for n, xid in enumerate(ledger)}
    at |= {str(xid): at[str(ledger[n // 2])] for n, xid in written.items()}
    found = calibrate(case(ledger, written, witnesses=[{"commits": at}]))
    assert (found.link, found.exact) == ("exact", True)
    assert known(found)[3404] == "2"
    assert calibrate(case(ledger, written)).link == "none"


def test_a_ledger_row_that_was_committed_days_after_it_says_is_not_believed() -> None:
    known_at = {str(xid): f"2026-01-0{n + 1}T00:00:00.00000{n}Z" for n, xid in enumerate(LEDGER)}
    there = case(LEDGER, lambda n: LEDGER[n // 2], witnesses=[{"commits": known_at}])
    rows = [{"xmin": xid, "applied_at": at} for xid, at in zip(LEDGER, known_at.values(), strict=True)]
    rows[2]["applied_at"] = "2025-06-01T00:00:00Z"
    there.actual.ledgers = [{"rows": rows}]
    found = calibrate(there)
    assert (found.link, sorted(found.ran)) == ("exact", ["0_m", "1_m", "3_m", "4_m", "5_m"])
    assert "another time than they say" in found.says


def test_ids_that_agree_with_nothing_are_not_believed() -> None:
    found = calibrate(case(LEDGER, lambda n: 3000 - 7 * n))
    assert (found.link, found.trusted) == ("none", False)
    assert found.foreign(function(3, 999)) == [], "nobody is accused on their account"


# --- further traces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "says"), [(8, "8 ids and has 6 rows: 2 rows were deleted"), (6, None)])
def test_ids_that_the_ledger_handed_out_and_does_not_have(last: int, says: str | None) -> None:
    there = case(LEDGER, lambda n: LEDGER[n // 2])
    there.ledger_tool = "django"
    rows = [{"position": n + 1, "xmin": xid, "applied_at": None} for n, xid in enumerate(LEDGER)]
    there.actual.ledgers = [
        {"tool": "django", "schema": "public", "table": "django_migrations", "rows": rows}
    ]
    there.actual.physical = {"counters": {"public.django_migrations": last}}
    search = Search(there, calibrate(there))
    finding = search.add("applied_not_recorded", "consistent", "…", [], evidence=[])
    traces.attach(search)
    assert [e.signal for e in finding.evidence] == (["ledger ids"] if says else [])
    assert not says or says in finding.evidence[0].says
