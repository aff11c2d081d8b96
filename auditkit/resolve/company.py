"""Which objects come and go with others: DROP TABLE takes indexes along, CREATE TABLE brings columns."""

from __future__ import annotations

from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Fact, Key, Snapshot
from auditkit.catalog.sql import quote, tuple_of
from auditkit.resolve.work import BELOW_COLUMNS, Work, fact_of


class Company:
    """Who takes an object along and who brings it, for one piece of work."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.before, self.after = work.before, work.after
        self._takers: dict[Key, Key] = {}
        self._makers: dict[Key, Key] = {}
        #: What makes way under another name until the columns made of it have moved.
        self.kept = {key for key in work.remade if key[0] in BELOW_COLUMNS and self._used_by_columns(key)}

    def _used_by_columns(self, key: Key) -> bool:
        """Whether columns with rows are made of it: then it makes way under another name until they have moved.

        A range cannot: its multirange and its constructors would still be in the way.
        """
        if fact_of(self.before, key).attributes.get("variant") == "range":
            return False
        for dependent in self.before.dependents(key):
            match dependent[0]:
                case "table column" | "foreign table column":
                    if self.after.get(*dependent) is not None and not self.work.goes(dependent):
                        return True
                case "composite type column":
                    if self._used_by_columns(("type", str(fact_of(self.before, dependent).parent))):
                        return True
                case "type":
                    if self._used_by_columns(dependent):
                        return True
        return False

    def gone_with(self, key: Key) -> Key:
        """The object whose DROP takes *key* along; itself, if it has to be dropped by name."""
        if key not in self._takers:
            self._takers[key] = self._taken_by(key)
        return self._takers[key]

    def _taken_by(self, key: Key) -> Key:
        fact = fact_of(self.before, key)
        if key in self.work.named:
            return key
        origin = (fact.kind, fact.origin or "")
        cloned = fact.kind in ("table constraint", "trigger")  # from the parent's, and dropped with that only
        detached = self.detached(fact)
        if (
            cloned
            and fact.origin is not None
            and self.work.goes(origin)
            and not detached
            and not self.work.goes(("table", str(fact.parent)))
        ):
            return self.gone_with(origin)
        attribute = _typed(self.before, fact)
        if attribute is not None and attribute in self.work.dropped:
            return self.gone_with(attribute)
        if fact.kind == "table constraint" and not detached:
            for index in self.before.children(fact, "index"):
                above = ("index", index.origin or "")
                if index.origin and is_plain(self.before.get(*above)) and self.work.goes(above):
                    return self.gone_with(
                        above
                    )  # attached to an index that is no constraint's, it cannot go alone
        for whole in sorted(self.before.wholes(key) - ({origin} if detached else set())):
            if self.work.goes(whole) and whole not in self.kept and not self.before.stands_alone(key, whole):
                return self.gone_with(whole)
        inherited = fact.origin is not None and not detached
        if inherited and self.work.goes(origin) and not self.kept_by_children(origin):
            return self.gone_with(origin)
        for held in self.before.holders(key) if key[0] == "function" else ():
            if held[0] == "type" and self.work.goes(held) and key in self.before.holders(held):
                return held  # a base type and its functions need each other
        if key[0] == "composite type column" and ("type", str(fact.parent)) in self.kept:
            return "type", str(fact.parent)
        if key[0] == "domain constraint" and ("type", str(fact.parent)) in self.kept:
            return "type", str(fact.parent)
        return key

    def takes_constraints(self, key: Key) -> bool:
        """Whether partitions have constraints whose indexes are attached to this one, so that it goes with them."""
        below = [fact for heir in self.before.heirs.get(key, ()) if (fact := self.before.get(*heir))]
        return any(not is_plain(fact) or self.takes_constraints(fact.key) for fact in below)

    def kept_by_children(self, key: Key) -> bool:
        """Whether a column stays in a table that inherits it."""
        if key[0] != "table column":
            return False
        heirs = self.before.heirs.get(key, ())
        return any(self.after.get(*heir) is not None and not self.work.goes(heir) for heir in heirs)

    def detached(self, fact: Fact) -> bool:
        """Whether the table of *fact* lets go of the parent that *fact* is from, and so keeps it as its own."""
        table = ("table", (fact.parent or "").rpartition(" on ")[2])
        old, new = self.before.get(*table), self.after.get(*table)
        origin = self.before.get(fact.kind, fact.origin or "")
        if origin is None or old is None or new is None or self.work.goes(table):
            return False
        if not self.work.changed.get(table, set()) & {"partition_bound", "inherits"}:
            return False
        was, now = tuple_of(old.attributes["inherits"]), tuple_of(new.attributes["inherits"])
        parent = (origin.parent or "").rpartition(" on ")[2]
        return bool(old.attributes["partition_bound"]) or was == now or parent not in now

    def brought_by(self, key: Key) -> Key:
        """The object whose CREATE brings *key* along; itself, if it has to be created by name."""
        if key not in self._makers:
            self._makers[key] = self._made_by(key)
        return self._makers[key]

    def _made_by(self, key: Key) -> Key:
        fact, work = fact_of(self.after, key), self.work
        parents = [(kind, fact.parent or "") for kind in KINDS[fact.kind].parents]
        parent = next((p for p in parents if self.after.get(*p) is not None), None)
        origin = (fact.kind, fact.origin) if fact.origin else None
        match fact.kind:
            case "view column" | "materialized view column":
                return parent or key
            case "table column" | "foreign table column" | "composite type column":
                if parent is not None and work.comes(parent):
                    return parent
                attribute = _typed(self.after, fact)
                if attribute is not None and attribute in work.created:
                    return attribute
                alone = self._adopted(fact) or work.lets_go(("table", str(fact.parent)))
                if origin is not None and work.comes(origin) and not alone:
                    return self.brought_by(origin)
            case "index":
                if fact.attributes["definition"] is None and parent is not None:
                    return self.brought_by(parent)
            case "sequence":
                if fact.attributes["of_identity"] and parent is not None:
                    return self.brought_by(parent) if work.comes(parent) else parent
            case "table constraint":
                if origin is not None and self.after.get(*origin) is not None:
                    definition = str(fact.attributes["definition"])
                    check = definition.startswith("CHECK")
                    if definition.startswith("FOREIGN KEY"):
                        return self._inherited(fact, origin)
                    joins = self.attached_later(fact) and (self._is_partition(fact) or self._adopted(fact))
                    if check and not joins:
                        return self._inherited(fact, origin)
            case "trigger":
                if origin is not None and self.after.get(*origin) is not None:
                    return self._inherited(fact, origin)
            case _:
                for maker in self.after.makers(key):
                    return self.brought_by(maker) if work.comes(maker) else maker
        return key

    def _inherited(self, fact: Fact, origin: Key) -> Key:
        """What a child table gets from its parent: with the parent's own, or when it becomes a child."""
        table = ("table", str(fact.parent))
        if self.attached_later(fact):
            return table
        return self.brought_by(origin) if self.work.comes(origin) else table

    def attached_later(self, fact: Fact) -> bool:
        """Whether the table of *fact* becomes a partition or child in this script."""
        table = (fact.parent or "").rpartition(" on ")[2]
        for kind in ("table", "foreign table"):
            key = (kind, table)
            if self.work.comes(key):
                return bool(fact_of(self.after, key).attributes["inherits"])
            if self.work.changed.get(key, set()) & {"partition_bound", "inherits"}:
                return True
        return False

    def _adopted(self, fact: Fact) -> bool:
        """Whether a table that is there becomes a child of the one that *fact* is from."""
        table, origin = (
            self.before.get("table", fact.parent or ""),
            self.after.get(fact.kind, fact.origin or ""),
        )
        if table is None or origin is None or self.work.comes(table.key):
            return False
        return origin.parent not in tuple_of(table.attributes["inherits"])

    def _is_partition(self, fact: Fact) -> bool:
        table = self.after.get("table", fact.parent or "") or self.after.get(
            "foreign table", fact.parent or ""
        )
        return table is not None and bool(table.attributes["partition_bound"])


def is_plain(index: Fact | None) -> bool:
    """Whether an index is not that of a constraint."""
    return index is not None and index.attributes["definition"] is not None


def _typed(snapshot: Snapshot, column: Fact) -> Key | None:
    """The attribute of a composite type that a typed table's column is."""
    table = snapshot.get("table", column.parent or "") if column.kind == "table column" else None
    if table is None or not table.attributes["of_type"]:
        return None
    return "composite type column", f"{table.attributes['of_type']}.{quote(column.name)}"
