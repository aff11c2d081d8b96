"""One finding, followed to the end: when it happened, what made the object what it is, the proof, its reach.

Each function takes an audit that shows one finding (``audit.only(focus=…)``); of several the worst is followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from auditkit.causes import who
from auditkit.report.document import Audit, cause_of, counted, document_of, listing, worst_first
from auditkit.report.html import GRAPH_LIMIT, Fragment, but_unread, render, time, unread_names
from auditkit.report.svg import Drawing
from auditkit.visible import visible

if TYPE_CHECKING:
    import pandas as pd

#: Mark and word for what an event is, by how its text begins or where it comes from.
EVENTS = {
    "committed": ("◇", "committed"),
    "edited": ("≠", "edited"),
    "applied": ("✓", "applied"),
    "capture": ("□", "this audit"),
    "hand": ("▲", "seen"),
}


def followed(audit: Audit | Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The worst finding that an audit shows."""
    return next(iter(worst_first(document_of(audit)["findings"])), None)


def _nothing(audit: Audit | Mapping[str, Any]) -> Fragment:
    text = f"There is no finding to follow{but_unread(unread_names(document_of(audit)))}."
    return render("nothing", text, title=text)


def story(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Who did what when: commits, deployments, what witnesses saw, in order of time."""
    finding = followed(audit)
    if finding is None:
        return _nothing(audit)
    events = [{**event, "sort": _sort(event)} for event in finding.get("timeline") or ()]
    return render(
        "story", text := _when(finding, events), title=text, finding=finding, events=events, marks=EVENTS
    )


def _sort(event: Mapping[str, Any]) -> str:
    if event["source"] in ("git", "ledger", "capture"):
        return event["what"].split(":")[0].split(" ")[0] if event["source"] != "capture" else "capture"
    return "hand"


def _when(finding: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Who and when in one sentence, or that nobody knows."""
    named = next((one for one in finding.get("who") or () if one["at"]), None)
    hand = [event for event in events if event["sort"] == "hand"]
    if named is None and not hand:
        return (
            f"{counted(len(events), 'event is', 'events are')} known; no witness tells who did it, or when."
        )
    at = named["at"] if named else hand[-1]["at"]
    subject = f"{visible(who.person(named))} did it" if named else "It was done"
    deployed = [e for e in events if e["sort"] == "applied" and e["at"] <= at]
    after = f", after {visible(deployed[-1]['migration'])} was applied" if deployed else ""
    return f"{subject} on {time(at)}{after}."


def proof(audit: Audit | Mapping[str, Any]) -> Fragment:
    """How sure the cause is: the replay that tested it, the evidence, and what else it could have been."""
    finding = followed(audit)
    if finding is None:
        return _nothing(audit)
    tested = finding.get("proof")
    if tested:
        text = (
            f"Tested by replay: of {counted(tested['residual_before'], 'difference')} "
            f"{tested['residual_after']} {'is' if tested['residual_after'] == 1 else 'are'} left with this cause."
        )
    else:
        text = "No replay can show this cause: what no migration did cannot be replayed."
        if finding["cause"] not in ("manual_change", "captured_hotfix", "reverted_hotfix"):
            text = "No replay tested this cause; it rests on the evidence below."
    return render("proof", text, title=text, finding=finding, cause=cause_of(finding))


def reach(audit: Audit | Mapping[str, Any]) -> Fragment:
    """The blast radius: what depends on the drifted objects, directly and further on; too much to draw is a table."""
    finding = followed(audit)
    if finding is None:
        return _nothing(audit)
    rows = [{"depth": 1, "through": "", **item} for item in finding.get("dependents") or ()]
    total = finding.get("dependents_count", len(rows))
    direct = sum(row["depth"] == 1 for row in rows)
    names = listing([visible(item["identity"]) for item in finding["objects"]], 3)
    acts = any(item["kind"] in ("policy", "trigger", "rule") for item in finding["objects"])
    verb = ("is under", "are under") if acts else ("depends on", "depend on")
    text = f"Nothing that PostgreSQL records depends on {names}."
    if rows:
        text = f"{counted(total, f'object {verb[0]}', f'objects {verb[1]}')} {names}"
        text += f", {direct} of them directly." if direct < total else "."
    drawing = (
        _reach_drawing(finding, rows, text)
        if 0 < len(rows) <= GRAPH_LIMIT - len(finding["objects"])
        else None
    )
    return render("reach", text, title=text, rows=rows, rest=total - len(rows), drawing=drawing)


def _reach_drawing(finding: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], text: str) -> Drawing:
    """The drifted objects, then a column for each step away from them."""
    columns = [[f"{item['kind']} {item['identity']}" for item in finding["objects"]]]
    for depth in sorted({row["depth"] for row in rows}):
        columns.append([f"{row['kind']} {row['identity']}" for row in rows if row["depth"] == depth])
    edges = [(row["through"] or columns[0][0], f"{row['kind']} {row['identity']}") for row in rows]
    titles = ["drifted", "directly", *(["further on"] * len(columns))]
    return graph(columns, edges, titles, text, marked=set(columns[0]))


def table(frame: pd.DataFrame, limit: int = 200) -> Fragment:
    """Any DataFrame as a table of the report: its columns, not its index; of many rows the first."""
    text = f"{counted(len(frame), 'row')}{f', the first {limit} shown' if len(frame) > limit else ''}."
    shown = frame.head(limit).astype(object)
    rows = shown.where(shown.notna(), "").to_numpy().tolist()
    return render("table", text, title=text, columns=[str(name) for name in frame.columns], rows=rows)


def graph(
    columns: Sequence[Sequence[str]],
    edges: Sequence[tuple[str, str]],
    titles: Sequence[str],
    text: str,
    *,
    marked: set[str],
) -> Drawing:
    """Boxes in columns, joined by *edges* between their names; an edge that leads nowhere is left out."""
    gap, height, step = 40, 26, 34
    width = min(330.0, max(190.0, (1130 - gap * (len(columns) - 1)) / len(columns)))
    tallest = max(len(column) for column in columns)
    drawing = Drawing(len(columns) * (width + gap) - gap, 30 + tallest * step, text)
    places: dict[str, tuple[float, float]] = {}
    for number, column in enumerate(columns):
        x = number * (width + gap)
        drawing.text(x, 14, titles[number], klass="label")
        for row, name in enumerate(column):
            places[name] = (x, 26 + (tallest - len(column)) * step / 2 + row * step)
    for start, end in dict.fromkeys(edges):
        if start in places and end in places:
            (x1, y1), (x2, y2) = places[start], places[end]
            x1, y1, y2 = x1 + width, y1 + height / 2, y2 + height / 2
            middle = (x1 + x2) / 2
            drawing.element(
                "path", klass="edge", d=f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
            )
    for name, (x, y) in places.items():
        klass = "node column-2" if name in marked else "node"
        drawing.element("rect", klass=klass, x=x, y=y, width=width, height=height, rx=4)
        drawing.text(x + 8, y + 17, visible(name), klass="small", limit=int(width / 6.2))
    return drawing
