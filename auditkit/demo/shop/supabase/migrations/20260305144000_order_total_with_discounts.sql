create or replace function public.order_total(order_id bigint) returns numeric
language sql
stable
set search_path = ''
as $$
  select round(coalesce(sum(i.line_total), 0) * (100 - coalesce(max(c.percent_off), 0)) / 100, 2)
  from public.order_items as i
  left join public.coupon_redemptions as r on r.order_id = i.order_id
  left join public.coupons as c on c.code = r.code
  where i.order_id = order_total.order_id
$$;
