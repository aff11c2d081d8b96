CREATE ROLE owner;
CREATE TABLE t (id int PRIMARY KEY);
CREATE PUBLICATION one WITH (publish = 'insert');
CREATE PUBLICATION two FOR ALL TABLES;
CREATE PUBLICATION three FOR TABLE t WITH (publish_via_partition_root = true);
