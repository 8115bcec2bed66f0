"""What a user does with volumes apart from starting a server.

Everything is checked, in words with a way out, before anything is made. What somebody else has
reads like what is not there.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from kale_spawner.errors import (
    Busy,
    ChoiceInvalid,
    Conflict,
    Denied,
    FieldError,
    KaleError,
    Missing,
    Refused,
    Rejected,
)
from kale_spawner.kube.objects import Objects
from kale_spawner.kube.snapshots import SnapshotObjects
from kale_spawner.kube.watch import Watches
from kale_spawner.model.choices import DataVolume
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.failures import not_grown, refusal
from kale_spawner.model.holds import Holds
from kale_spawner.model.inventory import Claim, Inventory, Snapshot, SnapshotSet
from kale_spawner.model.limits import Limits, Owner
from kale_spawner.model.quantity import parse_size
from kale_spawner.model.quota import quota_errors
from kale_spawner.model.snapshots import (
    Member,
    NewSnapshot,
    SetMark,
    members_of_pod,
    new_names,
    restored_choice,
    snapshot_class_error,
    snapshot_manifest,
    stamped,
)
from kale_spawner.model.sources import Growth, NewClaim, Sources, growth_error
from kale_spawner.settings import KaleVolumes
from kale_spawner.wire import APP_CONTAINER

_log = logging.getLogger(__name__)
_SNAPSHOT_SECONDS = 600.0
_SEEN_SECONDS = 15.0


class Server(Protocol):
    """What is needed of a spawner: its user, what they have, and what they may have."""

    name: str
    namespace: str
    user: Any
    volumes_settings: KaleVolumes
    holds: ClassVar[Holds]
    background: ClassVar[set[asyncio.Future[None]]]
    last_volumes: list[dict[str, Any]]

    @property
    def _pod_key(self) -> str: ...
    def _key(self, name: str) -> str: ...
    def _objects(self) -> Objects: ...
    def _owner(self, start: str = "") -> Owner: ...
    def _claim_manifest(self, new: NewClaim, owner: Owner) -> dict[str, Any]: ...
    def _limits(self, offers: Any) -> Limits: ...
    async def _offers(self) -> Any: ...
    async def _watch(self) -> Watches: ...
    async def _inventory(self) -> Inventory: ...
    async def _cluster(self, fresh: bool = False) -> Cluster: ...


class Volumes:
    """Of one user, by the spawner of any of their servers."""

    def __init__(self, spawner: Server) -> None:
        self.spawner = spawner
        self._objects = spawner._objects()
        self._snapshots = SnapshotObjects.beside(self._objects)
        self._settings = spawner.volumes_settings

    # --- snapshots ----------------------------------------------------------------------

    async def snapshot(self, volume: str, name: str | None = None, reason: str = "") -> Snapshot:
        """Take one of a volume. Raises what stands in the way."""
        have, cluster = await self._facts()
        claim = self._claim(have, volume)
        self._can_snapshot(have, [claim])
        new = NewSnapshot(
            name or stamped(volume, _now(), have.snapshots),
            claim,
            self._snapshot_class(claim, cluster),
            reason=reason,
        )
        await self._make([new], self._owner())
        return await self._seen_snapshot(new.name)

    async def snapshot_server(
        self, members: Sequence[Member], choice: Mapping[str, Any], name: str | None, reason: str
    ) -> SnapshotSet:
        """Take one of each of a server's volumes, all or none; of what is shared, none."""
        server = self.spawner.name or ""
        have, cluster = await self._facts()
        own = [each for each in members if each.claim in have.claims]
        if not own:
            raise Busy(
                f"{_server(server)} has no volumes of its own that could be kept. "
                "Start it once with a volume."
            )
        claims = [have.claims[each.claim] for each in own]
        self._can_snapshot(have, claims)
        owner = self._owner()
        name = name or stamped(owner.slug, _now(), have.sets())
        if name in have.sets():
            raise Busy(f'You have a snapshot "{name}" of a server already. Choose another name.')
        mark = SetMark(name, len(own), server, choice)
        news = [
            NewSnapshot(
                f"{name[:58]}-{number}",
                claim,
                self._snapshot_class(claim, cluster),
                member.mount,
                member.role,
                reason,
                mark,
            )
            for number, (member, claim) in enumerate(zip(own, claims, strict=True), 1)
        ]
        await self._make(news, owner)
        for new in news:
            await self._seen_snapshot(new.name)
        return (await self._inventory()).sets()[name]

    async def members(self) -> list[Member]:
        """The volumes of this spawner's server: of its pod, else of what it was started with."""
        watches = await self.spawner._watch()
        pod = watches.pods.resources.get(self.spawner._pod_key)
        if pod is not None:
            return members_of_pod(pod, APP_CONTAINER)
        return [Member(**each) for each in self.spawner.last_volumes]

    async def delete_snapshot(self, name: str) -> None:
        """Raises Busy for one of a set, which goes as a whole."""
        snapshot = (await self._inventory()).snapshots.get(name)
        if snapshot is None:
            raise Missing(f'You have no snapshot "{name}".')
        if snapshot.set:
            raise Busy(
                f'"{name}" belongs to the snapshot "{snapshot.set}" of a whole server. Delete that.'
            )
        await self._delete_snapshots([snapshot])

    async def delete_set(self, name: str) -> None:
        await self._delete_snapshots(self.set_named(await self._inventory(), name).snapshots)

    def set_named(self, have: Inventory, name: str) -> SnapshotSet:
        found = have.sets().get(name)
        if found is None:
            raise Missing(f'You have no snapshot "{name}" of a whole server.')
        return found

    async def restored(self, name: str, server: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The choice that starts `server` with what a set holds, and its new volumes by the old.

        Raises Busy for a set that is not whole or not ready.
        """
        have = await self._inventory()
        saved = self.set_named(have, name)
        if not saved.whole:
            raise Busy(
                f'Of the snapshot "{name}", {len(saved.snapshots)} of {saved.size} volumes are '
                "there. Make new volumes from those, one by one, on the spawn page."
            )
        for snapshot in saved.snapshots:
            if snapshot.unready:
                raise Busy(snapshot.unready[:1].upper() + snapshot.unready[1:] + ".")
        owner = Owner(self.spawner.user.name, server)
        names = new_names(saved, owner, have, _now())
        old = [each.volume for each in saved.snapshots]
        return restored_choice(saved, names), dict(zip(old, names, strict=True))

    async def keep_latest(self, server: str, most: int) -> None:
        """Of the sets that were taken by themselves, the latest `most` that are ready stay, and
        all that are younger than those."""
        have = await self._inventory()
        taken = [s for s in have.sets().values() if s.reason and s.server == server]
        ready = [each for each in taken if each.ready]
        for each in taken[taken.index(ready[most - 1]) + 1 :] if len(ready) >= most else ():
            _log.info("removing the automatic snapshot %s of %s", each.name, _server(server))
            await self._delete_snapshots(each.snapshots)

    # --- volumes ------------------------------------------------------------------------

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
        with _told():
            await self._objects.make_new_claim(self.spawner._claim_manifest(new, owner))
        return await self._seen_claim(new.name)

    async def grow(self, name: str, size: str) -> Claim:
        """Ask for a larger size. Raises ChoiceInvalid about the field `size`."""
        have, cluster = await self._facts()
        claim = self._claim(have, name)
        limits = self.spawner._limits(await self.spawner._offers())
        reason = growth_error(claim, size, limits, cluster)
        if reason is None and parse_size(size) <= max(claim.size_bytes, claim.requested_bytes):
            reason = f"it has {claim.capacity} already, or is growing to that; write a larger size"
        if reason is None:
            errors = quota_errors({}, {"volume": Growth(claim, size)}, cluster)
            reason = next((error.message for error in errors), None)
        if reason is not None:
            raise ChoiceInvalid([FieldError("size", reason)])
        try:
            await self._objects.grow_claim(name, size)
        except (Conflict, Denied, Rejected) as exc:
            raise not_grown(name, size, exc.detail) from exc
        return await self._seen_claim(name, parse_size(size))

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
            raise Busy(f'"{name}" is about to be used by {_server(starting[0])}. Stop it first.')
        if claim.phase != "Bound":
            first = False  # nothing has been written to it
        if first:
            self._can_snapshot(have, [claim])
        holds.deleting[key] = "its last snapshot is being taken first" if first else "now"
        holds.told.pop(key, None)
        try:
            await self._unused(claim)
            taken = await self.snapshot(name, reason="delete") if first else None
        except BaseException:
            del holds.deleting[key]
            raise
        waits = taken is None or decided
        work = asyncio.ensure_future(self._delete(claim, taken, raises=waits))
        self.spawner.background.add(work)
        work.add_done_callback(self.spawner.background.discard)
        if waits:
            await work
        return taken.name if taken else None

    async def _delete(self, claim: Claim, last: Snapshot | None, *, raises: bool) -> None:
        key, holds = self.spawner._key(claim.name), self.spawner.holds
        try:
            if last is not None:
                await self.until_ready([last.name])
                await self._unused(claim)
            found = await self._objects.claim(claim.name)
            if found is not None and found["metadata"]["uid"] == claim.uid:
                await self._objects.delete_claim(found)
                await self._until_going(claim.name)
        except KaleError as exc:
            _log.warning("%s was not deleted: %s", key, exc)
            holds.told[key] = f"It was not deleted: {exc}"
            if raises:
                raise
        finally:
            holds.deleting.pop(key, None)
            watches = await self.spawner._watch()
            watches.wake_user(self.spawner.user.name, self.spawner.namespace)

    async def until_ready(self, names: Sequence[str]) -> None:
        """Return once all these snapshots are. Raises Busy when one fails, or takes too long."""

        def ready(have: Inventory) -> bool:
            for name in names:
                found = have.snapshots.get(name)
                if found is None:
                    raise Busy(f'snapshot "{name}" was deleted meanwhile.')
                if found.error and not found.ready:
                    raise Busy(f'snapshot "{name}" failed: {found.error}')
            return all(have.snapshots[name].ready for name in names)

        late = f"a snapshot was not ready after {_SNAPSHOT_SECONDS:.0f} seconds"
        await self._seen(ready, _SNAPSHOT_SECONDS, late)

    # --- the parts of it ----------------------------------------------------------------

    async def _facts(self) -> tuple[Inventory, Cluster]:
        have, cluster = await asyncio.gather(self._inventory(), self.spawner._cluster(fresh=True))
        return have, cluster

    async def _inventory(self) -> Inventory:
        return await self.spawner._inventory()

    def _owner(self) -> Owner:
        """With a mark of its own, by which what is made for it now is known again."""
        return self.spawner._owner(uuid.uuid4().hex)

    def _claim(self, have: Inventory, name: str) -> Claim:
        found = have.claims.get(name)
        if found is None:
            raise Missing(f'You have no volume "{name}".')
        return found

    def _can_snapshot(self, have: Inventory, claims: Sequence[Claim]) -> None:
        if have.snapshots_missing:
            raise Refused(have.snapshots_missing, "no-snapshots")
        for claim in claims:
            if reason := snapshot_class_error(claim):
                raise Busy(f"No snapshot can be taken: {reason}.")

    def _snapshot_class(self, claim: Claim, cluster: Cluster) -> str:
        """Of the claim's driver; "" leaves it to the cluster where that is not known."""
        storage_class = cluster.storage_class(claim.storage_class)
        if storage_class is None or cluster.snapshot_classes is None:
            return ""
        found = cluster.snapshot_class_for(storage_class.provisioner)
        if found is None:
            raise Refused(
                f'There is no class of snapshots for "{claim.name}" (VolumeSnapshotClass of driver '
                f"{storage_class.provisioner}). Ask your administrator.",
                "snapshot-class",
            )
        return found.name

    async def _make(self, news: Sequence[NewSnapshot], owner: Owner) -> None:
        with _told():
            await self._snapshots.make_all([snapshot_manifest(new, owner) for new in news])

    async def _unused(self, claim: Claim) -> None:
        """Raise Busy while any pod mounts it, also one that is nobody's server."""
        pods = await self._objects.users_of(claim.name)
        if not pods:
            return
        servers = [str(use) for use in claim.uses if use.server is not None]
        by = servers[0] if servers else f"pod {pods[0]['metadata']['name']}"
        raise Busy(f'"{claim.name}" is used by {by}. Stop that first; nothing was deleted.')

    async def _delete_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        for snapshot in snapshots:
            found = await self._snapshots.snapshot(snapshot.name)
            if found is not None and found["metadata"]["uid"] == snapshot.uid:
                with _told():
                    await self._snapshots.delete(found)
        await self._until_going_snapshots([each.name for each in snapshots])

    async def _seen_snapshot(self, name: str) -> Snapshot:
        return (await self._seen(lambda have: name in have.snapshots)).snapshots[name]

    async def _seen_claim(self, name: str, size: int = 0) -> Claim:
        def seen(have: Inventory) -> bool:
            return name in have.claims and have.claims[name].requested_bytes >= size

        return (await self._seen(seen)).claims[name]

    async def _until_going(self, name: str) -> None:
        await self._seen(lambda have: name not in have.claims or have.claims[name].deleting)

    async def _until_going_snapshots(self, names: Sequence[str]) -> None:
        def going(have: Inventory) -> bool:
            return all(n not in have.snapshots or have.snapshots[n].deleting for n in names)

        await self._seen(going)

    async def _seen(
        self,
        met: Callable[[Inventory], bool],
        seconds: float = _SEEN_SECONDS,
        late: str = "It was done, but does not show yet. Look again soon.",
    ) -> Inventory:
        """What the user has, once that is so: by default, once the watches have caught up with
        what was done just now. Raises Busy, with `late`, after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        watches = await self.spawner._watch()
        with watches.waiter_of_user(self.spawner.user.name, self.spawner.namespace) as waiter:
            while not met(have := await self._inventory()):
                if loop.time() > deadline:
                    raise Busy(late)
                await waiter.wait(1.0)
        return have


@contextmanager
def _told() -> Iterator[None]:
    """Refusals of the API server in words for the user."""
    try:
        yield
    except Denied as exc:
        raise refusal(exc.detail) from exc
    except Rejected as exc:
        raise Refused(
            f"The cluster finds this invalid: {exc.detail}. Ask your administrator.", "invalid"
        ) from exc


def _server(name: str) -> str:
    return f"server {name}" if name else "your server"


def _now() -> datetime:
    return datetime.now(UTC)
