CREATE ROLE owner;
CREATE AGGREGATE total(int) (SFUNC = int4_sum, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE,
    MSFUNC = int4_avg_accum, MINVFUNC = int4_avg_accum_inv, MSTYPE = bigint[], MFINALFUNC = int2int4_sum, MINITCOND = '{0,0}');
CREATE AGGREGATE largest(int) (SFUNC = int4larger, STYPE = int, INITCOND = '0', SORTOP = >);
ALTER AGGREGATE largest(int) OWNER TO owner;
CREATE VIEW v AS SELECT total(g) FROM generate_series(1, 3) g;
