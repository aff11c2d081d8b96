"""What a report costs, with the warm engine and with a kernel for each: ``python benchmarks/report.py``.

CPU seconds include every child; each figure is the median, minimum and maximum of several reports made
from the same audit document, so that only rendering is measured. The first report, which starts the warm
process or pays the imports, stands apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import sample_audit

from auditkit.report import render
from auditkit.report.warm import PARENT


def cpu() -> float:
    """CPU seconds of this process, of its ended children, and of the warm process with its children."""
    spent = os.times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    if PARENT.process is not None:
        warm = psutil.Process(PARENT.process.pid).cpu_times()
        total += warm.user + warm.system + warm.children_user + warm.children_system
    return total


def measure(engine: str, reports: int) -> list[tuple[float, float, int]]:
    """CPU seconds, wall seconds and size of the page of each report."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(reports):
            # A new document each time: otherwise a run would replace the one before.
            document = sample_audit.shop() | {"created_at": f"2026-11-22T08:00:{number:02d}Z"}
            before, began = cpu(), time.perf_counter()
            run = render("root_cause", {}, document, folder, engine=engine)
            figures.append((cpu() - before, time.perf_counter() - began, run.index.stat().st_size))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reports", type=int, default=8, help="reports per engine after the first")
    parser.add_argument("--engine", choices=["auditkit-warm", "nbclient"], action="append")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    if (
        not arguments.engine
    ):  # each in a process of its own, so that the first report of each pays its imports
        for engine in ("auditkit-warm", "nbclient"):
            command = [sys.executable, __file__, "--engine", engine, "--reports", str(arguments.reports)]
            done = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE)
            rows += json.loads(done.stdout)
    for engine in arguments.engine or ():
        first, *later = measure(engine, arguments.reports + 1)
        for label, chosen in (("first", [first]), ("each after it", later)):
            for name, values in (("CPU s", [f[0] for f in chosen]), ("wall s", [f[1] for f in chosen])):
                row = {"engine": engine, "report": label, "what": name, "median": statistics.median(values)}
                rows.append({**row, "min": min(values), "max": max(values), "bytes": first[2]})
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['engine']:14} {row['report']:14} {row['what']:7} "
            f"{row['median']:6.2f}  ({row['min']:.2f} to {row['max']:.2f})  page {row['bytes'] / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
