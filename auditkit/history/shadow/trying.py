"""What if: a sequence of migrations tried for its end state alone.

A trial needs no provenance, so nothing is read between migrations: a thousand of them take little more than
a second. Template databases as checkpoints were measured, too (a copy after 950 of 1,000 migrations, each
trial continuing from there): copying costs what it saves, and roles are in no template.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditkit.catalog.snapshot import Snapshot
from auditkit.history.shadow.replayed import Failure, Ground, Step
from auditkit.history.shadow.running import OWN_OBJECTS, SCHEMA, begin, execute, run
from auditkit.history.shadow.scratch import Scratch
from auditkit.history.shadow.store import Store
from auditkit.progress import Tell, silent

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """The end state of a sequence of migrations, what failed on the way, and how long the run took."""

    final: Snapshot
    failures: list[Failure]
    seconds: float


def attempt(steps: Sequence[Step], ground: Ground, *, progress: Tell = silent, cache: bool = True) -> Trial:
    """Run *steps* on *ground* as ``replay`` does, and read only what they lead to. Trials are cached by content.

    Raises:
        ServerFailed: no scratch server could be started, or it went away.
    """
    steps = list(steps)
    with Store(ground, steps, enabled=cache and ground.binaries is not None, clusters=False) as store:
        file = store.trial()
        if file and (kept := _load(file)):
            return kept
        trial = _run(steps, ground, progress)
        if file and trial.final.complete:
            _save(trial, file)
    return trial


def _run(steps: Sequence[Step], ground: Ground, progress: Tell) -> Trial:
    started = time.monotonic()
    failures = []
    with Scratch(ground, None) as scratch:
        scratch.lay(ground)
        reader, runner = scratch.reader(), scratch.runner(ground.role)
        execute(runner, OWN_OBJECTS)
        for number, step in enumerate(steps):
            progress(number, len(steps), f"Trying what may have been run: {step.version}")
            scratch.reset(runner)
            ran = run(runner, reader, begin(runner, number, step))
            failures += [ran.failure] if ran.failure else []
        execute(
            runner,
            f"RESET SESSION AUTHORIZATION; DROP EVENT TRIGGER {SCHEMA}_drop; DROP SCHEMA {SCHEMA} CASCADE",
        )
        runner.close()
        reader.close()
        return Trial(scratch.snapshot(), failures, time.monotonic() - started)


def _save(trial: Trial, file: Path) -> None:
    failures = [[f.step, f.line, f.message, f.sqlstate, f.statement] for f in trial.failures]
    data = json.dumps({"final": trial.final.to_json(), "failures": failures, "seconds": trial.seconds})
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(f".{time.monotonic_ns()}")
    fresh.write_bytes(gzip.compress(data.encode(), 1))
    fresh.rename(file)  # at once and complete, or not at all


def _load(file: Path) -> Trial | None:
    try:
        data = json.loads(gzip.decompress(file.read_bytes()))
        final = Snapshot.from_json(data["final"])
        return Trial(final, [Failure(*item) for item in data["failures"]], data["seconds"])
    except (OSError, EOFError, LookupError, TypeError, ValueError, zlib.error):  # not kept, or damaged
        return None
