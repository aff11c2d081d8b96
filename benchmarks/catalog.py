"""How long it takes to read and compare a big catalog, beside psql copying the same definitions out.

    python benchmarks/catalog.py [--rounds 5] [--tables 5000]

Starts a scratch server, generates databases, and prints medians. Each method runs in a fresh process with a fresh
connection; rounds are interleaved, so that a busy machine is busy for all. Wall is measured from before the
connection is made (for psql: its process), CPU is the process's own plus that of its server backends
(/proc/PID/stat), memory the peak of the process with everything it imported. CPU is the figure to trust on a busy
machine.

psql copies, with one plain query each, what a capture reads of the same objects: relations with owner, privileges and
options; columns with type, default, collation, storage, privileges and options; the definitions of indexes,
constraints (NOT NULL ones, which PostgreSQL 18 stores too, are told by the column), functions and views; comments. A
capture reads all other kinds too, and checks that nothing changed meanwhile.

Two things favour the capture: the generated tables resemble each other, and what reads alike is deparsed once; and no
transaction ends while it reads, so that the second look at the catalogs is left out (it costs what the first does).
``--distinct`` gives every table a CHECK and an index that no other table has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from auditkit import server as servers

GENERATE = """
CREATE PROCEDURE public.generate(tables int, unlike int) LANGUAGE plpgsql AS $$
DECLARE name text; columns text; types text[] := ARRAY['integer', 'text', 'boolean DEFAULT false', 'varchar(40)',
    'timestamptz', 'uuid', 'jsonb', 'date', 'double precision'];
BEGIN
    FOR i IN 0..9 LOOP EXECUTE format('CREATE SCHEMA s%s', i); END LOOP;
    FOR i IN 0..tables - 1 LOOP
        name := format('s%s.t%s', i % 10, i);
        columns := format('id bigint PRIMARY KEY, ref bigint REFERENCES s%s.t%s, name text NOT NULL DEFAULT ''n'', '
            'amount numeric(12,2) CHECK (amount >= %s), created timestamptz NOT NULL DEFAULT now()',
            greatest(i - 1, 0) % 10, greatest(i - 1, 0), i * unlike);
        FOR j IN 6..20 LOOP columns := columns || format(', c%s %s', j, types[1 + (i + j) % 9]); END LOOP;
        EXECUTE format('CREATE TABLE %s (%s)', name, columns);
        EXECUTE format('CREATE INDEX ON %s (ref)', name);
        IF i % 2 = 0 THEN EXECUTE format('CREATE INDEX ON %s (lower(name)) WHERE amount > %s', name, i * unlike); END IF;
        IF i % 10 = 0 THEN EXECUTE format('COMMENT ON TABLE %s IS ''t''; COMMENT ON COLUMN %s.id IS ''key''', name, name);
        END IF;
        IF i % 100 = 99 THEN COMMIT; END IF;
    END LOOP;
    FOR i IN 0..tables * 2 / 5 - 1 LOOP
        EXECUTE format('CREATE FUNCTION s%s.f%s(a integer, b text DEFAULT ''x'') RETURNS bigint LANGUAGE plpgsql STABLE '
            'AS %L', i % 10, i, format(E'BEGIN\\n  -- %s\\n  RETURN (SELECT count(*) FROM s%s.t%s WHERE name = b);\\nEND',
            i, i % 10, i));
    END LOOP;
    FOR i IN 0..tables / 10 - 1 LOOP
        EXECUTE format('CREATE VIEW s%s.v%s AS SELECT t.id, t.name, u.amount, count(*) OVER (PARTITION BY t.ref) AS n '
            'FROM s%s.t%s t JOIN s%s.t%s u ON u.id = t.ref WHERE t.amount > 10', i % 10, i, i % 10, i,
            (i + 1) % 10, i + 1);
    END LOOP;
END $$"""

#: One percent of the tables, each changed in one way of five.
CHANGE = """
DO $$ BEGIN
    FOR i IN 0..%s - 1 BY 100 LOOP
        EXECUTE format(CASE (i / 100) %% 5
            WHEN 0 THEN 'ALTER TABLE s%%s.t%%s ADD COLUMN added integer'
            WHEN 1 THEN 'ALTER TABLE s%%s.t%%s ALTER name SET DEFAULT ''m'''
            WHEN 2 THEN 'ALTER TABLE s%%s.t%%s ENABLE ROW LEVEL SECURITY'
            WHEN 3 THEN 'ALTER TABLE s%%s.t%%s DROP COLUMN c7'
            ELSE 'CREATE INDEX ON s%%s.t%%s (created)' END, i %% 10, i);
    END LOOP;
END $$"""

#: The plain queries for the definitions, without which nobody knows the schema.
PSQL = """
COPY (SELECT n.nspname, c.relname, c.relkind, c.relowner::regrole, c.relacl, c.reloptions, c.relpersistence,
    c.relrowsecurity, c.relforcerowsecurity, c.relreplident FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')) TO STDOUT;
COPY (SELECT n.nspname, c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcollation::regcollation, a.attstorage,
    a.attcompression, a.attstattarget, a.attacl, a.attoptions, a.attfdwoptions
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped) TO STDOUT;
COPY (SELECT n.nspname, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c
    ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_toast') TO STDOUT;
COPY (SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c
    ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.oid >= 16384 AND k.contype <> 'n') TO STDOUT;
COPY (SELECT n.nspname, p.proname, p.proowner::regrole, p.proacl, pg_get_functiondef(p.oid)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid >= 16384 AND p.prokind <> 'a') TO STDOUT;
COPY (SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384) TO STDOUT;
COPY (SELECT classoid, objoid, objsubid, description FROM pg_description WHERE objoid >= 16384) TO STDOUT;
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--distinct", action="store_true", help="no two tables alike")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--conninfo", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(METHODS[options.method](*options.conninfo)))
        return
    settings = {"shared_buffers": "512MB", "max_locks_per_transaction": "512"}
    with servers.start(label="benchmark", settings=settings) as server:
        prepare(server, options.tables, options.distinct)
        measure(server, options.rounds)


def prepare(server: servers.Server, tables: int, distinct: bool = False) -> None:
    started = time.perf_counter()
    for name, count in (("big", tables), ("small", 50)):
        server.create_database(name)
        with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
            connection.execute(GENERATE)
            connection.execute("CALL public.generate(%s, %s)", [count, int(distinct)])
            connection.execute("DROP PROCEDURE public.generate")
            connection.execute("VACUUM ANALYZE")
        server.create_database(f"{name}_changed", template=name)
        with psycopg.connect(server.conninfo(f"{name}_changed"), autocommit=True) as connection:
            connection.execute((CHANGE % count).encode())
            connection.execute("VACUUM ANALYZE")
    print(f"generated {tables} tables in {time.perf_counter() - started:.0f} s")


def measure(server: servers.Server, rounds: int) -> None:
    big = [server.conninfo("big"), server.conninfo("big_changed")]
    small = [server.conninfo("small"), server.conninfo("small_changed")]
    plan: list[tuple[str, str, list[str]]] = [
        ("psql COPY of the definitions", "psql", big[:1]),
        ("capture into DataFrames", "frames", big[:1]),
        ("capture", "capture", big[:1]),
        ("capture, one session", "single", big[:1]),
        ("capture with dependencies", "edges", big[:1]),
        ("capture two, compare", "pair", big),
        ("two of 50 tables, compare", "pair", small),
        ("auditkit diff of those", "diff", small),
    ]
    results: dict[str, list[dict[str, float]]] = {label: [] for label, _, _ in plan}
    for _ in range(rounds):
        for label, method, databases in plan:
            command = [sys.executable, __file__, "--method", method, "--conninfo", *databases]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[label].append(json.loads(done.stdout))
    limit = statistics.median(r["wall"] for r in results[plan[0][0]])
    print(
        f"\n{'':32}{'wall s':>8}{'× psql':>8}{'client':>8}{'server':>8}{'CPU s':>8}{'RSS MB':>8}  facts, deltas"
    )
    for label, _, _ in plan:
        median = {key: statistics.median(r[key] for r in results[label]) for key in results[label][0]}
        cpu = median["client"] + median["server"]
        print(
            f"{label:32}{median['wall']:8.2f}{median['wall'] / limit:8.2f}{median['client']:8.2f}{median['server']:8.2f}"
            f"{cpu:8.2f}{median['rss']:8.0f}  {median['facts']:.0f}, {median['deltas']:.0f}"
        )


# --- the methods, each in a process of its own -----------------------------------------------------------------


class Backends(threading.Thread):
    """Watches the CPU time of the server processes which belong to a database; they end when the client does."""

    def __init__(self, *conninfos: str) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[int, float] = {}
        self.stop = threading.Event()
        with psycopg.connect(conninfos[0]) as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
        assert row
        self.postmaster = int((Path(row[0]) / "postmaster.pid").read_text().split()[0])
        self.known = set(self.children())

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children")
        return [int(pid) for pid in path.read_text().split()]

    def look(self) -> None:
        for pid in self.children():
            if pid not in self.known:
                try:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                self.seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self) -> None:
        while not self.stop.wait(0.02):
            self.look()

    def total(self) -> float:
        self.look()
        self.stop.set()
        return sum(self.seconds.values())


def report(wall: float, client: float, server: float, facts: int = 0, deltas: int = 0) -> dict[str, float]:
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "client": client, "server": server, "rss": rss, "facts": facts, "deltas": deltas}


def psql(conninfo: str) -> dict[str, float]:
    watch = Backends(conninfo)
    watch.start()
    command = [str(servers.find_binaries().bindir / "psql"), "-X", "-q", "-d", conninfo]
    started = time.perf_counter()
    subprocess.run(command, input=PSQL, text=True, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return report(wall, used.ru_utime + used.ru_stime, watch.total())


def reading(conninfo: str, *, frames: bool = False, **options: Any) -> dict[str, float]:
    from auditkit.catalog.capture import capture

    if frames:
        import pandas

        # Part of the memory, not of the time: a notebook has it anyway, with what it loads at its first text.
        pandas.Series(["a"], dtype="str").take([0])
    watch = Backends(conninfo)
    watch.start()
    started, cpu = time.perf_counter(), time.process_time()
    snapshot = capture(conninfo, **options)
    tables = [snapshot.table(kind) for kind in snapshot.kinds] if frames else []
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert snapshot.complete, snapshot.manifest
    return report(wall, cpu, watch.total(), sum(map(len, tables)) or len(snapshot))


def pair(left: str, right: str) -> dict[str, float]:
    watch = Backends(left)
    watch.start()
    started, cpu = time.perf_counter(), time.process_time()
    from auditkit.catalog.capture import capture
    from auditkit.catalog.compare import compare

    with ThreadPoolExecutor(2) as pool:
        snapshots = list(pool.map(partial(capture, edges=False), (left, right)))
    deltas = compare(*snapshots)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return report(wall, cpu, watch.total(), sum(map(len, snapshots)), len(deltas))


def diff(left: str, right: str) -> dict[str, float]:
    """The whole process, as a user starts it: modules were compiled when they were first imported."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "auditkit", "diff", left, right]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    watch = Backends(left)
    watch.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run([*command, "--json"], env=environment, stdout=subprocess.PIPE)
    wall = time.perf_counter() - started
    assert done.returncode == 1, done
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    deltas = len(json.loads(done.stdout)["deltas"])
    return report(wall, cpu, watch.total(), deltas=deltas) | {"rss": used.ru_maxrss / 1024}


METHODS = {
    "psql": psql,
    "frames": lambda conninfo: reading(conninfo, frames=True, edges=False),
    "capture": lambda conninfo: reading(conninfo, edges=False),
    "single": lambda conninfo: reading(conninfo, edges=False, workers=1),
    "edges": reading,
    "pair": pair,
    "diff": diff,
}

if __name__ == "__main__":
    main()
