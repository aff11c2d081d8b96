"""After a deployment: did exactly what was intended happen, and nothing else?

What the deployed migrations do is rehearsed on a shadow rebuilt from the snapshot taken before. Carried over to that
snapshot it gives the state that the environment must be in now, to the last attribute; whatever differs is named and
explained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit import config
from auditkit.audit.applying import carried_out
from auditkit.audit.document import assemble
from auditkit.audit.explained import Explained
from auditkit.audit.explaining import explain_one
from auditkit.audit.gates import checks, compared_state, earlier, expected_state, other_ledgers, refuse
from auditkit.audit.gating import digest, upto
from auditkit.audit.meant import Meant, listed, meant_for, migrations_of
from auditkit.audit.reading import scope_of, take
from auditkit.audit.rehearsing import rehearse
from auditkit.catalog.compare import Delta, Scope, compare
from auditkit.catalog.snapshot import Key, Snapshot
from auditkit.causes.case import Finding
from auditkit.config import SEVERITIES, Settings
from auditkit.errors import ConfigError
from auditkit.history import ledgers
from auditkit.history.migration import Migrations
from auditkit.history.shadow import Step
from auditkit.history.states import HistoryMatrix, MatrixRow, states
from auditkit.progress import Tell, silent
from auditkit.resolve.effects import State, fingerprint, state_of
from auditkit.resolve.health import health
from auditkit.resolve.objections import AFTERWARDS, Objection, object_to
from auditkit.resolve.ready import culprit_of
from auditkit.resolve.watching import Outcome

if TYPE_CHECKING:
    from auditkit.report.document import Audit

#: What the matrix calls the environment as it was.
_BEFORE = "before"


def verify(
    environment: str,
    *,
    before: str,
    expected_version: str = "",
    deployed_at: str = "",
    settings: Settings | None = None,
    config_file: str = "",
    fail_on: str | None = None,
    at: str = "",
    progress: Tell = silent,
) -> Audit:
    """Did a deployment do exactly what was intended? Its effect is compared with the rehearsed one.

    Args:
        environment: what was deployed to.
        before: a snapshot file (or any source) of it from before the deployment; one that :func:`preflight` saved also
            tells what was intended.
        expected_version: the head that the ledger should have now; by default what the preflight said, else all files.
        deployed_at: when (ISO 8601), for the report.

    Raises:
        ConfigError: no *before*, unknown names, or no migrations; and what :func:`explain` raises.
    """
    settings = settings or config.load(config_file or None)
    if not before:
        raise ConfigError(
            "a review needs a snapshot from before the deployment: take one with "
            f"`auditkit preflight {environment} --snapshot before.snapshot`, deploy, then name it as `before`"
        )
    fail_on = config.check_severity(fail_on or settings.fail_on)
    source, old_source = settings.source(environment), settings.source(before)
    refuse(source)
    migrations = listed(migrations_of(settings), settings)
    versions = upto(migrations, expected_version)
    old, new = (
        take(old_source, settings, progress=progress),
        take(source, settings, logs=True, progress=progress),
    )
    intention = old.manifest.get("preflight") or {}
    others, problems = other_ledgers(settings, source, migrations, [])
    after, previous = ledgers.choose(new.ledgers, migrations), ledgers.choose(old.ledgers, migrations)
    problems += [{"environment": _BEFORE, **item} for item in previous.not_checked]
    matrix = states(
        migrations,
        {
            source.name: after,
            _BEFORE: previous,
            **{name: history for name, history in others.items() if name != _BEFORE},
        },
    )
    explained = explain_one(source.name, new, None, matrix, migrations, settings, progress)
    was = meant_for(_BEFORE, old, matrix, migrations, settings, progress)
    work = _Deployment(
        explained,
        was,
        old,
        new,
        matrix,
        migrations,
        settings,
        intention,
        versions,
        bool(expected_version),
        after.readable and previous.readable,
        carried_out(
            settings,
            source.name,
            *(
                fingerprint(state_of(side, scope_of(settings, side), history))
                for side, history in ((old, previous), (new, after))
            ),
        ),
    )
    deploy = work.look(problems, progress)
    deploy["deployed_at"] = deployed_at or None
    audit = assemble(
        [explained],
        HistoryMatrix(
            tuple(replace(r, cells={n: c for n, c in r.cells.items() if n != _BEFORE}) for r in matrix.rows),
            tuple(e for e in matrix.environments if e.name != _BEFORE),
            matrix.notes,
        ),
        problems=problems,
        settings=settings,
        baseline="migrations",
        fail_on=fail_on,
        notebook="post_deploy_review",
        command=f"auditkit verify {source.name} --before {Path(before).name}",
        at=at,
        extra={"deploy": deploy},
    )
    deploy["checks"] = work.checks(audit.document, fail_on)
    audit.document["headline"] = work.headline(audit.document) or audit.document["headline"]
    return audit


@dataclass
class _Deployment:
    """One environment before and after. *known*: whether both ledgers could be read, else nobody knows what was deployed;
    *journals*: of the plans that were carried out between, if nothing else happened."""

    explained: Explained
    was: Meant
    old: Snapshot
    new: Snapshot
    matrix: HistoryMatrix
    migrations: Migrations
    settings: Settings
    intention: Mapping[str, Any]
    versions: Sequence[str]
    told: bool
    known: bool
    journals: Sequence[Path] = ()
    outcome: Outcome | None = None
    deploy: dict[str, Any] = field(default_factory=dict)
    ill: list[Objection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.explained.case.environment
        self.scope: Scope = scope_of(self.settings, self.old, self.new)
        self.deployed = [
            r for r in self.matrix.rows if self._applied(r, self.name) and not self._applied(r, _BEFORE)
        ]
        pending = self.intention.get("pending")
        if self.journals:  # a plan is what was intended
            self.expected = {r.version for r in self.deployed}
        elif pending is not None and not self.told:
            self.expected = {item["version"] for item in pending}
        else:
            known = {*self.versions}
            self.expected = {
                r.version for r in self.matrix.rows if r.version in known and not self._applied(r, _BEFORE)
            }

    @staticmethod
    def _applied(row: MatrixRow, side: str) -> bool:
        cell = row.cells.get(side)
        return cell is not None and cell.state not in ("pending", "failed")

    def look(self, problems: list[dict[str, Any]], progress: Tell) -> dict[str, Any]:
        """What was to happen and what did, as the document has it; the findings of the deployment are kept, no others."""
        self.outcome = self._rehearse(problems, progress)
        first, last = self._effect()
        actual = compare(self.old, self.new, scope=self.scope).deltas
        intended = compare(first, last, scope=self.scope).deltas if first and last else []
        here = compared_state(self.new, self.scope)
        meant = expected_state(self.old, first, last, self.scope) if first and last else here
        if self.journals:
            meant, intended = here, actual
        unintended, absent = self._differences(meant, here) if self.known else ([], [])
        self.deploy = {
            "before": self._moment(self.old, _BEFORE),
            "after": self._moment(self.new, self.name),
            "deployed": [{"version": r.version, "name": r.name} for r in self.deployed],
            "intended": [d.as_dict() for d in intended if not d.is_order],
            "actual": [d.as_dict() for d in actual if not d.is_order],
            "unintended": [d.as_dict() for d in unintended],
            "absent": [d.as_dict() for d in absent],
            "ledger": [*self._ledger()] if self.known else [],
            "rehearsed": self.outcome is not None,
            "rollback": self._rollback(intended),
            "back": self.outcome.left_back == [] if self.outcome else None,
            "expected": self._expected(fingerprint(meant), fingerprint(here)) if self.known else None,
            "environments": [*self._others()],
            "preflight": {k: self.intention[k] for k in ("created_at", "verdict")}
            if self.intention
            else None,
            "preexisting": 0,
        }
        older = {id(d) for f in self.explained.findings for d in f.deltas}
        self.explained.findings = self._findings(unintended, absent)
        older -= {id(d) for f in self.explained.findings for d in f.deltas}
        self.explained.compared.deltas = [d for d in self.explained.compared.deltas if id(d) not in older]
        return self.deploy

    # --- what was to happen ---------------------------------------------------------------------------------------

    def _rehearse(self, problems: list[dict[str, Any]], progress: Tell) -> Outcome | None:
        steps = self._steps()
        if not steps or self.journals:
            return None
        outcome = rehearse(self.old, steps, self.settings, self.was.base, progress)
        if outcome.failure is None:
            return outcome
        assert outcome.failure.failure
        failed, failure = outcome.failure, outcome.failure.failure
        problems.append(
            {
                "environment": self.name,
                "what": f"the effect on {self.name} as it was",
                "why": f"{failed.step.file or failed.step.version}, line {failure.line}, fails on a shadow of it: "
                f"{failure.message}; compared with a replay of all migrations instead",
                "fix": "look at what is named below, or name a server that can run it: [shadow] server",
                "blocking": False,
            }
        )
        return None

    def _steps(self) -> list[Step]:
        """The deployed migrations as they were run, in the ledger's order."""
        applied = self.explained.case.applied
        if applied is None:
            return []
        mine = {(r.version, r.name, r.file) for r in self.deployed}
        places = sorted(
            e.applied for e in self.explained.case.entries
            if e.applied is not None and (e.version, e.name, e.file) in mine
        )  # fmt: skip
        return [applied.steps[place] for place in places]

    def _effect(self) -> tuple[Snapshot | None, Snapshot | None]:
        """Before and after, on the shadow of the environment; else in replays from nothing."""
        if self.outcome:
            return self.outcome.first, self.outcome.last
        if not self.deployed:
            return self.old, self.old
        applied = self.explained.case.applied
        return (self.was.applied.final, applied.final) if self.was.applied and applied else (None, None)

    def _expected(self, meant: str, here: str) -> dict[str, Any]:
        """The fingerprint there is, and the one that was expected: by the preflight, if exactly that was deployed."""
        told = self.intention.get("expected") or {}
        same = (
            not self.journals
            and told.get("fingerprint")
            and {*told.get("versions", ())} == {r.version for r in self.deployed}
        )
        return {
            "fingerprint": told["fingerprint"] if same else meant,
            "actual": here,
            "from": "journal"
            if self.journals
            else "preflight"
            if same
            else "rehearsal"
            if self.outcome
            else "replay",
        }

    def _moment(self, snapshot: Snapshot, name: str) -> dict[str, Any]:
        return {
            "captured_at": snapshot.manifest["captured_at"],
            "fingerprint": snapshot.fingerprint,
            "head": self.matrix.environment(name).head,
        }

    def _ledger(self) -> Iterator[dict[str, Any]]:
        for row in self.matrix.rows:
            due, done = row.version in self.expected, row in self.deployed
            gone = not self.journals and self._applied(row, _BEFORE) and not self._applied(row, self.name)
            if due or done or gone:
                expected = due or gone
                recorded = self._applied(row, self.name)
                yield {"version": row.version, "name": row.name, "expected": expected, "recorded": recorded}

    def _rollback(self, intended: Iterable[Delta]) -> list[str]:
        if self.journals:
            return [
                f"-- {path.name} tells what was done; to take it back: auditkit apply PLAN --to {self.name} --rollback"
                for path in reversed(self.journals)
            ]
        if self.outcome:
            found = []
            for watched in reversed(self.outcome.watched):
                if watched.back.strip():
                    found += [
                        f"-- takes back {watched.step.file or watched.step.version}",
                        watched.back.strip(),
                    ]
            return found
        return _in_words(intended)

    def _others(self) -> Iterator[dict[str, Any]]:
        """Which migrations other environments lack, or have beyond."""
        for environment in self.matrix.environments:
            if environment.name in (self.name, _BEFORE) or not self.known:
                continue
            if not any(environment.name in row.cells for row in self.matrix.rows):
                continue  # its ledger could not be read
            rows = [r for r in self.matrix.rows if environment.name in r.cells or self.name in r.cells]
            here = {(r.version, r.name) for r in rows if self._applied(r, self.name)}
            there = {(r.version, r.name) for r in rows if self._applied(r, environment.name)}
            if environment.tool is None and not there:
                continue
            yield {
                "name": environment.name,
                "head": environment.head,
                "lacks": ["_".join(filter(None, each)) for each in sorted(here - there)],
                "beyond": ["_".join(filter(None, each)) for each in sorted(there - here)],
            }

    # --- what did happen ------------------------------------------------------------------------------------------

    def _differences(self, meant: State, here: State) -> tuple[list[Delta], list[Delta]]:
        """What is there and should not be, and what should be there and is not."""
        before = compared_state(self.old, self.scope)
        unintended: list[Delta] = []
        absent: list[Delta] = []
        for key in sorted({key for key in meant.keys() | here.keys() if meant.get(key) != here.get(key)}):
            wanted, found, was = meant.get(key), here.get(key), before.get(key)
            if wanted is None or found is None:
                delta = self._whole(key, missing=found is None)
                (absent if (found is None) == (was is None) else unintended).append(delta)
                continue
            for name in sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)):
                delta = Delta(*key, "changed", name, wanted.get(name), found.get(name))
                if self._settled(delta):
                    continue
                stayed = was is not None and was.get(name) == found.get(name)
                (absent if stayed else unintended).append(delta)
        return self._folded(unintended), self._folded(absent)

    def _whole(self, key: Key, *, missing: bool) -> Delta:
        """An object that is gone or came; where it is missing, it was before or is on the shadow."""
        for side in (self.new, self.old, *((self.outcome.last,) if self.outcome else ())):
            fact = side.get(*key)
            if fact is not None:
                text = fact.describe(side)
                return Delta(*key, "missing", left=text) if missing else Delta(*key, "unexpected", right=text)
        return Delta(*key, "missing" if missing else "unexpected")

    def _settled(self, delta: Delta) -> bool:
        base = self.was.base
        return bool(base and base.settles(delta.kind, delta.identity, delta.attribute))

    def _folded(self, deltas: list[Delta]) -> list[Delta]:
        """Without the parts of what is told as a whole."""
        wholes = {d.key for d in deltas if d.attribute is None}
        sides = [self.new, self.old, *((self.outcome.last,) if self.outcome else ())]

        def part(delta: Delta) -> bool:
            return any(side.wholes(delta.key) & (wholes - {delta.key}) for side in sides)

        return [d for d in deltas if not (d.attribute is None and part(d)) and not self._settled(d)]

    # --- findings -------------------------------------------------------------------------------------------------

    def _findings(self, unintended: Sequence[Delta], absent: Sequence[Delta]) -> list[Finding]:
        """Those that concern this deployment; what was wrong before it is only counted."""
        everything = self.explained.findings
        if not self.known:
            return []
        mine, covered = self._explained(unintended, absent)
        self.deploy["preexisting"] = len([f for f in everything if f.severity != "info"]) - len(mine)
        found: list[Finding] = [*mine]
        found += self._left_over("slipped_in", unintended, covered)
        found += self._left_over("other_effect", absent, covered)
        found += self._recorded(mine)
        found += self._changed_files()
        told = {key for f in found for key in f.objects}
        self.ill = health(self.old, self.new, self.scope, self.name)
        found += [o for o in self.ill if not told & {*o.objects}]
        found += self._behind()
        expected = self.deploy["expected"]
        if expected["fingerprint"] != expected["actual"] and not (unintended or absent):
            title = f"{self.name} has another fingerprint than the {expected['from']} expected"
            says = "Nothing that differs was found: was the preflight made with another version of auditkit?"
            found.append(object_to("other_effect", self.name, "low", title, evidence={"fingerprint": says}))
        return found

    def _explained(
        self, unintended: Sequence[Delta], absent: Sequence[Delta]
    ) -> tuple[list[Finding], set[Key]]:
        touched = {d.key for d in (*unintended, *absent)}
        fresh = {r.version for r in self.deployed} | self.expected
        mine: list[Finding] = []
        covered: set[Key] = set()
        for finding in self.explained.findings:
            keys = {*finding.objects, *(key for d in finding.deltas for key in (d.key, *d.children))}
            entry = finding.entry
            is_due = entry is not None and entry.version in fresh
            if not (keys & touched or is_due) or finding.severity == "info":
                continue
            if finding.cause == "missing_migration" and not is_due:
                continue  # not part of what was to be deployed
            only_order = bool(finding.deltas) and all(delta.is_order for delta in finding.deltas)
            if is_due and finding.severity == "low" and not only_order:
                finding.severity = "medium"
            mine.append(finding)
            covered |= keys
        return mine, covered

    def _left_over(self, name: str, deltas: Sequence[Delta], covered: set[Key]) -> Iterator[Objection]:
        """What agrees with the migrations all the same, or belongs to none: no drift, so nothing explains it."""
        by_key: dict[Key, list[Delta]] = {}
        for delta in deltas:
            if delta.key not in covered:
                by_key.setdefault(delta.key, []).append(delta)
        for key, group in by_key.items():
            attributes = ", ".join(str(d.attribute).replace("_", " ") for d in group if d.attribute)
            whole = {"missing": "is gone", "unexpected": "is new"}.get(
                group[0].change, f"changed ({attributes})"
            )
            if name == "other_effect":
                whole = {"missing": "is not there", "unexpected": "is still there"}.get(
                    group[0].change, f"did not change ({attributes})"
                )
            ending = (
                "and no deployed migration does that"
                if name == "slipped_in"
                else "as the rehearsal showed it"
            )
            yield object_to(
                name,
                self.name,
                max("medium", *(d.severity for d in group), key=SEVERITIES.index),
                f"{key[0]} {key[1]} {whole}, {ending}",
                objects=[key],
                confidence="consistent",
                evidence={"before and after": "It was otherwise in the snapshot taken before."}
                if name == "slipped_in"
                else {
                    "rehearsal": "On a shadow of the snapshot taken before, the deployed migrations do it."
                },
            )

    def _recorded(self, mine: Sequence[Finding]) -> Iterator[Objection]:
        """The ledger holds what was intended: no less, no more, nothing failed."""
        told = {f.entry.version for f in mine if f.entry}
        for row in self.matrix.rows:
            cell = row.cells.get(self.name)
            label = "_".join(filter(None, (row.version, row.name)))
            culprit = culprit_of(row)
            if cell and cell.state == "failed":
                yield object_to(
                    "failed_state",
                    self.name,
                    "high",
                    f"{label} is recorded as failed in {self.name}",
                    culprit=culprit,
                )
            elif not self.journals and self._applied(row, _BEFORE) and not self._applied(row, self.name):
                title = f"{label} was recorded before, and is not any more"
                yield object_to("not_recorded", self.name, "high", title, culprit=culprit)
            elif (
                row.version in self.expected and not self._applied(row, self.name) and row.version not in told
            ):
                title = f"{label} was to be deployed, and {self.name} does not record it"
                yield object_to("not_recorded", self.name, "high", title, culprit=culprit)
            elif row in self.deployed and row.version not in self.expected and row.version not in told:
                title = f"{label} was deployed, and was not to be"
                yield object_to("not_intended", self.name, "medium", title, culprit=culprit)

    def _changed_files(self) -> Iterator[Objection]:
        """Files that are not what the preflight rehearsed."""
        known = {item["version"]: item for item in self.intention.get("pending") or ()}
        for row in self.matrix.rows:
            item = known.get(row.version)
            if item is None or row.file not in (None, item["file"]):
                continue
            if row.migration is None:
                title = f"{item['file']} is gone since the preflight"
                yield object_to("file_changed", self.name, "medium", title, culprit=culprit_of(row))
            elif item["digest"] != digest(row.migration):
                title = f"{row.file} was edited after the preflight had rehearsed it"
                yield object_to("file_changed", self.name, "medium", title, culprit=culprit_of(row))

    def _behind(self) -> Iterator[Objection]:
        """Environments that come before this one and do not have what it has now."""
        before = earlier(self.settings, self.name)
        deployed = {"_".join(filter(None, (r.version, r.name))): r for r in self.deployed}
        for other in self.deploy["environments"]:
            for label in other["lacks"] if other["name"] in before else ():
                if label in deployed:
                    title = f"{label} is on {self.name} now, and not on {other['name']}, which comes before"
                    yield object_to(
                        "not_promoted",
                        self.name,
                        "low",
                        title,
                        culprit=culprit_of(deployed[label]),
                        subject=other["name"],
                    )

    # --- in words -------------------------------------------------------------------------------------------------

    def checks(self, document: Mapping[str, Any], fail_on: str) -> list[dict[str, str]]:
        """Each gate, its state, and one sentence."""
        from auditkit.report.document import counted

        deploy = self.deploy
        count = counted(len(self.deployed), "migration")
        changes = counted(len(deploy["intended"]), "change")
        told = deploy["expected"] or {"from": "replay", "fingerprint": None, "actual": None}
        source = {
            "preflight": "the preflight's rehearsal",
            "rehearsal": "a rehearsal on a shadow of the snapshot taken before",
            "replay": "a replay of the migrations",
            "journal": f"the plan ({', '.join(path.name for path in self.journals)})",
        }[told["from"]]
        older = counted(deploy["preexisting"], "older finding")
        history, effect = "nothing was deployed, and nothing was to be", "nothing was to change"
        if self.deployed or self.journals:
            history = f"{count} recorded, exactly what was intended"
            same = told["fingerprint"] == told["actual"]
            effect = f"{changes}, as in {source}; the fingerprint is " + (
                "the expected one" if same else "another because of what else differs"
            )
        see = f" ({older}: auditkit explain {self.name})" if deploy["preexisting"] > 0 else ""
        says = {
            "history": history,
            "rehearsal": effect,
            "schema": f"nothing else changed{see}",
            "health": "nothing is invalid, not validated, disabled, unprotected or less granted than before",
        }
        if self.intention:
            says["files"] = "the files are what the preflight rehearsed"
        if deploy["environments"]:
            says["promotion"] = "; ".join(_aligned(other) for other in deploy["environments"])
        blocked = [
            i for i in document["not_checked"] if i.get("blocking", True) and i["environment"] == self.name
        ]
        unknown: dict[str, str] = {}
        if not self.known:
            why = "the ledger could not be read, so nobody knows what was deployed"
            return [
                {"gate": gate, "question": question, "state": "unknown", "says": why}
                for gate, question in AFTERWARDS.items()
            ]
        if blocked:
            unknown |= dict.fromkeys(("rehearsal", "schema"), f"{blocked[0]['what']}: {blocked[0]['why']}")
        found = checks(document["findings"], says, unknown, fail_on, AFTERWARDS)
        worse = {check["gate"]: check for check in found if check["state"] == "ok"}
        for gate, sentence in self._told_elsewhere():
            if gate in worse:
                worse[gate] |= {"state": "warn" if gate == "promotion" else "bad", "says": sentence}
        return found

    def _told_elsewhere(self) -> Iterator[tuple[str, str]]:
        """Gates that are closed by what findings of another gate, or none, tell."""
        from auditkit.report.document import counted

        for gate, deltas, what in (
            ("rehearsal", self.deploy["absent"], "did not happen"),
            ("schema", self.deploy["unintended"], "nobody intended"),
        ):
            if deltas:
                first = f"{deltas[0]['kind']} {deltas[0]['identity']}"
                yield gate, f"{counted(len(deltas), 'change')} {what}: {first}"
        if self.ill:
            more = f" (and {len(self.ill) - 1} more)" if len(self.ill) > 1 else ""
            yield "health", f"{self.ill[0].title}{more}"
        behind = [
            o
            for o in self.deploy["environments"]
            if o["name"] in earlier(self.settings, self.name) and o["lacks"]
        ]
        if behind:
            yield "promotion", "; ".join(_aligned(other) for other in self.deploy["environments"])

    def headline(self, document: Mapping[str, Any]) -> str | None:
        """What became of the deployment in one sentence; None if it is something else that went wrong."""
        from auditkit.report.document import counted

        deploy = self.deploy
        count = counted(len(self.deployed), "migration")
        late = sum(item["expected"] and not item["recorded"] for item in deploy["ledger"])
        beyond = sum(item["recorded"] and not item["expected"] for item in deploy["ledger"])
        wrong = [
            says
            for number, says in (
                (
                    len(deploy["unintended"]),
                    f"{counted(len(deploy['unintended']), 'change')} nobody intended",
                ),
                (len(deploy["absent"]), f"{counted(len(deploy['absent']), 'intended change')} not made"),
                (late, f"{counted(late, 'expected migration')} not recorded"),
                (beyond, f"{counted(beyond, 'migration')} that nobody expected"),
            )
            if number
        ]
        if wrong:
            return f"The deployment to {self.name} is not what was intended: {count} applied, but {', '.join(wrong)}."
        if document["verdict"] == "INCOMPLETE":
            first = next(i for i in document["not_checked"] if i.get("blocking", True))
            return f"Nobody knows what the deployment to {self.name} did: {first['what']}: {first['why']}."
        worst = next((f for f in document["findings"] if f["severity"] != "info"), None)
        if not self.deployed and not self.journals:
            return None if worst else f"Nothing was deployed to {self.name}, and nothing changed."
        did = f"The deployment to {self.name} did what was intended: {count}, {counted(len(deploy['actual']), 'change')}"
        return f"{did}; to be looked at: {worst['title']}." if worst else f"{did}, nothing else."


def _aligned(other: Mapping[str, Any]) -> str:
    parts = [f"lacks {len(other['lacks'])}"] if other["lacks"] else []
    parts += [f"has {len(other['beyond'])} beyond"] if other["beyond"] else []
    return f"{other['name']} {' and '.join(parts) or 'has the same'}"


def _in_words(intended: Iterable[Delta]) -> list[str]:
    """What taking the deployment back would mean, object by object, where it was not rehearsed."""
    from auditkit.catalog.kinds import KINDS

    notes = []
    for delta in intended:
        name = f"{delta.kind} {delta.identity}"
        if delta.change == "unexpected":
            loses = " (and the data in it)" if delta.kind in ("table", "table column") else ""
            notes.append(f"{KINDS[delta.kind].drop(delta.identity)}; -- removes the new {name}{loses}")
        elif delta.change == "missing":
            notes.append(f"-- make {name} again from the snapshot taken before; its data is gone")
        else:
            notes.append(f"-- set {delta.attribute} of {name} back to what the snapshot taken before says")
    return list(dict.fromkeys(notes))
