"""Charts: plotly accepts them, the bundle in a report can draw them, and they read without either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import plotly.offline
import pytest
import sample_audit as sample

from auditkit.report import figures
from auditkit.report.html import static

CHARTS = [figures.drift, figures.timeline, figures.runs]
SAMPLES = [sample.shop, sample.scheduled, sample.clean, sample.incomplete, sample.empty, sample.hostile]


def test_the_bundle_is_that_of_plotly() -> None:
    banner = static("plotly-cartesian.min.js")[:200]
    assert f"plotly.js (cartesian - minified) v{plotly.offline.get_plotlyjs_version()}" in banner
    assert "MIT license" in banner
    assert "</script" not in static("plotly-cartesian.min.js").lower()


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("build", SAMPLES)
def test_plotly_accepts_every_figure(chart: Any, build: Any) -> None:
    made = chart(build())
    if made.spec:
        figure = made.figure
        assert {trace.type for trace in figure.data} <= figures.TRACES
        assert go.Figure(json.loads(json.dumps(made.spec))) == figure


def test_the_bundle_draws_every_trace_type_used() -> None:
    for trace in figures.TRACES:
        assert re.search(rf'name:"{trace}"', static("plotly-cartesian.min.js"))


@pytest.mark.parametrize("chart", CHARTS)
def test_labels_hold_no_markup(chart: Any) -> None:
    texts = [text for text in strings(chart(sample.hostile("scheduled_audit")).spec) if "<" in text]
    assert [text for text in texts if text.replace("<br>", "").count("<")] == []


@pytest.mark.parametrize("chart", CHARTS)
def test_the_bundle_of_mimetypes(chart: Any) -> None:
    bundle = chart(sample.scheduled())._repr_mimebundle_()
    assert sorted(bundle) == [figures.MIMETYPE, "text/html", "text/plain"]
    assert "<svg" in bundle["text/html"]
    assert "Show data" in bundle["text/html"]
    assert bundle[figures.MIMETYPE]["layout"]["title"]["text"] == figures.plain(bundle["text/plain"])


def test_takeaways() -> None:
    document = sample.scheduled()
    assert [chart(document).text for chart in CHARTS] == [
        "production drifts most, in 8 objects; local does not drift.",
        "Drift first began in staging between 2026-08-25 11:12 UTC and 2026-09-01 02:00 UTC: payments applied in part.",
        "12 findings now, 1 more than in the run before; the last PASS was at 2026-11-16 08:00 UTC.",
    ]


def test_nothing_to_draw_is_said() -> None:
    assert [chart(sample.empty()).text for chart in CHARTS] == [
        "No object drifts in any environment.",
        "No event is known.",
        "0 findings now; this is the first run kept here.",
    ]


def test_many_environments_still_fit() -> None:
    document = sample.shop()
    document["deltas"] = [d | {"environment": f"tenant_{n}"} for n in range(50) for d in document["deltas"]]
    assert figures.drift(document).figure.data


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
