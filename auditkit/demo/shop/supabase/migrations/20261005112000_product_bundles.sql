create table public.bundles (
  id bigint generated always as identity primary key,
  title text not null,
  price public.money_amount not null
);

create table public.bundle_items (
  bundle_id bigint not null references public.bundles (id) on delete cascade,
  product_id uuid not null references public.products (id),
  quantity integer not null default 1 check (quantity > 0),
  primary key (bundle_id, product_id)
);

create index bundle_items_product_id_idx on public.bundle_items (product_id);

alter table public.bundles enable row level security;
alter table public.bundle_items enable row level security;

create policy "bundles: everybody reads" on public.bundles
  for select to anon, authenticated using (true);
create policy "bundle items: everybody reads" on public.bundle_items
  for select to anon, authenticated using (true);

grant select on public.bundles, public.bundle_items to anon;

create function public.bundle_saving(bundle bigint) returns numeric
language sql
stable
set search_path = ''
as $$
  select sum(p.price * i.quantity) - max(b.price)
  from public.bundles as b
  join public.bundle_items as i on i.bundle_id = b.id
  join public.products as p on p.id = i.product_id
  where b.id = bundle
$$;
