"""Does an audit find everything the story hid, blame the right commit for it, and report nothing else?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auditkit.demo.files import git_log, migration_files, migration_text
from auditkit.demo.story import BEFORE_DEPLOY, DEPLOYED_TODAY, NOW, Drift, expected
from auditkit.history.split import split


def check(
    audit_documents: Mapping[str, Mapping[str, Any]], *, moment: int = NOW, repository: Path | None = None
) -> list[str]:
    """Compare audit documents (environment to document) with the story. Returns the problems, [] if none.

    Every drift must be found under its cause and with its objects, blamed on the right migration, line,
    commit and author (commits only if *repository* is a git repository); nothing else may be reported.
    """
    problems: list[str] = []
    commits = git_log(repository)
    for environment, document in audit_documents.items():
        findings = [f for f in document["findings"] if f["environment"] == environment]
        drifts = [drift for drift in expected(moment) if drift.environment == environment]
        if document["verdict"] == "INCOMPLETE":
            problems.append(f"{environment}: the audit is incomplete: {document['headline']}")
        if document.get("residual"):
            problems.append(f"{environment}: {document['residual']} differences are not explained")
        problems += [
            f"{environment}: no finding covers {delta['kind']} {delta['identity']}"
            for delta in document["deltas"]
            if delta["environment"] == environment and not delta["finding"]
        ]
        for drift in drifts:
            problems += _missed(drift, findings, commits)
        for finding in findings:
            waiting = moment == BEFORE_DEPLOY and _culprit(finding) in DEPLOYED_TODAY
            if not waiting and not any(_explains(drift, finding) for drift in drifts):
                problems.append(f"{environment}: nobody expected {_brief(finding)}")
    return problems


def _missed(
    drift: Drift, findings: list[Mapping[str, Any]], commits: Mapping[str, list[tuple[str, str]]]
) -> list[str]:
    """What the findings of one environment fail to say about one drift."""
    where = f"{drift.environment}, {drift.name}"
    problems, matched = [], []
    for thing in drift.objects:
        about = [f for f in findings if thing in _objects(f)]
        right = [f for f in about if f["cause"] == drift.cause]
        if not about:
            problems.append(f"{where}: no finding names {' '.join(thing)}")
        elif not right:
            problems.append(f"{where}: expected {drift.cause}, found {_brief(about[0])}")
        matched += [f for f in right if f not in matched]
    for finding in matched:
        if finding["confidence"] not in drift.confidence:
            problems.append(f"{where}: confidence is only {finding['confidence']}")
        if drift.severity and finding["severity"] != drift.severity:
            problems.append(f"{where}: expected severity {drift.severity}, found {finding['severity']}")
        problems += [f"{where}: {wrong}" for wrong in _wrong_blame(drift, finding, commits)]
    return problems


def _wrong_blame(
    drift: Drift, finding: Mapping[str, Any], commits: Mapping[str, list[tuple[str, str]]]
) -> list[str]:
    blamed = finding["migration"]
    if drift.version is None:
        if blamed and blamed["version"] != drift.masks:
            return [f"a hand did it, but {blamed['version']} is blamed"]
        return []
    if not blamed or blamed["version"] != drift.version:
        return [f"expected migration {drift.version}, found {blamed and blamed['version']}"]
    if drift.how == "from a branch":
        return [f"the repository has no file {blamed['file']}"] if blamed["file"] else []
    wrong = []
    file = migration_files()[drift.version]
    if not str(blamed["file"]).endswith(file):
        wrong.append(f"expected file {file}, found {blamed['file']}")
    if blamed["line"] not in _lines(drift):
        wrong.append(f"expected line {' or '.join(map(str, _lines(drift)))}, found {blamed['line']}")
    if known := commits.get(file):
        # Who added the file and who edited it later are both right, each with the commit of their own.
        authors = [author for commit, author in known if _same_commit(blamed["commit"], commit)]
        if not authors:
            wrong.append(f"expected commit {known[0][0][:10]}, found {blamed['commit']}")
        if not any(author in str(blamed["author"]) for author in authors or [known[0][1]]):
            wrong.append(f"expected author {(authors or [known[0][1]])[0]}, found {blamed['author']}")
    return wrong


def _lines(drift: Drift) -> list[int]:
    """First lines of the statements of the culprit that speak of one of the drift's objects."""
    assert drift.version is not None
    names = {re.split(r"[( ]", identity, maxsplit=1)[0].split(".")[-1] for _, identity in drift.objects}
    return [
        statement.line
        for statement in split(migration_text(drift.version))
        if any(re.search(rf"\b{re.escape(name)}\b", statement.text) for name in names)
    ]


def _explains(drift: Drift, finding: Mapping[str, Any]) -> bool:
    """Whether the finding is about this drift and about nothing but this drift."""
    named = _objects(finding)
    return (
        finding["cause"] == drift.cause
        and any(thing in named for thing in drift.objects)
        and all(_belongs(thing, drift) for thing in named)
    )


def _belongs(thing: tuple[str, str], drift: Drift) -> bool:
    """Whether *thing* is an object of the drift, may come with one, or is a part of a table among them."""
    tables = [identity for kind, identity in drift.objects if kind == "table"]
    return thing in drift.objects + drift.also or any(
        re.match(rf"{re.escape(table)}[._]", thing[1]) or thing[1].endswith(f" on {table}")
        for table in tables
    )


def _objects(finding: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(thing["kind"], thing["identity"]) for thing in finding["objects"]]


def _culprit(finding: Mapping[str, Any]) -> str | None:
    return finding["migration"]["version"] if finding["migration"] else None


def _brief(finding: Mapping[str, Any]) -> str:
    things = ", ".join(" ".join(thing) for thing in _objects(finding))
    return f"{finding['cause']} {finding['id']} ({things})"


def _same_commit(found: str | None, commit: str) -> bool:
    return bool(found) and len(str(found)) >= 7 and commit.startswith(str(found))
