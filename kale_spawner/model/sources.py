"""Where each volume of a choice comes from: made empty, filled, there already, or shared.

Each source has one method, which says what is wrong with it, or notes what it comes to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from kale_spawner.model import limits as rules
from kale_spawner.model.choices import DataVolume, Workspace
from kale_spawner.model.claim import Claim, Origin
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.growth import Growth, NewClaim, growth_error
from kale_spawner.model.images import EMPTY_FOREVER
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Owner, Role
from kale_spawner.model.quantity import format_size, parse_size
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.model.unfit import WHICH, never_made, no_class, rok_error, stop_first, too_small

DEFAULT_SIZE = "10Gi"
DEFAULT_DATA_SIZE = "5Gi"
FILLED = ("snapshot", "clone", "rok")
"""Sources of a new volume that is not empty."""
_FILLED = ", ".join(f'"{each}"' for each in FILLED)

Volume = Workspace | DataVolume


def room_without_volume(limits: Limits) -> str:
    """How large the folder is that stands in for a workspace, where nobody says."""
    most = limits.max_size
    too_large = most is not None and most < parse_size(DEFAULT_SIZE)
    return format_size(most or 0) if too_large else DEFAULT_SIZE


_UNCHANGED = "an existing volume cannot change this"
_GIVEN = "the volume is shared as it is; leave this out"


class Sources:
    """Collects what the volumes come to, each under its field in the choice.

    tell: takes a field and what is wrong with it; None is nothing.
    """

    def __init__(
        self,
        inventory: Inventory,
        limits: Limits,
        owner: Owner,
        cluster: Cluster,
        tell: Callable[[str, str | None], None],
    ) -> None:
        self.inventory, self.limits, self.owner, self.cluster = inventory, limits, owner, cluster
        self.create: dict[str, NewClaim] = {}
        self.grow: dict[str, Growth] = {}
        self.reuse: list[Claim] = []
        self.node = ""
        self.beside = ""
        self._names: set[str] = set()
        self._tell = tell

    def take(self, field: str, volume: Volume, role: Role, *, sized: bool, named: bool) -> None:
        """sized: the user said how large. named: whether the name could be read."""
        if volume.source not in FILLED and volume.origin is not None:
            self._tell(f"{field}.origin", f"leave this out, or use one of the sources {_FILLED}")
        if not named:
            if volume.source == "new":
                self._empty(field, volume, role)
            elif volume.source in FILLED:
                self._filled(field, volume, role, sized)
            return
        name = volume.name
        if not name:
            which = "what is shared with you" if volume.source == "shared" else "your volumes"
            self._tell(f"{field}.name", f"choose which of {which}")
            return
        self._named(field, volume, name, role, sized)
        if name in self._names:
            again = "take another volume, or another name"
            self._tell(f"{field}.name", f'"{name}" is there twice; {again}')
        self._names.add(name)

    def _named(self, field: str, volume: Volume, name: str, role: Role, sized: bool) -> None:
        if volume.source == "shared":
            self._shared(field, volume, name)
            return
        claim = self.inventory.claims.get(name)
        if claim is not None or volume.source == "existing":
            self._tell(f"{field}.name", self.inventory.unusable(name))
        else:
            reason = rules.name_error(name, role, self.owner, self.limits)
            self._tell(f"{field}.name", reason)
        if claim is not None:
            self._existing(field, volume, claim, sized)
        elif volume.source == "new":
            self._empty(field, volume, role)
        elif volume.source in FILLED:
            self._filled(field, volume, role, sized)

    def settle(self) -> None:
        """A copy of a volume that is made to grow by the same choice is as large as that."""
        grown = {each.claim.name: each.size for each in self.grow.values()}
        for field, new in self.create.items():
            if new.origin is None or new.origin.source != "clone":
                continue
            least = grown.get(new.origin.name)
            if least is not None and parse_size(new.size) < parse_size(least):
                self.create[field] = replace(new, size=least)

    def free(self, name: str, source: str, origin: str | None) -> str:
        """The first of `name`, `name-2`, `name-3`... whose claim is not there, or was made from
        this very origin: so that a start may run twice."""
        for number in count(1):
            free = name if number == 1 else f"{name}-{number}"
            claim = self.inventory.claims.get(free)
            if claim is None or _is_from(claim, source, origin):
                break
        return free

    def is_read_only(self, volume: Volume) -> bool:
        """As asked; what is shared is read only unless its marking says otherwise."""
        asked = volume.read_only if isinstance(volume, DataVolume) else None
        if asked is None and volume.source == "shared":
            claim = self.inventory.shared_claims.get(volume.name or "")
            return not (claim and claim.shared and claim.shared.writable)
        return bool(asked)

    def _shared(self, field: str, volume: Volume, name: str) -> None:
        self._tell(f"{field}.name", self.inventory.unshared(name))
        claim = self.inventory.shared_claims.get(name)
        if claim is None or claim.shared is None:
            return
        for part in ("size", "storage_class", "access_mode"):
            if getattr(volume, part) is not None:
                self._tell(f"{field}.{part}", _GIVEN)
        if not claim.shared.writable:
            if isinstance(volume, Workspace):
                reason = f'"{name}" is shared read only, and a workspace has to be written to'
                self._tell(f"{field}.name", f"{reason}; choose another, or mount it as data")
            elif volume.read_only is False:
                self._tell(f"{field}.read_only", f'"{name}" is shared read only; leave this out')
        self._mounted(field, claim)

    def _existing(self, field: str, volume: Volume, claim: Claim, sized: bool) -> None:
        """Also the other sources with the name of one's own claim: a start may run twice."""
        if volume.source in FILLED and not _is_from(claim, volume.source, volume.origin):
            self._tell(
                f"{field}.name",
                f'you have a volume "{claim.name}" already, and it was not made from '
                f'"{volume.origin or ""}"; choose another name, or use it (source "existing")',
            )
        size = parse_size(volume.size) if sized and volume.size else 0
        if volume.source != "existing":
            if size > claim.size_bytes and not claim.is_growing:
                self._tell(
                    f"{field}.size",
                    f'you have a volume "{claim.name}" of {claim.capacity} already; use that and '
                    'make it larger (source "existing"), or choose another name',
                )
        elif size:
            self._growth(field, claim, volume.size or "", size)
        if volume.source == "existing":
            if volume.storage_class not in (None, claim.storage_class):
                self._tell(f"{field}.storage_class", _UNCHANGED)
            if volume.access_mode and volume.access_mode not in claim.access_modes:
                self._tell(f"{field}.access_mode", _UNCHANGED)
        self._tell(f"{field}.name", never_made(claim, self.cluster))
        self._mounted(field, claim)

    def _growth(self, field: str, claim: Claim, text: str, size: int) -> None:
        if size not in (claim.size_bytes, claim.requested_bytes):
            claims = self.inventory.claims.values()
            reason = growth_error(claim, text, self.limits, self.cluster, claims)
            self._tell(f"{field}.size", reason)
            self.grow[field] = Growth(claim, text)

    def _mounted(self, field: str, claim: Claim) -> None:
        """Beside what other servers mount at this moment."""
        self.reuse.append(claim)
        others = [use for use in claim.uses if use.server != self.owner.server]
        if claim.exclusive and others:
            self._tell(
                f"{field}.name",
                f'"{claim.name}" is used by {others[0]}, and only one server at a time can mount '
                f"it (ReadWriteOncePod); {stop_first(str(others[0]))}, or choose another",
            )
        if not claim.one_node:
            return
        for use in others:
            if use.node and self.node and use.node != self.node:
                self._tell(
                    f"{field}.name",
                    f'"{claim.name}" is used by {use}, and on another machine; {self.beside}, '
                    f"so that no machine has both; {stop_first(str(use))}, or choose another",
                )
            elif use.node:
                self.node = use.node
                self.beside = f'"{claim.name}" is mounted by {use} on machine {use.node}'

    def _empty(self, field: str, volume: Volume, role: Role) -> None:
        if isinstance(volume, DataVolume) and volume.read_only:
            self._tell(f"{field}.read_only", EMPTY_FOREVER)
        size = volume.size or (DEFAULT_SIZE if role == "workspace" else DEFAULT_DATA_SIZE)
        self._new(field, volume, role, size, None)

    def _filled(self, field: str, volume: Volume, role: Role, sized: bool) -> None:
        if not volume.origin:
            self._tell(f"{field}.origin", WHICH[str(volume.source)])
        elif volume.source == "snapshot":
            self._from_snapshot(field, volume, role, sized)
        elif volume.source == "clone":
            self._from_claim(field, volume, role, sized)
        else:
            self._from_rok(field, volume, role)

    def _from_snapshot(self, field: str, volume: Volume, role: Role, sized: bool) -> None:
        if self.inventory.snapshots_missing:
            self._tell(f"{field}.source", self.inventory.snapshots_missing)
            return
        name = volume.origin or ""
        snapshot = self.inventory.snapshot(name)
        if snapshot is None:
            self._tell(f"{field}.origin", f'you have no snapshot "{name}"; choose one of yours')
            return
        self._tell(f"{field}.origin", snapshot.unready)
        if snapshot.unready and not sized:
            return  # how large it would be is not known
        size = volume.size if sized and volume.size else format_size(snapshot.size_bytes or 1)
        if sized and volume.size and parse_size(volume.size) < snapshot.size_bytes:
            self._tell(f"{field}.size", too_small(volume.size, f'snapshot "{name}"', snapshot.size))
        taken = snapshot.taken or snapshot.created
        when = taken.isoformat() if taken else ""
        origin = Origin("snapshot", name, snapshot.volume, when, snapshot.set)
        storage_class = volume.storage_class or self._class_for(snapshot)
        self._new(field, volume, role, size, origin, storage_class)
        driver = self.cluster.driver_of_snapshots(snapshot.snapshot_class)
        found = self.cluster.storage_class(storage_class)
        if driver and found and found.provisioner != driver:
            self._tell(
                f"{field}.storage_class",
                f'the class "{found.name}" is of driver {found.provisioner}, but snapshot '
                f'"{name}" is of {driver}; use a class of that one{self._classes_of(driver)}',
            )

    def _class_for(self, snapshot: Snapshot) -> str | None:
        """The class of the snapshot's volume, else the first allowed one of the same driver."""
        allowed = self.limits.storage_classes
        if snapshot.storage_class in allowed:
            return snapshot.storage_class
        driver = self.cluster.driver_of_snapshots(snapshot.snapshot_class)
        for name in allowed:
            found = self.cluster.storage_class(name)
            if driver and found and found.provisioner == driver:
                return name
        return None

    def _classes_of(self, driver: str) -> str:
        fitting = [
            name
            for name in self.limits.storage_classes
            if (found := self.cluster.storage_class(name)) and found.provisioner == driver
        ]
        return f", {' or '.join(fitting)}" if fitting else ", or ask your administrator for one"

    def _from_claim(self, field: str, volume: Volume, role: Role, sized: bool) -> None:
        name = volume.origin or ""
        claim = self.inventory.claims.get(name) or self.inventory.shared_claims.get(name)
        if claim is None:
            self._tell(f"{field}.origin", f'you have no volume "{name}"; choose one of yours')
            return
        if claim.deleting:
            self._tell(f"{field}.origin", f'"{name}" is being deleted; choose another')
        elif claim.phase != "Bound":
            reason = f'"{name}" has never been mounted, so there is nothing to copy'
            self._tell(f"{field}.origin", f"{reason}; choose another")
        least = format_size(claim.coming_bytes)
        size = volume.size if sized and volume.size else least
        if sized and volume.size and parse_size(volume.size) < claim.size_bytes:
            self._tell(f"{field}.size", too_small(volume.size, f'"{name}"', claim.capacity))
        if volume.storage_class not in (None, claim.storage_class):
            self._tell(
                f"{field}.storage_class",
                f'a copy has the class of its original ("{claim.storage_class}"); leave this out',
            )
        mode = volume.access_mode or _or_first(None, claim.access_modes)
        copied = volume.model_copy(update={"access_mode": mode})
        self._new(field, copied, role, size, Origin("clone", name), claim.storage_class, True)

    def _from_rok(self, field: str, volume: Volume, role: Role) -> None:
        url = volume.origin or ""
        self._tell(f"{field}.origin", rok_error(url, self.limits.rok_hosts))
        size = volume.size or (DEFAULT_SIZE if role == "workspace" else DEFAULT_DATA_SIZE)
        self._new(field, volume, role, size, Origin("rok", url))

    def _new(
        self,
        field: str,
        volume: Volume,
        role: Role,
        size: str,
        origin: Origin | None,
        storage_class: str | None = None,
        copied: bool = False,
    ) -> None:
        """copied: class and mode are those of a volume that the user has, so they are allowed."""
        classes, modes = self.limits.storage_classes, self.limits.access_modes
        new = NewClaim(
            name=volume.name or "",
            size=size,
            storage_class=_or_first(storage_class or volume.storage_class, classes),
            access_mode=_or_first(volume.access_mode, modes),
            role=role,
            mount=volume.mount or "",
            origin=origin,
        )
        self._tell(f"{field}.size", rules.size_error(new.size, self.limits))
        if not copied:
            self._tell(
                f"{field}.storage_class",
                rules.allowed_error(new.storage_class, classes, "the class"),
            )
            self._tell(
                f"{field}.access_mode", rules.allowed_error(new.access_mode, modes, "the mode")
            )
        if not self.cluster.has_class(new.storage_class):
            self._tell(f"{field}.storage_class", no_class(new.storage_class, self.cluster))
        self.create[field] = new


def _is_from(claim: Claim, source: str | None, origin: str | None) -> bool:
    made = claim.origin
    return made is not None and (made.source, made.name) == (source, origin)


def _or_first(value: str | None, allowed: tuple[str, ...]) -> str:
    return value if value is not None else (allowed[0] if allowed else "")
