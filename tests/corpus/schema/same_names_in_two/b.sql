CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TYPE one.kind AS ENUM ('a', 'b');
CREATE TYPE two.kind AS ENUM ('b', 'c');
CREATE TABLE one.t (id int PRIMARY KEY, kind two.kind DEFAULT 'b');
CREATE TABLE two.t (id int PRIMARY KEY, kind one.kind, CHECK (kind <> 'a'));
CREATE INDEX i ON two.t (kind);
