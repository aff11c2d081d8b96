CREATE TABLE parent (a int, b text);
CREATE TABLE child (b text, c int) INHERITS (parent);
CREATE TABLE p (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (5);
INSERT INTO child VALUES (1, 'b', 2);
INSERT INTO p VALUES (1, 2);
