"""What a machine must have, looked at before anything is done; each lack is one clear line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from localcluster import loops, programs
from localcluster.errors import MachineUnfit
from localcluster.folders import Place, cache
from setup.system import need_disk, need_linux, need_root

_DEBIAN = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "fsfreeze": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
_PTP = Path("/usr/lib/cni/ptp")
_BUILD_GIB, _RUN_GIB = 8, 4


def check(place: Place) -> None:
    """Raise RefusedError for the first thing that stands in the way of `up`."""
    need_linux()
    need_root("a local cluster")
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    lacking = {package for program, package in _DEBIAN.items() if not shutil.which(program)}
    if not _PTP.exists():
        lacking.add("containernetworking-plugins")
    if lacking:
        raise MachineUnfit(f"programs are missing: apt-get install {' '.join(sorted(lacking))}")
    _need_mount_point()
    if not Path("/dev/kmsg").exists():
        raise MachineUnfit("/dev/kmsg, which the kubelet reads, is missing: mknod /dev/kmsg c 1 11")
    loops.check()
    need_disk(place.folder, _RUN_GIB)
    if not programs.built():
        need_disk(cache(), _BUILD_GIB)


def _need_mount_point() -> None:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    if not any(line.split()[4] == "/" for line in mounts):
        raise MachineUnfit(
            "/ is no mount point (a plain chroot), so no container could have a root of its own: "
            "`mount --bind DIR DIR` before `chroot DIR`"
        )
