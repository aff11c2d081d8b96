-- one way: no extension can be taken back to an older version
CREATE EXTENSION pg_trgm VERSION '1.4';
