-- since 18
CREATE TABLE kept (id int PRIMARY KEY);
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE INDEX t_v ON t (v);
INSERT INTO t VALUES (1, 'x');
