CREATE FUNCTION reverse_cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)';
CREATE TABLE t (a int);
INSERT INTO t VALUES (1), (2);
CREATE INDEX t_a ON t (a);
