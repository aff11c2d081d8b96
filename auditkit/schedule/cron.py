"""A line for crontab(5)."""

from __future__ import annotations

import shlex

from auditkit.schedule.job import Job, program, quoted
from auditkit.schedule.text import commented


def files(job: Job) -> dict[str, str]:
    """``auditkit.cron``: for `crontab -e`, or with a user for a file in /etc/cron.d."""
    comment = (
        f"Checks the databases every day. {'For a file in /etc/cron.d.' if job.user else 'For `crontab -e`.'} "
        "Cron mails what is printed."
    )
    command = f"cd {shlex.quote(str(job.root))} && {quoted([*program(), *job.words])}"
    if job.secrets:
        comment += f"\n{job.env_file} sets {', '.join(job.secrets)}, as NAME='value' lines; readable for the user alone."
        command = f"set -a && . {shlex.quote(job.env_file)} && set +a && {command}"
    zone = f"CRON_TZ={job.timezone}\n" if job.timezone else ""
    if zone:
        comment += "\nCRON_TZ is known to cronie; elsewhere the time is that of the machine."
    # In a crontab a percent sign ends the command, unless it is escaped; quotes do not matter.
    command = command.replace("%", "\\%")
    user = f"{job.user} " if job.user else ""
    return {"auditkit.cron": f"{commented(comment)}{zone}{job.cron} {user}{command}\n"}
