"""Volumes, snapshots and sets as the REST API and the Volumes page tell them.

The models are the API's schemas too: what its document says is what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kale_spawner.kube.usage import Usage
from kale_spawner.model.claim import Claim, Origin, Shared
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.growth import cannot_grow
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.quantity import format_size
from kale_spawner.model.snapshot import Snapshot, SnapshotSet

_KINDS = {
    "group": "all volumes at one instant",
    "each": "one volume after the other",
}


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SharedView(_View):
    groups: list[str] | None
    writable: bool
    description: str


class OriginView(_View):
    source: str
    name: str
    volume: str
    time: str
    set: str


class UsageView(_View):
    used_bytes: int
    capacity_bytes: int


class VolumeView(_View):
    name: str
    size: str
    size_bytes: int
    wanted_size: str | None
    state: Literal["ready", "new", "preparing", "growing", "growth_failed", "deleting", "lost"]
    state_text: str
    storage_class: str | None
    access_modes: list[str]
    created: str | None
    servers: list[str]
    used_elsewhere: bool
    mount: str | None
    origin: OriginView | None
    origin_text: str
    usage: UsageView | None
    can_grow: bool
    why_not_grow: str
    shared: SharedView | None


class SnapshotView(_View):
    name: str
    volume: str
    size: str
    size_bytes: int
    state: Literal["ready", "taking", "failed", "deleting"]
    state_text: str
    created: str | None
    taken: str | None
    set: str
    reason: str
    shared: SharedView | None


class SetView(_View):
    name: str
    server: str
    created: str | None
    state: Literal["ready", "taking", "failed", "deleting", "incomplete"]
    state_text: str
    kind: Literal["group", "each"]
    kind_text: str
    snapshots: list[str]
    volumes: list[str]
    size: int
    reason: str
    restorable: bool
    choice: dict[str, Any] | None


class SharedThings(_View):
    volumes: list[VolumeView]
    snapshots: list[SnapshotView]


class ServerView(_View):
    """volumes: those that it was last started with."""

    name: str
    running: bool
    volumes: list[str]


class StateView(_View):
    version: str
    volumes: list[VolumeView]
    snapshots: list[SnapshotView]
    sets: list[SetView]
    shared: SharedThings
    snapshots_missing: str
    servers: list[ServerView]
    last_snapshot: Literal["never", "offered", "always"]


def volume_view(
    claim: Claim,
    cluster: Cluster,
    usage: Usage | None = None,
    deleting: str = "",
    told: str = "",
    now: datetime | None = None,
) -> VolumeView:
    """deleting: what a deletion under way waits for. told: why the last one did not happen."""
    state, text = _state_of(claim, deleting)
    why_not = cannot_grow(claim, cluster) or ""
    if claim.phase != "Bound":
        why_not = "it was never mounted"
    elif state == "deleting":
        why_not = "it is being deleted"
    elif claim.shared is not None:
        why_not = "it is shared: who shares it can make it larger"
    made = claim.origin
    return VolumeView(
        name=claim.name,
        size=claim.capacity,
        size_bytes=claim.size_bytes,
        wanted_size=format_size(claim.requested_bytes) if claim.is_growing else None,
        state=state,
        state_text=told or text,
        storage_class=claim.storage_class,
        access_modes=list(claim.access_modes),
        created=_time(claim.created),
        servers=sorted({use.server for use in claim.uses if use.server is not None}),
        used_elsewhere=any(use.server is None for use in claim.uses),
        mount=claim.last_mount,
        origin=OriginView(**made.__dict__) if made else None,
        origin_text=origin_text(made, _filled(claim), now or datetime.now(UTC)) if made else "",
        usage=UsageView(**usage.__dict__) if usage else None,
        can_grow=not why_not,
        why_not_grow=why_not,
        shared=_shared(claim.shared),
    )


def snapshot_view(snapshot: Snapshot) -> SnapshotView:
    state: Literal["ready", "taking", "failed", "deleting"]
    if snapshot.deleting:
        state, text = "deleting", "being deleted"
    elif snapshot.ready:
        state, text = "ready", "ready"
    elif snapshot.error:
        state, text = "failed", f"failed: {snapshot.error}"
    else:
        state, text = "taking", "being taken"
    return SnapshotView(
        name=snapshot.name,
        volume=snapshot.volume,
        size=snapshot.size,
        size_bytes=snapshot.size_bytes,
        state=state,
        state_text=text,
        created=_time(snapshot.created),
        taken=_time(snapshot.taken),
        set=snapshot.set,
        reason=snapshot.reason,
        shared=_shared(snapshot.shared),
    )


def set_view(saved: SnapshotSet) -> SetView:
    states = [snapshot_view(each) for each in saved.snapshots]
    state: Literal["ready", "taking", "failed", "deleting", "incomplete"]
    done = sum(each.state == "ready" for each in states)
    if saved.deleting:
        state, text = "deleting", "being deleted"
    elif saved.error:
        state, text = "failed", f"failed: {saved.error}"
    elif not saved.whole and not saved.taking:
        state, text = "incomplete", f"{len(states)} of {saved.size} volumes are there"
    elif failed := [each for each in states if each.state == "failed"]:
        state, text = "failed", f"{failed[0].volume}: {failed[0].state_text}"
    elif saved.ready:
        state, text = "ready", "ready"
    else:
        state, text = "taking", f"being taken, {done} of {saved.size} are ready"
    kind: Literal["group", "each"] = "group" if saved.grouped else "each"
    return SetView(
        name=saved.name,
        server=saved.server,
        created=_time(saved.created),
        state=state,
        state_text=text,
        kind=kind,
        kind_text=_KINDS[kind] if saved.size > 1 else "its only volume",
        snapshots=[each.name for each in saved.snapshots],
        volumes=list(saved.volumes),
        size=saved.size,
        reason=saved.reason,
        restorable=saved.ready,
        choice=dict(saved.choice) if saved.choice is not None else None,
    )


def views(
    have: Inventory,
    cluster: Cluster,
    usage: Mapping[str, Usage],
    deleting: Mapping[str, str],
    told: Mapping[str, str],
) -> dict[str, Any]:
    """All that a user has, the youngest first; the mappings are by volume."""

    def volumes(claims: Mapping[str, Claim]) -> list[VolumeView]:
        return [
            volume_view(
                each,
                cluster,
                usage.get(each.name),
                deleting.get(each.name, ""),
                told.get(each.name, ""),
            )
            for each in _youngest_first(list(claims.values()))
        ]

    def snapshots(found: Mapping[str, Snapshot]) -> list[SnapshotView]:
        return [snapshot_view(each) for each in _youngest_first(list(found.values()))]

    return {
        "volumes": volumes(have.claims),
        "snapshots": snapshots(have.snapshots),
        "sets": [set_view(each) for each in have.sets().values()],
        "shared": SharedThings(
            volumes=volumes(have.shared_claims), snapshots=snapshots(have.shared_snapshots)
        ),
        "snapshots_missing": have.snapshots_missing,
    }


def _filled(claim: Claim) -> datetime | None:
    """When a clone was made of what was there then; None before that."""
    return claim.created if claim.phase == "Bound" else None


def origin_text(made: Origin, created: datetime | None, now: datetime) -> str:
    """ "clone of data-1, of Tuesday": where a volume's first content came from."""
    try:
        when = datetime.fromisoformat(made.time) if made.time else created
    except ValueError:
        when = created
    day = _day(when, now) if when else ""
    if made.source == "clone":
        return f"clone of {made.name}{day}"
    if made.source == "snapshot":
        return f"{made.volume or 'a volume'}{day}, from snapshot {made.set or made.name}"
    return f"from {made.name}"


def _day(when: datetime, now: datetime) -> str:
    if now.date() == when.date():
        return f", of today {when:%H:%M} UTC"
    if now - when < timedelta(days=7):
        return f", of {when:%A}"
    return f", of {when.day} {when:%B %Y}"


def _state_of(claim: Claim, deleting: str) -> tuple[Any, str]:
    if claim.deleting or deleting:
        return "deleting", f"being deleted: {deleting}" if deleting else "being deleted"
    if claim.phase == "Lost":
        return "lost", "its disk is gone; ask your administrator"
    if claim.phase != "Bound":
        if claim.uses:
            return "preparing", "being made"
        return "new", "made when a server first mounts it"
    if claim.is_growing:
        size = format_size(claim.requested_bytes)
        if claim.stuck:
            return "growth_failed", f"could not grow to {size}: {claim.stuck}; ask for less"
        later = claim.waits_for_mount and not claim.uses
        return "growing", f"grows to {size}{' when a server mounts it' if later else ''}"
    return "ready", "ready"


def _shared(shared: Shared | None) -> SharedView | None:
    if shared is None:
        return None
    groups = None if shared.groups is None else sorted(shared.groups)
    return SharedView(groups=groups, writable=shared.writable, description=shared.description)


def _youngest_first(things: Sequence[Any]) -> list[Any]:
    undated = datetime.max.replace(tzinfo=UTC)
    return sorted(things, key=lambda each: (each.created or undated, each.name), reverse=True)


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
