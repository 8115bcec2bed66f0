"""Process 1 of a cluster: makes its namespaces a home, then starts and watches its programs.

Runs as `unshare ... python3 -m localcluster.inside FOLDER TAG`. Everything that it does to mounts,
network and settings is seen inside alone; when it ends, the kernel ends everything in it.
A program that stops is started again.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcluster import cgroups
from localcluster.folders import INSIDE, PROGRAMS_INSIDE
from localcluster.network import UPLINK

_LIBC = ctypes.CDLL(None, use_errno=True)
_BIND, _REC, _PRIVATE, _SHARED = 1 << 12, 1 << 14, 1 << 18, 1 << 20

_KUBELET_TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""The kubelet sets these for the whole machine unless it reads that they are so."""

_HIDDEN = ("/run", "/var/lib", "/var/log", "/opt")
"""Where programs would find, or leave, things of the machine's."""


def main(folder: Path) -> None:
    plan = json.loads((folder / "inside.json").read_text())
    _lay_mounts(folder, Path(plan["programs"]))
    cgroups.create(plan["tag"])
    socket.sethostname(plan["name"])
    _lay_network(plan["node_ip"], plan["host_ip"])
    services = [_Running(**service) for service in plan["services"]]
    _watch(services, plan["api"])


def mount(source: str, target: str, kind: str = "", flags: int = 0) -> None:
    """mount(2), as the program of that name would need files that may be hidden."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} {kind}: {os.strerror(number)}", target)


def _lay_mounts(folder: Path, programs: Path) -> None:
    mount("none", "/", flags=_REC | _PRIVATE)
    mount("proc", "/proc", "proc")
    # Held open, since what is about to be hidden may hold them.
    shown = {INSIDE: os.open(folder, os.O_PATH), PROGRAMS_INSIDE: os.open(programs, os.O_PATH)}
    for hidden in _HIDDEN:
        if Path(hidden).is_dir():
            mount("tmpfs", hidden, "tmpfs")
    for target, source in shown.items():
        target.mkdir()
        mount(f"/proc/self/fd/{source}", str(target), flags=_BIND)
        os.close(source)
    for name, value in _KUBELET_TUNABLES.items():
        pretended = Path("/run/tunables") / name
        pretended.parent.mkdir(parents=True, exist_ok=True)
        pretended.write_text(f"{value}\n")
        mount(str(pretended), f"/proc/sys/{name}", flags=_BIND)
    mount("none", "/", flags=_REC | _SHARED)


def _lay_network(node_ip: str, host_ip: str) -> None:
    while UPLINK not in (name for _, name in socket.if_nameindex()):
        time.sleep(0.01)
    for command in (
        "link set lo up",
        f"address add {node_ip}/30 dev {UPLINK}",
        f"link set {UPLINK} up",
        f"route add default via {host_ip}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


@dataclass
class _Running:
    """A service and its process; `due` is when to start it (again), `pause` how long after."""

    name: str
    command: list[str]
    waits_for: str
    pid: int = 0
    due: float = 0.0
    pause: float = 0.2
    _environment: dict[str, str] = field(
        default_factory=lambda: {**os.environ, "HOME": "/run", "TMPDIR": "/run"}
    )

    def start(self) -> None:
        with (INSIDE / "logs" / f"{self.name}.log").open("ab") as log:
            self.pid = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment,
                start_new_session=True,
            ).pid

    def stopped(self, now: float) -> None:
        self.pid, self.due, self.pause = 0, now + self.pause, min(2 * self.pause, 5.0)


def _watch(services: list[_Running], api: str) -> None:
    """Never returns: start what is due, reap what ended, also what pods left behind."""
    signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    has = _Has(api)
    while True:
        now = time.monotonic()
        for service in services:
            due = not service.pid and service.due <= now
            if due and has(service.waits_for):
                service.start()
        received = signal.sigtimedwait(signals, 0.1)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return
        while (ended := _reap()) is not None:
            for service in services:
                if service.pid == ended:
                    service.stopped(time.monotonic())


def _reap() -> int | None:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] or None
    except ChildProcessError:
        return None


class _Has:
    """Whether the API server answered at a path, ever."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._trust: ssl.SSLContext | None = None
        self._known = {""}

    def __call__(self, path: str) -> bool:
        if path not in self._known:
            if self._trust is None:
                self._trust = ssl.create_default_context(cafile=f"{INSIDE}/pki/ca.crt")
                self._trust.load_cert_chain(f"{INSIDE}/pki/admin.crt", f"{INSIDE}/pki/admin.key")
            try:
                url = f"{self._api}{path}"
                request: Any = urllib.request.urlopen(url, timeout=1, context=self._trust)
                with request:
                    self._known.add(path)
            except (OSError, urllib.error.URLError):
                pass
        return path in self._known


if __name__ == "__main__":
    main(Path(sys.argv[1]))
