"""The command line: data on standard output, progress and messages on standard error.

Exit codes: 0 nothing at or above ``--fail-on``; 1 findings; 2 usage or configuration; 3 incomplete (could
not connect, read, replay or run). Imports are made inside the commands, so that each pays only for
what it uses.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditkit import __version__, config
from auditkit.errors import AuditError, ConfigError

if TYPE_CHECKING:
    from auditkit.config import Settings
    from auditkit.report.document import Audit
    from auditkit.resolve.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])

_GLYPHS = {"PASS": "✓", "WARN": "!", "FAIL": "✗", "INCOMPLETE": "?"}
_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "INCOMPLETE": "magenta"}
_STATES = {
    "applied": "✓",
    "pending": "○",
    "edited": "≠",
    "failed": "!",
    "out_of_order": "↕",
    "unknown": "?",
    "restamped": "⟲",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every error is one line."""
    gc.set_threshold(100_000)  # imports make many objects and hardly any garbage
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = cli.main(
            args=list(argv) if argv is not None else None, prog_name="auditkit", standalone_mode=False
        )
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = _complain("stopped; nothing was changed", 130)
    except KeyboardInterrupt:
        code = _complain("stopped; nothing was changed", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        usage = (
            f" (see `{error.ctx.command_path} --help`)"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        if isinstance(error, click.NoSuchOption) and error.option_name in ("--config", "--quiet", "-q"):
            usage = f"; it goes before the command: `auditkit {error.option_name} … COMMAND`"
        code = _complain(error.format_message().rstrip(".") + usage, 2)
    except AuditError as error:
        code = _complain(str(error), error.exit_code)
    except SystemExit:
        code = 128 + signal.SIGPIPE  # click met a closed pipe and would say 1, which means findings here
    except Exception as error:
        if os.environ.get("AUDITKIT_DEBUG"):
            raise
        from auditkit.connect import redact

        first = (str(error).strip().splitlines() or [""])[0]
        code = _complain(
            f"internal error: {type(error).__name__}: {redact(first)}; this is a defect, please report it "
            "with the output of AUDITKIT_DEBUG=1",
            3,
        )
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    click.echo(click.style("auditkit: ", bold=True) + " ".join(message.split()), err=True, color=_colour())
    return code


def _colour() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="auditkit")
@click.option(
    "--config", "config_file", metavar="FILE", help="Settings file (default: auditkit.toml here or above)."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on standard error.")
@click.pass_context
def cli(ctx: click.Context, config_file: str | None, quiet: bool) -> None:
    """Why do these PostgreSQL databases differ, and what should be done about it?

    SOURCES are environments of auditkit.toml, connection strings, snapshot files, `migrations`
    (the files, replayed) and `migrations@GITREF`.
    """
    ctx.obj = {"config": config_file, "quiet": quiet}


def _settings(ctx: click.Context) -> Settings:
    settings = config.load(ctx.obj["config"])
    for rule in settings.ignore:
        if not rule.active():
            click.echo(
                f"ignore rule expired on {rule.until}, hides nothing any more: {rule.patterns}: {rule.reason}",
                err=True,
            )
    return settings


def _progress(ctx: click.Context) -> Any:
    from auditkit.progress import Progress

    return Progress(quiet=ctx.obj["quiet"])


def _json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def _gate_options(function: F) -> F:
    function = click.option(
        "--fail-on", type=click.Choice(config.SEVERITIES), help="Least severity that fails (default: medium)."
    )(function)
    return click.option("--warn-only", is_flag=True, help="Exit 0 where findings would exit 1.")(function)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def _exit_code(verdict: str, warn_only: bool) -> int:
    return {"FAIL": 0 if warn_only else 1, "INCOMPLETE": 3}.get(verdict, 0)


@cli.command()
@click.option(
    "--dir", "directory", default="reports", show_default=True, help="Where the project and its reports go."
)
@click.option("--no-reports", is_flag=True, help="Check the causes only; render no HTML.")
@click.pass_context
def demo(ctx: click.Context, directory: str, no_reports: bool) -> None:
    """Build three drifted databases, explain them, write the HTML reports.

    Everything runs on an embedded PostgreSQL that is gone afterwards. What stays is the project
    (migrations, auditkit.toml, snapshots) and the reports, so that every command can be tried on it.
    """
    from auditkit.demo.run import run

    problems = run(Path(directory), progress=_progress(ctx), reports=not no_reports, echo=click.echo)
    if problems:
        for problem in problems:
            click.echo(f"demo: {problem}", err=True)
        raise click.exceptions.Exit(1)


@cli.command()
@_json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check the settings, the servers, the ledgers and this machine; say what is missing."""
    from auditkit.doctor import examine

    checks = examine(_settings(ctx), progress=_progress(ctx))
    if as_json:
        _print_json({"format": "auditkit.doctor/1", "checks": [check.as_dict() for check in checks]})
    else:
        width = max(len(check.what) for check in checks)
        for check in checks:
            glyph, colour = {"ok": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "red")}[check.state]
            click.echo(
                f"{click.style(glyph, fg=colour)} {check.what:<{width}}  {check.says}", color=_colour()
            )
            if check.fix:
                click.echo(f"  {'':<{width}}  → {check.fix}")
    if any(check.state == "bad" for check in checks):
        raise click.exceptions.Exit(3)


@cli.command()
@click.argument("source")
@click.option("-o", "--output", metavar="FILE", help="Where to save it (default: ENV-<date>.snapshot).")
@click.option("--sql", is_flag=True, help="Print the whole schema as SQL for an empty database instead.")
@_json_option
@click.pass_context
def snapshot(ctx: click.Context, source: str, output: str | None, sql: bool, as_json: bool) -> None:
    """Read everything about SOURCE at one instant and save it as one file."""
    from auditkit import audit
    from auditkit.history import ledgers

    settings = _settings(ctx)
    if output and not Path(output).parent.is_dir():  # said before the reading, which may take minutes
        raise ConfigError(f"cannot write {output}: no such folder; choose another place with -o")
    with _progress(ctx) as progress:
        taken = audit.take(settings.source(source), settings, logs=True, progress=progress)
    name = Path(taken.manifest["name"] or "database").name
    path = Path(output or f"{name}-{taken.manifest['captured_at'][:10]}.snapshot")
    text = taken.to_sql() if sql else ""
    try:
        if not sql:
            taken.save(path)
        elif output:
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another place with -o") from None
    unread = [*taken.manifest["not_checked"], *ledgers.choose(taken.ledgers).not_checked]
    summary = {**taken.manifest, "fingerprint": taken.fingerprint, "facts": len(taken)}
    summary |= {"sql": text} if sql else {"file": str(path)}
    summary["witnesses"] = [{**w, "rows": len(w["rows"])} for w in summary.get("witnesses", ())]
    summary.pop("access", None)  # `auditkit policy` tells it
    if as_json:
        _print_json({**summary, "format": "auditkit.snapshot/1", "unmodelled": taken.unmodelled})
    elif sql and not output:
        click.echo(text, nl=False)
    else:
        click.echo(
            f"{path}: {len(taken):,} facts of {taken.manifest['database']}, fingerprint {taken.fingerprint[:12]}"
        )
    for item in unread:
        click.echo(f"not checked: {item['what']}: {item['why']}; {item['fix']}", err=True)
    if taken.manifest["status"] != "complete" or unread:
        raise click.exceptions.Exit(3)


@cli.command()
@click.argument("environments", nargs=-1)
@click.option("--all", "show_all", is_flag=True, help="List migrations that agree everywhere, too.")
@_json_option
@click.pass_context
def history(ctx: click.Context, environments: tuple[str, ...], show_all: bool, as_json: bool) -> None:
    """Which migration is in which state where (default: all environments)."""
    from auditkit import audit

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        matrix, problems = audit.history(settings.sources(environments or "all"), settings, progress=progress)
    if as_json:
        _print_json(matrix.to_json())
    else:
        _print_matrix(matrix.to_json(), show_all)
    for problem in problems:
        click.echo(
            f"not checked: {problem['environment']}: {problem['what']}: {problem['why']}; {problem['fix']}",
            err=True,
        )
    if problems:
        raise click.exceptions.Exit(3)


def _print_matrix(document: dict[str, Any], show_all: bool) -> None:
    names = [e if isinstance(e, str) else e["name"] for e in document["environments"]]
    rows = document["migrations"]
    agreeing = [r for r in rows if all(r["states"].get(name) == "applied" for name in names)]
    shown = rows if show_all else [r for r in rows if r not in agreeing]
    table = [["migration", *names]]
    for row in shown:
        states = (row["states"].get(name) for name in names)  # none where the ledger could not be read
        absent = "not readable" if row["file"] else "·"  # a row without a file is only where it was recorded
        cells = ["✓" if s == "applied" else f"{_STATES[s]} {s}" if s else absent for s in states]
        table.append([f"{row['version']} {row['name']}".strip(), *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table if shown else ():
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if agreeing and not show_all:
        click.echo(
            f"{len(agreeing)} {'migration is' if len(agreeing) == 1 else 'migrations are'} applied everywhere."
        )
    if not rows:
        click.echo("No migrations: none in the repository and none in any ledger.")


@cli.command()
@click.argument("left")
@click.argument("right")
@click.option("--sql", is_flag=True, help="Print only SQL that turns LEFT into RIGHT.")
@click.option("--safe", is_flag=True, help="With --sql: refuse SQL that deletes data.")
@click.option("--prove", is_flag=True, help="With --sql: run it on a shadow of LEFT, and the way back.")
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="KIND:OLD=NEW",
    help="With --sql: what LEFT calls OLD is NEW in RIGHT, as in table:public.a=public.b or column:public.t.x=y.",
)
@click.option("--no-renames", is_flag=True, help="With --sql: recognise no renames, drop and create.")
@click.option(
    "--online", is_flag=True, help="With --sql: lock no table in use for long; not one transaction then."
)
@click.option("--no-owners", is_flag=True, help="Do not compare who owns what.")
@click.option("--no-grants", is_flag=True, help="Do not compare privileges.")
@click.option("--no-comments", is_flag=True, help="Do not compare comments.")
@_json_option
@click.pass_context
def diff(
    ctx: click.Context,
    left: str,
    right: str,
    sql: bool,
    safe: bool,
    prove: bool,
    renames: tuple[str, ...],
    no_renames: bool,
    online: bool,
    no_owners: bool,
    no_grants: bool,
    no_comments: bool,
    as_json: bool,
) -> None:
    """How RIGHT differs from LEFT, object by object. Exits 1 when they differ, 3 when the proof fails."""
    from auditkit import audit

    settings = _settings(ctx)
    settings = replace(
        settings,
        owners=settings.owners and not no_owners,
        grants=settings.grants and not no_grants,
        comments=settings.comments and not no_comments,
    )
    sql = sql or safe or prove or online or bool(renames)
    with _progress(ctx) as progress:
        result = audit.diff(
            settings.source(left),
            settings.source(right),
            settings,
            sql=sql,
            safe=safe,
            prove=prove,
            renames=renames,
            guess_renames=not no_renames,
            online=online,
            progress=progress,
        )
    if as_json:
        _print_json(result)
    elif sql:
        click.echo(result["sql"], nl=False)
    else:
        _print_deltas(result["deltas"])
        for item in result["unmodelled"]:
            click.echo(f"not modelled: {item['count']} {item['kind']} ({item['environment']})", err=True)
        _print_left_out(result)
    for item in result["not_checked"]:
        click.echo(
            f"not checked: {item['environment']}: {item['what']}: {item['why']}; {item['fix']}", err=True
        )
    proof = result.get("proof")
    for line in proof["says"] if proof and not as_json else ():
        click.echo(f"proof: {line}", err=True)
    if proof and not proof["proven"]:
        raise click.exceptions.Exit(3)
    if not all(map(_is_warning, result["deltas"])):
        raise click.exceptions.Exit(1)
    if not as_json and not sql:
        click.echo("equal" if result["equal"] else "equal in what could be read")
    if not result["equal"]:
        raise click.exceptions.Exit(3)


@cli.command()
@click.argument("environment")
@click.option("--name", default="", metavar="NAME", help="What the migration is called (default: pull_ENV).")
@click.option("--dry-run", is_flag=True, help="Print the file instead of writing it.")
@click.option("--no-renames", is_flag=True, help="Recognise no renames, drop and create.")
@_json_option
@click.pass_context
def pull(
    ctx: click.Context, environment: str, name: str, dry_run: bool, no_renames: bool, as_json: bool
) -> None:
    """Write a migration that brings the migrations up to what ENVIRONMENT holds.

    It is proven first by a replay of all migrations and of its way back. The command that records it as
    applied in ENVIRONMENT is printed; nothing is written there.
    """
    from auditkit import audit

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        result = audit.pull(
            settings.source(environment),
            settings,
            name=name,
            dry_run=dry_run,
            guess_renames=not no_renames,
            progress=progress,
        )
    if as_json:
        _print_json(result)
    elif not result["files"]:
        click.echo(f"nothing to pull: the migrations lead to what {result['environment']} holds")
    for file in result["files"] if not as_json else ():
        click.echo(file["path"] if result["written"] else f"-- {file['path']}\n{file['text']}")
    for note in result["notes"]:
        click.echo(note, err=True)
    for item in result["not_checked"]:
        click.echo(f"not checked: {item['what']}: {item['why']}; {item['fix']}", err=True)
    if result["proof"] and not as_json:
        _print_pull_proof(result)
    if (result["proof"] and not result["proof"]["proven"]) or result["not_checked"]:
        raise click.exceptions.Exit(3)


def _print_pull_proof(result: dict[str, Any]) -> None:
    for title, way in (("with it", result["proof"]["forward"]), ("the way back", result["proof"]["back"])):
        click.echo(
            f"proof: {title}: {'proven, nothing is left' if way['proven'] else 'NOT proven'}", err=True
        )
        if way["error"]:
            click.echo(f"proof:   failed: {way['error']}", err=True)
        for delta in way["left"]:
            attribute = f" · {delta['attribute']}" if delta["attribute"] else ""
            click.echo(
                f"proof:   left: {delta['change']}: {delta['kind']} {delta['identity']}{attribute}", err=True
            )
    if not result["proof"]["proven"]:
        click.echo("nothing was written: the file would not do what it says", err=True)
        return
    for command in result["record"]:
        click.echo(f"next, record it as applied in {result['environment']}: {command}", err=True)
    if not result["record"]:
        click.echo(f"next, record it as applied in the ledger of {result['environment']}", err=True)


def _tool_commands_option(function: F) -> F:
    return click.option(
        "--tool-commands",
        is_flag=True,
        help="Let the migration tool's own commands do what they can (supabase db push, dbmate up …).",
    )(function)


@cli.command()
@click.argument("environment")
@click.option(
    "--resolve",
    multiple=True,
    metavar="FINDING=HOW",
    help="push, pull, repair, reconcile, revert, accept or none, instead of the default of its cause.",
)
@click.option(
    "--from",
    "from_file",
    default="",
    metavar="FILE",
    help="Take the resolutions of this plan, edited or not.",
)
@click.option("-o", "--output", metavar="FILE", help="Where to save the plan, for `auditkit apply`.")
@_tool_commands_option
@_json_option
@click.pass_context
def plan(
    ctx: click.Context,
    environment: str,
    resolve: tuple[str, ...],
    from_file: str,
    output: str | None,
    tool_commands: bool,
    as_json: bool,
) -> None:
    """What brings ENVIRONMENT in line with the migrations, step by step; nothing is run there.

    The steps and their way back are rehearsed on a shadow rebuilt from ENVIRONMENT. Exits 1 when they do not reach the
    goal and something has to be decided first, 3 when they could not be rehearsed.
    """
    from auditkit import audit
    from auditkit.resolve.plan import lines

    if (
        output and not Path(output).resolve().parent.is_dir()
    ):  # said before the rehearsal, which takes a while
        raise ConfigError(f"cannot write {output}: no such folder; choose another place with -o")
    with _progress(ctx) as progress:
        made = audit.plan(
            environment,
            resolve=_resolutions(resolve),
            from_file=from_file,
            tool_commands=tool_commands,
            settings=_settings(ctx),
            progress=progress,
        )
    if as_json:
        _print_json(made.as_dict())
    else:
        click.echo("\n".join(lines(made)))
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    for reason in made.not_offered:
        click.echo(f"not offered: {reason}", err=True)
    if output:
        made.save(output)
        if made.offered and not as_json:
            click.echo(f"saved; to run it: auditkit apply {output} --to {made.environment}", err=True)
    if not made.offered:
        raise click.exceptions.Exit(_not_offered(made))


def _not_offered(made: Plan) -> int:
    """1 where something is left or has to be decided, 3 where it could not be rehearsed."""
    undecided = any("--resolve " in reason for reason in made.not_offered)
    return 1 if made.proof.get("left") or undecided else 3


def _resolutions(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        finding, _, how = text.partition("=")
        if not how:
            raise ConfigError(f"--resolve {text}: write FINDING=HOW, as in f-0123456789=revert")
        found[finding.strip()] = how.strip()
    return found


def _run_options(function: F) -> F:
    function = click.option(
        "--yes", metavar="ENV", help="The environment's name once more, instead of a question."
    )(function)
    function = click.option("--dry-run", is_flag=True, help="Print what would run; run nothing.")(function)
    function = click.option(
        "--lock-timeout",
        default=3.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for a lock, each time.",
    )(function)
    return click.option(
        "--attempts",
        default=6,
        show_default=True,
        metavar="N",
        help="How often a step that waits for locks is tried.",
    )(function)


@cli.command()
@click.argument("plan_file", metavar="PLAN")
@click.option("--to", required=True, metavar="ENV", help="The environment; it must be the plan's.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
@click.option("--rollback", is_flag=True, help="Take back what is in place of it.")
@_run_options
@_json_option
@click.pass_context
def apply(
    ctx: click.Context,
    plan_file: str,
    to: str,
    resume: bool,
    rollback: bool,
    yes: str | None,
    dry_run: bool,
    lock_timeout: float,
    attempts: int,
    as_json: bool,
) -> None:
    """Run PLAN, a file of `auditkit plan -o`, on ENV. Nothing else writes to an environment.

    Each step is one transaction where that is possible, and is committed only if it leads to what the rehearsal led to.
    """
    from auditkit.resolve.plan import load

    if resume and rollback:
        raise ConfigError("--resume goes on and --rollback takes back; give one of them")
    made = load(plan_file)
    command = f"auditkit apply {plan_file} --to {made.environment}"
    _apply(
        ctx,
        made,
        to,
        yes,
        dry_run,
        lock_timeout,
        attempts,
        as_json,
        command,
        resume=resume,
        rollback=rollback,
    )


@cli.command()
@click.argument("environment")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the plan is kept (default: push-ENV.plan.toml where reports go).",
)
@_tool_commands_option
@_run_options
@_json_option
@click.pass_context
def push(
    ctx: click.Context,
    environment: str,
    output: str | None,
    tool_commands: bool,
    yes: str | None,
    dry_run: bool,
    lock_timeout: float,
    attempts: int,
    as_json: bool,
) -> None:
    """Run the migrations that ENVIRONMENT lacks, rehearsed first; all else is left as it is."""
    from auditkit import audit

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        made = audit.plan(
            environment, only_push=True, tool_commands=tool_commands, settings=settings, progress=progress
        )
    for reason in made.not_offered:
        click.echo(f"not offered: {reason}", err=True)
    if not made.offered:
        raise click.exceptions.Exit(_not_offered(made))
    if not made.steps:
        click.echo(f"nothing is pending in {made.environment}", err=True)
        return
    file = Path(
        output
        or settings.out_dir / f"push-{''.join(c if c.isalnum() else '_' for c in made.environment)}.plan.toml"
    )
    if not dry_run:
        file.parent.mkdir(parents=True, exist_ok=True)
        made.save(file)
    command = f"auditkit apply {file} --to {made.environment}"
    _apply(ctx, made, environment, yes, dry_run, lock_timeout, attempts, as_json, command)
    left = sum(finding.resolution == "none" and bool(finding.others) for finding in made.findings)
    if dry_run:
        click.echo(f"rehearsed on a shadow of {made.environment}, there and back; nothing was run", err=True)
    if left:
        what = "finding is" if left == 1 else "findings are"
        click.echo(f"{left} other {what} left as before: auditkit plan {made.environment}", err=True)


def _apply(
    ctx: click.Context,
    made: Plan,
    to: str,
    yes: str | None,
    dry_run: bool,
    lock_timeout: float,
    attempts: int,
    as_json: bool,
    command: str,
    *,
    resume: bool = False,
    rollback: bool = False,
) -> None:
    from auditkit import audit
    from auditkit.resolve.plan import script_of

    if to != made.environment:
        raise ConfigError(f"the plan is for {made.environment}, not for {to}; nothing was run")
    if dry_run:
        click.echo(script_of(made, back=rollback), nl=False)
        return
    if yes is None and sys.stdin.isatty():
        yes = click.prompt(f"This writes to {made.environment}. Its name, to go on", err=True)
    journal = audit.apply(
        made,
        to=to,
        confirmed=yes or "",
        resume=resume,
        rollback=rollback,
        lock_timeout=int(lock_timeout * 1000),
        attempts=attempts,
        settings=_settings(ctx),
        command=f"{command} --yes {made.environment}",
        tell=lambda line: None if ctx.obj["quiet"] else click.echo(line, err=True),
    )
    if as_json:
        _print_json(
            {"format": "auditkit.journal/1", "environment": made.environment, "entries": journal.entries}
        )
    else:
        done = len(journal.done())
        click.echo(f"{made.environment}: {done} of {len(made.steps)} steps in place; journal: {journal.path}")


def _print_left_out(result: dict[str, Any]) -> None:
    """What was not compared, and why: on standard error, so that nothing is hidden silently."""
    if result["managed"]:
        counts = ", ".join(f"{schema} ({count} objects)" for schema, count in result["managed"].items())
        click.echo(f"managed, not compared: {counts}", err=True)
    for rule in result["suppressed"]:
        if rule["count"]:
            until = f", until {rule['until']}" if rule["until"] else ""
            what = f"{rule['count']} {'difference' if rule['count'] == 1 else 'differences'}"
            click.echo(f"ignored: {what} by {rule['rule']}: {rule['reason']}{until}", err=True)
    if result["deltas"] and all(map(_is_warning, result["deltas"])):
        order = all(delta["attribute"] == "position" for delta in result["deltas"])
        what = (
            "the order of columns differs, which no statement changes"
            if order
            else "what does not count differs"
        )
        click.echo(f"only {what}", err=True)


def _is_warning(delta: dict[str, Any]) -> bool:
    from auditkit.catalog.compare import Delta

    return Delta(delta["kind"], delta["identity"], delta["change"], delta["attribute"]).is_warning


def _print_deltas(deltas: Iterable[dict[str, Any]]) -> None:
    signs = {"missing": ("-", "red"), "unexpected": ("+", "green"), "changed": ("~", "yellow")}
    for delta in deltas:
        sign, colour = signs[delta["change"]]
        attribute = f" · {delta['attribute']}" if delta["attribute"] else ""
        click.echo(
            click.style(f"{sign} {delta['kind']} {delta['identity']}{attribute}", fg=colour), color=_colour()
        )
        if delta["change"] == "changed":
            click.echo(f"    - {_short(delta['left'])}\n    + {_short(delta['right'])}")


def _short(value: Any, width: int = 160) -> str:
    if value is None:
        return "(none)"
    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return text if len(text) <= width else text[: width - 1] + "…"


@cli.command()
@click.argument("environments", nargs=-1)
@click.option("--baseline", default="migrations", show_default=True, metavar="SOURCE", help="What was meant.")
@click.option("--only-new", is_flag=True, help="Alert only about what is new or gone since the last check.")
@click.option(
    "--webhook-env", metavar="NAME", help="The variable that holds a webhook's address (Slack's JSON)."
)
@click.option(
    "--alert-file", metavar="FILE", help="Where alerts go, too: .jsonl (a line each) or .md (the last one)."
)
@click.option(
    "--github/--no-github",
    default=None,
    help="Job summary and annotations (default: if GitHub Actions runs it).",
)
@click.option("--no-alerts", is_flag=True, help="Alert nobody.")
@click.option("--fresh", is_flag=True, help="Explain everything anew, whatever an earlier check knows.")
@_gate_options
@_json_option
@click.pass_context
def check(
    ctx: click.Context,
    environments: tuple[str, ...],
    baseline: str,
    only_new: bool,
    webhook_env: str | None,
    alert_file: str | None,
    github: bool | None,
    no_alerts: bool,
    fresh: bool,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """The daily check: what changed, what is wrong, and whether everything could be looked at.

    ENVIRONMENTS are names and groups of auditkit.toml (default: all of them). Where nothing changed since an earlier
    check, a reading of the catalog is enough. Alerts go where [alerts] says, also with --warn-only.
    """
    from auditkit import audit
    from auditkit.report import last_check
    from auditkit.report.alerts import notice_of, refused, send
    from auditkit.report.alerts.files import checked as checked_file
    from auditkit.report.checked import checked, next_step

    settings = _settings(ctx)
    alerts = settings.alerts
    changes: dict[str, Any] = {
        "webhook_env": config.variable_name(webhook_env, "--webhook-env"),
        "file": Path(alert_file) if alert_file else None,
        "github": github,
        "when": "news" if only_new else None,
    }
    alerts = replace(alerts, **{key: value for key, value in changes.items() if value is not None})
    if alerts.file:
        checked_file(alerts.file)
    try:
        with _progress(ctx) as progress:
            result = audit.check(
                environments or "all",
                baseline=baseline,
                settings=settings,
                fail_on=fail_on,
                remember=not fresh,
                progress=progress,
            )
    except AuditError as error:
        if not no_alerts and not sys.stderr.isatty():  # nobody may be there to read it
            _alerted(send(refused(str(error), ""), alerts))
        raise
    known = last_check.load(settings.out_dir)
    document = last_check.since(result.document, known)
    problem = last_check.save(settings.out_dir, document, known)
    told = [] if no_alerts else send(notice_of(document), alerts)
    document["check"]["alerts"] = told
    unread = [e for e in document["environments"] if e["fingerprint"] is None]
    if as_json:
        _print_json(document)
    elif len(unread) == len(document["environments"]) == len(document["not_checked"]) == 1:
        _alerted(told)  # the only one there is: its reason is all there is to say
        item = document["not_checked"][0]
        raise AuditError(f"{item['environment']}: {item['why']}; {item['fix']}")
    else:
        _banner(document)
        for text, colour in checked(document):
            click.echo(click.style(text, fg=colour) if colour else text, color=_colour())
    _not_checked(document)
    if problem:
        click.echo(problem, err=True)
    _alerted(told)
    if not as_json and (step := next_step(document)):
        click.echo(f"next: {step}")
    if code := _exit_code(document["verdict"], warn_only):
        raise click.exceptions.Exit(code)


def _banner(document: dict[str, Any]) -> None:
    from auditkit.report.alerts.notice import clean

    verdict = document["verdict"]
    banner = click.style(f"{_GLYPHS[verdict]} {verdict}", fg=_COLOURS[verdict], bold=True)
    click.echo(f"{banner}  {clean(document['headline'], 1000)}", color=_colour())


def _not_checked(document: dict[str, Any]) -> None:
    """What makes it INCOMPLETE; what does not is told by `explain` and in the JSON, not every day."""
    for item in filter(lambda item: item.get("blocking", True), document["not_checked"]):
        name = f"{item['environment']}: " if item.get("environment") else ""
        click.echo(f"not checked: {name}{item['what']}: {item['why']}; {item['fix']}", err=True)


def _alerted(results: list[dict[str, Any]]) -> None:
    """An alert that failed is said, and changes nothing else."""
    for result in results:
        if result["failed"]:
            click.echo(f"alert not sent: {result['says']}", err=True)


@cli.command()
@click.argument("environments", nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="Also migrations that agree everywhere; no list is cut."
)
@_gate_options
@_json_option
@click.pass_context
def fleet(
    ctx: click.Context,
    environments: tuple[str, ...],
    everything: bool,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """All environments in one matrix: migrations and drifted objects, groups, promotion order.

    ENVIRONMENTS are names and groups of auditkit.toml (default: all of them). Exits 1 for findings as `check` does, and
    when an environment has what an earlier one of the order lacks.
    """
    from auditkit import audit
    from auditkit.report.checked import matrix
    from auditkit.report.fleet import fleet_of

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        result = audit.check(
            environments or "all",
            settings=settings,
            fail_on=fail_on,
            command="auditkit fleet",
            progress=progress,
        )
    document = fleet_of(result.document)
    if as_json:
        _print_json(document)
    else:
        _banner(document)
        for text, colour in matrix(document, everything=everything):
            click.echo(click.style(text, fg=colour) if colour else text, color=_colour())
    _not_checked(document)
    code = _exit_code(document["verdict"], warn_only)
    if document["violations"] and not code and not warn_only:
        code = 1
    if code:
        raise click.exceptions.Exit(code)


@cli.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(("github", "cron", "systemd", "kubernetes")))
@click.argument("environments", nargs=-1)
@click.option("--at", metavar="HH:MM", help="When (default: 06:00).")
@click.option("--days", metavar="DAYS", help="daily (default), weekdays, mon-fri, mon,wed …")
@click.option(
    "--timezone", metavar="ZONE", help="Europe/Berlin … (default: UTC at GitHub, else the machine's)."
)
@click.option(
    "--install", metavar="COMMAND", help="What installs auditkit there (default: pip install auditkit)."
)
@click.option("--image", metavar="IMAGE", help="kubernetes: the image with the repository and auditkit.")
@click.option("--user", metavar="USER", help="cron (for /etc/cron.d) and systemd: who runs it.")
@click.option("--env-file", metavar="FILE", help="cron and systemd: a file that sets the secrets.")
@click.option("--only-new", is_flag=True, help="Alert only about what is new or gone.")
@click.option("--warn-only", is_flag=True, help="Alert without failing the job.")
@click.option(
    "-o", "--output", metavar="PATH", help="A file to write, or a folder (default: standard output)."
)
@click.option("--force", is_flag=True, help="Overwrite it.")
@click.pass_context
def schedule(
    ctx: click.Context,
    /,
    form: str,
    environments: tuple[str, ...],
    only_new: bool,
    warn_only: bool,
    output: str | None,
    force: bool,
    **changes: str | None,
) -> None:
    """Print files that have GitHub Actions, cron, systemd or Kubernetes run `auditkit check` every day.

    FORMAT is github, cron, systemd or kubernetes; ENVIRONMENTS are names of auditkit.toml (default: those of
    [schedule], else all that can be reached from there). Secrets are named, never written.
    """
    from auditkit.schedule import FORMATS, job_of

    flags = [flag for flag, on in (("--only-new", only_new), ("--warn-only", warn_only)) if on]
    job = job_of(_settings(ctx), form, environments, arguments=flags, changes=changes)
    made = FORMATS[form](job)
    for note in job.notes:
        click.echo(note, err=True)
    if output is None:
        for number, (name, text) in enumerate(made.items()):
            title = f"{'' if not number else chr(10)}# --- {name}\n" if len(made) > 1 else ""
            click.echo(f"{title}{text}", nl=False)
        return
    for path, text in _places(Path(output), made).items():
        if path.exists() and not force:
            raise ConfigError(
                f"{path} is there already; choose another place with -o, or overwrite it with --force"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}; choose another place with -o"
            ) from None
        click.echo(path)


def _places(output: Path, made: dict[str, str]) -> dict[Path, str]:
    """Where each file goes: into a folder under its own name, or where it was said; several share what they are called."""
    if output.is_dir():
        return {output / name: text for name, text in made.items()}
    if len(made) == 1:
        return dict(zip([output], made.values(), strict=True))
    return {output.with_suffix(Path(name).suffix): text for name, text in made.items()}


@cli.command()
@click.argument("environments", nargs=-1, required=True)
@click.option("--baseline", default="migrations", show_default=True, metavar="SOURCE", help="What was meant.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    help="The server's log (csvlog, jsonlog or text; pgaudit's lines, too): tells who did it.",
)
@_gate_options
@_json_option
@click.pass_context
def explain(
    ctx: click.Context,
    environments: tuple[str, ...],
    baseline: str,
    logs: tuple[str, ...],
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """What differs in ENVIRONMENTS from the migrations, why, and what to do."""
    from auditkit import audit

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        result = audit.explain(
            ",".join(environments),
            baseline=baseline,
            settings=settings,
            fail_on=fail_on,
            logs=[str(Path(log).absolute()) for log in logs],
            progress=progress,
        )
    _show(result, as_json, warn_only)


def _show(
    result: Audit,
    as_json: bool,
    warn_only: bool,
    lines: Callable[[dict[str, Any]], Iterable[tuple[str, str | None]]] | None = None,
    last: Callable[[dict[str, Any]], Iterable[str]] | None = None,
    short: bool = False,
) -> None:
    """Print an audit: the verdict, then *lines* (text and colour), the findings, what was not checked, *last*."""
    from auditkit.visible import visible

    document = result.document
    if as_json:
        _print_json(document)
    else:
        verdict = document["verdict"]
        banner = click.style(f"{_GLYPHS[verdict]} {verdict}", fg=_COLOURS[verdict], bold=True)
        click.echo(f"{banner}  {visible(document['headline'])}", color=_colour())
        for text, colour in lines(document) if lines else ():
            click.echo(click.style(text, fg=colour) if colour else text, color=_colour())
        for finding in document["findings"]:
            if not short or finding["severity"] != "info" or "gate" in finding:
                _print_finding(finding, short)
        for item in document["not_checked"]:
            name = f"{item['environment']}: " if item.get("environment") else ""
            click.echo(visible(f"not checked: {name}{item['what']}: {item['why']}; {item['fix']}"), err=True)
        for number, text in enumerate(last(document) if last else ()):
            click.echo(text if number else f"\n{text}")
    code = _exit_code(document["verdict"], warn_only)
    if code:
        raise click.exceptions.Exit(code)


def _print_finding(finding: dict[str, Any], short: bool = False) -> None:
    # Names come from a catalog: none may move the cursor, or begin a line that a CI server takes for a command.
    from auditkit.visible import visible

    colour = {"critical": "red", "high": "red", "medium": "yellow"}.get(finding["severity"])
    click.echo()
    click.echo(
        click.style(f"{finding['severity'].upper()}", fg=colour, bold=True)
        + f"  {visible(finding['title'])}  [{finding['cause']}, {finding['confidence']}, {finding['id']}]",
        color=_colour(),
    )
    for item in finding["objects"][:8]:
        click.echo(visible(f"    {item['kind']} {item['identity']}"))
    if len(finding["objects"]) > 8:
        click.echo(f"    and {len(finding['objects']) - 8} more")
    culprit = finding["migration"]
    if culprit and culprit["file"]:
        line = f":{culprit['line']}" if culprit["line"] else ""
        by = f"  commit {culprit['commit'][:10]} by {culprit['author']}" if culprit["commit"] else ""
        click.echo(visible(f"  migration {culprit['file']}{line}{by}"))
    if short:
        click.echo(visible(f"  what to do: {finding['remedy']['summary']}"))
        return
    for who in finding.get("who", ())[:2]:
        click.echo(visible(f"  {'who' if who['role'] or who['session_user'] else 'when'}: {_who(who)}"))
    for item in finding["evidence"]:
        click.echo(visible(f"  {item['signal']}: {item['says']}"))
    if proof := finding.get("proof"):
        click.echo(
            visible(f"  tested by replay: {proof['hypothesis']}: ")
            + f"{proof['residual_before']} differences became {proof['residual_after']}"
        )
    click.echo(visible(f"  what to do: {finding['remedy']['summary']}"))
    for step in finding["remedy"]["steps"]:
        if step["command"] or step["sql"]:
            click.echo(visible(f"    {step['title']}: {step['command'] or ''}".rstrip()))
        for text in step["sql"].splitlines() if step["sql"] else ():
            click.echo(f"      {visible(text.expandtabs(4))}".rstrip())


@cli.command()
@click.argument("source")
@click.argument("name", metavar="OBJECT")
@click.option("--removed", is_flag=True, help="Also what was there once and is no more.")
@_json_option
@click.pass_context
def blame(ctx: click.Context, source: str, name: str, removed: bool, as_json: bool) -> None:
    """Which line of which migration made each part of OBJECT what it is in SOURCE.

    OBJECT is a table, a function, a column … by its name or identity: `app.orders`, `app.orders.net`,
    `"table app.orders"`, `"app.total(bigint)"`.
    """
    import shutil

    from auditkit import audit
    from auditkit.report.blamed import blamed

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        document = audit.blame(settings.source(source), name, settings, removed=removed, progress=progress)
    if as_json:
        _print_json(document)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for text, colour in blamed(document, width):
            click.echo(click.style(text, fg=colour) if colour else text, color=_colour())
    for item in document["not_checked"]:
        click.echo(f"not checked: {item['what']}: {item['why']}; {item['fix']}", err=True)
    drifted = sum(line["status"] not in ("migration", "base", "removed") for line in document["lines"])
    if drifted and not as_json:
        lines = "1 line is" if drifted == 1 else f"{drifted} lines are"
        click.echo(
            f"{lines} not as the recorded migrations make it; why: auditkit explain {source}", err=True
        )


@cli.command()
@click.argument("sources", nargs=-1)
@_json_option
@click.pass_context
def describe(ctx: click.Context, sources: tuple[str, ...], as_json: bool) -> None:
    """Which migration's state SOURCES equal, or are nearest to and by how many changes (default: all environments)."""
    from auditkit import audit
    from auditkit.report.blamed import described

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        document = audit.describe(settings.sources(sources or "all"), settings, progress=progress)
    if as_json:
        _print_json(document)
    for item in document["environments"] if not as_json else ():
        for text in described(item):
            click.echo(text)
    for item in document["not_checked"]:
        click.echo(
            f"not checked: {item['environment']}: {item['what']}: {item['why']}; {item['fix']}", err=True
        )
    if any(item.get("blocking", True) for item in document["not_checked"]):
        raise click.exceptions.Exit(3)


def _who(who: dict[str, Any]) -> str:
    from auditkit.causes.who import person, place

    known = who["role"] or who["session_user"]
    parts = [
        person(who) if known else "",
        f"{who['at'][:10]} {who['at'][11:19]} UTC" if who["at"] else "",
        place(who),
    ]
    return f"{', '.join(filter(None, parts))} (by {who['joined_by']}: {who['source']})"


@cli.command()
@click.argument("name", metavar="NOTEBOOK")
@click.option("-p", "--parameter", "parameters", type=(str, str), multiple=True, metavar="NAME VALUE")
@click.option("-e", "--environment", "environment", help="Short for -p environment(s) VALUE.")
@click.option("-o", "--out-dir", metavar="DIR", help="Where reports go (default: reports).")
@_gate_options
@_json_option
@click.pass_context
def report(
    ctx: click.Context,
    name: str,
    parameters: tuple[tuple[str, str], ...],
    environment: str | None,
    out_dir: str | None,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """Run a notebook and write its HTML report.

    NOTEBOOK is root_cause, scheduled_audit, pre_deployment, post_deploy_review or resolution.
    """
    from auditkit import audit

    settings = _settings(ctx)
    values = dict(parameters)
    if environment:
        values["environments" if name == "scheduled_audit" else "environment"] = environment
    with _progress(ctx) as progress:
        run = audit.report(
            name, values, settings=settings, out_dir=out_dir, fail_on=fail_on, progress=progress
        )
    document = run.audit.document
    if as_json:
        _print_json({"format": "auditkit.report/1", "html": str(run.index), "verdict": document["verdict"]})
    else:
        verdict = document["verdict"]
        banner = click.style(f"{_GLYPHS[verdict]} {verdict}", fg=_COLOURS[verdict], bold=True)
        from auditkit.visible import visible

        click.echo(f"{banner}  {visible(document['headline'])}\n{run.index}", color=_colour())
    code = _exit_code(document["verdict"], warn_only)
    if code:
        raise click.exceptions.Exit(code)


@cli.command()
@click.argument("environments", nargs=-1)
@click.option(
    "--sql", is_flag=True, help="Print SQL that closes the doors, least privilege first; it is never run."
)
@click.option(
    "--role-sql",
    is_flag=False,
    flag_value="auditkit",
    metavar="[NAME]",
    help="Print SQL that makes the read-only role for audits of one environment (default name: auditkit).",
)
@click.option("--ddl-log-sql", is_flag=True, help="Print SQL that installs a log of changes to the schema.")
@click.option(
    "--schema", default="auditkit_log", show_default=True, metavar="NAME", help="The schema of that log."
)
@click.option(
    "--reader", default="auditkit", show_default=True, metavar="ROLE", help="The role that may read that log."
)
@_gate_options
@_json_option
@click.pass_context
def policy(
    ctx: click.Context,
    environments: tuple[str, ...],
    sql: bool,
    role_sql: str | None,
    ddl_log_sql: bool,
    schema: str,
    reader: str,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """Who can change the schema besides the migrations, by which door; who did; whether it is seen; what is stale.

    ENVIRONMENTS are all of them by default. SQL that is printed is to be read and run by hand: auditkit writes nothing.
    """
    from auditkit import audit

    settings = _settings(ctx)
    sources = settings.sources(environments or "all")
    if ddl_log_sql or role_sql:
        if len(sources) != 1:
            raise ConfigError(
                "that SQL is for one environment; name it, as in `auditkit policy production --role-sql`"
            )
        text = ""
        if ddl_log_sql:
            from auditkit.history.witnesses.ddl_log_sql import installation

            text = installation(schema, reader)
        if role_sql:
            with _progress(ctx) as progress:
                text += audit.policy_reader(sources[0], settings, role_sql, progress=progress)
        if as_json:
            _print_json({"format": "auditkit.policy/1", "environment": sources[0].name, "sql": text})
        else:
            click.echo(text, nl=False)
        return
    with _progress(ctx) as progress:
        result = audit.policy(sources, settings, fail_on=fail_on, progress=progress)
    if as_json:
        _print_json(result)
    elif sql:
        click.echo("\n".join(item["sql"] for item in result["environments"]), nl=False)
    else:
        from auditkit.report.guarded import guarded

        verdict = result["verdict"]
        banner = click.style(f"{_GLYPHS[verdict]} {verdict}", fg=_COLOURS[verdict], bold=True)
        click.echo(f"{banner}  {result['headline']}", color=_colour())
        for item in result["environments"]:
            for text, colour in guarded(item):
                click.echo(
                    click.style(text, fg=colour, bold=bool(colour)) if colour else text, color=_colour()
                )
    for item in result["not_checked"]:
        click.echo(
            f"not checked: {item['environment']}: {item['what']}: {item['why']}; {item['fix']}", err=True
        )
    code = _exit_code(result["verdict"], warn_only)
    if code:
        raise click.exceptions.Exit(code)


@cli.command()
@click.argument("environment")
@click.option(
    "--snapshot",
    default="",
    metavar="FILE",
    help="Save the snapshot it is about, with what is intended, for `auditkit verify --before FILE`.",
)
@click.option(
    "--expected-version", default="", metavar="VERSION", help="Deploy up to this version, not all files."
)
@_gate_options
@_json_option
@click.pass_context
def preflight(
    ctx: click.Context,
    environment: str,
    snapshot: str,
    expected_version: str,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """Before a deployment: is it safe to deploy to ENVIRONMENT now, and what will happen there?

    The pending migrations are rehearsed on a shadow rebuilt from ENVIRONMENT; nothing is run there.
    """
    from auditkit import audit
    from auditkit.report.deploying import after, gated

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        result = audit.preflight(
            environment,
            snapshot=snapshot,
            expected_version=expected_version,
            settings=settings,
            fail_on=fail_on,
            progress=progress,
        )
    _show(result, as_json, warn_only, gated, lambda document: after(document, snapshot), short=True)


@cli.command()
@click.argument("environment")
@click.option("--before", required=True, metavar="SNAPSHOT", help="Snapshot taken before the deployment.")
@click.option(
    "--expected-version", default="", metavar="VERSION", help="Head of the ledger that was intended."
)
@_gate_options
@_json_option
@click.pass_context
def verify(
    ctx: click.Context,
    environment: str,
    before: str,
    expected_version: str,
    fail_on: str | None,
    warn_only: bool,
    as_json: bool,
) -> None:
    """After a deployment: did exactly what was intended happen to ENVIRONMENT?"""
    from auditkit import audit
    from auditkit.report.deploying import gated, reviewed

    settings = _settings(ctx)
    with _progress(ctx) as progress:
        result = audit.verify(
            environment,
            before=before,
            expected_version=expected_version,
            settings=settings,
            fail_on=fail_on,
            progress=progress,
        )
    _show(result, as_json, warn_only, gated, lambda document: reviewed(document, before))
