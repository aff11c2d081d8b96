"""The kinds that are relations or hang on relations: tables, columns, constraints, indexes, views, policies …"""

from __future__ import annotations

from auditkit.catalog import alter, create
from auditkit.catalog.kind import (
    ENABLED,
    PERSISTENCE,
    Kind,
    code,
    each,
    identify,
    options,
    type_name,
)

#: The row in pg_type is the best witness of a relation's creation: it keeps the creating transaction, while
#: the row in pg_class is rewritten by TRUNCATE, VACUUM FULL, the first foreign key pointing at the table …
_RELATION = """
    c.oid, t.xmin, c.xmin AS pg_class, n.nspname AS schema, c.relname AS name,
    c.relowner::regrole AS owner, c.relacl AS grants"""
_RELATION_FROM = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_type t ON t.oid = c.reltype"""

_INHERITS = """
    LEFT JOIN (SELECT i.inhrelid, array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno) AS parents,
                      min(i.inhparent::int8)::oid AS first
               FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent AND p.relkind IN ('r', 'p', 'f')
               GROUP BY i.inhrelid) inh ON inh.inhrelid = c.oid"""

#: Since 18 each NOT NULL is a constraint. A name counts only if it is not made of those of table and column, as pg_dump
#: has it (which does not cut it to 63 bytes); comments are looked for only if there is one on any constraint.
_NOT_NULL = """
    {18? CASE WHEN k.connoinherit THEN 'NOT NULL NO INHERIT' WHEN NOT k.convalidated THEN 'NOT NULL NOT VALID'
              WHEN a.attnotnull THEN 'NOT NULL' END AS not_null,
         CASE WHEN k.oid IS NULL THEN NULL WHEN k.conname <> c.relname || '_' || a.attname || '_not_null'
              THEN k.conname::text END AS not_null_name,
         CASE WHEN (SELECT count(*) FROM pg_description WHERE objoid >= 16384 AND classoid = 2606) > 0 THEN (
              SELECT d.description FROM pg_description d WHERE d.objoid = k.oid AND d.classoid = 2606)
              END AS not_null_comment,
     ?? CASE WHEN a.attnotnull THEN 'NOT NULL' END AS not_null,}
    CASE WHEN a.attinhcount > 0 AND NOT c.relispartition THEN nullif(concat_ws(', ',
         CASE WHEN a.attislocal THEN 'column' END,
         {18? CASE WHEN k.conislocal AND k.coninhcount > 0 THEN 'not null' END ?? NULL}), '') END AS declared"""
_NOT_NULL_FROM = """
    {18? LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum
         {slice k.conrelid} {only k.conrelid} ??}"""

#: Minor releases since 15.20 (November 2026) keep a number in the options of every column; pg_dump leaves it out, too.
_KEPT = "pg_attver"

#: One row for all columns that are alike: nearly all are, and a hundred thousand rows take longer to send and to take in
#: than to sort by likeness. What follows from what they are alike in is worked out afterwards. A default mentions no
#: columns, so it is deparsed without its table: pg_get_expr() would open and lock that. "position" is the column number,
#: made dense when it is read.
_ALIKE = """
    c.relkind, a.attacl, a.atttypid, a.atttypmod, a.attidentity, a.attgenerated, a.attcollation, a.attstorage,
    a.attcompression, a.attstattarget, a.attoptions, a.attfdwoptions"""
_COLUMN_ORIGIN = """CASE WHEN a.attinhcount > 0 THEN coalesce((
    SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = a.attrelid AND h.inhseqno = 1), 0) ELSE 0 END"""
_COLUMNS = f"""
    SELECT a.kind, a.oid, a.subid, a.xmin, a.pg_attrdef, a.name, a.origin, a.attacl AS grants,
           {type_name("a.atttypid", "a.atttypmod")} AS type, {{18? a.not_null AS not_null, a.not_null_name AS not_null_name,
           a.not_null_comment AS not_null_comment ?? a.not_null AS not_null}}, a.declared AS declared,
           a.default AS default,
           CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity_generation,
           CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END AS generated,
           CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                THEN a.attcollation::regcollation::text END AS collation,
           CASE WHEN a.attstorage <> t.typstorage
                THEN {code("a.attstorage", p="plain", e="external", m="main", x="extended")} END AS storage,
           CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END AS compression,
           nullif(a.attstattarget, -1)::int4 AS statistics_target,
           {options("a.attoptions", without=_KEPT)} AS options, {options("a.attfdwoptions")} AS foreign_options
    FROM (
        SELECT CASE c.relkind WHEN 'v' THEN 'view column' WHEN 'm' THEN 'materialized view column'
                    WHEN 'f' THEN 'foreign table column' ELSE 'table column' END AS kind,
               {each("a.attrelid")} AS oid, {each("a.attnum::int4")} AS subid, {each("a.xmin")} AS xmin,
               {each("coalesce(d.xmin, '0')")} AS pg_attrdef, array_agg(a.attname::text) AS name,
               {each(_COLUMN_ORIGIN)} AS origin,
               {_ALIKE},
               {_NOT_NULL},
               CASE WHEN d.oid IS NOT NULL THEN
                    pg_get_expr(d.adbin, CASE WHEN a.attgenerated <> '' THEN d.adrelid ELSE 0 END) END AS default
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
             {{slice c.oid}} {{only c.oid}}
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum {{slice d.adrelid}} {{only d.adrelid}}
        {_NOT_NULL_FROM}
        WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped {{slice a.attrelid}} {{only a.attrelid}}
        GROUP BY {_ALIKE}, not_null, {{18? not_null_name, not_null_comment, ??}} declared, "default") AS a
    JOIN pg_type t ON t.oid = a.atttypid"""

#: What CREATE TABLE and ADD COLUMN leave to ALTER COLUMN.
_SET_LATER = {"storage": None, "statistics_target": None, "options": None}
_LATER_OF_COLUMNS: dict[str, dict[str, None]] = {
    "table": {**_SET_LATER, "not_null_comment": None},
    "foreign table": {**_SET_LATER, "not_null_comment": None},
    "view": {"default": None},
    "materialized view": {**_SET_LATER, "compression": None},
}

CONSTRAINT = f"""
    k.oid, k.xmin, n.nspname AS schema, k.conname AS name,
    CASE WHEN k.conparentid <> 0 THEN {identify("pg_constraint", "k.conparentid")}
         WHEN k.coninhcount > 0 THEN (
             SELECT {identify("pg_constraint", "p.oid")} FROM pg_inherits i JOIN pg_constraint p
             ON p.conrelid = i.inhparent AND p.conname = k.conname WHERE i.inhrelid = k.conrelid LIMIT 1)
         END AS origin"""

#: What the text of a CHECK depends on: to deparse one, the server first collects all it knows of the table. The others
#: are deparsed at once. Whole rows (column 0, which reads as the table's name) are each like nothing else.
_LIKE_CONSTRAINT = """
    CASE WHEN k.contype <> 'c' THEN pg_get_constraintdef(k.oid) ELSE '' END AS head,
    CASE WHEN k.contype = 'c' AND strpos(k.conbin::text, ':varattno 0 ') > 0 THEN k.oid END AS like_itself,
    CASE WHEN k.contype = 'c' THEN (
        SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1])
        END AS like_first,
    CASE WHEN k.contype = 'c' AND cardinality(k.conkey) > 1 THEN ARRAY(
        SELECT (SELECT m.attname FROM pg_attribute m WHERE m.attrelid = k.conrelid AND m.attnum = key)
        FROM unnest(k.conkey) AS key)::text END AS like_columns,
    CASE WHEN k.contype = 'c' THEN k.conkey::text END AS like_numbers, k.conbin::text AS like_tree,
    CASE WHEN k.contype = 'c' THEN ROW(k.connoinherit, k.convalidated, {18? k.conenforced ?? true})::text
         END AS like_options"""

#: What an index definition begins with; after that, neither index nor table is named. One that backs a constraint has
#: the definition of that.
_INDEX_HEAD = """
    CASE WHEN k.oid IS NULL THEN
        'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(c.relname) || ' ON '
        || CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END
        || CASE WHEN tn.oid = 11 THEN '' ELSE quote_ident(tn.nspname) || '.' END || quote_ident(t.relname) END AS head"""

#: What the rest depends on: properties, and names, types and collations of the columns.
_LIKE_INDEX = """
    CASE WHEN strpos(trees.text, ':varattno 0 ') > 0 THEN c.oid END AS like_itself,
    CASE WHEN k.oid IS NULL THEN (SELECT a.attname || ' ' || a.atttypid || ' ' || a.attcollation FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]) END AS like_first,
    CASE WHEN k.oid IS NULL AND (i.indnatts > 1 OR trees.text <> '') THEN ARRAY(
        SELECT (SELECT m.attname || ' ' || m.atttypid || ' ' || m.attcollation FROM pg_attribute m
                WHERE m.attrelid = i.indrelid AND m.attnum = key)
        FROM unnest(i.indkey::int2[] || ARRAY(
            SELECT split_part(part, ' ', 1)::int2 FROM unnest((string_to_array(trees.text, ':varattno '))[2:]) AS part
        )) AS key)::text END AS like_columns,
    i.indkey::text AS like_numbers, i.indclass::text AS like_classes, i.indcollation::text AS like_collations,
    i.indoption::text AS like_options, i.indnkeyatts AS like_keys, i.indisunique AS like_unique,
    {15? i.indnullsnotdistinct ?? false} AS like_nulls, c.relam AS like_method, c.relkind AS like_kind,
    c.reloptions AS like_storage, i.indexprs::text AS like_expressions, i.indpred::text AS like_predicate"""


RELATIONS: tuple[Kind, ...] = (
    # -- relations
    Kind(
        name="table",
        doc="A table or partitioned table, with its row security switches, storage, partitioning, inheritance.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        parents=("table",),
        acl="r",
        written={"inherits": "pg_inherits"},
        attribute_severity={
            "row_security": "critical",
            "force_row_security": "critical",
            "options": "low",
            "toast_options": "low",
            "tablespace": "low",
        },
        create=create.table,
        later={
            "partition_bound": None,
            "replica_identity": "default",
            "row_security": False,
            "force_row_security": False,
        },
        alter=alter.table,
        query=f"""
            SELECT {_RELATION}, CASE WHEN c.relispartition THEN inh.first END AS parent,
                   {code("c.relpersistence", **PERSISTENCE)} AS persistence,
                   c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
                   {options("c.reloptions")} AS options, {options("o.reloptions")} AS toast_options,
                   {code("c.relreplident", d="default", n="nothing", f="full", i="index")} AS replica_identity,
                   am.amname AS access_method, ts.spcname AS tablespace,
                   {type_name("nullif(c.reloftype, 0)")} AS of_type, inh.parents AS inherits,
                   CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
                   CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, 0) END AS partition_bound
            {_RELATION_FROM}
            LEFT JOIN pg_class o ON o.oid = c.reltoastrelid AND o.reloptions IS NOT NULL
            LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            {_INHERITS}
            WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' {{only c.oid}}""",
    ),
    Kind(
        name="foreign table",
        doc="A foreign table: server and options (values of secret-looking options are never read).",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"options": "pg_foreign_table", "server": "pg_foreign_table", "inherits": "pg_inherits"},
        create=create.foreign_table,
        later={"partition_bound": None},
        alter=alter.table,
        query=f"""
            SELECT {_RELATION}, f.xmin AS pg_foreign_table,
                   CASE WHEN c.relispartition THEN inh.first END AS parent, quote_ident(s.srvname) AS server,
                   {options("f.ftoptions")} AS options, inh.parents AS inherits,
                   CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, 0) END AS partition_bound
            {_RELATION_FROM}
            JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
            {_INHERITS}
            WHERE c.oid >= 16384 AND c.relkind = 'f' {{only c.oid}}""",
        parents=("table",),
    ),
    Kind(
        name="view",
        doc="A view, with security_invoker, security_barrier and check option.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"definition": "pg_rewrite"},
        attribute_severity={"options": "critical"},
        definition="pg_get_viewdef",
        never_null=("definition",),
        create=create.view,
        alter=alter.view,
        query=f"""
            SELECT {_RELATION}, r.xmin AS pg_rewrite, {options("c.reloptions")} AS options
            {_RELATION_FROM} LEFT JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
            WHERE c.oid >= 16384 AND c.relkind = 'v' AND c.relpersistence <> 't' {{only c.oid}}""",
    ),
    Kind(
        name="materialized view",
        doc="A materialized view and whether it is populated.",
        severity="high",
        catalog="pg_class",
        row="pg_type",
        identity="{schema}.{name}",
        acl="r",
        written={"definition": "pg_rewrite"},
        attribute_severity={"populated": "medium", "options": "low", "tablespace": "low"},
        definition="pg_get_viewdef",
        never_null=("definition",),
        create=create.view,
        alter=alter.materialized_view,
        query=f"""
            SELECT {_RELATION}, r.xmin AS pg_rewrite, {options("c.reloptions")} AS options,
                   c.relispopulated AS populated, am.amname AS access_method, ts.spcname AS tablespace
            {_RELATION_FROM} LEFT JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
            LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            WHERE c.oid >= 16384 AND c.relkind = 'm' {{only c.oid}}""",
    ),
    *(
        Kind(
            name=f"{relation} column",
            doc=f"A column of a {relation}; its position counts among its siblings, dropped columns left out.",
            severity="high",
            catalog="pg_class",
            row="pg_attribute",
            identity="{parent}.{name}",
            parents=(relation,),
            acl="c",
            written={"default": "pg_attrdef"},
            ordinal="position",
            attribute_severity={
                "storage": "low",
                "compression": "low",
                "statistics_target": "low",
                "options": "low",
                "position": "low",
            },
            create=create.column if "table" in relation else None,
            later=_LATER_OF_COLUMNS[relation],
            alter=alter.column,
            disturbs=frozenset({"type", "collation"}),
            lenient=frozenset({"not_null_name", "declared"}),
            query=_COLUMNS,
        )
        for relation in ("table", "foreign table", "view", "materialized view")
    ),
    Kind(
        name="table constraint",
        doc="A primary key, unique, check, exclusion or foreign key constraint, NOT VALID and NOT ENFORCED shown; "
        "whether triggers that enforce it are disabled. NOT NULL is an attribute of the column.",
        severity="high",
        catalog="pg_constraint",
        identity="{name} on {parent}",
        parents=("table", "foreign table"),
        never_null=("definition",),
        written={"disabled_triggers": "pg_trigger"},
        create=create.constraint,
        later={"disabled_triggers": 0},
        alter=alter.constraint,
        definition="pg_get_constraintdef",
        query=f"""
            SELECT {CONSTRAINT}, {_LIKE_CONSTRAINT},
                   k.conrelid AS parent, k.conrelid AS anchor,
                   CASE WHEN k.contype = 'f' THEN (SELECT count(*) FROM pg_trigger g WHERE g.tgconstraint = k.oid
                        AND g.tgisinternal AND g.tgenabled <> 'O')::int4 ELSE 0 END AS disabled_triggers
            FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
            WHERE k.oid >= 16384 AND k.conrelid <> 0 AND k.contype IN ('c', 'f', 'p', 'u', 'x')
              AND n.nspname !~ '^pg_temp' {{slice k.conrelid}} {{only k.oid, k.conrelid}}""",
    ),
    Kind(
        name="index",
        doc="An index: definition (of one that backs a constraint: that constraint's), validity, clustering.",
        severity="medium",
        catalog="pg_class",
        row="pg_index",
        identity="{schema}.{name}",
        parents=("table constraint", "table", "materialized view"),
        never_null=("valid",),
        definition="pg_get_indexdef",
        attribute_severity={"valid": "high", "replica_identity": "high"},
        written={"options": "pg_class", "tablespace": "pg_class", "statistics_targets": "pg_attribute"},
        create=create.index,
        later={"tablespace": None, "statistics_targets": None, "clustered": False, "replica_identity": False},
        alter=alter.index,
        query=f"""
            SELECT c.oid, i.xmin, c.xmin AS pg_class, n.nspname AS schema, c.relname AS name, i.indrelid AS anchor,
                   CASE WHEN k.oid IS NULL THEN '' ELSE quote_ident(k.conname) || ' on ' END
                       || quote_ident(tn.nspname) || '.' || quote_ident(t.relname) AS parent,
                   CASE WHEN c.relispartition THEN (SELECT {identify("pg_class", "h.inhparent")}
                        FROM pg_inherits h WHERE h.inhrelid = c.oid LIMIT 1) END AS origin,
                   {_INDEX_HEAD}, {_LIKE_INDEX},
                   i.indisvalid AS valid, i.indisclustered AS clustered, i.indisreplident AS replica_identity,
                   {options("c.reloptions")} AS options, ts.spcname AS tablespace,
                   CASE WHEN i.indexprs IS NOT NULL THEN (
                       SELECT array_agg(a.attnum || '=' || a.attstattarget ORDER BY a.attnum) FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attstattarget >= 0) END AS statistics_targets
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_class t ON t.oid = i.indrelid AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
                 {{slice t.oid}}
            JOIN pg_namespace tn ON tn.oid = t.relnamespace
            LEFT JOIN pg_constraint k ON k.conrelid = i.indrelid AND k.conindid = i.indexrelid
                  AND k.contype IN ('p', 'u', 'x') {{slice k.conrelid}}
            LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
            CROSS JOIN LATERAL (SELECT coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, '') AS text) AS trees
            WHERE i.indexrelid >= 16384 {{slice i.indrelid}} {{only i.indexrelid, i.indrelid}}""",
    ),
    Kind(
        name="sequence",
        doc="A sequence's parameters and its owning column (not its current value, which is data).",
        severity="medium",
        catalog="pg_class",
        row="pg_sequence",
        identity="{schema}.{name}",
        parents=("table column",),
        acl="s",
        written={
            "owned_by": "pg_depend",
            "of_identity": "pg_depend",
            "owner": "pg_class",
            "grants": "pg_class",
        },
        create=create.sequence,
        later={"owned_by": None},
        alter=alter.sequence,
        query=f"""
            SELECT c.oid, s.xmin, c.xmin AS pg_class, d.xmin AS pg_depend, n.nspname AS schema, c.relname AS name,
                   c.relowner::regrole AS owner, c.relacl AS grants,
                   CASE WHEN d.refobjid IS NOT NULL THEN {identify("pg_class", "d.refobjid", "d.refobjsubid")}
                        END AS parent,
                   format_type(s.seqtypid, NULL) AS type, s.seqstart::text AS start,
                   s.seqincrement::text AS increment, s.seqmin::text AS minimum, s.seqmax::text AS maximum,
                   s.seqcache::text AS cache, s.seqcycle AS cycle,
                   {code("c.relpersistence", **PERSISTENCE)} AS persistence,
                   CASE WHEN d.refobjid IS NOT NULL THEN {identify("pg_class", "d.refobjid", "d.refobjsubid")}
                        END AS owned_by,
                   coalesce(d.deptype = 'i', false) AS of_identity
            FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_depend d ON d.classid = 1259 AND d.objid = c.oid AND d.objsubid = 0
                  AND d.deptype IN ('a', 'i') AND d.refclassid = 1259 AND d.refobjsubid > 0
            WHERE c.oid >= 16384 AND c.relpersistence <> 't' {{only c.oid}}""",
    ),
    # -- what hangs on relations
    Kind(
        name="rule",
        doc="A rewrite rule other than a view's own.",
        severity="high",
        catalog="pg_rewrite",
        identity="{name} on {parent}",
        parents=("table", "view", "foreign table", "materialized view"),
        definition="pg_get_ruledef",
        never_null=("definition",),
        create=create.rule,
        later={"enabled": "enabled"},
        alter=alter.fires,
        query=f"""
            SELECT r.oid, r.xmin, n.nspname AS schema, r.rulename AS name, r.ev_class AS parent, r.ev_class AS anchor,
                   {code("r.ev_enabled", **ENABLED)} AS enabled
            FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.oid >= 16384 AND r.rulename <> '_RETURN' AND c.relpersistence <> 't'
              {{only r.oid, r.ev_class}}""",
    ),
    Kind(
        name="trigger",
        doc="A trigger and whether it fires. Triggers that enforce constraints belong to the constraint.",
        severity="high",
        catalog="pg_trigger",
        identity="{name} on {parent}",
        parents=("table", "view", "foreign table"),
        never_null=("definition",),
        own_membership=True,
        create=create.trigger,
        later={"enabled": "enabled"},
        alter=alter.fires,
        query=f"""
            SELECT t.oid, t.xmin, n.nspname AS schema, t.tgname AS name, t.tgrelid AS parent, t.tgrelid AS anchor,
                   CASE WHEN t.tgparentid <> 0 THEN {identify("pg_trigger", "t.tgparentid")} END AS origin,
                   pg_get_triggerdef(t.oid) AS definition, {code("t.tgenabled", **ENABLED)} AS enabled
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE t.oid >= 16384 AND c.relpersistence <> 't'
              AND {{15? NOT t.tgisinternal ?? (NOT t.tgisinternal OR t.tgparentid <> 0
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype = 'f'))}}
              {{only t.oid, t.tgrelid}}""",
    ),
    Kind(
        name="policy",
        doc="A row-level security policy.",
        severity="critical",
        catalog="pg_policy",
        identity="{name} on {parent}",
        parents=("table",),
        own_membership=True,
        create=create.policy,
        alter=alter.policy,
        query=f"""
            SELECT p.oid, p.xmin, n.nspname AS schema, p.polname AS name, p.polrelid AS parent, p.polrelid AS anchor,
                   {code("p.polcmd::text", r="select", a="insert", w="update", d="delete", **{"*": "all"})} AS command,
                   p.polpermissive AS permissive,
                   (SELECT array_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE r::regrole::text END
                                     ORDER BY r <> 0, (CASE WHEN r <> 0 THEN r::regrole::text END) COLLATE "C")
                    FROM unnest(p.polroles) r) AS roles,
                   pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
            FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE p.oid >= 16384 {{only p.oid, p.polrelid}}""",
    ),
    Kind(
        name="statistics object",
        doc="Extended statistics.",
        severity="low",
        catalog="pg_statistic_ext",
        never_null=("definition",),
        parents=("table", "materialized view", "foreign table"),
        create=create.statistics,
        later={"target": None},
        alter=alter.statistics,
        query=f"""
            SELECT s.oid, s.xmin, n.nspname AS schema, {identify("pg_statistic_ext", "s.oid")} AS identity,
                   s.stxrelid AS parent, s.stxrelid AS anchor, s.stxowner::regrole AS owner,
                   pg_get_statisticsobjdef(s.oid) AS definition, nullif(s.stxstattarget, -1)::int4 AS target
            FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
            WHERE s.oid >= 16384 {{only s.oid, s.stxrelid}}""",
    ),
)
