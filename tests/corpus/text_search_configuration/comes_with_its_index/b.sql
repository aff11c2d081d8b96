CREATE TABLE t (a text);
CREATE TEXT SEARCH CONFIGURATION c (PARSER = "default");
ALTER TEXT SEARCH CONFIGURATION c ADD MAPPING FOR asciiword WITH english_stem;
CREATE INDEX t_words ON t USING gin (to_tsvector('public.c', a));
