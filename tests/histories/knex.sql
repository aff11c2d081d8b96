-- Knex 3.
CREATE TABLE public.knex_migrations (
    id serial PRIMARY KEY, name character varying(255), batch integer, migration_time timestamp with time zone
);
CREATE TABLE public.knex_migrations_lock (index serial PRIMARY KEY, is_locked integer);
INSERT INTO public.knex_migrations (name, batch, migration_time) VALUES
    ('20240101000000_users.js', 1, '2024-01-01 10:00:00+00'), ('20240102000000_posts.ts', 2, '2024-01-02 10:00:00+00');
