-- The front page asks "is it in stock?" a thousand times a minute.
create view public.stock_levels with (security_invoker = true) as
  select m.product_id, sum(m.change) as available
  from public.stock_movements as m
  group by m.product_id;

grant select on public.stock_levels to service_role;

alter table public.stock_movements
  add constraint stock_movements_reason_not_blank check (btrim(reason) <> '');
