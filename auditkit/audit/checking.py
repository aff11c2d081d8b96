"""The daily check: all environments, each read once, and explained only where something is not as it was found before."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.document import assemble
from auditkit.audit.expanding import expand
from auditkit.audit.explaining import explain_one
from auditkit.audit.meant import listed, migrations_of
from auditkit.audit.reading import take, try_take, unreachable
from auditkit.audit.remembered import Memory
from auditkit.audit.tenants import alike
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings, Source
from auditkit.errors import AuditError, ConfigError
from auditkit.history import ledgers
from auditkit.history.files import Migrations
from auditkit.history.states import states
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from auditkit.report.document import Audit

#: So many environments are read at a time, over one session each (two for big ones).
AT_ONCE = 4


def check(
    environments: str | Sequence[str] = "all",
    *,
    baseline: str = "migrations",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    remember: bool = True,
    command: str = "auditkit check",
    progress: Tell = silent,
) -> Audit:
    """Whether *environments* (names, groups, sources or ``all``) are what was meant: an :class:`Audit`.

    The causes are those of :func:`auditkit.explain`, environment by environment. Any number can be checked: no more
    than ``AT_ONCE`` are held at a time. What cannot be reached, read or replayed is listed in ``not_checked``, and the
    verdict is INCOMPLETE then; it stops no other environment. ``document["check"]`` says what was known before,
    ``document["fleet"]`` has the groups, the promotion order and what breaks it.

    Args:
        remember: whether results are taken from the local cache where everything is as it was, and kept there.

    Raises:
        ConfigError: an argument or a setting is wrong, or there are no migrations.
    """
    from auditkit.report.document import Audit
    from auditkit.report.fleet import fold, violations
    from auditkit.report.merged import merged

    started = time.monotonic()
    settings = settings or config.load(config_file or None)
    fail_on = config.check_severity(fail_on or settings.fail_on)
    fleet = expand(settings, environments, progress)
    against = settings.source(baseline)
    migrations: Migrations | None = None
    meant: Snapshot | None = None
    if against.type == "migrations":
        migrations = listed(migrations_of(settings, ref=against.value or None), settings)
    else:
        meant = take(against, settings, progress=progress)
    memory = Memory(migrations, settings) if migrations is not None and remember else None
    documents: list[dict[str, Any]] = []
    problems = list(fleet.problems)
    unread: dict[str, AuditError] = {}
    known: dict[str, bool] = {}
    for number, (source, found) in enumerate(_read(fleet.sources, settings)):
        progress(number, len(fleet.sources), f"Checking {source.name}")
        if isinstance(found, AuditError):
            unread[source.name] = found
            continue
        try:
            document, known[source.name] = _one(found, meant, migrations, memory, settings, progress)
            documents.append(document)
        except ConfigError:
            raise
        except AuditError as error:  # the shadow did not start, say
            unread[source.name] = error
    problems += [unreachable(name, error) for name, error in unread.items()]
    document = merged(
        documents,
        settings=settings,
        baseline=baseline,
        fail_on=fail_on,
        problems=problems,
        unread=unread,
        order=[source.name for source in fleet.sources],
        command=command,
    )
    document["check"] = {
        "seconds": round(time.monotonic() - started, 2),
        "remembered": [name for name, was in known.items() if was],
    }
    document["fleet"] = {
        "order": list(settings.order),
        "groups": [group.as_dict() for group in fleet.groups],
        "violations": violations(document, settings.order, fleet.members),
    }
    return Audit(fold(document, fleet.members))


def _one(
    snapshot: Snapshot,
    meant: Snapshot | None,
    migrations: Migrations | None,
    memory: Memory | None,
    settings: Settings,
    progress: Tell,
) -> tuple[dict[str, Any], bool]:
    """The audit document of one environment, and whether it was known from an earlier check."""
    name = str(snapshot.manifest["name"])
    key = memory.key(snapshot) if memory else None
    kept = memory.recall(key, snapshot) if memory else None
    if kept is not None:
        return _as_of(kept, name, str(snapshot.manifest["captured_at"])), True
    matrix = states(
        migrations if migrations is not None else [], {name: ledgers.choose(snapshot.ledgers, migrations)}
    )
    explained = explain_one(name, snapshot, meant, matrix, migrations, settings, progress)
    audit = assemble(
        [explained], matrix, problems=[], settings=settings, baseline="", fail_on="medium", notebook=None,
        command="",
    )  # fmt: skip
    document = audit.document
    for group in settings.groups.values():
        if group.environment == name:
            deltas, findings, about = alike(snapshot, group)
            document["deltas"] += deltas
            document["findings"] += findings
            document.setdefault("tenants", []).append(about)
    document["environments"][0]["findings"] = len(document["findings"])
    if memory:
        memory.keep(key, snapshot, document)
    return document, False


def _as_of(document: dict[str, Any], name: str, captured_at: str) -> dict[str, Any]:
    """A remembered *document* as of now: nothing but the time is another."""
    document["environments"][0]["captured_at"] = captured_at
    for event in document["timeline"]:
        if event["kind"] == "captured" and event["environment"] == name:
            event["at"] = captured_at
    return document


def _read(sources: Sequence[Source], settings: Settings) -> Iterator[tuple[Source, Snapshot | AuditError]]:
    """All of *sources*, a few at a time; what is read waits until it is asked for, so that memory stays bounded."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        waiting: deque[tuple[Source, Future[Snapshot | AuditError]]] = deque()
        rest = iter(sources)
        for source in rest:
            waiting.append((source, pool.submit(try_take, source, settings)))
            if len(waiting) == AT_ONCE:
                break
        try:
            while waiting:
                source, future = waiting.popleft()
                found = future.result()
                del future
                yield source, found
                del found
                if (more := next(rest, None)) is not None:
                    waiting.append((more, pool.submit(try_take, more, settings)))
        finally:
            for _, future in waiting:
                future.cancel()
