CREATE TABLE t (id int, a text COLLATE "C", b text UNIQUE, c text COLLATE "POSIX");
CREATE INDEX t_a ON t (a);
CREATE VIEW v AS SELECT a, b FROM t WHERE a > 'x';
INSERT INTO t VALUES (1, 'a', 'b', 'c');
