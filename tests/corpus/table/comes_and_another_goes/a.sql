CREATE TABLE old (id serial PRIMARY KEY, v text);
CREATE TABLE stays (id int PRIMARY KEY, old_id int REFERENCES old);
CREATE VIEW v AS SELECT * FROM old;
INSERT INTO old (v) VALUES ('x');
INSERT INTO stays VALUES (1, 1);
