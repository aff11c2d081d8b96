
CREATE TYPE fr AS RANGE (subtype = float8, subtype_diff = float8mi); CREATE TABLE t (r fr, m fr[]); CREATE INDEX gi ON t USING gist (r);
