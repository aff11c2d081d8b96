"""From the audit document to HTML: each function takes an audit and returns one :class:`Fragment`.

Nothing here reads a database, a clock or the network, and nothing is HTML by concatenation: values pass
through jinja2's autoescape, because every name, comment and body of an audited database is hostile text.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from auditkit.causes import who
from auditkit.report import document as doc
from auditkit.report.document import Audit, counted, document_of, listing, worst_first
from auditkit.report.svg import Drawing
from auditkit.visible import visible, visible_code

if TYPE_CHECKING:
    import jinja2

#: Every mark is told by shape and word; colour only repeats it.
VERDICT_GLYPHS = {"FAIL": "▲", "INCOMPLETE": "◌", "WARN": "■", "PASS": "●"}
SEVERITY_GLYPHS = {"critical": "◆", "high": "▲", "medium": "■", "low": "●", "info": "○"}
STATE_GLYPHS = {
    "applied": ("✓", "applied"),
    "pending": ("○", "pending"),
    "edited": ("≠", "edited after apply"),
    "failed": ("!", "failed"),
    "out_of_order": ("↕", "out of order"),
    "unknown": ("?", "no file"),
    "restamped": ("⟲", "restamped"),
}
CHANGE_GLYPHS = {"missing": "−", "unexpected": "+", "changed": "≠"}
CONFIDENCE_SAYS = {
    "proven": "replaying the migrations with this cause leaves no difference",
    "consistent": "the evidence agrees, no replay proves it",
    "conjecture": "the likeliest explanation of what is known",
}
TRUTH_SAYS = {
    "migrations": "The migration files are right: bring the environment to them.",
    "environment": "The environment is right: bring the files to it.",
    "person": "A person has to decide which side is right.",
}
#: A blame graph with more nodes than this is a table instead.
GRAPH_LIMIT = 40
#: Stretches of agreeing migrations of at least this length are folded into one row.
FOLD = 3
_STYLE = re.compile(r"\A<style data-auditkit>.*?</style>", re.DOTALL)


@dataclass(frozen=True)
class Fragment:
    """A piece of a report that shows itself: as HTML, or as one line of text in a terminal.

    Attributes:
        html: the markup, without styles.
        text: its takeaway.
    """

    html: Markup
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        # Styles travel with each piece, so that it looks right alone in JupyterLab; a page has them once.
        return f"<style data-auditkit>{static('report.css')}</style>{self.html}"


def without_style(html: str) -> str:
    """A fragment's markup without the styles it carries for use outside of a page."""
    return _STYLE.sub("", html)


@functools.cache
def static(name: str) -> str:
    """The text of one of the package's static files."""
    return resources.files("auditkit.report").joinpath("static", name).read_text("utf-8")


@functools.cache
def templates() -> jinja2.Environment:
    """The jinja2 environment of all templates of this package."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("auditkit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": visible,
        "code": visible_code,
        "time": time,
        "short": short,
        "counted": counted,
        "person": who.person,
        "place": who.place,
    }
    environment.globals |= {
        "VERDICT_GLYPHS": VERDICT_GLYPHS,
        "SEVERITY_GLYPHS": SEVERITY_GLYPHS,
        "STATE_GLYPHS": STATE_GLYPHS,
        "CHANGE_GLYPHS": CHANGE_GLYPHS,
        "CONFIDENCE_SAYS": CONFIDENCE_SAYS,
        "TRUTH_SAYS": TRUTH_SAYS,
    }
    return environment


def compile_templates() -> None:
    """Compile all templates of fragments now, so that a forked process need not."""
    for name in templates().list_templates(filter_func=lambda name: "/" not in name):
        templates().get_template(name)


def render(template: str, text: str, **values: Any) -> Fragment:
    """Fill ``templates/<template>.html.j2``."""
    body = templates().get_template(f"{template}.html.j2").render(**values)
    return Fragment(Markup('<div class="ak">{}</div>').format(Markup(body)), text)  # noqa: S704 (autoescaped above)


def time(value: str | None) -> str:
    """``2026-11-22 08:00 UTC`` from the document's ISO time."""
    if not value:
        return "unknown"
    text = visible(value).replace("T", " ")
    return f"{text[:16]} UTC" if text.endswith(("Z", "+00:00")) or len(text) <= 19 else text


def short(digest: str | None, length: int = 8) -> str:
    """The first characters of a commit or fingerprint."""
    return visible(digest)[:length] if digest else "—"


# ---------------------------------------------------------------- the first screen


def summary(audit: Audit | Mapping[str, Any]) -> Fragment:
    """The first screen: verdict, what differs, why, what to do, the environments, the five worst findings."""
    document = document_of(audit)
    findings = worst_first(document["findings"])
    blocked = [item for item in document["not_checked"] if item.get("blocking", True)]
    environments = sorted(
        document["environments"], key=lambda item: (item["status"] == "complete", -item["findings"])
    )
    return render(
        "summary",
        f"{document['verdict']}: {document['headline']}",
        document=document,
        findings=findings,
        blocked=blocked,
        environments=environments,
        what=_what(document),
        why=_why(findings),
        todo=_todo(document, findings, blocked),
        coverage=coverage_line(document),
    )


def _what(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Per environment that differs: its name and its drifted objects, counted by kind."""
    objects = {(delta["environment"], delta["kind"], delta["identity"]) for delta in document["deltas"]}
    totals = Counter(environment for environment, _, _ in objects)
    rows = []
    for environment, total in totals.most_common():
        kinds = Counter(kind for place, kind, _ in objects if place == environment)
        ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        parts = [counted(number, kind, plural(kind)) for kind, number in ranked]
        rows.append((environment or "everywhere", f"{counted(total, 'object')}: {listing(parts, 5)}"))
    return rows


def plural(kind: str) -> str:
    """The plural of a kind's name."""
    if kind.endswith(("x", "ss")):
        return kind + "es"
    return kind[:-1] + "ies" if kind.endswith("y") else kind + "s"


def _why(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, str]]:
    """Causes by severity of their worst finding: the cause in words, how many, the confidences."""
    causes: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        causes.setdefault(finding["cause"], []).append(finding)
    rows = []
    for cause, items in causes.items():
        confidences = Counter(item["confidence"] for item in items)
        how = ", ".join(
            name if len(confidences) == 1 else f"{number} {name}" for name, number in confidences.items()
        )
        rows.append((cause.replace("_", " "), len(items), how))
    return rows


def _todo(
    document: Mapping[str, Any], findings: Sequence[Mapping[str, Any]], blocked: Sequence[Mapping[str, Any]]
) -> dict[str, str | None]:
    """The one next step: a sentence and, where there is one, the command or SQL to copy."""
    for finding in findings:
        remedy = finding.get("remedy")
        if remedy and finding["severity"] != "info":
            step = next((step for step in remedy["steps"] if step["command"] or step["sql"]), None)
            return {
                "says": remedy["summary"],
                "command": (step["command"] or step["sql"]) if step else None,
                "id": finding["id"],
            }
    if blocked:
        return {
            "says": f"Make it checkable: {blocked[0]['what']}.",
            "command": blocked[0].get("fix"),
            "id": None,
        }
    return {"says": "Nothing to do.", "command": None, "id": None}


def coverage_line(document: Mapping[str, Any]) -> str:
    """What was looked at and what was not, in one line: absence of evidence stays visible."""
    cover = document["coverage"]
    unmodelled = Counter[str]()
    for item in document["unmodelled"]:
        unmodelled[item["kind"]] += item["count"]
    parts = [counted(number, kind, plural(kind)) for kind, number in unmodelled.most_common()]
    suppressed = sum(rule["count"] for rule in cover["suppressed"])
    managed = sum(item["facts"] for item in cover["managed"])
    ending = min((rule["until"] for rule in cover["suppressed"] if rule["until"]), default=None)
    return (
        f"{cover['facts']:,} facts of {counted(cover['kinds'], 'kind')} compared · "
        f"not modelled: {listing(parts) or '0'} · not checked: {len(document['not_checked'])} · "
        f"suppressed: {suppressed}{f' (first expires {ending})' if suppressed and ending else ''} · "
        f"managed by the platform: {counted(managed, 'fact')}"
    )


# ---------------------------------------------------------------- migrations


def matrix(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Environment × migration; stretches that are applied everywhere are folded."""
    document = document_of(audit)
    names = [item["name"] for item in document["environments"]]
    names += [name for row in document["migrations"] for name in row["states"] if name not in names]
    names = list(dict.fromkeys(names))
    rows = document["migrations"]
    unread = unread_names(document)
    read = [name for name in names if name not in unread]
    agreeing = [bool(read) and all(row["states"].get(name) == "applied" for name in read) for row in rows]
    differing = [row for row, agrees in zip(rows, agreeing, strict=True) if not agrees]
    if not rows:
        text = "There are no migrations to compare."
    elif not differing:
        text = f"All {counted(len(rows), 'migration')} are applied everywhere{but_unread(unread)}."
    else:
        verb = "is" if len(differing) == 1 else "are"
        text = f"{len(differing)} of {counted(len(rows), 'migration')} {verb} not applied alike everywhere"
        text += f"{but_unread(unread)}."
    present = list(dict.fromkeys(s for row in rows for s in row["states"].values()))
    return render(
        "matrix",
        text,
        title=text,
        names=names,
        unread=unread,
        rows=rows,
        folded=list(fold(rows, agreeing)),
        unfolded=[("row", row) for row in rows],
        states=[state for state in STATE_GLYPHS if state in present],
    )


def unread_names(document: Mapping[str, Any]) -> list[str]:
    """Environments that were not read: whatever is said of all environments is not said of them."""
    return [item["name"] for item in document["environments"] if item["status"] != "complete"]


def but_unread(unread: Sequence[str]) -> str:
    """`` (production could not be read)``, or nothing."""
    return f" ({listing([visible(name) for name in unread])} could not be read)" if unread else ""


def fold(rows: Sequence[Any], agreeing: Sequence[bool], least: int = FOLD) -> Iterator[tuple[str, Any]]:
    """``("row", row)`` or, for a run of at least *least* agreeing rows, ``("fold", rows)``."""
    run: list[Any] = []
    for row, agrees in [*zip(rows, agreeing, strict=True), (None, False)]:
        if agrees:
            run.append(row)
            continue
        if len(run) >= least:
            yield "fold", run
        else:
            yield from (("row", item) for item in run)
        run = []
        if row is not None:
            yield "row", row


# ---------------------------------------------------------------- before and after


def definitions(audit: Audit | Mapping[str, Any], limit: int = 60) -> Fragment:
    """Per drifted object: its attributes on both sides, then the definitions with their words marked."""
    document = document_of(audit)
    objects = _objects(document["deltas"])
    worst = {f["id"]: doc.rank(f["severity"]) for f in document["findings"]}
    objects.sort(
        key=lambda item: (min((worst.get(key, 9) for key in item["findings"]), default=9), item["identity"])
    )
    text = f"No object differs{but_unread(unread_names(document))}."
    if objects:
        text = f"{counted(len(objects), 'object differs', 'objects differ')}."
    return render(
        "definitions",
        text,
        title=text.replace("differ.", "differ, the most serious first.") if len(objects) > 1 else text,
        objects=objects[:limit],
        rest=objects[limit:],
        baseline=document.get("baseline") or "migrations",
    )


def anchor(environment: str | None, kind: str, identity: str) -> str:
    """A stable HTML id for a drifted object."""
    text = json.dumps([environment, kind, identity])
    return f"d-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _objects(deltas: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    objects: dict[tuple[Any, ...], dict[str, Any]] = {}
    for delta in deltas:
        key = (delta.get("environment"), delta["kind"], delta["identity"])
        item = objects.setdefault(
            key,
            {
                "environment": key[0],
                "kind": key[1],
                "identity": key[2],
                "anchor": anchor(*key),
                "attributes": [],
                "texts": [],
                "findings": [],
                "change": delta["change"],
            },
        )
        if delta.get("finding") and delta["finding"] not in item["findings"]:
            item["findings"].append(delta["finding"])
        left, right = doc.as_text(delta["left"]), doc.as_text(delta["right"])
        label = delta["attribute"] or "definition"
        if max((left or "").count("\n"), (right or "").count("\n")) > 2 or len(f"{left}{right}") > 200:
            item["texts"].append((label, list(side_by_side(left, right))))
        else:
            item["attributes"].append((label, left, right))
    return list(objects.values())


Piece = tuple[str, str]
#: Two lines less alike than this are told apart as a whole, not word by word.
_ALIKE = 0.4


def side_by_side(left: str | None, right: str | None, context: int = 2) -> Iterator[dict[str, Any]]:
    """Rows of two definitions: ``equal``, ``changed``, ``removed``, ``added``, or ``fold`` for equal lines left out.

    A row has ``left`` and ``right``: ``None`` or a list of pieces ``(mark, text)``, mark ``""``, ``del`` or ``ins``.
    """
    before, after = (visible_code(text or "").rstrip().split("\n") if text else [] for text in (left, right))
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for position, (tag, i1, i2, j1, j2) in enumerate(blocks):
        if tag == "equal":
            lines = before[i1:i2]
            head = 0 if position == 0 else context
            tail = 0 if position == len(blocks) - 1 else context
            if len(lines) > head + tail + FOLD:
                yield from (_equal(line) for line in lines[:head])
                yield {"tag": "fold", "count": len(lines) - head - tail, "left": None, "right": None}
                yield from (_equal(line) for line in lines[len(lines) - tail :])
            else:
                yield from (_equal(line) for line in lines)
            continue
        for old, new in pair(before[i1:i2], after[j1:j2]):
            if old is not None and new is not None:
                yield {"tag": "changed", **dict(zip(("left", "right"), words(old, new), strict=True))}
            elif old is not None:
                yield {"tag": "removed", "left": [("del", old)], "right": None}
            else:
                yield {"tag": "added", "left": None, "right": [("ins", new or "")]}


def pair(old: Sequence[str], new: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Hold the lines of a changed block against each other, in order, so that the pairs are as alike as can be."""
    if len(old) * len(new) > 900:
        return list(itertools.zip_longest(old, new))
    alike = [[difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() for b in new] for a in old]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old)):
        for j in range(len(new)):
            together = best[i][j] + (alike[i][j] if alike[i][j] >= _ALIKE else -1.0)
            best[i + 1][j + 1] = max(together, best[i][j + 1], best[i + 1][j])
    pairs: list[tuple[str | None, str | None]] = []
    i, j = len(old), len(new)
    while i or j:
        if i and best[i][j] == best[i - 1][j]:
            i -= 1
            pairs.append((old[i], None))
        elif j and best[i][j] == best[i][j - 1]:
            j -= 1
            pairs.append((None, new[j]))
        else:
            i, j = i - 1, j - 1
            pairs.append((old[i], new[j]))
    return pairs[::-1]


def _equal(line: str) -> dict[str, Any]:
    return {"tag": "equal", "left": [("", line)], "right": [("", line)]}


def words(old: str, new: str) -> tuple[list[Piece], list[Piece]]:
    """Two versions of a line as pieces, with the words that differ marked; wholly different lines marked whole."""
    before, after = (re.findall(r"\s+|\w+|[^\w\s]", line) for line in (old, new))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [("del", old)], [("ins", new)]
    left: list[Piece] = []
    right: list[Piece] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        old_piece, new_piece = "".join(before[i1:i2]), "".join(after[j1:j2])
        if old_piece:
            left.append(("" if tag == "equal" else "del", old_piece))
        if new_piece:
            right.append(("" if tag == "equal" else "ins", new_piece))
    return left, right


# ---------------------------------------------------------------- findings, causes, remedies


def findings(audit: Audit | Mapping[str, Any], *, inline: bool = False) -> Fragment:
    """A card per finding, worst first: evidence, alternatives, culprit, remedy.

    Args:
        audit: the audit.
        inline: show before and after in the card, for a page without :func:`definitions` to link to.
    """
    document = document_of(audit)
    items = worst_first(document["findings"])
    counts = doc.severity_counts(items)
    text = (
        f"{counted(len(items), 'finding')}: {listing([f'{number} {name}' for name, number in counts.items()], 5)}."
        if items
        else f"No findings{but_unread(unread_names(document))}."
    )
    drifted = {(o["environment"], o["kind"], o["identity"]): o for o in _objects(document["deltas"])}
    since = document.get("since_last_run") or {}
    return render(
        "findings",
        text,
        title=text,
        findings=items,
        cause_of=doc.cause_of,
        new=set(since.get("new") or ()) if since.get("previous") else set(),
        drifted=drifted,
        inline=inline,
        baseline=document.get("baseline") or "migrations",
    )


def remedies(audit: Audit | Mapping[str, Any]) -> Fragment:
    """All remedies in the order in which to take them, worst finding first, with their commands."""
    items = [f for f in worst_first(document_of(audit)["findings"]) if (f.get("remedy") or {}).get("steps")]
    text = (
        f"{counted(len(items), 'remedy', 'remedies')}{', worst finding first' if len(items) > 1 else ''}."
        if items
        else "Nothing to remedy."
    )
    return render("remedies", text, title=text, findings=items)


def blame(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Commit → migration → object → dependents, as a drawing of up to 40 nodes and always as a table.

    All that made an object what it is: the migration behind the finding, and every other one, and hands.
    """
    items = worst_first(document_of(audit)["findings"])
    rows = [row for finding in items for target in finding["objects"] for row in _makers(finding, target)]
    columns: list[list[str]] = [
        list(dict.fromkeys(row["commit"] for row in rows)),
        list(dict.fromkeys(row["migration"] for row in rows)),
        list(dict.fromkeys(row["object"] for row in rows)),
        list(dict.fromkeys(name for row in rows for name in row["dependents"])),
    ]
    text = (
        f"{counted(len(columns[2]), 'drifted object')} from {counted(len(set(columns[1]) - {_BY_HAND}), 'migration')}"
        f"{' and changes by hand' if _BY_HAND in columns[1] else ''}; "
        f"{counted(len(columns[3]), 'object depends', 'objects depend')} on them."
        if rows
        else "No object drifted, so there is nothing to blame."
    )
    drawing = _graph(rows, columns, text) if columns[2] and sum(map(len, columns)) <= GRAPH_LIMIT else None
    return render("blame", text, title=text, rows=rows, drawing=drawing)


def _makers(finding: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What made one drifted object what it is: a row for each migration, and for hands."""
    key = (target["kind"], target["identity"])
    made = [m for m in finding.get("blame") or () if (m["kind"], m["identity"]) == key]
    culprit = finding.get("migration")
    if culprit and not any(m["migration"] and m["migration"]["version"] == culprit["version"] for m in made):
        made.append({"migration": culprit, "status": "migration", "parts": []})
    seen = next((who.person(one) for one in finding.get("who") or ()), None)
    for item in made or [{"migration": None, "status": "by_hand", "parts": []}]:
        migration = item["migration"]
        yield {
            "commit": _commit(migration) if migration else visible(seen or _NO_COMMIT),
            "migration": _culprit(migration),
            "object": f"{target['kind']} {target['identity']}",
            "parts": item["parts"],
            "status": item["status"],
            "dependents": [f"{o['kind']} {o['identity']}" for o in finding.get("dependents") or ()],
            "finding": finding,
        }


_BY_HAND = "no migration"
_NO_COMMIT = "no commit"


def _commit(culprit: Mapping[str, Any]) -> str:
    if not culprit.get("commit"):
        return _NO_COMMIT
    return f"{short(culprit['commit'])} {visible(culprit.get('author') or '')}".strip()


def _culprit(culprit: Mapping[str, Any] | None) -> str:
    if not culprit:
        return _BY_HAND
    return (
        "_".join(visible(part) for part in (culprit.get("version"), culprit.get("name")) if part) or _BY_HAND
    )


def _graph(rows: Sequence[Mapping[str, Any]], columns: Sequence[Sequence[str]], text: str) -> Drawing:
    titles = ("commit", "migration", "drifted object", "depends on it")
    used = [index for index, column in enumerate(columns) if column]
    total, gap, height, step = 1130, 36, 26, 34
    width = (total - gap * (len(used) - 1)) / len(used)
    tallest = max(len(column) for column in columns)
    drawing = Drawing(total, 30 + tallest * step, text)
    places: dict[tuple[int, str], tuple[float, float]] = {}
    for place, index in enumerate(used):
        x = place * (width + gap)
        offset = (tallest - len(columns[index])) * step / 2
        drawing.text(x, 14, titles[index], klass="label")
        for row, name in enumerate(columns[index]):
            places[index, name] = (x, 26 + offset + row * step)
    edges = dict.fromkeys(
        edge
        for row in rows
        for edge in (
            ((0, row["commit"]), (1, row["migration"])),
            ((1, row["migration"]), (2, row["object"])),
            *(((2, row["object"]), (3, name)) for name in row["dependents"]),
        )
    )
    for start, end in edges:
        (x1, y1), (x2, y2) = places[start], places[end]
        x1, y1, y2 = x1 + width, y1 + height / 2, y2 + height / 2
        middle = (x1 + x2) / 2
        drawing.element(
            "path", klass="edge", d=f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
        )
    for (index, name), (x, y) in places.items():
        klass = "node by-hand" if name in (_BY_HAND, _NO_COMMIT) else f"node column-{index}"
        drawing.element("rect", klass=klass, x=x, y=y, width=width, height=height, rx=4)
        drawing.text(x + 8, y + 17, visible(name), klass="small", limit=int(width / 6.6))
    return drawing


# ---------------------------------------------------------------- runs and deployments


def since_last_run(audit: Audit | Mapping[str, Any]) -> Fragment:
    """New, persisting, resolved and unconfirmed findings since the previous run."""
    document = document_of(audit)
    since = document.get("since_last_run") or {"previous": None, "new": [], "persisting": [], "resolved": []}
    by_id = {finding["id"]: finding for finding in document["findings"]}
    groups = [
        ("new", "+", worst_first(by_id[key] for key in since["new"] if key in by_id)),
        ("resolved", "✓", worst_first(since["resolved"])),
        ("persisting", "=", worst_first(by_id[key] for key in since["persisting"] if key in by_id)),
        ("unconfirmed", "?", worst_first(since.get("unconfirmed") or ())),
    ]
    if not since["previous"]:
        text = "This is the first run kept here, so there is nothing to compare it with."
    else:
        parts = [f"{len(items)} {name}" for name, _, items in groups if items or name != "unconfirmed"]
        text = f"Since {time(since['previous'])}: {listing(parts)}."
    return render("since", text, title=text, groups=groups, previous=since["previous"], current=set(by_id))


def deployment(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What the deployment was to change, what it did change, and what stayed away."""
    deploy = _deploy(audit)
    absent = {_key(delta) for delta in deploy["absent"]}
    text = (
        f"{counted(len(deploy['deployed']), 'migration')} deployed: "
        f"{len(deploy['intended']) - len(absent)} of {counted(len(deploy['intended']), 'intended change')} happened."
    )
    rows = [(delta, _key(delta) not in absent) for delta in deploy["intended"]]
    return render("deployment", text, title=text, deploy=deploy, rows=rows)


def unintended(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Changes between before and after that no deployed migration makes."""
    deploy = _deploy(audit)
    text = (
        f"{counted(len(deploy['unintended']), 'change')} that no deployed migration makes."
        if deploy["unintended"]
        else "Nothing changed that was not meant to."
    )
    return render("unintended", text, title=text, objects=_objects(deploy["unintended"]))


def ledger_check(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Expected against recorded migrations."""
    rows = _deploy(audit)["ledger"]
    wrong = [row for row in rows if row["expected"] != row["recorded"]]
    text = (
        f"{len(wrong)} of {counted(len(rows), 'ledger row')} {'is' if len(wrong) == 1 else 'are'} not as expected."
        if wrong
        else f"The ledger is as expected: {counted(len(rows), 'row')}."
    )
    return render("ledger", text, title=text, rows=rows)


def rollback(audit: Audit | Mapping[str, Any]) -> Fragment:
    """The SQL that takes the deployment back, for reading; nothing is ever run from a report."""
    deploy = _deploy(audit)
    steps = deploy["rollback"]
    if not steps:
        text = "No rollback is known."
    elif deploy.get("back"):
        text = "This takes the deployment back: on a shadow of the snapshot taken before, it led to what was there."
    elif deploy.get("back") is False:
        text = "This takes most of the deployment back: in the rehearsal something was left."
    else:
        text = f"{counted(len(steps), 'step')} would take the deployment back; this was not rehearsed."
    return render("rollback", text, title=text, steps=steps)


def _deploy(audit: Audit | Mapping[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"before": None, "after": None}
    nothing |= {
        key: [] for key in ("deployed", "intended", "actual", "unintended", "absent", "ledger", "rollback")
    }
    return document_of(audit).get("deploy") or nothing


def _key(delta: Mapping[str, Any]) -> tuple[Any, ...]:
    return delta["kind"], delta["identity"], delta["change"], delta["attribute"]


# ---------------------------------------------------------------- what stands behind it


def coverage(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What was not checked, not modelled, suppressed, or left to the platform."""
    document = document_of(audit)
    return render("coverage", coverage_line(document), title=coverage_line(document), document=document)


def provenance(audit: Audit | Mapping[str, Any]) -> Fragment:
    """How this result came to be: tool, command, replay, environments' servers, calibration."""
    document = document_of(audit)
    text = f"{document['tool']['name']} {document['tool']['version']}, {time(document['created_at'])}"
    return render(
        "provenance", text, document=document, replay=document.get("replay"), digest=doc.fingerprint(document)
    )


def runs_page(runs: Sequence[Mapping[str, Any]]) -> str:
    """``reports/index.html``: a page that lists all runs, newest first."""
    body = templates().get_template("runs.html.j2").render(runs=runs, css=static("report.css"), rank=doc.rank)
    return str(body)
