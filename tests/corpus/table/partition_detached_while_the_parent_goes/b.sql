CREATE TABLE p1 (id int NOT NULL, k int NOT NULL, v text, other int);
INSERT INTO p1 VALUES (1, 1, 'x');
