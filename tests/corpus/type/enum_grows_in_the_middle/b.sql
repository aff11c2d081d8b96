CREATE TYPE mood AS ENUM ('first', 'sad', 'it''s "so so"', 'meh', 'happy', 'last');
CREATE TABLE t (id int PRIMARY KEY, m mood DEFAULT 'meh' CHECK (m <> 'last'));
CREATE INDEX ON t (id) WHERE m = 'first';
INSERT INTO t VALUES (1, 'happy');
