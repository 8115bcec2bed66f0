"""What hardly changes in a cluster, read once for all users and again after some seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from kubernetes_asyncio.client import CoreV1Api, CustomObjectsApi, StorageV1Api

from kale_spawner.errors import Conflict, Denied, NotFound, Rejected
from kale_spawner.kube.client import call
from kale_spawner.kube.watch import SNAPSHOTS
from kale_spawner.model import cluster
from kale_spawner.model.cluster import Cluster

GROUP_SNAPSHOTS = "groupsnapshot.storage.k8s.io"
_log = logging.getLogger(__name__)
_FRESH_SECONDS = 10.0

Items = list[dict[str, Any]]


class Facts:
    """Of the cluster behind one client. attempt, total: time-outs, as `Objects` has them."""

    def __init__(self, client: Any, attempt: float = 3.0, total: float = 30.0) -> None:
        self.client, self._attempt, self._total = client, attempt, total
        self._core, self._storage = CoreV1Api(client), StorageV1Api(client)
        self._custom = CustomObjectsApi(client)
        self._known: dict[str, tuple[float, asyncio.Task[Items | None]]] = {}
        self._absent: set[str] = set()

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
            ),
        )
        classes, snapshots, groups, quotas = found
        return Cluster(
            classes=None if classes is None else cluster.storage_classes(classes),
            snapshot_classes=None if snapshots is None else cluster.snapshot_classes(snapshots),
            group_classes=None if groups is None else cluster.snapshot_classes(groups),
            quotas=cluster.quotas(quotas or ()),
        )

    async def snapshots_missing(self, namespace: str | None) -> str:
        """Why snapshots cannot be watched in this namespace (None: in all of them), in words for
        the page; "" when they can."""
        group, version, plural = SNAPSHOTS
        what = f"snapshots in {namespace or 'all namespaces'}"
        if namespace is None:
            work = self._items(
                what, self._custom.list_cluster_custom_object, group, version, plural, limit=1
            )
        else:
            listing = self._custom.list_namespaced_custom_object
            work = self._items(what, listing, group, version, namespace, plural, limit=1)
        if await work is None:
            return "The hub may not see snapshots here. Ask your administrator."
        return "This cluster has no snapshots of volumes." if what in self._absent else ""

    async def _group_classes(self) -> Items | None:
        """Of whichever version the cluster has."""
        for version in ("v1", "v1beta2", "v1beta1"):
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
        **kwargs: Any,
    ) -> Items | None:
        """What a list call gives: nothing where there is no such kind, None where it may not
        be read. Asked once for all who want to know at the same time."""
        since, task = self._known.get(what, (0.0, None))
        outdated = fresh or time.monotonic() - since > _FRESH_SECONDS
        if task is None or (task.done() and (outdated or task.exception() is not None)):
            task = asyncio.ensure_future(self._list(what, method, *args, **kwargs))
            self._known[what] = time.monotonic(), task
        return await asyncio.shield(task)

    async def _list(
        self, what: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Items | None:
        self._absent.discard(what)
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
        return list(answer.get("items") or ())
