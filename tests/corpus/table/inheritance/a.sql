CREATE TABLE parent (a int NOT NULL DEFAULT 1, b text, CONSTRAINT positive CHECK (a > 0));
CREATE TABLE other (d int);
CREATE TABLE child (a int NOT NULL DEFAULT 1, b text, c int, d int, CONSTRAINT positive CHECK (a > 0)) INHERITS (parent);
CREATE TABLE loose (a int NOT NULL DEFAULT 2, b text, c int, CONSTRAINT positive CHECK (a > 0));
INSERT INTO child VALUES (1, 'b', 2);
INSERT INTO loose VALUES (1, 'b', 2);
