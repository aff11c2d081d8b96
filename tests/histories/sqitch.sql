-- Sqitch, lib/App/Sqitch/Engine/pg.sql.
CREATE SCHEMA sqitch;
CREATE TABLE sqitch.changes (
    change_id text PRIMARY KEY,
    script_hash text,
    change text NOT NULL,
    project text NOT NULL,
    note text NOT NULL DEFAULT '',
    committed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    committer_name text NOT NULL,
    committer_email text NOT NULL,
    planned_at timestamp with time zone NOT NULL,
    planner_name text NOT NULL,
    planner_email text NOT NULL
);
INSERT INTO sqitch.changes VALUES
    ('c1', '04aab3dcdf2a7ce5b4d1a5d1a1c8fd2a7c0a9b0e', 'users', 'shop', '', '2024-01-01 10:00:00+00', 'Ann', 'ann@example.org',
     '2023-12-31 10:00:00+00', 'Ann', 'ann@example.org');
