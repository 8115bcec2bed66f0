"""What a user has: their claims and snapshots, and what an administrator shares with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kale_spawner.model.claim import Claim, Use, claim_of, owned_by, shared_of
from kale_spawner.model.snapshot import (
    Group,
    Snapshot,
    SnapshotSet,
    group_of,
    sets_of,
    snapshot_of,
)


@dataclass(frozen=True)
class Inventory:
    """By name: the user's own, and what is shared with them.

    snapshots_missing: why there can be no snapshots here, or "". groups: the user's
    VolumeGroupSnapshots, by the set that they take; None where the cluster has none, or does not
    show them.
    """

    claims: Mapping[str, Claim] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    shared_claims: Mapping[str, Claim] = field(default_factory=dict)
    shared_snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    snapshots_missing: str = ""
    groups: Mapping[str, Group] | None = None

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
        return sets_of(self.snapshots.values(), self.groups)


def make_inventory(
    claims: Iterable[Mapping[str, Any]],
    username: str,
    uses: Mapping[str, Sequence[Use]] | None = None,
    snapshots: Iterable[Mapping[str, Any]] = (),
    groups: Iterable[str] = (),
    snapshots_missing: str = "",
    group_snapshots: Iterable[Mapping[str, Any]] | None = None,
) -> Inventory:
    """The user's inventory out of any claims and snapshots: those that are neither their own nor
    shared with them are left out. uses: by claim. groups: of JupyterHub, that the user is in."""
    uses, groups = uses or {}, frozenset(groups)
    own, shared = _sorted_out(claims, username, groups)
    own_snapshots, shared_snapshots = _sorted_out(snapshots, username, groups)
    return Inventory(
        claims={name: claim_of(each, uses.get(name, ())) for name, each in own.items()},
        snapshots={name: snapshot_of(each) for name, each in own_snapshots.items()},
        shared_claims={name: claim_of(each, uses.get(name, ())) for name, each in shared.items()},
        shared_snapshots={name: snapshot_of(each) for name, each in shared_snapshots.items()},
        snapshots_missing=snapshots_missing,
        groups=None if group_snapshots is None else _groups(group_snapshots, username),
    )


def _groups(manifests: Iterable[Mapping[str, Any]], username: str) -> dict[str, Group]:
    own = [group_of(each) for each in manifests if owned_by(each["metadata"], username)]
    return {each.set: each for each in own if each.set}


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
