-- since 15
CREATE TABLE t (id bigint PRIMARY KEY, a int);
CREATE PUBLICATION p FOR TABLE t (id, a) WHERE (id > 5);
