"""Snapshots as a user has them, and the sets that they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.claim import Shared, bytes_of, shared_of, time_of
from kale_spawner.wire import SERVERNAME_LABEL


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
    def number(self) -> int:
        """Which of its set's volumes it is of, from 1; 0 where that was not noted."""
        noted = self.annotations.get(marks.NUMBER, "")
        return int(noted) if noted.isdecimal() else 0

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
class Group:
    """A VolumeGroupSnapshot of the user's: it takes all snapshots of a set at one instant.

    name: its own; set: that of the set. ready: they are taken. error: why they cannot be.
    """

    name: str
    set: str
    ready: bool = False
    error: str = ""
    created: datetime | None = None
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""

    @property
    def members(self) -> dict[str, dict[str, str]]:
        """By volume, in the server's order: the annotations of its snapshot."""
        found: dict[str, dict[str, str]] = json.loads(self.annotations.get(marks.MEMBERS, "{}"))
        return found


@dataclass(frozen=True)
class SnapshotSet:
    """All volumes of a server at one moment, and the choice that started it.

    volumes: of which ones, also where their snapshots are still to come. size: how many.
    grouped: a VolumeGroupSnapshot takes them at one instant; else one is taken after the other.
    deleting: on its way out. error: why it cannot be taken.
    """

    name: str
    server: str
    snapshots: tuple[Snapshot, ...]
    choice: Mapping[str, Any] | None
    size: int
    volumes: tuple[str, ...] = ()
    reason: str = ""
    grouped: bool = False
    created: datetime | None = None
    deleting: bool = False
    error: str = ""
    group: Group | None = None

    @property
    def whole(self) -> bool:
        """Whether every volume's snapshot is there, ready or not."""
        return len(self.snapshots) >= self.size

    @property
    def taking(self) -> bool:
        """Whether snapshots of it are still to come; also after an error, which the cluster may
        get over."""
        return self.group is not None and not self.whole

    @property
    def ready(self) -> bool:
        return self.whole and not self.deleting and all(not s.unready for s in self.snapshots)


def snapshot_of(manifest: Mapping[str, Any]) -> Snapshot:
    """A snapshot as the API server tells it."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    size = str(status.get("restoreSize") or "")
    return Snapshot(
        name=metadata["name"],
        volume=(spec.get("source") or {}).get("persistentVolumeClaimName") or "",
        size_bytes=bytes_of(size),
        size=size,
        ready=status.get("readyToUse") is True,
        error=str((status.get("error") or {}).get("message") or ""),
        created=time_of(metadata.get("creationTimestamp")),
        taken=time_of(status.get("creationTime")),
        deleting=bool(metadata.get("deletionTimestamp")),
        snapshot_class=spec.get("volumeSnapshotClassName"),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        shared=shared_of(metadata),
        uid=metadata.get("uid") or "",
    )


def group_of(manifest: Mapping[str, Any]) -> Group:
    """A VolumeGroupSnapshot as the API server tells it."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    return Group(
        name=metadata["name"],
        set=(metadata.get("labels") or {}).get(marks.SET, ""),
        ready=status.get("readyToUse") is True,
        error=str((status.get("error") or {}).get("message") or ""),
        created=time_of(metadata.get("creationTimestamp")),
        deleting=bool(metadata.get("deletionTimestamp")),
        annotations=metadata.get("annotations") or {},
        uid=metadata.get("uid") or "",
    )


def sets_of(
    snapshots: Iterable[Snapshot], groups: Mapping[str, Group] | None
) -> dict[str, SnapshotSet]:
    """Sets by name, the latest first. groups: by set; None where they may not be seen."""
    members: dict[str, list[Snapshot]] = {name: [] for name in groups or ()}
    for snapshot in snapshots:
        if snapshot.set:
            members.setdefault(snapshot.set, []).append(snapshot)
    found = [_set_of(name, have, groups) for name, have in members.items()]
    found.sort(key=lambda s: (s.created is None, s.created, len(s.name), s.name), reverse=True)
    return {each.name: each for each in found}


def _set_of(
    name: str, snapshots: list[Snapshot], groups: Mapping[str, Group] | None
) -> SnapshotSet:
    snapshots.sort(key=lambda each: (each.number, len(each.name), each.name))
    group = (groups or {}).get(name)
    noted = group.annotations if group else snapshots[0].annotations
    try:
        choice = json.loads(noted.get(marks.CHOICE) or "null")
    except ValueError:
        choice = None
    size = noted.get(marks.SET_SIZE, "")
    grouped = group is not None or marks.GROUPED in noted
    # Without its group, a member is on its way out too.
    gone = grouped and groups is not None and group is None
    volumes = [each.volume for each in snapshots]
    if group is not None and len(volumes) < len(group.members):
        volumes = list(group.members)
    made = [each.created for each in (group, *snapshots) if each and each.created]
    return SnapshotSet(
        name=name,
        server=noted.get(SERVERNAME_LABEL, ""),
        snapshots=tuple(snapshots),
        choice=choice if isinstance(choice, dict) else None,
        size=int(size) if size.isdecimal() else len(snapshots),
        volumes=tuple(volumes),
        reason=noted.get(marks.REASON, ""),
        grouped=grouped,
        created=min(made, default=None),
        deleting=gone or any(each.deleting for each in (group, *snapshots) if each),
        error=group.error if group and not group.ready else "",
        group=group,
    )
