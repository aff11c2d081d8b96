CREATE SCHEMA ext;
CREATE TABLE t (id int PRIMARY KEY, email text, tags text);
INSERT INTO t VALUES (1, 'A@b.c', NULL);
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION hstore;
ALTER TABLE t ALTER email TYPE ext.citext, ALTER tags TYPE hstore USING tags::hstore;
ALTER TABLE t ADD CONSTRAINT mail_is_unique UNIQUE (email);
CREATE INDEX t_tags ON t USING gin (tags);
CREATE VIEW v AS SELECT email, tags -> 'a' AS a FROM t WHERE email = 'x';
