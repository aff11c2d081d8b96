CREATE TABLE young (id serial PRIMARY KEY, v text);
CREATE TABLE stays (id int PRIMARY KEY, young_id int REFERENCES young);
CREATE VIEW v AS SELECT * FROM young;
