"""Form fields to a choice's JSON.

The fields of the page are named by their path in the choice (`workspace.size`,
`data_volumes.0.mount`), kubespawner's by kubespawner's rule
(`profile-option-<profile>--<option>`). Nothing is judged here: whatever was typed reaches
`parse_choice`, which is the only judge, and comes back to the page if it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kale_spawner.model.sources import FILLED

UNLISTED = "unlisted-choice"
"""kubespawner's word for free text where the listed choices do not fit."""

_ROW = re.compile(r"data_volumes\.([0-9]{1,4})\.([a-z_]+)")
_WORKSPACE = ("name", "size", "mount", "storage_class", "access_mode")
_NUMBER = re.compile(r"[0-9]+([.,][0-9]+)?")
_UNITS = ("Mi", "Gi", "Ti")

FormData = Mapping[str, Sequence[Any]]


def parse_form(formdata: FormData) -> dict[str, Any]:
    """The choice that the form's fields describe, as nested JSON.

    Empty fields are left out, so that the administrator's presets fill them. Fields that the
    page does not have are ignored, as kubespawner does: a profile template of an
    administrator may carry its own.
    """
    fields = {key: values[0] for key, values in formdata.items() if _is_text(values)}
    choice: dict[str, Any] = {}
    profile = fields.get("profile", "").strip()
    if profile:
        choice["profile"] = profile
        options = _profile_options(fields, profile)
        if options:
            choice["profile_options"] = options
        image = fields.get(f"image.{profile}", fields.get("image", "")).strip()
        if image:
            choice["image"] = image
    workspace = _volume(_under(fields, "workspace."))
    if workspace:
        choice["workspace"] = workspace
    rows = _rows(fields)
    if rows or "data_volumes" in fields:
        choice["data_volumes"] = rows
    return choice


def _is_text(values: Sequence[Any]) -> bool:
    return bool(values) and isinstance(values[0], str)


def _under(fields: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: text for key, text in fields.items() if key.startswith(prefix)}


def _volume(fields: Mapping[str, str]) -> dict[str, Any]:
    """One volume's fields, of its source only: the others may be filled in, but are not shown."""
    source = fields.get("source", "").strip()
    texts = {name: fields.get(name, "").strip() for name in _WORKSPACE}
    texts["size"] = quantity(texts["size"], fields.get("size_unit", ""))
    if source == "none":
        return {"source": "none", "size": texts["size"]} if texts["size"] else {"source": "none"}
    if source == "existing":
        size = quantity(fields.get("grow", ""), fields.get("grow_unit", ""))
        texts = {"name": fields.get("claim", "").strip(), "mount": texts["mount"], "size": size}
    elif source == "shared":
        texts = {"name": fields.get("shared", "").strip(), "mount": texts["mount"]}
    elif source in FILLED:
        texts["origin"] = fields.get(source, "").strip()
    volume: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if source:
        volume["source"] = source
    return volume


def _rows(fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """The data volumes in the order of their numbers; rows left blank or removed fall out."""
    rows: dict[int, dict[str, str]] = {}
    for key, text in fields.items():
        if found := _ROW.fullmatch(key):
            rows.setdefault(int(found[1]), {})[found[2]] = text
    volumes = []
    for _, row in sorted(rows.items()):
        volume = _volume(row)
        if "remove" in row or not volume.keys() & {"name", "mount", "size", "origin"}:
            continue
        if volume.get("source") in ("existing", "shared", *FILLED) and "read_only" in row:
            volume["read_only"] = True
        volumes.append(volume)
    return volumes


def _profile_options(fields: Mapping[str, str], profile: str) -> dict[str, Any]:
    """kubespawner's profile options: `{"size": "big", "image": {"unlisted_choice": "…"}}`."""
    options: dict[str, Any] = {}
    posted = _under(fields, f"profile-option-{profile}--")
    for key, text in posted.items():
        option = key.removesuffix(f"--{UNLISTED}")
        if option == key:
            if text != UNLISTED:
                options[option] = text
        elif text.strip() and posted.get(option, UNLISTED) == UNLISTED:
            options[option] = {"unlisted_choice": text.strip()}
    return options


def quantity(number: str, unit: str) -> str:
    """`("10", "Gi")` to "10Gi". What is not a plain number is returned as typed."""
    text = number.strip()
    if unit not in _UNITS or not _NUMBER.fullmatch(text):
        return text
    return text.replace(",", ".") + unit


def split_quantity(text: str) -> tuple[str, str]:
    """What the two fields show for a quantity: `quantity(*split_quantity(text)) == text`."""
    if found := re.fullmatch(r"([0-9]+(?:[.,][0-9]+)?)(Mi|Gi|Ti)", text):
        return found[1], found[2]
    return text, "" if _NUMBER.fullmatch(text) else "Gi"
