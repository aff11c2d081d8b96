"""Incoming webhooks that understand Slack's JSON: Slack, Mattermost, Rocket.Chat, Discord's ``/slack``."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO, Any

from auditkit.report.alerts.notice import Notice

#: Seconds for one attempt altogether, however slowly the server answers; and until the second one.
TIMEOUT, PAUSE, LONGEST_PAUSE = 10.0, 1.0, 10.0
_COLOURS = {"PASS": "#2e7d32", "WARN": "#b26a00", "FAIL": "#c62828", "INCOMPLETE": "#6a1b9a"}
#: Slack cuts what is longer.
_LONGEST = 6000


def message(notice: Notice) -> dict[str, Any]:
    """The JSON that is posted. What a catalog may have named is in a code block: there nobody is mentioned or linked."""
    body = "\n".join(notice.lines)
    if len(body) > _LONGEST:
        body = body[:_LONGEST].rpartition("\n")[0] + "\n…"
    text = f"auditkit: {_harmless(notice.title)}"
    if not body:
        return {"text": text}
    block = f"```\n{_harmless(body)}\n```"
    about = {"color": _COLOURS.get(notice.verdict, "#6a1b9a"), "fallback": text, "mrkdwn_in": ["text"]}
    return {"text": text, "attachments": [{**about, "text": block}]}


def _harmless(text: str) -> str:
    """*text* without mentions, links and formatting of its own."""
    for char, instead in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("`", "'"),
        ("@", "@\u200b"),
        ("://", ":/\u200b/"),
    ):
        text = text.replace(char, instead)
    return text


def post(notice: Notice, variable: str) -> str | None:
    """Post *notice* to the address in the environment variable *variable*; what went wrong in one line, or None.

    What took too long, and what the server could not do just now, is tried once more.
    """
    address = os.environ.get(variable, "").strip()
    if not address:
        return f"the environment variable {variable} is not set; set it to the webhook's address"
    if not address.startswith(("https://", "http://")) or any(c.isspace() or ord(c) < 33 for c in address):
        return f"{variable} holds no web address; it must begin with https://"
    data = json.dumps(message(notice), ensure_ascii=True).encode()
    problem, again, wait = _within(address, data)
    if problem and again:
        time.sleep(min(wait, LONGEST_PAUSE))
        problem, again, wait = _within(address, data)
        problem = problem and f"{problem}, twice"
    return (
        problem and f"the webhook in {variable} {problem}; the verdict stands, and nobody was told this way"
    )


_Outcome = tuple[str | None, bool, float]


def _within(address: str, data: bytes) -> _Outcome:
    """One attempt, given up after TIMEOUT even if the server sends a byte now and then."""
    outcome: list[_Outcome] = []
    thread = threading.Thread(target=lambda: outcome.append(_attempt(address, data)), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return outcome[0] if outcome else (f"did not answer within {TIMEOUT:.0f} s", True, PAUSE)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A webhook does not move; what it is told is not sent elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def _attempt(address: str, data: bytes) -> _Outcome:
    """What went wrong, if anything did; whether to try again; and after how long. Never the address: it is a secret."""
    try:
        request = urllib.request.Request(  # noqa: S310  (http and https only, see above)
            address, data, {"Content-Type": "application/json", "User-Agent": "auditkit"}
        )
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request, timeout=TIMEOUT) as answer:
            status = int(answer.status)
        return (None if 200 <= status < 300 else f"answered {status}"), False, 0
    except urllib.error.HTTPError as error:
        error.close()
        after = str(error.headers.get("Retry-After", "")) if error.headers else ""
        wait = float(after) if after.isdecimal() else PAUSE
        return f"answered {error.code}", error.code in (408, 429) or error.code >= 500, wait
    except urllib.error.URLError as error:
        return _why(error.reason), True, PAUSE
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _why(error), True, PAUSE


def _why(reason: object) -> str:
    """A reason by its kind: messages of libraries may hold the address."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "has a certificate that cannot be verified"
    if isinstance(reason, ssl.SSLError):
        return "does not speak TLS as it should"
    if isinstance(reason, TimeoutError):
        return f"did not answer within {TIMEOUT:.0f} s"
    if isinstance(reason, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(reason, OSError):
        return "cannot be reached"
    return "gave no proper answer"
