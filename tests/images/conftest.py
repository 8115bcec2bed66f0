"""Containers of our images, run by runc as a restricted pod runs them: no cluster needed.

uid 1000, groups 0 and 100, no capabilities, no new privileges, the calls that container engines
deny refused, a network of its own, a root that is read only with a /tmp, and a home that is an
empty volume of group 100.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

import images
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.settings import Settings
from kale_spawner.wire import KINDS
from tests.gateway.processes import until

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Unpacked:
    """An image as files: its root, its config's user, environment and so on; its layers' sizes."""

    root: Path
    config: dict[str, Any]
    layers: dict[str, int]


def _unpack(archive: Path, root: Path) -> Unpacked:
    root.mkdir(parents=True)
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> Any:
            return tar.extractfile("blobs/" + digest.replace(":", "/"))

        (entry,) = json.load(tar.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
        manifest = json.load(blob(entry["digest"]))
        config = json.load(blob(manifest["config"]["digest"]))
        for layer in manifest["layers"]:
            unpack = subprocess.Popen(
                ["tar", "-x", "--numeric-owner", "-C", root], stdin=subprocess.PIPE
            )
            assert unpack.stdin is not None
            source = blob(layer["digest"])
            while chunk := source.read(1 << 20):
                unpack.stdin.write(chunk)
            unpack.stdin.close()
            assert unpack.wait() == 0
    for whiteout in list(root.rglob(".wh.*")):
        removed = whiteout.with_name(whiteout.name.removeprefix(".wh."))
        shutil.rmtree(removed) if removed.is_dir() else removed.unlink(missing_ok=True)
        whiteout.unlink()
    return Unpacked(
        root,
        config["config"],
        {layer["digest"]: layer["size"] for layer in manifest["layers"]},
    )


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Unpacked]:
    """Build what is outdated and unpack the named image, once a session."""
    known: dict[str, Unpacked] = {}

    def unpacked(name: str) -> Unpacked:
        if name not in known:
            (archive,) = images.build([name])
            known[name] = _unpack(archive, tmp_path_factory.mktemp("images") / name)
        return known[name]

    return unpacked


class Container:
    """A running container; `stop` says how long it took to leave."""

    def __init__(self, image: Unpacked, folder: Path, home: Path | None, env: dict[str, str]):
        self._state = folder / "runc"
        self.log = folder / "log"
        self._id = f"kale-{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(_spec(image, home, env)))
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", "--bundle", folder, self._id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self._state)]

    @property
    def pid(self) -> int:
        state = subprocess.run([*self._runc, "state", self._id], capture_output=True, text=True)
        return int(json.loads(state.stdout)["pid"]) if state.returncode == 0 else 0

    def get(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        port: int = 8888,
        method: str = "GET",
    ) -> Any:
        """Ask over the container's own loopback. The answer has `.status` and `.text`."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with _network_of(self.pid):
            connection.connect()
        connection.request(method, path, headers=headers or {})
        answer: Any = connection.getresponse()
        answer.text = answer.read().decode(errors="replace")
        connection.close()
        return answer

    def wait(self, path: str, status: int = 200, seconds: float = 30, port: int = 8888) -> Any:
        """The first answer with that status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                answer = self.get(path, port=port)
                if answer.status == status:
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"no answer from {path}:\n{self.log.read_text()}")

    def run(self, *argv: str) -> str:
        """Run a command in it, as its user; return what it prints."""
        done = subprocess.run(
            [*self._runc, "exec", self._id, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def open_connection(self) -> socket.socket:
        """One to the app, over the container's own loopback."""
        with _network_of(self.pid):
            return socket.create_connection(("127.0.0.1", 8888), 10)

    @contextmanager
    def open_socket(self, path: str) -> Iterator[ClientConnection]:
        """A WebSocket to the app."""
        address, sock = f"ws://127.0.0.1:8888{path}", self.open_connection()
        with connect(address, sock=sock, open_timeout=10, proxy=None) as made:
            yield made

    def last_activity(self, kind: str, prefix: str = "/") -> datetime | None:
        """What a gateway in this container's pod would tell the hub of its app."""
        settings = Settings(KINDS[kind], prefix, "", "", "", "", frozenset())
        with _network_of(self.pid):
            return asyncio.run(Activity(settings, Hub(settings)).last_activity())

    def listens_on(self, port: int = 8888) -> set[str]:
        """The IPv4 addresses on which `port` is open."""
        listening = set()
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, number = address.split(":")
            if state == "0A" and int(number, 16) == port:
                listening.add(".".join(str(byte) for byte in bytes.fromhex(host)[::-1]))
        return listening

    def stays_unused(self, kind: str, prefix: str = "/") -> bool:
        """Whether being asked, again and again for three seconds, is no use of it."""
        began, said = time.monotonic(), self.last_activity(kind, prefix)
        until(
            lambda: self.last_activity(kind, prefix) != said or time.monotonic() > began + 3,
            "time passes",
        )
        return self.last_activity(kind, prefix) == said

    def stop(self) -> float:
        """SIGTERM, as the kubelet sends it; the seconds until it is gone."""
        began = time.monotonic()
        subprocess.run([*self._runc, "kill", self._id, "TERM"], check=True)
        self._process.wait(30)
        return time.monotonic() - began

    def remove(self) -> None:
        if self._process.poll() is None:
            subprocess.run([*self._runc, "kill", self._id, "KILL"], capture_output=True)
            self._process.wait(30)
        subprocess.run([*self._runc, "delete", "--force", self._id], capture_output=True)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Container]]:
    """Start containers; they are gone after the module."""
    started: list[Container] = []

    def begin(image: Unpacked, home: Path | None = None, **env: str) -> Container:
        started.append(Container(image, tmp_path_factory.mktemp("c") / "bundle", home, env))
        return started[-1]

    yield begin
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Empty volumes as a pod with fsGroup 100 gets them."""

    def make() -> Path:
        path = tmp_path_factory.mktemp("volume")
        os.chown(path, 0, 100)
        path.chmod(0o2775)
        return path

    return make


@contextmanager
def _network_of(pid: int) -> Iterator[None]:
    """Sockets opened inside belong to that process's network."""
    if not pid:
        raise ConnectionError("the container does not run")
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _enter(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
    try:
        yield
    finally:
        _enter(own)


def _enter(descriptor: int) -> None:
    failed = _LIBC.setns(descriptor, 0)
    os.close(descriptor)
    if failed:
        raise OSError(ctypes.get_errno(), "setns")


_CAPABILITIES = ("bounding", "effective", "permitted", "inheritable", "ambient")

_DENIED = [
    "add_key",
    "bpf",
    "init_module",
    "keyctl",
    "mount",
    "move_mount",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "ptrace",
    "reboot",
    "request_key",
    "setns",
    "swapon",
    "umount2",
    "unshare",
    "userfaultfd",
]


def _spec(image: Unpacked, home: Path | None, env: dict[str, str]) -> dict[str, Any]:
    """A restricted pod's container, with no place to write to but its home, if any, and /tmp."""
    user, _, group = image.config["User"].partition(":")
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["mode=1777"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmp", "options": ["mode=1777"]},
    ]
    if home:
        bind = {"type": "bind", "source": str(home), "options": ["rbind", "rw"]}
        mounts.append({"destination": "/home/jovyan", **bind})
    variables = dict(line.split("=", 1) for line in image.config["Env"]) | env
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(user), "gid": int(group), "additionalGids": [100]},
            "args": image.config["Entrypoint"],
            "cwd": image.config["WorkingDir"],
            "env": [f"{name}={value}" for name, value in variables.items()],
            "capabilities": {kind: [] for kind in _CAPABILITIES},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": _DENIED, "action": "SCMP_ACT_ERRNO"}],
            },
        },
    }
