create table public.categories (
  id bigint generated always as identity primary key,
  slug text not null unique,
  title text not null,
  parent_id bigint references public.categories (id)
);

create table public.products (
  id uuid primary key default gen_random_uuid(),
  sku public.sku not null unique,
  category_id bigint not null references public.categories (id),
  title text not null,
  description text not null default '',
  price public.money_amount not null,
  tags text[] not null default '{}',
  attributes jsonb not null default '{}',
  active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint products_title_not_blank check (btrim(title) <> '')
);
comment on table public.products is 'Everything that can be put into a cart.';
comment on column public.products.price is 'Net price in euros.';

create index products_category_id_idx on public.products (category_id);

alter table public.categories enable row level security;
alter table public.products enable row level security;

create policy "categories: everybody reads" on public.categories
  for select to anon, authenticated using (true);

create policy "products: everybody reads active ones" on public.products
  for select to anon, authenticated using (active);

-- Full text for whole words, trigrams for typing mistakes, gin for tags.
create index products_search_idx on public.products
  using gin (to_tsvector('english', title || ' ' || description));
create index products_title_trgm_idx on public.products
  using gin (title extensions.gin_trgm_ops);
create index products_tags_idx on public.products using gin (tags);

create function public.search_products(query text) returns setof public.products
language sql
stable
set search_path = ''
as $$
  select p.*
  from public.products as p
  where p.active
    and to_tsvector('english', p.title || ' ' || p.description) @@ websearch_to_tsquery('english', query)
  order by p.title
$$;
comment on function public.search_products(text) is 'Called by the search box.';
