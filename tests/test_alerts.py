"""Alerts: sent over real HTTP to servers that behave and misbehave, with names that try to be something else."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from auditkit.config import Alerts
from auditkit.errors import ConfigError
from auditkit.report import alerts, last_check
from auditkit.report.alerts import files, github, markdown, webhook

PATH = "/services/T000/c4nary-secret"
#: A mention, a link, markup of three kinds, a workflow command, a bidi override, a terminal's escape, a password.
HOSTILE = (
    "<!channel> @all `x` [a](http://evil) | **b** <script>alert(1)</script>\n::error::stolen ##[error]x \u202egnp\x1b[31m "
    "password=hunter22"
)

Hook = Callable[..., str]


class Server(ThreadingHTTPServer):
    """Answers by a list of codes; what is no number is done instead."""

    daemon_threads = True

    def __init__(self, answers: list[Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.seen: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(json.loads(body))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer == "drip":  # a byte now and then: no single read ever takes long
            for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200:
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.05)
        elif answer == "close":
            self.close_connection = True
        elif answer == "nonsense":
            self.wfile.write(b"\x00\x01 not http\r\n\r\n")
        else:
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            if answer == 302:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            if answer == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Any) -> Server:
        server = Server(list(answers))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}{PATH}")
        return server

    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def finding(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": f"f-{number}",
        "severity": "high",
        "title": f"view public.v{number} was made by hand",
        "cause": "manual_change",
        "confidence": "proven",
        "environment": "production",
        "objects": [{"kind": "view", "identity": f"public.v{number}"}],
        "migration": {"file": "supabase/migrations/1_a.sql", "line": 3},
        "remedy": {"summary": "Decide."},
        **more,
    }


def document(*findings: dict[str, Any], verdict: str = "FAIL", **more: Any) -> dict[str, Any]:
    return {
        "created_at": "2026-11-22T06:00:00Z",
        "verdict": verdict,
        "headline": "production differs.",
        "baseline": "migrations",
        "environments": [
            {"name": "production", "status": "complete", "findings": len(findings), "fingerprint": "x"}
        ],
        "findings": list(findings),
        "not_checked": [],
        **more,
    }


def unread(name: str = "production") -> dict[str, Any]:
    return {"environment": name, "what": "the environment", "why": "it is down", "fix": "wait"}


NOTICE = alerts.notice_of(document(finding()))


# --- the webhook -------------------------------------------------------------------------------------------


def test_slack_gets_a_message_it_can_read(hook: Callable[..., Server]) -> None:
    server = hook(200)
    assert webhook.post(NOTICE, "HOOK") is None
    (message,) = server.seen
    assert message["text"] == "auditkit: ✗ FAIL: production differs."
    (attachment,) = message["attachments"]
    assert "HIGH  view public.v1 was made by hand  [manual_change, proven]" in attachment["text"]


@pytest.mark.parametrize(
    ("answers", "attempts", "says"),
    [
        ([500, 200], 2, None),
        ([429, 200], 2, None),
        (["close", 200], 2, None),
        ([500, 500], 2, "answered 500, twice"),
        ([404], 1, "answered 404"),
        ([302], 1, "answered 302"),
        (["nonsense"], 2, "gave no proper answer, twice"),
    ],
)
def test_a_server_that_misbehaves(
    hook: Callable[..., Server], answers: list[Any], attempts: int, says: str | None
) -> None:
    server = hook(*answers)
    told = webhook.post(NOTICE, "HOOK")
    assert len(server.seen) == attempts
    assert (told is None) if says is None else (told is not None and f"the webhook in HOOK {says};" in told)
    assert PATH not in str(told) and "127.0.0.1" not in str(told)


def test_a_server_that_never_ends(hook: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    hook("drip")
    monkeypatch.setattr(webhook, "TIMEOUT", 0.3)
    started = time.monotonic()
    told = webhook.post(NOTICE, "HOOK")
    assert told and "did not answer within" in told and PATH not in told
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (None, "HOOK is not set"),
        ("", "HOOK is not set"),
        ("file:///etc/passwd", "holds no web address"),
        ("hooks.slack.com/services/c4nary-secret", "holds no web address"),
        ("https://h/c4nary-secret\r\nX: y", "holds no web address"),
        ("http://127.0.0.1:9/c4nary-secret", "refused the connection, twice"),
        ("http://[c4nary-secret/", "gave no proper answer"),
        ("http://c4nary-secret.invalid/x", "cannot be reached, twice"),
        ("http://h:c4nary-secret/", "gave no proper answer"),
    ],
)
def test_an_address_that_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, address: str | None, says: str
) -> None:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    monkeypatch.delenv("HOOK", raising=False)
    if address is not None:
        monkeypatch.setenv("HOOK", address)
    told = webhook.post(NOTICE, "HOOK")
    assert told and says in told and "c4nary" not in told and "\n" not in told


# --- hostile names -----------------------------------------------------------------------------------------

EVIL = alerts.notice_of(document(finding(title=HOSTILE, environment=HOSTILE), headline=HOSTILE))


def test_names_mention_nobody_in_a_chat() -> None:
    text = json.dumps(webhook.message(EVIL), ensure_ascii=False)
    assert "<" not in text and "@all" not in text and "http://" not in text
    assert "hunter22" not in text and "\u202e" not in text and "\\u001b" not in text
    block = webhook.message(EVIL)["attachments"][0]["text"]
    assert block.count("`") == 6  # the fences of the block, and none within


def test_names_are_no_workflow_commands() -> None:
    for line in github.commands(EVIL):
        assert re.fullmatch(r"::error file=[^:,]+,line=3,title=[^:,]+::[^\r\n]*", line), line
        assert "##[" not in line and "hunter22" not in line
    assert "\n" not in EVIL.title + "".join(EVIL.lines) and "##[" not in EVIL.title


def test_names_are_neither_markdown_nor_html() -> None:
    page = markdown.page(EVIL)
    assert "<script" not in page and "<!channel" not in page and "@all" not in page
    assert "[a](" not in page and "http://" not in page and "hunter22" not in page
    row = next(line for line in page.splitlines() if line.startswith("| high"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5  # its own borders


def test_a_notice_stays_short() -> None:
    many = alerts.notice_of(document(*(finding(n, title="x" * 1000) for n in range(500))))
    assert len(json.dumps(webhook.message(many))) < 12_000
    assert len(github.commands(many)) == github.MOST


# --- where and when ----------------------------------------------------------------------------------------


def test_github_is_told_by_summary_and_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    (result,) = alerts.send(NOTICE, Alerts())
    assert (result["channel"], result["sent"]) == ("github", True)
    assert summary.read_text().startswith("## ✗ FAIL: production differs.")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "::error file=supabase/migrations/1_a.sql,line=3,title=manual_change in production::"
        "view public.v1 was made by hand (proven, f-1). Decide.\n"
    )
    assert alerts.send(NOTICE, Alerts(github=False)) == []


def test_files(tmp_path: Path) -> None:
    lines, page = tmp_path / "new" / "alerts.jsonl", tmp_path / "alerts.md"
    for _ in range(2):
        for file in (lines, page):
            assert files.write(NOTICE, file) is None
    assert [json.loads(line)["verdict"] for line in lines.read_text().splitlines()] == ["FAIL", "FAIL"]
    assert page.read_text().count("## ✗ FAIL") == 1
    (tmp_path / "file").write_text("")
    assert "cannot be written" in str(files.write(NOTICE, tmp_path / "file" / "x.jsonl"))
    with pytest.raises(ConfigError, match=r"ends in [.]jsonl"):
        files.checked(tmp_path / "alerts.txt")


def checks(folder: Path, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents of checks made one after the other."""
    found = []
    for each in documents:
        known = last_check.load(folder)
        found.append(last_check.since(each, known))
        assert last_check.save(folder, found[-1], known) is None
    return found


def test_only_news(tmp_path: Path) -> None:
    clean = document(verdict="PASS")
    runs = checks(
        tmp_path,
        document(finding(1)),
        document(finding(1)),
        document(finding(1), finding(2)),
        document(verdict="INCOMPLETE", not_checked=[unread()]),
        document(verdict="INCOMPLETE", not_checked=[unread()]),
        document(finding(1), finding(2)),
        clean,
        clean,
    )
    notices = [alerts.notice_of(run) for run in runs]
    assert [n.is_news for n in notices] == [True, False, True, True, False, False, True, False]
    assert [alerts.wanted(n, "problems") for n in notices] == [True] * 7 + [False]
    assert all(alerts.wanted(n, "always") for n in notices)
    since = [run["since_last_run"] for run in runs]
    assert (since[2]["new"], since[2]["persisting"]) == (["f-2"], ["f-1"])
    # Not seeing is not the same as being gone.
    assert [f["id"] for f in since[3]["unconfirmed"]] == ["f-1", "f-2"] and since[3]["resolved"] == []
    assert since[5]["new"] == [] and since[5]["persisting"] == ["f-1", "f-2"]
    assert [f["id"] for f in since[6]["resolved"]] == ["f-1", "f-2"] and since[6]["recovered"]
    assert runs[2]["findings"][0]["first_seen"] == runs[0]["created_at"]


def test_each_environment_has_its_own_last_check(tmp_path: Path) -> None:
    staging = document(finding(7, environment="staging"))
    staging["environments"] = [{**staging["environments"][0], "name": "staging"}]
    _, _, third = checks(tmp_path, document(finding(1)), staging, document(finding(1)))
    assert third["since_last_run"]["persisting"] == ["f-1"] and third["since_last_run"]["resolved"] == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "auditkit.checks/1", "environments": {"production": 1}}']
)
def test_a_damaged_record_only_makes_everything_new(tmp_path: Path, text: str) -> None:
    (tmp_path / last_check.NAME).write_text(text)
    assert last_check.load(tmp_path) == {}
    assert last_check.since(document(finding()), {})["since_last_run"]["new"] == ["f-1"]


def test_a_record_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    told = last_check.save(tmp_path / "reports", document(), {})
    assert told and "cannot tell what is new" in told
