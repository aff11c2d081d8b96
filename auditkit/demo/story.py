"""The story of the demo, as data: a tea shop on Supabase whose three databases have drifted apart.

Who committed what and when (``COMMITS``), at which moments an audit is worth running (``MOMENTS``), and
everything that happened to the databases besides (``DRIFTS``): what an audit must find, and what it must
leave alone. ``auditkit.demo.build`` makes it happen, ``auditkit.demo.check`` compares it with an audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Environment = Literal["local", "staging", "production"]
ENVIRONMENTS: tuple[Environment, ...] = ("local", "staging", "production")

MAYA = "Maya Okafor <maya@example.com>"
TOMASZ = "Tomasz Lind <tomasz@example.com>"
PRIYA = "Priya Raman <priya@example.com>"
JONAS = "Jonas Weber <jonas@example.com>"


@dataclass(frozen=True)
class Moment:
    """A point of the story at which an audit is worth running. ``at`` is the story's clock (UTC)."""

    name: str
    at: str
    says: str


MOMENTS = (
    Moment("a week ago", "2026-11-15T06:00:00Z", "old drift, which nobody has looked at yet"),
    Moment("yesterday", "2026-11-21T06:00:00Z", "after the first evening of Black Week"),
    Moment("before the deploy", "2026-11-22T08:30:00Z", "three migrations are merged and not yet applied"),
    Moment("now", "2026-11-22T09:00:00Z", "they are applied, and a few hands were at work meanwhile"),
)
A_WEEK_AGO, YESTERDAY, BEFORE_DEPLOY, NOW = range(len(MOMENTS))


@dataclass(frozen=True)
class Commit:
    """One commit of the shop's repository: new migrations, or one edit ``(version, before, after)``.

    ``authored`` is an ISO time; ``merged`` is the committer's time if the work waited for its review.
    """

    authored: str
    author: str
    subject: str
    versions: tuple[str, ...] = ()
    edit: tuple[str, str, str] | None = None
    merged: str | None = None
    moment: int = A_WEEK_AGO


EDITED_GIFT_CARDS = (
    "20260824091000",
    """  expires_on date not null default (current_date + 365)
);""",
    """  expires_on date not null default (current_date + 1095),
  constraint gift_cards_balance_not_negative check (balance >= 0)
);""",
)
EDITED_COMMENT = (
    "20260212152000",
    "-- one default adress per customer",
    "-- At most one default address for each customer.",
)

COMMITS = (
    Commit("2026-02-02T09:40:00+01:00", MAYA, "Foundations: schemas, types and domains", ("20260202091500",)),
    Commit("2026-02-03T15:02:00+01:00", MAYA, "Profiles, created with every account", ("20260203101200",)),
    Commit("2026-02-06T11:31:00+01:00", TOMASZ, "Catalogue and its search", ("20260205090500",)),
    Commit("2026-02-10T08:55:00+01:00", TOMASZ, "Keep updated_at true by trigger", ("20260210083000",)),
    Commit("2026-02-16T10:20:00+01:00", PRIYA, "Addresses and carts", ("20260212152000",)),
    Commit("2026-02-23T09:21:00+01:00", PRIYA, "Orders and what they cost", ("20260219134500",)),
    Commit("2026-03-02T10:40:00+01:00", JONAS, "Coupons", ("20260302101500",)),
    Commit("2026-03-05T15:04:00+01:00", JONAS, "Order totals respect coupons", ("20260305144000",)),
    Commit("2026-03-09T09:48:00+01:00", MAYA, "Payments, closed to anon", ("20260309093000",)),
    Commit("2026-03-16T11:26:00+01:00", MAYA, "Audit log for orders and money", ("20260316110000",)),
    Commit("2026-03-23T15:40:00+01:00", TOMASZ, "Page events, one partition a quarter", ("20260323151500",)),
    Commit("2026-03-30T12:02:00+02:00", PRIYA, "Fix the spelling of a comment", edit=EDITED_COMMENT),
    Commit("2026-04-01T09:14:00+02:00", PRIYA, "Reviews", ("20260401085500",)),
    Commit("2026-04-15T10:33:00+02:00", PRIYA, "Ratings and the storefront view", ("20260408133000",)),
    Commit("2026-04-27T10:01:00+02:00", JONAS, "Orders can come back", ("20260427094500",)),
    Commit("2026-05-06T12:25:00+02:00", JONAS, "Returns", ("20260506120000",)),
    Commit("2026-05-18T09:22:00+02:00", TOMASZ, "Shipping: carrier, tracking number", ("20260518090000",)),
    Commit("2026-05-25T15:00:00+02:00", TOMASZ, "Stock and its reservation", ("20260525143000",)),
    Commit("2026-06-08T10:44:00+02:00", PRIYA, "Product images in storage", ("20260608101000",)),
    Commit("2026-06-22T09:37:00+02:00", MAYA, "Order totals include VAT", ("20260622091500",)),
    Commit("2026-07-06T16:09:00+02:00", TOMASZ, "Feed for the warehouse", ("20260706154500",)),
    Commit("2026-07-20T10:18:00+02:00", MAYA, "New tables start closed for anon", ("20260720100000",)),
    Commit("2026-08-03T09:33:00+02:00", PRIYA, "The first four shelves", ("20260803092000",)),
    Commit("2026-08-12T15:12:00+02:00", JONAS, "Newsletter with double opt-in", ("20260812143000",)),
    Commit("2026-08-14T09:05:00+02:00", PRIYA, "Wishlists", ("20260810110000",)),
    Commit("2026-08-24T09:31:00+02:00", JONAS, "Gift cards", ("20260824091000",)),
    Commit("2026-08-27T17:45:00+02:00", MAYA, "Gift cards: review remarks", edit=EDITED_GIFT_CARDS),
    Commit("2026-09-07T14:02:00+02:00", PRIYA, "Loyalty points", ("20260907134500",)),
    Commit("2026-09-21T15:30:00+02:00", PRIYA, "Loyalty points after the anniversary", ("20260921151500",)),
    Commit(
        "2026-09-14T10:20:00+02:00",
        JONAS,
        "Double points in anniversary weeks",
        ("20260914100000",),
        merged="2026-09-24T11:48:00+02:00",
    ),
    Commit("2026-09-28T09:16:00+02:00", TOMASZ, "Indexes for the support desk", ("20260928090000",)),
    Commit("2026-10-05T11:40:00+02:00", PRIYA, "Product bundles", ("20261005112000",)),
    Commit("2026-10-19T10:29:00+02:00", JONAS, "Reminders for abandoned carts", ("20261019101500",)),
    Commit(
        "2026-11-17T09:52:00+01:00",
        TOMASZ,
        "Notes on orders for the support desk",
        ("20261117093000",),
        merged="2026-11-22T08:10:00+01:00",
        moment=BEFORE_DEPLOY,
    ),
    Commit(
        "2026-11-18T14:30:00+01:00",
        TOMASZ,
        "Stock levels for the front page",
        ("20261118141500",),
        merged="2026-11-22T08:12:00+01:00",
        moment=BEFORE_DEPLOY,
    ),
    Commit(
        "2026-11-19T10:21:00+01:00",
        PRIYA,
        "Customers choose their language",
        ("20261119100500",),
        merged="2026-11-22T08:15:00+01:00",
        moment=BEFORE_DEPLOY,
    ),
)

#: The migrations of this morning's deploy.
DEPLOYED_TODAY = tuple(v for commit in COMMITS if commit.moment == BEFORE_DEPLOY for v in commit.versions)


# How a drift comes about. "sql": somebody types `sql`. The others bend the deployment of migration
# `version`: it is skipped; applied after the file `after`; applied with the text it had before it was edited;
# recorded without being run (`supabase migration repair`); run without being recorded (SQL editor); applied
# although the repository does not have it; and "platform": `sql` ran before the first migration.
How = Literal["sql", "skipped", "late", "old text", "recorded only", "run only", "from a branch", "platform"]


@dataclass(frozen=True)
class Drift:
    """One thing that happened to one environment.

    ``cause`` is what an audit must say, or None for what must not be reported at all. ``objects`` are
    ``(kind, identity)`` as ``pg_identify_object`` names them; ``also`` may be reported with them. ``version``
    is the migration to blame, or for ``masks`` the one whose effect a hand hides. ``since`` and ``until``
    are indices of ``MOMENTS``. ``undo`` is the SQL that resolves it.
    """

    name: str
    environment: Environment
    cause: str | None
    story: str
    objects: tuple[tuple[str, str], ...] = ()
    how: How = "sql"
    sql: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    version: str | None = None
    after: str | None = None
    masks: str | None = None
    severity: str | None = None
    confidence: tuple[str, ...] = ("proven", "consistent")
    also: tuple[tuple[str, str], ...] = ()
    since: int = A_WEEK_AGO
    until: int | None = None


_HOTFIX = """create or replace function public.order_total(order_id bigint) returns numeric
language sql
stable
set search_path = ''
as $$
  -- HOTFIX 2026-11-20: no order below half price, whatever the coupon says
  select round(sum(i.line_total) * (100 - least(coalesce(max(c.percent_off), 0), 50)) / 100 * 1.19, 2)
  from public.order_items as i
  left join public.coupon_redemptions as r on r.order_id = i.order_id
  left join public.coupons as c on c.code = r.code
  where i.order_id = order_total.order_id
$$"""

_REFERRALS = """create table public.referral_codes (
  code text primary key,
  profile_id uuid not null references public.profiles (id) on delete cascade,
  created_at timestamptz not null default now()
);

alter table public.referral_codes enable row level security;

create policy "referral codes: owner only" on public.referral_codes
  for select to authenticated using (profile_id = auth.uid());

create function public.referral_bonus(invited integer) returns integer
language sql
immutable
set search_path = ''
as $$ select 250 * invited $$;
"""

_TOUCH = """create or replace function private.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  {}new.updated_at := now();
  return new;
end;
$$"""

DRIFTS: tuple[Drift, ...] = (
    # ---- production
    Drift(
        "hotfix on a function",
        "production",
        "manual_change",
        "On the first evening of Black Week a coupon made orders nearly free; Jonas capped it by hand.",
        (("function", "public.order_total(bigint)"),),
        sql=(_HOTFIX,),
        masks="20260622091500",
        since=YESTERDAY,
    ),
    Drift(
        "column typed into production",
        "production",
        "manual_change",
        "Somebody wanted the shelves sorted and added the column in the dashboard.",
        (("table column", "public.categories.sort_order"),),
        sql=("alter table public.categories add column sort_order integer not null default 0",),
        undo=("alter table public.categories drop column sort_order",),
    ),
    Drift(
        "index dropped by hand",
        "production",
        "manual_change",
        "An index that looked unused was dropped while a disk was filling up.",
        (("index", "public.reviews_published_idx"),),
        sql=("drop index public.reviews_published_idx",),
        undo=(
            "create index reviews_published_idx on public.reviews (product_id, created_at desc) "
            "where published",
        ),
        masks="20260401085500",
    ),
    Drift(
        "row level security left off",
        "production",
        "manual_change",
        "Payments did not show up in the support tool; row level security was switched off and forgotten.",
        (("table", "public.payments"),),
        sql=("alter table public.payments disable row level security",),
        undo=("alter table public.payments enable row level security",),
        masks="20260309093000",
        severity="critical",
        since=YESTERDAY,
    ),
    Drift(
        "coupons readable by anon",
        "production",
        "manual_change",
        "A landing page needed to check a coupon, so anon got SELECT on all of them.",
        (("table", "public.coupons"),),
        sql=("grant select on public.coupons to anon",),
        undo=("revoke select on public.coupons from anon",),
        masks="20260302101500",
        since=YESTERDAY,
    ),
    Drift(
        "policy widened to everybody",
        "production",
        "manual_change",
        "The courier's export returned no rows until the policy on addresses said true.",
        (("policy", '"addresses: owner only" on public.addresses'),),
        sql=('alter policy "addresses: owner only" on public.addresses using (true)',),
        undo=('alter policy "addresses: owner only" on public.addresses using (profile_id = auth.uid())',),
        masks="20260212152000",
        severity="critical",
        since=NOW,
    ),
    Drift(
        "audit trigger disabled",
        "production",
        "manual_change",
        "A price import was too slow with the audit trigger; nobody enabled it again.",
        (("trigger", "products_audit on public.products"),),
        sql=("alter table public.products disable trigger products_audit",),
        undo=("alter table public.products enable trigger products_audit",),
        masks="20260316110000",
        since=NOW,
    ),
    Drift(
        "gift cards edited after they were applied",
        "production",
        "edited_after_apply",
        "Production had the gift cards when the review changed their file.",
        (
            ("table constraint", "gift_cards_balance_not_negative on public.gift_cards"),
            ("table column", "public.gift_cards.expires_on"),
        ),
        how="old text",
        version="20260824091000",
    ),
    Drift(
        "bundles recorded but never run",
        "production",
        "recorded_not_applied",
        "A failing push was silenced with `supabase migration repair --status applied`.",
        (
            ("table", "public.bundles"),
            ("table", "public.bundle_items"),
            ("function", "public.bundle_saving(bigint)"),
        ),
        how="recorded only",
        version="20261005112000",
    ),
    Drift(
        "older trigram extension",
        "production",
        "environment_difference",
        "Production is the oldest project and came with pg_trgm 1.5; IF NOT EXISTS left it there.",
        (("extension", "pg_trgm"),),
        how="platform",
        sql=("create extension pg_trgm with schema extensions version '1.5'",),
    ),
    Drift(
        "export view for the accountant",
        "production",
        "manual_change",
        "A view for one export, made by hand and dropped a day later.",
        (("view", "public.accountant_export"),),
        sql=(
            "create view public.accountant_export with (security_invoker = true) as "
            "select order_id, amount, paid_at from public.payments",
        ),
        undo=("drop view public.accountant_export",),
        since=YESTERDAY,
        until=BEFORE_DEPLOY,
    ),
    # ---- staging
    Drift(
        "support indexes skipped",
        "staging",
        "missing_migration",
        "The deploy of that day was cancelled half-way and the next one started after it.",
        (
            ("index", "public.orders_tracking_number_idx"),
            ("index", "public.orders_carrier_shipped_idx"),
            ("table constraint", "returns_reason_not_blank on public.returns"),
        ),
        how="skipped",
        version="20260928090000",
    ),
    Drift(
        "loyalty points in the wrong order",
        "staging",
        "out_of_order",
        "Staging deploys every merge; the older file was merged three days after the newer one.",
        (("function", "public.loyalty_points(numeric)"),),
        how="late",
        version="20260914100000",
        after="20260921151500",
    ),
    Drift(
        "abandoned carts applied by hand",
        "staging",
        "applied_not_recorded",
        "The file was pasted into the SQL editor for a demonstration and never recorded.",
        (("view", "private.abandoned_carts"), ("index", "public.carts_updated_at_idx")),
        how="run only",
        version="20261019101500",
    ),
    Drift(
        "referrals from a branch",
        "staging",
        "unknown_migration",
        "Priya pushed her branch to staging to show it; the branch was never merged.",
        (("table", "public.referral_codes"), ("function", "public.referral_bonus(integer)")),
        how="from a branch",
        sql=(_REFERRALS,),
        undo=(
            "drop function public.referral_bonus(integer)",
            "drop table public.referral_codes",
            "delete from supabase_migrations.schema_migrations where version = '20261109120000'",
        ),
        version="20261109120000",
        since=YESTERDAY,
    ),
    Drift(
        "a hand in the deploy",
        "staging",
        "manual_change",
        "While the deploy ran, the support tool failed to save notes and somebody dropped the NOT NULL.",
        (("table column", "public.order_notes.author"),),
        sql=("alter table public.order_notes alter column author drop not null",),
        undo=("alter table public.order_notes alter column author set not null",),
        masks="20261117093000",
        # PostgreSQL 18 catalogues NOT NULL as a constraint of its own.
        also=(("table constraint", "order_notes_author_not_null on public.order_notes"),),
        since=NOW,
    ),
    # ---- local
    Drift(
        "newest migration not pulled yet",
        "local",
        "missing_migration",
        "Merged this morning; this laptop has not run `supabase migration up` since.",
        (
            ("table column", "public.profiles.language"),
            ("table constraint", "profiles_language_known on public.profiles"),
            ("index", "public.profiles_language_idx"),
        ),
        how="skipped",
        version="20261119100500",
        also=(("table constraint", "profiles_language_not_null on public.profiles"),),
        since=NOW,
    ),
    Drift(
        "an experiment",
        "local",
        "manual_change",
        "A developer tries out recommendations.",
        (("table", "public.recommendations_try"),),
        sql=(
            "create table public.recommendations_try (product_id uuid primary key, score real not null)",
            "alter table public.recommendations_try enable row level security",
        ),
        undo=("drop table public.recommendations_try",),
    ),
    # ---- what must not be reported
    Drift(
        "comment corrected after it was applied (production)",
        "production",
        None,
        "The same file with the spelling of one comment corrected does the same.",
        how="old text",
        version="20260212152000",
    ),
    Drift(
        "comment corrected after it was applied (staging)",
        "staging",
        None,
        "As in production.",
        how="old text",
        version="20260212152000",
    ),
    Drift(
        "two migrations swapped that do not touch each other",
        "production",
        None,
        "Wishlists were merged after the newsletter; neither knows of the other.",
        how="late",
        version="20260810110000",
        after="20260812143000",
    ),
    Drift(
        "table rewritten",
        "production",
        None,
        "Maintenance: the rows move, the schema does not.",
        sql=("vacuum (full) public.products", "reindex table public.orders"),
    ),
    Drift(
        "clicks emptied",
        "staging",
        None,
        "TRUNCATE leaves new row versions in the catalog and the schema as it was.",
        sql=("truncate public.page_events",),
    ),
    Drift(
        "hand change put back",
        "production",
        "reverted_hotfix",
        "A trigger function got a debug line for an hour; then the text of its migration came back.",
        (("function", "private.touch_updated_at()"),),
        sql=(_TOUCH.format("raise log 'touch %', tg_table_name;\n  "), _TOUCH.format("")),
        masks="20260210083000",
        severity="info",
        since=YESTERDAY,
    ),
    Drift(
        "default set and dropped again",
        "production",
        "reverted_hotfix",
        "Tried in the dashboard, regretted a minute later.",
        (("table column", "public.returns.reason"),),
        sql=(
            "alter table public.returns alter column reason set default ''",
            "alter table public.returns alter column reason drop default",
        ),
        masks="20260506120000",
        severity="info",
    ),
)

#: What a complete audit reports at the last moment: no more, no less.
EXPECTED = tuple(drift for drift in DRIFTS if drift.cause and drift.until is None)


def expected(moment: int = NOW) -> list[Drift]:
    """Drifts an audit at ``MOMENTS[moment]`` must report, apart from migrations waiting for a deploy."""
    return [
        drift
        for drift in DRIFTS
        if drift.cause and drift.since <= moment and (drift.until is None or moment < drift.until)
    ]
