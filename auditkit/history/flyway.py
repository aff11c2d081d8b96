"""Flyway's settings that say how its files are named and what is filled into them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from auditkit.history.layouts import LAYOUTS, Layout
from auditkit.history.trees import Tree, text_of

__all__ = ["layout_of", "locations"]

_PLACES = ("flyway.toml", "flyway.conf", "conf/flyway.toml", "conf/flyway.conf")


def locations(tree: Tree) -> list[str]:
    """The folders of this tree that the settings name."""
    named = _settings(tree).get("locations", "")
    folders = [re.sub(r"^(?:filesystem|classpath):", "", place.strip()) for place in named.split(",")]
    folders = [os.path.normpath(folder).replace("\\", "/") for folder in folders if folder]
    return [folder for folder in folders if any(file.startswith(f"{folder}/") for file in tree.files)]


def layout_of(tree: Tree) -> Layout:
    """Flyway's layout with the prefixes, separator, suffixes and placeholders of this project."""
    said = _settings(tree)
    word = {
        name: re.escape(said.get(f"{key}migrationprefix", usual))
        for name, key, usual in (
            ("V", "sql", "V"),
            ("R", "repeatablesql", "R"),
            ("B", "baseline", "B"),
            ("U", "undosql", "U"),
        )
    }
    between = re.escape(said.get("sqlmigrationseparator", "__"))
    ends = "|".join(re.escape(end.strip()) for end in said.get("sqlmigrationsuffixes", ".sql").split(","))
    values = {key.partition(".")[2]: value for key, value in said.items() if key.startswith("placeholders.")}
    begin, end = said.get("placeholderprefix", "${"), said.get("placeholdersuffix", "}")
    holder = re.compile(re.escape(begin) + r"([\w.:-]+)" + re.escape(end))

    def filled(sql: str) -> str:
        if said.get("placeholderreplacement", "true").lower() == "false":
            return sql
        return holder.sub(lambda match: values.get(match[1].lower(), match[0]), sql)

    number = r"[0-9][0-9._]*"
    return replace(
        LAYOUTS["flyway"],
        file=re.compile(
            rf"(?:.*/)?(?:{word['V']}(?P<version>{number})|{word['R']}){between}(?P<name>[^/]*)(?:{ends})"
        ),
        others=re.compile(rf"(?:.*/)?(?:{word['B']}|{word['U']}){number}{between}[^/]*(?:{ends})"),
        up=filled,
    )


def _settings(tree: Tree) -> dict[str, str]:
    """The settings below ``flyway``, with keys in lower case and lists joined by commas."""
    found: dict[str, str] = {}
    for place in _PLACES:
        text = text_of(tree, place)
        if place.endswith(".toml"):
            try:
                table = tomllib.loads(text).get("flyway", {})
            except tomllib.TOMLDecodeError:
                continue
            said = _flat(table) if isinstance(table, dict) else {}
        else:
            pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
            said = {
                key.strip().removeprefix("flyway."): value.strip() for key, equals, value in pairs if equals
            }
        for key, value in said.items():
            found.setdefault(key.lower(), value)
    return found


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        elif isinstance(value, bool):
            flat[f"{above}{key}"] = str(value).lower()
        else:
            flat[f"{above}{key}"] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat
