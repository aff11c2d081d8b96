-- Fuzzy product search needs trigrams; extensions live in their own schema, as everywhere on Supabase.
create extension if not exists pg_trgm with schema extensions;

-- Everything the API must never show lives in "private".
create schema private;
comment on schema private is 'Tables and functions that the API never exposes.';

revoke all on schema private from public;
grant usage on schema private to service_role;

-- Written so that it can be run twice: the first prototype was built by hand from the same types.
do $$
begin
  create type public.order_status as enum ('draft', 'placed', 'paid', 'shipped', 'delivered', 'cancelled');
exception
  when duplicate_object then null;
end
$$;

create type public.payment_method as enum ('card', 'bank_transfer', 'gift_card');

create domain public.sku as text
  constraint sku_format check (value ~ '^[A-Z]{3}-[0-9]{4}$');
comment on domain public.sku is 'Three letters, a dash, four digits: TEA-0042.';

create domain public.money_amount as numeric(12, 2)
  constraint money_amount_not_negative check (value >= 0);
