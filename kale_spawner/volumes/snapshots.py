"""Snapshots of single volumes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kale_spawner.errors import Busy, Missing, Refused
from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Owner
from kale_spawner.model.quota import snapshots_error
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.model.taking import (
    NewSnapshot,
    snapshot_class_error,
    snapshot_manifest,
    stamped,
)
from kale_spawner.volumes.storage import SNAPSHOT_SECONDS, Storage, Trouble, told


class Snapshots(Storage):
    """To take one, to wait for it, to delete it."""

    async def take(self, volume: str, name: str | None = None, reason: str = "") -> Snapshot:
        """Take one of a volume. Raises what stands in the way."""
        have, cluster = await self._facts()
        claim = self._claim(have, volume)
        self.can_take(have, [claim], cluster)
        if name and name in have.sets():
            raise Busy(f'You have a snapshot "{name}" of a whole server. Choose another name.')
        new = NewSnapshot(
            name or stamped(volume, datetime.now(UTC), have.snapshots),
            claim,
            self._class_of(claim, cluster),
            reason=reason,
        )
        await self._make([new], self._owner())
        return await self._seen_snapshot(new.name)

    async def delete(self, name: str) -> None:
        """Raises Busy for one of a set, which goes as a whole."""
        snapshot = (await self._inventory()).snapshots.get(name)
        if snapshot is None:
            raise Missing(f'You have no snapshot "{name}".')
        if snapshot.set:
            raise Busy(
                f'"{name}" belongs to the snapshot "{snapshot.set}" of a whole server. Delete that.'
            )
        await self._delete([snapshot])

    async def until_ready(self, names: Sequence[str]) -> None:
        """Return once all these snapshots are. Raises Busy when one fails, or takes too long."""

        troubles = {name: Trouble() for name in names}

        def ready(have: Inventory) -> bool:
            for name in names:
                found = have.snapshots.get(name)
                if found is None:
                    raise Busy(f'snapshot "{name}" was deleted meanwhile.')
                if troubles[name].stays("" if found.ready else found.error):
                    raise Busy(f'snapshot "{name}" failed: {found.error}')
            return all(have.snapshots[name].ready for name in names)

        late = f"a snapshot was not ready after {SNAPSHOT_SECONDS:.0f} seconds"
        await self._seen(ready, SNAPSHOT_SECONDS, late)

    def can_take(self, have: Inventory, claims: Sequence[Claim], cluster: Cluster) -> None:
        """Raises Refused or Busy where no snapshot of one of these can be taken."""
        if have.snapshots_missing:
            raise Refused(have.snapshots_missing, "no-snapshots")
        for claim in claims:
            if reason := snapshot_class_error(claim):
                raise Busy(f"No snapshot can be taken: {reason}.")
        if too_many := snapshots_error(len(claims), cluster):
            raise Refused(too_many, "quota")

    def _class_of(self, claim: Claim, cluster: Cluster) -> str:
        """Of the claim's driver; where that is not known, the only one there is; "" leaves it to
        the cluster."""
        known = cluster.snapshot_classes
        storage_class = cluster.storage_class(claim.storage_class)
        if storage_class is None or known is None:
            return next(iter(known)) if known and len(known) == 1 else ""
        found = cluster.snapshot_class_for(storage_class.provisioner)
        if found is None:
            raise Refused(
                f'There is no class of snapshots for "{claim.name}" (VolumeSnapshotClass of driver '
                f"{storage_class.provisioner}). Ask your administrator.",
                "snapshot-class",
            )
        return found.name

    async def _make(self, news: Sequence[NewSnapshot], owner: Owner) -> None:
        with told():
            await self._snapshots.make_all([snapshot_manifest(new, owner) for new in news])

    async def _delete(self, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            found = await self._snapshots.read(snapshot.name)
            if found is not None and found["metadata"]["uid"] == snapshot.uid:
                with told():
                    await self._snapshots.delete(found)
        await self._until_going(snapshots=[each.name for each in snapshots])

    async def _seen_snapshot(self, name: str) -> Snapshot:
        return (await self._seen(lambda have: name in have.snapshots)).snapshots[name]
