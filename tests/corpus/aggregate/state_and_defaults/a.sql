CREATE ROLE owner;
CREATE AGGREGATE total(int) (SFUNC = int4_sum, STYPE = bigint);
CREATE AGGREGATE largest(int) (SFUNC = int4larger, STYPE = int);
CREATE VIEW v AS SELECT total(g) FROM generate_series(1, 3) g;
