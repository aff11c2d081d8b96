-- since 15
CREATE TABLE t (a int, b int);
CREATE VIEW v1 WITH (security_invoker = true) AS SELECT a FROM t;
CREATE VIEW v2 WITH (security_barrier) AS SELECT a FROM t WHERE a > 0;
CREATE VIEW v3 AS SELECT a FROM t WHERE a > 0 WITH LOCAL CHECK OPTION;
