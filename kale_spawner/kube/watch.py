"""Watches that wake those who wait, one per kind of object, shared by all users.

kubespawner's `ResourceReflector` keeps the copy; nothing of its watch loop is repeated here.
It sets its mapping anew at every relist and sets items in it at every event: both wake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import EventReflector, PodReflector
from traitlets import Int, Unicode, validate

from kale_spawner.model.mounted import mounts_of
from kale_spawner.wire import USERNAME_LABEL

Object = dict[str, Any]
Resource = tuple[str, str, str]
"""Group, version and plural of a kind of custom objects."""

SNAPSHOTS: Resource = ("snapshot.storage.k8s.io", "v1", "volumesnapshots")


def keys_of(resource: Object) -> tuple[str, ...]:
    """Whom a change of an object concerns: those who wait for it, and its user."""
    metadata = resource["metadata"]
    owner = (metadata.get("annotations") or {}).get(USERNAME_LABEL, "")
    return f"{metadata['namespace']}/{metadata['name']}", user_key(owner, metadata["namespace"])


def user_key(user: str, namespace: str) -> str:
    """All of one user's objects in a namespace; no object's own key begins with a slash."""
    return f"/{namespace}/{user}"


def claim_key(claim: str, namespace: str) -> str:
    """All pods that mount a claim."""
    return f"//{namespace}/{claim}"


def pod_keys(pod: Object) -> tuple[str, ...]:
    """Whom a pod concerns: also those who look at the claims that it mounts."""
    namespace = pod["metadata"]["namespace"]
    return (*keys_of(pod), *(claim_key(claim, namespace) for claim in mounts_of(pod)))


def involved_key(event: Object) -> tuple[str, ...]:
    """Whom an event concerns: those who wait for the object it tells of."""
    involved = event["involvedObject"]
    return (f"{involved.get('namespace', '')}/{involved['name']}",)


class WakingDict(dict[str, Object]):
    """The objects by "namespace/name", and an index of them by whom they concern."""

    def __init__(
        self,
        items: Mapping[str, Object],
        concerns: Callable[[Object], tuple[str, ...]],
        wake: Callable[[str], None],
    ) -> None:
        super().__init__(items)
        self._concerns, self._wake = concerns, wake
        self._index: dict[str, dict[str, Object]] = {}
        for key, resource in items.items():
            for whom in concerns(resource):
                self._index.setdefault(whom, {})[key] = resource

    def about(self, key: str) -> list[Object]:
        """All objects that concern `key`."""
        return list(self._index.get(key, {}).values())

    def __setitem__(self, key: str, resource: Object) -> None:
        former = self.get(key)
        if former is not None:
            self._drop(key, former)
        super().__setitem__(key, resource)
        for whom in self._concerns(resource):
            self._index.setdefault(whom, {})[key] = resource
            self._wake(whom)

    def pop(self, key: str, default: Any = None) -> Any:
        resource = super().pop(key, None)
        if resource is None:
            return default
        self._drop(key, resource)
        for whom in self._concerns(resource):
            self._wake(whom)
        return resource

    def _drop(self, key: str, resource: Object) -> None:
        for whom in self._concerns(resource):
            remaining = self._index.get(whom, {})
            remaining.pop(key, None)
            if not remaining:
                self._index.pop(whom, None)


def _version(resource: Object) -> str:
    return str(resource["metadata"].get("resourceVersion", ""))


class WakingReflector(ResourceReflector):  # type: ignore[misc]
    """A reflector whose `about(key)` can be waited for with a `Waiter`."""

    concerns: Callable[[Object], tuple[str, ...]] = staticmethod(keys_of)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.waiters: dict[str, set[asyncio.Event]] = {}
        super().__init__(*args, **kwargs)

    @validate("resources")
    def _waking(self, proposal: Any) -> WakingDict:
        """All of them, listed anew: what differs from before wakes, and nothing else."""
        before, now = self.resources, WakingDict(proposal.value, self.concerns, self.wake)
        for key in before.keys() | now.keys():
            was, became = before.get(key), now.get(key)
            if was is None or became is None or _version(was) != _version(became):
                for whom in {w for each in (was, became) if each for w in self.concerns(each)}:
                    self.wake(whom)
        return now

    def wake(self, key: str) -> None:
        """As if something that concerns `key` had changed."""
        for event in self.waiters.get(key, ()):
            event.set()

    def about(self, key: str) -> list[Object]:
        resources = self.resources
        return resources.about(key) if isinstance(resources, WakingDict) else []


class WakingPods(WakingReflector, PodReflector):  # type: ignore[misc]
    """Pods of users' servers."""

    concerns = staticmethod(pod_keys)


class WakingEvents(WakingReflector, EventReflector):  # type: ignore[misc]
    """Events, found by the object they tell of."""

    concerns = staticmethod(involved_key)


class WakingStorage(WakingReflector):
    """Of what there may be much of: listed anew less often than kubespawner does, which takes a
    tenth of a processor with 10,000 claims."""

    timeout_seconds = Int(50).tag(config=True)
    restart_seconds = Int(50).tag(config=True)


class WakingClaims(WakingStorage):
    """Claims of a label: users' storage, or what is shared."""

    kind = Unicode("persistentvolumeclaims")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        everywhere = kwargs.get("omit_namespace")
        kwargs.setdefault(
            "list_method_name",
            "list_persistent_volume_claim_for_all_namespaces"
            if everywhere
            else "list_namespaced_persistent_volume_claim",
        )
        super().__init__(*args, **kwargs)


class WakingCustom(WakingStorage):
    """Custom objects of a label: snapshots, where the cluster has their API."""

    api: Any
    kind = Unicode("custom objects")
    api_group_name = Unicode("CustomObjectsApi")

    def __init__(self, *args: Any, resource: Resource = SNAPSHOTS, **kwargs: Any) -> None:
        super().__init__(*args, list_method_name="list_them", kind=resource[2], **kwargs)
        listing = self.api.list_namespaced_custom_object
        if self.omit_namespace:
            listing = self.api.list_cluster_custom_object
        group, version, plural = resource
        listing = partial(listing, group=group, version=version, plural=plural)
        self.api = SimpleNamespace(list_them=listing)


class Waiter:
    """Wakes when any of the given keys changes in any of the given reflectors.

    A change between two calls of `wait` is not lost. Use it as a context manager.
    """

    def __init__(self, subjects: Iterable[tuple[WakingReflector, str]]) -> None:
        self._subjects = list(subjects)
        self._event = asyncio.Event()

    def __enter__(self) -> Waiter:
        for reflector, key in self._subjects:
            reflector.waiters.setdefault(key, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        for reflector, key in self._subjects:
            events = reflector.waiters.get(key, set())
            events.discard(self._event)
            if not events:
                reflector.waiters.pop(key, None)

    def wake(self) -> None:
        """As if something had changed."""
        self._event.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when something has changed since the last return, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()


@dataclass(frozen=True)
class Seen:
    """Manifests of what concerns one user."""

    claims: list[Object]
    snapshots: list[Object]
    pods: list[Object]
    group_snapshots: list[Object] | None


@dataclass(frozen=True)
class Watches:
    """The shared watches; events are None where the administrator turned them off, snapshots
    where the cluster has none or does not show them; `snapshots_missing` says why. So are
    group_snapshots.

    pod, claims: the keys of one start's.
    """

    pods: WakingReflector
    claims: WakingReflector
    shared_claims: WakingReflector
    pod_events: WakingReflector | None = None
    claim_events: WakingReflector | None = None
    snapshots: WakingReflector | None = None
    shared_snapshots: WakingReflector | None = None
    group_snapshots: WakingReflector | None = None
    snapshots_missing: str = ""

    def of_user(self, user: str, namespace: str, own: list[Object] | None = None) -> Seen:
        """What is the user's or shared in this namespace, and the pods that mount it.

        own: the user's claims, where they are known better than by the watch.
        """
        mine = user_key(user, namespace)
        if own is None:
            own = self.claims.about(mine)
        claims = [*own, *_within(self.shared_claims, namespace)]
        snapshots = _within(self.shared_snapshots, namespace)
        if self.snapshots is not None:
            snapshots += self.snapshots.about(mine)
        pods = {
            pod["metadata"]["uid"]: pod
            for claim in claims
            for pod in self.pods.about(claim_key(claim["metadata"]["name"], namespace))
        }
        groups = self.group_snapshots
        return Seen(
            claims, snapshots, list(pods.values()), None if groups is None else groups.about(mine)
        )

    def wake_user(self, user: str, namespace: str) -> None:
        """As if something of the user's had changed."""
        self.claims.wake(user_key(user, namespace))

    def waiter_of_user(self, user: str, namespace: str) -> Waiter:
        """Wakes when one of the user's claims, snapshots or servers changes."""
        watches = (self.claims, self.snapshots, self.group_snapshots, self.pods)
        return Waiter((each, user_key(user, namespace)) for each in watches if each is not None)

    def waiter(self, pod: str, claims: Iterable[str]) -> Waiter:
        """Wakes when one of these, or what is said about it, changes."""
        subjects = [(self.pods, pod), (self.pod_events, pod)]
        for claim in claims:
            subjects += [(self.claims, claim), (self.claim_events, claim)]
        return Waiter((watch, key) for watch, key in subjects if watch is not None)

    def events(self, pod: str, claims: Iterable[str]) -> list[Object]:
        """All that is said about these."""
        found = [] if self.pod_events is None else self.pod_events.about(pod)
        for claim in claims:
            found += [] if self.claim_events is None else self.claim_events.about(claim)
        return found


def _within(watch: WakingReflector | None, namespace: str) -> list[Object]:
    if watch is None:
        return []
    return [each for key, each in watch.resources.items() if key.startswith(f"{namespace}/")]
