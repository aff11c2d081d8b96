CREATE FUNCTION ok(value int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT value > 0';
CREATE DOMAIN "Odd ""name""" AS int CHECK (ok(VALUE));
CREATE TABLE t (v "Odd ""name""");
INSERT INTO t VALUES (4);
