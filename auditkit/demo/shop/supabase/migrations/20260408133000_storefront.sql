create materialized view public.product_ratings as
  select r.product_id, count(*) as reviews, round(avg(r.rating), 2) as rating
  from public.reviews as r
  where r.published
  group by r.product_id;

-- A unique index lets the nightly job refresh without blocking readers.
create unique index product_ratings_product_id_idx on public.product_ratings (product_id);

create function private.refresh_product_ratings() returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  refresh materialized view concurrently public.product_ratings;
end;
$$;

revoke execute on function private.refresh_product_ratings() from public;
grant execute on function private.refresh_product_ratings() to service_role;

create view public.storefront with (security_invoker = true) as
  select p.id, p.sku, p.title, p.price, c.slug as category, r.rating, r.reviews
  from public.products as p
  join public.categories as c on c.id = p.category_id
  left join public.product_ratings as r on r.product_id = p.id
  where p.active;
comment on view public.storefront is 'One row per product on sale: what the front page shows.';

create view public.my_orders with (security_invoker = true) as
  select o.number, o.status, o.placed_at, public.order_total(o.id) as total
  from public.orders as o
  where o.profile_id = auth.uid();

revoke all on public.my_orders from anon;
