CREATE TYPE c AS (a bigint, b varchar(9) COLLATE "C", "new one" int[]);
COMMENT ON COLUMN c."new one" IS 'it''s new';
