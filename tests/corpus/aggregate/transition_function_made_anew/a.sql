CREATE FUNCTION add(s bigint, v int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE AGGREGATE total(int) (SFUNC = add, STYPE = bigint, INITCOND = '0');
CREATE VIEW v AS SELECT total(g) AS t FROM generate_series(1, 3) g;
