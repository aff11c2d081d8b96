CREATE TABLE t (id int, a int NOT NULL DEFAULT 4, b text, c timestamptz DEFAULT now(), d int DEFAULT 1);
INSERT INTO t VALUES (1, 2, 'x');
