"""What the cluster offers for volumes: classes and quotas, as far as the hub may read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_SNAPSHOT = "snapshot.storage.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class StorageClass:
    """provisioner: the driver's name. expandable: its volumes can grow."""

    name: str
    provisioner: str
    expandable: bool = False
    default: bool = False


@dataclass(frozen=True)
class SnapshotClass:
    """A VolumeSnapshotClass, or a VolumeGroupSnapshotClass."""

    name: str
    driver: str
    default: bool = False


@dataclass(frozen=True)
class Quota:
    """A ResourceQuota: amounts by resource, as quantities."""

    name: str
    hard: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """None is for what the hub may not read: nothing is concluded from it.

    snapshot_classes: empty where the cluster has no snapshots.
    """

    classes: Mapping[str, StorageClass] | None = None
    snapshot_classes: Mapping[str, SnapshotClass] | None = None
    group_classes: Mapping[str, SnapshotClass] | None = None
    quotas: tuple[Quota, ...] = ()

    def storage_class(self, name: str | None) -> StorageClass | None:
        """The class of this name; "" and None are the default one."""
        for each in (self.classes or {}).values():
            if each.name == name or (not name and each.default):
                return each
        return None

    def has_class(self, name: str | None) -> bool:
        """Also where that is not known."""
        return self.classes is None or self.storage_class(name) is not None

    def driver_of_snapshots(self, snapshot_class: str | None) -> str | None:
        """Which driver took the snapshots of this class; None when that is not known."""
        found = (self.snapshot_classes or {}).get(snapshot_class or "")
        return found.driver if found else None

    def snapshot_class_for(self, driver: str) -> SnapshotClass | None:
        """The class for snapshots of a driver's volumes: its default, else the first by name."""
        return _class_for(self.snapshot_classes, driver)

    def group_class_for(self, driver: str) -> SnapshotClass | None:
        return _class_for(self.group_classes, driver)


def _class_for(classes: Mapping[str, SnapshotClass] | None, driver: str) -> SnapshotClass | None:
    fitting = [each for each in (classes or {}).values() if each.driver == driver]
    return min(fitting, key=lambda each: (not each.default, each.name), default=None)


def storage_classes(items: Iterable[Mapping[str, Any]]) -> dict[str, StorageClass]:
    """As the API server tells them."""
    return {
        each["metadata"]["name"]: StorageClass(
            each["metadata"]["name"],
            each.get("provisioner") or "",
            each.get("allowVolumeExpansion") is True,
            _says(each, _DEFAULT),
        )
        for each in items
    }


def snapshot_classes(items: Iterable[Mapping[str, Any]]) -> dict[str, SnapshotClass]:
    return {
        each["metadata"]["name"]: SnapshotClass(
            each["metadata"]["name"], each.get("driver") or "", _says(each, _DEFAULT_SNAPSHOT)
        )
        for each in items
    }


def quotas(items: Iterable[Mapping[str, Any]]) -> tuple[Quota, ...]:
    """Those that count volumes: one with scopes counts other things only."""
    found = []
    for each in items:
        spec, status = each.get("spec") or {}, each.get("status") or {}
        if not spec.get("scopes") and not spec.get("scopeSelector"):
            hard = status.get("hard") or {}
            found.append(Quota(each["metadata"]["name"], hard, status.get("used") or {}))
    return tuple(found)


def _says(manifest: Mapping[str, Any], annotation: str) -> bool:
    return (manifest["metadata"].get("annotations") or {}).get(annotation) == "true"
