"""What a user has: their claims and snapshots, and what an administrator shares with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.mounted import has_ended, mounts_of
from kale_spawner.model.quantity import parse_size
from kale_spawner.wire import SERVERNAME_LABEL, USERNAME_LABEL


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
    of which volume a snapshot was. time: when the snapshot was taken, in RFC 3339.
    """

    source: str
    name: str
    volume: str = ""
    time: str = ""

    def to_json(self) -> str:
        """One line; `from_json` gives an equal origin back."""
        parts = {"source": self.source, "name": self.name, "volume": self.volume}
        return json.dumps({**parts, "time": self.time})

    @classmethod
    def from_json(cls, text: str | None) -> Origin | None:
        """None for what is none."""
        try:
            data = json.loads(text or "")
            return cls(
                *(str(data.get(part) or "") for part in ("source", "name", "volume", "time"))
            )
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
    server mounts it. uses: the pods that mount it now. deleting: it is on its way out and cannot
    be mounted any more. volume: the PersistentVolume's name, "" before it is bound.
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
    def exclusive(self) -> bool:
        """Whether one pod at a time can mount it."""
        return "ReadWriteOncePod" in self.access_modes

    @property
    def one_node(self) -> bool:
        """Whether all pods that mount it have to be on one node."""
        return not {"ReadWriteMany", "ReadOnlyMany"} & set(self.access_modes)


@dataclass(frozen=True)
class Snapshot:
    """A VolumeSnapshot of the user's, or shared with them.

    volume: the claim it was taken of. size_bytes: a volume made from it is at least as large; 0
    before that is known. ready: a volume can be made from it. error: why it cannot be taken.
    taken: the moment whose state it has; None before that is known.
    """

    name: str
    volume: str
    size_bytes: int = 0
    size: str = ""
    ready: bool = False
    error: str = ""
    created: datetime | None = None
    taken: datetime | None = None
    deleting: bool = False
    snapshot_class: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    shared: Shared | None = None
    uid: str = ""

    @property
    def set(self) -> str:
        """The set that it belongs to, or ""."""
        return self.labels.get(marks.SET, "")

    @property
    def reason(self) -> str:
        """Why it was taken where nobody asked for it, or ""."""
        return self.annotations.get(marks.REASON, "")

    @property
    def storage_class(self) -> str | None:
        """The class of the volume it was taken of, where that was noted."""
        return self.annotations.get(marks.STORAGE_CLASS)

    @property
    def last_mount(self) -> str | None:
        return self.annotations.get(marks.MOUNT)

    @property
    def unready(self) -> str:
        """Why no volume can be made from it, or ""."""
        if self.deleting:
            return f'snapshot "{self.name}" is being deleted; choose another'
        if self.error and not self.ready:
            return f'snapshot "{self.name}" failed: {self.error}; choose another'
        if not self.ready:
            return f'snapshot "{self.name}" is not ready yet; try again soon, or choose another'
        return ""


@dataclass(frozen=True)
class SnapshotSet:
    """All volumes of a server at one moment, and the choice that started it.

    whole: every volume's snapshot is there. grouped: a VolumeGroupSnapshot took them at one
    instant; else one was taken after the other.
    """

    name: str
    server: str
    snapshots: tuple[Snapshot, ...]
    choice: Mapping[str, Any] | None
    size: int
    grouped: bool = False

    @property
    def whole(self) -> bool:
        return len(self.snapshots) >= self.size

    @property
    def ready(self) -> bool:
        return self.whole and all(not each.unready for each in self.snapshots)

    @property
    def reason(self) -> str:
        return self.snapshots[0].reason

    @property
    def created(self) -> datetime | None:
        return min((each.created for each in self.snapshots if each.created), default=None)


@dataclass(frozen=True)
class Inventory:
    """By name: the user's own, and what is shared with them.

    snapshots_missing: why there can be no snapshots here, or "".
    """

    claims: Mapping[str, Claim] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    shared_claims: Mapping[str, Claim] = field(default_factory=dict)
    shared_snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    snapshots_missing: str = ""

    def unusable(self, name: str) -> str | None:
        """Why this volume cannot be mounted again, or None."""
        claim = self.claims.get(name)
        if claim is None:
            instead = 'choose one that you have, or a new one (source "new")'
            return f'you have no volume "{name}"; {instead}'
        return f'"{name}" is being deleted; wait, or use another' if claim.deleting else None

    def unshared(self, name: str) -> str | None:
        """Why this is no volume that is shared with the user, or None."""
        claim = self.shared_claims.get(name)
        if claim is None:
            return f'no volume "{name}" is shared with you; choose another'
        return f'"{name}" is being deleted; use another' if claim.deleting else None

    def snapshot(self, name: str) -> Snapshot | None:
        """The user's own of this name, or one that is shared."""
        return self.snapshots.get(name) or self.shared_snapshots.get(name)

    def sets(self) -> dict[str, SnapshotSet]:
        """The user's sets by name, the latest first."""
        members: dict[str, list[Snapshot]] = defaultdict(list)
        for snapshot in self.snapshots.values():
            if snapshot.set:
                members[snapshot.set].append(snapshot)
        found = [_set_of(name, snapshots) for name, snapshots in members.items()]
        found.sort(key=lambda s: (s.created is None, s.created, len(s.name), s.name), reverse=True)
        return {each.name: each for each in found}


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
    conditions = {each["type"] for each in status.get("conditions") or ()}
    return Claim(
        name=metadata["name"],
        size_bytes=_bytes(capacity),
        capacity=capacity,
        access_modes=tuple(spec.get("accessModes") or ()),
        storage_class=spec.get("storageClassName"),
        phase=status.get("phase") or "Pending",
        created=_time(metadata.get("creationTimestamp")),
        uses=tuple(uses),
        deleting=bool(metadata.get("deletionTimestamp")),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        requested_bytes=_bytes(asked),
        waits_for_mount="FileSystemResizePending" in conditions,
        volume=spec.get("volumeName") or "",
        shared=shared_of(metadata),
        uid=metadata.get("uid") or "",
    )


def snapshot_of(manifest: Mapping[str, Any]) -> Snapshot:
    """A snapshot as the API server tells it."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    size = str(status.get("restoreSize") or "")
    return Snapshot(
        name=metadata["name"],
        volume=(spec.get("source") or {}).get("persistentVolumeClaimName") or "",
        size_bytes=_bytes(size),
        size=size,
        ready=status.get("readyToUse") is True,
        error=str((status.get("error") or {}).get("message") or ""),
        created=_time(metadata.get("creationTimestamp")),
        taken=_time(status.get("creationTime")),
        deleting=bool(metadata.get("deletionTimestamp")),
        snapshot_class=spec.get("volumeSnapshotClassName"),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        shared=shared_of(metadata),
        uid=metadata.get("uid") or "",
    )


def make_inventory(
    claims: Iterable[Mapping[str, Any]],
    username: str,
    uses: Mapping[str, Sequence[Use]] | None = None,
    snapshots: Iterable[Mapping[str, Any]] = (),
    groups: Iterable[str] = (),
    snapshots_missing: str = "",
) -> Inventory:
    """The user's inventory out of any claims and snapshots: those that are neither their own nor
    shared with them are left out. uses: by claim."""
    uses, groups = uses or {}, frozenset(groups)
    own, shared = _sorted_out(claims, username, groups)
    own_snapshots, shared_snapshots = _sorted_out(snapshots, username, groups)
    return Inventory(
        claims={name: claim_of(each, uses.get(name, ())) for name, each in own.items()},
        snapshots={name: snapshot_of(each) for name, each in own_snapshots.items()},
        shared_claims={name: claim_of(each, uses.get(name, ())) for name, each in shared.items()},
        shared_snapshots={name: snapshot_of(each) for name, each in shared_snapshots.items()},
        snapshots_missing=snapshots_missing,
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


def _sorted_out(
    manifests: Iterable[Mapping[str, Any]], username: str, groups: frozenset[str]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    own: dict[str, Mapping[str, Any]] = {}
    given: dict[str, Mapping[str, Any]] = {}
    for manifest in manifests:
        metadata = manifest["metadata"]
        shared = shared_of(metadata)
        if owned_by(metadata, username):
            own[metadata["name"]] = manifest
        elif shared is not None and shared.reaches(groups):
            given[metadata["name"]] = manifest
    return own, given


def _set_of(name: str, snapshots: list[Snapshot]) -> SnapshotSet:
    snapshots.sort(key=lambda each: (len(each.name), each.name))
    noted = snapshots[0].annotations
    try:
        choice = json.loads(noted.get(marks.CHOICE) or "null")
    except ValueError:
        choice = None
    size = noted.get(marks.SET_SIZE, "")
    return SnapshotSet(
        name=name,
        server=noted.get(SERVERNAME_LABEL, ""),
        snapshots=tuple(snapshots),
        choice=choice if isinstance(choice, dict) else None,
        size=int(size) if size.isdecimal() else len(snapshots),
        grouped=marks.GROUPED in noted,
    )


def _bytes(quantity: str) -> int:
    try:
        return parse_size(quantity)
    except ValueError:
        return 0


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
