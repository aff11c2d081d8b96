CREATE ROLE reader;
CREATE ROLE "Writer ""two""";
CREATE TABLE t (a int, b int, "c d" int);
CREATE VIEW v AS SELECT * FROM t;
GRANT SELECT, INSERT ON t TO reader;
GRANT SELECT (a, "c d") ON t TO "Writer ""two""" WITH GRANT OPTION;
GRANT REFERENCES ("c d") ON t TO PUBLIC;
GRANT UPDATE ON v TO "Writer ""two""";
REVOKE DELETE ON t FROM postgres;
