"""Claims as a user has them: what mounts them, where their content came from, who shares them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.mounted import has_ended, mounts_of
from kale_spawner.model.quantity import parse_size
from kale_spawner.wire import SERVERNAME_LABEL, USERNAME_LABEL

_NOT_GROWN = ("ControllerResizeError", "NodeResizeError")
"""Conditions of a claim whose driver refused its growth, or that of its file system."""


@dataclass(frozen=True)
class Use:
    """A pod that mounts a claim now. server: of the user's own ("" is the default server); None
    for a pod of somebody else's. node: "" before the pod has one."""

    server: str | None
    node: str = ""
    read_only: bool = False

    def __str__(self) -> str:
        if self.server is None:
            return "a server of another user"
        return f"server {self.server}" if self.server else "your server"


@dataclass(frozen=True)
class Origin:
    """Where a volume's first content came from.

    source: "snapshot", "clone" or "rok". name: the snapshot, the volume or the address. volume:
    of which volume a snapshot was. time: when the snapshot was taken, in RFC 3339. set: that the
    snapshot was part of, or "".
    """

    source: str
    name: str
    volume: str = ""
    time: str = ""
    set: str = ""

    def to_json(self) -> str:
        """One line; `from_json` gives an equal origin back."""
        return json.dumps({key: value for key, value in asdict(self).items() if value})

    @classmethod
    def from_json(cls, text: str | None) -> Origin | None:
        """None for what is none."""
        try:
            data = json.loads(text or "")
            return cls(**{each.name: str(data.get(each.name) or "") for each in fields(cls)})
        except (ValueError, AttributeError):
            return None


@dataclass(frozen=True)
class Shared:
    """How an administrator gives something to others. groups: None for everybody."""

    groups: frozenset[str] | None = None
    writable: bool = False
    description: str = ""

    def reaches(self, groups: Iterable[str]) -> bool:
        return self.groups is None or not self.groups.isdisjoint(groups)


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim of the user's, or shared with them.

    size_bytes: the capacity it has; before it is bound, what was asked for.
    capacity: the same as a quantity. requested_bytes: what was asked for last; more than
    size_bytes while the volume grows. waits_for_mount: what is left of growing is done when a
    server mounts it. stuck: why it does not grow, in the driver's words, or "". uses: the pods
    that mount it now. deleting: it is on its way out and cannot be mounted any more. volume: the
    PersistentVolume's name, "" before it is bound.
    """

    name: str
    size_bytes: int
    capacity: str
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    storage_class: str | None = None
    phase: str = "Pending"
    created: datetime | None = None
    uses: tuple[Use, ...] = ()
    deleting: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    requested_bytes: int = 0
    waits_for_mount: bool = False
    stuck: str = ""
    volume: str = ""
    shared: Shared | None = None
    uid: str = ""

    @property
    def last_mount(self) -> str | None:
        """Where a start of ours mounted it when it made it; None when that is not known."""
        return self.annotations.get(marks.MOUNT)

    @property
    def origin(self) -> Origin | None:
        return Origin.from_json(self.annotations.get(marks.ORIGIN))

    @property
    def is_growing(self) -> bool:
        return self.phase == "Bound" and self.requested_bytes > self.size_bytes

    @property
    def coming_bytes(self) -> int:
        """The size that it has, or is growing to."""
        return self.size_bytes if self.stuck else self.asked_bytes

    @property
    def asked_bytes(self) -> int:
        """What was asked for last, and what a quota counts; never less than it has."""
        return max(self.size_bytes, self.requested_bytes)

    @property
    def exclusive(self) -> bool:
        """Whether one pod at a time can mount it."""
        return "ReadWriteOncePod" in self.access_modes

    @property
    def one_node(self) -> bool:
        """Whether all pods that mount it have to be on one node."""
        return not {"ReadWriteMany", "ReadOnlyMany"} & set(self.access_modes)


def owned_by(metadata: Mapping[str, Any], username: str) -> bool:
    """Whether an object is this user's: the annotation has to equal the name exactly.

    The label alone is not enough, since an escaped name is shorter than the name and an
    administrator's template can make two of them equal.
    """
    return bool((metadata.get("annotations") or {}).get(USERNAME_LABEL) == username)


def shared_of(metadata: Mapping[str, Any]) -> Shared | None:
    """How an administrator shares this object, or None."""
    if (metadata.get("labels") or {}).get(marks.SHARED) != "true":
        return None
    annotations = metadata.get("annotations") or {}
    groups = annotations.get(marks.GROUPS)
    names = None if groups is None else frozenset(map(str.strip, groups.split(",")))
    writable = annotations.get(marks.WRITABLE) == "true"
    return Shared(names, writable, annotations.get(marks.DESCRIPTION, ""))


def claim_of(manifest: Mapping[str, Any], uses: Iterable[Use] = ()) -> Claim:
    """A claim as the API server tells it."""
    metadata = manifest["metadata"]
    spec = manifest.get("spec") or {}
    status = manifest.get("status") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0"
    capacity = (status.get("capacity") or {}).get("storage") or asked
    conditions = {
        each["type"]: str(each.get("message") or "").rpartition("desc = ")[2]
        for each in status.get("conditions") or ()
        if each.get("status") != "False"
    }
    # What is said of the size that was tried last is not said of one that was asked for since.
    tried = (status.get("allocatedResources") or {}).get("storage") or asked
    grows = bytes_of(tried) == bytes_of(asked) > bytes_of(capacity)
    refused = [conditions[each] for each in _NOT_GROWN if each in conditions]
    return Claim(
        name=metadata["name"],
        size_bytes=bytes_of(capacity),
        capacity=capacity,
        access_modes=tuple(spec.get("accessModes") or ()),
        storage_class=spec.get("storageClassName"),
        phase=status.get("phase") or "Pending",
        created=time_of(metadata.get("creationTimestamp")),
        uses=tuple(uses),
        deleting=bool(metadata.get("deletionTimestamp")),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        requested_bytes=bytes_of(asked),
        waits_for_mount="FileSystemResizePending" in conditions,
        stuck=(refused[0] or "the driver does not say why") if grows and refused else "",
        volume=spec.get("volumeName") or "",
        shared=shared_of(metadata),
        uid=metadata.get("uid") or "",
    )


def uses_of(pods: Iterable[Mapping[str, Any]], username: str) -> dict[str, list[Use]]:
    """Who mounts which claims, as this user may know it."""
    found: dict[str, list[Use]] = defaultdict(list)
    for pod in pods:
        if has_ended(pod):
            continue
        metadata = pod["metadata"]
        server: str | None = None
        if owned_by(metadata, username):
            server = (metadata.get("annotations") or {}).get(SERVERNAME_LABEL, "")
        node = (pod.get("spec") or {}).get("nodeName") or ""
        for claim, read_only in mounts_of(pod).items():
            found[claim].append(Use(server, node, read_only))
    return found


def bytes_of(quantity: str) -> int:
    try:
        return parse_size(quantity)
    except ValueError:
        return 0


def time_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
