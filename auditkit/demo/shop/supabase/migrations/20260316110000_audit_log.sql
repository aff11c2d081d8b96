create table private.audit_log (
  id bigint generated always as identity primary key,
  table_name text not null,
  action text not null check (action in ('INSERT', 'UPDATE', 'DELETE')),
  actor uuid,
  old_row jsonb,
  new_row jsonb,
  at timestamptz not null default now()
);

create index audit_log_table_name_at_idx on private.audit_log (table_name, at desc);

alter table private.audit_log enable row level security;

create policy "audit log: service reads" on private.audit_log
  for select to service_role using (true);

create function private.record_change() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.audit_log (table_name, action, actor, old_row, new_row)
  values (
    tg_table_name,
    tg_op,
    auth.uid(),
    case when tg_op <> 'INSERT' then to_jsonb(old) end,
    case when tg_op <> 'DELETE' then to_jsonb(new) end
  );
  return coalesce(new, old);
end;
$$;

revoke execute on function private.record_change() from public;

create trigger orders_audit
  after insert or update or delete on public.orders
  for each row execute function private.record_change();

create trigger payments_audit
  after insert or update or delete on public.payments
  for each row execute function private.record_change();

create trigger products_audit
  after insert or update or delete on public.products
  for each row execute function private.record_change();
