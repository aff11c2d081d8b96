CREATE COLLATION plain (provider = libc, lc_collate = 'C', lc_ctype = 'POSIX');
COMMENT ON COLLATION plain IS 'not quite plain';
CREATE TABLE t (id int, a text COLLATE plain, CHECK (a > 'b' COLLATE plain));
CREATE INDEX t_a ON t (a);
INSERT INTO t VALUES (1, 'c');
CREATE VIEW v AS SELECT a FROM t ORDER BY a;
