"""The SQL that installs a DDL log: printed for a person to read and run, never run by auditkit.

What it promises, and the tests try on real servers: a statement that changes the schema is never stopped by the
log (a full disk, a dropped log, a lock on it, a constraint or trigger that refuses the row: the statement goes on
and its author gets a warning); a cancelled statement is still cancelled; nobody but its owner can read or write
the log, except for the reader it is granted to; nothing is looked up through a schema that others can write to.
"""

from __future__ import annotations

import re

from auditkit.errors import ConfigError

SCHEMA = "auditkit_log"
TABLE = "ddl_log"
#: The log is recognised by these columns, whatever its schema is called.
COLUMNS = ("id", "at", "xid", "cluster", "role", "login", "client", "port", "application", "pid", "tag",
           "dropped", "statement", "objects")  # fmt: skip
#: Names of the event triggers, which belong to no schema.
TRIGGERS = ("{schema}_changed", "{schema}_dropped")

_SQL = """\
-- A log of changes to the schema: who, when, from where, which statement, which objects.
-- Read it, then run it as a superuser (or as the role that your platform lets create event triggers):
--   psql -v ON_ERROR_STOP=1 -f THIS_FILE "service=…"
-- Nothing of auditkit's is needed in the database afterwards. To remove it, see the end.

BEGIN;

CREATE SCHEMA {schema};
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
COMMENT ON SCHEMA {schema} IS 'Log of changes to the schema, installed by hand from `auditkit policy --ddl-log-sql`.';

CREATE TABLE {schema}.ddl_log (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid         xid8,     -- of the transaction, as in xmin of the catalog's rows
  cluster     bigint,   -- whose transaction ids these are: a restored log must not be joined by them
  role        text,     -- after SET ROLE
  login       text,     -- session_user
  client      inet,     -- of a connection pooler, if there is one
  port        integer,
  application text,
  pid         integer,
  tag         text,
  dropped     boolean,
  statement   text,
  objects     jsonb     -- [[kind, identity], …], at most 200
);

-- Runs as its owner, so that people need no rights on the log; it cannot be called, only fire.
CREATE FUNCTION {schema}.record_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'  -- whoever locks the log does not stop everybody's migrations
AS $auditkit$
DECLARE
  changed jsonb;
BEGIN
  -- Changes no definition, and applications do it by the hour.
  IF tg_tag IN ('REFRESH MATERIALIZED VIEW', 'REINDEX') THEN
    RETURN;
  END IF;
  BEGIN
    IF tg_event = 'sql_drop' THEN
      SELECT jsonb_agg(jsonb_build_array(o.object_type, o.object_identity)) INTO changed
      FROM (SELECT object_type, object_identity FROM pg_event_trigger_dropped_objects()
            WHERE NOT is_temporary AND coalesce(schema_name, '') !~ '^pg_(temp|toast)'
            ORDER BY original DESC LIMIT 200) AS o;
    ELSE
      SELECT jsonb_agg(jsonb_build_array(o.object_type, o.object_identity)) INTO changed
      FROM (SELECT object_type, object_identity FROM pg_event_trigger_ddl_commands()
            WHERE NOT in_extension AND coalesce(schema_name, '') !~ '^pg_(temp|toast)' LIMIT 200) AS o;
    END IF;
    -- Nothing was changed (IF NOT EXISTS), or only what is temporary, or part of an extension.
    IF changed IS NULL THEN
      RETURN;
    END IF;
    INSERT INTO {schema}.ddl_log
      (xid, cluster, role, login, client, port, application, pid, tag, dropped, statement, objects)
    VALUES (
      pg_current_xact_id(),
      (SELECT system_identifier FROM pg_control_system()),
      CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END,
      session_user,
      inet_client_addr(),
      inet_client_port(),
      current_setting('application_name'),
      pg_backend_pid(),
      tg_tag,
      tg_event = 'sql_drop',
      -- What was sent to the server: all of it, if that was several statements. Passwords are no business of a log.
      regexp_replace(left(current_query(), 4000),
        $re$((?:password|passwd|secret|token|api_?key)["']?\\s*)('(?:[^'\\\\]|''|\\\\.)*'?|\\$[^$]*\\$[^$]*\\$[^$]*\\$|[=:]\\s*(?:'(?:[^'\\\\]|''|\\\\.)*'?|[^\\s,;)]+))$re$,
        '\\1***', 'gi'),
      changed);
  EXCEPTION WHEN OTHERS THEN  -- all but a cancelled statement: that is still cancelled
    RAISE WARNING '{schema}: this % was not recorded: %', tg_tag, sqlerrm;
  END;
END;
$auditkit$;

-- Default privileges of this database may have opened what was just made: only its owner is left.
DO $$
DECLARE
  other record;
BEGIN
  FOR other IN
    SELECT DISTINCT c.oid::regclass::text AS object, pg_get_userbyid(a.grantee) AS who
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'S')
      AND a.grantee NOT IN (0, c.relowner)
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %I', other.object, other.who);
  END LOOP;
END;
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.record_ddl() FROM PUBLIC;

-- Who may read it: the role that audits, if there is one of this name.
DO $$
BEGIN
  IF to_regrole('"{reader}"') IS NOT NULL THEN
    GRANT USAGE ON SCHEMA {schema} TO "{reader}";
    GRANT SELECT ON {schema}.ddl_log TO "{reader}";
  END IF;
END;
$$;

CREATE EVENT TRIGGER {changed} ON ddl_command_end EXECUTE FUNCTION {schema}.record_ddl();
CREATE EVENT TRIGGER {dropped} ON sql_drop EXECUTE FUNCTION {schema}.record_ddl();
-- Also where session_replication_role is replica, which would silence them otherwise.
ALTER EVENT TRIGGER {changed} ENABLE ALWAYS;
ALTER EVENT TRIGGER {dropped} ENABLE ALWAYS;

COMMIT;

-- What it costs: one row, one subtransaction and a millisecond or two for each statement that changes the schema.
-- What it does not see (PostgreSQL fires no event trigger for it): roles and their memberships, databases,
-- tablespaces, settings of roles and databases, REASSIGN OWNED, TRUNCATE, changes of event triggers themselves,
-- rows written to the catalog by hand; on 17 and later whatever runs under event_triggers = off. It can be
-- switched off by a superuser, and by nobody else.

-- Retention, as often as you like:
--   DELETE FROM {schema}.ddl_log WHERE at < now() - interval '400 days';

-- To remove it:
--   DROP EVENT TRIGGER {changed};
--   DROP EVENT TRIGGER {dropped};
--   DROP FUNCTION {schema}.record_ddl();
--   DROP TABLE {schema}.ddl_log;
--   DROP SCHEMA {schema};
"""


def installation(schema: str = SCHEMA, reader: str = "auditkit") -> str:
    """The SQL that installs the log in *schema* and lets the role *reader* read it.

    Raises:
        ConfigError: *schema* is one that others use, or no plain name.
    """
    if schema in ("public", "information_schema") or schema.startswith("pg_"):
        raise ConfigError(f"--schema {schema}: the log needs a schema of its own; choose another name")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", schema):
        raise ConfigError("--schema: use lower-case letters, digits and _ only (51 characters at most)")
    if not re.fullmatch(r"[^\s\"'$\\]{1,63}", reader):
        raise ConfigError("--reader: a role's name without spaces, quotes, $ and \\ is needed")
    values = {"schema": schema, "reader": reader}
    values |= dict(
        zip(("changed", "dropped"), (name.format(schema=schema) for name in TRIGGERS), strict=True)
    )
    return re.sub(r"\{(schema|changed|dropped|reader)\}", lambda found: values[found[1]], _SQL)
