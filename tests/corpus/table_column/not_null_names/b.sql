-- since 18
CREATE TABLE renamed (a int NOT NULL, b int CONSTRAINT there NOT NULL, c int CONSTRAINT kept NOT NULL,
    d int CONSTRAINT d_there NOT NULL DEFAULT 0);
CREATE TABLE new_name (a int NOT NULL, b text NOT NULL, c int CONSTRAINT filled NOT NULL);
INSERT INTO renamed VALUES (1, 2, 3);
INSERT INTO new_name VALUES (1, 'one', 1);
CREATE TABLE parted (a int CONSTRAINT key_there NOT NULL, b int NOT NULL) PARTITION BY RANGE (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 (a int NOT NULL, b int NOT NULL);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (20) TO (30);
INSERT INTO parted VALUES (1, 1);
INSERT INTO parted_2 VALUES (11, 1);
COMMENT ON CONSTRAINT renamed_a_not_null ON renamed IS 'after';
CREATE DOMAIN word AS text NOT NULL;
CREATE DOMAIN empty AS text CONSTRAINT not_any_more NOT NULL;
COMMENT ON CONSTRAINT not_any_more ON DOMAIN empty IS 'after';
