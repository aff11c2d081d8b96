"""Many environments as one picture: who is ahead of whom, what drifted where, and groups told as one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from auditkit.report.document import counted, headline_of, listing, worst_first

#: States in which a migration's effect is meant to be there.
THERE = frozenset({"applied", "edited", "out_of_order", "restamped"})
_SIGNS = {"missing": "missing", "unexpected": "unexpected", "changed": "changed"}


def fold(document: dict[str, Any], members: Mapping[str, str]) -> dict[str, Any]:
    """Findings that databases of one group share, as one finding with the list of databases.

    *members* is environment → group. A folded finding has ``environments``, and ``members``: the ids that `explain` gives
    it there. Its own id is made of the group, the cause and the objects, so that it stays the same when another joins.
    """
    sizes: dict[str, int] = defaultdict(int)
    for group in members.values():
        sizes[group] += 1
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    kept = []
    for finding in document["findings"]:
        if finding["environment"] not in members:
            kept.append(finding)
            continue
        group = members[finding["environment"]]
        culprit = finding["migration"] or {}
        objects = tuple((o["kind"], o["identity"]) for o in finding["objects"])
        key = (group, finding["cause"], finding["severity"], culprit.get("version"), objects)
        alike[key].append(finding)
    ids: dict[str, str] = {}
    for (group, cause, _, version, objects), found in alike.items():
        words = repr((group, cause, version, objects))
        identity = f"f-{hashlib.sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        first, names = found[0], [finding["environment"] for finding in found]
        if len(names) > 1:
            ids |= {finding["id"]: identity for finding in found}
        title = first["title"]
        where = names[0] if len(names) == 1 else f"{len(names)} of {sizes[group]} databases of {group}"
        kept.append(
            {
                **first,
                "id": identity if len(names) > 1 else first["id"],
                "environment": names[0] if len(names) == 1 else group,
                "environments": names,
                "members": [finding["id"] for finding in found],
                "title": title.replace(names[0], where) if names[0] in title else f"{where}: {title}",
            }
        )
    deltas = [
        {**delta, "finding": ids.get(delta["finding"], delta["finding"])} for delta in document["deltas"]
    ]
    folded = {**document, "findings": worst_first(kept), "deltas": deltas}
    folded["headline"] = headline_of(folded)
    return folded


def violations(
    document: Mapping[str, Any], order: Sequence[str], members: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """What an environment has that an earlier one of the promotion order lacks: one entry for each migration and pair.

    A group stands where its name does in *order*: it has what any of its databases has, and lacks what any lacks.
    """
    members = members or {}
    names = [e["name"] for e in document["environments"]]
    places = {name: members.get(name, name) for name in names}
    found = []
    for row in document["migrations"]:
        has = {
            places[n] for n, state in row["states"].items() if n in places and state in {*THERE, "unknown"}
        }
        lacks = {
            places[n]
            for n in names
            if n in places
            and _readable(n, document)
            and row["states"].get(n, "pending") in ("pending", "failed")
        }
        for n, later in enumerate(order):
            for earlier in order[:n]:
                if later in has and earlier in lacks:
                    found.append(
                        {
                            "version": row["version"],
                            "name": row["name"],
                            "file": row["file"],
                            "environment": later,
                            "lacking": earlier,
                            "says": f"{later} has {'_'.join(filter(None, (row['version'], row['name'])))}, "
                            f"which {earlier} lacks",
                        }
                    )
    return found


def _readable(name: str, document: Mapping[str, Any]) -> bool:
    """Whether it is known what the ledger of an environment lacks."""
    return any(name in row["states"] for row in document["migrations"])


def fleet_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document ``auditkit.fleet/1``: environments × migrations, environments × drifted objects, groups, order."""
    fleet = document["fleet"]
    members = {name: group["name"] for group in fleet["groups"] for name in group["members"]}
    rank = {name: n for n, name in enumerate(fleet["order"])}
    objects: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    findings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for delta in document["deltas"]:
        key = delta["kind"], delta["identity"]
        objects[key][delta["environment"]] = _SIGNS[delta["change"]]
        if delta["finding"]:
            findings[key].add(delta["finding"])
    drifted: dict[str, int] = defaultdict(int)
    for states in objects.values():
        for name in states:
            drifted[name] += 1
    blocked = {item.get("environment") for item in document["not_checked"] if item.get("blocking", True)}
    return {
        "format": "auditkit.fleet/1",
        "created_at": document["created_at"],
        "verdict": document["verdict"],
        "headline": document["headline"],
        "order": fleet["order"],
        "environments": [
            {
                "name": e["name"],
                "group": members.get(e["name"]),
                "place": rank.get(members.get(e["name"], e["name"])),
                "status": "incomplete" if e["name"] in blocked or e["status"] != "complete" else "complete",
                "fingerprint": e["fingerprint"],
                "head": (e["ledger"] or {}).get("head"),
                "applied": (e["ledger"] or {}).get("applied"),
                "pending": (e["ledger"] or {}).get("pending"),
                "findings": e["findings"],
                "drifted": drifted.get(e["name"], 0),
            }
            for e in document["environments"]
        ],
        "migrations": [
            {key: row[key] for key in ("version", "name", "file", "states")} for row in document["migrations"]
        ],
        "objects": [
            {
                "kind": kind,
                "identity": identity,
                "environments": dict(states),
                "findings": sorted(findings[kind, identity]),
            }
            for (kind, identity), states in sorted(objects.items())
        ],
        "groups": fleet["groups"],
        "tenants": document.get("tenants", []),
        "violations": fleet["violations"],
        "findings": document["findings"],
        "not_checked": document["not_checked"],
    }


def columns(fleet: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of the matrix: an environment each, and one for each group, whose members are told apart by numbers."""
    found: dict[str, list[str]] = {}
    for environment in fleet["environments"]:
        found.setdefault(environment["group"] or environment["name"], []).append(environment["name"])
    place = {name: n for n, name in enumerate(fleet["order"])}
    return {name: found[name] for name in sorted(found, key=lambda name: place.get(name, len(place)))}


def cell(states: Mapping[str, str], names: Sequence[str], otherwise: str) -> str:
    """One state for one environment; for a group its state if all agree, else how many are in which."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[states.get(name, otherwise)] += 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), key=lambda item: -item[1]))


def says(group: Mapping[str, Any], fleet: Mapping[str, Any]) -> str:
    """A group in one line."""
    mine = [e for e in fleet["environments"] if e["group"] == group["name"]]
    if group["what"] == "schemas":
        about = next((t for t in fleet["tenants"] if t["group"] == group["name"]), None)
        return about["says"] if about else f"{group['environment']} could not be read"
    drifting = [e["name"] for e in mine if e["drifted"] or e["findings"]]
    unread = [e["name"] for e in mine if e["status"] != "complete"]
    parts = [counted(len(mine), "database")]
    parts.append(f"{len(drifting)} with findings ({listing(drifting)})" if drifting else "all as migrated")
    if unread:
        parts[-1] = parts[-1].replace("all as migrated", "no findings in those that were read")
        parts.append(f"{len(unread)} not read ({listing(unread)})")
    return ", ".join(parts)
