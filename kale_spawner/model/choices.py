"""What a user asked for: one model for the form and for the API.

A choice is hostile until `parse_choice` has taken it, and only asks afterwards: whether it may
be done is decided by `plan.py`. Every error names its field, all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from kale_spawner.errors import ChoiceInvalid, FieldError
from kale_spawner.model.quantity import QUANTITY, parse_size

VERSION: Literal[1] = 1
"""Of the stored form. `upgrade` turns older ones into this."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_NAME_PART = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_CLASS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/:@]{0,511}", re.ASCII)
_MAX_PATH = 1024


def _label(value: str) -> str:
    if not _DNS_LABEL.fullmatch(value):
        raise ValueError(
            "use small letters, digits and hyphens, at most 63, "
            "beginning and ending with a letter or digit"
        )
    return value


def _class(value: str) -> str:
    if not _CLASS_NAME.fullmatch(value):
        raise ValueError("this is not the name of a storage class")
    return value


def _image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise ValueError("this is not the name of an image, like registry.example/name:tag")
    return value


def _size(value: str) -> str:
    parse_size(value)
    return value


def _mount(value: str) -> str:
    """Absolute and normal: what is written is what is mounted, as Kubernetes takes it."""
    if len(value) > _MAX_PATH or not value.isprintable() or ":" in value:
        raise ValueError(f"a path has at most {_MAX_PATH} printable characters and no colon")
    if not value.startswith("/"):
        raise ValueError("write the whole path, beginning with /, like /home/jovyan/data")
    parts = value.split("/")[1:]
    if value != "/" and any(part in ("", ".", "..") for part in parts):
        raise ValueError("write the path without //, /./, /../ and without a / at its end")
    if any(part != part.strip() for part in parts):
        raise ValueError("a folder's name may not begin or end with a space")
    return value


def _as(pattern: str, longest: int) -> WithJsonSchema:
    """What the API's document says of a text. It may admit more than the validator beside it,
    which has the words for what is wrong, and nothing less."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": longest})


ClaimName = Annotated[str, AfterValidator(_label), _as(_DNS_LABEL.pattern, 63)]
ClassName = Annotated[str, AfterValidator(_class), _as(_CLASS_NAME.pattern, 253)]
Size = Annotated[str, AfterValidator(_size), _as(QUANTITY, 66)]
MountPath = Annotated[str, AfterValidator(_mount), _as("/|(?:/[^/:]+)+", _MAX_PATH)]
AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"]


def _text(value: str) -> str:
    """kubespawner formats some of its settings again after a user's text came into them."""
    if not value.isprintable() or "{" in value or "}" in value:
        raise ValueError("use printable characters, and no braces")
    return value


Text = Annotated[str, Field(max_length=1024), AfterValidator(_text)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _object(value: str) -> str:
    """Of anything in the cluster: a group's snapshots have names of 73 characters."""
    if len(value) > 253 or not all(map(_NAME_PART.fullmatch, value.split("."))):
        raise ValueError("this is not the name of a snapshot or a volume")
    return value


def _origin(value: str) -> str:
    """A name, or an address of Rok's; which of them it has to be, its source says."""
    if len(value) > _MAX_PATH or not value.isprintable() or " " in value:
        raise ValueError(f"use at most {_MAX_PATH} printable characters, and no spaces")
    return value if "/" in value else _object(value)


Source = Literal["new", "existing", "snapshot", "clone", "shared", "rok"]
WorkspaceSource = Literal["new", "existing", "none", "snapshot", "clone", "shared", "rok"]
Origin = Annotated[str, AfterValidator(_origin), _as("[^ ]+", _MAX_PATH)]


class Workspace(_Part):
    """The volume under the home directory. What is None comes from the administrator's preset.

    origin: what a new volume is filled from: the name of a snapshot (source "snapshot") or of a
    volume ("clone"), or an address of Rok's ("rok"). Of "existing" and "shared", `name` says
    which volume. A larger size than an existing volume has makes it grow; of "none", `size` is
    what the home folder can hold until the server stops.
    """

    source: WorkspaceSource | None = None
    name: ClaimName | None = None
    origin: Origin | None = None
    size: Size | None = None
    mount: MountPath | None = None
    storage_class: ClassName | None = None
    access_mode: AccessMode | None = None


class DataVolume(_Part):
    """A further volume. `mount` has no default: where data stand is the user's own decision.

    read_only: None is the source's own: a shared volume is read only, any other is not.
    """

    source: Source = "new"
    name: ClaimName | None = None
    origin: Origin | None = None
    size: Size | None = None
    mount: MountPath | None = None
    storage_class: ClassName | None = None
    access_mode: AccessMode | None = None
    read_only: bool | None = None


class UnlistedChoice(_Part):
    """Free text for a kubespawner profile option that admits it."""

    unlisted_choice: Text


class Choice(_Part):
    """All of it is optional: `{}` starts the default image with the default workspace.

    profile: the id of an image of ours or the slug of an entry of kubespawner's `profile_list`.
    data_volumes: None where the choice says nothing of them, so that the preset counts.
    """

    version: Literal[1] = VERSION
    profile: Annotated[str, Field(max_length=253)] | None = None
    profile_options: dict[Text, Text | UnlistedChoice] = Field(default_factory=dict)
    image: Annotated[str, AfterValidator(_image)] | None = None
    workspace: Workspace = Workspace()
    data_volumes: Annotated[list[DataVolume], Field(max_length=100)] | None = None

    def settled(self, workspace: str | None, data_volumes: Sequence[str | None]) -> dict[str, Any]:
        """What is asked for again next time, of volumes that are there by then: each has the name
        that it got; one that has grown is not to grow again, nor to be too large for a size that
        it had."""
        stored = self.stored()
        volumes = [stored.get("workspace"), *(stored.get("data_volumes") or ())]
        for volume, name in zip(volumes, [workspace, *data_volumes], strict=False):
            if volume and name and not volume.get("name"):
                volume["name"] = name
            if volume and volume.get("source") == "existing":
                volume.pop("size", None)
        return stored

    def stored(self) -> dict[str, Any]:
        """Plain JSON data with the version: what the hub keeps. `parse_choice` takes it back."""
        return {"version": VERSION, **self.model_dump(mode="json", exclude_unset=True)}


def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
    """What names an entry of kubespawner's `profile_list`, maybe as kubespawner stored it.

    kubespawner keeps profile options beside `profile`, free text as "<option>--unlisted-choice",
    and knows no version; texts beside `profile` move into `profile_options`. "image" too: it is
    kubespawner's favourite name for an option, and such a profile admits no image of one's own.
    """
    kept = {key: value for key, value in data.items() if key in Choice.model_fields}
    given = kept.get("profile_options") or {}
    options = dict(given) if isinstance(given, Mapping) else {}
    for key, value in data.items():
        if not isinstance(value, str) or (key in kept and key != "image"):
            kept.setdefault(key, value)
        elif key.endswith("--unlisted-choice"):
            if value:
                options[key.removesuffix("--unlisted-choice")] = {"unlisted_choice": value}
        else:
            options.setdefault(key, value)
            kept.pop(key, None)
    return {**kept, "profile_options": options} if options else kept


def parse_choice(data: Mapping[str, Any]) -> Choice:
    """The choice that `data` (JSON of the API, the form's fields, or what was stored) asks for.

    Raises ChoiceInvalid with every field that is wrong, also for fields that do not exist.
    """
    choice, errors = read_choice(data)
    if errors:
        raise ChoiceInvalid(errors)
    return choice


def read_choice(data: Mapping[str, Any]) -> tuple[Choice, list[FieldError]]:
    """The same, but as far as `data` is valid: the choice of those fields, and all other errors."""
    if not isinstance(data, Mapping):
        return Choice(), [FieldError("", "the choice has to be a JSON object")]
    try:
        return Choice.model_validate(dict(data)), []
    except ValidationError as exc:
        wrong = {_place(data, error["loc"]) for error in exc.errors(include_url=False)}
        rest = {} if () in wrong else _without(data, wrong)
        return Choice.model_validate(rest), field_errors(exc)


def _place(data: Any, location: Sequence[int | str]) -> tuple[int | str, ...]:
    """As much of a location as `data` has: pydantic adds a union's branches, and what lacks."""
    place: list[int | str] = []
    for part in location:
        if not _has(data, part):
            break
        data = data[part]
        place.append(part)
    return tuple(place)


def _has(data: Any, part: int | str) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _without(
    data: Any, wrong: set[tuple[int | str, ...]], place: tuple[int | str, ...] = ()
) -> Any:
    """`data` without what is wrong. In a list an empty object is left, so that numbers stay."""
    if isinstance(data, Mapping):
        kept = {key: each for key, each in data.items() if (*place, key) not in wrong}
        return {key: _without(each, wrong, (*place, key)) for key, each in kept.items()}
    if isinstance(data, list):
        return [
            {} if (*place, index) in wrong else _without(each, wrong, (*place, index))
            for index, each in enumerate(data)
        ]
    return data


def field_errors(exc: ValidationError) -> list[FieldError]:
    """pydantic's findings with the paths and the words of this project."""
    found: dict[str, FieldError] = {}
    for error in exc.errors(include_url=False, include_context=True):
        path = _path(error["loc"])
        found.setdefault(path, FieldError(path, _words(error)))
    return list(found.values())


def _path(location: tuple[int | str, ...]) -> str:
    """Without the names that pydantic adds for the branches of a union."""
    names = [str(part)[:64] for part in location]
    return ".".join(
        name
        for name in names
        if name != UnlistedChoice.__name__ and not name.startswith("function-after[")
    )


_SHAPES = {
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
    "list_type": "a JSON list",
    "string_type": "text, in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def _words(error: Any) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in _SHAPES:
        return f"write it as {_SHAPES[kind]}"
    if kind == "too_long":
        return f"{error['ctx']['actual_length']} are too many; at most {error['ctx']['max_length']}"
    if kind == "literal_error":
        return f"use one of {error['ctx']['expected']}".replace(" or ", ", ")
    return str(error["msg"])[:1].lower() + str(error["msg"])[1:]
