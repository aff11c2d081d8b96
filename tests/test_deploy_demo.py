"""docs/deploy.md, walked through on the demo's shop with the real Supabase CLI: what the page prints is what is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import tools
from project import Project
from tools import url_of

from auditkit import server as servers
from auditkit.demo.build import RECORD, Shop, build
from auditkit.demo.files import git, migration_text
from auditkit.demo.story import BEFORE_DEPLOY, DEPLOYED_TODAY, DRIFTS
from auditkit.history.split import split

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("demo")]

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "deploy.md").read_text("utf-8")
FOLDER = "supabase/migrations"
EDITED = f"{FOLDER}/20260824091000_gift_cards.sql"


@dataclass
class Walk:
    shop: Shop
    project: Project

    def production(self, *statements: str) -> None:
        with psycopg.connect(
            self.shop.conninfo("production"), autocommit=True, options="-c client_min_messages=error"
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def settle(self) -> None:
        """What speaks against the deployment is settled: by hand here, as `auditkit plan` would have it."""
        undo = [
            s
            for d in DRIFTS
            if d.environment == "production" and d.since <= BEFORE_DEPLOY
            for s in d.undo
            if not d.until
        ]
        self.production(*undo, migration_text("20260622091500"), migration_text("20261005112000"))
        first = git(self.shop.directory, "log", "--format=%h", "--", EDITED).split()[-1]
        (self.shop.directory / EDITED).write_text(
            git(self.shop.directory, "show", f"{first}:{EDITED}"), "utf-8"
        )
        author = ("-c", "user.name=Maya", "-c", "user.email=maya@example.org")
        git(self.shop.directory, *author, "commit", "-qam", "Put it back as it was applied")
        with psycopg.connect(self.shop.conninfo("staging"), autocommit=True) as connection:
            for version in DEPLOYED_TODAY:
                file = next((self.shop.directory / FOLDER).glob(f"{version}_*.sql"))
                statements = [s.text for s in split(file.read_text("utf-8"))]
                with connection.transaction():
                    for text in statements:
                        connection.execute(text.encode())
                    name = file.stem.partition("_")[2]
                    connection.execute(RECORD, (version, name, statements))

    def push(self) -> None:
        target = ["--db-url", url_of(self.shop.conninfo("production")), "--workdir", ".", "--yes"]
        tools.run([str(tools.supabase_cli()), "db", "push", *target], cwd=self.shop.directory)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, private_cache: Path) -> Iterator[Walk]:
    with servers.start(label="walk") as server:
        shop = build(server, tmp_path_factory.mktemp("walk") / "shop")
        while shop.moment < BEFORE_DEPLOY:
            shop.advance()
        yield Walk(shop, Project(shop.directory))


def printed(begins: str) -> list[str]:
    """The lines of the page's block that begins so, without the command and what is left out."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    (mine,) = [block for block in blocks if block.startswith(begins)]
    return [line for line in mine.splitlines() if line and line != "…" and not line.startswith("$")]


def same(page: list[str], shown: str) -> None:
    """Everything that the page shows was printed; times, transactions and ids are of each run."""

    def plain(text: str) -> str:
        return re.sub(r"\d+\.\d+ s\b|Transaction \d+|PostgreSQL [\d.]+|f-[0-9a-f]{10}", "…", text)

    lines = {plain(line) for line in shown.splitlines()}
    assert [line for line in page if plain(line) not in lines] == [], shown


def test_the_page_is_what_happens(walk: Walk) -> None:
    answer = walk.project.run("preflight", "production")
    assert answer.code == 1
    same(printed("$ auditkit preflight production\n"), answer.out)

    walk.settle()
    answer = walk.project.run("preflight", "production", "--snapshot", "before.snapshot")
    assert (answer.code, answer.out[:50]) == (0, "! WARN  production is ready: 3 migrations, 6 change"[:50])

    walk.push()
    verify = ("verify", "production", "--before", "before.snapshot")
    answer = walk.project.run(*verify)
    assert answer.code == 0
    same(printed("$ auditkit verify"), answer.out)

    walk.production(
        "alter table public.products add column hot boolean",
        "alter table public.order_notes disable row level security",
        "drop index public.reviews_published_idx",
    )
    answer = walk.project.run(*verify)
    assert answer.code == 1
    same(printed("✗ FAIL  The deployment"), answer.out)
