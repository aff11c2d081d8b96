"""Deployments told: the gates before and after one, what is pending and what it will do, who signs.

As lines for a terminal, and as sections of the reports ``pre_deployment`` and ``post_deploy_review``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditkit.report.document import Audit, counted, document_of
from auditkit.report.html import Fragment, plural, render, short
from auditkit.visible import visible

#: State of a gate → glyph and word.
STATES = {"ok": ("✓", "yes"), "warn": ("!", "look"), "bad": ("✗", "no"), "unknown": ("?", "not known")}
_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red", "unknown": "magenta"}
#: Locks that keep nobody waiting who reads or writes rows.
_HARMLESS = ("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock")
Line = tuple[str, str | None]


def gated(document: Mapping[str, Any]) -> Iterator[Line]:
    """Lines and their colours: the gates, then what is pending; of a ``preflight`` or a ``verify``."""
    own = document.get("preflight") or document.get("deploy") or {}
    for check in own.get("checks", ()):
        yield (
            f"  {STATES[check['state']][0]} {check['gate']:<10} {visible(check['says'])}",
            _COLOURS[check["state"]],
        )
    for item in own.get("pending", ()):
        yield from _pending(item)
    linter = own.get("linter") or {}
    if linter.get("says"):
        yield "", None
        yield f"  {linter['name']} says of the pending files (it decides nothing here):", None
        for says in linter["says"][:20]:
            yield f"    {visible(says['file'])}:{says['line']} {says['rule']}: {visible(says['says'])}", None
        if len(linter["says"]) > 20:
            yield f"    and {len(linter['says']) - 20} more", None


def _pending(item: Mapping[str, Any]) -> Iterator[Line]:
    yield "", None
    yield f"  pending: {visible(item['file'])}{_by(item)}", None
    if item.get("failure"):
        yield f"    fails at line {item['failure']['line']}: {visible(item['failure']['message'])}", "red"
        return
    if "changes" not in item:
        return
    yield f"    {_changes(item)}", None
    for lock in item["locks"]:
        if lock["mode"] not in _HARMLESS:
            size = f" ({lock['size']})" if lock["size"] else ""
            yield f"    locks {visible(lock['relation'])}: {mode(lock['mode'])}{size}", None
    for table in item["rewritten"]:
        yield f"    writes {visible(table)} anew", "yellow"
    for name in item["lost"]:
        yield f"    {visible(name)} holds less afterwards", "yellow"


def _by(item: Mapping[str, Any]) -> str:
    if item["uncommitted"]:
        return " (not committed)"
    return f" (commit {short(item['commit'])} by {visible(item['author'])})" if item.get("commit") else ""


def _changes(item: Mapping[str, Any]) -> str:
    """``makes 2 tables and 1 index, changes 1 view``."""
    words = {"unexpected": "makes", "changed": "changes", "missing": "drops"}
    parts = []
    for change, verb in words.items():
        kinds: dict[str, set[str]] = {}
        for delta in item["changes"]:
            if delta["change"] == change:
                kinds.setdefault(delta["kind"], set()).add(delta["identity"])
        if kinds:
            told = [counted(len(names), kind, plural(kind)) for kind, names in sorted(kinds.items())]
            parts.append(f"{verb} {', '.join(told)}")
    return "; ".join(parts) or "changes nothing that is compared"


def mode(name: str) -> str:
    """``AccessExclusiveLock`` as the manual writes it."""
    return "".join(f" {c}" if c.isupper() else c for c in name.removesuffix("Lock")).strip().upper()


def after(document: Mapping[str, Any], saved: str = "") -> Iterator[str]:
    """What comes next, as lines: the expected fingerprint, and the commands; *saved* is where the snapshot is."""
    own = document["preflight"]
    name = own["environment"]
    fingerprint = (own["expected"] or {}).get("fingerprint")
    if own["pending"] and fingerprint:
        yield f"expected fingerprint after: {fingerprint}"
    if any("gate" not in finding and finding["severity"] != "info" for finding in document["findings"]):
        yield f"why it differs: auditkit explain {name}; what to do about it: auditkit plan {name}"
    if document["verdict"] in ("PASS", "WARN") and own["pending"]:
        first = "" if saved else f"auditkit preflight {name} --snapshot before.snapshot, "
        yield f"next: {first}deploy, auditkit verify {name} --before {saved or 'before.snapshot'}"


def reviewed(document: Mapping[str, Any], before: str) -> Iterator[str]:
    """What comes next after a verification: the report that is signed, which has the way back as well."""
    name = document["environments"][0]["name"]
    how = ", which was rehearsed" if document["deploy"]["back"] else ""
    yield (
        f"to sign off, and for the way back{how}: auditkit report post_deploy_review -e {name} -p before {before}"
    )


# ---------------------------------------------------------------- sections of reports


def checks(audit: Audit | Mapping[str, Any]) -> Fragment:
    """The gates, each with its answer."""
    document = document_of(audit)
    own = document.get("preflight") or document.get("deploy") or {}
    rows = own.get("checks") or []
    wrong = [row for row in rows if row["state"] == "bad"]
    unknown = [row for row in rows if row["state"] == "unknown"]
    if not rows:
        text = "No gate was asked."
    elif wrong:
        text = f"{len(wrong)} of {counted(len(rows), 'gate')} {'is' if len(wrong) == 1 else 'are'} closed."
    elif unknown:
        text = f"{counted(len(unknown), 'gate')} could not be asked."
    elif looks := [row for row in rows if row["state"] == "warn"]:
        text = f"No gate is closed; {len(looks)} of {len(rows)} {'deserves' if len(looks) == 1 else 'deserve'} a look."
    else:
        text = f"All {counted(len(rows), 'gate')} are open."
    return render("gates", text, title=text, rows=rows, states=STATES)


def pending(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What is pending, what each file does on a shadow of the environment, and which locks it takes there."""
    own = document_of(audit).get("preflight") or {}
    rows = own.get("pending") or []
    rehearsal = own.get("rehearsal") or {}
    text = "Nothing is pending."
    if rows:
        text = f"{counted(len(rows), 'migration is', 'migrations are')} pending"
        ran = rehearsal.get("ran")
        text += f", rehearsed on {rehearsal['server']}." if ran else "; they were not rehearsed."
    items = [
        {
            **row,
            "by": _by(row),
            "does": _changes(row) if "changes" in row else "",
            "felt": [lock for lock in row.get("locks", ()) if lock["mode"] not in _HARMLESS],
        }
        for row in rows
    ]
    return render(
        "pending", text, title=text, rows=items, mode=mode, expected=own.get("expected"), rehearsal=rehearsal
    )


def linter(audit: Audit | Mapping[str, Any]) -> Fragment:
    """What a linter says of the same files: it reads their text, and decides nothing."""
    own = (document_of(audit).get("preflight") or {}).get("linter") or {
        "name": "squawk",
        "ran": False,
        "says": [],
    }
    if not own["ran"]:
        text = f"{own['name']} was not asked: it is not installed, or there is nothing to read."
    else:
        text = f"{own['name']} says {counted(len(own['says']), 'thing')} of the pending files."
    return render("linter", text, title=text, rows=own["says"])


def way_back(audit: Audit | Mapping[str, Any]) -> Fragment:
    """SQL that takes each pending migration back, as it was rehearsed; nothing here runs by itself."""
    own = document_of(audit).get("preflight") or {}
    rows = [row for row in reversed(own.get("pending") or []) if row.get("back", "").strip()]
    led = (own.get("rehearsal") or {}).get("back")
    text = "There is nothing to take back."
    if rows:
        how = "it was run, and led back to what was there" if led else "it was run, and did not lead back"
        how = "it was not run" if led is None else how
        text = f"The way back of {counted(len(rows), 'migration')}, last one first: {how}."
    return render("way_back", text, title=text, rows=rows)


def signoff(audit: Audit | Mapping[str, Any]) -> Fragment:
    """Who looked, what was asked, and a place to sign."""
    document = document_of(audit)
    own = document.get("deploy") or {}
    good = document["verdict"] in ("PASS", "WARN")
    text = "Ready to be signed off." if good else f"Not to be signed off as it is: {document['verdict']}."
    return render("signoff", text, title=text, document=document, deploy=own)
