CREATE EXTENSION postgres_fdw;
CREATE ROLE reader;
CREATE FOREIGN DATA WRAPPER w HANDLER postgres_fdw_handler OPTIONS ("Odd Name" 'was');
COMMENT ON FOREIGN DATA WRAPPER w IS 'a wrapper';
