CREATE TYPE c AS (a int, b text, gone date);
COMMENT ON COLUMN c.a IS 'a';
