CREATE TYPE thing AS ENUM ('a');
CREATE TYPE other AS (x int);
CREATE DOMAIN third AS text;
