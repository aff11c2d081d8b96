"""A check and a fleet as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditkit.report.alerts.notice import clean
from auditkit.report.document import counted, listing, worst_first
from auditkit.report.fleet import cell, columns, fleet_of, says

Line = tuple[str, str | None]

#: So many findings are named; `auditkit explain` tells the rest.
MOST = 10
#: With more environments than these, those of which the same is said are told together.
FEW = 12
_COLOURS = {"critical": "red", "high": "red", "medium": "yellow"}
_MARKS = {"missing": "−", "unexpected": "+", "changed": "~"}


def checked(document: Mapping[str, Any]) -> Iterator[Line]:
    """What a check found, below its verdict: a line for each environment and group, the findings, what is gone."""
    since = document.get("since_last_run") or {}
    grouped = {name for group in document["fleet"]["groups"] for name in group["members"]}
    blocked = {item.get("environment") for item in document["not_checked"] if item.get("blocking", True)}
    alone = [env for env in document["environments"] if env["name"] not in grouped]
    alike: dict[str, list[str]] = {}
    for env in alone:
        state = _state(env, env["name"] in blocked)
        if len(alone) > FEW and not env["findings"] and not state.endswith("INCOMPLETE"):
            alike.setdefault(state, []).append(env["name"])
        else:
            yield f"  {clean(env['name'])}: {state}", None
    for state, names in alike.items():
        yield f"  {clean(listing(names))}: {state}", None
    fleet = fleet_of(document)
    for group in fleet["groups"]:
        yield f"  {clean(group['name'])}: {clean(says(group, fleet))}", None
    previous = since.get("previous")
    new = set(since.get("new", ())) if previous else set()
    shown = [f for f in worst_first(document["findings"]) if f["severity"] != "info"]
    shown.sort(key=lambda finding: finding["id"] not in new)
    for finding in shown[:MOST]:
        mark = "new  " if finding["id"] in new and finding["environment"] not in since["first"] else ""
        cause = f"{finding['cause']}, {finding['confidence']}, {finding['id']}"
        yield (
            f"{mark}{finding['severity'].upper()}  {clean(finding['title'])}  [{cause}]",
            _COLOURS.get(finding["severity"]),
        )
    if len(shown) > MOST:
        yield f"and {counted(len(shown) - MOST, 'more finding')}", None
    for finding in since.get("resolved", ())[:MOST]:
        yield f"gone  {clean(finding['title'])}  [{finding['id']}]", "green"
    for violation in document["fleet"]["violations"][:MOST]:
        yield f"order  {clean(violation['says'])}", "yellow"
    if previous and not new and not since.get("resolved") and not since.get("newly_unread"):
        yield f"unchanged since the last check, {previous[:16].replace('T', ' ')} UTC", None


def next_step(document: Mapping[str, Any]) -> str | None:
    """The command that tells more."""
    for finding in worst_first(document["findings"]):
        if finding["severity"] == "info":
            continue
        if "schemas" in finding:
            return "auditkit fleet"
        return f"auditkit explain {clean((finding.get('environments') or [finding['environment']])[0])}"
    return None


def _state(env: Mapping[str, Any], blocked: bool) -> str:
    if env["fingerprint"] is None:
        return "not read  INCOMPLETE"
    ledger = env["ledger"]
    state = f"{ledger['applied']} applied, {ledger['pending']} pending" if ledger else "no ledger"
    whole = env["status"] == "complete" and not blocked
    return f"{counted(env['findings'], 'finding')}, {state}{'' if whole else '  INCOMPLETE'}"


def matrix(fleet: Mapping[str, Any], *, everything: bool = False) -> Iterator[Line]:
    """The matrix: migrations and drifted objects down, environments and groups across."""
    names = columns(fleet)
    heads = [f"{name} ({len(members)})" if members != [name] else name for name, members in names.items()]
    if fleet["order"]:
        yield f"promotion order: {' → '.join(map(clean, fleet['order']))}", None
    unread = {e["name"] for e in fleet["environments"] if e["fingerprint"] is None}
    alike = 0
    history, drift = [], []
    for row in fleet["migrations"]:
        cells = [_migration(row, members, unread) for members in names.values()]
        if {*cells} <= {"applied"}:
            alike += 1
            if not everything:
                continue
        history.append([clean(f"{row['version']} {row['name']}", 60), *cells])
    for item in fleet["objects"]:
        cells = []
        for members in names.values():
            states = {n: item["environments"].get(n, "?" if n in unread else "·") for n in members}
            text = cell(states, members, "·")
            cells.append(f"{_MARKS[text]} {text}" if text in _MARKS else text)
        drift.append([clean(f"{item['kind']} {item['identity']}", 70), *cells])
    if len(heads) > FEW and not everything:
        apart = {n for n, (name, of) in enumerate(names.items()) if of != [name] or name in fleet["order"]}
        heads, history, drift = _merged(heads, history, drift, apart)
    yield from _table(["migration", *heads], history)
    if alike and not everything:
        yield f"{counted(alike, 'migration is', 'migrations are')} applied everywhere.", None
    if drift:
        yield "", None
    limit = len(drift) if everything else 40
    yield from _table(["drifted object", *heads], drift[:limit])
    if len(drift) > limit:
        yield f"and {len(drift) - limit:,} more (--all lists them)", None
    for name in sorted(unread):
        yield f"{clean(name)}: not read", None
    if not drift and not unread:
        yield "No object differs from the migrations.", None
    for group in fleet["groups"]:
        yield f"group {clean(group['name'])}: {clean(says(group, fleet))}", None
    for finding in fleet["findings"]:
        if members := finding.get("environments") or finding.get("schemas"):
            yield (
                f"{finding['severity'].upper()}  {clean(finding['title'])}  [{finding['cause']}, {finding['id']}]",
                _COLOURS.get(finding["severity"]),
            )
            yield f"    {clean(listing(members, len(members) if everything else 8), 4000)}", None
    for violation in fleet["violations"]:
        yield f"out of order: {clean(violation['says'])}", "yellow"


def _migration(row: Mapping[str, Any], members: list[str], unread: set[str]) -> str:
    states = dict(row["states"])
    absent = "not readable" if row["file"] else "·"
    for name in members:
        states.setdefault(name, "?" if name in unread else absent)
    return cell(states, members, absent)


def _merged(
    heads: list[str], history: list[list[str]], drift: list[list[str]], apart: set[int]
) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """The matrix with the columns that say the same throughout as one, but for those *apart*."""
    rows = [*history, *drift]
    alike: dict[tuple[str, ...], list[int]] = {}
    for n in range(len(heads)):
        own = (str(n),) if n in apart else ()
        alike.setdefault((*own, *(row[n + 1] for row in rows)), []).append(n)
    chosen = list(alike.values())
    rows = [[row[0], *(row[same[0] + 1] for same in chosen)] for row in rows]
    together = [listing([heads[n] for n in same], 2) for same in chosen]
    return together, rows[: len(history)], rows[len(history) :]


def _table(head: list[str], rows: list[list[str]]) -> Iterator[Line]:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in (head, *rows):
        yield "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip(), None
