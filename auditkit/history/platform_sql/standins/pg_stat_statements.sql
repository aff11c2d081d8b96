-- version: 1.10
-- relocatable: true
CREATE FUNCTION pg_stat_statements_reset(userid oid DEFAULT 0, dbid oid DEFAULT 0, queryid bigint DEFAULT 0)
  RETURNS void VOLATILE STRICT PARALLEL SAFE;
CREATE FUNCTION pg_stat_statements(
  showtext boolean, OUT userid oid, OUT dbid oid, OUT toplevel boolean, OUT queryid bigint, OUT query text,
  OUT plans bigint, OUT total_plan_time double precision, OUT min_plan_time double precision,
  OUT max_plan_time double precision, OUT mean_plan_time double precision,
  OUT stddev_plan_time double precision, OUT calls bigint, OUT total_exec_time double precision,
  OUT min_exec_time double precision, OUT max_exec_time double precision,
  OUT mean_exec_time double precision, OUT stddev_exec_time double precision, OUT rows bigint,
  OUT shared_blks_hit bigint, OUT shared_blks_read bigint, OUT shared_blks_dirtied bigint,
  OUT shared_blks_written bigint, OUT local_blks_hit bigint, OUT local_blks_read bigint,
  OUT local_blks_dirtied bigint, OUT local_blks_written bigint, OUT temp_blks_read bigint,
  OUT temp_blks_written bigint, OUT blk_read_time double precision, OUT blk_write_time double precision,
  OUT wal_records bigint, OUT wal_fpi bigint, OUT wal_bytes numeric)
  RETURNS SETOF record VOLATILE STRICT PARALLEL SAFE;
CREATE FUNCTION pg_stat_statements_info(OUT dealloc bigint, OUT stats_reset timestamp with time zone)
  RETURNS record VOLATILE STRICT PARALLEL SAFE;
CREATE VIEW pg_stat_statements AS SELECT * FROM pg_stat_statements(true);
CREATE VIEW pg_stat_statements_info AS SELECT * FROM pg_stat_statements_info();
GRANT SELECT ON pg_stat_statements, pg_stat_statements_info TO PUBLIC;
