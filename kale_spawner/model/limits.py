"""What an administrator allows, and the checks against it: pure, in words for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kale_spawner.model.names import server_slug, user_slug
from kale_spawner.model.quantity import format_size, parse_size

SYSTEM_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/init", "/lib", "/lib32", "/lib64", "/opt", "/proc",
    "/root", "/run", "/sbin", "/sys", "/tmp", "/tmp_home", "/usr", "/var",
)  # fmt: skip
"""Where a volume would hide the image's programs, its settings or the cluster's secrets."""

DEFAULT_WORKSPACE = "{slug}-workspace"
DEFAULT_DATA = "{slug}-data-{n}"


@dataclass(frozen=True)
class Owner:
    """Whose server is started, and what every object made for it carries."""

    user: str
    server: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return server_slug(self.user, self.server)


@dataclass(frozen=True)
class Limits:
    """Sizes are bytes, max_size None is no limit.

    storage_classes, access_modes: what is allowed; the first is the default. The class "" is
    the cluster's own default.
    taken_mounts: paths that the administrator's own volumes have in the pod.
    name_templates: claims' names that are derived from users (with `{slug}` or any other
        placeholder); nobody may take one that another user's start would derive.
    """

    min_size: int = 1 << 20
    max_size: int | None = None
    max_data_volumes: int = 10
    storage_classes: tuple[str, ...] = ("rok-csi",)
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    forbidden_mounts: tuple[str, ...] = SYSTEM_FOLDERS
    taken_mounts: tuple[str, ...] = ()
    name_templates: tuple[str, ...] = (DEFAULT_WORKSPACE, DEFAULT_DATA)


def size_error(text: str, limits: Limits) -> str | None:
    """Why a volume of this size may not be made, or None."""
    try:
        size = parse_size(text)
    except ValueError as exc:
        return str(exc)
    if size < limits.min_size:
        return f"{text} is too small; the smallest is {format_size(limits.min_size)}"
    if limits.max_size is not None and size > limits.max_size:
        return f"{text} is too large; the largest is {format_size(limits.max_size)}"
    return None


def allowed_error(value: str, allowed: Sequence[str], what: str) -> str | None:
    """Why this class or access mode may not be used, or None."""
    if value in allowed:
        return None
    return f'"{value}" is not offered here; use {what} {_or(allowed)}'


def mount_error(path: str, limits: Limits) -> str | None:
    """Why nothing may be mounted here, or None. Over a folder hides it, inside one changes it."""
    if path == "/":
        return "the root folder cannot be replaced; use a folder like /data"
    for folder in limits.forbidden_mounts:
        if path == folder or is_under(path, folder):
            return f"{folder} belongs to the system; use a folder like /data"
        if is_under(folder, path):
            return f"this would hide {folder}, which belongs to the system; use one like /data"
    for folder in limits.taken_mounts:
        if path == folder or is_under(folder, path):
            return f"the hub mounts a volume of its own at {folder}; use another folder"
    return None


def is_under(path: str, folder: str) -> bool:
    """Whether `path` is inside of `folder`; both absolute and normal."""
    return path.startswith(folder.rstrip("/") + "/") and path != folder


def name_error(name: str, owner: Owner, limits: Limits) -> str | None:
    """Why a new claim may not have this name, or None.

    A name that would be derived for somebody else is refused whether it exists or not, so that
    nobody can be kept from their default volume, nor be given a volume of another's making.
    """
    mine = user_slug(owner.user)
    for template in limits.name_templates:
        literal = re.split(r"\{[^}]*\}", template)
        if not any(literal):
            continue
        pattern = "(.+)".join(re.escape(part) for part in literal)
        found = re.fullmatch(pattern, name)
        if found and not any(
            part in (mine, owner.slug) or part.startswith(f"{mine}--") for part in found.groups()
        ):
            return "this name is kept for somebody else's volumes; choose another"
    return None


def _or(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values) or "none"
