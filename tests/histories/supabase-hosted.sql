-- A hosted Supabase project: extra columns, and the ledgers of the platform's own services.
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (
    version text NOT NULL PRIMARY KEY, statements text[], name text,
    created_by text, idempotency_key text UNIQUE, rollback text[]
);
INSERT INTO supabase_migrations.schema_migrations VALUES
    ('20240101000000', '{"create table users ()"}', 'users', 'ann@example.org', NULL, NULL),
    ('20240102000000', NULL, NULL, NULL, NULL, NULL);
CREATE SCHEMA auth;
CREATE TABLE auth.schema_migrations (version character varying(255) NOT NULL PRIMARY KEY);
INSERT INTO auth.schema_migrations VALUES ('20171026211738'), ('20171026211808');
CREATE SCHEMA storage;
CREATE TABLE storage.migrations (
    id integer PRIMARY KEY, name character varying(100) UNIQUE NOT NULL, hash character varying(40) NOT NULL,
    executed_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
CREATE SCHEMA realtime;
CREATE TABLE realtime.schema_migrations (version bigint NOT NULL PRIMARY KEY, inserted_at timestamp(0) without time zone);
