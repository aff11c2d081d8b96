CREATE TABLE "T t" ("A a" int);
ALTER TABLE "T t" ADD CONSTRAINT "on ""public"".t" CHECK ("A a" > 0);
