CREATE TYPE c AS (a int, b text);
CREATE TABLE t OF c;
CREATE TABLE u (a int, b text);
INSERT INTO t VALUES (1, 'x');
