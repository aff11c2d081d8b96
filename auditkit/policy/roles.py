"""Roles, and who can act as whom: privileges that are inherited, SET ROLE, and memberships one may grant oneself."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditkit.catalog.access import MEMBERSHIP, ROLE

if TYPE_CHECKING:
    from auditkit.catalog.snapshot import Snapshot

#: Names are SQL identifiers here, as facts have them; PUBLIC is everybody (a role of that name has quotes).
Name = str


@dataclass(frozen=True)
class Role:
    """A role of the cluster; ``bootstrap`` is the one that initdb made."""

    name: Name
    superuser: bool = False
    inherit: bool = True
    create_role: bool = False
    login: bool = False
    replication: bool = False
    bypass_row_security: bool = False
    bootstrap: bool = False


@dataclass(frozen=True)
class Membership:
    """*member* is in *role*: may grant it (``admin``), has its privileges (``inherit``), may become it (``set_role``)."""

    role: Name
    member: Name
    admin: bool = False
    inherit: bool = True
    set_role: bool = True
    grantor: Name | None = None


@dataclass(frozen=True)
class Step:
    """One step of a chain: *member* acts as *role*, ``by`` 'inherits', 'set role' or 'grants itself'."""

    member: Name
    role: Name
    by: str

    def as_dict(self) -> dict[str, str]:
        return {"member": self.member, "role": self.role, "by": self.by}


@dataclass(frozen=True)
class Reach:
    """How a role is reached: the plainest ``chain``, and that to ``become`` it, if it can.

    Privileges come with either, attributes (SUPERUSER, …) only with becoming it.
    """

    chain: tuple[Step, ...]
    become: tuple[Step, ...] | None


class Roles:
    """The roles of one cluster and their memberships."""

    def __init__(
        self, roles: Iterable[Role], memberships: Iterable[Membership], *, complete: bool = True
    ) -> None:
        self.all = {role.name: role for role in roles}
        self.memberships = list(memberships)
        self.complete = complete
        self._of: dict[Name, list[Membership]] = defaultdict(list)
        for membership in self.memberships:
            self._of[membership.member].append(membership)

    def get(self, name: Name) -> Role:
        return self.all.get(name) or Role(name)

    def between(self, member: Name, role: Name) -> list[Membership]:
        """Since 16 each grantor makes a membership of its own."""
        return [m for m in self._of.get(member, ()) if m.role == role]

    def reach(self, start: Name, stop: frozenset[Name] = frozenset()) -> dict[Name, Reach]:
        """Everybody that *start* can act as, itself included, by the plainest chain; nothing beyond those in *stop*.

        SET ROLE is always the session's own doing: it needs a chain of memberships that all allow it. From wherever
        it leads, privileges are inherited further. ADMIN OPTION lets one grant oneself the rest.
        """
        best: dict[tuple[Name, bool], tuple[Step, ...]] = {}
        queue: list[tuple[int, int, Name, bool, tuple[Step, ...]]] = [(0, 0, start, True, ())]
        count = 0
        while queue:
            cost, _, name, becomes, chain = heapq.heappop(queue)
            if (name, becomes) in best or (name, True) in best:
                continue
            best[name, becomes] = chain
            if name in stop and name != start:
                continue
            for m in self._of.get(name, ()):
                for by, price, able, into in (
                    ("inherits", 1, m.inherit, becomes and m.set_role),
                    ("set role", 2, not m.inherit and m.set_role and becomes, True),
                    ("grants itself", 100, m.admin, True),
                ):
                    if able and m.role != start:
                        count += 1
                        heapq.heappush(
                            queue, (cost + price, count, m.role, into, (*chain, Step(name, m.role, by)))
                        )
        plainest: dict[Name, tuple[Step, ...]] = {}
        for (name, _), chain in best.items():  # in the order of their costs
            plainest.setdefault(name, chain)
        return {name: Reach(chain, best.get((name, True))) for name, chain in plainest.items()}


_MEMBERSHIP = re.compile(r'membership of role ("(?:[^"]|"")*"|\S+) in role (.*)', re.DOTALL)


def roles_of(snapshot: Snapshot) -> Roles:
    """The roles that a snapshot knows; an older one keeps only those that have to do with the database."""
    access = snapshot.manifest.get("access")
    if access:
        roles = [Role(**{key: item[key] for key in ROLE}) for item in access["roles"]]
        members = [Membership(**{key: item[key] for key in MEMBERSHIP}) for item in access["memberships"]]
    else:
        same = ("superuser", "inherit", "create_role", "login", "replication", "bypass_row_security")
        roles = [
            Role(fact.identity, **{key: bool(fact.attributes.get(key)) for key in same})
            for fact in snapshot.iter("role")
        ]
        members = []
        for fact in snapshot.iter("role membership"):
            if match := _MEMBERSHIP.fullmatch(fact.identity):
                admin, inherit, into = (
                    bool(fact.attributes.get(k)) for k in ("admin", "inherit", "set_role")
                )
                members.append(Membership(match[2], match[1], admin, inherit, into))
        if all(role.name != "postgres" for role in roles):  # not a fact: every cluster has its first role
            roles.append(Role("postgres", superuser=True, login=True, bootstrap=True))
    database = snapshot.get("database", "database")
    if database is not None and int(snapshot.manifest.get("server_version", 0)) >= 140000:
        # Its one member, which no catalog lists, is whoever owns the database.
        members.append(Membership("pg_database_owner", str(database.attributes["owner"])))
    return Roles(roles, members, complete=bool(access))
