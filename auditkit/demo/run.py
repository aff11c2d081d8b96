"""``auditkit demo``: build the shop, live through its story, audit it at every moment, check the answers.

The databases are gone afterwards. What stays is the project, with a snapshot of each environment in place
of its database, and the reports: every command can be tried on them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from auditkit import audit, config, server
from auditkit.catalog.snapshot import Snapshot
from auditkit.demo.build import Shop, build
from auditkit.demo.story import BEFORE_DEPLOY, ENVIRONMENTS, MOMENTS
from auditkit.errors import AuditError
from auditkit.progress import silent
from auditkit.report.document import Audit

#: Left in the demo's folder: what a later run may remove.
MARK = ".auditkit-demo.json"
#: The environment whose deployment is reviewed.
DEPLOYED = "staging"


def run(
    directory: Path,
    *,
    progress: Callable[[int, int, str], None] = silent,
    reports: bool = True,
    echo: Callable[[str], object] = print,
) -> list[str]:
    """Run the demo in *directory* (``shop/`` and the reports go there); return what an audit got wrong.

    Raises:
        AuditError: there is something in ``directory/shop`` that no demo made.
    """
    clear(directory)
    project = directory / "shop"
    echo("A tea shop on Supabase: 34 migrations, three databases, one story.")
    with server.start(label="demo") as scratch:
        shop = build(scratch, project)
        for note in shop.notes:
            echo(f"  note: {note}")
        made: list[str] = []
        moment = MOMENTS[0]
        while True:
            echo(f"\n{moment.name}: {moment.says}")
            documents, taken = _look(shop, moment.at, progress)
            problems = shop.check(documents)
            echo(f"  {documents['production']['headline']}")
            last = shop.moment == len(MOMENTS) - 1
            _keep(project, taken, "before" if shop.moment == BEFORE_DEPLOY else "")
            if reports:
                due = shop.moment == BEFORE_DEPLOY
                made += _report(project, directory, moment.at, due=due, last=last, progress=progress)
            if problems or last:
                break
            following = shop.advance()
            assert following
            moment = following
    (project / "auditkit.toml").write_text(_frozen(), "utf-8")
    (directory / MARK).write_text(json.dumps({"reports": made}), "utf-8")
    _say(documents["production"], problems, directory, made, echo)
    return problems


def clear(directory: Path) -> None:
    """Remove what an earlier demo made here, and nothing else."""
    mark, project = directory / MARK, directory / "shop"
    if mark.is_file():
        try:
            names = json.loads(mark.read_text("utf-8"))["reports"]
        except (ValueError, KeyError, OSError):
            names = []
        for name in names:
            if (directory / Path(name).name / "audit.json").is_file():
                shutil.rmtree(directory / Path(name).name)
        shutil.rmtree(project, ignore_errors=True)
        mark.unlink()
    if project.exists() and any(project.iterdir()):
        raise AuditError(f"{project} exists and no demo made it; choose another folder with --dir")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Written first, so that an interrupted demo can be repeated.
        mark.write_text(json.dumps({"reports": []}), "utf-8")
    except OSError as error:
        raise AuditError(
            f"{directory}: cannot be written: {error.strerror}; choose another folder with --dir"
        ) from None


def _look(
    shop: Shop, at: str, progress: Callable[[int, int, str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, Snapshot]]:
    """Audit all environments, and keep the snapshots the audit was made from."""
    settings = config.load(shop.directory / "auditkit.toml")
    taken: dict[str, Snapshot] = {}
    for name in ENVIRONMENTS:
        taken[name] = audit.take(settings.environment(name), settings, progress=progress)
        taken[name].manifest["captured_at"] = at  # the story's clock
    result = audit.explain("all", settings=settings, progress=progress, taken=taken, at=at)
    return dict.fromkeys(taken, result.document), taken


def _keep(project: Path, taken: dict[str, Snapshot], label: str) -> None:
    """Save the snapshots: the databases will be gone."""
    folder = project / "snapshots"
    folder.mkdir(exist_ok=True)
    for name, snapshot in taken.items():
        snapshot.save(folder / f"{name}.snapshot")
        if label:
            snapshot.save(folder / f"{name}-{label}.snapshot")


def _report(
    project: Path,
    directory: Path,
    at: str,
    *,
    due: bool,
    last: bool,
    progress: Callable[[int, int, str], None],
) -> list[str]:
    """Render the scheduled audit; where a deployment is due, whether it may be; at the end of the story the others."""
    file = project / "auditkit.toml"
    live = file.read_text("utf-8")
    file.write_text(_frozen(), "utf-8")
    settings = config.load(file)
    before = str(project / "snapshots" / f"{DEPLOYED}-before.snapshot")
    names = ["scheduled_audit", *(["pre_deployment"] if due else [])]
    names += ["root_cause", "post_deploy_review"] if last else []
    parameters = {
        "scheduled_audit": {},
        "pre_deployment": {"environment": DEPLOYED, "snapshot": before},
        "root_cause": {"environment": "all"},
        "post_deploy_review": {
            "environment": DEPLOYED,
            "before": before,
            "deployed_at": at,
        },
    }
    made = []
    for name in names:
        done = audit.report(
            name,
            {**parameters[name], "config": str(file)},
            settings=settings,
            out_dir=str(directory),
            at=at,
            progress=progress,
        )
        made.append(done.path.name)
    file.write_text(live, "utf-8")
    return made


def _frozen() -> str:
    """Settings in which the snapshots stand for the databases."""
    lines = [
        "# Written by `auditkit demo`. The databases are gone; their snapshots stand for them.",
        "[environments]",
        *(f'{name} = "snapshots/{name}.snapshot"' for name in ENVIRONMENTS),
        "",
        "[migrations]",
        'path = "supabase/migrations"',
        'tool = "supabase"',
        "",
        "[report]",
        'out_dir = ".."',
        "",
    ]
    return "\n".join(lines)


def _say(
    document: dict[str, Any],
    problems: list[str],
    directory: Path,
    made: list[str],
    echo: Callable[[str], object],
) -> None:
    echo("\nWhat was found, and why:")
    for finding in Audit(document).document["findings"]:
        culprit = finding["migration"] or {}
        place = f"  ({culprit['file']}:{culprit['line'] or 1})" if culprit.get("file") else ""
        echo(
            f"  {finding['environment']:<11}{finding['severity']:<9}{finding['cause']:<23}{finding['title']}{place}"
        )
    if problems:
        return
    count = len(document["findings"])
    echo(f"\nAll {count} causes and culprits are right, and nothing else was reported.")
    if made:
        echo(f"Reports: {directory / 'index.html'}")
    echo(f"Try it yourself: cd {directory / 'shop'} && auditkit explain production")
