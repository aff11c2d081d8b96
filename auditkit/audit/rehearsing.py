"""Migrations rehearsed on a shadow of one environment, as it is and not as it was meant to be."""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.audit.meant import ground_like
from auditkit.audit.reading import scope_of
from auditkit.catalog.compare import Delta
from auditkit.catalog.grants import quote
from auditkit.catalog.snapshot import Snapshot
from auditkit.config import Settings
from auditkit.history.platform import Base, migration_role
from auditkit.history.shadow import Step
from auditkit.progress import Tell
from auditkit.resolve.proof import Stage
from auditkit.resolve.watching import Outcome, watch


def rehearse(
    snapshot: Snapshot, steps: Sequence[Step], settings: Settings, base: Base | None, progress: Tell
) -> Outcome:
    """Run *steps* on a shadow rebuilt from *snapshot*, as the role that runs its migrations.

    *base* is what the migrations were replayed on: what that settles is no difference here either.

    Raises:
        ServerFailed: no shadow could be started.
    """
    progress(0, 1, f"Rehearsing on a shadow of {snapshot.manifest['name']}")
    role = settings.shadow_role or migration_role(snapshot)
    ground, own = ground_like(settings, snapshot, snapshot, role)  # who read it does nothing here
    bases = [each for each in (own, base) if each]

    def settled(delta: Delta) -> bool:
        return delta.key == ("role", quote(role)) or any(
            each.settles(delta.kind, delta.identity, delta.attribute) for each in bases
        )

    return watch(snapshot, steps, Stage(ground, scope_of(settings, snapshot), settled))
