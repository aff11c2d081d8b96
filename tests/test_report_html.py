"""Fragments are pure functions of the document, and hostile text stays text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import sample_audit as sample
from hypothesis import given
from hypothesis import strategies as st

from auditkit.report import deploying, figures, html, investigation
from auditkit.report.svg import Drawing
from auditkit.visible import visible


def inline(audit: Any) -> Any:
    return html.findings(audit, inline=True)


SECTIONS: list[Callable[[Any], html.Fragment]] = [
    html.summary,
    html.matrix,
    html.definitions,
    html.findings,
    html.remedies,
    html.blame,
    html.since_last_run,
    html.deployment,
    html.unintended,
    html.ledger_check,
    html.rollback,
    html.coverage,
    html.provenance,
    figures.drift,
    figures.timeline,
    figures.runs,
    investigation.story,
    investigation.proof,
    investigation.reach,
    inline,
    deploying.checks,
    deploying.pending,
    deploying.linter,
    deploying.way_back,
    deploying.signoff,
]
SAMPLES = [
    sample.shop,
    sample.scheduled,
    sample.deployed,
    sample.preflighted,
    sample.clean,
    sample.empty,
    sample.incomplete,
]
VOID = {"br", "img", "input", "meta", "link", "hr"}


class Reader(HTMLParser):
    """Elements, attributes and text of a page; complains about tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: object) -> Reader:
    reader = Reader()
    reader.feed(str(markup))
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("build", SAMPLES)
def test_every_section_of_every_document_is_well_formed(section: Any, build: Any) -> None:
    fragment = section(build())
    assert read(fragment.html).text.strip()
    assert str(fragment) or fragment.text
    assert "\n" not in repr(fragment)
    assert not re.search(r"\bNone\b(?! of)", read(fragment.html).text)


@pytest.mark.parametrize(
    "notebook", ["root_cause", "scheduled_audit", "pre_deployment", "post_deploy_review"]
)
@pytest.mark.parametrize("section", SECTIONS)
def test_hostile_text_makes_no_element_and_no_attribute(section: Any, notebook: str) -> None:
    builders = {
        "scheduled_audit": sample.scheduled,
        "pre_deployment": sample.preflighted,
        "post_deploy_review": sample.deployed,
    }
    builder = builders.get(notebook, sample.shop)
    page, plain = read(section(sample.hostile(notebook)).html), read(section(builder()).html)
    assert set(page.tags) <= set(plain.tags) | {
        "details",
        "summary",
        "table",
        "tr",
        "td",
        "th",
        "del",
        "ins",
        "title",
    }
    assert not {"script", "img", "style", "iframe", "object"} & set(page.tags)
    assert not [
        name
        for name, _ in page.attributes
        if name.startswith("on") or name in ("style", "srcset", "formaction")
    ]
    links = [value for name, value in page.attributes if name in ("href", "src", "action")]
    assert [link for link in links if not (link or "").startswith("#")] == []
    for char in "\u202e\u2066\x07\u2028":
        assert char not in page.text


@given(st.text())
def test_any_name_stays_one_visible_line_of_text(name: str) -> None:
    shown = visible(name)
    assert shown == re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "", shown)
    assert "\n" not in shown
    fragment = html.rollback({"deploy": {"rollback": [name], "deployed": [], "intended": [], "absent": []}})
    assert read(fragment.html).tags[0] == "div"


@given(st.text(), st.text())
def test_drawings_escape_everything(text: str, title: str) -> None:
    drawing = Drawing(10, 10, title)
    drawing.text(0, 0, text)
    drawing.element("rect", title=title, klass=text)
    assert read(drawing.__html__()).tags == ["svg", "text", "rect", *(["title"] if title else [])]


LINES = st.lists(st.text(alphabet="abc (),=\u00e9", max_size=8), max_size=12).map(
    lambda lines: "\n".join(line.rstrip() or "x" for line in lines)
)


@given(LINES, LINES)
def test_before_and_after_lose_nothing(left: str, right: str) -> None:
    """Both sides can be read back from the rows, equal rows are equal, folds count the lines they hide."""
    rows = list(html.side_by_side(left, right))
    for side, text in (("left", left), ("right", right)):
        lines = text.rstrip().split("\n") if text else []
        position = 0
        for row in rows:
            if row["tag"] == "fold":
                position += row["count"]
            elif row[side] is not None:
                assert "".join(piece for _, piece in row[side]) == lines[position]
                position += 1
        assert position == len(lines)
    for row in rows:
        if row["tag"] == "equal":
            assert row["left"] == row["right"]
    assert left != right or {row["tag"] for row in rows} <= {"equal", "fold"}


def test_only_the_words_that_differ_are_marked() -> None:
    left, right = html.words("  IF discount > 50 THEN", "  IF discount > 90 THEN")
    assert left == [("", "  IF discount > "), ("del", "50"), ("", " THEN")]
    assert right == [("", "  IF discount > "), ("ins", "90"), ("", " THEN")]


def test_an_added_line_does_not_shift_the_others() -> None:
    rows = list(html.side_by_side("a(1)\nreturn total;", "-- a comment of its own\na(2)\nreturn total;"))
    assert [row["tag"] for row in rows] == ["added", "changed", "equal"]


def test_agreeing_stretches_are_folded() -> None:
    rows = list(range(10))
    agreeing = [True] * 4 + [False] + [True] * 2 + [False] + [True] * 2
    folded = list(html.fold(rows, agreeing))
    assert folded == [
        ("fold", [0, 1, 2, 3]),
        ("row", 4),
        ("row", 5),
        ("row", 6),
        ("row", 7),
        ("row", 8),
        ("row", 9),
    ]


def test_the_matrix_says_states_in_words_and_glyphs() -> None:
    text = read(html.matrix(sample.shop()).html).text
    assert "10 identical" in text
    for glyph, word in html.STATE_GLYPHS.values():
        assert re.search(rf"{re.escape(glyph)}\s*{word}", text)


def test_incomplete_is_never_said_to_be_clean() -> None:
    document = sample.incomplete()
    for section in (html.matrix, html.definitions, html.findings, figures.drift):
        assert "could not be read" in section(document).text
    page = read(html.summary(document).html)
    assert "◌ INCOMPLETE" in re.sub(r"\s+", " ", page.text)
    assert ("class", "banner incomplete") in page.attributes


def test_a_failed_audit_still_says_what_is_missing() -> None:
    document = sample.shop() | {"not_checked": sample.incomplete()["not_checked"]}
    assert "1 thing could not be checked" in read(html.summary(document).html).text


def test_findings_can_be_linked_to() -> None:
    for inline in (False, True):
        page = read(html.findings(sample.shop(), inline=inline).html)
        ids = {value for name, value in page.attributes if name == "id"}
        assert {finding["id"] for finding in sample.shop()["findings"]} <= ids


def test_links_inside_a_report_lead_somewhere() -> None:
    report = {
        "root_cause": (
            sample.shop,
            [*SECTIONS[:6], html.coverage, html.provenance, investigation.story, investigation.proof],
        ),
        "scheduled_audit": (
            sample.scheduled,
            [html.summary, html.since_last_run, html.matrix, inline, html.coverage],
        ),
        "post_deploy_review": (
            sample.deployed,
            [html.summary, html.unintended, inline, html.blame, html.coverage],
        ),
    }
    for build, sections in report.values():
        pages = [read(section(build()).html) for section in sections]
        every = [pair for page in pages for pair in page.attributes]
        ids = [value for name, value in every if name == "id"]
        assert len(ids) == len(set(ids))
        assert {value[1:] for name, value in every if name == "href" and value} <= set(ids)


def one(cause: str) -> dict[str, Any]:
    """The shop with one finding of that cause."""
    document = sample.shop()
    document["findings"] = [f for f in document["findings"] if f["cause"] == cause][:1]
    return document


def test_the_story_says_who_when_and_after_which_deployment() -> None:
    page = read((fragment := investigation.story(one("manual_change"))).html)
    assert fragment.text == (
        "deploy_shop as postgres did it on 2026-10-03 22:41 UTC, after 20261001090000_loyalty was applied."
    )
    assert page.text.index("committed: as planned") < page.text.index("create or replace function")
    assert page.tags.count("li") == 4
    unseen = investigation.story(one("edited_after_apply"))
    assert unseen.text == "3 events are known; no witness tells who did it, or when."


def test_the_blame_graph_shows_migrations_and_hands() -> None:
    fragment = html.blame(one("manual_change"))
    assert fragment.text.startswith("1 drifted object from 1 migration and changes by hand; ")
    page = read(fragment.html)
    assert "no migration" in page.text and "deploy_shop as postgres" in page.text
    assert page.tags.count("svg") == 1


def test_the_proof_says_what_was_replayed_and_what_could_not_be() -> None:
    assert investigation.proof(one("edited_after_apply")).text == (
        "Tested by replay: of 9 differences 8 are left with this cause."
    )
    assert "cannot be replayed" in investigation.proof(one("manual_change")).text
    assert "Ruled out" in read(investigation.proof(one("edited_after_apply")).html).text


def test_the_blast_radius_is_drawn_until_it_is_a_table() -> None:
    document = one("edited_after_apply")
    (finding,) = document["findings"]
    assert investigation.reach(document).text == "2 objects are under orders_owner on shop.orders."
    assert "<svg" in investigation.reach(document).html
    finding["dependents"] = [
        {"kind": "view", "identity": f"v{n}", "depth": 1 + n // 20, "through": "view v0"} for n in range(40)
    ]
    finding["dependents_count"] = 70
    many = investigation.reach(document)
    assert many.text == "70 objects are under orders_owner on shop.orders, 20 of them directly."
    assert "<svg" not in many.html and "and 30 more" in many.html
    finding["dependents"], finding["dependents_count"] = [], 0
    assert investigation.reach(document).text.startswith("Nothing that PostgreSQL records depends on")


def test_any_frame_is_a_table_in_which_text_stays_text() -> None:
    import pandas as pd

    fragment = investigation.table(pd.DataFrame({"<b>": [sample.HOSTILE[0], None], "n": [1, 2]}), limit=1)
    page = read(fragment.html)
    assert fragment.text == "2 rows, the first 1 shown."
    assert sample.HOSTILE[0] in page.text and "script" not in page.tags and "b" not in page.tags
    assert investigation.table(pd.DataFrame({"a": []})).text == "0 rows."


def test_without_a_finding_there_is_nothing_to_follow() -> None:
    for section in (investigation.story, investigation.proof, investigation.reach):
        assert section(sample.clean()).text == "There is no finding to follow."
        assert section(sample.incomplete()).text.endswith("(production could not be read).")


def test_large_audits_stay_small() -> None:
    """A thousand migrations and four hundred findings: the graph becomes a table, nothing is quadratic."""
    document = sample.shop()
    document["migrations"] = [
        row | {"version": f"{n}{row['version']}"} for n in range(33) for row in document["migrations"]
    ]
    document["findings"] = [f | {"id": f"{f['id']}{n}"} for n in range(33) for f in document["findings"]]
    for finding in document["findings"]:
        finding["objects"] = [{"kind": "table", "identity": f"t.{finding['id']}"}]
    assert "<svg" not in html.blame(document).html
    assert len(html.summary(document).html) < 20_000
    assert len(html.matrix(document).html) < 2_000_000


def test_the_coverage_line_hides_nothing() -> None:
    assert html.coverage_line(sample.shop()) == (
        "2,311 facts of 31 kinds compared · not modelled: 1 cast · not checked: 1 · "
        "suppressed: 3 (first expires 2026-11-28) · managed by the platform: 599 facts"
    )


def test_the_index_of_runs() -> None:
    runs = sample.scheduled()["runs"]
    for run in runs:
        run |= {
            "notebook": "scheduled_audit",
            "environments": [sample.HOSTILE[0]],
            "headline": sample.HOSTILE[1],
        }
    page = read(html.runs_page(runs))
    assert page.tags.count("script") == 0
    assert [value for name, value in page.attributes if name == "href"][1:] == [
        f"{run['path']}/index.html" for run in runs
    ]
    assert "No run is kept here yet" in read(html.runs_page([])).text


def test_fragments_carry_their_styles_and_pages_can_take_them_off() -> None:
    fragment = html.summary(sample.shop())
    assert html.without_style(fragment._repr_html_()) == fragment.html
    assert "</style" not in html.static("report.css")


def test_reading_a_document_imports_nothing_heavy() -> None:
    code = (
        "import sys, auditkit.report as r\nfrom auditkit.report import document\n"
        "print([m for m in ('pandas', 'plotly', 'papermill', 'nbconvert', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
