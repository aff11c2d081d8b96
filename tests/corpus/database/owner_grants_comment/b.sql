CREATE ROLE keeper;
CREATE ROLE visitor;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO visitor', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO keeper WITH GRANT OPTION', current_database());
END $$;
