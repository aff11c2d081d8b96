"""Settings, environments and sources.

Order of precedence: command-line flags, ``AUDITKIT_*`` variables, ``auditkit.toml``, ``[tool.auditkit]``
in ``pyproject.toml``. Environments are libpq connection strings (best: ``service=app_prod``) or paths of
saved snapshots; a password in a settings file is refused.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from auditkit.connect import has_password
from auditkit.errors import ConfigError, NotConfigured

SEVERITIES = ("info", "low", "medium", "high", "critical")
#: Section → setting → its type, and what to call that in a message.
_TEXT, _FLAG, _TABLE = (str, "a text in quotes"), (bool, "true or false"), (dict, "a table")
_LIST, _DATE = (list, "a list of texts"), ((str, dt.date), "a date like 2027-01-31")
#: When an alert is sent: if something is wrong or is right again; only for what is new or gone; after every check.
ALERT_WHEN = ("problems", "news", "always")
_KEYS: dict[str, dict[str, tuple[Any, str]]] = {
    "": {
        "environments": (dict, 'a table of NAME = "service=…"'),
        "migrations": _TABLE,
        "shadow": _TABLE,
        "report": _TABLE,
        "compare": _TABLE,
        "policy": _TABLE,
        "alerts": _TABLE,
        "schedule": _TABLE,
        "fleet": _TABLE,
        "ignore": (list, "written as [[ignore]] tables"),
    },
    "migrations": {"path": _TEXT, "tool": _TEXT, "run_code": _FLAG, "python": _TEXT, "environment": _TABLE},
    "shadow": {"server": _TEXT, "role": _TEXT},
    "report": {"out_dir": _TEXT, "fail_on": _TEXT},
    "compare": {"owners": _FLAG, "grants": _FLAG, "comments": _FLAG, "schemas": _LIST},
    "policy": {"migration_roles": _LIST, "stale_after": _TEXT},
    "alerts": {"webhook_env": _TEXT, "file": _TEXT, "github": _FLAG, "when": _TEXT},
    "schedule": {
        "at": _TEXT,
        "days": _TEXT,
        "timezone": _TEXT,
        "environments": _LIST,
        "install": _TEXT,
        "image": _TEXT,
        "user": _TEXT,
        "env_file": _TEXT,
    },
    "fleet": {"order": _LIST, "groups": (dict, "tables like [fleet.groups.NAME]")},
    "fleet group": {
        "databases": _TEXT,
        "url": _TEXT,
        "url_env": _TEXT,
        "environment": _TEXT,
        "schemas": _TEXT,
        "template": _TEXT,
        "exclude": _LIST,
    },
    "ignore": {
        "kind": _TEXT,
        "schema": _TEXT,
        "name": _TEXT,
        "partitions_of": _TEXT,
        "reason": _TEXT,
        "until": _DATE,
    },
    "environments": {
        "url": _TEXT,
        "url_env": _TEXT,
        "snapshot": _TEXT,
        "logs": _LIST,
        "log_line_prefix": _TEXT,
    },
}


@dataclass(frozen=True)
class Source:
    """Anything that has a schema and can stand on either side of a comparison.

    ``type`` is ``live`` (``value`` is a libpq connection string), ``snapshot`` (``value`` is a path) or
    ``migrations`` (``value`` is a git reference, or empty for the files on disk). ``variable`` is the
    environment variable that a live one's connection string is taken from, if it is. ``logs`` are files (or
    patterns) of the server's log, ``log_line_prefix`` how it begins its lines, where the server cannot be asked.
    ``database`` is another one on the same server.
    """

    name: str
    type: Literal["live", "snapshot", "migrations"]
    value: str = field(repr=False)
    variable: str | None = None
    logs: tuple[str, ...] = ()
    log_line_prefix: str | None = None
    database: str | None = None

    @property
    def conninfo(self) -> str:
        """The connection string of a live source.

        Raises:
            NotConfigured: it is to come from a variable that is not set. Only now: that must not stop
                audits of the other environments.
        """
        if not self.value:
            raise NotConfigured(
                f"{self.name}: the environment variable {self.variable} is not set; set it to the connection "
                "string, or change url_env in auditkit.toml"
            )
        if self.database is None:
            return self.value
        from psycopg.conninfo import make_conninfo

        from auditkit.connect import parse

        return make_conninfo(**{**parse(self.value, self.name), "dbname": self.database})


@dataclass(frozen=True)
class IgnoreRule:
    """What not to report, and why. Empty patterns match everything; patterns are shell-style.

    A rule about an object is also one about what belongs to it. ``partitions_of`` is the table whose partitions
    come and go at runtime.
    """

    reason: str
    kind: str = ""
    schema: str = ""
    name: str = ""
    until: dt.date | None = None
    partitions_of: str = ""

    def active(self, today: dt.date | None = None) -> bool:
        return self.until is None or (today or dt.datetime.now(dt.UTC).date()) <= self.until

    @property
    def patterns(self) -> str:
        """What it names, as it is written in the settings: ``kind=index name=tmp_*``."""
        names = ("kind", "schema", "name", "partitions_of")
        return " ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))

    def as_dict(self, count: int) -> dict[str, Any]:
        """As the JSON documents have it, with the number of differences it hides."""
        return {
            "rule": self.patterns,
            "reason": self.reason,
            "until": self.until.isoformat() if self.until else None,
            "count": count,
            "active": self.active(),
        }


@dataclass(frozen=True)
class Alerts:
    """Where alerts go. ``webhook_env`` names the variable that holds the address, which is a secret.

    ``file`` ends in ``.jsonl`` or ``.md``. ``github`` None: where GitHub Actions runs it.
    """

    webhook_env: str | None = None
    file: Path | None = None
    github: bool | None = None
    when: str = "problems"


@dataclass(frozen=True)
class Schedule:
    """When and how checks are run by something else; see ``auditkit schedule``. ``environments`` empty: all."""

    at: str = "06:00"
    days: str = "daily"
    timezone: str | None = None
    environments: tuple[str, ...] = ()
    install: str = "pip install auditkit"
    image: str | None = None
    user: str | None = None
    env_file: str | None = None


@dataclass(frozen=True)
class Group:
    """Databases or schemas that should be alike, by a shell-style pattern.

    Databases: *databases* on the server that ``server`` reaches; each is an environment ``NAME/DATABASE``.
    Schemas: *schemas* in the environment ``environment``, held against ``template`` or else the majority.
    """

    name: str
    databases: str = ""
    server: Source | None = None
    environment: str = ""
    schemas: str = ""
    template: str | None = None
    exclude: tuple[str, ...] = ()

    def matches(self, name: str) -> bool:
        """Whether a database or schema of that name belongs to the group."""
        pattern = self.databases or self.schemas
        return fnmatchcase(name, pattern) and not any(fnmatchcase(name, each) for each in self.exclude)

    def member(self, database: str) -> Source:
        """One database of the group as an environment."""
        assert self.server
        return replace(self.server, name=f"{self.name}/{database}", database=database)


@dataclass(frozen=True)
class Settings:
    """The effective settings. ``root`` is the folder that relative paths start from."""

    root: Path
    file: Path | None = None
    environments: Mapping[str, Source] = field(default_factory=dict)
    migrations_path: str | None = None
    tool: str | None = None
    run_code: bool = True
    python: str | None = None
    code_environment: Mapping[str, str] = field(default_factory=dict)
    shadow_server: str | None = None
    shadow_role: str | None = None
    out_dir: Path = Path("reports")
    fail_on: str = "medium"
    ignore: tuple[IgnoreRule, ...] = ()
    schemas: tuple[str, ...] = ()
    owners: bool = True
    grants: bool = True
    comments: bool = True
    migration_roles: tuple[str, ...] = ()
    stale_after: dt.timedelta = dt.timedelta(days=7)
    alerts: Alerts = Alerts()
    schedule: Schedule = Schedule()
    order: tuple[str, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)
    implied: frozenset[str] = frozenset()

    @property
    def everywhere(self) -> tuple[str, ...]:
        """The environments that ``all`` stands for: what somebody named, and only else what the project implies."""
        named = tuple(name for name in self.environments if name not in self.implied)
        return named or (() if self.groups else tuple(self.environments))

    def environment(self, name: str, *, or_file: bool = False) -> Source:
        """The environment called *name*.

        Args:
            or_file: whether the name of a snapshot file was as good.

        Raises:
            ConfigError: there is none; the message lists those that exist.
        """
        if name in self.environments:
            return self.environments[name]
        where = f"in {self.file}" if self.file else "because no auditkit.toml was found here or above"
        if not self.environments:
            raise ConfigError(
                f"unknown environment '{name}': none is defined {where}; create auditkit.toml with "
                f'[environments] {_word(name)} = "service=…" (or pass a connection string or a snapshot file)'
            )
        known = [*self.environments, *self.groups]
        if name in self.groups:
            raise ConfigError(
                f"{name} is a group; name one of its databases, as in {name}/DATABASE (`auditkit fleet {name}` lists them)"
            )
        else_what = _suggest(name, known) or (", and no snapshot file of that name" if or_file else "")
        raise ConfigError(f"unknown environment '{name}'{else_what}; defined {where}: {', '.join(known)}")

    def source(self, text: str) -> Source:
        """Understand *text* as an environment's name, a connection string, a snapshot file or migrations.

        Raises:
            ConfigError: it is none of these.
        """
        if text in self.environments:
            return self.environments[text]
        if text == "migrations":
            return Source(text, "migrations", "")
        if text.startswith("migrations@"):
            if not text.removeprefix("migrations@"):
                raise ConfigError(
                    "migrations@ needs a git reference after it, for example migrations@main or migrations@HEAD~3"
                )
            return Source(text, "migrations", text.removeprefix("migrations@"))
        group, _, database = text.partition("/")
        if database and group in self.groups and self.groups[group].server:
            return self.groups[group].member(database)
        if "://" in text or re.match(r"\s*\w+\s*=", text):
            return Source(_database_name(text), "live", text)
        if text.endswith(".snapshot") or "/" in text or Path(text).is_file():
            if Path(text).is_dir():
                raise ConfigError(
                    f"{text} is a folder, not a snapshot file; name a file that `auditkit snapshot` made"
                )
            if not Path(text).is_file():
                raise ConfigError(
                    f"no such snapshot file: {text}; make one with `auditkit snapshot ENV -o FILE.snapshot`"
                )
            return Source(Path(text).stem, "snapshot", text)
        return self.environment(text, or_file=True)

    def sources(self, names: str | Iterable[str]) -> list[Source]:
        """Several environments: a list, a comma-separated text, or ``all`` of those defined."""
        words = [w.strip() for w in names.split(",")] if isinstance(names, str) else list(names)
        words = [w for w in words if w]
        if words == ["all"]:
            if not self.environments:
                self.environment("all")
            return [self.environments[name] for name in self.everywhere]
        if not words:
            raise ConfigError("no environment was named; give one, several separated by commas, or all")
        return [self.source(word) for word in words]


def load(config: str | os.PathLike[str] | None = None, *, start: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        config: path of ``auditkit.toml``; without it ``AUDITKIT_CONFIG``, then the nearest
            ``auditkit.toml`` (or ``pyproject.toml`` with ``[tool.auditkit]``) here or above.
        start: the folder to search from, by default the current one.

    Raises:
        ConfigError: the file is missing, malformed, holds an unknown key or a password.
    """
    named = config or os.environ.get("AUDITKIT_CONFIG")
    if named:
        file = Path(named)
        if file.is_dir():
            file = file / "auditkit.toml"
        if not file.is_file():
            raise ConfigError(f"no such settings file: {file}; check --config or AUDITKIT_CONFIG")
        data = _read(file)
        if file.name == "pyproject.toml":
            data = data.get("tool", {}).get("auditkit", {})
        return _settings(data, file)
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        file = folder / "auditkit.toml"
        if file.is_file():
            return _settings(_read(file), file)
        project = folder / "pyproject.toml"
        if project.is_file():
            data = _read(project).get("tool", {}).get("auditkit")
            if data is not None:
                return _settings(data, project)
    return _settings({}, None, root=here)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}; correct it and run again") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _settings(data: dict[str, Any], file: Path | None, root: Path | None = None) -> Settings:
    base = file.resolve().parent if file else (root or Path.cwd())
    where = str(file) if file else "the settings"
    _check_keys(data, "", where)
    sections: dict[str, dict[str, Any]] = {}
    for name in ("migrations", "shadow", "report", "compare", "policy", "alerts", "schedule", "fleet"):
        section = data.get(name, {})
        _check_keys(section, name, where)
        sections[name] = section
    environments = _environments(data.get("environments", {}), base, where)
    implied = frozenset[str]()
    if "local" not in environments:
        local = _supabase_local(base)
        if local:
            environments = {"local": local, **environments}
            implied = frozenset({"local"})
    groups = _groups(sections["fleet"].get("groups", {}), environments, where)
    scheduled = dict(sections["schedule"])
    fail_on = check_severity(sections["report"].get("fail_on", "medium"), where)
    if "AUDITKIT_FAIL_ON" in os.environ:
        fail_on = check_severity(os.environ["AUDITKIT_FAIL_ON"], "AUDITKIT_FAIL_ON")
    server = os.environ.get("AUDITKIT_SHADOW_SERVER") or sections["shadow"].get("server")
    if server and server != "embedded" and not os.environ.get("AUDITKIT_SHADOW_SERVER"):
        _refuse_password(server, f"{where}: [shadow] server")
    out_dir = os.environ.get("AUDITKIT_OUT_DIR") or sections["report"].get("out_dir", "reports")
    return Settings(
        root=base,
        file=file,
        environments=environments,
        implied=implied,
        migrations_path=os.environ.get("AUDITKIT_MIGRATIONS") or sections["migrations"].get("path"),
        tool=sections["migrations"].get("tool"),
        run_code=sections["migrations"].get("run_code", True),
        python=sections["migrations"].get("python"),
        code_environment=_variables(sections["migrations"].get("environment", {}), where),
        shadow_server=None if server == "embedded" else server,
        shadow_role=sections["shadow"].get("role"),
        out_dir=base / out_dir,
        fail_on=fail_on,
        ignore=(*_ignore(data.get("ignore", []), where), *_apart(groups.values())),
        schemas=tuple(sections["compare"].get("schemas", ())),
        owners=sections["compare"].get("owners", True),
        grants=sections["compare"].get("grants", True),
        comments=sections["compare"].get("comments", True),
        migration_roles=tuple(sections["policy"].get("migration_roles", ())),
        stale_after=_span(sections["policy"].get("stale_after", "7d"), f"{where}: [policy] stale_after"),
        alerts=_alerts(sections["alerts"], base, where),
        schedule=replace(Schedule(environments=tuple(scheduled.pop("environments", ()))), **scheduled),
        order=_order(sections["fleet"].get("order", []), {*environments, *groups}, where),
        groups=groups,
    )


def _alerts(section: Mapping[str, Any], base: Path, where: str) -> Alerts:
    when = section.get("when", "problems")
    if when not in ALERT_WHEN:
        raise ConfigError(f"{where}: [alerts] when is '{when}'; it must be one of {', '.join(ALERT_WHEN)}")
    return Alerts(
        webhook_env=variable_name(section.get("webhook_env"), f"{where}: [alerts] webhook_env"),
        file=base / section["file"] if section.get("file") else None,
        github=section.get("github"),
        when=when,
    )


def variable_name(text: str | None, label: str) -> str | None:
    """*text* if an environment variable can be called so; it may be the secret itself, so it is never repeated."""
    if text and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ConfigError(
            f'{label}: must be the name of an environment variable, like "SLACK_WEBHOOK_URL", not the address itself; '
            "settings files are shared"
        )
    return text or None


def _order(names: Sequence[str], known: Collection[str], where: str) -> tuple[str, ...]:
    """The promotion order: where a migration comes first, next, last."""
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{where}: [fleet] order: unknown environment '{name}'{_suggest(name, known)}; "
                f"defined: {', '.join(sorted(known)) or 'none'}"
            )
    if len({*names}) < len(names):
        raise ConfigError(f"{where}: [fleet] order names an environment twice; each has one place")
    return tuple(names)


def _groups(section: Mapping[str, Any], environments: Collection[str], where: str) -> dict[str, Group]:
    found = {}
    for name, entry in section.items():
        label = f"{where}: [fleet.groups.{name}]"
        if not isinstance(entry, dict):
            raise ConfigError(f"{label}: must be a table; write it as [fleet.groups.{_word(name)}]")
        _check_keys(entry, "fleet group", label)
        if name in environments or "/" in name or name in ("all", "migrations"):
            raise ConfigError(f"{label}: a group needs a name that no environment has, and no /")
        if bool(entry.get("databases")) == bool(entry.get("schemas")):
            raise ConfigError(
                f'{label}: give either databases = "shop_*" with url or url_env, '
                'or schemas = "tenant_*" with environment'
            )
        more = {
            key: entry[key] for key in ("databases", "schemas", "template", "environment") if key in entry
        }
        if entry.get("schemas") and entry.get("environment") not in environments:
            raise ConfigError(
                f"{label}: environment must be one of {', '.join(environments) or '(none is defined)'}"
            )
        server = None
        if entry.get("databases"):
            if bool(entry.get("url")) == bool(entry.get("url_env")):
                raise ConfigError(
                    f'{label}: needs url = "service=…" or url_env = "…", which says where the databases are'
                )
            address = {key: entry[key] for key in ("url", "url_env") if key in entry}
            server = _environments({name: address}, Path(), where)[name]
            if server.type != "live":
                raise ConfigError(f'{label}: url must be a connection string, like "service=…"')
        found[name] = Group(name, server=server, exclude=tuple(entry.get("exclude", ())), **more)
    return found


def _apart(groups: Iterable[Group]) -> Iterable[IgnoreRule]:
    """Schemas of a group are no part of what the migrations are held against: they are compared with each other."""
    for group in groups:
        if group.schemas:
            reason = f"schemas of the group {group.name}, compared with each other by `auditkit fleet`"
            yield IgnoreRule(reason, schema=group.schemas)
            yield IgnoreRule(reason, kind="schema", name=group.schemas)


def _span(text: str, label: str) -> dt.timedelta:
    """A time span like ``7d``, ``36h`` or ``30m``."""
    match = re.fullmatch(r"(\d{1,5})\s*([mhdw])", text.strip())
    if match is None:
        raise ConfigError(f'{label}: {text!r} is not a time span; write it like "7d", "36h" or "30m"')
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    return dt.timedelta(**{unit: int(match[1])})


def check_severity(value: str, where: str = "--fail-on") -> str:
    """*value* if it is a severity; ConfigError otherwise."""
    if value not in SEVERITIES:
        raise ConfigError(f"{where}: fail_on is '{value}'; it must be one of {', '.join(SEVERITIES)}")
    return value


def _environments(section: Mapping[str, Any], base: Path, where: str) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for name, entry in section.items():
        label = f"{where}: environment {name}"
        more: dict[str, Any] = {}
        if isinstance(entry, str):
            text = entry
        elif isinstance(entry, dict):
            _check_keys(entry, "environments", label)
            more = {"logs": tuple(entry.get("logs", ())), "log_line_prefix": entry.get("log_line_prefix")}
            if "url_env" in entry:
                variable = entry["url_env"]
                found[name] = Source(name, "live", os.environ.get(variable, ""), variable, **more)
                continue
            text = entry.get("url") or entry.get("snapshot") or ""
        else:
            raise ConfigError(
                f"{label}: must be a connection string or the path of a snapshot, not {type(entry).__name__}; "
                f'write {_word(name)} = "service=…"'
            )
        if not text:
            raise ConfigError(f'{label}: is empty; write {_word(name)} = "service=…"')
        if "://" not in text and "=" not in text:
            path = Path(text) if Path(text).is_absolute() else base / text
            found[name] = Source(name, "snapshot", str(path), **more)
            continue
        _refuse_password(text, label)
        found[name] = Source(name, "live", text, **more)
    return found


def _variables(section: Mapping[str, Any], where: str) -> dict[str, str]:
    """What the process of a migration tool finds in its environment."""
    for name, value in section.items():
        label = f"{where}: [migrations] environment: {name}"
        if not isinstance(value, str):
            raise ConfigError(f'{label}: must be a text in quotes, like "{{shadow}}"')
        if re.match(r"\w+(\+\w+)?://[^{]*@", value):
            raise ConfigError(
                f'{label}: names a server; migrations are replayed on the shadow only: "{{shadow}}"'
            )
    return dict(section)


def _refuse_password(conninfo: str, label: str) -> None:
    try:
        present = has_password(conninfo)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
    if present:
        raise ConfigError(
            f"{label}: holds a password; settings files are shared, so put it in ~/.pgpass, a service file, or a "
            'variable named by url_env = "…"'
        )


def _supabase_local(base: Path) -> Source | None:
    """The database of ``supabase start``, whose address and credentials are public defaults."""
    file = base / "supabase" / "config.toml"
    if not file.is_file():
        return None
    try:
        port = tomllib.loads(file.read_text("utf-8")).get("db", {}).get("port", 54322)
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError):
        port = 54322
    return Source("local", "live", f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres")


def _ignore(entries: Iterable[Any], where: str) -> Iterable[IgnoreRule]:
    for number, entry in enumerate(entries, 1):
        label = f"{where}: ignore rule {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{label}: must be a table; write it as [[ignore]] and its settings below")
        _check_keys(entry, "ignore", label)
        if not entry.get("reason"):
            raise ConfigError(f'{label}: needs reason = "…", so that the next reader knows why')
        until = entry.get("until")
        if isinstance(until, str):
            try:
                until = dt.date.fromisoformat(until)
            except ValueError:
                raise ConfigError(f"{label}: until must be a date like 2027-01-31") from None
        if isinstance(until, dt.datetime):
            until = until.date()
        if not any(entry.get(key) for key in ("kind", "schema", "name", "partitions_of")):
            raise ConfigError(f"{label}: names nothing; give kind, schema, name or partitions_of")
        yield IgnoreRule(
            reason=entry["reason"],
            kind=entry.get("kind", ""),
            schema=entry.get("schema", ""),
            name=entry.get("name", ""),
            until=until,
            partitions_of=entry.get("partitions_of", ""),
        )


def _check_keys(section: Mapping[str, Any], name: str, where: str) -> None:
    """Every setting is known and of the right type; a wrong one is never ignored. Values are not repeated."""
    inside = f" in [{name}]" if name else ""
    for key, value in section.items():
        if key not in _KEYS[name]:
            raise ConfigError(
                f"{where}: unknown setting '{key}'{inside}{_suggest(key, _KEYS[name])}; "
                f"known: {', '.join(sorted(_KEYS[name]))}"
            )
        wanted, words = _KEYS[name][key]
        items = value if wanted is list and words == _LIST[1] else ()
        if not isinstance(value, wanted) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{where}: '{key}'{inside} must be {words}, not {type(value).__name__}")


def _suggest(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def _database_name(conninfo: str) -> str:
    from auditkit.connect import parse

    words = parse(conninfo)
    return str(words.get("service") or words.get("dbname") or "database")


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text) or "production"
