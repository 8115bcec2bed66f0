"""What will be done about a choice: which claims are made, which are reused, what is mounted
where. Pure: the same choice, claims and limits give the same plan."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kale_spawner.errors import ChoiceInvalid, FieldError
from kale_spawner.model import limits as rules
from kale_spawner.model.choices import Choice, DataVolume, Workspace
from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.growth import Growth, NewClaim
from kale_spawner.model.images import DataPreset, VolumePreset, WorkspacePreset
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import DEFAULT_WORKSPACE, Limits, Owner, Role, data_template
from kale_spawner.model.mounts import WORKSPACE, Mount, data_volume, mount_errors, outer_first
from kale_spawner.model.names import expand
from kale_spawner.model.quota import quota_errors
from kale_spawner.model.sources import DEFAULT_SIZE, FILLED, Sources, Volume, room_without_volume

HOME = "/home/jovyan"


@dataclass(frozen=True)
class Plan:
    """reuse: claims that are there already, the user's own or shared. grow: those of the user's
    that are made larger. mounts: the outer ones first. node: where the pod has to run, "" for
    anywhere; beside: why, in words: a claim of one node is mounted there by another server.
    """

    create: tuple[NewClaim, ...] = ()
    reuse: tuple[Claim, ...] = ()
    mounts: tuple[Mount, ...] = ()
    grow: tuple[Growth, ...] = ()
    node: str = ""
    beside: str = ""

    @property
    def claims(self) -> frozenset[str]:
        """Every claim the pod will mount."""
        return frozenset(mount.claim for mount in self.mounts if mount.claim)


@dataclass(frozen=True)
class Offer:
    """What the administrator presets for the chosen profile. workspace None: it has none."""

    workspace: WorkspacePreset | None
    data_volumes: DataPreset = dataclasses.field(default_factory=DataPreset)


def make_plan(
    choice: Choice,
    inventory: Inventory,
    limits: Limits,
    owner: Owner,
    offer: Offer,
    found: Sequence[FieldError] = (),
    cluster: Cluster | None = None,
) -> Plan:
    """The plan for the volumes of a choice. Raises ChoiceInvalid with all that is wrong.

    found: what is known to be wrong. It is told with the rest; the choice lacks those fields,
    and nothing is concluded from what would stand in for them. cluster: what it offers, where
    that is known.
    """
    planner = _Planner(inventory, limits, owner, found, cluster or Cluster())
    planner.workspace(choice.workspace, offer.workspace)
    planner.data_volumes(choice.data_volumes, offer.data_volumes)
    for error in mount_errors(planner.mounts, planner.fields, limits):
        planner.error(error.field, error.message)
    sources = planner.sources
    sources.settle()
    if not planner.errors:
        for error in quota_errors(sources.create, sources.grow, sources.cluster):
            planner.error(error.field, error.message)
    if planner.errors:
        raise ChoiceInvalid(sorted(planner.errors.values(), key=_position))
    return Plan(
        tuple(sources.create.values()),
        tuple(sources.reuse),
        outer_first(planner.mounts),
        tuple(sources.grow.values()),
        sources.node,
        sources.beside,
    )


class _Planner:
    def __init__(
        self,
        inventory: Inventory,
        limits: Limits,
        owner: Owner,
        found: Sequence[FieldError],
        cluster: Cluster,
    ) -> None:
        self.limits, self.owner = limits, owner
        self.sources = Sources(inventory, limits, owner, cluster, self.error)
        self.mounts: list[Mount] = []
        self.fields: dict[str, str] = {}
        self.unknown = frozenset(each.field for each in found)
        self.errors = {each.field: each for each in found}

    def error(self, field: str, message: str | None) -> None:
        """One for each field: the first says what to mend first."""
        if message and not self.is_unknown(field):
            self.errors.setdefault(field, FieldError(field, message))

    def is_unknown(self, field: str) -> bool:
        """Whether this field, or what it is part of, could not be read."""
        parts = field.split(".")
        return any(".".join(parts[:end]) in self.unknown for end in range(1, len(parts) + 1))

    def workspace(self, asked: Workspace, preset: WorkspacePreset | None) -> None:
        if preset is None:
            for field in asked.model_fields_set:
                self.error(f"workspace.{field}", "this profile has no workspace; leave it out")
            return
        if preset.mode != "proposed":
            asked = self._fixed(asked, preset)
        source = asked.source or preset.source
        # A preset for a new volume says nothing about the one that the user picked instead.
        same = preset if source == preset.source else WorkspacePreset(source=source)
        origin = asked.origin or same.origin
        name = asked.name
        if name is None and (source == "new" or (same.name and source in ("existing", "shared"))):
            name = self._named(same.name, DEFAULT_WORKSPACE)
        elif name is None and source in FILLED:
            name = self.sources.free(self._named(same.name, DEFAULT_WORKSPACE), source, origin)
        merged = Workspace(
            source=source,
            name=name,
            origin=origin,
            size=asked.size or same.size,
            mount=asked.mount or preset.mount or HOME,
            storage_class=asked.storage_class or same.storage_class,
            access_mode=asked.access_mode or same.access_mode,
        )
        home = preset.mount or HOME
        mount = merged.mount or home
        if rules.is_under(home, mount) and not rules.mount_error(mount, self.limits):
            self.error(
                "workspace.mount", f"this would hide the home folder {home}; use it, or one inside"
            )
        if source == "none" and not self.is_unknown("workspace.source"):
            self._none(asked, merged)
        else:
            self._volume("workspace", merged, asked.size is not None, WORKSPACE)

    def data_volumes(self, asked: list[DataVolume] | None, preset: DataPreset) -> None:
        presets = [self._from_preset(each, n) for n, each in enumerate(preset.volumes, 1)]
        if asked is None or (preset.mode != "proposed" and asked == presets):
            volumes = presets
        elif preset.mode != "proposed":
            volumes = presets
            if asked or preset.mode == "fixed":
                self.error("data_volumes", "these are set by the administrator; leave them out")
        else:
            volumes = asked
        if len(volumes) > self.limits.max_data_volumes:
            most = self.limits.max_data_volumes
            self.error("data_volumes", f"{len(volumes)} are too many; at most {most}")
            return
        taken = {each.name for each in volumes if each.name}
        for index, volume in enumerate(volumes):
            sized = volume.size is not None
            if volume.source in ("new", *FILLED) and not volume.name:
                volume = volume.model_copy(update={"name": self._free(volume, taken)})
            self._volume(f"data_volumes.{index}", volume, sized, data_volume(index))

    def _fixed(self, asked: Workspace, preset: WorkspacePreset) -> Workspace:
        """What the administrator fixed may be repeated, but not changed."""
        wanted = self._preset_values(preset)
        for field, value in asked.model_dump(exclude_none=True).items():
            if value != wanted.get(field):
                self.error(f"workspace.{field}", "this is set by the administrator; leave it out")
        return Workspace()

    def _preset_values(self, preset: VolumePreset) -> dict[str, Any]:
        values = preset.model_dump(exclude={"mode", "read_only"})
        if preset.source != "none":
            values["name"] = self._named(preset.name, DEFAULT_WORKSPACE)
            values["size"] = values["size"] or DEFAULT_SIZE
        values["size"] = values["size"] or room_without_volume(self.limits)
        values["mount"] = values["mount"] or HOME
        values["storage_class"] = values["storage_class"] or self.limits.storage_classes[0]
        values["access_mode"] = values["access_mode"] or self.limits.access_modes[0]
        return values

    def _from_preset(self, preset: VolumePreset, number: int) -> DataVolume:
        values = preset.model_dump(exclude_unset=True)
        values["name"] = self._named(preset.name, data_template(number))
        return DataVolume(**values)

    def _named(self, template: str | None, default: str) -> str:
        return expand(template or default, self.owner.user, self.owner.server)

    def _free(self, volume: DataVolume, taken: set[str]) -> str:
        """The next derived name that no other row has. A claim of that name is the same row's
        of an earlier start: so a choice without names means the same volumes every time."""
        number = 1
        while (name := self._named(None, data_template(number))) in taken or (
            volume.source in FILLED
            and name != self.sources.free(name, volume.source, volume.origin)
        ):
            number += 1
        taken.add(name)
        return name

    def _none(self, asked: Workspace, merged: Workspace) -> None:
        for field in ("name", "origin", "storage_class", "access_mode"):
            if getattr(asked, field) is not None:
                self.error(f"workspace.{field}", "there is no volume; leave this out")
        size = merged.size or room_without_volume(self.limits)
        self.error("workspace.size", rules.size_error(size, self.limits))
        limited = merged.model_copy(update={"size": size})
        self._mount("workspace", WORKSPACE, limited, claim=None)

    def _volume(self, field: str, volume: Volume, sized: bool, name: str) -> None:
        if not self.is_unknown(f"{field}.source"):
            known = not self.is_unknown(f"{field}.name")
            self.sources.take(field, volume, _role(field), sized=sized, named=known)
        self._mount(field, name, volume, claim=volume.name)

    def _mount(self, field: str, name: str, volume: Volume, claim: str | None) -> None:
        if not volume.mount or self.is_unknown(f"{field}.mount"):
            self.error(f"{field}.mount", "say where it is mounted, like /home/jovyan/data")
            return
        self.fields[name] = field
        self.mounts.append(
            Mount(
                volume=name,
                path=volume.mount,
                claim=claim,
                read_only=self.sources.is_read_only(volume),
                size_limit=volume.size if claim is None else None,
            )
        )


def _role(field: str) -> Role:
    return "workspace" if field == "workspace" else "data"


def _position(error: FieldError) -> tuple[int, int]:
    """Where the field stands in a choice, so that all errors of a volume stand together."""
    row = re.match(r"data_volumes\.([0-9]{1,4})\b", error.field, re.ASCII)
    first, fields = error.field.partition(".")[0], list(Choice.model_fields)
    return fields.index(first) if first in fields else -1, int(row[1]) if row else 0
