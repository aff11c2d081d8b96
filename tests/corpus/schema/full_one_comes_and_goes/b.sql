CREATE TABLE public.t (id int PRIMARY KEY);
INSERT INTO public.t VALUES (1);
CREATE SCHEMA "Old & new";
CREATE TYPE "Old & new".kind AS ENUM ('a');
CREATE TABLE "Old & new".t (id int REFERENCES public.t, kind "Old & new".kind DEFAULT 'a');
CREATE VIEW "Old & new".v AS SELECT * FROM "Old & new".t JOIN public.t USING (id);
CREATE FUNCTION "Old & new".f(k "Old & new".kind) RETURNS SETOF "Old & new".t LANGUAGE sql AS 'SELECT * FROM "Old & new".t WHERE kind = k';
