CREATE TYPE c AS (a int, b text, d date);
CREATE TABLE t OF c (PRIMARY KEY (a), b WITH OPTIONS DEFAULT 'b');
INSERT INTO t VALUES (1, 'x');
