"""The files of a project, on disk or in a commit, read in the same way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from auditkit.history.git import Repository

__all__ = ["Disk", "Objects", "Tree", "files_in", "join", "text_of"]

# Folders that never hold a project's own migrations and can be very large.
_PRUNED = frozenset(
    {"node_modules", "site-packages", "__pycache__", "venv", "vendor", "target", "dist", "build", "deps"}
)
_DEPTH = 8


class Disk:
    """The files below a folder; ``folders`` too, since one can be named like a migration."""

    def __init__(self, root: Path, within: str = "") -> None:
        self.root, self.notes = root, list[str]()
        self.files: list[str] = []
        self.folders: list[str] = []
        start = root / within
        for folder, folders, files in os.walk(start, onerror=self._unreadable):
            place = Path(folder).relative_to(root)
            depth = len(Path(folder).relative_to(start).parts)
            folders[:] = sorted(
                name
                for name in folders
                if depth < _DEPTH and name not in _PRUNED and not name.startswith(".")
            )
            self.folders += [(place / name).as_posix() for name in folders]
            self.files += [(place / name).as_posix() for name in files]

    def _unreadable(self, error: OSError) -> None:
        self.notes.append(f"{error.filename}: not readable ({error.strerror})")

    def read(self, paths: Iterable[str]) -> dict[str, bytes | str]:
        """The contents of *paths*, or one word on why there are none."""
        contents: dict[str, bytes | str] = {}
        for path in paths:
            try:
                contents[path] = (self.root / path).read_bytes()
            except OSError as error:
                contents[path] = error.strerror or type(error).__name__
        return contents


class Objects:
    """The files of a commit."""

    def __init__(self, repository: Repository, commit: str, within: str = "") -> None:
        self.repository, self.notes = repository, list[str]()
        tree = repository.tree(commit)
        inside = f"{within}/" if within not in ("", ".") else ""
        self._blobs = {path: blob for path, blob in tree.items() if path.startswith(inside)}
        self.files = list(self._blobs)
        self.folders: list[str] = []

    def read(self, paths: Iterable[str]) -> dict[str, bytes | str]:
        wanted = {path: self._blobs[path] for path in paths if path in self._blobs}
        contents = self.repository.read(wanted.values())
        return {path: contents.get(blob, "missing in this clone") for path, blob in wanted.items()}


Tree = Disk | Objects


def text_of(tree: Tree, path: str) -> str:
    content = tree.read([path] if path in tree.files else []).get(path, "")
    return content.decode(errors="replace") if isinstance(content, bytes) else ""


def join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def files_in(tree: Tree, folder: str) -> dict[str, str]:
    """The files below *folder*, as path inside it -> path in the tree."""
    start = "" if folder == "." else f"{folder}/"
    return {file.removeprefix(start): file for file in sorted(tree.files) if file.startswith(start)}
