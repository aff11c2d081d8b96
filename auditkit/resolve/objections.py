"""What speaks against a deployment, or was wrong with one: a finding that no drift is behind.

Each is declared once in ``OBJECTIONS``: the gate it belongs to, what it means, what to do. How bad one is depends on
what was seen, so the severity is given where it is made. A migration can say in a comment that one is meant, and why::

    -- auditkit: accept rewrites_table: the table is emptied before the deployment
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from auditkit.causes.case import Culprit, Evidence, Finding, Key

__all__ = ["AFTERWARDS", "GATES", "OBJECTIONS", "Kind", "Objection", "accepted", "object_to"]

#: What is asked before a deployment, in the order in which it is told → as a question.
GATES = {
    "history": "Is every applied migration recorded as its file says, and none failed?",
    "schema": "Is the schema what the applied migrations say, without changes by hand?",
    "files": "Are the files committed, none edited after it was applied, no version twice or late?",
    "promotion": "Are the pending migrations in place in the environments that come before?",
    "rehearsal": "Do they run on a shadow of this very environment?",
    "risks": "What do they lock, write anew, read in full or delete?",
    "health": "Do they leave everything valid, enabled, protected and granted?",
}


#: The same gates after a deployment.
AFTERWARDS = {
    "history": "Does the ledger hold exactly what was to be deployed, and no failure?",
    "files": "Is what was deployed what was rehearsed and reviewed?",
    "rehearsal": "Did everything happen that the rehearsal showed?",
    "schema": "Did nothing else happen?",
    "health": "Is everything valid, enabled, protected and granted?",
    "promotion": "Do the other environments have the same migrations?",
}


@dataclass(frozen=True)
class Kind:
    """One kind of objection: its gate, what it means (a clause), what to do about it."""

    name: str
    gate: str
    clause: str
    way_out: str


OBJECTIONS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "failed_state",
            "history",
            "the ledger says that it failed",
            "Find out what is in place of it; repair the ledger or finish it by hand, then look again.",
        ),
        Kind(
            "uncommitted",
            "files",
            "the file is not committed as it is here",
            "Commit it, so that what is deployed is what was reviewed.",
        ),
        Kind(
            "edited_elsewhere",
            "files",
            "the file was edited after it had been applied elsewhere",
            "Put the file back as it was applied, and make the edit a new migration.",
        ),
        Kind(
            "duplicate_version",
            "files",
            "the ledger can record only one of them",
            "Give one of them another version; the one that is applied nowhere.",
        ),
        Kind(
            "late_version",
            "files",
            "later ones are applied already",
            "Give it a new version after the last applied one; or apply it out of order, and know why.",
        ),
        Kind(
            "several_heads",
            "files",
            "the tool does not know which of them comes last",
            "Merge the heads: `alembic merge heads`.",
        ),
        Kind(
            "not_promoted",
            "promotion",
            "it was not applied where it had to be tried first",
            "Deploy it there first, and verify it.",
        ),
        Kind(
            "fails",
            "rehearsal",
            "it fails on a shadow of this environment",
            "Correct the migration; nothing of it was run anywhere but on the shadow.",
        ),
        Kind(
            "fails_on_rows",
            "rehearsal",
            "it fails where the tables have rows",
            "Correct the rows or the migration first: add the column with a default, clean up what violates the rule.",
        ),
        Kind(
            "needs_autocommit",
            "rehearsal",
            "something in it cannot run in a transaction, and its file does not say so",
            "Put it into a file of its own that says so in the tool's way.",
        ),
        Kind(
            "leads_elsewhere",
            "rehearsal",
            "from here the migrations do not lead to what they lead to from nothing",
            "Settle the differences first: `auditkit explain`, `auditkit plan`.",
        ),
        Kind(
            "rewrites_table",
            "risks",
            "nobody can read or write the table while it is written anew",
            "Add the column without such a default, fill it in batches, then switch; or deploy when nobody needs the table.",
        ),
        Kind(
            "blocks_writes",
            "risks",
            "nobody can write to the table while the index is built",
            "CREATE INDEX CONCURRENTLY, in a file of its own that runs outside a transaction.",
        ),
        Kind(
            "scans_under_lock",
            "risks",
            "all rows are read while others wait",
            "Add the constraint NOT VALID, and VALIDATE it in a later transaction, which blocks nobody.",
        ),
        Kind(
            "held_long",
            "risks",
            "a lock that keeps everybody out is held while other work goes on",
            "Give the statement that takes the lock a migration of its own, or put it last.",
        ),
        Kind(
            "no_lock_timeout",
            "risks",
            "it waits for locks for ever, and everybody else queues behind it",
            "SET lock_timeout = '3s' first, and try again if it expires.",
        ),
        Kind(
            "drops_data",
            "risks",
            "what it drops is gone: no rollback brings the rows back",
            "Make sure that nobody needs it, and that there is a backup; or rename it and drop it in a later deployment.",
        ),
        Kind(
            "deletes_rows",
            "risks",
            "rows or values were gone afterwards",
            "Make sure that this is meant, and that there is a backup.",
        ),
        Kind(
            "no_way_back",
            "risks",
            "the way back that was tried does not lead to what was there",
            "Plan how to go forward if it has to be taken back.",
        ),
        Kind(
            "invalid_index",
            "health",
            "the index is not used, but costs every write",
            "DROP INDEX CONCURRENTLY, then build it again.",
        ),
        Kind(
            "not_validated",
            "health",
            "old rows may violate it",
            "ALTER TABLE … VALIDATE CONSTRAINT, which blocks nobody.",
        ),
        Kind("trigger_off", "health", "the trigger does not fire", "ALTER TABLE … ENABLE TRIGGER."),
        Kind(
            "row_security_off",
            "health",
            "everybody who may read the table reads all rows",
            "ALTER TABLE … ENABLE ROW LEVEL SECURITY, with policies.",
        ),
        Kind(
            "grants_lost",
            "health",
            "it was made anew, and who could use it before cannot now",
            "Grant it again in the migration that makes it anew.",
        ),
        Kind(
            "not_recorded",
            "history",
            "it was to be deployed, and the ledger does not have it",
            "Find out why; deploy it, or leave it out of what is expected.",
        ),
        Kind(
            "not_intended",
            "history",
            "it was deployed, and was not to be",
            "Find out who deployed it; take it back, or accept it and verify again.",
        ),
        Kind(
            "file_changed",
            "files",
            "the file is not what was rehearsed before the deployment",
            "Compare it with the commit that was reviewed, and rehearse it again.",
        ),
        Kind(
            "slipped_in",
            "schema",
            "no deployed migration does that",
            "Decide whether it stays: then write it down as a migration; else undo it.",
        ),
        Kind(
            "other_effect",
            "rehearsal",
            "the migration does that on the shadow, and it did not happen here",
            "Find out who took it back, or what of the migration was not run.",
        ),
    )
}


@dataclass
class Objection(Finding):
    """A finding of a gate; ``cause`` is its name in ``OBJECTIONS``. ``subject`` tells it from others of that migration."""

    subject: str = ""
    sql: str | None = None
    command: str | None = None

    @property
    def kind(self) -> Kind:
        return OBJECTIONS[self.cause]

    @property
    def id(self) -> str:
        about = self.culprit.version if self.culprit else ""
        text = "\x1f".join((self.environment, self.cause, about, self.subject))
        return "f-" + hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def remedy(self) -> dict[str, Any]:
        """As the audit document holds it."""
        steps = (
            [{"title": "Run", "command": self.command, "sql": self.sql}] if self.sql or self.command else []
        )
        return {
            "summary": self.kind.way_out,
            "source_of_truth": "person",
            "steps": steps,
            "hazards": [],
        }


def object_to(
    name: str,
    environment: str,
    severity: str,
    title: str,
    *,
    objects: Iterable[Key] = (),
    culprit: Culprit | None = None,
    evidence: Mapping[str, str] | None = None,
    confidence: str = "proven",
    **more: Any,
) -> Objection:
    """An objection; *evidence* are signals and what they say."""
    return Objection(
        name,
        confidence,
        environment,
        title,
        [*objects],
        severity,
        culprit,
        [Evidence(signal, says) for signal, says in (evidence or {}).items() if says],
        **{"subject": "|".join(f"{k} {i}" for k, i in objects), **more},
    )


_ACCEPT = re.compile(r"--\s*auditkit:\s*accept\s+([a-z_]+(?:\s*,\s*[a-z_]+)*)\s*:\s*(\S.*)", re.IGNORECASE)


def accepted(text: str) -> dict[str, str]:
    """Name of an objection → why, as comments in a migration say."""
    return {
        name.strip().lower(): match[2].strip()
        for match in _ACCEPT.finditer(text)
        for name in match[1].split(",")
    }
