"""Which resolution each finding gets, and the walk through all of it on the demo's shop: decided, run, taken back."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator

import pytest

from auditkit import audit, config
from auditkit import server as servers
from auditkit.audit.planning import _accepted, wish
from auditkit.audit.resolving import choices
from auditkit.causes.case import Finding
from auditkit.demo.build import Shop, build
from auditkit.errors import ConfigError
from auditkit.report import resolved
from auditkit.resolve.plan import load

FINDING = Finding("manual_change", "proven", "production", "by hand", [("index", "public.i")], "low")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("f-1=revert", {"f-1": "revert"}),
        (
            "f-1=accept until 2099-01-31: the DBA, and I, know = fine,f-2 = pull",
            {"f-1": "accept until 2099-01-31: the DBA, and I, know = fine", "f-2": "pull"},
        ),
    ],
)
def test_choices_as_text(text: str, expected: dict[str, str]) -> None:
    assert choices(text) == expected


def test_a_choice_without_a_resolution() -> None:
    with pytest.raises(ConfigError, match="f-1: write FINDING=HOW"):
        choices("f-1")


def test_what_is_accepted_has_a_reason_and_a_last_day() -> None:
    reason, until = _accepted("accept", FINDING)
    assert reason == "accepted: by hand"
    assert dt.date.fromisoformat(until) > dt.datetime.now(dt.UTC).date()
    assert _accepted("accept until 2099-01-31: we  know", FINDING) == ("we know", "2099-01-31")
    assert _accepted("accept: it's ours", FINDING)[0] == "it's ours"
    for wrong in ("accept until soon", "accept it", "acceptable"):
        with pytest.raises(ConfigError, match="is not understood; write accept, or"):
            _accepted(wrong, FINDING)
    with pytest.raises(ConfigError, match="accepted until 2020-01-31, which is over"):
        _accepted("accept until 2020-01-31", FINDING)


def test_a_choice_survives_the_plan_file() -> None:
    there = {"resolution": "accept", "until": "2099-01-31", "reason": "x: y"}
    assert _accepted(wish(there), FINDING) == ("x: y", "2099-01-31")
    assert wish({"resolution": "pull", "until": "2099-01-31"}) == "pull"


def test_nothing_to_resolve() -> None:
    empty = {"resolution": {"plan": {"findings": [], "steps": []}, "file": ""}}
    assert resolved.choices(empty).text == "There is no finding to resolve."
    assert resolved.steps(empty).text == "Nothing has to be done."


# --- the demo -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The tea shop at the end of its story, on a running server."""
    with servers.start(label="demo") as server:
        made = build(server, tmp_path_factory.mktemp("demo") / "shop")
        while made.advance():
            pass
        yield made


def settings_of(shop: Shop) -> config.Settings:
    return config.load(shop.directory / "auditkit.toml")


@pytest.mark.slow
def test_production_is_brought_in_line_and_back(shop: Shop) -> None:
    settings = settings_of(shop)
    file = shop.directory / "plan.toml"
    first = audit.resolution("production", plan_file="plan.toml", settings=settings)
    plan = first.document["resolution"]["plan"]
    assert plan["offered"], plan["not_offered"]
    assert {f["cause"]: f["resolution"] for f in plan["findings"]} == {
        "manual_change": "revert",  # the last of them; those that only add are pulled
        "edited_after_apply": "reconcile",
        "recorded_not_applied": "push",
        "environment_difference": "accept",
        "reverted_hotfix": "none",
    }
    (added,) = (f["id"] for f in plan["findings"] if "sort_order was made by hand" in f["title"])
    (trgm,) = (f["id"] for f in plan["findings"] if f["cause"] == "environment_difference")
    otherwise = {added: "revert", trgm: "accept until 2099-12-31: the host upgrades in spring"}
    second = audit.decide(first, otherwise, config_file=str(settings.file))
    made = load(file)
    assert {f.id: f.resolution for f in made.findings}[added] == "revert"
    (rule,) = tomllib.loads(next(f.ignore for f in made.findings if f.id == trgm))["ignore"]
    assert (rule["reason"], str(rule["until"])) == ("the host upgrades in spring", "2099-12-31")
    assert "5 steps, rehearsed on a shadow of production" in resolved.steps(second).text
    before = audit.explain("production", settings=settings).document
    audit.apply(made, to="production", confirmed="production", settings=settings)
    assert settings.file
    text = settings.file.read_text("utf-8")
    settings.file.write_text(text + "\n" + next(f.ignore for f in made.findings if f.id == trgm), "utf-8")
    after = audit.explain("production", settings=settings_of(shop)).document
    assert (after["verdict"], after["deltas"]) == ("PASS", [])
    settings.file.write_text(text, "utf-8")
    audit.apply(made, to="production", confirmed="production", rollback=True, settings=settings)
    again = audit.explain("production", settings=settings).document
    assert [(d["kind"], d["identity"], d["attribute"]) for d in again["deltas"]] == [
        (d["kind"], d["identity"], d["attribute"]) for d in before["deltas"]
    ]


@pytest.mark.slow
def test_staging_needs_a_decision(shop: Shop) -> None:
    settings = settings_of(shop)
    made = audit.plan("staging", settings=settings)
    assert not made.offered
    (unknown,) = (f.id for f in made.findings if f.cause == "unknown_migration")
    assert (
        made.not_offered[-1]
        == f"decide about {unknown} (unknown_migration): --resolve {unknown}=pull|revert|accept"
    )
    decided = audit.plan("staging", resolve={unknown: "pull"}, settings=settings)
    assert decided.offered, decided.not_offered
    audit.apply(decided, to="staging", confirmed="staging", settings=settings)
    after = audit.explain("staging", settings=settings).document
    assert after["deltas"] == []
    assert {m["states"]["staging"] for m in after["migrations"]} <= {"applied", "out_of_order"}
