"""A file: one line of JSON for each alert (``.jsonl``), or the last one as a page (``.md``)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from auditkit.errors import ConfigError
from auditkit.report.alerts.markdown import page
from auditkit.report.alerts.notice import Notice

ENDINGS = (".jsonl", ".md")


def checked(path: Path) -> Path:
    """*path*, if its ending says what to write.

    Raises:
        ConfigError: it does not.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(
            f"{path}: an alert file ends in .jsonl (a line for each alert) or .md (the last one as a page)"
        )
    return path


def write(notice: Notice, path: Path) -> str | None:
    """Append to, or replace, the file; what went wrong in one line, or None."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text(page(notice), "utf-8")
            temporary.replace(path)
        else:
            line = json.dumps(notice.as_dict(), ensure_ascii=False) + "\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    return None
