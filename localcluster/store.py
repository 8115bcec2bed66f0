"""Images unpacked once: a containerd's folder in the cache, linked into each new cluster.

Unpacking takes most of a minute, linking seconds. Files of a committed snapshot and of the content
store are never written again, so clusters may share them; the databases are copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

from localcluster.errors import NotUp
from localcluster.folders import cache, lock_file
from setup.locks import locked
from setup.steps import step

_KEPT = 2
"""Stores that are kept: the newest, and one of another check-out's images."""

_PATIENCE = 60.0

_CONFIGURATION = """\
version = 2
root = "{root}"
state = "{work}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{work}/s"

[plugins."io.containerd.internal.v1.opt"]
  path = "{work}/opt"
"""


def fill(target: Path, archives: Iterable[Path]) -> list[str]:
    """Make `target` the root folder of a containerd that has the images of `archives`.

    `target` must not be there yet. Returns the archives' identities. Raises NotUp when one cannot
    be unpacked.
    """
    by_identity = {identity(archive): archive for archive in archives}
    with locked(lock_file("unpacked")):
        store = _made(by_identity)
        try:
            _copy(store, target, "--link")
        except subprocess.CalledProcessError:
            # Another disk than the cache's.
            shutil.rmtree(target, ignore_errors=True)
            _copy(store, target, "--reflink=auto")
    for database in store.rglob("io.containerd.*/*.db"):
        own = target / database.relative_to(store)
        own.unlink()
        shutil.copy2(database, own)
    return sorted(by_identity)


def identity(archive: Path) -> str:
    """A hash of the archive's index, which holds the digests of all in it and the image's name.

    Raises NotUp where there is no such index.
    """
    try:
        with tarfile.open(archive) as content:
            index = content.extractfile("index.json")
            assert index is not None
            return hashlib.sha256(index.read()).hexdigest()
    except (OSError, tarfile.TarError, KeyError) as error:
        why = str(error).partition(":\n")[0]
        raise NotUp(f"{archive} cannot be read as an OCI archive: {why}") from error


def _copy(store: Path, target: Path, how: str) -> None:
    subprocess.run(["cp", "--archive", how, store, target], check=True, capture_output=True)


def _made(by_identity: dict[str, Path]) -> Path:
    version = subprocess.run(["containerd", "--version"], capture_output=True, check=True).stdout
    named = hashlib.sha256(version)
    for known in sorted(by_identity):
        named.update(known.encode())
    store = _folder() / named.hexdigest()[:16]
    if not store.exists():
        partial = _folder() / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "root").mkdir(mode=0o711)
        _unpack(by_identity.values(), partial)
        (partial / "root").rename(store)
        shutil.rmtree(partial)
    os.utime(store)
    for old in sorted(_folder().iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old)
    return store


def _unpack(archives: Iterable[Path], partial: Path) -> None:
    configuration = partial / "containerd.toml"
    configuration.write_text(_CONFIGURATION.format(root=partial / "root", work=partial))
    log = partial / "containerd.log"
    with log.open("wb") as said:
        # Its mounts are its own, and it ends with the one who started it.
        daemon = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--"),
                *("containerd", "--config", str(configuration)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "TMPDIR": str(partial)},
        )
    try:
        client = ["ctr", f"--address={partial / 's'}", "--namespace=k8s.io"]
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run([*client, "version"], capture_output=True).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise NotUp(f"containerd does not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        for archive in archives:
            with step(f"image {archive.stem} unpacked"):
                command = [*client, "images", "import", str(archive)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise NotUp(f"{archive} cannot be unpacked: {done.stderr.strip()}")
    finally:
        daemon.terminate()
        daemon.wait()


def _folder() -> Path:
    return cache() / "unpacked"
