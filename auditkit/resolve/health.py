"""What a deployment leaves behind that works worse than before: invalid, not validated, disabled, unprotected, not granted.

Asked of two states of one server: of the rehearsal's shadow before the deployment, of the environment after it. What was
so before is not the deployment's doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auditkit.catalog.compare import Scope, compared_facts
from auditkit.catalog.snapshot import Fact, Key, Snapshot
from auditkit.resolve.objections import Objection, object_to

__all__ = ["health"]

#: Kinds that lose what was granted on them when they are dropped and made again under the same name.
_GRANTED = (
    "table",
    "view",
    "materialized view",
    "foreign table",
    "sequence",
    "function",
    "procedure",
    "schema",
    "type",
)


def health(before: Snapshot, after: Snapshot, scope: Scope, environment: str) -> list[Objection]:
    """What is wrong after and was not before; objects that are not compared are left out."""
    shown = {key for key, _ in compared_facts(after, scope)}
    found = [*_states(before, after, environment)]
    if scope.grants:
        found += _grants(before, after, environment)
    return [each for each in found if not each.objects or each.objects[0] in shown]


def _states(before: Snapshot, after: Snapshot, environment: str) -> Iterator[Objection]:
    def new(kind: str) -> Iterator[tuple[Fact, Fact | None]]:
        return ((fact, before.get(*fact.key)) for fact in after.iter(kind))

    def was(old: Fact | None, attribute: str) -> object:
        return old.attributes.get(attribute) if old else None

    for fact, old in new("index"):
        if fact.attributes.get("valid") is False and was(old, "valid") is not False:
            table = (fact.parent or "").rpartition(" on ")[2]
            sql = f"DROP INDEX CONCURRENTLY {fact.identity};"
            yield _one(
                "invalid_index",
                environment,
                "high",
                f"index {fact.identity} on {table} is not valid",
                fact.key,
                sql,
            )
    for kind in ("table constraint", "domain constraint"):
        for fact, old in new(kind):
            open_now = str(fact.attributes.get("definition")).endswith(" NOT VALID")
            if open_now and not str(was(old, "definition")).endswith(" NOT VALID"):
                name, _, whole = fact.identity.rpartition(" on ")
                what = "DOMAIN" if kind.startswith("domain") else "TABLE"
                sql = f"ALTER {what} {whole} VALIDATE CONSTRAINT {name};"
                title = f"{kind} {fact.identity} is NOT VALID: old rows may violate it"
                yield _one("not_validated", environment, "low", title, fact.key, sql)
    for fact, old in new("trigger"):
        if fact.attributes.get("enabled") == "disabled" and was(old, "enabled") != "disabled":
            name, _, table = fact.identity.rpartition(" on ")
            sql = f"ALTER TABLE {table} ENABLE TRIGGER {name};"
            yield _one(
                "trigger_off", environment, "high", f"trigger {fact.identity} is disabled", fact.key, sql
            )
    for fact, old in new("table"):
        yield from _row_security(fact, old, after, environment)


def _row_security(fact: Fact, old: Fact | None, after: Snapshot, environment: str) -> Iterator[Objection]:
    """Switched off; or not switched on where policies are, or where a platform's web API shows the table to all."""
    if fact.attributes.get("row_security"):
        return
    sql = f"ALTER TABLE {fact.identity} ENABLE ROW LEVEL SECURITY;"
    policies = any(policy.parent == fact.identity for policy in after.iter("policy"))
    if old is not None and old.attributes.get("row_security"):
        title = f"row level security of {fact.identity} is off"
        yield _one("row_security_off", environment, "critical", title, fact.key, sql)
    elif old is None and (policies or _anybody_reads(fact)):
        why = "it has policies" if policies else "anon may read it"
        title = f"row level security of the new table {fact.identity} is off, and {why}"
        yield _one("row_security_off", environment, "high", title, fact.key, sql)


def _anybody_reads(fact: Fact) -> bool:
    grants = fact.attributes.get("grants")
    return isinstance(grants, tuple) and any(
        grant.endswith(" TO anon") and "SELECT" in grant for grant in grants
    )


def _grants(before: Snapshot, after: Snapshot, environment: str) -> Iterator[Objection]:
    """Made anew, not altered: what others had been granted on it went with the old one."""
    for kind in _GRANTED:
        for old in before.iter(kind):
            fact = after.get(*old.key)
            if fact is None or fact.oid == old.oid:
                continue
            had, has = (_of(each.attributes.get("grants")) for each in (old, fact))
            lost = sorted(had - has)
            if lost:
                roles = sorted({whom for _, whom in lost})
                title = (
                    f"{kind} {fact.identity} was made anew and lost what was granted to {', '.join(roles)}"
                )
                yield _one("grants_lost", environment, "high", title, fact.key, _regrant(lost, fact))


def _of(grants: object) -> set[tuple[str, str]]:
    """(privilege, to whom), one by one."""
    found: set[tuple[str, str]] = set()
    for grant in grants if isinstance(grants, tuple) else ():
        if grant.startswith("GRANT "):
            privileges, _, whom = grant.removeprefix("GRANT ").rpartition(" TO ")
            found |= {(privilege.strip(), whom) for privilege in privileges.split(",")}
    return found


def _regrant(grants: Iterable[tuple[str, str]], fact: Fact) -> str:
    tables = ("view", "materialized view", "foreign table")
    what = "TABLE" if fact.kind in tables else fact.kind.upper()
    by_role: dict[str, list[str]] = {}
    for privilege, whom in grants:
        by_role.setdefault(whom, []).append(privilege)
    return "\n".join(f"GRANT {', '.join(p)} ON {what} {fact.identity} TO {w};" for w, p in by_role.items())


def _one(name: str, environment: str, severity: str, title: str, key: Key, sql: str) -> Objection:
    return object_to(name, environment, severity, title, objects=[key], sql=sql)
