"""What an earlier check found, kept in the local cache, so that an environment in which nothing changed costs one reading.

A result is found again by everything that it was made of: every fact of the environment and who wrote its rows, its
ledgers, the migration files with what git knows of them, what they are replayed on, the settings and auditkit's own
code. If any of that is not as it was, the environment is explained anew. The reading itself is never spared: counts
and recent transaction ids, which would be cheaper, miss what a restored or wrapped-around database holds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import auditkit
from auditkit.audit.meant import all_steps, ground_for
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings
from auditkit.errors import AuditError
from auditkit.history.files import Migrations
from auditkit.history.shadow.store import chain

#: So many results are kept; each is some kilobytes, with many findings some hundred.
KEEP = 400
#: Of a snapshot's manifest: what is another each time, or is told by a witness.
_PASSING = frozenset({"captured_at", "witnesses", "access", "environment"})


class Memory:
    """Results of earlier checks, by what they were made of."""

    def __init__(self, migrations: Migrations, settings: Settings) -> None:
        self.migrations = migrations
        self.settings = settings
        #: On a server of the user's nothing is cached: nobody knows what else happens there.
        self.enabled = settings.shadow_server is None

    @cached_property
    def meant(self) -> str:
        """Digest of what was meant, as far as it is the same for all environments."""
        shown = replace(self.settings, environments={}, groups={}, out_dir=Path(), fail_on="medium")
        groups = [
            (g.name, g.environment, g.schemas, g.template, g.exclude) for g in self.settings.groups.values()
        ]
        rules = [(rule, rule.active()) for rule in self.settings.ignore]
        files = [
            (
                m.version,
                m.name,
                m.path,
                m.sql,
                hashlib.sha256(m.raw).hexdigest(),
                m.transactional,
                m.depends,
                m.git,
            )
            for m in self.migrations
        ]
        words = (own_code(), shown, groups, rules, self.migrations.project, self.migrations.notes, files)
        return _digest(words, _references(self.settings.root))

    def key(self, snapshot: Snapshot) -> str | None:
        """What the result for *snapshot* is kept under; None if it cannot be told."""
        if not self.enabled or not snapshot.complete:
            return None
        try:
            ground, _ = ground_for(self.settings, snapshot, self.migrations)
            steps = all_steps(self.migrations, self.settings)
        except AuditError:
            return None
        return _digest(self.meant, chain(ground.digest(), steps)[-1], _state(snapshot))

    def recall(self, key: str | None, snapshot: Snapshot) -> dict[str, Any] | None:
        """The audit document that was made of the same."""
        if key is None:
            return None
        file = _root() / f"{key}.json.gz"
        try:
            kept = json.loads(gzip.decompress(file.read_bytes()))
            document: dict[str, Any] = kept["document"]
            heard = kept["heard"]
            os.utime(file)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
            return None
        # Who did it may be known better by now; where nothing was found, nobody did anything.
        return document if not document["findings"] or heard == _heard(snapshot) else None

    def keep(self, key: str | None, snapshot: Snapshot, document: Mapping[str, Any]) -> None:
        """Keep *document* if nothing was left out of it."""
        if key is None or any(item.get("blocking", True) for item in document["not_checked"]):
            return
        kept = {"heard": _heard(snapshot), "document": document}
        root = _root()
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=root)
            with os.fdopen(handle, "wb") as file:
                file.write(gzip.compress(json.dumps(kept, default=str).encode("utf-8", "surrogatepass"), 1))
            Path(name).replace(root / f"{key}.json.gz")
            for old in sorted(root.glob("*"), key=lambda f: f.stat().st_mtime)[:-KEEP]:
                old.unlink(missing_ok=True)
        except OSError:  # a cache that cannot be written costs time, nothing else
            return


def _state(snapshot: Snapshot) -> str:
    """Digest of all that a snapshot says of its environment: facts, writers of rows, ledgers, what was not read."""
    digest = hashlib.sha256(snapshot.fingerprint.encode())
    for kind in snapshot.kinds:
        table = snapshot.tables[kind]
        # A big catalog is read by two sessions at once: its rows come in another order each time.
        places = [*zip(table.oids, table.subids, strict=True)]
        digest.update(repr(sorted(zip(places, table.xmins, strict=True))).encode())
        for catalog, writers in sorted(table.written.items()):
            digest.update(repr((catalog, sorted((places[i], xid) for i, xid in writers.items()))).encode())
    manifest = {key: value for key, value in snapshot.manifest.items() if key not in _PASSING}
    about = {k: v for k, v in snapshot.manifest.get("environment", {}).items() if k != "next_xid"}
    digest.update(_digest(manifest, about, snapshot.ledgers, snapshot.physical).encode())
    return digest.hexdigest()


def _heard(snapshot: Snapshot) -> str:
    return _digest(snapshot.manifest.get("witnesses", ()))


def _digest(*words: Any) -> str:
    return hashlib.sha256(repr(words).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _references(root: Path) -> bytes:
    """Where git's branches are: migrations that are in no file are looked for there."""
    try:
        return subprocess.run(
            ["git", "-C", str(root), "for-each-ref", "--format=%(objectname) %(refname)"],
            capture_output=True,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout
    except OSError:
        return b""


@cache
def own_code() -> str:
    """Digest of auditkit as it is installed: another version may find something else."""
    package = Path(auditkit.__file__).parent
    files = sorted(package.rglob("*.py"))
    return _digest(auditkit.__version__, [(str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files])


def _root() -> Path:
    named = os.environ.get("AUDITKIT_CACHE_DIR")
    if named:
        return Path(named) / "checks"
    import platformdirs

    return Path(platformdirs.user_cache_dir("auditkit")) / "checks"
