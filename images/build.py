"""Build what is outdated, and write an archive that containerd imports quickly."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from images.recipes import (
    BASE_COMMAND,
    RECIPES,
    ROOT,
    Recipe,
    archive,
    cache_dir,
    is_current,
    stamp,
)
from images.storage import HOST_CA, Storage, opened
from setup.steps import step

_BASE = (
    "localhost/kale-spawner/base:"
    + hashlib.sha256("\0".join(BASE_COMMAND).encode()).hexdigest()[:12]
)
_STEP = re.compile(r"(?:\[(\d+)/(\d+)\] )?STEP (\d+)/(\d+)")
_IMAGE = re.compile(r"^(?:--> |sha256:)?([0-9a-f]{11,64})$", re.MULTILINE)
"""A line of a log that is the ID of an image that was made or used, or how it begins."""


def build(names: Iterable[str] = ()) -> list[Path]:
    """Bring the named images (all, if none) up to date; return their archives.

    One whose sources have not changed costs milliseconds. An archive is there whole or not at all.
    """
    wanted = [RECIPES[name] for name in names or RECIPES]
    outdated = [recipe for recipe in wanted if not is_current(recipe)]
    if outdated:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with opened(cache_dir() / "storage") as storage:
            _make_base(storage)
            for recipe in outdated:
                _make(storage, recipe)
            # Of each image, its last build: what is not outdated is used too.
            logs = (log.read_text() for log in _logs().glob("*.log"))
            used = {image for text in logs for image in _IMAGE.findall(text)}
            storage.prune(_fresh_log("prune"), used)
    return [archive(recipe) for recipe in wanted]


def _make_base(storage: Storage) -> None:
    log = _fresh_log("base")
    if storage.buildah(log, "images", "--quiet", "--no-trunc", f"--filter=reference={_BASE}"):
        return
    with step("image base: Debian 12, minimal"), _scratch() as scratch:
        tree = scratch / "base.tar"
        storage.run(log, *BASE_COMMAND, tree)
        container = storage.buildah(log, "from", "scratch").split()[-1]
        storage.buildah(log, "add", "--quiet", container, tree, "/")
        storage.buildah(log, "config", "--cmd=bash", container)
        storage.buildah(log, "commit", "--quiet", "--rm", container, _BASE)


def _make(storage: Storage, recipe: Recipe) -> None:
    log = _fresh_log(recipe.name)
    key = recipe.key()
    with step(f"image {recipe.name}") as shown:
        furthest = 0

        def watch(line: str) -> None:
            nonlocal furthest
            if found := _STEP.match(line):
                stage, stages, done, steps = (int(part or 1) for part in found.groups())
                furthest = max(furthest, 100 * (stage - 1) + 100 * (done - 1) // steps)
                shown.progress(furthest, 100 * stages)

        storage.buildah(log, *_bud(recipe), watch=watch)
        with _scratch() as scratch:
            layers = scratch / "layers"
            storage.buildah(
                log, "push", "-D", "--quiet", "--format=oci", recipe.reference, f"dir:{layers}"
            )
            partial = scratch / "archive.tar"
            unpacked = _write_archive(layers, recipe.reference, partial)
            stamp(recipe).unlink(missing_ok=True)
            partial.replace(archive(recipe))
            stamp(recipe).write_text(key)
        shown.note = f"{unpacked / 1e6:.0f} MB"


def _bud(recipe: Recipe) -> list[str | Path]:
    argv: list[str | Path] = ["bud", "--layers", "--isolation=chroot", "--network=host"]
    if HOST_CA.exists():
        # The machine may sit behind authorities of its own. Mounted, so that no layer keeps them.
        argv.append(f"--volume={HOST_CA}:{HOST_CA}:ro")
    argv += [f"--build-arg=BASE_IMAGE={_BASE}", f"--tag={recipe.reference}"]
    return [*argv, f"--target={recipe.name}", "--file", recipe.dockerfile, ROOT]


def _write_archive(layers: Path, reference: str, target: Path) -> int:
    """An OCI archive of what `buildah push dir:` wrote; return the sum of its layers' sizes.

    The layers stay as they are, uncompressed: packing them takes longer than importing them.
    """
    manifest = (layers / "manifest.json").read_bytes()
    described = json.loads(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": described["mediaType"],
                "digest": f"sha256:{digest}",
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": reference},
            }
        ],
    }
    blobs = {blob["digest"].split(":")[1] for blob in (described["config"], *described["layers"])}
    with tarfile.open(target, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        _add(tar, f"blobs/sha256/{digest}", manifest)
        for blob in sorted(blobs):
            tar.add(layers / blob, f"blobs/sha256/{blob}")
    return sum(int(layer["size"]) for layer in described["layers"])


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


@contextmanager
def _scratch() -> Iterator[Path]:
    """An empty folder, for as long as it is needed; one that a killed build left goes first."""
    folder = cache_dir() / "partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _logs() -> Path:
    return cache_dir() / "logs"


def _fresh_log(name: str) -> Path:
    _logs().mkdir(exist_ok=True)
    log = _logs() / f"{name}.log"
    log.unlink(missing_ok=True)
    return log
