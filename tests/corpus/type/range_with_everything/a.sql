CREATE FUNCTION gap(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT a - b';
CREATE TYPE floats AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = gap);
CREATE TABLE t (id int PRIMARY KEY, during floats, EXCLUDE USING gist (during WITH &&));
INSERT INTO t VALUES (1, '[1,2)');
