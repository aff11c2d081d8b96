-- Prisma 6: a failed migration leaves a row, and so does each attempt to repeat it.
CREATE TABLE public._prisma_migrations (
    id character varying(36) PRIMARY KEY NOT NULL,
    checksum character varying(64) NOT NULL,
    finished_at timestamp with time zone,
    migration_name character varying(255) NOT NULL,
    logs text,
    rolled_back_at timestamp with time zone,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    applied_steps_count integer NOT NULL DEFAULT 0
);
INSERT INTO public._prisma_migrations VALUES
    ('a', 'ab', '2024-01-01 10:00:01+00', '20240101000000_init', NULL, NULL, '2024-01-01 10:00:00+00', 1),
    ('b', 'cd', NULL, '20240102000000_two', 'ERROR: boom', '2024-01-02 11:00:00+00', '2024-01-02 10:00:00+00', 0),
    ('c', 'cd', NULL, '20240102000000_two', 'ERROR: boom', NULL, '2024-01-02 12:00:00+00', 0);
