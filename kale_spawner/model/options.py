"""kubespawner's `profile_options`: what a choice may say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kale_spawner.errors import FieldError
from kale_spawner.model.choices import Choice, UnlistedChoice


def option_errors(
    profile: str, options: Mapping[str, Mapping[str, Any]], choice: Choice
) -> list[FieldError]:
    """The profile options of a choice, against kubespawner's description of them."""
    errors: list[FieldError] = []
    for name, value in choice.profile_options.items():
        place = f"profile_options.{name}"
        option = options.get(name)
        if option is None:
            errors.append(FieldError(place, f'"{profile}" has no such option; leave it out'))
        elif isinstance(value, UnlistedChoice):
            errors += _unlisted_errors(place, option, value.unlisted_choice)
        elif value not in (option.get("choices") or {}):
            known = ", ".join(option.get("choices") or {}) or "free text only"
            errors.append(FieldError(place, f'"{value}" is not offered here; use {known}'))
    return errors


def _unlisted_errors(place: str, option: Mapping[str, Any], text: str) -> list[FieldError]:
    unlisted = option.get("unlisted_choice") or {}
    if not unlisted.get("enabled"):
        return [FieldError(place, "only the listed choices are offered here")]
    pattern = unlisted.get("validation_regex")
    if pattern and not re.fullmatch(pattern, text):
        message = unlisted.get("validation_message") or f"it has to match {pattern}"
        return [FieldError(place, str(message))]
    return []
