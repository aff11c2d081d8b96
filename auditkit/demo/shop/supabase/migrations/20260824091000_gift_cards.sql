create table public.gift_cards (
  code text primary key,
  balance numeric(10, 2) not null,
  issued_at timestamptz not null default now(),
  expires_on date not null default (current_date + 1095),
  constraint gift_cards_balance_not_negative check (balance >= 0)
);

alter table public.gift_cards enable row level security;
revoke all on public.gift_cards from anon, authenticated;

create policy "gift cards: service only" on public.gift_cards
  for all to service_role using (true) with check (true);
