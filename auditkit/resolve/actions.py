"""The statements of each action: what is dropped, created and altered, each with its hazards.

The per-kind knowledge is in the kinds' entries (``create``, ``alter``, ``dropped``, ``later``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from auditkit.catalog import belongings, create
from auditkit.catalog.alter import attach_index, go_on, rename_sequence
from auditkit.catalog.grants import OWNER
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import COMMON, Fact, Key, Snapshot, Value
from auditkit.catalog.sql import Change, Hazard, Sql, quote, tuple_of
from auditkit.resolve.company import Company
from auditkit.resolve.steps import Step
from auditkit.resolve.work import BELONGINGS, Work, fact_of

Phase = Literal["early", "drop", "create", "alter", "purge"]
Node = tuple[Phase, Key]

#: Set when more than the object itself is there: an owned sequence's column, a partition's indexes.
_LAST = frozenset({"owned_by", "partition_bound", "inherits"})
#: Whoever runs the script may grant what PostgreSQL's own objects have: only a superuser can.
_FIRST = "CURRENT_USER"
#: What default privileges are given on → the kinds that get them.
_GIVEN = {
    "tables": ("table", "view", "materialized view", "foreign table"),
    "sequences": ("sequence",),
    "functions": ("function", "procedure", "aggregate"),
    "types": ("type",),
    "schemas": ("schema",),
}


class Actions:
    """The statements of each node: of each thing that is done to an object.

    ``early`` lets go of what the object depended on, ``drop`` takes it away or, if columns still hold it, out of the
    way; ``create`` makes it, ``alter`` makes it what it shall be, ``purge`` takes away what was only put out of the way.
    """

    def __init__(self, work: Work, company: Company) -> None:
        self.work, self.company = work, company
        self.before, self.after = work.before, work.after
        self.statements: dict[Node, list[Step]] = {}
        self.bare_columns = work.bare_columns()
        self._drops()
        self._alters()
        self._creates()
        self._dresses()

    def _add(self, node: Node, statements: Iterable[Sql], action: str = "") -> None:
        found = self.statements.setdefault(node, [])
        found += [Step(sql, node[1], action or node[0]) for sql in statements]

    def _drops(self) -> None:
        for key in self.work.dropped | self.work.remade:
            if self.company.gone_with(key) != key:
                continue
            fact = fact_of(self.before, key)
            if key[0] == "trigger" and self.company.detached(fact):
                continue  # of its parent's triggers a table keeps nothing
            if key in self.company.kept:
                old = f"{fact.name[:57]}__old"
                self._add(
                    ("drop", key), [Sql(f"ALTER {key[0].upper()} {key[1]} RENAME TO {quote(old)}")], "alter"
                )
                name = f"{quote(fact.schema or '')}.{quote(old)}"
                self._add(("purge", key), [Sql(f"DROP {key[0].upper()} {name}")], "drop")
            else:
                statements = list(self._drop_with_positions(fact))
                if key[0] == "index" and self.company.takes_constraints(key):
                    statements = [replace(s, text=f"{s.text} CASCADE") for s in statements]
                if self.company.kept_by_children(key):  # with the values that are in them
                    only = f"ALTER TABLE ONLY {fact.parent}"
                    statements = [
                        replace(s, text=s.text.replace(f"ALTER TABLE {fact.parent}", only, 1))
                        for s in statements
                    ]
                self._add(("drop", key), statements)

    def _alters(self) -> None:
        for key in list(self.work.changed):
            if self.work.goes(key) or self.work.comes(key):
                continue
            change = self.work.change(key)
            alter = KINDS[key[0]].alter
            if change is not None and alter is not None:
                statements = alter(change) or []
                if any(sql.early for sql in statements):
                    self._add(("early", key), [sql for sql in statements if sql.early], "alter")
                self._add(("alter", key), [sql for sql in statements if not sql.early])
            fact, old = fact_of(self.after, key), fact_of(self.before, key)
            self._add(("alter", key), self._belongings(fact, old, self.work.changed[key]))

        for old, new in self._renamed_identities():
            self._add(("alter", ("table column", str(new.parent))), rename_sequence(old, new), "alter")
        for index in self._attached_now():
            self._add(("alter", index.key), [attach_index(index)])
            self.work.changed.setdefault(index.key, set())

    def _drop_with_positions(self, fact: Fact) -> Iterator[Sql]:
        """Sequences that go with a table and come again start anew."""
        restarted = sorted(
            identity
            for kind, identity in self.work.remade
            if kind == "sequence" and self.company.gone_with((kind, identity)) == fact.key != (kind, identity)
        )
        more = tuple(Hazard("DELETES_DATA", f"the position of {identity}") for identity in restarted)
        for number, sql in enumerate(_drop(fact, self.work)):
            yield replace(sql, hazards=sql.hazards + more) if not number else sql

    def _renamed_identities(self) -> Iterator[tuple[Fact, Fact]]:
        """Sequences of identity columns that stay, under another name: an identity has just one."""
        for key in self.work.created:
            new = fact_of(self.after, key)
            if key[0] == "sequence" and new.attributes["of_identity"]:
                column = self.before.get("table column", new.parent or "")
                if column is not None and not self.work.goes(column.key):
                    for old in self.before.children(column, "sequence"):
                        if old.attributes["of_identity"] and old.key in self.work.dropped:
                            yield old, new

    def _attached_now(self) -> Iterator[Fact]:
        """Indexes of partitions that stay, and become part of another index."""
        for key in [heir for family in self.after.heirs.values() for heir in family if heir[0] == "index"]:
            new = fact_of(self.after, key)
            old = self.before.get(*new.key)
            remade = self.work.comes(("index", str(new.origin)))
            stays = old is not None and not self.work.goes(key) and not self.company.attached_later(new)
            if old is not None and stays and (old.origin != new.origin or remade):
                yield new

    def _creates(self) -> None:
        for key in self.work.created | self.work.remade:
            fact = fact_of(self.after, key)
            if self.company.brought_by(key) == key:
                statements = [
                    replace(sql, hazards=sql.hazards + _creation_hazards(fact, self.work)) if not n else sql
                    for n, sql in enumerate(self._creation(fact))
                ]
                if fact.kind == "type" and len(statements) > 1:  # a shell: its functions come before the rest
                    self._add(("alter", key), statements[1:], "create")
                    del statements[1:]
                self._add(("create", key), statements)
                indexes = [fact] if key[0] == "index" else self.after.children(fact, "index")
                if key[0] in ("index", "table constraint") and not self.company.attached_later(fact):
                    self._add(("create", key), [attach_index(index) for index in indexes if index.origin])
            self._later(fact)

    def _creation(self, fact: Fact) -> list[Sql]:
        make = KINDS[fact.kind].create
        if make is None:
            return []
        if fact.kind == "role":
            text = make(fact, self.after)[0]
            return [Sql(f"DO $$ BEGIN {text}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")]
        if fact.key in self.work.bare:
            maker = create.table if fact.kind == "table" else create.foreign_table
            return [Sql(text) for text in maker(fact, self.after, defaults=False)]
        if fact.kind == "table" and fact.key in self.work.remade and fact.attributes["partition_key"]:
            return [Sql(text) for text in create.table(fact, self.after, again=True)]
        if fact.kind in ("function", "procedure"):
            return [Sql(text.replace("CREATE OR REPLACE", "CREATE", 1)) for text in make(fact, self.after)]
        table = self.after.get("table", fact.parent or "") if fact.kind == "policy" else None
        if table is not None and table.extension and self.work.comes(("extension", quote(table.extension))):
            # Its extension's script may have made it: a policy is never recorded as a member.
            drop = Sql(f"DROP POLICY IF EXISTS {quote(fact.name)} ON {fact.parent}")
            return [drop, *(Sql(text) for text in make(fact, self.after))]
        return [Sql(text) for text in make(fact, self.after)]

    def _later(self, fact: Fact) -> None:
        """What CREATE leaves to ALTER, and the belongings."""
        kind, key = KINDS[fact.kind], fact.key
        initial = self._initial(fact)
        old = replace(fact, attributes=fact.attributes | initial) if initial else fact
        differing = {a for a, value in fact.attributes.items() if value != old.attributes[a]} - set(
            BELONGINGS
        )
        if key in self.bare_columns:
            differing.add("default")
            old = replace(old, attributes=old.attributes | {"default": None})
        if differing and kind.alter is not None:
            for names in (differing - _LAST, differing & _LAST):
                if names:
                    change = Change(old, fact, frozenset(names), self.after, self.after, self.work.version)
                    own = (
                        self.company.brought_by(key) == key
                        and not names & _LAST
                        and key not in self.bare_columns
                    )
                    self._add(("create" if own else "alter", key), kind.alter(change) or [], "alter")
        column = self.before.get("table column", fact.parent or "") if fact.kind == "sequence" else None
        if column is not None and not self.work.goes(column.key) and not fact.attributes["of_identity"]:
            self._add(("alter", key), [go_on(fact, self.after.get(*column.key) or column)], "alter")

    def _dresses(self) -> None:
        for key in self.work.created | self.work.remade:
            fact = fact_of(self.after, key)
            bare = self._undressed(fact)
            names = {name for name in BELONGINGS if name in bare and fact.attributes.get(name) != bare[name]}
            old = replace(fact, attributes=fact.attributes | bare) if names else fact
            own = self.company.brought_by(key) == key and not (
                key[0] == "type" and ("alter", key) in self.statements
            )
            statements = self._belongings(fact, old, names)
            self._add(("create" if own else "alter", key), statements, "alter")

    def _initial(self, fact: Fact) -> dict[str, Value]:
        """The attributes of *fact* right after its CREATE that are not what they shall be."""
        found = KINDS[fact.kind].initial(fact)
        if fact.kind.endswith("table column"):
            parent = self.after.get("table", fact.parent or "")
            origin = self.after.get(fact.kind, fact.origin or "")
            partition = parent is not None and parent.attributes["partition_bound"]
            declared = "column" in str(fact.attributes.get("declared"))
            plain = origin is not None and not partition and not declared
            if origin is not None and plain and self.company.brought_by(fact.key) != fact.key:
                kept = set(BELONGINGS) | {"position", *KINDS[fact.kind].lenient}
                given = {a: v for a, v in origin.attributes.items() if a not in kept}
                if str(given["not_null"]).endswith("NO INHERIT"):
                    given["not_null"] = None
                return given | {
                    "not_null_comment": None,
                    "identity_generation": None,
                }  # children inherit neither
        if fact.kind == "table constraint" and self.company.brought_by(fact.key) != fact.key:
            origin = self.after.get(fact.kind, fact.origin or "")
            definition = origin.attributes["definition"] if origin else None
            if definition == f"{fact.attributes['definition']} NOT VALID":
                found["definition"] = definition  # as its parent's, until it is validated
        return found

    def _undressed(self, fact: Fact) -> dict[str, Value]:
        """The belongings of an object that was just created."""
        found: dict[str, str | int | bool | tuple[str, ...] | None] = {
            "grants": fact.attributes["initial"] if fact.kind == "initial privileges" else self._given(fact),
            **dict.fromkeys(COMMON),
        }
        owner = fact.attributes.get("owner")
        if "owner" in fact.attributes:
            found["owner"] = (
                quote(str(self.before.manifest.get("role"))) if not self._follows_owner(fact) else owner
            )
        return found

    def _follows_owner(self, fact: Fact) -> bool:
        """Whether the owner comes from elsewhere: an owned sequence has that of its table."""
        if fact.kind != "sequence" or not fact.attributes["owned_by"]:
            return False
        return bool(fact.attributes["of_identity"]) or not self.work.comes(fact.key)

    def _belongings(self, fact: Fact, old: Fact, names: set[str]) -> list[Sql]:
        statements: list[Sql] = []
        if "owner" in names and not self._follows_owner(fact):
            statements += belongings.owner(fact)
        held = old.attributes.get("grants")
        if "grants" in names or (held and "owner" in names):
            owner = self._owner(fact, self.after)
            former = self._owner(old, self.before)
            statements += belongings.grants(
                fact, held, owner=owner, given_away=owner != former, former=former
            )
        if "comment" in names:
            statements += belongings.comment(fact)
        if "security_labels" in names:
            statements += belongings.security_labels(fact, old.attributes.get("security_labels"))
        return statements

    def _owner(self, fact: Fact, snapshot: Snapshot) -> str:
        """The role that $owner stands for."""
        if fact.kind.endswith(" column"):
            for kind in KINDS[fact.kind].parents:
                if (whole := snapshot.get(kind, fact.parent or "")) is not None:
                    return str(whole.attributes["owner"])
        if fact.kind == "default acl":
            return _default_owner(fact)
        if fact.kind == "initial privileges":
            return _FIRST
        return str(fact.attributes.get("owner"))

    def _given(self, fact: Fact) -> tuple[str, ...] | None:
        """What default privileges of this database give to a new object; those that are dropped are gone by then."""
        role, found = str(self.before.manifest.get("role")), list[str]()
        for rule in self.before.iter("default acl"):
            what = rule.identity.rpartition(" on ")[2]
            if (
                fact.kind in _GIVEN.get(what, ())
                and "grants" in fact.attributes
                and rule.schema in (None, fact.schema)
                and _default_owner(rule) == quote(role)
                and not self.work.goes(rule.key)
            ):
                found += tuple_of(rule.attributes["grants"])
        # An owner holds everything anyway, and facts do not say so.
        return tuple(g for g in found if not (g.startswith("GRANT") and g.endswith(f" TO {OWNER}"))) or None


def _drop(fact: Fact, work: Work) -> list[Sql]:
    kind = KINDS[fact.kind]
    hazards: tuple[Hazard, ...] = ()
    match fact.kind:
        case "table":
            partitions = [f for f in work.before.children(fact, "table") if work.goes(f.key)]
            if partitions or not fact.attributes["partition_key"]:  # a partitioned table has none of its own
                hazards = (Hazard("DELETES_DATA", f"all rows of {fact.identity}"),)
        case "table column" if not fact.attributes["generated"]:
            hazards = (Hazard("DELETES_DATA", f"all values of {fact.identity}"),)
        case "composite type column":
            hazards = (Hazard("DELETES_DATA", f"that part of every value of {fact.parent}"),)
            return [Sql(kind.drop(fact.identity) + create.cascading(fact, work.before), hazards)]
        case "sequence":
            hazards = (Hazard("DELETES_DATA", f"the position of {fact.identity}"),)
            if fact.attributes["of_identity"]:
                return []
        case "extension":
            hazards = (Hazard("DELETES_DATA", "whatever the extension keeps"),)
        case "policy" if not fact.attributes["permissive"]:
            hazards = (Hazard("OPENS_ACCESS", "what it restricted"),)
        case "role" | "view column" | "materialized view column":
            return []  # a role may be in use elsewhere in the cluster
        case "initial privileges":
            initial = replace(fact, attributes=fact.attributes | {"grants": fact.attributes["initial"]})
            return belongings.grants(initial, fact.attributes["grants"], owner=_FIRST)
        case "default acl":
            empty = replace(fact, attributes=fact.attributes | {"grants": None})
            return belongings.grants(empty, fact.attributes["grants"], owner=_default_owner(fact))
        case "subscription":
            what = f"ALTER SUBSCRIPTION {fact.identity}"
            return [
                Sql(f"{what} DISABLE"),
                Sql(f"{what} SET (slot_name = NONE)"),
                Sql(kind.drop(fact.identity)),
            ]
        case "type" if fact.attributes["variant"] == "base" or fact.attributes["canonical"]:
            return [Sql(f"{kind.drop(fact.identity)} CASCADE", hazards)]  # with its functions
    return [Sql(kind.drop(fact.identity), hazards)]


def _default_owner(fact: Fact) -> str:
    return fact.identity.removeprefix("for role ").rpartition(" on ")[0].partition(" in schema ")[0]


def _creation_hazards(fact: Fact, work: Work) -> tuple[Hazard, ...]:
    """What creating something on a table that is in use can do."""
    found: list[Hazard] = []
    if any(value.endswith("=***") for v in fact.attributes.values() if isinstance(v, tuple) for value in v):
        found.append(Hazard("NEEDS_SECRET", f"an option of {fact.identity}"))
    if fact.kind == "subscription":
        found.append(Hazard("NEEDS_SECRET", "the connection string"))
    table = (fact.parent or "").rpartition(" on ")[2]
    if work.before.get("table", table) is None or work.comes(("table", table)):
        return tuple(found)
    value = fact.attributes
    if fact.kind == "index" and value["definition"]:
        found.append(Hazard("BLOCKS_WRITES"))
        if str(value["definition"]).startswith("CREATE UNIQUE"):
            found.append(Hazard("MAY_FAIL_ON_DATA", "rows with equal keys"))
    elif fact.kind == "table constraint" and not str(value["definition"]).endswith(" NOT VALID"):
        found += [Hazard("MAY_FAIL_ON_DATA", "rows that break it"), Hazard("SCANS_TABLE")]
    elif fact.kind == "table column":
        if value["generated"] == "stored" or value["identity_generation"]:
            found.append(Hazard("REWRITES_TABLE"))
        elif value["not_null"] and value["default"] is None:
            found.append(Hazard("MAY_FAIL_ON_DATA", "any row: it would have no value"))
    return tuple(found)
