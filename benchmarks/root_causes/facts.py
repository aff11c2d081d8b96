"""The 62 scenarios that the search for causes was designed with, each with what covers it here.

A number leads to the scenarios of :data:`root_causes.scenarios.SCENARIOS` that inflict it on histories made at random
(``root_cause.py --facts`` runs them all), or, where that cannot be done on one server, to a test.
"""

from __future__ import annotations

__all__ = ["FACTS", "TESTS"]

#: Number → what happens, and the scenarios that do it.
FACTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("a column added by hand", ("01 column added",)),
    2: ("an index made by hand", ("02 index made",)),
    3: ("a function hotfixed, which masks the migration", ("03 function hotfixed",)),
    4: ("an index dropped by hand", ("04 index dropped",)),
    5: ("a migration skipped, no row", ("05 skipped", "skipped: an index")),
    6: ("a migration skipped, later ones fail", ("06 skipped, others need it",)),
    7: ("two migrations in the wrong order", ("07 wrong order, a function", "wrong order, a view")),
    8: ("the wrong order, no matter", ("08 wrong order, no matter",)),
    9: ("a file edited after it was applied", ("09 edited, a function", "edited twice")),
    10: ("comments or spaces edited", ("10 comment edited", "10 spaces edited")),
    11: ("edited, then edited back", ("11 edited and back",)),
    12: ("edited between two deployments", ("12 edited between two deployments",)),
    13: ("marked as applied, never run", ("13 recorded only", "13 recorded only, at the end")),
    14: ("all rows of the ledger written anew", ("14 rows written anew",)),
    15: ("a row deleted, the effect stays", ("15 row deleted", "15 row deleted, a function's rewrite")),
    16: ("a row under another version", ("16 restamped", "renumbered in git")),
    17: ("CREATE INDEX CONCURRENTLY failed", ("17 invalid index",)),
    18: ("REINDEX CONCURRENTLY left an index", ("18 left by REINDEX",)),
    19: ("stopped half-way without a transaction", ("19 stopped half-way", "stopped half-way, then marked")),
    20: ("a COMMIT inside, then a failure", ("20 a COMMIT inside",)),
    21: ("golang-migrate says dirty", ("21 dirty",)),
    22: ("a hotfix captured later", ("22 hotfix captured", "22 hotfix captured, a function")),
    23: ("a hotfix of another type, hidden", ("23 hotfix captured, of another type",)),
    24: ("a hotfix taken back", ("24 hotfix taken back", "hotfix taken back, a policy")),
    25: ("skipped, and a hand on the same function", ("25 skipped, and a hand on the same function",)),
    26: ("an index by hand, its neighbour skipped", ("26 skipped, and an index by hand",)),
    27: ("a constraint validated in one place", ("27 constraint validated",)),
    28: ("an enum value by hand, before another", ("28 enum value before",)),
    29: ("enum values by migrations, another order", ("29 order of enum values",)),
    30: ("columns in another order", ("30 order of columns",)),
    31: ("a default in other words, or with its cast", ("31 default in other words", "31 default with its cast")),
    32: ("a sequence that nothing owns any more", ("32 sequence let go",)),
    33: ("identity where it was serial", ("33 edited, was serial",)),
    34: ("a table renamed by hand", ("34 table renamed", "table moved")),
    35: ("a table dropped and made again", ("35 table made again",)),
    36: ("a column renamed, or dropped and another added", ("36 column renamed", "36 column dropped and another added")),
    37: ("a trigger disabled", ("37 trigger disabled",)),
    38: ("row level security off", ("38 row security off",)),
    39: ("a policy widened", ("39 policy widened",)),
    40: ("granted to everybody", ("40 granted to all",)),
    41: ("default privileges, and what was made since", ("41 default privileges, then a table",)),
    42: ("another owner, of one or of all", ("42 owner of one table", "42 owner of all")),
    43: ("an extension of another version", ("43 extension's version",)),
    44: ("an extension in another schema", ("44 extension's schema",)),
    45: ("another locale", ("45 another locale",)),
    46: ("a partition that only one has", ("46 partition made", "46 partition made by a job, by rule")),
    47: ("a partition detached", ("47 partition detached",)),
    48: ("some tenants lack an index", ("48 some tenants lack an index",)),
    49: ("another major version", ("49 another major version",)),
    50: ("a shadow of a later major version", ("50 a shadow of a later version",)),
    51: ("a check of one partition", ("51 check of one partition",)),
    52: ("restored from a dump, with drift", ("52 restored, and a hand", "restored", "restored in one transaction")),
    53: ("after pg_upgrade", ()),
    54: ("made in a block that catches errors", ("54 made in a block that catches errors", "savepoints")),
    55: ("rewritten by maintenance", ("55 truncated", "55 vacuumed in full", "55 vacuumed in full, all")),
    56: ("drizzle skips what came late", ("56 drizzle skips what came late",)),
    57: ("the history squashed", ("57 squashed",)),
    58: ("squashed, and a grant lost", ("58 squashed, a grant lost",)),
    59: ("from a branch", ("59 from a branch",)),
    60: ("the platform's schema changed", ("60 the platform changed",)),
    61: ("statements during the audit", ("61 statements during the audit",)),
    62: ("a ledger that cannot be read", ("62 ledger unreadable",)),
}  # fmt: skip

#: Number → the test that covers it, or adds what no random history shows.
TESTS: dict[int, str] = {
    41: "tests/test_causes.py::test_grants_that_follow_from_default_privileges_are_part_of_them",
    52: "tests/test_scenarios.py::test_a_restored_database_has_the_same_drift_on_less_evidence",
    53: "tests/test_pg_upgrade.py::test_an_upgrade_is_seen_and_nobody_is_blamed_for_it",
    61: "tests/test_catalog_capture.py::test_a_change_while_reading_makes_it_start_over",
}
