-- sqlx, sqlx-postgres/src/migrate.rs.
CREATE TABLE public._sqlx_migrations (
    version bigint PRIMARY KEY,
    description text NOT NULL,
    installed_on timestamp with time zone NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
INSERT INTO public._sqlx_migrations VALUES
    (1, 'add users', '2024-01-01 10:00:00+00', true, sha384('create table users ();'), 1000),
    (2, 'broken', '2024-01-02 10:00:00+00', false, sha384('x'), -1);
