create table public.stock_movements (
  id bigint generated always as identity primary key,
  product_id uuid not null references public.products (id),
  change integer not null check (change <> 0),
  reason text not null,
  at timestamptz not null default now()
);

create index stock_movements_product_id_idx on public.stock_movements (product_id) include (change);

alter table public.stock_movements enable row level security;
revoke all on public.stock_movements from anon, authenticated;

create policy "stock movements: service only" on public.stock_movements
  for all to service_role using (true) with check (true);

create function public.reserve_stock(product uuid, wanted integer) returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  available integer;
begin
  perform 1 from public.products as p where p.id = product for update;
  select coalesce(sum(m.change), 0) into available
  from public.stock_movements as m
  where m.product_id = product;
  if available < wanted then
    return false;
  end if;
  insert into public.stock_movements (product_id, change, reason) values (product, -wanted, 'reserved');
  return true;
end;
$$;

revoke execute on function public.reserve_stock(uuid, integer) from public, anon, authenticated;
