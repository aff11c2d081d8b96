"""What git knows about the migration files: who added them, who changed them later, what they said before.

A fixed number of git calls, however many files there are. Nothing is checked out and nothing is written:
optional locks are off, and so are settings of the repository that would start programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from auditkit.connect import redact
from auditkit.errors import ConfigError, ToolFailed

__all__ = ["Commit", "GitInfo", "Repository", "Version", "open_repository"]

_SAFE = ("--no-pager", "--no-optional-locks", "--literal-pathspecs", "-c", "core.fsmonitor=false")
# What a person's configuration could change about `git log`.
_PLAIN = (
    "-c",
    "log.showRoot=true",
    "-c",
    "log.follow=false",
    "-c",
    "diff.relative=false",
    "-c",
    "color.ui=false",
    "-c",
    "blame.ignoreRevsFile=",
)
_LOG = ("log", "-z", "--raw", "--no-abbrev", "-M", "--no-show-signature")
_FORMAT = "--format=%x01%H%x02%an%x02%aI%x02%cI%x02%s"
# Set inside a git hook, where they would win over the directory named here.
_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"})
_NO_BLOB = frozenset("0")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. Times are ISO 8601 in UTC; ``committed_at`` is when it reached this history."""

    id: str
    author: str
    authored_at: str
    committed_at: str
    subject: str


@dataclass(frozen=True, slots=True)
class Version:
    """What a file said as of one commit: the id of a git blob."""

    commit: Commit
    blob: str


@dataclass(frozen=True, slots=True)
class GitInfo:
    """The history of one file. ``versions`` are oldest first and follow renames.

    ``uncommitted``: the file on disk differs from the last commit, or (``untracked``) is in none.
    """

    versions: tuple[Version, ...] = ()
    uncommitted: bool = False
    untracked: bool = False
    renamed_from: str | None = None

    @property
    def added(self) -> Commit | None:
        """The commit that added the file; in a shallow clone, the oldest one that is there."""
        return self.versions[0].commit if self.versions else None

    @property
    def edited_later(self) -> tuple[Commit, ...]:
        """The commits that changed the file's content after it was added, oldest first."""
        pairs = zip(self.versions, self.versions[1:], strict=False)
        return tuple(after.commit for before, after in pairs if before.blob != after.blob)

    @property
    def last_commit(self) -> Commit | None:
        return self.versions[-1].commit if self.versions else None


@dataclass(frozen=True)
class Repository:
    """A git repository, seen from *root*: all paths are relative to it, with forward slashes."""

    root: Path
    prefix: str = ""
    notes: tuple[str, ...] = ()
    _cache: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def resolve(self, ref: str) -> str:
        """The commit that *ref* names.

        Raises:
            ConfigError: there is none.
        """
        try:
            out = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except subprocess.CalledProcessError:
            raise ConfigError(
                f"migrations@{ref}: git knows no such commit in {self.root}; "
                "check the name with `git log`, or fetch it (a shallow clone needs `git fetch --unshallow`)"
            ) from None
        return out.decode().strip()

    def tree(self, commit: str) -> dict[str, str]:
        """The files of *commit* below the root, as path -> blob id."""
        files = {}
        for entry in _fields(self._run("ls-tree", "-r", "-z", commit)):
            about, _, path = entry.partition("\t")
            mode, kind, blob = about.split(" ")
            if kind == "blob" and mode != "120000":  # a link's blob is not what it points at
                files[path] = blob
        return files

    def read(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The contents of *blobs*, in one git call; those that are not there are left out."""
        blobs = list(dict.fromkeys(blobs))
        wanted = [blob for blob in blobs if blob not in self._cache]
        if wanted:
            out = self._run("cat-file", "--batch", stdin="\n".join(wanted).encode() + b"\n")
            position = 0
            for _ in wanted:
                end = out.index(b"\n", position)
                blob, *about = out[position:end].decode().split(" ")
                position = end + 1
                if about[0] != "missing":
                    size = int(about[1])
                    self._cache[blob] = out[position : position + size]
                    position += size + 1
        return {blob: self._cache[blob] for blob in blobs if blob in self._cache}

    def log(self, paths: Iterable[str], commit: str | None = None) -> dict[str, GitInfo]:
        """The history of every file below *paths* (as of *commit*, else of HEAD and the files on disk)."""
        paths = list(paths)
        history = self._histories(commit or "HEAD", paths)
        if commit is None:
            history.update(self._on_disk(paths, history))
        return history

    def log_everywhere(self, paths: Iterable[str]) -> dict[str, GitInfo]:
        """The history of every file that was ever below *paths*, in any branch, deleted ones too."""
        return self._histories("--all", list(paths))

    def blame(
        self, path: str, content: bytes, lines: Iterable[int], commit: str = "HEAD"
    ) -> dict[int, Commit]:
        """The commit that gave each of some *lines* of *content* their present form, as of *commit*.

        *content* is what a file says: on disk, in the commit, or in a ledger. Lines that git does not have are left out.
        """
        wanted = [f"-L{line},{line}" for line in sorted(set(lines)) if 0 < line <= content.count(b"\n") + 1]
        if not wanted:
            return {}
        base = ("blame", "--line-porcelain", "--no-textconv", *wanted)
        # Together with a commit, --contents needs git 2.41; a commit's own content needs none.
        source = ("--contents", "-") if commit == "HEAD" else (commit,)
        try:
            out = self._run(*base, *source, "--", path, stdin=content)
        except subprocess.CalledProcessError:  # a file that is in no commit yet
            return {}
        return _blamed(out.decode(errors="surrogateescape"))

    def _histories(self, what: str, paths: list[str]) -> dict[str, GitInfo]:
        try:
            out = self._run(*_LOG, _FORMAT, what, "--", *paths)
        except subprocess.CalledProcessError:  # no commit yet
            out = b""
        return _histories(_fields(out), self.prefix)

    def _on_disk(self, paths: list[str], history: Mapping[str, GitInfo]) -> dict[str, GitInfo]:
        out = self._run(
            "status", "--porcelain", "-z", "--untracked-files=all", "--ignored", "--no-renames", "--", *paths
        )
        states = {}
        for entry in _fields(out):
            code, path = entry[:2], entry[3:].removeprefix(self.prefix)
            if code in ("??", "!!"):
                states[path] = GitInfo(uncommitted=True, untracked=True)
            elif path in history:
                known = history[path]
                states[path] = GitInfo(known.versions, uncommitted=True, renamed_from=known.renamed_from)
            else:
                states[path] = GitInfo(uncommitted=True)
        return states

    def _run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        return _git(self.root, *arguments, stdin=stdin)


def open_repository(root: Path) -> tuple[Repository | None, str | None]:
    """The repository *root* lies in, or None and one line that says why there is none."""
    lost = "who wrote each migration and what it said before are not known"
    if not shutil.which("git"):
        return None, f"git is not installed: {lost}"
    try:
        out = _git(root, "rev-parse", "--is-shallow-repository", "--show-prefix")
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace")
        if "dubious ownership" in message:
            return None, (
                f"git does not trust {root} because somebody else owns it: {lost}; "
                f"run `git config --global --add safe.directory {root.resolve()}`"
            )
        return None, f"{root} is not in a git repository: {lost}"
    except OSError as error:
        return None, f"git does not run ({error.strerror}): {lost}"
    shallow, _, prefix = out.decode().partition("\n")
    notes: tuple[str, ...] = ()
    if shallow == "true":
        notes = (
            "this is a shallow git clone: authors and earlier versions of older files are not known; "
            "run `git fetch --unshallow`",
        )
    return Repository(root, prefix.rstrip("\n"), notes), None


def archive(root: Path, commit: str) -> bytes:
    """What *commit* holds below *root*, as a tar file.

    Raises:
        ToolFailed: git does not know the commit, or does not run.
    """
    try:
        return _git(root, "archive", "--format=tar", commit)
    except subprocess.CalledProcessError as error:
        reason = redact(error.stderr.decode(errors="replace"))
    except OSError as error:
        reason = str(error.strerror)
    raise ToolFailed(f"git cannot give the files of {commit}; {reason}")


def _git(root: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in _HOOK}
    done = subprocess.run(
        ["git", "-C", str(root), *_SAFE, *_PLAIN, *arguments],
        input=stdin or b"",
        capture_output=True,
        check=True,
        env={**environment, "LC_ALL": "C"},
    )
    return done.stdout


def _fields(out: bytes) -> list[str]:
    return [part.decode(errors="surrogateescape") for part in out.split(b"\0") if part]


def _utc(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _histories(fields: list[str], prefix: str) -> dict[str, GitInfo]:
    """Read the output of ``git log -z --raw``, newest commit first, following each file back in time."""
    versions: dict[str, list[Version]] = {}
    renamed: dict[str, str] = {}
    # The name a file has now, by the name it had at the commit being read; None once it is known how it
    # came to be, so that an earlier file of the same name is not taken for it.
    now: dict[str, str | None] = {}
    commit: Commit | None = None
    parts = iter(fields)
    for part in parts:
        if part.startswith("\x01"):
            commit = Commit(*_commit_fields(part))
            continue
        assert commit
        _, _, _, blob, status = part.lstrip("\n:").split(" ")
        before = path = next(parts)
        if status[0] in "RC":
            path = next(parts)
        if set(blob) <= _NO_BLOB:  # deleted: whatever bears this name now came later
            continue
        current = now.setdefault(path, path)
        if current is None:
            continue
        versions.setdefault(current, []).append(Version(commit, blob))
        if status[0] in "ARC":
            now[path] = None
        if status[0] == "R" and before.startswith(prefix):
            now[before] = current
            renamed[current] = before.removeprefix(prefix)
    return {
        path.removeprefix(prefix): GitInfo(tuple(reversed(found)), renamed_from=renamed.get(path))
        for path, found in versions.items()
    }


def _blamed(out: str) -> dict[int, Commit]:
    """Read the output of ``git blame --line-porcelain``: a header, fields, and the line after a tab."""
    found: dict[int, Commit] = {}
    header: list[str] = []
    about: dict[str, str] = {}
    for text in out.split("\n"):
        if text.startswith("\t"):
            if header and not set(header[0]) <= _NO_BLOB:
                written, committed = (_moment(about[f"{who}-time"]) for who in ("author", "committer"))
                found[int(header[2])] = Commit(
                    header[0], about["author"], written, committed, about.get("summary", "")
                )
            header, about = [], {}
        elif not header:
            header = text.split(" ")
        else:
            name, _, value = text.partition(" ")
            about[name] = value
    return found


def _moment(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _commit_fields(part: str) -> tuple[str, str, str, str, str]:
    identity, author, authored, committed, subject = part.strip("\n")[1:].split("\x02", 4)
    return identity, author, _utc(authored), _utc(committed), subject
