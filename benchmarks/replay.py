"""How long a replay with provenance takes, beside psql running the same files.

    python benchmarks/replay.py [--migrations 300] [--rounds 3]

Generates a history (tables, columns, functions, views, policies, triggers, indexes; about 4.5 statements per
migration), then in each round, interleaved: psql runs the files one by one, as a person or a script does, and
all in one process (the bare minimum), each on a fresh database of a running server; auditkit replays
them from nothing (its server's start included), again unchanged, and with one more. Prints medians, ratios and the
limits: 4 × psql's one process from nothing, 1 s afterwards.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from auditkit import server
from auditkit.history.shadow import Ground, Step, replay


def history(count: int, seed: int = 7) -> list[Step]:
    """*count* migrations of an ever larger schema, the same for the same *seed*."""
    rng = random.Random(seed)
    steps, tables = [], []
    for number in range(count):
        sql: list[str] = []
        if not tables or rng.random() < 0.3:
            table = f"t{len(tables)}"
            reference = f", parent_id bigint REFERENCES {rng.choice(tables)} (id)" if tables else ""
            sql += [
                f"CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,"
                f" amount numeric(12,2) DEFAULT 0 CHECK (amount >= 0), at timestamptz DEFAULT now(){reference})",
                f"CREATE INDEX {table}_name_idx ON {table} (lower(name))",
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                f"CREATE POLICY {table}_read ON {table} FOR SELECT USING (amount > {number})",
                f"COMMENT ON TABLE {table} IS 'made by {number}'",
            ]
            tables.append(table)
        table = rng.choice(tables)
        sql.append(f"ALTER TABLE {table} ADD COLUMN c{number} text DEFAULT 'x{number}'")
        sql.append(
            f"CREATE OR REPLACE FUNCTION f{number % 40}(n integer) RETURNS integer LANGUAGE plpgsql AS $$\n"
            f"BEGIN\n  -- version {number}\n  RETURN n + {number};\nEND $$"
        )
        if rng.random() < 0.4:
            sql.append(
                f"CREATE OR REPLACE VIEW v_{table} AS SELECT id, name, amount FROM {table} WHERE amount > {number}"
            )
        if rng.random() < 0.2:
            sql.append(
                f"CREATE TRIGGER g{number} BEFORE UPDATE ON {table} FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            )
        steps.append(Step(f"{number:05d}", f"m{number}", ";\n".join(sql) + ";\n"))
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--migrations", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    steps = history(options.migrations)
    binaries = server.find_binaries()
    labels = ("psql -f each", "psql -f all", "cold", "unchanged", "one more")
    times: dict[str, list[float]] = {label: [] for label in labels}
    psql = binaries.bindir / "psql"
    with tempfile.TemporaryDirectory() as folder, server.start(binaries=binaries, label="bench") as running:
        files: list[str] = []
        for step in steps:
            file = Path(folder, f"{step.version}.sql")
            file.write_text(f"BEGIN;\n{step.sql}COMMIT;\n")
            files.append(str(file))
        os.environ["AUDITKIT_CACHE_DIR"] = str(Path(folder, "cache"))
        server.start(binaries=binaries).stop()  # initdb is cached for both sides
        for number in range(options.rounds):
            command = [psql if psql.exists() else "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
            target = running.create_database(f"each{number}")
            begun = time.perf_counter()
            for file in files:
                subprocess.run([*command, target, "-f", file], check=True, stderr=subprocess.DEVNULL)
            times["psql -f each"].append(time.perf_counter() - begun)
            target = running.create_database(f"all{number}")
            begun = time.perf_counter()
            every = [word for file in files for word in ("-f", file)]
            subprocess.run([*command, target, *every], check=True, stderr=subprocess.DEVNULL)
            times["psql -f all"].append(time.perf_counter() - begun)
            shutil.rmtree(Path(folder, "cache", "replays"), ignore_errors=True)
            for label in ("cold", "unchanged"):
                begun = time.perf_counter()
                result = replay(steps, Ground(binaries=binaries))
                times[label].append(time.perf_counter() - begun)
                assert not result.failures, result.failures[0]
            begun = time.perf_counter()
            replay(
                [*steps, Step("99999", "more", "CREATE TABLE one_more (id int);")], Ground(binaries=binaries)
            )
            times["one more"].append(time.perf_counter() - begun)
    medians = {label: statistics.median(values) for label, values in times.items()}
    statements = sum(s.sql.count(";\n") for s in steps)
    print(
        f"{len(steps)} migrations, {statements} statements, PostgreSQL {binaries.major}, {options.rounds} rounds, medians"
    )
    limits = {"cold": 4 * medians["psql -f all"], "unchanged": 1.0, "one more": 1.0}
    print(f"{'':>14}{'seconds':>10}{'× each':>9}{'× all':>9}{'limit':>9}")
    for label, median in medians.items():
        ratios = [median / medians[peer] for peer in ("psql -f each", "psql -f all")]
        limit = f"{limits[label]:.2f}" if label in limits else ""
        print(f"{label:>14}{median:>10.2f}{ratios[0]:>9.2f}{ratios[1]:>9.2f}{limit:>9}")


if __name__ == "__main__":
    main()
