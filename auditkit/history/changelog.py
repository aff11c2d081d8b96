"""Liquibase projects: changelogs that include others, and the changesets in them, in the order they are run.

Changesets of SQL (formatted SQL files, ``sql`` and ``sqlFile`` in the other formats) are migrations with their
text; those that describe changes in Liquibase's own words are listed without one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from auditkit.history import formatted
from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migration, Project, with_content
from auditkit.history.trees import Tree, files_in, text_of

__all__ = ["ENDINGS", "is_changelog", "liquibase"]

ENDINGS = (".sql", ".xml", ".yaml", ".yml", ".json")
_PREFIX = re.compile(r"^(?:classpath:|file:)?/?")


def is_changelog(path: str, text: str) -> bool:
    if path.endswith(".sql"):
        return formatted.is_formatted(text)
    return path.endswith(ENDINGS) and "databaseChangeLog" in text


def liquibase(project: Project, tree: Tree) -> tuple[list[Migration], list[str]]:
    """All changesets, from the changelog that the properties name, else from those that nobody includes."""
    folder = project.directories[0]
    reading = _Reading(tree, _settings(tree, folder))
    candidates = [file for _, file in sorted(files_in(tree, folder).items()) if file.endswith(ENDINGS)]
    contents = tree.read(candidates)
    logs = [
        file
        for file in candidates
        if isinstance(content := contents[file], bytes)
        and is_changelog(file, content.decode(errors="replace"))
    ]
    named = reading.settings.get("changelogfile") or reading.settings.get("changelog-file")
    root = reading.find(named, "") if named else None
    if root:
        reading.read(root)
    else:
        included: set[str] = set()
        for file in logs:
            included.update(_Reading(tree, {}, follow=False).includes(file))
        for file in [file for file in logs if file not in included] or logs:
            reading.read(file)
    return reading.migrations, reading.notes


def _settings(tree: Tree, folder: str) -> dict[str, str]:
    """What liquibase.properties says, with keys in lower case."""
    places = ("liquibase.properties", f"{folder}/liquibase.properties")
    found: dict[str, str] = {}
    for place in places:
        for line in text_of(tree, place).splitlines():
            key, separator, value = line.partition("=")
            if separator and not key.lstrip().startswith(("#", "!")):
                found.setdefault(key.strip().lower().removeprefix("liquibase."), value.strip())
    return found


@dataclass
class _Reading:
    """One pass over the changelogs of a project."""

    tree: Tree
    settings: Mapping[str, str]
    follow: bool = True
    migrations: list[Migration] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.properties |= {
            key.removeprefix("parameter."): value
            for key, value in self.settings.items()
            if key.startswith("parameter.")
        }

    def includes(self, path: str) -> set[str]:
        """The files that one changelog includes."""
        self.read(path)
        return set(self.reached) - {path}

    def find(self, name: str, beside: str) -> str | None:
        """The file a changelog calls *name*: from the root, or below some folder of it (a search path)."""
        name = _PREFIX.sub("", os.path.normpath(name).replace("\\", "/"))
        here = os.path.normpath(f"{beside}/{name}") if beside else name
        for path in (here, name):
            if path in self.tree.files:
                return path
        fitting = sorted((file for file in self.tree.files if file.endswith(f"/{name}")), key=len)
        return fitting[0] if fitting else None

    def read(self, path: str) -> None:
        if path in self.reached:
            return
        self.reached.append(path)
        text = text_of(self.tree, path)
        if path.endswith(".sql"):
            self._sql(path, text)
            return
        try:
            items = _items(path, text)
        except ValueError as error:
            self.notes.append(f"{path}: not a changelog that can be read ({error})")
            return
        for kind, item in items:
            self._item(path, kind, item)

    def _sql(self, path: str, text: str) -> None:
        if not formatted.is_formatted(text):  # a whole file is one changeset, by this name
            self._add(f"{path}::raw::includeAll", path, text.encode())
            return
        changesets, properties = formatted.changesets(text)
        self.properties = properties | self.properties
        for changeset in changesets:
            words = changeset.attributes
            if not _meant_for_postgresql(words.get("dbms", "")) or words.get("ignore") == "true":
                continue
            where = words.get("logicalfilepath") or path
            part = formatted.cut(text, changeset, self.properties)
            self._add(f"{where}::{changeset.id}::{changeset.author}", path, part.encode())

    def _item(self, path: str, kind: str, item: Mapping[str, Any]) -> None:
        relative = str(item.get("relativeToChangelogFile")).lower() == "true"
        beside = str(PurePosixPath(path).parent) if relative else ""
        if kind == "property" and "name" in item:
            self.properties.setdefault(str(item["name"]), str(item.get("value", "")))
        elif kind == "include":
            target = self.find(str(item.get("file", "")), beside)
            if target is None:
                self.notes.append(f"{path}: includes {item.get('file')}, which is not there")
            elif self.follow:
                self.read(target)
            else:
                self.reached.append(target)
        elif kind == "includeAll":
            for target in self._all_in(str(item.get("path", "")), beside):
                if self.follow:
                    self.read(target)
                else:
                    self.reached.append(target)
        elif kind == "changeSet" and self.follow and _meant_for_postgresql(str(item.get("dbms", ""))):
            self._changeset(path, item)

    def _all_in(self, name: str, beside: str) -> list[str]:
        name = _PREFIX.sub("", os.path.normpath(name).replace("\\", "/"))
        for folder in (os.path.normpath(f"{beside}/{name}") if beside else name, name):
            found = [f for f in sorted(self.tree.files) if f.startswith(f"{folder}/") and f.endswith(ENDINGS)]
            if found:
                return found
        return [f for f in sorted(self.tree.files) if f"/{name}/" in f"/{f}" and f.endswith(ENDINGS)]

    def _changeset(self, path: str, item: Mapping[str, Any]) -> None:
        where = item.get("logicalFilePath") or path
        version = f"{where}::{item.get('id')}::{item.get('author')}"
        parts = [self._change(path, kind, change) for kind, change in item.get("changes", ())]
        if parts and None not in parts:
            filled = [re.sub(r"\$\{([^}\n]+)\}", self._value, part or "") for part in parts]
            attributes = (
                ""
                if str(item.get("runInTransaction", "true")).lower() == "true"
                else " runInTransaction:false"
            )
            raw = f"--changeset {item.get('author')}:{item.get('id')}{attributes}\n" + formatted.NEXT.join(
                filled
            )
            self._add(version, path, raw.encode())
        else:
            raw = json.dumps(item, default=str, sort_keys=True)
            self.migrations.append(Migration(version, "", path, None, raw=raw.encode()))

    def _value(self, match: re.Match[str]) -> str:
        return self.properties.get(match[1].strip(), match[0])

    def _change(self, path: str, kind: str, change: Any) -> str | None:
        """The SQL of one change, None if it is described otherwise."""
        words = change if isinstance(change, dict) else {"sql": change}
        if kind == "sql":
            text = words.get("sql")
            return text if isinstance(text, str) else None
        if kind == "sqlFile":
            beside = str(PurePosixPath(path).parent)
            target = self.find(str(words.get("path", "")), beside)
            return text_of(self.tree, target) if target else None
        return None

    def _add(self, version: str, path: str, part: bytes) -> None:
        self.migrations.append(with_content(LAYOUTS["liquibase"], Migration(version, "", path, None), part))


def _meant_for_postgresql(dbms: str) -> bool:
    """Whether a changeset for these kinds of databases is run in PostgreSQL."""
    words = [word.strip().lower() for word in dbms.split(",") if word.strip()]
    if not words or "all" in words:
        return True
    if "!postgresql" in words or "none" in words:
        return False
    return "postgresql" in words or all(word.startswith("!") for word in words)


def _items(path: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a changelog in XML, YAML or JSON, as (kind, attributes).

    A changeset's ``changes`` are (kind, attributes) too. Raises ValueError if the file cannot be read.
    """
    if path.endswith(".xml"):
        yield from _xml(text)
        return
    if path.endswith(".json"):
        data = json.loads(text)
    else:
        import yaml

        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(type(error).__name__) from None
    entries = data.get("databaseChangeLog") if isinstance(data, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        for kind, item in entry.items() if isinstance(entry, dict) else ():
            if not isinstance(item, dict):
                continue
            changes = item.get("changes")
            pairs = (
                [pair for change in changes if isinstance(change, dict) for pair in change.items()]
                if isinstance(changes, list)
                else []
            )
            yield kind, {**item, "changes": pairs}


#: Elements of a changeset that are no changes.
_ABOUT = frozenset({"comment", "rollback", "preConditions", "validCheckSum", "modifySql"})


def _xml(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # expat fetches nothing and refuses entities that grow without bound.
    try:
        root = ElementTree.fromstring(text.encode())  # noqa: S314
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    for element in root:
        kind = _local(element.tag)
        changes = [
            (_local(child.tag), {**child.attrib, "sql": child.text or ""})
            for child in element
            if _local(child.tag) not in _ABOUT
        ]
        yield kind, {**element.attrib, "changes": changes}


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]
