"""A plan for one environment: what is done about each finding, rehearsed on a shadow both ways before it is offered."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditkit import config
from auditkit.audit.explained import Explained
from auditkit.audit.explaining import explain_one
from auditkit.audit.meant import all_steps, ground_like, listed, migrations_of, named_in
from auditkit.audit.pulling import drafted
from auditkit.audit.reading import scope_of, take
from auditkit.catalog.compare import Comparison, Delta, compare
from auditkit.catalog.grants import quote
from auditkit.catalog.snapshot import Key, Snapshot
from auditkit.causes.case import Case, Entry, Finding
from auditkit.causes.resolutions import choice
from auditkit.config import Settings
from auditkit.connect import connect
from auditkit.errors import ConfigError, Unreadable
from auditkit.history import ledgers
from auditkit.history.drafts import Draft, writes
from auditkit.history.layouts import LAYOUTS
from auditkit.history.migration import Migration, Migrations, with_content
from auditkit.history.shadow import replay
from auditkit.history.shadow.code import Code, code_of, step_of, text_of
from auditkit.history.shadow.replayed import digest_of
from auditkit.history.shadow.scratch import Scratch
from auditkit.history.split import first_word, split
from auditkit.history.states import HistoryMatrix, states
from auditkit.progress import Tell, silent
from auditkit.resolve import script
from auditkit.resolve.closing import close
from auditkit.resolve.commands import Commands, commands_of
from auditkit.resolve.effects import fingerprint, state_of
from auditkit.resolve.plan import Plan, PlanStep, Resolved, joined, read
from auditkit.resolve.proof import Stage
from auditkit.resolve.records import RECORDS, Book
from auditkit.resolve.rehearsal import Rehearsal, Stumbled, said
from auditkit.resolve.renames import recognise
from auditkit.resolve.unheeded import unheeded

#: How long a difference is accepted for, unless the plan file says otherwise.
_ACCEPTED = dt.timedelta(days=90)


@dataclass(frozen=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    explained: Explained
    matrix: HistoryMatrix


def plan(
    environment: str,
    *,
    resolve: Mapping[str, str] | None = None,
    from_file: str = "",
    only_push: bool = False,
    tool_commands: bool = False,
    settings: Settings | None = None,
    config_file: str = "",
    progress: Tell = silent,
) -> Plan:
    """What brings *environment* to what the migrations say; nothing is written anywhere.

    Args:
        resolve: finding → resolution, instead of the default of its cause.
        from_file: a plan file whose resolutions are taken, edited or not.
        only_push: run what is pending, and leave everything else as it is.
        tool_commands: have the migration tool's own commands do what they can do.

    Raises:
        ConfigError: an unknown finding or resolution, no migrations, or a source that nothing can be written to.
        Unreadable: the environment, or its ledger, could not be read completely.
    """
    settings = settings or config.load(config_file or None)
    return planned(
        environment,
        resolve=resolve or {},
        from_file=from_file,
        only_push=only_push,
        tool_commands=tool_commands,
        settings=settings,
        progress=progress,
    ).plan


def planned(
    environment: str,
    *,
    resolve: Mapping[str, str],
    from_file: str,
    only_push: bool,
    tool_commands: bool,
    settings: Settings,
    progress: Tell,
) -> Planned:
    """:func:`plan`, with what it was made from: the environment is read and explained once."""
    source = settings.source(environment)
    if source.type != "live":
        raise ConfigError(
            f"{source.name} is not a database that could be changed; name an environment that is"
        )
    chosen = {**(_chosen_in(from_file, source.name) if from_file else {}), **resolve}
    migrations = listed(migrations_of(settings), settings)
    snapshot = take(source, settings, progress=progress)
    history = ledgers.choose(snapshot.ledgers, migrations)
    if not history.readable or not snapshot.complete:
        notes = [*history.not_checked, *snapshot.manifest["not_checked"]]
        why = "; ".join(f"{n['what']}: {n['why']}; {n['fix']}" for n in notes)
        raise Unreadable(f"{source.name}: no plan without reading everything: {why}")
    matrix = states(migrations, {source.name: history})
    explained = explain_one(source.name, snapshot, None, matrix, migrations, settings, progress)
    if explained.meant.intended is None:
        note = (
            explained.notes[-1]
            if explained.notes
            else {"why": "the migrations cannot be replayed", "fix": ""}
        )
        raise Unreadable(
            f"{source.name}: no plan without a replay: {note['why']}; {note['fix']}".rstrip("; ")
        )
    record = next((r for r in snapshot.ledgers if f"{r['schema']}.{r['table']}" == history.table), None)
    book = Book.of(record, history.tool or "") if record else None
    raw: list[str] = []
    if book:
        with connect(source.conninfo, name=source.name) as connection:
            raw = [str(row[0]) for row in connection.execute(book.read.encode()).fetchall()]
    resolved = _resolve(explained, chosen, only_push)
    work = _Planning(
        explained,
        migrations,
        matrix,
        settings,
        snapshot,
        book,
        raw,
        resolved,
        only_push,
        tool_commands,
        progress,
    )
    return Planned(work.plan(), explained, matrix)


def _chosen_in(path: str, name: str) -> dict[str, str]:
    document = read(path)
    if document.get("environment") != name:
        raise ConfigError(f"{path} is a plan for {document.get('environment')}, not for {name}")
    return {
        str(f["id"]): wish(f)
        for f in document.get("findings", ())
        if isinstance(f, dict) and "id" in f and "resolution" in f
    }


def wish(finding: Mapping[str, Any]) -> str:
    """A finding of a plan as it is chosen on the command line: ``accept until 2027-01-31: reason``."""
    until, reason = (str(finding.get(word) or "") for word in ("until", "reason"))
    if finding["resolution"] != "accept":
        return str(finding["resolution"])
    return f"accept{f' until {until}' if until else ''}{f': {reason}' if reason else ''}"


def _accepted(wished: str, finding: Finding) -> tuple[str, str]:
    """Reason and last day of what is accepted.

    Raises:
        ConfigError: it cannot be understood, or the day is over.
    """
    said = re.fullmatch(r"accept(?:\s+until\s+(?P<until>\S+?))?(?:\s*:\s*(?P<reason>.*))?", wished, re.DOTALL)
    day = said["until"] if said else None
    today = dt.datetime.now(dt.UTC).date()
    try:
        until = dt.date.fromisoformat(day) if day else today + _ACCEPTED
    except ValueError:
        said = None
    if said is None:
        raise ConfigError(
            f"{finding.id}: '{wished}' is not understood; write accept, or \"accept until 2027-01-31: the reason\""
        )
    if until < today:
        raise ConfigError(f"{finding.id}: accepted until {until}, which is over; choose a later day")
    return " ".join((said["reason"] or f"accepted: {finding.title}").split()), until.isoformat()


def _resolve(explained: Explained, chosen: Mapping[str, str], only_push: bool) -> list[Resolved]:
    known = {finding.id for finding in explained.findings}
    for finding_id in chosen:
        if finding_id not in known:
            raise ConfigError(
                f"{explained.case.environment} has no finding {finding_id}; it has "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    found = []
    for finding in explained.findings:
        options = choice(finding, explained.case)
        default = options.default
        if only_push and finding.cause != "missing_migration":
            default = "none"
        wished = chosen.get(finding.id, default).strip()
        wanted = "accept" if wished.startswith("accept") else wished
        possible = (options.default, *options.others)
        if wanted not in possible:
            raise ConfigError(
                f"{finding.id} ({finding.cause}) cannot be resolved by '{wanted}'; choose {', '.join(possible)}"
            )
        reason, until = _accepted(wished, finding) if wanted == "accept" else ("", "")
        found.append(
            Resolved(
                finding.id,
                finding.cause,
                finding.severity,
                finding.title,
                wanted,
                options.truth,
                tuple(o for o in dict.fromkeys((*possible, "none")) if o != wanted),
                _rule(finding, reason, until) if wanted == "accept" else "",
                reason,
                until,
            )
        )
    return found


def _rule(finding: Finding, reason: str, until: str) -> str:
    """The rules for auditkit.toml that accept a finding for a while."""
    import json

    return "\n".join(
        f"[[ignore]]\nkind = {json.dumps(kind)}\nname = {json.dumps(identity)}\n"
        f"reason = {json.dumps(reason)}\nuntil = {until}\n"
        for kind, identity in finding.objects
    )


def tool_of(migrations: Migrations, settings: Settings) -> tuple[Code | None, Commands | None]:
    """What runs migrations that are programs, if they are, and the commands of their tool, if it has any."""
    code = code_of(migrations, settings)
    folder = str(code.work.get("folder", ".")) if code else "."
    ini = str(code.work.get("ini", "")) if code else ""
    if ini in (f"{folder}/alembic.ini", "alembic.ini"):
        ini = ""
    python = code.program[0] if code and code.tool != "knex" else ""
    return code, commands_of(migrations.project, folder=folder, ini=ini, python=python)


#: What a statement begins with that may change rows.
_ON_ROWS = frozenset(
    {"insert", "update", "delete", "merge", "truncate", "copy", "with", "select", "do", "call"}
)


def _changes_rows(sql: str) -> bool:
    words = (s.text[first_word(s.text) :].split(None, 1) for s in split(sql))
    return any(bool(each) and each[0].lower() in _ON_ROWS for each in words)


def _keys(finding: Finding) -> set[Key]:
    return {*finding.objects, *(key for d in finding.deltas for key in (d.key, *d.children))}


@dataclass
class _Planning:
    """All that one plan is made of."""

    explained: Explained
    migrations: Migrations
    matrix: HistoryMatrix
    settings: Settings
    snapshot: Snapshot
    book: Book | None
    raw: list[str]
    resolved: list[Resolved]
    only_push: bool
    tool_commands: bool
    progress: Tell
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.case: Case = self.explained.case
        self.name = self.case.environment
        self.by_id = {finding.id: finding for finding in self.explained.findings}
        self.paths = {(m.path, m.version): m for m in self.migrations}
        self.scope = scope_of(self.settings, self.snapshot)
        self.meant: Snapshot = self._intended.final
        self.code, self.commands = tool_of(self.migrations, self.settings)
        if self.commands and not self.commands.usable:
            self.commands = None
        self.fetched = self._fetch()
        ground, self.base = ground_like(self.settings, self.snapshot, self.meant)
        self.stage = Stage(ground, replace(self.scope), self._settles)

    def _fetch(self) -> list[tuple[Finding, Migration]]:
        """Migrations of which only the ledger has the text, as files; what they lead to is meant from now on."""
        found = []
        if self.migrations.tool == "supabase" and self.migrations.project.directories:
            rows = {(r["version"], r["name"]): r for r in self.explained.history.rows}
            for finding in self._with("pull"):
                entry = finding.entry
                row = rows.get((entry.version, entry.name)) if entry else None
                if finding.cause == "unknown_migration" and row and row["statements"]:
                    path = f"{self.migrations.project.directories[0]}/{row['version']}_{row['name']}.sql"
                    text = ";\n\n".join(row["statements"]) + ";\n"
                    empty = Migration(row["version"], row["name"], path, None)
                    found.append((finding, with_content(LAYOUTS["supabase"], empty, text.encode())))
        if found:
            order = LAYOUTS["supabase"].order
            items = sorted([*self.migrations.items, *(m for _, m in found)], key=lambda m: order(m.version))
            self.migrations = Migrations(self.migrations.project, tuple(items), ref=self.migrations.ref)
            steps = all_steps(self.migrations, self.settings)
            result = replay(steps, self._intended.ground, progress=self.progress, continued=False)
            if result.failures:
                self.refused.append(f"what is to be pulled cannot be replayed: {result.failures[0].message}")
            self.meant = result.final
        return found

    def _fetches(self, shadow: Rehearsal) -> None:
        for finding, migration in self.fetched:
            step = PlanStep(
                0,
                f"Write {migration.path}, which only the ledger has",
                "note",
                [finding.id],
                migration.path,
                writes={migration.path: migration.raw.decode()},
            )
            shadow.run(step)

    @property
    def _intended(self) -> Any:
        assert self.case.intended
        return self.case.intended

    def _settles(self, delta: Delta) -> bool:
        if delta.key == ("role", quote(self.stage.ground.role)):
            return True
        bases = [self.base, *([self.explained.meant.base] if self.explained.meant.base else [])]
        return any(each.settles(delta.kind, delta.identity, delta.attribute) for each in bases)

    def _to_migrations(self, left: Snapshot, right: Snapshot) -> Comparison:
        """How a replay differs from what is there; what the shadow alone decides does not count."""
        scope = scope_of(self.settings, self.snapshot, right)
        found = compare(left, right, scope=scope)
        found.deltas = [delta for delta in found if not self._settles(delta)]
        return found

    def _with(self, *resolutions: str) -> list[Finding]:
        return [self.by_id[r.id] for r in self.resolved if r.resolution in resolutions]

    def _file(self, finding: Finding) -> Migration | None:
        return self._file_of(finding.entry) if finding.entry else None

    def _file_of(self, entry: Entry) -> Migration | None:
        return self.paths.get((entry.file or "", entry.version))

    def _covered(self, finding: Finding) -> list[Entry]:
        """The migration that a finding is about, and those that were not run for want of it."""
        if finding.entry is None:
            return []
        needing = self.case.needs.get(finding.entry.label, ())
        return [finding.entry, *(entry for entry in self.case.entries if entry.label in needing)]

    def _files(self, finding: Finding) -> list[Migration]:
        return [file for entry in self._covered(finding) if (file := self._file_of(entry))]

    # --- the plan -----------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        started = time.monotonic()
        state = state_of(self.snapshot, self.scope, self.explained.history)
        made = Plan(
            self.name,
            str(self.snapshot.manifest["database"]),
            "migrations",
            fingerprint(state),
            dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            self.case.ledger_tool or "",
            self.explained.history.table or "",
            self.resolved,
            [],
            {},
            notes=[f"{n['what']}: {n['why']}" for n in self.explained.notes if n.get("blocking", True)],
        )
        made.not_offered += self._impossible()
        if made.not_offered:
            made.proof = {"proven": False, "ran": False}
            return made
        problems: list[str] = []
        for revert_first, with_rows in self._strategies():
            try:
                self._attempt(made, revert_first, with_rows)
            except Stumbled as error:
                problems.append(self._advised(str(error)))
                continue
            if made.proof["proven"]:
                break
        if not made.proof:
            made.proof = {"proven": False, "ran": True}
            made.not_offered = [
                *{re.sub(r"^step \d+ ", "", each): each for each in reversed(problems)}.values()
            ]
        elif made.proof["proven"] and problems and not made.proof["with_rows"]:
            made.notes.append(f"with rows like those of the rehearsal: {problems[0]}")
        if not made.proof["proven"] and not made.not_offered:
            made.not_offered = self._why(made)
        made.proof["seconds"] = round(time.monotonic() - started, 1)
        return made

    def _advised(self, problem: str) -> str:
        """Why a step failed, and what can be done if it is a migration that comes too late."""
        for finding in self._with("push"):
            if any(f"(Apply {file.path})" in problem for file in self._files(finding)):
                return f"{problem}; what it makes can be made by new SQL instead: --resolve {finding.id}=reconcile"
        return problem

    def _strategies(self) -> list[tuple[bool, bool]]:
        orders = [True, False] if self._pending() and self._with("revert", "reconcile") else [True]
        return [(order, with_rows) for with_rows in (True, False) for order in orders]

    def _impossible(self) -> list[str]:
        found = [*self.refused]
        if self.base.other_release:
            found.append(
                f"the shadow has another major version than {self.name}: have AUDITKIT_PG_BINDIR name its programs"
            )
        code = [m.path for m in self._pending() if m.sql is None]
        if code and self.code is None:
            found.append(f"{code[0]} is code: apply it with its own tool, then make the plan again")
        if self.tool_commands and self.commands is None:
            found.append(
                f"auditkit knows no command of {self.migrations.tool or 'these migrations'}; leave out --tool-commands"
            )
        found += self._too_much()
        if not writes(self.migrations.tool):
            found += [
                f"decide about {f.id} ({f.cause}): auditkit does not write migrations of {self.migrations.tool}: write it "
                f"yourself, with the statements of `auditkit explain {self.name}`, or --resolve {f.id}="
                + "|".join(o for o in choice(f, self.case).others if o not in ("none", "pull"))
                for f in self._with("pull")
                if f.cause != "unknown_migration" or self.migrations.tool != "supabase"
            ]
        needs_book = [f.id for f in self._with("push", "repair", "pull") if f.cause != "unknown"]
        needs_book += ["pending migrations"] if self._pending() else []
        if needs_book and self.book is None:
            found.append(self._bookless())
        elif needs_book and self.book and not self.book.writable:
            found.append(
                f"auditkit does not write the ledger of {self.book.tool}; it writes those of {', '.join(sorted(RECORDS))}"
            )
        return found

    def _bookless(self) -> str:
        """What to do about an environment that has no table for the history of its migrations."""
        commands, tool = self.commands, self.migrations.tool
        if any(f.cause == "applied_not_recorded" and f.entry is None for f in self.explained.findings):
            record = self._records(*self._there())
            return (
                f"{self.name} has what its migrations do, and no table that says so: {tool} would run them all again; "
                + (
                    f"have it record them first: {record}"
                    if record
                    else f"make the table as {tool} does, empty"
                )
                + f", then make the plan again: auditkit plan {self.name}"
            )
        first = commands.push(self._pending(), late=False) if commands and self._pending() else ""
        return (
            f"{self.name} has no history of migrations yet, nor a table for it; have the migration tool begin it"
            + (f": {first.splitlines()[0]}" if first else "")
        )

    def _too_much(self) -> list[str]:
        """What a command that runs all that is pending would run although the plan leaves it out."""
        if self.commands is None or self.commands.one_by_one or not self._by_tool(self._pending()):
            return []
        wanted = {file.path for file in self._pending()}
        found = [
            row.migration.path
            for row in self.matrix.rows
            if row.migration is not None
            and row.states.get(self.name) == "pending"
            and row.migration.path not in wanted
            and not any(f.entry and f.entry.version == row.version for f in self._with("repair", "reconcile"))
        ]
        if not found:
            return []
        return [
            f"the tool's own command would run {', '.join(found)}, too, which the plan leaves out: resolve it "
            "otherwise, or leave out --tool-commands"
        ]

    def _why(self, made: Plan) -> list[str]:
        found = []
        for title, key in (
            ("the shadow is not like it", "unlike"),
            ("left", "left"),
            ("not taken back", "left_back"),
        ):
            items = made.proof[key]
            more = f" and {len(items) - 5} more" if len(items) > 5 else ""
            found += [f"{title}: {', '.join(items[:5])}{more}"] if items else []
        open_ones = [r for r in self.resolved if r.resolution == "none" and self.by_id[r.id].deltas]
        found += [
            f"decide about {r.id} ({r.cause}): --resolve {r.id}={'|'.join(o for o in r.others if o != 'none')}"
            for r in open_ones
            if not self.only_push
        ]
        return found

    def _by_tool(self, files: Sequence[Migration]) -> bool:
        """Whether the tool's own command runs *files*: if that is wanted, or one of them is a program."""
        return self.commands is not None and any(self.tool_commands or file.sql is None for file in files)

    def _excused(self) -> list[Finding]:
        return self._with("accept", "none")

    def _left_pending(self) -> list[Finding]:
        """What was recorded and never run, and is only to be pending again."""
        return [f for f in self._with("repair") if f.cause == "recorded_not_applied"]

    def _pending(self) -> list[Migration]:
        """The files to run, in their order: what is pending, and what was recorded and never run."""
        there = {migration.version for migration in self._there()} if self._unrecorded() else set()
        elsewhere = {
            entry.version
            for f in self.explained.findings
            if f in self._excused()
            or (f.cause == "missing_migration" and f in self._with("reconcile"))
            or f.cause in ("applied_not_recorded", "restamped", "rebaselined", "partial_apply")
            for entry in self._covered(f)
        }
        again = {f.entry.version for f in self._with("push") if f.cause == "recorded_not_applied" and f.entry}
        found = []
        for row in self.matrix.rows:
            cell = row.cells.get(self.name)
            if row.migration is None or cell is None or row.version in elsewhere | there:
                continue
            if cell.state == "pending" or row.version in again:
                found.append(row.migration)
        return found

    # --- one rehearsal --------------------------------------------------------------------------------------------

    def _attempt(self, made: Plan, revert_first: bool, with_rows: bool) -> None:
        ground = self.stage.ground
        self.progress(0, 1, f"Rehearsing on a shadow of {self.name}")
        with Scratch(ground, None) as scratch:
            notes = scratch.lay(ground)
            shadow = Rehearsal(scratch, self.stage, self.scope, self.book, self.migrations)
            try:
                state = state_of(self.snapshot, self.scope, self.explained.history)
                shadow.start(self.snapshot, self.raw, state, with_rows=with_rows)
                self._fetches(shadow)
                self._repairs(shadow)
                if revert_first:
                    self._reverts(shadow)
                self._pushes(shadow)
                self._reconciles(shadow)
                self._late_records(shadow)
                self._caught_up(shadow)
                drafts, goal = self._pulls(shadow)
                self._replaced(shadow, drafts)
                left = self._left(shadow, goal)
                left += self._ledger_left(shadow, drafts)
                left_back = shadow.go_back()
            finally:
                shadow.close()
            unlike = [said(delta) for delta in shadow.unlike]
            made.steps = shadow.steps
            made.notes += [
                note for note in (*shadow.final, *self._orders(shadow, goal)) if note not in made.notes
            ]
            made.proof = {
                "ran": True,
                "proven": not left and not left_back and not unlike,
                "server": str(shadow.first.manifest["server"]),
                "role": ground.role,
                "with_rows": with_rows,
                "unlike": unlike,
                "left": left,
                "left_back": left_back,
                "notes": [*notes, *shadow.notes],
            }

    def _ledger(
        self,
        shadow: Rehearsal,
        title: str,
        finding: Finding,
        sql: list[str],
        added: Sequence[tuple[str, str]],
        commands: Sequence[str] = (),
    ) -> None:
        """A step that writes the ledger only; *commands* of the tool do the same, if it has them all."""
        step = PlanStep(0, title, "ledger", [finding.id], record=";\n".join(sql))
        shadow.run(step, added=added)
        self._or_by_tool(shadow, commands)

    def _or_by_tool(self, shadow: Rehearsal, commands: Sequence[str]) -> None:
        """Say of the last step which commands do the same, and have them do it if that is wanted."""
        if not self.commands or not commands or not all(commands):
            return
        step, text = shadow.steps[-1], "\n".join(commands)
        step.command, step.folder = text, self.commands.folder
        if self.tool_commands:
            shadow.steps[-1] = step.by_tool(text, self.commands.folder)

    def _records(self, *files: Migration) -> str:
        return self.commands.record(*files) if self.commands else ""

    def _forgets(self, version: str, file: Migration | None = None) -> str:
        return self.commands.forget(version, file) if self.commands else ""

    def _unrecorded(self) -> Finding | None:
        """The finding that everything is there and the ledger is empty, if that is to be repaired."""
        found = (f for f in self._with("repair") if f.cause == "applied_not_recorded" and f.entry is None)
        return next(found, None)

    def _there(self) -> list[Migration]:
        """Of migrations that nothing records, those that are there as a whole."""
        late = {
            f.entry.version
            for f in self.explained.findings
            if f.entry and f.cause in ("missing_migration", "partial_apply")
        }
        return [migration for migration in self.migrations if migration.version not in late]

    def _repairs(self, shadow: Rehearsal) -> None:
        """What the ledger says wrongly, before anything is run."""
        book = self.book
        if book and (finding := self._unrecorded()):
            files = self._there()
            self._ledger(
                shadow,
                f"Record {len(files)} migrations as applied: what they do is there",
                finding,
                [book.record(file) for file in files],
                [(file.version, file.name) for file in files],
                [self._records(*files)],
            )
        for finding in self._with("push", "repair", "reconcile") if book else ():
            assert book
            entry, file = finding.entry, self._file(finding)
            if finding.cause == "recorded_not_applied" and entry and finding not in self._with("reconcile"):
                self._ledger(
                    shadow,
                    f"Forget that {entry.label} was applied: it was not",
                    finding,
                    [book.forget(entry.version, entry.name, file)],
                    [],
                    [self._forgets(entry.version, file)],
                )
            elif finding.cause == "applied_not_recorded" and file:
                self._ledger(
                    shadow,
                    f"Record {file.version} as applied: what it does is there",
                    finding,
                    [book.record(file)],
                    [(file.version, file.name)],
                    [self._records(file)],
                )
            elif finding.cause == "restamped" and entry and file:
                old = book.forget(entry.recorded_as or "", entry.name)
                self._ledger(
                    shadow,
                    f"Record {entry.recorded_as} under the version of its file, {file.version}",
                    finding,
                    [old, book.record(file)],
                    [(file.version, file.name)],
                    [self._forgets(entry.recorded_as or ""), self._records(file)],
                )
            elif finding.cause == "rebaselined" and file:
                replaced = [r for r in self.matrix.rows if r.file is None and self.name in r.cells]
                gone = [book.forget(row.version, row.name) for row in replaced]
                gone.append(book.forget(file.version, file.name))
                self._ledger(
                    shadow,
                    f"Record the baseline {file.version} in place of the rows that it replaces",
                    finding,
                    [*dict.fromkeys(gone), book.record(file)],
                    [(file.version, file.name)],
                    [*(self._forgets(row.version) for row in replaced), self._records(file)],
                )
            elif finding.cause == "partial_apply" and entry and entry.state == "failed":
                self._ledger(
                    shadow,
                    f"Forget the failed run of {entry.label}",
                    finding,
                    [book.forget(entry.version, entry.name, file)],
                    [],
                    [self._forgets(entry.version, file)],
                )

    def _late_records(self, shadow: Rehearsal) -> None:
        """What was half applied is recorded once it is whole; what has no file is forgotten once what it did is undone."""
        for finding in self._with("revert") if self.book else ():
            if finding.cause == "unknown_migration" and (entry := finding.entry):
                assert self.book
                self._ledger(
                    shadow,
                    f"Forget {entry.label}, which has no file: what it did is undone",
                    finding,
                    [self.book.forget(entry.version, entry.name, ran=True)],
                    [],
                    [self._forgets(entry.version)],
                )
        for finding in self._with("reconcile") if self.book else ():
            file, entry = self._file(finding), finding.entry
            if finding.cause == "partial_apply" and file and entry and entry.state in ("pending", "failed"):
                self._now_there(shadow, finding, file, "the rest of it")

    def _now_there(self, shadow: Rehearsal, finding: Finding, file: Migration, what: str) -> None:
        """Record a migration whose effect other steps have brought about."""
        assert self.book
        self._ledger(
            shadow,
            f"Record {file.version} as applied: {what} is there now",
            finding,
            [self.book.record(file)],
            [(file.version, file.name)],
            [self._records(file)],
        )

    def _caught_up(self, shadow: Rehearsal) -> None:
        """What cannot be run any more, since later migrations changed what it stands on, is recorded as if it had been."""
        for finding in self._with("reconcile") if self.book else ():
            for file in self._files(finding) if finding.cause == "missing_migration" else ():
                self._now_there(shadow, finding, file, "what it makes")
                if file.sql is None or _changes_rows(file.sql):
                    shadow.steps[-1].hazards.append(
                        f"NOT_RUN: {file.path} is not run, so rows that it would change are not changed"
                    )

    def _about(self, findings: Sequence[Finding]) -> Callable[[set[Key]], list[str]]:
        return lambda keys: [f.id for f in findings if _keys(f) & keys] or [f.id for f in findings]

    def _reverts(self, shadow: Rehearsal) -> None:
        """Back to what the ledger says was run, so that what is pending finds what it needs."""
        findings = self._with("revert")
        applied = self.case.applied
        target = applied.final if applied and not applied.failures and self._pending() else self.meant
        keys = {key for finding in findings for key in _keys(finding)}
        shadow.close_to(
            target,
            lambda d: d.key in keys or bool(keys & {*d.children}),
            "Undo",
            self._about(findings),
            self._to_migrations,
        )

    def _pushes(self, shadow: Rehearsal) -> None:
        missing, files = self._with("push"), self._pending()
        for migration in files:
            assert self.book
            ids = [f.id for f in missing if f.entry and f.entry.version == migration.version]
            text, program = text_of(migration), migration.sql is None
            shadow.run(
                PlanStep(
                    0,
                    f"Apply {migration.path}",
                    "file",
                    ids or [f.id for f in missing][:1],
                    migration.path,
                    sql=migration.sql or "",
                    record=self.book.record(migration, ran=True),
                    texts={named_in(self.migrations, migration): digest_of([text])},
                    transaction=migration.transactional,
                ),
                added=[(migration.version, migration.name)],
                renamed="rename" in text.lower(),
                program=step_of(migration, self.code) if program else None,
                repeat=self.commands is None,
            )
            if self.commands and migration is files[0] and not program and not self.commands.one_by_one:
                shadow.steps[-1].command = self.commands.push(files, late=self._late(files)) + (
                    f"  # all {len(files)} that are pending" if len(files) > 1 else ""
                )
            if self.commands and (program or self.commands.one_by_one or len(files) == 1):
                step = shadow.steps[-1]
                step.command = self.commands.push([migration], late=self._late(files))
                step.folder = self.commands.folder
                if program or self.tool_commands:
                    shadow.steps[-1] = step.by_tool(step.command, step.folder)
        if self.commands and len(files) > 1 and not self.commands.one_by_one and self._by_tool(files):
            first = len(shadow.steps) - len(files)
            one = joined(shadow.steps[first:])
            command = self.commands.push(files, late=self._late(files))
            shadow.steps[first:] = [one.by_tool(command, self.commands.folder)]

    def _late(self, files: Sequence[Migration]) -> bool:
        """Whether something that comes after them is applied already."""
        order = [row.migration.path for row in self.matrix.rows if row.migration is not None]
        applied = [
            row.migration.path
            for row in self.matrix.rows
            if row.migration is not None and row.states.get(self.name) in ("applied", "edited")
        ]
        last = max((order.index(path) for path in applied), default=-1)
        return any(path in order and order.index(path) < last for path in (file.path for file in files))

    def _untouched(self) -> Callable[[Delta], bool]:
        """Whether a difference stays: of what is accepted, pulled, or not decided about."""
        left = (*self._with("accept", "none", "pull"), *self._left_pending())
        stay = {key for finding in left for key in _keys(finding)}
        act = {key for finding in self._with("push", "reconcile", "revert") for key in _keys(finding)}
        return lambda d: d.key in stay - act

    def _reconciles(self, shadow: Rehearsal) -> None:
        """Whatever is left then of what shall be as the migrations say."""
        if self.only_push:
            return
        untouched = self._untouched()
        findings = self._with("reconcile", "revert", "push")
        if findings:
            shadow.close_to(
                self.meant,
                lambda d: not untouched(d),
                "Reconcile",
                self._about(findings),
                self._to_migrations,
            )

    def _pulls(self, shadow: Rehearsal) -> tuple[list[Draft], Snapshot]:
        """Migrations that make what is here and shall stay; what the files lead to with them."""
        findings = self._with("pull")
        meant = self.meant
        if not findings:
            return [], meant
        keys = {key for finding in findings for key in _keys(finding)}

        def again(left: Snapshot) -> Comparison:
            found = self._to_migrations(left, shadow.now)
            found.deltas = [
                d for d in found if script.changeable(d) and (d.key in keys or keys & {*d.children})
            ]
            return found

        compared = again(meant)
        if not compared.deltas:
            return [], meant
        renames, left, rest = recognise(meant, shadow.now, compared, known=[], guess=True, again=again)
        ignored = replace(self.scope, lenient=True).ignored_attributes
        groups = list(script.transactions(renames + close(left, unheeded(left, shadow.now, ignored), rest)))
        title = f"Captures what was changed by hand in {self.name}."
        slug = f"pull_{''.join(c if c.isalnum() else '_' for c in self.name.lower())}"
        drafts = drafted(self.migrations, slug, groups, [], title)
        made = [self._read(draft) for draft in drafts]
        ground = self._intended.ground
        steps = [*all_steps(self.migrations, self.settings), *(step_of(each, self.code) for each in made)]
        result = replay(steps, ground, progress=self.progress, continued=False)
        if result.failures:
            raise Stumbled(f"what is to be pulled cannot be replayed: {result.failures[0].message}")
        for draft, migration in zip(drafts, made, strict=True):
            assert self.book
            shadow.run(
                PlanStep(
                    0,
                    f"Write {migration.path} and record it: what it does is there",
                    "ledger",
                    [f.id for f in findings],
                    migration.path,
                    record=self.book.record(migration),
                    writes={**draft.files, **draft.changed},
                    replaces={path: self._text(path) for path in draft.changed},
                ),
                added=[(migration.version, migration.name)],
            )
            self._or_by_tool(shadow, [self._records(migration)])
        self.pulled = made
        return drafts, result.final

    def _replaced(self, shadow: Rehearsal, drafts: Sequence[Draft]) -> None:
        """What was run and has no file is forgotten once a file has what it did."""
        written = [finding.id for finding, _ in self.fetched]
        for finding in self._with("pull") if self.book else ():
            entry = finding.entry
            if finding.cause != "unknown_migration" or finding.id in written or entry is None:
                continue
            assert self.book
            file = drafts[-1].migration.path if drafts else ""
            self._ledger(
                shadow,
                f"Forget {entry.label}, which has no file: "
                + (f"{file} has what stays" if file else "nothing is there that the files lack"),
                finding,
                [self.book.forget(entry.version, entry.name)],
                [],
                [self._forgets(entry.version)],
            )

    def _text(self, path: str) -> str:
        return (self.migrations.project.root / path).read_text("utf-8")

    def _read(self, draft: Draft) -> Migration:
        text = draft.files[draft.migration.path]
        return with_content(LAYOUTS[self.migrations.tool], draft.migration, text.encode())

    # --- what is left -----------------------------------------------------------------------------------------------

    def _left(self, shadow: Rehearsal, goal: Snapshot) -> list[str]:
        """What still differs from the goal, and was neither accepted, nor left to the migration tool, nor, for a push,
        there before."""
        stay: set[Key] = {key for f in (*self._with("accept"), *self._left_pending()) for key in _keys(f)}
        if self.only_push:
            stay |= {key for f in self._excused() for key in _keys(f)}
        found = self._to_migrations(goal, shadow.now)
        return [
            said(d) for d in found if script.changeable(d) and d.key not in stay and not stay & {*d.children}
        ]

    def _orders(self, shadow: Rehearsal, goal: Snapshot) -> list[str]:
        """Tables whose columns stand in another order afterwards, which nothing but a new table would change."""
        found = (d for d in self._to_migrations(goal, shadow.now) if d.is_order and d.change == "changed")
        facts = (shadow.now.get(*d.key) for d in found)
        tables = sorted({str(fact.parent) for fact in facts if fact and fact.parent})
        return (
            [f"the columns of {', '.join(tables)} stand in another order than after the migrations"]
            if tables
            else []
        )

    def _ledger_left(self, shadow: Rehearsal, drafts: Sequence[Draft]) -> list[str]:
        """What the ledger would still say otherwise than the files."""
        items = (*self.migrations.items, *(self.pulled if drafts else ()))
        more = Migrations(self.migrations.project, items, ref=self.migrations.ref)
        history = ledgers.choose(shadow.now.ledgers, more)
        matrix = states(more, {self.name: history})
        excused = {f.entry.version for f in self._excused() if f.entry}
        excused |= {f.culprit.version for f in self._excused() if f.culprit}
        excused |= {f.entry.version for f in self._left_pending() if f.entry}
        wrong = {"pending", "failed", "unknown", "restamped"}
        return [
            f"the ledger: {row.version} {row.name} is {row.states[self.name]}"
            for row in matrix.rows
            if row.states.get(self.name) in wrong and row.version not in excused
        ]
