"""How full volumes are, as the kubelets tell it of those that are mounted now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes_asyncio.client import CoreV1Api

from kale_spawner.errors import ClusterError, Denied, NotFound
from kale_spawner.kube.asked import Asked
from kale_spawner.kube.client import call

_FRESH_SECONDS = 15.0
_DENIED_SECONDS = 300.0
_PATH = "stats/summary"


@dataclass(frozen=True)
class Usage:
    used_bytes: int
    capacity_bytes: int


Volumes = Mapping[tuple[str, str], Usage]


class Kubelets:
    """Of the cluster behind one client, for all users: each node is asked once at a time.

    A node that may not be asked, or does not answer soon, has nothing to tell.
    """

    def __init__(self, client: Any, seconds: float = 3.0) -> None:
        self._core, self._seconds = CoreV1Api(client), seconds
        self._asked: Asked[Volumes] = Asked(_FRESH_SECONDS)
        self._denied_until = 0.0

    async def usage(self, nodes: Iterable[str]) -> Volumes:
        """Of all volumes that pods mount on these nodes, by (namespace, claim)."""
        if time.monotonic() < self._denied_until:
            return {}
        asking = (
            self._asked.get(each, partial(self._ask, each)) for each in sorted(set(nodes) - {""})
        )
        found = await asyncio.gather(*asking)
        return {key: usage for each in found for key, usage in each.items()}

    async def _ask(self, node: str) -> Volumes:
        try:
            answer = await call(
                self._core.connect_get_node_proxy_with_path,
                node,
                _PATH,
                attempt_seconds=self._seconds,
                total_seconds=0.0,
            )
        except Denied:
            self._denied_until = time.monotonic() + _DENIED_SECONDS
            return {}
        except (NotFound, ClusterError):
            return {}
        return volumes_of(answer)


def volumes_of(summary: Mapping[str, Any]) -> dict[tuple[str, str], Usage]:
    """The claims of a kubelet's summary: pods, each with volumes that name their claim."""
    found: dict[tuple[str, str], Usage] = {}
    for pod in summary.get("pods") or ():
        for volume in pod.get("volume") or ():
            claim = volume.get("pvcRef")
            used, capacity = volume.get("usedBytes"), volume.get("capacityBytes")
            if claim and isinstance(used, int) and isinstance(capacity, int):
                found[claim["namespace"], claim["name"]] = Usage(used, capacity)
    return found
