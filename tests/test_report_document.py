"""The audit document: its schema, its frames, its verdict and its history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sample_audit as sample

from auditkit.errors import AuditError, ConfigError
from auditkit.report import document as doc

SAMPLES = [sample.shop, sample.scheduled, sample.deployed, sample.clean, sample.empty, sample.incomplete]
SAMPLES += [sample.hostile]


@pytest.mark.parametrize("build", SAMPLES)
def test_samples_follow_the_schema(build: Callable[[], dict[str, Any]]) -> None:
    jsonschema.Draft202012Validator(doc.schema()).validate(build())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "OK"),
        (("findings", 0, "severity"), "urgent"),
        (("findings", 0, "id"), "3f2a"),
        (("deltas", 0, "change"), "differs"),
        (("environments", 0, "status"), "partly"),
        (("created_at",), "yesterday"),
    ],
)
def test_the_schema_refuses(path: tuple[Any, ...], value: object) -> None:
    document: Any = sample.shop()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, doc.schema())


def test_the_schema_itself_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(doc.schema())


@pytest.mark.parametrize("name", list(doc.COLUMNS))
def test_empty_frames_have_the_columns_and_dtypes_of_full_ones(name: str) -> None:
    full, empty = getattr(doc.Audit(sample.shop()), name), getattr(doc.Audit(sample.empty()), name)
    assert len(full) > 0
    assert len(empty) == 0
    assert list(full.columns) == list(doc.COLUMNS[name])
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_findings_are_sorted_worst_first() -> None:
    findings = doc.Audit(sample.shop()).findings
    assert list(findings.severity) == sorted(findings.severity, key=doc.SEVERITIES.index)
    assert findings.severity.min() == "critical"


def finding(severity: str) -> dict[str, Any]:
    return {"severity": severity}


@pytest.mark.parametrize(
    ("severities", "not_checked", "fail_on", "verdict"),
    [
        ([], [], "medium", "PASS"),
        (["info"], [], "medium", "PASS"),
        (["low"], [], "medium", "WARN"),
        (["medium"], [], "medium", "FAIL"),
        (["critical"], [], "critical", "FAIL"),
        (["high"], [], "critical", "WARN"),
        (["info"], [], "info", "FAIL"),
        ([], [{"what": "x"}], "medium", "INCOMPLETE"),
        (["low"], [{"what": "x"}], "medium", "INCOMPLETE"),
        (["high"], [{"what": "x"}], "medium", "FAIL"),
        ([], [{"what": "x", "blocking": False}], "medium", "PASS"),
        (["a severity of a newer version"], [], "critical", "FAIL"),
    ],
)
def test_verdict(severities: list[str], not_checked: list[Any], fail_on: str, verdict: str) -> None:
    assert doc.verdict_of(map(finding, severities), not_checked, fail_on) == verdict


def test_an_unknown_severity_to_fail_on_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'hihg' is not a severity"):
        doc.verdict_of([], [], "hihg")


@pytest.mark.parametrize(
    ("build", "headline"),
    [
        (
            sample.shop,
            "production and staging differ from migrations in 13 objects. Worst: "
            "Policy orders_owner lets every customer read every order (proven).",
        ),
        (sample.clean, "local, staging and production match migrations: 2,311 facts compared, no drift."),
        (
            sample.incomplete,
            "Not everything could be checked: production: could not connect. No drift was found in what was.",
        ),
    ],
)
def test_headline(build: Callable[[], dict[str, Any]], headline: str) -> None:
    assert doc.headline_of(build()) == headline


def test_the_headline_counts_what_differs() -> None:
    """As the page below it does: not what a finding names besides, as the objects that a ledger does not record."""
    document = sample.shop()
    shown = {(delta["environment"], delta["kind"], delta["identity"]) for delta in document["deltas"]}
    document["findings"][0]["objects"].append({"kind": "table", "identity": "public.as_it_should_be"})
    assert f"in {len(shown)} objects." in doc.headline_of(document)
    document["deltas"].clear()
    assert "in the ledger, not in the schema." in doc.headline_of(document)


def test_every_cause_has_words() -> None:
    for cause in doc.CAUSES:
        text = doc.cause_of({"cause": cause, "migration": {"version": "0042", "name": "add_policy"}})
        assert "{" not in text
    assert doc.cause_of({"cause": "a_new_one", "migration": None}) == "a new one"


def test_save_and_load(tmp_path: Path) -> None:
    file = doc.save_audit(sample.hostile(), tmp_path / "deep" / "audit.json")
    assert doc.load_audit(file).document == sample.hostile()
    assert [path.name for path in file.parent.iterdir()] == ["audit.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "is not an audit document"),
        ('{"format": "auditkit.diff/1"}', "its format is 'auditkit.diff/1'"),
    ],
)
def test_a_file_that_is_no_audit(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "audit.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(AuditError, match=message) as caught:
        doc.load_audit(file)
    assert "\n" not in str(caught.value)


def test_handing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(doc.HANDED_OVER, raising=False)
    assert doc.handed_over() is None
    file = tmp_path / "audit.json"
    monkeypatch.setenv(doc.HANDED_OVER, str(file))
    assert doc.handed_over() is None  # to be computed yet
    doc.Audit(sample.shop()).keep()
    handed = doc.handed_over()
    assert handed is not None
    assert handed.document == sample.shop()


def test_keeping_without_a_place_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(doc.HANDED_OVER, raising=False)
    monkeypatch.chdir(tmp_path)
    doc.Audit(sample.shop()).keep()
    assert list(tmp_path.iterdir()) == []
    doc.Audit(sample.shop()).keep(tmp_path / "kept")
    assert (tmp_path / "kept" / "audit.json").is_file()


def test_focus_on_a_finding_or_an_object() -> None:
    audit = doc.Audit(sample.shop())
    one = audit.only(focus="f-7b21f0d4")
    assert [f["id"] for f in one.document["findings"]] == ["f-7b21f0d4"]
    assert {d["identity"] for d in one.document["deltas"]} == {"shop.order_total(bigint)"}
    assert one.verdict == audit.verdict
    assert [f["id"] for f in audit.only(focus="shop.order_total").document["findings"]] == ["f-7b21f0d4"]
    assert audit.only().document == audit.document
    with pytest.raises(ConfigError, match="did you mean 'f-7b21f0d4'"):
        audit.only(focus="f-7b21f0d5")


def test_since_a_day() -> None:
    audit = doc.Audit(sample.shop()).only(since="2026-10-01")
    assert min(event.get("until") or event["at"] for event in audit.document["timeline"]) >= "2026-10-01"
    assert len(audit.document["migrations"]) == 4
    with pytest.raises(ConfigError, match="since: 'last week' is not a day"):
        audit.only(since="last week")


def test_runs_are_compared_by_finding() -> None:
    before, now = sample.shop(), sample.shop()
    gone, new = before["findings"][1], now["findings"][0]
    before["findings"] = [f for f in before["findings"] if f is not before["findings"][0]]
    now["findings"] = [f for f in now["findings"] if f["id"] != gone["id"]]
    since = doc.compare_runs(before, now)
    assert since["previous"] == before["created_at"]
    assert since["new"] == [new["id"]]
    assert since["resolved"] == [gone]
    assert since["unconfirmed"] == []
    assert len(since["persisting"]) == len(now["findings"]) - 1


def test_what_was_not_read_is_not_resolved() -> None:
    since = doc.compare_runs(sample.shop(), sample.incomplete())
    assert {f["environment"] for f in since["resolved"]} == {"staging"}
    assert {f["environment"] for f in since["unconfirmed"]} == {"production"}


def test_the_first_run_has_everything_new() -> None:
    since = doc.compare_runs(None, sample.shop())
    assert (since["previous"], len(since["new"]), since["persisting"]) == (None, 12, [])


def test_past_runs_are_read_newest_first(tmp_path: Path) -> None:
    for day, build in enumerate((sample.shop, sample.clean, sample.incomplete), 1):
        document = build("scheduled_audit") | {"created_at": f"2026-11-0{day}T08:00:00Z"}
        doc.save_audit(document, tmp_path / f"2026-11-0{day}-run" / "audit.json")
    doc.save_audit(sample.shop(), tmp_path / ".unfinished" / "audit.json")
    runs = doc.past_runs(tmp_path)
    assert [(run["path"], run["verdict"]) for run in runs] == [
        ("2026-11-03-run", "INCOMPLETE"),
        ("2026-11-02-run", "PASS"),
        ("2026-11-01-run", "FAIL"),
    ]
    assert runs[2]["findings"] == {"critical": 1, "high": 4, "medium": 4, "low": 2, "info": 1}
    previous = doc.previous_audit(tmp_path, "scheduled_audit")
    assert previous is not None
    assert previous.document["created_at"] == "2026-11-03T08:00:00Z"
    assert doc.previous_audit(tmp_path, "root_cause") is None


@pytest.mark.parametrize(
    "content", ["{", json.dumps({"format": doc.FORMAT}), json.dumps({"format": "x"}), "null"]
)
def test_a_run_that_cannot_be_read_is_listed_and_never_green(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "audit.json").write_text(content)
    (run,) = doc.past_runs(tmp_path)
    assert (run["verdict"], run["path"]) == ("INCOMPLETE", "broken")


def test_no_runs(tmp_path: Path) -> None:
    assert doc.past_runs(tmp_path / "not there yet") == []


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (list("abcd"), "a, b, c and d"),
        (list("abcdef"), "a, b, c and 3 others"),
    ],
)
def test_listing(names: list[str], text: str) -> None:
    assert doc.listing(names) == text


def _run(at: str, ids: list[str], status: str = "complete") -> doc.Audit:
    document = sample.clean()
    document["created_at"] = at
    document["environments"] = [{**document["environments"][0], "name": "production", "status": status}]
    document["findings"] = [{"id": key, "environment": "production", "title": key} for key in ids]
    return doc.Audit(document)


def test_a_drift_began_between_the_last_run_without_it_and_the_first_with_it() -> None:
    runs = [_run("1", ["old"]), _run("2", []), _run("3", [], "incomplete"), _run("4", ["a"])]
    windows = doc.drift_windows(runs, _run("5", ["a", "b", "old"]))
    assert [(w["label"], w["at"], w["until"]) for w in windows] == [
        ("a", "2", "4"),
        ("b", "4", "5"),
        ("old", "4", "5"),
    ]
    assert doc.drift_windows([], _run("5", ["a"])) == []
