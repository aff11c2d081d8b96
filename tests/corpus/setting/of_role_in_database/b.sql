CREATE ROLE reader;
CREATE ROLE "We""ird 100%";
GRANT USAGE ON SCHEMA public TO reader, "We""ird 100%";
DO $$ BEGIN
    EXECUTE format('ALTER ROLE reader IN DATABASE %I SET statement_timeout = ''9s''', current_database());
    EXECUTE format('ALTER ROLE reader IN DATABASE %I SET "DateStyle" = ''German, DMY''', current_database());
END $$;
