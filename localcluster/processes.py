"""A cluster's process 1, found by what it was started as: no file can be stale about it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from localcluster import loops
from localcluster.errors import NotUp
from localcluster.folders import Place

_ROOT = Path(__file__).resolve().parent.parent
_MODULE = "localcluster.inside"
_APPEARS_WITHIN = 2.0


def start(place: Place) -> int:
    """Start process 1 in namespaces of its own; return its number as the machine sees it."""
    # setsid leaves it behind and ends, so nobody has to wait for it.
    command = [
        *("setsid", "--fork", "unshare"),
        *("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--"),
        *(sys.executable, "-m", _MODULE, str(place.folder), place.tag),
    ]
    with (place.logs / "inside.log").open("ab") as log:
        subprocess.run(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
        )
    # Between fork and exec a process shows no command for a moment.
    seen = time.monotonic()
    while time.monotonic() < seen + _APPEARS_WITHIN:
        if found := first(place):
            return found
        if _of(place):
            seen = time.monotonic()
        time.sleep(0.01)
    said = (place.logs / "inside.log").read_text().strip()
    raise NotUp(f"the cluster's namespaces could not be made: {said}")


def first(place: Place) -> int | None:
    """Process 1 of the cluster, where it runs."""
    return next((pid for pid, outer in _of(place) if not outer), None)


def end(place: Place) -> None:
    """Kill it, and with it everything in its namespaces; return when all of it is gone."""
    found = [pid for pid, _ in _of(place)]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Before: who writes to a frozen volume ends only when it is thawed.
    loops.release(place.folder / "volumes")
    deadline = time.monotonic() + 30
    # Process 1 is gone only after all others of its namespace are.
    while any(_lives(pid) for pid in found):
        if time.monotonic() > deadline:
            raise NotUp(f"processes {found} of cluster {place.name} do not end")
        time.sleep(0.01)


def command_inside(pid: int, command: list[str]) -> list[str]:
    """`command`, to be run in the namespaces of process `pid`."""
    enter = ["nsenter", "--target", str(pid), "--net", "--mount", "--pid", "--uts", "--ipc"]
    return [*enter, "--root", "--wd=/", "--", *command]


def _of(place: Place) -> list[tuple[int, bool]]:
    """Number, and whether it is what stands around process 1: `unshare`, or before it `setsid`."""
    tag = place.tag
    wanted = ["-m", _MODULE, str(place.folder), tag]
    found = []
    for entry in Path("/proc").iterdir():
        if tag and entry.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if words[-4:] == wanted:
                    found.append((int(entry.name), words[0] in ("setsid", "unshare")))
    return found


def _lives(pid: int) -> bool:
    """Neither gone nor a zombie that somebody else has yet to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
