-- since 16
CREATE ROLE team;
CREATE ROLE member;
GRANT USAGE ON SCHEMA public TO team, member;
GRANT team TO member WITH ADMIN OPTION;
