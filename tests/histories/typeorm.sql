-- TypeORM.
CREATE TABLE public.migrations (id serial PRIMARY KEY, "timestamp" bigint NOT NULL, name character varying NOT NULL);
INSERT INTO public.migrations ("timestamp", name) VALUES (1704103200000, 'AddUsers1704103200000');
