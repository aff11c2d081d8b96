CREATE FUNCTION f(int) RETURNS TABLE (n int, label text, more date) LANGUAGE sql AS $$ SELECT 1, 'x', now()::date $$;
CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION f(text, text) RETURNS int LANGUAGE sql AS 'SELECT 3';
CREATE VIEW v AS SELECT n, more FROM f(1);
