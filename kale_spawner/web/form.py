"""The spawn form: what the page needs to know, and its HTML.

JupyterHub puts the HTML inside its own `<form>`, above its Start button. Style and script are
inside it too, since a hub that sets no more than `spawner_class` serves no files of ours.
Everything a user or an administrator named is escaped (templates autoescape; data reach the
script as JSON that cannot end its element). Without JavaScript the form still works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kale_spawner.errors import FieldError
from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.growth import cannot_grow, clones_to_come
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Role
from kale_spawner.model.quantity import format_size
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.model.sources import FILLED, room_without_volume
from kale_spawner.model.unfit import never_made
from kale_spawner.web.parse import UNLISTED, parse_form, split_quantity
from kale_spawner.web.words import (
    human_size,
    problem,
    sentence,
    summary_line,
    thing_name,
    thing_words,
    used_by,
)

__all__ = ["FormView", "ProfileCard", "parse_form", "render_form"]


@dataclass(frozen=True)
class ProfileCard:
    """One entry of the page: an image of ours, or an entry of kubespawner's `profile_list`.

    id: what travels in the choice. display_name, description: plain text, or `Markup` where an
        administrator's HTML is meant (kubespawner's entries).
    icon: "jupyter", "code" or "box" (drawn here), or an image's address.
    options: kubespawner's `profile_options`, initialised (defaults marked).
    image_field: True if the user may name an image of their own for this entry.
    preset: the administrator's workspace and data volumes in the shape of a choice.
    fixed: paths the user sees but cannot change, hidden: paths not shown at all; "workspace",
        "workspace.<field>" or "data_volumes".
    """

    id: str
    display_name: str
    description: str = ""
    icon: str = "box"
    default: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    image_field: bool = False
    preset: Mapping[str, Any] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FormView:
    """All that the page shows.

    claims, snapshots: the user's own, and shared snapshots. shared: volumes that an
        administrator shares with the user. cluster: what is known of classes.
    full: a volume that the last start found full: it is offered to grow.
    choice: a choice's JSON that fills the form in (last time's, or what a link asked for); what
        it leaves out comes from the preset.
    submitted: what was typed and refused, shown instead of `choice`; errors: why.
    name_prefix: new data volumes are proposed as `<name_prefix>-data-<n>`.
    kept_names: what the user's own starts call their volumes (`limits.own_names`).
    from_link: the form was filled in by a link, which the page says, with the name of the
        `server` that will start. limits: what the server
        will refuse, so that the page can say it while the user types; a class or an access mode
        is only asked for where more than one is allowed.
    """

    profiles: Sequence[ProfileCard]
    claims: Sequence[Claim] = ()
    snapshots: Sequence[Snapshot] = ()
    shared: Sequence[Claim] = ()
    cluster: Cluster = field(default_factory=Cluster)
    full: str = ""
    choice: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    errors: Sequence[FieldError] = ()
    submitted: Mapping[str, Any] | None = None
    name_prefix: str = "notebook"
    kept_names: Mapping[Role, str] = field(default_factory=dict)
    home: str = "/home/jovyan"
    from_link: bool = False
    server: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


_HERE = Path(__file__).parent
_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "thing_name": thing_name,
    "thing_words": thing_words,
    "split_quantity": split_quantity,
}

_BLANK: dict[str, Any] = {
    "source": "new",
    "name": "",
    "origin": "",
    "size": "",
    "mount": "",
    "storage_class": "",
    "access_mode": "",
    "read_only": False,
}


def render_form(view: FormView) -> str:
    """The HTML that goes inside JupyterHub's `<form>`."""
    filled = view.choice if view.submitted is None else view.submitted
    card = _chosen(view, filled)
    presets = {each.id: _preset(each, view) for each in view.profiles}
    preset = presets[card.id] if card else _preset(ProfileCard("", ""), view)
    workspace = preset["workspace"]
    if isinstance(asked := filled.get("workspace"), Mapping):
        # A preset for one source says nothing about another: see `plan.py`.
        proposed = _workspace_preset(card, view)
        same = asked.get("source", proposed["source"]) == proposed["source"]
        preset_too = {**proposed, **asked} if same else {"mount": proposed["mount"], **asked}
        workspace = _volume(asked if view.submitted is not None else preset_too, view)
    volumes = preset["data_volumes"]
    if isinstance(asked := filled.get("data_volumes"), list):
        volumes = [_volume(each, view) for each in asked if isinstance(each, Mapping)]
    options = filled.get("profile_options")
    stale = _stale(view, workspace, volumes) if view.submitted is None else []
    page = _Page(view, card or ProfileCard("", ""), [*view.errors, *stale])
    return _environment.get_template("form.html").render(
        view=view,
        page=page,
        chosen=card.id if card else "",
        filled=filled,
        asked_options=options if isinstance(options, Mapping) else {},
        workspace=workspace,
        volumes=volumes,
        blank=_BLANK,
        places=_places(view, card, workspace, volumes),
        volume_roots={"workspace", "data_volumes"},
        volumes_open=bool(view.full)
        or (view.from_link and not {"workspace", "data_volumes"}.isdisjoint(filled))
        or any(field.startswith(("workspace", "data_volumes")) for field in page.errors),
        errors=page.errors,
        problems=[(e.field, problem(e.field, e.message)) for e in view.errors],
        unlisted=UNLISTED,
        line=summary_line(
            workspace, volumes, {claim.name: claim for claim in view.claims}, page.hidden
        ),
        data=_script_data(view, presets),
        style=Markup(_static("form.css")),
        script=Markup(_static("rules.js") + _static("form.js")),
    )


def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text()


class _Page:
    """What the macros need of the page."""

    def __init__(self, view: FormView, card: ProfileCard, errors: Sequence[FieldError]) -> None:
        self.errors = {error.field: sentence(error.message) for error in errors}
        self.fixed = card.fixed
        self.hidden = card.hidden
        self.claims = [claim for claim in view.claims if not claim.deleting]
        self.snapshots = [each for each in view.snapshots if not each.deleting]
        self.shared = [claim for claim in view.shared if not claim.deleting]
        self.going = {claim.name for claim in view.claims if claim.deleting}
        self.limits = view.limits
        self.now = view.now


def _chosen(view: FormView, filled: Mapping[str, Any]) -> ProfileCard | None:
    """The card that is ticked: what was asked for, else the default, else the first."""
    asked = [card for card in view.profiles if card.id == filled.get("profile")]
    default = [card for card in view.profiles if card.default]
    return next(iter([*asked, *default, *view.profiles]), None)


def _workspace_preset(card: ProfileCard | None, view: FormView) -> dict[str, Any]:
    return {
        "source": "new",
        "name": f"{view.name_prefix}-workspace",
        "size": "10Gi",
        "mount": view.home,
        **((card and card.preset.get("workspace")) or {}),
    }


def _preset(card: ProfileCard, view: FormView) -> dict[str, Any]:
    volumes = card.preset.get("data_volumes") or ()
    return {
        "workspace": _volume(_workspace_preset(card, view), view),
        "data_volumes": [_volume(each, view) for each in volumes],
    }


def _volume(asked: Mapping[str, Any], view: FormView) -> dict[str, Any]:
    """All fields of a volume. A new one whose claim is there by now is an existing one, unless
    this is what the user typed."""
    volume = {**_BLANK, **{key: value for key, value in asked.items() if value is not None}}
    if view.submitted is None and volume["source"] == "none":
        volume["size"] = volume["size"] or room_without_volume(view.limits)
    made = any(claim.name == volume["name"] for claim in view.claims)
    if view.submitted is None and volume["source"] in ("new", *FILLED) and made:
        volume |= {"source": "existing", "origin": "", "size": ""}
    if view.submitted is None and volume["source"] == "existing" and volume["name"] == view.full:
        volume["size"] = volume["size"] or _larger(view)
    return volume


def _larger(view: FormView) -> str:
    """Half as much again for the full volume, in whole units; "" where it cannot grow."""
    for claim in view.claims:
        if claim.name == view.full and not cannot_grow(claim, view.cluster):
            unit = next((each for each in (1 << 30, 1 << 20) if claim.size_bytes >= each), 1)
            larger = -(-claim.size_bytes * 3 // (2 * unit)) * unit
            most = view.limits.max_size
            return format_size(larger if most is None else max(min(larger, most), claim.size_bytes))
    return ""


def _stale(
    view: FormView, workspace: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]
) -> list[FieldError]:
    """Volumes of last time that cannot be mounted any more: said before anybody presses Start."""
    claims, shared = ({each.name: each for each in some} for some in (view.claims, view.shared))
    there = Inventory(claims, shared_claims=shared)
    rows = {f"data_volumes.{index}": volume for index, volume in enumerate(volumes)}
    asked: dict[str, str | None] = {}
    for path, volume in {"workspace": workspace, **rows}.items():
        name = str(volume["name"])
        if volume["source"] == "existing" and name:
            asked[f"{path}.name"] = there.unusable(name)
        elif volume["source"] == "shared":
            asked[f"{path}.name"] = there.unshared(name)
    return [FieldError(path, message) for path, message in asked.items() if message]


def _places(
    view: FormView,
    card: ProfileCard | None,
    workspace: Mapping[str, Any],
    volumes: Sequence[Mapping[str, Any]],
) -> dict[str, str]:
    """Field of the choice to the id of the control that shows it."""
    places = {"profile": "kale-profile-0"}
    if card is not None:
        places["image"] = f"kale-image-{view.profiles.index(card)}"
        for name, option in card.options.items():
            tail = "" if option.get("choices") else f"--{UNLISTED}"
            places[f"profile_options.{name}"] = f"profile-option-{card.id}--{name}{tail}"
    rows = {f"data_volumes.{index}": volume for index, volume in enumerate(volumes)}
    for path, volume in {"workspace": workspace, **rows}.items():
        stem = f"kale-{path.replace('.', '-')}"
        places[path] = f"{stem}-mount"
        for name in ("size", "mount", "storage_class", "access_mode", "read_only"):
            places[f"{path}.{name}"] = f"{stem}-{name}"
        source = volume["source"]
        named = {"existing": "claim", "shared": "shared"}.get(source, "name")
        places[f"{path}.name"] = f"{stem}-{named}"
        places[f"{path}.origin"] = f"{stem}-{source}"
        if source == "existing":
            places[f"{path}.size"] = f"{stem}-grow"
        places[f"{path}.source"] = f"{stem}-source-{volume['source']}"
    return places


def _script_data(view: FormView, presets: Mapping[str, Any]) -> dict[str, Any]:
    limits = view.limits
    return {
        "limits": {
            "minSize": _bytes(limits.min_size),
            "maxSize": _bytes(limits.max_size),
            "maxDataVolumes": limits.max_data_volumes,
            "forbiddenMounts": limits.forbidden_mounts,
            "takenMounts": limits.taken_mounts,
        },
        "home": view.home,
        "namePrefix": view.name_prefix,
        "keptNames": dict(view.kept_names),
        "claims": {
            claim.name: {
                "words": human_size(claim.size_bytes),
                "bytes": claim.size_bytes,
                "size": claim.capacity,
                "deleting": claim.deleting,
                "mount": claim.last_mount,
                "used": sentence(used_by(claim)),
                "bound": claim.phase == "Bound",
                "wanted": claim.asked_bytes,
                "clones": clones_to_come(claim, view.claims),
                "unmade": never_made(claim, view.cluster) or "",
                "fixed": cannot_grow(claim, view.cluster) or "",
                "origin": f"{made.source} {made.name}" if (made := claim.origin) else "",
            }
            for claim in view.claims
        },
        "snapshots": {
            each.name: {
                "volume": each.volume,
                "size": each.size,
                "bytes": each.size_bytes,
                "mount": each.last_mount,
                "unready": each.unready,
            }
            for each in view.snapshots
        },
        "shared": {
            claim.name: {
                "mount": claim.last_mount,
                "writable": bool(claim.shared and claim.shared.writable),
                "deleting": claim.deleting,
            }
            for claim in view.shared
        },
        "profiles": {
            card.id: {
                "preset": presets[card.id],
                "fixed": sorted(card.fixed),
                "hidden": sorted(card.hidden),
            }
            for card in view.profiles
        },
    }


def _bytes(size: int | None) -> dict[str, Any] | None:
    return None if size is None else {"bytes": size, "text": format_size(size)}
