CREATE TABLE t (id int, a text DEFAULT '1', b int, c timestamptz, d varchar(20), e json, f boolean, g int[], h numeric(10,4), i uuid DEFAULT gen_random_uuid(), j bytea);
INSERT INTO t VALUES (1, '12', 5, '2030-01-01 00:00+00', 'abc', '{"a": 1}', true, '{1,2}', 1.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x01');
