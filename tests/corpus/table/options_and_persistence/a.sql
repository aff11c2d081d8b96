CREATE TABLE t (id int PRIMARY KEY, big text) WITH (fillfactor = 70, toast.autovacuum_enabled = false);
CREATE UNLOGGED TABLE u (id serial PRIMARY KEY);
INSERT INTO t VALUES (1, 'x');
INSERT INTO u DEFAULT VALUES;
