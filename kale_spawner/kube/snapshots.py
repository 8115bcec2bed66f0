"""Snapshots, and who mounts a claim: what storage needs of the API server besides starts.

Everything may run twice. What was made although its answer was lost is known again by its
`marks.START`; nothing is deleted but by its uid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import CustomObjectsApi

from kale_spawner.errors import Busy, ClusterError, Conflict, NotFound
from kale_spawner.kube.client import Manifest, call
from kale_spawner.kube.objects import Objects, all_of, start_of
from kale_spawner.kube.watch import SNAPSHOTS
from kale_spawner.model.mounted import mounts_of


class NameTaken(Busy):
    """There is an object of this name already, whoever's it is."""


@dataclass(frozen=True)
class StorageObjects:
    """custom: kubernetes_asyncio's CustomObjectsApi. objects: the same namespace's."""

    objects: Objects
    custom: Any

    @classmethod
    def beside(cls, objects: Objects) -> StorageObjects:
        return cls(objects, CustomObjectsApi(objects.api.api_client))

    @property
    def namespace(self) -> str:
        return self.objects.namespace

    async def make_snapshot(self, manifest: Manifest) -> Manifest:
        """Create it, or find it made by this very request. Raises NameTaken."""
        name = manifest["metadata"]["name"]
        try:
            return await self._custom(self.custom.create_namespaced_custom_object, manifest)
        except Conflict as exc:
            found = await self.snapshot(name)
            if found is not None and start_of(found) == start_of(manifest):
                return found
            raise NameTaken(f'The name "{name}" is taken. Choose another.') from exc

    async def make_all(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """All of them side by side, or none: what was made is taken away before the error."""
        manifests = list(manifests)
        try:
            return await all_of([self.make_snapshot(each) for each in manifests])
        except Exception:
            await self._unmake(manifests)
            raise

    async def _unmake(self, manifests: list[Manifest]) -> None:
        for each in manifests:
            try:
                found = await self.snapshot(each["metadata"]["name"])
                if found is not None and start_of(found) == start_of(each):
                    await self.delete_snapshot(found)
            except ClusterError:
                continue  # it shows as part of a set that is not whole

    async def snapshot(self, name: str) -> Manifest | None:
        """As it is now."""
        try:
            return await self._custom(self.custom.get_namespaced_custom_object, name)
        except NotFound:
            return None

    async def delete_snapshot(self, snapshot: Manifest) -> None:
        """Delete this very snapshot; no error when it is gone, or is another by now."""
        metadata = snapshot["metadata"]
        body = {"preconditions": {"uid": metadata["uid"]}}
        try:
            await self._custom(
                self.custom.delete_namespaced_custom_object, metadata["name"], body=body
            )
        except (NotFound, Conflict):
            return

    async def make_claim(self, manifest: Manifest) -> Manifest:
        """Create a claim that no pod mounts yet. Raises NameTaken, whoever's is there."""
        name = manifest["metadata"]["name"]
        api = self.objects.api
        try:
            return await self._core(api.create_namespaced_persistent_volume_claim, manifest)
        except Conflict as exc:
            found = await self.objects.claim(name)
            if found is not None and start_of(found) == start_of(manifest):
                return found
            raise NameTaken(f'The name "{name}" is taken. Choose another.') from exc

    async def pods_with(self, claim: str) -> list[Manifest]:
        """All pods that may still use a claim, also those that are nobody's server."""
        answer = await self._core(self.objects.api.list_namespaced_pod)
        return [
            pod
            for pod in answer.get("items") or ()
            if claim in mounts_of(pod)
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]

    async def _core(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        """Of a method that takes [name], namespace, [body]."""
        named = [each for each in args if isinstance(each, str)]
        others = [each for each in args if not isinstance(each, str)]
        return await self._call(method, *named, self.namespace, *others, **kwargs)

    async def _custom(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        group, version, plural = SNAPSHOTS
        return await self._call(method, group, version, self.namespace, plural, *args, **kwargs)

    async def _call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        return await call(
            method,
            *args,
            attempt_seconds=self.objects.attempt_seconds,
            total_seconds=self.objects.total_seconds,
            **kwargs,
        )
