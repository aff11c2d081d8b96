-- one way: no extension can be taken back to an older version
CREATE EXTENSION pg_trgm VERSION '1.6';
CREATE FUNCTION far(a text, b text) RETURNS real LANGUAGE sql AS 'SELECT 1 - similarity(a, b)';
