"""What the last check of each environment found: one small file, so that a check can tell news from what is known.

``check.json`` in the reports folder holds, for each environment by itself, when it was checked last, its findings with
the time they were first seen, and what could not be read. Nothing else depends on it: without it everything is new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auditkit.report.document import compare_runs

FORMAT = "auditkit.checks/1"
NAME = "check.json"


def load(folder: Path) -> dict[str, Any]:
    """What is known, by environment; empty if there is no file that can be read."""
    try:
        kept = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if (
        not isinstance(kept, dict)
        or kept.get("format") != FORMAT
        or not isinstance(kept.get("environments"), dict)
    ):
        return {}
    return {
        name: entry
        for name, entry in kept["environments"].items()
        if isinstance(entry, dict) and {"at", "baseline", "findings", "unread"} <= entry.keys()
    }


def since(document: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """*document* with ``since_last_run``, and ``first_seen`` in each finding.

    Beside what ``compare_runs`` tells: ``newly_unread`` (something cannot be looked at that could be), ``recovered``
    (something was wrong and nothing is any more), ``first`` (environments that were never checked before).
    """
    mine = {name: known[name] for name in _places(document) if name in known}
    mine = {name: entry for name, entry in mine.items() if entry["baseline"] == document["baseline"]}
    before = _as_now([f for entry in mine.values() for f in entry["findings"]], document["findings"])
    first = {finding["id"]: finding.get("first_seen") for finding in before}
    findings = [
        {**finding, "first_seen": first.get(finding["id"]) or document["created_at"]}
        for finding in document["findings"]
    ]
    now = {**document, "findings": findings}
    last = max((entry["at"] for entry in mine.values()), default=None)
    complete = [{"name": name, "status": "complete"} for name in _read_groups(document)]
    seen = {**now, "environments": [*document["environments"], *complete]}
    compared = compare_runs({"created_at": last, "findings": before} if mine else None, seen)
    wider = _wider(before, findings)
    compared["new"] += [key for key in compared["persisting"] if key in wider]
    compared["persisting"] = [key for key in compared["persisting"] if key not in wider]
    unread = {name for name, entry in mine.items() if entry["unread"]}
    blocked = _blocked(document)
    compared["newly_unread"] = sorted(blocked - unread) if mine else []
    was_bad = any(entry["verdict"] in ("FAIL", "INCOMPLETE") for entry in mine.values())
    compared["recovered"] = was_bad and document["verdict"] not in ("FAIL", "INCOMPLETE")
    compared["first"] = [name for name in _places(document) if name not in mine] if mine else []
    return {**now, "since_last_run": compared}


def save(folder: Path, document: Mapping[str, Any], known: Mapping[str, Any]) -> str | None:
    """Keep what *document* found beside what is known of other environments; why that failed in one line, or None."""
    entries = dict(known)
    blocked = _blocked(document)
    unconfirmed = (document.get("since_last_run") or {}).get("unconfirmed", ())
    for name in _places(document):
        mine = [f for f in document["findings"] if f["environment"] == name]
        entries[name] = {
            "at": document["created_at"],
            "baseline": document["baseline"],
            "verdict": document["verdict"],
            "findings": [*mine, *(f for f in unconfirmed if f["environment"] == name)],
            "unread": name in blocked,
        }
    text = json.dumps({"format": FORMAT, "environments": entries}, ensure_ascii=False, indent=1, default=str)
    temporary = folder / f".{NAME}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(folder / NAME)
    except OSError as error:
        return f"{folder / NAME} cannot be written: {error.strerror}; the next check cannot tell what is new"
    return None


def _places(document: Mapping[str, Any]) -> list[str]:
    """The environments of a document, and whatever else findings and problems are filed under: groups."""
    names = [e["name"] for e in document["environments"]]
    names += [group["name"] for group in (document.get("fleet") or {}).get("groups", ())]
    names += [
        item["environment"]
        for item in (*document["findings"], *document["not_checked"])
        if item.get("environment")
    ]
    return list(dict.fromkeys(names))


def _blocked(document: Mapping[str, Any]) -> set[str]:
    return {str(i.get("environment") or "") for i in document["not_checked"] if i.get("blocking", True)}


def _read_groups(document: Mapping[str, Any]) -> list[str]:
    """The groups of databases that were read without a gap: what is gone there is resolved."""
    blocked = _blocked(document)
    whole = {e["name"] for e in document["environments"] if e["status"] == "complete"} - blocked
    return [
        group["name"]
        for group in (document.get("fleet") or {}).get("groups", ())
        if group["members"] and whole.issuperset(group["members"]) and group["name"] not in blocked
    ]


def _as_now(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """*before* under the ids of *now*: a finding of one database becomes one of its group when another joins, and back."""
    ids = {key: f["id"] for f in now for key in (f["id"], *f.get("members", ()))}
    found: dict[str, dict[str, Any]] = {}
    for finding in before:
        keys = (finding["id"], *finding.get("members", ()))
        id_now = next((ids[key] for key in keys if key in ids), finding["id"])
        earlier = found.get(id_now)
        names = {*finding.get("environments", ()), *(earlier or {}).get("environments", ())}
        found[id_now] = {
            **finding,
            **(earlier or {}),
            "id": id_now,
            **({"environments": sorted(names)} if names else {}),
        }
    return list(found.values())


def _wider(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> set[str]:
    """Findings of groups that more members have than before."""
    members = {f["id"]: {*f.get("environments", ()), *f.get("schemas", ())} for f in before}
    return {
        f["id"]
        for f in now
        if f["id"] in members and {*f.get("environments", ()), *f.get("schemas", ())} - members[f["id"]]
    }
