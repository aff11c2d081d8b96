"""What is left when history has had its say: done by hand, or not to be told.

One hand can do much at once: DROP … CASCADE, a new name, other default privileges. What follows from one act
is one finding; two acts stay two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from auditkit.catalog.compare import Delta
from auditkit.catalog.grants import OWNER
from auditkit.catalog.kinds import KINDS
from auditkit.catalog.snapshot import Snapshot
from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.halfway import perhaps_stopped
from auditkit.causes.search import Search, listed, name_of, shown
from auditkit.history.shadow import Change
from auditkit.history.split import split

#: As many objects of one name in different schemas make one finding (a schema for every tenant).
_TENANTS = 3
#: So many pairs of missing and unexpected objects of a kind are held against each other, to find new names.
_PAIRS = 1000
#: A statement that runs text which it puts together; a trigger executes a function, which puts nothing together.
_RUNS_TEXT = re.compile(r"\bexecute\b(?!\s+(?:function|procedure)\b)", re.I)

#: A statement that leaves what is there already as it is.
_IF_NOT_THERE = re.compile(r"\bif\s+not\s+exists\b", re.I)


def by_hand(search: Search) -> None:
    if search.case.ledger_readable:
        _default_privileges(search)
    one = _one if search.case.ledger_readable else _without_ledger
    for key, rest in _tenants(search, search.families()).items():
        one(search, key, rest)


def _one(search: Search, key: Key, rest: list[Key]) -> None:
    """One act: what happened to *key*, and to *rest* because of that."""
    case, env = search.case, search.env
    deltas = search.open[key]
    missing, unexpected = (any(d.change == c for d in deltas) for c in ("missing", "unexpected"))
    evidence = [_content_evidence(search, key, missing, unexpected), *_xmin_evidence(search, key)]
    culprit, group = search.definer(key, [d.attribute for d in deltas if d.attribute]), [key, *rest]
    mention = None if missing else _unreplayed(search, group, unexpected)
    if mention and _joined(search, mention[0], group):
        return
    if mention:
        search.add(
            "unknown",
            "conjecture",
            f"{name_of(key)} {'is unexpected' if unexpected else 'differs'} in {env}, and {mention[1]}",
            group,
            entry=mention[0],
            evidence=[Evidence("replay", mention[2]), *evidence],
            alternatives=[("manual_change", "It may have been changed by hand.")],
        )
        return
    writer, placed = _own_writer(search, key), {d.attribute for d in deltas} == {"position"}
    if writer and not placed:  # where a column stands depends on the columns that were there
        _by_migration_itself(search, writer, group, evidence)
        return
    if placed and (writer or not case.ordered) and (maker := search.writer(key)):
        search.add(
            "out_of_order",
            "conjecture",
            f"{name_of(key)} stands in another place in {env}",
            group,
            entry=maker[0],
            evidence=[
                *evidence,
                Evidence("xmin", "Other columns were there when it was added.")
                if writer
                else Evidence("ledger", "Nothing tells the order in which migrations were applied."),
            ],
            alternatives=[("manual_change", "It may have been dropped and added again by hand.")],
        )
        return
    known = case.intended is not None or case.applied is not None
    alternatives = []
    if missing and (defined := search.writer(key)) and _only_effect(search, defined[0], deltas[0], rest):
        alternatives.append(
            (
                "recorded_not_applied",
                f"It is all that {defined[0].label} does; it may never have run here.",
            )
        )
    for entry in _lacked(search, key):
        if perhaps_stopped(search, entry, group):
            says = (
                f"It is all that the last statements of {entry.label} do, which may have stopped before them."
            )
            alternatives.append(("partial_apply", says))
            break
    if known:
        alternatives += _not_excluded(search, key)
    search.add(
        "manual_change" if known else "unknown",
        "consistent" if known and (search.calibration.exact or not missing) else "conjecture",
        _title(search, key, deltas, rest),
        group,
        culprit=culprit,
        evidence=evidence,
        alternatives=alternatives,
    )


def _lacked(search: Search, key: Key) -> list[Entry]:
    """The recorded migrations of which something lacks on an object: who made it, who last changed or dropped it."""
    applied, defined = search.case.applied, search.writer(key)
    found = [defined[0]] if defined and search.actual(key) is None else []
    last = applied.last_writer(key) if applied else None
    if applied and last and last.step in search.by_applied and search.actual(key) is not None:
        before, after = applied.state_before(key, last.step), last.fact
        lacks = {d.attribute for d in search.open[key]} & {*search.differing(before, after), None}
        if before is None or (lacks and not lacks & search.differing(before, search.actual(key))):
            found.append(search.by_applied[last.step])
    return found


def _not_excluded(search: Search, key: Key) -> Iterator[tuple[str, str]]:
    """What would look the same as far as transaction ids and the ledger tell: another order, another text."""
    case, actual = search.case, search.actual(key)
    replay = case.applied or case.intended
    states = [c.fact for c in replay.timeline.get(key, ())[:-1]] if replay else []
    # A column that was added late stands in another place.
    place = {KINDS[key[0]].ordinal} if key[0] in KINDS else set()
    earlier = any(search.differing(s, actual) <= place for s in states if s and actual)
    exact = search.calibration.exact
    if not exact and not case.ordered and (earlier or all(map(_reordered, search.open[key]))):
        yield (
            "out_of_order",
            "It is as an earlier migration left it, which may have been applied later than the files say."
            if earlier
            else "It has what the migrations give it in another order, which may be that of their application.",
        )
    writer = search.writer(key)
    touched = exact and (search.calibration.foreign(actual) or search.open[key][0].change == "unexpected")
    if writer and writer[0].recorded and writer[0].content is None and not touched:
        yield "edited_after_apply", f"{writer[0].label} may have had another text when it was applied."


def _reordered(delta: Delta) -> bool:
    """Whether both sides have the same, in another order: the labels of an enum."""
    left, right = delta.left, delta.right
    return isinstance(left, tuple) and isinstance(right, tuple) and sorted(left) == sorted(right)


def _without_ledger(search: Search, key: Key, rest: list[Key]) -> None:
    """A difference where nobody may know which migrations were applied: it may be a skipped one as well as a hand."""
    deltas, replay, actual = search.open[key], search.case.intended, search.actual(key)
    change = deltas[0].change
    alternatives = [("manual_change", "It may have been changed by hand.")]
    writer = search.writer(key)
    if replay and writer and search.same(replay.state_before(key, writer[1].step), actual):
        alternatives.insert(0, ("missing_migration", f"It is as if {writer[0].label} had not been applied."))
    search.add(
        "unknown",
        "conjecture",
        f"{name_of(key)} {'differs' if change == 'changed' else f'is {change}'} in {search.env}, whose ledger "
        "could not be read",
        [key, *rest],
        culprit=search.definer(key),
        evidence=[_content_evidence(search, key, change == "missing", change == "unexpected")],
        alternatives=alternatives,
    )


def _title(search: Search, key: Key, deltas: list[Delta], rest: list[Key]) -> str:
    env, change = search.env, deltas[0].change
    schemas = {k[1].split(".", 1)[0] for k in (key, *rest)}
    alike = {_bare(k) for k in (key, *rest)} == {_bare(key)} and len(schemas) > 1
    name = f"{key[0].removeprefix('table ')} {_bare(key)[1]}" if alike else name_of(key)
    where = f"in {len(schemas)} schemas of {env}" if alike else f"in {env}"
    if search.case.intended is None:  # compared with another environment: nobody knows who did what
        differs = {"missing": "is not there", "unexpected": "is there only"}.get(change, "differs")
        return f"{name} {differs} {where}"
    if change == "missing":
        return f"{name} was dropped by hand {where}"
    if change == "unexpected":
        if search.case.applied and search.case.applied.final.get(*key):
            return f"{name}, which a migration without a file made, was changed by hand {where}"
        return f"{name} was made by hand {where}; no migration creates it"
    if any(d.attribute == "row_security" and d.right is False for d in deltas):
        return f"row level security of {key[1]} was switched off by hand {where}"
    if len(deltas) == 1 and deltas[0].attribute == "enabled":
        return f"{name} was set to {shown(deltas[0].right)} by hand {where}"
    what = listed(dict.fromkeys((d.attribute or "").replace("_", " ") for d in deltas))
    return f"{name} was changed by hand {where} ({what})"


# --- evidence --------------------------------------------------------------------------------------------


def _content_evidence(search: Search, key: Key, missing: bool, unexpected: bool) -> Evidence:
    replay, writer = search.case.intended, search.writer(key)
    if replay is None:
        return Evidence("compare", "Nothing could be replayed, so only the difference itself is known.")
    where = ""
    if writer:
        where = _place(search, writer[1])
    runs = f"{len(replay.steps)} migrations"
    if missing:
        return Evidence(
            "replay",
            f"The migrations make it ({where or 'in the platform part'}) and none of them drops it; here it is gone.",
        )
    if unexpected:
        dropped = replay.last_writer(key)
        return Evidence(
            "replay",
            f"The migrations drop it ({_place(search, dropped)}), and it is here."
            if dropped
            else f"None of the {runs} creates it, in any state of the replay.",
        )
    actual = search.actual(key)
    for change in reversed(replay.timeline.get(key, [])[:-1]):
        if search.same(change.fact, actual) and change.step in search.by_intended:
            old = search.by_intended[change.step]
            return Evidence(
                "replay",
                f"It is what {old.label} left, before {where} changed it: that change is not here.",
            )
    return Evidence(
        "replay",
        f"In no state of the replay of {runs} was it like this; last defined in {where or 'the platform part'}.",
    )


def _place(search: Search, change: Change) -> str:
    entry = search.by_intended.get(change.step)
    if entry is None:
        return "in the platform part"
    return f"{entry.file or entry.label}{f', line {change.line}' if change.line else ''}"


def _xmin_evidence(search: Search, key: Key) -> list[Evidence]:
    actual = search.actual(key)
    if not search.calibration.exact or actual is None or not actual.xmins:
        return []
    by_xid = search.calibration.by_xid
    foreign = [x for x in actual.xmins if x not in by_xid]
    if not foreign:
        names = listed(dict.fromkeys(e.label for x in actual.xmins for e in by_xid.get(x, ())))
        return [Evidence("xmin", f"Its catalog rows were written in the transactions of {names}.")]
    return [
        Evidence(
            "xmin",
            f"Transaction {max(foreign)} wrote to its catalog rows, and no migration was recorded in it.",
        )
    ]


# --- not by hand after all ---------------------------------------------------------------------------


def _own_writer(search: Search, key: Key) -> Entry | None:
    """The recorded migration whose own transaction wrote this content, which its text does not give.

    ``supabase migration repair --status applied`` replaces the stored statements by the file's, so equal
    text does not prove that the text was run.
    """
    actual, by_xid = search.actual(key), search.calibration.by_xid
    if not search.calibration.trusted or actual is None or not actual.xmins:
        return None
    if any(x not in by_xid for x in actual.xmins):
        return None
    if all(d.attribute == "comment" and d.right is None for d in search.open[key]):
        return None  # a comment has a row of its own, which is gone
    writers = {e.label: e for x in actual.xmins for e in by_xid[x]}
    if any(d.change == "unexpected" for d in search.open[key]):
        return next(iter(writers.values())) if len(writers) == 1 else None
    replay = search.case.applied or search.case.intended
    change = replay.last_writer(key) if replay else None
    steps = search.by_applied if replay is search.case.applied else search.by_intended
    entry = steps.get(change.step) if change else None
    if change and not search.calibration.exact and _IF_NOT_THERE.search(change.statement or ""):
        return None  # it found it there and did nothing, so the transaction beside its row is a hand's
    return entry if entry and entry.label in writers else None


def _by_migration_itself(search: Search, writer: Entry, group: list[Key], evidence: list[Evidence]) -> None:
    """A migration made this in its own transaction, though its text does not: another text, or other data."""
    if _joined(search, writer, group):
        return
    if writer.state == "unknown":
        search.add(
            "unknown_migration",
            "consistent",
            f"{search.env} ran {writer.label}, which is not in the repository",
            group,
            entry=writer,
            evidence=[
                Evidence("ledger", f"The ledger records version {writer.version}, and no file has it."),
                *evidence,
            ],
        )
        return
    if writer.edits or not any(d.change == "unexpected" for d in search.open[group[0]]):
        search.add(
            "edited_after_apply",
            "consistent",
            f"{writer.label} was edited after {search.env} had applied it",
            group,
            entry=writer,
            evidence=evidence,
            alternatives=[("manual_change", "A hand-made change in the migration's own transaction.")],
        )
        return
    search.add(
        "unknown",
        "conjecture",
        f"{writer.label} made {name_of(group[0])} in {search.env}, though a replay of it does not",
        group,
        entry=writer,
        evidence=evidence,
        alternatives=[
            (
                "environment_difference",
                "What the migration makes may depend on rows that only this database has.",
            ),
            ("edited_after_apply", "It may have had another text when it was run."),
        ],
    )


def _joined(search: Search, entry: Entry, group: list[Key]) -> bool:
    """Add *group* to what is already said about that migration, if anything is."""
    for finding in search.findings:
        if finding.entry is entry and finding.cause in ("edited_after_apply", "unknown", "unknown_migration"):
            finding.objects += group
            finding.deltas += search.take(group)
            return True
    return False


def _unreplayed(search: Search, group: list[Key], unexpected: bool) -> tuple[Entry, str, str] | None:
    """A migration that may well have made this but could not show it: (it, in a title, in a sentence)."""
    for replay, steps in (
        (search.case.intended, search.by_intended),
        (search.case.applied, search.by_applied),
    ):
        for failure in replay.failures if replay else ():
            entry = steps.get(failure.step)
            if replay is not search.case.intended and search.ran and _runs(search, entry):
                continue  # it only lacked what had run without being recorded
            if replay and entry and _mentions(replay.steps[failure.step].sql, group[:1]):
                says = f"{entry.label} mentions it and failed in the shadow database."
                return entry, f"{entry.label} could not be replayed", says
    if not unexpected or search.calibration.exact or search.case.applied is None:
        return None
    for number, step in enumerate(search.case.applied.steps):
        entry = search.by_applied.get(number)
        if entry and any(_RUNS_TEXT.search(s.text) and _mentions(s.text, group) for s in split(step.sql)):
            says = f"{entry.label} mentions it in SQL that it puts together while it runs, perhaps from rows."
            return entry, f"{entry.label} may have made it, depending on data", says
    return None


def _runs(search: Search, entry: Entry | None) -> bool:
    """Whether the replay of the files had no trouble with a migration."""
    intended = search.case.intended
    failed = {failure.step for failure in intended.failures} if intended else set()
    return bool(intended and entry and entry.intended is not None and entry.intended not in failed)


def _mentions(sql: str, keys: list[Key]) -> bool:
    """Whether *sql* speaks of one of the objects, judged by the last part of its name."""
    names = [_last(identity).strip('"').lower() for _, identity in keys]
    return any(len(name) > 2 and name in sql.lower() for name in names)


def _only_effect(search: Search, entry: Entry, delta: Delta, rest: list[Key]) -> bool:
    """Whether this is all that *entry* does, and nothing that other migrations made went with it."""
    replay = search.case.intended
    if replay is None or entry.intended is None:
        return False
    mine = set(replay.footprint(entry.intended))
    return search.roots(mine) == [delta.key] and mine >= {*rest, *delta.children}


# --- one act, many deltas ------------------------------------------------------------------------------


def renamed(search: Search) -> None:
    """A missing and an unexpected object that are one and the same but for the name, or the schema.

    Schemas come first: what is in them is renamed with them.
    """
    if search.case.ledger_readable:
        _renamed(search, schemas=True)
        _renamed(search, schemas=False)


def _renamed(search: Search, *, schemas: bool) -> None:
    case, deltas = search.case, [d for ds in search.open.values() for d in ds]
    replay = case.intended or case.applied
    if replay is None:
        return
    _renamed_from(search, replay.final, [d for d in deltas if (d.kind == "schema") == schemas])
    # What is pending would have changed it as well: then it is as the ledger's migrations made it.
    kinds = {d.kind for d in deltas if d.change == "missing"} & {
        d.kind for d in deltas if d.change == "unexpected"
    }
    if kinds and case.laboratory and case.applied and case.applied is not replay and not schemas:
        left = case.laboratory.residual(case.applied.final)
        _renamed_from(
            search, case.applied.final, [d for d in left if d.kind in kinds and d.key in search.open]
        )


def _renamed_from(search: Search, meant: Snapshot, deltas: list[Delta]) -> None:
    """Look among *deltas* for what has another name than in *meant*."""
    left, right = ([d for d in deltas if d.change == change] for change in ("missing", "unexpected"))
    alike: dict[object, tuple[list[Delta], list[Delta]]] = {}
    for side, found in enumerate((left, right)):
        for delta in found:
            alike.setdefault((delta.kind, len(delta.children)), ([], []))[side].append(delta)
    pairs = [
        (a, b)
        for ours, theirs in alike.values()
        if len(ours) * len(theirs) <= _PAIRS  # among so many, likeness tells nothing and costs much
        for a in ours
        for b in theirs
        if _same_but_name(search, meant, a, b)
    ]
    times = Counter(d.key for pair in pairs for d in pair)
    for old, new in pairs:
        if (
            times[old.key] > 1
            or times[new.key] > 1
            or old.key not in search.open
            or new.key not in search.open
        ):
            continue
        swap = _swap(old, new)
        rest = [k for k in search.open if k not in (old.key, new.key) and _follows(search, k, old, new, swap)]
        says = "In everything but the name it is what the migrations make; dropped and made anew, it would hardly be."
        evidence = [Evidence("replay", says)]
        writer = search.writer(old.key)
        parts = {x for k in new.children if (f := search.actual(k)) for x in f.xmins}
        if search.calibration.exact and writer and writer[0].xmin in parts:
            evidence.append(
                Evidence(
                    "xmin",
                    f"Its parts were written in the transaction of {writer[0].label}: it is the same one.",
                )
            )
        finding = search.add(
            "manual_change",
            "consistent",
            f"{name_of(old.key)} {_moved(old, new)} by hand in {search.env}",
            [old.key, new.key, *rest],
            culprit=search.definer(old.key),
            evidence=[*evidence, *_xmin_evidence(search, new.key)],
        )
        finding.renamed = old.key, new.key


def _moved(old: Delta, new: Delta) -> str:
    if old.kind == "schema" or old.schema == new.schema:
        return f"was renamed to {_last(new.identity)}"
    return f"was moved to schema {new.schema}" + (
        f" as {_last(new.identity)}" if _last(old.identity) != _last(new.identity) else ""
    )


def _contents(search: Search, schema: str | None, change: str) -> set[Key]:
    """What came or went in a schema, without its name."""
    deltas = (d for ds in search.open.values() for d in ds if d.kind != "schema")
    return {_bare(d.key) for d in deltas if d.schema == schema and d.change == change}


def _same_but_name(search: Search, state: Snapshot, old: Delta, new: Delta) -> bool:
    meant = state.get(*old.key)
    actual = search.actual(new.key)
    if meant is None or actual is None or meant.parent != actual.parent:
        return False
    if old.kind == "schema":
        contents = _contents(search, meant.name, "missing")
        if not contents or contents != _contents(search, actual.name, "unexpected"):
            return False
    swap = _swap(old, new)
    if len(old.children) != len(new.children) or {(k, swap(i)) for k, i in old.children} != set(new.children):
        return False
    for kind, identity in ((old.kind, old.identity), *old.children):
        ours, theirs = state.get(kind, identity), search.case.actual.get(kind, str(swap(identity)))
        if ours is None or theirs is None:
            return False
        if any(
            swap(ours.attributes.get(name)) != theirs.attributes.get(name)
            for name in search.differing(ours, theirs)
            if name is not None
        ):
            return False
    return bool(meant.attributes)


def _swap(old: Delta, new: Delta) -> Callable[[object], object]:
    """Replaces the old name by the new one in a text, qualified or not; parts move to the new schema, too."""
    name = re.compile(rf"(?<![\w$]){re.escape(_last(old.identity))}(?![\w$])")
    changes = [(name, _last(new.identity))]
    if old.schema and new.schema and old.schema != new.schema:
        changes.append((re.compile(rf"(?<![\w$.]){re.escape(old.schema)}\."), f"{new.schema}."))

    def swap(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(swap(item) for item in value)
        if isinstance(value, str):
            for pattern, word in changes:
                value = pattern.sub(word.replace("\\", r"\\"), value)
        return value

    return swap


def _last(identity: str) -> str:
    return identity.split(" on ", maxsplit=1)[0].split("(", maxsplit=1)[0].rsplit(".", 1)[-1]


def _follows(search: Search, key: Key, old: Delta, new: Delta, swap: Callable[[object], object]) -> bool:
    """Whether *key* differs only because it speaks of what was renamed, is in it, or went with it."""
    deltas = search.open[key]
    if deltas[0].change != "changed":
        if old.kind == "schema":
            return deltas[0].schema in (_last(old.identity), _last(new.identity))
        # A sequence moves with its table.
        wholes = search.case.actual.wholes(key) if deltas[0].change == "unexpected" else set()
        snapshot = search.case.intended.final if search.case.intended else search.case.actual
        wholes |= snapshot.wholes(key) if deltas[0].change == "missing" else set()
        return bool(wholes & {*old.children, *new.children, old.key, new.key})
    if all(swap(d.left) == d.right for d in deltas):
        return True
    seen, stack = {key}, [key]
    while stack:
        above = search.case.actual.holders(stack.pop()) - seen
        if new.key in above:
            return all(_last(new.identity) in shown(d.right) for d in deltas)
        seen |= above
        stack += [k for k in above if k[0].startswith("table")]
    return False


_PRIVILEGES_ON = {
    "tables": {"table", "view", "materialized view", "foreign table"},
    "sequences": {"sequence"},
    "functions": {"function", "procedure", "aggregate"},
    "types": {"type", "domain"},
    "schemas": {"schema"},
}


def _default_privileges(search: Search) -> None:
    """Grants that later objects got because the default privileges were changed: the root is that change."""
    for key in [k for k in search.open if k[0] == "default acl"]:
        replay = search.case.intended
        meant, here = (replay.final.get(*key) if replay else None), search.actual(key)
        given = set(_grants(meant and meant.attributes.get("grants"))) ^ set(
            _grants(here and here.attributes.get("grants"))
        )
        fact = meant or here
        schema = fact.schema if fact else None
        kinds = _PRIVILEGES_ON.get(key[1].rsplit(" ", 1)[-1], set())
        rest = [
            k
            for k, deltas in search.open.items()
            if k[0] in kinds
            and all(d.attribute == "grants" and schema in (None, d.schema) for d in deltas)
            and all(set(_grants(d.left)) ^ set(_grants(d.right)) <= given for d in deltas)
        ]
        if not rest:
            continue
        says = f"{len(rest)} objects have the grants that it gives to what is made after it."
        missing, unexpected = here is None, meant is None
        search.add(
            "manual_change",
            "consistent",
            f"{_default(key)} were changed by hand in {search.env}; {len(rest)} objects made since show it",
            [key, *rest],
            culprit=search.definer(key),
            evidence=[
                _content_evidence(search, key, missing, unexpected),
                *_xmin_evidence(search, key),
                Evidence("grants", says),
            ],
        )


def _default(key: Key) -> str:
    return key[1].replace("default acl", "default privileges", 1) if key[1].startswith("default") else (
        f"default privileges {key[1]}"
    )  # fmt: skip


def _grants(value: object) -> Iterator[str]:
    """Single grants, the owner's own left out."""
    for item in value if isinstance(value, tuple) else ():
        if not item.startswith(OWNER):
            yield item


def _tenants(search: Search, families: dict[Key, list[Key]]) -> dict[Key, list[Key]]:
    """Put together what happened in the same way to the same name in many schemas."""
    alike: dict[object, list[Key]] = {}
    for key in families:
        schema = search.open[key][0].schema
        if schema:
            alike.setdefault((_bare(key), tuple(_without(schema, d) for d in search.open[key])), []).append(
                key
            )
    merged = dict(families)
    for keys in alike.values():
        if len(keys) >= _TENANTS:
            first, *others = sorted(keys)
            merged[first] = [*families[first], *(k for o in others for k in (o, *families[o]))]
            for other in others:
                del merged[other]
    return merged


def _bare(key: Key) -> Key:
    """*key* without its schema."""
    return key[0], re.sub(r'(?:"(?:[^"]|"")+"|[\w$]+)\.', "", key[1])


def _without(schema: str, delta: Delta) -> tuple[str | None, ...]:
    return (
        delta.change,
        delta.attribute,
        *(str(value).replace(f"{schema}.", "") if value is not None else None for value in (delta.left, delta.right)),
    )  # fmt: skip
