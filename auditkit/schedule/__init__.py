"""Files that have something else run the daily check: GitHub Actions, cron, systemd, Kubernetes.

Each is made from the settings: which environments, when, which secrets by name. A file holds no secret and is never
overwritten unasked. Names of environments are the user's and may hold anything: each format quotes them its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auditkit.schedule import cron, github, kubernetes, systemd
from auditkit.schedule.job import Job, job_of

__all__ = ["FORMATS", "Job", "job_of"]

#: Format → the files that it makes of a job: name → text.
FORMATS: Mapping[str, Callable[[Job], dict[str, str]]] = {
    "github": github.files,
    "cron": cron.files,
    "systemd": systemd.files,
    "kubernetes": kubernetes.files,
}
