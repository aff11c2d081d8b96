CREATE ROLE reader;
CREATE ROLE "Writer ""two""";
CREATE TABLE t (a int, b int, "c d" int);
CREATE VIEW v AS SELECT * FROM t;
GRANT SELECT ON t TO PUBLIC;
GRANT ALL ON t TO reader WITH GRANT OPTION;
GRANT SELECT (a), UPDATE (b) ON t TO "Writer ""two""";
GRANT SELECT (a) ON v TO reader;
