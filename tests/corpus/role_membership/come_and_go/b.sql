CREATE ROLE team;
CREATE ROLE "a,b=c/d";
CREATE ROLE member;
GRANT USAGE ON SCHEMA public TO team, "a,b=c/d", member;
GRANT team TO member;
GRANT "a,b=c/d" TO member;
GRANT pg_read_all_data TO team;
