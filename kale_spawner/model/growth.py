"""Claims that are to be made, or to be larger, and why one cannot grow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kale_spawner.model import limits as rules
from kale_spawner.model.claim import Claim, Origin
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.limits import Limits, Role
from kale_spawner.model.quantity import parse_size


@dataclass(frozen=True)
class NewClaim:
    """A claim to be made. storage_class "" leaves it to the cluster's default. origin: what it
    is filled from; None for an empty one."""

    name: str
    size: str
    storage_class: str
    access_mode: str
    role: Role
    mount: str
    origin: Origin | None = None


@dataclass(frozen=True)
class Growth:
    """A claim that is to have another size than was asked for last: more than it has."""

    claim: Claim
    size: str

    @property
    def more_bytes(self) -> int:
        """What it asks for on top of what was asked for before."""
        return max(parse_size(self.size) - self.claim.asked_bytes, 0)


def growth_error(
    claim: Claim, text: str, limits: Limits, cluster: Cluster, claims: Iterable[Claim]
) -> str | None:
    """Why a claim cannot get this size, or None. claims: all of its user's."""
    if reason := rules.size_error(text, limits):
        return reason
    if parse_size(text) < claim.size_bytes:
        smaller = f"{text} is less than it has ({claim.capacity}), and a volume cannot shrink"
        return f"{smaller}; write a larger one, or leave it as it is"
    if claim.phase != "Bound":
        return "it was never mounted, and cannot grow before that; start a server with it first"
    for clone, size in clones_to_come(claim, claims).items():
        if parse_size(text) > size:
            return (
                f'"{clone}" is to be a clone of it, and would be too small then; start a server '
                "with that first, or delete it"
            )
    return cannot_grow(claim, cluster)


def clones_to_come(claim: Claim, claims: Iterable[Claim]) -> dict[str, int]:
    """The sizes of the claims that are to be filled from this one, and were not mounted yet."""
    waiting = (each for each in claims if each.phase == "Pending" and not each.deleting)
    return {
        each.name: each.size_bytes
        for each in waiting
        if each.origin and (each.origin.source, each.origin.name) == ("clone", claim.name)
    }


def cannot_grow(claim: Claim, cluster: Cluster) -> str | None:
    """Why this claim can never grow, or None."""
    found = cluster.storage_class(claim.storage_class)
    if found is not None and not found.expandable:
        return (
            f'volumes of the class "{found.name}" cannot grow; copy its files to a larger one, '
            "or ask your administrator (allowVolumeExpansion)"
        )
    return None
