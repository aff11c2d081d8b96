"""A database that pg_upgrade moved to another major version: what its transaction ids still say."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import tools
from project import Project

from auditkit import server as servers
from auditkit.audit import explain

pytestmark = pytest.mark.tools

BEFORE = ("20260101100000_people.sql", "20260102100000_notes.sql", "20260103100000_notes_index.sql")
SINCE = "create table public.tags (id int primary key, label text);\ncreate index by_label on public.tags (label);\n"


def upgrade(old: servers.Binaries, new: servers.Binaries, clusters: list[Path], place: Path) -> None:
    """Have pg_upgrade make the second of two kept clusters what the first one is."""
    folders = [place / str(n) for n in (0, 1)]
    for folder, cluster in zip(folders, clusters, strict=True):
        folder.mkdir(mode=0o700)
        with tarfile.open(cluster / "data.tar") as archive:
            archive.extractall(folder, filter="tar")
    # As root, PostgreSQL's programs run as they do for every scratch server.
    prefix = servers.AS_NOBODY if os.geteuid() == 0 else ()
    command = [*prefix, new.bindir / "pg_upgrade", "-b", old.bindir, "-B", new.bindir, "-U", "postgres"]
    command += ["-d", folders[0], "-D", folders[1], "-s", place, "--no-sync"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (clusters[1] / "data.tar").unlink()
    with tarfile.open(clusters[1] / "data.tar", "w") as archive:
        archive.add(folders[1], ".")


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[tuple[Project, servers.Server]]:
    """Three migrations of four, applied on PostgreSQL 16; then the cluster is one of this machine's own version."""
    old, new = tools.complete_postgres(), servers.find_binaries()
    project = Project.make(tmp_path)
    kept = [tmp_path / "before", tmp_path / "after"]
    with servers.start(binaries=old) as server:
        project.apply(server.create_database("app"), BEFORE)
        server.freeze(kept[0])
    with servers.start(binaries=new) as server:
        server.freeze(kept[1])
    place = Path(tempfile.mkdtemp(prefix="auditkit-up-", dir="/tmp"))  # sockets want short paths
    try:
        upgrade(old, new, kept, place)
    finally:
        shutil.rmtree(place)
    with servers.start(binaries=new, cluster=kept[1]) as server:
        project.settings({"prod": server.conninfo("app")})
        yield project, server


def test_an_upgrade_is_seen_and_nobody_is_blamed_for_it(upgraded: tuple[Project, servers.Server]) -> None:
    project, server = upgraded
    for name in (project.root / "supabase/migrations").iterdir():
        if name.name not in BEFORE:
            name.unlink()
    config = str(project.root / "auditkit.toml")
    document = explain("prod", config_file=config).document
    assert (document["verdict"], document["deltas"], document["findings"]) == ("PASS", [], [])

    with psycopg.connect(server.conninfo("app"), autocommit=True) as connection:
        connection.execute("alter table public.notes add column seen bool")
        connection.execute("drop index public.notes_person")
    says, findings = look(config)
    assert "3 ledger rows are older than every row of the catalog, as after pg_upgrade or a restore" in says
    assert findings == BY_HAND, "no migration's transaction is said to have done it"

    project.apply(server.conninfo("app"), [project.write("20260201100000_tags.sql", SINCE).name])
    says, findings = look(config)
    assert "transaction ids are trusted here. 3 ledger rows are older" in says, (
        "since the upgrade they tell again"
    )
    assert findings == BY_HAND


BY_HAND = [("manual_change", ["public.notes.seen"]), ("manual_change", ["public.notes_person"])]


def look(config: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """What the calibration says, and causes and objects of the findings."""
    document = explain("prod", config_file=config).document
    found = [(f["cause"], [item["identity"] for item in f["objects"]]) for f in document["findings"]]
    return document["environments"][0]["calibration"]["says"], sorted(found)
