-- yoyo.
CREATE TABLE public._yoyo_migration (
    migration_hash character varying(64) NOT NULL PRIMARY KEY,
    migration_id character varying(255),
    applied_at_utc timestamp without time zone
);
INSERT INTO public._yoyo_migration VALUES ('ab', '20240101_01_users', '2024-01-01 10:00:00');
CREATE TABLE public._yoyo_log (
    id character varying(36) NOT NULL PRIMARY KEY,
    migration_hash character varying(64),
    migration_id character varying(255),
    operation character varying(10),
    username character varying(255),
    hostname character varying(255),
    comment character varying(255),
    created_at_utc timestamp without time zone
);
INSERT INTO public._yoyo_log VALUES ('1', 'ab', '20240101_01_users', 'apply', 'ann', 'build-7', '', '2024-01-01 10:00:00');
