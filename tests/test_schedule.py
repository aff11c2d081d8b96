"""Files that have something else run the check: valid by the judge of each format, whatever names hold."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cronsim import CronSim
from project import Project, environment

from auditkit import config
from auditkit.errors import ConfigError
from auditkit.schedule import FORMATS, job_of

BIN = Path(sys.executable).parent
#: What shells, YAML, cron, systemd, GitHub and Kubernetes each would take for something else.
HOSTILE = """prod 'eu' "q" 100% $(id) `id` ${{ secrets.X }} $HOME \\ ; # &"""
SECRETS = ["STAGING_URL", "SHOPS_URL", "SLACK_WEBHOOK_URL"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "the 100% project's")
    made.settings(
        {
            "local": "host=127.0.0.1 dbname=app",
            json.dumps(HOSTILE): "service=app_prod",
            "direct": "host=db.example dbname=app",
        },
        '[environments.staging]\nurl_env = "STAGING_URL"\n'
        '[fleet.groups.shops]\ndatabases = "shop_*"\nurl_env = "SHOPS_URL"\n'
        '[alerts]\nwebhook_env = "SLACK_WEBHOOK_URL"\n'
        '[schedule]\nat = "06:30"\ndays = "weekdays"\n',
    )
    return made


def made(project: Project, form: str, *names: str, **changes: str) -> dict[str, str]:
    return FORMATS[form](job_of(config.load(start=project.root), form, names, changes=changes))


def the(project: Project, form: str, *names: str, **changes: str) -> str:
    (text,) = made(project, form, *names, **changes).values()
    return text


# --- judged by others --------------------------------------------------------------------------------------


def test_github_workflow(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "auditkit.yml"
    file.write_text(the(project, "github"))
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    workflow = yaml.load(file.read_text(), yaml.BaseLoader)
    assert workflow["on"]["schedule"] == [{"cron": "30 6 * * 1-5"}]
    step = next(s for s in workflow["jobs"]["check"]["steps"] if s.get("name") == "Check")
    assert step["env"] == {n: f"${{{{ secrets.{n} }}}}" for n in [*SECRETS, "PG_SERVICE_CONF", "PGPASS"]}
    # An expression of GitHub's can only be the one that stands for its own beginning.
    shell = step["run"].replace("${{ '${{' }}", "${{")
    assert step["run"].count("${{") == 2  # in the one name, written as an expression
    assert shlex.split(shell.splitlines()[-1])[-4:] == [HOSTILE, "direct", "staging", "shops"]


def test_kubernetes_cronjob(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(the(project, "kubernetes", timezone="Europe/Berlin"))
    command = [BIN / "kubernetes-validate", "--strict", "-k", "1.30", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    job = yaml.safe_load(file.read_text())
    assert (job["spec"]["schedule"], job["spec"]["timeZone"]) == ("30 6 * * 1-5", "Europe/Berlin")
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    # Kubernetes makes one dollar of two; the script takes its arguments as they are.
    assert [a.replace("$$", "$") for a in container["args"]][-4:] == [HOSTILE, "direct", "staging", "shops"]
    assert "prod" not in container["command"][2]
    run = container["command"][2].replace("exec auditkit", "printf '%s\\n'").replace("/tmp/", f"{tmp_path}/")
    done = subprocess.run(
        ["sh", "-c", run, "auditkit", *job_of(config.load(start=project.root), "kubernetes").words],
        capture_output=True, text=True, env={**environment(), "PGPASS": "h:*:*:u:p", "PG_SERVICE_CONF": "[app_prod]"},
    )  # fmt: skip
    assert HOSTILE in done.stdout.splitlines()
    assert (tmp_path / "pgpass").stat().st_mode & 0o077 == 0


def test_cron_line(project: Project, tmp_path: Path) -> None:
    """The fields are those of cron; the command, run by a shell as cron hands it on, has the names as they are."""
    line = the(project, "cron", HOSTILE, "staging", env_file=str(tmp_path / "the env's file")).splitlines()[
        -1
    ]
    fields, command = " ".join(line.split()[:5]), line.split(None, 5)[5]
    after = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
    assert next(CronSim(fields, after)) == datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
    assert "%" not in command.replace("\\%", "")
    (tmp_path / "the env's file").write_text("STAGING_URL='postgresql://x y'\n")
    script = command.replace("\\%", "%").replace(str(BIN / "auditkit"), f"{sys.executable} {_echo(tmp_path)}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment())
    told = json.loads(done.stdout)
    assert told["arguments"] == ["--quiet", "check", HOSTILE, "staging"]
    assert (told["folder"], told["url"]) == (str(project.root), "postgresql://x y")


def _echo(folder: Path) -> Path:
    file = folder / "echo.py"
    file.write_text(
        "import json, os, sys\n"
        "print(json.dumps({'arguments': sys.argv[1:], 'folder': os.getcwd(), 'url': os.environ.get('STAGING_URL')}))\n"
    )
    return file


@pytest.mark.parametrize(
    ("days", "says"), [("daily", "*-*-* 06:30:00"), ("mon,wed", "Mon,Wed *-*-* 06:30:00")]
)
def test_systemd_units(project: Project, tmp_path: Path, days: str, says: str) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze, "the Debian package systemd has it; see .ci/run"
    texts = made(project, "systemd", HOSTILE, "staging", days=days, timezone="Europe/Berlin")
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name in texts:
        done = subprocess.run([analyze, "verify", tmp_path / name], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name
    (line,) = (x for x in texts["auditkit-check.timer"].splitlines() if x.startswith("OnCalendar="))
    assert line == f"OnCalendar={says} Europe/Berlin"
    done = subprocess.run([analyze, "calendar", line.partition("=")[2]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    command = texts["auditkit-check.service"].partition("ExecStart=")[2].splitlines()[0]
    # systemd unquotes like a shell would, and takes %% and $$ for one.
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]
    assert words[1:] == ["--quiet", "check", HOSTILE, "staging"]


# --- what is written ---------------------------------------------------------------------------------------


def test_a_time_zone_becomes_utc_where_nothing_else_is_known(project: Project) -> None:
    for zone, at, cron in (
        ("Europe/Berlin", "06:30", "30 5 * * 1-5"),
        ("Asia/Tokyo", "06:30", "30 21 * * 0-4"),
        ("America/Los_Angeles", "20:00", "0 4 * * 2-6"),
    ):
        job = job_of(config.load(start=project.root), "github", (), changes={"timezone": zone, "at": at})
        assert job.in_utc().cron == cron


def test_what_only_this_machine_reaches_is_left_out_elsewhere(project: Project) -> None:
    settings = config.load(start=project.root)
    job = job_of(settings, "github")
    assert "local" not in job.environments and "local" in job.notes[0]
    assert job_of(settings, "cron").environments == ()  # all there are
    assert job_of(settings, "github", ("local",)).environments == ("local",)


def test_no_secret_is_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "postgresql://u:c4nary-pw@h/db")
    for form in FORMATS:
        assert "c4nary" not in repr(made(project, form))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"at": "25:00"}, "the time '25:00' is none"),
        ({"days": "someday"}, "the days 'someday' are none"),
        ({"timezone": "Mars/Olympus"}, "the time zone 'Mars/Olympus' is not known"),
        ({"timezone": "../etc/passwd"}, "is not known"),
    ],
)
def test_mistakes(project: Project, changes: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(project, "cron", **changes)


def test_names_that_no_line_can_hold(project: Project) -> None:
    settings = config.load(start=project.root)
    name = "a\n* * * * * root rm -rf /"
    evil = replace(settings, environments={name: replace(settings.environments["staging"], name=name)})
    with pytest.raises(ConfigError, match="line break"):
        job_of(evil, "cron", (name,))


def test_the_command(project: Project) -> None:
    answer = project.run("schedule", "github", "-o", ".github/workflows/auditkit.yml")
    file = project.root / ".github" / "workflows" / "auditkit.yml"
    assert (answer.code, answer.out) == (0, ".github/workflows/auditkit.yml\n")
    assert "left out, as only this machine reaches them: local" in answer.err
    file.write_text("mine")
    answer = project.run("schedule", "github", "-o", str(file))
    assert (answer.code, file.read_text()) == (2, "mine")
    assert "is there already; choose another place with -o, or overwrite it with --force" in answer.err
    assert project.run("schedule", "github", "--warn-only", "-o", str(file), "--force").code == 0
    assert "check --warn-only" in file.read_text()
    answer = project.run("schedule", "systemd", "-o", ".")
    assert answer.out == "auditkit-check.service\nauditkit-check.timer\n"
