"""What is to be run when, and what it needs: the same for every format."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auditkit.config import Settings, Source
from auditkit.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TO_OTHERS = ("github", "kubernetes")
_HERE = frozenset({"localhost", "127.0.0.1", "::1", ""})


@dataclass(frozen=True)
class Job:
    """One scheduled check.

    Attributes:
        hour, minute, days, timezone: when; ``days`` are numbers from 0 (Monday), ``timezone`` None: UTC or the machine's.
        environments: what is checked; empty: all.
        arguments: further options of ``auditkit check``.
        secrets: names of the variables whose values are secrets.
        service_file, passwords: whether libpq's service file, or its file of passwords, is needed.
        root: the project's folder; ``folder``: the same, seen from the root of its repository.
        config: the settings file, seen from ``root``, where it has an unusual name.
        reports: the folder of reports, seen from ``root``.
        notes: what a person should know, on standard error.
    """

    hour: int
    minute: int
    days: tuple[int, ...]
    timezone: str | None
    environments: tuple[str, ...]
    arguments: tuple[str, ...]
    secrets: tuple[str, ...]
    service_file: bool
    passwords: bool
    root: Path
    folder: str
    config: str | None
    reports: str
    install: str
    image: str
    user: str | None
    env_file: str
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command after the program's name."""
        config = ["--config", self.config] if self.config else []
        # What looks like an option is a name.
        names = (
            ["--", *self.environments]
            if any(n.startswith("-") for n in self.environments)
            else self.environments
        )
        return [*config, "--quiet", "check", *self.arguments, *names]

    @property
    def cron(self) -> str:
        """The five fields of crontab(5)."""
        return f"{self.minute} {self.hour} * * {_fields(self.days)}"

    def in_utc(self) -> Job:
        """The same moment where only UTC is known; by the offset in winter, if the time zone has two."""
        if self.timezone in (None, "UTC"):
            return self
        import datetime as dt

        assert self.timezone
        winter = (
            dt.datetime(2026, 1, 15, tzinfo=zoneinfo.ZoneInfo(self.timezone)).utcoffset() or dt.timedelta()
        )
        minutes = self.hour * 60 + self.minute - int(winter.total_seconds()) // 60
        shift, rest = divmod(minutes, 24 * 60)
        days = tuple(sorted((day + shift) % 7 for day in self.days))
        return replace(self, hour=rest // 60, minute=rest % 60, days=days)


def job_of(
    settings: Settings,
    form: str,
    environments: Sequence[str] = (),
    *,
    arguments: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Job:
    """The job that the settings describe, with what the command line changes.

    Raises:
        ConfigError: an environment is unknown, a time, day or time zone is none, or a name cannot be written there.
    """
    wanted = replace(settings.schedule, **{k: v for k, v in (changes or {}).items() if v is not None})
    names = tuple(environments) or wanted.environments
    sources, asked = _sources(settings, names)
    notes: list[str] = []
    if form in _TO_OTHERS and not names:
        away = [source for source in sources if not _is_here(source)]
        left = [source.name for source in sources if source not in away]
        if left and away:
            notes.append(
                f"left out, as only this machine reaches them: {', '.join(left)}; name environments to say otherwise"
            )
            asked = [name for name in asked if name not in left]
            sources, names = away, tuple(asked)
        elif left:
            notes.append(
                f"{', '.join(left)}: reached only from this machine, so not from there; see [environments]"
            )
    _printable(*names, str(settings.root))
    hour, minute = _time(wanted.at)
    top, ignored = _repository(settings)
    if ignored and form in _TO_OTHERS:
        notes.append(
            f"{ignored} is ignored by git, so it will be missing there; commit it (it may hold no password)"
        )
    variables = [source.variable for source in sources if source.variable]
    alerts = [settings.alerts.webhook_env] if settings.alerts.webhook_env else []
    direct = [s for s in sources if s.type == "live" and not s.variable and not _is_here(s)]
    services = [s for s in direct if "service" in _parsed(s)]
    usual = settings.file is None or settings.file.name in ("auditkit.toml", "pyproject.toml")
    try:
        reports = settings.out_dir.relative_to(settings.root).as_posix()
    except ValueError:
        reports = settings.out_dir.as_posix()
    return Job(
        hour,
        minute,
        _days(wanted.days),
        _zone(wanted.timezone),
        names,
        tuple(arguments),
        tuple(dict.fromkeys([*variables, *alerts])),
        bool(services),
        len(services) < len(direct),
        settings.root,
        top,
        None if usual or settings.file is None else settings.file.name,
        reports,
        wanted.install,
        wanted.image or "auditkit:latest",
        wanted.user,
        wanted.env_file or "/etc/auditkit.env",
        tuple(notes),
    )


def program() -> list[str]:
    """How auditkit is started on this machine."""
    found = shutil.which("auditkit")
    beside = Path(sys.executable).with_name("auditkit")
    if beside.is_file():
        return [str(beside)]
    return [found] if found else [sys.executable, "-m", "auditkit"]


def connecting(job: Job, place: str) -> list[str]:
    """Shell lines that put the contents of secrets where libpq looks for them, readable by nobody else."""
    lines = []
    if job.service_file:
        lines += [f'printf "%s\\n" "$PG_SERVICE_CONF" > {place}/pg_service.conf']
    if job.passwords:
        lines += [f'printf "%s\\n" "$PGPASS" > {place}/pgpass']
    return ["umask 077", *lines] if lines else []


def secrets_of(job: Job) -> list[str]:
    """All secrets by name, with the files that are given as such."""
    files = [
        name for name, needed in (("PG_SERVICE_CONF", job.service_file), ("PGPASS", job.passwords)) if needed
    ]
    return [*job.secrets, *files]


def quoted(words: Sequence[str]) -> str:
    """Words for a POSIX shell."""
    return shlex.join(words)


def _sources(settings: Settings, names: Sequence[str]) -> tuple[list[Source], list[str]]:
    """The environments of *names*, a group's server standing for its databases."""
    asked = list(names) or [*settings.environments, *settings.groups]
    if not asked:
        settings.environment("all")  # says what is missing
    found = []
    for name in asked:
        group = settings.groups.get(name)
        if group is None:
            found.append(settings.environment(name))
        else:
            found.append(group.server or settings.environment(group.environment))
    return found, asked


def _is_here(source: Source) -> bool:
    """Whether only this machine reaches it: a local server, or what Supabase's CLI starts."""
    if source.type != "live" or source.variable:
        return False
    words = _parsed(source)
    host = str(words.get("host") or words.get("hostaddr") or "")
    return "service" not in words and (host in _HERE or host.startswith("/"))


def _parsed(source: Source) -> dict[str, Any]:
    from auditkit.connect import parse

    return parse(source.value, source.name)


def _repository(settings: Settings) -> tuple[str, str | None]:
    """Where the project is in its git repository, and the settings file if git ignores it."""
    try:
        where = ["git", "-C", str(settings.root)]
        done = subprocess.run(
            [*where, "rev-parse", "--show-prefix"], capture_output=True, text=True, check=False
        )
        prefix = done.stdout.strip().rstrip("/") if done.returncode == 0 else ""
        ignored = None
        if settings.file and done.returncode == 0:
            told = subprocess.run(
                [*where, "check-ignore", "--quiet", str(settings.file)], check=False, capture_output=True
            )
            ignored = settings.file.name if told.returncode == 0 else None
    except OSError:
        return "", None
    return prefix, ignored


def _printable(*texts: str) -> None:
    for text in texts:
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise ConfigError(
                f"{text!r} holds a line break or control character, which such a file cannot; rename it"
            )


def _time(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if match is None:
        raise ConfigError(f'the time {text!r} is none; write it like "06:30"')
    return int(match[1]), int(match[2])


def _days(text: str) -> tuple[int, ...]:
    """``daily``, ``weekdays``, ``mon-fri``, ``mon,wed``."""
    text = {"daily": "mon-sun", "weekdays": "mon-fri", "weekends": "sat-sun"}.get(
        text.strip().lower(), text.lower()
    )
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip()[:3] for word in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise ConfigError(
                f'the days {text!r} are none; write "daily", "weekdays", "mon-fri" or "mon,wed"'
            )
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return tuple(sorted(found))


def _zone(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'the time zone {name!r} is not known; write it like "Europe/Berlin"') from None
    return name


def _fields(days: Sequence[int]) -> str:
    """Days as crontab has them, 0 being Sunday."""
    if len(days) == 7:
        return "*"
    numbers = sorted((day + 1) % 7 for day in days)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
