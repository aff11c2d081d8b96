"""A case before it is real: what each environment meets in which order, what git remembers, and what is true of it.

An injury writes into a :class:`Draft`. The truth is written down there and then, from what was injured; nothing of
auditkit is asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from root_causes.histories import History, Thing
from root_causes.ledgers import Text, Tool, Unit

__all__ = ["Draft", "NotHere", "Step", "Truth"]

MUST, MAY, OPEN = "must", "may", "open"
NOTHING = Text(())


class NotHere(Exception):
    """This history or this tool has nothing that such an injury could be done to."""


@dataclass(frozen=True)
class Truth:
    """What has to be found in one environment.

    ``culprits``: the index of a migration, the version of one that is not in the repository, or None; any of them is
    right. ``objects``: labels, of which the finding must name at least one; with none, the culprit decides which
    finding is meant. ``accept``: causes that are as right. ``live`` and ``bare`` say how it is judged with physical
    signals and without: ``must`` be told; ``may`` be told, as nothing need differ; ``open``: what can be observed fits
    several causes, so an answer with the truth among its alternatives and not called proven counts as right, in a
    column of its own.
    """

    environment: str
    cause: str
    culprits: tuple[int | str | None, ...]
    objects: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    live: str = MUST
    bare: str = MUST
    group: str = ""


@dataclass(frozen=True)
class Step:
    """One thing that happens to an environment: ``how`` is run, mark (record only), only (run only), forget
    (the row) or sql."""

    how: str
    key: int = -1
    text: Text = NOTHING
    recorded: Text = NOTHING
    sql: str = ""


@dataclass
class Draft:
    """See the module. ``git``: what each file said, oldest first; the last is on disk, None: no longer there."""

    history: History
    tool: Tool
    rng: random.Random
    environments: tuple[str, ...]
    environment: str = ""
    units: dict[int, Unit] = field(default_factory=dict)
    git: dict[int, list[Text | None]] = field(default_factory=dict)
    branch: dict[int, Text] = field(default_factory=dict)
    renumbered: dict[int, int] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    hands: dict[str, list[str]] = field(default_factory=dict)
    truths: list[Truth] = field(default_factory=list)
    allowed: list[tuple[str, str]] = field(default_factory=list)
    settings: str = ""
    options: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    group: str = ""

    @classmethod
    def of(
        cls, history: History, tool: Tool, rng: random.Random, environments: Sequence[str], environment: str
    ) -> Draft:
        made = cls(history, tool, rng, tuple(environments), environment)
        for m in history.migrations:
            text = Text(tuple(m.statements), m.comment)
            made.units[m.index] = Unit(m.index, m.name, m.day)
            made.git[m.index] = [text]
        for name in environments:
            made.steps[name] = [
                Step("run", m.index, made.text(m.index), made.text(m.index)) for m in history.migrations
            ]
            made.hands[name] = []
        return made

    def text(self, index: int) -> Text:
        found = self.git[index][-1]
        assert found is not None
        return found

    def old(self, index: int) -> Text:
        found = self.git[index][0]
        assert found is not None
        return found

    # --- choosing what to injure

    def need(self, condition: object, *, why: str = "") -> None:
        if not condition:
            raise NotHere(why)

    def free(self, thing: Thing) -> bool:
        """Whether no other injury of this case is near."""
        near = {thing.label, getattr(thing.info.get("table"), "label", thing.label)}
        return not near & self.used

    def take(self, *things: Thing) -> None:
        for thing in things:
            self.used |= {thing.label, getattr(thing.info.get("table"), "label", thing.label)}

    def pick(self, *kinds: str, fits: Callable[[Thing], object] = lambda t: True) -> Thing:
        found = [t for t in self.history.alive(*kinds) if self.free(t) and fits(t)]
        self.need(found, why=f"no {' or '.join(kinds)}")
        thing = self.rng.choice(found)
        self.take(thing)
        return thing

    def migration(self, fits: Callable[[int], object]) -> int:
        """A migration whose things no other injury has touched."""
        found = [
            m.index
            for m in self.history.migrations
            if all(self.free(t) for _, t in m.did)
            and f"migration {m.index}" not in self.used
            and fits(m.index)
        ]
        self.need(found, why="no such migration")
        index = self.rng.choice(found)
        self.take(*(t for _, t in self.history.migrations[index].did))
        self.used.add(f"migration {index}")
        return index

    def did(self, index: int, *ops: str) -> list[Thing]:
        return [t for op, t in self.history.migrations[index].did if not ops or op in ops]

    def leaf(self, index: int) -> bool:
        """Whether nothing later touches, drops or builds on what the migration did, and it did something to see."""
        things = self.did(index)
        return bool(things) and all(
            t.last <= index and not any(u > index for u in t.users) and (t.dropped in (None, index))
            for t in things
        )

    def labels(self, index: int) -> tuple[str, ...]:
        """What is missing, or differs, without the migration."""
        return tuple(
            dict.fromkeys(
                t.label
                for op, t in self.history.migrations[index].did
                if op == "drop" or (t.dropped is None and t.last <= index)
            )
        )

    # --- injuries

    def at(self, index: int, environment: str = "") -> int:
        steps = self.steps[environment or self.environment]
        return next(n for n, s in enumerate(steps) if s.key == index and s.how in ("run", "mark", "only"))

    def skip(self, *indices: int, environment: str = "") -> None:
        name = environment or self.environment
        self.steps[name] = [s for s in self.steps[name] if s.key not in indices]

    def set(self, index: int, environment: str = "", **changes: object) -> None:
        name = environment or self.environment
        place = self.at(index, name)
        self.steps[name][place] = replace(self.steps[name][place], **changes)  # type: ignore[arg-type]

    def put(self, place: int, step: Step, environment: str = "") -> None:
        self.steps[environment or self.environment].insert(place, step)

    def hand(self, *sql: str, environment: str = "") -> None:
        self.hands[environment or self.environment] += sql

    def edit(
        self, index: int, before: Text, environments: Iterable[str] = (), *, committed: bool = True
    ) -> None:
        """The file said *before* when *environments* ran it, and says something else since."""
        if committed:
            self.git[index].insert(0, before)
        for name in environments or (self.environment,):
            self.set(index, name, text=before, recorded=before)

    def tell(
        self,
        cause: str,
        culprits: int | str | Iterable[int | str | None] | None,
        objects: Iterable[str] = (),
        *,
        accept: Iterable[str] = (),
        live: str = MUST,
        bare: str = MUST,
        environment: str = "",
    ) -> None:
        many = (culprits,) if culprits is None or isinstance(culprits, int | str) else tuple(culprits)
        self.truths.append(
            Truth(
                environment or self.environment,
                cause,
                many,
                tuple(objects),
                tuple(accept),
                live,
                bare,
                self.group,
            )
        )
