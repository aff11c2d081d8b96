"""``make demo`` from beginning to end: the answers are right, the reports are there, and can be asked again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from project import Project

from auditkit import audit, config
from auditkit.demo.run import MARK, clear, run
from auditkit.demo.story import MOMENTS, expected
from auditkit.errors import AuditError
from auditkit.report.document import schema

pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """The folder, the problems, and what was printed."""
    folder = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    problems = run(folder, echo=said.append)
    return folder, problems, said


def documents(folder: Path, notebook: str) -> list[dict[str, Any]]:
    runs = sorted(
        folder.glob(f"*-{notebook}-*/audit.json"), key=lambda f: json.loads(f.read_text())["created_at"]
    )
    return [json.loads(file.read_text("utf-8")) for file in runs]


def test_all_causes_and_culprits_are_right_and_nothing_else_is_reported(demo: Any) -> None:
    _, problems, said = demo
    assert problems == []
    assert any("All 19 causes and culprits are right" in line for line in said)


def test_there_is_a_report_for_every_moment_and_question(demo: Any) -> None:
    folder, _, _ = demo
    names = ("scheduled_audit", "root_cause", "pre_deployment", "post_deploy_review")
    counts = {n: len(documents(folder, n)) for n in names}
    assert counts == {**dict.fromkeys(names, 1), "scheduled_audit": len(MOMENTS)}
    index = (folder / "index.html").read_text("utf-8")
    for page in folder.glob("*/index.html"):
        assert page.stat().st_size <= 2_000_000
        assert page.parent.name in index


def test_documents_are_valid(demo: Any) -> None:
    folder, _, _ = demo
    for file in folder.glob("*/audit.json"):
        jsonschema.validate(json.loads(file.read_text("utf-8")), schema())


def test_the_scheduled_audit_tells_new_from_old(demo: Any) -> None:
    folder, _, _ = demo
    last = documents(folder, "scheduled_audit")[-1]["since_last_run"]
    new = {drift.name for drift in expected(3)} - {drift.name for drift in expected(2)}
    assert last["previous"] == MOMENTS[2].at
    assert len(last["new"]) == len(
        [d for d in expected(3) if d.name in new and d.cause != "missing_migration"]
    )
    assert {f["cause"] for f in last["resolved"]} == {"missing_migration"}


def test_the_review_names_what_slipped_into_the_deployment(demo: Any) -> None:
    folder, _, _ = demo
    (review,) = documents(folder, "post_deploy_review")
    deploy = review["deploy"]
    assert [m["name"] for m in deploy["deployed"]] == ["order_notes", "stock_levels", "preferred_language"]
    assert deploy["absent"] == []
    assert [(d["identity"], d["attribute"]) for d in deploy["unintended"]] == [
        ("public.order_notes.author", "not_null")
    ]
    causes = {f["cause"] for f in review["findings"] if "order_notes.author" in f["title"]}
    assert causes == {"manual_change"}


def test_what_spoke_against_the_deployment(demo: Any) -> None:
    """One migration had been run without being recorded: what comes after it could not be rehearsed."""
    folder, _, _ = demo
    (before,) = documents(folder, "pre_deployment")
    assert before["verdict"] == "FAIL"
    fails = next(f for f in before["findings"] if f["cause"] == "fails")
    assert fails["migration"]["name"] == "abandoned_carts"
    (review,) = documents(folder, "post_deploy_review")
    assert review["deploy"]["preflight"] == {"created_at": before["created_at"], "verdict": "FAIL"}
    assert review["deploy"]["rehearsed"] is True


def test_every_finding_is_followed(demo: Any) -> None:
    folder, _, _ = demo
    (audit,) = documents(folder, "root_cause")
    total = next(f for f in audit["findings"] if f["title"].startswith("function public.order_total(bigint)"))
    made = {(item["migration"] or {}).get("name") for item in total["blame"]}
    assert made == {"orders", "order_total_with_discounts", "order_total_with_tax", None}
    assert [d["identity"] for d in total["dependents"]] == ["public.my_orders"]
    assert all(f["timeline"] for f in audit["findings"])


def test_snapshots_answer_like_the_databases_that_are_gone(demo: Any) -> None:
    folder, _, _ = demo
    settings = config.load(folder / "shop" / "auditkit.toml")
    again = audit.explain("all", settings=settings).document
    (before,) = documents(folder, "root_cause")
    assert [f["id"] for f in again["findings"]] == [f["id"] for f in before["findings"]]


def test_it_can_be_repeated_but_removes_nothing_of_yours(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")
    with pytest.raises(AuditError, match="no demo made it"):
        run(tmp_path, reports=False, echo=lambda line: None)
    assert (tmp_path / "shop" / "mine.txt").read_text() == "mine"
    ours, yours = tmp_path / "2026-11-22-root_cause-1", tmp_path / "2026-11-22-root_cause-2"
    for folder in (ours, yours):
        folder.mkdir()
        (folder / "audit.json").write_text("{}")
    (tmp_path / MARK).write_text(json.dumps({"reports": [ours.name, "../elsewhere"]}))
    clear(tmp_path)
    assert (ours.exists(), yours.exists(), (tmp_path / "shop").exists()) == (False, True, False)
    (tmp_path / MARK).write_text("{not json")
    clear(tmp_path)
    assert json.loads((tmp_path / MARK).read_text()) == {"reports": []}


def test_the_walk_through_of_every_day(demo: Any) -> None:
    """As docs/daily.md and docs/fleet.md have it: check, check again, the fleet, a schedule."""
    shop = Project(demo[0] / "shop")
    first = shop.run("check", "--alert-file", "../alerts.md", env={"PATH": os.environ["PATH"]})
    assert first.code == 1
    assert "\n  production: 12 findings, 34 applied, 0 pending\n" in first.out
    assert first.out.endswith("\nnext: auditkit explain production\n")
    page = (demo[0] / "alerts.md").read_text("utf-8")
    assert "20260824091000\\_gift" not in page and "20260824091000_gift_cards was edited" in page
    again = shop.run("check", "--warn-only")
    assert again.code == 0 and "\nunchanged since the last check, " in again.out
    fleet = shop.run("fleet")
    assert (
        "\nindex public.reviews_published_idx " in fleet.out
        and "\n28 migrations are applied everywhere.\n" in fleet.out
    )
    assert shop.run("schedule", "github").code == 0
