CREATE TABLE t (a int, b int, c int, d int);
COMMENT ON COLUMN t.a IS 'a';
INSERT INTO t VALUES (1, 2, 3, 4);
