"""The catalogs that facts are made of: what the guard watches and what tells which facts were touched."""

from __future__ import annotations

from dataclasses import dataclass

from auditkit.catalog.kind import IS_ARRAY, THIS_DATABASE

#: Goes before a query made of ``Watched.where``.
TEMPORARY = "WITH temporary AS MATERIALIZED (SELECT oid FROM pg_class WHERE relpersistence = 't')"
_NO_TEMPORARY = "(NOT EXISTS (SELECT FROM temporary) OR {} NOT IN (SELECT oid FROM temporary))"
_SCHEMA_IS_TEMPORARY = "(SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp')"


def _relation(oid: str, *, column: bool = False) -> str:
    """SQL: the kind that a relation, or a column of it, is; NULL if none shows it."""
    names = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
    own = {"i": "index", "I": "index", "c": "type", "S": "sequence"}
    if column:
        names = {letter: f"{name} column" for letter, name in names.items()}
        own |= {"c": "composite type column"}
    cases = " ".join(f"WHEN '{letter}' THEN '{name}'" for letter, name in (names | own).items())
    return f"(SELECT CASE relkind {cases} ELSE '' END FROM pg_class of WHERE of.oid = {oid})"


#: SQL: the relation or domain of the constraint that a comment is on.
_OF_CONSTRAINT = (
    "(SELECT CASE WHEN conrelid <> 0 THEN conrelid ELSE contypid END FROM pg_constraint WHERE oid = objoid)"
)

#: SQL: what a comment or label is on, as far as its catalog does not tell.
_NOTED = f"""CASE WHEN classoid = 1259 AND objsubid = 0 THEN {_relation("objoid")}
                  WHEN classoid = 1259 THEN {_relation("objoid", column=True)}
                  WHEN classoid = 2606 AND EXISTS (SELECT FROM pg_constraint WHERE oid = objoid AND contype = 'n')
                  THEN coalesce({_relation(_OF_CONSTRAINT, column=True)}, 'type') END"""


@dataclass(frozen=True)
class Watched:
    """A catalog whose rows facts are made of.

    Attributes:
        catalog: the system table.
        oid: expression for the object its row belongs to (as in a fact's address).
        anchor: expression for the relation, type, … the object belongs to; what ``read_facts`` takes.
        where: which rows are users' rows. Temporary objects come and go all the time; they are no facts.
        since: first major version.
        subid: expression for the column number.
        classid: expression for the catalog of the object that a comment or label is on.
        restricted: only superusers may read it.
        kinds: expression for the kinds the row is a part of, separated by commas, where not all whose queries use
            the catalog can be meant. What else depends on the row does so by names: see ``Touched.kinds``.
    """

    catalog: str
    oid: str = "oid"
    anchor: str = ""
    where: str = "oid >= 16384"
    since: int = 0
    subid: str = "0"
    classid: str = "0"
    restricted: bool = False
    kinds: str = "NULL"


WATCHED: tuple[Watched, ...] = (
    Watched("pg_am"),
    Watched("pg_aggregate", "aggfnoid::oid", where="aggfnoid::oid >= 16384"),
    Watched("pg_amop", anchor="amopfamily"),
    Watched("pg_amproc", anchor="amprocfamily"),
    Watched(
        "pg_attrdef",
        "adrelid",
        where=f"oid >= 16384 AND {_NO_TEMPORARY.format('adrelid')}",
        subid="adnum",
        kinds=_relation("adrelid", column=True),
    ),
    Watched(
        "pg_attribute",
        "attrelid",
        where=f"attrelid >= 16384 AND attnum > 0 AND {_NO_TEMPORARY.format('attrelid')}",
        subid="attnum",
        kinds=_relation("attrelid", column=True),
    ),
    Watched("pg_auth_members", "roleid", "0::oid", "member >= 16384"),
    Watched("pg_authid", anchor="0::oid", restricted=True),
    Watched("pg_cast"),
    Watched(
        "pg_class",
        where="oid >= 16384 AND relpersistence <> 't'",
        kinds=_relation("pg_class.oid"),
    ),
    Watched("pg_collation"),
    Watched(
        "pg_constraint",
        anchor="CASE WHEN conrelid <> 0 THEN conrelid ELSE contypid END",
        where=f"oid >= 16384 AND connamespace NOT IN {_SCHEMA_IS_TEMPORARY}",
        kinds="CASE WHEN contypid <> 0 THEN 'domain constraint,type' WHEN contype IN ('p', 'u', 'x') "
        f"THEN 'table constraint,index' WHEN contype = 'n' THEN {_relation('conrelid', column=True)} "
        "ELSE 'table constraint' END",
    ),
    Watched("pg_conversion"),
    Watched("pg_database", where=f"oid = {THIS_DATABASE}"),
    Watched("pg_db_role_setting", "setrole", "0::oid", f"setdatabase IN (0, {THIS_DATABASE})"),
    Watched("pg_default_acl"),
    # Only what no other catalog tells: the members of extensions and the owners of sequences.
    Watched("pg_depend", "objid", where="refclassid = 3079 AND deptype = 'e'"),
    Watched(
        "pg_depend",
        "objid",
        where="classid = 1259 AND objid >= 16384 AND deptype = 'a' "
        "AND EXISTS (SELECT FROM pg_sequence s WHERE s.seqrelid = objid)",
    ),
    Watched(
        "pg_description",
        "objoid",
        f"CASE WHEN classoid = 2606 THEN {_OF_CONSTRAINT} ELSE objoid END",
        where="objoid >= 16384 OR objoid = 2200",
        subid="objsubid",
        classid="classoid",
        kinds=_NOTED,
    ),
    Watched("pg_enum", "enumtypid", where="enumtypid >= 16384"),
    Watched("pg_event_trigger"),
    Watched("pg_extension", where="true"),
    Watched("pg_foreign_data_wrapper"),
    Watched("pg_foreign_server"),
    Watched("pg_foreign_table", "ftrelid", where="ftrelid >= 16384"),
    Watched(
        "pg_index",
        "indexrelid",
        "indrelid",
        f"indexrelid >= 16384 AND {_NO_TEMPORARY.format('indrelid')}",
    ),
    Watched("pg_inherits", "inhrelid", where="inhrelid >= 16384"),
    Watched("pg_language"),
    Watched("pg_namespace", where="(oid >= 16384 OR oid = 2200) AND nspname !~ '^pg_(toast_)?temp'"),
    Watched("pg_opclass"),
    Watched("pg_operator"),
    Watched("pg_opfamily"),
    Watched("pg_partitioned_table", "partrelid", where="partrelid >= 16384"),
    Watched("pg_policy", anchor="polrelid"),
    Watched(
        "pg_proc",
        kinds="CASE prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END",
    ),
    Watched("pg_publication"),
    Watched("pg_publication_namespace", anchor="pnpubid", since=15),
    Watched("pg_publication_rel", anchor="prpubid"),
    Watched("pg_range", "rngtypid", where="rngtypid >= 16384"),
    Watched(
        "pg_rewrite",
        anchor="ev_class",
        where=f"oid >= 16384 AND {_NO_TEMPORARY.format('ev_class')}",
        kinds=f"CASE rulename WHEN '_RETURN' THEN {_relation('ev_class')} ELSE 'rule' END",
    ),
    Watched(
        "pg_seclabel",
        "objoid",
        where="objoid >= 16384 OR objoid = 2200",
        subid="objsubid",
        classid="classoid",
        kinds=_NOTED,
    ),
    Watched("pg_sequence", "seqrelid", where="seqrelid >= 16384"),
    Watched(
        "pg_shdescription", "objoid", where=f"objoid >= 16384 OR objoid = {THIS_DATABASE}", classid="classoid"
    ),
    Watched(
        "pg_shseclabel", "objoid", where=f"objoid >= 16384 OR objoid = {THIS_DATABASE}", classid="classoid"
    ),
    Watched("pg_statistic_ext", anchor="stxrelid"),
    Watched("pg_transform"),
    Watched(
        "pg_trigger",
        anchor="tgrelid",
        where=f"oid >= 16384 AND {_NO_TEMPORARY.format('tgrelid')}",
        kinds="CASE WHEN tgconstraint = 0 THEN 'trigger' ELSE 'trigger,table constraint' END",
    ),
    Watched("pg_ts_config"),
    Watched("pg_ts_config_map", "mapcfg", where="mapcfg >= 16384"),
    Watched("pg_ts_dict"),
    Watched("pg_ts_parser"),
    Watched("pg_ts_template"),
    Watched(
        "pg_type",
        where=f"oid >= 16384 AND typnamespace NOT IN {_SCHEMA_IS_TEMPORARY}",
        kinds=f"CASE WHEN typrelid <> 0 THEN {_relation('typrelid')} WHEN {IS_ARRAY} THEN '' ELSE 'type' END",
    ),
)

#: Catalogs whose rows are parts of facts, under an oid of their own.
PART_CATALOGS = frozenset({"pg_attrdef", "pg_enum"})
