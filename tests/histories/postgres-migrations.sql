-- postgres-migrations 5 (Supabase Storage uses it too).
CREATE TABLE public.migrations (
    id integer PRIMARY KEY,
    name character varying(100) UNIQUE NOT NULL,
    hash character varying(40) NOT NULL,
    executed_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO public.migrations VALUES
    (0, 'create-migrations-table', 'e18db593bcde2aca2a408c4d1100f6abba2195df', '2024-01-01 10:00:00'),
    (1, 'users', 'ab', '2024-01-01 10:00:01');
