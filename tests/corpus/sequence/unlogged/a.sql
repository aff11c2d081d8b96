-- since 15
CREATE UNLOGGED SEQUENCE s;
SELECT nextval('s');
