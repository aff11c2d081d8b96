CREATE FUNCTION plalt_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION plalt_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION plalt_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE ROLE keeper;
CREATE LANGUAGE plalt HANDLER plalt_call;
ALTER LANGUAGE plalt OWNER TO keeper;
CREATE FUNCTION f() RETURNS int LANGUAGE plalt AS 'BEGIN RETURN 1; END';
