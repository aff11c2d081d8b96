CREATE COLLATION "Ünï.cöde" FROM "C";
CREATE DOMAIN name AS text COLLATE "Ünï.cöde" CHECK (VALUE < 'z');
CREATE TABLE t (a name);
