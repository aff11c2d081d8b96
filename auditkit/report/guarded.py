"""The policy that only migrations change the schema: as lines for a terminal, and as a section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from auditkit.report.document import Audit, document_of
from auditkit.report.html import Fragment, render, time
from auditkit.visible import visible

#: So many doors of one role, and so many people, are shown; the JSON has all of them.
_MOST = 6
Line = tuple[str, str | None]


def guarded(environment: Mapping[str, Any]) -> Iterator[Line]:
    """Lines and their colours, of one entry of ``environments`` in ``auditkit.policy/1``."""
    name = visible(environment["name"])
    allowed = ", ".join(visible(role) for role in environment["migration_roles"])
    open_doors = [d for d in environment["doors"] if d["judged"] == "door" and d["severity"] != "info"]
    yield "", None
    if open_doors:
        roles = len({d["role"] for d in open_doors})
        what = "role" if roles == 1 else "roles"
        yield f"{name}: {roles} {what} besides {allowed} can change the schema", None
    else:
        yield f"{name}: only {allowed} can change the schema, as it should be", None
    for role, group in groupby(sorted(open_doors, key=_by_role(open_doors)), key=lambda d: d["role"]):
        yield from _role(role, list(group))
    for door in environment["doors"]:
        if door["judged"] == "door" and door["severity"] == "info":
            yield f"  INFO  {visible(door['role'])} {visible(door['says'])}", None
    yield from _seen(environment)
    ages = environment["stale"]
    if ages["migrated_at"]:
        yield f"  last migration {time(ages['migrated_at'])}", None
    for says in ages["says"]:
        yield f"  stale: {says}", "yellow"
    if open_doors:
        yield f"  next: auditkit policy {name} --sql", None


def _by_role(doors: Sequence[Mapping[str, Any]]) -> Any:
    """Roles in the order of their worst doors."""
    first = {d["role"]: n for n, d in reversed([*enumerate(doors)])}
    return lambda d: first[d["role"]]


def _role(role: str, doors: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    who = "PUBLIC (everybody)" if role == "PUBLIC" else visible(role)
    for door in doors[:_MOST]:
        colour = {"critical": "red", "high": "red", "medium": "yellow"}.get(door["severity"])
        yield (
            f"  {door['severity'].upper()}  {who} {visible(door['says'])}  [{door['door']}, {door['id']}]",
            colour,
        )
        if door["chain"]:
            yield f"      {chain(door['chain'])}", None
        for hint in door["hints"][:3]:
            yield f"      {visible(hint)}", None
    if len(doors) > _MOST:
        yield f"  and {len(doors) - _MOST} more doors of {who}", None


def chain(steps: Sequence[Mapping[str, str]]) -> str:
    """``alice inherits devs, may SET ROLE owner``."""
    words = {"inherits": "inherits", "set role": "may SET ROLE", "grants itself": "may grant itself"}
    parts = [f"{words[step['by']]} {visible(step['role'])}" for step in steps]
    return f"{visible(steps[0]['member'])} {', '.join(parts)}"


def _seen(environment: Mapping[str, Any]) -> Iterator[Line]:
    captured = environment["captured"]
    says = "changes to the schema leave a name" if captured else "changes to the schema leave no name"
    yield f"  {says}", None if captured else "yellow"
    for item in environment["witnesses"]:
        since = f", since {time(item['since'])}" if item["since"] else ""
        words = visible(item["says"])
        yield f"    {'✓' if item['heard'] else '·'} {item['name'].replace('_', ' ')}: {words}{since}", None
    hands = [row for row in environment["lately"] if not row["migration"]]
    for row in hands[:_MOST]:
        at = f"last on {time(row['at'])}" if row["at"] else "at an unknown time"
        as_role = f" as {visible(row['role'])}" if row["role"] and row["role"] != row["session_user"] else ""
        person = visible(row["session_user"] or row["role"]) + (as_role if row["session_user"] else "")
        app = f" with {visible(row['application'])}" if row["application"] else ""
        what = "statement" if row["count"] == 1 else "statements"
        yield (
            f"  lately: {person}{app}: {row['count']} {what}, {at} ({row['witness'].replace('_', ' ')})",
            None,
        )
    if len(hands) > _MOST:
        yield f"  and {len(hands) - _MOST} more", None


def doors(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Who besides the migrations can change the schema, in each environment; whether changes are seen; what is stale."""
    policy = document_of(audit).get("policy")
    if not policy:
        return render("nothing", text := "Who can change the schema was not asked.", title=text)
    rows = []
    for environment in policy["environments"]:
        for door in environment["doors"]:  # worst first already
            steps = chain(door["chain"]) if door["chain"] else ""
            rows.append({**door, "environment": environment["name"], "how": steps})
    return render(
        "doors",
        policy["headline"],
        title=policy["headline"],
        rows=[row for row in rows if row["severity"] != "info"],
        environments=policy["environments"],
    )
