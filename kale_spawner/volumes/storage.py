"""What all of it needs: the user's inventory, the cluster, and the wait for what was done."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

from kale_spawner.errors import Busy, Denied, Missing, Refused, Rejected
from kale_spawner.kube.objects import Objects
from kale_spawner.kube.snapshots import SnapshotObjects
from kale_spawner.kube.watch import Resource, Watches
from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.failures import refusal
from kale_spawner.model.growth import NewClaim
from kale_spawner.model.holds import Holds
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Owner
from kale_spawner.settings import KaleVolumes

_log = logging.getLogger(__name__)
SNAPSHOT_SECONDS = 600.0
_ERROR_SECONDS = 10.0
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
    async def _group_resource(self) -> Resource | None: ...


class Storage:
    """Of one user, by the spawner of any of their servers."""

    def __init__(self, spawner: Server) -> None:
        self.spawner = spawner
        self._objects = spawner._objects()
        self._snapshots = SnapshotObjects.beside(self._objects)
        self._settings = spawner.volumes_settings

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

    def later(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Goes on when the request that began it was answered."""
        going = asyncio.ensure_future(work)
        self.spawner.background.add(going)

        def over(going: asyncio.Future[None]) -> None:
            self.spawner.background.discard(going)
            if not going.cancelled() and (error := going.exception()) is not None:
                _log.error("%s: %r", self.spawner.user.name, error)

        going.add_done_callback(over)
        return going

    async def _until_going(self, claims: Sequence[str] = (), snapshots: Sequence[str] = ()) -> None:
        """Return once all of these are gone or on their way out."""

        def going(have: Inventory) -> bool:
            left = [have.claims.get(name) for name in claims]
            left_snapshots = [have.snapshots.get(name) for name in snapshots]
            return all(each is None or each.deleting for each in (*left, *left_snapshots))

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


class Trouble:
    """An error that the cluster may get over: it counts once it has stayed for some seconds."""

    _since: float | None = None

    def stays(self, error: str) -> bool:
        """Whether it does; "" is none."""
        if not error:
            self._since = None
            return False
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since >= _ERROR_SECONDS


@contextmanager
def told() -> Iterator[None]:
    """Refusals of the API server in words for the user."""
    try:
        yield
    except Denied as exc:
        raise refusal(exc.detail) from exc
    except Rejected as exc:
        raise Refused(
            f"The cluster finds this invalid: {exc.detail}. Ask your administrator.", "invalid"
        ) from exc


def called(server: str) -> str:
    """A server in words."""
    return f"server {server}" if server else "your server"
