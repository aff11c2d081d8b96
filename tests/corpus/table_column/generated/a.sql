CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS (a + 1) STORED, d int, e text);
CREATE INDEX t_b ON t (b);
CREATE VIEW v AS SELECT b, c FROM t;
COMMENT ON COLUMN t.b IS 'twice';
INSERT INTO t (id, a, d) VALUES (1, 5, 6);
