-- version: 1.4.4
-- relocatable: false
-- schema: pgmq
CREATE TABLE pgmq.meta (
  queue_name character varying NOT NULL UNIQUE, is_partitioned boolean NOT NULL, is_unlogged boolean NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now());
CREATE TYPE pgmq.message_record AS (
  msg_id bigint, read_ct integer, enqueued_at timestamp with time zone, vt timestamp with time zone,
  message jsonb);
CREATE TYPE pgmq.queue_record AS (
  queue_name character varying, is_partitioned boolean, is_unlogged boolean,
  created_at timestamp with time zone);
CREATE FUNCTION pgmq.create(queue_name text) RETURNS void VOLATILE;
CREATE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void VOLATILE;
CREATE FUNCTION pgmq.create_unlogged(queue_name text) RETURNS void VOLATILE;
CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean VOLATILE;
CREATE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint VOLATILE;
CREATE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record VOLATILE;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay integer DEFAULT 0) RETURNS SETOF bigint VOLATILE;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay integer DEFAULT 0)
  RETURNS SETOF bigint VOLATILE;
CREATE FUNCTION pgmq.read(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record VOLATILE;
CREATE FUNCTION pgmq.pop(queue_name text) RETURNS SETOF pgmq.message_record VOLATILE;
CREATE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean VOLATILE;
CREATE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean VOLATILE;
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer)
  RETURNS SETOF pgmq.message_record VOLATILE;
