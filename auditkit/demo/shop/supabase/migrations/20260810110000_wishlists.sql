create table public.wishlists (
  profile_id uuid not null references public.profiles (id) on delete cascade,
  product_id uuid not null references public.products (id) on delete cascade,
  added_at timestamptz not null default now(),
  primary key (profile_id, product_id)
);

alter table public.wishlists enable row level security;

create policy "wishlists: owner only" on public.wishlists
  for all to authenticated using (profile_id = auth.uid()) with check (profile_id = auth.uid());
