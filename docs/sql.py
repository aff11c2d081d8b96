"""Print docs/sql.md, the page about SQL that closes differences, with the hazards as declared: run by ``make docs``."""

from __future__ import annotations

from auditkit.catalog.sql import HAZARDS

PAGE = """\
# SQL that closes differences

`make docs` writes this page; the hazards are those of `auditkit.catalog.sql`.

| command | gives |
|---|---|
| `auditkit diff A B --sql` | SQL that turns A into B, and nothing else, on standard output |
| `… --safe` | the same, or a refusal (exit 2, nothing printed) if a statement deletes data |
| `… --online` | the same in several transactions, so that no table in use is locked for long |
| `… --prove` | the same, after it was run on a rebuilt A and back; what was seen goes to standard error |
| `auditkit pull ENV` | a migration file that brings the migrations up to what ENV holds |
| `auditkit snapshot ENV --sql` | the whole schema for an empty database; in Python `auditkit.snapshot("ENV").to_sql()` |

A and B are any two of: environments, connection strings, snapshot files, `migrations` (the files, replayed),
`migrations@GITREF`. `auditkit diff migrations production --sql` is what production has that the files do not say;
`auditkit diff migrations@main migrations --sql` is what this branch changes.

## How it runs

```console
$ auditkit diff staging production --sql --safe > change.sql
$ psql -v ON_ERROR_STOP=1 -f change.sql "service=app_staging"
```

The statements are in an order that runs, found from PostgreSQL's own record of what depends on what, on both sides.
Objects are altered where PostgreSQL can; what cannot be altered, and what cannot stay meanwhile, is dropped and made
again with its owner, grants and comments. Everything is in one transaction, except what has to be committed before it
can be used (`ALTER TYPE … ADD VALUE`): that stands outside, with a comment. What no statement changes, like the order of
columns or the owner of an extension, is a note at the top. What is not compared ([settings](settings.md)) is not changed.

## Renames

A rename loses nothing and can be taken back, a drop can not. So what was renamed is renamed, first of all, with the
evidence in a comment (in the JSON: action `rename`, `evidence`):

- **Told by the user**: `--rename KIND:OLD=NEW`, as often as needed: `table:public.a=public.b`, `column:public.t.x=y`,
  `constraint:pk on public.t=t_pk`, `function:public.f(integer)=g`, `label:public.mood.sad=blue`. A table, type or routine
  may move to another schema.
- **The same object in a clone**: both sides are copies of one cluster or database, which shows in that rows of the catalog
  with one address and one writer all have one name; and the object was there before the sides parted.
- **The same shape**, where exactly one object that is missing and one that is unexpected are alike: tables with the same
  columns (two or more) and constraints; columns at the same place with the same type and properties; constraints, indexes,
  sequences, types, views, functions, policies and triggers with the same definition; one label of an enum; schemas with
  the same objects in them.

Where there is a choice, or the name is taken, or a gap in the numbers says that a column was dropped and another added,
nothing is recognised. `--no-renames` recognises nothing at all; what the user told still counts.

## Tables in use

`--online` keeps nobody waiting for long: indexes on tables that are there already are built and dropped
`CONCURRENTLY`, primary keys and unique constraints get an index that was built so, foreign keys and checks are added
`NOT VALID` and validated apart, and `NOT NULL` is proven by such a check first (since 18 it is `NOT VALID` itself). All
this comes when the rest is committed, so the script is no longer one transaction: read the `NOT_TRANSACTIONAL` comments.
Partitioned tables, exclusion constraints and changes of type lock as ever, with their hazards.

## Hazards

A statement that can do more than it says has a comment above it, `-- hazard: CODE: what exactly`, and in the JSON
(`--json`, `steps`) a list of `{"code", "why"}`.

HAZARDS
## Proof

`--prove` rebuilds A from its snapshot on a scratch server of the same major version: roles, memberships, settings,
extensions (stand-ins for those the server lacks), on Supabase the platform's schemas, then everything else. If the
rebuilt A is not A, that is said and nothing is called proven. Then a few rows are put into every table that takes them,
the SQL is run in the transactions as printed, and the result compared with B; then SQL for the way back is written, run
and compared with A. Nothing may be left either way. What was seen is said, on standard error for people and under
`proof` in the JSON:

| key | says |
|---|---|
| `proven` | both ways ran, left nothing and lost nothing unsaid, on a ground that is A |
| `unlike`, `notes` | how the rebuilt A differs from A; what else the scratch server could not do |
| `forward`, `back` | of each way: |
| … `left` | the differences that are left, as in `deltas` |
| … `locks` | each relation that was there before, with the strongest lock held on it |
| … `rewritten` | tables whose rows were written anew |
| … `lost` | tables and columns with fewer values than before, of which no hazard spoke |
| … `error` | which statement failed, and why |
| … `on_rows` | it fails where tables have rows like the ones put in; it was then proven without any |
| `back.sql` | the way back, as a script |

Exit codes: 0 equal, 1 different and proven (or not asked to prove), 3 not proven.

Rows that were made up show that something *can* happen to rows, never that it cannot: your own may break a constraint
that these keep. Statements with `MAY_FAIL_ON_DATA` change nothing when they fail.

## Pulling a change into a migration

`auditkit pull production` writes down what somebody did by hand. The file is named and framed as the project's tool wants
it, after all others: `supabase/migrations/<UTC time>_pull_production.sql`, `-- migrate:up` and `-- migrate:down` for
dbmate, a folder for Prisma and Diesel, a journal entry for Drizzle, the next number where files are numbered; `--name`
names it, `--dry-run` prints it. What must be committed before it is used gets a file of its own. Where the tool opens the
transaction, the file does not.

Before it is written, the migrations are replayed with it and compared with the environment, and once more with the way
back, which becomes the down part where the tool has one. Nothing is written if something is left, if the environment
lacks migrations (which a pull would undo), or if there is nothing to pull. The command that records the file as applied
there, such as `supabase migration repair VERSION --status applied` (of tools that have none, the row that they would
write), is printed and not run.

Where migrations are programs the file is one, too, and the tool itself replays it: an Alembic revision after the heads
(named by `file_template`), a Django `RunSQL` in the app whose tables it is about, a script for Knex, TypeORM or Sequelize
in the project's language and manner, a Rails migration, steps for yoyo; SQL for node-pg-migrate. Models and schema
files that the project keeps beside its migrations (Django's models, `schema.rb`, entities) are not changed.
Liquibase, Atlas, Sqitch, postgres-migrations, Ecto, EF Core and pgroll get no file: take the statements of `diff --sql`.
"""


def page() -> str:
    rows = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in HAZARDS.items())
    return PAGE.replace("HAZARDS\n", f"| code | means |\n|---|---|\n{rows}\n", 1)


if __name__ == "__main__":
    print(page(), end="")
