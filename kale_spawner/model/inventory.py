"""What a user has: their claims, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kale_spawner.model.quantity import parse_size
from kale_spawner.wire import USERNAME_LABEL

ORIGIN_ANNOTATION = "jupyter-workspace"


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim of the user's.

    size_bytes: the capacity it has; before it is bound, what was asked for.
    capacity: the same as a quantity. used_by: the server that mounts it now ("" is the default
    server), or None. deleting: it is on its way out and cannot be mounted any more.
    """

    name: str
    size_bytes: int
    capacity: str
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    storage_class: str | None = None
    phase: str = "Pending"
    created: datetime | None = None
    used_by: str | None = None
    deleting: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def last_mount(self) -> str | None:
        """Where a start of ours mounted it when it made it; None when that is not known."""
        return self.annotations.get("kale-spawner/mount")


@dataclass(frozen=True)
class Inventory:
    """claims: the user's own by name."""

    claims: Mapping[str, Claim] = field(default_factory=dict)

    def unusable(self, name: str) -> str | None:
        """Why this volume cannot be mounted again, or None."""
        claim = self.claims.get(name)
        if claim is None:
            instead = 'choose one that you have, or a new one (source "new")'
            return f'you have no volume "{name}"; {instead}'
        return f'"{name}" is being deleted; wait, or use another' if claim.deleting else None


def owned_by(metadata: Mapping[str, Any], username: str) -> bool:
    """Whether an object is this user's: the annotation has to equal the name exactly.

    The label alone is not enough, since an escaped name is shorter than the name and an
    administrator's template can make two of them equal.
    """
    return bool((metadata.get("annotations") or {}).get(USERNAME_LABEL) == username)


def claim_of(manifest: Mapping[str, Any], used_by: str | None = None) -> Claim:
    """A claim as the API server tells it."""
    metadata = manifest["metadata"]
    spec = manifest.get("spec") or {}
    status = manifest.get("status") or {}
    asked = (spec.get("resources") or {}).get("requests") or {}
    capacity = (status.get("capacity") or {}).get("storage") or asked.get("storage") or "0"
    return Claim(
        name=metadata["name"],
        size_bytes=_bytes(capacity),
        capacity=capacity,
        access_modes=tuple(spec.get("accessModes") or ()),
        storage_class=spec.get("storageClassName"),
        phase=status.get("phase") or "Pending",
        created=_time(metadata.get("creationTimestamp")),
        used_by=used_by,
        deleting=bool(metadata.get("deletionTimestamp")),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
    )


def make_inventory(
    claims: Iterable[Mapping[str, Any]], username: str, in_use: Mapping[str, str] | None = None
) -> Inventory:
    """The user's inventory out of any claims; others' are left out. in_use: claim to server."""
    in_use = in_use or {}
    return Inventory(
        {
            manifest["metadata"]["name"]: claim_of(
                manifest, in_use.get(manifest["metadata"]["name"])
            )
            for manifest in claims
            if owned_by(manifest["metadata"], username)
        }
    )


def claims_in_use(pods: Iterable[Mapping[str, Any]], username: str) -> dict[str, str]:
    """Which claims the user's pods mount: claim name to server name."""
    used: dict[str, str] = {}
    for pod in pods:
        metadata = pod["metadata"]
        if not owned_by(metadata, username) or _finished(pod):
            continue
        server = (metadata.get("annotations") or {}).get("hub.jupyter.org/servername", "")
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            if claim := volume.get("persistentVolumeClaim"):
                used[claim["claimName"]] = server
    return used


def _finished(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _bytes(quantity: str) -> int:
    try:
        return parse_size(quantity)
    except ValueError:
        return 0


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
