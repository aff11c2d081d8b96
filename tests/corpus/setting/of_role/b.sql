CREATE ROLE reader;
GRANT USAGE ON SCHEMA public TO reader;
ALTER ROLE reader SET default_transaction_read_only = on;
ALTER ROLE reader SET search_path = "$user", public;
