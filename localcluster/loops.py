"""The loop devices that volumes are mounted by, as the machine sees them.

A device goes with the mount of it, and the mount with the cluster's mount namespace. What keeps one
is a file system that was frozen, for a copy, when the cluster was killed: so it is thawed here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from localcluster.errors import MachineUnfit, NotUp

# Of linux/loop.h.
_GET_STATUS, _GET_FREE = 0x4C05, 0x4C82
_STATUS = struct.Struct("=QQ216x")
"""Device and inode of the backing file come first."""

_BY_ITSELF, _PATIENCE = 1.0, 30.0
_THAW = 'mount -t xfs -o nouuid "$0" "$1" && fsfreeze --unfreeze "$1"'


def check() -> None:
    """Raise MachineUnfit where no volume could be mounted."""
    way_out = "(in a container: it must be privileged and have the machine's /dev)"
    try:
        control = os.open("/dev/loop-control", os.O_RDWR)
    except FileNotFoundError as error:
        raise MachineUnfit(
            f"volumes need loop devices, and /dev/loop-control is missing: modprobe loop {way_out}"
        ) from error
    except OSError as error:
        raise MachineUnfit(
            f"volumes need loop devices, and /dev/loop-control: {error.strerror} {way_out}"
        ) from error
    try:
        fcntl.ioctl(control, _GET_FREE)
    except OSError as error:
        raise MachineUnfit(f"no loop device can be had: {error.strerror} {way_out}") from error
    finally:
        os.close(control)
    if not _knows_xfs():
        subprocess.run(["modprobe", "xfs"], capture_output=True, check=False)
        if not _knows_xfs():
            raise MachineUnfit("volumes are XFS, and this kernel has none: modprobe xfs")


def _knows_xfs() -> bool:
    return any(
        line.split()[-1:] == ["xfs"] for line in Path("/proc/filesystems").read_text().splitlines()
    )


def attached(folder: Path) -> dict[str, str]:
    """Path of each device whose backing file is a volume's of `folder`, and that file's."""
    files = {}
    for path in folder.glob("*/*/image"):
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            files[about.st_dev, about.st_ino] = str(path)
    return {device: files[backing] for device, backing in in_use() if backing in files}


def in_use() -> Iterator[tuple[str, tuple[int, int]]]:
    """Path of each device in use, and the device and inode of its backing file."""
    for about in Path("/sys/block").glob("loop*/loop"):
        device = Path("/dev", about.parent.name)
        # Given back in this moment.
        with contextlib.suppress(OSError), device.open("rb") as opened:
            told = bytearray(_STATUS.size)
            fcntl.ioctl(opened, _GET_STATUS, told)
            yield str(device), _STATUS.unpack(told)


def release(folder: Path) -> None:
    """Return once no volume of `folder` is mounted; all that used them was killed already."""
    began = time.monotonic()
    while left := attached(folder):
        waited = time.monotonic() - began
        if waited > _PATIENCE:
            raise NotUp(f"loop devices are not given back: {left}")
        if waited > _BY_ITSELF:
            for device in left:
                # Thawed, in a mount namespace that ends at once, it goes like the others.
                command = ["unshare", "--mount", "--", "sh", "-c", _THAW, device, str(folder)]
                subprocess.run(command, capture_output=True, check=False)
        time.sleep(0.02)
