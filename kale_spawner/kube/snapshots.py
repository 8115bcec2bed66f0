"""Snapshots of one namespace.

Everything may run twice, and nothing is deleted but by its uid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import CustomObjectsApi

from kale_spawner.errors import ClusterError, Conflict, NotFound
from kale_spawner.kube.client import Manifest
from kale_spawner.kube.objects import Objects, all_of, made_by, start_of
from kale_spawner.kube.watch import SNAPSHOTS


@dataclass(frozen=True)
class SnapshotObjects:
    """custom: kubernetes_asyncio's CustomObjectsApi. objects: the same namespace's."""

    objects: Objects
    custom: Any

    @classmethod
    def beside(cls, objects: Objects) -> SnapshotObjects:
        return cls(objects, CustomObjectsApi(objects.api.api_client))

    async def make_all(self, manifests: Iterable[Manifest]) -> None:
        """All of them side by side, or none: what was made is taken away before the error.
        Raises NameTaken."""
        manifests = list(manifests)
        try:
            await all_of([self._make(each) for each in manifests])
        except Exception:
            await self._unmake(manifests)
            raise

    async def snapshot(self, name: str) -> Manifest | None:
        """As it is now."""
        try:
            return await self._call(self.custom.get_namespaced_custom_object, name)
        except NotFound:
            return None

    async def delete(self, snapshot: Manifest) -> None:
        """Delete this very snapshot; no error when it is gone, or is another by now."""
        metadata = snapshot["metadata"]
        body = {"preconditions": {"uid": metadata["uid"]}}
        delete = self.custom.delete_namespaced_custom_object
        try:
            await self._call(delete, metadata["name"], body=body)
        except (NotFound, Conflict):
            return

    async def _make(self, manifest: Manifest) -> Manifest:
        making = self._call(self.custom.create_namespaced_custom_object, manifest)
        return await made_by(making, self.snapshot, manifest)

    async def _unmake(self, manifests: list[Manifest]) -> None:
        for each in manifests:
            try:
                found = await self.snapshot(each["metadata"]["name"])
                if found is not None and start_of(found) == start_of(each):
                    await self.delete(found)
            except ClusterError:
                continue  # it shows as part of a set that is not whole

    async def _call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        group, version, plural = SNAPSHOTS
        namespace = self.objects.namespace
        return await self.objects.call(method, group, version, namespace, plural, *args, **kwargs)
