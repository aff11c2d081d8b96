CREATE EXTENSION unaccent;
CREATE TABLE t (id int PRIMARY KEY, c text DEFAULT unaccent('Öl') CHECK (unaccent(c) <> ''));
