CREATE FUNCTION add(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1 + 1';
CREATE AGGREGATE rows(*) (SFUNC = add, STYPE = bigint, INITCOND = '0');
