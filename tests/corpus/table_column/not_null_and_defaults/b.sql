CREATE TABLE t (id int NOT NULL, a int, b text NOT NULL DEFAULT 'it''s; "b"', c timestamptz, d int DEFAULT (1 + 2) NOT NULL);
INSERT INTO t VALUES (1, 2, 'x');
