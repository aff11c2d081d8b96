CREATE TABLE parent (a bigint NOT NULL, b text, n int DEFAULT 7);
CREATE TABLE child (b text DEFAULT 'own', c int) INHERITS (parent);
CREATE TABLE p (id int, v bigint NOT NULL, "new one" text DEFAULT 'n' CHECK ("new one" <> '')) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (5);
ALTER TABLE p1 ALTER v SET DEFAULT 5;
INSERT INTO child VALUES (1, 'b', 7, 2);
INSERT INTO p VALUES (1, 2);
