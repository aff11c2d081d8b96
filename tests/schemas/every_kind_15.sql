-- What PostgreSQL 15 added to every_kind.sql.
ALTER VIEW app.counting SET (security_invoker = true);
ALTER TABLE app.scratch ADD CONSTRAINT no_twins UNIQUE NULLS NOT DISTINCT (a, b);
CREATE PUBLICATION ek_filtered FOR TABLE app.orders (id, person) WHERE (person IS NOT NULL);
CREATE PUBLICATION ek_schema FOR TABLES IN SCHEMA app;
