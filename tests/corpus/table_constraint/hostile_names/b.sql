CREATE TABLE "T t" ("A a" int);
ALTER TABLE "T t" ADD CONSTRAINT "on ""public"".t" CHECK ("A a" > 1), ADD CONSTRAINT "x on y" UNIQUE ("A a");
COMMENT ON CONSTRAINT "x on y" ON "T t" IS 'hm';
