-- Atlas.
CREATE SCHEMA atlas_schema_revisions;
CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (
    version character varying NOT NULL PRIMARY KEY,
    description character varying NOT NULL,
    type bigint NOT NULL DEFAULT 2,
    applied bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    executed_at timestamp with time zone NOT NULL,
    execution_time bigint NOT NULL,
    error text,
    error_stmt text,
    hash character varying NOT NULL,
    partial_hashes jsonb,
    operator_version character varying NOT NULL
);
INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
    ('20240101000000', 'baseline', 1, 0, 0, '2024-01-01 10:00:00+00', 0, NULL, NULL, 'a', NULL, 'Atlas CLI'),
    ('20240102000000', 'two', 2, 1, 3, '2024-01-02 10:00:00+00', 5, 'boom', 'select 1/0', 'b', '["x"]', 'Atlas CLI');
