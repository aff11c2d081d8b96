CREATE TABLE t (a int, x int, c int, "y z" int DEFAULT 4, d int);
COMMENT ON COLUMN t.c IS E'tab\tand \\ slash';
COMMENT ON COLUMN t."y z" IS 'new';
