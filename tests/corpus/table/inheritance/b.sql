CREATE TABLE parent (a int NOT NULL DEFAULT 5, b varchar(9), CONSTRAINT positive CHECK (a > 0), CONSTRAINT small CHECK (a < 10));
CREATE TABLE other (d int);
CREATE TABLE child (a int NOT NULL DEFAULT 5, b varchar(9), c int, d int, CONSTRAINT positive CHECK (a > 0)) INHERITS (parent, other);
CREATE TABLE loose (a int NOT NULL DEFAULT 2, b varchar(9), c int, CONSTRAINT positive CHECK (a > 0), CONSTRAINT small CHECK (a < 10)) INHERITS (parent);
INSERT INTO child VALUES (1, 'b', 2, 3);
INSERT INTO loose VALUES (1, 'b', 2);
