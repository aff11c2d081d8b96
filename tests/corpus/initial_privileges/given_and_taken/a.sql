CREATE ROLE sleeper;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) TO sleeper;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() TO sleeper;
