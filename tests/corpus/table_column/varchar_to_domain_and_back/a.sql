CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE t (id int, mail varchar(50) DEFAULT 'a@b' NOT NULL);
CREATE VIEW v AS SELECT mail FROM t;
INSERT INTO t VALUES (1, 'x@y');
