"""A plan: what is done about each finding, step by step, as it was rehearsed. ``auditkit.plan/1``.

It is a TOML file that people read and edit: the choices stand on top, the steps below. Its digest covers everything,
so an edited plan is not applied but made again: ``auditkit plan ENV --from FILE``.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from auditkit.errors import ConfigError
from auditkit.resolve.proof import MODES

FORMAT = "auditkit.plan/1"


@dataclass(frozen=True)
class Resolved:
    """One finding and what is done about it; ``others`` can be chosen instead.

    What is accepted has a ``reason`` and a last day, ``until``, and the rule for auditkit.toml that says so: ``ignore``.
    """

    id: str
    cause: str
    severity: str
    title: str
    resolution: str
    source_of_truth: str
    others: tuple[str, ...] = ()
    ignore: str = ""
    reason: str = ""
    until: str = ""

    def as_dict(self) -> dict[str, Any]:
        found = {**self.__dict__, "others": list(self.others)}
        return {k: v for k, v in found.items() if v or k not in ("ignore", "reason", "until")}


@dataclass
class PlanStep:
    """One step. ``sql`` leads there and ``back`` takes it back; ``record`` and ``unrecord`` do that to the ledger.

    Attributes:
        number: counted from 1.
        kind: ``sql`` (made by auditkit), ``file`` (a migration of the project), ``ledger`` (rows only), ``command`` (the
            migration tool does it), ``note`` (files only).
        findings: the ids of those it is for.
        file: the migration's path; of one that is written by this step the text is in ``writes``.
        command: the migration tool's own commands, one a line: what is run if the kind is ``command``, else what does the
            same. Variables stand for what is secret.
        folder: where the commands are started, relative to the project's root.
        texts: the files that the tool runs → the digest of each, as it was rehearsed.
        replaces: of the files that are written, what is in those now that exist already.
        between: fingerprints that can be there while the tool runs several files.
        transaction, back_transaction: whether all of it is one transaction.
        hazards: ``CODE: why``, as SQL of auditkit's own has them, and what was seen in the rehearsal.
        locks: relation → the strongest lock it was held under in the rehearsal.
        rewritten: tables that were written anew.
        changes: what differs afterwards, see ``effects.Effect.as_list``.
        after: the fingerprint that must be there then.
        verify: what to look at, for people.
    """

    number: int
    title: str
    kind: str
    findings: list[str] = field(default_factory=list)
    file: str = ""
    sql: str = ""
    record: str = ""
    back: str = ""
    unrecord: str = ""
    command: str = ""
    folder: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    between: list[str] = field(default_factory=list)
    transaction: bool = True
    back_transaction: bool = True
    writes: dict[str, str] = field(default_factory=dict)
    replaces: dict[str, str] = field(default_factory=dict)
    hazards: list[str] = field(default_factory=list)
    locks: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)
    after: str = ""
    verify: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        always = ("number", "title", "kind", "findings", "transaction", "after")
        return {k: v for k, v in self.__dict__.items() if k in always or v not in ("", [], {})}

    def by_tool(self, command: str, folder: str = "") -> PlanStep:
        """The same, done by the migration tool: what it does is what was rehearsed; the way back stays SQL."""
        return replace(
            self, kind="command", sql="", record="", command=command, folder=folder, transaction=False
        )


def joined(steps: Sequence[PlanStep]) -> PlanStep:
    """Steps that a tool does all at once, as one."""
    first, last = steps[0], steps[-1]
    files = [step.file for step in steps]
    backs = list(reversed(steps))
    locks: dict[str, str] = {}
    for step in steps:
        for name, mode in step.locks.items():
            locks[name] = max(mode, locks.get(name, mode), key=MODES.index)
    return replace(
        first,
        title=f"Apply {len(files)} migrations: {', '.join(PurePosixPath(f).name for f in files)}",
        findings=[*dict.fromkeys(each for step in steps for each in step.findings)],
        file="",
        texts={path: digest for step in steps for path, digest in step.texts.items()},
        between=[step.after for step in steps[:-1]],
        back="\n".join(step.back.rstrip("\n") for step in backs if step.back) + "\n",
        unrecord=";\n".join(step.unrecord for step in backs if step.unrecord),
        back_transaction=all(step.back_transaction for step in steps),
        hazards=[*dict.fromkeys(each for step in steps for each in step.hazards)],
        locks=dict(sorted(locks.items())),
        rewritten=sorted({each for step in steps for each in step.rewritten}),
        changes=[each for step in steps for each in step.changes],
        verify=[*dict.fromkeys(each for step in steps for each in step.verify)],
        after=last.after,
    )


@dataclass
class Plan:
    """What brings one environment in line with *goal*, from the state that *fingerprint* names."""

    environment: str
    database: str
    goal: str
    fingerprint: str
    created_at: str
    tool: str
    ledger: str
    findings: list[Resolved]
    steps: list[PlanStep]
    proof: dict[str, Any]
    not_offered: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def offered(self) -> bool:
        """Whether it reached its goal in the rehearsal, and the way back reached the beginning."""
        return bool(self.proof.get("proven")) and not self.not_offered

    def content(self) -> dict[str, Any]:
        """Everything but the digest."""
        return {
            "format": FORMAT,
            "environment": self.environment,
            "database": self.database,
            "goal": self.goal,
            "fingerprint": self.fingerprint,
            "created_at": self.created_at,
            "tool": self.tool,
            "ledger": self.ledger,
            "offered": self.offered,
            "not_offered": self.not_offered,
            "notes": self.notes,
            "findings": [finding.as_dict() for finding in self.findings],
            "steps": [step.as_dict() for step in self.steps],
            "proof": self.proof,
        }

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content."""
        return digest_of(self.content())

    def as_dict(self) -> dict[str, Any]:
        """The document ``auditkit.plan/1``."""
        return {**self.content(), "digest": self.digest}

    def save(self, path: str | Path) -> Path:
        """Write the file.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            Path(path).write_text(to_toml(self.as_dict()), "utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}; choose another place with -o"
            ) from None
        return Path(path)


def digest_of(content: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in content.items() if k != "digest"}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_HEAD = (
    "A plan for {environment}. To change it: edit `resolution` of a finding (one of `others`; of what is accepted also",
    "`reason` and `until`), then make it again:",
    "    auditkit plan {environment} --from THIS_FILE -o THIS_FILE",
    "Nothing is run before you say so:  auditkit apply THIS_FILE --to {environment}",
)


def to_toml(document: Mapping[str, Any]) -> str:
    """*document* as TOML; texts of several lines stay readable."""
    import tomlkit
    from tomlkit.items import Item

    def item(value: Any) -> Any:
        if isinstance(value, str) and "\n" in value and "'''" not in value and _plain(value):
            return tomlkit.string(value, literal=True, multiline=True)
        if isinstance(value, Mapping):
            table = tomlkit.table()
            for key, each in value.items():
                if each is not None:
                    table.add(key, item(each))
            return table
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            if all(set(each) == {"kind", "identity", "change"} for each in value):
                array = tomlkit.array()
                for each in value:
                    line = tomlkit.inline_table()
                    line.update(each)
                    array.append(line)
                return array.multiline(True)
            tables = tomlkit.aot()
            for each in value:
                tables.append(item(each))
            return tables
        found: Item = tomlkit.item(value)
        return found

    text = tomlkit.document()
    for line in _HEAD:
        text.add(tomlkit.comment(line.format(environment=" ".join(document["environment"].split()))))
    text.add(tomlkit.nl())
    for key, value in document.items():
        if value is not None and not isinstance(value, Mapping) and not _tables(value):
            text.add(key, item(value))
    for key, value in document.items():
        if isinstance(value, Mapping) or _tables(value):
            text.add(key, item(value))
    return tomlkit.dumps(text)


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _plain(text: str) -> bool:
    """Whether a literal string of TOML can hold it: no control characters, and no line ends that TOML changes."""
    return not text.startswith("\n") and all(c in "\n\t" or (c >= " " and c != "\x7f") for c in text)


def read(path: str | Path) -> dict[str, Any]:
    """The document of a plan file.

    Raises:
        ConfigError: it is not there, or no plan.
    """
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the plan {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; make the plan again") from None
    if document.get("format") != FORMAT:
        raise ConfigError(f"{path} is not a plan ({FORMAT}); make one with `auditkit plan ENV -o {path}`")
    return document


def load(path: str | Path) -> Plan:
    """A plan that can be applied.

    Raises:
        ConfigError: it is no plan, was edited since it was made, or is incomplete.
    """
    document = read(path)
    where = f"{path}: "
    if digest_of(document) != document.get("digest"):
        again = f"auditkit plan {document.get('environment', 'ENV')} --from {path} -o {path}"
        raise ConfigError(
            f"{where}was edited since it was made, so nobody has rehearsed it; make it again: `{again}`"
        )
    try:
        return Plan(
            **{
                k: v
                for k, v in document.items()
                if k not in ("format", "digest", "offered", "findings", "steps")
            },
            findings=[Resolved(**{**f, "others": tuple(f["others"])}) for f in document.get("findings", [])],
            steps=[PlanStep(**step) for step in document.get("steps", [])],
        )
    except (TypeError, KeyError) as error:
        raise ConfigError(
            f"{where}was made by another version of auditkit ({error}); make it again"
        ) from None


def lines(plan: Plan) -> list[str]:
    """The plan in short, for people."""
    found = [f"{plan.environment}: {_count(plan.findings, 'finding')}, {_count(plan.steps, 'step')}"]
    for finding in plan.findings:
        others = f" (or {', '.join(finding.others)})" if finding.others else ""
        found += [f"  {finding.id}  {finding.resolution}{others}", f"      {finding.cause}: {finding.title}"]
    for step in plan.steps:
        found.append(
            f"{step.number:>3}. {step.title}{'' if step.transaction else '  [not in one transaction]'}"
        )
        found += [f"       {line}" for line in _statements(step)]
        if step.command and step.kind != "command":
            found += [f"       the tool's own: {line}" for line in step.command.splitlines()]
        found += [f"       hazard: {hazard}" for hazard in step.hazards]
        if step.locks:
            found.append(
                f"       locks: {', '.join(f'{name} {_words(mode)}' for name, mode in step.locks.items())}"
            )
        if step.rewritten:
            found.append(f"       rewrites: {', '.join(step.rewritten)}")
    for finding in plan.findings:
        if finding.ignore:
            found += [
                f"to accept {finding.id}, add to auditkit.toml:",
                *(f"  {line}" for line in finding.ignore.splitlines()),
            ]
    if plan.offered:
        found.append(
            f"rehearsed on a shadow of {plan.environment} ({plan.proof['server']}): nothing is left, and the way back "
            "leads to what is there now"
            if plan.steps
            else "nothing has to be done"
        )
    return found


def _count(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


def _statements(step: PlanStep) -> list[str]:
    """What a step runs: of a migration its file says enough."""
    if step.kind == "command":
        return [f"$ {line}" for line in step.command.splitlines()]
    if step.kind == "file":
        return []
    return [line for line in step.sql.splitlines() if not line.startswith("-- hazard")] or [
        " ".join(line.split())[:140] for line in step.record.split(";\n")
    ]


def _words(mode: str) -> str:
    return "".join(f" {c}" if c.isupper() else c for c in mode.removesuffix("Lock")).strip().upper()


def script_of(plan: Plan, *, back: bool = False) -> str:
    """All that would be run, as SQL for people to read."""
    found = []
    for step in reversed(plan.steps) if back else plan.steps:
        sql, record, whole = (
            (step.back, step.unrecord, step.back_transaction)
            if back
            else (step.sql, step.record, step.transaction)
        )
        found.append(f"-- {step.number}. {' '.join(step.title.split())}")
        if step.kind == "command" and not back:
            where = f"in {step.folder}: " if step.folder not in ("", ".") else ""
            found += [*(f"-- {where}$ {line}" for line in step.command.splitlines()), ""]
            continue
        body = [text.rstrip().rstrip(";") + ";" for text in (sql, record) if text.strip()]
        found += ["BEGIN;", *body, "COMMIT;", ""] if whole else [*body, ""]
    return "\n".join(found)
