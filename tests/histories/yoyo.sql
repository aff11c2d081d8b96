-- yoyo.
CREATE TABLE public._yoyo_migration (
    migration_hash character varying(64) NOT NULL PRIMARY KEY,
    migration_id character varying(255),
    applied_at_utc timestamp without time zone
);
INSERT INTO public._yoyo_migration VALUES ('ab', '20240101_01_users', '2024-01-01 10:00:00');
