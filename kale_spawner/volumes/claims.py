"""Volumes: made without a server, grown, deleted."""

from __future__ import annotations

import logging

from kale_spawner.errors import (
    Busy,
    ChoiceInvalid,
    Conflict,
    Denied,
    FieldError,
    KaleError,
    Rejected,
)
from kale_spawner.model.choices import DataVolume
from kale_spawner.model.claim import Claim
from kale_spawner.model.failures import not_grown
from kale_spawner.model.growth import Growth, clones_to_come, growth_error
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.quantity import parse_size
from kale_spawner.model.quota import quota_errors
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.model.sources import Sources
from kale_spawner.volumes.snapshots import Snapshots
from kale_spawner.volumes.storage import Storage, called, told

_log = logging.getLogger(__name__)


class Claims(Storage):
    """To make one, to let it grow, to delete it."""

    async def create(self, asked: DataVolume) -> Claim:
        """Make a volume that no server mounts yet. Raises ChoiceInvalid, with its fields."""
        (have, cluster), offers = await self._facts(), await self.spawner._offers()
        errors: dict[str, str] = {}
        if asked.source in ("existing", "shared"):
            errors["source"] = 'use one of "new", "snapshot", "clone" or "rok"'
        if not asked.name:
            errors["name"] = "give it a name"
        elif asked.name in have.claims:
            errors["name"] = f'you have a volume "{asked.name}" already; choose another name'

        def tell(field: str, message: str | None) -> None:
            if message:
                errors.setdefault(field.removeprefix("volume."), message)

        owner = self._owner()
        sources = Sources(have, self.spawner._limits(offers), owner, cluster, tell)
        if not errors:
            sources.take("volume", asked, "data", sized=asked.size is not None, named=True)
        if not errors:
            for error in quota_errors(sources.create, {}, cluster):
                tell(error.field, error.message)
        if errors:
            raise ChoiceInvalid([FieldError(*each) for each in errors.items()])
        (new,) = sources.create.values()
        with told():
            await self._objects.make_new_claim(self.spawner._claim_manifest(new, owner))
        return await self._seen_claim(new.name)

    async def grow(self, name: str, size: str) -> Claim:
        """Ask for a larger size than it has; less than before, where that is not reached. Raises
        ChoiceInvalid about the field `size`."""
        have, cluster = await self._facts()
        claim = self._claim(have, name)
        limits = self.spawner._limits(await self.spawner._offers())
        reason = growth_error(claim, size, limits, cluster, have.claims.values())
        if reason is None and parse_size(size) == claim.size_bytes:
            reason = f"it has {claim.capacity} already; write a larger size"
        if reason is None and parse_size(size) == claim.requested_bytes:
            reason = f"that was asked for already ({claim.stuck or 'it is growing'}); write another"
        if reason is None:
            errors = quota_errors({}, {"volume": Growth(claim, size)}, cluster)
            reason = next((error.message for error in errors), None)
        if reason is not None:
            raise ChoiceInvalid([FieldError("size", reason)])
        try:
            await self._objects.grow_claim(name, size)
        except (Conflict, Denied, Rejected) as exc:
            raise not_grown(name, size, exc.detail) from exc
        return await self._seen_claim(name, claim.requested_bytes)

    async def delete(
        self, name: str, last: bool | None = None, *, decided: bool = False
    ) -> str | None:
        """Begin to delete a volume; the name of the last snapshot, where one is taken first.

        last: whether one is asked for; None is as the settings say. decided: the settings have no
        say, and this returns when it is done. Raises Busy while anything mounts it. A snapshot
        that fails leaves the volume as it was.
        """
        have = await self._inventory()
        claim = self._claim(have, name)
        first = {"never": False, "always": True}.get(
            self._settings.snapshot_before_delete, bool(last)
        )
        if decided:
            first = bool(last)
        if claim.deleting:
            return None
        key, holds = self.spawner._key(name), self.spawner.holds
        if key in holds.deleting:
            raise Busy(f'"{name}" is being deleted already.')
        if starting := holds.starters(key):
            raise Busy(f'"{name}" is about to be used by {called(starting[0])}. Stop it first.')
        for clone in clones_to_come(claim, have.claims.values()):
            raise Busy(
                f'"{clone}" is to be a clone of "{name}", and was not mounted yet. Start a server '
                "with that first, or delete it first."
            )
        if claim.phase != "Bound":
            first = False  # nothing has been written to it
        holds.deleting[key] = "its last snapshot is being taken first" if first else "now"
        holds.told.pop(key, None)
        try:
            await self._unused(claim)
            taken = await Snapshots(self.spawner).take(name, reason="delete") if first else None
        except BaseException:
            del holds.deleting[key]
            raise
        waits = taken is None or decided
        work = self.later(self._delete(claim, taken, raises=waits))
        if waits:
            await work
        return taken.name if taken else None

    async def _delete(self, claim: Claim, last: Snapshot | None, *, raises: bool) -> None:
        key, holds = self.spawner._key(claim.name), self.spawner.holds
        try:
            if last is not None:
                await Snapshots(self.spawner).until_ready([last.name])
                await self._unused(claim)
            found = await self._objects.claim(claim.name)
            if found is not None and found["metadata"]["uid"] == claim.uid:
                with told():
                    await self._objects.delete_claim(found)
                await self._until_going(claims=[claim.name])
        except KaleError as exc:
            _log.warning("%s was not deleted: %s", key, exc)
            holds.told[key] = f"It was not deleted: {exc}"
            if raises:
                raise
        finally:
            holds.deleting.pop(key, None)
            watches = await self.spawner._watch()
            watches.wake_user(self.spawner.user.name, self.spawner.namespace)

    async def _unused(self, claim: Claim) -> None:
        """Raise Busy while any pod mounts it, also one that is nobody's server."""
        pods = await self._objects.users_of(claim.name)
        if not pods:
            return
        servers = [str(use) for use in claim.uses if use.server is not None]
        by = servers[0] if servers else f"pod {pods[0]['metadata']['name']}"
        raise Busy(f'"{claim.name}" is used by {by}. Stop that first; nothing was deleted.')

    async def _seen_claim(self, name: str, former: int = 0) -> Claim:
        """former: what was asked for before."""

        def seen(have: Inventory) -> bool:
            return name in have.claims and have.claims[name].requested_bytes != former

        return (await self._seen(seen)).claims[name]
