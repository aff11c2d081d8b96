"""The shop's files as they ship with this package, and git to put them under."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from auditkit.demo.story import COMMITS
from auditkit.errors import AuditError

MIGRATIONS = "supabase/migrations"


@functools.cache
def migration_files() -> dict[str, str]:
    """Version to file name, in order."""
    folder = files("auditkit.demo").joinpath(f"shop/{MIGRATIONS}")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {name.split("_", 1)[0]: name for name in names}


def migration_name(version: str) -> str:
    return migration_files()[version].removesuffix(".sql").split("_", 1)[1]


def shop_file(path: str) -> str:
    return files("auditkit.demo").joinpath("shop", path).read_text(encoding="utf-8")


def migration_text(version: str, *, edited: bool = True) -> str:
    """The migration as it is in the end, or as it was before its edit."""
    text = shop_file(f"{MIGRATIONS}/{migration_files()[version]}")
    for commit in COMMITS:
        if commit.edit and commit.edit[0] == version and not edited:
            _, before, after = commit.edit
            assert text.count(after) == 1, f"the edit of {version} does not fit its file"
            text = text.replace(after, before)
    return text


def git(directory: Path, *arguments: str, stdin: bytes = b"") -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    command = ["git", "-c", "core.autocrlf=false", *arguments]
    result = subprocess.run(command, cwd=directory, env=clean, input=stdin, capture_output=True, check=False)
    if result.returncode:
        says = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise AuditError(f"demo: git {arguments[0]} failed in {directory}: {says[-1]}")
    return result.stdout.decode()


def git_log(repository: Path | None) -> dict[str, list[tuple[str, str]]]:
    """File name to ``(commit, author)`` of all commits that wrote it, oldest first; empty without git."""
    if repository is None or not (repository / ".git").exists() or not shutil.which("git"):
        return {}
    written: dict[str, list[tuple[str, str]]] = {}
    log = git(repository, "log", "--reverse", "--format=%x00%H%x09%an", "--name-only")
    for entry in log.split("\0")[1:]:
        head, *paths = entry.split("\n")
        commit, author = head.split("\t")
        for path in filter(None, paths):
            written.setdefault(path.rsplit("/", 1)[-1], []).append((commit, author))
    return written
