CREATE ROLE reader;
GRANT SELECT ON pg_catalog.pg_authid TO reader;
