CREATE FUNCTION next_code() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
CREATE TABLE t (id int PRIMARY KEY, code text DEFAULT next_code() NOT NULL);
INSERT INTO t VALUES (1, 'y');
