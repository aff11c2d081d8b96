CREATE SCHEMA "Robert'); DROP TABLE x;--";
CREATE FUNCTION "Robert'); DROP TABLE x;--"."f (x, y" ("in" int, "a b" text DEFAULT '$$, '')') RETURNS text LANGUAGE sql AS $a$ SELECT E'\\ $$ $auditkit$ $auditkit0$' $a$;
COMMENT ON FUNCTION "Robert'); DROP TABLE x;--"."f (x, y" IS E'back\\slash '' quote';
CREATE FUNCTION "SELECT"("Int" int, VARIADIC "Rest" "char"[]) RETURNS "char" LANGUAGE sql AS $$ SELECT 'x'::"char" $$;
