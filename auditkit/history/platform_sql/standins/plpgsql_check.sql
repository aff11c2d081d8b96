-- version: 2.7
-- relocatable: false
CREATE FUNCTION plpgsql_check_function(funcoid regprocedure, relid regclass DEFAULT 0, format text DEFAULT 'text')
  RETURNS SETOF text VOLATILE;
