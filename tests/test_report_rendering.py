"""From a notebook to a run directory: whole or not at all, small, and without secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import sample_audit as sample

from auditkit.errors import ConfigError, NotebookFailed
from auditkit.report import load_audit, past_runs, render
from auditkit.report.figures import MIMETYPE
from auditkit.report.rendering import policy, script_json, scrub

REPORTS = {
    "root_cause": sample.shop,
    "scheduled_audit": sample.scheduled,
    "pre_deployment": sample.preflighted,
    "post_deploy_review": sample.deployed,
}
#: What a page of ours may name but never fetch: namespaces, and addresses inside plotly's own code.
URL = re.compile(
    r"""(?:src|href|action|data)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//"""
)


@pytest.mark.parametrize("name", list(REPORTS))
def test_a_run_has_its_three_files(tmp_path: Path, name: str) -> None:
    run = render(name, {}, REPORTS[name](), tmp_path)
    assert sorted(path.name for path in run.path.iterdir()) == ["audit.json", "index.html", "notebook.ipynb"]
    assert re.fullmatch(rf"2026-11-22-{name}-[0-9a-f]{{8}}", run.path.name)
    assert load_audit(run.audit_file).document == REPORTS[name]()
    assert run.audit.verdict == "FAIL"
    assert sorted(path.name for path in tmp_path.iterdir()) == [run.path.name, "index.html"]
    page = run.index.read_text("utf-8")
    assert len(page.encode()) <= 2_000_000
    assert URL.findall(page.replace(plotly(page), "")) == []
    assert f"<title>FAIL: {'Why' if name == 'root_cause' else name[:3].capitalize()}" in page
    for finding in REPORTS[name]()["findings"]:
        assert f'id="{finding["id"]}"' in page
    executed = nbformat.read(run.notebook, as_version=4)
    nbformat.validate(executed)
    assert str(tmp_path) not in run.notebook.read_text("utf-8")
    assert not [
        o for c in executed.cells for o in c.get("outputs", ()) if o.output_type in ("error", "stream")
    ]


def plotly(page: str) -> str:
    """The chart library inside a page."""
    found = re.search(r"<script>/\*\*\n\* plotly\.js.*?</script>", page, re.DOTALL)
    return found[0] if found else ""


def test_the_chart_library_is_carried_once_or_not_at_all(tmp_path: Path) -> None:
    page = render("root_cause", {}, sample.shop(), tmp_path).index.read_text("utf-8")
    assert page.count("plotly.js (cartesian - minified)") == 1
    plain = render("root_cause", {}, sample.shop(), tmp_path, interactive=False).index.read_text("utf-8")
    assert "plotly.js" not in plain
    assert len(plain.encode()) <= 500_000
    assert "<svg" in plain


@pytest.mark.parametrize("engine", ["auditkit-warm", "nbclient"])
def test_both_engines_make_the_same_page(tmp_path: Path, engine: str) -> None:
    run = render("root_cause", {"environment": "staging"}, sample.shop(), tmp_path / engine, engine=engine)
    default = render("root_cause", {"environment": "staging"}, sample.shop(), tmp_path / "default")
    assert run.index.read_text("utf-8") == default.index.read_text("utf-8")


def test_the_executed_notebook_opens_in_jupyterlab(tmp_path: Path) -> None:
    """Charts for its chart viewer, HTML with styles for everything else, the parameters as they were."""
    executed = nbformat.read(
        render("root_cause", {"since": "2026-01-01"}, sample.shop(), tmp_path).notebook, 4
    )
    outputs = {cell.id: cell.outputs[0].data for cell in executed.cells if cell.get("outputs")}
    assert MIMETYPE in outputs["drift"]
    assert outputs["summary"]["text/html"].startswith("<style data-auditkit>")
    assert outputs["summary"]["text/plain"].startswith("FAIL: production and staging differ")
    injected = [c.source for c in executed.cells if "injected-parameters" in c.metadata.get("tags", ())]
    assert injected == ['# Parameters\nsince = "2026-01-01"\n']


def test_the_same_audit_twice_is_one_run(tmp_path: Path) -> None:
    first, second = (render("root_cause", {}, sample.clean(), tmp_path) for _ in range(2))
    assert first.path == second.path
    assert len(past_runs(tmp_path)) == 1


def test_the_index_lists_every_run(tmp_path: Path) -> None:
    for name, build in (("root_cause", sample.clean), ("scheduled_audit", sample.incomplete)):
        render(name, {}, build(name), tmp_path, interactive=False)
    index = (tmp_path / "index.html").read_text("utf-8")
    for run in past_runs(tmp_path):
        assert f'href="{run["path"]}/index.html"' in index
    assert "INCOMPLETE" in index
    assert "PASS" in index


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("root_cuase", {}),
        ("root_cause", {"enviroment": "x"}),
        ("root_cause", {"environment": "postgresql://a:b@c/d"}),
    ],
)
def test_wrong_arguments_run_and_write_nothing(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        render(name, values, sample.shop(), tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_failing_notebook_is_one_line_and_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NotebookFailed) as caught:
        render("root_cause", {"focus": "f-7b21f0d5"}, sample.shop(), tmp_path)
    message = str(caught.value)
    (kept,) = tmp_path.iterdir()
    assert re.fullmatch(r"failed-root_cause-\d{8}T\d{6}\.ipynb", kept.name)
    assert message == (
        "root_cause: cell 3 failed: ConfigError: focus: no finding or drifted object is called 'f-7b21f0d5'; "
        f"did you mean 'f-7b21f0d4'?; the executed notebook is {kept}"
    )


CANARIES = ("canary-of-url", "canary-of-env", "canary-of-passfile", "canary-of-pair", "canary-of-fdw")


def test_no_secret_reaches_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:auditor:canary-of-passfile\n")
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGPASSWORD", "canary-of-env")
    document = sample.incomplete()
    document["not_checked"][0]["why"] = (
        "postgresql://auditor:canary-of-url@db/shop failed, also with canary-of-env and password=canary-of-pair"
    )
    document["command"] = "PGPASSWORD=canary-of-env auditkit report"
    document["environments"][0]["server"] = "options (password 'canary-of-fdw')".replace(" '", "='")
    reports = tmp_path / "reports"
    render("root_cause", {}, document, reports)
    with pytest.raises(NotebookFailed) as caught:
        render("root_cause", {"focus": "canary-of-env"}, document, reports)
    assert not [canary for canary in CANARIES if canary in str(caught.value)]
    written = [path for path in reports.rglob("*") if path.is_file()]
    assert len(written) == 5
    for path in written:
        assert not [canary for canary in CANARIES if canary in path.read_text("utf-8")], path


def test_scrubbing_leaves_the_rest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "a")  # too short to be told from text
    assert scrub("a table and a view") == "a table and a view"


def test_scripts_are_allowed_by_their_hash_alone() -> None:
    assert policy(["alert(1)"]) == (
        "default-src 'none'; script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_json_cannot_end_its_script() -> None:
    text = script_json({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}
