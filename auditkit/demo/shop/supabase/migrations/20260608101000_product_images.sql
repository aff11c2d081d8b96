insert into storage.buckets (id, name, public)
values ('product-images', 'product-images', true)
on conflict (id) do nothing;

create policy "product images: everybody reads" on storage.objects
  for select to anon, authenticated using (bucket_id = 'product-images');

create policy "product images: service writes" on storage.objects
  for insert to service_role with check (bucket_id = 'product-images');
