"""Schemas that should be alike: each held against the template, with its own name taken out of everything."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from auditkit.catalog.compare import Delta
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Key, Snapshot, Value
from auditkit.catalog.sql import quote
from auditkit.config import SEVERITIES, Group
from auditkit.report.document import counted, listing

#: What stands for the schema's own name; no name in a catalog can hold it.
_OWN = "\x00"

#: (kind, identity) without the schema's name → attributes, likewise.
Facts = dict[Key, tuple[tuple[str, Value], ...]]


def alike(
    snapshot: Snapshot, group: Group
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """How the schemas of *group* differ from its template: deltas, findings and what there is to say of the group.

    Schemas that differ in the same way are one finding with a list. The template is the schema that the settings name,
    else the one that most schemas are like. Names of schemas, quoted or not, count as the schema's own wherever
    they stand: in definitions, bodies of functions, settings, owners.
    """
    environment = str(snapshot.manifest["name"])
    facts = _by_schema(snapshot, group)
    names = sorted((name for name in facts if name != group.template), key=str.casefold)
    differing: dict[str, str] = {}
    about: dict[str, Any] = {
        "group": group.name,
        "environment": environment,
        "template": group.template,
        "schemas": names,
        "differing": differing,
        "says": f"{environment} has no schema called {group.schemas}",
    }
    if not names or (group.template is not None and group.template not in facts):
        if names:
            about["says"] = f"{environment} has no schema {group.template}, which is the template"
        return [], [_nothing(environment, group, str(about["says"]))], about
    digests = {name: _digest(facts[name]) for name in facts}
    if group.template:
        model = group.template
    else:
        common = Counter(digests[name] for name in names).most_common(1)[0][0]
        model = next(name for name in names if digests[name] == common)
    about["template"] = model
    classes: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if digests[name] != digests[model]:
            classes[digests[name]].append(name)
    deltas, findings = [], []
    for members in classes.values():
        found = _deltas(facts[model], facts[members[0]], members[0])
        finding = _finding(environment, group, model, members, found)
        differing |= dict.fromkeys(members, finding["id"])
        findings.append(finding)
        deltas += [
            {"environment": environment, **delta.as_dict(), "finding": finding["id"]} for delta in found
        ]
    unlike = f"{len(differing)} unlike {model} ({listing(sorted(differing))})"
    about["says"] = f"{counted(len(names), 'schema')}, {unlike if differing else f'all like {model}'}"
    return deltas, findings, about


def _by_schema(snapshot: Snapshot, group: Group) -> dict[str, Facts]:
    names: set[str] = set()
    if schemas := snapshot.tables.get("schema"):
        names = {str(name) for name in schemas.names if name == group.template or group.matches(str(name))}
    facts: dict[str, Facts] = {name: {} for name in names}
    without = {name: _without(name) for name in names}
    for kind, table in snapshot.tables.items():
        memo: dict[tuple[int, str], tuple[tuple[str, Value], ...]] = {}
        for i, schema in enumerate(table.schemas):
            own = table.names[i] if kind == "schema" else schema
            if own not in names or i in table.extensions:
                continue
            change = without[own]
            values = table.values[i]
            key = (id(values), own)  # facts share their values
            if key not in memo:
                pairs = zip(table.attributes, values, strict=True)
                memo[key] = tuple((name, _changed(value, change)) for name, value in pairs)
            facts[own][kind, change(table.identities[i])] = memo[key]
    return facts


def _without(schema: str) -> Callable[[str], str]:
    # People quote names that need no quotes, too.
    forms = sorted({quote(schema), schema, '"' + schema.replace('"', '""') + '"'}, key=len, reverse=True)
    words = "|".join(map(re.escape, forms))
    pattern = re.compile(rf'(?<![\w$"])(?:{words})(?![\w$"])')
    return lambda text: pattern.sub(_OWN, text) if schema in text else text


def _changed(value: Value, change: Callable[[str], str]) -> Value:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(change(each) if isinstance(each, str) else each for each in value)
    return value


def _digest(facts: Facts) -> str:
    digest = hashlib.sha256()
    for key in sorted(facts):
        digest.update(repr((key, facts[key])).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _deltas(model: Facts, there: Facts, schema: str) -> list[Delta]:
    """The differences, under the names that they have in *schema*."""

    def named(value: Value) -> Value:
        return _changed(value, lambda text: text.replace(_OWN, quote(schema)))

    found = []
    for kind, identity in sorted(model.keys() ^ there.keys()):
        change = "missing" if (kind, identity) in model else "unexpected"
        if not _inside(kind, identity, model.keys() ^ there.keys()):
            found.append(Delta(kind, str(named(identity)), change, schema=schema))  # type: ignore[arg-type]
    for key in sorted(model.keys() & there.keys()):
        if model[key] == there[key]:
            continue
        ours, theirs = dict(model[key]), dict(there[key])
        for attribute, value in ours.items():
            if value != theirs.get(attribute):
                left, right = named(value), named(theirs.get(attribute))
                found.append(Delta(key[0], str(named(key[1])), "changed", attribute, left, right, schema))
    return [delta for delta in found if not delta.is_warning]


def _inside(kind: str, identity: str, others: Iterable[Key]) -> bool:
    """Whether an object belongs to a table that is told already: its columns, constraints and indexes go with it."""
    tables = {name for what, name in others if what in KINDS[kind].parents and name != identity}
    return any(identity.startswith(f"{name}.") or identity.endswith(f" on {name}") for name in tables)


def _finding(
    environment: str, group: Group, model: str, members: list[str], deltas: list[Delta]
) -> dict[str, Any]:
    objects = list(dict.fromkeys((d.kind, d.identity) for d in deltas))
    words = repr((environment, group.name, sorted(delta.as_dict().items() for delta in deltas)))
    words = words.replace(members[0], _OWN)  # the same, whichever schema is the first
    identity = f"f-{hashlib.sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    severity = max((delta.severity for delta in deltas), key=SEVERITIES.index, default="low")
    verb = "is" if len(members) == 1 else "are"
    return {
        "id": identity,
        "cause": "unknown",
        "confidence": "conjecture",
        "severity": severity,
        "environment": environment,
        "title": f"{_schemas(members)} of {group.name} {verb} unlike {model} in {counted(len(objects), 'object')}",
        "objects": [{"kind": kind, "identity": name} for kind, name in objects],
        "schemas": members,
        "migration": None,
        "evidence": [
            {"signal": "comparison", "says": _says(delta, members[0], model)} for delta in deltas[:5]
        ],
        "alternatives": [],
        "who": [],
        "proof": None,
        "remedy": {
            "summary": f"Bring {listing(members)} in line with {model}: run there what it is ahead by; or, if they are "
            f"right, change {model} and the others.",
            "source_of_truth": "person",
            "steps": [],
            "hazards": [],
        },
    }


def _schemas(members: list[str]) -> str:
    if len(members) == 1:
        return f"schema {members[0]}"
    return f"{counted(len(members), 'schema')} ({listing(members)})"


def _says(delta: Delta, schema: str, model: str) -> str:
    what = f"{delta.kind} {delta.identity}"
    if delta.change == "changed":
        return f"{what}: {delta.attribute} is another than in {model}"
    return (
        f"{what} is missing; {model} has it"
        if delta.change == "missing"
        else f"{what} is in {schema}, not in {model}"
    )


def _nothing(environment: str, group: Group, says: str) -> dict[str, Any]:
    """A group that is not there is no group that is alright."""
    finding = _finding(environment, group, group.template or "", [group.schemas], [])
    return {
        **finding,
        "severity": "medium",
        "title": says,
        "schemas": [],
        "remedy": {**finding["remedy"], "summary": f"Correct [fleet.groups.{group.name}] in the settings."},
    }
