-- The anniversary is over: one point for every euro again, and never less than one.
create or replace function public.loyalty_points(amount numeric) returns integer
language sql
immutable
set search_path = ''
as $$
  select greatest(floor(amount), 1)::integer
$$;
