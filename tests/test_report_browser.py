"""Reports in a real browser: offline, accessible, readable without scripts, on a telephone and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sample_audit as sample
from tools import axe_source, chromium

from auditkit.report import render

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REPORTS = {
    "root_cause": ("root_cause", sample.shop),
    "scheduled_audit": ("scheduled_audit", sample.scheduled),
    "pre_deployment": ("pre_deployment", sample.preflighted),
    "post_deploy_review": ("post_deploy_review", sample.deployed),
    "clean": ("root_cause", sample.clean),
    "incomplete": ("root_cause", sample.incomplete),
    "hostile": ("root_cause", lambda: sample.hostile("root_cause")),
    "hostile_scheduled": ("scheduled_audit", lambda: sample.hostile("scheduled_audit")),
    "hostile_preflighted": ("pre_deployment", lambda: sample.hostile("pre_deployment")),
    "hostile_deployed": ("post_deploy_review", lambda: sample.hostile("post_deploy_review")),
}
every = pytest.mark.parametrize("report", list(REPORTS))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("reports")
    made = {key: render(name, {}, build(), root / key).index for key, (name, build) in REPORTS.items()}
    render("scheduled_audit", {}, sample.incomplete("scheduled_audit"), root / "hostile")
    return {**made, "index": root / "hostile" / "index.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium()), args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass
class Opened:
    """A page with everything it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def open_page(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    contexts = []

    def open_it(report: str, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(pages[report].as_uri())
        return opened

    yield open_it
    for context in contexts:
        context.close()


@pytest.mark.parametrize("report", [*REPORTS, "index"])
def test_nothing_is_fetched_and_nothing_complains(
    open_page: Any, pages: dict[str, Path], report: str
) -> None:
    opened = open_page(report)
    opened.page.wait_for_load_state("networkidle")
    assert opened.requests == [pages[report].as_uri()]
    assert opened.complaints == []


@pytest.mark.parametrize(
    ("report", "charts"),
    [("root_cause", 2), ("scheduled_audit", 3), ("post_deploy_review", 0), ("clean", 1), ("hostile", 2)],
)
def test_charts_are_drawn(open_page: Any, report: str, charts: int) -> None:
    page = open_page(report).page
    assert page.locator(".live:not([hidden]) .plot-container").count() == charts
    assert page.locator(".still:visible").count() == 0
    if charts > 1:
        assert page.locator(".live .bars path, .live .scatterlayer path").count() > 10


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("report", [*REPORTS, "index"])
def test_axe_finds_no_violation(open_page: Any, report: str, width: int) -> None:
    page = open_page(report, width=width).page
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    # Through the debugger, since the page's own policy lets no other script in.
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": axe_source()})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        broken = [
            (item["id"], [node["html"][:200] for node in item["nodes"][:3]]) for item in result["violations"]
        ]
        assert broken == [], scheme
        assert "color-contrast" in [item["id"] for item in result["passes"]]


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("report", ["root_cause", "scheduled_audit", "post_deploy_review", "incomplete"])
def test_the_verdict_is_on_the_first_screen(open_page: Any, report: str, scripts: bool) -> None:
    page = open_page(report, scripts=scripts).page
    for part in (".banner", ".answers", ".environments", ".coverage-line"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= 800
    assert page.locator(".banner").inner_text().startswith(("▲", "◌"))


@pytest.mark.parametrize("width", [1280, 400])
def test_readable_without_scripts(open_page: Any, width: int) -> None:
    page = open_page("root_cause", scripts=False, width=width).page
    text = page.locator("body").inner_text()
    document = sample.shop()
    for expected in (document["headline"], "10 identical", "edited after apply", "Ada Okafor"):
        assert expected in re.sub(r"\s+", " ", text)
    for finding in document["findings"]:
        assert finding["title"] in text
        assert page.locator(f"#{finding['id']}").is_visible()
    assert page.locator(".still svg:visible").count() == 2
    assert page.locator(".live:visible").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("report", [*REPORTS, "index"])
def test_no_sideways_scrolling_on_a_telephone(open_page: Any, report: str, scripts: bool) -> None:
    page = open_page(report, width=400, scripts=scripts).page
    metrics = page.context.new_cdp_session(page).send("Page.getLayoutMetrics")
    assert metrics["cssContentSize"]["width"] <= 400


@pytest.mark.parametrize(
    "report", ["hostile", "hostile_scheduled", "hostile_preflighted", "hostile_deployed", "index"]
)
def test_hostile_names_do_nothing(open_page: Any, report: str) -> None:
    opened = open_page(report)
    assert opened.page.evaluate("'pwned' in window") is False
    assert (
        opened.page.locator("main script:not([type='application/json']), main img, main iframe").count() == 0
    )
    text = opened.page.locator("body").inner_text()
    assert "<script>window.pwned=1</script>" in text
    assert not re.findall(r"(?<![0-9a-f])49(?![0-9a-f])", text)  # nor in a digest
    if report != "index":
        assert "{{ 7*7 }}" in text


def test_an_injected_script_would_not_run(open_page: Any) -> None:
    """Even if something were not escaped, the page's policy knows its own scripts by hash."""
    opened = open_page("root_cause")
    opened.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
        " document.body.append(s); }"
    )
    assert opened.page.evaluate("'pwned' in window") is False
    assert "Content Security Policy" in opened.complaints[0]


def test_the_first_key_stroke_leads_to_the_verdict(open_page: Any) -> None:
    page = open_page("root_cause").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    assert page.locator(".skip").bounding_box()["x"] >= 0


def test_commands_can_be_copied(open_page: Any) -> None:
    page = open_page("root_cause").page
    button = page.locator(".answers .copyable button")
    button.click()
    assert button.inner_text() in ("Copied", "Selected")


def test_paper_shows_everything(open_page: Any) -> None:
    opened = open_page("root_cause")
    page = opened.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".live:visible, .copyable button:visible, nav:visible").count() == 0
    assert page.locator(".still svg:visible").count() == 2
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf(format="A4", prefer_css_page_size=True)[:5] == b"%PDF-"


def test_colours_follow_the_scheme(open_page: Any) -> None:
    grounds = {
        scheme: open_page("root_cause", scheme=scheme).page.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}
