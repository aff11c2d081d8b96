CREATE ROLE reader;
CREATE ROLE "We""ird 100%";
GRANT USAGE ON SCHEMA public TO reader, "We""ird 100%";
DO $$ BEGIN
    EXECUTE format('ALTER ROLE reader IN DATABASE %I SET statement_timeout = ''3s''', current_database());
    EXECUTE format('ALTER ROLE "We""ird 100%%" IN DATABASE %I SET search_path = ''''', current_database());
END $$;
