CREATE TYPE c AS (a int, b text);
CREATE TABLE t OF c (PRIMARY KEY (a));
INSERT INTO t VALUES (1, 'x');
