CREATE TABLE child (a int NOT NULL, b text DEFAULT 'x', c int, CONSTRAINT small CHECK (a < 10));
INSERT INTO child VALUES (1, 'b', 2);
