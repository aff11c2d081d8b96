"""Doors: for every role that can log in, each way to the schema, with the chain of memberships that leads there.

Who should be able to are the migration roles, the role that initdb made, and the platform's own; all others with a
door are told with a severity. What lies behind a role that may is not told again for each who can act as it: being
able to act as it is the door.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from auditkit.catalog.grants import PUBLIC, quote
from auditkit.config import SEVERITIES
from auditkit.errors import AuditError
from auditkit.history import platform
from auditkit.policy.powers import DOORS, PREDEFINED, Close, Power, View, by_holder, powers
from auditkit.policy.roles import Name, Reach, Roles, Step, roles_of

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Key, Snapshot

#: Roles of other platforms that look after a server; their customers cannot change them.
CLOUDS = frozenset(
    {"alloydbadmin", "alloydbsuperuser", "azure_pg_admin", "azure_superuser", "azuresu", "cloudsqladmin",
     "cloudsqlsuperuser", "rds_superuser", "rdsadmin", "rdsrepladmin"}
)  # fmt: skip
#: The platform's, but whoever has the public key of the project acts as them.
_API = frozenset({"anon", "authenticated"})
#: What Supabase gives to the roles of its API on every table, without consequence for its API.
_PLATFORM_GIVES = frozenset({"trigger", "default_privileges"})
#: So many objects are listed with each door; the plan has all of them.
MOST = 50


@dataclass
class Door:
    """One way in which *role* can change the schema.

    ``chain`` leads from the role to the power's holder. ``judged`` is ``door`` (should be closed), ``migration``,
    ``platform``, ``operator`` (the cluster's first role) or ``nobody`` (no role that can log in gets there).
    """

    role: Name
    login: bool
    power: Power
    chain: tuple[Step, ...]
    judged: str
    severity: str
    close: list[Close] = field(default_factory=list)

    @cached_property
    def id(self) -> str:
        text = "\x00".join((self.role, self.power.door, self.power.holder, *map(str, self.power.objects[:1])))
        return f"door-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    @property
    def kind(self) -> str:
        return self.power.door

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "role": self.role,
            "login": self.login,
            "door": self.power.door,
            "severity": self.severity,
            "judged": self.judged,
            "holder": self.power.holder,
            "chain": [step.as_dict() for step in self.chain],
            "says": self.says(),
            "hints": list(dict.fromkeys(self.power.hints)),
            "objects": [{"kind": kind, "identity": identity} for kind, identity in self.power.objects[:MOST]],
            "object_count": len(self.power.objects),
            "closes": self.label if self.close else None,
            "breaks": DOORS[self.power.door][2] if self.close else None,
        }

    @property
    def label(self) -> str:
        """What the plan's steps call what they close: a power that many reach is closed once, at its holder."""
        return f"{self.power.holder if self.close is self.power.close else self.role}: {self.power.door}"

    def says(self) -> str:
        """In one sentence, without the role's name."""
        says = DOORS[self.power.door][1]
        if self.power.door == "acts_as":
            says = f"may act as {self.power.holder}, which is meant to change the schema"
        elif self.power.door == "superuser" and self.power.holder != self.role:
            says = f"may become {self.power.holder}, a superuser"
        what = counted(self.power.objects)
        return f"{says}{f' ({what})' if what else ''}"


def counted(objects: Sequence[Key]) -> str:
    """``schema app``, or ``12 objects: 9 tables, 3 functions`` for many."""
    if len(objects) <= 2:
        return ", ".join(kind if kind == identity else f"{kind} {identity}" for kind, identity in objects)
    kinds = Counter(kind for kind, _ in objects).most_common()
    return f"{len(objects)} objects: " + ", ".join(
        f"{count} {_plural(kind) if count > 1 else kind}" for kind, count in kinds
    )


def _plural(kind: str) -> str:
    if kind.endswith(("x", "ss")):
        return f"{kind}es"
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


@dataclass(frozen=True)
class Judged:
    """The doors of one environment, worst first, and who may change the schema."""

    view: View
    migration_roles: tuple[Name, ...]
    doors: list[Door]
    not_checked: list[dict[str, Any]]

    @property
    def open(self) -> list[Door]:
        """Those that should be closed."""
        return [door for door in self.doors if door.judged == "door"]


def doors(snapshot: Snapshot, migration_roles: Sequence[str] = ()) -> Judged:
    """All doors of an environment. *migration_roles* (names as they are) default to the owner of the ledger."""
    roles = roles_of(snapshot)
    wanted = tuple(quote(name) for name in migration_roles or (platform.migration_role(snapshot),))
    not_checked = _not_checked(roles, wanted if migration_roles else ())
    migrator = next((name for name in wanted if name in roles.all), wanted[0])
    trusted = _trusted(snapshot, roles, wanted)
    view = View(snapshot, roles, frozenset(trusted), migrator)
    judge = _Judge(view, trusted, frozenset(wanted))
    return Judged(view, wanted, judge.all(), not_checked)


def _not_checked(roles: Roles, wanted: Sequence[Name]) -> list[dict[str, Any]]:
    found = []
    if not roles.complete:
        what = "roles that have nothing to do with the database, superusers and members of predefined roles among them"
        why, fix = "the snapshot was made before they were kept", "make a new one with `auditkit snapshot`"
        found.append({"what": what, "why": why, "fix": fix, "blocking": True})
    for name in wanted:
        if name not in roles.all and roles.complete:
            why, fix = "there is no such role", "correct migration_roles in [policy] of auditkit.toml"
            found.append({"what": f"migration role {name}", "why": why, "fix": fix, "blocking": True})
    return found


def _trusted(snapshot: Snapshot, roles: Roles, wanted: Iterable[Name]) -> dict[Name, str]:
    """Who may change the schema, and as what."""
    found: dict[Name, str] = {role.name: "operator" for role in roles.all.values() if role.bootstrap}
    managed = set(CLOUDS) | (set(platform.MANAGED_ROLES) if platform.is_supabase(snapshot) else set())
    found |= {quote(name): "platform" for name in managed - _API if quote(name) in roles.all}
    return found | dict.fromkeys(wanted, "migration")


class _Judge:
    def __init__(self, view: View, trusted: Mapping[Name, str], migration: frozenset[Name]) -> None:
        self.view = view
        self.trusted = trusted
        self.migration = migration
        self.supabase = platform.is_supabase(view.snapshot)
        self.held = by_holder(powers(view))

    def all(self) -> list[Door]:
        found: list[Door] = []
        reached: set[Name] = set()
        for role in self.view.roles.all.values():
            if role.login and not role.name.startswith("pg_"):
                found += self._of(role.name, reached)
        found += [self._door(PUBLIC, False, power, ()) for power in self.held.get(PUBLIC, ())]
        api = _API & self.held.keys() if self.supabase else frozenset()
        for name in self.held.keys() - reached - {PUBLIC, *PREDEFINED} | api:
            found += [self._door(name, False, power, ()) for power in self.held[name]]
        return sorted(found, key=lambda d: (-SEVERITIES.index(d.severity), d.role, d.kind, d.power.holder))

    def _of(self, name: Name, reached: set[Name]) -> list[Door]:
        found = []
        whole = self.trusted.get(name) in ("operator", "platform") and self.view.roles.get(name).superuser
        for holder, reach in self.view.roles.reach(name, frozenset(self.trusted)).items():
            reached.add(holder)
            if holder != name and holder in self.trusted:
                found += self._acting(name, holder, reach)
                continue
            for power in self.held.get(holder, ()):
                if whole and power.door != "superuser":
                    continue  # says it all
                chain = reach.become if power.attribute else reach.chain
                if chain is not None:
                    found.append(self._door(name, True, power, chain))
        return found

    def _acting(self, name: Name, holder: Name, reach: Reach) -> list[Door]:
        """One door for all that lies behind a role that may: being able to act as it."""
        behind = [
            p for h in self.view.roles.reach(holder) for p in self.held.get(h, ()) if p.severity != "info"
        ]
        if not behind and holder not in self.migration:
            return []
        superuser = self.view.roles.get(holder).superuser and reach.become is not None
        power = Power("superuser" if superuser else "acts_as", holder)
        return [self._door(name, True, power, (reach.become if superuser else reach.chain) or ())]

    def _door(self, role: Name, login: bool, power: Power, chain: tuple[Step, ...]) -> Door:
        judged = self.trusted.get(role, "door")
        if role in _API and self.supabase and power.door in _PLATFORM_GIVES:
            judged = "platform"
        elif role in _API and self.supabase and power.door == "definer":
            judged = "platform" if power.objects[0][1].split(".")[0] in platform.MANAGED_SCHEMAS else "door"
        elif judged == "door" and not login and role != PUBLIC and role not in _API:
            judged = "nobody"
        severity = power.severity if judged == "door" else "info"
        close = self._close(power, chain) if judged == "door" else []
        return Door(role, login, power, chain, judged, severity, close)

    def _close(self, power: Power, chain: tuple[Step, ...]) -> list[Close]:
        """At the holder, if it should not have the power; else where the chain leads to those who may."""
        if power.holder == "pg_database_owner":  # its member is whoever owns the database
            owning = [
                p for p in self.held.get(chain[-1].member if chain else "", ()) if p.door == "database_owner"
            ]
            return [close for p in owning for close in p.close]
        if power.holder not in self.trusted and power.holder not in PREDEFINED:
            return power.close if power.severity != "info" else []
        for step in reversed(chain):
            if step.member not in self.trusted:
                return self._cut(step)
        return []

    def _cut(self, step: Step) -> list[Close]:
        """Since 16 a membership is revoked grantor by grantor; what its member passed on goes with it."""
        found = []
        for membership in self.view.roles.between(step.member, step.role):
            passed = any(
                m.role == step.role and m.grantor == step.member for m in self.view.roles.memberships
            )
            by = f" GRANTED BY {membership.grantor}" if self.view.major >= 16 and membership.grantor else ""
            sql = f"REVOKE {step.role} FROM {step.member}{by}{' CASCADE' if passed else ''}"
            found.append(Close("memberships", sql))
        return found


def verdict(found: Sequence[Door], fail_on: str, not_checked: Sequence[Mapping[str, Any]]) -> str:
    """FAIL from *fail_on* on, WARN for lesser doors; INCOMPLETE if something blocks."""
    if fail_on not in SEVERITIES:
        raise AuditError(f"no such severity: {fail_on}; use one of {', '.join(SEVERITIES)}")
    worst = max((SEVERITIES.index(d.severity) for d in found if d.judged == "door"), default=0)
    if worst >= max(1, SEVERITIES.index(fail_on)):
        return "FAIL"
    if any(item.get("blocking", True) for item in not_checked):
        return "INCOMPLETE"
    return "WARN" if worst else "PASS"
