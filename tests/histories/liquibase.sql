-- Liquibase 4, as it creates its ledger on PostgreSQL.
CREATE TABLE public.databasechangelog (
    id character varying(255) NOT NULL,
    author character varying(255) NOT NULL,
    filename character varying(255) NOT NULL,
    dateexecuted timestamp without time zone NOT NULL,
    orderexecuted integer NOT NULL,
    exectype character varying(10) NOT NULL,
    md5sum character varying(35),
    description character varying(255),
    comments character varying(255),
    tag character varying(255),
    liquibase character varying(20),
    contexts character varying(255),
    labels character varying(255),
    deployment_id character varying(10)
);
CREATE TABLE public.databasechangeloglock (
    id integer NOT NULL PRIMARY KEY, locked boolean NOT NULL,
    lockgranted timestamp without time zone, lockedby character varying(255)
);
INSERT INTO public.databasechangelog VALUES
    ('1', 'ann', 'db/a.sql', '2024-01-01 10:00:00', 1, 'EXECUTED', '9:3b78b9910981c62ca27148640fad7bc2', 'sql', '', NULL, '4.29.0', NULL, NULL, '1'),
    ('2', 'ann', 'db/a.sql', '2024-01-01 10:00:01', 2, 'MARK_RAN', NULL, 'sql', '', NULL, '4.29.0', NULL, NULL, '1');
