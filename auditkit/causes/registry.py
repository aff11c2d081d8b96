"""The causes of drift, each declared once."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCES = ("proven", "consistent", "conjecture")


@dataclass(frozen=True)
class Cause:
    """A reason why an environment is not what its migrations say.

    ``meaning`` is one sentence for people; ``shown_by`` names what distinguishes it from its neighbours;
    ``clause`` is how it reads after the subject of a sentence, with the culprit's name for ``{migration}``;
    ``way_out`` is what to do about it.
    """

    name: str
    title: str
    meaning: str
    shown_by: str
    clause: str
    way_out: str


CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause(
            "manual_change",
            "Changed by hand",
            "Somebody changed the database directly, not through a migration.",
            "No replay of the migrations produces this state; where transaction ids can be trusted, the catalog row "
            "was last written in a transaction that recorded no migration.",
            "it was changed by hand, outside any migration",
            "Decide whether it stays: then write it down as a migration and record that as applied; else undo it. "
            "What opens a door is undone first.",
        ),
        Cause(
            "missing_migration",
            "Migration not applied",
            "A migration in the repository was not applied to this environment.",
            "The ledger has no row for it, and replaying without it gives exactly what the environment has.",
            "{migration} was never applied there",
            "Apply it; rehearse on a copy first where later ones were applied since.",
        ),
        Cause(
            "unknown_migration",
            "Migration not in the repository",
            "The ledger records a migration whose file is not in the repository.",
            "The ledger row matches no file by version, name or statements.",
            "a migration was applied that is not among the files",
            "Find its file, in another branch perhaps, and commit it; or write a migration that undoes it.",
        ),
        Cause(
            "out_of_order",
            "Applied out of order",
            "Migrations that do not commute were applied in another order than the files have.",
            "The ledger's order differs, and replaying in that order gives exactly what the environment has.",
            "{migration} was applied out of order",
            "Write a migration that states the final definition again; it does no harm where it holds already.",
        ),
        Cause(
            "edited_after_apply",
            "Edited after it was applied",
            "A migration file was changed after this environment had run it.",
            "The statements or checksum in the ledger differ from the file, and replaying what was really run gives "
            "exactly what the environment has.",
            "{migration} was edited after it was applied",
            "Put the file back as it was applied, and make the edit a migration of its own.",
        ),
        Cause(
            "applied_not_recorded",
            "Applied but not recorded",
            "A migration's whole effect is present, but the ledger does not know it.",
            "Everything the migration makes is there as it makes it, and its ledger row is missing.",
            "{migration} was applied but is not recorded",
            "Record it as applied, without running it.",
        ),
        Cause(
            "recorded_not_applied",
            "Recorded but never run",
            "The ledger says a migration was applied, but none of its effect is there.",
            "Everything the migration makes is as if it had never run, although it is recorded.",
            "{migration} is recorded but was not applied",
            "Take it out of the ledger and apply it.",
        ),
        Cause(
            "environment_difference",
            "The environments themselves differ",
            "Server, extension, collation or owner differ between environments; no migration is to blame.",
            "The difference is a property of the installation, or one owner stands consistently for another.",
            "the environments themselves differ",
            "Align the installation, or accept the difference with a reason and an end date.",
        ),
        Cause(
            "unknown",
            "Not explained",
            "The difference is real, but what is known does not tell why.",
            "A ledger could not be read, a migration could not be replayed, or the signals contradict each other.",
            "the cause could not be established",
            "Make readable what could not be read or replayed, then look again.",
        ),
        Cause(
            "partial_apply",
            "Half applied",
            "A migration failed, or stopped half-way.",
            "The ledger records that it failed, or does not record it; replaying its first statements after what the "
            "ledger records gives exactly what the environment has. Or an index that it made is invalid, as CREATE INDEX "
            "CONCURRENTLY leaves it when it fails.",
            "{migration} was applied only in part",
            "Run what is missing of it and record it as applied; or remove its remnants and apply it anew.",
        ),
        Cause(
            "captured_hotfix",
            "Hotfix captured later",
            "Something was made by hand, and a migration that makes the same was recorded later.",
            "Nothing differs, but where transaction ids can be trusted, the catalog rows were written before the migration "
            "ran, in a transaction that recorded none; the migration leaves what is there as it is (`IF NOT EXISTS`), "
            "or was only recorded. Information: there is nothing to repair.",
            "a hotfix was made by hand and captured by {migration} later",
            "Nothing has to be done.",
        ),
        Cause(
            "reverted_hotfix",
            "Hotfix taken back",
            "Something was changed by hand and changed back, or dropped and made again.",
            "Nothing differs, but where transaction ids can be trusted, the catalog rows were written after the migration "
            "that made them, in a transaction that recorded none. Rows that maintenance rewrites (TRUNCATE, VACUUM FULL, "
            "CLUSTER, REINDEX, the first foreign key or child of a table) do not count. Information, unless data went "
            "with what was dropped.",
            "a hotfix was made by hand and taken back",
            "Nothing has to be done, unless data went with what was dropped.",
        ),
        Cause(
            "restamped",
            "Recorded under another version",
            "The ledger records a migration under another version than its file has.",
            "The statements, checksum or name in the ledger are those of the file; the versions differ.",
            "{migration} is recorded under another version",
            "Record it under the version of its file and forget the other version; run nothing.",
        ),
        Cause(
            "rebaselined",
            "History squashed",
            "Several migrations were put together in one new file, and the ledger still records the old ones.",
            "The ledger's rows match no file, and a file that it does not record makes what they made.",
            "the history was squashed into {migration}",
            "Settle every other difference, then record the baseline as applied and forget the rows that it replaces.",
        ),
    )
}


def _page() -> str:
    lines = [
        "# Causes",
        "",
        "Generated from `auditkit/causes/registry.py` by `make docs`. [How a cause is proven](proof.md).",
        "",
    ]
    for cause in CAUSES.values():
        lines += [
            f"## {cause.name}",
            "",
            f"**{cause.title}**. {cause.meaning}",
            "",
        ]
        lines += [f"*Shown by:* {cause.shown_by}", "", f"*What to do:* {cause.way_out}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(_page(), end="")
