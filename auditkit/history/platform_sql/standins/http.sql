-- version: 1.6
-- relocatable: true
CREATE DOMAIN http_method AS text;
CREATE DOMAIN content_type AS text CHECK (VALUE ~ '^\S+\/\S+');
CREATE TYPE http_header AS (field character varying, value character varying);
CREATE TYPE http_response AS (
  status integer, content_type character varying, headers http_header[], content character varying);
CREATE TYPE http_request AS (
  method http_method, uri character varying, headers http_header[], content_type character varying,
  content character varying);
CREATE FUNCTION http_set_curlopt(curlopt character varying, value character varying) RETURNS boolean VOLATILE;
CREATE FUNCTION http_reset_curlopt() RETURNS boolean VOLATILE;
CREATE FUNCTION http_list_curlopt() RETURNS SETOF record VOLATILE;
CREATE FUNCTION http_header(field character varying, value character varying) RETURNS http_header IMMUTABLE;
CREATE FUNCTION http_headers(VARIADIC args text[]) RETURNS http_header[] IMMUTABLE;
CREATE FUNCTION http(request http_request) RETURNS http_response VOLATILE;
CREATE FUNCTION http_get(uri character varying) RETURNS http_response VOLATILE;
CREATE FUNCTION http_get(uri character varying, data jsonb) RETURNS http_response VOLATILE;
CREATE FUNCTION http_post(uri character varying, content character varying, content_type character varying)
  RETURNS http_response VOLATILE;
CREATE FUNCTION http_post(uri character varying, data jsonb) RETURNS http_response VOLATILE;
CREATE FUNCTION http_put(uri character varying, content character varying, content_type character varying)
  RETURNS http_response VOLATILE;
CREATE FUNCTION http_patch(uri character varying, content character varying, content_type character varying)
  RETURNS http_response VOLATILE;
CREATE FUNCTION http_delete(uri character varying) RETURNS http_response VOLATILE;
CREATE FUNCTION http_delete(uri character varying, content character varying, content_type character varying)
  RETURNS http_response VOLATILE;
CREATE FUNCTION http_head(uri character varying) RETURNS http_response VOLATILE;
CREATE FUNCTION urlencode(string character varying) RETURNS text IMMUTABLE STRICT;
CREATE FUNCTION urlencode(string bytea) RETURNS text IMMUTABLE STRICT;
CREATE FUNCTION urlencode(data jsonb) RETURNS text IMMUTABLE STRICT;
