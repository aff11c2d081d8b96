create table public.reviews (
  id bigint generated always as identity primary key,
  product_id uuid not null references public.products (id) on delete cascade,
  profile_id uuid not null references public.profiles (id) on delete cascade,
  rating smallint not null check (rating between 1 and 5),
  body text not null default '',
  published boolean not null default false,
  created_at timestamptz not null default now(),
  unique (product_id, profile_id)
);

create index reviews_published_idx on public.reviews (product_id, created_at desc) where published;
create index reviews_profile_id_idx on public.reviews (profile_id);

alter table public.reviews enable row level security;

create policy "reviews: everybody reads published ones" on public.reviews
  for select to anon, authenticated using (published or profile_id = auth.uid());

create policy "reviews: customer writes own" on public.reviews
  for insert to authenticated with check (profile_id = auth.uid() and not published);
