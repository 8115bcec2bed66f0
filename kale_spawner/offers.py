"""What a user can choose: our images, then the entries of kubespawner's `profile_list`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kale_spawner.errors import ChoiceInvalid, FieldError, SettingsInvalid
from kale_spawner.model.choices import Choice, read_choice
from kale_spawner.model.images import (
    DataPreset,
    Image,
    ProfileExtra,
    VolumePreset,
    WorkspacePreset,
    parse_settings,
)
from kale_spawner.model.limits import DEFAULT_DATA, DEFAULT_WORKSPACE, Limits
from kale_spawner.model.options import option_errors
from kale_spawner.model.plan import Offer
from kale_spawner.model.pod import App
from kale_spawner.model.quantity import parse_size
from kale_spawner.settings import KaleGateway, KaleImages, KaleVolumes
from kale_spawner.wire import ServerKind

_OURS = re.compile(r"(^|/)kale-spawner/(jupyter|vscode)-kale[:@]")

NO_VOLUMES = Offer(workspace=None, data_volumes=DataPreset(mode="hidden"))
"""For entries of `profile_list` that say nothing of us: kubespawner's own storage counts."""


@dataclass(frozen=True)
class Profile:
    """One thing to choose.

    image: of ours. entry: of kubespawner's list, initialised. kind: None where nothing of ours
    is before or around the image (gateway_mode "none").
    """

    id: str
    image: Image | None
    entry: Mapping[str, Any] | None
    offer: Offer
    gateway_mode: str
    kind: ServerKind | None
    default: bool = False

    @property
    def options(self) -> Mapping[str, Any]:
        """kubespawner's `profile_options`."""
        return (self.entry or {}).get("profile_options") or {}

    @property
    def hidden(self) -> bool:
        """Not on the page; whoever knows the id may still choose it."""
        return self.entry is None and self.image is not None and self.image.hidden

    def app(self, reference: str) -> App:
        """How the app of this image is started, so that nobody but the gateway reaches it.

        Images of this project obey NOTEBOOK_HOST; of any other that nobody vouches for
        (`bind`), the kind's own command sees to it.
        """
        image, kind = self.image, self.kind
        if image is None:
            return App()
        if image.command is not None or image.args is not None:
            return App(_tuple(image.command), _tuple(image.args))
        if kind is None:
            return App()
        obeys = image.bind == "env" or (image.bind is None and _OURS.search(reference))
        if not obeys and kind.loopback_command:
            return App(command=kind.loopback_command, args=())
        return App(args=()) if self.entry is None else App()


@dataclass(frozen=True)
class Offers:
    """The settings, and all profiles of one user."""

    images: KaleImages
    volumes: KaleVolumes
    gateway: KaleGateway
    profile_list: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def profiles(self) -> list[Profile]:
        """Ours first. Raises SettingsInvalid, naming the trait."""
        return self._profiles

    @cached_property
    def _profiles(self) -> list[Profile]:
        kinds = self.gateway.all_kinds()
        images = self.images.entries()
        ours = [self._image(image, kinds) for image in images]
        known = {image.id: image for image in images}
        theirs = [self._entry(entry, known, kinds) for entry in self.profile_list]
        ids = [each.id for each in ours]
        if twice := [each.id for each in theirs if each.id in ids]:
            raise SettingsInvalid(
                f"KubeSpawner.profile_list: {twice[0]!r} is the id of one of KaleImages.images; "
                "give the entry another slug"
            )
        return [*ours, *theirs]

    def choose(self, asked: str | None) -> Profile:
        """The profile of a choice. Raises ChoiceInvalid when there is none of that id."""
        profiles = self.profiles()
        if asked:
            for profile in profiles:
                if profile.id == asked:
                    return profile
            known = ", ".join(each.id for each in profiles if not each.hidden) or "none"
            raise ChoiceInvalid(
                [FieldError("profile", f'"{asked[:80]}" is not offered here; use {known}')]
            )
        return default_of(profiles)

    def judge(self, data: Mapping[str, Any]) -> tuple[Profile, Choice, list[FieldError]]:
        """Profile and choice as far as they are valid, and all that is wrong before the plan.

        For a profile that is not there, the volumes are judged as where users may choose all.
        """
        choice, errors = read_choice(data)
        if any(error.field in ("", "profile") for error in errors):
            return self._unknown(), choice, errors
        try:
            profile = self.choose(choice.profile)
        except ChoiceInvalid as exc:
            return self._unknown(), choice, [*errors, *exc.errors]
        errors += option_errors(profile.id, profile.options, choice)
        try:
            check_image(profile, choice, self.images.custom_image_pattern)
        except ChoiceInvalid as exc:
            errors += exc.errors
        return profile, choice, errors

    def _unknown(self) -> Profile:
        offer = Offer(WorkspacePreset(mount=self.volumes.home))
        return Profile("", None, None, offer, "none", None)

    def _image(self, image: Image, kinds: Mapping[str, ServerKind]) -> Profile:
        mode = image.gateway_mode or self.gateway.mode
        return Profile(
            id=image.id,
            image=image,
            entry=None,
            offer=self._offer(image.workspace, image.data_volumes),
            gateway_mode=mode,
            kind=kinds[image.kind] if mode != "none" else None,
            default=image.default,
        )

    def _entry(
        self,
        entry: Mapping[str, Any],
        images: Mapping[str, Image],
        kinds: Mapping[str, ServerKind],
    ) -> Profile:
        slug = entry["slug"]
        if "kale" not in entry:
            default = bool(entry.get("default"))
            return Profile(slug, None, entry, NO_VOLUMES, "none", None, default)
        trait = f"KubeSpawner.profile_list[{slug!r}]['kale']"
        extra = parse_settings(ProfileExtra, entry["kale"], trait)
        if extra.image is not None and extra.image not in images:
            raise SettingsInvalid(f"{trait}.image: {extra.image!r} is not in KaleImages.images")
        image = images.get(extra.image or "")
        of_image = (image.gateway_mode or self.gateway.mode) if image else "none"
        mode = str(extra.gateway_mode or of_image)
        if mode != "none" and image is None:
            raise SettingsInvalid(f"{trait}.image: the gateway needs it, to know the app's kind")
        return Profile(
            id=slug,
            image=image,
            entry=entry,
            offer=self._offer(
                extra.workspace or (image.workspace if image else None),
                extra.data_volumes or (image.data_volumes if image else None),
            ),
            gateway_mode=mode,
            kind=kinds[image.kind] if image and mode != "none" else None,
            default=bool(entry.get("default")),
        )

    def _offer(self, workspace: WorkspacePreset | None, data: DataPreset | None) -> Offer:
        workspace = workspace or WorkspacePreset(**self.volumes.workspace)
        if workspace.mount is None:
            workspace = workspace.model_copy(update={"mount": self.volumes.home})
        return Offer(workspace, data or DataPreset(**self.volumes.data_volumes))


def default_of(profiles: Sequence[Profile]) -> Profile:
    """Our default image, else our first; without images kubespawner's default."""
    ours = [each for each in profiles if each.entry is None]
    shown = [each for each in ours if not each.hidden]
    marked = [each for each in profiles if each.default]
    for profile in [*(each for each in marked if each in ours), *shown, *marked, *profiles]:
        return profile
    raise SettingsInvalid("KaleImages.images: there is nothing to choose")


def check_image(profile: Profile, choice: Choice, pattern: str) -> str | None:
    """The image of the user's own, if they may name one here. Raises ChoiceInvalid."""
    if choice.image is None:
        return None
    if not pattern or profile.image is None or profile.entry is not None:
        message = "images of your own are not offered here"
    elif not re.fullmatch(pattern, choice.image):
        message = f"this image is not allowed here; it has to match {pattern}"
    else:
        return choice.image
    raise ChoiceInvalid([FieldError("image", message)])


def make_limits(offers: Offers, taken: Sequence[str], other_names: Sequence[str]) -> Limits:
    """The administrator's limits; names are kept for all profiles, whichever a start chooses.

    taken, other_names: see `Limits`.
    """
    volumes, presets = offers.volumes, [each.offer for each in offers.profiles()]
    workspaces = [each.workspace for each in presets if each.workspace is not None]
    data = [volume for each in presets for volume in each.data_volumes.volumes]
    return Limits(
        min_size=parse_size(volumes.min_size),
        max_size=parse_size(volumes.max_size) if volumes.max_size else None,
        max_data_volumes=volumes.max_data_volumes,
        storage_classes=volumes.classes(),
        access_modes=tuple(volumes.access_modes),
        forbidden_mounts=tuple(volumes.forbidden_mounts),
        taken_mounts=tuple(taken),
        workspace_names=(DEFAULT_WORKSPACE, *_names(workspaces)),
        data_names=(DEFAULT_DATA, *_names(data)),
        other_names=tuple(other_names),
        rok_hosts=tuple(volumes.rok_hosts),
    )


def _names(presets: Sequence[VolumePreset]) -> list[str]:
    return list(dict.fromkeys(each.name for each in presets if each.name))


def _tuple(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
