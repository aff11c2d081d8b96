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
     '2023-12-31 10:00:00+00', 'Ann', 'ann@example.org'),
    ('c2', '14aab3dcdf2a7ce5b4d1a5d1a1c8fd2a7c0a9b0e', 'users', 'shop', '', '2024-01-02 10:00:00+00', 'Ann', 'ann@example.org',
     '2023-12-31 10:00:00+00', 'Ann', 'ann@example.org');
CREATE TABLE sqitch.events (
    event text NOT NULL,
    change_id text NOT NULL,
    change text NOT NULL,
    project text NOT NULL,
    note text NOT NULL DEFAULT '',
    requires text[] NOT NULL DEFAULT '{}',
    conflicts text[] NOT NULL DEFAULT '{}',
    tags text[] NOT NULL DEFAULT '{}',
    committed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    committer_name text NOT NULL,
    committer_email text NOT NULL,
    planned_at timestamp with time zone NOT NULL,
    planner_name text NOT NULL,
    planner_email text NOT NULL,
    PRIMARY KEY (change_id, committed_at)
);
INSERT INTO sqitch.events (event, change_id, change, project, committed_at, committer_name, committer_email,
                           planned_at, planner_name, planner_email)
SELECT event, id, change, 'shop', at::timestamptz, 'Bob', 'bob@example.org', '2024-01-01', 'Ann', 'ann@example.org'
FROM (VALUES ('fail', 'c1', 'users', '2024-01-01 09:00:00+00'), ('deploy', 'c1', 'users', '2024-01-01 10:00:00+00'),
             ('fail', 'c3', 'broken', '2024-01-03 10:00:00+00'), ('fail', 'c3', 'broken', '2024-01-03 11:00:00+00'),
             ('fail', 'c4', 'undone', '2024-01-03 10:00:00+00'), ('revert', 'c4', 'undone', '2024-01-04 10:00:00+00'))
     AS v(event, id, change, at);
