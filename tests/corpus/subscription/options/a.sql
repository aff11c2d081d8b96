CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION one WITH (connect = false, slot_name = 'slot', streaming = on);
