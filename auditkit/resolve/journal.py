"""The journal of one plan: what was done to an environment, line by line, on disk before it is done.

JSON lines, only ever appended, each synced before anything goes on, and each with the digest of the line before: a line
that was changed or taken out is found. A last line that was cut short by a crash says nothing and is dropped.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from auditkit.errors import AuditError

Entry = dict[str, Any]


class Broken(AuditError):
    """The journal is not what was written; what was done is then not known."""


class Unwritable(AuditError):
    """The journal cannot be written, so nothing more may be done."""


class Journal:
    """The entries that are there, and the way to add one; *mend*: drop a last line that was cut short."""

    def __init__(self, path: Path, *, mend: bool = True) -> None:
        self.path, self._mend = path, mend
        self.entries: list[Entry] = []
        self._digest = ""
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise Unwritable(f"cannot read the journal {self.path}: {error.strerror}") from None
        whole, _, torn = data.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
            try:
                entry = json.loads(line)
                fits = isinstance(entry, dict) and entry.get("before") == self._digest
            except ValueError:
                fits = False
            if not fits:
                raise Broken(
                    f"{self.path}: line {number} does not follow the line before it: the journal was changed, so what was "
                    "done is not known; compare the environment with the plan by hand"
                )
            self.entries.append(entry)
            self._digest = hashlib.sha256(line).hexdigest()
        if torn and self._mend:
            with self.path.open("r+b") as file:
                file.truncate(len(data) - len(torn))
                os.fsync(file.fileno())

    def add(self, event: str, **more: Any) -> Entry:
        """Append one line; it is on disk when this returns.

        Raises:
            Unwritable: it cannot be; what was there before is still whole.
        """
        at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        entry: Entry = {"n": len(self.entries) + 1, "at": at, "event": event, **more, "before": self._digest}
        line = json.dumps(entry, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                size = file.tell()
                try:
                    if file.write(line + b"\n") != len(line) + 1:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(size)
                    raise
            if new:
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise Unwritable(f"cannot write the journal {self.path}: {error.strerror}") from None
        self.entries.append(entry)
        self._digest = hashlib.sha256(line).hexdigest()
        return entry

    def ends(self) -> list[tuple[str, str, str]]:
        """When each run that reached its end began, and the fingerprints of the environment before and after it."""
        found, begun = [], None
        for entry in self.entries:
            if entry["event"] == "run" and begun is None:
                begun = entry
            elif entry["event"] in ("finished", "taken back") and begun is not None:
                found.append((begun["at"], begun["fingerprint"], entry["fingerprint"]))
                begun = None
        return found

    @property
    def over(self) -> bool:
        """Whether the last run reached its end: all steps, or all of the way back."""
        return bool(self.entries) and self.entries[-1]["event"] in ("finished", "taken back")

    def done(self) -> list[int]:
        """The steps that are in place, as far as the journal knows."""
        found: list[int] = []
        for entry in self.entries:
            if entry["event"] == "done" and entry["way"] == "there":
                found.append(entry["step"])
            elif entry["event"] == "done" and entry["way"] == "back":
                found.remove(entry["step"])
        return found

    def open_step(self) -> list[Entry]:
        """The entries of a step that was begun and neither done nor given up; empty if there is none."""
        begun: list[Entry] = []
        for entry in self.entries:
            if entry["event"] == "begin":
                begun = [entry]
            elif entry["event"] in ("done", "rolled back"):
                begun = []
            elif begun:
                begun.append(entry)
        return begun
