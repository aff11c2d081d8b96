"""Which objects were renamed, so that nothing is dropped that only has another name.

Three witnesses, in this order: the user (``--rename``); the object itself, where both sides are clones of one cluster
and it has kept its oid; its shape, where exactly one object that is missing and one that is unexpected are alike. A
rename loses nothing and can be taken back, so even the last witness is believed, but every statement says why.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from auditkit.catalog.compare import Comparison, compare
from auditkit.catalog.grants import unquote
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import COMMON, Fact, Key, Snapshot, Table
from auditkit.catalog.sql import last, quote, tuple_of
from auditkit.errors import ConfigError
from auditkit.resolve.closing import Step
from auditkit.resolve.renamed import Rename, Renamed, identity_as, name_of, nameless, occupied

Again = Callable[[Snapshot], Comparison]
_Place = tuple[str, Table, int]  # kind, its facts, position

#: Kinds that cannot be renamed, or whose objects belong to the whole cluster.
_FIXED = frozenset(
    (
        "database", "setting", "role", "role membership", "extension", "access method", "operator", "cast", "transform",
        "operator of access method", "function of access method", "user mapping", "publication relation",
        "publication namespace", "default acl", "initial privileges", "materialized view column",
    )
)  # fmt: skip
#: What people call some kinds.
_SHORT = {
    "column": ("table column", "foreign table column", "view column", "composite type column"),
    "constraint": ("table constraint", "domain constraint"),
    "attribute": ("composite type column",),
    "domain": ("type",),
    "enum": ("type",),
    "routine": ("function", "procedure", "aggregate"),
}
#: Where wholes come before their parts, so that a part is recognised by its whole's new name.
_ORDER = (
    "schema", "type", "table", "foreign table", "view", "materialized view", "sequence", "function", "procedure",
    "composite type column", "table column", "foreign table column", "view column", "table constraint",
    "domain constraint", "index", "trigger", "policy",
)  # fmt: skip
_BELONGINGS = frozenset(("owner", "grants", *COMMON))


def recognise(
    before: Snapshot,
    after: Snapshot,
    differences: Comparison,
    *,
    known: Sequence[Rename] = (),
    guess: bool = True,
    again: Again | None = None,
) -> tuple[list[Step], Snapshot, Comparison]:
    """The renames that turn *before* a bit into *after*, what it will be like then, and how that still differs.

    Args:
        before, after: snapshots with their edges.
        differences: how they differ.
        known: renames that need no witness; see ``told``.
        guess: whether to look for others.
        again: compares another *before* with *after* as *differences* were found.

    Raises:
        ConfigError: what the user told is not on the other side.
    """
    again = again or (lambda snapshot: compare(snapshot, after))
    steps: list[Step] = []

    def apply(found: list[Rename]) -> None:
        nonlocal before, differences
        if done := _apply(before, after, found):
            steps.extend(done[0])
            before = done[1]
            differences = again(before)

    apply([*known])
    if guess:
        apply(list(_clones(before, after, differences)))
        seen: set[tuple[Key, str]] = set()
        while found := [r for r in _alike(before, after, differences) if (r.key, r.name) not in seen]:
            seen |= {(rename.key, rename.name) for rename in found}
            apply(found)
    return steps, before, differences


def _apply(before: Snapshot, after: Snapshot, renames: list[Rename]) -> tuple[list[Step], Snapshot] | None:
    """The statements, each as soon as the new name is free, and the snapshot afterwards."""
    if not renames:
        return None
    copy, steps = Renamed(before), list[Step]()
    taken = {name for fact in before for name in occupied(fact)}
    waiting = sorted(renames, key=lambda r: _ORDER.index(r.key[0]) if r.key[0] in _ORDER else len(_ORDER))
    while waiting:
        free = [r for r in waiting if not _names(copy.fact(r.key), r) & taken]
        if not free:
            stuck = [r for r in waiting if r.evidence == TOLD]
            if stuck:
                raise ConfigError(
                    f"--rename: {stuck[0].key[1]}: the name {stuck[0].name} is taken on the left"
                )
            break
        rename = free[0]
        waiting.remove(rename)
        if rename.schema is not None and copy.lacks_schema(rename.schema):
            key = ("schema", quote(rename.schema))
            steps.append(Step(copy.create_schema(rename.schema), key, "create"))
        taken -= occupied(copy.fact(rename.key))
        statements = copy.rename(rename)
        fact = copy.fact(rename.key)
        taken |= occupied(fact)
        if rename.evidence == TOLD and not _there(fact, rename, after):
            raise ConfigError(f"--rename: there is no {fact.kind} {_shown(fact, rename)} on the right")
        steps += [Step(sql, fact.key, "rename", rename.evidence) for sql in statements]
    return (steps, copy.result()) if steps else None


def _names(fact: Fact, rename: Rename) -> set[tuple[str, str]]:
    """The names an object would occupy that are not its own already."""
    if rename.label is not None:
        return set()
    new = replace(fact, identity=identity_as(fact, rename.name, rename.schema))
    return occupied(new) - occupied(fact)


# --- told by the user --------------------------------------------------------------------------------------------

TOLD = "told by --rename"


def told(texts: Iterable[str], before: Snapshot) -> list[Rename]:
    """What the user says, each ``KIND:OLD=NEW``: names as in SQL, OLD with its schema, NEW as OLD or alone.

    Raises:
        ConfigError: a text is not written so, or OLD is not on the left.
    """
    return [_told(text, before) for text in texts]


def _told(text: str, before: Snapshot) -> Rename:
    kind, colon, names = text.partition(":")
    kind = kind.strip().lower()
    match = re.fullmatch(r'((?:"(?:[^"]|"")*"|[^"=])+)=(.+)', names.strip())
    if not colon or match is None:
        raise ConfigError(
            f'--rename {text}: must be KIND:OLD=NEW, for example "table:public.a=public.b" or "column:public.t.x=y"'
        )
    if kind in _FIXED:
        raise ConfigError(f"--rename {text}: a {kind} is not renamed by auditkit; do it by hand first")
    if kind not in ("label", *_SHORT, *KINDS):
        close = get_close_matches(kind, ["label", *_SHORT, *KINDS], n=1)
        hint = f"did you mean '{close[0]}'?" if close else "kinds are listed in docs/kinds.md"
        raise ConfigError(f"--rename {text}: unknown kind '{kind}'; {hint}")
    old, new = match[1].strip(), match[2].strip()
    if kind == "label":
        return _label_told(text, old, new, before)
    fact = next((f for k in _SHORT.get(kind, (kind,)) if (f := before.get(k, old))), None)
    if fact is None:
        raise ConfigError(f"--rename {text}: there is no {kind} {old} on the left")
    if fact.extension:
        raise ConfigError(f"--rename {text}: it belongs to the extension {fact.extension}")
    bare = _NEW.match(new)
    new = bare[0] if bare else ""
    name = last(new)
    schema = unquote(new.removesuffix(name).rstrip(".")) if _stands_in_schema(fact) else ""
    return Rename(fact.key, unquote(name), TOLD, schema if schema and schema != fact.schema else None)


#: A name, qualified or not, without arguments or ``on …``.
_NEW = re.compile(r'(?:"(?:[^"]|"")*"|[^"( ])*')


def _label_told(text: str, old: str, new: str, before: Snapshot) -> Rename:
    for fact in before.iter("type"):
        label = unquote(old.removeprefix(f"{fact.identity}."))
        if old.startswith(f"{fact.identity}.") and label in tuple_of(fact.attributes["labels"]):
            return Rename(fact.key, unquote(new.removeprefix(f"{fact.identity}.")), TOLD, label=label)
    raise ConfigError(f"--rename {text}: there is no label {old} on the left")


def _stands_in_schema(fact: Fact) -> bool:
    """Whether its identity begins with a schema of its own, into another of which it can be moved."""
    part = "{parent}" in KINDS[fact.kind].identity or fact.kind == "index"
    return fact.schema is not None and fact.kind != "schema" and not part


def _there(fact: Fact, rename: Rename, after: Snapshot) -> bool:
    """Whether the right side has what the user says the object is called there."""
    found = after.get(*fact.key)
    if rename.label is None or found is None:
        return found is not None
    return rename.name in tuple_of(found.attributes["labels"])


def _shown(fact: Fact, rename: Rename) -> str:
    return fact.identity if rename.label is None else f"{fact.identity}.{quote(rename.name)}"


# --- the same object in a clone ----------------------------------------------------------------------------------

#: So many rows must be the very same on both sides before they are called clones.
_ENOUGH = 3
#: Kinds whose names are not in their main rows.
_NAMED_APART = ("index", "sequence")
_SHARED = frozenset({"role", "role membership", "setting", "database", "subscription"})


def _clones(before: Snapshot, after: Snapshot, differences: Comparison) -> Iterator[Rename]:
    """Objects that have another name but the oid of one that was there before the sides parted.

    Two rows with one address that the same transaction wrote are the same row, if the sides are clones; then they
    have the same name. The latest transaction that both sides share is older than their parting, so an object
    that was written up to then cannot have given its oid (or a column its number) to another; and of two rows with
    one address that different transactions wrote, one was written later. What is not so shows that oids and
    transactions are alike by chance: scripts that begin alike were run on two clusters.
    """
    came = {key for d in differences if d.change == "unexpected" for key in (d.key, *d.children)}
    if not came:
        return
    parted, same = 0, 0
    other_name: list[tuple[Fact, Fact]] = []
    unlike = sys.maxsize  # of the rows that differ, the earliest by which they do
    for (kind, ours, i), (other_kind, theirs, j) in _same_addresses(before, after):
        wrote = {"": (ours.xmins[i], theirs.xmins[j])}
        here, there = _written(ours, i), _written(theirs, j)
        wrote |= {catalog: (xid, there[catalog]) for catalog, xid in here.items() if catalog in there}
        row = ours.xmins[i] and here == there and ours.xmins[i] == theirs.xmins[j]
        unlike = min([unlike, *(max(xids) for xids in wrote.values() if xids[0] != xids[1])])
        if kind == other_kind and ours.identities[i] == theirs.identities[j]:
            if row:
                same += 1
                parted = max(parted, ours.xmins[i], *_written(ours, i).values())
            continue
        old, new = ours.fact(i), theirs.fact(j)
        renamed = kind != other_kind or name_of(old) != name_of(new)
        named = wrote.get("pg_class", (0, 0)) if kind in _NAMED_APART else wrote[""]
        if renamed and named[0] and named[0] == named[1]:
            return
        if row:
            same += 1
            parted = max(parted, *old.rows.values())
        elif kind == other_kind and new.key in came and (renamed or _moved(old, new)):
            other_name.append((old, new))
    if same < _ENOUGH or unlike <= parted:
        return
    for old, new in sorted(other_name, key=lambda pair: pair[0].key):
        written = min([*old.rows.values(), *new.rows.values()], default=parted + 1)
        if written <= parted and old.kind not in _FIXED and not old.extension and not _follows(old, before):
            number = f", number {old.subid}" if old.subid else ""
            evidence = (
                f"same object in a clone: oid {old.oid}{number}, there since transaction {written} or before"
            )
            schema = new.schema if _moved(old, new) else None
            yield Rename(old.key, name_of(new), evidence, schema)


def _same_addresses(before: Snapshot, after: Snapshot) -> Iterator[tuple[_Place, _Place]]:
    """The places of what has one address on both sides, but for what all databases of a cluster share."""
    there = {
        (KINDS[kind].classid, oid, subid): (kind, table, j)
        for kind, table in after.tables.items()
        for j, (oid, subid) in enumerate(zip(table.oids, table.subids, strict=True))
        if oid >= 16384 and kind not in _SHARED
    }
    for kind, table in before.tables.items():
        for i, (oid, subid) in enumerate(zip(table.oids, table.subids, strict=True)):
            if (other := there.get((KINDS[kind].classid, oid, subid))) is not None:
                yield (kind, table, i), other


def _written(table: Table, i: int) -> dict[str, int]:
    return {catalog: xids[i] for catalog, xids in table.written.items() if i in xids}


def _moved(old: Fact, new: Fact) -> bool:
    """Whether it went into another schema by itself."""
    return old.schema != new.schema and old.kind in (
        "table", "foreign table", "view", "materialized view", "type", "function", "procedure", "aggregate",
    )  # fmt: skip


def _follows(fact: Fact, snapshot: Snapshot) -> bool:
    """Whether it has its name from another: a constraint's index, what a child table inherits."""
    if fact.kind == "index":
        return fact.attributes["definition"] is None
    if fact.kind == "trigger":
        return fact.origin is not None and int(snapshot.manifest.get("server_version") or 0) >= 150000
    check = str(fact.attributes.get("definition")).startswith("CHECK")
    return fact.origin is not None and (fact.kind.endswith(" column") or check)


def _fact(snapshot: Snapshot, key: Key) -> Fact:
    found = snapshot.get(*key)
    assert found is not None, key
    return found


# --- the same shape ----------------------------------------------------------------------------------------------


def _alike(before: Snapshot, after: Snapshot, differences: Comparison) -> list[Rename]:
    """Pairs of a missing and an unexpected object that are alike, where there is no choice; wholes before parts."""
    gone: dict[str, list[Fact]] = defaultdict(list)
    come: dict[str, list[Fact]] = defaultdict(list)
    for delta in differences:
        if delta.change == "missing":
            gone[delta.kind].append(_fact(before, delta.key))
        elif delta.change == "unexpected":
            come[delta.kind].append(_fact(after, delta.key))
    labels = [r for d in differences if d.attribute == "labels" and (r := _label(d.key, d.left, d.right))]
    if labels:
        return labels
    for kind in _ORDER:
        pairs = _pairs(gone[kind], before, come[kind], after) if gone[kind] and come[kind] else []
        if kind == "schema":
            pairs = [pair for pair in pairs if _same_inside(*pair, before, after)]
        elif kind.endswith(" column"):
            pairs = [pair for pair in pairs if _took_its_place(*pair, before, after)]
        if pairs:
            return [Rename(old.key, name_of(new), _SAME[kind]) for old, new in pairs]
    return []


_SAME = {
    "schema": "same objects in it",
    "type": "same definition",
    "table": "same columns and constraints",
    "foreign table": "same server, columns and constraints",
    "view": "same query",
    "materialized view": "same query",
    "sequence": "same parameters and owner",
    "function": "same arguments and body",
    "procedure": "same arguments and body",
    "table constraint": "same definition",
    "domain constraint": "same definition",
    "index": "same definition",
    "trigger": "same definition",
    "policy": "same roles and expressions",
} | {kind: "same place, type and properties" for kind in KINDS if kind.endswith(" column")}


def _pairs(
    gone: Iterable[Fact], before: Snapshot, come: Iterable[Fact], after: Snapshot
) -> list[tuple[Fact, Fact]]:
    shapes: dict[Any, tuple[list[Fact], list[Fact]]] = defaultdict(lambda: ([], []))
    for side, (facts, snapshot) in enumerate(((gone, before), (come, after))):
        for fact in facts:
            shape = (
                None
                if fact.extension
                else _shape(fact, snapshot, other=after if snapshot is before else before)
            )
            if shape is not None:
                shapes[shape][side].append(fact)
    return [(old[0], new[0]) for old, new in shapes.values() if len(old) == 1 == len(new)]


def _shape(fact: Fact, snapshot: Snapshot, other: Snapshot) -> tuple[Any, ...] | None:
    """What must be alike in two objects for one to be the other under a new name; None if that says too little."""
    values = {name: v for name, v in fact.attributes.items() if name not in _BELONGINGS}
    text = values.get("definition")
    match fact.kind:
        case "schema":
            inside = [f for f in snapshot if f.schema == fact.name and f.key != fact.key]
            return tuple(sorted((f.kind, name_of(f)) for f in inside)) or None
        case "table" | "foreign table":
            columns = _columns(fact, snapshot)
            constraints = sorted(
                _without(fact, str(c.attributes["definition"]))
                for c in snapshot.children(fact, "table constraint")
            )
            kept = ("persistence", "partition_key", "partition_bound", "inherits", "of_type", "server")
            own = tuple(values.get(name) for name in kept)
            return (fact.schema, columns, tuple(constraints), own) if len(columns) > 1 else None
        case "materialized view" | "view":
            return fact.schema, text, _columns(fact, snapshot)
        case "type":
            columns = _columns(fact, snapshot)
            checks = sorted(
                str(c.attributes["definition"]) for c in snapshot.children(fact, "domain constraint")
            )
            labels = values["labels"]
            said = (
                len(labels) > 1
                if isinstance(labels, tuple)
                else len(columns) > 1 or values["variant"] == "domain"
            )
            return (fact.schema, _items(values), columns, tuple(checks)) if said else None
        case _ if _follows(fact, snapshot):
            return None
        case "index" | "trigger":
            return fact.parent, fact.origin, nameless(text), _items(values, "definition")
        case "table constraint" | "domain constraint" | "policy":
            return fact.parent, fact.origin, _items(values)
        case "sequence" | "function" | "procedure":
            return fact.schema, fact.parent, _items(values)
        case _ if fact.kind.endswith(" column"):
            values = {name: _serial(value) for name, value in values.items() if name != "position"}
            properties = _items(values), fact.attributes.get("comment")
            return fact.parent, _place(fact, snapshot, other), properties
    return None


def _items(values: dict[str, Any], *without: str) -> tuple[Any, ...]:
    return tuple(sorted((name, value) for name, value in values.items() if name not in without))


def _columns(fact: Fact, snapshot: Snapshot) -> tuple[Any, ...]:
    kind = f"{fact.kind} column" if fact.kind != "type" else "composite type column"
    found = sorted(snapshot.children(fact, kind), key=lambda c: int(str(c.attributes["position"])))
    kept = ("type", "collation", "not_null", "default", "identity_generation", "generated")
    return tuple((c.name, *(_serial(c.attributes.get(name)) for name in kept)) for c in found)


def _serial(value: Any) -> Any:
    """A default that is the next value of a sequence: the sequence's name says nothing, as it is made of the table's."""
    return "nextval" if isinstance(value, str) and value.startswith("nextval(") else value


def _without(fact: Fact, text: str) -> str:
    """A text without the object's own name: a foreign key that refers to its own table."""
    return text.replace(fact.identity, "")


def _place(fact: Fact, snapshot: Snapshot, other: Snapshot) -> tuple[str | None, int]:
    """Where a column stands among its siblings: behind which one that both sides have, and how far."""
    family = _family(fact, snapshot)
    above = family[: [column.key for column in family].index(fact.key)]
    shared = [n for n, column in enumerate(above) if other.get(*column.key) is not None]
    return (above[shared[-1]].name, len(above) - shared[-1]) if shared else (None, len(above))


def _family(fact: Fact, snapshot: Snapshot) -> list[Fact]:
    """A column and its siblings, in order."""
    whole = next(w for kind in KINDS[fact.kind].parents if (w := snapshot.get(kind, fact.parent or "")))
    return sorted(snapshot.children(whole, fact.kind), key=lambda c: int(str(c.attributes["position"])))


def _took_its_place(old: Fact, new: Fact, before: Snapshot, after: Snapshot) -> bool:
    """Whether a column may be another one under a new name, by their numbers.

    A gap in the numbers shows that one was dropped: then the other may have been added, unless its number is the same.
    """

    def gaps(fact: Fact, snapshot: Snapshot) -> bool:
        return fact.subid > [column.key for column in _family(fact, snapshot)].index(fact.key) + 1

    return old.subid == new.subid or not (gaps(old, before) or gaps(new, after))


def _label(key: Key, left: object, right: object) -> Rename | None:
    """The one label of an enum that differs, at the same place."""
    if (
        not isinstance(left, tuple)
        or not isinstance(right, tuple)
        or len(left) != len(right)
        or len(left) < 2
    ):
        return None
    changed = [(was, now) for was, now in zip(left, right, strict=True) if was != now]
    if len(changed) != 1 or changed[0][1] in left:
        return None
    ((was, now),) = changed
    return Rename(key, now, "same place among the same labels", label=was)


def _same_inside(old: Fact, new: Fact, before: Snapshot, after: Snapshot) -> bool:
    """Whether nothing in a schema would differ once it is renamed, and something worth keeping is in it."""
    if not any(
        fact.kind in ("table", "materialized view", "sequence") for fact in before if fact.schema == old.name
    ):
        return False
    trial = Renamed(before)
    trial.rename(Rename(old.key, new.name, ""))
    left = compare(trial.result(), after)
    return not any(delta.schema == new.name and delta.attribute not in _BELONGINGS for delta in left)
