-- since 15
CREATE TABLE t (a int, b int);
CREATE VIEW v1 AS SELECT a FROM t;
CREATE VIEW v2 WITH (security_barrier = false, security_invoker) AS SELECT a, b FROM t WHERE a > 0;
CREATE VIEW v3 WITH (security_invoker) AS SELECT a FROM t WHERE a > 1 WITH CASCADED CHECK OPTION;
