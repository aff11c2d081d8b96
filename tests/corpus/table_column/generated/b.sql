CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 3) STORED, c int, d int GENERATED ALWAYS AS (a + 1) STORED, e text);
CREATE INDEX t_b ON t (b);
CREATE VIEW v AS SELECT b, c FROM t;
COMMENT ON COLUMN t.b IS 'twice';
INSERT INTO t (id, a, c) VALUES (1, 5, 6);
