CREATE FUNCTION plalt_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION plalt_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION plalt_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE ROLE reader;
CREATE TRUSTED LANGUAGE plalt HANDLER plalt_call INLINE plalt_inline VALIDATOR plalt_check;
GRANT USAGE ON LANGUAGE plalt TO reader;
COMMENT ON LANGUAGE plalt IS 'another one';
CREATE FUNCTION f() RETURNS int LANGUAGE plalt AS 'BEGIN RETURN 1; END';
