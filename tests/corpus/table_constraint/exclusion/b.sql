CREATE TABLE t (id int, during tsrange, c circle, CONSTRAINT t_during_excl EXCLUDE USING gist (during WITH &&) WHERE (id > 0) DEFERRABLE,
    CONSTRAINT round EXCLUDE USING gist (c WITH &&) WITH (fillfactor = 60));
