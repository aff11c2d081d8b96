"""What both sides of a deployment share: the other environments' ledgers, the state that is expected, the gates told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from auditkit.audit.reading import take, unreachable
from auditkit.catalog.compare import Scope, compared_facts
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Finding
from auditkit.config import SEVERITIES, Settings, Source
from auditkit.connect import connect
from auditkit.errors import AuditError, ConfigError
from auditkit.history import ledgers
from auditkit.history.ledgers import History
from auditkit.history.migration import Migrations
from auditkit.resolve.effects import Effect, State
from auditkit.resolve.objections import GATES, OBJECTIONS

#: Causes of drift that belong to another gate than the schema's.
_GATE_OF = {
    "edited_after_apply": "files",
    **dict.fromkeys(
        (
            "unknown_migration",
            "out_of_order",
            "applied_not_recorded",
            "recorded_not_applied",
            "partial_apply",
            "restamped",
            "rebaselined",
            "missing_migration",
        ),
        "history",
    ),
}


def gate_of(finding: Mapping[str, Any] | Finding) -> str:
    """Which gate a finding belongs to."""
    cause = finding.cause if isinstance(finding, Finding) else str(finding["cause"])
    return OBJECTIONS[cause].gate if cause in OBJECTIONS else _GATE_OF.get(cause, "schema")


def other_ledgers(
    settings: Settings, source: Source, migrations: Migrations, needed: Sequence[str]
) -> tuple[dict[str, History], list[dict[str, Any]]]:
    """The histories of all other environments, and which could not be read: that blocks only where it is *needed*."""
    others = [other for name, other in settings.environments.items() if name != source.name]
    found: dict[str, History] = {}
    problems: list[dict[str, Any]] = []
    with ThreadPoolExecutor(max_workers=8) as pool:
        waiting = [(other, pool.submit(_ledger, other, settings, migrations)) for other in others]
        for other, result in waiting:
            blocking = other.name in needed
            try:
                history = result.result()
            except AuditError as error:
                problem = unreachable(other.name, error)
                problems.append({**problem, "what": "its migration history", "blocking": blocking})
                continue
            found[other.name] = history
            problems += [
                {"environment": other.name, **item, "blocking": blocking} for item in history.not_checked
            ]
    return found, problems


def _ledger(source: Source, settings: Settings, migrations: Migrations) -> History:
    if source.type == "live":
        with connect(source.conninfo, name=source.name, timeout=5) as connection:
            return ledgers.read_history(connection, migrations)
    return ledgers.choose(take(source, settings).ledgers, migrations)


#: Nothing is tried there first, wherever it stands in the settings.
_LAST = re.compile(r"^(prod|live|main)", re.IGNORECASE)


def earlier(settings: Settings, name: str) -> list[str]:
    """The environments that come before *name*: by ``[fleet] order``, else as they stand in the settings, without local."""
    if settings.order:
        own = name if name in settings.order else name.partition("/")[0]
        names = [*settings.order]
        before = names[: names.index(own)] if own in names else []
        return [each for each in before if each in settings.environments]
    names = [each for each in settings.environments if each != "local"]
    before = names[: names.index(name)] if name in names else []
    return [each for each in before if not _LAST.search(each)]


def compared_state(snapshot: Snapshot, scope: Scope) -> State:
    """What is compared of *snapshot*, without its ledger, which is looked at by itself, and the order of columns."""
    return {
        key: {name: value for name, value in values.items() if name != KINDS[key[0]].ordinal}
        for key, values in compared_facts(snapshot, scope)
    }


def expected_state(before: Snapshot, first: Snapshot, last: Snapshot, scope: Scope) -> State:
    """What *before* becomes if what led from *first* to *last* happens to it, and nothing else."""
    effect = Effect.between(compared_state(first, scope), compared_state(last, scope))
    return effect.on(compared_state(before, scope))


def checks(
    findings: Iterable[Mapping[str, Any]],
    says: Mapping[str, str],
    unknown: Mapping[str, str],
    fail_on: str,
    questions: Mapping[str, str] = GATES,
) -> list[dict[str, str]]:
    """Each gate with its state (``ok``, ``bad``, ``warn``, ``unknown``) and a sentence.

    Args:
        says: gate → what there is to say where nothing speaks against it; gates that are not named are left out.
        unknown: gate → why it could not be looked at.
    """
    by_gate: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        if finding["severity"] != "info":
            by_gate.setdefault(gate_of(finding), []).append(finding)
    found = []
    for gate, question in questions.items():
        if gate not in says and gate not in by_gate and gate not in unknown:
            continue
        mine = by_gate.get(gate, [])
        bad = [f for f in mine if SEVERITIES.index(f["severity"]) >= SEVERITIES.index(fail_on)]
        if mine:
            worst = max(mine, key=lambda f: SEVERITIES.index(f["severity"]))
            more = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
            state_, sentence = "bad" if bad else "warn", f"{worst['title']}{more}"
        elif gate in unknown:
            state_, sentence = "unknown", unknown[gate]
        else:
            state_, sentence = "ok", says[gate]
        found.append({"gate": gate, "question": question, "state": state_, "says": sentence})
    return found


def refuse(source: Source) -> None:
    """A deployment goes to a database."""
    if source.type == "migrations":
        raise ConfigError(
            f"{source.name} is no environment that is deployed to; name one, or a snapshot of one"
        )
