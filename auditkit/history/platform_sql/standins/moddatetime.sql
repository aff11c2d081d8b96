-- version: 1.0
-- relocatable: true
CREATE FUNCTION moddatetime() RETURNS trigger VOLATILE;
