"""Where things are kept: heavy things to keep in the cache, each cluster in its own folder."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import MachineUnfit

INSIDE = Path("/run/kale")
"""Where the cluster's programs see their cluster's folder; short, as sockets need it."""

PROGRAMS_INSIDE = Path("/run/kale-programs")
"""Where they see the cache's folder of programs."""

PARTS = ("containerd", "cni", "etcd", "kubelet", "logs", "pki", "run", "volumes")


def _base(own: str, xdg: str, default: str) -> Path:
    if chosen := os.environ.get(own):
        return Path(chosen).absolute()
    return Path(os.environ.get(xdg) or Path.home() / default).absolute() / "kale-spawner"


def cache() -> Path:
    """Programs and images: may be deleted at any time, and is made again."""
    return _base("KALE_CACHE", "XDG_CACHE_HOME", ".cache")


def lock_file(name: str) -> Path:
    """In the cache, since what takes something away is to leave no folder of it."""
    return cache() / "locks" / name


def state() -> Path:
    """What runs now, and nothing that outlives it."""
    return _base("KALE_STATE", "XDG_STATE_HOME", ".local/state")


def clusters() -> Path:
    """One folder a cluster; `down` deletes it."""
    return state() / "clusters"


@dataclass(frozen=True)
class Place:
    """A cluster's folder, and the name that what it must have outside is known by."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", self.name):
            raise MachineUnfit(
                f"{self.name!r} is no name for a cluster: 1 to 32 of a-z, 0-9 and -, a letter first"
            )

    @property
    def folder(self) -> Path:
        return clusters() / self.name

    @property
    def tag(self) -> str:
        """Names its process, network link and control group, unlike any other's on the machine.

        At most 15 characters, drawn when the cluster is made: another root folder's cluster may
        have the same name and path. Empty where there is no cluster.
        """
        try:
            written = json.loads(self.state.read_text())
        except FileNotFoundError:
            return ""
        return str(written["tag"])

    @property
    def state(self) -> Path:
        """What `up` writes down first, so that whatever comes after can be cleaned."""
        return self.folder / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"
