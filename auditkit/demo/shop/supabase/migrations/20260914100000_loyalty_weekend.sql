-- Anniversary weeks: double points. Written on a branch that waited long for its review.
create or replace function public.loyalty_points(amount numeric) returns integer
language sql
immutable
set search_path = ''
as $$
  select floor(amount * 2)::integer
$$;
