"""Snapshots of a whole server: all its volumes and the choice that started it, as one set.

Where all volumes are of one driver that can, a VolumeGroupSnapshot takes them at one instant. The
cluster makes its snapshots without anything of ours; they are adopted by a patch that the group
itself holds, so that any later hub can do it too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kale_spawner.errors import Busy, ClusterError, Denied, KaleError, Missing, Refused
from kale_spawner.kube.snapshots import SnapshotObjects
from kale_spawner.model import marks
from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Owner
from kale_spawner.model.snapshot import Group, SnapshotSet
from kale_spawner.model.taking import (
    Member,
    NewSnapshot,
    SetMark,
    adoption,
    group_label,
    group_manifest,
    members_of_pod,
    new_name,
    new_names,
    restored_choice,
    stamped,
)
from kale_spawner.volumes.snapshots import Snapshots
from kale_spawner.volumes.storage import SNAPSHOT_SECONDS, Trouble, called, told
from kale_spawner.wire import APP_CONTAINER

_log = logging.getLogger(__name__)


class Sets(Snapshots):
    """Of the spawner's server, or by their names."""

    async def take_all(
        self, members: Sequence[Member], choice: Mapping[str, Any], name: str | None, reason: str
    ) -> SnapshotSet:
        """Take one of each of a server's volumes, all or none; of what is shared, none."""
        server = self.spawner.name or ""
        have, cluster = await self._facts()
        own = [each for each in members if each.claim in have.claims]
        if not own:
            raise Busy(
                f"There are no volumes of {called(server)} that could be kept. "
                "Start it once with a volume of your own."
            )
        claims = [have.claims[each.claim] for each in own]
        self.can_take(have, claims, cluster)
        owner = self._owner()
        name = name or stamped(owner.slug, datetime.now(UTC), have.sets())
        if (former := have.sets().get(name)) is not None:
            what = "is still being deleted" if former.deleting else "of a server is there already"
            raise Busy(f'Your snapshot "{name}" {what}. Choose another name.')
        mark = SetMark(name, len(own), server, choice)
        news = [
            NewSnapshot(
                new_name(name, owner, number),
                claim,
                self._class_of(claim, cluster),
                member.mount,
                member.role,
                reason,
                mark,
                number,
            )
            for number, (member, claim) in enumerate(zip(own, claims, strict=True), 1)
        ]
        if name in have.snapshots:
            raise Busy(f'You have a snapshot "{name}" of a volume. Choose another name.')
        key, taking = self._key(name), self.spawner.holds.taking
        if key in taking:
            raise Busy(f'A snapshot "{name}" is being taken already.')
        taking.add(key)
        try:
            if not await self._make_group(news, cluster, owner):
                await self._make(news, owner)
                for new in news:
                    await self._seen_snapshot(new.name)
            return (await self._seen(lambda have: name in have.sets())).sets()[name]
        finally:
            taking.discard(key)

    async def members(self) -> list[Member]:
        """The volumes of this spawner's server: of its pod, else of what it was started with."""
        watches = await self.spawner._watch()
        pod = watches.pods.resources.get(self.spawner._pod_key)
        if pod is not None:
            return members_of_pod(pod, APP_CONTAINER)
        return [Member(**each) for each in self.spawner.last_volumes]

    async def delete_all(self, name: str) -> None:
        have = await self._inventory()
        saved = self.named(have, name)
        if not saved.grouped:
            await self._delete(saved.snapshots)
            return
        groups = await self._groups()
        if have.groups is None or groups is None:
            raise Refused(
                f'The hub may not see the group of snapshots "{name}" (VolumeGroupSnapshot). '
                "Ask your administrator.",
                "groups",
            )
        if saved.group is not None:
            metadata = {"name": saved.group.name, "uid": saved.group.uid}
            with told():
                await groups.delete({"metadata": metadata})  # and the cluster, its snapshots

        def going(have: Inventory) -> bool:
            found = have.sets().get(name)
            return found is None or found.deleting

        await self._seen(going)

    def named(self, have: Inventory, name: str) -> SnapshotSet:
        found = have.sets().get(name)
        if found is None:
            raise Missing(f'You have no snapshot "{name}" of a whole server.')
        return found

    async def until_all_ready(self, name: str) -> None:
        """Return once a volume can be made from each. Raises Busy when that fails, or is late."""

        trouble = Trouble()

        def ready(have: Inventory) -> bool:
            found = self.named(have, name)
            failed = [each.error for each in found.snapshots if each.error and not each.ready]
            error = found.error or next(iter(failed), "")
            if trouble.stays(error):
                raise Busy(f'snapshot "{name}" failed: {error}')
            return found.ready

        late = f'snapshot "{name}" was not ready after {SNAPSHOT_SECONDS:.0f} seconds'
        await self._seen(ready, SNAPSHOT_SECONDS, late)

    async def restored(self, name: str, server: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The choice that starts `server` with what a set holds, and its new volumes by the old.

        Raises Busy for a set that is not whole or not ready.
        """
        have = await self._inventory()
        saved = self.named(have, name)
        if saved.deleting:
            raise Busy(f'Snapshot "{name}" is being deleted.')
        if saved.error:
            raise Busy(f'Snapshot "{name}" failed: {saved.error}. Delete it, and take another.')
        if saved.taking:
            raise Busy(f'Snapshot "{name}" is not ready yet; try again soon.')
        if not saved.whole:
            raise Busy(
                f'Of the snapshot "{name}", {len(saved.snapshots)} of {saved.size} volumes are '
                "there. Make new volumes from those, one by one, on the spawn page."
            )
        for snapshot in saved.snapshots:
            if snapshot.unready:
                raise Busy(snapshot.unready[:1].upper() + snapshot.unready[1:] + ".")
        owner = Owner(self.spawner.user.name, server)
        names = new_names(saved, owner, have, datetime.now(UTC))
        old = [each.volume for each in saved.snapshots]
        return restored_choice(saved, names), dict(zip(old, names, strict=True))

    def prune(self, saved: SnapshotSet, most: int) -> None:
        """Once it is ready, keep only the latest `most` of the sets of its server."""
        self.later(self._pruned(saved, most))

    async def _pruned(self, saved: SnapshotSet, most: int) -> None:
        try:
            await self.until_all_ready(saved.name)
            await self.keep_latest(saved.server, most)
        except KaleError as exc:
            _log.warning("older automatic snapshots stay beside %s: %s", saved.name, exc)

    async def keep_latest(self, server: str, most: int) -> None:
        """Of the sets that were taken by themselves, the latest `most` that are ready stay, and
        all that are younger than those."""
        have = await self._inventory()
        taken = [s for s in have.sets().values() if s.reason and s.server == server]
        ready = [each for each in taken if each.ready]
        for each in taken[taken.index(ready[most - 1]) + 1 :] if len(ready) >= most else ():
            if not each.deleting:
                _log.info("removing the automatic snapshot %s of %s", each.name, called(server))
                await self.delete_all(each.name)

    def adopt(self, have: Inventory) -> None:
        """Begin to make known the snapshots of groups that are taken, where that is not under
        way: a hub that ended meanwhile has left them."""
        for saved in have.sets().values():
            if saved.taking and not saved.deleting:
                self._adopt(saved.name)

    # --- the parts of it ----------------------------------------------------------------

    async def _make_group(
        self, news: Sequence[NewSnapshot], cluster: Cluster, owner: Owner
    ) -> bool:
        """Whether a VolumeGroupSnapshot takes them. Where the hub may not, it does not."""
        claims = [new.claim for new in news]
        group_class, groups = self._group_class(claims, cluster), await self._groups()
        if not group_class or groups is None or len(claims) < 2:
            return False
        group = group_manifest(news, group_class, groups.resource[1], owner)
        name = group["metadata"]["labels"][marks.SET]
        with told():
            try:
                for claim in claims:
                    await self._objects.label_claim(claim.name, {group_label(claims): "true"})
                await groups.make_all([group])
            except Denied as exc:
                _log.warning("%s: one snapshot after the other, no group: %s", name, exc.detail)
                return False
        await self._seen(lambda have: name in (have.groups or {}))
        self._adopt(name)
        return True

    def _key(self, name: str) -> str:
        """What `Holds` knows a set by."""
        return f"{self.spawner.namespace}/{self.spawner.user.name}/{name}"

    async def _groups(self) -> SnapshotObjects | None:
        """VolumeGroupSnapshots, where they can be seen here."""
        resource = await self.spawner._group_resource()
        return SnapshotObjects.beside(self._objects, resource) if resource else None

    def _group_class(self, claims: Sequence[Claim], cluster: Cluster) -> str:
        """That can take all of these at one instant, or ""."""
        if not self._settings.group_snapshots:
            return ""
        classes = [cluster.storage_class(each.storage_class) for each in claims]
        drivers = {each.provisioner if each else "" for each in classes}
        found = cluster.group_class_for(drivers.pop()) if len(drivers) == 1 else None
        return found.name if found else ""

    def _adopt(self, name: str) -> None:
        key, adopting = self._key(name), self.spawner.holds.adopting
        if key not in adopting:
            adopting.add(key)
            self.later(self._adopting(name)).add_done_callback(lambda _: adopting.discard(key))

    async def _adopting(self, name: str) -> None:
        """Until all snapshots of the group are known, or nothing more is to come."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + SNAPSHOT_SECONDS, 0.2
        watches = await self.spawner._watch()
        with watches.waiter_of_user(self.spawner.user.name, self.spawner.namespace) as waiter:
            while loop.time() < deadline:
                saved = (await self._inventory()).sets().get(name)
                if saved is None or saved.group is None or not saved.taking or saved.deleting:
                    return
                if saved.group.ready:
                    await self._adopt_now(saved.group)
                    pause = min(pause * 2, 5.0)
                await waiter.wait(pause)

    async def _adopt_now(self, taken: Group) -> None:
        groups = await self._groups()
        try:
            group = await groups.read(taken.name) if groups else None
            for snapshot in await self._snapshots.everyones() if group else ():
                if group and (patch := adoption(group, snapshot)):
                    await self._snapshots.patch(snapshot["metadata"]["name"], patch)
        except ClusterError as exc:
            _log.warning("the snapshots of %s are not known yet: %s", taken.set, exc.detail or exc)
