"""One start, from manifests to an app that answers, and the cleaning up when it fails.

Order: everything accepted by a dry run; claims side by side; the pod; then whatever the
watches tell. A failed start takes away what it made and no container ever mounted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kale_spawner.errors import Conflict, Denied, KaleError, NotFound, Rejected, StartFailed
from kale_spawner.kube.client import Manifest
from kale_spawner.kube.objects import Objects, PodExists, start_of
from kale_spawner.kube.watch import Waiter, Watches
from kale_spawner.model.claim import owned_by, uses_of
from kale_spawner.model.failures import Scene, count, failure, not_grown, refusal, trouble
from kale_spawner.model.failures import unschedulable as _unschedulable
from kale_spawner.model.mounted import mounted_claims
from kale_spawner.model.progress import Step, steps

_log = logging.getLogger(__name__)
_LOOK_AGAIN = 10.0
_GONE_SECONDS = 30.0
_CLAIMS_GONE_SECONDS = 10.0


@dataclass
class Start:
    """claims: manifests of those to be made. mounted: names of all that the pod mounts.

    grow: the new size of claims that are to be larger.
    is_ready: whether the pod may be called ready, where no gateway tells it better.
    ask: waits for the gateway of a pod with an address; None where there is no gateway.
    said: what the user is told before the cluster has anything to show.
    seconds: after these it has failed. grace, beside: see `Scene`.
    """

    objects: Objects
    watches: Watches
    pod: Manifest
    claims: list[Manifest]
    mounted: frozenset[str]
    user: str
    user_label: tuple[str, str]
    is_ready: Callable[[Manifest], bool]
    ask: Callable[[Manifest], Awaitable[None]] | None = None
    grow: Mapping[str, str] = field(default_factory=dict)
    beside: str = ""
    seconds: float = 300.0
    grace: float = 15.0
    created: frozenset[str] | None = None
    said: list[str] = field(default_factory=list)
    uid: str = ""
    _old_events: frozenset[Any] = frozenset()
    _unschedulable_since: float | None = None
    _ever_mounted: set[str] = field(default_factory=set)
    _making: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    def key(self, name: str) -> str:
        return f"{self.objects.namespace}/{name}"

    async def accept(self) -> None:
        """Have everything accepted by the API server; nothing is made, except that the pod of
        an earlier start is ended. Raises StartFailed."""
        self._old_events = frozenset(map(_event_id, self._all_events()))
        for _ in range(3):
            try:
                await self.objects.try_all(self.claims, self.pod)
                break
            except PodExists:
                await self.remove_pod()
            except (Denied, NotFound, Rejected) as exc:
                raise _words(exc) from exc

    async def make(self) -> None:
        """Create claims and pod. Cancelled in between, it still ends what it has begun."""
        self._making = asyncio.ensure_future(self._make())
        await asyncio.shield(self._making)

    async def wait(self) -> Manifest:
        """The pod, once the app answers. Raises StartFailed as soon as it never will."""
        deadline = time.monotonic() + self.seconds
        asking: asyncio.Future[None] | None = None
        with self.waiter() as waiter:
            try:
                while True:
                    pod = self._current()
                    self._raise_failure(pod, deadline)
                    if pod is not None and self.ask is None and self.is_ready(pod):
                        return pod
                    if asking is not None and asking.done():
                        asking.result()
                        return pod or await self._read()
                    if pod is not None and self.ask and asking is None and _address(pod):
                        asking = asyncio.ensure_future(self.ask(pod))
                        asking.add_done_callback(lambda _: waiter.wake())
                    await waiter.wait(self._pause(deadline))
                    if pod is None:
                        await self._read()
            finally:
                if asking is not None:
                    asking.cancel()

    async def clean(self) -> None:
        """Undo a failed start: the pod goes; of the claims that it made those that no
        container mounted and no other server asks for. When in doubt a claim stays, as after a
        pod whose end nobody saw."""
        if self._making is not None:
            await asyncio.wait([self._making])
        try:
            if self.uid and not await self._is_there():
                _log.warning("%s was deleted by somebody; its claims stay", self.key(self.name))
                return
            if not await self.remove_pod():
                _log.warning("%s did not end; its claims stay", self.key(self.name))
                return
            mine, kept = start_of(self.pod), self._ever_mounted | self._used_elsewhere()
            gone = []
            for claim in await self.objects.claims_of(*self.user_label):
                metadata = claim["metadata"]
                if (
                    mine
                    and start_of(claim) == mine
                    and owned_by(metadata, self.user)
                    and metadata["name"] not in kept
                ):
                    _log.info("removing %s, which was never used", self.key(metadata["name"]))
                    await self.objects.delete_claim(claim)
                    gone.append(self.key(metadata["name"]))
            await self._until_gone(gone)
        except KaleError as exc:
            _log.warning("cleaning up %s: %s", self.key(self.name), exc)

    async def remove_pod(self) -> bool:
        """End the pod of this name and wait until it is gone; whether it is."""
        deadline = time.monotonic() + _GONE_SECONDS
        with self.waiter() as waiter:
            await self.objects.delete_pod(self.name, grace_seconds=1)
            while time.monotonic() < deadline:
                pod = self.watches.pods.resources.get(self.key(self.name))
                if pod is None:
                    pod = await self.objects.pod(self.name)
                if pod is None:
                    return True
                self._note_mounts(pod)
                await waiter.wait(1.0)
                if not pod["metadata"].get("deletionTimestamp"):
                    await self.objects.delete_pod(self.name, grace_seconds=1)
        return False

    def waiter(self) -> Waiter:
        """Wakes when anything of this start changes."""
        return self.watches.waiter(self.key(self.name), map(self.key, self.mounted))

    def scene(self) -> Scene:
        """What the cluster shows of this start now."""
        since = self._unschedulable_since
        pod = self._current()
        return Scene(
            pod=pod,
            claims={
                name: claim
                for name in self.mounted - self._unmade()
                if (claim := self.watches.claims.resources.get(self.key(name)))
            },
            events=tuple(
                event
                for event in sorted(self._all_events(), key=_event_time)
                if _event_id(event) not in self._old_events and self._concerns(event)
            ),
            unschedulable_for=0.0 if since is None else time.monotonic() - since,
            grace=self.grace,
            beside=self.beside,
        )

    def progress(self) -> list[Step]:
        return [Step(5, each) for each in self.said] + steps(
            self.scene(), self.created or frozenset()
        )

    async def _make(self) -> None:
        try:
            made = await self.objects.make_claims(self.claims, self.user)
            self.created = frozenset(each.manifest["metadata"]["name"] for each in made if each.new)
            for name, size in self.grow.items():
                await self._grow(name, size)
            for _ in range(3):
                try:
                    pod = await self.objects.make_pod(self.pod)
                    break
                except PodExists:
                    await self.remove_pod()
            else:
                raise StartFailed("An earlier server does not end. Try again soon.", "old-pod")
        except (Denied, NotFound, Rejected) as exc:
            raise _words(exc) from exc
        self.uid = pod["metadata"]["uid"]

    async def _grow(self, name: str, size: str) -> None:
        try:
            await self.objects.grow_claim(name, size)
        except NotFound as exc:
            raise StartFailed(
                f'Volume "{name}" was deleted meanwhile. Choose another.', "deleted"
            ) from exc
        except (Conflict, Denied, Rejected) as exc:
            raise not_grown(name, size, exc.detail) from exc

    def _current(self) -> Manifest | None:
        pod = self.watches.pods.resources.get(self.key(self.name))
        if pod is None or (self.uid and pod["metadata"]["uid"] != self.uid):
            return None
        if self.uid:
            self._note_mounts(pod)
            self._note_waiting(pod)
        return dict(pod)

    async def _until_gone(self, claims: list[str]) -> None:
        """Or at the latest after some time: the names are free for the next start."""
        deadline = time.monotonic() + _CLAIMS_GONE_SECONDS
        with self.waiter() as waiter:
            while not self.watches.claims.resources.keys().isdisjoint(claims):
                if time.monotonic() > deadline:
                    return
                await waiter.wait(0.5)

    def _used_elsewhere(self) -> set[str]:
        pods = self.watches.pods.resources.values()
        others = (pod for pod in pods if pod["metadata"]["name"] != self.name)
        return set(uses_of(others, self.user))

    async def _is_there(self) -> bool:
        pod = await self.objects.pod(self.name)
        return pod is not None and pod["metadata"]["uid"] == self.uid

    async def _read(self) -> Manifest:
        """The pod from the API server itself, where the watch shows none."""
        pod = await self.objects.pod(self.name)
        if pod is None or pod["metadata"]["uid"] != self.uid:
            raise StartFailed("The server was deleted while it was starting.", "deleted")
        return pod

    def _raise_failure(self, pod: Manifest | None, deadline: float) -> None:
        if pod is not None and pod["metadata"].get("deletionTimestamp"):
            raise StartFailed("The server was stopped while it was starting.", "deleted")
        scene = self.scene()
        failed = failure(scene)
        if failed is None and time.monotonic() > deadline:
            said = trouble(scene)
            failed = StartFailed(
                f"The server did not answer within {self.seconds:.0f} seconds"
                f"{': ' + said if said else ''}. Try again, or ask your administrator.",
                "timeout",
            )
        if failed is not None:
            raise failed

    def _pause(self, deadline: float) -> float:
        pause = min(_LOOK_AGAIN, max(deadline - time.monotonic(), 0) + 0.05)
        if self._unschedulable_since is not None:
            left = self._unschedulable_since + self.grace - time.monotonic()
            pause = min(pause, left + 0.05) if left > 0 else pause
        return pause

    def _note_mounts(self, pod: Manifest) -> None:
        self._ever_mounted |= mounted_claims(pod)

    def _note_waiting(self, pod: Manifest) -> None:
        if not _unschedulable(pod):
            self._unschedulable_since = None
        elif self._unschedulable_since is None:
            self._unschedulable_since = time.monotonic()

    def _all_events(self) -> list[Manifest]:
        return self.watches.events(self.key(self.name), map(self.key, self.mounted))

    def _unmade(self) -> frozenset[str]:
        """Claims of which it is not known yet whether this start makes or finds them."""
        if self.created is not None:
            return frozenset()
        return frozenset(claim["metadata"]["name"] for claim in self.claims)

    def _concerns(self, event: Manifest) -> bool:
        involved = event["involvedObject"]
        return bool(involved.get("kind") != "Pod" or involved.get("uid") == self.uid)


def _words(exc: Denied | NotFound | Rejected) -> StartFailed:
    if isinstance(exc, Denied):
        return refusal(exc.detail)
    if isinstance(exc, NotFound):
        return StartFailed(
            f"The cluster misses what a server needs: {exc.detail}. Ask your administrator.",
            "missing",
        )
    return StartFailed(
        f"The cluster finds this server invalid: {exc.detail}. Ask your administrator.", "invalid"
    )


def _address(pod: Manifest) -> str | None:
    address = (pod.get("status") or {}).get("podIP")
    return str(address) if address else None


def _event_id(event: Manifest) -> tuple[str, int]:
    return event["metadata"]["uid"], count(event)


def _event_time(event: Manifest) -> str:
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
