"""One migration as its file has it, and all migrations of a project."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from auditkit.history.git import Commit, GitInfo
    from auditkit.history.layouts import Layout
    from auditkit.history.split import Statement

__all__ = ["Blob", "Migration", "Migrations", "Project", "label_of", "read", "stamp", "with_content"]


def label_of(version: str, name: str) -> str:
    """What people call a migration. Django's versions end with the name, as its own messages have it: shop.0001_initial."""
    known = not name or version.endswith(f".{name}")
    return version if known else f"{version}_{name}"


def stamp(name: str) -> tuple[str, str]:
    """Split ``20240131120000_add_users`` into version and name; without digits it is all version."""
    match = re.fullmatch(r"([0-9]+)[_-](.*)", name)
    return (match[1], match[2]) if match else (name, "")


@dataclass(frozen=True)
class Project:
    """Where the migrations are. ``directories`` are relative to ``root``, with forward slashes."""

    root: Path
    tool: str
    directories: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Migration:
    """One migration file.

    ``version`` and ``name`` are as the tool's ledger records them; ``path`` is relative to the project's
    root. ``sql`` is the part that is applied (after ``-- migrate:up``, say), with blank lines for what was
    left out before it, so that line numbers stay the file's; None if the migration is code. ``raw`` is the
    file as it is on disk. ``transactional``: whether the tool runs it in one transaction. ``depends`` are
    versions that come before it, for tools that order by dependency; ``replaces`` are those whose work it does
    (a squashed migration of Django). A file may hold several migrations
    (Liquibase); ``raw`` is then this one's part of it.
    """

    version: str
    name: str
    path: str
    sql: str | None
    raw: bytes = b""
    transactional: bool = True
    depends: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    git: GitInfo | None = None

    @cached_property
    def statements(self) -> list[Statement]:
        """The statements of ``sql``; empty if the migration is code."""
        from auditkit.history.split import split  # what only compares schemas needs no parser

        return split(self.sql) if self.sql is not None else []

    @property
    def added(self) -> Commit | None:
        """The commit that added the file, if git knows it."""
        return self.git.added if self.git else None


@dataclass(frozen=True)
class Migrations(Sequence[Migration]):
    """The migrations of a project in the order the tool applies them, and what was odd about them.

    ``ref`` is the git reference they were read from, None for the files on disk.
    """

    project: Project
    items: tuple[Migration, ...]
    notes: tuple[str, ...] = ()
    ref: str | None = None

    @property
    def tool(self) -> str:
        return self.project.tool

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Migration: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Migration, ...]: ...
    def __getitem__(self, index: int | slice) -> Migration | tuple[Migration, ...]:
        return self.items[index]


@dataclass(frozen=True)
class Blob:
    """What a migration file said as of a commit: the file read as it would have been then."""

    commit: Commit
    migration: Migration


def read(layout: Layout, migration: Migration, content: bytes | str, notes: list[str]) -> Migration:
    if isinstance(content, str):
        notes.append(f"{migration.path}: not readable ({content}); it cannot be compared or replayed")
        return migration
    if not content.strip():
        notes.append(f"{migration.path}: the file is empty")
    else:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            notes.append(
                f"{migration.path}: not UTF-8 (byte {error.start + 1}); unreadable characters are replaced"
            )
    read = with_content(layout, migration, content)
    if read.sql is None and not layout.code and migration.path.endswith(".sql"):
        notes.append(f"{migration.path}: the mark that begins the part to apply is missing")
    return read


def with_content(layout: Layout, migration: Migration, content: bytes) -> Migration:
    """*migration* with what *content* says: all of a file, or its part of one that holds several."""
    from auditkit.history import formatted

    text = content.decode(errors="replace")
    if layout.part and formatted.is_formatted(text):
        text = layout.part(text, migration.version) or ""
        content = text.encode()
    if layout.own and (said := layout.own.search(text)):
        migration = replace(migration, version=said["version"], name=said["name"])
    code = layout.code or not migration.path.lower().endswith(layout.endings)
    if layout.tool == "django":
        transactional = not re.search(r"^\s*atomic\s*=\s*False", text, re.MULTILINE)
    else:
        # re.match for directives that must be the first line, which have no MULTILINE flag.
        directive = layout.autocommit
        look = directive and (directive.search if directive.flags & re.MULTILINE else directive.match)
        transactional = not (look and look(text))
    return replace(migration, sql=None if code else layout.up(text), raw=content, transactional=transactional)
