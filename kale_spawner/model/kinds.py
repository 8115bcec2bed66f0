"""Kinds of servers that an administrator adds: configuration, made strict.

What is refused here would end the gateway of every server of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StrictInt

from kale_spawner.model.images import parse_settings
from kale_spawner.wire import (
    APP_PATH,
    APP_PORT,
    GATEWAY_PORT,
    HEADER_NAME,
    KINDS,
    ActivitySource,
    Prefix,
    ServerKind,
)


def _port(value: int) -> int:
    if not 0 < value < 65536:
        raise ValueError(f"{value} is not a port; use one from 1 to 65535, like {APP_PORT}")
    if value == GATEWAY_PORT:
        raise ValueError(f"{value} is the gateway's own; let the app listen at another")
    return value


def _header(value: str) -> str:
    if value and not HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header, like X-RStudio-Root-Path")
    return value


def _path(value: str) -> str:
    if not APP_PATH.fullmatch(value):
        raise ValueError(f"{value!r} is not a path from the app's root, like /healthz")
    return value


class KindEntry(BaseModel):
    """An entry of KaleGateway.kinds: the fields of `ServerKind`, without its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: Annotated[StrictInt, AfterValidator(_port)] = APP_PORT
    prefix: Prefix = "keep"
    prefix_header: Annotated[str, AfterValidator(_header)] = ""
    ready_path: Annotated[str, AfterValidator(_path)] = "/"
    activity: ActivitySource = "requests"
    loopback_command: tuple[str, ...] = ()
    polls: tuple[Annotated[str, AfterValidator(_path)], ...] = ()


def parse_kinds(entries: Mapping[str, Any], trait: str) -> dict[str, ServerKind]:
    """These kinds and the known ones, by name. Raises SettingsInvalid."""
    kinds = dict(KINDS)
    for name, entry in entries.items():
        fields = parse_settings(KindEntry, entry, f"{trait}[{name!r}]").model_dump()
        kinds[name] = ServerKind(name=name, **fields)
    return kinds
