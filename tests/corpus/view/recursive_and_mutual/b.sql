CREATE TABLE t (id int PRIMARY KEY, parent int);
CREATE RECURSIVE VIEW up (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM up WHERE n < 5;
CREATE VIEW grouped AS SELECT id, parent, count(*) FROM t GROUP BY id;
