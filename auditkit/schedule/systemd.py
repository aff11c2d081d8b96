"""A service and its timer for systemd."""

from __future__ import annotations

from auditkit.schedule.job import DAYS, Job, program
from auditkit.schedule.text import commented

_NAME = "auditkit-check"


def files(job: Job) -> dict[str, str]:
    """``auditkit-check.service`` and ``.timer``, for /etc/systemd/system (or ~/.config/systemd/user)."""
    about = f"systemctl enable --now {_NAME}.timer; journalctl -u {_NAME} shows what was found."
    if job.secrets:
        about += (
            f"\n{job.env_file} sets {', '.join(job.secrets)}, as NAME=value lines; readable for root alone."
        )
    lines = [
        "[Unit]",
        "Description=Check databases against their migrations",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_specifiers(str(job.root))}",
        f"ExecStart={' '.join(_word(word) for word in [*program(), *job.words])}",
        *([f"User={_specifiers(job.user)}"] if job.user else []),
        *([f"EnvironmentFile={_specifiers(job.env_file)}"] if job.secrets else []),
        "TimeoutStartSec=30min",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=full",
    ]
    timer = [
        "[Unit]",
        "Description=When databases are checked against their migrations",
        "",
        "[Timer]",
        f"OnCalendar={calendar(job)}",
        "Persistent=yes",
        "RandomizedDelaySec=2min",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    head = commented(about)
    return {
        f"{_NAME}.service": head + "\n".join(lines) + "\n",
        f"{_NAME}.timer": head + "\n".join(timer) + "\n",
    }


def calendar(job: Job) -> str:
    """The moment as systemd.time(7) has it."""
    days = "" if len(job.days) == 7 else ",".join(DAYS[day].capitalize() for day in job.days) + " "
    zone = f" {job.timezone}" if job.timezone else ""
    return f"{days}*-*-* {job.hour:02}:{job.minute:02}:00{zone}"


def _word(text: str) -> str:
    """One argument of a command line: neither variables nor specifiers are put in its place."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    plain = (
        escaped == text and text.replace("-", "").replace("/", "").replace("_", "").replace(".", "").isalnum()
    )
    return _specifiers(text if plain else f'"{escaped}"')


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
