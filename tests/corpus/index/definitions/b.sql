CREATE TABLE t (a int, b text, c jsonb, d int[]);
INSERT INTO t VALUES (1, 'x', '{}', '{1}');
CREATE INDEX i1 ON t (a DESC NULLS LAST, b COLLATE "C" text_pattern_ops) INCLUDE (d);
CREATE UNIQUE INDEX i2 ON t (lower(b), (a + 1));
CREATE INDEX i3 ON t USING gin (c jsonb_path_ops);
CREATE INDEX i4 ON t USING brin (a) WITH (pages_per_range = 4);
CREATE INDEX i5 ON t (a) WITH (fillfactor = 70, deduplicate_items = off);
CREATE INDEX "I ""6""" ON t USING hash (b);
