"""What the installation itself explains: how the database was created, versions, one owner for another."""

from __future__ import annotations

from auditkit.causes.case import Evidence
from auditkit.causes.evidence import owner_shift
from auditkit.causes.search import Search, listed, shown


def installation(search: Search) -> None:
    _database(search)
    _extensions(search)
    _collations(search)
    _owners(search)


def _database(search: Search) -> None:
    for key in [k for k in search.open if k[0] == "database"]:
        deltas = search.open[key]
        if any(d.attribute == "settings" for d in deltas):
            continue  # somebody set them
        search.add(
            "environment_difference",
            "proven",
            f"{search.env}: the database itself was created differently ({listed(d.attribute or '' for d in deltas)})",
            [key],
            evidence=[
                Evidence("catalog", f"{d.attribute}: {shown(d.left)} was meant, {shown(d.right)} is here")
                for d in deltas
            ],
        )


def _extensions(search: Search) -> None:
    words = {"version": "version", "extension_schema": "schema"}
    for key in [k for k in search.open if k[0] == "extension"]:
        deltas = search.open[key]
        if any(d.attribute not in words for d in deltas):
            continue
        says = "; ".join(
            f"{words[d.attribute or '']} {shown(d.left)} was meant, {shown(d.right)} is here" for d in deltas
        )
        search.add(
            "environment_difference",
            "proven",
            f"extension {key[1]} differs in {search.env}: {says}",
            [key],
            evidence=[
                Evidence("catalog", f"{says}."),
                Evidence(
                    "members", "Its member objects follow the extension and are not compared one by one."
                ),
            ],
        )


def _collations(search: Search) -> None:
    for key in [k for k in search.open if k[0] == "collation"]:
        if all(d.attribute == "version" for d in search.open[key]):
            search.add(
                "environment_difference",
                "proven",
                f"collation {key[1]} has another version in {search.env}",
                [key],
                evidence=[
                    Evidence("catalog", "Collation versions come from the operating system or ICU library.")
                ],
            )


def _owners(search: Search) -> None:
    shift = owner_shift(search.case)
    if shift is None:
        return
    meant, actual, keys = shift
    search.add(
        "environment_difference",
        "consistent",
        f"{search.env}: {len(keys)} objects belong to {actual} where {meant} was meant",
        keys,
        deltas=search.claim(d for k in keys for d in search.open[k] if d.attribute == "owner"),
        evidence=[
            Evidence(
                "owner",
                f"{len(keys)} of the objects that {meant} should own belong to {actual}; one owner "
                "consistently stands for the other.",
            )
        ],
        alternatives=[("manual_change", "Somebody may have given all of them to another owner.")],
    )
