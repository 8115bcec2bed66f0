"""What an administrator offers: images, and presets of volumes. Configuration, made strict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from kale_spawner.errors import SettingsInvalid
from kale_spawner.model.choices import (
    AccessMode,
    ClassName,
    MountPath,
    Origin,
    Size,
    WorkspaceSource,
    field_errors,
)

GatewayMode = Literal["sidecar", "container", "none"]
Mode = Literal["proposed", "fixed", "hidden"]
_Model = TypeVar("_Model", bound=BaseModel)
EMPTY_FOREVER = (
    "a new volume is empty, and read only it would stay so; leave this out, or choose a volume "
    'that is there (source "existing")'
)
_NAME_TEMPLATE = re.compile(r"[-a-z0-9]*(\{(slug|user_slug)\}[-a-z0-9]*)*", re.ASCII)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VolumePreset(_Entry):
    """A volume as the administrator would fill it in.

    name: a claim's name; `{slug}` stands for user and server, `{user_slug}` for the user.
    """

    source: WorkspaceSource = "new"
    name: str | None = None
    origin: Origin | None = None
    size: Size | None = None
    mount: MountPath | None = None
    storage_class: ClassName | None = None
    access_mode: AccessMode | None = None
    read_only: bool | None = None

    @field_validator("name")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not _NAME_TEMPLATE.fullmatch(value):
            raise ValueError("small letters, digits and hyphens, and {slug} or {user_slug}")
        return value

    @field_validator("read_only")
    @classmethod
    def _filled(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value and info.data.get("source") == "new":
            raise ValueError(EMPTY_FOREVER)
        return value


class WorkspacePreset(VolumePreset):
    """mode: "proposed" can be changed by the user, "fixed" is shown, "hidden" is not even that."""

    mode: Mode = "proposed"


class DataPreset(_Entry):
    """The data volumes that a start begins with; `mode` as for the workspace."""

    mode: Mode = "proposed"
    volumes: tuple[VolumePreset, ...] = ()

    @field_validator("volumes")
    @classmethod
    def _mounted(cls, value: tuple[VolumePreset, ...]) -> tuple[VolumePreset, ...]:
        if any(each.source == "none" or not each.mount for each in value):
            raise ValueError('each needs a mount, and another source than "none"')
        return value


class Image(_Entry):
    """One image that users can choose.

    id: what travels in a choice; it stays when `image` changes.
    image: a whole reference, or a bare name to which registry and tag are added.
    kind: how the app in it is reached; a `ServerKind`'s name.
    bind: how the app is told to listen on the loopback: "env", the image obeys NOTEBOOK_HOST;
        "command", the kind's own command replaces the image's.
    command, args: replace the image's own (Kubernetes' words).
    gateway_mode, workspace, data_volumes: instead of the settings for all.
    kubespawner_override: as in kubespawner's `profile_list`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    display_name: Annotated[str, Field(min_length=1)]
    description: str = ""
    icon: str = "box"
    image: Annotated[str, Field(min_length=1)]
    kind: str = "jupyter"
    default: bool = False
    hidden: bool = False
    bind: Literal["env", "command"] | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    gateway_mode: GatewayMode | None = None
    workspace: WorkspacePreset | None = None
    data_volumes: DataPreset | None = None
    kubespawner_override: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_bare(self) -> bool:
        """Whether `image` needs registry and tag."""
        return not re.search(r"[/:@]", self.image)

    def reference(self, registry: str, tag: str) -> str:
        """The whole reference of the image."""
        return f"{registry.rstrip('/')}/{self.image}:{tag}" if self.is_bare else self.image


class ProfileExtra(_Entry):
    """The `kale` key of an entry of kubespawner's `profile_list`.

    image: the id of an image of ours whose kind and command the profile has.
    """

    image: str | None = None
    gateway_mode: GatewayMode | None = None
    workspace: WorkspacePreset | None = None
    data_volumes: DataPreset | None = None


def parse_settings(model: type[_Model], data: Any, trait: str) -> _Model:
    """Configuration as a model. Raises SettingsInvalid that begins with the trait's name."""
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        errors = "; ".join(str(error) for error in field_errors(exc))
        raise SettingsInvalid(f"{trait}: {errors}") from exc


def parse_images(entries: Sequence[Any], trait: str) -> list[Image]:
    """The images, with unique ids and at most one default, which is shown."""
    images = [
        parse_settings(Image, entry, f"{trait}[{index}]") for index, entry in enumerate(entries)
    ]
    ids = [image.id for image in images]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        raise SettingsInvalid(f"{trait}: the id {twice[0]!r} is there twice")
    defaults = [image.id for image in images if image.default]
    if len(defaults) > 1:
        raise SettingsInvalid(f"{trait}: only one can be default, not {', '.join(defaults)}")
    for index, image in enumerate(images):
        if image.default and image.hidden:
            raise SettingsInvalid(
                f"{trait}[{index}]: {image.id!r} is default and hidden; make another the default, "
                "or show it"
            )
    return images
