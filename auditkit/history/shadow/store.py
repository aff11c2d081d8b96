"""Replays kept by content, so that an unchanged history costs nothing and a longer one only what is new."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.catalog.snapshot import Fact, Snapshot
from auditkit.errors import ServerFailed
from auditkit.history.shadow.replayed import Change, Failure, Ground, Replay, Step, Used, digest_of
from auditkit.history.shadow.scratch import Scratch

if TYPE_CHECKING:
    pass


KEEP, KEEP_CLUSTERS = 60, 10  # replays in the cache (1 MB each), and how many with their cluster (30 MB)


class Store:
    """Replays kept by content: for every prefix that was replayed its timeline, end state and cluster."""

    def __init__(self, ground: Ground, steps: Sequence[Step], *, enabled: bool, clusters: bool) -> None:
        self.clusters = clusters
        self.steps = list(steps)
        self.keys = chain(ground.digest(), steps)
        self.root = _cache_root() if enabled else None
        self._pending: Path | None = None
        self._loaded: Replay | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pending:
            shutil.rmtree(self._pending, ignore_errors=True)
        if self.root:
            _prune(self.root)

    def longest(self) -> int | None:
        """How many of the first steps need not be run: all, or those after which a cluster was kept; or None."""
        if self.root is None:
            return None
        for n in range(len(self.steps), -1, -1):
            folder = self.root / self.keys[n]
            if (folder / "done").exists() and (n == len(self.steps) or (folder / "cluster").exists()):
                try:
                    self._loaded = _load(folder, self.steps[:n])
                    os.utime(folder)
                except (OSError, EOFError, LookupError, TypeError, ValueError, zlib.error):
                    shutil.rmtree(folder, ignore_errors=True)  # damaged: as if it had never been kept
                else:
                    return n
        return None

    def cluster(self, done: int) -> Path:
        assert self.root
        return self.root / self.keys[done] / "cluster"

    def trial(self) -> Path | None:
        """Where the end state of all steps is kept when they are only tried, see ``trying``."""
        return self.root / f"{self.keys[-1]}-trial" / "trial.json.gz" if self.root else None

    def load(self) -> Replay:
        """The replay of as many steps as ``longest`` said last."""
        assert self._loaded
        return self._loaded

    def keep(self, result: Replay, scratch: Scratch) -> None:
        """Keep what came of all steps; the server of *scratch* is stopped."""
        if self.root is None or scratch.server is None or not result.final.complete:
            return
        folder = self._pending = self._new_folder()
        with ThreadPoolExecutor(1) as pool:
            frozen = pool.submit(scratch.server.freeze, folder / "cluster") if self.clusters else None
            _save(result, folder)  # while the server stops
        if frozen is not None:
            with contextlib.suppress(ServerFailed):  # a cluster that cannot be kept only costs time
                frozen.result()
        (folder / "done").touch()
        self._publish(folder, self.keys[-1])
        self._pending = None

    def _new_folder(self) -> Path:
        assert self.root
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))

    def _publish(self, folder: Path, key: str) -> None:
        assert self.root
        try:
            folder.rename(self.root / key)
        except OSError:  # another process was quicker; its result is the same
            shutil.rmtree(folder, ignore_errors=True)


def _save(result: Replay, folder: Path) -> None:
    facts: list[Fact] = []
    places: dict[int, int] = {}

    def place(fact: Fact | None) -> int | None:
        if fact is None:
            return None
        if id(fact) not in places:
            places[id(fact)] = len(facts)
            facts.append(fact)
        return places[id(fact)]

    timeline = [
        [*key, [[c.step, c.line, c.statement, place(c.fact), c.rows] for c in changes]]
        for key, changes in result.timeline.items()
    ]
    data = {
        "final": result.final.to_json(),
        "timeline": timeline,
        "facts": [fact.to_json() for fact in facts],
        "failures": [[f.step, f.line, f.message, f.sqlstate, f.statement] for f in result.failures],
        "notes": result.notes,
        "statements": result.statements,
        "taken": sorted(result.taken.items()),
        "used": [[n, u.first, sorted(u.marks), u.whole, u.sent] for n, u in sorted(result.used.items())],
        "server": result.server,
        "major": result.major,
    }
    (folder / "replay.json.gz").write_bytes(gzip.compress(json.dumps(data).encode(), 1))


def _load(folder: Path, steps: list[Step]) -> Replay:
    data = json.loads(gzip.decompress((folder / "replay.json.gz").read_bytes()))
    facts = [Fact.from_json(item) for item in data["facts"]]
    timeline = {
        (kind, identity): [
            Change(n, line, text, None if f is None else facts[f], rows) for n, line, text, f, rows in changes
        ]
        for kind, identity, changes in data["timeline"]
    }
    return Replay(
        steps=steps,
        final=Snapshot.from_json(data["final"]),
        timeline=timeline,
        failures=[Failure(*item) for item in data["failures"]],
        notes=data["notes"],
        statements=data["statements"],
        taken=dict(data.get("taken", ())),
        used={
            n: Used(first, frozenset(marks), whole, tuple((line, text) for line, text in sent))
            for n, first, marks, whole, sent in data["used"]
        },
        server=data["server"],
        major=data["major"],
    )


def chain(ground: str, steps: Sequence[Step]) -> list[str]:
    """One key per prefix: changing or inserting a migration changes all keys from there on."""
    keys = [ground]
    for step in steps:
        words = [keys[-1], step.version, step.name, step.file or "", str(step.transactional), step.sql]
        words += [step.code.digest, str(step.stop)] if step.code else []
        keys.append(digest_of(words))
    return [key[:40] for key in keys]


def _cache_root() -> Path:
    named = os.environ.get("AUDITKIT_CACHE_DIR")
    if named:
        return Path(named) / "replays"
    import platformdirs

    return Path(platformdirs.user_cache_dir("auditkit")) / "replays"


def _prune(root: Path) -> None:
    """Forget the replays and clusters that were not used for longest, and what a killed process left."""
    if not root.is_dir():
        return
    kept = sorted((f for f in root.iterdir() if not f.name.startswith(".")), key=_last_used)
    heavy = [f for f in kept if (f / "cluster").exists()]
    stale = [f for f in root.glob(".new-*") if _last_used(f) < time.time() - 3600]
    for folder in {*kept[:-KEEP], *heavy[:-KEEP_CLUSTERS], *stale}:
        shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    """When a replay was used; 0 if another process has forgotten it in the meantime."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
