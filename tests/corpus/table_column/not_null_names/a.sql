-- since 18
CREATE TABLE renamed (a int CONSTRAINT filled NOT NULL, b int NOT NULL, c int CONSTRAINT kept NOT NULL);
CREATE TABLE old_name (a int NOT NULL, b text NOT NULL, c int);
INSERT INTO renamed VALUES (1, 2, 3);
INSERT INTO old_name VALUES (1, 'one', 1);
CREATE TABLE parted (a int NOT NULL, b int NOT NULL) PARTITION BY RANGE (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted VALUES (1, 1), (11, 1);
COMMENT ON CONSTRAINT filled ON renamed IS 'before';
COMMENT ON CONSTRAINT renamed_b_not_null ON renamed IS 'goes away';
CREATE DOMAIN word AS text CONSTRAINT said NOT NULL;
CREATE DOMAIN empty AS text;
COMMENT ON CONSTRAINT said ON DOMAIN word IS 'before';
