CREATE TYPE status AS ENUM ('on', 'off');
CREATE FUNCTION first_status() RETURNS status LANGUAGE sql IMMUTABLE AS $$ SELECT 'on'::status $$;
CREATE DOMAIN current_status AS status DEFAULT first_status() CHECK (VALUE >= first_status());
CREATE TYPE entry AS (s current_status, at timestamptz);
CREATE FUNCTION entries() RETURNS SETOF entry LANGUAGE sql AS $$ SELECT 'on'::current_status, now() $$;
CREATE TABLE log (e entry, s current_status DEFAULT first_status());
