"""The audit document ``auditkit.audit/1``: one result, of which every report is a pure function.

The document is plain JSON (its schema is ``audit.schema.json`` beside this file), written to
``audit.json``. :class:`Audit` wraps it for people: DataFrames with documented columns in a notebook, and
the same dictionary underneath.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.causes.registry import CAUSES
from auditkit.errors import AuditError, ConfigError
from auditkit.history.migration import label_of
from auditkit.resolve.objections import OBJECTIONS

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "auditkit.audit/1"
#: Path of a document that has been, or is to be, computed: how ``auditkit report`` and its notebook share one.
HANDED_OVER = "AUDITKIT_AUDIT_FILE"

#: Worst first. ``info`` never fails an audit.
SEVERITIES = ("critical", "high", "medium", "low", "info")
CONFIDENCES = ("proven", "consistent", "conjecture")

_TEXT, _TIME, _COUNT = "str", "time", "Int64"
#: Columns of the frames of :class:`Audit`. ``time`` is ``datetime64[us, UTC]``; a tuple is an ordered categorical.
COLUMNS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "environments": {
        "name": _TEXT,
        "status": _TEXT,
        "findings": _COUNT,
        "facts": _COUNT,
        "server_version": _COUNT,
        "server": _TEXT,
        "database": _TEXT,
        "role": _TEXT,
        "captured_at": _TIME,
        "fingerprint": _TEXT,
        "tool": _TEXT,
        "head": _TEXT,
        "applied": _COUNT,
        "pending": _COUNT,
    },
    "findings": {
        "id": _TEXT,
        "severity": SEVERITIES,
        "cause": _TEXT,
        "confidence": CONFIDENCES,
        "environment": _TEXT,
        "title": _TEXT,
        "objects": _TEXT,
        "migration": _TEXT,
        "file": _TEXT,
        "line": _COUNT,
        "commit": _TEXT,
        "author": _TEXT,
        "source_of_truth": _TEXT,
        "remedy": _TEXT,
    },
    "deltas": {
        "environment": _TEXT,
        "kind": _TEXT,
        "identity": _TEXT,
        "change": _TEXT,
        "attribute": _TEXT,
        "left": _TEXT,
        "right": _TEXT,
        "finding": _TEXT,
    },
    "migrations": {
        "version": _TEXT,
        "name": _TEXT,
        "file": _TEXT,
        "environment": _TEXT,
        "state": _TEXT,
        "commit": _TEXT,
        "author": _TEXT,
        "committed_at": _TIME,
        "edited_later": _COUNT,
        "uncommitted": "boolean",
    },
    "blame": {
        "finding": _TEXT,
        "kind": _TEXT,
        "identity": _TEXT,
        "status": _TEXT,
        "parts": _TEXT,
        "version": _TEXT,
        "name": _TEXT,
        "file": _TEXT,
        "line": _COUNT,
        "commit": _TEXT,
        "author": _TEXT,
    },
    "events": {
        "finding": _TEXT,
        "at": _TIME,
        "what": _TEXT,
        "who": _TEXT,
        "migration": _TEXT,
        "source": _TEXT,
    },
    "dependents": {
        "finding": _TEXT,
        "kind": _TEXT,
        "identity": _TEXT,
        "depth": _COUNT,
        "through": _TEXT,
    },
    "timeline": {"environment": _TEXT, "at": _TIME, "until": _TIME, "kind": _TEXT, "label": _TEXT},
}


class Audit:
    """An audit document with its tables as DataFrames.

    Attributes:
        document: the dictionary itself, as in ``audit.json``.

    In a notebook it shows itself as the report's first screen.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        if document.get("format") != FORMAT:
            raise AuditError(
                f"this is not an audit document: its format is {document.get('format')!r}, not {FORMAT!r}; "
                "make one with `auditkit explain --json`"
            )
        self.document: dict[str, Any] = dict(document)

    def __repr__(self) -> str:
        return f"<Audit {self.verdict}: {self.headline}>"

    def _repr_html_(self) -> str:
        from auditkit.report.html import summary

        return str(summary(self)._repr_html_())

    @property
    def verdict(self) -> str:
        """``PASS``, ``WARN``, ``FAIL`` or ``INCOMPLETE``."""
        return str(self.document["verdict"])

    @property
    def headline(self) -> str:
        """The verdict as one sentence."""
        return str(self.document["headline"])

    @cached_property
    def environments(self) -> pd.DataFrame:
        """One row per audited environment; columns: ``COLUMNS["environments"]``."""
        rows = []
        for item in self.document["environments"]:
            ledger = item.get("ledger") or {}
            rows.append({**item, **{key: ledger.get(key) for key in ("tool", "head", "applied", "pending")}})
        return _frame("environments", rows)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row per finding, worst first; columns: ``COLUMNS["findings"]``."""
        rows = []
        for item in worst_first(self.document["findings"]):
            culprit, remedy = item.get("migration") or {}, item.get("remedy") or {}
            rows.append(
                {
                    **item,
                    "objects": "; ".join(f"{o['kind']} {o['identity']}" for o in item["objects"]),
                    "migration": culprit.get("version"),
                    **{key: culprit.get(key) for key in ("file", "line", "commit", "author")},
                    "source_of_truth": remedy.get("source_of_truth"),
                    "remedy": remedy.get("summary"),
                }
            )
        return _frame("findings", rows)

    @cached_property
    def deltas(self) -> pd.DataFrame:
        """One row per delta (left: migrations, right: the environment); columns: ``COLUMNS["deltas"]``."""
        rows = [
            {**d, "left": as_text(d["left"]), "right": as_text(d["right"])} for d in self.document["deltas"]
        ]
        return _frame("deltas", rows)

    @cached_property
    def migrations(self) -> pd.DataFrame:
        """One row per migration and environment; columns: ``COLUMNS["migrations"]``."""
        rows = [
            {**item, "environment": name, "state": state}
            for item in self.document["migrations"]
            for name, state in item["states"].items()
        ]
        return _frame("migrations", rows)

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row per event, ``until`` only for windows; columns: ``COLUMNS["timeline"]``."""
        return _frame("timeline", sorted(self.document["timeline"], key=lambda event: event["at"]))

    @cached_property
    def blame(self) -> pd.DataFrame:
        """One row per drifted object and what made a part of it; columns: ``COLUMNS["blame"]``."""
        rows = [
            {**row, **(row["migration"] or {}), "parts": ", ".join(row["parts"])}
            for row in self._all("blame")
        ]
        return _frame("blame", rows)

    @cached_property
    def events(self) -> pd.DataFrame:
        """One row per finding and event in its timeline; columns: ``COLUMNS["events"]``."""
        return _frame("events", self._all("timeline"))

    @cached_property
    def dependents(self) -> pd.DataFrame:
        """One row per finding and object within its reach; columns: ``COLUMNS["dependents"]``."""
        return _frame("dependents", self._all("dependents"))

    def _all(self, name: str) -> list[dict[str, Any]]:
        return [
            {**row, "finding": finding["id"]}
            for finding in worst_first(self.document["findings"])
            for row in finding.get(name) or ()
        ]

    @property
    def worst(self) -> str:
        """The id of the worst finding, empty if there is none."""
        return next((str(finding["id"]) for finding in worst_first(self.document["findings"])), "")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``audit.json`` and return its path."""
        return save_audit(self, path)

    def keep(self, out_dir: str | os.PathLike[str] = "") -> Audit:
        """Write the document where the running report expects it, else to ``out_dir/audit.json``, else nowhere."""
        target = os.environ.get(HANDED_OVER) or (str(Path(out_dir) / "audit.json") if out_dir else "")
        if target:
            self.save(target)
        return self

    def only(self, *, focus: str = "", since: str = "") -> Audit:
        """The same audit, showing less: the verdict stays that of the whole.

        Args:
            focus: a finding's id, or an object's identity (or a part of it).
            since: a day; only migrations and events from then on.

        Raises:
            ConfigError: nothing is called *focus*, or *since* is not a day.
        """
        document = dict(self.document)
        if focus:
            chosen = [f for f in document["findings"] if focus == f["id"] or _concerns(f["objects"], focus)]
            ids = {finding["id"] for finding in chosen}
            deltas = [d for d in document["deltas"] if d.get("finding") in ids or _concerns([d], focus)]
            if not chosen and not deltas:
                names = [f["id"] for f in document["findings"]] + [d["identity"] for d in document["deltas"]]
                close = difflib.get_close_matches(focus, names, n=1, cutoff=0.5)
                meant = f"; did you mean {close[0]!r}?" if close else "; leave it empty to see everything"
                raise ConfigError(f"focus: no finding or drifted object is called {focus!r}{meant}")
            document |= {"findings": chosen, "deltas": deltas}
        if since:
            try:
                day = dt.datetime.fromisoformat(since).date().isoformat()
            except ValueError:
                raise ConfigError(f"since: {since!r} is not a day; write it like 2026-11-01") from None
            document["timeline"] = [e for e in document["timeline"] if (e.get("until") or e["at"]) >= day]
            document["migrations"] = [
                m for m in document["migrations"] if (m.get("committed_at") or "9") >= day
            ]
        if focus or since:
            document["shown"] = {"focus": focus, "since": since}
        return Audit(document)


def _concerns(objects: Iterable[Mapping[str, Any]], name: str) -> bool:
    return any(name in item["identity"] for item in objects)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    text = resources.files("auditkit.report").joinpath("audit.schema.json").read_text("utf-8")
    return dict(json.loads(text))


def load_audit(path: str | os.PathLike[str]) -> Audit:
    """Read ``audit.json``.

    Raises:
        AuditError: the file is missing, is not JSON, or is not an audit document.
    """
    file = Path(path)
    try:
        document = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise AuditError(f"{file}: cannot be read: {error.strerror}; check the path") from None
    except ValueError as error:
        raise AuditError(f"{file}: is not JSON ({error}); make it again with `auditkit report`") from None
    if not isinstance(document, dict):
        raise AuditError(f"{file}: is not an audit document; make one with `auditkit explain --json`")
    return Audit(document)


def save_audit(audit: Audit | Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write a document so that a reader never meets half of it."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document_of(audit), ensure_ascii=False, indent=1, sort_keys=False, default=str)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text + "\n", "utf-8")
    temporary.replace(file)
    return file


def handed_over() -> Audit | None:
    """The audit that ``auditkit report`` has already computed for the notebook that is running, if any."""
    path = os.environ.get(HANDED_OVER)
    return load_audit(path) if path and Path(path).is_file() else None


def document_of(audit: Audit | Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary of an audit, whichever way it was given."""
    return audit.document if isinstance(audit, Audit) else dict(audit)


def fingerprint(audit: Audit | Mapping[str, Any]) -> str:
    """Digest of a document, of which a run's directory name carries the first eight characters."""
    text = json.dumps(document_of(audit), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def worst_first(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings by severity, then confidence, then environment and title."""
    return sorted(
        (dict(item) for item in findings),
        key=lambda f: (
            rank(f["severity"]),
            CONFIDENCES.index(f["confidence"]) if f["confidence"] in CONFIDENCES else 9,
            f["environment"] or "",
            f["title"],
        ),
    )


def rank(severity: str) -> int:
    """0 for ``critical`` … 4 for ``info``; a severity that a newer version may add ranks with critical."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def verdict_of(
    findings: Iterable[Mapping[str, Any]], not_checked: Iterable[Mapping[str, Any]], fail_on: str = "medium"
) -> str:
    """The verdict: ``FAIL``, ``INCOMPLETE``, ``WARN`` or ``PASS``, the first that holds.

    FAIL: a finding at or above *fail_on*; what was found stays found, whatever else could not be read.
    INCOMPLETE: something that was asked for could not be checked, so that silence proves nothing. An entry of
    *not_checked* marked ``"blocking": False`` (a detail that needs a superuser, say) is shown but does not count.
    WARN: lesser findings, from ``low`` on. PASS: everything was checked and nothing but ``info`` was found.

    Raises:
        ConfigError: *fail_on* is not a severity.
    """
    if fail_on not in SEVERITIES:
        raise ConfigError(f"fail_on: {fail_on!r} is not a severity; use one of {', '.join(SEVERITIES)}")
    ranks = [rank(finding["severity"]) for finding in findings]
    if any(value <= rank(fail_on) for value in ranks):
        return "FAIL"
    if any(item.get("blocking", True) for item in not_checked):
        return "INCOMPLETE"
    return "WARN" if any(value < rank("info") for value in ranks) else "PASS"


def headline_of(audit: Audit | Mapping[str, Any]) -> str:
    """The verdict as one sentence, from a document that need not have its ``headline`` yet."""
    document = document_of(audit)
    names = [item["name"] for item in document["environments"]]
    baseline = document.get("baseline") or "migrations"
    findings = [f for f in worst_first(document["findings"]) if f["severity"] != "info"]
    blocked = [item for item in document["not_checked"] if item.get("blocking", True)]
    if findings:
        harmless = {finding["id"] for finding in document["findings"] if finding["severity"] == "info"}
        objects = {
            (delta["environment"], delta["kind"], delta["identity"])
            for delta in document.get("deltas") or ()
            if delta.get("finding") not in harmless
        }
        where = list(dict.fromkeys(f["environment"] for f in findings if f["environment"]))
        verb = "differs" if len(where) == 1 else "differ"
        if len(findings) > 1 and len(where) == 1 and {f["cause"] for f in findings} == {"missing_migration"}:
            return _lacking(where[0], findings)
        text = f"{listing(where) or 'the environments'} {verb} from {baseline} in {counted(len(objects), 'object')}."
        if not objects:
            text = f"{listing(where) or 'the environments'} {verb} from {baseline} in the ledger, not in the schema."
        worst = findings[0]
        if len(findings) == 1:
            return text + f" Cause: {cause_of(worst)} ({worst['confidence']})."
        return text + f" Worst: {worst['title']} ({worst['confidence']})."
    if blocked:
        first = blocked[0]
        place = f"{first['environment']}: " if first.get("environment") else ""
        more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
        return (
            f"Not everything could be checked: {place}{first['what']}{more}. No drift was found in what was."
        )
    facts = (document.get("coverage") or {}).get("facts", 0)
    verb = "matches" if len(names) == 1 else "match"
    return f"{listing(names) or 'Nothing'} {verb} {baseline}: {facts:,} facts compared, no drift."


def _lacking(environment: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """The headline where migrations were not applied and nothing else is wrong."""
    culprits = sorted((f["migration"]["version"], f["migration"]["name"]) for f in findings if f["migration"])
    first, last = (label_of(*culprit) for culprit in (culprits[0], culprits[-1]))
    return (
        f"{environment} lacks {counted(len(findings), 'migration')}, {first} to {last}; nothing else differs."
    )


def cause_of(finding: Mapping[str, Any]) -> str:
    """A finding's cause as a clause, with the culprit migration's name in it."""
    culprit = finding.get("migration") or {}
    name = "_".join(part for part in (culprit.get("version"), culprit.get("name")) if part) or "a migration"
    return _clause(str(finding["cause"])).replace("{migration}", name)


def _clause(cause: str) -> str:
    """A cause of a newer version has no clause here yet; its name will do."""
    known = CAUSES.get(cause) or OBJECTIONS.get(cause)
    return known.clause if known else cause.replace("_", " ")


def compare_runs(
    previous: Audit | Mapping[str, Any] | None, current: Audit | Mapping[str, Any]
) -> dict[str, Any]:
    """What changed since the last run, by finding id: the document's ``since_last_run``.

    A finding that is gone counts as resolved only if its environment was read completely this time; otherwise
    it is ``unconfirmed``: not seeing is not the same as being gone.
    """
    now = document_of(current)
    ids = [finding["id"] for finding in now["findings"]]
    if previous is None:
        return {"previous": None, "new": ids, "persisting": [], "resolved": [], "unconfirmed": []}
    before = document_of(previous)
    known = {finding["id"] for finding in before["findings"]}
    unread = {item.get("environment") for item in now["not_checked"] if item.get("blocking", True)}
    read = {item["name"] for item in now["environments"] if item["status"] == "complete"} - unread
    gone = [finding for finding in before["findings"] if finding["id"] not in set(ids)]
    seen = [finding for finding in gone if finding["environment"] in read and None not in unread]
    return {
        "previous": before["created_at"],
        "new": [key for key in ids if key not in known],
        "persisting": [key for key in ids if key in known],
        "resolved": seen,
        "unconfirmed": [finding for finding in gone if finding not in seen],
    }


def drift_windows(earlier: Sequence[Audit], current: Audit | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Between which two runs each present finding began: events of kind ``drift_window`` for the timeline.

    *earlier* are runs of the same notebook, oldest first. A window reaches from the last run that read the
    environment and did not have the finding to the first that had it. Findings that were there from the
    first run on have none: nobody knows when they began, and no false instant is given.
    """
    now = document_of(current)
    runs = [*(audit.document for audit in earlier), now]
    events = []
    for finding in now["findings"]:
        window: tuple[str, str] | None = None
        for run in reversed(runs):
            read = {e["name"] for e in run["environments"] if e["status"] == "complete"}
            if any(item["id"] == finding["id"] for item in run["findings"]):
                window = (window[0] if window else "", run["created_at"])
            elif finding["environment"] in read:
                window = (run["created_at"], window[1]) if window else None
                break
        if window and window[0]:
            events.append(
                {
                    "environment": finding["environment"],
                    "at": window[0],
                    "until": window[1],
                    "kind": "drift_window",
                    "label": finding["title"],
                }
            )
    return sorted(events, key=lambda event: (event["at"], event["label"]))


def past_runs(history_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The runs kept in a reports directory, newest first, from their ``audit.json`` files.

    Returns:
        ``at``, ``verdict``, ``findings`` (count by severity), ``path`` (of the run, relative), ``notebook``,
        ``baseline``, ``environments`` (names) and ``headline``. A file that cannot be read is listed with
        verdict ``INCOMPLETE`` and the reason as headline.
    """
    root = Path(history_dir)
    runs = [_run(file, root) for file in root.glob("*/audit.json") if not file.parent.name.startswith(".")]
    return sorted(runs, key=lambda run: (run["at"], run["path"]), reverse=True)


def previous_audit(
    history_dir: str | os.PathLike[str], notebook: str, baseline: str = "migrations"
) -> Audit | None:
    """The newest readable run of the same notebook against the same baseline."""
    for run in past_runs(history_dir):
        if run["notebook"] == notebook and run["baseline"] == baseline:
            return load_audit(Path(history_dir) / run["path"] / "audit.json")
    return None


def _run(file: Path, root: Path) -> dict[str, Any]:
    path = file.parent.relative_to(root).as_posix()
    try:
        document = load_audit(file).document
        return {
            "at": str(document["created_at"]),
            "verdict": str(document["verdict"]),
            "findings": severity_counts(document["findings"]),
            "path": path,
            "notebook": document.get("notebook"),
            "baseline": document.get("baseline"),
            "environments": [item["name"] for item in document["environments"]],
            "headline": str(document["headline"]),
        }
    except (AuditError, KeyError, TypeError) as error:
        changed = dt.datetime.fromtimestamp(file.stat().st_mtime, dt.UTC).isoformat(timespec="seconds")
        return {
            "at": changed,
            "verdict": "INCOMPLETE",
            "findings": {},
            "path": path,
            "notebook": None,
            "baseline": None,
            "environments": [],
            "headline": f"its audit.json cannot be read: {error}",
        }


def severity_counts(findings: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Number of findings of each severity that occurs, worst first."""
    counts = Counter(finding["severity"] for finding in findings)
    return {name: counts[name] for name in sorted(counts, key=rank)}


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 object``, ``2 objects``, ``1,200 indexes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], limit: int = 4) -> str:
    """``a, b and c``, or ``a, b, c and 9 others``."""
    shown = list(names) if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def as_text(value: object) -> str | None:
    """A delta's value as people read it; lists one entry per line, ``None`` stays ``None``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "\n".join(as_text(item) or "" for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _frame(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with the columns and dtypes of ``COLUMNS[name]``, also when there are no rows."""
    import pandas as pd

    columns = {}
    for column, dtype in COLUMNS[name].items():
        values = [row.get(column) for row in rows]
        if dtype == _TIME:
            parsed = pd.to_datetime(pd.Series(values, dtype=object), utc=True, format="ISO8601")
            columns[column] = parsed.astype("datetime64[us, UTC]")
        elif isinstance(dtype, tuple):
            columns[column] = pd.Series(pd.Categorical(values, categories=list(dtype), ordered=True))
        else:
            columns[column] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)
