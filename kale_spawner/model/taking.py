"""Snapshots: their manifests and names, what a server's set consists of, and what restores it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.claim import Claim
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import DEFAULT_WORKSPACE, Owner, Role, data_template
from kale_spawner.model.mounted import claims_by_volume
from kale_spawner.model.mounts import WORKSPACE, Mount
from kale_spawner.model.names import MAX_NAME, expand
from kale_spawner.model.snapshot import SnapshotSet
from kale_spawner.wire import (
    COMPONENT_LABEL,
    SERVERNAME_LABEL,
    STORAGE_COMPONENT,
    USERNAME_LABEL,
)

Manifest = dict[str, Any]
GROUP_SNAPSHOTS = "groupsnapshot.storage.k8s.io"
_RESTORED = re.compile(r"-r[0-9]{4}-[0-9]{4}(-[0-9]+)?")


@dataclass(frozen=True)
class Member:
    """A volume of a server: what is mounted where."""

    claim: str
    mount: str
    role: Role = "data"
    read_only: bool = False


@dataclass(frozen=True)
class SetMark:
    """What every snapshot of a set carries. choice: the one that started the server."""

    name: str
    size: int
    server: str
    choice: Mapping[str, Any]


@dataclass(frozen=True)
class NewSnapshot:
    """A snapshot to be made. snapshot_class "" leaves it to the cluster's default. number: which
    of a set's, from 1."""

    name: str
    claim: Claim
    snapshot_class: str = ""
    mount: str | None = None
    role: Role | None = None
    reason: str = ""
    set: SetMark | None = None
    number: int = 0


def snapshot_manifest(new: NewSnapshot, owner: Owner) -> Manifest:
    """A VolumeSnapshot for its owner, whose label selects and whose annotation proves."""
    spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": new.claim.name}}
    if new.snapshot_class:
        spec["volumeSnapshotClassName"] = new.snapshot_class
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": new.name,
            "labels": _labels(owner, new.set),
            "annotations": _owned(owner) | _of_volume(new) | _of_set(new.set, new.reason),
        },
        "spec": spec,
    }


def group_label(claims: Iterable[Claim]) -> str:
    """The label of these very claims, by which a VolumeGroupSnapshot finds them and no others."""
    of = hashlib.sha256("/".join(sorted(each.uid for each in claims)).encode())
    return marks.TAKEN_WITH + of.hexdigest()[:16]


def group_manifest(
    news: Sequence[NewSnapshot], group_class: str, version: str, owner: Owner
) -> Manifest:
    """A VolumeGroupSnapshot that takes all of a set, whose claims have their `group_label`."""
    mark, reason = news[0].set, news[0].reason
    assert mark is not None
    members = {new.claim.name: _of_volume(new) for new in news}
    return {
        "apiVersion": f"{GROUP_SNAPSHOTS}/{version}",
        "kind": "VolumeGroupSnapshot",
        "metadata": {
            "name": new_name(mark.name, owner),
            "labels": _labels(owner, mark),
            "annotations": _owned(owner)
            | _of_set(mark, reason)
            | {marks.MEMBERS: json.dumps(members), marks.GROUPED: "true"},
        },
        "spec": {
            "volumeGroupSnapshotClassName": group_class,
            "source": {"selector": {"matchLabels": {group_label(n.claim for n in news): "true"}}},
        },
    }


def adoption(group: Manifest, snapshot: Manifest) -> Manifest | None:
    """The patch that makes a snapshot known as one of this group's, or None where it is another's,
    or is known. The cluster makes a group's snapshots with neither labels nor annotations."""
    metadata, own = group["metadata"], snapshot["metadata"]
    owners = own.get("ownerReferences") or ()
    if all(each.get("uid") != metadata["uid"] for each in owners):
        return None
    if (own.get("labels") or {}).get(marks.SET):
        return None
    annotations = dict(metadata.get("annotations") or {})
    claim = ((snapshot.get("spec") or {}).get("source") or {}).get("persistentVolumeClaimName")
    of_volume = json.loads(annotations.pop(marks.MEMBERS, "{}")).get(claim, {})
    annotations.pop(marks.START, None)
    labels = dict(metadata.get("labels") or {})
    return {"metadata": {"labels": labels, "annotations": annotations | of_volume}}


def _labels(owner: Owner, mark: SetMark | None) -> dict[str, str]:
    labels = {**owner.labels, COMPONENT_LABEL: STORAGE_COMPONENT}
    return labels | {marks.SET: mark.name} if mark else labels


def _owned(owner: Owner) -> dict[str, str]:
    return {**owner.annotations, USERNAME_LABEL: owner.user}


def _of_volume(new: NewSnapshot) -> dict[str, str]:
    noted = {
        marks.MOUNT: new.mount or new.claim.last_mount,
        marks.ROLE: new.role or role_of(new.claim),
        marks.STORAGE_CLASS: new.claim.storage_class,
        marks.NUMBER: str(new.number) if new.number else "",
    }
    return {key: value for key, value in noted.items() if value}


def _of_set(mark: SetMark | None, reason: str) -> dict[str, str]:
    noted = {marks.REASON: reason}
    if mark is not None:
        noted[marks.SET_SIZE] = str(mark.size)
        noted[marks.CHOICE] = json.dumps(mark.choice, sort_keys=True)
        noted[SERVERNAME_LABEL] = mark.server
    return {key: value for key, value in noted.items() if value}


def new_name(name: str, owner: Owner, number: int = 0) -> str:
    """Of an object that takes a part of the set `name`, or all of it. It is new each time: two
    users may give one name, and snapshots of a group that is gone stay for ever where another
    group of its name has come (external-snapshotter 8.7 looks for a group by its name)."""
    own = owner.annotations.get(marks.START, "")[:8]
    return f"{name[:50]}-{own}" + (f"-{number}" if number else "")


def role_of(claim: Claim) -> Role:
    """As the start that made it said, or as far as its folder tells."""
    return "workspace" if "jupyter-workspace" in claim.annotations else "data"


def stamped(base: str, now: datetime, taken: Collection[str] = ()) -> str:
    """ "data-1-20261124-143000", not one of `taken`; the base is cut where it is too long."""
    return _free(base, f"-{now.astimezone(UTC):%Y%m%d-%H%M%S}", taken)


def _free(base: str, stamp: str, taken: Collection[str]) -> str:
    number = 1
    while True:
        end = stamp if number == 1 else f"{stamp}-{number}"
        name = base[: MAX_NAME - len(end)].rstrip("-") + end
        if name not in taken:
            return name
        number += 1


def snapshot_class_error(claim: Claim) -> str:
    """Why no snapshot of this volume can be taken, whatever the cluster offers, or ""."""
    if claim.deleting:
        return f'"{claim.name}" is being deleted'
    if claim.phase == "Lost":
        return f'"{claim.name}" lost its storage; ask your administrator'
    if claim.phase != "Bound":
        return f'"{claim.name}" has no content yet: no server has mounted it so far'
    return ""


def members_of_plan(mounts: Iterable[Mount]) -> list[Member]:
    """The volumes of a start, the workspace first."""
    found = [
        Member(each.claim, each.path, _role(each.volume), each.read_only)
        for each in mounts
        if each.claim
    ]
    return sorted(found, key=lambda member: member.role == "data")


def _role(volume: str) -> Role:
    return "workspace" if volume == WORKSPACE else "data"


def members_of_pod(pod: Mapping[str, Any], container: str) -> list[Member]:
    """The volumes of a running server, the workspace first."""
    sources = claims_by_volume(pod)
    found: dict[str, Member] = {}
    for each in (pod.get("spec") or {}).get("containers") or ():
        if each["name"] != container:
            continue
        for mount in each.get("volumeMounts") or ():
            claim = sources.get(mount["name"])
            if claim:
                read_only = bool(mount.get("readOnly"))
                member = Member(claim, mount["mountPath"], _role(mount["name"]), read_only)
                found.setdefault(claim, member)
    return sorted(found.values(), key=lambda member: member.role == "data")


def new_names(saved: SnapshotSet, owner: Owner, inventory: Inventory, now: datetime) -> list[str]:
    """Of the volumes that a restore makes, in the order of the set's snapshots.

    owner: with the server that they are for. Another server than the one that was saved gets
    the names that its own start would give; those that are taken, and those of the same server
    (whose volumes stay as they are), get a stamp.
    """
    taken = set(inventory.claims) | set(inventory.shared_claims)
    stamp = f"-r{now.astimezone(UTC):%m%d-%H%M}"
    names, number = [], 0
    for snapshot in saved.snapshots:
        if snapshot.annotations.get(marks.ROLE) == "workspace":
            own = expand(DEFAULT_WORKSPACE, owner.user, owner.server)
        else:
            number += 1
            own = expand(data_template(number), owner.user, owner.server)
        if owner.server == saved.server or own in taken:
            former = _RESTORED.split(snapshot.volume, maxsplit=1)[0] or own
            own = _free(former, stamp, taken)
        taken.add(own)
        names.append(own)
    return names


def restored_choice(saved: SnapshotSet, names: Sequence[str]) -> dict[str, Any]:
    """The choice that starts a server with what the set holds, in volumes of these new names.

    What the set has no volume of (no workspace, what is shared) is as it was chosen.
    """
    choice = dict(saved.choice or {})
    workspace: dict[str, Any] | None = None
    volumes: list[dict[str, Any]] = []
    for snapshot, name in zip(saved.snapshots, names, strict=True):
        volume: dict[str, Any] = {"source": "snapshot", "origin": snapshot.name, "name": name}
        if snapshot.last_mount:
            volume["mount"] = snapshot.last_mount
        if snapshot.annotations.get(marks.ROLE) == "workspace" and workspace is None:
            workspace = volume
        else:
            volumes.append(volume)
    kept = [
        each
        for each in choice.get("data_volumes") or ()
        if isinstance(each, Mapping) and each.get("source") == "shared"
    ]
    if workspace is not None:
        choice["workspace"] = workspace
    choice["data_volumes"] = [*volumes, *kept]
    return choice
