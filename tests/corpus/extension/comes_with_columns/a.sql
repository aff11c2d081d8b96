CREATE SCHEMA ext;
CREATE TABLE t (id int PRIMARY KEY, email text, tags text);
INSERT INTO t VALUES (1, 'A@b.c', NULL);
CREATE INDEX t_email ON t (email);
