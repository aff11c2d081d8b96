-- The number customers read out on the phone; it starts high enough not to look like order number one.
create sequence public.order_number_seq start with 10001;

create table public.orders (
  id bigint generated always as identity primary key,
  number bigint not null unique default nextval('public.order_number_seq'),
  profile_id uuid not null references public.profiles (id),
  status public.order_status not null default 'draft',
  placed_at timestamptz,
  tracking text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint orders_placed_has_date check (status = 'draft' or status = 'cancelled' or placed_at is not null)
);
alter sequence public.order_number_seq owned by public.orders.number;

create table public.order_items (
  order_id bigint not null references public.orders (id) on delete cascade,
  position smallint not null,
  product_id uuid not null references public.products (id),
  quantity integer not null check (quantity > 0),
  unit_price public.money_amount not null,
  line_total numeric(14, 2) generated always as (quantity * unit_price) stored,
  primary key (order_id, position)
);

create index orders_profile_id_idx on public.orders (profile_id);
create index order_items_product_id_idx on public.order_items (product_id);

alter table public.orders enable row level security;
alter table public.order_items enable row level security;

create policy "orders: customer reads own" on public.orders
  for select to authenticated using (profile_id = auth.uid());

create policy "order items: customer reads own" on public.order_items
  for select to authenticated
  using (exists (select 1 from public.orders as o where o.id = order_id and o.profile_id = auth.uid()));

create trigger orders_touch_updated_at
  before update on public.orders
  for each row execute function private.touch_updated_at();

-- What the customer pays. Later files replace this function: discounts first, then tax.
create function public.order_total(order_id bigint) returns numeric
language sql
stable
set search_path = ''
as $$
  select coalesce(sum(i.line_total), 0)
  from public.order_items as i
  where i.order_id = order_total.order_id
$$;
