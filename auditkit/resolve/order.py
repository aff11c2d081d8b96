"""The order of actions: nothing is dropped before what depends on it, nothing created before what it depends on.

Each action is a node of a graph whose edges come from pg_depend of both sides; of what is ready, that comes first
which people would do first.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator

from auditkit.catalog.snapshot import Fact, Key, Snapshot
from auditkit.catalog.sql import quote, tuple_of
from auditkit.resolve.actions import Actions, Node
from auditkit.resolve.company import Company
from auditkit.resolve.steps import Step
from auditkit.resolve.work import Work, fact_of

#: What a table must have before it becomes the partition or child of one that has it.
_BEFORE_ATTACHING = frozenset({"index", "table constraint", "table column", "foreign table column"})
#: Parts that can be dropped by name before their whole.
_SEPARABLE = frozenset({"table constraint", "policy", "rule", "trigger", "domain constraint", "index"})
#: The order in which what is ready is done; what comes later may use what came before without saying so.
_RANK = {
    name: rank
    for rank, name in enumerate(
        (
            "role", "role membership", "database", "schema", "extension", "access method", "language", "collation",
            "type", "composite type column", "domain constraint", "foreign-data wrapper", "server", "user mapping",
            "sequence", "table", "foreign table", "function", "procedure", "aggregate", "operator", "operator family",
            "operator class", "operator of access method", "function of access method", "cast", "conversion",
            "transform", "text search parser", "text search template", "text search dictionary",
            "text search configuration", "table column", "foreign table column", "index", "table constraint", "view",
            "view column", "materialized view", "materialized view column", "statistics object", "rule", "trigger",
            "policy", "publication", "publication relation", "publication namespace", "subscription", "default acl",
            "initial privileges", "setting", "event trigger",
        )
    )
}  # fmt: skip


class Order:
    """The graph of actions, and its statements in order."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.before, self.after = work.before, work.after
        self.company = Company(work)
        self.statements = Actions(work, self.company).statements
        self.edges: dict[Node, set[Node]] = defaultdict(set)  # node → nodes that come after it
        self.circles: list[set[Node]] = []  # what was left each time nothing was ready

    def steps(self) -> list[Step]:
        """All statements, in order."""
        for node in self.statements:
            self.edges.setdefault(node, set())
        self._by_dependencies()
        self._by_names()
        return [step for node in self._sorted() for step in self.statements.get(node, ())]

    def _nodes(self, key: Key) -> dict[str, Node]:
        """The nodes that stand for what happens to *key*: its own, or that of what takes or brings it along."""
        found: dict[str, Node] = {}
        if self.work.goes(key):
            found["drop"] = ("drop", self.company.gone_with(key))
        if self.work.comes(key):
            found["create"] = self._brought(key)
        for phase in ("early", "alter", "purge"):
            if (phase, key) in self.statements:
                found[phase] = (phase, key)
        return found

    def _brought(self, key: Key) -> Node:
        """The node in which *key* comes into being."""
        maker = self.company.brought_by(key)
        altered: Node = ("alter", maker)
        attached = key[0] in ("table constraint", "trigger") and maker[0] == "table"
        if altered in self.statements and (attached or (key[0] == "sequence" and not self.work.comes(maker))):
            return altered
        return "create", maker

    def _after(self, first: Node | None, then: Node | None) -> None:
        if first is not None and then is not None and first != then:
            self.edges[first].add(then)
            self.edges.setdefault(then, set())

    def _by_dependencies(self) -> None:
        involved = self.work.dropped | self.work.created | self.work.remade | set(self.work.changed)
        nodes = {key: self._nodes(key) for key in involved}
        for key, own in nodes.items():
            self._after(own.get("early"), own.get("drop") or own.get("alter"))
            self._after(own.get("drop"), own.get("create"))
            self._after(own.get("create"), own.get("alter"))
            self._after(own.get("create"), own.get("purge"))
            if key[0].endswith("table column"):
                self._with_ancestors(key, own, nodes)
            if key in self.work.changed or self.work.goes(key):
                for held in _holders(self.before, key):
                    if held in nodes:
                        self._release(key, own, held, nodes[held])
            if key in self.work.changed or self.work.comes(key):
                for held in _holders(self.after, key):
                    if held in nodes:
                        self._rest(key, own, held, nodes[held])
            if self.work.comes(key):
                self._before_attaching(key, own, nodes)
            if key[0] in ("table", "foreign table"):
                self._before_inheriting(key, own, nodes)

    def _with_ancestors(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A column is altered along with its parents': its default goes before, and comes after."""
        fact = self.after.get(*key)
        while fact is not None and fact.origin is not None:
            ancestor = nodes.get((key[0], fact.origin), {}).get("alter")
            self._after(own.get("early"), ancestor)
            self._after(ancestor, own.get("alter"))
            fact = self.after.get(key[0], fact.origin)

    def _release(self, key: Key, own: dict[str, Node], held: Key, on: dict[str, Node]) -> None:
        """*key* depends on *held* as things are: it lets go first."""
        if "drop" in own:
            gone: Node = ("purge", own["drop"][1]) if own["drop"][1] in self.company.kept else own["drop"]
            self._after(gone, on.get("drop") if held not in self.company.kept else on.get("purge"))
            if (
                key[0] != "sequence" or key in self.work.remade
            ):  # one that a default takes numbers from goes after that
                self._after(own["drop"], on.get("alter"))
            if held[0].endswith(" column") and key not in self.before.holders(held):
                self._after(own["drop"], on.get("early"))
            if held[0] == "table" and fact_of(self.before, key).origin is not None:
                self._after(on.get("early"), own["drop"])  # no longer its parent's, it can be dropped
        elif held in self.company.kept:
            self._after(own.get("alter"), on.get("purge"))
        elif "early" in own:
            self._after(own["early"], on.get("drop"))
        elif held not in self.work.remade:
            self._after(own.get("alter"), on.get("drop"))

    def _rest(self, key: Key, own: dict[str, Node], held: Key, on: dict[str, Node]) -> None:
        """*key* shall depend on *held*: that comes first."""
        first = on.get("create") or (None if "drop" in on else on.get("alter"))
        if key[0] in _BEFORE_ATTACHING and held[0].endswith("table") and "create" not in on:
            self._after(on.get("early"), own.get("create"))
            first = None  # the table is there; it may become a partition or child, and then has to have them
        if key[0] == "sequence" and held[0] == "table column":
            self._after(
                first, own.get("alter")
            )  # owned by a column, which may take its default from the sequence
            return
        if key[0] == "type" and held[0] in ("function", "procedure") and key in self.after.holders(held):
            self._after(first, own.get("alter"))  # of a base type; the functions take its shell
            return
        if "create" in own:
            if held[0] == "type" and key in self.after.holders(held):
                self._after(first, own["create"])
                return
            if own["create"][1] in self.work.bare and key != own["create"][1] and held[0] != "type":
                self._after(first, own.get("alter"))
            else:
                self._after(first, own["create"])
                ready = on.get("alter") if "create" not in on or held[0] == "type" else None
                self._after(ready if held[0] in ("table column", "type") else None, own["create"])
        if not (key[0].endswith("table column") and held[0].endswith("table") and "create" not in on):
            self._after(first, own.get("alter"))

    def _before_attaching(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A partition is attached when its indexes and constraints are there: then they are found and used.

        An index that partitions lack comes when they are attached: they would be given one.
        """
        if key[0] == "index" and fact_of(self.after, key).attributes["valid"] is False:
            whole = self.after.get("table", str(fact_of(self.after, key).parent))
            for partition in self.after.children(whole, "table") if whole else ():
                self._after(nodes.get(partition.key, {}).get("alter"), own["create"])
        if key[0] in ("index", "table constraint"):
            table = ("table", (fact_of(self.after, key).parent or "").rpartition(" on ")[2])
            if (
                table in nodes
                and own["create"][1] == key
                and self.company.attached_later(fact_of(self.after, key))
            ):
                self._after(own["create"], nodes[table].get("alter"))
            origin = fact_of(self.after, key).origin
            if origin and (key[0], origin) in nodes:
                self._after(nodes[key[0], origin].get("create"), own["create"])

    def _before_inheriting(self, key: Key, own: dict[str, Node], nodes: dict[Key, dict[str, Node]]) -> None:
        """A table becomes the child of another, or of a type, when it has the columns and constraints it shall have."""
        table = self.after.get(*key)
        if table is None or not (
            self.work.comes(key)
            or self.work.changed.get(key, set()) & {"inherits", "partition_bound", "of_type"}
        ):
            return
        created = self.work.comes(key) and not table.attributes["partition_bound"]
        node = own.get("create" if created else "alter")
        parents = [self.after.get("table", name) for name in tuple_of(table.attributes["inherits"])]
        for family in filter(None, [*parents, None if created else table]):
            for kind in ("table column", "foreign table column", "table constraint"):
                for part in self.after.children(family, kind):
                    for phase in ("alter",) if not self.work.comes(part.key) else ("create",):
                        if nodes.get(part.key, {}).get(phase, ("", ("", "")))[1] == part.key:
                            self._after(nodes[part.key].get(phase), node)

    def _by_names(self) -> None:
        """A name must be free before it is used again: relations share one space of names, routines another."""
        gone: dict[tuple[str, str | None, str], list[Node]] = defaultdict(list)
        for key in self.work.dropped | self.work.remade:
            for name in _names(fact_of(self.before, key)):
                gone[name].append(("drop", self.company.gone_with(key)))
        for key in self.work.created | self.work.remade:
            for name in _names(fact_of(self.after, key)):
                for node in gone.get(name, ()):
                    self._after(node, ("create", self.company.brought_by(key)))

    def _sorted(self) -> list[Node]:
        waiting = dict.fromkeys(self.edges, 0)
        for targets in self.edges.values():
            for target in targets:
                waiting[target] += 1
        ready = [(self._priority(node), node) for node, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        done: list[Node] = []
        while waiting:
            if not ready:  # a cycle: give way where least waits
                self.circles.append(self._circle(set(waiting)))
                node = min(waiting, key=lambda n: (waiting[n], self._priority(n)))
                heapq.heappush(ready, (self._priority(node), node))
            _, node = heapq.heappop(ready)
            if waiting.pop(node, None) is None:
                continue
            done.append(node)
            for target in self.edges[node]:
                if target in waiting:
                    waiting[target] -= 1
                    if waiting[target] == 0:
                        heapq.heappush(ready, (self._priority(target), target))
        return done

    def _circle(self, nodes: set[Node]) -> set[Node]:
        """Those of *nodes* that lie on a cycle or between two, without what only comes after."""
        while last := {node for node in nodes if not self.edges[node] & nodes}:
            nodes -= last
        return nodes

    def circular_tables(self) -> set[Key]:
        """Tables in a cycle that can be created without their defaults, which are set when all is there."""
        return {
            node[1]
            for node in set().union(*self.circles[:1])
            if node[0] == "create"
            and node[1][0] in ("table", "foreign table")
            and node[1] not in self.work.bare
        }

    def circular_parts(self) -> set[Key]:
        """Parts that would go with their whole, but depend on something else in the same cycle: foreign keys, policies."""
        circle = set().union(*self.circles[:1])
        found = set()
        for key in self.work.dropped | self.work.remade:
            whole = self.company.gone_with(key)
            if whole == key or ("drop", whole) not in circle or key[0] not in _SEPARABLE:
                continue
            if (origin := fact_of(self.before, key).origin) and self.work.goes((key[0], origin)):
                continue  # it goes with that
            for held in _holders(self.before, key):
                if (
                    self.work.goes(held)
                    and self.company.gone_with(held) != whole
                    and ("drop", self.company.gone_with(held)) in circle
                ):
                    found.add(key)
        return found

    def _priority(self, node: Node) -> tuple[int, int, str]:
        phase, (kind, identity) = node
        alone = any(step.sql.alone for step in self.statements.get(node, ()))
        rank = _RANK.get(kind, 99)
        if kind == "event trigger" and phase == "drop":
            return -2, 0, identity
        if alone:
            return -1, rank, identity
        order = {"early": -1, "drop": 0, "create": 1, "alter": 1, "purge": 0}[phase]
        return order, -rank if phase == "drop" else rank, identity


def _holders(snapshot: Snapshot, key: Key) -> Iterator[Key]:
    """What *key* depends on; for a member of an extension, that."""
    for held in sorted(snapshot.holders(key)):
        fact = snapshot.get(*held)
        if fact is not None and fact.extension and held[0] != "extension":
            yield "extension", quote(fact.extension)
        else:
            yield held


def _names(fact: Fact) -> Iterator[tuple[str, str | None, str]]:
    if fact.kind in ("table", "foreign table", "view", "materialized view", "index", "sequence"):
        yield "relation", fact.schema, fact.name
    if fact.kind in ("table", "foreign table", "view", "materialized view", "type"):
        yield "type", fact.schema, fact.name
    if fact.kind in ("function", "procedure", "aggregate"):
        yield "routine", None, fact.identity
    if fact.kind == "table constraint":
        yield "constraint", None, fact.identity
