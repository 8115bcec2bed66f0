"""Where volumes are mounted in the pod, beside one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kale_spawner.errors import FieldError
from kale_spawner.model.limits import Limits, is_under, mount_error

WORKSPACE = "kale-workspace"
_ELSEWHERE = "use another folder"


@dataclass(frozen=True)
class Mount:
    """A volume of the pod. claim None is a folder that lasts as long as the pod."""

    volume: str
    path: str
    claim: str | None
    read_only: bool = False
    size_limit: str | None = None


def data_volume(index: int) -> str:
    """What the pod calls the data volume of this row of the choice."""
    return f"kale-data-{index + 1}"


def claims_by_row(mounts: Iterable[Mount]) -> tuple[str | None, list[str | None]]:
    """The claim of the workspace, and those of the data volumes in the order of the choice."""
    claims = {mount.volume: mount.claim for mount in mounts}
    rows = range(len(claims.keys() - {WORKSPACE}))
    return claims.get(WORKSPACE), [claims.get(data_volume(row)) for row in rows]


def outer_first(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """A folder before all that is mounted inside it, whatever the order of the choice: a
    runtime that mounts them one by one would hide the inner one."""
    return tuple(sorted(mounts, key=lambda mount: mount.path.count("/")))


def mount_errors(
    mounts: Sequence[Mount], fields: Mapping[str, str], limits: Limits
) -> Iterator[FieldError]:
    """No two at one place, the workspace hidden by none, and none inside of a read-only one,
    where the runtime could not make the folder that it is mounted at.

    fields: the path in the choice for each volume's name.
    """
    seen: dict[str, str] = {}
    home = next((mount.path for mount in mounts if mount.volume == WORKSPACE), None)
    closed = [(mount.path, fields[mount.volume]) for mount in mounts if mount.read_only]
    for mount in mounts:
        field, path = f"{fields[mount.volume]}.mount", mount.path
        if message := mount_error(path, limits):
            yield FieldError(field, message)
        if path in seen:
            yield FieldError(field, f"{path} is taken by {seen[path]}; {_ELSEWHERE}")
        elif home and is_under(home, path):
            yield FieldError(field, f"this would hide the workspace at {home}; {_ELSEWHERE}")
        for folder, other in closed:
            if mount.volume != WORKSPACE and is_under(path, folder):
                reason = f"{other} at {folder} is read only: nothing can be mounted inside"
                yield FieldError(field, f"{reason}; {_ELSEWHERE}")
        seen.setdefault(path, fields[mount.volume])
