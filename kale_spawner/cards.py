"""The page's view of what is offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kale_spawner.model.images import DataPreset, VolumePreset
from kale_spawner.model.limits import DEFAULT_WORKSPACE, Owner, data_template
from kale_spawner.model.names import expand
from kale_spawner.model.sources import DEFAULT_DATA_SIZE, DEFAULT_SIZE
from kale_spawner.offers import Profile, default_of
from kale_spawner.web.form import ProfileCard


def cards(profiles: Sequence[Profile], owner: Owner, pattern: str) -> list[ProfileCard]:
    """The page's view of the profiles: nothing of overrides, no hidden ones."""
    default = default_of(profiles).id if profiles else ""
    return [_card(each, owner, pattern, default) for each in profiles if not each.hidden]


def entries(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """The profiles for a template of kubespawner's: our images as entries, then its own."""
    default = default_of(profiles).id if profiles else ""
    shown = [each for each in profiles if not each.hidden]
    return [{**_entry(each), "slug": each.id, "default": each.id == default} for each in shown]


def _entry(profile: Profile) -> Mapping[str, Any]:
    if profile.entry is not None:
        return profile.entry
    texts = {part: _shown(profile, part) for part in ("display_name", "description")}
    return {**texts, "profile_options": {}}


def _card(profile: Profile, owner: Owner, pattern: str, default: str) -> ProfileCard:
    fixed, hidden = set(), set()
    workspace, data = profile.offer.workspace, profile.offer.data_volumes
    for name, mode in (
        ("workspace", workspace.mode if workspace else "hidden"),
        ("data_volumes", data.mode),
    ):
        if mode == "fixed":
            fixed.add(name)
        elif mode == "hidden":
            hidden.add(name)
    preset: dict[str, Any] = {"data_volumes": _data_values(data, owner)}
    if workspace is not None:
        preset["workspace"] = _values(workspace, owner, DEFAULT_WORKSPACE, DEFAULT_SIZE)
    entry, image = profile.entry, profile.image
    return ProfileCard(
        id=profile.id,
        display_name=_shown(profile, "display_name"),
        description=_shown(profile, "description"),
        icon=image.icon if image else "box",
        default=profile.id == default,
        options=_choices_only(profile.options),
        image_field=bool(pattern) and entry is None,
        preset=preset,
        fixed=frozenset(fixed),
        hidden=frozenset(hidden),
    )


def _shown(profile: Profile, part: str) -> str:
    """kubespawner renders an entry's texts as the administrator's HTML."""
    if profile.entry is not None:
        return Markup(profile.entry.get(part) or "")
    return str(getattr(profile.image, part))


def _values(volume: VolumePreset, owner: Owner, name: str, size: str) -> dict[str, Any]:
    """A preset in the shape of a choice."""
    values = volume.model_dump(exclude={"mode"}, exclude_none=True)
    if volume.source != "none":
        values["name"] = expand(volume.name or name, owner.user, owner.server)
        values.setdefault("size", size)
    return values


def _data_values(data: DataPreset, owner: Owner) -> list[dict[str, Any]]:
    return [
        _values(each, owner, data_template(number), DEFAULT_DATA_SIZE)
        for number, each in enumerate(data.volumes, 1)
    ]


def _choices_only(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without `kubespawner_override`: how the administrator does it is not for the browser."""
    shown: dict[str, Any] = {}
    for name, option in options.items():
        shown[name] = {key: value for key, value in option.items() if key != "choices"}
        shown[name]["unlisted_choice"] = _bare(option.get("unlisted_choice") or {})
        if option.get("choices"):
            shown[name]["choices"] = {
                key: _bare(choice) for key, choice in option["choices"].items()
            }
    return shown


def _bare(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "kubespawner_override"}
