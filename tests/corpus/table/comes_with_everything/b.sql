CREATE ROLE owner;
CREATE ROLE reader;
CREATE TABLE "Strange (table), name" (
    id bigint GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 3) PRIMARY KEY,
    "select" serial,
    "ünïcödé 🐘" text COLLATE "C" DEFAULT E'back\\slash ''quote''' NOT NULL UNIQUE,
    "a.b" int[] DEFAULT '{1,2}' CHECK ("a.b"[1] > 0),
    "sixty-three bytes of a name which is as long as a name can be.." int,
    double int GENERATED ALWAYS AS ("a.b"[1] * 2) STORED,
    during tstzrange, EXCLUDE USING gist (during WITH &&)
);
ALTER TABLE "Strange (table), name" OWNER TO owner;
ALTER TABLE "Strange (table), name" ALTER "ünïcödé 🐘" SET STORAGE EXTERNAL, ALTER "ünïcödé 🐘" SET COMPRESSION pglz,
    ALTER "a.b" SET STATISTICS 12, ALTER double SET (n_distinct = 5);
GRANT SELECT, INSERT ON "Strange (table), name" TO reader;
GRANT UPDATE ("a.b"), SELECT ("ünïcödé 🐘") ON "Strange (table), name" TO reader WITH GRANT OPTION;
COMMENT ON TABLE "Strange (table), name" IS E'a\n''table''';
COMMENT ON COLUMN "Strange (table), name"."a.b" IS 'array';
COMMENT ON CONSTRAINT "Strange (table), name_pkey" ON "Strange (table), name" IS 'key';
CREATE INDEX "on" ON "Strange (table), name" ("a.b");
CREATE VIEW "V""" AS SELECT * FROM "Strange (table), name";
CREATE POLICY "p on q" ON "Strange (table), name" USING (id > 0);
