-- Hasura's catalog; the state is the command line's.
CREATE SCHEMA hdb_catalog;
CREATE TABLE hdb_catalog.hdb_version (
    hasura_uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    version text NOT NULL,
    upgraded_on timestamp with time zone NOT NULL,
    cli_state jsonb NOT NULL DEFAULT '{}',
    console_state jsonb NOT NULL DEFAULT '{}',
    ee_client_id text,
    ee_client_secret text
);
INSERT INTO hdb_catalog.hdb_version (version, upgraded_on, cli_state) VALUES
    ('48', '2024-01-01', '{"settings": {}, "migrations": {"default": {"1704103200000": false, "1704103300000": true}, "logs": {"1704103200001": false}}}');
