create function private.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end;
$$;

create trigger profiles_touch_updated_at
  before update on public.profiles
  for each row execute function private.touch_updated_at();

create trigger products_touch_updated_at
  before update on public.products
  for each row
  when (old.* is distinct from new.*)
  execute function private.touch_updated_at();
