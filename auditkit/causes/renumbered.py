"""The same migrations in other rows: recorded under another version, or put together in one new file."""

from __future__ import annotations

from auditkit.causes.case import Entry, Evidence, Key
from auditkit.causes.laboratory import proof
from auditkit.causes.search import Search, counted, listed

#: Of what a squashed file makes, so many must have been made by the rows that it replaces.
_SHARE = 0.8
#: And so many by those of them that have no file any more.
_OTHERS = 0.4


def restamped(search: Search) -> None:
    """Migrations that the ledger has under another version: no delta betrays them, and their tool runs them again."""
    if not search.case.ledger_readable:
        return
    told = {f.entry.label for f in search.findings if f.entry}
    for label, stranger in search.restamped.items():
        entry = next(e for e in search.case.entries if e.label == label)
        _restamped(search, entry, stranger.version, None, True)
    for entry in search.entries(lambda e: e.state == "restamped" and e.label not in told):
        _restamped(search, entry, entry.recorded_as or "another version", entry.content)


def _restamped(
    search: Search, entry: Entry, version: str, content: str | None, stranger: bool = False
) -> None:
    env, replay = search.env, search.case.intended
    same = content in ("identical", "cosmetic")
    keys = replay.footprint(entry.intended) if replay and entry.intended is not None else []
    whole = bool(keys) and not any(key in search.open for key in keys)
    evidence = [
        Evidence(
            "ledger",
            f"Version {version}, which no file has, is recorded, and version {entry.version} is not."
            if stranger
            else f"Version {version} is recorded with the {'statements or checksum' if same else 'name'} of "
            f"{entry.file or entry.label}; no row records version {entry.version}.",
        )
    ]
    if whole:
        evidence.append(
            Evidence("replay", f"What it makes or changes ({counted(len(keys), 'object')}) is here.")
        )
    search.add(
        "restamped",
        "consistent",
        f"{entry.label} is recorded in {env} as version {version}",
        [],
        entry=entry,
        deltas=[],
        evidence=evidence,
        alternatives=[]
        if same
        else [
            ("applied_not_recorded", f"The row may be gone, and {version} another migration."),
            ("unknown_migration", f"Version {version} may be of another branch."),
        ]
        if stranger
        else [("unknown_migration", "Another migration of that name may have been applied.")],
    )  # fmt: skip


def rebaselined(search: Search) -> None:
    """One file that the ledger does not record, in place of several rows that have no file any more."""
    case, replay = search.case, search.case.intended
    if replay is None or not case.ledger_readable:
        return
    strangers = search.entries(lambda e: e.state == "unknown" and e.intended is None)
    if len(strangers) < 2:
        return
    for entry in search.entries(
        lambda e: e.intended is not None and (e.state == "pending" or e.content in ("different", None))
    ):
        assert entry.intended is not None
        keys = [key for key in replay.footprint(entry.intended) if _made(search, entry, key)]
        old = [e for e in strangers if _touched(search, e, keys)]
        # A row of the file's own version tells nothing where the text of the others is not known.
        unread = [e for e in strangers if e.applied is None and entry.applied is None]
        here = [key for key in keys if search.actual(key)]
        if not keys or len(here) < _SHARE * len(keys) or len(old) + len(unread) < 2:
            continue
        made = len(_made_by(search, old, keys))
        # With those of its version, as it was before.
        with_own = len(_made_by(search, [*old, entry], keys) | _unmade(search, entry, here))
        if not unread and (made < _OTHERS * len(keys) or with_own < _SHARE * len(keys)):
            continue
        _rebaselined(search, entry, old + unread + _among(search, entry, old, strangers), here)
        return


def _among(search: Search, entry: Entry, old: list[Entry], strangers: list[Entry]) -> list[Entry]:
    """Rows of which nothing is left that a squashed file could make: data, or what a later one of them dropped."""
    applied, places = search.case.applied, {id(e): n for n, e in enumerate(search.case.entries)}
    last = max(places[id(e)] for e in [entry, *old])
    return [
        e
        for e in strangers
        if e not in old
        and places[id(e)] < last
        and e.applied is not None
        and applied is not None
        and not any(search.actual(key) for key in applied.footprint(e.applied))
    ]


def _made(search: Search, entry: Entry, key: Key) -> bool:
    """Whether *entry* makes *key*, rather than changing what was there."""
    assert search.case.intended is not None and entry.intended is not None
    return search.case.intended.state_before(key, entry.intended) is None


def _touched(search: Search, entry: Entry, keys: list[Key]) -> bool:
    applied = search.case.applied
    return (
        applied is not None
        and entry.applied is not None
        and bool({*applied.footprint(entry.applied)} & {*keys})
    )


def _made_by(search: Search, entries: list[Entry], keys: list[Key]) -> set[Key]:
    applied = search.case.applied
    steps = [e.applied for e in entries if e.applied is not None]
    return {key for step in steps for key in applied.footprint(step)} & {*keys} if applied else set()


def _unmade(search: Search, entry: Entry, keys: list[Key]) -> set[Key]:
    """What the row of *entry* stands for, if the file, as it is now, stumbles over what the other rows made: what none
    of them makes."""
    applied = search.case.applied
    if applied is None or not any(failure.step == entry.applied for failure in applied.failures):
        return set()
    return {key for key in keys if applied.final.get(*key) is None}


def _rebaselined(search: Search, entry: Entry, old: list[Entry], here: list[Key]) -> None:
    env = search.env
    exact = not any(key in search.open for key in here)
    names = [e.label for e in old[:6]] + (["more"] if len(old) > 6 else [])
    finding = search.add(
        "rebaselined",
        "consistent",
        f"{entry.label} replaces {counted(len(old), 'migration')} that {env} has recorded one by one",
        search.roots(here),
        entry=entry,
        deltas=[],
        evidence=[
            Evidence("ledger", f"The ledger records {listed(names)}, and no file has them."),
            Evidence(
                "replay",
                f"Of what {entry.file or entry.label} makes, {'everything' if exact else 'nearly everything'} is here "
                f"{'as it makes it' if exact else 'already'} ({counted(len(here), 'object')}), and the old rows made it.",
            ),
        ],
        alternatives=[("unknown_migration", "The old rows may be of another branch that makes the same.")],
    )  # fmt: skip
    applied, laboratory = search.case.applied, search.case.laboratory
    if applied is not None and laboratory is not None:
        outcome = laboratory.run([step for n, step in enumerate(applied.steps) if n != entry.applied])
        if outcome:
            finding.proof = proof(f"The old rows in place of {entry.label}", search.case.deltas, outcome)
    search.ran |= {entry.label, *(e.label for e in old)}
