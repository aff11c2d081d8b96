CREATE TYPE mood AS ENUM ('a', 'b');
CREATE FUNCTION mood_to_int(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION mood_to_bigint(mood) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 1::bigint';
CREATE CAST (mood AS int) WITH FUNCTION mood_to_int(mood);
CREATE CAST (mood AS bigint) WITH FUNCTION mood_to_bigint(mood) AS IMPLICIT;
COMMENT ON CAST (mood AS bigint) IS 'a cast';
