CREATE TYPE floats AS RANGE (SUBTYPE = float8, MULTIRANGE_TYPE_NAME = "Many Floats");
CREATE TYPE texts AS RANGE (SUBTYPE = text, COLLATION = "C", SUBTYPE_OPCLASS = text_pattern_ops);
CREATE TABLE t (id int PRIMARY KEY, during floats, more "Many Floats", EXCLUDE USING gist (during WITH &&));
INSERT INTO t VALUES (1, '[1,2)');
