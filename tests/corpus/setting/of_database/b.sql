DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public', current_database());
    EXECUTE format('ALTER DATABASE %I SET work_mem = ''6MB''', current_database());
    EXECUTE format('ALTER DATABASE %I SET "TimeZone" = ''Europe/Vienna''', current_database());
END $$;
