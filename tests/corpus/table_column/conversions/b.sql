CREATE TABLE t (id int, a int DEFAULT 1, b text, c date, d varchar(5), e jsonb, f int, g text[], h numeric(10,2), i text DEFAULT 'x', j bytea);
INSERT INTO t VALUES (1, 12, '5', '2030-01-01', 'abc', '{"a": 1}', 1, '{1,2}', 1.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x01');
