"""Who changed the schema lately, by what the witnesses of a snapshot say; and what has become stale."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from auditkit.catalog.grants import quote

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Snapshot
    from auditkit.policy.doors import Judged

#: So many objects are named as the newest.
NEWEST = 10


def lately(judged: Judged) -> list[dict[str, Any]]:
    """Who ran statements that change the schema, latest first: one row per login, role and application.

    ``role`` is None where the witness does not tell; ``migration`` is whether it was a migration role.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in judged.view.snapshot.manifest.get("witnesses", ()):
        for row in record.get("rows", ()):
            who = row.get("session_user") or row.get("role")
            if not who:
                continue
            key = (row["witness"], who, row.get("role"), row.get("application"))
            entry = found.setdefault(key, _entry(row, who, judged))
            entry["count"] += 1
            if (row.get("at") or "") >= (entry["at"] or ""):
                entry |= {"at": row.get("at"), "statement": row.get("statement"), "client": row.get("client")}
    return sorted(found.values(), key=lambda e: (e["at"] or "", e["count"]), reverse=True)


def _entry(row: Mapping[str, Any], who: str, judged: Judged) -> dict[str, Any]:
    names = {quote(str(name)) for name in (who, row.get("role")) if name}
    return {
        "session_user": row.get("session_user"),
        "role": row.get("role"),
        "application": row.get("application"),
        "client": None,
        "migration": bool(names & set(judged.migration_roles)),
        "count": 0,
        "at": None,
        "statement": None,
        "witness": row["witness"],
    }


#: What initdb makes has lower oids.
_FIRST = 16384


def newest(judged: Judged) -> list[dict[str, Any]]:
    """The objects made last, by oid, that do not belong to a migration role; on an old cluster oids have come round."""
    snapshot = judged.view.snapshot
    mine = set(judged.migration_roles)
    rows = []
    for kind in snapshot.kinds:
        table = snapshot.tables[kind]
        if "owner" not in table.attributes or kind == "database":
            continue
        place = table.attributes.index("owner")
        for i, (oid, values) in enumerate(zip(table.oids, table.values, strict=True)):
            if oid >= _FIRST and str(values[place]) not in mine and i not in table.extensions:
                rows.append((oid, kind, table.identities[i], str(values[place])))
    return [
        {"kind": kind, "identity": identity, "owner": owner}
        for _, kind, identity, owner in sorted(rows)[::-1][:NEWEST]
    ]


def stale(
    snapshots: Mapping[str, Snapshot],
    applied: Mapping[str, Sequence[Mapping[str, Any]]],
    after: dt.timedelta,
    now: dt.datetime,
    audited: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """By environment: when it was read, last audited and last migrated, and by how many migrations it is behind.

    Args:
        snapshots: by environment.
        applied: the rows of each ledger.
        after: what is older than that is stale.
        now: the time to compare with.
        audited: when the last report of an environment was made (ISO 8601), where there is one.
    """
    versions = {name: {str(row["version"]) for row in rows} for name, rows in applied.items()}
    found = {}
    for name, snapshot in snapshots.items():
        own = versions.get(name)
        others = (
            set().union(*(v for other, v in versions.items() if other != name)) if own is not None else set()
        )
        behind = sorted(others - (own or set()))
        times = [str(row["applied_at"]) for row in applied.get(name, ()) if row.get("applied_at")]
        read = str(snapshot.manifest.get("captured_at") or "")
        says = []
        if read and now - moment(read) > after:
            says.append(f"was read {_days(now - moment(read))} ago")
        if name in audited and now - moment(audited[name]) > after:
            says.append(f"was last audited {_days(now - moment(audited[name]))} ago")
        if behind:
            says.append(
                f"is {len(behind)} {'migration' if len(behind) == 1 else 'migrations'} behind the others"
            )
        found[name] = {
            "stale": bool(says),
            "says": says,
            "captured_at": read or None,
            "audited_at": audited.get(name),
            "migrated_at": max(times, default=None),
            "behind": behind,
        }
    return found


def moment(text: str) -> dt.datetime:
    """A time of ISO 8601; UTC, if it does not say."""
    found = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _days(span: dt.timedelta) -> str:
    return (
        f"{span.days} {'day' if span.days == 1 else 'days'}" if span.days else f"{span.seconds // 3600} hours"
    )
