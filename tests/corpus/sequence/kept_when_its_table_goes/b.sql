CREATE SEQUENCE t_id_seq AS int;
CREATE TABLE u (id int DEFAULT nextval('t_id_seq'));
