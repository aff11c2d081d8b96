CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL, note text);
CREATE TABLE plain () INHERITS (parent);
CREATE TABLE again (name text, note text DEFAULT 'none') INHERITS (parent);
CREATE TABLE keyed (CONSTRAINT keyed_pkey PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE strict (name text NOT NULL, note text NOT NULL) INHERITS (parent);
