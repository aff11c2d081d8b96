"""Who may log in and act as whom, in the whole cluster: kept beside the facts, since it is compared with nothing.

The kinds ``role`` and ``role membership`` hold what has to do with the database. A door may be open to a role that
owns nothing there: a superuser, a member of ``pg_write_server_files``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

#: One round trip. Names are SQL identifiers, and PUBLIC is the word: a role of that name has quotes.
_READ = """
SELECT json_build_object(
  'roles', (SELECT json_agg(json_build_array(quote_ident(rolname), rolsuper, rolinherit, rolcreaterole, rolcanlogin,
                                             rolreplication, rolbypassrls, oid = 10) ORDER BY rolname)
            FROM pg_roles),
  'memberships', (SELECT json_agg(json_build_array(quote_ident(r.rolname), quote_ident(u.rolname), m.admin_option,
                                                   {inherit}, {set_role}, quote_ident(g.rolname))
                                  ORDER BY r.rolname, u.rolname, g.rolname)
                  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
                  LEFT JOIN pg_roles g ON g.oid = m.grantor),
  'parameters', {parameters})"""
_PARAMETERS = """(SELECT json_agg(json_build_array(p.parname, coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type)
                        ORDER BY p.parname, r.rolname, a.privilege_type)
                  FROM pg_parameter_acl p, aclexplode(p.paracl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
                  WHERE a.grantee <> 10)"""

#: What each row of ``roles`` and ``memberships`` says, in order.
ROLE = (
    "name",
    "superuser",
    "inherit",
    "create_role",
    "login",
    "replication",
    "bypass_row_security",
    "bootstrap",
)
MEMBERSHIP = ("role", "member", "admin", "inherit", "set_role", "grantor")


def read(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Roles, memberships and privileges on settings, for ``snapshot.manifest["access"]``.

    Before 16 a membership has no options of its own: the member's INHERIT decides, and SET ROLE is always allowed.
    """
    major = connection.info.server_version // 10000
    text = _READ.format(
        inherit="m.inherit_option" if major >= 16 else "u.rolinherit",
        set_role="m.set_option" if major >= 16 else "true",
        parameters=_PARAMETERS if major >= 15 else "'[]'::json",
    )
    row = connection.execute(text.encode()).fetchone()
    found: dict[str, list[Any]] = row[0] if row else {}
    return {
        "roles": [dict(zip(ROLE, r, strict=True)) for r in found.get("roles") or ()],
        "memberships": [dict(zip(MEMBERSHIP, m, strict=True)) for m in found.get("memberships") or ()],
        "parameters": found.get("parameters") or [],
    }
