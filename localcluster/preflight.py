"""What a machine must have, looked at before anything is done; each lack is one clear line."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from localcluster import programs
from localcluster.errors import MachineUnfit
from localcluster.folders import Place, cache

_DEBIAN = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "mount": "mount",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
_PTP = Path("/usr/lib/cni/ptp")
_BUILD_GIB, _RUN_GIB = 8, 4


def check(place: Place) -> None:
    """Raise MachineUnfit for the first thing that stands in the way of `up`."""
    if sys.platform != "linux":
        raise MachineUnfit(
            f"a local cluster needs Linux, this is {sys.platform}: "
            "use a Linux machine, or a cluster that you have, by KUBECONFIG"
        )
    if os.geteuid():
        raise MachineUnfit("a local cluster needs root (namespaces, mounts): run it with sudo")
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    lacking = {package for program, package in _DEBIAN.items() if not shutil.which(program)}
    if not _PTP.exists():
        lacking.add("containernetworking-plugins")
    if lacking:
        raise MachineUnfit(f"programs are missing: apt-get install {' '.join(sorted(lacking))}")
    _need_mount_point()
    _need_disk(place.folder, _RUN_GIB, "KALE_STATE")
    if not programs.built():
        _need_disk(cache(), _BUILD_GIB, "KALE_CACHE")


def _need_mount_point() -> None:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    if not any(line.split()[4] == "/" for line in mounts):
        raise MachineUnfit(
            "/ is no mount point (a plain chroot), so no container could have a root of its own: "
            "`mount --bind DIR DIR` before `chroot DIR`"
        )


def _need_disk(folder: Path, gib: int, setting: str) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        raise MachineUnfit(
            f"{gib} GiB are needed, {free:.1f} are free at {folder}: "
            f"free some, or set {setting} to a folder on a larger disk"
        )
