CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION "Two", one
    WITH (connect = false, slot_name = NONE, binary = true, synchronous_commit = 'local');
COMMENT ON SUBSCRIPTION sub IS 'a subscription';
