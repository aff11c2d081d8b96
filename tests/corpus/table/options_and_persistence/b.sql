CREATE UNLOGGED TABLE t (id int PRIMARY KEY, big text) WITH (autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 9);
CREATE TABLE u (id serial PRIMARY KEY) WITH (fillfactor = 50, toast.autovacuum_enabled = false);
INSERT INTO t VALUES (1, 'x');
