alter table public.orders rename column tracking to tracking_number;
alter table public.orders add column carrier text;
alter table public.orders add column shipped_at timestamptz;
alter table public.orders
  add constraint orders_shipped_after_placed check (shipped_at is null or shipped_at >= placed_at);

create index orders_open_idx on public.orders (placed_at) where status in ('placed', 'paid');
