create view private.abandoned_carts with (security_invoker = true) as
  select c.id, c.profile_id, c.updated_at, count(*) as items
  from public.carts as c
  join public.cart_items as i on i.cart_id = c.id
  where c.updated_at < now() - interval '3 days'
  group by c.id;
comment on view private.abandoned_carts is 'Read by the reminder job every morning.';

create index carts_updated_at_idx on public.carts (updated_at);
