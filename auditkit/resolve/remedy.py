"""For every cause the recommended way out: source of truth, steps, hazards.

Nothing here is executed. Commands are written for the project's own migration tool; ``$DATABASE_URL``
stands for the environment, because a report holds no connection string.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact, Snapshot
from auditkit.catalog.sql import Change
from auditkit.causes.case import Case, Finding, Key
from auditkit.resolve.objections import Objection

Remedy = dict[str, Any]


def remedy(finding: Finding, case: Case) -> Remedy:
    """The recommended way out of *finding*, as the audit document holds it.

    Returns a dict with ``summary``, ``source_of_truth`` (``migrations``, ``environment`` or ``person``),
    ``steps`` (``title`` and a ``command`` or ``sql``, or neither) and ``hazards``.
    """
    if isinstance(finding, Objection):
        return finding.remedy
    return _REMEDIES.get(finding.cause, _unknown)(finding, case)


def _remedy(summary: str, truth: str, steps: list[Remedy], hazards: list[str] | None = None) -> Remedy:
    return {"summary": summary, "source_of_truth": truth, "steps": steps, "hazards": hazards or []}


def _step(title: str, command: str | None = None, sql: str | None = None) -> Remedy:
    return {"title": title, "command": command, "sql": sql}


def _check(finding: Finding) -> Remedy:
    return _step("Look again", f"auditkit explain {shlex.quote(finding.environment)}")


#: Per tool: apply what is pending (out-of-order files included), record a version without running it,
#: and forget a version. Supabase: CLI 3 takes --remote where CLI 1 and 2 take --linked.
_APPLY = {
    "supabase": 'supabase db push --db-url "$DATABASE_URL" --include-all',
    "dbmate": 'dbmate --url "$DATABASE_URL" up',
    "alembic": "alembic upgrade head",
    "django": "python manage.py migrate",
    "prisma": "npx prisma migrate deploy",
}
_RECORD = {
    "supabase": 'supabase migration repair {version} --status applied --db-url "$DATABASE_URL"',
    "alembic": "alembic stamp {version}",
    "django": "python manage.py migrate {app} {migration} --fake",
    "prisma": "npx prisma migrate resolve --applied {label}",
    "dbmate": """psql "$DATABASE_URL" -c "INSERT INTO schema_migrations (version) VALUES ('{version}')\"""",
}
_FORGET = {
    "supabase": 'supabase migration repair {version} --status reverted --db-url "$DATABASE_URL"',
    "prisma": "npx prisma migrate resolve --rolled-back {label}",
}
_NEW = {
    "supabase": "supabase migration new {slug}",
    "dbmate": "dbmate new {slug}",
    "alembic": "alembic revision -m {slug}",
    "django": "python manage.py makemigrations --empty -n {slug} APP",
    "prisma": "npx prisma migrate dev --create-only --name {slug}",
}


def record(tool: str, version: str, name: str) -> str | None:
    """The command that records a migration as applied without running it; None if the tool has none."""
    words = {
        "version": shlex.quote(version),
        "name": shlex.quote(name),
        "label": shlex.quote(f"{version}_{name}"),
        **_in_app(version),
    }
    return _RECORD[tool].format(**words) if tool in _RECORD else None


def _in_app(version: str) -> dict[str, str]:
    app, _, name = version.partition(".")
    return {"app": shlex.quote(app), "migration": shlex.quote(name)}


def _tool(commands: dict[str, str], case: Case, finding: Finding, slug: str = "") -> str | None:
    template = commands.get(case.ledger_tool or "")
    if template is None:
        return None
    culprit = finding.culprit
    words = {
        "version": shlex.quote(culprit.version if culprit else ""),
        "name": shlex.quote(culprit.name if culprit else ""),
        "label": shlex.quote(finding.entry.label if finding.entry else ""),
        "slug": slug,
        **_in_app(culprit.version if culprit else ""),
    }
    return template.format(**words)


def _renamed(finding: Finding, case: Case) -> Remedy:
    assert finding.renamed
    old, new = finding.renamed
    slug = f"rename_{_slug(old[1])}"
    return _remedy(
        "Decide which name stays: capture the new one in a migration and record that as applied; or rename back.",
        "person",
        [
            _step(
                "To keep it: write it down as a migration",
                _tool(_NEW, case, finding, slug),
                _rename(old, new),
            ),
            _step("To take it back: give it its old name", None, _rename(new, old)),
            _check(finding),
        ],
        ["Rename it; dropping the one and making the other loses the data in it."]
        if old[0] in ("table", "table column")
        else [],
    )


def _rename(old: Key, new: Key) -> str:
    """SQL that gives an object another name; of parts the identity tells what they belong to."""
    kind, (first, last) = (
        old[0],
        (text.split("(", maxsplit=1)[0].rpartition(".") for text in (old[1], new[1])),
    )
    if kind == "table column":
        return f"ALTER TABLE {first[0]} RENAME COLUMN {first[2]} TO {last[2]};"
    if " on " in old[1]:
        name, _, table = old[1].rpartition(" on ")
        other = new[1].rpartition(" on ")[0]
        if kind == "table constraint":
            return f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {other};"
        return f"ALTER {kind.upper()} {name} ON {table} RENAME TO {other};"
    if first[0] != last[0]:
        moved = f"ALTER {kind.upper()} {old[1]} SET SCHEMA {last[0]};"
        here = (kind, f"{last[0]}.{old[1].removeprefix(f'{first[0]}.')}")
        return moved if first[2] == last[2] else f"{moved}\n{_rename(here, new)}"
    return f"ALTER {kind.upper()} {old[1]} RENAME TO {last[2] or new[1]};"


def _manual(finding: Finding, case: Case) -> Remedy:
    if finding.renamed:
        return _renamed(finding, case)
    key = finding.objects[0]
    slug = f"capture_{_slug(key[1])}"
    meant = case.intended.final.get(*key) if case.intended else None
    here = case.actual.get(*key)
    intended = case.intended.final if case.intended else None
    back = _turn(here, meant, intended, finding)
    forward = _turn(meant, here, case.actual, finding)
    hazards = []
    if meant is None and key[0] in ("table", "table column"):
        hazards.append("Taking it back deletes the data in it.")
    if here is None and key[0] == "index":
        hazards.append("Building an index locks writes; use CREATE INDEX CONCURRENTLY outside a transaction.")
    security = finding.severity == "critical"
    culprit = finding.culprit
    where = (
        f" ({culprit.file}{f':{culprit.line}' if culprit.line else ''})" if culprit and culprit.file else ""
    )
    new = _tool(_NEW, case, finding, slug)
    keep = [_step("To keep it: write it down as a migration", new, forward)] if here or meant else []
    restore = f"restore what the migrations say{where}" if meant else "drop it"
    undo = [_step(f"To take it back: {restore}", None, back)]
    return _remedy(
        "Restore what the migrations say, now: this protects data."
        if security
        else "Decide whether it stays: then capture it in a migration and record that as applied; or undo it.",
        "migrations" if security else "person",
        [*undo, *keep, _check(finding)] if security or here is None else [*keep, *undo, _check(finding)],
        hazards,
    )


#: What is altered alone, whatever else the object is.
_PLAIN = frozenset(
    {
        ("table", "row_security"),
        ("trigger", "enabled"),
        ("table column", "not_null"),
        ("table column", "default"),
    }
)
#: Kinds without data of their own: what changed is dropped and made again.
_REMAKE = frozenset({"policy", "trigger", "view", "index", "rule", "table constraint", "domain constraint"})


def _turn(old: Fact | None, new: Fact | None, snapshot: Snapshot | None, finding: Finding) -> str | None:
    """SQL that turns one state of an object into another, for the plain cases; None for the others."""
    fact = new or old
    if fact is None:
        return None
    kind = KINDS[fact.kind]
    made = _sql(kind.whole(new, snapshot or Snapshot({}, {}))) if new else None
    if new is None:
        return f"{kind.drop(fact.identity)};"
    if old is None:
        return made
    attributes = {str(d.attribute) for d in finding.deltas if (d.kind, d.identity) == fact.key}
    if kind.alter is not None and len(attributes) == 1 and (fact.kind, *attributes) in _PLAIN:
        nothing = Snapshot({}, {})
        change = Change(old, new, frozenset(attributes), nothing, snapshot or nothing, version=0)
        return _sql([sql.text for sql in kind.alter(change) or ()])
    if made and fact.kind in ("function", "procedure") and not attributes & {"returns", "arguments"}:
        return made  # CREATE OR REPLACE
    if made and fact.kind in _REMAKE and not attributes & {"owner", "grants", "comment"}:
        return f"{kind.drop(fact.identity)};\n{made}"
    return None


def _sql(statements: list[str]) -> str | None:
    return ";\n".join(statements) + ";" if statements else None


def _missing(finding: Finding, case: Case) -> Remedy:
    label = finding.entry.label if finding.entry else "it"
    return _remedy(
        f"Apply {label}; the files are right.",
        "migrations",
        [_step("Apply what is pending", _tool(_APPLY, case, finding)), _check(finding)],
        ["Migrations that were applied later may already rely on it; rehearse on a copy first."]
        if finding.entry and case.later_applied.get(finding.entry.version)
        else [],
    )


def _unknown_migration(finding: Finding, case: Case) -> Remedy:
    fetch = 'supabase migration fetch --db-url "$DATABASE_URL"' if case.ledger_tool == "supabase" else None
    return _remedy(
        "Find its file (another branch?) and commit it, or write a migration that undoes it.",
        "person",
        [
            _step(
                "Look for the file in all branches",
                f"git log --all --oneline -- '*{finding.culprit.version if finding.culprit else ''}*'",
            ),
            _step("Fetch it from the ledger", fetch),
            _check(finding),
        ],
        ["Do not delete the ledger row before its effect is understood."],
    )


def _edited(finding: Finding, case: Case) -> Remedy:
    file = finding.culprit.file if finding.culprit else None
    return _remedy(
        "Put the file back as it was applied, and make the edit a new migration.",
        "person",
        [
            _step(
                "See what was edited, and when",
                f"git log -p --follow -- {shlex.quote(file)}" if file else None,
            ),
            _step(
                "Write the edit as a new migration",
                _tool(_NEW, case, finding, f"after_{_slug(finding.culprit.name if finding.culprit else '')}"),
            ),
            _check(finding),
        ],
        ["Never rewrite the ledger to match: other environments ran the other text."],
    )


def _out_of_order(finding: Finding, case: Case) -> Remedy:
    key = finding.objects[0] if finding.objects else ("", "")
    final = case.intended.final if case.intended and finding.objects else None
    meant = final.get(*key) if final else None
    return _remedy(
        "Write a migration that states the final definition again; running it everywhere is harmless.",
        "migrations",
        [
            _step(
                "State it again in a new migration",
                _tool(_NEW, case, finding, f"restate_{_slug(key[1])}"),
                _turn(case.actual.get(*key), meant, final, finding),
            ),
            _step("Apply it", _tool(_APPLY, case, finding)),
            _check(finding),
        ],
    )


def _not_recorded(finding: Finding, case: Case) -> Remedy:
    if finding.entry is None:
        every = {"supabase": 'supabase migration repair --status applied --db-url "$DATABASE_URL"'}
        return _remedy(
            "Find its ledger; if there is none, record as applied what is here, and only that.",
            "person",
            [
                _step("Record all files without running them", every.get(case.ledger_tool or "")),
                _check(finding),
            ],
            ["A migration that is recorded but was not run will never be run."],
        )
    return _remedy(
        "Record it as applied; everything it does is already here.",
        "environment",
        [_step("Record it without running it", _tool(_RECORD, case, finding)), _check(finding)],
        ["Data that the migration changes cannot be seen in the schema; check it first."],
    )


def _not_applied(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "Take it out of the ledger and apply it for real.",
        "migrations",
        [
            _step("Forget the ledger row", _tool(_FORGET, case, finding)),
            _step("Apply it", _tool(_APPLY, case, finding)),
            _check(finding),
        ],
    )


def _partial(finding: Finding, case: Case) -> Remedy:
    label = finding.entry.label if finding.entry else "it"
    invalid = [key for key in finding.objects if key[0] == "index" and case.actual.get(*key)]
    steps = [
        _step("Drop the invalid index, then build it again", None, f"DROP INDEX CONCURRENTLY {key[1]};")
        for key in invalid
    ]
    if not invalid:
        steps = [_step("Run by hand what is missing of its file, or drop what is there of it")]
    return _remedy(
        f"Finish {label}: run what is missing, then record it as applied; or remove its remnants and apply it anew.",
        "migrations",
        [*steps, _step("Record it without running it", _tool(_RECORD, case, finding)), _check(finding)],
        [
            "What it did to rows cannot be seen in the schema: look where it stopped before running anything twice."
        ],
    )


def _restamped(finding: Finding, case: Case) -> Remedy:
    entry = finding.entry
    old = shlex.quote(entry.recorded_as or "") if entry else ""
    forget = _FORGET.get(case.ledger_tool or "")
    return _remedy(
        "Record it under the version of its file, and forget the other; run nothing.",
        "migrations",
        [
            _step("Record it without running it", _tool(_RECORD, case, finding)),
            _step("Forget the other version", forget.format(version=old, label=old) if forget else None),
            _check(finding),
        ],
        ["Its tool takes the file for one that is pending, and would run it a second time."],
    )


def _rebaselined(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "Record the baseline as applied and forget the rows that it replaces; run nothing.",
        "migrations",
        [
            _step("Record it without running it", _tool(_RECORD, case, finding)),
            _step("Forget the old rows, whose files are gone"),
            _check(finding),
        ],
        ["First settle every other difference: the baseline must make exactly what is here."],
    )


def _captured(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "Nothing is to be repaired: the hotfix is in the files now. Check names that PostgreSQL gave by itself.",
        "migrations",
        [
            _step("Compare the names of constraints and indexes with those in other environments"),
            _step("Note who made it, and why no migration came first"),
            _check(finding),
        ],
    )


def _reverted(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "Nothing is to be repaired: what is here is what the migrations make. Ask what was tried, and why.",
        "migrations",
        [_step("Note who changed it, and what for"), _check(finding)],
        ["What was dropped took its data along; see whether that is back."]
        if "its data" in finding.title
        else [],
    )


def _environment(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "Align the installation, or accept the difference with a reason and an end date.",
        "person",
        [
            _step(
                "To accept it, add to auditkit.toml",
                None,
                "[[ignore]]\n"
                f'kind = "{finding.objects[0][0]}"\nname = {_toml(finding.objects[0][1])}\nreason = "…"\nuntil = 2027-01-31'
                if finding.objects
                else None,
            ),
            _check(finding),
        ],
    )


def _unknown(finding: Finding, case: Case) -> Remedy:
    return _remedy(
        "First make readable what could not be read or replayed; then look again.",
        "person",
        [_step("See what is missing", "auditkit doctor"), _check(finding)],
    )


_REMEDIES: dict[str, Callable[[Finding, Case], Remedy]] = {
    "manual_change": _manual,
    "missing_migration": _missing,
    "unknown_migration": _unknown_migration,
    "edited_after_apply": _edited,
    "out_of_order": _out_of_order,
    "applied_not_recorded": _not_recorded,
    "recorded_not_applied": _not_applied,
    "partial_apply": _partial,
    "restamped": _restamped,
    "rebaselined": _rebaselined,
    "captured_hotfix": _captured,
    "reverted_hotfix": _reverted,
    "environment_difference": _environment,
    "unknown": _unknown,
}


def _slug(identity: str) -> str:
    return (
        "".join(
            c if c.isalnum() and c.isascii() else "_"
            for c in identity.split("(", maxsplit=1)[0].rsplit(".", 1)[-1].lower()
        ).strip("_")
        or "change"
    )


def _toml(text: str) -> str:
    import json

    return json.dumps(text)
