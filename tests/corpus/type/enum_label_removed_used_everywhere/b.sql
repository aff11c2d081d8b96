CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN good AS mood CHECK (VALUE <> 'sad');
CREATE TYPE pair AS (a mood, b int);
CREATE TABLE t (id int PRIMARY KEY, m mood NOT NULL DEFAULT 'happy', ms mood[] DEFAULT '{sad}', g good, p pair,
    same boolean GENERATED ALWAYS AS (m = 'sad') STORED, CHECK (m <> 'sad' OR id > 0));
CREATE INDEX t_m ON t (m) WHERE m > 'sad';
CREATE FUNCTION f(m mood, n mood DEFAULT 'happy') RETURNS mood LANGUAGE sql AS 'SELECT m';
CREATE VIEW v AS SELECT id, m, 'happy'::mood AS h FROM t WHERE m <> 'sad';
GRANT SELECT ON v TO PUBLIC;
COMMENT ON TYPE mood IS 'how one feels';
INSERT INTO t VALUES (1, 'happy', '{sad,happy}', 'happy', '(sad,1)');
