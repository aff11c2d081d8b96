CREATE ROLE sleeper;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() TO sleeper WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_logdir() TO sleeper;
REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON SCHEMA information_schema TO sleeper;
REVOKE USAGE ON TYPE pg_catalog.int4 FROM PUBLIC;
