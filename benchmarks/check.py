"""How long the daily check takes on a big database, beside psql copying the same definitions out.

    python benchmarks/check.py [--tables 5000] [--rounds 3]

Starts a scratch server and makes a database from migrations, with 20 columns and two indexes per table. The first check
replays the migrations (once: the replay is cached) and explains from nothing. Then, in each round, in processes of
their own: psql copies the definitions (see catalog.py); `auditkit check`, nothing having changed; the same with
--fresh, which forgets what earlier checks know and compares anew; and, after one change by hand, a check that
has to explain and one that finds the explanation again. Prints medians of wall time, and
of the program's CPU time, which other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psycopg
from catalog import PSQL

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from auditkit import server as servers

LEDGER = """
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY, statements text[], name text)"""
TYPES = ("integer", "text", "boolean DEFAULT false", "varchar(40)", "timestamptz", "uuid", "jsonb", "date")


def migrations(tables: int, files: int) -> dict[str, list[str]]:
    """Version_name → statements, about as many tables in each."""
    found: dict[str, list[str]] = defaultdict(list)
    for i in range(tables):
        name = f"{20260101000000 + i * files // tables}_part"
        if not i:
            found[name] += [f"CREATE SCHEMA s{n}" for n in range(10)]
        before = max(i - 1, 0)
        columns = "".join(f", c{j} {TYPES[(i + j) % len(TYPES)]}" for j in range(6, 21))
        found[name] += [
            f"CREATE TABLE s{i % 10}.t{i} (id bigint PRIMARY KEY, ref bigint REFERENCES s{before % 10}.t{before}, "
            f"name text NOT NULL DEFAULT 'n', amount numeric(12,2) CHECK (amount >= 0), created timestamptz{columns})",
            f"CREATE INDEX ON s{i % 10}.t{i} (ref)",
        ]
        if i % 10 == 0:
            found[name] += [
                f"CREATE FUNCTION s{i % 10}.f{i}(a integer) RETURNS bigint LANGUAGE sql AS "
                f"'SELECT count(*) FROM s{i % 10}.t{i}'",
                f"CREATE VIEW s{i % 10}.v{i} AS SELECT id, name FROM s{i % 10}.t{i} WHERE amount > 10",
            ]
    return found


def project(root: Path, conninfo: str, tables: int, files: int) -> None:
    folder = root / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (root / "auditkit.toml").write_text(f"[environments]\nproduction = {json.dumps(conninfo)}\n")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(LEDGER)
        for name, statements in migrations(tables, files).items():
            (folder / f"{name}.sql").write_text(";\n".join(statements) + ";\n")
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
                row = [*name.split("_"), statements]
                connection.execute(
                    "INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES (%s, %s, %s)",
                    row,
                )
        connection.execute("VACUUM ANALYZE")


def check(root: Path, *more: str) -> tuple[float, float, str]:
    """Wall time, CPU time of the program (without the server that it reads), and what it says."""
    command = [sys.executable, "-m", "auditkit", "check", *more]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=os.environ)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, (done.stdout + done.stderr).splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--files", type=int, default=10, help="in how many migrations they are made")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = {"shared_buffers": "512MB", "max_locks_per_transaction": "512"}
    times: dict[str, list[float]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    with (
        servers.start(label="benchmark", settings=settings) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["AUDITKIT_CACHE_DIR"] = str(Path(folder, "cache"))
        conninfo, root = server.create_database("big"), Path(folder, "project")
        project(root, conninfo, options.tables, options.files)
        seconds, cpu, says = check(root)
        print(f"first check, with the replay: {seconds:.1f} s ({cpu:.1f} s of CPU): {says}", flush=True)
        for number in range(options.rounds):
            started = time.perf_counter()
            subprocess.run(
                ["psql", "-Xqd", conninfo], input=PSQL, text=True, stdout=subprocess.DEVNULL, check=True
            )
            times["psql copies the definitions"].append(time.perf_counter() - started)
            for label, more in (("check, nothing changed", ()), ("check --fresh", ("--fresh",))):
                seconds, cpu, says = check(root, *more)
                times[label].append(seconds)
                used[label].append(cpu)
                assert "PASS" in says, says
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(f"CREATE INDEX by_hand_{number} ON s1.t1 (name)")
            for label in ("check, one change to explain", "check, the change known"):
                seconds, cpu, says = check(root)
                times[label].append(seconds)
                used[label].append(cpu)
                assert "FAIL" in says or "WARN" in says, says
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(f"DROP INDEX s1.by_hand_{number}")
            check(root)
    for label, found in times.items():
        cpu = f", {statistics.median(used[label]):.2f} s of CPU" if label in used else ""
        print(f"{label:32} {statistics.median(found):6.2f} s  ({', '.join(f'{s:.2f}' for s in found)}){cpu}")


if __name__ == "__main__":
    main()
