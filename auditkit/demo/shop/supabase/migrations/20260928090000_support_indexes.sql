-- The support desk searches orders by carrier and by tracking number.
create index orders_tracking_number_idx on public.orders (upper(tracking_number));
create index orders_carrier_shipped_idx on public.orders (carrier, shipped_at desc) where carrier is not null;

alter table public.returns
  add constraint returns_reason_not_blank check (btrim(reason) <> '');
