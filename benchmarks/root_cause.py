"""Is the cause right, and the migration? Known injuries to histories that the tests have never seen.

    python benchmarks/root_cause.py [--cases 150] [--seed 1] [--only 'edited*' …] [--sizes 10,50,200] [--tools dbmate]
                                    [--jobs 2] [--out results.jsonl] [--keep DIR] [--long]

Each case: a history of migrations made from the seed (benchmarks/root_causes/histories.py), committed to git by several
people, run on one to three databases and recorded as one of ten migration tools does it, and one or more injuries drawn at
random. What is true is fixed by the injury. Then ``auditkit.explain``, twice: on the databases as they are, and on their
dumps restored, where transaction and object ids tell nothing.

cause, culprit   share of truths whose finding (the one that names the object) has the right cause, the right migration
open             truths that cannot be told from what is observable: answers that name the truth among their alternatives
                 and are not called proven; not counted in the shares
false, manual    findings with nothing behind them; those that blame a hand

``--keep DIR`` leaves repository and snapshots of the chosen cases behind, so that ``auditkit explain`` can be run there.
``--long`` measures 1,000 migrations by the whole process, from cold and from the cache.
"""

from __future__ import annotations

import argparse
import atexit
import fnmatch
import functools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from root_causes.drafts import Draft, NotHere
from root_causes.facts import FACTS
from root_causes.histories import STYLES, History, generate
from root_causes.ledgers import TOOLS
from root_causes.scenarios import SCENARIOS
from root_causes.scoring import describe, judge, tables
from root_causes.world import Built, Unusable, World, storm

SIZES = {10: 40, 50: 42, 200: 18}
#: How many different histories of a size there are; few of the long ones, as each has to be replayed once.
SEEDS = {10: 6, 50: 4, 200: 2, 1000: 1}
TOOL_WEIGHTS = {
    "supabase": 8, "dbmate": 4, "prisma": 4, "flyway": 2, "goose": 2, "sqlx": 2, "drizzle": 2, "node-pg-migrate": 1,
    "diesel": 1, "golang-migrate": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A case before it is drawn: everything in it follows from these."""

    number: int
    seed: int
    scenarios: tuple[str, ...]
    sizes: tuple[int, ...]
    tools: tuple[str, ...]


def plan(
    count: int, seed: int, only: Sequence[str], sizes: Sequence[int], tools: Sequence[str]
) -> list[Case]:
    """Every scenario in turn, in an order of the seed's; each fourth case has two or three injuries."""
    rng = random.Random(f"plan/{seed}")
    names = [
        n for n, s in SCENARIOS.items() if any(fnmatch.fnmatch(x, p) for x in (n, s.group) for p in only)
    ]
    mixing = [n for n in SCENARIOS if SCENARIOS[n].mixes and not SCENARIOS[n].negative]
    deck: list[str] = []
    cases: list[Case] = []
    for number in range(count if names else 0):
        if not deck:
            deck = rng.sample(names, len(names))
        chosen: tuple[str, ...] = (deck.pop(),)
        if number % 4 == 3 and SCENARIOS[chosen[0]].mixes:
            chosen += tuple(rng.sample(mixing, rng.choice((1, 1, 2))))
        cases.append(Case(number, seed, chosen, tuple(sizes), tuple(tools)))
    return cases


def plan_facts(seed: int, sizes: Sequence[int], tools: Sequence[str]) -> list[Case]:
    """Each scenario of the facts once."""
    names = dict.fromkeys(name for _, covered in FACTS.values() for name in covered)
    return [Case(n, seed, (name,), tuple(sizes), tuple(tools)) for n, name in enumerate(names)]


@functools.lru_cache(maxsize=40)
def history(style: str, size: int, seed: int) -> History:
    return generate(style, size, seed)


def draw(case: Case) -> Draft:
    """The case's draft: histories and tools are tried until the injuries find something to injure.

    Raises:
        NotHere: no history has it.
    """
    rng = random.Random(f"{case.seed}/{case.number}/{case.scenarios}")
    reason = ""
    for attempt in range(120):
        tool = rng.choices(case.tools, [TOOL_WEIGHTS[t] for t in case.tools])[0]
        styles = [s for s in STYLES if s != "supabase" or tool == "supabase"]
        style = rng.choice(["supabase", *styles] if tool == "supabase" else styles)
        size = rng.choices(case.sizes, [SIZES.get(s, 5) for s in case.sizes])[0]
        if attempt > 60 and 50 in case.sizes and size == 10:
            size = 50  # short histories lack what is rare
        number = rng.randint(1, SEEDS.get(size, 1))
        environments = rng.choice(
            (("production",), ("production",), ("staging", "production"), ("local", "staging", "production"))
        )
        draft = Draft.of(
            history(style, size, number * 100 + case.seed),
            TOOLS[tool],
            rng,
            environments,
            rng.choice(environments[-2:]),
        )
        try:
            for name in case.scenarios:
                draft.group = SCENARIOS[name].group
                SCENARIOS[name].inflict(draft)
            return draft
        except NotHere as error:
            reason = str(error)
    raise NotHere(f"no history for {case.scenarios}: {reason}")


# --- running


class Runner:
    """One process's server, repositories and cache."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)

    def run(self, case: Case, keep: Path | None = None, once: bool = False) -> list[dict[str, Any]]:
        about = {"case": case.number, "seed": case.seed, "scenarios": list(case.scenarios)}
        try:
            draft = draw(case)
        except NotHere as error:
            return [{**about, "unusable": str(error)}]
        about |= {
            "tool": draft.tool.name, "style": draft.history.style.name, "size": len(draft.history.migrations),
            "environments": list(draft.environments), "group": SCENARIOS[case.scenarios[0]].group,
            "mixed": "mixed" if len(case.scenarios) > 1 else "single", "history": draft.history.seed,
        }  # fmt: skip
        built: Built | None = None
        try:
            built = self.world.build(draft)
            rows = [self.explain(about, draft, built, live="restore" not in draft.options)]
            if "restore" not in draft.options and "major" not in draft.options and not once:
                rows.append(self.explain(about, draft, built, live=False, restore=True))
            if keep:
                kept(keep / f"case{case.number}", built)
        except Unusable as error:
            return [{**about, "unusable": str(error)}]
        finally:
            if built:
                self.world.drop(built)
        return rows

    def explain(
        self, about: dict[str, Any], draft: Draft, built: Built, *, live: bool, restore: bool = False
    ) -> dict[str, Any]:
        import auditkit

        databases = dict(built.databases)
        if restore:
            for name, conninfo in databases.items():
                dbname = conninfo.split("dbname=")[1].split()[0]
                databases[name] = self.world.restored(self.world.server, dbname, "text")
        settings = self.world.settings(draft, built, databases)
        start = time.perf_counter()
        try:
            with (
                shadow(self.world, draft),
                storm(databases[draft.environment], draft.options.get("storm", "")),
            ):
                audit = auditkit.explain(list(draft.environments), config=str(settings))
            document: dict[str, Any] = audit.document
        except Exception as error:
            return {**about, "live": live, "unusable": f"explain failed: {type(error).__name__}: {error}",
                    "trace": traceback.format_exc()}  # fmt: skip
        seconds = time.perf_counter() - start
        return {**about, "live": live, "seconds": seconds, "verdict": document["verdict"],
                **marks(draft, built, document, bare=not live)}  # fmt: skip


@contextmanager
def shadow(world: World, draft: Draft) -> Iterator[None]:
    """Replays on the programs of the bench's own server, if the case wants that, whatever version is audited."""
    if "shadow" not in draft.options:
        yield
        return
    os.environ["AUDITKIT_PG_BINDIR"] = str(world.server.binaries.bindir)
    try:
        yield
    finally:
        del os.environ["AUDITKIT_PG_BINDIR"]


def marks(draft: Draft, built: Built, document: dict[str, Any], *, bare: bool) -> dict[str, Any]:
    """The scores of all environments of a case, as plain values."""
    answers, false, calibration = [], [], []
    files = {index: draft.tool.path(unit) for index, unit in draft.units.items()}
    versions = {index: draft.tool.version(unit) for index, unit in draft.units.items()}

    def blames(finding: Any, culprit: int | str | None) -> bool:
        migration = finding["migration"]
        if culprit is None or migration is None:
            return culprit is None and migration is None
        if isinstance(culprit, str):
            return str(migration["version"]).lstrip("0") == culprit.lstrip("0")
        file = migration.get("file")
        return bool(file and str(file).endswith(files[culprit])) or (
            str(migration["version"]).lstrip("0") == versions[culprit].lstrip("0")
        )

    for name in draft.environments:
        failed = built.failed.get(name, [])

        def tolerated(finding: Any, name: str = name, failed: Sequence[int] = tuple(failed)) -> bool:
            if finding["cause"] in ("missing_migration", "partial_apply") and any(
                blames(finding, k) for k in failed
            ):
                return True
            if name != draft.environment and finding["cause"] != "rebaselined":
                return False  # a file that was squashed concerns everybody, a hand one environment
            labels = [f"{o['kind']} {o['identity']}" for o in finding["objects"]] or [""]
            return any(
                finding["cause"] == cause and all(label.startswith(start) for label in labels)
                for cause, start in draft.allowed
            )

        truths = [t for t in draft.truths if t.environment == name]
        findings = [f for f in document["findings"] if f["environment"] == name]
        score = judge(findings, truths, bare=bare, blames=blames, tolerated=tolerated)
        for a in score.answers:
            blamed = [
                versions[c] if isinstance(c, int) else c or "no migration" for c in a.truth.culprits[:3]
            ]
            objects = ", ".join(a.truth.objects[:3]) or "no objects"
            answers.append(
                {
                    "environment": name,
                    "group": a.truth.group,
                    "cause": a.cause,
                    "culprit": a.culprit,
                    "status": a.status,
                    "open": a.open,
                    "wanted": f"{a.truth.cause}, {' or '.join(blamed)}, {objects}",
                    "said": a.said,
                    "confidence": a.confidence,
                }
            )
        false += [f"{name}: {describe(f)}" for f in score.false]
        calibration += score.calibration
    return {
        "answers": answers, "false_findings": false, "false": len(false), "calibration": calibration,
        "false_manual": sum("manual_change" in f for f in false), "residual": document["residual"],
        "not_checked": [f"{n.get('what')}: {n.get('why')}" for n in document["not_checked"]][:3],
    }  # fmt: skip


def kept(folder: Path, built: Built) -> None:
    """Leave a case behind as repository and snapshots, for `auditkit explain` by hand."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built.repository, folder)
    lines = ["[environments]"]
    for name in built.databases:
        file = f"{name}.snapshot"
        command = [sys.executable, "-m", "auditkit", "snapshot", name, "-o", folder / file]
        subprocess.run(command, cwd=built.repository, check=True, capture_output=True)
        lines.append(f'{name} = {{ snapshot = "{file}" }}')
    rest = (folder / "auditkit.toml").read_text().split("[migrations]", 1)[1]
    (folder / "auditkit.toml").write_text("\n".join(lines) + "\n[migrations]" + rest)
    print(f"kept: cd {folder} && auditkit explain all", file=sys.stderr)


_runners: list[Runner] = []  # one in each process of the pool


def _begin(folder: str, cache: str) -> None:
    os.environ["AUDITKIT_CACHE_DIR"] = cache
    _runners.append(Runner(Path(tempfile.mkdtemp(dir=folder))))
    atexit.register(_runners[0].world.stop)
    threading.Thread(target=_follow, args=[os.getppid()], daemon=True).start()


def _follow(parent: int) -> None:
    """End with the process that started this one, however it ended; servers end with whoever started them."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _one(case: Case, keep: Path | None, once: bool) -> list[dict[str, Any]]:
    try:
        return _runners[0].run(case, keep, once)
    except Exception:
        return [{"case": case.number, "scenarios": list(case.scenarios), "unusable": traceback.format_exc()}]


def complaints(row: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that is wrong in a case."""
    where = f"case {row['case']} [{' + '.join(row['scenarios'])}]"
    if "unusable" in row:
        yield f"{where} {row.get('tool', '')} {row.get('size', '')}: UNUSABLE: {row['unusable'].strip()[-400:]}"
        return
    where += f" {row['tool']}/{row['style']} {row['size']} {'live' if row['live'] else 'bare'}"
    for a in row["answers"]:
        if a["open"] and a["status"] != "fits":
            yield f"{where} {a['environment']}: open, wanted among the alternatives {a['wanted']}; got {a['said']}"
        if not a["open"] and not (a["cause"] and a["culprit"]):
            yield f"{where} {a['environment']}: wanted {a['wanted']}; got {a['said']}"
    for finding in row["false_findings"][:3]:
        yield f"{where} FALSE {finding}"
    if row["false"] > 3:
        yield f"{where} FALSE … and {row['false'] - 3} more"
    if row["residual"]:
        yield f"{where} residual {row['residual']}"


def long_history(folder: Path, size: int = 1000) -> str:
    """1,000 migrations, one of them skipped and one function hotfixed: the whole command, from cold and from the cache."""
    lines = [f"{f'auditkit explain production, {size} migrations':42}{'seconds':>10}"]
    world = World(folder)
    try:
        for style, tool in (("supabase", "supabase"), ("functions", "dbmate"), ("plain", "prisma")):
            draft = Draft.of(
                generate(style, size, 7), TOOLS[tool], random.Random(7), ["production"], "production"
            )
            for name in ("skipped: an index", "03 function hotfixed", "01 column added"):
                SCENARIOS[name].inflict(draft)
            built = world.build(draft)
            env = {**os.environ, "AUDITKIT_CACHE_DIR": str(folder / f"cache-{tool}")}
            for what in ("from cold", "from the cache", "from the cache"):
                start = time.perf_counter()
                command = [sys.executable, "-m", "auditkit", "explain", "production", "--json"]
                done = subprocess.run(command, cwd=built.repository, env=env, capture_output=True, text=True)
                seconds = time.perf_counter() - start
                right = ""
                if done.returncode in (0, 1, 3):
                    scored = marks(draft, built, json.loads(done.stdout), bare=False)
                    good = sum(a["cause"] and a["culprit"] for a in scored["answers"])
                    right = f"  {good} of {len(scored['answers'])} right, {scored['false']} false"
                else:
                    right = f"  exit {done.returncode}: {done.stderr[-200:]}"
                lines.append(f"  {f'{style}, {tool}, {what}':40}{seconds:10.1f}{right}")
                print(lines[-1], file=sys.stderr, flush=True)
    finally:
        world.stop()
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only",
        action="append",
        help="a pattern of classes or groups of scenarios (--list shows them); may be given several times",
    )
    parser.add_argument(
        "--facts", action="store_true", help="each of the 62 scenarios of root_causes/facts.py once"
    )
    parser.add_argument("--case", type=int, action="append", help="only the cases of these numbers")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="lengths of histories")
    parser.add_argument(
        "--tools", default=",".join(TOOL_WEIGHTS), help="migration tools whose ledgers are used"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--live", action="store_true", help="with physical signals only")
    parser.add_argument("--out", type=Path, help="a line of JSON for each case, with signals and without")
    parser.add_argument("--keep", type=Path, help="leave repositories and snapshots there")
    parser.add_argument("--long", action="store_true", help="measure 1,000 migrations, nothing else")
    parser.add_argument("--list", action="store_true", help="print the scenarios")
    arguments = parser.parse_args()
    if arguments.list:
        for name, s in SCENARIOS.items():
            print(f"{s.group:14}{name}")
        return
    folder = Path(tempfile.mkdtemp(prefix="root-cause-"))
    try:
        if arguments.long:
            print(long_history(folder))
            return
        sizes = [int(s) for s in arguments.sizes.split(",")]
        only = arguments.only or ["*"]
        tools = arguments.tools.split(",")
        cases = (
            plan_facts(arguments.seed, sizes, tools)
            if arguments.facts
            else plan(arguments.cases, arguments.seed, only, sizes, tools)
        )
        if not cases:
            parser.error(
                f"--only {' --only '.join(only)}: no scenario has such a name or group (--list shows them)"
            )
        if arguments.case:
            cases = [case for case in cases if case.number in arguments.case]
        rows = list(run(cases, arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    usable = [row for row in rows if "unusable" not in row]
    print(tables(usable))
    print(f"\n{len(rows) - len(usable)} of {len(rows)} could not be used")


def run(cases: Sequence[Case], arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    cache = folder / "cache"
    cache.mkdir(mode=0o700)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    out = arguments.out.open("w") if arguments.out else None
    work = functools.partial(_one, keep=arguments.keep and arguments.keep.absolute(), once=arguments.live)
    with ProcessPoolExecutor(arguments.jobs, context, _begin, (str(folder), str(cache))) as pool:
        for number, rows in enumerate(pool.map(work, cases), 1):
            for row in rows:
                if out:
                    print(json.dumps(row), file=out, flush=True)
                for line in complaints(row):
                    print(f"[{number}/{len(cases)}] {line}", file=sys.stderr, flush=True)
                yield row


if __name__ == "__main__":
    main()
