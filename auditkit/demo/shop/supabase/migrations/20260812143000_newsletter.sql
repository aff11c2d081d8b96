-- Double opt-in: confirmed_at stays empty until the link in the mail was clicked.
create table public.newsletter_subscribers (
  id uuid primary key default gen_random_uuid(),
  email text not null,
  confirmed_at timestamptz,
  constraint newsletter_subscribers_email_looks_right check (email like '%_@_%')
);

create unique index newsletter_subscribers_email_idx on public.newsletter_subscribers (lower(email));

alter table public.newsletter_subscribers enable row level security;

create policy "newsletter: everybody subscribes" on public.newsletter_subscribers
  for insert to anon, authenticated with check (confirmed_at is null);
