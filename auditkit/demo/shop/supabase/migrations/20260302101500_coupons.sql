create table public.coupons (
  code text primary key,
  percent_off integer not null,
  valid_until date,
  constraint coupons_code_upper_case check (code = upper(code)),
  constraint coupons_percent_off_sane check (percent_off between 1 and 90)
);

create table public.coupon_redemptions (
  order_id bigint primary key references public.orders (id) on delete cascade,
  code text not null references public.coupons (code),
  redeemed_at timestamptz not null default now()
);

create index coupon_redemptions_code_idx on public.coupon_redemptions (code);

alter table public.coupons enable row level security;
alter table public.coupon_redemptions enable row level security;

-- Codes are worth money: nobody may list them through the API.
revoke all on public.coupons from anon, authenticated;
revoke all on public.coupon_redemptions from anon;

create policy "coupons: service only" on public.coupons
  for all to service_role using (true) with check (true);

create policy "coupon redemptions: customer reads own" on public.coupon_redemptions
  for select to authenticated
  using (exists (select 1 from public.orders as o where o.id = order_id and o.profile_id = auth.uid()));
