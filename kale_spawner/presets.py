"""Whether a user who changes nothing can start what is offered.

Judged by the code that judges a user's choice, when the hub starts: what the administrator
presets against what the administrator allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kale_spawner.errors import ChoiceInvalid, FieldError, SettingsInvalid
from kale_spawner.model import limits as rules
from kale_spawner.model.choices import Choice, parse_choice
from kale_spawner.model.claim import Claim
from kale_spawner.model.images import VolumePreset
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import DEFAULT_WORKSPACE, Limits, Owner, data_template
from kale_spawner.model.names import expand
from kale_spawner.model.plan import Offer, make_plan
from kale_spawner.model.quantity import MAX_BYTES
from kale_spawner.offers import Offers, Profile, make_limits

_ANYBODY = Owner("x" * 200, "y" * 200)
"""Somebody whose part of a claim's name is as long as it can get."""


def check_presets(offers: Offers, taken: Sequence[str], *, one_namespace: bool = True) -> None:
    """Raise SettingsInvalid, naming the trait, for a preset that could not be started.

    taken: where kubespawner's own `volume_mounts` are. one_namespace: that of all users' claims.
    """
    limits = make_limits(offers, (), ())
    for profile in offers.profiles():
        if profile.offer.workspace is None:
            continue
        _check_names(profile, offers, one_namespace)
        _check_home(profile, offers, () if _mounts_otherwise(profile) else taken)
        try:
            make_plan(_unchanged(profile), _had(profile.offer), limits, _ANYBODY, profile.offer)
        except ChoiceInvalid as exc:
            raise SettingsInvalid(
                "; ".join(_named(e, profile, offers) for e in exc.errors)
            ) from exc


def _check_names(profile: Profile, offers: Offers, one_namespace: bool) -> None:
    for part, presets in (
        ("workspace", [profile.offer.workspace]),
        ("data_volumes", profile.offer.data_volumes.volumes),
    ):
        trait = _trait(part, profile, offers)
        for preset in presets:
            if preset is None or preset.name is None:
                continue
            if one_namespace and preset.source == "new" and "{" not in preset.name:
                raise SettingsInvalid(
                    f"{trait}: the name {preset.name!r} would be every user's; "
                    "put {slug} or {user_slug} into it"
                )
            try:
                expand(preset.name, _ANYBODY.user, _ANYBODY.server)
            except ValueError as exc:
                message = f"{trait}: the name {preset.name!r} gets too long for some users"
                raise SettingsInvalid(message) from exc


def _check_home(profile: Profile, offers: Offers, taken: Sequence[str]) -> None:
    """The folder that the workspace is mounted at is not hidden, nor taken by kubespawner."""
    workspace, home = profile.offer.workspace, offers.volumes.home
    mount, trait = str(workspace and workspace.mount), _trait("workspace", profile, offers)
    if trait.startswith("KaleVolumes.") and rules.is_under(home, mount):
        raise SettingsInvalid(
            f"{trait}: mount: {mount} would hide the home folder {home}; use that, or set "
            "KaleVolumes.home"
        )
    if rules.mount_error(mount, Limits(forbidden_mounts=(), taken_mounts=tuple(taken))):
        raise SettingsInvalid(
            f"KubeSpawner.volume_mounts: a volume is mounted at {mount} already, where the "
            f"workspace of {profile.id!r} belongs; take it out (Zero to JupyterHub: "
            "singleuser.storage.type: none), or set KaleVolumes.workspace's mount"
        )


def _mounts_otherwise(profile: Profile) -> bool:
    overrides = [profile.image.kubespawner_override] if profile.image else []
    overrides.append((profile.entry or {}).get("kubespawner_override") or {})
    return any("volume_mounts" in each for each in overrides)


def _unchanged(profile: Profile) -> Choice:
    """What a page sends that nobody touched; which volume is theirs, only the user can say."""
    workspace = profile.offer.workspace
    asked = workspace and workspace.mode == "proposed" and workspace.source == "existing"
    return parse_choice({"workspace": {"source": "none"}} if asked else {})


def _had(offer: Offer) -> Inventory:
    """Every volume that the presets take for there already, as if it were."""
    presets: list[tuple[VolumePreset | None, str]] = [(offer.workspace, DEFAULT_WORKSPACE)]
    for number, each in enumerate(offer.data_volumes.volumes, 1):
        presets.append((each, data_template(number)))
    claims = {}
    for preset, default in presets:
        if preset is not None and preset.source == "existing":
            name = expand(preset.name or default, _ANYBODY.user, _ANYBODY.server)
            modes = (preset.access_mode,) if preset.access_mode else ()
            claims[name] = Claim(name, MAX_BYTES, "", modes, preset.storage_class)
    return Inventory(claims)


def _trait(part: str, profile: Profile, offers: Offers) -> str:
    """The setting that says this of the profile."""
    extra: dict[str, Any] = (profile.entry or {}).get("kale") or {}
    if extra.get(part) is not None:
        return f"KubeSpawner.profile_list[{profile.id!r}]['kale'].{part}"
    if profile.image is not None and getattr(profile.image, part) is not None:
        index = [each.id for each in offers.images.entries()].index(profile.image.id)
        return f"KaleImages.images[{index}].{part}"
    return f"KaleVolumes.{part}"


def _named(error: FieldError, profile: Profile, offers: Offers) -> str:
    part, _, field = error.field.partition(".")
    trait = _trait(part, profile, offers)
    workspace, home = profile.offer.workspace, offers.volumes.home
    if error.field == "workspace.mount" and workspace and workspace.mount == home:
        return f"KaleVolumes.home: {error.message}"
    if not field:
        return f"{trait}: {error.message}"
    return f"{trait}: {'volumes.' if part == 'data_volumes' else ''}{field}: {error.message}"
