"""What is kept of a server: what it was last started with, snapshots by themselves, and what a
deleted server leaves.

It is also where the Volumes page and the REST API ask what the user has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import inspect

from kale_spawner.errors import ClusterError, KaleError, StartFailed
from kale_spawner.kube.start import Start
from kale_spawner.model.claim import Claim
from kale_spawner.model.mounts import Mount, claims_by_row
from kale_spawner.model.snapshot import SnapshotSet
from kale_spawner.model.taking import members_of_plan
from kale_spawner.page import PageSpawner
from kale_spawner.volumes import Claims, Sets
from kale_spawner.web.views import views
from kale_spawner.wire import SERVERNAME_LABEL

_DELETED_LOOKS, _DELETED_SECONDS = 300, 0.1


class KeepingSpawner(PageSpawner):
    """Keeps what its server had."""

    _last_image = ""
    """The image of the last start."""
    _snapshot_due = False
    """Whether the server has run, and what it left was not kept yet."""

    def _keep_choice(self, mounts: Sequence[Mount]) -> None:
        """The cluster took it, so this is what the page shows next time."""
        self._last_image = str(self.image)
        self.last_volumes = [asdict(member) for member in members_of_plan(mounts)]
        if self._choice is not None:
            own, claims = self._reads_form_itself, claims_by_row(mounts)
            self._last_choice = dict(self.user_options) if own else self._choice.settled(*claims)
            self.user_options = self._last_choice
        self._store()

    def forget_choice(self) -> None:
        """A refused choice does not replace the last good one."""
        self.user_options = self._last_choice or {}
        self._store()

    def _store(self) -> None:
        """Now: of a start that it does not see the end of, the hub keeps nothing by itself."""
        if self.orm_spawner is not None:
            self.orm_spawner.user_options = self.user_options
            self.orm_spawner.state = self.get_state()
            # It rolls back what a start left uncommitted when it handles another request.
            stored = inspect(self.orm_spawner, raiseerr=False)
            if stored is not None and stored.session is not None:
                stored.session.commit()

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self._last_choice is not None:
            state["kale_choice"] = self._last_choice
        if self.last_volumes:
            state["kale_volumes"] = self.last_volumes
            state["kale_image"] = self._last_image
        if self._snapshot_due:
            state["kale_snapshot_due"] = True
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._last_choice = state.get("kale_choice")
        self.last_volumes = list(state.get("kale_volumes") or ())
        self._last_image = state.get("kale_image") or ""
        self._snapshot_due = bool(state.get("kale_snapshot_due"))

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

    def _keep_later(self) -> None:
        """The server runs: its end is to be kept, however it comes."""
        self._snapshot_due = bool(self.last_volumes)
        self._store()

    async def poll(self) -> int | None:
        """As ever. A server that ended by itself, or while no hub was there, is kept now."""
        status: int | None = await super().poll()
        if status is not None and self._snapshot_due:
            await asyncio.shield(Sets(self).later(self._keep_at_stop()))
        return status

    async def _keep_at_stop(self) -> None:
        """A snapshot of what a server leaves, once, where the administrator wants that. A server
        that stops stays stopped, whatever comes of it."""
        settings, key = self.volumes_settings, self._pod_key
        if not self._snapshot_due or key in self.holds.stopping:
            return
        self.holds.stopping.add(key)
        try:
            if settings.snapshot_at_stop:
                saved = await self.snapshot_all(reason="stop")
                Sets(self).prune(saved, settings.keep_automatic)
        except Exception as exc:
            self.log.warning("%s: no snapshot at its stop: %r", self._log_name, exc)
        finally:
            self._snapshot_due = False
            self.holds.stopping.discard(key)
            self._store()

    async def delete_forever(self) -> None:
        """What becomes of the volumes of a server that is deleted: `KaleVolumes.when_deleted`
        says, and nothing else. Those that anything still mounts stay, and those that another
        server was last started with."""
        what = self.volumes_settings.when_deleted
        if what == "keep":
            self.log.info("%s: its volumes stay (KaleVolumes.when_deleted)", self._log_name)
            return
        claims, servers = (await self._inventory()).claims, dict(self.user.orm_user.orm_spawners)
        Claims(self).later(self._delete_volumes(claims.values(), servers, last=what == "snapshot"))

    async def _delete_volumes(
        self, claims: Collection[Claim], servers: Mapping[str, Any], *, last: bool
    ) -> None:
        """Once the server is deleted: of a user with another server that runs, the hub asks for
        it and then deletes neither."""
        for _ in range(_DELETED_LOOKS):
            if _is_deleted(self.orm_spawner):
                break
            await asyncio.sleep(_DELETED_SECONDS)
        else:
            self.log.warning("%s was not deleted; its volumes stay", self._log_name)
            return
        left = {name: each for name, each in servers.items() if not _is_deleted(each)}
        # What a clone is to be made from goes after the clone.
        for claim in sorted(claims, key=lambda each: each.phase == "Bound"):
            if not self._leaves(claim, left):
                continue
            try:
                snapshot = await Claims(self).delete(claim.name, last, decided=True)
                self.log.info(
                    "%s: deleted %s (last snapshot: %s)", self._log_name, claim.name, snapshot
                )
            except KaleError as exc:
                self.log.warning("%s: %s stays: %s", self._log_name, claim.name, exc)

    def _leaves(self, claim: Claim, left: Mapping[str, Any]) -> bool:
        """Whether a volume goes with this server: it was last started with it, and who made it is
        gone. The default server goes with its user, and takes all whose server is gone.

        left: the user's servers that are still there.
        """
        if claim.annotations.get(SERVERNAME_LABEL, "") in left:
            return False
        kept = [(each.state or {}).get("kale_volumes") or () for each in left.values()]
        if any(volume["claim"] == claim.name for volumes in kept for volume in volumes):
            self.log.info("%s: %s stays, another server has it", self._log_name, claim.name)
            return False
        return not self.name or any(each["claim"] == claim.name for each in self.last_volumes)


def _is_deleted(orm_spawner: Any) -> bool:
    """Whether the hub has deleted a server. Where there is no hub, it has."""
    stored = inspect(orm_spawner, raiseerr=False)
    return stored is None or not stored.persistent
