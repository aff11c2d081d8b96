
CREATE TYPE fr AS RANGE (subtype = float8, multirange_type_name = fmr); CREATE TABLE t (r fr, m fr[]); CREATE INDEX gi ON t USING gist (r); 

