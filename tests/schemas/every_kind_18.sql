-- What PostgreSQL 16 to 18 added to every_kind.sql.
GRANT ek_owner TO ek_plain WITH INHERIT FALSE, SET FALSE;
ALTER TABLE app.scratch ADD COLUMN sum integer GENERATED ALWAYS AS (a + b) VIRTUAL;
ALTER TABLE app.scratch ADD CONSTRAINT unenforced CHECK (a < b) NOT ENFORCED;
ALTER TABLE app.scratch ADD CONSTRAINT a_there NOT NULL a NOT VALID;
ALTER TABLE app.scratch ADD CONSTRAINT b_there NOT NULL b NO INHERIT;
ALTER TABLE app.scratch ADD COLUMN period int4range, ADD CONSTRAINT temporal UNIQUE (a, period WITHOUT OVERLAPS);
CREATE PUBLICATION ek_generated FOR TABLE app.parent WITH (publish_generated_columns = stored);
GRANT MAINTAIN ON app.people TO ek_reader;
