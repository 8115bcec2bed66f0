"""The one thing of a cluster that no namespace takes away with it: its control groups.

A cluster has a group of its own, /TAG, in every hierarchy; its pods are below. Version 2, version 1
and both at once are known; where none is mounted, they are mounted for the caller, who is in a
mount namespace of its own.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

_TOP = Path("/sys/fs/cgroup")
_CONTROLLERS_2 = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids")
"""A kubelet ends at once where its group lacks one of these (but io) that the whole machine has."""
_NEEDED_1 = ("cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio")
_PATIENCE = 10.0


def create(tag: str) -> None:
    """Make the group, with every controller that a kubelet wants."""
    _ensure_mounted()
    for root in _roots():
        group = root / tag
        group.mkdir(exist_ok=True)
        control = root / "cgroup.subtree_control"
        if control.exists():
            for controller in _CONTROLLERS_2:
                # What is bound to version 1, or is not of this kernel, cannot be had.
                with contextlib.suppress(OSError):
                    control.write_text(f"+{controller}")


def remove(tag: str) -> None:
    """Remove the group and all below it, from a mount namespace of its own."""
    code = "import sys; from localcluster import cgroups; cgroups.remove_here(sys.argv[1])"
    command = [sys.executable, "-c", code, tag]
    top = Path(__file__).resolve().parent.parent
    subprocess.run(["unshare", "--mount", "--", *command], check=True, cwd=top)


def left(tag: str) -> list[Path]:
    """The group's folders that are there; empty once it is gone."""
    return [root / tag for root in _roots() if (root / tag).exists()]


def remove_here(tag: str) -> None:
    """As `remove`, by a process that is in a mount namespace of its own already."""
    _ensure_mounted()
    deadline = time.monotonic() + _PATIENCE
    while groups := left(tag):
        for group in groups:
            below = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
            for folder in [*below, group]:
                # Busy for a moment after its last process was killed.
                with contextlib.suppress(OSError):
                    folder.rmdir()
        if time.monotonic() > deadline:
            raise SystemExit(f"control groups cannot be removed: {groups}")
        time.sleep(0.02)


def _roots() -> list[Path]:
    """Where a whole hierarchy is mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        where = Path(before.split()[4])
        if after.split()[0] in ("cgroup", "cgroup2") and where.is_relative_to(_TOP):
            found.append(where)
    return found


def _ensure_mounted() -> None:
    if _roots():
        return
    if not _TOP.exists():
        _mount("sysfs", "/sys")
    known = Path("/proc/cgroups").read_text().splitlines()[1:]
    on_version_1 = {line.split()[0] for line in known if line.split()[1] != "0"}
    if not on_version_1:
        _mount("cgroup2", str(_TOP))
        return
    _mount("tmpfs", str(_TOP))
    for controller in sorted(on_version_1.intersection(_NEEDED_1)):
        (_TOP / controller).mkdir()
        _mount("cgroup", str(_TOP / controller), "-o", controller)


def _mount(kind: str, target: str, *options: str) -> None:
    subprocess.run(["mount", "-t", kind, *options, kind, target], check=True)
