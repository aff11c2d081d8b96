-- version: 0.2.0
-- relocatable: false
-- requires: pgcrypto
CREATE FUNCTION url_encode(data bytea) RETURNS text IMMUTABLE;
CREATE FUNCTION url_decode(data text) RETURNS bytea IMMUTABLE;
CREATE FUNCTION algorithm_sign(signables text, secret text, algorithm text) RETURNS text IMMUTABLE;
CREATE FUNCTION sign(payload json, secret text, algorithm text DEFAULT 'HS256') RETURNS text IMMUTABLE;
CREATE FUNCTION try_cast_double(inp text) RETURNS double precision IMMUTABLE;
CREATE FUNCTION verify(token text, secret text, algorithm text DEFAULT 'HS256')
  RETURNS TABLE (header json, payload json, valid boolean) IMMUTABLE;
