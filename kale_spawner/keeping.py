"""What is kept of a server's volumes: snapshots by themselves, and what a deleted server leaves.

It is also where the Volumes page and the REST API ask what the user has.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kale_spawner.errors import ClusterError, KaleError, StartFailed
from kale_spawner.kube.start import Start
from kale_spawner.model.snapshot import SnapshotSet
from kale_spawner.page import PageSpawner
from kale_spawner.volumes import Claims, Sets
from kale_spawner.web.views import views
from kale_spawner.wire import SERVERNAME_LABEL


class KeepingSpawner(PageSpawner):
    """Keeps what its server had."""

    _last_image = ""
    """The image of the last start."""

    async def storage_views(self) -> dict[str, Any]:
        """What its user has, as the API and the Volumes page tell it."""
        have, cluster = await asyncio.gather(self._inventory(), self._cluster())
        Sets(self).adopt(have)
        claims = {**have.claims, **have.shared_claims}
        nodes = {use.node for claim in claims.values() for use in claim.uses}
        usage = await self.kubelets.usage(nodes)
        here = {name: self._key(name) for name in claims}
        return views(
            have,
            cluster,
            {claim: each for (place, claim), each in usage.items() if place == self.namespace},
            {name: self.holds.deleting.get(key, "") for name, key in here.items()},
            {name: self.holds.told.get(key, "") for name, key in here.items()},
        )

    async def snapshot_all(self, name: str | None = None, reason: str = "") -> SnapshotSet:
        """A snapshot of each volume of this server, with the choice that started it."""
        sets = Sets(self)
        choice = self._last_choice or {}
        return await sets.take_all(await sets.members(), choice, name, reason)

    async def _keep_before_image_change(self, start: Start) -> None:
        """A snapshot of what the last image left, where the administrator wants that."""
        changes = self._last_image and self._last_image != self.image
        settings = self.volumes_settings
        if not settings.snapshot_before_image_change or not changes or not self.last_volumes:
            return
        start.said.append("A snapshot is taken before the image changes")
        sets = Sets(self)
        try:
            saved = await self.snapshot_all(reason="image")
            await sets.until_all_ready(saved.name)
        except ClusterError:
            raise
        except KaleError as exc:
            raise StartFailed(
                f"The snapshot before the change of image could not be taken: {exc} "
                "Start with the former image, or ask your administrator.",
                "snapshot",
            ) from exc
        await sets.keep_latest(self.name or "", settings.keep_automatic)

    async def _keep_at_stop(self) -> None:
        """A snapshot of what a server leaves, where the administrator wants that. A server that
        stops stays stopped, whatever comes of it."""
        settings = self.volumes_settings
        if not settings.snapshot_at_stop or not self.last_volumes:
            return
        try:
            saved = await self.snapshot_all(reason="stop")
            Sets(self).prune(saved, settings.keep_automatic)
        except KaleError as exc:
            self.log.warning("%s: no snapshot at its stop: %s", self._log_name, exc)

    async def delete_forever(self) -> None:
        """What becomes of the volumes of a server that is deleted: `KaleVolumes.when_deleted`
        says, and nothing else. Those that anything still mounts stay."""
        what = self.volumes_settings.when_deleted
        if what == "keep":
            self.log.info("%s: its volumes stay (KaleVolumes.when_deleted)", self._log_name)
            return
        claims = Claims(self)
        for claim in list((await self._inventory()).claims.values()):
            if claim.annotations.get(SERVERNAME_LABEL, "") != (self.name or ""):
                continue
            try:
                last = await claims.delete(claim.name, what == "snapshot", decided=True)
                self.log.info(
                    "%s: deleted %s (last snapshot: %s)", self._log_name, claim.name, last
                )
            except KaleError as exc:
                self.log.warning("%s: %s stays: %s", self._log_name, claim.name, exc)
