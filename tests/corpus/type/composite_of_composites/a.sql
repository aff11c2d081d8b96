CREATE TYPE inner_type AS (a int);
CREATE TYPE outer_type AS (i inner_type, b text);
