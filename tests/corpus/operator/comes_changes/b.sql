CREATE SCHEMA app;
CREATE ROLE owner;
CREATE FUNCTION app.less(int, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION app.more(text, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION app.minus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -$1';
CREATE OPERATOR app.<<< (LEFTARG = int, RIGHTARG = text, FUNCTION = app.less, RESTRICT = scalargtsel);
CREATE OPERATOR app.>>> (LEFTARG = text, RIGHTARG = int, FUNCTION = app.more, COMMUTATOR = OPERATOR(app.<<<));
COMMENT ON OPERATOR app.<<< (int, text) IS 'less';
ALTER OPERATOR app.<<< (int, text) OWNER TO owner;
