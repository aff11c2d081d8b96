CREATE ROLE keeper;
CREATE ROLE visitor;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO keeper', current_database());
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('COMMENT ON DATABASE %I IS ''it''''s 100%% ours''', current_database());
END $$;
