CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE EXTENSION pg_trgm SCHEMA two;
CREATE TABLE t (a text);
CREATE INDEX ON t USING gin (a two.gin_trgm_ops);
