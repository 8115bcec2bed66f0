"""What an administrator allows, and the checks against it: pure, in words for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kale_spawner.model.names import server_slug, user_slug
from kale_spawner.model.quantity import format_size, parse_size

SYSTEM_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/init", "/lib", "/lib32", "/lib64", "/opt", "/proc",
    "/root", "/run", "/sbin", "/sys", "/tmp", "/tmp_home", "/usr", "/var",
)  # fmt: skip
"""Where a volume would hide the image's programs, its settings or the cluster's secrets."""

Role = Literal["workspace", "data"]
DEFAULT_WORKSPACE = "{slug}-workspace"
DEFAULT_DATA = "{slug}-data-{n}"
_MEANS: dict[Role, str] = {"workspace": "a workspace", "data": "a data volume"}


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
    workspace_names, data_names, other_names: templates of claims' names (with `{slug}` or any
        other placeholder); nobody may take a name that another user's start would derive, nor
        one that a start of their own would derive for another role.
    """

    min_size: int = 1 << 20
    max_size: int | None = None
    max_data_volumes: int = 10
    storage_classes: tuple[str, ...] = ("rok-csi",)
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    forbidden_mounts: tuple[str, ...] = SYSTEM_FOLDERS
    taken_mounts: tuple[str, ...] = ()
    workspace_names: tuple[str, ...] = (DEFAULT_WORKSPACE,)
    data_names: tuple[str, ...] = (DEFAULT_DATA,)
    other_names: tuple[str, ...] = ()
    rok_hosts: tuple[str, ...] = ()


def data_template(number: int) -> str:
    """Of the name of a start's data volume with that number."""
    return DEFAULT_DATA.replace("{n}", str(number))


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


def name_error(name: str, role: Role, owner: Owner, limits: Limits) -> str | None:
    """Why a new claim may not have this name, or None.

    A name that would be derived for somebody else is refused whether it exists or not, so that
    nobody can be kept from their default volume, nor be given a volume of another's making. One
    that would be derived for the user's own workspace is refused for a data volume, and the
    other way round: a later start would take it for what it was never meant to be.
    """
    mine = user_slug(owner.user)
    for template in (*limits.workspace_names, *limits.data_names, *limits.other_names):
        literal = re.split(r"\{[^}]*\}", template)
        if len(literal) == 1 or not any(literal):
            continue
        pattern = "(.+)".join(re.escape(part) for part in literal)
        found = re.fullmatch(pattern, name)
        if found and not any(
            part in (mine, owner.slug) or part.startswith(f"{mine}--") for part in found.groups()
        ):
            return "this name is kept for somebody else's volumes; choose another"
    roles = [each for each, own in own_names(owner, limits).items() if re.fullmatch(own, name)]
    if roles and role not in roles:
        return f"this name is kept for {_MEANS[roles[0]]} of yours; choose another"
    return None


def own_names(owner: Owner, limits: Limits) -> dict[Role, str]:
    """What the starts of this user's servers call their volumes: a regular expression for each
    role, in what Python and JavaScript have in common."""
    mine = user_slug(owner.user)
    parts = {
        "{slug}": f"(?:{mine}|{owner.slug}|{mine}--[-a-z0-9]+)",
        "{user_slug}": mine,
        "{n}": "[0-9]+",
    }
    names: dict[Role, Sequence[str]] = {
        "workspace": limits.workspace_names,
        "data": limits.data_names,
    }
    return {
        role: "|".join(re.sub(r"\{\w+\}", lambda part: parts[part[0]], each) for each in templates)
        for role, templates in names.items()
    }


def _or(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values) or "none"
