CREATE SCHEMA "Robert'); DROP TABLE x;--";
CREATE FUNCTION "Robert'); DROP TABLE x;--"."f (x, y" ("in" int, "a b" text DEFAULT '$$') RETURNS text LANGUAGE sql AS $a$ SELECT '$$ $auditkit$' $a$;
