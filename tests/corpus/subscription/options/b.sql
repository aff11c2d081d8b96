CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION one, two
    WITH (connect = false, slot_name = 'slot', synchronous_commit = 'off');
