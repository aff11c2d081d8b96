CREATE SCHEMA s;
CREATE TABLE s.a_parent (id integer CONSTRAINT positive CHECK (id > 0));
CREATE TABLE s.b_child (note text) INHERITS (s.a_parent);
CREATE TABLE s.c_grandchild () INHERITS (s.b_child);
