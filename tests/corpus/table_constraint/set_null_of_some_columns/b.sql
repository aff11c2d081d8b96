-- since 15
CREATE TABLE target (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b));
CREATE TABLE t (a int, b int, FOREIGN KEY (a, b) REFERENCES target (a, b) ON DELETE SET NULL (b), UNIQUE NULLS NOT DISTINCT (a));
