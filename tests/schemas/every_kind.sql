-- One object at least of every kind, with every attribute away from its default somewhere.
-- Runs as superuser on PostgreSQL 14 and newer, in an empty database; what newer versions add is in
-- every_kind_15.sql and every_kind_18.sql. The strings "hunter2" are canaries: no snapshot may hold them.
SET client_min_messages = warning;

CREATE ROLE ek_owner CREATEROLE CREATEDB CONNECTION LIMIT 7;
CREATE ROLE ek_reader LOGIN BYPASSRLS VALID UNTIL '2031-02-03 04:05:06+00';
CREATE ROLE "ek We""ird" NOINHERIT;
CREATE ROLE ek_plain LOGIN PASSWORD 'hunter2';
GRANT ek_owner TO ek_reader WITH ADMIN OPTION;
GRANT pg_read_all_data TO ek_reader;
ALTER ROLE ek_reader SET statement_timeout = '9s';
COMMENT ON ROLE ek_owner IS 'owns things';

DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', current_database());
    EXECUTE format('ALTER DATABASE %I SET app.jwt_secret = ''hunter2''', current_database());
    EXECUTE format('ALTER ROLE ek_owner IN DATABASE %I SET search_path = app, public', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO ek_owner', current_database());
    EXECUTE format('COMMENT ON DATABASE %I IS ''a database''', current_database());
END $$;

GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() TO ek_reader;

CREATE SCHEMA app AUTHORIZATION ek_owner;
COMMENT ON SCHEMA app IS 'a schema';
GRANT USAGE ON SCHEMA app TO ek_reader, PUBLIC;
GRANT CREATE ON SCHEMA app TO "ek We""ird" WITH GRANT OPTION;

CREATE EXTENSION citext SCHEMA app;
CREATE EXTENSION btree_gist;

-- languages, access methods
-- (with functions of its own: pg_dump takes a language whose handler is built in for an extension)
CREATE FUNCTION app.plalt_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.plalt_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION app.plalt_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE plalt HANDLER app.plalt_call INLINE app.plalt_inline VALIDATOR app.plalt_check;
GRANT USAGE ON LANGUAGE plalt TO ek_reader WITH GRANT OPTION;
REVOKE USAGE ON LANGUAGE plalt FROM PUBLIC;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD btree2 TYPE INDEX HANDLER bthandler;
COMMENT ON ACCESS METHOD heap2 IS 'a second heap';

-- types
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s, "great"');
ALTER TYPE app.mood ADD VALUE 'meh' BEFORE 'ok';
ALTER TYPE app.mood OWNER TO ek_owner;
GRANT USAGE ON TYPE app.mood TO ek_reader;
REVOKE USAGE ON TYPE app.mood FROM PUBLIC;
CREATE TYPE app.point3 AS (x numeric(10,2), y text COLLATE "C", z app.mood[]);
COMMENT ON COLUMN app.point3.x IS 'abscissa';
CREATE COLLATION app.plain (provider = libc, locale = 'C');
COMMENT ON COLLATION app.plain IS 'a collation';
CREATE DOMAIN app.positive AS numeric(8,3) DEFAULT 1 NOT NULL CONSTRAINT positive CHECK (VALUE > 0);
CREATE DOMAIN app.name AS varchar(30) COLLATE "C" CONSTRAINT filled CHECK (VALUE <> '') ;
ALTER DOMAIN app.name ADD CONSTRAINT short CHECK (length(VALUE) < 20) NOT VALID;
COMMENT ON CONSTRAINT positive ON DOMAIN app.positive IS 'more than zero';
CREATE FUNCTION app.distance(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT a - b';
CREATE TYPE app.floats AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = app.distance, MULTIRANGE_TYPE_NAME = app.manyfloats);
CREATE TYPE app.texts AS RANGE (SUBTYPE = text, COLLATION = "C", SUBTYPE_OPCLASS = text_pattern_ops);
CREATE TYPE app.unborn;
CREATE TYPE app.myint;
CREATE FUNCTION app.myint_in(cstring) RETURNS app.myint LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION app.myint_out(app.myint) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE app.myint (INPUT = app.myint_in, OUTPUT = app.myint_out, LIKE = int4, CATEGORY = 'N', DELIMITER = ';');
COMMENT ON TYPE app.myint IS 'a base type';

-- routines
CREATE FUNCTION app.everything(a integer, b text DEFAULT 'x; y', VARIADIC c integer[] DEFAULT '{}')
    RETURNS TABLE (n integer, label text) LANGUAGE plpgsql
    STABLE STRICT SECURITY DEFINER LEAKPROOF PARALLEL SAFE COST 17 ROWS 23
    SET search_path = app, pg_temp SET work_mem = '7MB' AS $body$
BEGIN
    -- a 'comment' with $dollar$ and "quotes"
    RETURN QUERY SELECT a, b;
END $body$;
GRANT EXECUTE ON FUNCTION app.everything TO ek_reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION app.everything FROM PUBLIC;
COMMENT ON FUNCTION app.everything IS E'a\nfunction';
CREATE FUNCTION app.overloaded(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION app.overloaded(text, OUT l integer, INOUT m app.mood) LANGUAGE sql AS 'SELECT 1, m';
CREATE FUNCTION app.atomic(a int) RETURNS int LANGUAGE sql RETURN a + 1;
CREATE FUNCTION app.rowish() RETURNS SETOF app.point3 LANGUAGE sql BEGIN ATOMIC SELECT 1 AS x, 'b' AS y, NULL::app.mood[] AS z; END;
CREATE FUNCTION app.my_row_number() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
CREATE FUNCTION app.supported(text) RETURNS boolean LANGUAGE internal IMMUTABLE SUPPORT textlike_support AS 'booltext';
CREATE PROCEDURE app.work(a integer, INOUT b integer DEFAULT 3) LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '6MB'
    AS 'BEGIN b := a; END';
COMMENT ON PROCEDURE app.work IS 'a procedure';
CREATE AGGREGATE app.total(integer) (SFUNC = int4_sum, STYPE = int8, COMBINEFUNC = int8pl, PARALLEL = SAFE,
    MSFUNC = int4_avg_accum, MINVFUNC = int4_avg_accum_inv, MSTYPE = int8[], MFINALFUNC = int2int4_sum, MINITCOND = '{0,0}');
CREATE AGGREGATE app.middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = SHAREABLE);
CREATE AGGREGATE app.largest(integer) (SFUNC = int4larger, STYPE = integer, INITCOND = '0', SORTOP = >);
COMMENT ON AGGREGATE app.total(integer) IS 'a sum';
CREATE TRANSFORM FOR integer LANGUAGE sql
    (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
COMMENT ON TRANSFORM FOR integer LANGUAGE sql IS 'a transform';

-- operators and what is made of them
CREATE FUNCTION app.mood_less(app.mood, app.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::text < $2::text';
CREATE FUNCTION app.mood_eq(app.mood, app.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::text = $2::text';
CREATE FUNCTION app.mood_cmp(app.mood, app.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';
CREATE FUNCTION app.mood_to_int(app.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE OPERATOR app.<<< (LEFTARG = app.mood, RIGHTARG = app.mood, FUNCTION = app.mood_less, COMMUTATOR = OPERATOR(app.>>>),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR app.>>> (LEFTARG = app.mood, RIGHTARG = app.mood, FUNCTION = app.mood_less, COMMUTATOR = OPERATOR(app.<<<));
CREATE OPERATOR app.=== (LEFTARG = app.mood, RIGHTARG = app.mood, FUNCTION = app.mood_eq, COMMUTATOR = OPERATOR(app.===),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE FUNCTION app.minus(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT -$1';
CREATE OPERATOR app.~~~ (RIGHTARG = integer, FUNCTION = app.minus);
COMMENT ON OPERATOR app.~~~ (NONE, integer) IS 'a prefix operator';
CREATE CAST (app.mood AS integer) WITH FUNCTION app.mood_to_int(app.mood) AS ASSIGNMENT;
CREATE CAST (app.myint AS integer) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (app.mood AS integer) IS 'a cast';
CREATE OPERATOR FAMILY app.moods USING btree;
CREATE OPERATOR CLASS app.mood_ops FOR TYPE app.mood USING btree FAMILY app.moods AS
    OPERATOR 1 app.<<<, OPERATOR 3 app.===, FUNCTION 1 app.mood_cmp(app.mood, app.mood);
ALTER OPERATOR FAMILY app.moods USING btree ADD OPERATOR 5 app.>>> (app.mood, app.mood);
COMMENT ON OPERATOR CLASS app.mood_ops USING btree IS 'a class';
CREATE OPERATOR CLASS app.mood_default DEFAULT FOR TYPE app.mood USING btree2 AS
    OPERATOR 1 app.<<<, FUNCTION 1 app.mood_cmp(app.mood, app.mood);
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION app.latin_default FOR 'LATIN2' TO 'UTF8' FROM iso8859_to_utf8;

-- text search
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
    LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY app.dictionary (TEMPLATE = app.template, STOPWORDS = english, Accept = false);
CREATE TEXT SEARCH CONFIGURATION app.configuration (PARSER = app.parser);
ALTER TEXT SEARCH CONFIGURATION app.configuration ADD MAPPING FOR asciiword, word WITH app.dictionary, simple;
ALTER TEXT SEARCH CONFIGURATION app.configuration ADD MAPPING FOR email WITH simple;
COMMENT ON TEXT SEARCH CONFIGURATION app.configuration IS 'a configuration';

-- tables
CREATE SEQUENCE app.free AS integer INCREMENT -2 MINVALUE -100 MAXVALUE 50 START 40 CACHE 4 CYCLE;
CREATE SEQUENCE app.numbers;
GRANT USAGE ON SEQUENCE app.free TO ek_reader;
COMMENT ON SEQUENCE app.free IS 'a sequence';
CREATE TABLE app.people (
    id bigint GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 3) PRIMARY KEY,
    "Dropped" integer,
    serial serial,
    num integer DEFAULT nextval('app.numbers') NOT NULL,
    email app.citext UNIQUE DEFERRABLE INITIALLY DEFERRED,
    name app.name COLLATE "POSIX",
    mood app.mood DEFAULT 'ok',
    born date CHECK (born > '1900-01-01') NO INHERIT,
    during tstzrange,
    twice integer GENERATED ALWAYS AS (num * 2) STORED,
    "order" varchar(40)[] DEFAULT '{}' NOT NULL,
    big text,
    EXCLUDE USING gist (num WITH =, during WITH &&) WHERE (num > 0)
);
ALTER TABLE app.people ALTER big SET STORAGE EXTERNAL, ALTER big SET COMPRESSION pglz;
ALTER SEQUENCE app.numbers OWNED BY app.people.num;
ALTER TABLE app.people DROP COLUMN "Dropped";
ALTER TABLE app.people OWNER TO ek_owner;
ALTER TABLE app.people ALTER num SET STATISTICS 77, ALTER num SET (n_distinct = -0.5);
ALTER TABLE app.people SET (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE app.people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE app.people ADD CONSTRAINT late CHECK (num <> 13) NOT VALID;
ALTER TABLE app.people REPLICA IDENTITY FULL;
GRANT SELECT, INSERT ON app.people TO ek_reader;
GRANT UPDATE (name), SELECT (num) ON app.people TO "ek We""ird" WITH GRANT OPTION;
COMMENT ON TABLE app.people IS 'a table';
COMMENT ON COLUMN app.people.num IS 'a column';
COMMENT ON CONSTRAINT late ON app.people IS 'a constraint';
CREATE UNLOGGED TABLE app.scratch (a integer, b integer) USING heap2;
CREATE TABLE app.typed OF app.point3 (x WITH OPTIONS DEFAULT 3);
CREATE TABLE app.orders (
    id uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    person bigint NOT NULL REFERENCES app.people ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE,
    total app.positive,
    note app.point3
);
ALTER TABLE app.orders ADD CONSTRAINT later FOREIGN KEY (person) REFERENCES app.people MATCH FULL NOT VALID;
CREATE UNIQUE INDEX orders_total ON app.orders (total) INCLUDE (id) WITH (fillfactor = 60) WHERE total > 5;
CREATE UNIQUE INDEX orders_person ON app.orders (person, id);
ALTER TABLE app.orders REPLICA IDENTITY USING INDEX orders_person;
CREATE INDEX orders_expression ON app.orders ((total * 2) DESC NULLS LAST, lower(id::text) COLLATE "C" text_pattern_ops);
ALTER INDEX app.orders_expression ALTER COLUMN 1 SET STATISTICS 55;
ALTER TABLE app.orders CLUSTER ON orders_person;
COMMENT ON INDEX app.orders_total IS 'an index';
CREATE INDEX people_mood ON app.people USING btree (mood app.mood_ops);
CREATE STATISTICS app.people_stats (dependencies, mcv) ON num, born FROM app.people;
ALTER STATISTICS app.people_stats SET STATISTICS 33;
COMMENT ON STATISTICS app.people_stats IS 'statistics';

-- inheritance and partitions
CREATE TABLE app.parent (a integer NOT NULL DEFAULT 1, b text, CONSTRAINT a_positive CHECK (a > 0));
CREATE TABLE app.child (c integer) INHERITS (app.parent);
CREATE TABLE app.declares (LIKE app.parent) INHERITS (app.parent);
CREATE TABLE app.events (id integer NOT NULL, at date NOT NULL, kind text DEFAULT 'k', PRIMARY KEY (id, at),
    CONSTRAINT kind_short CHECK (length(kind) < 9), person bigint REFERENCES app.people) PARTITION BY RANGE (at);
CREATE TABLE app.events_2030 PARTITION OF app.events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01') PARTITION BY LIST (id);
CREATE TABLE app.events_2030_a PARTITION OF app.events_2030 (kind DEFAULT 'a') FOR VALUES IN (1, 2);
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
CREATE INDEX events_kind ON app.events (kind);
CREATE INDEX events_unattached ON ONLY app.events (lower(kind));

-- views, rules, triggers, policies
CREATE VIEW app.adults WITH (security_barrier = true, check_option = local) AS
    SELECT p.id, p.name AS "Full Name", p.email FROM app.people p WHERE p.born < '2000-01-01';
ALTER VIEW app.adults ALTER COLUMN id SET DEFAULT 9;
GRANT SELECT ON app.adults TO PUBLIC;
COMMENT ON VIEW app.adults IS 'a view';
COMMENT ON COLUMN app.adults.email IS 'a view column';
CREATE RECURSIVE VIEW app.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE MATERIALIZED VIEW app.totals WITH (fillfactor = 50) AS SELECT person, sum(total) AS total FROM app.orders GROUP BY person;
CREATE UNIQUE INDEX totals_person ON app.totals (person);
CREATE MATERIALIZED VIEW app.empty AS SELECT 1 AS one WITH NO DATA;
COMMENT ON MATERIALIZED VIEW app.totals IS 'a materialized view';
CREATE RULE no_delete AS ON DELETE TO app.scratch WHERE old.a > 3 DO INSTEAD NOTHING;
CREATE RULE two AS ON INSERT TO app.scratch DO ALSO (UPDATE app.parent SET a = 2; DELETE FROM app.child);
ALTER TABLE app.scratch DISABLE RULE two;
COMMENT ON RULE no_delete ON app.scratch IS 'a rule';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF num, name ON app.people FOR EACH ROW
    WHEN (new.num > 5) EXECUTE FUNCTION app.touch('it''s', 'an argument');
CREATE TRIGGER off AFTER TRUNCATE ON app.people EXECUTE FUNCTION app.touch();
CREATE TRIGGER changed AFTER UPDATE ON app.people REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION app.touch();
CREATE TRIGGER replica BEFORE DELETE ON app.people FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE CONSTRAINT TRIGGER constrained AFTER INSERT ON app.people DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER cloned AFTER INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER instead INSTEAD OF INSERT ON app.adults FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.people DISABLE TRIGGER off;
ALTER TABLE app.people ENABLE REPLICA TRIGGER replica;
ALTER TABLE app.people ENABLE ALWAYS TRIGGER changed;
COMMENT ON TRIGGER touch ON app.people IS 'a trigger';
CREATE POLICY everybody ON app.people;
CREATE POLICY own ON app.people AS RESTRICTIVE FOR UPDATE TO ek_reader, "ek We""ird"
    USING (num = 1 AND EXISTS (SELECT FROM app.orders o WHERE o.person = people.id)) WITH CHECK (num < 9);
CREATE POLICY inserting ON app.people FOR INSERT TO ek_reader WITH CHECK (true);
COMMENT ON POLICY own ON app.people IS 'a policy';
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER ek_ddl ON ddl_command_end WHEN TAG IN ('CREATE CAST', 'ALTER CAST', 'DROP CAST') EXECUTE FUNCTION app.on_ddl();
CREATE EVENT TRIGGER ek_off ON sql_drop EXECUTE FUNCTION app.on_ddl();
ALTER EVENT TRIGGER ek_off DISABLE;
COMMENT ON EVENT TRIGGER ek_ddl IS 'an event trigger';

-- foreign data
CREATE FOREIGN DATA WRAPPER ek_wrapper OPTIONS (debug 'true', api_token 'hunter2');
GRANT USAGE ON FOREIGN DATA WRAPPER ek_wrapper TO ek_reader;
CREATE SERVER ek_server TYPE 'oracle' VERSION '9' FOREIGN DATA WRAPPER ek_wrapper OPTIONS (host 'h', password 'hunter2');
GRANT USAGE ON FOREIGN SERVER ek_server TO ek_reader WITH GRANT OPTION;
COMMENT ON SERVER ek_server IS 'a server';
CREATE USER MAPPING FOR ek_reader SERVER ek_server OPTIONS (user 'remote', password 'hunter2');
CREATE USER MAPPING FOR PUBLIC SERVER ek_server;
CREATE FOREIGN TABLE app.remote (a integer OPTIONS (column_name 'aa') NOT NULL, b text DEFAULT 'b', CHECK (a > 1))
    SERVER ek_server OPTIONS (table_name 't', secret_key 'hunter2');
COMMENT ON FOREIGN TABLE app.remote IS 'a foreign table';

-- replication
CREATE PUBLICATION ek_all FOR ALL TABLES WITH (publish = 'insert, delete');
CREATE PUBLICATION ek_some FOR TABLE app.people, app.events WITH (publish_via_partition_root = true);
COMMENT ON PUBLICATION ek_some IS 'a publication';
CREATE SUBSCRIPTION ek_subscription CONNECTION 'host=nowhere password=hunter2' PUBLICATION other, another
    WITH (connect = false, slot_name = 'slot', binary = true, synchronous_commit = 'local');

-- defaults
ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner IN SCHEMA app GRANT SELECT ON TABLES TO ek_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner GRANT USAGE ON SEQUENCES TO ek_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner GRANT USAGE ON TYPES TO "ek We""ird";
ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner GRANT CREATE ON SCHEMAS TO ek_reader;

-- names that are meant to hurt
CREATE SCHEMA "Robert'); DROP TABLE ""students"";--";
CREATE TABLE "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>" (
    "select" integer PRIMARY KEY,
    "new
line" text DEFAULT E'back\\slash ''quote'' "double"',
    "ünïcödé 数据 🐘" integer UNIQUE,
    "a.b" integer,
    "{only x} %s %(only)s" integer CHECK ("{only x} %s %(only)s" > 0),
    "$owner" integer,
    " leading and trailing " integer,
    "sixty-three bytes of a name which is as long as a name can be.." integer
);
CREATE INDEX "on" ON "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>" ("a.b");
CREATE VIEW "Robert'); DROP TABLE ""students"";--"."table" AS
    SELECT * FROM "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>";
CREATE FUNCTION "Robert'); DROP TABLE ""students"";--"."f (x" ("in" integer DEFAULT 1) RETURNS text LANGUAGE sql
    AS $$ SELECT '<img src=x onerror=alert(1)>' || E'\\' $$;
CREATE POLICY "p on q" ON "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>" USING (true);
COMMENT ON TABLE "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>" IS E'</pre><script>alert("comment")</script>\n\u202e';
CREATE ROLE "select" LOGIN;
CREATE ROLE "a,b=c/d" LOGIN;
GRANT SELECT ON "Robert'); DROP TABLE ""students"";--"."<script>alert('x')</script>" TO "select", "a,b=c/d";

SELECT lo_create(424242);
