"""Privileges as text: PostgreSQL's own reading of an ACL is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditkit import server as servers
from auditkit.catalog.grants import PRIVILEGES, array, grants, unquote

ROLES = [
    "ek_owner",
    "plain",
    "we ird",
    'quo"te',
    "a,b=c/d",
    "{brace}",
    "Ünï 🐘",
    "select",
    "back\\slash",
    " ",
]
KINDS = {
    "r": "arwdDxtm",
    "s": "rwU",
    "f": "X",
    "n": "UC",
    "d": "CTc",
    "T": "U",
    "l": "U",
    "F": "U",
    "S": "U",
    "c": "arwx",
}


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection[Any]]:
    with (
        servers.start(label="grants") as server,
        psycopg.connect(server.conninfo(), autocommit=True) as connection,
    ):
        for role in ROLES:
            connection.execute(psycopg.sql.SQL("CREATE ROLE {}").format(psycopg.sql.Identifier(role)))
        yield connection


def expected(
    connection: psycopg.Connection[Any], acl: str | None, kind: str, owner: str
) -> tuple[str, ...] | None:
    """The same, computed by the server with aclexplode() and acldefault()."""
    if acl is None:
        return None
    rows = connection.execute(
        """
        WITH held AS (
            SELECT coalesce(r.rolname, '') AS who, privilege_type AS what, bool_or(is_grantable) AS again
            FROM aclexplode(%(acl)s::aclitem[]) x LEFT JOIN pg_roles r ON r.oid = x.grantee GROUP BY 1, 2),
        usual AS (
            SELECT coalesce(r.rolname, '') AS who, privilege_type AS what
            FROM aclexplode(acldefault(%(kind)s, (SELECT oid FROM pg_roles WHERE rolname = %(owner)s))) x
            LEFT JOIN pg_roles r ON r.oid = x.grantee)
        SELECT coalesce(h.who, u.who), coalesce(h.what, u.what), h.what IS NOT NULL,
               u.what IS NOT NULL, coalesce(h.again, false) AND h.who <> %(owner)s
        FROM held h FULL JOIN usual u ON u.who = h.who AND u.what = h.what
        """,
        {"acl": acl, "kind": kind, "owner": owner},
    ).fetchall()
    lines: dict[tuple[str, str], set[str]] = {}
    for who, what, held, usual, again in rows:
        name = "PUBLIC" if who == "" else "$owner" if who == owner else quoted(connection, who)
        if held and (again or not usual):
            lines.setdefault(("GRANT+" if again else "GRANT", name), set()).add(what)
        if usual and not held:
            lines.setdefault(("REVOKE", name), set()).add(what)
    order = list(PRIVILEGES.values())
    texts = []
    for (verb, name), what in lines.items():
        items = ", ".join(sorted(what, key=order.index))
        tail = " WITH GRANT OPTION" if verb == "GRANT+" else ""
        texts.append(f"REVOKE {items} FROM {name}" if verb == "REVOKE" else f"GRANT {items} TO {name}{tail}")
    return tuple(sorted(texts)) or None


def quoted(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT quote_ident(%s)", [name]).fetchone()
    assert row
    return str(row[0])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_grants_are_what_aclexplode_says(connection: psycopg.Connection[Any], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    owner = data.draw(st.sampled_from(ROLES))
    items = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["", *ROLES]),
                st.lists(st.sampled_from(KINDS[kind]), min_size=1, max_size=4, unique=True),
                st.booleans(),
            ),
            min_size=1,
            max_size=5,
        )
    )
    names = {name: f'"{name.replace(chr(34), chr(34) * 2)}"' if name else "" for name in ["", *ROLES]}
    texts = [
        f"{names[who]}={''.join(p + '*' * (again and who != '') for p in what)}/{names[owner]}"
        for who, what, again in items
    ]
    row = connection.execute("SELECT %s::aclitem[]::text", [texts]).fetchone()
    assert row
    acl = row[0]
    ident = quoted(connection, owner)
    assert grants(acl, kind, ident, connection.info.server_version) == expected(connection, acl, kind, owner)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_default_written_down_is_the_default(connection: psycopg.Connection[Any], kind: str) -> None:
    row = connection.execute(
        "SELECT acldefault(%s, (SELECT oid FROM pg_roles WHERE rolname = 'plain'))::text", [kind]
    ).fetchone()
    assert row
    assert grants(row[0], kind, "plain", connection.info.server_version) is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=12),
        max_size=4,
    )
)
def test_arrays_are_read_as_they_were_written(connection: psycopg.Connection[Any], items: list[str]) -> None:
    row = connection.execute("SELECT %s::text[]::text", [items]).fetchone()
    assert row
    assert array(row[0]) == tuple(items)


@pytest.mark.parametrize(("identifier", "name"), [("plain", "plain"), ('"a ""b"""', 'a "b"')])
def test_identifiers_are_unquoted(identifier: str, name: str) -> None:
    assert unquote(identifier) == name


def test_nothing_at_all_is_everything_revoked() -> None:
    assert grants("{}", "f", "x", 180000) == ("REVOKE EXECUTE FROM $owner", "REVOKE EXECUTE FROM PUBLIC")
