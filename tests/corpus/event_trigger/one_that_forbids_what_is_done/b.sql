CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not allowed'; END $$;
CREATE TABLE u (id int);
CREATE EVENT TRIGGER forbids ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'CREATE TABLE') EXECUTE FUNCTION no();
