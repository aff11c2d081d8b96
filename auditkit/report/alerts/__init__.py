"""Alerts: tell a webhook, GitHub Actions or a file what a check found.

What is told is one :class:`Notice`, made from the audit document; every channel writes it in its own words. Everything
in it may come from a catalog, so each channel makes it harmless where it is put. An alert that fails is said in
one line and changes no verdict. The address of a webhook is a secret: it comes from an environment variable and is
in no output, error or log.
"""

from __future__ import annotations

import os
from typing import Any

from auditkit.config import Alerts
from auditkit.report.alerts import files, github, webhook
from auditkit.report.alerts.notice import Notice, notice_of, refused

__all__ = ["Notice", "notice_of", "refused", "send", "wanted"]


def wanted(notice: Notice, when: str) -> bool:
    """Whether *notice* is to be sent, by ``[alerts] when``."""
    if when == "always":
        return True
    if when == "news":
        return notice.is_news
    return notice.is_bad or notice.recovered


def send(notice: Notice, alerts: Alerts) -> list[dict[str, Any]]:
    """Send *notice* through every channel that *alerts* or the surroundings name.

    The job summary and annotations of GitHub Actions show every check; the others only what is ``wanted``.

    Returns:
        ``{"channel", "sent", "failed", "says"}`` for each; ``says`` tells in one line why it was not sent.
    """
    results = []
    on_github = alerts.github if alerts.github is not None else os.environ.get("GITHUB_ACTIONS") == "true"
    if on_github:
        results.append(_result("github", github.tell(notice)))
    if alerts.webhook_env or alerts.file:
        if not wanted(notice, alerts.when):
            why = "nothing is new or gone" if alerts.when == "news" else "nothing is wrong"
            channel = "webhook" if alerts.webhook_env else "file"
            return [*results, {"channel": channel, "sent": False, "says": why, "failed": False}]
        if alerts.webhook_env:
            results.append(_result("webhook", webhook.post(notice, alerts.webhook_env)))
        if alerts.file:
            results.append(_result("file", files.write(notice, alerts.file)))
    return results


def _result(channel: str, problem: str | None) -> dict[str, Any]:
    return {"channel": channel, "sent": problem is None, "says": problem or "", "failed": problem is not None}
