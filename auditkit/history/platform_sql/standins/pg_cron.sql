-- version: 1.6.4
-- relocatable: false
-- schema: pg_catalog
CREATE SCHEMA cron;
CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (
  jobid bigint NOT NULL DEFAULT nextval('cron.jobid_seq'::regclass) PRIMARY KEY,
  schedule text NOT NULL, command text NOT NULL, nodename text NOT NULL DEFAULT 'localhost',
  nodeport integer NOT NULL DEFAULT inet_server_port(), database text NOT NULL DEFAULT current_database(),
  username text NOT NULL DEFAULT CURRENT_USER, active boolean NOT NULL DEFAULT true, jobname text,
  CONSTRAINT jobname_username_uniq UNIQUE (jobname, username));
ALTER TABLE cron.job ALTER COLUMN nodeport SET DEFAULT 5432;
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job USING (username = CURRENT_USER);
CREATE SEQUENCE cron.runid_seq;
CREATE TABLE cron.job_run_details (
  jobid bigint, runid bigint NOT NULL DEFAULT nextval('cron.runid_seq'::regclass) PRIMARY KEY,
  job_pid integer, database text, username text, command text, status text, return_message text,
  start_time timestamp with time zone, end_time timestamp with time zone);
ALTER TABLE cron.job_run_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_run_details_policy ON cron.job_run_details USING (username = CURRENT_USER);
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint VOLATILE STRICT;
CREATE FUNCTION cron.schedule(schedule text, command text) RETURNS bigint VOLATILE STRICT;
CREATE FUNCTION cron.schedule_in_database(
  job_name text, schedule text, command text, database text, username text DEFAULT NULL,
  active boolean DEFAULT true) RETURNS bigint VOLATILE;
CREATE FUNCTION cron.alter_job(
  job_id bigint, schedule text DEFAULT NULL, command text DEFAULT NULL, database text DEFAULT NULL,
  username text DEFAULT NULL, active boolean DEFAULT NULL) RETURNS void VOLATILE;
CREATE FUNCTION cron.unschedule(job_id bigint) RETURNS boolean VOLATILE STRICT;
CREATE FUNCTION cron.unschedule(job_name text) RETURNS boolean VOLATILE STRICT;
CREATE FUNCTION cron.job_cache_invalidate() RETURNS trigger VOLATILE;
GRANT USAGE ON SCHEMA cron TO PUBLIC;
GRANT SELECT ON cron.job TO PUBLIC;
GRANT SELECT, DELETE ON cron.job_run_details TO PUBLIC;
