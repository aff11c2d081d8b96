CREATE TABLE parent (a int NOT NULL, b text DEFAULT 'x', CONSTRAINT positive CHECK (a > 0) NO INHERIT, CONSTRAINT small CHECK (a < 10));
CREATE TABLE child (a int NOT NULL, b text DEFAULT 'x', c int, CONSTRAINT small CHECK (a < 10)) INHERITS (parent);
INSERT INTO child VALUES (1, 'b', 2);
CREATE VIEW v AS SELECT * FROM parent;
