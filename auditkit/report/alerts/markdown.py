"""A notice as Markdown: a job summary, a page in a wiki."""

from __future__ import annotations

import html
import re

from auditkit.report.alerts.notice import Notice

_SPECIAL = re.compile(r"([\\`*\[\]#|~$]|(?<!\w)_|_(?!\w))")


def page(notice: Notice) -> str:
    """*notice* as a page of its own."""
    lines = [f"## {escaped(notice.title)}", "", f"auditkit check, {notice.at}", ""]
    if notice.items:
        lines += ["| severity | finding | cause | since |", "|---|---|---|---|"]
        for item in notice.items:
            place = f"{item.file}:{item.line}" if item.file and item.line else item.file or ""
            what = escaped(item.title) + (f"<br>{escaped(place)}" if place else "")
            cause = escaped(f"{item.cause} ({item.confidence})")
            since = "**new**" if item.news == "new" else escaped((item.since or "")[:10])
            lines.append(f"| {item.severity} | {what} | {cause} | {since} |")
        lines.append("")
    if notice.unread:
        lines += ["**Not checked**", "", *(f"- {escaped(text)}" for text in notice.unread), ""]
    if notice.violations:
        lines += ["**Promotion order**", "", *(f"- {escaped(text)}" for text in notice.violations), ""]
    if notice.resolved:
        lines += [
            "**Gone since the last check**",
            "",
            *(f"- {escaped(text)}" for text in notice.resolved),
            "",
        ]
    if notice.environments:
        lines += ["| environment | findings | read |", "|---|---|---|"]
        for environment in notice.environments:
            read = "completely" if environment["status"] == "complete" else "**not completely**"
            lines.append(f"| {escaped(environment['name'])} | {environment['findings']} | {read} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """*text* so that Markdown and HTML show it as it is: no link, image, mention, formatting or table cell of its own."""
    text = _SPECIAL.sub(r"\\\1", html.escape(text, quote=False))
    return text.replace("@", "&#64;&#8203;").replace("://", "&#58;//").replace("www.", "www&#46;")
