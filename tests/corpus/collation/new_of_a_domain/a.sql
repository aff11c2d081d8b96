CREATE DOMAIN name AS text;
CREATE TABLE t (a name);
