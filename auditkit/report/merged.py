"""Several audit documents, one of each environment, as one document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import auditkit
from auditkit.config import Settings
from auditkit.report.document import FORMAT, headline_of, verdict_of, worst_first


def merged(
    documents: Sequence[Mapping[str, Any]],
    *,
    settings: Settings,
    baseline: str,
    fail_on: str,
    problems: Sequence[Mapping[str, Any]] = (),
    unread: Mapping[str, Any] | Sequence[str] = (),
    order: Sequence[str] = (),
    command: str = "",
) -> dict[str, Any]:
    """The document ``auditkit.audit/1`` of all *documents*; *unread* are environments that have none.

    Every environment was audited by itself; here its part is put beside the others, and nothing is found anew.
    *order* is that of the environments.
    """
    environments = [e for d in documents for e in d["environments"]] + [_absent(name) for name in unread]
    place = {name: n for n, name in enumerate(order)}
    environments.sort(key=lambda e: place.get(e["name"], len(place)))
    findings = worst_first(f for d in documents for f in d["findings"])
    not_checked = [*problems, *(item for d in documents for item in d["not_checked"])]
    document: dict[str, Any] = {
        "format": FORMAT,
        "tool": {"name": "auditkit", "version": auditkit.__version__},
        "created_at": _now(),
        "notebook": None,
        "command": command,
        "verdict": verdict_of(findings, not_checked, fail_on),
        "headline": "",
        "fail_on": fail_on,
        "baseline": baseline,
        "environments": environments,
        "deltas": [delta for d in documents for delta in d["deltas"]],
        "findings": findings,
        "migrations": _migrations(documents),
        "timeline": _timeline(documents),
        "residual": sum(d["residual"] for d in documents),
        "unmodelled": [item for d in documents for item in d["unmodelled"]],
        "not_checked": not_checked,
        "coverage": _coverage(documents, settings),
        "replay": next((d["replay"] for d in documents if d["replay"]), None),
    }
    if tenants := [about for d in documents for about in d.get("tenants", ())]:
        document["tenants"] = tenants
    document["headline"] = headline_of(document)
    return document


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _absent(name: str) -> dict[str, Any]:
    """An environment that could not be read."""
    nothing = dict.fromkeys(
        ("server_version", "server", "database", "role", "captured_at", "fingerprint", "ledger")
    )
    return {"name": name, **nothing, "status": "incomplete", "facts": 0, "findings": 0}


def _migrations(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each migration, with its state everywhere; rows that only one ledger has stay where they are there."""
    rows: list[tuple[Any, ...]] = []
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for document in documents:
        last = -1
        for item in document["migrations"]:
            key = (item["version"], item["name"], item["file"])
            if key in merged:
                merged[key]["states"] |= item["states"]
                last = rows.index(key) if len(documents) <= _FEW else last
            else:
                merged[key] = {**item, "states": dict(item["states"])}
                last = last + 1 if rows and len(documents) <= _FEW else len(rows)
                rows.insert(last, key)
    return [merged[key] for key in rows]


#: With more documents than this, rows that no file has are put at the end rather than in their place.
_FEW = 20


def _timeline(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    events = {(e["at"], e["kind"], e["label"], e["environment"]): e for d in documents for e in d["timeline"]}
    return [events[key] for key in sorted(events, key=lambda key: (*key[:3], key[3] or ""))]


def _coverage(documents: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    parts = [d["coverage"] for d in documents]
    counts = [0] * len(settings.ignore)
    for part in parts:
        for n, item in enumerate(part["suppressed"][: len(counts)]):
            counts[n] += item["count"]
    return {
        "facts": sum(part["facts"] for part in parts),
        "kinds": max((part["kinds"] for part in parts), default=0),
        "managed": [item for part in parts for item in part["managed"]],
        "extension_members": sum(part["extension_members"] for part in parts),
        "suppressed": [rule.as_dict(count) for rule, count in zip(settings.ignore, counts, strict=True)],
    }
