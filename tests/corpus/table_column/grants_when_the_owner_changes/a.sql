CREATE ROLE first; CREATE ROLE second;
CREATE TABLE t (x integer, y integer);
GRANT SELECT (x) ON t TO second;
ALTER TABLE t OWNER TO first;
