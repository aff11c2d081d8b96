-- node-pg-migrate.
CREATE TABLE public.pgmigrations (
    id serial PRIMARY KEY, name character varying(255) NOT NULL, run_on timestamp without time zone NOT NULL
);
INSERT INTO public.pgmigrations (name, run_on) VALUES ('1704103200000_users', '2024-01-01 10:00:00');
