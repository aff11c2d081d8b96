-- version: 1.4.1
-- relocatable: true
CREATE FUNCTION hypopg_create_index(sql_order text, OUT indexrelid oid, OUT indexname text)
  RETURNS SETOF record VOLATILE STRICT;
CREATE FUNCTION hypopg_drop_index(indexid oid) RETURNS boolean VOLATILE STRICT;
CREATE FUNCTION hypopg_reset() RETURNS void VOLATILE;
