-- pgroll's state, pkg/state/init.sql.
CREATE SCHEMA pgroll;
CREATE TABLE pgroll.migrations (
    schema name NOT NULL,
    name text NOT NULL,
    migration jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    parent text,
    done boolean NOT NULL DEFAULT false,
    resulting_schema jsonb NOT NULL DEFAULT '{}',
    migration_type character varying(32) DEFAULT 'pgroll',
    PRIMARY KEY (schema, name)
);
INSERT INTO pgroll.migrations VALUES
    ('public', '01_users', '{"operations": [{"create_table": {"name": "users", "columns": []}}]}', '2024-01-01 10:00+00', now(), NULL, true, '{}', 'pgroll'),
    ('public', '01_users_20240102100000000000', '{"operations": [{"sql": {"up": "create index by_hand on users (id)"}}]}', '2024-01-02 10:00+00', now(), '01_users', true, '{}', 'inferred'),
    ('public', '02_more', '{"operations": [{"sql": {"up": "create table more ()"}}]}', '2024-01-03 10:00+00', now(), '01_users_20240102100000000000', false, '{}', 'pgroll');
