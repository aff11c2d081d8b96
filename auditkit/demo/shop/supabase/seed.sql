-- A handful of rows, so that "how much data is at risk?" has an answer. Nobody here exists.
insert into auth.users (id, email)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'customer' || n || '@example.com'
from generate_series(1, 12) as n;

insert into public.products (sku, category_id, title, price, tags)
select 'TEA-' || lpad(n::text, 4, '0'), c.id, 'Tea no. ' || n, 4.5 + n, array['loose', 'organic']
from generate_series(1, 20) as n
cross join public.categories as c
where c.slug = 'tea';

insert into public.orders (profile_id, status, placed_at)
select p.id, 'paid', timestamptz '2026-10-01 10:00:00+00' + n * interval '5 hours'
from public.profiles as p
cross join generate_series(1, 3) as n;

insert into public.order_items (order_id, position, product_id, quantity, unit_price)
select o.id, 1, p.id, 2, p.price
from public.orders as o
join public.products as p on p.sku = 'TEA-' || lpad((1 + o.id % 20)::text, 4, '0');

insert into public.payments (order_id, method, amount, provider_reference)
select o.id, 'card', public.order_total(o.id), 'ref-' || o.number
from public.orders as o;

insert into public.addresses (profile_id, recipient, street, postal_code, city, is_default)
select p.id, p.display_name, 'Harbour Street 1', '20457', 'Hamburg', true
from public.profiles as p;

insert into public.coupons (code, percent_off) values ('WELCOME', 10), ('BLACKWEEK', 30);

insert into public.reviews (product_id, profile_id, rating, body, published)
select p.id, c.id, 5, 'Very good with milk.', true
from public.products as p
cross join public.profiles as c
where p.sku = 'TEA-0001';
