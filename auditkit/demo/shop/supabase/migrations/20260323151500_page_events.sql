-- Clicks and page views, one partition a quarter. Old quarters are detached and archived.
create table public.page_events (
  id bigint generated always as identity,
  happened_at timestamptz not null default now(),
  profile_id uuid,
  path text not null,
  payload jsonb not null default '{}',
  primary key (id, happened_at)
) partition by range (happened_at);

create table public.page_events_2026q1 partition of public.page_events
  for values from ('2026-01-01 00:00:00+00') to ('2026-04-01 00:00:00+00');
create table public.page_events_2026q2 partition of public.page_events
  for values from ('2026-04-01 00:00:00+00') to ('2026-07-01 00:00:00+00');
create table public.page_events_2026q3 partition of public.page_events
  for values from ('2026-07-01 00:00:00+00') to ('2026-10-01 00:00:00+00');
create table public.page_events_2026q4 partition of public.page_events
  for values from ('2026-10-01 00:00:00+00') to ('2027-01-01 00:00:00+00');
create table public.page_events_default partition of public.page_events default;

create index page_events_path_idx on public.page_events (path, happened_at);

alter table public.page_events enable row level security;
alter table public.page_events_2026q1 enable row level security;
alter table public.page_events_2026q2 enable row level security;
alter table public.page_events_2026q3 enable row level security;
alter table public.page_events_2026q4 enable row level security;
alter table public.page_events_default enable row level security;

create policy "page events: everybody writes" on public.page_events
  for insert to anon, authenticated with check (profile_id is not distinct from auth.uid());
