"""What a cluster holds from the start: the storage classes, and the API of snapshots."""

from __future__ import annotations

import json
from typing import Any

from localcluster import programs
from localcluster.api import Api

DRIVER = "rok.arrikto.com"
CLASS = "rok-csi"

_STANDS_IN = {
    "kale-spawner/description": "a stand-in for Rok's driver, for the demo and the tests only: "
    "volumes are files on this machine, deleted with the cluster"
}

_STORAGE = "/apis/storage.k8s.io/v1"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SNAPSHOT_CLASSES = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"
_GROUP_CLASSES = "/apis/groupsnapshot.storage.k8s.io/v1/volumegroupsnapshotclasses"

GROUP_CLASS = f"{_GROUP_CLASSES}/{CLASS}"
"""Where the API server has the last of them."""


def _of_storage(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": _STANDS_IN},
        **rest,
    }


_STORAGE_CLASS = _of_storage(
    "StorageClass",
    CLASS,
    provisioner=DRIVER,
    allowVolumeExpansion=True,
    reclaimPolicy="Delete",
    volumeBindingMode="WaitForFirstConsumer",
)

_CSI_DRIVER = _of_storage(
    "CSIDriver",
    DRIVER,
    spec={
        "attachRequired": False,
        "podInfoOnMount": False,
        "fsGroupPolicy": "File",
        "volumeLifecycleModes": ["Persistent"],
    },
)


def _of_snapshots(group: str, kind: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": {"name": CLASS, "annotations": _STANDS_IN},
        "driver": DRIVER,
        "deletionPolicy": "Delete",
    }


_SNAPSHOT_CLASS = _of_snapshots("snapshot.storage.k8s.io", "VolumeSnapshotClass")
_GROUP_CLASS = _of_snapshots("groupsnapshot.storage.k8s.io", "VolumeGroupSnapshotClass")


def ensure(api: Api) -> bool:
    """Whether all of it is there; to be called again until it is."""
    definitions = [path.read_bytes() for path in sorted(programs.snapshot_api().glob("*.yaml"))]
    made = [api.create(_CRDS, one, "application/yaml") for one in definitions]
    made += [
        api.create(f"{_STORAGE}/storageclasses", _json(_STORAGE_CLASS)),
        api.create(f"{_STORAGE}/csidrivers", _json(_CSI_DRIVER)),
        api.create(_SNAPSHOT_CLASSES, _json(_SNAPSHOT_CLASS)),
        api.create(_GROUP_CLASSES, _json(_GROUP_CLASS)),
    ]
    return all(made)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
