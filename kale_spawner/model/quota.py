"""What quotas leave for new and growing volumes: told before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kale_spawner.errors import FieldError
from kale_spawner.model.cluster import Cluster, Quota
from kale_spawner.model.growth import Growth, NewClaim
from kale_spawner.model.quantity import format_size, parse_size

_STORAGE, _CLAIMS = "requests.storage", "persistentvolumeclaims"
_SNAPSHOTS = "count/volumesnapshots.snapshot.storage.k8s.io"
_OF_CLASS = ".storageclass.storage.k8s.io/"


@dataclass(frozen=True)
class _Need:
    field: str
    storage_class: str
    bytes: int
    claims: int


def quota_errors(
    create: Mapping[str, NewClaim], grow: Mapping[str, Growth], cluster: Cluster
) -> Iterator[FieldError]:
    """For each quota that does not suffice: what it leaves, and who can raise it."""
    needs = [
        _Need(field, _class(new.storage_class, cluster), parse_size(new.size), 1)
        for field, new in create.items()
    ]
    for field, growth in grow.items():
        claim = growth.claim
        needs.append(_Need(field, claim.storage_class or "", growth.more_bytes, 0))
    for quota in cluster.quotas:
        for resource in sorted(quota.hard):
            yield from _exceeded(quota, resource, needs)


def snapshots_error(wanted: int, cluster: Cluster) -> str | None:
    """Why so many snapshots more are too many, or None."""
    for quota in cluster.quotas:
        if _SNAPSHOTS not in quota.hard:
            continue
        left = _left(quota, _SNAPSHOTS)
        if wanted > left:
            return (
                f"Your quota leaves {left or 'no'} snapshots, and this takes {wanted}. Delete one "
                "that you do not need, or ask your administrator to raise the ResourceQuota "
                f'"{quota.name}".'
            )
    return None


def _exceeded(quota: Quota, resource: str, needs: list[_Need]) -> Iterator[FieldError]:
    storage_class, of_class, counted = resource.rpartition(_OF_CLASS)
    counted = counted.removeprefix("count/")
    if counted not in (_STORAGE, _CLAIMS):
        return
    counting = [each for each in needs if not of_class or each.storage_class == storage_class]
    if counted == _STORAGE:
        wanted = sum(each.bytes for each in counting)
    else:
        wanted = sum(each.claims for each in counting)
    left = _left(quota, resource)
    if not counting or wanted <= left:
        return
    largest = max(counting, key=lambda each: (each.bytes, each.claims))
    where = f' of class "{storage_class}"' if of_class else ""
    if counted == _STORAGE:
        has, needed = _size(left), _size(wanted)
        text = f"your quota leaves {has} of storage{where}, and this needs {needed} more"
    else:
        text = f"your quota leaves {left} volumes{where}, and this makes {wanted}"
    part = "size" if counted == _STORAGE else "source"
    yield FieldError(
        f"{largest.field}.{part}",
        f"{text}; choose less, delete a volume that you do not need, or ask your administrator to "
        f'raise the ResourceQuota "{quota.name}"',
    )


def _left(quota: Quota, resource: str) -> int:
    return max(_amount(quota.hard[resource]) - _amount(quota.used.get(resource, "0")), 0)


def _class(name: str, cluster: Cluster) -> str:
    found = cluster.storage_class(name)
    return found.name if found else name


def _amount(quantity: str) -> int:
    """Of a quantity; unlike a volume's size it may be 0."""
    if not quantity or not quantity.strip("0"):
        return 0
    try:
        return parse_size(quantity)
    except ValueError:
        return 0


def _size(amount: int) -> str:
    return format_size(int(amount)) if amount else "nothing"
