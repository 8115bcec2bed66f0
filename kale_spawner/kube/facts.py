"""What hardly changes in a cluster, read once for all users and again after some seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from kubernetes_asyncio.client import CoreV1Api, CustomObjectsApi, StorageV1Api

from kale_spawner.errors import Conflict, Denied, NotFound, Rejected
from kale_spawner.kube.asked import Asked
from kale_spawner.kube.client import call
from kale_spawner.kube.watch import SNAPSHOTS, Resource
from kale_spawner.model import cluster
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.taking import GROUP_SNAPSHOTS

_log = logging.getLogger(__name__)
_FRESH_SECONDS = 10.0
_GROUP_VERSIONS = ("v1", "v1beta2", "v1beta1")

Items = list[dict[str, Any]]


class Facts:
    """Of the cluster behind one client. attempt, total: time-outs, as `Objects` has them."""

    def __init__(self, client: Any, attempt: float = 3.0, total: float = 30.0) -> None:
        self.client, self._attempt, self._total = client, attempt, total
        self._core, self._storage = CoreV1Api(client), StorageV1Api(client)
        self._custom = CustomObjectsApi(client)
        self.asked: Asked[Items | None] = Asked(_FRESH_SECONDS)
        self._absent: set[str] = set()
        self._last: dict[str, Items] = {}

    async def cluster(self, namespace: str, fresh: bool = False) -> Cluster:
        """What it offers in this namespace. fresh: quotas as they are now."""
        group, version, _ = SNAPSHOTS
        custom = self._custom.list_cluster_custom_object
        found = await asyncio.gather(
            self._items("classes", self._storage.list_storage_class),
            self._items("snapshots", custom, group, version, "volumesnapshotclasses"),
            self._group_classes(),
            self._items(
                f"quotas {namespace}",
                self._core.list_namespaced_resource_quota,
                namespace,
                fresh=fresh,
                changes=True,
            ),
        )
        classes, snapshots, groups, quotas = found
        return Cluster(
            classes=None if classes is None else cluster.storage_classes(classes),
            snapshot_classes=None if snapshots is None else cluster.snapshot_classes(snapshots),
            group_classes=None if groups is None else cluster.snapshot_classes(groups),
            quotas=cluster.quotas(quotas or ()),
        )

    async def has_snapshots(self, namespace: str | None) -> bool | None:
        """Whether the cluster knows of snapshots; None where they may not be seen in this
        namespace (None: in all of them)."""
        return await self._seen(SNAPSHOTS, namespace)

    async def snapshots_missing(self, namespace: str | None) -> str:
        """Why snapshots cannot be watched, in words for the page; "" when they can."""
        found = await self.has_snapshots(namespace)
        if found is None:
            return "The hub may not see snapshots here. Ask your administrator."
        return "" if found else "This cluster has no snapshots of volumes."

    async def group_snapshots(self, namespace: str | None) -> Resource | None:
        """What VolumeGroupSnapshots are called, of whichever version can be watched here."""
        for version in _GROUP_VERSIONS:
            resource = (GROUP_SNAPSHOTS, version, "volumegroupsnapshots")
            if await self._seen(resource, namespace):
                return resource
        return None

    async def _seen(self, resource: Resource, namespace: str | None) -> bool | None:
        """Whether the cluster has these; None where they may not be listed."""
        group, version, plural = resource
        what = f"{version} {plural} in {namespace or 'all namespaces'}"
        if namespace is None:
            listing = self._custom.list_cluster_custom_object
            work = self._items(what, listing, group, version, plural, limit=1)
        else:
            within = self._custom.list_namespaced_custom_object
            work = self._items(what, within, group, version, namespace, plural, limit=1)
        if await work is None:
            return None
        return what not in self._absent

    async def _group_classes(self) -> Items | None:
        """Of whichever version the cluster has."""
        for version in _GROUP_VERSIONS:
            found = await self._items(
                f"groups {version}",
                self._custom.list_cluster_custom_object,
                GROUP_SNAPSHOTS,
                version,
                "volumegroupsnapshotclasses",
            )
            if found != []:
                return found
        return []

    async def _items(
        self,
        what: str,
        method: Callable[..., Awaitable[Any]],
        *args: Any,
        fresh: bool = False,
        changes: bool = False,
        **kwargs: Any,
    ) -> Items | None:
        """What a list call gives: nothing where there is no such kind, None where it may not
        be read. One refusal does not unsay what was read before, unless that `changes`."""
        listing = partial(self._list, what, method, *args, **kwargs)
        found = await self.asked.get(what, listing, fresh=fresh)
        if changes:
            return found
        if found is not None:
            self._last[what] = found
        return self._last.get(what)

    async def _list(
        self, what: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Items | None:
        try:
            answer = await call(
                method,
                *args,
                attempt_seconds=self._attempt,
                total_seconds=self._total,
                **kwargs,
            )
        except NotFound:
            self._absent.add(what)
            return []
        except (Conflict, Denied, Rejected) as exc:
            _log.info("%s: %s (%s)", what, exc, exc.detail)
            return None
        self._absent.discard(what)
        return list(answer.get("items") or ())
