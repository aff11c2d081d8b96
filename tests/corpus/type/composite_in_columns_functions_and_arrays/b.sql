CREATE TYPE point3 AS (x int, y int, z text);
CREATE TABLE t (id int PRIMARY KEY, p point3, ps point3[]);
CREATE FUNCTION f(p point3) RETURNS point3[] LANGUAGE sql AS 'SELECT ARRAY[p]';
CREATE VIEW v AS SELECT (p).x FROM t;
COMMENT ON COLUMN point3.z IS 'up';
INSERT INTO t VALUES (1, '(1,2,)', '{"(3,4,)"}');
