-- Flyway 10, as PostgreSQLDatabase.java creates it; a baseline, a repeatable migration and an undone one.
CREATE TABLE public.flyway_schema_history (
    installed_rank integer NOT NULL,
    version character varying(50),
    description character varying(200) NOT NULL,
    type character varying(20) NOT NULL,
    script character varying(1000) NOT NULL,
    checksum integer,
    installed_by character varying(100) NOT NULL,
    installed_on timestamp without time zone DEFAULT now() NOT NULL,
    execution_time integer NOT NULL,
    success boolean NOT NULL,
    CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank)
);
INSERT INTO public.flyway_schema_history VALUES
    (0, NULL, '<< Flyway Schema Creation >>', 'SCHEMA', '"public"', NULL, 'app', '2024-01-01 10:00:00', 0, true),
    (1, '1', '<< Flyway Baseline >>', 'BASELINE', '<< Flyway Baseline >>', NULL, 'app', '2024-01-01 10:00:00', 0, true),
    (2, '1.1', 'add column', 'SQL', 'V1_1__add_column.sql', -1039259818, 'app', '2024-01-02 10:00:00', 3, true),
    (3, NULL, 'views', 'SQL', 'R__views.sql', 17, 'app', '2024-01-02 10:00:01', 3, true),
    (4, '1.2', 'broken', 'SQL', 'V1_2__broken.sql', 18, 'app', '2024-01-03 10:00:00', 3, false);
