"""GitHub Actions: the job's summary, and annotations that show beside the migration in a pull request."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from auditkit.report.alerts.markdown import page
from auditkit.report.alerts.notice import Item, Notice

#: GitHub shows no more than ten errors and ten warnings of a step; a summary may have 1 MiB.
MOST, LARGEST = 10, 900_000


def tell(notice: Notice) -> str | None:
    """Write the summary, print the annotations; what went wrong in one line, or None.

    Annotations go to standard error, which GitHub reads too: standard output is for data.
    """
    for line in commands(notice):
        print(line, file=sys.stderr)
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return "GITHUB_STEP_SUMMARY is not set, so there is no job summary; annotations were printed"
    text = page(notice)
    try:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(text if len(text.encode()) <= LARGEST else f"{text[: LARGEST // 4]}\n\n…\n")
    except OSError as error:
        return f"the job summary cannot be written: {error.strerror}"
    return None


def commands(notice: Notice) -> list[str]:
    """Workflow commands: an error for what fails the check, a warning for the rest."""
    found = [_annotation(item) for item in notice.items[:MOST]]
    found += [_command("error", {"title": "not checked"}, text) for text in notice.unread[:MOST]]
    if not found and notice.is_bad:
        found = [_command("error", {"title": "auditkit check"}, notice.headline)]
    return found


def _annotation(item: Item) -> str:
    level = "error" if item.severity in ("critical", "high", "medium") else "warning"
    properties = {"file": item.file, "line": str(item.line) if item.line else None}
    properties["title"] = f"{item.cause} in {item.environment}" if item.environment else item.cause
    text = f"{item.title} ({item.confidence}, {item.id}). {item.remedy}".strip()
    return _command(level, {k: v for k, v in properties.items() if v}, text)


def _command(name: str, properties: dict[str, str], text: str) -> str:
    pairs = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {pairs}::{_data(text)}"


def _data(text: str) -> str:
    """As GitHub's own toolkit escapes a message; ``clean`` has broken up the older form of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
