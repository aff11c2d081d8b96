CREATE TABLE t (id int, v text, CONSTRAINT old_key PRIMARY KEY (id));
CREATE VIEW v AS SELECT id, v, count(*) FROM t GROUP BY id;
COMMENT ON VIEW v IS 'depends on the key';
