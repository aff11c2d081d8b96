create table public.returns (
  id bigint generated always as identity primary key,
  order_id bigint not null references public.orders (id),
  reason text not null,
  refunded public.money_amount not null default 0,
  requested_at timestamptz not null default now()
);

create index returns_order_id_idx on public.returns (order_id);
create index orders_returned_idx on public.orders (updated_at) where status = 'returned';

alter table public.returns enable row level security;

create policy "returns: customer reads own" on public.returns
  for select to authenticated
  using (exists (select 1 from public.orders as o where o.id = order_id and o.profile_id = auth.uid()));
