-- New tables start closed: anon gets rights only where a migration says so.
alter default privileges in schema public revoke all on tables from anon;
alter default privileges in schema public revoke all on sequences from anon;
alter default privileges in schema private grant select on tables to service_role;

revoke execute on function public.search_products(text) from public;
grant execute on function public.search_products(text) to anon, authenticated, service_role;
