"""Before a deployment: is it safe to deploy now, and what will it do?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.document import assemble
from auditkit.audit.explained import Explained
from auditkit.audit.explaining import explain_one
from auditkit.audit.gates import checks, compared_state, earlier, expected_state, other_ledgers, refuse
from auditkit.audit.meant import listed, migrations_of, steps_of
from auditkit.audit.reading import scope_of, take
from auditkit.audit.rehearsing import rehearse
from auditkit.catalog.compare import Scope, compare
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Finding
from auditkit.config import Settings
from auditkit.errors import ConfigError, ToolFailed
from auditkit.history import ledgers
from auditkit.history.migration import Migration, Migrations
from auditkit.history.shadow import Step, code
from auditkit.history.states import HistoryMatrix, MatrixRow, states
from auditkit.progress import Tell, silent
from auditkit.resolve import script, squawk
from auditkit.resolve.effects import fingerprint
from auditkit.resolve.health import health
from auditkit.resolve.objections import Objection, object_to
from auditkit.resolve.ready import culprit_of, pending_in, ready
from auditkit.resolve.rehearsal import said
from auditkit.resolve.risks import risks, sizes_of
from auditkit.resolve.watching import Outcome, Watched

if TYPE_CHECKING:
    from auditkit.report.document import Audit


def preflight(
    environment: str,
    *,
    snapshot: str = "",
    expected_version: str = "",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    command: str = "",
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """Is it safe to deploy what is pending in *environment* now? Nothing is written there.

    Args:
        snapshot: where to save the snapshot that the answer is about, for :func:`verify`: it also keeps what is intended.
        expected_version: deploy up to this version only; by default all files.

    Raises:
        ConfigError: unknown names, no migrations, or *snapshot* cannot be written; and what :func:`explain` raises.
    """
    settings = settings or config.load(config_file or None)
    fail_on = config.check_severity(fail_on or settings.fail_on)
    source = settings.source(environment)
    refuse(source)
    if (
        snapshot and not Path(snapshot).resolve().parent.is_dir()
    ):  # said before the reading, which may take minutes
        raise ConfigError(f"cannot write {snapshot}: no such folder; choose another place with --snapshot")
    migrations = listed(migrations_of(settings), settings)
    upto(migrations, expected_version)
    taken = take(source, settings, logs=True, progress=progress)
    before = earlier(settings, source.name)
    others, problems = other_ledgers(settings, source, migrations, before)
    matrix = states(migrations, {source.name: ledgers.choose(taken.ledgers, migrations), **others})
    explained = explain_one(source.name, taken, None, matrix, migrations, settings, progress)
    work = _Preflight(
        explained, taken, matrix, migrations, settings, [n for n in before if n in others], expected_version, fail_on
    )  # fmt: skip
    extra = work.look(problems, progress)
    own = command or f"auditkit preflight {source.name}"
    audit = assemble(
        [explained],
        matrix,
        problems=problems,
        settings=settings,
        baseline="migrations",
        fail_on=fail_on,
        notebook="pre_deployment",
        command=own + (f" --snapshot {Path(snapshot).name}" if snapshot and not command else ""),
        at=at,
    )
    document = audit.document
    document["preflight"] = {**extra, "checks": work.checks(document, problems)}
    document["headline"] = work.headline(document)
    if snapshot:
        taken.manifest["preflight"] = work.intention(document)
        _save(taken, Path(snapshot))
        document["preflight"]["snapshot"] = Path(snapshot).name
    return audit


def upto(migrations: Migrations, version: str) -> list[str]:
    """The versions up to *version*, all if it is empty.

    Raises:
        ConfigError: there is no such version.
    """
    versions = [m.version for m in migrations]
    if not version:
        return versions
    if version not in versions:
        raise ConfigError(
            f"no migration has version {version}; the newest is {versions[-1] if versions else 'none'}"
        )
    return versions[: len(versions) - versions[::-1].index(version)]


def _save(taken: Snapshot, path: Path) -> None:
    try:
        taken.save(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; choose another place with --snapshot"
        ) from None


def forget_pending(explained: Explained) -> None:
    """What is only pending is no drift: leave its findings and differences out, and what is only information."""
    waiting = [
        f for f in explained.findings
        if f.cause == "missing_migration" and f.entry is not None and f.entry.state == "pending"
    ]  # fmt: skip
    ids = {id(f) for f in waiting}
    deltas = {id(d) for f in waiting for d in f.deltas}
    explained.findings = [f for f in explained.findings if id(f) not in ids and f.severity != "info"]
    explained.compared.deltas = [d for d in explained.compared.deltas if id(d) not in deltas]


@dataclass
class _Preflight:
    """One environment before a deployment."""

    explained: Explained
    taken: Snapshot
    matrix: HistoryMatrix
    migrations: Migrations
    settings: Settings
    before: Sequence[str]
    expected_version: str
    fail_on: str
    outcome: Outcome | None = None
    rows: list[MatrixRow] = field(default_factory=list)
    why_not: str = ""

    @property
    def name(self) -> str:
        return self.explained.case.environment

    @cached_property
    def scope(self) -> Scope:
        return scope_of(self.settings, self.taken)

    def look(self, problems: list[dict[str, Any]], progress: Tell) -> dict[str, Any]:
        """Ask all gates: findings go to the explained environment, what could not be asked to *problems*."""
        versions = upto(self.migrations, self.expected_version)
        self.rows = [row for row in pending_in(self.matrix, self.name) if row.version in versions]
        forget_pending(self.explained)
        if (
            not self.explained.history.readable
        ):  # what was applied is not known, so nothing can be held against it
            self.explained.findings, self.explained.compared.deltas = [], []
        found = self.explained.findings
        found += _unless_told(ready(self.matrix, self.migrations, self.name, self.before), found)
        self.outcome = self._rehearse(problems, progress)
        if outcome := self.outcome:
            found += risks(outcome, self.name, [culprit_of(row) for row in self.rows], self.taken)
            if not outcome.failure:
                found += health(outcome.first, outcome.last, self.scope, self.name)
                found += self._elsewhere(outcome)
        return self._document(problems, progress)

    # --- the rehearsal ------------------------------------------------------------------------------------------

    def _rehearse(self, problems: list[dict[str, Any]], progress: Tell) -> Outcome | None:
        history = self.explained.history
        if not self.rows:
            self.why_not = "" if history.readable else "what is pending is not known"
            return None
        try:
            steps = self._steps()
        except ToolFailed as error:
            self.why_not = str(error)  # explain has told it under what is not checked
            return None
        outcome = rehearse(self.taken, steps, self.settings, self.explained.meant.base, progress)
        lacking = _lacks(outcome)
        if lacking:
            self._not_checked(
                problems, "the rehearsal", lacking, "name a server that has it: [shadow] server"
            )
            self.why_not = lacking
            return None
        base = self.explained.meant.base
        if base and base.other_release:
            why = f"{self.name} is {self.taken.manifest['server']} and the shadow {outcome.server}"
            fix = "have AUDITKIT_PG_BINDIR name the programs of the same major version"
            self._not_checked(problems, "the rehearsal on the same major version", why, fix)
        self._unlike(outcome, problems)
        return outcome

    def _steps(self) -> list[Step]:
        files = [row.migration for row in self.rows if row.migration]
        by_tool = code.code_of(self.migrations, self.settings)
        return steps_of(files, by_tool)

    def _not_checked(
        self, problems: list[dict[str, Any]], what: str, why: str, fix: str, *, blocking: bool = True
    ) -> None:
        problems.append(
            {"environment": self.name, "what": what, "why": why, "fix": fix, "blocking": blocking}
        )

    def _unlike(self, outcome: Outcome, problems: list[dict[str, Any]]) -> None:
        """What the shadow could not be made like; it counts where the migrations have to do with it."""
        touched = {d.key for watched in outcome.watched for d in watched.deltas}
        touched |= {("table", table) for watched in outcome.watched for table in watched.locks}
        for delta in outcome.unlike[:20]:
            near = bool(touched & {delta.key, *outcome.first.wholes(delta.key)})
            self._not_checked(
                problems,
                f"the rehearsal of {delta.kind} {delta.identity}",
                f"the shadow is not like {self.name} there ({said(delta)})",
                "look at it by hand, or rehearse on a copy: [shadow] server",
                blocking=near,
            )

    def _elsewhere(self, outcome: Outcome) -> list[Objection]:
        """Where the migrations do not lead to what they lead to from nothing: IF NOT EXISTS met something else."""
        intended, applied = self.explained.case.intended, self.explained.case.applied
        if intended is None or applied is None or intended.failures or self.expected_version:
            return []
        touched = {
            key for number, step in enumerate(intended.steps)
            if any(step.version == row.version and step.file == row.file for row in self.rows)
            for key in intended.footprint(number)
        }  # fmt: skip
        base = self.explained.meant.base
        left = [
            delta
            for delta in filter(script.changeable, compare(intended.final, outcome.last, scope=self.scope))
            if delta.key in touched
            and not (base and base.settles(delta.kind, delta.identity, delta.attribute))
        ]
        told = {key for f in self.explained.findings for key in f.objects}
        found: dict[tuple[str, str], list[str]] = {}
        for delta in left:
            if delta.key not in told:
                found.setdefault(delta.key, []).append(said(delta))
        return [
            object_to(
                "leads_elsewhere",
                self.name,
                "high",
                f"{key[0]} {key[1]} will not be what the migrations make from nothing",
                objects=[key],
                evidence={"rehearsal": "; ".join(says)},
            )
            for key, says in found.items()
        ]

    # --- the document ---------------------------------------------------------------------------------------------

    def _document(self, problems: list[dict[str, Any]], progress: Tell) -> dict[str, Any]:
        outcome = self.outcome
        return {
            "environment": self.name,
            "order": [*self.before, self.name],
            "pending": [self._pending(n, row) for n, row in enumerate(self.rows)],
            "now": {
                "fingerprint": fingerprint(compared_state(self.taken, self.scope)),
                "captured_at": self.taken.manifest["captured_at"],
            },
            "expected": self._expected(),
            "rehearsal": {
                "ran": outcome is not None,
                "why_not": self.why_not,
                "server": outcome.server if outcome else None,
                "seconds": outcome.seconds if outcome else 0.0,
                "with_rows": outcome.with_rows if outcome else False,
                "unlike": [said(d) for d in outcome.unlike] if outcome else [],
                "back": outcome.left_back == [] if outcome and outcome.left_back is not None else None,
                "notes": outcome.notes if outcome else [],
            },
            "linter": self._linter(problems, progress),
            "snapshot": None,
        }

    def _expected(self) -> dict[str, Any] | None:
        if not self.rows:
            return {
                "fingerprint": fingerprint(compared_state(self.taken, self.scope)),
                "changes": 0,
                "versions": [],
            }
        if self.outcome is None or self.outcome.failure:
            return None
        return {
            "fingerprint": fingerprint(
                expected_state(self.taken, self.outcome.first, self.outcome.last, self.scope)
            ),
            "changes": sum(len(watched.deltas) for watched in self.outcome.watched),
            "versions": [row.version for row in self.rows],
        }

    def _pending(self, number: int, row: MatrixRow) -> dict[str, Any]:
        culprit = culprit_of(row)
        git = row.migration.git if row.migration else None
        found: dict[str, Any] = {
            "version": row.version,
            "name": row.name,
            "file": row.file,
            "commit": culprit.commit,
            "author": culprit.author,
            "uncommitted": bool(git and (git.uncommitted or git.untracked)),
            "digest": digest(row.migration) if row.migration else None,
            "ran": False,
        }
        watched = self.outcome.watched if self.outcome else []
        return {**found, **self._seen(watched[number])} if number < len(watched) else found

    def _seen(self, watched: Watched) -> dict[str, Any]:
        tables = [table for table in watched.locks if self.taken.get("table", table)]
        sizes = sizes_of(self.taken, tables)
        failure = watched.failure
        return {
            "ran": failure is None,
            "failure": {"line": failure.line, "message": failure.message} if failure else None,
            "program": watched.step.code is not None,
            "statements": [seen.as_dict() for seen in watched.statements],
            "locks": [
                {
                    "relation": name,
                    "mode": mode,
                    "rows": sizes[name].rows if name in sizes else None,
                    "pages": sizes[name].pages if name in sizes else None,
                    "size": str(sizes[name]) if name in sizes else "",
                }
                for name, mode in sorted(watched.locks.items())
            ],
            "rewritten": [*watched.rewritten],
            "lost": watched.lost,
            "changes": [delta.as_dict() for delta in watched.deltas],
            "back": watched.back,
        }

    def _linter(self, problems: list[dict[str, Any]], progress: Tell) -> dict[str, Any]:
        root = self.migrations.project.root
        files = [row.migration for row in self.rows if row.migration and row.migration.sql is not None]
        program = squawk.find(root)
        if program is None:
            self._not_checked(
                problems,
                "squawk's lint of the pending files",
                "it is not installed",
                "pip install squawk-cli (or npm install squawk-cli), or do without",
                blocking=False,
            )
            return {"name": "squawk", "ran": False, "says": []}
        if not files:
            return {"name": "squawk", "ran": False, "says": []}
        progress(0, 1, "Asking squawk")
        version = int(self.taken.manifest["server_version"])
        return {"name": "squawk", "ran": True, "says": squawk.lint(program, files, root, version)}

    def intention(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """What the snapshot keeps for the verification."""
        own = document["preflight"]
        return {
            "created_at": document["created_at"],
            "verdict": document["verdict"],
            "expected": own["expected"],
            "pending": [
                {k: item[k] for k in ("version", "name", "file", "digest")} for item in own["pending"]
            ],
        }

    # --- in words -------------------------------------------------------------------------------------------------

    def checks(
        self, document: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, str]]:
        """Each gate, its state, and one sentence."""
        from auditkit.report.document import counted

        rows, outcome = self.rows, self.outcome
        environment = next(e for e in document["environments"] if e["name"] == self.name)
        ledger = environment["ledger"]
        pending = counted(len(rows), "pending migration")
        applied = ledger["applied"] if ledger else 0
        says = {
            "history": f"{counted(applied, 'migration')} applied, each recorded as its file says",
            "schema": f"{document['coverage']['facts']:,} facts are what the applied migrations say",
            "files": f"{pending}: committed, in order, each version once" if rows else "nothing is pending",
        }
        if self.before and rows:
            says["promotion"] = f"{pending}: in place in {', '.join(self.before)}"
        if outcome:
            ran = f"{pending} run on a shadow of {self.name} ({outcome.server}), {outcome.seconds} s"
            says["rehearsal"] = ran if len(rows) != 1 else ran.replace(" run ", " runs ")
            says["risks"] = (
                "no large table is locked for long, written anew or read in full; nothing is deleted"
            )
            says["health"] = "everything is valid, enabled, protected and granted as before"
        return checks(document["findings"], says, self._unknown(document, problems), self.fail_on)

    def _unknown(self, document: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        blocked = [item for item in document["not_checked"] if item.get("blocking", True)]
        found: dict[str, str] = {}
        if not self.explained.history.readable:
            found["history"] = "the ledger may not be read"
            found["files"] = "what is pending is not known"
        elif self.rows and not any(row.migration and row.migration.git for row in self.rows):
            found["files"] = (
                "in order, each version once; without git nobody knows whether they were reviewed"
            )
        mine = [item for item in blocked if item["environment"] == self.name]
        if self.explained.meant.intended is None or mine:
            first = mine[0] if mine else {"what": "the migrations", "why": "they cannot be replayed"}
            found["schema"] = f"{first['what']}: {first['why']}"
        there = earlier(self.settings, self.name)
        unread = [name for name in there if name not in self.before]
        if unread:
            found["promotion"] = f"the ledger of {', '.join(unread)} could not be read"
        rehearsal = [item for item in mine if item["what"].startswith("the rehearsal")]
        if self.why_not or rehearsal:
            found["rehearsal"] = self.why_not or f"{rehearsal[0]['what']}: {rehearsal[0]['why']}"
        return found

    def headline(self, document: Mapping[str, Any]) -> str:
        """The answer as one sentence."""
        from auditkit.report.document import counted, worst_first

        verdict, own = document["verdict"], document["preflight"]
        findings = [f for f in worst_first(document["findings"]) if f["severity"] != "info"]
        what = counted(len(self.rows), "migration")
        if verdict == "FAIL":
            number = counted(len(findings), "thing")
            verb = "speaks" if len(findings) == 1 else "speak"
            return f"Do not deploy to {self.name} now: {number} {verb} against it. Worst: {findings[0]['title']}."
        if verdict == "INCOMPLETE":
            first = next(item for item in document["not_checked"] if item.get("blocking", True))
            place = f"{first['environment']}: " if first.get("environment") else ""
            return f"Nobody knows whether it is safe to deploy to {self.name}: {place}{first['what']}: {first['why']}."
        if not self.rows:
            return f"Nothing is pending in {self.name}, and it is what its migrations say."
        changes = counted(own["expected"]["changes"] if own["expected"] else 0, "change")
        ready_ = f"{self.name} is ready: {what}, {changes}"
        if findings:
            return f"{ready_}; to be weighed first: {findings[0]['title']}."
        return f"{ready_}, and nothing speaks against it."


def digest(migration: Migration) -> str:
    """Of a migration's file, so that another text is noticed."""
    return hashlib.sha256(migration.raw).hexdigest()


def _unless_told(objections: Sequence[Objection], findings: Sequence[Finding]) -> list[Objection]:
    """Without those that a cause of drift tells better: a failed migration that was found half applied."""
    told = {f.culprit.version for f in findings if f.culprit and f.cause == "partial_apply"}
    return [
        o for o in objections if not (o.cause == "failed_state" and o.culprit and o.culprit.version in told)
    ]


def _lacks(outcome: Outcome) -> str:
    """Why the shadow cannot run what the environment could: it has no such extension."""
    failed = outcome.failure
    if failed is None or failed.failure is None or failed.failure.sqlstate not in ("0A000", "58P01"):
        return ""
    message = failed.failure.message
    return f"{failed.step.file}:{failed.failure.line}: {message}" if "extension" in message else ""
