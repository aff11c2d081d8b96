-- Diesel, diesel/src/migration/setup_migration_table.sql.
CREATE TABLE public.__diesel_schema_migrations (
    version character varying(50) PRIMARY KEY NOT NULL, run_on timestamp without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO public.__diesel_schema_migrations VALUES
    ('00000000000000', '2024-01-01 10:00:00'), ('20240102000000', '2024-01-02 10:00:00');
