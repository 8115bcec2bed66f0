"""The images of this project, and the tool that builds them without a container engine.

Standard library only. `build()` returns the archives; `settings()` is what a hub is told of them.
"""

from __future__ import annotations

from images.build import build
from images.recipes import RECIPES, REGISTRY, TAG, archive, is_current
from images.storage import ImageError

__all__ = ["ImageError", "build", "outdated", "paths", "settings"]


def outdated() -> list[str]:
    """The names of the images that `build` would make."""
    return [name for name, recipe in RECIPES.items() if not is_current(recipe)]


def paths() -> dict[str, str]:
    """Where each image's archive is, or will be."""
    return {name: str(archive(recipe)) for name, recipe in RECIPES.items()}


def settings() -> dict[str, str]:
    """Environment of the worked example's hub: the images' names in a cluster that loaded them."""
    return {
        "KALE_IMAGES_REGISTRY": REGISTRY,
        "KALE_IMAGES_TAG": TAG,
        "KALE_JUPYTER_IMAGE": RECIPES["jupyter-kale"].name,
        "KALE_VSCODE_IMAGE": RECIPES["vscode-kale"].name,
        "KALE_GATEWAY_IMAGE": RECIPES["gateway"].reference,
    }
