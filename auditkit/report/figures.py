"""Charts of the audit document: a drawing that always shows, and a plotly figure for those who point at it.

A :class:`Chart` holds its figure as plain plotly JSON, so that a report costs no import of plotly; the
``figure`` property gives the real thing. Only trace types of plotly's cartesian bundle are used, since that
is the bundle a report carries (others would stay blank without an error).
"""

from __future__ import annotations

import datetime as dt
import html as _html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditkit.report import document as doc
from auditkit.report.document import Audit, counted, document_of, listing
from auditkit.report.html import (
    CHANGE_GLYPHS,
    SEVERITY_GLYPHS,
    VERDICT_GLYPHS,
    Fragment,
    but_unread,
    render,
    time,
    unread_names,
)
from auditkit.report.svg import Drawing
from auditkit.visible import visible

if TYPE_CHECKING:
    import plotly.graph_objects as go

MIMETYPE = "application/vnd.plotly.v1+json"
#: Trace types used here; all of them are in the cartesian bundle.
TRACES = frozenset({"bar", "scatter"})
#: Okabe and Ito's colours, told apart by people of all colour visions; each also has a glyph or a pattern.
COLOURS = {
    "missing": "#D55E00",
    "changed": "#E69F00",
    "unexpected": "#56B4E9",
    "critical": "#D55E00",
    "high": "#E69F00",
    "medium": "#F0E442",
    "low": "#56B4E9",
    "info": "#999999",
    "applied": "#009E73",
    "commit": "#999999",
    "edited": "#E69F00",
    "captured": "#0072B2",
    "drift_window": "#D55E00",
}
_PATTERNS = {"missing": "/", "changed": "", "unexpected": "x"}
_WIDTH = 1080


@dataclass(frozen=True, repr=False)
class Chart(Fragment):
    """A chart: ``html`` holds the drawing and its data, ``spec`` the plotly figure as JSON."""

    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def figure(self) -> go.Figure:
        """The plotly figure, to restyle or export."""
        import plotly.graph_objects as go

        return go.Figure(self.spec)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/html": self._repr_html_(), "text/plain": self.text}
        return {MIMETYPE: self.spec, **bundle} if self.spec else bundle


def drift(audit: Audit | Mapping[str, Any]) -> Chart:
    """Drifted objects by kind, one small chart per environment."""
    document = document_of(audit)
    objects = {(d["environment"], d["kind"], d["identity"]): d["change"] for d in document["deltas"]}
    names = [item["name"] for item in document["environments"]]
    total = Counter(env for env, _, _ in objects)
    names = sorted(dict.fromkeys([*names, *(key[0] for key in objects)]), key=lambda name: -total[name])
    per_kind = Counter(kind for _, kind, _ in objects)
    kinds = [kind for kind, _ in sorted(per_kind.items(), key=lambda item: (-item[1], item[0]))]
    counts = Counter((env, kind, change) for (env, kind, _), change in objects.items())
    unread = unread_names(document)
    if total:
        worst, most = total.most_common(1)[0]
        clean = [visible(name) for name in names if not total[name] and name not in unread]
        text = f"{visible(worst)} drifts most, in {counted(most, 'object')}"
        text += f"; {listing(clean)} {'does' if len(clean) == 1 else 'do'} not drift." if clean else "."
    else:
        text = f"No object drifts in any environment{but_unread(unread)}."
    rows = [
        [kind, *("  ".join(_marks(counts, name, kind)) or "0" for name in names), per_kind[kind]]
        for kind in kinds
    ]
    drawing = _drift_drawing(names, kinds, counts, text) if kinds else None
    return _chart("drift", text, ["kind", *names, "all"], rows, drawing, _drift_spec(names, kinds, counts))


def _marks(counts: Counter[tuple[Any, ...]], name: str, kind: str) -> list[str]:
    return [
        f"{glyph}{counts[name, kind, change]}"
        for change, glyph in CHANGE_GLYPHS.items()
        if counts[name, kind, change]
    ]


def _drift_drawing(
    names: Sequence[str], kinds: Sequence[str], counts: Counter[tuple[Any, ...]], text: str
) -> Drawing:
    left, step = 150, 24
    width = max(110.0, (_WIDTH - left) / max(len(names), 1))
    most = max(
        sum(counts[name, kind, change] for change in CHANGE_GLYPHS) for name in names for kind in kinds
    )
    unit = min(46.0, (width - 40) / most)
    drawing = Drawing(left + width * len(names), 52 + step * len(kinds), text)
    x: float = left
    for change, glyph in CHANGE_GLYPHS.items():
        drawing.element("rect", klass=change, x=x, y=2, width=12, height=12)
        drawing.text(x + 17, 12, f"{glyph} {change}", klass="small")
        x += 100
    for column, name in enumerate(names):
        x0 = left + column * width
        drawing.text(x0, 36, visible(name), klass="strong", limit=int(width / 9))
        drawing.element("line", klass="axis", x1=x0, x2=x0, y1=44, y2=46 + step * len(kinds))
    for row, kind in enumerate(kinds):
        y = 46 + row * step
        drawing.text(left - 10, y + 14, visible(kind), anchor="end", limit=24)
        for column, name in enumerate(names):
            x = left + column * width
            if not any(counts[name, kind, change] for change in CHANGE_GLYPHS):
                drawing.text(x + 6, y + 14, "0", klass="zero")
            for change, glyph in CHANGE_GLYPHS.items():
                number = counts[name, kind, change]
                if number:
                    drawing.element("rect", klass=change, x=x, y=y + 2, width=number * unit, height=17)
                    if number * unit >= 22:
                        drawing.text(x + 5, y + 15, f"{glyph}{number}", klass="on-bar")
                    x += number * unit
    return drawing


def _drift_spec(
    names: Sequence[str], kinds: Sequence[str], counts: Counter[tuple[Any, ...]]
) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    width = 1 / max(len(names), 1)
    most = max((sum(counts[n, k, c] for c in CHANGE_GLYPHS) for n in names for k in kinds), default=1)
    for column, name in enumerate(names):
        suffix = "" if column == 0 else str(column + 1)
        layout[f"xaxis{suffix}"] = {
            "domain": [column * width, (column + 0.92) * width],
            "range": [0, most + 0.3],
            "dtick": max(1, most // 4),
            "anchor": f"y{suffix}",
            "title": {"text": plain(name)},
            "side": "top",
            "fixedrange": True,
        }
        layout[f"yaxis{suffix}"] = {
            "autorange": "reversed",
            "anchor": f"x{suffix}",
            "showticklabels": column == 0,
            "showgrid": False,
            "fixedrange": True,
            "automargin": True,
            **({"matches": "y"} if column else {}),
        }
        for change, glyph in CHANGE_GLYPHS.items():
            numbers = [counts[name, kind, change] for kind in kinds]
            data.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": change,
                    "legendgroup": change,
                    "showlegend": column == 0,
                    "x": numbers,
                    "y": [plain(kind) for kind in kinds],
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                    "marker": {
                        "color": COLOURS[change],
                        "pattern": {
                            "shape": _PATTERNS[change],
                            "fgcolor": "#00000055",
                            "fillmode": "overlay",
                        },
                    },
                    "text": [f"{glyph}{number}" if number else "" for number in numbers],
                    "textposition": "inside",
                    "insidetextanchor": "start",
                    "textangle": 0,
                    "textfont": {"color": "#000000"},
                    "hoverinfo": "text",
                    "hovertext": [
                        f"{plain(name)}: {number} × {plain(kind)} {change}"
                        for kind, number in zip(kinds, numbers, strict=True)
                    ],
                }
            )
    zeros = [
        {
            "x": 0,
            "y": plain(kind),
            "xref": f"x{column + 1 if column else ''}",
            "yref": f"y{column + 1 if column else ''}",
            "text": "0",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 4,
            "font": {"color": "#808891"},
        }
        for column, name in enumerate(names)
        for kind in kinds
        if not any(counts[name, kind, change] for change in CHANGE_GLYPHS)
    ]
    layout["annotations"] = zeros
    height = 120 + 26 * len(kinds)
    return {
        "data": data,
        "layout": {
            "barmode": "stack",
            "height": height,
            "legend": {"orientation": "h", "y": -0.02, "yanchor": "top"},
            **layout,
        },
    }


def timeline(audit: Audit | Mapping[str, Any]) -> Chart:
    """A lane per environment: what was applied, edited and captured, and the windows in which drift began."""
    document = document_of(audit)
    events = sorted(document["timeline"], key=lambda event: event["at"])
    names = [item["name"] for item in document["environments"]]
    names = list(dict.fromkeys([*names, *(event["environment"] for event in events)]))
    windows = [event for event in events if event["kind"] == "drift_window"]
    if windows:
        first = windows[0]
        text = (
            f"Drift first began in {visible(first['environment'])} between {time(first['at'])} "
            f"and {time(first.get('until') or first['at'])}: {visible(first['label'])}."
        )
    else:
        text = (
            f"{counted(len(events), 'event')}; no window in which drift began is known."
            if events
            else "No event is known."
        )
    rows = [
        [
            time(e["at"]),
            time(e["until"]) if e.get("until") else "—",
            e["environment"] or "all",
            _EVENT_WORDS.get(e["kind"], e["kind"]),
            e["label"],
        ]
        for e in events
    ]
    drawing = _timeline_drawing(names, events, text) if events else None
    return _chart(
        "timeline",
        text,
        ["at", "until", "environment", "event", "what"],
        rows,
        drawing,
        _timeline_spec(names, events),
    )


_EVENT_WORDS = {
    "applied": "migration applied",
    "commit": "committed",
    "edited": "file edited later",
    "captured": "snapshot",
    "drift_window": "drift began within",
}
_SYMBOLS = {"applied": "circle", "commit": "diamond", "edited": "x", "captured": "square"}


def instant(text: str) -> dt.datetime:
    """A document's time as an aware datetime."""
    value = dt.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


def _timeline_drawing(names: Sequence[str | None], events: Sequence[Mapping[str, Any]], text: str) -> Drawing:
    left, right, lane = 130, 20, 34
    start, end = instant(events[0]["at"]), max(instant(e.get("until") or e["at"]) for e in events)
    span = max((end - start).total_seconds(), 1.0)
    scale = (_WIDTH - left - right) / span

    def place(at: str) -> float:
        return round(left + (instant(at) - start).total_seconds() * scale, 1)

    windows = {
        name: [e for e in events if e["environment"] == name and e["kind"] == "drift_window"]
        for name in names
    }
    height = 26 + sum(lane + 20 * len(windows[name]) for name in names) + 24
    drawing = Drawing(_WIDTH, height, text)
    x: float = left
    for kind in dict.fromkeys(event["kind"] for event in events):
        _event_mark(drawing, kind, x + 6, 9, None)
        drawing.text(x + 17, 13, _EVENT_WORDS.get(kind, kind), klass="small")
        x += 150
    y: float = 26
    for name in names:
        drawing.element("line", klass="axis", x1=left, x2=_WIDTH - right, y1=y + 17, y2=y + 17)
        drawing.text(left - 14, y + 21, visible(name or "all"), klass="strong", anchor="end", limit=14)
        for event in events:
            if event["environment"] == name and event["kind"] != "drift_window":
                label = f"{time(event['at'])}: {visible(event['label'])}"
                _event_mark(drawing, event["kind"], place(event["at"]), y + 17, label)
        y += lane
        for event in windows[name]:
            begin = place(event["at"])
            width = max(place(event.get("until") or event["at"]) - begin, 5)
            label = (
                f"{time(event['at'])} to {time(event.get('until') or event['at'])}: {visible(event['label'])}"
            )
            drawing.element(
                "rect", klass="drift_window", title=label, x=begin, y=y, width=width, height=12, rx=2
            )
            far = begin > _WIDTH * 0.6
            drawing.text(
                begin - 8 if far else begin + width + 8,
                y + 10,
                visible(event["label"]),
                klass="small",
                anchor="end" if far else "start",
                limit=70,
            )
            y += 20
    for step in range(6):
        at = start + (end - start) * step / 5
        anchor = ("start", *["middle"] * 4, "end")[step]
        drawing.text(
            left + (_WIDTH - left - right) * step / 5,
            y + 16,
            f"{at:%Y-%m-%d}",
            klass="label small",
            anchor=anchor,
        )
    return drawing


def _event_mark(drawing: Drawing, kind: str, x: float, y: float, title: str | None) -> None:
    if kind == "applied":
        drawing.element("circle", klass=kind, title=title, cx=x, cy=y, r=5)
    elif kind in ("captured", "drift_window"):
        drawing.element("rect", klass=kind, title=title, x=x - 5, y=y - 5, width=10, height=10)
    else:
        drawing.element("path", klass=kind, title=title, d=f"M{x:g} {y - 7:g}l7 7l-7 7l-7 -7z")


def _timeline_spec(names: Sequence[str | None], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    if events:
        middle = instant(events[0]["at"]) + (instant(events[-1]["at"]) - instant(events[0]["at"])) * 0.6
    for kind in dict.fromkeys(event["kind"] for event in events):
        chosen = [event for event in events if event["kind"] == kind]
        word = _EVENT_WORDS.get(kind, kind)
        common = {"type": "scatter", "name": word, "legendgroup": kind, "hoverinfo": "text"}
        colour = COLOURS.get(kind, "#999999")
        if kind == "drift_window":
            for number, event in enumerate(chosen):
                ends = [event["at"], event.get("until") or event["at"]]
                label = f"{word} {time(ends[0])} – {time(ends[1])}<br>{plain(event['label'])}"
                data.append(
                    {
                        **common,
                        "mode": "lines+markers",
                        "showlegend": number == 0,
                        "x": ends,
                        "y": [plain(event["environment"] or "all")] * 2,
                        "line": {"color": colour, "width": 12},
                        "marker": {"color": colour, "size": 12, "symbol": "line-ns-open"},
                        "hovertext": [label] * 2,
                    }
                )
            continue
        data.append(
            {
                **common,
                "mode": "markers",
                "x": [event["at"] for event in chosen],
                "y": [plain(event["environment"] or "all") for event in chosen],
                "marker": {"color": colour, "size": 11, "symbol": _SYMBOLS.get(kind, "diamond")},
                "hovertext": [f"{word} {time(event['at'])}<br>{plain(event['label'])}" for event in chosen],
            }
        )
    order = [plain(name or "all") for name in names]
    seen: Counter[str | None] = Counter()
    labels = []
    for event in [event for event in events if event["kind"] == "drift_window"]:
        # The windows of one lane are labelled below and above in turn, so that neighbours stay readable.
        shift = 18 if seen[event["environment"]] % 2 else -18
        seen[event["environment"]] += 1
        labels.append(
            {
                "x": event["at"],
                "y": plain(event["environment"] or "all"),
                "text": plain(event["label"][:60]),
                "showarrow": False,
                "xanchor": "right" if instant(event["at"]) > middle else "left",
                "yshift": shift,
                "font": {"size": 11},
            }
        )
    return {
        "data": data,
        "layout": {
            "height": 150 + 62 * len(names),
            "annotations": labels,
            "xaxis": {"type": "date", "automargin": True},
            "yaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": order,
                "range": [len(order) - 0.5, -0.5],
                "fixedrange": True,
                "automargin": True,
            },
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
            "hovermode": "closest",
        },
    }


def runs(audit: Audit | Mapping[str, Any]) -> Chart:
    """Findings by severity, run after run, the present one last."""
    document = document_of(audit)
    present = {
        "at": document["created_at"],
        "verdict": document["verdict"],
        "findings": doc.severity_counts(document["findings"]),
    }
    every = [*sorted(document.get("runs") or (), key=lambda run: run["at"]), present]
    totals = [sum(run["findings"].values()) for run in every]
    text = f"{counted(totals[-1], 'finding')} now; this is the first run kept here."
    if len(every) > 1:
        before, now = totals[-2:]
        trend = (
            "as many as"
            if now == before
            else f"{abs(now - before)} {'more' if now > before else 'fewer'} than"
        )
        passed = next((run["at"] for run in reversed(every) if run["verdict"] == "PASS"), None)
        text = f"{counted(now, 'finding')} now, {trend} in the run before; "
        text += f"the last PASS was at {time(passed)}." if passed else "no run kept here passed."
    levels = [level for level in doc.SEVERITIES if any(run["findings"].get(level) for run in every)]
    rows = [
        [time(run["at"]), run["verdict"], *(run["findings"].get(level, 0) for level in levels)]
        for run in every
    ]
    drawing = _runs_drawing(every[-30:], levels, text)
    return _chart("runs", text, ["run", "verdict", *levels], rows, drawing, _runs_spec(every, levels))


def _runs_drawing(every: Sequence[Mapping[str, Any]], levels: Sequence[str], text: str) -> Drawing:
    height, left, base = 230, 40, 186
    drawing = Drawing(_WIDTH, height, text)
    most = max(*(sum(run["findings"].values()) for run in every), 1)
    unit = 130 / most
    slot = min(110.0, (_WIDTH - left) / len(every))
    x: float = left
    for level in levels:
        drawing.element("rect", klass=level, x=x, y=2, width=12, height=12)
        drawing.text(x + 17, 12, f"{SEVERITY_GLYPHS.get(level, '◆')} {level}", klass="small")
        x += 100
    drawing.element("line", klass="axis", x1=left, x2=_WIDTH, y1=base, y2=base)
    for number, run in enumerate(every):
        x, y = left + number * slot + slot * 0.18, float(base)
        width = slot * 0.64
        for level in levels:
            count = run["findings"].get(level, 0)
            if count:
                y -= count * unit
                drawing.element(
                    "rect", klass=level, title=f"{count} {level}", x=x, y=y, width=width, height=count * unit
                )
        total = sum(run["findings"].values())
        drawing.text(
            x + width / 2,
            y - 5,
            f"{VERDICT_GLYPHS.get(run['verdict'], '◌')} {total}",
            anchor="middle",
            klass="small",
        )
        if slot >= 36 or number % 4 == 0:
            drawing.text(
                x + width / 2, base + 16, time(run["at"])[5:10], anchor="middle", klass="label small"
            )
        if slot >= 70:
            drawing.text(x + width / 2, base + 32, run["verdict"], anchor="middle", klass="small")
    return drawing


def _runs_spec(every: Sequence[Mapping[str, Any]], levels: Sequence[str]) -> dict[str, Any]:
    names = [
        f"{time(run['at'])[5:16]}<br>{VERDICT_GLYPHS.get(run['verdict'], '◌')} {run['verdict']}"
        for run in every
    ]
    data = [
        {
            "type": "bar",
            "name": level,
            "x": names,
            "y": [run["findings"].get(level, 0) for run in every],
            "marker": {"color": COLOURS.get(level, "#D55E00")},
            "hoverinfo": "text",
            "hovertext": [
                f"{time(run['at'])}, {run['verdict']}: {run['findings'].get(level, 0)} {level}"
                for run in every
            ],
        }
        for level in levels
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.4,
        "height": 300,
        "xaxis": {"type": "category", "automargin": True, "fixedrange": True},
        "yaxis": {
            "title": {"text": "findings"},
            "rangemode": "tozero",
            "automargin": True,
            "fixedrange": True,
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }
    return {"data": data, "layout": layout}


def plain(text: object) -> str:
    """A text for plotly, which reads a little HTML in every label: nothing in it is markup."""
    return _html.escape(visible(text))


def _chart(
    name: str,
    text: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    drawing: Drawing | None,
    spec: dict[str, Any],
) -> Chart:
    identifier = f"chart-{name}"
    fragment = render("chart", text, id=identifier, title=text, columns=columns, rows=rows, drawing=drawing)
    if drawing is None:
        return Chart(fragment.html, text)
    spec["layout"] |= {
        "title": {
            "text": plain(text),
            "font": {"size": 15},
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 12},
        },
        "meta": {"id": identifier},
        "margin": {"l": 10, "r": 10, "t": 90, "b": 40},
        "dragmode": False,
    }
    return Chart(fragment.html, text, spec)
