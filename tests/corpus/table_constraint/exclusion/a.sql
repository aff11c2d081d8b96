CREATE TABLE t (id int, during tsrange, c circle, EXCLUDE USING gist (during WITH &&));
