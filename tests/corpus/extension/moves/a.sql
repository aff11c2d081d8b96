CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE EXTENSION pg_trgm SCHEMA one;
CREATE TABLE t (a text);
CREATE INDEX ON t USING gin (a one.gin_trgm_ops);
COMMENT ON EXTENSION pg_trgm IS 'trigrams';
