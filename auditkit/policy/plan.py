"""SQL that closes the doors, in an order that keeps the migration role working; printed, never executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from auditkit.catalog.grants import quote
from auditkit.catalog.sql import execute
from auditkit.policy.doors import Door, Judged
from auditkit.policy.powers import DOORS, View, granted
from auditkit.visible import visible

#: Parts of the plan, in order, and their headings.
ORDER = {
    "keep": "what the migration role needs, and had through others or not at all",
    "owners": "objects go to the migration role; their former owners keep reading and writing",
    "grants": "privileges that let others create",
    "definers": "functions that run with their owner's rights",
    "defaults": "privileges on what is created later",
    "memberships": "ways from role to role",
    "attributes": "attributes of roles",
}


@dataclass(frozen=True)
class Step:
    """One statement: its part, what it closes (``Door.label``), and what may break."""

    part: str
    sql: str
    closes: tuple[str, ...] = ()
    breaks: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"part": self.part, "sql": self.sql, "closes": list(self.closes), "breaks": self.breaks}


def plan(judged: Judged) -> list[Step]:
    """The statements that close every door which should be closed, each once."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    seen: set[int] = set()
    for door in judged.open:
        if id(door.close) in seen:
            continue  # many reach one power, which is closed once
        seen.add(id(door.close))
        label = door.label
        for close in door.close:
            found.setdefault((close.part, close.sql), {}).setdefault(label, DOORS[door.kind][2])
    steps = [
        Step(part, sql, tuple(labels), next(iter(labels.values()))) for (part, sql), labels in found.items()
    ]
    if steps:
        steps += [Step("keep", sql) for sql in _kept(judged.view, judged.open)]
    order = [*ORDER]
    return sorted(steps, key=lambda step: order.index(step.part))


def _kept(view: View, doors: Iterable[Door]) -> Iterator[str]:
    """CREATE for the migration role wherever objects go to it, or PUBLIC or a group loses it."""
    if view.roles.get(view.migrator).superuser:
        return
    mine = {name for name, reach in view.roles.reach(view.migrator).items() if reach.become is not None}
    schemas = set()
    database = False
    seen: set[int] = set()
    for door in doors:
        if id(door.power) in seen:
            continue
        seen.add(id(door.power))
        for kind, identity in door.power.objects:
            fact = view.snapshot.get(kind, identity)
            if kind == "schema" and door.kind in ("schema_owner", "create_in_schema"):
                schemas.add(identity)
            elif kind == "database" and door.kind == "create_in_database":
                database = True
            elif door.kind == "owner" and fact is not None and fact.schema:
                schemas.add(quote(fact.schema))
    for identity in sorted(schemas):
        fact = view.snapshot.get("schema", identity)
        if fact is None or view.owns(fact) in mine:
            continue
        held = {p for grantee, p, _ in granted(fact) if grantee == view.migrator}
        if not held >= {"USAGE", "CREATE"}:
            yield f"GRANT USAGE, CREATE ON SCHEMA {identity} TO {view.migrator}"
    fact = view.snapshot.get("database", "database")
    if fact is None or not database or view.owns(fact) in mine:
        return
    if (view.migrator, "CREATE") not in {(grantee, p) for grantee, p, _ in granted(fact)}:
        grantee = view.migrator.replace("%", "%%")
        yield execute(f"GRANT CREATE ON DATABASE %I TO {grantee}")


def script(judged: Judged, name: str) -> str:
    """The plan as a script for psql, to be read first."""
    steps, view = plan(judged), judged.view
    lines = [
        f"-- Closes the doors to the schema of {visible(name)} ({visible(view.snapshot.manifest.get('database', ''))}).",
        "-- Read it, strike out what shall stay, then run it as a superuser: psql -v ON_ERROR_STOP=1 -f FILE",
        f"-- What others lose goes to {visible(view.migrator)}. auditkit has not run it, and does not.",
    ]
    if not steps:
        return "\n".join([*lines, "-- There is nothing to close."]) + "\n"
    lines += ["", "BEGIN;"]
    part, breaks = "", ""
    for step in steps:
        if step.part != part:
            part, breaks = step.part, ""
            lines += ["", f"-- {ORDER[part]}"]
        if step.breaks != breaks:
            breaks = step.breaks
            lines += [f"-- may break: {breaks}"] if breaks else []
        if step.closes:
            more = f" and {len(step.closes) - 3} more" if len(step.closes) > 3 else ""
            lines.append(f"-- closes {visible(', '.join(step.closes[:3]))}{more}")
        lines.append(f"{step.sql};")
    lines += ["", "COMMIT;"]
    rest = [door for door in judged.open if door.severity != "info" and not door.close]
    lines += [f"-- not closed here: {visible(d.role)} {visible(d.says())}" for d in rest]
    lines += [f"-- not closed here: {visible(h)}" for h in dict.fromkeys(_unclosable(judged))]
    return "\n".join(lines) + "\n"


def _unclosable(judged: Judged) -> Iterator[str]:
    for door in judged.open:
        yield from (hint for hint in door.power.hints if hint.startswith("extension "))
