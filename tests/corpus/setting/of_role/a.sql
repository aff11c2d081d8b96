CREATE ROLE reader;
GRANT USAGE ON SCHEMA public TO reader;
ALTER ROLE reader SET log_statement = 'all';
ALTER ROLE ALL SET lock_timeout = '5s';
