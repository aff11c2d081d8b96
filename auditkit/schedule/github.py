"""A workflow for GitHub Actions: the job's summary and annotations tell what was found."""

from __future__ import annotations

from typing import Any

from auditkit.errors import ConfigError
from auditkit.schedule.job import Job, connecting, quoted, secrets_of
from auditkit.schedule.text import yaml_of

_NAME = "auditkit.yml"


def files(job: Job) -> dict[str, str]:
    """``auditkit.yml``, for the folder ``.github/workflows``."""
    secrets = secrets_of(job)
    for name in secrets:
        if name.upper().startswith("GITHUB_"):
            raise ConfigError(
                f"{name}: no secret of GitHub's may begin with GITHUB_; give the variable another name"
            )
    utc = job.in_utc()
    zone = job.timezone and f"{job.hour:02}:{job.minute:02} {job.timezone} in winter; GitHub knows UTC only"
    comment = f"""\
Checks the databases every day against the migrations in this repository. Put it into .github/workflows/{_NAME}.
{zone or "The time is UTC"}. Secrets to define in the repository's settings: {", ".join(secrets) or "none"}."""
    if job.service_file or job.passwords:
        comment += "\nPG_SERVICE_CONF and PGPASS are the contents of libpq's service file and of .pgpass."
    document = {
        "name": "Database drift",
        "on": {"schedule": [{"cron": utc.cron}], "workflow_dispatch": {}},
        "permissions": {"contents": "read"},
        "concurrency": {"group": "auditkit-check", "cancel-in-progress": False},
        "jobs": {"check": {"runs-on": "ubuntu-latest", "timeout-minutes": 30, "steps": _steps(job)}},
    }
    if job.folder:
        document["defaults"] = {"run": {"working-directory": _plain(job.folder)}}
    return {_NAME: yaml_of(document, comment)}


def _steps(job: Job) -> list[dict[str, Any]]:
    reports = _plain("/".join(filter(None, (job.folder, job.reports))))
    kept = {
        "path": f"~/.cache/auditkit\n{reports}/check.json\n",
        "key": "auditkit-${{ github.run_id }}-${{ github.run_attempt }}",
    }
    # Who wrote which migration is in the whole history.
    steps: list[dict[str, Any]] = [
        {"uses": "actions/checkout@v4", "with": {"fetch-depth": 0, "persist-credentials": False}},
        {"uses": "actions/setup-python@v5", "with": {"python-version": "3.12"}},
        {
            "name": "What earlier checks found, and the replayed migrations",
            "uses": "actions/cache/restore@v4",
            "with": {**kept, "restore-keys": "auditkit-"},
        },
        {"run": job.install},
    ]
    environment = {name: f"${{{{ secrets.{name} }}}}" for name in secrets_of(job)}
    run = [*connecting(job, '"$RUNNER_TEMP"')]
    if job.service_file:
        run.append('export PGSERVICEFILE="$RUNNER_TEMP/pg_service.conf"')
    if job.passwords:
        run.append('export PGPASSFILE="$RUNNER_TEMP/pgpass"')
    run.append(_plain(quoted(["auditkit", *job.words])))
    step: dict[str, Any] = {"name": "Check", "run": "\n".join(run) + ("\n" if len(run) > 1 else "")}
    if environment:
        step["env"] = environment
    # A check that finds something fails the job, and is remembered all the same.
    save = {"name": "Remember", "if": "always()", "uses": "actions/cache/save@v4", "with": kept}
    return [*steps, step, save]


def _plain(text: str) -> str:
    """*text* without what GitHub would take for an expression."""
    return text.replace("${{", "${{ '${{' }}")
