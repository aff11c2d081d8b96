CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TYPE one.kind AS ENUM ('a', 'b');
CREATE TYPE two.kind AS ENUM ('b', 'c');
CREATE TABLE one.t (id int PRIMARY KEY, kind one.kind DEFAULT 'a');
CREATE TABLE two.t (id int PRIMARY KEY, kind two.kind, CHECK (kind <> 'c'));
CREATE INDEX i ON one.t (kind);
