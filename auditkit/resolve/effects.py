"""What an environment is, told in one word, and what a step makes of it.

A state holds the facts that are compared and the rows of the ledger. The effect of a step is what it changed on the
shadow; carried over to the environment's own state it gives the state, and so the fingerprint, that the step must
leave there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from auditkit.catalog.compare import Scope, compared_facts
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Key, Snapshot, Value
from auditkit.history.ledgers import History

#: Of a ledger's rows, what does not depend on when a migration was run.
_ROW = ("state", "name", "checksum", "statements")
LEDGER_ROW = "ledger row"

State = dict[Key, dict[str, Value]]


def state_of(snapshot: Snapshot, scope: Scope, history: History) -> State:
    """What *snapshot* holds of what is compared, with the rows of its ledger; without the order of columns, which no
    way back restores."""
    found: State = {
        key: {name: value for name, value in values.items() if name != KINDS[key[0]].ordinal}
        for key, values in compared_facts(snapshot, scope)
    }
    for row in history.rows:
        key = (LEDGER_ROW, _label(row))
        again = 1
        while key in found:
            again += 1
            key = (LEDGER_ROW, f"{_label(row)} #{again}")
        found[key] = {name: _plain(row[name]) for name in _ROW}
    return found


def _label(row: dict[str, Any]) -> str:
    return f"{row['version']} {row['name']}".strip()


def _plain(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value


def fingerprint(state: State) -> str:
    """SHA-256 (hex): equal exactly when all that is compared is."""
    lines = (repr((key, sorted(values.items()))) for key, values in sorted(state.items()))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Effect:
    """What differs between two states: object → its values afterwards (those that changed), None if it is gone."""

    changes: dict[Key, dict[str, Value] | None]
    new: frozenset[Key]

    @classmethod
    def between(cls, before: State, after: State) -> Effect:
        changes: dict[Key, dict[str, Value] | None] = {key: None for key in before if key not in after}
        for key, values in after.items():
            old = before.get(key)
            if old is None:
                changes[key] = values
            elif old != values:
                changes[key] = {name: value for name, value in values.items() if old.get(name) != value}
        return cls(changes, frozenset(key for key in after if key not in before))

    def on(self, state: State) -> State:
        """*state* with the same changes."""
        found = dict(state)
        for key, values in self.changes.items():
            if values is None:
                found.pop(key, None)
            else:
                found[key] = values if key in self.new else {**found.get(key, {}), **values}
        return found

    def as_list(self) -> list[dict[str, str]]:
        """As the plan has it: kind, identity, and whether it comes, goes or changes."""
        return [
            {"kind": key[0], "identity": key[1], "change": self._word(key)} for key in sorted(self.changes)
        ]

    def _word(self, key: Key) -> str:
        if self.changes[key] is None:
            return "goes"
        return "comes" if key in self.new else "changes"


def named(changes: Iterable[dict[str, str]]) -> Iterator[str]:
    """Changes in words."""
    for change in changes:
        yield f"{change['kind']} {change['identity']} {change['change']}"
