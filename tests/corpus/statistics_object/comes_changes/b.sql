CREATE ROLE owner;
CREATE TABLE t (a int, b int, c text);
CREATE STATISTICS one (dependencies, mcv) ON a, b, (a + b) FROM t;
CREATE STATISTICS two (ndistinct) ON a, c FROM t;
ALTER STATISTICS two SET STATISTICS 9;
CREATE STATISTICS "Three" ON (lower(c)) FROM t;
COMMENT ON STATISTICS "Three" IS 'lower';
ALTER STATISTICS "Three" OWNER TO owner;
