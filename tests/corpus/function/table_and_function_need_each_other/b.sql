CREATE TABLE account (id int PRIMARY KEY);
CREATE FUNCTION owner_of(a account) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a.id';
CREATE FUNCTION accounts() RETURNS SETOF account LANGUAGE sql BEGIN ATOMIC SELECT * FROM account; END;
ALTER TABLE account ADD owner int DEFAULT 1 CHECK (owner > 0), ADD CHECK (owner_of(account) > 0);
CREATE FUNCTION n_accounts() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM account';
ALTER TABLE account ADD n bigint DEFAULT n_accounts();
CREATE VIEW owned AS SELECT owner_of(account) FROM account;
