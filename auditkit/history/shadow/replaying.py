"""Replay of migrations in a shadow database, with provenance for every statement.

PostgreSQL is the only thing that understands PostgreSQL, so what was *meant* is found by running the
migrations on a scratch cluster (a cluster, because migrations change roles) and reading its catalog.

How provenance is won: each statement runs in a savepoint of its own and leaves a marker row. Catalog rows
and marker rows written by one statement carry the same subtransaction id, or a later one that is still
below the next marker's (``DO … EXCEPTION`` opens further ones), so ``xmin`` leads back to the statement.
After each migration only the objects whose catalog rows it wrote are read again; what it dropped is told
by an ``sql_drop`` event trigger. At the end the state built up that way is compared with a full read, and
if they differ (a rename can change text that was stored nowhere) the replay is repeated with a full read
after every migration: slower, and right.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from auditkit.catalog.snapshot import Key
from auditkit.history.ledgers import read_ledgers
from auditkit.history.shadow.following import Follower
from auditkit.history.shadow.replayed import Ground, Replay, Step, Used
from auditkit.history.shadow.running import (
    OWN_OBJECTS,
    SCHEMA,
    Begun,
    begin,
    execute,
    next_xid,
    oids_of_own,
    run,
)
from auditkit.history.shadow.scratch import Scratch
from auditkit.history.shadow.store import Store
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    pass


def replay(
    steps: Sequence[Step],
    ground: Ground,
    *,
    progress: Tell = silent,
    cache: bool = True,
    continued: bool = True,
) -> Replay:
    """Run *steps* on *ground* and follow what each statement makes of every object.

    A migration that fails is recorded (file, line, the server's message), its transaction is rolled back, and
    the replay goes on. Results are cached by content: of a history that grew, only what is new is run.

    Args:
        steps: the migrations, in order.
        ground: what they run on.
        progress: told (done, total, what).
        cache: whether to use and fill the cache.
        continued: whether *steps* are likely to be continued: then the cluster is kept too (30 MB).

    Raises:
        ServerFailed: no scratch server could be started, or it went away.
    """
    started = time.monotonic()
    steps = list(steps)
    with Store(ground, steps, enabled=cache and ground.binaries is not None, clusters=continued) as store:
        done = store.longest()
        if done == len(steps):
            result = store.load()
        else:
            try:
                result = _run_steps(steps, ground, store, done, progress, always_full=False)
            except _Strayed:
                result = _run_steps(steps, ground, store, store.longest(), progress, always_full=True)
    result.seconds = time.monotonic() - started
    result.ground = ground
    return result


def reprint(result: Replay, queries: Mapping[Key, str]) -> dict[Key, str]:
    """*queries* as the server of a replay prints them, where all that they mention is as the replay left it.

    Nothing is returned for those that cannot run there, nor if the replay's cluster is no longer kept.
    """
    if result.ground is None or result.ground.binaries is None:
        return {}
    printed: dict[Key, str] = {}
    with Store(result.ground, result.steps, enabled=True, clusters=True) as store:
        cluster = store.cluster(len(result.steps))
        if not cluster.exists():
            return {}
        with Scratch(result.ground, cluster) as scratch:
            runner = scratch.runner()
            execute(runner, f"CREATE SCHEMA {SCHEMA}; SET search_path = pg_catalog")
            for key, query in queries.items():
                if execute(runner, f"CREATE OR REPLACE VIEW {SCHEMA}.reprint AS {query}") is None:
                    row = runner.execute(f"SELECT pg_get_viewdef('{SCHEMA}.reprint'::regclass)").fetchone()
                    printed[key] = row[0] if row else query
                    execute(runner, f"DROP VIEW {SCHEMA}.reprint")
            runner.close()
    return printed


class _Strayed(Exception):
    """Following what each migration touched did not lead to what a full read shows."""


def _run_steps(
    steps: list[Step],
    ground: Ground,
    store: Store,
    done: int | None,
    progress: Tell,
    *,
    always_full: bool,
) -> Replay:
    """Replay what follows the first *done* steps (None: lay the ground first)."""
    earlier = store.load() if done else None
    notes = list(earlier.notes) if earlier else []
    failures = list(earlier.failures) if earlier else []
    statements = earlier.statements if earlier else 0
    first = done or 0
    with Scratch(ground, store.cluster(done) if done is not None else None) as scratch:
        if done is None:
            progress(0, len(steps), "Preparing the shadow database")
            notes += scratch.lay(ground)
        reader = scratch.reader()
        runner = scratch.runner(ground.role)
        execute(runner, OWN_OBJECTS)
        taken = dict(earlier.taken) if earlier else {}
        taken[first] = oids_of_own(reader)
        used = dict(earlier.used) if earlier else {}
        follower = Follower(reader, earlier.timeline if earlier else {}, always_full=always_full)
        since = next_xid(reader)

        def start(number: int) -> Begun | None:
            scratch.cleared(runner)
            return begin(runner, number, steps[number]) if number < len(steps) else None

        scratch.clear(runner)
        begun = start(first)
        while begun:
            number, step = begun.number, begun.step
            progress(number, len(steps), f"Replaying {step.version} {step.name}".strip())
            ran = run(runner, reader, begun)
            statements += len(ran.statements)
            if ran.failure:
                failures.append(ran.failure)
            scratch.clear(runner)  # the session, while we look
            seen = follower.look(number, ran, since)
            used[number] = Used(since, ran.plain, ran.whole, ran.sent if step.code else ())
            since = ran.next
            begun = start(number + 1)  # it runs while we make out what this one did
            follower.follow(seen)
        execute(
            runner,
            f"RESET SESSION AUTHORIZATION; DROP EVENT TRIGGER {SCHEMA}_drop; DROP SCHEMA {SCHEMA} CASCADE",
        )
        runner.close()
        final = scratch.snapshot()
        if not follower.agrees(final) and not always_full:
            raise _Strayed
        if any(step.code for step in steps):  # their tool keeps a ledger here
            final.ledgers = read_ledgers(reader)
        reader.close()
        result = Replay(
            steps=steps,
            final=final,
            timeline=follower.timeline,
            failures=failures,
            notes=notes,
            statements=statements,
            replayed=len(steps) - first,
            taken=taken,
            server=str(final.manifest["server"]),
            major=int(final.manifest["server_version"]) // 10000,
            used=used,
        )
        store.keep(result, scratch)
    return result
