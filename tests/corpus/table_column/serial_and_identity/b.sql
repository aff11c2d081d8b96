CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE TABLE u (id serial PRIMARY KEY, v text);
CREATE TABLE w (id bigserial PRIMARY KEY, v text);
INSERT INTO t (v) VALUES ('x'), ('y');
INSERT INTO u (v) VALUES ('x'), ('y');
