"""Manifests of claims."""

from __future__ import annotations

from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.growth import NewClaim
from kale_spawner.model.limits import Owner
from kale_spawner.wire import (
    COMPONENT_LABEL,
    SERVERNAME_LABEL,
    STORAGE_COMPONENT,
    USERNAME_LABEL,
)

_DATA_SOURCES = {
    "snapshot": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot"},
    "clone": {"kind": "PersistentVolumeClaim"},
}


def claim_manifest(new: NewClaim, owner: Owner, rok_secret: str = "") -> dict[str, Any]:
    """A claim for its owner, with the annotations that Rok and Kale read.

    The owner's label selects, the annotation proves; neither can be overridden by the
    administrator's labels and annotations.
    """
    role = "jupyter-workspace" if new.role == "workspace" else "jupyter-dataset"
    annotations = {
        **owner.annotations,
        USERNAME_LABEL: owner.user,
        role: new.name,
    }
    if new.mount:
        annotations[marks.MOUNT] = new.mount
    if owner.server:
        annotations[SERVERNAME_LABEL] = owner.server
    if rok_secret:
        annotations["rok/creds-secret-name"] = rok_secret
    if new.origin is not None:
        annotations[marks.ORIGIN] = new.origin.to_json()
        if new.origin.source == "rok":
            annotations["rok/origin"] = new.origin.name
    spec: dict[str, Any] = {
        "accessModes": [new.access_mode],
        "resources": {"requests": {"storage": new.size}},
    }
    if new.storage_class:
        spec["storageClassName"] = new.storage_class
    if new.origin is not None and new.origin.source in _DATA_SOURCES:
        spec["dataSource"] = {**_DATA_SOURCES[new.origin.source], "name": new.origin.name}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": new.name,
            "labels": {**owner.labels, COMPONENT_LABEL: STORAGE_COMPONENT},
            "annotations": annotations,
        },
        "spec": spec,
    }
