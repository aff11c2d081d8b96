CREATE TABLE t (a int, b text, c jsonb, d int[]);
INSERT INTO t VALUES (1, 'x', '{}', '{1}');
CREATE INDEX i1 ON t (a);
CREATE UNIQUE INDEX i2 ON t (lower(b));
CREATE INDEX i3 ON t USING gin (c);
CREATE INDEX i4 ON t (a) WHERE a > 5;
CREATE INDEX i5 ON t (a) WITH (fillfactor = 60);
COMMENT ON INDEX i1 IS 'one';
