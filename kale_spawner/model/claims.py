"""Manifests of claims."""

from __future__ import annotations

from typing import Any

from kale_spawner.model.limits import Owner
from kale_spawner.model.plan import NewClaim
from kale_spawner.wire import (
    COMPONENT_LABEL,
    SERVERNAME_LABEL,
    STORAGE_COMPONENT,
    USERNAME_LABEL,
)

MOUNT_ANNOTATION = "kale-spawner/mount"
"""Where the volume was mounted first, proposed again when it is chosen later."""


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
        MOUNT_ANNOTATION: new.mount,
    }
    if owner.server:
        annotations[SERVERNAME_LABEL] = owner.server
    if rok_secret:
        annotations["rok/creds-secret-name"] = rok_secret
    spec: dict[str, Any] = {
        "accessModes": [new.access_mode],
        "resources": {"requests": {"storage": new.size}},
    }
    if new.storage_class:
        spec["storageClassName"] = new.storage_class
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


def mounted_claims(pod: dict[str, Any]) -> frozenset[str]:
    """The claims that a process of this pod may have written to.

    A claim counts as mounted once a container that mounts it was started: before that (image
    not there, pod not scheduled) nobody but the kubelet has seen the volume.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    statuses = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    started = {each["name"] for each in statuses if _was_started(each)}
    return frozenset(
        claims[mount["name"]]
        for container in (spec.get("initContainers") or []) + (spec.get("containers") or [])
        if container["name"] in started
        for mount in container.get("volumeMounts") or ()
        if mount["name"] in claims
    )


def _was_started(status: dict[str, Any]) -> bool:
    """A kubelet calls a container "terminated" too that it never started: that has no id."""
    if "running" in (status.get("state") or {}):
        return True
    ended = [(status.get(state) or {}).get("terminated") or {} for state in ("state", "lastState")]
    return bool(
        status.get("restartCount")
        or status.get("containerID")
        or any(each.get("containerID") or each.get("startedAt") for each in ended)
    )
