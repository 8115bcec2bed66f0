"""What each image is made of, and the key that says whether it has to be made again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The context of every Dockerfile here."""

REGISTRY = "localhost/kale-spawner"
TAG = "dev"

BASE_COMMAND = (
    "mmdebstrap",
    "--quiet",
    "--variant=minbase",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--include=ca-certificates,usr-is-merged",
    # As Debian's own slim image.
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/lintian/*",
    # mmdebstrap copies these two from the machine that it runs on.
    '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
    "bookworm",
)
"""Makes what stands in for debian:bookworm-slim where no registry is reached."""


@dataclass(frozen=True)
class Recipe:
    """An image: the target `name` of the Dockerfile in `folder`, and what it copies from elsewhere.

    `sources` are files or folders below ROOT.
    """

    name: str
    folder: str
    sources: tuple[str, ...]

    @property
    def dockerfile(self) -> Path:
        return ROOT / self.folder / "Dockerfile"

    @property
    def reference(self) -> str:
        return f"{REGISTRY}/{self.name}:{TAG}"

    def key(self) -> str:
        """Changes exactly when a source, its mode, or the base's recipe does."""
        digest = hashlib.sha256("\0".join(BASE_COMMAND).encode())
        for path in sorted(self._files()):
            mode = path.stat().st_mode & 0o111
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"\n{path.relative_to(ROOT)} {mode:o} {content}".encode())
        return digest.hexdigest()

    def _files(self) -> Iterator[Path]:
        for source in (self.folder, *self.sources):
            path = ROOT / source
            if path.is_file():
                yield path
            for folder, below, names in os.walk(path):
                below[:] = [name for name in below if name != "__pycache__"]
                yield from (Path(folder) / name for name in names)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("jupyter-kale", "images/kale", ("images/jupyter-kale",)),
        Recipe("vscode-kale", "images/kale", ("images/vscode-kale",)),
        Recipe(
            "gateway",
            "images/gateway",
            ("kale_spawner/__init__.py", "kale_spawner/wire.py", "kale_spawner/gateway"),
        ),
    )
}


def cache_dir() -> Path:
    """Archives, logs and the layers that later builds start from; may be deleted at any time."""
    if chosen := os.environ.get("KALE_CACHE"):
        return Path(chosen).absolute() / "images"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "kale-spawner" / "images"


def archive(recipe: Recipe) -> Path:
    return cache_dir() / f"{recipe.name}.tar"


def stamp(recipe: Recipe) -> Path:
    """Holds the key of what the archive was made of; written last."""
    return cache_dir() / f"{recipe.name}.key"


def is_current(recipe: Recipe) -> bool:
    try:
        return archive(recipe).exists() and stamp(recipe).read_text() == recipe.key()
    except FileNotFoundError:
        return False
