CREATE SCHEMA "a.b";
CREATE TYPE "a.b"."My Type" AS ENUM ('c', 'b', 'a');
CREATE TABLE "a.b".t (id int, v "a.b"."My Type");
INSERT INTO "a.b".t VALUES (1, 'a');
