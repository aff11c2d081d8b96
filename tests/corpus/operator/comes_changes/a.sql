CREATE SCHEMA app;
CREATE ROLE owner;
CREATE FUNCTION app.less(int, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION app.more(text, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION app.minus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -$1';
CREATE OPERATOR app.<<< (LEFTARG = int, RIGHTARG = text, FUNCTION = app.less, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR app.~~~ (RIGHTARG = int, FUNCTION = app.minus);
