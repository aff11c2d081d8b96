CREATE TABLE t (id int, a text, b text, c numeric);
ALTER TABLE t ALTER a SET STATISTICS 0, ALTER b SET STORAGE MAIN, ALTER b SET (n_distinct = -0.5, n_distinct_inherited = 4);
