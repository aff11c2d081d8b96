create table public.payments (
  id uuid primary key default gen_random_uuid(),
  order_id bigint not null references public.orders (id),
  method public.payment_method not null,
  amount public.money_amount not null,
  provider_reference text,
  paid_at timestamptz not null default now(),
  constraint payments_reference_for_card check (method <> 'card' or provider_reference is not null)
);
comment on table public.payments is 'Money received. Never exposed to anon.';

create index payments_order_id_idx on public.payments (order_id);

alter table public.payments enable row level security;
revoke all on public.payments from anon;
revoke insert, update, delete, truncate on public.payments from authenticated;

create policy "payments: customer reads own" on public.payments
  for select to authenticated
  using (exists (select 1 from public.orders as o where o.id = order_id and o.profile_id = auth.uid()));
