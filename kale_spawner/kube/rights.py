"""What the hub may do in a cluster, asked of the API server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, AuthorizationV1Api, CoreV1Api, VersionApi

from kale_spawner.errors import Denied
from kale_spawner.kube.client import call
from kale_spawner.kube.facts import Facts
from kale_spawner.model.taking import GROUP_SNAPSHOTS

_SECONDS = {"attempt_seconds": 5.0, "total_seconds": 5.0}


@dataclass(frozen=True)
class Right:
    """verbs of one resource. everywhere: a ClusterRole's. needed: without it no server starts;
    else `for_what` is not offered."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False
    needed: bool = True
    for_what: str = ""


SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
RIGHTS = (
    Right("", "pods", ("get", "list", "watch", "create", "delete")),
    Right("", "persistentvolumeclaims", ("get", "list", "watch", "create", "delete")),
    Right("", "events", ("get", "list", "watch"), for_what="progress"),
    Right("", "persistentvolumeclaims", ("patch",), needed=False, for_what="growth"),
    Right("", "resourcequotas", ("list",), needed=False, for_what="what a quota leaves"),
    Right(
        SNAPSHOT_GROUP,
        "volumesnapshots",
        ("get", "list", "watch", "create", "delete"),
        needed=False,
        for_what="snapshots",
    ),
    Right(
        SNAPSHOT_GROUP,
        "volumesnapshotclasses",
        ("list",),
        everywhere=True,
        needed=False,
        for_what="the class of snapshots",
    ),
    Right(
        SNAPSHOT_GROUP,
        "volumesnapshots",
        ("patch",),
        needed=False,
        for_what="snapshots of a server at one instant",
    ),
    Right(
        GROUP_SNAPSHOTS,
        "volumegroupsnapshots",
        ("get", "list", "watch", "create", "delete"),
        needed=False,
        for_what="snapshots of a server at one instant",
    ),
    Right(
        GROUP_SNAPSHOTS,
        "volumegroupsnapshotclasses",
        ("list",),
        everywhere=True,
        needed=False,
        for_what="the class of such snapshots",
    ),
    Right(
        "storage.k8s.io",
        "storageclasses",
        ("list",),
        everywhere=True,
        needed=False,
        for_what="whether a class is there and grows",
    ),
    Right(
        "",
        "persistentvolumes",
        ("get",),
        everywhere=True,
        needed=False,
        for_what="the zones of volumes",
    ),
)
"""Everything that this package and KubeSpawner ask of the API server, but for `nodes/proxy`: real
usage of volumes is not worth a right whose holder can run commands in every pod."""


@dataclass
class Connection:
    """To the cluster that kubeconfig, or the pod this runs in, leads to."""

    client: ApiClient

    @classmethod
    async def open(cls, kubeconfig: str | None, acting_as: str | None) -> Connection:
        """acting_as: "system:serviceaccount:NAMESPACE:NAME". Raises KaleError when first used."""
        if kubeconfig is None:
            try:
                config.load_incluster_config()  # type: ignore[no-untyped-call]
            except config.ConfigException:
                await config.load_kube_config()
        else:
            await config.load_kube_config(config_file=kubeconfig)
        client = ApiClient()
        if acting_as:
            client.set_default_header("Impersonate-User", acting_as)
        return cls(client)

    @property
    def facts(self) -> Facts:
        return Facts(self.client, 5.0, 5.0)

    async def version(self) -> tuple[int, int]:
        """Of Kubernetes, major and minor."""
        found = await call(VersionApi(self.client).get_code, **_SECONDS)
        return int(found["major"]), int(str(found["minor"]).rstrip("+"))

    async def has_namespace(self, name: str) -> bool | None:
        """None where that may not be seen."""
        core = CoreV1Api(self.client)
        try:
            only = f"metadata.name={name}"
            found = await call(core.list_namespace, field_selector=only, **_SECONDS)
        except Denied:
            return None
        return bool(found.get("items"))

    async def images(self) -> list[frozenset[str]] | None:
        """The names of the images on each node, as far as it tells (kubelets tell of the largest
        50); None where nodes may not be seen."""
        try:
            found = await call(CoreV1Api(self.client).list_node, **_SECONDS)
        except Denied:
            return None
        return [
            frozenset(
                name
                for image in (node.get("status") or {}).get("images") or ()
                for name in image.get("names") or ()
            )
            for node in found.get("items") or ()
        ]

    async def missing(self, namespace: str, rights: Sequence[Right]) -> list[Right]:
        """Those of `rights`, with the verbs, that one has not."""
        asked = [(right, verb) for right in rights for verb in right.verbs]
        allowed = await asyncio.gather(
            *(self._may(namespace, right, verb) for right, verb in asked)
        )
        lacking: dict[Right, list[str]] = {}
        for (right, verb), may in zip(asked, allowed, strict=True):
            if not may:
                lacking.setdefault(right, []).append(verb)
        return [
            Right(r.group, r.resource, tuple(verbs), r.everywhere, r.needed, r.for_what)
            for r, verbs in lacking.items()
        ]

    async def _may(self, namespace: str, right: Right, verb: str) -> bool:
        resource, _, part = right.resource.partition("/")
        attributes: dict[str, Any] = {
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "verb": verb,
        }
        if not right.everywhere:
            attributes["namespace"] = namespace
        body = {"spec": {"resourceAttributes": attributes}}
        review = AuthorizationV1Api(self.client).create_self_subject_access_review
        answer = await call(review, body, **_SECONDS)
        return bool((answer.get("status") or {}).get("allowed"))
