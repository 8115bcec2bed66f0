"""Watches that wake those who wait, one per kind of object, shared by all users.

kubespawner's `ResourceReflector` keeps the copy; nothing of its watch loop is repeated here.
It sets its mapping anew at every relist and sets items in it at every event: both wake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import EventReflector, PodReflector
from traitlets import Unicode, validate

Object = dict[str, Any]


def own_key(resource: Object) -> str:
    """Whom a change of an object concerns: those who wait for that object."""
    metadata = resource["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def involved_key(event: Object) -> str:
    """Whom an event concerns: those who wait for the object it tells of."""
    involved = event["involvedObject"]
    return f"{involved.get('namespace', '')}/{involved['name']}"


class WakingDict(dict[str, Object]):
    """The objects by "namespace/name", and an index of them by whom they concern."""

    def __init__(
        self,
        items: Mapping[str, Object],
        concerns: Callable[[Object], str],
        wake: Callable[[str], None],
    ) -> None:
        super().__init__(items)
        self._concerns, self._wake = concerns, wake
        self._index: dict[str, dict[str, Object]] = {}
        for key, resource in items.items():
            self._index.setdefault(concerns(resource), {})[key] = resource

    def about(self, key: str) -> list[Object]:
        """All objects that concern `key`."""
        return list(self._index.get(key, {}).values())

    def __setitem__(self, key: str, resource: Object) -> None:
        super().__setitem__(key, resource)
        whom = self._concerns(resource)
        self._index.setdefault(whom, {})[key] = resource
        self._wake(whom)

    def pop(self, key: str, default: Any = None) -> Any:
        resource = super().pop(key, None)
        if resource is None:
            return default
        whom = self._concerns(resource)
        remaining = self._index.get(whom, {})
        remaining.pop(key, None)
        if not remaining:
            self._index.pop(whom, None)
        self._wake(whom)
        return resource


class WakingReflector(ResourceReflector):  # type: ignore[misc]
    """A reflector whose `about(key)` can be waited for with a `Waiter`."""

    concerns: Callable[[Object], str] = staticmethod(own_key)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.waiters: dict[str, set[asyncio.Event]] = {}
        super().__init__(*args, **kwargs)

    @validate("resources")
    def _waking(self, proposal: Any) -> WakingDict:
        for events in self.waiters.values():
            for event in events:
                event.set()
        return WakingDict(proposal.value, self.concerns, self._wake)

    def _wake(self, key: str) -> None:
        for event in self.waiters.get(key, ()):
            event.set()

    def about(self, key: str) -> list[Object]:
        resources = self.resources
        return resources.about(key) if isinstance(resources, WakingDict) else []


class WakingPods(WakingReflector, PodReflector):  # type: ignore[misc]
    """Pods of users' servers."""


class WakingEvents(WakingReflector, EventReflector):  # type: ignore[misc]
    """Events, found by the object they tell of."""

    concerns = staticmethod(involved_key)


class WakingClaims(WakingReflector):
    """Claims with the label of users' storage."""

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
class Watches:
    """The shared watches; events are None where the administrator turned them off.

    pod, claims: the keys of one start's.
    """

    pods: WakingReflector
    claims: WakingReflector
    pod_events: WakingReflector | None = None
    claim_events: WakingReflector | None = None

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
