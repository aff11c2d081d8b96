CREATE TABLE t (a text);
CREATE INDEX t_words ON t USING gin (to_tsvector('english', a));
