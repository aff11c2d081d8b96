CREATE TYPE inner_type AS (a bigint, c date);
CREATE TYPE outer_type AS (i inner_type, b text COLLATE "C");
CREATE TABLE t (o outer_type);
