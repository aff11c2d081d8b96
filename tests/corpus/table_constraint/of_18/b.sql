-- since 18
CREATE TABLE t (a int4range, b int, during int4range, CONSTRAINT c CHECK (b > 0), CONSTRAINT temporal PRIMARY KEY (a, during WITHOUT OVERLAPS));
CREATE TABLE target (id int PRIMARY KEY);
CREATE TABLE refers (a int4range, during int4range, FOREIGN KEY (a, PERIOD during) REFERENCES t (a, PERIOD during));
ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (b) REFERENCES target;
