"""Sizes, ages and volumes in the words of the page."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from kale_spawner.model.claim import Claim
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.web.parse import split_quantity

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"))
_ROW = re.compile(r"\bdata_volumes\.([0-9]{1,4})\b", re.ASCII)
_PLACES = {"mount": "folder", "profile options": "options"}
_AGES = (
    (86400 * 365, "year"),
    (86400 * 30, "month"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
)
_JUST_NOW = 120


def human_size(size: int) -> str:
    """10737418240 is "10 GiB"; one decimal where it is not whole."""
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"


def age(created: datetime | None, now: datetime) -> str:
    """ "3 days old"; empty when it is not known when."""
    if created is None:
        return ""
    seconds = (now - created).total_seconds()
    for length, word in _AGES:
        if seconds >= _JUST_NOW and (count := int(seconds // length)) >= 1:
            return f"{count} {word}{'s' if count > 1 else ''} old"
    return "made just now"


def claim_words(claim: Claim, now: datetime) -> str:
    """ "10 GiB, 3 days old, used by server lab": one claim in a list."""
    words = [human_size(claim.size_bytes), age(claim.created, now), used_by(claim)]
    return ", ".join(word for word in words if word)


def snapshot_words(snapshot: Snapshot, now: datetime) -> str:
    """ "of data-1, 10 GiB, 3 days old": one snapshot in a list; one of a set is called by both."""
    whose = f"of {snapshot.volume}" if snapshot.volume and not snapshot.set else ""
    state = "" if snapshot.ready else "not ready"
    size = human_size(snapshot.size_bytes) if snapshot.size_bytes else ""
    shared = "shared" if snapshot.shared else ""
    words = [whose, size, age(snapshot.taken or snapshot.created, now), shared, state]
    return ", ".join(word for word in words if word)


def thing_name(thing: Claim | Snapshot) -> str:
    """Its name; of a snapshot of a set, which the cluster may call by numbers, "monday: data-1"."""
    if isinstance(thing, Snapshot) and thing.set:
        return f"{thing.set}: {thing.volume}"
    return thing.name


def thing_words(thing: Claim | Snapshot, now: datetime) -> str:
    """What stands beside its name in a list to choose from."""
    if isinstance(thing, Snapshot):
        return snapshot_words(thing, now)
    about = thing.shared.description if thing.shared else ""
    return ", ".join(word for word in (about, claim_words(thing, now)) if word)


def used_by(claim: Claim) -> str:
    """Which servers mount it now; empty when none does."""
    names = list(dict.fromkeys(map(str, claim.uses)))
    return f"used by {' and '.join(names)}" if names else ""


def quantity_words(text: str) -> str:
    """ "10Gi" is "10 GiB"; what is not understood stays as it is."""
    number, unit = split_quantity(text)
    return f"{number} {unit}B" if unit and number else text


def summary_line(
    workspace: Mapping[str, Any],
    volumes: Sequence[Any],
    claims: Mapping[str, Claim],
    hidden: Collection[str] = (),
) -> str:
    """ "Workspace 10 GiB, new · 2 data volumes": the folded editor in one line, without what
    the administrator hid ("workspace", "data_volumes")."""
    count = len(volumes)
    parts = {
        "workspace": _workspace_words(workspace, claims),
        "data_volumes": {0: "no data volumes", 1: "1 data volume"}.get(
            count, f"{count} data volumes"
        ),
    }
    shown = [words for part, words in parts.items() if part not in hidden]
    return " · ".join(
        word[:1].upper() + word[1:] if n == 0 else word for n, word in enumerate(shown)
    )


def _workspace_words(workspace: Mapping[str, Any], claims: Mapping[str, Claim]) -> str:
    source = workspace.get("source")
    name = str(workspace.get("name", ""))
    claim = claims.get(name)
    if source == "none":
        return "No workspace: files are lost when the server stops"
    if source in ("snapshot", "clone", "rok"):
        origin = str(workspace.get("origin", ""))
        how = {"snapshot": "from snapshot", "clone": "a clone of", "rok": "from"}[source]
        return f"Workspace {how} {origin}" if origin else "Workspace not chosen yet"
    if source == "shared":
        return f"Workspace {name}, shared" if name else "Workspace not chosen yet"
    if source == "existing" and claim is not None:
        size = human_size(claim.size_bytes)
        return f"Workspace {name}" + (" is being deleted" if claim.deleting else f", {size}")
    if source == "existing":
        return f"Workspace {name} is not there any more" if name else "Workspace not chosen yet"
    return f"Workspace {quantity_words(str(workspace.get('size', '')))}, new"


def sentence(message: str) -> str:
    """The message as it stands beside a field: with a capital, and rows named as on the page."""
    message = _ROW.sub(_row, message)
    return message[:1].upper() + message[1:]


def problem(field: str, message: str) -> str:
    """The message as it stands on top of the page, away from its field."""
    place = place_of(field)
    return f"{place}: {_ROW.sub(_row, message)}" if place else sentence(message)


def _row(path: re.Match[str]) -> str:
    return f"data volume {int(path[1]) + 1}"


def place_of(field: str) -> str:
    """ "data_volumes.0.size" is "Data volume 1, size"."""
    first, *rest = field.split(".")
    if row := _ROW.match(field):
        first, rest = _row(row), rest[1:]
    words = [first.replace("_", " "), *(part.replace("_", " ") for part in rest)]
    words = [_PLACES.get(word, word) for word in words if word]
    return sentence(", ".join(words))
