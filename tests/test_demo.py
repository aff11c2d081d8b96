"""The demo's story comes true on real servers, and its answer sheet accepts right answers and no others."""

from __future__ import annotations

import copy
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditkit import server as servers
from auditkit.demo.build import Shop, build
from auditkit.demo.check import check
from auditkit.demo.files import git, git_log, migration_files, migration_name, migration_text
from auditkit.demo.story import (
    A_WEEK_AGO,
    BEFORE_DEPLOY,
    COMMITS,
    DEPLOYED_TODAY,
    DRIFTS,
    ENVIRONMENTS,
    EXPECTED,
    MOMENTS,
    NOW,
    YESTERDAY,
    Drift,
    expected,
)
from auditkit.errors import AuditError
from auditkit.history.split import split

# An oracle of its own, independent of auditkit.catalog: what PostgreSQL says of all that the story touches.
OBJECTS = """
with things(classid, objid, objsubid, definition) as (
  select 'pg_class'::regclass, c.oid, 0,
         concat_ws(' ', c.relkind, c.relrowsecurity, c.relacl, pg_get_indexdef(c.oid),
                   case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end)
  from pg_class c where relnamespace = any (array['public', 'private']::regnamespace[])
                    and relkind in ('r', 'p', 'v', 'm', 'i', 'I', 'S')
  union all
  select 'pg_class'::regclass, a.attrelid, a.attnum,
         concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl,
                   pg_get_expr(d.adbin, d.adrelid))
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where relnamespace = any (array['public', 'private']::regnamespace[])
    and relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
  union all
  select 'pg_constraint'::regclass, oid, 0, pg_get_constraintdef(oid)
  from pg_constraint where connamespace = any (array['public', 'private']::regnamespace[]) and contype <> 'n'
  union all
  select 'pg_proc'::regclass, oid, 0, concat_ws(' ', pg_get_functiondef(oid), proacl)
  from pg_proc where pronamespace = any (array['public', 'private']::regnamespace[])
  union all
  select 'pg_trigger'::regclass, oid, 0, concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
  from pg_trigger where not tgisinternal
  union all
  select 'pg_policy'::regclass, oid, 0,
         concat_ws(' ', polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  from pg_policy
  union all
  select 'pg_extension'::regclass, oid, 0, extversion from pg_extension
)
select (pg_identify_object(classid, objid, objsubid)).type,
       (pg_identify_object(classid, objid, objsubid)).identity, definition
from things
"""

Things = dict[tuple[str, str], str]


def rows(conninfo: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo, autocommit=True, options="-c search_path=pg_catalog") as connection:
        return connection.execute(statement.encode()).fetchall()


def things(conninfo: str) -> Things:
    return {(kind, identity): definition for kind, identity, definition in rows(conninfo, OBJECTS)}


def differing(meant: Things, found: Things) -> set[tuple[str, str]]:
    """What differs; what comes with a missing or unexpected table is left out."""
    different = {thing for thing in meant.keys() | found.keys() if meant.get(thing) != found.get(thing)}
    tables = [
        identity
        for kind, identity in different
        if kind == "table" and not ((kind, identity) in meant and (kind, identity) in found)
    ]
    part = re.compile("|".join(rf"(?:{re.escape(t)}[._].*|.* on {re.escape(t)})" for t in tables) or r"\b\B")
    return {thing for thing in different if not part.fullmatch(thing[1])}


def answers(moment: int, repository: Path | None) -> dict[str, dict[str, Any]]:
    """The documents of an audit that knows everything, made from the story itself."""
    log = git_log(repository)
    documents = {
        name: {"verdict": "FAIL", "headline": "", "residual": 0, "deltas": [], "findings": []}
        for name in ENVIRONMENTS
    }
    for number, drift in enumerate(expected(moment)):
        documents[drift.environment]["findings"].append(answer(f"f-{number}", drift, log))
    return documents


def answer(name: str, drift: Drift, log: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    blamed = None
    if drift.version:
        file = migration_files().get(drift.version)
        words = [re.split(r"[( ]", identity)[0].split(".")[-1] for _, identity in drift.objects]
        commit, author = (log.get(file or "") or [(None, None)])[0]
        blamed = {
            "version": drift.version,
            "file": file and f"supabase/migrations/{file}",
            "line": file and next(s.line for s in split(migration_text(drift.version)) if words[0] in s.text),
            "commit": commit,
            "author": author,
        }
    return {
        "id": name,
        "environment": drift.environment,
        "cause": drift.cause,
        "confidence": "proven",
        "severity": drift.severity or "medium",
        "objects": [{"kind": kind, "identity": identity} for kind, identity in drift.objects],
        "migration": blamed,
    }


@pytest.fixture(scope="module", params=[18, pytest.param(15, marks=pytest.mark.tools)])
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(major=request.param, label="demo") as started:
        assert started.binaries.major == request.param
        yield started


@pytest.fixture
def other_server() -> Iterator[servers.Server]:
    with servers.start(label="demo") as started:
        yield started


@pytest.fixture(scope="module")
def meant(server: servers.Server) -> Things:
    """What the files as they are in the end make of an empty Supabase database."""
    conninfo = server.create_database("meant", owner="postgres")
    bootstrap = files("auditkit.history").joinpath("platform_sql/supabase.sql").read_text(encoding="utf-8")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(bootstrap.encode())
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for version in migration_files():
            connection.execute(migration_text(version).encode())
    return things(conninfo)


@pytest.fixture(scope="module")
def shop(server: servers.Server, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop at the last moment of the story."""
    built = build(server, tmp_path_factory.mktemp("demo") / "shop")
    while built.advance():
        pass
    return built


# ---------------------------------------------------------------------------- the story as data


def test_story_is_consistent() -> None:
    assert [migration_name(version) for version in DEPLOYED_TODAY] == [
        "order_notes",
        "stock_levels",
        "preferred_language",
    ]
    assert sorted(v for commit in COMMITS for v in commit.versions) == list(migration_files())
    assert max(Counter(drift.name for drift in DRIFTS).values()) == 1
    touched = Counter((drift.environment, thing) for drift in DRIFTS for thing in drift.objects)
    assert max(touched.values()) == 1, "two drifts on one object could not be told apart"
    assert len(EXPECTED) >= 10
    assert {drift.cause for drift in EXPECTED} == {
        "manual_change",
        "missing_migration",
        "out_of_order",
        "edited_after_apply",
        "recorded_not_applied",
        "applied_not_recorded",
        "unknown_migration",
        "environment_difference",
        "reverted_hotfix",
    }
    assert len([drift for drift in DRIFTS if drift.cause is None]) >= 4


def test_runs_differ_so_that_something_is_new_resolved_and_persisting() -> None:
    past = [{drift.name for drift in expected(moment)} for moment in range(len(MOMENTS))]
    assert past[A_WEEK_AGO] < past[YESTERDAY]
    assert past[YESTERDAY] - past[BEFORE_DEPLOY] == {"export view for the accountant"}
    assert past[NOW] - past[BEFORE_DEPLOY] and past[NOW] & past[A_WEEK_AGO]
    assert past[NOW] == {drift.name for drift in EXPECTED}


# ---------------------------------------------------------------------------- the databases


def test_every_environment_differs_exactly_as_told(shop: Shop, meant: Things) -> None:
    for environment in ENVIRONMENTS:
        told = {
            thing
            for drift in EXPECTED
            if drift.environment == environment
            and drift.how != "run only"
            and drift.cause != "reverted_hotfix"
            for thing in drift.objects
        }
        assert differing(meant, things(shop.conninfo(environment))) == told, environment


def test_ledgers_hold_what_the_cli_would_have_stored(shop: Shop) -> None:
    for environment in ENVIRONMENTS:
        bent = {d.version: d.how for d in DRIFTS if d.environment == environment and d.version}
        stored = {
            version: migration_text(version, edited=bent.get(version) != "old text")
            for version in migration_files()
            if bent.get(version) not in ("skipped", "run only")
        }
        told = {v: (migration_name(v), [s.text for s in split(sql)]) for v, sql in stored.items()}
        ledger = rows(
            shop.conninfo(environment),
            "select version, name, statements from supabase_migrations.schema_migrations order by version",
        )
        unknown = {version for version, how in bent.items() if how == "from a branch"}
        assert {v: (name, statements) for v, name, statements in ledger if v not in unknown} == told
        assert {v for v, *_ in ledger} - told.keys() == unknown
        assert all(statements for _, _, statements in ledger)


def test_objects_and_ledger_row_of_a_migration_share_a_transaction(shop: Shop) -> None:
    linked = """
        select h.version from pg_type as t join supabase_migrations.schema_migrations as h on h.xmin = t.xmin
        where t.typname = 'payments'"""
    for environment in ENVIRONMENTS:
        assert rows(shop.conninfo(environment), linked) == [("20260309093000",)]


def test_order_of_application_shows_in_transaction_ids(shop: Shop) -> None:
    ordered = "select version from supabase_migrations.schema_migrations order by xmin::text::bigint"
    for drift in DRIFTS:
        if drift.how == "late":
            assert drift.version and drift.after
            applied = [version for (version,) in rows(shop.conninfo(drift.environment), ordered)]
            assert applied.index(drift.version) == applied.index(drift.after) + 1


def test_drifts_can_be_resolved_and_happen_again(shop: Shop, meant: Things) -> None:
    undoable = [drift for drift in EXPECTED if drift.undo]
    names = [drift.name for drift in undoable]
    shop.resolve(*names)
    for environment in ENVIRONMENTS:
        left = differing(meant, things(shop.conninfo(environment)))
        assert not left & {t for d in undoable if d.environment == environment for t in d.objects}
    shop.inject(*names)
    test_every_environment_differs_exactly_as_told(shop, meant)


def test_impossible_wishes_are_explained(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no drift 'x'"):
        shop.inject("x")
    with pytest.raises(AuditError, match="comes about while"):
        shop.inject("support indexes skipped")
    with pytest.raises(AuditError, match="nobody wrote down how to undo"):
        shop.resolve("older trigram extension")
    (tmp_path / "mine").touch()
    with pytest.raises(AuditError, match="not empty"):
        build(shop.server, tmp_path)


# ---------------------------------------------------------------------------- the repository


def test_git_history_is_as_told(shop: Shop) -> None:
    told = [(c.subject, c.author) for c in COMMITS]
    log = git(shop.directory, "log", "--reverse", "--format=%s%x09%an <%ae>")
    assert [tuple(line.split("\t")) for line in log.splitlines()] == told
    assert git(shop.directory, "status", "--porcelain") == ""
    for version, file in migration_files().items():
        written = (shop.directory / "supabase/migrations" / file).read_text(encoding="utf-8")
        assert written == migration_text(version)
    edited = {file: len(commits) for file, commits in git_log(shop.directory).items() if len(commits) > 1}
    assert edited == {
        "20260212152000_addresses_and_carts.sql": 2,
        "20260824091000_gift_cards.sql": 2,
    }


def test_rebuilding_gives_the_same_hashes_whatever_the_user_configured(
    shop: Shop, other_server: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = X\n[commit]\ngpgsign = true\n[core]\nautocrlf = true\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    again = build(other_server, tmp_path / "again")
    while again.advance():
        pass
    assert git(again.directory, "rev-parse", "HEAD") == git(shop.directory, "rev-parse", "HEAD")


def test_without_git_the_files_are_there_and_the_shop_says_so(
    other_server: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    built = build(other_server, tmp_path)
    assert [note.split(":")[0] for note in built.notes] == ["git was not found"]
    assert not (tmp_path / ".git").exists()
    present = {path.name for path in (tmp_path / "supabase/migrations").iterdir()}
    assert present == {migration_files()[v] for v in migration_files() if v not in DEPLOYED_TODAY}
    assert check(answers(A_WEEK_AGO, tmp_path), moment=A_WEEK_AGO, repository=tmp_path) == []


# ---------------------------------------------------------------------------- the answer sheet


@pytest.fixture
def right() -> dict[str, dict[str, Any]]:
    return answers(NOW, None)


def named(documents: dict[str, dict[str, Any]], identity: str) -> dict[str, Any]:
    return next(
        finding
        for document in documents.values()
        for finding in document["findings"]
        if any(thing["identity"] == identity for thing in finding["objects"])
    )


@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_right_answers_pass(moment: int) -> None:
    assert check(answers(moment, None), moment=moment) == []


def test_right_answers_pass_with_git(shop: Shop) -> None:
    assert shop.check(answers(NOW, shop.directory)) == []


def test_wrong_commit_and_author_are_noticed(shop: Shop) -> None:
    wrong = answers(NOW, shop.directory)
    named(wrong, "public.loyalty_points(numeric)")["migration"] |= {"commit": "0" * 40, "author": "Nobody"}
    assert [problem.split(": ")[1].split(" ")[1] for problem in shop.check(wrong)] == ["commit", "author"]


def test_a_missed_drift_is_noticed(right: dict[str, dict[str, Any]]) -> None:
    right["production"]["findings"].remove(named(right, "public.payments"))
    assert check(right) == ["production, row level security left off: no finding names table public.payments"]


def test_a_wrong_cause_is_noticed(right: dict[str, dict[str, Any]]) -> None:
    named(right, "pg_trgm")["cause"] = "manual_change"
    assert [problem.split(":")[0] for problem in check(right)] == [
        "production, older trigram extension",
        "production",
    ]


def test_one_object_too_many_is_noticed(right: dict[str, dict[str, Any]]) -> None:
    named(right, "public.payments")["objects"].append({"kind": "table", "identity": "public.orders"})
    assert [problem[:34] for problem in check(right)] == ["production: nobody expected manual"]


def test_a_false_alarm_is_noticed(right: dict[str, dict[str, Any]]) -> None:
    alarm = copy.deepcopy(named(right, "public.payments"))
    alarm["objects"] = [{"kind": "function", "identity": "private.touch_updated_at()"}]
    right["production"]["findings"].append(alarm)
    assert len(check(right)) == 1


def test_a_wrong_culprit_line_or_confidence_is_noticed(right: dict[str, dict[str, Any]]) -> None:
    named(right, "public.order_total(bigint)")["migration"] = {"version": "20260219134500"}
    named(right, "public.bundles")["migration"]["line"] = 999
    named(right, "public.loyalty_points(numeric)")["confidence"] = "conjecture"
    assert len(check(right)) == 3


def test_unexplained_differences_and_incomplete_audits_are_noticed(right: dict[str, dict[str, Any]]) -> None:
    delta = {"environment": "local", "kind": "table", "identity": "public.t", "finding": None}
    right["local"] |= {"verdict": "INCOMPLETE", "residual": 1, "deltas": [delta]}
    assert len(check(right)) == 3
