CREATE TABLE t (a int, b int, c text);
CREATE ROLE reader;
CREATE VIEW added AS SELECT a FROM t;
CREATE VIEW removed AS SELECT a, b FROM t;
CREATE VIEW reordered AS SELECT a, b FROM t;
CREATE VIEW renamed AS SELECT a AS x FROM t;
CREATE VIEW on_it AS SELECT * FROM removed;
GRANT SELECT ON added, removed, on_it TO reader;
COMMENT ON VIEW removed IS 'removed';
