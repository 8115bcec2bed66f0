"""Snapshots of one namespace, single ones or groups.

Everything may run twice, and nothing is deleted but by its uid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import CustomObjectsApi

from kale_spawner.errors import ClusterError, NotFound
from kale_spawner.kube.client import MERGE_PATCH, Manifest
from kale_spawner.kube.objects import Objects, all_of, gone_by, made_by, start_of
from kale_spawner.kube.watch import SNAPSHOTS, Resource


@dataclass(frozen=True)
class SnapshotObjects:
    """custom: kubernetes_asyncio's CustomObjectsApi. objects: the same namespace's. resource:
    which kind of them."""

    objects: Objects
    custom: Any
    resource: Resource = SNAPSHOTS

    @classmethod
    def beside(cls, objects: Objects, resource: Resource = SNAPSHOTS) -> SnapshotObjects:
        return cls(objects, CustomObjectsApi(objects.api.api_client), resource)

    async def make_all(self, manifests: Iterable[Manifest]) -> None:
        """All of them side by side, or none: what was made is taken away before the error.
        Raises NameTaken."""
        manifests = list(manifests)
        try:
            await all_of([self._make(each) for each in manifests])
        except Exception:
            await self._unmake(manifests)
            raise

    async def read(self, name: str) -> Manifest | None:
        """As it is now."""
        try:
            return await self._call(self.custom.get_namespaced_custom_object, name)
        except NotFound:
            return None

    async def everyones(self) -> list[Manifest]:
        """All of the namespace."""
        answer = await self._call(self.custom.list_namespaced_custom_object)
        return [*(answer.get("items") or ())]

    async def patch(self, name: str, patch: Manifest) -> None:
        """Merge it in; no error when it is gone."""
        method = self.custom.patch_namespaced_custom_object
        with suppress(NotFound):
            await self._call(method, name, patch, _content_type=MERGE_PATCH)

    async def delete(self, snapshot: Manifest) -> None:
        """Delete this very snapshot; no error when it is gone, or is another by now."""
        metadata = snapshot["metadata"]
        body = {"preconditions": {"uid": metadata["uid"]}}
        delete = self.custom.delete_namespaced_custom_object
        await gone_by(self._call(delete, metadata["name"], body=body), self.read, metadata)

    async def _make(self, manifest: Manifest) -> Manifest:
        making = self._call(self.custom.create_namespaced_custom_object, manifest)
        return await made_by(making, self.read, manifest)

    async def _unmake(self, manifests: list[Manifest]) -> None:
        for each in manifests:
            try:
                found = await self.read(each["metadata"]["name"])
                if found is not None and start_of(found) == start_of(each):
                    await self.delete(found)
            except ClusterError:
                continue  # it shows as part of a set that is not whole

    async def _call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        group, version, plural = self.resource
        namespace = self.objects.namespace
        return await self.objects.call(method, group, version, namespace, plural, *args, **kwargs)
