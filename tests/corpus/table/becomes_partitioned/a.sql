CREATE TABLE p (id int PRIMARY KEY, v text);
INSERT INTO p VALUES (1, 'x');
CREATE TABLE other (p_id int REFERENCES p);
