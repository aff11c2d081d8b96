-- Sequelize (umzug).
CREATE TABLE public."SequelizeMeta" (name character varying(255) NOT NULL PRIMARY KEY);
INSERT INTO public."SequelizeMeta" VALUES ('20240101000000-users.js');
