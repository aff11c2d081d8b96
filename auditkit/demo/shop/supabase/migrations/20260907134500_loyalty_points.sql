-- One point for every euro.
create function public.loyalty_points(amount numeric) returns integer
language sql
immutable
set search_path = ''
as $$
  select floor(amount)::integer
$$;
comment on function public.loyalty_points(numeric) is 'Points a customer earns for an order.';
