DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = app, "Strange, Name", public', current_database());
    EXECUTE format('ALTER DATABASE %I SET app.greeting = ''it''''s a %% sign''', current_database());
END $$;
