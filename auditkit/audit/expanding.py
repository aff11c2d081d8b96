"""From names in the settings to the environments meant: groups of databases are asked of their server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from auditkit.audit.reading import unreachable
from auditkit.config import Group, Settings, Source
from auditkit.connect import connect, reason
from auditkit.errors import AuditError, Unreadable
from auditkit.progress import Tell, silent

#: Databases that this role may not connect to are named, not passed over.
_DATABASES = """
    SELECT datname::text, has_database_privilege(datname, 'CONNECT') FROM pg_database
    WHERE datallowconn AND NOT datistemplate ORDER BY datname"""


@dataclass(frozen=True)
class Found:
    """One group as it was found: its environments, or its schemas (told later, when their environment was read)."""

    group: Group
    members: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        what = "databases" if self.group.databases else "schemas"
        return {
            "name": self.group.name,
            "what": what,
            "pattern": self.group.databases or self.group.schemas,
            "environment": self.group.environment or None,
            "members": list(self.members),
        }


@dataclass
class Expanded:
    """The environments that names stand for, the groups among them, and what could not be found out."""

    sources: list[Source] = field(default_factory=list)
    groups: list[Found] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def members(self) -> dict[str, str]:
        """Environment → its group."""
        return {name: found.group.name for found in self.groups for name in found.members}


def expand(settings: Settings, names: str | Sequence[str], progress: Tell = silent) -> Expanded:
    """What *names* mean: environments, groups of databases or schemas, sources, or ``all`` there is.

    Raises:
        ConfigError: a name is none of these.
    """
    words = [w.strip() for w in names.split(",")] if isinstance(names, str) else list(names)
    words = [w for w in words if w]
    if words == ["all"]:
        words = [*settings.everywhere, *settings.groups]
        if not words:
            settings.environment("all")  # says what is missing
        place = {name: n for n, name in enumerate(settings.order)}
        words.sort(key=lambda word: place.get(word, len(place)))
    elif not words:
        settings.sources(())
    found = Expanded()
    for word in dict.fromkeys(words):
        group = settings.groups.get(word)
        if group is None:
            found.sources.append(settings.source(word))
        elif group.databases:
            progress(0, 1, f"Listing the databases of {word}")
            _databases(group, found)
        else:
            found.groups.append(Found(group))
            found.sources.append(settings.environment(group.environment))
    unique: dict[str, Source] = {}
    for source in found.sources:
        unique.setdefault(source.name, source)
    found.sources = list(unique.values())
    return found


def _databases(group: Group, found: Expanded) -> None:
    """Add the databases of *group*; none at all is as bad as a server that does not answer."""
    assert group.server
    try:
        names = _listed(group)
    except AuditError as error:
        found.problems.append(unreachable(group.name, error))
        found.groups.append(Found(group))
        return
    mine = [(name, allowed) for name, allowed in names if group.matches(name)]
    if not mine:
        found.problems.append(
            {
                "environment": group.name,
                "what": "the databases of the group",
                "why": f"none of the server's {len(names)} databases is called {group.databases}",
                "fix": f"correct databases in [fleet.groups.{group.name}]",
            }
        )
    closed = [name for name, allowed in mine if not allowed]
    for name in closed:
        found.problems.append(
            {
                "environment": f"{group.name}/{name}",
                "what": "the environment",
                "why": "the role may not connect to it",
                "fix": "GRANT CONNECT ON DATABASE, or name it in exclude",
            }
        )
    members = [group.member(name) for name, allowed in mine if allowed]
    found.groups.append(Found(group, tuple(source.name for source in members)))
    found.sources += members


def _listed(group: Group) -> list[tuple[str, bool]]:
    import psycopg

    assert group.server
    with connect(group.server.conninfo, name=group.name) as connection:
        try:
            return connection.execute(_DATABASES).fetchall()
        except psycopg.Error as error:
            raise Unreadable(
                f"{group.name}: the databases cannot be listed: {reason(error)}; run the check again"
            ) from None
