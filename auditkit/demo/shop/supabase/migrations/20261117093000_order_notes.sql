create table public.order_notes (
  id bigint generated always as identity primary key,
  order_id bigint not null references public.orders (id) on delete cascade,
  author uuid not null references public.profiles (id),
  body text not null check (char_length(body) between 1 and 2000),
  created_at timestamptz not null default now()
);

create index order_notes_order_id_idx on public.order_notes (order_id, created_at);

alter table public.order_notes enable row level security;

create policy "order notes: service only" on public.order_notes
  for all to service_role using (true) with check (true);
