"""Squawk, a linter for migrations (https://squawkhq.com): what it says of the pending files, if it is installed.

It reads text where the rehearsal looks at what happens, so it knows of habits that no single run shows. What it says is
shown beside our own findings and decides nothing. The project's ``.squawk.toml`` is heard.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditkit.history.migration import Migration

__all__ = ["find", "lint"]

_SECONDS = 60


def find(root: Path) -> str | None:
    """The program: the project's own (npm), beside this Python (PyPI), or on the path. Others bear its name, too."""
    here = (root / "node_modules" / ".bin" / "squawk", Path(sysconfig.get_path("scripts"), "squawk"))
    for program in (*(str(path) for path in here if path.is_file()), shutil.which("squawk")):
        if program and _answer(program, ["--help"], "", root)[1].find("--pg-version") >= 0:
            return program
    return None


def lint(
    program: str, migrations: Sequence[Migration], root: Path, server_version: int
) -> list[dict[str, Any]]:
    """What it says: ``file``, ``line``, ``level``, ``rule``, ``says``, ``help``; of what is no SQL, nothing."""
    found = []
    for migration in migrations:
        if migration.sql is None:
            continue
        whole = ["--assume-in-transaction"] if migration.transactional else []
        version = f"{server_version // 10000}.{server_version % 10000}"
        arguments = [
            "--reporter",
            "json",
            "--pg-version",
            version,
            *whole,
            "--stdin-filepath",
            migration.path,
        ]
        _, out = _answer(program, arguments, migration.sql, root)
        try:
            items = json.loads(out)
        except ValueError:
            items = []
        found += [
            {
                "file": migration.path,
                "line": int(item["line"]) + 1,
                "level": str(item["level"]).lower(),
                "rule": str(item["rule_name"]),
                "says": str(item["message"]),
                "help": item.get("help"),
            }
            for item in items
        ]
    return found


def _answer(program: str, arguments: Sequence[str], text: str, root: Path) -> tuple[int, str]:
    try:
        done = subprocess.run(
            [program, *arguments],
            input=text,
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 1, ""
    return done.returncode, done.stdout
