create table public.addresses (
  id bigint generated always as identity primary key,
  profile_id uuid not null references public.profiles (id) on delete cascade,
  recipient text not null,
  street text not null,
  postal_code text not null,
  city text not null,
  country char(2) not null default 'DE',
  is_default boolean not null default false,
  constraint addresses_country_upper_case check (country = upper(country))
);

create index addresses_profile_id_idx on public.addresses (profile_id);
-- At most one default address for each customer.
create unique index addresses_one_default_idx on public.addresses (profile_id) where is_default;

alter table public.addresses enable row level security;

create policy "addresses: owner only" on public.addresses
  for all to authenticated using (profile_id = auth.uid()) with check (profile_id = auth.uid());

create table public.carts (
  id uuid primary key default gen_random_uuid(),
  profile_id uuid not null unique references public.profiles (id) on delete cascade,
  updated_at timestamptz not null default now()
);

create table public.cart_items (
  cart_id uuid not null references public.carts (id) on delete cascade,
  product_id uuid not null references public.products (id),
  quantity integer not null default 1,
  primary key (cart_id, product_id),
  constraint cart_items_quantity_sane check (quantity between 1 and 99)
);

create index cart_items_product_id_idx on public.cart_items (product_id);

alter table public.carts enable row level security;
alter table public.cart_items enable row level security;

create policy "carts: owner only" on public.carts
  for all to authenticated using (profile_id = auth.uid()) with check (profile_id = auth.uid());

create policy "cart items: owner of the cart only" on public.cart_items
  for all to authenticated
  using (exists (select 1 from public.carts as c where c.id = cart_id and c.profile_id = auth.uid()))
  with check (exists (select 1 from public.carts as c where c.id = cart_id and c.profile_id = auth.uid()));
