"""A CronJob for Kubernetes."""

from __future__ import annotations

from typing import Any

from auditkit.schedule.job import Job, connecting, secrets_of
from auditkit.schedule.text import yaml_of

_NAME = "auditkit-check"


def files(job: Job) -> dict[str, str]:
    """``auditkit-check.yaml``, for `kubectl apply -f`."""
    secrets = secrets_of(job)
    made = " ".join(f"--from-literal={name}=…" for name in secrets)
    comment = f"""\
Checks the databases every day. The image holds this repository (with its .git, which tells who wrote which
migration) in /project, and auditkit:
    FROM python:3.12-slim
    RUN apt-get update && apt-get install -y --no-install-recommends git && {job.install}
    COPY --chown=10001 . /project
What earlier checks found is kept in the volume "state": with an emptyDir it is gone after each run, and everything
is new; a persistentVolumeClaim keeps it."""
    if secrets:
        comment += f"\nThe secrets: kubectl create secret generic auditkit {made}"
    container: dict[str, Any] = {
        "name": "check",
        "image": job.image,
        "workingDir": _folder(job),
        **_command(job),
    }
    container["env"] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "auditkit", "key": name}}} for name in secrets
    ] + [
        {"name": "AUDITKIT_CACHE_DIR", "value": "/state/cache"},
        {"name": "AUDITKIT_OUT_DIR", "value": "/state/reports"},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108
    ]
    container |= {
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": "/state"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001},
        "containers": [container],
        "volumes": [
            {"name": "state", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
        ],
    }
    spec: dict[str, Any] = {"schedule": job.cron}
    if job.timezone:
        spec["timeZone"] = job.timezone
    spec |= {
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 1800, "template": {"spec": pod}}
        },
    }
    document = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": _NAME}, "spec": spec}
    return {f"{_NAME}.yaml": yaml_of(document, comment)}


def _folder(job: Job) -> str:
    return f"/project/{job.folder}".rstrip("/")


def _command(job: Job) -> dict[str, list[str]]:
    """Names travel as arguments, never inside a script; Kubernetes fills in $(NAME), and not $$(NAME)."""
    arguments = [word.replace("$(", "$$(") for word in job.words]
    lines = connecting(job, "/tmp")  # noqa: S108
    if not lines:
        return {"command": ["auditkit"], "args": arguments}
    exports = ["export PGSERVICEFILE=/tmp/pg_service.conf"] if job.service_file else []
    exports += ["export PGPASSFILE=/tmp/pgpass"] if job.passwords else []
    script = "\n".join(["set -e", *lines, *exports, 'exec auditkit "$@"', ""])
    return {"command": ["sh", "-c", script, "auditkit"], "args": arguments}
