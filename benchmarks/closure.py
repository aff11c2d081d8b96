"""Does the SQL that a tool prints really turn one schema into another? Ours beside the tools that install here.

    python benchmarks/closure.py [FOLDER] [--tools auditkit,migra] [--major 18] [--both-ways] [--jobs 2]
                                 [--only 'group/case*'] [--sample 300 --seed 1] [--out results.jsonl]

FOLDER (default: tests/corpus) holds pairs ``<group>/<case>/{a,b}.sql``, each file for an empty database. For each
pair: two clusters of their own, so that both sides can create the same roles (roles that one side lacks are made alike
first, unless ``--roles`` leaves them to the tool); a few rows in every table of A that accepts some; the tool's SQL
run by psql on a copy of A; then the judge is ``tests/oracle.py``, normalised pg_dump of both sides.

pass      the dumps are alike, and no row or value was lost of what exists on both sides
refused   part of pass: alike on empty tables; with rows in them the SQL stopped rather than lose or invent data
missed    the SQL ran, and the dumps differ
error     the tool failed, or its SQL did
loss      rows, values or a sequence's position were lost without a hazard said: what exists on both sides counts for
          every tool, what B lacks only for tools that say hazards at all
false +   SQL (or a failure) for a database and its copy

Seconds are the wall time of the tool's whole process, the median per tool; compare them with ``--jobs 1``.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import oracle  # noqa: E402
import tools  # noqa: E402
from rows import Rows, contents, fill, losses  # noqa: E402

from auditkit import server as servers  # noqa: E402

MIGRA = "3.0.1663481299"
PG_DELTA = "1.0.0-alpha.34"
TIMEOUT = 120


# --- the tools


@dataclass(frozen=True)
class Answer:
    """What a tool said: scripts to run one after another, and the text in which it spoke of hazards."""

    seconds: float
    scripts: list[str] = field(default_factory=list)
    hazards: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def sql(self) -> str:
        return "\n".join(self.scripts)

    @property
    def empty(self) -> bool:
        """Nothing but comments and what opens and closes a transaction."""
        said = re.sub(r"--.*|/\*.*?\*/|^\s*(BEGIN|COMMIT|SET [^;]*)\s*;", "", self.sql, flags=re.M | re.S)
        return not said.strip()


@dataclass(frozen=True)
class Tool:
    """``install`` returns what every command begins with; ``ask`` turns the database at one URL into the other."""

    name: str
    install: Callable[[], list[str]]
    ask: Callable[[list[str], str, str, Path], Answer]
    says_hazards: bool


def timed(command: list[str], good: Iterable[int], cwd: Path) -> tuple[float, str, str]:
    """Wall seconds, standard output, and the error when the exit code is not a good one."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=cwd)
    except subprocess.TimeoutExpired:
        return TIMEOUT, "", f"no answer within {TIMEOUT} s"
    seconds = time.perf_counter() - start
    failed = "" if done.returncode in good else f"exit {done.returncode}: {done.stderr or done.stdout}"
    return seconds, done.stdout, failed


def ask_auditkit(program: list[str], left: str, right: str, cwd: Path) -> Answer:
    seconds, text, error = timed([*program, "diff", left, right, "--sql"], (0, 1), cwd)
    # A hazard stands above its statement, which names what is in danger.
    hazards = re.findall(r"^-- hazard:[^;]*;?", text, re.MULTILINE)
    return Answer(seconds, [text], hazards, error)


def ask_migra(program: list[str], left: str, right: str, cwd: Path) -> Answer:
    seconds, text, error = timed([*program, "--unsafe", "--with-privileges", left, right], (0, 2), cwd)
    return Answer(seconds, [text], [], error)


def ask_pg_delta(program: list[str], left: str, right: str, cwd: Path) -> Answer:
    """Only ``plan`` is timed; ``render`` writes the same statements as files, cut where a transaction has to end."""
    plan = cwd / "plan.json"
    seconds, _, error = timed(
        [*program, "plan", "--source", left, "--desired", right, "--out", str(plan)], (0,), cwd
    )
    if error:
        return Answer(seconds, error=error)
    actions = json.loads(plan.read_text())["actions"]
    hazards = [action["sql"] for action in actions if action["dataLoss"] == "destructive"]
    render = [*program, "render", "--plan", str(plan), "--out", str(cwd / "out.sql"), "--allow-drops"]
    _, _, error = timed(render, (0, 3), cwd)
    files = sorted(cwd.glob("out*.sql"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.stem)])
    scripts = [path.read_text() for path in files]
    # Whoever runs such a file does it in a transaction, which its SET LOCAL relies on, unless it says otherwise.
    whole = [s if "-- pg-delta: transaction=false" in s else f"BEGIN;\n{s}\nCOMMIT;\n" for s in scripts]
    return Answer(seconds, whole, hazards, error)


def ask_supabase(program: list[str], left: str, right: str, cwd: Path) -> Answer:
    out = cwd / "diff.sql"
    command = [*program, "db", "diff", "--from", left, "--to", right, "--output", str(out), "--agent", "no"]
    seconds, _, error = timed(command, (0,), cwd)
    return Answer(seconds, [out.read_text()] if out.exists() else [], [], error)


def python_program(package: str, *others: str) -> list[str]:
    """A program from PyPI, in an environment of its own."""
    home = tools.CACHE / "pypi" / package
    program = home / "bin" / package.split("==", maxsplit=1)[0]
    if not program.exists():
        venv.create(home, with_pip=True, clear=True)
        tools.run([str(home / "bin" / "pip"), "install", "--quiet", package, *others], cwd=home)
    return [str(program)]


def node_program(package: str, version: str, script: str) -> list[str]:
    return ["node", str(tools.npm_package(package, version) / script)]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("auditkit", lambda: [sys.executable, "-m", "auditkit"], ask_auditkit, says_hazards=True),
        Tool(
            "migra",
            lambda: python_program(f"migra=={MIGRA}", "psycopg2-binary", "setuptools<81", "sqlalchemy<2"),
            ask_migra,
            says_hazards=False,
        ),
        Tool(
            "pg-delta",
            lambda: node_program("@supabase/pg-delta", PG_DELTA, "dist/cli/main.js"),
            ask_pg_delta,
            says_hazards=True,
        ),
        Tool("supabase", lambda: [str(tools.supabase_cli())], ask_supabase, says_hazards=False),
    )
}


# --- databases


class Side:
    """One file of a pair, built once on a server and copied for every tool."""

    def __init__(self, server: servers.Server, name: str, script: Path) -> None:
        self.server, self.name, self.script = server, name, script
        self.copies = 0
        self.conninfo = server.conninfo(name)

    def build(self, name: str) -> str:
        conninfo = self.server.create_database(name)
        if failed := run(conninfo, self.script.read_text(encoding="utf-8")):
            raise Unusable(f"{self.script.name}: {failed}")
        return conninfo

    @cached_property
    def dump(self) -> str:
        return oracle.normalised_dump(self.conninfo)

    @cached_property
    def filled(self) -> str:
        """Name of a copy with rows in its tables."""
        name = f"{self.name}_rows"
        fill(self.server.create_database(name, template=self.name))
        return name

    @cached_property
    def subscribes(self) -> bool:
        """Subscriptions belong to the cluster: a copy of the database has none."""
        with psycopg.connect(self.conninfo) as connection:
            query = (
                "SELECT FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)"
            )
            return connection.execute(query, [self.name]).rowcount > 0

    def copy(self, rows: bool) -> str:
        """A copy to work on; returns its name."""
        self.copies += 1
        name = f"{self.name}_copy{self.copies}"
        if self.subscribes:
            conninfo = self.build(name)
            if rows:
                fill(conninfo)
        else:
            self.server.create_database(name, template=self.filled if rows else self.name)
        return name

    def drop(self) -> None:
        copies = [f"{self.name}_copy{number}" for number in range(1, self.copies + 1)]
        for name in (*copies, f"{self.name}_rows", self.name):
            self.server.drop_database(name)


class Unusable(Exception):
    """A pair that cannot be judged on this server."""


def run(conninfo: str, script: str) -> str:
    """Run a script as psql does, stopping at its first error; returns that error."""
    command = [oracle.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=TIMEOUT)
    errors = [line for line in done.stderr.splitlines() if "NOTICE" not in line and "WARNING" not in line]
    return "\n".join(errors) or f"exit {done.returncode}" if done.returncode else ""


ROLES = """
SELECT format('CREATE ROLE %I %s;', rolname, concat_ws(' ', CASE WHEN rolsuper THEN 'SUPERUSER' END,
    CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN NOT rolinherit THEN 'NOINHERIT' END,
    CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN rolbypassrls THEN 'BYPASSRLS' END))
FROM pg_roles WHERE oid >= 16384
UNION ALL
SELECT format('GRANT %s TO %s;', roleid::regrole, member::regrole) FROM pg_auth_members WHERE member >= 16384
"""


def roles(server: servers.Server) -> list[str]:
    with psycopg.connect(server.conninfo()) as connection:
        return sorted(row[0] for row in connection.execute(ROLES))


def make_roles_alike(one: servers.Server, other: servers.Server) -> None:
    """Roles belong to a cluster, pairs to a database: what only one side made, the other gets as well."""
    made = {server: roles(server) for server in (one, other)}
    names = {
        server: {line.split(maxsplit=3)[2] for line in made[server] if line[0] == "C"} for server in made
    }
    for here, there in ((one, other), (other, one)):
        missing = [
            line
            for line in made[there]
            if line not in made[here] and (line[0] == "G" or line.split(maxsplit=3)[2] not in names[here])
        ]
        if failed := run(here.conninfo(), "\n".join(missing)):
            raise Unusable(f"roles: {failed}")


# --- judging


@dataclass
class Result:
    case: str
    direction: str  # "a>b", "b>a", or "a=a" for a database and its copy
    tool: str
    verdict: str
    seconds: float
    refused: bool = False
    detail: str = ""
    sql: str = ""


def judge(case: str, direction: str, tool: Tool, program: list[str], source: Side, target: Side) -> Result:
    work = source.copy(rows=True)
    before = contents(source.server.conninfo(work))
    answer = ask(tool, program, source, work, target)
    result = Result(case, direction, tool.name, "pass", answer.seconds, detail=answer.error, sql=answer.sql)
    failed = answer.error or apply(source, work, answer)
    if failed and not answer.error:
        empty = source.copy(rows=False)
        if not apply(source, empty, answer):
            work, result.refused = empty, True
            before = {}
        result.detail = failed
    if failed and not result.refused:
        result.verdict, result.detail = "error", failed
        return result
    dump = oracle.normalised_dump(source.server.conninfo(work))
    if dump != target.dump:
        result.verdict = "missed"
        lines = difflib.unified_diff(
            dump.splitlines(), target.dump.splitlines(), "got", "wanted", n=1, lineterm=""
        )
        result.detail += "\n".join(lines)
        return result
    after = contents(source.server.conninfo(work))
    lost = losses(before, after, not tool.says_hazards)
    unsaid = [what for name, what in lost if not said(answer, name, before)]
    if unsaid:
        result.verdict, result.detail = "loss", "; ".join(unsaid)
    return result


def judge_equal(case: str, tool: Tool, program: list[str], side: Side) -> Result:
    answer = ask(tool, program, side, side.copy(rows=False), side)
    good = answer.empty and not answer.error
    verdict = "pass" if good else "false positive"
    return Result(case, "a=a", tool.name, verdict, answer.seconds, detail=answer.error, sql=answer.sql)


def said(answer: Answer, name: str, before: dict[str, Rows]) -> bool:
    """Whether a hazard speaks of a relation, by its bare name: SQL before it may have moved it to another schema."""
    family = [
        other.rsplit(".", 1)[-1].strip('"') for other in before if before[other].root == before[name].root
    ]
    return any(relation in hazard for relation in family for hazard in answer.hazards)


def ask(tool: Tool, program: list[str], source: Side, work: str, target: Side) -> Answer:
    left, right = tools.url(source.server, work), tools.url(target.server, target.name)
    with tempfile.TemporaryDirectory() as cwd:
        return tool.ask(program, left, right, Path(cwd))


def apply(source: Side, work: str, answer: Answer) -> str:
    for script in answer.scripts:
        if failed := run(source.server.conninfo(work), script):
            return failed
    return ""


class Bench:
    """Two clusters for each worker thread, made anew after a case that left roles or subscriptions behind."""

    def __init__(self, major: int) -> None:
        self.major = major
        self._mine = threading.local()
        self._all: list[servers.Server] = []

    def clusters(self) -> tuple[servers.Server, servers.Server]:
        if not hasattr(self._mine, "pair"):
            binaries = tools.postgres_binaries(self.major)
            self._mine.pair = tuple(servers.start(binaries=binaries, label="closure") for _ in "ab")
            self._all += self._mine.pair
        pair: tuple[servers.Server, servers.Server] = self._mine.pair
        return pair

    def tidy(self, sides: Iterable[Side]) -> None:
        try:
            for side in sides:
                side.drop()
            clean = not any(roles(server) for server in self.clusters())
        except psycopg.Error:
            clean = False
        if not clean:
            for server in self._mine.pair:
                server.stop()
            del self._mine.pair

    def stop(self) -> None:
        for server in self._all:
            server.stop()

    def judge(
        self, case: Path, chosen: dict[str, tuple[Tool, list[str]]], options: argparse.Namespace
    ) -> list[Result]:
        name = f"{case.parent.name}/{case.name}"
        one, other = self.clusters()
        a, b = Side(one, "a", case / "a.sql"), Side(other, "b", case / "b.sql")
        try:
            a.build(a.name)
            b.build(b.name)
            if not options.roles:
                make_roles_alike(one, other)
            results = []
            for tool, program in chosen.values():
                results.append(judge(name, "a>b", tool, program, a, b))
                if options.both_ways:
                    results.append(judge(name, "b>a", tool, program, b, a))
                if not options.skip_equal:
                    results.append(judge_equal(name, tool, program, a))
            return results
        except (Unusable, psycopg.Error, AssertionError, subprocess.SubprocessError) as error:
            return [Result(name, "", "", "unusable", 0, detail=str(error))]
        finally:
            self.tidy((a, b))


def table(results: Sequence[Result], names: Iterable[str]) -> str:
    lines = [
        f"{'tool':10}{'pairs':>7}{'pass':>14}{'refused':>9}{'missed':>8}{'error':>7}{'loss':>6}{'false +':>9}"
    ]
    lines[0] += f"{'median s':>10}"
    for name in names:
        mine = [result for result in results if result.tool == name]
        asked = [result for result in mine if result.direction != "a=a"]
        if not asked:
            continue
        counts = Counter(result.verdict for result in asked)
        share = f"{counts['pass']} ({counts['pass'] / len(asked):.1%})"
        wrong = sum(result.verdict != "pass" for result in mine if result.direction == "a=a")
        refused = sum(result.refused and result.verdict == "pass" for result in asked)
        numbers = f"{refused:9}{counts['missed']:8}{counts['error']:7}{counts['loss']:6}{wrong:9}"
        median = statistics.median(result.seconds for result in asked)
        lines.append(f"{name:10}{len(asked):7}{share:>14}{numbers}{median:10.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "tests" / "corpus")
    parser.add_argument("--tools", default="auditkit,migra,pg-delta", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--major", type=int, default=18)
    parser.add_argument("--both-ways", action="store_true", help="B to A, too")
    parser.add_argument("--skip-equal", action="store_true", help="do not look for false positives")
    parser.add_argument("--roles", action="store_true", help="leave roles that one side lacks to the tool")
    parser.add_argument("--only", default="*", help="pattern of group/case")
    parser.add_argument("--sample", type=int, help="only so many pairs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a line of JSON for each case, direction and tool")
    arguments = parser.parse_args()
    cases = sorted(
        path.parent for path in arguments.folder.glob("*/*/b.sql") if (path.parent / "a.sql").exists()
    )
    cases = [case for case in cases if fnmatch.fnmatch(f"{case.parent.name}/{case.name}", arguments.only)]
    if arguments.sample and arguments.sample < len(cases):
        cases = sorted(random.Random(arguments.seed).sample(cases, arguments.sample))
    chosen = {name: (TOOLS[name], TOOLS[name].install()) for name in arguments.tools.split(",")}
    bench = Bench(arguments.major)
    results: list[Result] = []
    with ExitStack() as stack:
        stack.callback(bench.stop)
        pool = stack.enter_context(ThreadPoolExecutor(arguments.jobs))
        out = stack.enter_context(arguments.out.open("w")) if arguments.out else None
        for number, found in enumerate(
            pool.map(lambda case: bench.judge(case, chosen, arguments), cases),
            1,
        ):
            results += found
            for result in found:
                if out:
                    print(json.dumps(asdict(result)), file=out, flush=True)
                if result.verdict != "pass":
                    about = (result.detail or result.sql).strip().splitlines() or [""]
                    where = f"{result.case} {result.direction} {result.tool}"
                    print(
                        f"[{number}/{len(cases)}] {where}: {result.verdict}: {about[0][:150]}",
                        file=sys.stderr,
                    )
    print(table(results, chosen))
    unusable = sum(result.verdict == "unusable" for result in results)
    if unusable:
        print(f"{unusable} of {len(cases)} pairs could not be used on PostgreSQL {arguments.major}")


if __name__ == "__main__":
    main()
