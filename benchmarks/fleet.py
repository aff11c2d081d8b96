"""How `auditkit check` and `auditkit fleet` fare with many databases on one server, and many schemas in one of them.

    python benchmarks/fleet.py [--databases 50] [--schemas 200] [--tables 100]

Starts a scratch server with copies of one database, some of them changed by hand, and a database with as many tenant
schemas. Each command runs in a process of its own. Prints its wall and CPU time, the most memory it held, the most
sessions it had at once, the length of its report and the report's first lines.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from check import project

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from auditkit import server as servers

TENANT = """
CREATE SCHEMA tenant_{n};
CREATE TABLE tenant_{n}.users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text);
CREATE TABLE tenant_{n}.orders (id bigint PRIMARY KEY, person bigint REFERENCES tenant_{n}.users, total numeric);
CREATE INDEX orders_person ON tenant_{n}.orders (person);
CREATE VIEW tenant_{n}.totals AS SELECT person, sum(total) FROM tenant_{n}.orders GROUP BY person;"""


def run(root: Path, watched: str, *arguments: str) -> None:
    """Run a command; print what it took and what it said."""
    over, most = threading.Event(), 0

    def count() -> None:
        nonlocal most
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with psycopg.connect(watched, autocommit=True) as connection:
            while not over.wait(0.02):
                row = connection.execute(query).fetchone()
                most = max(most, row[0] if row else 0)

    watcher = threading.Thread(target=count)
    watcher.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-c", _MEASURED, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=os.environ)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    over.set()
    watcher.join()
    *said, memory = (done.stdout + done.stderr).splitlines()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"\nauditkit {' '.join(arguments)}: exit {done.returncode}, {seconds:.1f} s, {cpu:.1f} s of CPU, "
        f"{memory}, {most} sessions at most, {len(said)} lines"
    )
    print("\n".join(f"  {line[:140]}" for line in said[:12]), flush=True)


_MEASURED = """
import resource, sys
from auditkit.cli import main
try:
    main()
finally:
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--databases", type=int, default=50)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--tables", type=int, default=100, help="in each database")
    options = parser.parse_args()
    settings = {"max_connections": "100", "max_locks_per_transaction": "512"}
    with (
        servers.start(label="benchmark", settings=settings) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["AUDITKIT_CACHE_DIR"] = str(Path(folder, "cache"))
        first, root = server.create_database("shop_000"), Path(folder, "project")
        project(root, first, options.tables, 5)
        names = [f"shop_{n:03}" for n in range(options.databases)]
        for name in names[1:]:
            server.create_database(name, template="shop_000")
        for n, name in enumerate(names):
            if n % 10 == 3:
                with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
                    connection.execute(f"CREATE INDEX by_hand ON s{n % 7}.t{n % 7} (name)")
        lines = ["[environments]", *(f"{name} = {json.dumps(server.conninfo(name))}" for name in names)]
        (root / "auditkit.toml").write_text("\n".join(lines) + "\n")
        watched = server.conninfo()
        print(f"{options.databases} databases of {options.tables} tables")
        for arguments in (["check"], ["check"], ["check", "--fresh"], ["fleet"]):
            run(root, watched, *arguments)

        tenants = server.create_database("tenants", template="shop_000")
        with psycopg.connect(tenants, autocommit=True) as connection:
            for n in range(options.schemas):
                connection.execute(TENANT.format(n=n))
            connection.execute("CREATE INDEX by_hand ON tenant_7.users (name)")
            connection.execute("DROP INDEX tenant_9.orders_person; DROP INDEX tenant_11.orders_person")
        (root / "auditkit.toml").write_text(
            f"[environments]\nproduction = {json.dumps(tenants)}\n[fleet.groups.tenants]\n"
            'environment = "production"\nschemas = "tenant_*"\n'
        )
        print(f"\n{options.schemas} tenant schemas")
        for arguments in (["check"], ["check"], ["check", "--fresh"], ["fleet"]):
            run(root, watched, *arguments)


if __name__ == "__main__":
    main()
