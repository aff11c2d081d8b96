CREATE ROLE team;
CREATE ROLE "a,b=c/d";
CREATE ROLE member;
GRANT USAGE ON SCHEMA public TO team, "a,b=c/d", member;
GRANT team TO member WITH ADMIN OPTION;
GRANT team TO "a,b=c/d";
