"""Every kind of object auditkit knows, each declared once: its query, its severity, its SQL.

``auditkit.catalog.kind`` explains the entries. ``python -m auditkit.catalog.kinds`` prints docs/kinds.md.
"""

from __future__ import annotations

from auditkit.catalog import alter, create
from auditkit.catalog.kind import (
    ENABLED,
    IS_ARRAY,
    THIS_DATABASE,
    Kind,
    Severity,
    code,
    identify,
    options,
    procedure,
    type_name,
)
from auditkit.catalog.kinds_relations import CONSTRAINT, RELATIONS
from auditkit.catalog.sql import literal, quote

__all__ = ["KINDS", "Kind", "Severity", "literal", "markdown", "quote"]

#: Roles that own, may use, or are configured for something in this database, and their memberships.
_ROLES_USED = f"""
    WITH RECURSIVE used(oid) AS (
        SELECT refobjid FROM pg_shdepend
        WHERE refclassid = 1260 AND (dbid = {THIS_DATABASE}
              OR (dbid = 0 AND classid = 1262 AND objid = {THIS_DATABASE}))
        UNION SELECT setrole FROM pg_db_role_setting WHERE setrole <> 0 AND setdatabase = {THIS_DATABASE}
        UNION SELECT CASE WHEN m.member = used.oid THEN m.roleid ELSE m.member END
        FROM used JOIN pg_auth_members m ON used.oid IN (m.member, m.roleid)
        WHERE used.oid >= 16384
    )"""


_FUNCTIONS = f"""
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
           p.oid, p.xmin, n.nspname AS schema, p.proname AS name, {identify("pg_proc", "p.oid")} AS identity,
           p.proowner::regrole AS owner, p.proacl AS grants, pg_get_function_arguments(p.oid) AS arguments,
           pg_get_function_result(p.oid) AS returns, l.lanname AS language,
           {code("p.provolatile", v="volatile", s="stable", i="immutable")} AS volatility,
           p.proisstrict AS strict, p.prosecdef AS security_definer, p.proleakproof AS leakproof,
           {code("p.proparallel", u="unsafe", r="restricted", s="safe")} AS parallel,
           p.procost::text AS cost, p.prorows::text AS rows, {procedure("p.prosupport")} AS support,
           p.prokind = 'w' AS window, {options("p.proconfig")} AS settings,
           CASE WHEN p.protrftypes IS NOT NULL THEN p.protrftypes::regtype[]::text[] END AS transforms,
           CASE WHEN p.prosqlbody IS NOT NULL THEN pg_get_function_sqlbody(p.oid) ELSE p.prosrc END AS body,
           p.prosqlbody IS NOT NULL AS sql_body, p.probin AS library
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE p.oid >= 16384 AND p.prokind <> 'a' AND n.nspname !~ '^pg_temp' {{only p.oid}}"""

#: Since 18 pg_dump shows the name of a domain's NOT NULL constraint and the comment on it.
_NOT_NULL = """
    {18? CASE WHEN t.typnotnull AND t.typtype = 'd' THEN (
             SELECT nullif(k.conname::text, t.typname || '_not_null') FROM pg_constraint k
             WHERE k.contypid = t.oid AND k.contype = 'n') END AS not_null_name,
         CASE WHEN t.typnotnull AND t.typtype = 'd' THEN (
             SELECT d.description FROM pg_constraint k JOIN pg_description d ON d.objoid = k.oid AND d.classoid = 2606
             WHERE k.contypid = t.oid AND k.contype = 'n') END AS not_null_comment, ??}"""


#: PostgreSQL's own objects with privileges that may not be those of initdb. It makes the schema public, too, which is a
#: kind's own; pg_dump leaves alone what is in information_schema.
_SYSTEM = """
    SELECT 1255::oid AS classid, oid, 0 AS subid, xmin, proacl AS acl, 'f' AS letter, NULL AS part FROM pg_proc
    WHERE oid < 16384 AND proacl IS NOT NULL AND pronamespace = 11
    UNION ALL SELECT 1259, oid, 0, xmin, relacl, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END, NULL FROM pg_class
    WHERE oid < 16384 AND relacl IS NOT NULL AND relnamespace = 11
    UNION ALL SELECT 1259, attrelid, attnum, xmin, attacl, 'c', quote_ident(attname) FROM pg_attribute
    WHERE attrelid < 16384 AND attacl IS NOT NULL
    UNION ALL SELECT 1247, oid, 0, xmin, typacl, 'T', quote_ident(typname) FROM pg_type
    WHERE oid < 16384 AND typacl IS NOT NULL AND typnamespace = 11
    UNION ALL SELECT 2615, oid, 0, xmin, nspacl, 'n', NULL FROM pg_namespace WHERE oid = 11 AND nspacl IS NOT NULL
    UNION ALL SELECT 2612, oid, 0, xmin, lanacl, 'l', NULL FROM pg_language WHERE oid < 16384 AND lanacl IS NOT NULL"""


def _items(acl: str) -> str:
    """SQL: privileges in an order of their own."""
    return f"""ARRAY(SELECT item::text FROM unnest({acl}) AS item ORDER BY item::text COLLATE "C")"""


_ALL: tuple[Kind, ...] = (
    # -- what everything else stands in
    Kind(
        name="database",
        doc="This database: owner, grants, connection limit. Its identity is `database`, as names differ.",
        severity="medium",
        catalog="pg_database",
        always=True,
        acl="d",
        alter=alter.database,
        query=f"""
            SELECT d.oid, d.xmin, 'database' AS identity, d.datdba::regrole AS owner, d.datacl AS grants,
                   d.datconnlimit AS connection_limit
            FROM pg_database d WHERE d.oid = {THIS_DATABASE} {{only d.oid}}""",
    ),
    Kind(
        name="setting",
        doc="A setting made by ALTER DATABASE … SET or ALTER ROLE … SET. A secret's value is never read.",
        severity="medium",
        catalog="pg_db_role_setting",
        always=True,
        create=create.database_setting,
        alter=alter.again(create.database_setting),
        dropped=create.drop_setting,
        query=f"""{_ROLES_USED}
            SELECT s.setdatabase AS oid, 0::oid AS anchor, s.xmin,
                   split_part(o, '=', 1) || CASE
                       WHEN s.setrole = 0 AND s.setdatabase = 0 THEN ' for all'
                       WHEN s.setrole = 0 THEN ' for database'
                       WHEN s.setdatabase = 0 THEN ' for role ' || s.setrole::regrole
                       ELSE ' for role ' || s.setrole::regrole || ' in database' END AS identity,
                   CASE WHEN split_part(o, '=', 1) ~* '(pass|secret|token|credential|key|private|auth)' THEN '***'
                        ELSE substr(o, strpos(o, '=') + 1) END AS value
            FROM pg_db_role_setting s, unnest(s.setconfig) o
            WHERE (s.setdatabase = {THIS_DATABASE} OR s.setdatabase = 0)
              AND (s.setrole = 0 OR s.setrole IN (SELECT oid FROM used))""",
    ),
    Kind(
        name="role",
        doc="A role that owns, may use, or is configured for something here, and roles related to it.",
        severity="high",
        catalog="pg_authid",
        always=True,
        create=create.role,
        alter=alter.role,
        query=f"""{_ROLES_USED}
            SELECT r.oid, 0::oid AS anchor, r.rolname AS name, quote_ident(r.rolname) AS identity, r.rolsuper AS superuser,
                   r.rolinherit AS inherit, r.rolcreaterole AS create_role, r.rolcreatedb AS create_database,
                   r.rolcanlogin AS login, r.rolreplication AS replication,
                   r.rolbypassrls AS bypass_row_security, r.rolconnlimit AS connection_limit,
                   nullif(r.rolvaliduntil, 'infinity')::text AS valid_until
            FROM pg_roles r WHERE r.oid >= 16384 AND r.oid IN (SELECT oid FROM used)""",
    ),
    Kind(
        name="role membership",
        doc="One role's membership in another, whoever granted it.",
        severity="high",
        catalog="pg_auth_members",
        always=True,
        create=create.role_membership,
        alter=alter.membership,
        dropped=create.drop_membership,
        query=f"""{_ROLES_USED}
            SELECT {{16? min(m.oid::int8)::oid ?? 0::oid}} AS oid, 0::oid AS anchor,
                   (array_agg(m.xmin ORDER BY age(m.xmin)))[1] AS xmin,
                   'membership of role ' || m.member::regrole || ' in role ' || m.roleid::regrole AS identity,
                   bool_or(m.admin_option) AS admin,
                   bool_or({{16? m.inherit_option ??
                       (SELECT r.rolinherit FROM pg_roles r WHERE r.oid = m.member)}}) AS inherit,
                   bool_or({{16? m.set_option ?? true}}) AS set_role
            FROM pg_auth_members m
            WHERE m.member IN (SELECT oid FROM used) AND m.member >= 16384
            GROUP BY m.member, m.roleid""",
    ),
    Kind(
        name="schema",
        doc="A schema.",
        severity="high",
        catalog="pg_namespace",
        always=True,
        acl="n",
        create=create.schema,
        query="""
            SELECT n.oid, n.xmin, n.nspname AS schema, quote_ident(n.nspname) AS identity,
                   n.nspname AS name, n.nspowner::regrole AS owner, n.nspacl AS grants
            FROM pg_namespace n
            WHERE (n.oid >= 16384 OR n.nspname = 'public') AND n.nspname !~ '^pg_(temp|toast)' {only n.oid}""",
    ),
    Kind(
        name="extension",
        doc="An extension: version and schema. Its members are attributed to it and not compared one by one.",
        severity="high",
        catalog="pg_extension",
        always=True,
        create=create.extension,
        alter=alter.extension,
        query="""
            SELECT e.oid, e.xmin, e.extname AS name, quote_ident(e.extname) AS identity,
                   e.extowner::regrole AS owner, n.nspname AS extension_schema, e.extversion AS version
            FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE true {only e.oid}""",
    ),
    Kind(
        name="language",
        doc="A procedural language.",
        severity="medium",
        catalog="pg_language",
        acl="l",
        create=create.language,
        alter=alter.again(create.language, head="OR REPLACE"),
        query=f"""
            SELECT l.oid, l.xmin, quote_ident(l.lanname) AS identity, l.lanowner::regrole AS owner,
                   l.lanacl AS grants, l.lanpltrusted AS trusted, {procedure("l.lanplcallfoid")} AS handler,
                   {procedure("l.laninline")} AS inline, {procedure("l.lanvalidator")} AS validator
            FROM pg_language l WHERE l.oid >= 16384 {{only l.oid}}""",
    ),
    Kind(
        name="access method",
        doc="A table or index access method.",
        severity="medium",
        catalog="pg_am",
        create=create.access_method,
        query=f"""
            SELECT a.oid, a.xmin, quote_ident(a.amname) AS identity,
                   {code("a.amtype", t="table", i="index")} AS type, {procedure("a.amhandler")} AS handler
            FROM pg_am a WHERE a.oid >= 16384 {{only a.oid}}""",
    ),
    # -- types
    Kind(
        name="type",
        doc="An enum, composite, domain, range, base or shell type. Row and array types follow their element.",
        severity="high",
        catalog="pg_type",
        identity="{schema}.{name}",
        acl="T",
        written={"labels": "pg_enum"},
        create=create.type,
        later={"not_null_comment": None},
        lenient=frozenset({"not_null_name"}),
        alter=alter.type,
        query=f"""
            SELECT t.oid, t.xmin, CASE WHEN t.typtype = 'e' THEN
                       (SELECT (array_agg(e.xmin ORDER BY age(e.xmin)))[1] FROM pg_enum e
                        WHERE e.enumtypid = t.oid) END AS pg_enum,
                   n.nspname AS schema, t.typname AS name, t.typowner::regrole AS owner, t.typacl AS grants,
                   CASE WHEN NOT t.typisdefined THEN 'shell'
                        ELSE {code("t.typtype", b="base", c="composite", d="domain", e="enum", r="range")}
                        END AS variant,
                   CASE WHEN t.typtype = 'e' THEN (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
                        FROM pg_enum e WHERE e.enumtypid = t.oid) END AS labels,
                   CASE WHEN t.typtype = 'd' THEN {type_name("t.typbasetype", "t.typtypmod")} END AS base_type,
                   t.typnotnull AS not_null, {_NOT_NULL} t.typdefault AS default,
                   CASE WHEN t.typtype = 'd' AND t.typcollation IS DISTINCT FROM
                             (SELECT b.typcollation FROM pg_type b WHERE b.oid = t.typbasetype)
                        THEN nullif(t.typcollation, 0)::regcollation::text
                        WHEN t.typtype = 'r' AND r.rngcollation IS DISTINCT FROM
                             (SELECT b.typcollation FROM pg_type b WHERE b.oid = r.rngsubtype)
                        THEN nullif(r.rngcollation, 0)::regcollation::text END AS collation,
                   format_type(r.rngsubtype, NULL) AS subtype, format_type(r.rngmultitypid, NULL) AS multirange,
                   CASE WHEN r.rngsubopc <> 0 AND NOT (SELECT o.opcdefault FROM pg_opclass o WHERE o.oid = r.rngsubopc)
                        THEN {identify("pg_opclass", "r.rngsubopc")} END AS subtype_opclass,
                   nullif(r.rngcanonical, 0)::regprocedure::text AS canonical,
                   nullif(r.rngsubdiff, 0)::regproc::text AS subtype_diff,
                   CASE WHEN t.typtype = 'b' THEN format_type(nullif(t.typelem, 0), NULL) END AS element,
                   CASE WHEN t.typtype = 'b' THEN ARRAY['input=' || t.typinput::regprocedure,
                        'output=' || t.typoutput::regprocedure, 'receive=' || t.typreceive::regprocedure,
                        'send=' || t.typsend::regprocedure, 'typmod_in=' || t.typmodin::regprocedure,
                        'typmod_out=' || t.typmodout::regprocedure, 'analyze=' || t.typanalyze::regprocedure,
                        'subscript=' || {{14? t.typsubscript::regprocedure ?? '-'}},
                        'length=' || t.typlen, 'by_value=' || t.typbyval, 'alignment=' || t.typalign::text,
                        'storage=' || t.typstorage::text, 'category=' || t.typcategory::text,
                        'preferred=' || t.typispreferred, 'delimiter=' || t.typdelim::text,
                        'collatable=' || (t.typcollation <> 0)] END AS base_properties
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_range r ON r.rngtypid = t.oid
            WHERE t.oid >= 16384 AND t.typtype <> 'm' AND NOT ({IS_ARRAY})
              AND (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
              AND n.nspname !~ '^pg_temp' {{only t.oid, t.typrelid}}""",
    ),
    Kind(
        name="composite type column",
        doc="An attribute of a composite type.",
        severity="high",
        catalog="pg_class",
        row="pg_attribute",
        identity="{parent}.{name}",
        parents=("type",),
        parent_catalog="pg_type",
        ordinal="position",
        create=create.attribute,
        alter=alter.attribute,
        query=f"""
            SELECT a.attrelid AS oid, a.attnum AS subid, a.xmin, a.attname AS name, c.reltype AS parent,
                   {type_name("a.atttypid", "a.atttypmod")} AS type,
                   CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                        THEN a.attcollation::regcollation::text END AS collation
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
            JOIN pg_type t ON t.oid = a.atttypid
            WHERE c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped {{only c.oid, c.reltype}}""",
    ),
    Kind(
        name="domain constraint",
        doc="A CHECK constraint of a domain (NOT NULL is an attribute of the domain).",
        severity="high",
        catalog="pg_constraint",
        identity="{name} on {parent}",
        parents=("type",),
        parent_catalog="pg_type",
        never_null=("definition",),
        create=create.constraint,
        alter=alter.constraint,
        query=f"""
            SELECT {CONSTRAINT}, pg_get_constraintdef(k.oid) AS definition, k.contypid AS parent, k.contypid AS anchor
            FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
            WHERE k.oid >= 16384 AND k.contypid <> 0 AND k.contype = 'c' {{only k.oid, k.contypid}}""",
    ),
    Kind(
        name="collation",
        doc="A collation (its library version is a matter of the server and not compared).",
        severity="medium",
        catalog="pg_collation",
        create=create.collation,
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {identify("pg_collation", "c.oid")} AS identity,
                   c.collowner::regrole AS owner,
                   {code("c.collprovider", c="libc", i="icu", b="builtin", d="default")} AS provider,
                   c.collisdeterministic AS deterministic, c.collencoding AS encoding,
                   {{15? coalesce(c.collcollate, {{17? c.colllocale ?? c.colliculocale}})
                         ?? c.collcollate::text}} AS collate,
                   {{15? c.collctype ?? CASE WHEN c.collprovider <> 'i' THEN c.collctype::text END}} AS ctype,
                   {{16? c.collicurules ?? NULL::text}} AS rules
            FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
            WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    *RELATIONS,
    # -- routines and what is made of them
    *(
        Kind(
            name=name,
            doc=doc,
            severity="high",
            catalog="pg_proc",
            acl="f",
            never_null=("arguments",),
            attribute_severity={"security_definer": "critical", "settings": "critical"},
            create=create.function,
            alter=alter.routine,
            query=_FUNCTIONS,
        )
        for name, doc in (
            ("function", "A function or window function: signature, body and every property."),
            ("procedure", "A procedure: signature, body and every property."),
        )
    ),
    Kind(
        name="aggregate",
        doc="An aggregate function.",
        severity="high",
        catalog="pg_proc",
        acl="f",
        never_null=("arguments",),
        create=create.aggregate,
        alter=alter.routine,
        query=f"""
            SELECT p.oid, p.xmin, a.xmin AS pg_aggregate, n.nspname AS schema, p.proname AS name,
                   {identify("pg_proc", "p.oid")} AS identity, p.proowner::regrole AS owner, p.proacl AS grants,
                   pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS returns,
                   {code("p.proparallel", u="unsafe", r="restricted", s="safe")} AS parallel,
                   {code("a.aggkind", n="normal", o="ordered set", h="hypothetical set")} AS variant,
                   {procedure("a.aggtransfn")} AS transition, format_type(a.aggtranstype, NULL) AS state,
                   a.aggtransspace AS state_space, a.agginitval AS initial,
                   {procedure("a.aggfinalfn")} AS final, a.aggfinalextra AS final_extra,
                   {code("a.aggfinalmodify", r="read only", s="shareable", w="read write")} AS final_modify,
                   {procedure("a.aggcombinefn")} AS combine, {procedure("a.aggserialfn")} AS serialize,
                   {procedure("a.aggdeserialfn")} AS deserialize,
                   {procedure("a.aggmtransfn")} AS moving_transition, {procedure("a.aggminvtransfn")} AS moving_inverse,
                   format_type(nullif(a.aggmtranstype, 0), NULL) AS moving_state, a.aggmtransspace AS moving_space,
                   a.aggminitval AS moving_initial, {procedure("a.aggmfinalfn")} AS moving_final,
                   a.aggmfinalextra AS moving_final_extra,
                   {code("a.aggmfinalmodify", r="read only", s="shareable", w="read write")} AS moving_final_modify,
                   CASE WHEN a.aggsortop <> 0 THEN a.aggsortop::regoperator::text END AS sort_operator
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_aggregate a ON a.aggfnoid = p.oid
            WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp' {{only p.oid}}""",
    ),
    Kind(
        name="cast",
        doc="A cast between two types.",
        severity="high",
        catalog="pg_cast",
        create=create.cast,
        query=f"""
            SELECT c.oid, c.xmin, {identify("pg_cast", "c.oid")} AS identity, {procedure("c.castfunc")} AS function,
                   {code("c.castcontext", e="explicit", a="assignment", i="implicit")} AS context,
                   {code("c.castmethod", f="function", i="inout", b="binary")} AS method
            FROM pg_cast c WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="operator",
        doc="An operator.",
        severity="high",
        catalog="pg_operator",
        create=create.operator_,
        alter=alter.operator,
        query=f"""
            SELECT o.oid, o.xmin, n.nspname AS schema, {identify("pg_operator", "o.oid")} AS identity,
                   o.oprowner::regrole AS owner, o.oprcode::regprocedure::text AS function,
                   CASE WHEN o.oprcom <> 0 THEN o.oprcom::regoperator::text END AS commutator,
                   CASE WHEN o.oprnegate <> 0 THEN o.oprnegate::regoperator::text END AS negator,
                   {procedure("o.oprrest")} AS restrict_estimator, {procedure("o.oprjoin")} AS join_estimator,
                   o.oprcanhash AS hashes, o.oprcanmerge AS merges
            FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384 {{only o.oid}}""",
    ),
    Kind(
        name="operator family",
        doc="An operator family; its members are kinds of their own.",
        severity="medium",
        catalog="pg_opfamily",
        create=create.operator_family,
        query=f"""
            SELECT f.oid, f.xmin, n.nspname AS schema, {identify("pg_opfamily", "f.oid")} AS identity,
                   f.opfowner::regrole AS owner
            FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace WHERE f.oid >= 16384 {{only f.oid}}""",
    ),
    Kind(
        name="operator class",
        doc="An operator class.",
        severity="medium",
        catalog="pg_opclass",
        create=create.operator_class,
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {identify("pg_opclass", "c.oid")} AS identity,
                   c.opcowner::regrole AS owner, format_type(c.opcintype, NULL) AS type, c.opcdefault AS default,
                   format_type(nullif(c.opckeytype, 0), NULL) AS storage, {identify("pg_opfamily", "c.opcfamily")} AS family
            FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="operator of access method",
        doc="An operator in an operator family.",
        severity="medium",
        catalog="pg_amop",
        parents=("operator family",),
        parent_catalog="pg_opfamily",
        create=create.loose_member,
        dropped=create.drop_member,
        query=f"""
            SELECT o.oid, o.xmin, {identify("pg_amop", "o.oid")} AS identity, o.amopfamily AS parent, o.amopfamily AS anchor,
                   o.amopopr::regoperator::text AS operator, {code("o.amoppurpose", s="search", o="ordering")} AS purpose,
                   CASE WHEN o.amopsortfamily <> 0 THEN {identify("pg_opfamily", "o.amopsortfamily")} END AS sort_family
            FROM pg_amop o WHERE o.oid >= 16384 {{only o.oid, o.amopfamily}}""",
    ),
    Kind(
        name="function of access method",
        doc="A support function in an operator family.",
        severity="medium",
        catalog="pg_amproc",
        parents=("operator family",),
        parent_catalog="pg_opfamily",
        create=create.loose_member,
        dropped=create.drop_member,
        query=f"""
            SELECT p.oid, p.xmin, {identify("pg_amproc", "p.oid")} AS identity,
                   p.amprocfamily AS parent, p.amprocfamily AS anchor,
                   p.amproc::regprocedure::text AS function
            FROM pg_amproc p WHERE p.oid >= 16384 {{only p.oid, p.amprocfamily}}""",
    ),
    Kind(
        name="conversion",
        doc="An encoding conversion.",
        severity="low",
        catalog="pg_conversion",
        create=create.conversion,
        query=f"""
            SELECT c.oid, c.xmin, n.nspname AS schema, {identify("pg_conversion", "c.oid")} AS identity,
                   c.conowner::regrole AS owner, pg_encoding_to_char(c.conforencoding)::text AS source,
                   pg_encoding_to_char(c.contoencoding)::text AS target, {procedure("c.conproc")} AS function,
                   c.condefault AS default
            FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    Kind(
        name="transform",
        doc="How a language sees a type.",
        severity="medium",
        catalog="pg_transform",
        create=create.transform,
        alter=alter.again(create.transform, head="OR REPLACE"),
        query=f"""
            SELECT t.oid, t.xmin, -- older releases say "on language", which no command takes
                   regexp_replace({identify("pg_transform", "t.oid")}, ' on (?=language \\S+$)', ' ') AS identity,
                   {procedure("t.trffromsql")} AS from_sql, {procedure("t.trftosql")} AS to_sql
            FROM pg_transform t WHERE t.oid >= 16384 {{only t.oid}}""",
    ),
    # -- text search
    Kind(
        name="text search parser",
        doc="A text search parser.",
        severity="low",
        catalog="pg_ts_parser",
        create=create.text_search_parser,
        query=f"""
            SELECT p.oid, p.xmin, n.nspname AS schema, {identify("pg_ts_parser", "p.oid")} AS identity,
                   {procedure("p.prsstart")} AS start, {procedure("p.prstoken")} AS token,
                   {procedure("p.prsend")} AS end, {procedure("p.prsheadline")} AS headline,
                   {procedure("p.prslextype")} AS token_types
            FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = p.prsnamespace WHERE p.oid >= 16384 {{only p.oid}}""",
    ),
    Kind(
        name="text search template",
        doc="A text search template.",
        severity="low",
        catalog="pg_ts_template",
        create=create.text_search_template,
        query=f"""
            SELECT t.oid, t.xmin, n.nspname AS schema, {identify("pg_ts_template", "t.oid")} AS identity,
                   {procedure("t.tmplinit")} AS init, {procedure("t.tmpllexize")} AS lexize
            FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace WHERE t.oid >= 16384 {{only t.oid}}""",
    ),
    Kind(
        name="text search dictionary",
        doc="A text search dictionary: template and options.",
        severity="medium",
        catalog="pg_ts_dict",
        create=create.text_search_dictionary,
        alter=alter.text_search_dictionary,
        query=f"""
            SELECT d.oid, d.xmin, n.nspname AS schema, {identify("pg_ts_dict", "d.oid")} AS identity,
                   d.dictowner::regrole AS owner, {identify("pg_ts_template", "d.dicttemplate")} AS template,
                   d.dictinitoption AS options
            FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace WHERE d.oid >= 16384 {{only d.oid}}""",
    ),
    Kind(
        name="text search configuration",
        doc="A text search configuration: parser and the dictionaries of each token type.",
        severity="medium",
        catalog="pg_ts_config",
        written={"mappings": "pg_ts_config_map"},
        create=create.text_search_configuration,
        later={"mappings": None},
        alter=alter.text_search_configuration,
        query=f"""
            SELECT c.oid, c.xmin, (SELECT (array_agg(m.xmin ORDER BY age(m.xmin)))[1] FROM pg_ts_config_map m
                                   WHERE m.mapcfg = c.oid) AS pg_ts_config_map,
                   n.nspname AS schema, {identify("pg_ts_config", "c.oid")} AS identity,
                   c.cfgowner::regrole AS owner, {identify("pg_ts_parser", "c.cfgparser")} AS parser,
                   (SELECT array_agg(x.mapping ORDER BY x.token) FROM (
                       SELECT t.alias COLLATE "C" AS token,
                              t.alias || ': ' ||
                                  string_agg(m.mapdict::regdictionary::text, ', ' ORDER BY m.mapseqno) AS mapping
                       FROM pg_ts_config_map m JOIN ts_token_type(c.cfgparser) t ON t.tokid = m.maptokentype
                       WHERE m.mapcfg = c.oid GROUP BY t.alias) x) AS mappings
            FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace WHERE c.oid >= 16384 {{only c.oid}}""",
    ),
    # -- foreign data
    Kind(
        name="foreign-data wrapper",
        doc="A foreign-data wrapper.",
        severity="medium",
        catalog="pg_foreign_data_wrapper",
        acl="F",
        create=create.foreign_data_wrapper,
        alter=alter.foreign_data_wrapper,
        query=f"""
            SELECT f.oid, f.xmin, quote_ident(f.fdwname) AS identity, f.fdwowner::regrole AS owner, f.fdwacl AS grants,
                   {procedure("f.fdwhandler")} AS handler, {procedure("f.fdwvalidator")} AS validator,
                   {options("f.fdwoptions")} AS options
            FROM pg_foreign_data_wrapper f WHERE f.oid >= 16384 {{only f.oid}}""",
    ),
    Kind(
        name="server",
        doc="A foreign server; values of secret-looking options are never read.",
        severity="medium",
        catalog="pg_foreign_server",
        acl="S",
        create=create.server,
        alter=alter.server,
        query=f"""
            SELECT s.oid, s.xmin, quote_ident(s.srvname) AS identity, s.srvowner::regrole AS owner, s.srvacl AS grants,
                   quote_ident(f.fdwname) AS wrapper, s.srvtype AS type, s.srvversion AS version,
                   {options("s.srvoptions")} AS options
            FROM pg_foreign_server s JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
            WHERE s.oid >= 16384 {{only s.oid}}""",
    ),
    Kind(
        name="user mapping",
        doc="A user mapping; values of secret-looking options are never read.",
        severity="medium",
        catalog="pg_user_mapping",
        always=True,  # the catalog itself may be read by a superuser only, hence not counted
        parents=("server",),
        parent_catalog="pg_foreign_server",
        create=create.user_mapping,
        alter=alter.user_mapping,
        dropped=create.drop_user_mapping,
        query=f"""
            SELECT m.umid AS oid, CASE WHEN m.umuser = 0 THEN 'public' ELSE m.usename::text END
                       || ' on server ' || m.srvname AS identity, m.srvid AS parent, {options("m.umoptions")} AS options
            FROM pg_user_mappings m WHERE m.umid >= 16384 {{only m.umid}}""",
    ),
    # -- database-wide
    Kind(
        name="event trigger",
        doc="An event trigger and whether it fires.",
        severity="high",
        catalog="pg_event_trigger",
        create=create.event_trigger,
        later={"enabled": "enabled"},
        alter=alter.event_trigger,
        query=f"""
            SELECT e.oid, e.xmin, quote_ident(e.evtname) AS identity, e.evtowner::regrole AS owner,
                   e.evtevent::text AS event, {procedure("e.evtfoid")} AS function,
                   {code("e.evtenabled", **ENABLED)} AS enabled,
                   CASE WHEN e.evttags IS NOT NULL THEN (SELECT array_agg(t ORDER BY t COLLATE "C")
                        FROM unnest(e.evttags) t) END AS tags
            FROM pg_event_trigger e WHERE e.oid >= 16384 {{only e.oid}}""",
    ),
    Kind(
        name="publication",
        doc="A publication; its tables and schemas are kinds of their own.",
        severity="medium",
        catalog="pg_publication",
        create=create.publication,
        alter=alter.publication,
        query="""
            SELECT p.oid, p.xmin, quote_ident(p.pubname) AS identity, p.pubowner::regrole AS owner,
                   p.puballtables AS all_tables, p.pubinsert AS insert, p.pubupdate AS update, p.pubdelete AS delete,
                   p.pubtruncate AS truncate, p.pubviaroot AS via_root,
                   {18? CASE p.pubgencols WHEN 's' THEN 'stored' ELSE 'none' END ?? 'none'} AS generated_columns
            FROM pg_publication p WHERE p.oid >= 16384 {only p.oid}""",
    ),
    Kind(
        name="publication relation",
        doc="A table in a publication, with its row filter and column list.",
        severity="medium",
        catalog="pg_publication_rel",
        parents=("publication",),
        parent_catalog="pg_publication",
        create=create.publication_relation,
        dropped=create.drop_publication_relation,
        query=f"""
            SELECT r.oid, r.xmin, n.nspname AS schema, {identify("pg_publication_rel", "r.oid")} AS identity,
                   r.prpubid AS parent, r.prpubid AS anchor,
                   {{15? pg_get_expr(r.prqual, r.prrelid) ?? NULL::text}} AS row_filter,
                   {{15? CASE WHEN r.prattrs IS NOT NULL THEN (SELECT array_agg(a.attname::text ORDER BY a.attnum)
                         FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs)) END
                         ?? NULL::text[]}} AS columns
            FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.oid >= 16384 {{only r.oid, r.prpubid, r.prrelid}}""",
    ),
    Kind(
        name="publication namespace",
        doc="A schema in a publication.",
        severity="medium",
        catalog="pg_publication_namespace",
        since=15,
        parents=("publication",),
        parent_catalog="pg_publication",
        create=create.publication_namespace,
        dropped=create.drop_publication_namespace,
        query=f"""
            SELECT s.oid, s.xmin, n.nspname AS schema, {identify("pg_publication_namespace", "s.oid")} AS identity,
                   s.pnpubid AS parent, s.pnpubid AS anchor
            FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
            WHERE s.oid >= 16384 {{only s.oid, s.pnpubid, s.pnnspid}}""",
    ),
    Kind(
        name="subscription",
        doc="A subscription. Its connection string is never read.",
        severity="medium",
        catalog="pg_subscription",
        always=True,  # not every column may be read, so it is not counted
        create=create.subscription,
        later={"enabled": False},
        alter=alter.subscription,
        query=f"""
            SELECT s.oid, quote_ident(s.subname) AS identity, s.subowner::regrole AS owner,
                   s.subenabled AS enabled, s.subbinary AS binary, s.subslotname::text AS slot,
                   s.subsynccommit AS synchronous_commit,
                   (SELECT array_agg(p ORDER BY p COLLATE "C") FROM unnest(s.subpublications) p) AS publications,
                   {{16? CASE s.substream WHEN 't' THEN 'on' WHEN 'p' THEN 'parallel' ELSE 'off' END
                      ?? CASE WHEN s.substream THEN 'on' ELSE 'off' END}} AS streaming,
                   {{15? s.subtwophasestate <> 'd' ?? false}} AS two_phase,
                   {{15? s.subdisableonerr ?? false}} AS disable_on_error,
                   {{16? s.subpasswordrequired ?? true}} AS password_required,
                   {{16? s.subrunasowner ?? false}} AS run_as_owner, {{16? s.suborigin ?? 'any'}} AS origin_filter,
                   {{17? s.subfailover ?? false}} AS failover
            FROM pg_subscription s WHERE s.oid >= 16384 AND s.subdbid = {THIS_DATABASE} {{only s.oid}}""",
    ),
    Kind(
        name="initial privileges",
        doc="Privileges on PostgreSQL's own objects that are not those that initdb gave.",
        severity="high",
        catalog="pg_init_privs",
        query=f"""
            SELECT o.oid, o.subid, 0::oid AS anchor, o.xmin, (about).schema::name AS schema, CASE o.classid
                       WHEN 1247 THEN 'type pg_catalog.' || part
                       ELSE (about).type || ' ' || (about).identity || coalesce(' (' || part || ')', '') END AS identity,
                   10::regrole AS acl_owner, letter AS acl_type, acl AS grants, i.initprivs AS initial
            FROM ({_SYSTEM}) AS o
            LEFT JOIN pg_init_privs i ON i.objoid = o.oid AND i.classoid = o.classid AND i.objsubid = o.subid
            CROSS JOIN LATERAL pg_identify_object(o.classid, o.oid, 0) AS about
            WHERE acl IS DISTINCT FROM i.initprivs
              AND {_items("acl")} <> {_items('coalesce(i.initprivs, acldefault(letter::"char", 10))')}""",
    ),
    Kind(
        name="default acl",
        doc="Default privileges: what ALTER DEFAULT PRIVILEGES gives to objects created later.",
        severity="high",
        catalog="pg_default_acl",
        query=f"""
            SELECT a.oid, a.xmin, n.nspname AS schema, {identify("pg_default_acl", "a.oid")} AS identity,
                   a.defaclrole::regrole AS acl_owner, a.defaclacl AS grants,
                   CASE WHEN a.defaclnamespace <> 0 THEN '-'
                        ELSE CASE a.defaclobjtype WHEN 'S' THEN 's' ELSE a.defaclobjtype::text END END AS acl_type
            FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace
            WHERE a.oid >= 16384 {{only a.oid}}""",
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


# --- docs/kinds.md -----------------------------------------------------------------------------------------


def markdown() -> str:
    """docs/kinds.md: every kind, what is compared of it, and how bad a difference is."""
    lines = [
        "# Kinds",
        "",
        "What auditkit reads of a catalog, kind by kind. Written by `python -m auditkit.catalog.kinds`; do not edit.",
        "",
        "A kind is named as `pg_identify_object` names it, and so is each object of it. Every attribute listed here is",
        "compared, and all kinds also have a comment and security labels. *Severity* is that of a missing or unexpected",
        "object and of attributes that name no other.",
        "",
        "| kind | what it is | severity | attributes | belongs to |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS.values():
        attributes = [
            f"{a} ({kind.attribute_severity[a]})" if a in kind.attribute_severity else a
            for a in kind.attributes
        ]
        cells = (f"**{kind.name}**", kind.doc, kind.severity, ", ".join(attributes), ", ".join(kind.parents))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Not compared",
        "",
        "- Data: rows, sequence positions, large objects (their number is reported).",
        "- Members of extensions, one by one: the extension's version and schema stand for them. Policies and triggers",
        "  on an extension's tables are compared.",
        "- Names of NOT NULL constraints (PostgreSQL 18 stores them, older versions do not): NOT NULL is an attribute of",
        "  the column, with NOT VALID and NO INHERIT.",
        "- Secrets: passwords, a subscription's connection string, values of options and settings whose names look",
        "  secret. They are not even read.",
        "- Roles that have nothing to do with the database.",
        "- Whether an inherited column or constraint was also declared in the child table itself.",
        "",
        "What belongs to none of these kinds is counted in `Snapshot.unmodelled` and shown in every report.",
        "",
        "## Adding a kind",
        "",
        "One entry in `auditkit/catalog/kinds.py` (or `kinds_relations.py`); `kind.py` explains it. Put an object of the",
        "kind into `tests/schemas/every_kind.sql` and one change per attribute into `tests/test_catalog_mutations.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
