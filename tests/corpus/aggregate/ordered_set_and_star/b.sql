CREATE FUNCTION add(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1 + 1';
CREATE AGGREGATE rows(*) (SFUNC = add, STYPE = bigint, INITCOND = '1');
COMMENT ON AGGREGATE rows(*) IS 'rows and one';
CREATE AGGREGATE middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = SHAREABLE);
REVOKE EXECUTE ON FUNCTION rows() FROM PUBLIC;
