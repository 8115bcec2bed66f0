"""Which claims a pod mounts, read from its manifest and its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def claims_by_volume(pod: Mapping[str, Any]) -> dict[str, str]:
    """The claims that a pod names, by the names of its volumes."""
    return {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Nothing of it runs any more, so that it holds no claim."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def mounts_of(pod: Mapping[str, Any]) -> dict[str, bool]:
    """The claims that a pod names, and whether it can only read them: all of its mounts do."""
    spec = pod.get("spec") or {}
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    writing = {
        mount["name"]
        for container in containers
        for mount in container.get("volumeMounts") or ()
        if not mount.get("readOnly")
    }
    return {
        source["claimName"]: bool(source.get("readOnly")) or volume["name"] not in writing
        for volume in spec.get("volumes") or ()
        if (source := volume.get("persistentVolumeClaim"))
    }


def mounted_claims(pod: dict[str, Any]) -> frozenset[str]:
    """The claims that a process of this pod may have written to.

    A claim counts as mounted once a container that mounts it was started: before that (image
    not there, pod not scheduled) nobody but the kubelet has seen the volume.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    claims = claims_by_volume(pod)
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
