CREATE ROLE reader;
REVOKE SELECT ON pg_catalog.pg_proc FROM PUBLIC;
GRANT SELECT (oid, proname) ON pg_catalog.pg_proc TO PUBLIC;
GRANT SELECT ON pg_catalog.pg_shadow TO reader;
