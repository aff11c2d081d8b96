CREATE TYPE mood AS ENUM ('a', 'b');
CREATE FUNCTION mood_to_int(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE CAST (mood AS int) WITH FUNCTION mood_to_int(mood);
CREATE VIEW v AS SELECT 'a'::mood::int AS i;
